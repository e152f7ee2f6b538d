//! Master keys, and the session keys that are derived from them (RFC 3711 §4.3, RFC 7714 §11).

use std::fmt;

use aws_lc_rs::{
    aead::{AES_128_GCM, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey},
};

/// The keys of one stream in both directions.
#[derive(Clone, Debug)]
pub struct SrtpKeys {
    /// Protects what we send. It is no other stream's: two streams with the same key and SSRC would
    /// encrypt twice under one nonce, and all is lost (RFC 7714 §8.1).
    pub local: MasterKey,
    /// Protects what the far end sends.
    pub remote: MasterKey,
}

/// A master key and its salt; random, exchanged by signalling. Never shown, in `Debug` neither.
#[derive(Clone)]
pub struct MasterKey {
    /// 128-bit master key.
    pub key: [u8; 16],
    /// 96-bit master salt.
    pub salt: [u8; 12],
}

/// Key and salt of RTP or of RTCP.
pub(super) struct SessionKey {
    pub(super) key: LessSafeKey,
    pub(super) salt: [u8; 12],
}

/// Which packets a session key is for (RFC 3711 §4.3.2).
#[derive(Clone, Copy)]
pub(super) enum Use {
    Rtp,
    Rtcp,
}

impl MasterKey {
    /// Derives a session key.
    pub(super) fn session(&self, purpose: Use) -> SessionKey {
        let (key_label, salt_label) = match purpose {
            Use::Rtp => (0x00, 0x02),
            Use::Rtcp => (0x03, 0x05),
        };
        // The derivation wants a salt of 112 bits: 16 zero bits follow (RFC 7714 §11).
        let mut salt = [0; 14];
        salt[..12].copy_from_slice(&self.salt);
        SessionKey::new(&derive(&self.key, &salt, key_label), derive(&self.key, &salt, salt_label))
    }
}

impl SessionKey {
    pub(super) fn new(key: &[u8; 16], salt: [u8; 12]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("the key has the cipher's length");
        Self { key: LessSafeKey::new(key), salt }
    }

    /// The nonce of an RTP packet: SSRC, roll-over counter and sequence number (RFC 7714 §8.1).
    /// `index` is below 2^48.
    pub(super) fn rtp_nonce(&self, ssrc: [u8; 4], index: u64) -> Nonce {
        let mut counted = [0; 12];
        counted[2..6].copy_from_slice(&ssrc);
        // The lower 48 bits are ROC and SEQ, by definition of the index (RFC 3711 §3.3.1).
        counted[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        self.salted(counted)
    }

    /// The nonce of an RTCP packet (RFC 7714 §9.1). `index` has 31 bits.
    pub(super) fn rtcp_nonce(&self, ssrc: [u8; 4], index: u32) -> Nonce {
        let mut counted = [0; 12];
        counted[2..6].copy_from_slice(&ssrc);
        counted[8..].copy_from_slice(&index.to_be_bytes());
        self.salted(counted)
    }

    fn salted(&self, mut nonce: [u8; 12]) -> Nonce {
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The first `N` octets of the AES-CM pseudo-random function for a label, at most 16
/// (RFC 3711 §4.3.3, with a key derivation rate of 0).
fn derive<const N: usize>(key: &[u8; 16], salt: &[u8; 14], label: u8) -> [u8; N] {
    let mut counter = [0; 16];
    counter[..14].copy_from_slice(salt);
    // The label stands above a 48-bit index, which is 0.
    counter[7] ^= label;
    let mut stream = [0; N];
    UnboundCipherKey::new(&AES_128, key)
        .and_then(EncryptingKey::ctr)
        .and_then(|key| {
            key.less_safe_encrypt(&mut stream, EncryptionContext::Iv128((&counter).into()))
        })
        .expect("key and counter have the cipher's lengths");
    stream
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3711 appendix B.3.
    #[test]
    fn keys_are_derived_as_in_rfc_3711() {
        let key = 0xE1F9_7A0D_3E01_8BE0_D64F_A32C_06DE_4139_u128.to_be_bytes();
        let salt = 0x0EC6_75AD_498A_FEEB_B696_0B3A_ABE6_0000_u128.to_be_bytes();
        let salt = *salt.first_chunk().unwrap();
        let cipher_key = 0xC61E_7A93_744F_39EE_1073_4AFE_3FF7_A087_u128.to_be_bytes();
        assert_eq!(derive::<16>(&key, &salt, 0), cipher_key);
        let cipher_salt = 0x30CB_BC08_863D_8C85_D49D_B34A_9AE1_0000_u128.to_be_bytes();
        assert_eq!(derive::<14>(&key, &salt, 2), cipher_salt[..14]);
        let auth_key = 0xCEBE_321F_6FF7_716B_6FD4_AB49_AF25_6A15_u128.to_be_bytes();
        assert_eq!(derive::<16>(&key, &salt, 1), auth_key);
    }

    #[test]
    fn keys_are_not_shown() {
        let key = MasterKey { key: [7; 16], salt: [9; 12] };
        let keys = SrtpKeys { local: key.clone(), remote: key };
        assert_eq!(format!("{keys:?}"), "SrtpKeys { local: MasterKey, remote: MasterKey }");
    }
}
