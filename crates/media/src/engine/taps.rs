//! Who gets copies of the audio packets that a stream accepts.

use std::sync::mpsc::{SyncSender, TrySendError};

use super::TappedPacket;

/// Taps of a stream at once; one more is dropped at once, which its receiver sees as the end.
pub const MOST_TAPS: usize = 4;

/// The taps of one stream. A tap ends when its receiver is gone.
#[derive(Default)]
pub(super) struct Taps(Vec<SyncSender<TappedPacket>>);

impl Taps {
    pub(super) fn new(first: Option<SyncSender<TappedPacket>>) -> Self {
        let mut taps = Self(Vec::with_capacity(if first.is_some() { MOST_TAPS } else { 0 }));
        taps.0.extend(first);
        taps
    }

    pub(super) fn add(&mut self, tap: SyncSender<TappedPacket>) {
        if self.0.len() < MOST_TAPS {
            self.0.push(tap);
        }
    }

    /// Gives a packet to each; returns how many had no room for it. `make` is only called if
    /// somebody listens: a copy costs an allocation.
    pub(super) fn give(&mut self, make: impl FnOnce() -> TappedPacket) -> u64 {
        let Some(last) = self.0.len().checked_sub(1) else { return 0 };
        let mut packet = Some(make());
        let (mut at, mut full) = (0, 0);
        self.0.retain(|tap| {
            let copy = if at == last { packet.take() } else { packet.clone() };
            at += 1;
            match copy.map(|copy| tap.try_send(copy)) {
                Some(Err(TrySendError::Full(_))) => full += 1,
                Some(Err(TrySendError::Disconnected(_))) => return false,
                Some(Ok(())) | None => {}
            }
            true
        });
        full
    }
}
