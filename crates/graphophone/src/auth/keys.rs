//! The RSA keys that tokens are signed with, and what is in their files.
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
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
    pem::{self, PemObject as _},
};
use serde::Serialize;

use super::{
    jwk::{Jwk, Jwks, VerifyingKey},
    private_file::{self, FileError},
    ring::{self, KeyStanding, Ring, RotateError, Rotation},
};

/// File of the first key for access tokens, inside the data directory. Those of later ones have the
/// time from which on they sign before the `.pem`.
pub const TOKEN_KEY_FILE: &str = "token-signing.pem";
/// File of the first key for notifications, inside the data directory.
pub const NOTIFICATION_KEY_FILE: &str = "notification-signing.pem";

/// The signing keys of a server, for both purposes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) tokens: Arc<Ring>,
    pub(super) notifications: Arc<Ring>,
}

/// All keys that are believed, as an operator sees them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeysReport {
    /// For access tokens.
    pub tokens: Vec<KeyStanding>,
    /// For notifications.
    pub notifications: Vec<KeyStanding>,
}

impl Keys {
    /// Loads both keys from `directory`; makes the directory and those keys that are not there
    /// (2048 bits, PKCS#8 PEM and certificate in one file of mode 0600).
    ///
    /// # Errors
    /// A file that cannot be read or written, or holds something else than such a key.
    pub fn open(directory: &Path) -> Result<Self, KeyFileError> {
        ring::prepare(directory)?;
        let stem = |file: &'static str| file.strip_suffix(".pem").expect("so both names end");
        Ok(Self {
            tokens: Ring::open(directory, stem(TOKEN_KEY_FILE))?.into(),
            notifications: Ring::open(directory, stem(NOTIFICATION_KEY_FILE))?.into(),
        })
    }

    /// New keys that live only as long as this value.
    ///
    /// # Errors
    /// None in practice: the library reports failures of its random generator here.
    pub fn ephemeral() -> Result<Self, KeyFileError> {
        Ok(Self { tokens: Ring::in_memory()?.into(), notifications: Ring::in_memory()?.into() })
    }

    /// What access tokens are checked with at `now` (unix seconds): `/{tenant}/discovery/v2.0/keys`.
    /// The key that signs comes first.
    pub fn token_jwks(&self, now: u64) -> Jwks {
        self.tokens.jwks(now)
    }

    /// What notifications are checked with at `now`: `/v1/.well-known/keys`.
    pub fn notification_jwks(&self, now: u64) -> Jwks {
        self.notifications.jwks(now)
    }

    /// Makes a new key for each purpose; takes about two seconds of a processor.
    ///
    /// # Errors
    /// [`RotateError`]; those for notifications may then be the old ones while those for tokens are
    /// new, see [`Keys::report`].
    pub fn rotate(&self, now: u64, rotation: Rotation) -> Result<(), RotateError> {
        self.tokens.rotate(now, rotation)?;
        self.notifications.rotate(now, rotation)
    }

    /// Which keys there are at `now`.
    pub fn report(&self, now: u64) -> KeysReport {
        KeysReport {
            tokens: self.tokens.standing(now),
            notifications: self.notifications.standing(now),
        }
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

    /// Reads the file, or makes a key and the file.
    pub(super) fn open(path: &Path) -> Result<Self, KeyFileError> {
        if private_file::world_readable(path) {
            tracing::warn!(file = %path.display(), "everyone may read this private key");
        }
        let make = Self::generate_pem;
        Self::from_pem(path, &private_file::read_or_create(path, private_file::PRIVATE, make)?)
    }

    /// A new key without a file.
    pub(super) fn in_memory() -> Result<Self, KeyFileError> {
        Self::from_pem(Path::new("(in memory)"), Self::generate_pem()?.as_bytes())
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
        let n = public.modulus().big_endian_without_leading_zero();
        let e = public.exponent().big_endian_without_leading_zero();
        let verifying = VerifyingKey::rsa(n, e).ok_or_else(|| broken(KeyFault::NotRsa))?;
        let thumbprint = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &certificate);
        let kid = URL_SAFE_NO_PAD.encode(thumbprint);
        Ok(Self { pair, certificate, kid, verifying })
    }

    /// The public half as JSON.
    pub(super) fn jwk(&self) -> Jwk {
        let public = self.pair.public_key();
        Jwk {
            kty: "RSA".to_owned(),
            key_use: Some("sig".to_owned()),
            alg: Some("RS256".to_owned()),
            kid: self.kid.clone(),
            x5t: Some(self.kid.clone()),
            n: URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            e: URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
            // RFC 7517 §4.7: plain base64, not base64url.
            x5c: vec![STANDARD.encode(&self.certificate)],
            ..Jwk::default()
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
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
        let kids = |keys: &Keys| {
            (
                keys.tokens.signing(0).kid().to_owned(),
                keys.notifications.signing(0).kid().to_owned(),
            )
        };
        assert_eq!(kids(&first), kids(&again));
        assert_ne!(kids(&first).0, kids(&first).1);
        for file in [TOKEN_KEY_FILE, NOTIFICATION_KEY_FILE] {
            let mode = fs::metadata(data.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        let signature = first.tokens.signing(0).sign(b"message");
        let again = (again.tokens.signing(0), again.notifications.signing(0));
        assert!(again.0.verifying().verifies(b"message", &signature));
        assert!(!again.0.verifying().verifies(b"massage", &signature));
        assert!(!again.1.verifying().verifies(b"message", &signature));
    }

    #[test]
    fn a_key_without_a_certificate_has_the_same_name_at_every_start() {
        let directory = tempfile::tempdir().unwrap();
        Keys::open(directory.path()).unwrap();
        let path = directory.path().join(TOKEN_KEY_FILE);
        let with = fs::read_to_string(&path).unwrap();
        let kid = || Keys::open(directory.path()).unwrap().tokens.signing(0).kid().to_owned();
        let named = kid();
        fs::write(&path, with.split("-----BEGIN CERTIFICATE").next().unwrap()).unwrap();
        assert_eq!(kid(), named);
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
}
