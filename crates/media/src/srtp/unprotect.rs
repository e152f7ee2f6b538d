//! The far end's side: authenticates and decrypts what comes, and refuses what came before.

use std::fmt;

use aws_lc_rs::aead::Aad;

use super::{
    ENCRYPTED, MasterKey, RTCP_CLEAR, TAG_LEN,
    keys::{SessionKey, Use},
    replay::{Refused, Sources},
};
use crate::rtp::{self, HEADER_LEN};

/// The cryptographic context of what a far end sends, whatever sources it has; at most 16 of RTP
/// and 16 of RTCP.
pub struct Unprotect {
    rtp: SessionKey,
    rtcp: SessionKey,
    rtp_sources: Sources,
    rtcp_sources: Sources,
}

/// Why a datagram is not the far end's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerSrtpError {
    /// Too short to be what it says, or longer than the room for it.
    #[error("the peer's SRTP packet has an impossible length")]
    Length,
    /// The tag is not that of these octets under the key.
    #[error("the peer's SRTP packet is not authentic")]
    Unauthentic,
    /// It was there already, or is too old to tell.
    #[error("the peer's SRTP packet was replayed")]
    Replayed,
    /// The far end has used 16 sources with this key.
    #[error("the peer has too many SRTP sources")]
    TooManySources,
}

impl Unprotect {
    /// Derives the session keys.
    pub fn new(key: &MasterKey) -> Self {
        Self::with(key.session(Use::Rtp), key.session(Use::Rtcp))
    }

    pub(super) fn with(rtp: SessionKey, rtcp: SessionKey) -> Self {
        Self { rtp, rtcp, rtp_sources: Sources::new(), rtcp_sources: Sources::new() }
    }

    /// Decrypts an SRTP packet to `clear` and returns the RTP packet in it.
    ///
    /// # Errors
    /// [`PeerSrtpError`]; then nothing in `clear` may be used, and nothing is remembered.
    pub fn rtp<'a>(
        &mut self,
        datagram: &[u8],
        clear: &'a mut [u8],
    ) -> Result<&'a [u8], PeerSrtpError> {
        let header_len = rtp::header_len(datagram).map_err(|_| PeerSrtpError::Length)?;
        let (sealed, tag) = split_tag(datagram)?;
        let (header, sealed) = sealed.split_at_checked(header_len).ok_or(PeerSrtpError::Length)?;
        let fixed = header.first_chunk::<HEADER_LEN>().ok_or(PeerSrtpError::Length)?;
        let sequence = u16::from_be_bytes([fixed[2], fixed[3]]);
        let ssrc = [fixed[8], fixed[9], fixed[10], fixed[11]];
        let source = u32::from_be_bytes(ssrc);
        let index = self.rtp_sources.estimate(source, sequence).ok_or(PeerSrtpError::Replayed)?;
        self.rtp_sources.check(source, index)?;

        let clear = clear.get_mut(..header.len() + sealed.len()).ok_or(PeerSrtpError::Length)?;
        let (clear_header, payload) = clear.split_at_mut(header.len());
        clear_header.copy_from_slice(header);
        let nonce = self.rtp.rtp_nonce(ssrc, index);
        self.rtp
            .key
            .open_separate_gather(nonce, Aad::from(header), sealed, tag, payload)
            .map_err(|_| PeerSrtpError::Unauthentic)?;
        self.rtp_sources.accept(source, index);
        Ok(clear)
    }

    /// Decrypts an SRTCP packet to `clear` and returns the RTCP compound in it. One that is
    /// authenticated only (RFC 7714 §9.3) is taken as well.
    ///
    /// # Errors
    /// [`PeerSrtpError`]; then nothing in `clear` may be used, and nothing is remembered.
    pub fn rtcp<'a>(
        &mut self,
        datagram: &[u8],
        clear: &'a mut [u8],
    ) -> Result<&'a [u8], PeerSrtpError> {
        let (sealed, word) = datagram.split_last_chunk::<4>().ok_or(PeerSrtpError::Length)?;
        let (sealed, tag) = split_tag(sealed)?;
        let (header, body) =
            sealed.split_first_chunk::<RTCP_CLEAR>().ok_or(PeerSrtpError::Length)?;
        let ssrc = [header[4], header[5], header[6], header[7]];
        let source = u32::from_be_bytes(ssrc);
        let flag_and_index = u32::from_be_bytes(*word);
        let index = flag_and_index & !ENCRYPTED;
        self.rtcp_sources.check(source, index.into())?;

        // Room for the word, too, which follows the clear compound where it is all that is read.
        let clear = clear.get_mut(..sealed.len() + 4).ok_or(PeerSrtpError::Length)?;
        let nonce = self.rtcp.rtcp_nonce(ssrc, index);
        let opened = if flag_and_index & ENCRYPTED != 0 {
            let mut associated = [0; RTCP_CLEAR + 4];
            associated[..RTCP_CLEAR].copy_from_slice(header);
            associated[RTCP_CLEAR..].copy_from_slice(word);
            clear[..RTCP_CLEAR].copy_from_slice(header);
            let body_place = &mut clear[RTCP_CLEAR..sealed.len()];
            self.rtcp.key.open_separate_gather(nonce, Aad::from(associated), body, tag, body_place)
        } else {
            clear[..sealed.len()].copy_from_slice(sealed);
            clear[sealed.len()..].copy_from_slice(word);
            self.rtcp.key.open_separate_gather(nonce, Aad::from(&*clear), &[], tag, &mut [])
        };
        opened.map_err(|_| PeerSrtpError::Unauthentic)?;
        self.rtcp_sources.accept(source, index.into());
        Ok(&clear[..sealed.len()])
    }
}

fn split_tag(datagram: &[u8]) -> Result<(&[u8], &[u8; TAG_LEN]), PeerSrtpError> {
    datagram.split_last_chunk().ok_or(PeerSrtpError::Length)
}

impl From<Refused> for PeerSrtpError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Replayed => Self::Replayed,
            Refused::TooManySources => Self::TooManySources,
        }
    }
}

impl fmt::Debug for Unprotect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unprotect").finish_non_exhaustive()
    }
}
