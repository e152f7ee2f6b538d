//! Values that must not be printed, and how they are compared.

use std::fmt;

use aws_lc_rs::{constant_time, rand::SecureRandom as _, rand::SystemRandom};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// A client secret, password or token. `Debug` prints `***`; there is no `Display` and no
/// `Serialize`, so that a log line or an answer cannot carry it by accident.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that came from a file, the environment or a request.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// 32 random bytes as 43 URL-safe characters.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(random_bytes::<32>()))
    }

    /// The value itself: for the one place that has to show or send it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether nothing is inside.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in a time that tells neither how much of `presented` is right nor how long the
    /// secret is: digests of equal length are compared, not the texts.
    pub fn matches(&self, presented: &str) -> bool {
        let ours = Sha256::digest(self.0.as_bytes());
        let theirs = Sha256::digest(presented.as_bytes());
        constant_time::verify_slices_are_equal(&ours, &theirs).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The bearer token of `/graphophone/v1/…` and of the console in production.
#[derive(Clone, Debug)]
pub struct AdminToken(Secret);

/// Why a configured admin token is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the admin token has {length} characters, it needs at least {minimum}")]
pub struct ConfigAdminTokenTooShort {
    length: usize,
    minimum: usize,
}

impl AdminToken {
    /// Fewest characters of a configured token.
    pub const MIN_LENGTH: usize = 16;

    /// A new random token of 256 bits.
    pub fn generate() -> Self {
        Self(Secret::random())
    }

    /// The token the operator chose.
    ///
    /// # Errors
    /// Fewer than [`Self::MIN_LENGTH`] characters.
    pub fn configured(token: Secret) -> Result<Self, ConfigAdminTokenTooShort> {
        let length = token.expose().chars().count();
        if length < Self::MIN_LENGTH {
            return Err(ConfigAdminTokenTooShort { length, minimum: Self::MIN_LENGTH });
        }
        Ok(Self(token))
    }

    /// The token itself, for the ready file and the banner of `graphophone dev`.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }

    /// Checks the value of an `Authorization` header (`Bearer …`) in constant time.
    pub fn allows(&self, authorization: Option<&str>) -> bool {
        authorization.and_then(bearer_token).is_some_and(|token| self.0.matches(token))
    }
}

/// The token of a `Bearer` credential (RFC 6750 §2.1); the scheme's case does not matter.
pub(super) fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Bytes from the operating system's generator.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("aws-lc's generator aborts instead of failing");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print_itself_and_matches_only_itself() {
        let secret = Secret::new("canary-5up3r");
        assert_eq!(format!("{secret:?}"), "***");
        assert_eq!(format!("{:?}", AdminToken(secret.clone())), "AdminToken(***)");
        assert!(secret.matches("canary-5up3r"));
        for wrong in ["", "canary-5up3", "canary-5up3r ", "Canary-5up3r", "canary-5up3r\0"] {
            assert!(!secret.matches(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn the_admin_token_is_asked_for_as_a_bearer_credential() {
        let token = AdminToken::generate();
        let good = format!("Bearer {}", token.expose());
        assert!(token.allows(Some(&good)));
        assert!(token.allows(Some(&good.replace("Bearer", "bearer"))));
        assert!(!token.allows(None));
        assert!(!token.allows(Some(token.expose())));
        assert!(!token.allows(Some(&format!("Basic {}", token.expose()))));
        assert!(!token.allows(Some("Bearer ")));
        assert_ne!(AdminToken::generate().expose(), token.expose());
    }

    #[test]
    fn a_short_admin_token_is_a_configuration_error() {
        let error = AdminToken::configured(Secret::new("hunter2")).unwrap_err();
        assert_eq!(error.to_string(), "the admin token has 7 characters, it needs at least 16");
        assert!(AdminToken::configured(Secret::new("0123456789abcdef")).is_ok());
    }
}
