//! The figures, as a table for people and as JSON.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::stages::Passed;

/// Time between packets.
const PACKET: Duration = Duration::from_millis(20);
/// Targets for the time from a request to the first packet, in milliseconds.
const TARGET_P50_MS: f64 = 3.0;
const TARGET_P99_MS: f64 = 15.0;

/// Everything that was measured.
pub(crate) struct Report {
    file_system: String,
    pub(crate) play_first_packet: Vec<Duration>,
    pub(crate) play_response: Vec<Duration>,
    pub(crate) cancel_last_packet: Vec<Duration>,
    pub(crate) cancel_response: Vec<Duration>,
    pub(crate) bare_datagram: Vec<Duration>,
    pub(crate) bare_sync: Vec<Duration>,
    pub(crate) pacing_server: Vec<Duration>,
    pub(crate) pacing_bare: Vec<Duration>,
    pub(crate) stages: Passed,
}

/// What is shown of a row: name, measurements, and what to compare them with.
type Row<'a> = (&'a str, &'a [Duration], Option<&'a [Duration]>);

impl Report {
    pub(crate) fn new(file_system: String) -> Self {
        Self {
            file_system,
            play_first_packet: Vec::new(),
            play_response: Vec::new(),
            cancel_last_packet: Vec::new(),
            cancel_response: Vec::new(),
            bare_datagram: Vec::new(),
            bare_sync: Vec::new(),
            pacing_server: Vec::new(),
            pacing_bare: Vec::new(),
            stages: Passed::new(),
        }
    }

    fn rows(&self) -> [Row<'_>; 8] {
        let (datagram, pacing) = (Some(&self.bare_datagram[..]), Some(&self.pacing_bare[..]));
        [
            ("play: request to first packet", &self.play_first_packet, datagram),
            ("play: request to response", &self.play_response, None),
            ("cancel: request to last packet", &self.cancel_last_packet, None),
            ("cancel: request to response", &self.cancel_response, None),
            ("bare: datagram to another thread", &self.bare_datagram, None),
            ("bare: append 8 KiB and sync", &self.bare_sync, None),
            ("pacing: lateness of the server's packets", &self.pacing_server, pacing),
            ("pacing: lateness of a bare sender's", &self.pacing_bare, None),
        ]
    }

    /// Whether the first packet comes as early as docs/performance.md promises.
    pub(crate) fn check_target(&self) -> Result<(), String> {
        let times = sorted(&self.play_first_packet);
        let (p50, p99) = (quantile(&times, 0.5), quantile(&times, 0.99));
        if p50 <= TARGET_P50_MS && p99 <= TARGET_P99_MS {
            return Ok(());
        }
        Err(format!(
            "request to first packet: p50 {p50:.3} ms and p99 {p99:.3} ms, where {TARGET_P50_MS} and {TARGET_P99_MS} are the targets"
        ))
    }

    /// Milliseconds, one row for each thing measured.
    pub(crate) fn to_table(&self) -> String {
        let note =
            if self.file_system == "tmpfs" { " (in memory: no disk is measured)" } else { "" };
        let mut text = format!("data on {}{note}; milliseconds\n", self.file_system);
        let _ = writeln!(
            text,
            "{:42}{:>5}{:>9}{:>9}{:>9}{:>9}{:>9}  p50, p99 to bare",
            "", "n", "p50", "p90", "p99", "p99.9", "max"
        );
        for (name, times, bare) in self.rows() {
            let times = sorted(times);
            let _ = write!(text, "{name:42}{:5}", times.len());
            for part in [0.5, 0.9, 0.99, 0.999, 1.0] {
                let _ = write!(text, "{:9.3}", quantile(&times, part));
            }
            if let Some(bare) = bare.map(sorted) {
                let ratio = |part| quantile(&times, part) / quantile(&bare, part);
                let _ = write!(text, "  × {:.1}, × {:.1}", ratio(0.5), ratio(0.99));
            }
            text.push('\n');
        }
        if !self.stages.is_empty() {
            text.push_str("\nsince the request was written, passing the stage:\n");
        }
        let mut stages: Vec<_> =
            self.stages.iter().map(|(name, times)| (name, sorted(times))).collect();
        stages.sort_by(|(_, a), (_, b)| quantile(a, 0.5).total_cmp(&quantile(b, 0.5)));
        for (name, times) in stages {
            let _ = write!(text, "  {name:40}{:5}", times.len());
            for part in [0.5, 0.9, 0.99, 0.999, 1.0] {
                let _ = write!(text, "{:9.3}", quantile(&times, part));
            }
            text.push('\n');
        }
        text.truncate(text.trim_end().len());
        text
    }

    /// The same for programs.
    pub(crate) fn to_json(&self) -> String {
        let figures = |times: &[Duration]| {
            let times = sorted(times);
            json!({
                "n": times.len(),
                "p50": quantile(&times, 0.5),
                "p90": quantile(&times, 0.9),
                "p99": quantile(&times, 0.99),
                "p999": quantile(&times, 0.999),
                "max": quantile(&times, 1.0),
            })
        };
        let stages: serde_json::Map<String, Value> =
            self.stages.iter().map(|(name, times)| ((*name).to_owned(), figures(times))).collect();
        json!({
            "unit": "ms",
            "fileSystem": self.file_system,
            "playFirstPacket": figures(&self.play_first_packet),
            "playResponse": figures(&self.play_response),
            "cancelLastPacket": figures(&self.cancel_last_packet),
            "cancelResponse": figures(&self.cancel_response),
            "bareDatagram": figures(&self.bare_datagram),
            "bareSync": figures(&self.bare_sync),
            "pacingServer": figures(&self.pacing_server),
            "pacingBare": figures(&self.pacing_bare),
            "stages": stages,
        })
        .to_string()
    }
}

/// How late each packet is, against a grid of 20 ms through the one that is least late.
pub(crate) fn lateness(arrivals: &[Instant]) -> Vec<Duration> {
    let Some(first) = arrivals.first() else { return Vec::new() };
    let offsets: Vec<i128> = (0i128..)
        .zip(arrivals)
        .map(|(n, at)| {
            i128::try_from((*at - *first).as_nanos()).unwrap_or(i128::MAX)
                - n * i128::try_from(PACKET.as_nanos()).unwrap_or(i128::MAX)
        })
        .collect();
    let least = offsets.iter().min().copied().unwrap_or_default();
    let late = |offset: &i128| u64::try_from(offset - least).unwrap_or(u64::MAX);
    offsets.iter().map(late).map(Duration::from_nanos).collect()
}

fn sorted(times: &[Duration]) -> Vec<f64> {
    let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// The nearest rank; not a number without measurements.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let index = (sorted.len().saturating_sub(1) as f64 * part).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}
