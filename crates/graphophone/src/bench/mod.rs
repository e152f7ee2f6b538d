//! The benchmark of `graphophone bench`: how many calls a core carries clean, and at what cost.
//!
//! The server under test is a child process on one core (`child`). On another one are a far end
//! with a SIP stack of its own (`far_end`, `sip`), a meter that reads every packet (`meter`,
//! `grid`, `content`), and a bot that speaks the API (`calls`, `host`). `ladder` decides
//! how many calls come next; `case` does it.

mod bare;
mod calls;
mod card;
mod case;
mod child;
mod content;
mod cpu;
mod dialler;
mod far_end;
mod foreign;
mod grid;
mod histogram;
mod host;
mod http;
mod ladder;
mod latency;
mod meter;
mod pacing;
mod plot;
mod process;
mod prompts;
mod recorded;
mod report;
mod rooms;
mod signalling;
pub mod sip;

pub use bare::run_bare;
pub use card::Card;
pub use case::{
    Case, CaseOptions, RateOptions, RecordOptions, run_case, run_recorded, run_signalling,
};
pub use cpu::{Cores, pin};
pub use foreign::{Foreign, ForeignReport};
pub use http::{Client, Exchange};
pub use plot::plot;
pub use process::cpu_time;
pub use report::{
    CaseReport, Latency, Quantiles, RateReport, RateStep, RecordReport, RecordStep, StepReport,
};

/// Keeps the calling thread, and all it starts, off the server's core.
///
/// # Errors
/// When the core cannot be had.
pub fn pin_to_meter(cores: Cores) -> anyhow::Result<()> {
    Ok(pin(cores.meter)?)
}
