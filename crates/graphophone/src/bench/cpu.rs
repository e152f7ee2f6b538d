//! Cores: which there are, and which thread may use which.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores of the benchmark: one for what is measured, one for what measures it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Cores {
    /// The server, and the bare sender.
    pub server: usize,
    /// Meter, far end and bot. The same as `server` on a machine of one core.
    pub meter: usize,
    /// How many cores this process may use.
    pub usable: usize,
}

impl Cores {
    /// The first two cores that this thread may use.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn find() -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let usable: Vec<usize> =
            (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core)).collect();
        let server = usable.first().copied().unwrap_or(0);
        let meter = usable.get(1).copied().unwrap_or(server);
        Ok(Self { server, meter, usable: usable.len().max(1) })
    }

    /// Whether what measures has a core of its own.
    pub fn are_two(self) -> bool {
        self.server != self.meter
    }
}

/// Keeps the calling thread, and whatever it starts from now on, on one core.
///
/// # Errors
/// When the core does not exist or may not be used.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}
