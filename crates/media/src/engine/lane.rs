//! The packets of a stream that need no decision: full ones, one after another out of the same
//! prompt, with nothing to be said or heard in between.
//!
//! Nearly all packets are such. A stream lends what they need to its lane, two cache lines where
//! the stream itself has twenty, and takes it back, with the books of what has left, before
//! anything else is done with it (`Stream::lend`, `Stream::take_back`).

use std::net::SocketAddr;

use super::{
    calendar::{Moment, WIDTH},
    playout::{Excerpt, MAX_PAYLOAD},
    send_clock::PACKET,
    sender::{Channel, Content, Datagram},
    stats::{LATE, nanoseconds},
};
use crate::{
    rtp::{HEADER_LEN, Header},
    srtp::Protect,
};

/// Packets that a lane is lent at most; the books of a stream are behind by as many.
pub(super) const LONGEST: u16 = 16;

/// What a stream lends.
#[repr(align(64))]
pub(super) struct Lane {
    pub(super) due: Moment,
    /// Of the next packet.
    pub(super) header: Header,
    /// Its sequence number with wraps counted.
    pub(super) index: u64,
    pub(super) to: SocketAddr,
    pub(super) excerpt: Excerpt,
    /// Packets that it may still lay down.
    pub(super) left: u16,
    /// Whether the stream has SRTP.
    pub(super) is_protected: bool,
    pub(super) books: Books,
}

/// What has become of the packets of a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Books {
    /// Packets that were laid down.
    pub(super) laid: u16,
    /// Packets that the kernel took.
    pub(super) sent: u16,
    /// Packets that it refused.
    pub(super) refused: u16,
    /// Packets that were [`LATE`].
    pub(super) late: u16,
    /// Nanoseconds.
    pub(super) max_lateness: u32,
    /// Payload octets of the packets sent.
    pub(super) octets: u32,
    /// When the last packet was sent, in nanoseconds since 1970.
    pub(super) wall: u64,
}

impl Lane {
    /// Whether the next packet may leave at `now`: one that is a whole packet late is the stream's
    /// business.
    pub(super) fn may_lay_down(&self, now: Moment) -> bool {
        self.left > 0 && self.due <= now + WIDTH && now.since(self.due) < PACKET
    }

    /// Lays the next packet down, for the stream of `slot`.
    pub(super) fn lay_down(
        &mut self,
        now: Moment,
        slot: usize,
        protect: Option<&Protect>,
        datagram: &mut Datagram,
    ) {
        let lateness = now.since(self.due);
        self.books.late += u16::from(lateness >= LATE);
        self.books.max_lateness = self.books.max_lateness.max(nanoseconds(lateness) as u32);
        datagram.slot = slot;
        datagram.channel = Channel::Rtp;
        datagram.to = self.to;
        datagram.content = Content::Routine;
        let (header, rest) = datagram.bytes.split_first_chunk_mut().expect("there is room for it");
        self.header.write(header);
        let payload: &mut [u8; MAX_PAYLOAD] =
            rest.first_chunk_mut().expect("there is room for the longest");
        datagram.len = HEADER_LEN + self.excerpt.next(payload);
        if let Some(protect) = protect {
            datagram.len = protect.rtp(&mut datagram.bytes, datagram.len, self.index);
        }
        self.header.sequence = self.header.sequence.wrapping_add(1);
        self.header.timestamp = self.header.timestamp.wrapping_add(self.excerpt.packet_units());
        self.index += 1;
        self.due = self.due + PACKET;
        self.left -= 1;
        self.books.laid += 1;
    }

    /// Notes that a packet was handed over at `wall`, nanoseconds since 1970, or could not be.
    pub(super) fn settle(&mut self, wall: u64, datagram: &Datagram) {
        if datagram.sent {
            self.books.sent += 1;
            self.books.octets += datagram.payload_len(self.is_protected) as u32;
            self.books.wall = wall;
        } else {
            self.books.refused += 1;
        }
    }
}

impl Books {
    /// Whether a packet is laid down of which it is not known whether it could be sent.
    pub(super) fn is_open(&self) -> bool {
        self.laid > self.sent + self.refused
    }
}
