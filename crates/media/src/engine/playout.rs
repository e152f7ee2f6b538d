//! A playout: a cursor over shared, already encoded prompts.

use std::sync::Arc;

use super::{
    PlayoutId, PlayoutProgress, Segment,
    progress::{Block, Counters},
};
use crate::{
    codec::Codec,
    prompt::{EncodedAudio, MAX_FRAME_LEN},
};

/// Room for the payload of any codec.
pub(super) const MAX_PAYLOAD: usize = MAX_FRAME_LEN;

/// A list of segments and how far it is played.
///
/// Lengths and places are in samples at the RTP clock rate of the stream's codec, which all
/// segments have: bytes of a sample codec, 960 for each frame of Opus.
pub(super) struct Playout {
    pub(super) id: PlayoutId,
    pub(super) progress: Arc<PlayoutProgress>,
    codec: Codec,
    pieces: Vec<Piece>,
    sealed: bool,
    looping: bool,
    /// Its owner wants it silent for now.
    paused: bool,
    cursor: Cursor,
    /// Samples before the cursor, over repeats and loops.
    position: u64,
    /// Samples from the cursor to the end of the list (of this round, if it loops).
    remaining: u64,
    /// Whether any piece has a sample; else a loop would never get anywhere.
    has_samples: bool,
}

struct Piece {
    audio: EncodedAudio,
    samples: usize,
    repeat: u32,
    counters: Arc<Counters>,
}

/// A place between two samples of a playout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    piece: usize,
    round: u32,
    offset: usize,
}

/// Full packets of one piece, one after another.
pub(super) struct Excerpt {
    audio: EncodedAudio,
    offset: usize,
    packet_units: u32,
}

/// What a filled packet contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Filled {
    /// Where its first sample is.
    pub(super) from: Cursor,
    /// Samples of the playout before it.
    pub(super) position: u64,
    /// Samples of the playout in it; the rest is padding.
    pub(super) samples: usize,
    /// Whether nothing of the playout is left.
    pub(super) last: bool,
}

impl Playout {
    pub(super) fn new(
        id: PlayoutId,
        progress: Arc<PlayoutProgress>,
        codec: Codec,
        sealed: bool,
        looping: bool,
    ) -> Self {
        Self {
            id,
            progress,
            codec,
            pieces: Vec::new(),
            sealed,
            looping,
            paused: false,
            cursor: Cursor::default(),
            position: 0,
            remaining: 0,
            has_samples: false,
        }
    }

    /// Appends segments with their counters.
    pub(super) fn append(&mut self, segments: Vec<Segment>, block: &Block) {
        for (segment, counters) in segments.into_iter().zip(&block.segments) {
            let repeat = segment.repeat.max(1);
            let audio = segment.prompt.audio.clone();
            let samples = audio.units();
            self.remaining += samples as u64 * u64::from(repeat);
            self.has_samples |= samples > 0;
            self.pieces.push(Piece { audio, samples, repeat, counters: Arc::clone(counters) });
        }
    }

    /// Nothing more will be appended.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Keeps it silent, or lets it go on from where it was.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Goes on from `place` in the list (of the round that is under way, if it loops), or from its
    /// end if it is shorter. What lies before it and was not reached is counted as skipped.
    pub(super) fn seek(&mut self, place: u64) {
        let total = self.round_length();
        // A frame is whole or not there at all.
        let grain =
            if self.codec.sample().is_some() { 1 } else { self.codec.packet_units().into() };
        let place = place.min(total) / grain * grain;
        let before = total - self.remaining;
        let (mut cursor, mut passed) = (Cursor::default(), 0);
        for (index, piece) in self.pieces.iter().enumerate() {
            let length = piece.samples as u64 * u64::from(piece.repeat);
            let from = passed.max(before);
            passed += length;
            let skipped = passed.min(place).saturating_sub(from);
            if skipped > 0 {
                piece.counters.skipped(skipped);
            }
            if passed <= place {
                cursor = Cursor { piece: index + 1, round: 0, offset: 0 };
            } else if passed - length <= place {
                let within = place - (passed - length);
                let samples = piece.samples as u64;
                // Both are below what the piece has.
                let round = (within / samples) as u32;
                cursor = Cursor { piece: index, round, offset: (within % samples) as usize };
            }
        }
        self.position = self.position - before + place;
        self.cursor = cursor;
        self.remaining = total - place;
    }

    /// Whether a packet can be filled now. An unsealed playout gives only full packets, so that
    /// what is appended later joins without padding.
    pub(super) fn has_packet(&self) -> bool {
        !self.paused && self.has_samples_left()
    }

    fn has_samples_left(&self) -> bool {
        self.remaining >= u64::from(self.codec.packet_units())
            || self.sealed && (self.remaining > 0 || self.starts_over())
    }

    /// Whether it has come to its end.
    pub(super) fn is_finished(&self) -> bool {
        self.sealed && self.remaining == 0 && !self.starts_over()
    }

    fn starts_over(&self) -> bool {
        self.looping && self.sealed && self.has_samples
    }

    /// Copies what comes next to a packet's payload, pads samples with silence at the end of the
    /// playout, and moves on. Returns the payload's length as well.
    pub(super) fn fill(&mut self, payload: &mut [u8; MAX_PAYLOAD]) -> (Filled, usize) {
        let (from, position) = (self.cursor, self.position);
        let packet = self.codec.packet_units() as usize;
        let (mut filled, mut octets) = (0, 0);
        while filled < packet {
            if self.remaining == 0 {
                if !self.starts_over() {
                    break;
                }
                self.cursor = Cursor::default();
                self.remaining = self.round_length();
            }
            let (piece, step) = self.step(self.cursor, packet - filled);
            let audio = &self.pieces[piece].audio;
            let source = payload_of(audio, self.cursor.offset, step.samples);
            payload[octets..octets + source.len()].copy_from_slice(source);
            octets += source.len();
            filled += step.samples;
            self.cursor = step.to;
            self.remaining -= step.samples as u64;
        }
        // Frames are whole packets: none is ever short.
        if filled < packet
            && let Some(codec) = self.codec.sample()
        {
            payload[octets..packet].fill(codec.silence());
            octets = packet;
        }
        self.position += filled as u64;
        (Filled { from, position, samples: filled, last: self.is_finished() }, octets)
    }

    /// Counts the samples of a packet that left at `wall`, nanoseconds since 1970.
    pub(super) fn credit(&self, packet: Filled, wall: u64) {
        let (mut cursor, mut left) = (packet.from, packet.samples);
        while left > 0 {
            if cursor.piece == self.pieces.len() {
                cursor = Cursor::default();
            }
            let (piece, step) = self.step(cursor, left);
            if step.samples > 0 {
                let piece = &self.pieces[piece];
                piece.counters.sent(step.samples as u64, wall);
            }
            left -= step.samples;
            cursor = step.to;
        }
    }

    /// Packets, at most `longest`, that [`Self::fill`] would fill from one round of a piece that has
    /// begun to be sent, and which leave something of a sealed playout to be filled.
    pub(super) fn excerpt(&self, longest: u16) -> Option<(Excerpt, u16)> {
        if self.paused {
            return None;
        }
        let Cursor { piece, offset, .. } = self.cursor;
        let piece = self.pieces.get(piece).filter(|piece| piece.counters.has_begun())?;
        let packet_units = self.codec.packet_units();
        let full = (piece.samples - offset) as u64 / u64::from(packet_units);
        let is_all = full * u64::from(packet_units) == self.remaining;
        let keep = u64::from(is_all && self.sealed && !self.starts_over());
        let packets = full.saturating_sub(keep).min(longest.into()) as u16;
        let excerpt = || Excerpt { audio: piece.audio.clone(), offset, packet_units };
        (packets > 0).then(|| (excerpt(), packets))
    }

    /// Moves on behind `packets` of an excerpt, of which the kernel took `sent`, the last of them at
    /// `wall`. Returns the samples before and in them.
    pub(super) fn pass(&mut self, packets: u16, sent: u16, wall: u64) -> (u64, usize) {
        let packet_units = self.codec.packet_units() as usize;
        let (before, samples) = (self.position, usize::from(packets) * packet_units);
        let (piece, step) = self.step(self.cursor, samples);
        debug_assert_eq!(step.samples, samples, "an excerpt is of one round of one piece");
        if sent > 0 {
            self.pieces[piece].counters.sent((usize::from(sent) * packet_units) as u64, wall);
        }
        self.cursor = step.to;
        self.position += samples as u64;
        self.remaining -= samples as u64;
        (before, samples)
    }

    /// Samples of one time through the list.
    fn round_length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.samples as u64 * u64::from(piece.repeat)).sum()
    }

    /// At most `samples` samples from `cursor`, all of the same round of the same piece. There
    /// must be a piece at the cursor.
    fn step(&self, cursor: Cursor, samples: usize) -> (usize, Step) {
        let piece = &self.pieces[cursor.piece];
        let available = piece.samples - cursor.offset;
        let to = if samples < available {
            Cursor { offset: cursor.offset + samples, ..cursor }
        } else if cursor.round + 1 < piece.repeat && piece.samples > 0 {
            Cursor { round: cursor.round + 1, offset: 0, ..cursor }
        } else {
            Cursor { piece: cursor.piece + 1, round: 0, offset: 0 }
        };
        (cursor.piece, Step { samples: samples.min(available), to })
    }
}

impl Excerpt {
    /// Copies the next packet's payload and returns its length.
    pub(super) fn next(&mut self, payload: &mut [u8; MAX_PAYLOAD]) -> usize {
        let source = payload_of(&self.audio, self.offset, self.packet_units as usize);
        payload[..source.len()].copy_from_slice(source);
        self.offset += self.packet_units as usize;
        source.len()
    }

    pub(super) fn packet_units(&self) -> u32 {
        self.packet_units
    }
}

/// What is sent for `samples` samples from `offset`: as many bytes, or the one frame there.
fn payload_of(audio: &EncodedAudio, offset: usize, samples: usize) -> &[u8] {
    match audio {
        EncodedAudio::Samples { bytes, .. } => &bytes[offset..offset + samples],
        EncodedAudio::Opus(frames) => {
            frames.get(offset / Codec::Opus.packet_units() as usize).unwrap_or_default()
        }
    }
}

struct Step {
    samples: usize,
    to: Cursor,
}
