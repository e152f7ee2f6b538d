//! Sequence numbers, timestamps and markers of what a stream sends.

use std::time::{Duration, Instant};

use crate::{
    codec::Codec,
    rtp::{Header, units},
};

/// Time between packets.
pub(super) const PACKET: Duration = Duration::from_millis(20);

/// The RTP clock of one stream.
#[derive(Debug)]
pub(super) struct SendClock {
    ssrc: u32,
    rate: u32,
    /// Timestamp units of a packet.
    packet_units: u32,
    first_timestamp: u32,
    first_index: u64,
    /// The next sequence number, with wraps counted.
    next_index: u64,
    last: Option<Last>,
}

/// The last talkspurt packet or event.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// When it was due, and the timestamp of that moment.
    at: Instant,
    timestamp: u32,
    /// When the next packet may leave.
    free_at: Instant,
    /// Whether audio at `free_at` continues the talkspurt.
    audio: bool,
}

impl SendClock {
    pub(super) fn new(ssrc: u32, codec: Codec, first_sequence: u16, first_timestamp: u32) -> Self {
        let first_index = u64::from(first_sequence);
        Self {
            ssrc,
            rate: codec.rate(),
            packet_units: codec.packet_units(),
            first_timestamp,
            first_index,
            next_index: first_index,
            last: None,
        }
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Index of the last packet; `None` before the first.
    pub(super) fn last_index(&self) -> Option<u64> {
        (self.next_index > self.first_index).then(|| self.next_index - 1)
    }

    /// When the next packet may leave, if something was sent before.
    pub(super) fn free_at(&self) -> Option<Instant> {
        self.last.map(|last| last.free_at)
    }

    /// The timestamp that belongs to a moment; `None` before the first packet.
    pub(super) fn timestamp_at(&self, at: Instant) -> Option<u32> {
        let last = self.last?;
        // A stream that is ahead of its schedule by part of a millisecond is not worth a sign.
        let elapsed = units(at.saturating_duration_since(last.at), self.rate) as u32;
        Some(last.timestamp.wrapping_add(elapsed))
    }

    /// The header of an audio packet that is due at `due`, and its index.
    ///
    /// Within a talkspurt the timestamp advances by samples. After silence it advances by the time
    /// that has passed and the marker is set (RFC 3550 §5.1, RFC 3551 §4.1).
    pub(super) fn audio(&mut self, payload_type: u8, due: Instant) -> (Header, u64) {
        let (timestamp, marker) = match self.last {
            Some(last) if last.audio && due <= last.free_at => {
                (last.timestamp.wrapping_add(self.packet_units), false)
            }
            _ => (self.timestamp_after_silence(due), true),
        };
        self.last = Some(Last { at: due, timestamp, free_at: due + PACKET, audio: true });
        self.next(payload_type, marker, timestamp)
    }

    /// Header and index of the audio packet that is due at [`Self::free_at`], if it continues the
    /// talkspurt; nothing is moved on.
    pub(super) fn routine(&self, payload_type: u8) -> Option<(Header, u64)> {
        let last = self.last.filter(|last| last.audio)?;
        let timestamp = last.timestamp.wrapping_add(self.packet_units);
        Some((self.header(payload_type, false, timestamp), self.next_index))
    }

    /// Moves on behind so many such packets, each due when the one before made room.
    pub(super) fn pass(&mut self, packets: u16) {
        self.next_index += u64::from(packets);
        if let Some(last) = &mut self.last {
            let span = PACKET * u32::from(packets);
            let units = self.packet_units.wrapping_mul(packets.into());
            last.timestamp = last.timestamp.wrapping_add(units);
            last.free_at += span;
            last.at = last.free_at - PACKET;
        }
    }

    /// The header of a telephone-event packet. All packets of an event have the timestamp of its
    /// beginning, the first has the marker (RFC 4733 §2.5.1).
    pub(super) fn event(
        &mut self,
        payload_type: u8,
        due: Instant,
        first: bool,
        wait: Duration,
    ) -> (Header, u64) {
        let free_at = due + wait;
        let (at, timestamp) = match self.last {
            Some(last) if !first => (last.at, last.timestamp),
            _ => (due, self.timestamp_after_silence(due)),
        };
        self.last = Some(Last { at, timestamp, free_at, audio: false });
        self.next(payload_type, first, timestamp)
    }

    /// Moves the place of the next packet to `to`; audio goes on there as if no time had passed.
    pub(super) fn slip(&mut self, to: Instant) {
        if let Some(last) = &mut self.last {
            last.at += to.saturating_duration_since(last.free_at);
            last.free_at = to;
        }
    }

    fn timestamp_after_silence(&self, due: Instant) -> u32 {
        self.last.map_or(self.first_timestamp, |last| {
            let elapsed = units(due.saturating_duration_since(last.at), self.rate) as u32;
            last.timestamp.wrapping_add(elapsed.max(self.packet_units))
        })
    }

    fn next(&mut self, payload_type: u8, marker: bool, timestamp: u32) -> (Header, u64) {
        let index = self.next_index;
        let header = self.header(payload_type, marker, timestamp);
        self.next_index += 1;
        (header, index)
    }

    fn header(&self, payload_type: u8, marker: bool, timestamp: u32) -> Header {
        // The lower half is the sequence number, by definition of the index.
        let sequence = self.next_index as u16;
        Header { marker, payload_type, sequence, timestamp, ssrc: self.ssrc }
    }
}
