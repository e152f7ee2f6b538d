//! SRTP and SRTCP with AEAD_AES_128_GCM (RFC 7714 on RFC 3711): one pass in place over a datagram.
//!
//! Keys are derived once per stream; per packet there is neither allocation nor lock. Master keys
//! are never derived from again (key derivation rate 0), and there is no MKI.

mod keys;
mod protect;
mod replay;
#[cfg(test)]
mod tests;
mod unprotect;

pub use self::{
    keys::{MasterKey, SrtpKeys},
    protect::Protect,
    unprotect::{PeerSrtpError, Unprotect},
};

/// Length of the authentication tag (RFC 7714 §13.2: 16 octets).
pub const TAG_LEN: usize = 16;

/// What protection adds to an RTP packet.
pub const SRTP_OVERHEAD: usize = TAG_LEN;

/// What protection adds to an RTCP compound: the tag, and the word with E flag and index.
pub const SRTCP_OVERHEAD: usize = TAG_LEN + 4;

/// What an RTCP compound keeps in clear: the first header and the sender's SSRC (RFC 3711 §3.4).
const RTCP_CLEAR: usize = 8;

/// The E flag of SRTCP: the packet is encrypted (RFC 3711 §3.4).
const ENCRYPTED: u32 = 1 << 31;
