//! Key presses of the far end, for a bot that has subscribed to them (Graph "call:
//! subscribeToTone").

use crate::tones::Tone;

/// Numbers the presses of one call.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyPresses {
    is_subscribed: bool,
    last: Option<(Tone, u64)>,
}

impl KeyPresses {
    /// From now on presses are told. Twice is as good as once.
    pub(crate) fn subscribe(&mut self) {
        self.is_subscribed = true;
    }

    /// The `sequenceId` of a press that is to be told: from 1 in each call, one more each time.
    pub(crate) fn hear(&mut self, tone: Tone) -> Option<u64> {
        if !self.is_subscribed {
            return None;
        }
        let sequence = self.last.map_or(1, |(_, sequence)| sequence + 1);
        self.last = Some((tone, sequence));
        Some(sequence)
    }

    /// The last press that was told, with its number.
    pub(crate) fn last(&self) -> Option<(Tone, u64)> {
        self.last
    }
}
