//! Key presses: as telephone-events (RFC 4733), recognised once per press and sent with redundancy,
//! and as sound.

pub mod generate;
pub mod inband;
mod receive;
mod send;

pub use receive::KeyPresses;
pub use send::{EventPacket, MOST_TONES, ToneQueue};

/// Highest event code of a phone's keys: 0–9, `*` 10, `#` 11, A–D 12–15, flash 16
/// (RFC 4733 §3.2).
pub const HIGHEST_KEY: u8 = 16;

/// Length of one event in a payload.
pub const EVENT_LEN: usize = 4;

/// One event of a payload (RFC 4733 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Event code.
    pub code: u8,
    /// Whether the event has ended.
    pub end: bool,
    /// Power in −dBm0, 0–63.
    pub volume: u8,
    /// Length so far in timestamp units.
    pub duration: u16,
}

impl Event {
    /// Reads one event.
    pub fn read(bytes: [u8; EVENT_LEN]) -> Self {
        Self {
            code: bytes[0],
            end: bytes[1] & 0x80 != 0,
            volume: bytes[1] & 0x3F,
            duration: u16::from_be_bytes([bytes[2], bytes[3]]),
        }
    }

    /// Lays one event down.
    pub fn write(self) -> [u8; EVENT_LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3F, high, low]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_payload_is_laid_out_as_in_rfc_4733() {
        let event = Event { code: 11, end: true, volume: 10, duration: 800 };
        assert_eq!(event.write(), [11, 0x8A, 0x03, 0x20]);
        assert_eq!(Event::read([11, 0xCA, 0x03, 0x20]), event, "the reserved bit is ignored");
    }

    proptest! {
        #[test]
        fn a_press_sent_over_a_lossy_path_is_heard_once_if_any_packet_arrives(
            codes in proptest::collection::vec(0u8..=HIGHEST_KEY, 1..6),
            fates in proptest::collection::vec(0u8..3, 60),
        ) {
            let mut queue = ToneQueue::default();
            for &code in &codes {
                prop_assert!(queue.push(code, 480, 400));
            }
            let (mut now, mut timestamp) = (0u32, 0);
            let mut heard = Vec::new();
            let mut presses = KeyPresses::default();
            let mut arrived = vec![false; codes.len()];
            let (mut event, mut fate) = (0, fates.iter().cycle());
            while let Some(packet) = queue.next_packet() {
                if packet.first {
                    timestamp = now;
                    event += 1;
                }
                // Lost, delivered, or delivered twice.
                for _ in 0..*fate.next().unwrap() {
                    arrived[event - 1] = true;
                    presses.packet(packet.first, timestamp, &packet.payload, |code| heard.push(code));
                }
                now += packet.wait;
            }
            let expected: Vec<u8> =
                codes.iter().zip(&arrived).filter(|(_, came)| **came).map(|(code, _)| *code).collect();
            prop_assert_eq!(heard, expected);
        }

        #[test]
        fn no_payload_makes_the_recogniser_panic(
            packets in proptest::collection::vec(
                (any::<bool>(), any::<u32>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..20,
            ),
        ) {
            let mut presses = KeyPresses::default();
            for (marker, timestamp, payload) in packets {
                presses.packet(marker, timestamp, &payload, |code| assert!(code <= HIGHEST_KEY));
            }
        }
    }
}
