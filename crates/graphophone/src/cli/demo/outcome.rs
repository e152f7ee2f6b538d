//! What a demo has seen: judged, and told as text, JSON, sound and picture.

use std::path::Path;

use anyhow::{Context, ensure};
use graphophone_media::{analysis, codec::Codec, wav, waveform};
use graphophone_sip::phone::Heard;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::bot::{PromptFile, Received, acknowledged_ms, receipts, sent_ms};

/// How much heard and sent may differ in length, and how the receipt may differ from both.
const TOLERANCE_MS: f64 = 20.0;
/// Normalised correlation from which heard counts as what was sent.
const SAME_AUDIO: f64 = 0.99;
/// Longest time between two packets, in milliseconds. The buffers of phones bridge less; a busy
/// machine, which runs everything at once here, should not fail before it would be heard anywhere.
const LONGEST_STALL_MS: u128 = 200;

/// Everything that was seen of one demo.
pub(super) struct Outcome {
    pub(super) files: Vec<PromptFile>,
    /// What each prompt should sound like in the phone.
    pub(super) sent: Vec<Vec<i16>>,
    pub(super) looping: bool,
    pub(super) heard: Heard,
    /// The operation in its notification.
    pub(super) ended: Value,
    /// The operation read at the very end: the far end has acknowledged more by then.
    pub(super) last_seen: Value,
    pub(super) started: Instant,
    pub(super) notifications: Vec<Received>,
}

/// One thing that must hold, and what was seen.
struct Check {
    name: &'static str,
    is_good: bool,
    seen: String,
}

impl Outcome {
    fn expected(&self) -> Vec<i16> {
        let once: Vec<i16> = self.sent.concat();
        if !self.looping {
            return once;
        }
        let samples = sent_ms(&self.ended) * u64::from(Codec::Pcmu.rate()) / 1_000;
        once.iter().copied().cycle().take(samples as usize).collect()
    }

    fn checks(&self) -> Vec<Check> {
        let expected = self.expected();
        let rate = Codec::Pcmu.rate();
        let heard = &self.heard.samples;
        let expected_ms = seconds(expected.len()) * 1_000.0;
        let heard_ms = seconds(heard.len()) * 1_000.0;
        let receipt_ms = sent_ms(&self.ended) as f64;
        let alignment = analysis::align(heard, &expected, rate);
        let correlation = alignment.map_or(0.0, |alignment| alignment.correlation);
        // Both went through the same codec: they are equal, or something was lost or muted.
        let other = heard.iter().zip(&expected).position(|(heard, sent)| heard != sent);
        let stall_ms = self.heard.longest_stall.as_millis();
        let (status, reason) = if self.looping {
            ("failed", "mediaOperationCanceled")
        } else {
            ("completed", "completedSuccessfully")
        };
        let mut checks = vec![
            Check {
                name: "length",
                is_good: (heard_ms - expected_ms).abs() <= TOLERANCE_MS,
                seen: format!("{heard_ms:.0} ms heard of {expected_ms:.0} ms"),
            },
            Check {
                name: "content",
                is_good: correlation >= SAME_AUDIO,
                seen: format!("correlation {correlation:.4} with what was sent, in order"),
            },
            Check {
                name: "no gaps",
                is_good: other.is_none() && self.heard.lost == 0,
                seen: format!(
                    "{}, {} of {} packets lost",
                    other.map_or("every sample is the one that was sent".to_owned(), |at| {
                        format!("another sample than was sent at {:.0} ms", seconds(at) * 1_000.0)
                    }),
                    self.heard.lost,
                    self.heard.packets.len() as u64 + self.heard.lost
                ),
            },
            Check {
                name: "pace",
                is_good: stall_ms <= LONGEST_STALL_MS,
                seen: format!("longest time between two packets {stall_ms} ms"),
            },
            Check {
                name: "receipt",
                is_good: (receipt_ms - heard_ms).abs() <= TOLERANCE_MS,
                seen: format!(
                    "{receipt_ms:.0} ms sent, {} acknowledged by the phone",
                    acknowledged_ms(&self.last_seen)
                        .map_or("nothing".to_owned(), |ms| format!("{ms} ms"))
                ),
            },
            Check {
                name: "notification",
                is_good: self.ended["status"] == status
                    && self.ended["completionReason"] == reason
                    && self.notifications.iter().all(|received| received.signature.is_ok()),
                seen: format!(
                    "{} ({}), {} notifications, all signed well",
                    self.ended["status"].as_str().unwrap_or("?"),
                    self.ended["completionReason"].as_str().unwrap_or("?"),
                    self.notifications.len()
                ),
            },
        ];
        if !self.looping {
            checks.extend(self.prompt_checks());
        }
        checks
    }

    /// Each prompt must be heard in its place.
    fn prompt_checks(&self) -> Vec<Check> {
        let rate = Codec::Pcmu.rate();
        let mut start = 0;
        let mut checks = Vec::new();
        for (file, sent) in self.files.iter().zip(&self.sent) {
            let place_ms = seconds(start) * 1_000.0;
            start += sent.len();
            let found = analysis::align(&self.heard.samples, sent, rate);
            let (is_good, seen) = match found {
                Some(found) => (
                    found.correlation >= SAME_AUDIO
                        && (found.offset_ms - place_ms).abs() <= TOLERANCE_MS,
                    format!(
                        "{} at {:.0} ms of {place_ms:.0} ms, correlation {:.4}",
                        file.name, found.offset_ms, found.correlation
                    ),
                ),
                // A prompt of silence cannot be found, only its length counts.
                None => (
                    analysis::align(sent, sent, rate).is_none(),
                    format!("{} is silence", file.name),
                ),
            };
            checks.push(Check { name: "prompt", is_good, seen });
        }
        checks
    }

    pub(super) fn verdict(&self) -> anyhow::Result<()> {
        let failed: Vec<String> = self
            .checks()
            .into_iter()
            .filter(|check| !check.is_good)
            .map(|check| format!("{}: {}", check.name, check.seen))
            .collect();
        ensure!(
            failed.is_empty(),
            "the prompts were not heard as they were sent: {}",
            failed.join("; ")
        );
        Ok(())
    }

    pub(super) fn write_files(&self, directory: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let rate = Codec::Pcmu.rate();
        let wav = directory.join("heard.wav");
        std::fs::write(&wav, wav::to_bytes(rate, &self.heard.samples))
            .with_context(|| format!("{} cannot be written", wav.display()))?;
        let png = directory.join("heard.png");
        std::fs::write(&png, waveform::draw(&self.heard.samples, rate, &self.spans(), 1200, 300))
            .with_context(|| format!("{} cannot be written", png.display()))
    }

    /// The prompts' places in the picture, in alternating colours.
    fn spans(&self) -> Vec<waveform::Span> {
        const COLOURS: [[u8; 3]; 2] = [[0x2f, 0x6f, 0xb5], [0xc0, 0x5a, 0x2c]];
        let mut start = 0;
        let mut spans = Vec::new();
        for index in 0.. {
            let length = self.sent[index % self.sent.len()].len();
            if length == 0 || start >= self.heard.samples.len() {
                break;
            }
            let ms = |samples: usize| (seconds(samples) * 1_000.0) as u64;
            spans.push(waveform::Span {
                start_ms: ms(start),
                end_ms: ms(start + length),
                rgb: COLOURS[index % COLOURS.len()],
            });
            start += length;
            if !self.looping && index + 1 == self.sent.len() {
                break;
            }
        }
        spans
    }

    fn timeline(&self) -> Vec<(f64, String)> {
        let name = |value: &Value| {
            let data = &value["resourceData"];
            let mut text = match data["state"].as_str() {
                Some(state) => {
                    format!("{} call {state}", value["changeType"].as_str().unwrap_or("?"))
                }
                None => format!(
                    "{} operation {}",
                    value["changeType"].as_str().unwrap_or("?"),
                    data["status"].as_str().unwrap_or("?")
                ),
            };
            if let Some(audio) = data["mediaState"]["audio"].as_str() {
                text += &format!(", audio {audio}");
            }
            text
        };
        let ms = |at: Instant| at.saturating_duration_since(self.started).as_secs_f64() * 1_000.0;
        let mut events: Vec<(f64, String)> = self
            .notifications
            .iter()
            .map(|received| (ms(received.at), format!("notification: {}", name(&received.value))))
            .collect();
        if let (Some(first), Some(last)) = (self.heard.first_packet(), self.heard.last_packet()) {
            events.push((ms(first.into()), "phone: first packet of the prompts".to_owned()));
            events.push((ms(last.into()), "phone: last packet of the prompts".to_owned()));
        }
        events.sort_by(|left, right| left.0.total_cmp(&right.0));
        events
    }

    pub(super) fn to_text(&self, directory: &Path) -> String {
        let mut text = String::from("\nTimeline\n");
        for (ms, event) in self.timeline() {
            text += &format!("{ms:>9.1} ms  {event}\n");
        }
        text += "\nReceipt\n";
        for (file, receipt) in self.files.iter().zip(receipts(&self.last_seen)) {
            let show = |member: &str| match &receipt[member] {
                value if value.is_null() => "-".to_owned(),
                value => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
            };
            text += &format!(
                "  {}  {}: {} ms long, {} ms sent, {} ms acknowledged\n    sha256 {}\n    {} … {}\n",
                file.name,
                show("reason"),
                show("durationMs"),
                show("millisecondsSent"),
                show("millisecondsAcknowledged"),
                show("sha256"),
                show("firstPacket"),
                show("lastPacket"),
            );
        }
        text += "\nHeard\n";
        text += &waveform::text(&self.heard.samples, Codec::Pcmu.rate(), 78, 7);
        text += "\n";
        for check in self.checks() {
            let mark = if check.is_good { "ok    " } else { "FAILED" };
            text += &format!("  {mark} {:<13} {}\n", check.name, check.seen);
        }
        text += &format!("\nWritten: {0}/heard.wav, {0}/heard.png\n", directory.display());
        text
    }

    pub(super) fn to_json(&self, directory: &Path) -> Value {
        let checks: Vec<Value> = self
            .checks()
            .into_iter()
            .map(|check| json!({"name": check.name, "ok": check.is_good, "seen": check.seen}))
            .collect();
        let timeline: Vec<Value> = self
            .timeline()
            .into_iter()
            .map(|(ms, event)| json!({"ms": ms, "event": event}))
            .collect();
        json!({
            "ok": self.verdict().is_ok(),
            "checks": checks,
            "heardMilliseconds": seconds(self.heard.samples.len()) * 1_000.0,
            "operation": self.last_seen,
            "notifications": self.notifications.iter().map(|n| &n.value).collect::<Vec<_>>(),
            "timeline": timeline,
            "heardWav": directory.join("heard.wav"),
            "heardPng": directory.join("heard.png"),
        })
    }
}

/// Playing time of samples at the phone's rate.
pub(super) fn seconds(samples: usize) -> f64 {
    samples as f64 / f64::from(Codec::Pcmu.rate())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The built-in prompts, heard as they are after `change`.
    fn heard(change: impl FnOnce(&mut Heard)) -> Vec<&'static str> {
        let files = PromptFile::built_in();
        let sent: Vec<Vec<i16>> =
            files.iter().map(|file| super::super::as_heard(file).unwrap()).collect();
        let mut heard = Heard {
            samples: sent.concat(),
            longest_stall: Duration::from_millis(21),
            ..Heard::default()
        };
        let ms = |samples: &Vec<i16>| seconds(samples.len()) * 1_000.0;
        let receipts: Vec<Value> =
            sent.iter().map(|sent| json!({"millisecondsSent": ms(sent) as u64})).collect();
        let ended = json!({
            "status": "completed",
            "completionReason": "completedSuccessfully",
            "graphophoneReceipt": {"prompts": receipts},
        });
        change(&mut heard);
        let outcome = Outcome {
            files,
            sent,
            looping: false,
            heard,
            last_seen: ended.clone(),
            ended,
            started: Instant::now(),
            notifications: Vec::new(),
        };
        let failed = outcome.checks().into_iter().filter(|check| !check.is_good);
        failed.map(|check| check.name).collect()
    }

    #[test]
    fn prompts_heard_as_they_were_sent_are_good() {
        assert_eq!(heard(|_| {}), [""; 0]);
    }

    #[test]
    fn a_tenth_of_a_second_muted_in_the_speech_is_a_gap() {
        let failed = heard(|heard| heard.samples[8_000..8_800].fill(0));
        assert!(failed.contains(&"no gaps"), "{failed:?}");
    }

    #[test]
    fn packets_that_come_late_fail_the_demo() {
        assert_eq!(heard(|heard| heard.longest_stall = Duration::from_millis(250)), ["pace"]);
    }
}
