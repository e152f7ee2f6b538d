//! Our side: encrypts what we have laid down.

use std::fmt;

use aws_lc_rs::aead::{Aad, Tag};

use super::{
    ENCRYPTED, MasterKey, RTCP_CLEAR, SRTCP_OVERHEAD, SRTP_OVERHEAD,
    keys::{SessionKey, Use},
};
use crate::rtp::HEADER_LEN;

/// The cryptographic context of what one source sends.
pub struct Protect {
    rtp: SessionKey,
    rtcp: SessionKey,
    /// SRTCP index of the next report, 31 bits; beyond them the key is used up.
    next_report: u32,
}

impl Protect {
    /// Derives the session keys.
    pub fn new(key: &MasterKey) -> Self {
        Self::with(key.session(Use::Rtp), key.session(Use::Rtcp))
    }

    pub(super) fn with(rtp: SessionKey, rtcp: SessionKey) -> Self {
        // An index of 0 would be as good, but RFC 3711 §3.2.1 counts before it sends.
        Self { rtp, rtcp, next_report: 1 }
    }

    /// Encrypts the RTP packet in the first `length` octets of `datagram` and returns the length
    /// with the tag. `index` is the sequence number with wraps counted from 0, below 2^48: its upper
    /// part is the roll-over counter (RFC 3711 §3.3.1). No index may be used twice.
    ///
    /// # Panics
    /// When the packet has no 12-octet header without CSRC and extension, which is what we send, or
    /// there is no room for [`SRTP_OVERHEAD`].
    pub fn rtp(&self, datagram: &mut [u8], length: usize, index: u64) -> usize {
        let (header, rest) = datagram.split_at_mut(HEADER_LEN);
        let (payload, rest) = rest.split_at_mut(length - HEADER_LEN);
        let tag = self.seal_rtp(header, payload, index);
        rest[..SRTP_OVERHEAD].copy_from_slice(tag.as_ref());
        length + SRTP_OVERHEAD
    }

    /// The same of any header, with CSRC list and extension.
    pub(super) fn seal_rtp(&self, header: &[u8], payload: &mut [u8], index: u64) -> Tag {
        let ssrc = [header[8], header[9], header[10], header[11]];
        let nonce = self.rtp.rtp_nonce(ssrc, index);
        self.rtp
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(header), payload)
            .expect("a datagram is far below the cipher's limit")
    }

    /// Whether [`Self::rtcp`] may be called: not after 2^31 reports (RFC 3711 §9.2).
    pub fn can_report(&self) -> bool {
        self.next_report < ENCRYPTED
    }

    /// Encrypts the RTCP compound in the first `length` octets of `datagram` and returns the length
    /// with tag and index.
    ///
    /// # Panics
    /// When it is shorter than 8 octets, there is no room for [`SRTCP_OVERHEAD`], or
    /// [`Self::can_report`] is false.
    pub fn rtcp(&mut self, datagram: &mut [u8], length: usize) -> usize {
        assert!(self.can_report(), "a nonce would be used twice");
        let index = self.next_report;
        self.next_report += 1;
        let (header, rest) = datagram.split_at_mut(RTCP_CLEAR);
        let (payload, rest) = rest.split_at_mut(length - RTCP_CLEAR);
        let word = (ENCRYPTED | index).to_be_bytes();
        // RFC 7714 §9.2.
        let mut associated = [0; RTCP_CLEAR + 4];
        associated[..RTCP_CLEAR].copy_from_slice(header);
        associated[RTCP_CLEAR..].copy_from_slice(&word);
        let nonce = self.rtcp.rtcp_nonce([header[4], header[5], header[6], header[7]], index);
        let tag = self
            .rtcp
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(associated), payload)
            .expect("a datagram is far below the cipher's limit");
        let (tag_place, rest) = rest.split_at_mut(tag.as_ref().len());
        tag_place.copy_from_slice(tag.as_ref());
        rest[..4].copy_from_slice(&word);
        length + SRTCP_OVERHEAD
    }

    #[cfg(test)]
    pub(super) fn set_next_report(&mut self, index: u32) {
        self.next_report = index;
    }
}

impl fmt::Debug for Protect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protect").finish_non_exhaustive()
    }
}
