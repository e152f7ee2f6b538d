//! Recognises key presses: one per event, however often its packets are repeated or lost.

use super::{EVENT_LEN, Event, HIGHEST_KEY};

/// Timestamps that step back by less are late packets of an old event; by more, the sender has
/// started over.
const LATE_SECONDS: u32 = 10;

/// Duration at which a long press continues in a new event (RFC 4733 §2.5.1.3).
const SEGMENT: u32 = 0xFFFF;

/// The state of one source's telephone-events.
#[derive(Clone, Debug)]
pub struct KeyPresses {
    /// Timestamp units in [`LATE_SECONDS`].
    late: u32,
    last: Option<Press>,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    code: u8,
    timestamp: u32,
    ended: bool,
}

impl Default for KeyPresses {
    /// For an RTP clock of 8 kHz.
    fn default() -> Self {
        Self::new(8_000)
    }
}

impl KeyPresses {
    /// For an RTP clock of `rate` hertz.
    pub fn new(rate: u32) -> Self {
        Self { late: rate.saturating_mul(LATE_SECONDS), last: None }
    }

    /// Takes the payload of a packet and calls `pressed` for each new key press, 0–16.
    ///
    /// A press is known by its timestamp: the first packet of it that arrives counts, whichever
    /// it is, so lost begins and ends do no harm. Bytes that are no whole event are ignored.
    pub fn packet(
        &mut self,
        marker: bool,
        timestamp: u32,
        payload: &[u8],
        mut pressed: impl FnMut(u8),
    ) {
        // Several events in a packet follow each other in time (RFC 4733 §2.5.1.5).
        let mut timestamp = timestamp;
        for bytes in payload.as_chunks::<EVENT_LEN>().0 {
            let event = Event::read(*bytes);
            if event.code <= HIGHEST_KEY && self.is_new(marker, timestamp, event) {
                pressed(event.code);
            }
            timestamp = timestamp.wrapping_add(u32::from(event.duration));
        }
    }

    fn is_new(&mut self, marker: bool, timestamp: u32, event: Event) -> bool {
        let mut continues = false;
        if let Some(last) = &mut self.last {
            let ahead = timestamp.wrapping_sub(last.timestamp);
            if ahead == 0 {
                last.ended |= event.end;
                return false;
            }
            if ahead >= u32::MAX - self.late {
                return false;
            }
            continues = !marker && !last.ended && ahead == SEGMENT && last.code == event.code;
        }
        self.last = Some(Press { code: event.code, timestamp, ended: event.end });
        !continues
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(packets: &[(bool, u32, Event)]) -> Vec<u8> {
        let mut heard = Vec::new();
        let mut presses = KeyPresses::default();
        for &(marker, timestamp, event) in packets {
            presses.packet(marker, timestamp, &event.write(), |code| heard.push(code));
        }
        heard
    }

    const fn event(code: u8, end: bool, duration: u16) -> Event {
        Event { code, end, volume: 10, duration }
    }

    #[test]
    fn a_press_whose_end_is_lost_does_not_swallow_the_next_of_the_same_key() {
        assert_eq!(
            heard(&[
                (true, 0, event(5, false, 160)),
                (false, 0, event(5, false, 320)),
                (true, 4_000, event(5, false, 160)),
            ]),
            [5, 5]
        );
    }

    #[test]
    fn late_repeats_of_an_old_end_are_not_presses() {
        assert_eq!(
            heard(&[
                (true, 0xFFFF_FF00, event(1, true, 800)),
                (true, 800, event(2, false, 160)),
                (false, 0xFFFF_FF00, event(1, true, 800)),
                (false, 800, event(2, true, 800)),
            ]),
            [1, 2]
        );
    }

    #[test]
    fn a_press_longer_than_one_event_counts_once() {
        assert_eq!(
            heard(&[
                (true, 100, event(9, false, 0xFFFF)),
                (false, 100 + 0xFFFF, event(9, false, 160)),
                (false, 100 + 0xFFFF, event(9, true, 320)),
                (true, 100 + 2 * 0xFFFF, event(9, false, 160)),
            ]),
            [9, 9]
        );
    }

    #[test]
    fn a_sender_that_starts_over_is_heard_again() {
        assert_eq!(
            heard(&[(true, 1_000_000, event(1, true, 800)), (true, 160, event(2, true, 800))]),
            [1, 2]
        );
    }

    #[test]
    fn other_events_are_ignored() {
        assert_eq!(heard(&[(true, 0, event(17, true, 800)), (true, 9, event(16, true, 1))]), [16]);
    }

    #[test]
    fn several_events_in_a_packet_are_each_heard_once() {
        let mut heard = Vec::new();
        let mut presses = KeyPresses::default();
        let payload = [event(1, true, 400).write(), event(2, false, 160).write()].concat();
        for _ in 0..2 {
            presses.packet(true, 0, &payload, |code| heard.push(code));
        }
        presses.packet(false, 400, &event(2, true, 400).write(), |code| heard.push(code));
        assert_eq!(heard, [1, 2]);
    }
}
