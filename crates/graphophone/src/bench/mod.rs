//! The benchmark of `graphophone bench`: how many calls a core carries clean, and at what cost.
//!
//! The server under test is a child process on one core ([`child`]). On another one are a far end
//! with a SIP stack of its own ([`far_end`], [`sip`]), a meter that reads every packet ([`meter`],
//! [`grid`], [`content`]), and a bot that speaks the API ([`calls`], [`host`]). [`ladder`] decides
//! how many calls come next; [`case`] does it.

mod calls;
mod case;
mod child;
mod content;
mod cpu;
mod far_end;
mod grid;
mod histogram;
mod host;
mod http;
mod ladder;
mod meter;
mod process;
mod prompts;
mod report;
mod sip;

pub use case::{Case, CaseOptions, run_case};
pub use cpu::Cores;
pub use report::{CaseReport, StepReport};

/// Keeps the calling thread, and all it starts, off the server's core.
///
/// # Errors
/// When the core cannot be had.
pub fn pin_to_meter(cores: Cores) -> anyhow::Result<()> {
    Ok(cpu::pin(cores.meter)?)
}
