//! How packets leave: a batch of datagrams is laid down, then handed to the kernel at once.
//!
//! [`PacketSender`] is the seam: [`super::sockets`] crosses into the kernel, tests record packets
//! instead.

use std::net::{Ipv4Addr, SocketAddr};

use super::playout::{Filled, MAX_PAYLOAD};
use crate::{
    rtcp::MAX_COMPOUND_LEN,
    rtp::HEADER_LEN,
    srtp::{SRTCP_OVERHEAD, SRTP_OVERHEAD},
};

/// Datagrams that are handed over together.
pub(super) const BATCH: usize = 64;

/// Room for everything we send: RTP with the longest payload, and a report, both protected.
pub(super) const MAX_DATAGRAM_LEN: usize = {
    let (rtp, rtcp) = (HEADER_LEN + MAX_PAYLOAD + SRTP_OVERHEAD, MAX_COMPOUND_LEN + SRTCP_OVERHEAD);
    if rtp > rtcp { rtp } else { rtcp }
};

/// Which of a stream's sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    /// RTP, and RTCP if multiplexed.
    Rtp,
    /// RTCP on its own port.
    Rtcp,
    /// None: a stream without a far end says it to its room.
    Room,
}

/// What a datagram is, for the books that are kept once it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Audio of the playout.
    Audio {
        /// Its samples.
        filled: Filled,
        /// Its sequence number with wraps counted.
        index: u64,
    },
    /// Audio of a playout and what is mixed over it; in the books of [`super::overlay::Overlays`].
    Mixed {
        /// Its sequence number with wraps counted.
        index: u64,
    },
    /// Audio that is in the books of the stream's [`super::lane::Lane`].
    Routine,
    /// Audio of a feed.
    Live,
    /// A telephone-event.
    Event,
    /// An RTCP compound.
    Report,
}

/// One datagram.
#[derive(Clone, Debug)]
pub(super) struct Datagram {
    /// The stream's slot.
    pub(super) slot: usize,
    pub(super) channel: Channel,
    pub(super) to: SocketAddr,
    pub(super) content: Content,
    /// Whether the kernel took it; set by the sender.
    pub(super) sent: bool,
    pub(super) len: usize,
    pub(super) bytes: [u8; MAX_DATAGRAM_LEN],
}

impl Datagram {
    /// Octets of an RTP packet's payload, before it was protected.
    pub(super) fn payload_len(&self, is_protected: bool) -> usize {
        self.len - HEADER_LEN - if is_protected { SRTP_OVERHEAD } else { 0 }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Takes batches of datagrams.
pub(super) trait PacketSender {
    /// Hands every datagram but those of [`Channel::Room`] to the kernel, in order, and sets `sent`.
    fn send(&mut self, batch: &mut [Datagram]);
}

/// Datagrams in preallocated places.
pub(super) struct Batch {
    datagrams: Box<[Datagram]>,
    used: usize,
}

impl Batch {
    pub(super) fn new() -> Self {
        let empty = Datagram {
            slot: 0,
            channel: Channel::Rtp,
            to: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            content: Content::Event,
            sent: false,
            len: 0,
            bytes: [0; MAX_DATAGRAM_LEN],
        };
        Self { datagrams: vec![empty; BATCH].into(), used: 0 }
    }

    pub(super) fn has_room(&self, datagrams: usize) -> bool {
        self.used + datagrams <= self.datagrams.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// The next free place. The batch must not be full.
    pub(super) fn push(&mut self) -> &mut Datagram {
        let datagram = &mut self.datagrams[self.used];
        self.used += 1;
        datagram.sent = false;
        datagram
    }

    /// The datagrams laid down so far; empties the batch.
    pub(super) fn take(&mut self) -> &mut [Datagram] {
        &mut self.datagrams[..std::mem::take(&mut self.used)]
    }
}
