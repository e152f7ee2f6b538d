//! The call's timers, in one table.

use std::time::Instant;

/// Every timer a call can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The bot must answer an incoming call before this.
    Answer,
    /// The far end must answer an outgoing call before this; a safety net behind the leg's own.
    Establish,
    /// The bot must send keepAlive before this.
    KeepAlive,
    /// The current playback starts with the prompts it has by then.
    StartGrace,
    /// Somebody must speak into a recording before this.
    InitialSilence,
    /// Or must go on to.
    MaxSilence,
    /// A recording lasts no longer.
    MaxRecording,
    /// An outgoing call lasts no longer.
    Longest,
    /// The leg must be gone before this; a safety net behind the leg's own.
    Terminate,
}

impl Timer {
    const ALL: [Self; 9] = [
        Self::Answer,
        Self::Establish,
        Self::KeepAlive,
        Self::StartGrace,
        Self::InitialSilence,
        Self::MaxSilence,
        Self::MaxRecording,
        Self::Longest,
        Self::Terminate,
    ];
}

/// When each timer expires.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimerTable {
    deadlines: [Option<Instant>; Timer::ALL.len()],
}

impl TimerTable {
    pub(crate) fn set(&mut self, timer: Timer, at: Instant) {
        self.deadlines[timer as usize] = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.deadlines[timer as usize] = None;
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.deadlines[timer as usize].is_some()
    }

    pub(crate) fn stop_all(&mut self) {
        self.deadlines = Default::default();
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.iter().flatten().min().copied()
    }

    /// Takes one timer that has expired at `now`.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<Timer> {
        let timer = Timer::ALL
            .into_iter()
            .find(|timer| self.deadlines[*timer as usize].is_some_and(|at| at <= now))?;
        self.stop(timer);
        Some(timer)
    }
}
