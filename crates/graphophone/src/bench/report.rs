//! The figures, for programs (serde) and as lines for people.

use std::{fmt::Write as _, time::Duration};

use serde::Serialize;

use super::{ladder, meter::Window};

/// One step of a ladder.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// Calls, all of them playing.
    pub calls: usize,
    /// Whether the step is clean.
    pub clean: bool,
    /// Why not.
    pub faults: Vec<&'static str>,
    /// With calls that could not be set up: how many were wanted.
    pub wanted: Option<usize>,
    /// What the first of them failed with.
    pub failure: Option<String>,
    /// Packets that came in the window.
    pub packets: u64,
    /// Sequence numbers that did not come.
    pub lost: u64,
    /// Packets out of order.
    pub reordered: u64,
    /// Packets that came twice in a row.
    pub doubled: u64,
    /// Packets more than 20 ms behind their grid.
    pub late: u64,
    /// Streams that sent anything.
    pub streams: usize,
    /// Calls without packets at the end of the window.
    pub silent: usize,
    /// Packets whose content was compared.
    pub checked: u64,
    /// Packets with other content than the prompt's.
    pub wrong: u64,
    /// Arrival error against the 20 ms grid, in milliseconds.
    pub error_ms: Quantiles,
    /// Processor time of the sender for each packet, in microseconds.
    pub cpu_us_per_packet: f64,
    /// Load of the sender's core, 0 to 1.
    pub core: f64,
    /// Load of the meter's thread, 0 to 1.
    pub meter: f64,
    /// Resident memory for each call beyond the idle server's, in KiB; 0 for the bare sender.
    pub kib_per_call: f64,
    /// Calls set up and made to play per second, on the way to this step; 0 if none were.
    pub set_up_per_second: f64,
}

/// Ranks of a set of times, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    /// Half are at most this.
    pub p50: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1,000.
    pub p999: f64,
    /// The greatest.
    pub max: f64,
    /// How many there are.
    pub n: u64,
}

/// A ladder.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CaseReport {
    /// Its name.
    pub case: String,
    /// Most calls clean; 0 if no step was.
    pub clean: usize,
    /// Fewest that were not, twice.
    pub broken: Option<usize>,
    /// In the order in which they were tried.
    pub steps: Vec<StepReport>,
    /// How soon commands are heard at half of `clean`; not measured for the bare sender.
    pub latency: Option<Latency>,
    /// Calls hung up per second at the end; 0 for the bare sender.
    pub tear_down_per_second: f64,
}

/// From just before a request is written to what is heard of it, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// playPrompt of a cached prompt, to the arrival of the first packet.
    pub play_first_packet_ms: Quantiles,
    /// cancelMediaProcessing, to the arrival of the last packet; 0 if none came after the request.
    pub cancel_last_packet_ms: Quantiles,
}

/// One offered rate.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateStep {
    /// Calls per second that were offered.
    pub offered_per_second: usize,
    /// How many in all.
    pub calls: usize,
    /// Those that failed.
    pub failed: usize,
    /// How the first of them did.
    pub failure: Option<String>,
    /// Whether none failed and the server kept up.
    pub kept: bool,
    /// Calls per second, from the first request to the last BYE.
    pub per_second: f64,
    /// From when a call was due to its ACK.
    pub set_up_ms: Quantiles,
    /// Processor time of the server for a call.
    pub cpu_ms_per_call: f64,
    /// Load of the server's core, 0 to 1.
    pub core: f64,
    /// Notifications that came meanwhile.
    pub notifications: u64,
    /// Transactions of the server's store per second, each with one sync.
    pub transactions_per_second: f64,
    /// Commits and settlements in each of them: the group commit.
    pub writes_per_transaction: f64,
}

/// A ladder of rates.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RateReport {
    /// The highest rate that was kept.
    pub kept_per_second: usize,
    /// The lowest that was not, twice.
    pub broken_per_second: Option<usize>,
    /// In the order in which they were tried.
    pub steps: Vec<RateStep>,
}

/// One number of recorded calls.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordStep {
    /// Calls, all of them recorded.
    pub calls: usize,
    /// Whether the step is clean.
    pub clean: bool,
    /// Why not.
    pub faults: Vec<&'static str>,
    /// Length of each recording in seconds.
    pub seconds: f64,
    /// What the files have.
    #[serde(flatten)]
    pub quality: RecordQuality,
    /// From when the last recording was due to its file.
    pub files_late_ms: f64,
    /// Processor time of the server for each packet it took, in microseconds.
    pub cpu_us_per_packet: f64,
    /// Load of the server's core while all are recorded, 0 to 1.
    pub core: f64,
    /// Recordings begun per second.
    pub starts_per_second: f64,
    /// Resident memory for each call beyond the idle server's, in KiB.
    pub kib_per_call: f64,
}

/// What the recordings of a step have.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordQuality {
    /// Files that were read.
    pub recordings: usize,
    /// Those that never came.
    pub missing: usize,
    /// Those more than 40 ms longer or shorter than was asked for.
    pub wrong_length: usize,
    /// The greatest such difference.
    pub length_error_ms: f64,
    /// Those in which something else is heard than what was said on the call.
    pub foreign: usize,
    /// Periods of 20 ms that were compared with the one before.
    pub periods: u64,
    /// Those that differ from it. A lost packet makes two.
    pub damaged: u64,
}

/// A ladder of recorded calls.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordReport {
    /// Most calls clean; 0 if no step was.
    pub clean: usize,
    /// Fewest that were not, twice.
    pub broken: Option<usize>,
    /// In the order in which they were tried.
    pub steps: Vec<RecordStep>,
}

impl RecordStep {
    /// The head of [`RecordStep::line`]'s columns.
    pub const HEAD: &'static str = "  calls  clean  files  missing  length ±ms  damaged %  foreign  µs/packet  core %  KiB/call  starts/s  files late ms";

    /// One line for people.
    pub fn line(&self) -> String {
        let quality = &self.quality;
        let damaged = 100.0 * quality.damaged as f64 / quality.periods.max(1) as f64;
        format!(
            "{:7}  {:5}{:7}{:9}{:12.1}{damaged:11.4}{:9}{:11.2}{:8.0}{:10.1}{:10.0}{:15.0}  {}",
            self.calls,
            if self.clean { "yes" } else { "no" },
            quality.recordings,
            quality.missing,
            quality.length_error_ms,
            quality.foreign,
            self.cpu_us_per_packet,
            self.core * 100.0,
            self.kib_per_call,
            self.starts_per_second,
            self.files_late_ms,
            self.faults.join(", ")
        )
        .trim_end()
        .to_owned()
    }
}

impl RateStep {
    /// The head of [`RateStep::line`]'s columns.
    pub const HEAD: &'static str = "offered/s   kept  failed     done/s  set-up p50 ms   p99 ms  CPU ms/call  core %  commits/s  writes in each";

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{:9}  {:>5}{:8}{:11.0}{:15.1}{:9.1}{:13.2}{:8.0}{:11.0}{:16.1}  {}",
            self.offered_per_second,
            if self.kept { "yes" } else { "no" },
            self.failed,
            self.per_second,
            self.set_up_ms.p50,
            self.set_up_ms.p99,
            self.cpu_ms_per_call,
            self.core * 100.0,
            self.transactions_per_second,
            self.writes_per_transaction,
            self.failure.as_deref().unwrap_or_default()
        )
        .trim_end()
        .to_owned()
    }
}

impl StepReport {
    /// From a window, and what the sender's processor time grew by in it.
    pub(super) fn new(calls: usize, window: &Window, cpu: Duration) -> Self {
        let tally = &window.tally;
        let faults = ladder::faults(window);
        let ms = |part| tally.error.quantile(part) as f64 / 1_000.0;
        let seconds = window.length.as_secs_f64().max(1e-9);
        Self {
            calls,
            clean: faults.is_empty(),
            faults,
            wanted: None,
            failure: None,
            packets: tally.packets,
            lost: tally.lost,
            reordered: tally.reordered,
            doubled: tally.doubled,
            late: tally.late,
            streams: window.streams,
            silent: window.silent,
            checked: window.checked,
            wrong: window.wrong,
            error_ms: Quantiles {
                p50: ms(0.5),
                p99: ms(0.99),
                p999: ms(0.999),
                max: tally.error.max() as f64 / 1_000.0,
                n: tally.error.count(),
            },
            cpu_us_per_packet: cpu.as_secs_f64() * 1e6 / tally.packets.max(1) as f64,
            core: cpu.as_secs_f64() / seconds,
            meter: window.cpu.as_secs_f64() / seconds,
            kib_per_call: 0.0,
            set_up_per_second: 0.0,
        }
    }

    /// Not all calls that were wanted could be set up.
    pub(super) fn refuse(&mut self, wanted: usize, failure: Option<String>) {
        self.clean = false;
        self.faults.push("calls refused");
        self.wanted = Some(wanted);
        self.failure = failure;
    }

    /// The head of [`StepReport::line`]'s columns.
    pub const HEAD: &'static str = "  calls  clean   p50 ms   p99 ms  p99.9 ms   max ms   loss %   late   wrong  µs/packet  core %  meter %  KiB/call  set up/s";

    /// One line for people.
    pub fn line(&self) -> String {
        let loss = 100.0 * self.lost as f64 / (self.lost + self.packets).max(1) as f64;
        let Quantiles { p50, p99, p999, max, .. } = self.error_ms;
        let mut line = format!(
            "{:7}  {:5}{p50:9.2}{p99:9.2}{p999:10.2}{max:9.2}{loss:9.3}{:7}{:8}{:11.2}{:8.0}{:9.0}{:10.1}{:10.0}  {}",
            self.calls,
            if self.clean { "yes" } else { "no" },
            self.late,
            self.wrong,
            self.cpu_us_per_packet,
            self.core * 100.0,
            self.meter * 100.0,
            self.kib_per_call,
            self.set_up_per_second,
            self.faults.join(", ")
        );
        if let (Some(wanted), Some(failure)) = (self.wanted, &self.failure) {
            let _ = write!(line, " ({wanted} wanted: {failure})");
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl Quantiles {
    /// Of times.
    pub(super) fn of(times: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1_000.0).collect();
        sorted.sort_by(f64::total_cmp);
        let rank = |part: f64| {
            let index = (sorted.len() as f64 * part).ceil().max(1.0) as usize - 1;
            sorted.get(index).copied().unwrap_or_default()
        };
        Self {
            p50: rank(0.5),
            p99: rank(0.99),
            p999: rank(0.999),
            max: rank(1.0),
            n: sorted.len() as u64,
        }
    }
}

impl CaseReport {
    /// The best clean step.
    pub fn best(&self) -> Option<&StepReport> {
        self.steps.iter().rfind(|step| step.clean && step.calls == self.clean)
    }
}
