//! Sends key presses: what the packets of a queue of tones contain and when the next is due.

use std::collections::VecDeque;

use super::{EVENT_LEN, Event, HIGHEST_KEY};

/// The last packet of an event is sent three times (RFC 4733 §2.5.1.4).
const END_PACKETS: u32 = 3;
/// Power we claim, in −dBm0.
const VOLUME: u8 = 10;
/// Tones that may wait; a few screens of digits.
pub const MOST_TONES: usize = 256;

/// Tones that wait to be sent, at most 256, and the one that is being sent.
#[derive(Debug)]
pub struct ToneQueue {
    /// Timestamp units between the packets of an event: 20 ms, like our audio.
    step: u16,
    waiting: VecDeque<Tone>,
    current: Option<(Tone, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Tone {
    code: u8,
    duration: u16,
    gap: u32,
}

/// The next packet of the tone that is being sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPacket {
    /// RTP payload.
    pub payload: [u8; EVENT_LEN],
    /// Whether an event starts with it: marker bit, new timestamp.
    pub first: bool,
    /// Whether the event's last repeat is sent with it.
    pub last: bool,
    /// Timestamp units until the next packet may follow.
    pub wait: u32,
}

impl Default for ToneQueue {
    /// For an RTP clock of 8 kHz.
    fn default() -> Self {
        Self::new(160)
    }
}

impl ToneQueue {
    /// For an RTP clock of which 20 ms are `step` units (RFC 4733 §2.1: that of the audio).
    pub fn new(step: u16) -> Self {
        Self { step: step.max(1), waiting: VecDeque::new(), current: None }
    }

    /// Appends a tone; `duration` and `gap` to the next tone are in timestamp units. Tones are at
    /// least 40 ms long, the shortest that receivers must recognise. False if the queue is full or
    /// the code is not a key's.
    pub fn push(&mut self, code: u8, duration: u16, gap: u32) -> bool {
        if code > HIGHEST_KEY || self.waiting.len() >= MOST_TONES {
            return false;
        }
        self.waiting.push_back(Tone {
            code,
            duration: duration.max(self.step.saturating_mul(2)),
            gap,
        });
        true
    }

    /// Tones that are not sent yet, with the one that is being sent.
    pub fn len(&self) -> usize {
        self.waiting.len() + usize::from(self.current.is_some())
    }

    /// Takes `count` tones out, behind the first `skip`. The one that is being sent stays and ends
    /// with its next packets, the last of three: true.
    pub fn remove(&mut self, skip: usize, count: usize) -> bool {
        let begun = usize::from(self.current.is_some());
        let cut = skip == 0 && count > 0 && begun > 0;
        if cut && let Some((tone, sent)) = &mut self.current {
            // The next packet is the first of the three that end it.
            let with_next = u16::try_from(*sent + 1).unwrap_or(u16::MAX).saturating_mul(self.step);
            tone.duration = tone.duration.min(with_next.max(self.step.saturating_mul(2)));
            tone.gap = 0;
        }
        let from = skip.saturating_sub(begun).min(self.waiting.len());
        let to = (skip + count).saturating_sub(begun).clamp(from, self.waiting.len());
        self.waiting.drain(from..to);
        cut
    }

    /// Whether nothing is left to be sent.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.current.is_none()
    }

    /// Takes the next packet.
    ///
    /// Packets are 20 ms apart. The durations in them grow by 20 ms from the first; the last
    /// packet, with the end bit and the whole duration, is sent three times. The next tone waits
    /// for `gap` after the tone's end, and for these three packets.
    pub fn next_packet(&mut self) -> Option<EventPacket> {
        let (tone, sent) = match self.current {
            Some(current) => current,
            None => (self.waiting.pop_front()?, 0),
        };
        let step = u32::from(self.step);
        let growing = u32::from(tone.duration).div_ceil(step) - 1;
        let end = sent >= growing;
        let duration = if end { tone.duration } else { ((sent + 1) * step) as u16 };
        let last = sent + 1 == growing + END_PACKETS;
        self.current = (!last).then_some((tone, sent + 1));
        let gap_left = if last && !self.waiting.is_empty() {
            (u32::from(tone.duration).saturating_add(tone.gap)).saturating_sub(sent * step)
        } else {
            0
        };
        Some(EventPacket {
            payload: Event { code: tone.code, end, volume: VOLUME, duration }.write(),
            first: sent == 0,
            last,
            wait: gap_left.max(step),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut ToneQueue) -> Vec<(u32, bool, Event)> {
        let mut at = 0;
        std::iter::from_fn(|| {
            let packet = queue.next_packet()?;
            let sent = (at, packet.first, Event::read(packet.payload));
            at += packet.wait;
            Some(sent)
        })
        .collect()
    }

    #[test]
    fn durations_grow_and_the_end_is_sent_three_times() {
        let mut queue = ToneQueue::default();
        assert!(queue.push(4, 500, 0));
        let event = |end, duration| Event { code: 4, end, volume: VOLUME, duration };
        assert_eq!(
            drain(&mut queue),
            [
                (0, true, event(false, 160)),
                (160, false, event(false, 320)),
                (320, false, event(false, 480)),
                (480, false, event(true, 500)),
                (640, false, event(true, 500)),
                (800, false, event(true, 500)),
            ]
        );
        assert!(queue.is_empty());
    }

    #[test]
    fn the_next_tone_waits_for_the_gap_and_for_the_end_packets() {
        for (gap, second_starts) in [(0, 800), (2_000, 2_480)] {
            let mut queue = ToneQueue::default();
            assert!(queue.push(1, 480, gap) && queue.push(2, 480, gap));
            let starts: Vec<_> = drain(&mut queue)
                .into_iter()
                .filter_map(|(at, first, _)| first.then_some(at))
                .collect();
            assert_eq!(starts, [0, second_starts]);
        }
    }

    #[test]
    fn codes_beyond_the_keys_and_more_than_it_holds_are_refused() {
        let mut queue = ToneQueue::default();
        assert!(!queue.push(17, 480, 0));
        assert!((0..MOST_TONES).all(|_| queue.push(0, 480, 0)));
        assert!(!queue.push(0, 480, 0));
    }

    #[test]
    fn the_longest_tone_does_not_overflow() {
        let mut queue = ToneQueue::default();
        assert!(queue.push(0, u16::MAX, u32::MAX) && queue.push(1, 0, 0));
        let packets = drain_count(&mut queue);
        assert_eq!(packets, (410 - 1 + 3) + (2 - 1 + 3));
    }

    fn drain_count(queue: &mut ToneQueue) -> usize {
        std::iter::from_fn(|| queue.next_packet()).count()
    }
}
