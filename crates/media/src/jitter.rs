//! Received packets in, a steady flow of frames out: reordering, loss and jitter end here.
//!
//! Pure: arrival times come with the packets, the playout clock with [`JitterBuffer::pop`]. Samples
//! have their place by RTP timestamp, so that packets may be misordered, of any length, or missing.
//!
//! The delay is as short as the arrivals allow. A first packet is played at the first frame that is
//! due [`Cushion::least`] after its arrival. Packets that come too late twice within
//! `WINDOW` make the buffer wait a frame longer, up to [`Cushion::most`]; when the earliest-needed
//! packet of a window had more than a frame too much time, a frame is left out, a quiet one if there
//! is any. Both also follow a far end whose clock is not ours.

use std::time::{Duration, Instant};

use crate::{engine::TappedPacket, rtp::units};

/// How long arrivals are watched before the delay is judged.
const WINDOW: Duration = Duration::from_secs(2);
/// Late packets within a window that make the delay longer; one may be an accident.
const LATE_IS_MANY: u32 = 2;
/// The length of all frames.
pub const FRAME: Duration = Duration::from_millis(20);
/// What a window must have had too much beyond a whole frame before one is left out.
const SLACK: Duration = Duration::from_millis(5);
/// Windows that a frame too many may wait for a quiet moment.
const PATIENCE: u32 = 3;
/// A frame with no sample above this is quiet (−41 dBFS).
const QUIET: u16 = 300;
/// After so long without a packet the next one begins anew: its timestamp may say anything.
const PAUSE: Duration = Duration::from_secs(1);
/// Frames that the last sound is repeated for, ever softer, where packets are missing.
const REPEATS: u32 = 3;
/// The longest time that can wait in the buffer is half of this.
const CAPACITY: Duration = Duration::from_millis(1_024);

/// How long packets may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cushion {
    /// Time that a packet has for being late, at first and in a quiet network: 10 ms for a
    /// conversation, more where delay does not matter and every packet does.
    pub least: Duration,
    /// What it may grow to, at most half a second.
    pub most: Duration,
}

/// What a frame is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Played {
    /// Received audio, all of it or a part.
    Heard,
    /// Nothing was received; the sound before is repeated, softer.
    Concealed,
    /// Nothing was received for longer, or ever: zeros.
    Silence,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JitterCounts {
    /// Packets that were taken.
    pub packets: u64,
    /// Of those, packets whose time had passed.
    pub late: u64,
    /// Packets that were there already.
    pub doubled: u64,
    /// Packets that cannot be decoded here.
    pub foreign: u64,
    /// Frames that were concealed.
    pub concealed: u64,
    /// Frames by which the delay grew.
    pub grown: u64,
    /// Frames that were left out.
    pub left_out: u64,
    /// Times that the far end began to count anew.
    pub restarts: u64,
}

/// Audio of one far end on its way to somebody who takes a frame whenever one is due.
pub struct JitterBuffer {
    rate: u32,
    /// Samples of a frame.
    frame: i64,
    cushion: Cushion,
    /// Frames that the cushion has grown by.
    grown: u32,
    /// Samples by place, modulo the length.
    samples: Box<[i16]>,
    is_there: Box<[bool]>,
    decoded: Vec<i16>,
    /// The last timestamp and its place.
    last: Option<(u32, i64)>,
    arrived: Option<Instant>,
    sequences: Sequences,
    clock: PlayoutClock,
    window: Window,
    /// The last frame that was heard, and frames concealed since.
    before: Vec<i16>,
    repeats: u32,
    counts: JitterCounts,
}

#[derive(Clone, Copy, Debug)]
enum PlayoutClock {
    /// Nothing was received yet.
    Idle,
    /// A packet of this many samples came then, to this place; no frame was due since.
    Waiting { place: i64, samples: i64, at: Instant },
    /// The next frame begins at this place, and is due then.
    Running { next: i64, due: Instant },
}

/// What the packets of a window had time for.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    began: Option<Instant>,
    late: u32,
    /// Time that was left for the packet that had least, and the one that had most, in
    /// nanoseconds.
    margins: Option<(i64, i64)>,
    /// Windows in a row that had a frame too much.
    generous: u32,
    /// Whether a frame is to be waited for longer.
    grow: bool,
}

/// The last 64 sequence numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Sequences {
    highest: Option<u16>,
    seen: u64,
}

impl JitterBuffer {
    /// For packets of codecs with this sampling rate, in hertz.
    pub fn new(rate: u32, cushion: Cushion) -> Self {
        let length = (units(CAPACITY, rate) as usize).next_power_of_two();
        Self {
            rate,
            frame: units(FRAME, rate) as i64,
            cushion,
            grown: 0,
            samples: vec![0; length].into(),
            is_there: vec![false; length].into(),
            decoded: Vec::with_capacity(length / 2),
            last: None,
            arrived: None,
            sequences: Sequences::default(),
            clock: PlayoutClock::Idle,
            window: Window::default(),
            before: Vec::with_capacity(units(FRAME, rate) as usize),
            repeats: 0,
            counts: JitterCounts::default(),
        }
    }

    /// Takes a packet.
    pub fn push(&mut self, packet: &TappedPacket) {
        let Some(codec) = packet.codec.sample().filter(|codec| codec.rate() == self.rate) else {
            return self.counts.foreign += 1;
        };
        let samples = packet.payload.len();
        if samples == 0 || samples > self.samples.len() / 2 {
            return self.counts.foreign += 1;
        }
        let paused = self.arrived.is_some_and(|at| packet.at.saturating_duration_since(at) > PAUSE);
        self.arrived = Some(packet.at);
        if paused {
            self.restart();
        } else if !self.sequences.is_new(packet.sequence) {
            return self.counts.doubled += 1;
        }
        self.counts.packets += 1;
        let mut place = self.place(packet.timestamp);
        if let Some(next) = self.clock.place()
            && (place - next).unsigned_abs() as usize > self.samples.len() / 2 - samples
        {
            self.restart();
            place = self.place(packet.timestamp);
        }
        let samples = samples as i64;
        match self.clock {
            PlayoutClock::Idle => {
                self.clock = PlayoutClock::Waiting { place, samples, at: packet.at };
            }
            PlayoutClock::Waiting { place: first, at, .. } if place < first => {
                self.clock = PlayoutClock::Waiting { place, samples, at };
            }
            PlayoutClock::Waiting { .. } => {}
            PlayoutClock::Running { next, due } => {
                let margin = self.margin(place + samples - 1 - next, due, packet.at);
                self.counts.late += u64::from(margin < 0);
                self.window.note(margin);
                if self.window.late >= LATE_IS_MANY {
                    self.window.grow = self.may_grow();
                    self.window.late = 0;
                }
            }
        }
        let from = match self.clock {
            PlayoutClock::Running { next, .. } => next,
            PlayoutClock::Idle | PlayoutClock::Waiting { .. } => i64::MIN,
        };
        self.decoded.clear();
        codec.decode_to(&packet.payload, &mut self.decoded);
        let mask = self.samples.len() - 1;
        for (place, sample) in (place..).zip(&self.decoded).filter(|(place, _)| *place >= from) {
            let index = place as usize & mask;
            self.samples[index] = *sample;
            self.is_there[index] = true;
        }
    }

    /// Fills the frame of [`FRAME`] that is due now with what is to be heard. Frames are due one
    /// after another, each by its length after the one before.
    ///
    /// # Panics
    /// If `frame` has not as many samples as 20 ms have.
    pub fn pop(&mut self, due: Instant, frame: &mut [i16]) -> Played {
        assert_eq!(frame.len() as i64, self.frame, "frames are of 20 ms");
        if let PlayoutClock::Waiting { place, samples, at } = self.clock {
            // If packets follow in the same rhythm: the latest place from which all frames will
            // find theirs, with the cushion to spare, whatever the phase between the two rhythms.
            let elapsed = self.signed_units(due, at + self.cushion.least + FRAME * self.grown);
            let step = greatest_common_divisor(samples, self.frame);
            let next = place + step * (elapsed.div_euclid(step) + 1) - self.frame;
            if next + self.frame > place {
                self.clock = PlayoutClock::Running { next, due };
            }
        }
        let PlayoutClock::Running { mut next, .. } = self.clock else {
            frame.fill(0);
            return Played::Silence;
        };
        self.window_ends(due);
        if std::mem::take(&mut self.window.grow) {
            self.grown += 1;
            self.counts.grown += 1;
            self.clock = PlayoutClock::Running { next, due: due + FRAME };
            return self.conceal(frame);
        }
        if self.window.generous > 0 && (self.window.generous > PATIENCE || self.is_quiet(next)) {
            self.window.generous = 0;
            self.grown = self.grown.saturating_sub(1);
            self.counts.left_out += 1;
            self.forget(next);
            next += self.frame;
        }
        let heard = self.take(next, frame);
        self.clock = PlayoutClock::Running { next: next + self.frame, due: due + FRAME };
        if !heard {
            return self.conceal(frame);
        }
        self.before.clear();
        self.before.extend_from_slice(frame);
        self.repeats = 0;
        Played::Heard
    }

    /// Leaves frames out that were due and not taken, so that what follows is not heard late.
    pub fn skip(&mut self, frames: u32) {
        for _ in 0..frames {
            let PlayoutClock::Running { next, due } = self.clock else { return };
            self.forget(next);
            self.clock = PlayoutClock::Running { next: next + self.frame, due: due + FRAME };
        }
    }

    /// What has happened so far.
    pub fn counts(&self) -> JitterCounts {
        self.counts
    }

    /// Samples that wait to be played.
    pub fn waiting(&self) -> usize {
        self.is_there.iter().filter(|is_there| **is_there).count()
    }

    /// The place of a timestamp: the nearest to the last one.
    fn place(&mut self, timestamp: u32) -> i64 {
        let place = self.last.map_or(0, |(last, place)| {
            place + i64::from(timestamp.wrapping_sub(last).cast_signed())
        });
        self.last = Some((timestamp, place));
        place
    }

    fn restart(&mut self) {
        self.counts.restarts += 1;
        self.is_there.fill(false);
        (self.last, self.sequences) = (None, Sequences::default());
        (self.clock, self.window) = (PlayoutClock::Idle, Window::default());
    }

    /// Nanoseconds between an arrival and the moment that the sample `ahead` of the next frame's
    /// beginning, which is taken at `due`, is taken.
    fn margin(&self, ahead: i64, due: Instant, at: Instant) -> i64 {
        let frames = ahead.div_euclid(self.frame);
        let until = if due >= at { signed(due - at) } else { -signed(at - due) };
        frames.saturating_mul(signed(FRAME)).saturating_add(until)
    }

    fn may_grow(&self) -> bool {
        self.window.margins.is_none_or(|(_, most)| most < signed(self.cushion.most))
    }

    fn window_ends(&mut self, now: Instant) {
        let began = *self.window.began.get_or_insert(now);
        if now.saturating_duration_since(began) < WINDOW {
            return;
        }
        let enough = signed(self.cushion.least + FRAME + SLACK);
        let is_generous = self.window.margins.is_some_and(|(least, _)| least > enough);
        let generous = if is_generous { self.window.generous + 1 } else { 0 };
        self.window = Window { began: Some(now), generous, ..Window::default() };
    }

    /// Copies what there is; false if there is nothing.
    fn take(&mut self, next: i64, frame: &mut [i16]) -> bool {
        let mask = self.samples.len() - 1;
        let mut any = false;
        for (place, sample) in (next..).zip(frame) {
            let index = place as usize & mask;
            let is_there = std::mem::take(&mut self.is_there[index]);
            *sample = if is_there { self.samples[index] } else { 0 };
            any |= is_there;
        }
        any
    }

    fn forget(&mut self, next: i64) {
        let mask = self.samples.len() - 1;
        (next..next + self.frame).for_each(|place| self.is_there[place as usize & mask] = false);
    }

    fn is_quiet(&self, next: i64) -> bool {
        let mask = self.samples.len() - 1;
        (next..next + self.frame)
            .map(|place| place as usize & mask)
            .all(|index| !self.is_there[index] || self.samples[index].unsigned_abs() <= QUIET)
    }

    fn conceal(&mut self, frame: &mut [i16]) -> Played {
        if self.repeats >= REPEATS || self.before.len() != frame.len() {
            frame.fill(0);
            return Played::Silence;
        }
        // A straight line down over all repeats.
        let total = (REPEATS as usize * frame.len()) as i32;
        let gone = (self.repeats as usize * frame.len()) as i32;
        for (at, (sample, before)) in (gone..).zip(frame.iter_mut().zip(&self.before)) {
            *sample = (i32::from(*before) * (total - at) / total) as i16;
        }
        self.repeats += 1;
        self.counts.concealed += 1;
        Played::Concealed
    }

    fn signed_units(&self, later: Instant, earlier: Instant) -> i64 {
        if later >= earlier {
            units(later - earlier, self.rate) as i64
        } else {
            -(units(earlier - later, self.rate) as i64) - 1
        }
    }
}

impl PlayoutClock {
    /// Where it is.
    fn place(self) -> Option<i64> {
        match self {
            Self::Idle => None,
            Self::Waiting { place, .. } => Some(place),
            Self::Running { next, .. } => Some(next),
        }
    }
}

impl Window {
    fn note(&mut self, margin: i64) {
        self.late += u32::from(margin < 0);
        let (least, most) = self.margins.unwrap_or((margin, margin));
        self.margins = Some((least.min(margin), most.max(margin)));
    }
}

impl Sequences {
    /// Whether this number was not seen before; notes it.
    fn is_new(&mut self, sequence: u16) -> bool {
        let Some(highest) = self.highest else {
            (self.highest, self.seen) = (Some(sequence), 1);
            return true;
        };
        let ahead = sequence.wrapping_sub(highest).cast_signed();
        if ahead > 0 {
            self.highest = Some(sequence);
            self.seen = self.seen.checked_shl(ahead.unsigned_abs().into()).unwrap_or(0) | 1;
            return true;
        }
        let bit = 1_u64.checked_shl(ahead.unsigned_abs().into()).unwrap_or(0);
        // Older than all that are remembered: its time has passed in any case.
        let is_new = self.seen & bit == 0;
        self.seen |= bit;
        is_new
    }
}

impl std::fmt::Debug for JitterBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JitterBuffer")
            .field("clock", &self.clock)
            .field("counts", &self.counts)
            .finish_non_exhaustive()
    }
}

fn greatest_common_divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn signed(span: Duration) -> i64 {
    i64::try_from(span.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
