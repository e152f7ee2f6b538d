//! Public keys: as JSON Web Keys (RFC 7517), ours or another issuer's, and as what checks signatures.

use std::{collections::HashMap, fmt, sync::Arc};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Most keys that are taken from one key set; Entra has about ten.
const MAX_KEYS: usize = 64;

/// How a key signs. It belongs to the key: a token's header can only agree with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3).
    Rs256,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4).
    Es256,
}

impl Algorithm {
    /// The value of `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A public key that checks signatures of one algorithm and nothing else.
pub struct VerifyingKey {
    parsed: ParsedPublicKey,
    algorithm: Algorithm,
    fingerprint: [u8; 32],
}

impl VerifyingKey {
    /// An RSA key of 2048 to 8192 bits; `None` if it is not one.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let components = RsaPublicKeyComponents { n, e };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
        Some(Self { parsed, algorithm: Algorithm::Rs256, fingerprint: fingerprint(&[n, e]) })
    }

    /// A point on P-256; `None` if it is not one.
    fn p256(x: &[u8], y: &[u8]) -> Option<Self> {
        if x.len() != 32 || y.len() != 32 {
            return None;
        }
        // Uncompressed (SEC 1 §2.3.3).
        let point = [&[4], x, y].concat();
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).ok()?;
        Some(Self { parsed, algorithm: Algorithm::Es256, fingerprint: fingerprint(&[x, y]) })
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Tells keys apart that go by the same name.
    pub(super) fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn fingerprint(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// A JSON Web Key Set (RFC 7517 §5), ours or one that was fetched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys, of which only those for RS256 and ES256 are used.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// The key of that name, if it is a sound one meant for signatures.
    pub fn key(&self, kid: &str) -> Option<VerifyingKey> {
        self.keys.iter().filter(|jwk| jwk.kid == kid).find_map(Jwk::verifying)
    }
}

/// Reads a key set of another issuer: keys of kinds that we do not know are passed over (RFC 7517
/// §5), and so are those without a name. `None` if it is no key set.
pub(super) fn foreign_keys(text: &[u8]) -> Option<HashMap<String, Arc<VerifyingKey>>> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(text).ok()?;
    let mut keys = HashMap::new();
    let read = |key| serde_json::from_value::<Jwk>(key).ok().filter(|jwk| !jwk.kid.is_empty());
    for jwk in set.keys.into_iter().take(MAX_KEYS).filter_map(read) {
        if let Some(key) = jwk.verifying() {
            // The first one of a name counts, as in `Jwks::key`.
            keys.entry(jwk.kid).or_insert_with(|| Arc::new(key));
        }
    }
    Some(keys)
}

/// One public key as JSON (RFC 7517 §4, RFC 7518 §6.2 and §6.3).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `RSA` or `EC`.
    pub kty: String,
    /// `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub key_use: Option<String>,
    /// `RS256` or `ES256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Name of the key, an opaque text.
    #[serde(default)]
    pub kid: String,
    /// SHA-1 thumbprint of the certificate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5t: Option<String>,
    /// Modulus of an RSA key, big-endian, base64url.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub n: String,
    /// Public exponent of an RSA key, big-endian, base64url.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub e: String,
    /// Curve of an EC key: `P-256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// Coordinates of an EC key, 32 bytes each, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// See `x`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
    /// Certificate chain, DER in plain base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub x5c: Vec<String>,
}

impl Jwk {
    fn verifying(&self) -> Option<VerifyingKey> {
        let is_for_signatures = self.key_use.as_deref().is_none_or(|key_use| key_use == "sig");
        let key = match (self.kty.as_str(), self.crv.as_deref()) {
            _ if !is_for_signatures => return None,
            ("RSA", None) => VerifyingKey::rsa(&bytes(&self.n)?, &bytes(&self.e)?),
            ("EC", Some("P-256")) => {
                VerifyingKey::p256(&bytes(self.x.as_deref()?)?, &bytes(self.y.as_deref()?)?)
            }
            _ => None,
        };
        key.filter(|key| self.alg.as_deref().is_none_or(|alg| alg == key.algorithm().name()))
    }
}

fn bytes(base64url: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64url).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::auth::Keys;

    #[test]
    fn only_sound_signature_keys_are_taken_from_a_key_set() {
        let keys = Keys::ephemeral().unwrap();
        let good = keys.token_jwks(0);
        let kid = good.keys[0].kid.clone();
        assert_eq!(good.key(&kid).unwrap().algorithm(), Algorithm::Rs256);
        assert!(good.key("").is_none());
        let with = |change: fn(&mut Jwk)| {
            let mut set = good.clone();
            set.keys.iter_mut().for_each(change);
            set.key(&kid).is_some()
        };
        assert!(with(|jwk| jwk.alg = None));
        assert!(!with(|jwk| jwk.kty = "oct".into()));
        assert!(!with(|jwk| jwk.kty = "EC".into()));
        assert!(!with(|jwk| jwk.key_use = Some("enc".into())));
        assert!(!with(|jwk| jwk.alg = Some("HS256".into())));
        assert!(!with(|jwk| jwk.alg = Some("ES256".into())));
        assert!(!with(|jwk| jwk.n = String::new()));
        assert!(!with(|jwk| jwk.e = "AA".into()));
        assert!(!with(|jwk| jwk.n = "*".into()));
        let foreign = r#"{"keys":[{"kty":"EC","kid":"a","crv":"P-256","x":"","y":""}]}"#;
        assert!(serde_json::from_str::<Jwks>(foreign).unwrap().key("a").is_none());
    }

    /// RFC 7515 appendix A.3.
    fn rfc_7515_key() -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "kid": "a3",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    }

    #[test]
    fn an_elliptic_key_checks_the_signature_of_rfc_7515() {
        let keys = foreign_keys(json!({"keys": [rfc_7515_key()]}).to_string().as_bytes()).unwrap();
        let message = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
        let signature = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        let signature = bytes(signature).unwrap();
        assert_eq!(keys["a3"].algorithm(), Algorithm::Es256);
        assert!(keys["a3"].verifies(message.as_bytes(), &signature));
        assert!(!keys["a3"].verifies(b"another", &signature));
        // CVE-2022-21449: r and s of zero fit every message where nobody looks.
        assert!(!keys["a3"].verifies(message.as_bytes(), &[0; 64]));
        assert!(!keys["a3"].verifies(message.as_bytes(), b""));
    }

    #[test]
    fn what_is_no_key_of_ours_in_a_foreign_set_is_passed_over() {
        let mut off_the_curve = rfc_7515_key();
        off_the_curve["y"] = off_the_curve["x"].clone();
        off_the_curve["kid"] = json!("off");
        let mut nameless = rfc_7515_key();
        nameless.as_object_mut().unwrap().remove("kid");
        let set = json!({"keys": [
            7, {}, {"kty": "oct", "kid": "o", "k": "AA"}, {"kty": "OKP", "kid": "p"},
            off_the_curve, nameless, rfc_7515_key(),
        ]});
        let keys = foreign_keys(set.to_string().as_bytes()).unwrap();
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["a3"]);
        for text in ["", "[]", "{}", "{\"keys\": 1}", "<html>"] {
            assert!(foreign_keys(text.as_bytes()).is_none(), "{text}");
        }
        let mut many = json!({"keys": []});
        for number in 0..MAX_KEYS + 10 {
            let mut key = rfc_7515_key();
            key["kid"] = json!(number.to_string());
            many["keys"].as_array_mut().unwrap().push(key);
        }
        assert_eq!(foreign_keys(many.to_string().as_bytes()).unwrap().len(), MAX_KEYS);
    }
}
