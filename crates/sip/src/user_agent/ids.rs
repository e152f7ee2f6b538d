//! Random identifiers. The seed comes from outside, so a test sees the same ones every time.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Draws tags, branches, Call-IDs and nonces.
#[derive(Debug)]
pub(super) struct Ids(StdRng);

impl Ids {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self(StdRng::from_seed(seed))
    }

    /// 64 random bits.
    pub(super) fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 64 bits as text: a tag (RFC 3261 §19.3 asks for 32) or a client nonce.
    pub(super) fn tag(&mut self) -> String {
        format!("{:016x}", self.number())
    }

    /// 128 bits as text: nobody may guess a dialog's Call-ID.
    pub(super) fn call_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.number(), self.number())
    }

    /// A transaction's branch (RFC 3261 §8.1.1.7).
    pub(super) fn branch(&mut self) -> String {
        format!("z9hG4bK{:016x}", self.number())
    }

    /// A first CSeq, well below 2^31 (RFC 3261 §8.1.1.5).
    pub(super) fn first_cseq(&mut self) -> u32 {
        1 + (self.number() & 0x3FFF) as u32
    }
}
