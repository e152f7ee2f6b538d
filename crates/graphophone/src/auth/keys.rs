//! The RSA keys that tokens are signed with, their files, and how others see them (JWKS).
//!
//! There are two keys with one purpose each: one signs the access tokens that bots fetch, the
//! other the tokens in our notifications. A bot holds tokens of the second kind for its own
//! checks; with separate keys none of them can pass for an access token, whatever its claims say.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{
        KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
        RsaPublicKeyComponents,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
    pem::{self, PemObject as _},
};
use serde::{Deserialize, Serialize};

use super::private_file::{self, FileError};

/// File of the key for access tokens, inside the data directory.
pub const TOKEN_KEY_FILE: &str = "token-signing.pem";
/// File of the key for notifications, inside the data directory.
pub const NOTIFICATION_KEY_FILE: &str = "notification-signing.pem";

/// Both signing keys of a server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) tokens: Arc<SigningKey>,
    pub(super) notifications: Arc<SigningKey>,
}

impl Keys {
    /// Loads both keys from `directory`; makes the directory and those keys that are not there
    /// (2048 bits, PKCS#8 PEM and certificate in one file of mode 0600).
    ///
    /// # Errors
    /// A file that cannot be read or written, or holds something else than such a key.
    pub fn open(directory: &Path) -> Result<Self, KeyFileError> {
        private_file::create_directory(directory)?;
        Ok(Self {
            tokens: SigningKey::open(&directory.join(TOKEN_KEY_FILE))?.into(),
            notifications: SigningKey::open(&directory.join(NOTIFICATION_KEY_FILE))?.into(),
        })
    }

    /// New keys that live only as long as this value.
    ///
    /// # Errors
    /// None in practice: the library reports failures of its random generator here.
    pub fn ephemeral() -> Result<Self, KeyFileError> {
        let memory = Path::new("(in memory)");
        let fresh = || SigningKey::from_pem(memory, SigningKey::generate_pem()?.as_bytes());
        Ok(Self { tokens: fresh()?.into(), notifications: fresh()?.into() })
    }

    /// What access tokens are checked with: `/{tenant}/discovery/v2.0/keys`.
    pub fn token_jwks(&self) -> Jwks {
        Jwks { keys: vec![self.tokens.jwk()] }
    }

    /// What notifications are checked with: `/v1/.well-known/keys`.
    pub fn notification_jwks(&self) -> Jwks {
        Jwks { keys: vec![self.notifications.jwk()] }
    }
}

/// Why a key file cannot be used. Each variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The operating system does not let us use it.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its contents are not what they should be.
    #[error("the key file {} is broken: {fault}; restore it, or delete it to get a new key", path.display())]
    ConfigBroken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// The library could not make a key or its certificate.
    #[error("no RSA key could be made")]
    Generation(#[source] rcgen::Error),
}

impl KeyFileError {
    /// Whether a person has to change the file or its directory before it can be used.
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::File(_) | Self::ConfigBroken { .. } => true,
            Self::Generation(_) => false,
        }
    }
}

/// What is wrong with the contents of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// No PEM section with a private key.
    #[error("it has no PRIVATE KEY section in PEM form")]
    NoPrivateKey,
    /// A PEM section that does not parse.
    #[error("its PEM text is damaged")]
    DamagedPem,
    /// PKCS#1 or SEC1.
    #[error("its key is not PKCS#8 (convert it with openssl pkcs8 -topk8 -nocrypt)")]
    NotPkcs8,
    /// Another kind of key, a shorter one, or numbers that do not belong together.
    #[error("its key is not a sound RSA key of 2048 to 8192 bits")]
    NotRsa,
    /// Certificate of another key.
    #[error("its certificate belongs to another key")]
    ForeignCertificate,
}

/// An RSA key that signs RS256, with the names it goes by.
pub struct SigningKey {
    pair: RsaKeyPair,
    certificate: CertificateDer<'static>,
    /// Thumbprint of the certificate, in base64url: both `kid` and `x5t`, as in Entra.
    kid: String,
    verifying: VerifyingKey,
}

impl SigningKey {
    /// Name of the key in token headers: `kid`, and `x5t` as well.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public half.
    pub fn verifying(&self) -> &VerifyingKey {
        &self.verifying
    }

    /// RSASSA-PKCS1-v1_5 with SHA-256. About half a millisecond of CPU.
    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("the key was checked when it was loaded, the buffer has its length");
        signature
    }

    fn open(path: &Path) -> Result<Self, KeyFileError> {
        if private_file::world_readable(path) {
            tracing::warn!(file = %path.display(), "everyone may read this private key");
        }
        let make = Self::generate_pem;
        Self::from_pem(path, &private_file::read_or_create(path, private_file::PRIVATE, make)?)
    }

    fn generate_pem() -> Result<String, KeyFileError> {
        let pair =
            rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048)
                .map_err(KeyFileError::Generation)?;
        let certificate = self_signed(&pair).map_err(KeyFileError::Generation)?;
        Ok(pair.serialize_pem() + &certificate.pem())
    }

    fn from_pem(path: &Path, contents: &[u8]) -> Result<Self, KeyFileError> {
        let broken = |fault| KeyFileError::ConfigBroken { path: path.to_owned(), fault };
        let pkcs8 = match PrivateKeyDer::from_pem_slice(contents) {
            Ok(PrivateKeyDer::Pkcs8(pkcs8)) => pkcs8,
            Ok(_) => return Err(broken(KeyFault::NotPkcs8)),
            Err(pem::Error::NoItemsFound) => return Err(broken(KeyFault::NoPrivateKey)),
            Err(_) => return Err(broken(KeyFault::DamagedPem)),
        };
        let pair = RsaKeyPair::from_pkcs8(pkcs8.secret_pkcs8_der())
            .map_err(|_| broken(KeyFault::NotRsa))?;
        let certificate = match CertificateDer::from_pem_slice(contents) {
            Ok(certificate) => certificate,
            // An operator's own key without a certificate: ours is the same at every start.
            Err(pem::Error::NoItemsFound) => self_signed_from(&pkcs8)?,
            Err(_) => return Err(broken(KeyFault::DamagedPem)),
        };
        let public = pair.public_key();
        if !contains(&certificate, public.as_ref()) {
            return Err(broken(KeyFault::ForeignCertificate));
        }
        let n = public.modulus().big_endian_without_leading_zero().to_vec();
        let e = public.exponent().big_endian_without_leading_zero().to_vec();
        let verifying =
            VerifyingKey::from_components(n, e).ok_or_else(|| broken(KeyFault::NotRsa))?;
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        Ok(Self { pair, certificate, kid, verifying })
    }

    fn jwk(&self) -> Jwk {
        Jwk {
            kty: "RSA".to_owned(),
            key_use: Some("sig".to_owned()),
            alg: Some("RS256".to_owned()),
            kid: self.kid.clone(),
            x5t: Some(self.kid.clone()),
            n: URL_SAFE_NO_PAD.encode(&self.verifying.n),
            e: URL_SAFE_NO_PAD.encode(&self.verifying.e),
            // RFC 7517 §4.7: plain base64, not base64url.
            x5c: vec![STANDARD.encode(&self.certificate)],
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A public RSA key that checks RS256 and nothing else.
pub struct VerifyingKey {
    n: Vec<u8>,
    e: Vec<u8>,
    parsed: ParsedPublicKey,
}

impl VerifyingKey {
    fn from_components(n: Vec<u8>, e: Vec<u8>) -> Option<Self> {
        let components = RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
        Some(Self { n, e, parsed })
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.parsed.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifyingKey").field("bits", &(self.n.len() * 8)).finish_non_exhaustive()
    }
}

/// A JSON Web Key Set (RFC 7517 §5), ours or one that was fetched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Jwks {
    /// The keys, of which only RSA keys are used.
    pub keys: Vec<Jwk>,
}

impl Jwks {
    /// The key of that name, if it is an RSA key of at least 2048 bits meant for signatures.
    pub fn key(&self, kid: &str) -> Option<VerifyingKey> {
        let usable = |jwk: &&Jwk| {
            jwk.kid == kid
                && jwk.kty == "RSA"
                && jwk.key_use.as_deref().is_none_or(|key_use| key_use == "sig")
                && jwk.alg.as_deref().is_none_or(|alg| alg == "RS256")
        };
        let jwk = self.keys.iter().find(usable)?;
        let n = URL_SAFE_NO_PAD.decode(&jwk.n).ok()?;
        let e = URL_SAFE_NO_PAD.decode(&jwk.e).ok()?;
        VerifyingKey::from_components(n, e)
    }
}

/// One public key as JSON (RFC 7517 §4, RFC 7518 §6.3). Members of other key types are ignored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Jwk {
    /// Key type: `RSA`.
    pub kty: String,
    /// `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub key_use: Option<String>,
    /// `RS256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Name of the key, an opaque text.
    #[serde(default)]
    pub kid: String,
    /// SHA-1 thumbprint of the certificate, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x5t: Option<String>,
    /// Modulus, big-endian, base64url.
    #[serde(default)]
    pub n: String,
    /// Public exponent, big-endian, base64url.
    #[serde(default)]
    pub e: String,
    /// Certificate chain, DER in plain base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub x5c: Vec<String>,
}

/// A certificate only to have a thumbprint: nothing in it is ever checked. Its dates are fixed so
/// that the same key always gets the same certificate.
fn self_signed(pair: &rcgen::KeyPair) -> Result<rcgen::Certificate, rcgen::Error> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Graphophone token signing");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    params.self_signed(pair)
}

fn self_signed_from(
    pkcs8: &PrivatePkcs8KeyDer<'_>,
) -> Result<CertificateDer<'static>, KeyFileError> {
    let make = || {
        let algorithm = &rcgen::PKCS_RSA_SHA256;
        let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(pkcs8, algorithm)?;
        Ok(self_signed(&pair)?.der().clone())
    };
    make().map_err(KeyFileError::Generation)
}

/// Whether a certificate carries that public key: its DER holds the key's bytes as they are.
pub(super) fn contains(certificate: &[u8], public_key: &[u8]) -> bool {
    certificate.windows(public_key.len()).any(|window| window == public_key)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn keys_are_made_once_owner_only_and_found_again_under_the_same_names() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let first = Keys::open(&data).unwrap();
        let again = Keys::open(&data).unwrap();
        assert_eq!(first.tokens.kid(), again.tokens.kid());
        assert_eq!(first.notifications.kid(), again.notifications.kid());
        assert_ne!(first.tokens.kid(), first.notifications.kid());
        for file in [TOKEN_KEY_FILE, NOTIFICATION_KEY_FILE] {
            let mode = fs::metadata(data.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        let signature = first.tokens.sign(b"message");
        assert!(again.tokens.verifying().verifies(b"message", &signature));
        assert!(!again.tokens.verifying().verifies(b"massage", &signature));
        assert!(!again.notifications.verifying().verifies(b"message", &signature));
    }

    #[test]
    fn a_key_without_a_certificate_has_the_same_name_at_every_start() {
        let directory = tempfile::tempdir().unwrap();
        Keys::open(directory.path()).unwrap();
        let path = directory.path().join(TOKEN_KEY_FILE);
        let with = fs::read_to_string(&path).unwrap();
        let named = Keys::open(directory.path()).unwrap().tokens.kid().to_owned();
        fs::write(&path, with.split("-----BEGIN CERTIFICATE").next().unwrap()).unwrap();
        assert_eq!(Keys::open(directory.path()).unwrap().tokens.kid(), named);
    }

    #[test]
    fn a_broken_key_file_is_refused_by_name_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        Keys::open(directory.path()).unwrap();
        let path = directory.path().join(TOKEN_KEY_FILE);
        let good = fs::read_to_string(&path).unwrap();
        let other = fs::read_to_string(directory.path().join(NOTIFICATION_KEY_FILE)).unwrap();
        let key_of = |pem: &str| pem.split("-----BEGIN CERTIFICATE").next().unwrap().to_owned();
        let mixed = key_of(&good) + &other[key_of(&other).len()..];
        let elliptic = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let cases = [
            (String::new(), KeyFault::NoPrivateKey),
            ("not a key\n".to_owned(), KeyFault::NoPrivateKey),
            (good[key_of(&good).len()..].to_owned(), KeyFault::NoPrivateKey),
            (good[..good.len() / 3].to_owned(), KeyFault::DamagedPem),
            (good.replacen("MII", "!!!", 1), KeyFault::DamagedPem),
            (good.replacen("MII", "MIJ", 1), KeyFault::NotRsa),
            (elliptic, KeyFault::NotRsa),
            (good.replace("PRIVATE KEY", "RSA PRIVATE KEY"), KeyFault::NotPkcs8),
            (mixed, KeyFault::ForeignCertificate),
        ];
        for (contents, expected) in cases {
            fs::write(&path, &contents).unwrap();
            let error = Keys::open(directory.path()).unwrap_err();
            assert!(error.to_string().contains(TOKEN_KEY_FILE), "{error}");
            let KeyFileError::ConfigBroken { fault, .. } = error else { panic!("{error}") };
            assert_eq!(fault, expected);
            assert_eq!(fs::read_to_string(&path).unwrap(), contents, "nothing is overwritten");
        }
    }

    #[test]
    fn a_directory_in_place_of_a_key_file_is_an_unreadable_key_file() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join(TOKEN_KEY_FILE)).unwrap();
        let error = Keys::open(directory.path()).unwrap_err();
        assert!(matches!(error, KeyFileError::File(FileError::Unreadable { .. })), "{error}");
    }

    #[test]
    fn only_sound_rsa_signature_keys_are_taken_from_a_key_set() {
        let keys = Keys::ephemeral().unwrap();
        let good = keys.token_jwks();
        let kid = keys.tokens.kid();
        assert!(good.key(kid).is_some());
        assert!(good.key("").is_none());
        let with = |change: fn(&mut Jwk)| {
            let mut set = good.clone();
            set.keys.iter_mut().for_each(change);
            set.key(kid).is_some()
        };
        assert!(with(|jwk| jwk.alg = None));
        assert!(!with(|jwk| jwk.kty = "oct".into()));
        assert!(!with(|jwk| jwk.key_use = Some("enc".into())));
        assert!(!with(|jwk| jwk.alg = Some("HS256".into())));
        assert!(!with(|jwk| jwk.n = String::new()));
        assert!(!with(|jwk| jwk.e = "AA".into()));
        assert!(!with(|jwk| jwk.n = "*".into()));
        let foreign = r#"{"keys":[{"kty":"EC","kid":"a","crv":"P-256","x":"","y":""}]}"#;
        assert!(serde_json::from_str::<Jwks>(foreign).unwrap().key("a").is_none());
    }
}
