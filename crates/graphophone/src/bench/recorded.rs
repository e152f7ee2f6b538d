//! The record case: all calls are recorded at one time while the far end speaks on each, and every
//! file is read and compared with what was said on its call.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use graphophone_media::{codec::SampleCodec, ear::RECORDING_RATE, wav::WavReader};
use serde_json::json;

use super::{
    calls::{self, Bot, Up},
    http::Client,
    pacing,
    report::{RecordQuality, RecordStep},
};

/// Samples of a recording in the 20 ms after which the far end's noise repeats itself.
const PERIOD: usize = RECORDING_RATE as usize / 50;
/// Samples at either end that may differ: filters settle, and the last packet may be cut.
const EDGE: usize = 3 * PERIOD;
/// What two periods may differ by at most, of 32,768: rounding.
const ROUNDING: i32 = 4;
/// A recording's length may differ by so much from what was asked for.
const LENGTH_MS: f64 = 40.0;
/// Correlation with the noise of the call's own far end; that of another one has some 0.3.
const OWN: f64 = 0.9;
/// Most periods that may be damaged, of all.
const DAMAGED: f64 = 0.001;
/// Starts per second that are waited for at least, and the time for a few.
const STARTS: f64 = 200.0;
const START_GRACE: Duration = Duration::from_secs(1);
/// A file that is not there so long after it was due is missing.
const FILE_WITHIN: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(20);

/// A call that is recorded.
struct Recorded {
    /// Its number at the far end.
    number: u32,
    file: PathBuf,
}

/// How recordings are started and where they come to be.
pub(super) struct Recorder<'a> {
    pub(super) bot: &'a Bot,
    /// The server's `recordings`.
    pub(super) directory: &'a Path,
    /// The calls, each with a place in the far end's list, which its noise is made of.
    pub(super) calls: &'a [Up],
    pub(super) spoken: &'a [u32],
}

impl Recorder<'_> {
    /// Records all calls for a `window` in which all of them run, and reads what came of it. `cpu`
    /// is asked for the server's processor time at both ends of the window.
    ///
    /// # Errors
    /// When the server refuses something, or a file cannot be read.
    pub(super) fn record(
        &self,
        window: Duration,
        cpu: &dyn Fn() -> anyhow::Result<Duration>,
    ) -> anyhow::Result<RecordStep> {
        let allowance = START_GRACE + Duration::from_secs_f64(self.calls.len() as f64 / STARTS);
        let longest = (window + allowance).as_secs_f64().ceil();
        let begin = |client: &mut Client, up: Up| {
            let id = start(client, &up.id, longest)?;
            Ok(Recorded { number: up.number, file: self.directory.join(format!("{id}.wav")) })
        };
        let (recorded, pace) = self.bot.spread(self.calls.to_vec(), begin);
        if let Some(failure) = &pace.failure {
            bail!("a recording is refused: {failure}");
        }
        let (since, before) = (Instant::now(), cpu()?);
        std::thread::sleep(window);
        let (took, cpu) = (since.elapsed(), cpu()?.saturating_sub(before));
        let due = since + Duration::from_secs_f64(longest);
        let files_late = wait_for(&recorded, due);
        let mut quality = RecordQuality::default();
        for one in &recorded {
            let Ok(file) = std::fs::read(&one.file) else {
                quality.missing += 1;
                continue;
            };
            let place = self.spoken.iter().position(|number| *number == one.number);
            let place = place.context("nobody speaks on a call")?;
            judge(&file, longest, &pacing::noise(place), &mut quality)?;
            // Thousands of them would fill the disk.
            std::fs::remove_file(&one.file)?;
        }
        let mut faults = faults(&quality);
        if pace.took > allowance {
            faults.push("slow to start");
        }
        let packets = self.calls.len() as f64 * took.as_secs_f64() * 50.0;
        Ok(RecordStep {
            calls: self.calls.len(),
            clean: faults.is_empty(),
            faults,
            seconds: longest,
            quality,
            files_late_ms: files_late.as_secs_f64() * 1_000.0,
            cpu_us_per_packet: cpu.as_secs_f64() * 1e6 / packets.max(1.0),
            core: cpu.as_secs_f64() / took.as_secs_f64(),
            starts_per_second: pace.rate(),
            kib_per_call: 0.0,
        })
    }
}

/// Its operation's id.
fn start(client: &mut Client, call: &str, longest: f64) -> anyhow::Result<String> {
    let body = json!({
        "maxRecordDurationInSeconds": longest as u64,
        "initialSilenceTimeoutInSeconds": 120,
        "maxSilenceTimeoutInSeconds": 120,
        "playBeep": false,
        "stopTones": [],
        "clientContext": "bench",
    });
    calls::command(client, call, "recordResponse", &body)?.id()
}

/// Waits for all files; how late the last one came.
fn wait_for(recorded: &[Recorded], due: Instant) -> Duration {
    let mut waiting: Vec<&Path> = recorded.iter().map(|one| one.file.as_path()).collect();
    while !waiting.is_empty() && Instant::now() < due + FILE_WITHIN {
        std::thread::sleep(LOOK);
        waiting.retain(|file| !file.exists());
    }
    Instant::now().saturating_duration_since(due)
}

/// Compares a WAV file with what it should have: so many seconds of a `packet`'s noise.
fn judge(
    file: &[u8],
    seconds: f64,
    packet: &[u8],
    quality: &mut RecordQuality,
) -> anyhow::Result<()> {
    let mut samples: Vec<i16> = Vec::with_capacity(file.len() / 2);
    let mut wav = WavReader::open(file).context("a recording is no WAV file")?;
    while wav.read(&mut samples)? > 0 {}
    let length_ms = samples.len() as f64 * 1_000.0 / f64::from(RECORDING_RATE);
    let error_ms = length_ms - seconds * 1_000.0;
    quality.length_error_ms = quality.length_error_ms.max(error_ms.abs());
    quality.recordings += 1;
    quality.wrong_length += usize::from(error_ms.abs() > LENGTH_MS);
    let middle = samples.get(EDGE..samples.len().saturating_sub(EDGE)).unwrap_or_default();
    let periods: Vec<&[i16]> = middle.chunks_exact(PERIOD).collect();
    quality.periods += periods.len() as u64;
    quality.damaged += periods.windows(2).filter(|pair| !is_same(pair[0], pair[1])).count() as u64;
    let said = SampleCodec::Pcmu.decode(packet);
    let whole = periods.windows(2).find(|pair| is_same(pair[0], pair[1]));
    let own = whole.map_or(0.0, |pair| correlation(pair[1], &said));
    quality.foreign += usize::from(own < OWN);
    Ok(())
}

fn is_same(one: &[i16], other: &[i16]) -> bool {
    one.iter().zip(other).all(|(a, b)| (i32::from(*a) - i32::from(*b)).abs() <= ROUNDING)
}

/// The greatest, over all shifts, of a period at 16 kHz with one at 8 kHz.
fn correlation(period: &[i16], said: &[i16]) -> f64 {
    let said: Vec<f64> = said.iter().map(|sample| f64::from(*sample)).collect();
    let phase = |first: usize| -> Vec<f64> {
        period.iter().skip(first).step_by(2).map(|sample| f64::from(*sample)).collect()
    };
    let energy = |samples: &[f64]| samples.iter().map(|x| x * x).sum::<f64>();
    let mut greatest = 0.0_f64;
    for heard in [phase(0), phase(1)] {
        let scale = (energy(&heard) * energy(&said)).sqrt().max(1.0);
        for shift in 0..said.len() {
            let shifted = said.iter().cycle().skip(shift);
            let product: f64 = heard.iter().zip(shifted).map(|(a, b)| a * b).sum();
            greatest = greatest.max(product / scale);
        }
    }
    greatest
}

/// Why a step is not clean.
fn faults(quality: &RecordQuality) -> Vec<&'static str> {
    let mut faults = Vec::new();
    if quality.missing > 0 {
        faults.push("missing");
    }
    if quality.wrong_length > 0 {
        faults.push("length");
    }
    if quality.foreign > 0 {
        faults.push("content");
    }
    if quality.periods == 0 || quality.damaged as f64 > quality.periods as f64 * DAMAGED {
        faults.push("loss");
    }
    faults
}

#[cfg(test)]
mod tests {
    use graphophone_media::wav;

    use super::*;

    /// A recording of what a far end says: so many packets of its noise, doubled in rate.
    fn recording(place: usize, packets: usize) -> Vec<i16> {
        let said = SampleCodec::Pcmu.decode(&pacing::noise(place));
        let twice = said.iter().flat_map(|sample| [*sample, *sample]);
        twice.cycle().take(packets * PERIOD).collect()
    }

    fn judged(samples: &[i16]) -> RecordQuality {
        let mut quality = RecordQuality::default();
        judge(&wav::to_bytes(RECORDING_RATE, samples), 2.0, &pacing::noise(3), &mut quality)
            .unwrap();
        quality
    }

    #[test]
    fn a_whole_recording_is_clean_and_every_fault_is_told() {
        let whole = recording(3, 100);
        assert!(faults(&judged(&whole)).is_empty(), "{:?}", judged(&whole));
        assert_eq!(faults(&judged(&recording(4, 100))), ["content"]);
        assert_eq!(faults(&judged(&recording(3, 97))), ["length"]);
        let mut silent = whole;
        silent[50 * PERIOD..51 * PERIOD].fill(0);
        let quality = judged(&silent);
        assert_eq!((quality.damaged, faults(&quality)), (2, vec!["loss"]));
        let missing = RecordQuality { missing: 1, periods: 1, ..RecordQuality::default() };
        assert_eq!(faults(&missing), ["missing"]);
    }
}
