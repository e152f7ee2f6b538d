//! Compact JSON Web Signatures (RFC 7515 §7.1): RS256, and ES256 with keys of other issuers.
//!
//! Why not a library's `decode`: it reads the system clock, parses the private key anew for each
//! signature and keeps only the last of two equal claims. What is left after that is the split at
//! the dots, so it stands here; the tests check it against `jsonwebtoken` both ways.

use std::borrow::Borrow;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned, de::IgnoredAny};

use super::{
    jwk::{Algorithm, VerifyingKey},
    keys::SigningKey,
};

/// Longest token that is looked at, in bytes. Ours have about 1 KiB.
pub(super) const MAX_TOKEN: usize = 16 * 1024;

/// Why a token is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum JwsError {
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    #[error("the token is not three base64url parts of JSON, JSON and signature")]
    Malformed,
    #[error("the token's algorithm is not that of its key")]
    Algorithm,
    #[error("the token's header asks for something that is not done here")]
    Header,
    #[error("the token names a key that is not ours")]
    KeyUnknown,
    #[error("the token's signature is wrong")]
    Signature,
}

/// Signs `claims`; the header is `typ`, `alg`, `kid` and `x5t`.
pub(super) fn sign(key: &SigningKey, claims: &impl Serialize) -> String {
    let header = Header { typ: "JWT", alg: "RS256", kid: key.kid(), x5t: key.kid() };
    let header = serde_json::to_vec(&header).expect("a struct of texts is JSON");
    let claims = serde_json::to_vec(claims).expect("claims have text keys");
    let mut token = URL_SAFE_NO_PAD.encode(header);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// A token in three parts whose header is one that we do; nothing in it is believed yet.
pub(super) struct Token<'a> {
    message: &'a str,
    claims: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
    kid: String,
}

impl<'a> Token<'a> {
    /// Checks form and header. Nothing in the header can choose an algorithm, bring a key or cause a
    /// fetch: `alg` has to be the key's, and `kid` is an opaque text.
    pub(super) fn read(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN {
            return Err(JwsError::TooLong);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(JwsError::Malformed)?;

        let header: ForeignHeader = decode_json(header)?;
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rs256,
            "ES256" => Algorithm::Es256,
            _ => return Err(JwsError::Algorithm),
        };
        let is_jwt = |typ: &str| {
            // RFC 7519 §5.1, and RFC 9068 §2.1 for access tokens.
            ["jwt", "at+jwt", "application/at+jwt"]
                .iter()
                .any(|known| typ.eq_ignore_ascii_case(known))
        };
        if !header.typ.as_deref().is_none_or(is_jwt) || header.demands_more() {
            return Err(JwsError::Header);
        }
        let kid = header.kid.filter(|kid| !kid.is_empty()).ok_or(JwsError::KeyUnknown)?;
        Ok(Self { message, claims, signature, algorithm, kid })
    }

    /// Name of the key, as the token says.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    /// Checks the signature, and only then reads the claims.
    pub(super) fn verify<C: DeserializeOwned>(&self, key: &VerifyingKey) -> Result<C, JwsError> {
        if key.algorithm() != self.algorithm {
            return Err(JwsError::Algorithm);
        }
        let signature = decode(self.signature)?;
        if !key.verifies(self.message.as_bytes(), &signature) {
            return Err(JwsError::Signature);
        }
        decode_json(self.claims)
    }

    /// Claims that nobody vouches for: good for finding out whose key to check with.
    pub(super) fn unverified<C: DeserializeOwned>(&self) -> Result<C, JwsError> {
        decode_json(self.claims)
    }
}

/// Checks form, header and signature, in this order, and only then reads the claims. `find` gets
/// the header's `kid`.
pub(super) fn verify<C, K>(token: &str, find: impl FnOnce(&str) -> Option<K>) -> Result<C, JwsError>
where
    C: DeserializeOwned,
    K: Borrow<VerifyingKey>,
{
    let token = Token::read(token)?;
    token.verify(find(token.kid()).ok_or(JwsError::KeyUnknown)?.borrow())
}

#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'a str,
    kid: &'a str,
    x5t: &'a str,
}

/// A header before anything in it is believed. serde refuses a member that occurs twice.
#[derive(Deserialize)]
struct ForeignHeader {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    #[serde(default, deserialize_with = "present")]
    crit: bool,
    #[serde(default, deserialize_with = "present")]
    b64: bool,
    #[serde(default, deserialize_with = "present")]
    jku: bool,
    #[serde(default, deserialize_with = "present")]
    jwk: bool,
    #[serde(default, deserialize_with = "present")]
    x5u: bool,
    #[serde(default, deserialize_with = "present")]
    x5c: bool,
    #[serde(default, deserialize_with = "present")]
    cty: bool,
    #[serde(default, deserialize_with = "present")]
    enc: bool,
    #[serde(default, deserialize_with = "present")]
    zip: bool,
}

impl ForeignHeader {
    /// Whether it brings a key along, changes how the signature is made (RFC 7515 §4.1.11,
    /// RFC 7797) or wraps another token.
    fn demands_more(&self) -> bool {
        let brings_key = self.jku || self.jwk || self.x5u || self.x5c;
        let changes_form = self.crit || self.b64;
        let wraps = self.cty || self.enc || self.zip;
        brings_key || changes_form || wraps
    }
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed)
}

fn decode_json<T: DeserializeOwned>(part: &str) -> Result<T, JwsError> {
    serde_json::from_slice(&decode(part)?).map_err(|_| JwsError::Malformed)
}
