//! The capacity card: what a machine carries, on half a page.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use serde::Serialize;

use super::{
    bare::run_bare,
    case::{Case, CaseOptions, RateOptions, run_case, run_signalling},
    cpu::Cores,
    report::{CaseReport, RateReport, RateStep, StepReport},
};

/// Part of the clean calls that `limits.calls` should let in: room for a busy moment.
const SAFE_PART: f64 = 0.8;

/// What was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Card {
    /// Which cores were used.
    pub cores: Cores,
    /// Kernel, as in uname(2).
    pub kernel: String,
    /// The paced sender without calls.
    pub bare: CaseReport,
    /// One looping prompt on every call.
    pub calls: CaseReport,
    /// Calls per second.
    pub signalling: RateReport,
    /// What to write into `limits.calls` for a server that has all these cores.
    pub limits_calls: usize,
}

impl Card {
    /// Measures for about a minute and a half. To be called from a thread that may block.
    ///
    /// # Errors
    /// When something does not work; being slow is no error.
    pub fn measure(
        cores: Cores,
        data: Option<PathBuf>,
        runtime: &tokio::runtime::Handle,
        say: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Self> {
        say(&format!("A bare sender, 50 packets per second a stream\n{}", StepReport::HEAD));
        let window = Duration::from_secs(1);
        let bare = run_bare(cores, (2_000, 1_000, 12_000), window, &mut |step| say(&step.line()))?;
        say(&format!("Calls that play a looping prompt\n{}", StepReport::HEAD));
        let step = (bare.clean / 10).max(50);
        let options = CaseOptions {
            case: Case::Pcmu,
            window: Duration::from_secs(2),
            settle: Duration::from_millis(500),
            start: 5 * step,
            step,
            max: 20_000,
            prompt_seconds: 10.0,
            data: data.clone(),
            latency_rounds: 20,
            admission: false,
        };
        let calls = run_case(&options, cores, runtime, &mut |step| say(&step.line()))?;
        say(&format!("Calls set up and hung up\n{}", RateStep::HEAD));
        let options = RateOptions {
            start: 300,
            step: 300,
            max: 2_000,
            length: Duration::from_secs(3),
            play: false,
            admission: false,
            data,
        };
        let signalling = run_signalling(&options, cores, runtime, &mut |step| say(&step.line()))?;
        let uname = rustix::system::uname();
        let kernel =
            format!("{} {}", uname.sysname().to_string_lossy(), uname.release().to_string_lossy());
        let limits_calls = limit(calls.clean, cores.usable);
        Ok(Self { cores, kernel, bare, calls, signalling, limits_calls })
    }

    /// For people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "  {name:30}{value}");
        };
        let Self { cores, bare, calls, signalling, .. } = self;
        row("machine", format!("{} cores to use, {}", cores.usable, self.kernel));
        if !cores.are_two() {
            row("", "one core: the meter's own work is in every figure".to_owned());
        }
        row("a bare sender, one core", format!("{} streams clean", bare.clean));
        let part = 100.0 * calls.clean as f64 / bare.clean.max(1) as f64;
        row(
            "calls that play, one core",
            format!("{} clean, {part:.0} % of the bare sender", calls.clean),
        );
        row("limits.calls", format!("{} for this machine", self.limits_calls));
        if let Some(best) = calls.best() {
            let bare_cpu = bare.best().map_or(0.0, |step| step.cpu_us_per_packet);
            row(
                "processor time for a packet",
                format!("{:.1} µs (bare sender {bare_cpu:.1} µs)", best.cpu_us_per_packet),
            );
            row("memory for a call", format!("{:.0} KiB", best.kib_per_call));
            row(
                "arrival error",
                format!("p50 {:.2} ms, p99 {:.2} ms", best.error_ms.p50, best.error_ms.p99),
            );
        }
        if let Some(latency) = &calls.latency {
            let (play, cancel) = (latency.play_first_packet_ms, latency.cancel_last_packet_ms);
            row(
                "playPrompt to first packet",
                format!("p50 {:.1} ms, p99 {:.1} ms at half load", play.p50, play.p99),
            );
            row(
                "cancel to last packet",
                format!("p50 {:.1} ms, p99 {:.1} ms at half load", cancel.p50, cancel.p99),
            );
        }
        row("set up and torn down", format!("{} calls/s", signalling.kept_per_second));
        text
    }
}

/// Other cores carry as much; one of several is left to everything that is not audio.
fn limit(clean: usize, cores: usize) -> usize {
    let carrying = (cores.max(2) - 1) as f64;
    let calls = clean as f64 * carrying * SAFE_PART;
    (calls / 10.0).floor() as usize * 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_leaves_room_and_a_core() {
        assert_eq!(limit(1_000, 1), 800);
        assert_eq!(limit(1_000, 2), 800);
        assert_eq!(limit(1_017, 4), 2_440);
        assert_eq!(limit(0, 4), 0);
    }
}
