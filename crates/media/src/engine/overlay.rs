//! What is mixed over a stream's playout: further playouts, each with a cursor and books of its own.
//!
//! Only sample codecs can be mixed: a packet is decoded, added and encoded again, sample by sample,
//! without allocation. A stream without overlays knows nothing of all this.

use std::collections::VecDeque;

use super::{
    PlayoutId,
    ledger::Ledger,
    playout::{Filled, MAX_PAYLOAD, Playout},
};
use crate::codec::SampleCodec;

/// Overlays of one stream at a time; one more is refused.
pub const MAX_OVERLAYS: usize = 4;

/// Samples of a packet of every sample codec.
const PACKET: usize = SampleCodec::Pcmu.codec().packet_units() as usize;

/// Room for the books of a burst, so that none of its packets allocates.
const OPEN: usize = 8;

/// The overlays of one stream.
pub(super) struct Overlays {
    playouts: Vec<Playout>,
    /// Packets that are laid down and whose books are not kept yet, in order: a burst at most.
    open: VecDeque<Mixed>,
}

/// What a mixed packet contains.
struct Mixed {
    index: u64,
    /// Of the playout below.
    base: Option<Filled>,
    layers: [Option<(PlayoutId, Filled)>; MAX_OVERLAYS],
}

impl Default for Overlays {
    fn default() -> Self {
        let (playouts, open) = (Vec::with_capacity(MAX_OVERLAYS), VecDeque::with_capacity(OPEN));
        Self { playouts, open }
    }
}

impl Overlays {
    /// Puts one on top.
    pub(super) fn add(&mut self, playout: Playout) {
        self.playouts.push(playout);
    }

    pub(super) fn is_full(&self) -> bool {
        self.playouts.len() >= MAX_OVERLAYS
    }

    /// Whether nothing is mixed any more, and all books are kept.
    pub(super) fn is_over(&self) -> bool {
        self.playouts.is_empty() && self.open.is_empty()
    }

    pub(super) fn has_packet(&self) -> bool {
        self.playouts.iter().any(Playout::has_packet)
    }

    pub(super) fn get_mut(&mut self, id: PlayoutId) -> Option<&mut Playout> {
        self.playouts.iter_mut().find(|playout| playout.id == id)
    }

    /// Takes one out; whether it was there.
    pub(super) fn remove(&mut self, id: PlayoutId) -> bool {
        let before = self.playouts.len();
        self.playouts.retain(|playout| playout.id != id);
        self.playouts.len() < before
    }

    /// Takes one out that has come to its end, and whose books are kept.
    pub(super) fn take_finished(&mut self) -> Option<PlayoutId> {
        let is_open = |id| {
            let mut layers = self.open.iter().flat_map(|mixed| mixed.layers.iter().flatten());
            layers.any(|(open, _)| *open == id)
        };
        let is_over = |playout: &Playout| playout.is_finished() && !is_open(playout.id);
        let index = self.playouts.iter().position(is_over)?;
        Some(self.playouts.remove(index).id)
    }

    /// Fills the packet `index` with the sum of what `base` and the overlays have to send, and returns
    /// the payload's length.
    pub(super) fn mix(
        &mut self,
        codec: SampleCodec,
        base: Option<&mut Playout>,
        index: u64,
        payload: &mut [u8; MAX_PAYLOAD],
    ) -> usize {
        let (mut sum, mut scratch) = ([0_i32; PACKET], [0; MAX_PAYLOAD]);
        let mut add = |playout: &mut Playout| {
            let (filled, _) = playout.fill(&mut scratch);
            for (sum, code) in sum.iter_mut().zip(&scratch[..filled.samples]) {
                *sum += i32::from(codec.sample(*code));
            }
            filled
        };
        let base = base.filter(|base| base.has_packet()).map(&mut add);
        let mut layers = [None; MAX_OVERLAYS];
        for (layer, playout) in layers.iter_mut().zip(&mut self.playouts) {
            if playout.has_packet() {
                *layer = Some((playout.id, add(playout)));
            }
        }
        for (byte, sum) in payload.iter_mut().zip(sum) {
            let sample = sum.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            *byte = codec.code(sample);
        }
        self.open.push_back(Mixed { index, base, layers });
        PACKET
    }

    /// Keeps the books of the packet `index`, which has left at `sent_at` (nanoseconds since 1970), or
    /// could not be sent. True if it was the last of `base`.
    pub(super) fn settle(
        &mut self,
        index: u64,
        sent_at: Option<u64>,
        base: Option<&Playout>,
        ledger: &mut Ledger,
    ) -> bool {
        let Some(mixed) = self.open.pop_front_if(|mixed| mixed.index == index) else {
            return false;
        };
        let mut keep = |playout: &Playout, filled: Filled| {
            if let Some(wall) = sent_at {
                playout.credit(filled, wall);
            }
            ledger.record(&playout.progress, (index, 1), filled.position, filled.samples);
        };
        if let (Some(filled), Some(base)) = (mixed.base, base) {
            keep(base, filled);
        }
        for (id, filled) in mixed.layers.into_iter().flatten() {
            if let Some(playout) = self.playouts.iter().find(|playout| playout.id == id) {
                keep(playout, filled);
            }
        }
        mixed.base.is_some_and(|filled| filled.last)
    }
}
