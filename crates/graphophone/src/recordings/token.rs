//! recordingAccessTokens: each opens one recording, until it has expired. Nothing of them is kept:
//! what opens a recording is told from its key, which is written beside it and nowhere else.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::{Secret, random_bytes};

/// Bytes of the time in a token, before its tag.
const TIME: usize = 8;
const TAG: usize = 32;

/// What a recording's tokens are made with: 32 random bytes, in base64 where they are written.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Key([u8; 32]);

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    Opens,
    /// It was a token of this recording.
    Expired,
    Nothing,
}

impl Key {
    pub(super) fn random() -> Self {
        Self(random_bytes())
    }

    /// A token of `recording` that opens it before `until`, in milliseconds since 1970.
    pub(super) fn token(&self, recording: Uuid, until: i64) -> Secret {
        let mut bytes = until.to_be_bytes().to_vec();
        bytes.extend_from_slice(hmac::sign(&self.code(), &signed(recording, until)).as_ref());
        Secret::new(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Compared in a time that does not tell how much of the token is right.
    pub(super) fn worth(&self, recording: Uuid, token: &str, now: i64) -> Worth {
        let mut bytes = [0; TIME + TAG];
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut bytes).unwrap_or(0);
        let (time, tag) = bytes.split_at(TIME);
        let until = i64::from_be_bytes(*time.first_chunk().expect("eight bytes were split off"));
        let made = hmac::verify(&self.code(), &signed(recording, until), tag);
        match made {
            Ok(()) if length == TIME + TAG && now < until => Worth::Opens,
            Ok(()) if length == TIME + TAG => Worth::Expired,
            Ok(()) | Err(_) => Worth::Nothing,
        }
    }

    fn code(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.0)
    }
}

fn signed(recording: Uuid, until: i64) -> [u8; 24] {
    let mut text = [0; 24];
    text[..16].copy_from_slice(recording.as_bytes());
    text[16..].copy_from_slice(&until.to_be_bytes());
    text
}

impl TryFrom<String> for Key {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| "a key is written in base64")?;
        bytes.try_into().map(Self).map_err(|_| "a key has 32 bytes")
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        URL_SAFE_NO_PAD.encode(key.0)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_its_recording_until_it_expires_and_no_other_one_ever() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let key = Key::random();
        let token = key.token(one, 1_000);
        for (now, worth) in [
            (i64::MIN, Worth::Opens),
            (999, Worth::Opens),
            (1_000, Worth::Expired),
            (i64::MAX, Worth::Expired),
        ] {
            assert_eq!(key.worth(one, token.expose(), now), worth, "{now}");
        }
        assert_eq!(key.worth(two, token.expose(), 0), Worth::Nothing);
        assert_eq!(Key::random().worth(one, token.expose(), 0), Worth::Nothing);
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(serde_json::from_str::<Key>(&json).unwrap(), key);
        assert_eq!(format!("{key:?}"), "Key(***)");
    }

    #[test]
    fn a_token_with_anything_changed_is_worth_nothing() {
        let (recording, key) = (Uuid::from_u128(1), Key::random());
        let token = key.token(recording, 1_000);
        let bytes = URL_SAFE_NO_PAD.decode(token.expose()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(key.worth(recording, &forged, 0), Worth::Nothing, "bit {bit}");
        }
        let longer = format!("{}AAAA", token.expose());
        let short = &token.expose()[..token.expose().len() - 1];
        for wrong in ["", "x", "=", "é", short, &longer, &"A".repeat(1 << 20)] {
            assert_eq!(key.worth(recording, wrong, 0), Worth::Nothing, "{} bytes", wrong.len());
        }
    }
}
