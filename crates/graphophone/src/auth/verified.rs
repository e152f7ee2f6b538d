//! The access tokens whose signature and claims were found good: a bot sends the same one for an
//! hour, and checking it anew costs as much as the rest of a small request.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{bearer::Caller, claims::Lifetime, token_cache::TokenCache};

/// Most tokens that are kept. Only tokens with a good signature come in, so nobody else can fill it.
const MAX_CACHED: usize = 1_024;

/// What a good token said, and why it was believed.
#[derive(Clone, Debug)]
pub(super) struct Verified {
    pub(super) caller: Caller,
    pub(super) lifetime: Lifetime,
    /// Index of a trusted issuer; `None` if it is our own token.
    pub(super) issuer: Option<usize>,
    /// Name of the key that signed it.
    pub(super) kid: Arc<str>,
    /// That key.
    pub(super) fingerprint: [u8; 32],
}

/// What good tokens said, by the SHA-256 of the whole token: its text is not kept. What can change
/// afterwards (the time, the keys, the directory) is the caller's to check.
#[derive(Debug, Default)]
pub(super) struct VerifiedCache(TokenCache<[u8; 32], Verified, MAX_CACHED>);

impl VerifiedCache {
    pub(super) fn get(&self, token: &str) -> Option<Verified> {
        self.0.get(&digest(token))
    }

    pub(super) fn put(&self, token: &str, verified: Verified) {
        self.0.put(digest(token), verified.lifetime.expires, verified);
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use crate::auth::{
        AuthError, CLOCK_SKEW,
        testing::{APP, NOW, TENANT, authority},
    };

    #[test]
    fn a_token_that_was_good_is_refused_once_it_has_expired() {
        let authority = authority();
        let token = authority.access_token(APP, TENANT, ["Calls.Initiate.All"], NOW);
        let header = format!("Bearer {token}");
        let first = authority.verify(Some(&header), NOW).unwrap();
        let late = NOW + 3_599 + CLOCK_SKEW;
        assert_eq!(authority.verify(Some(&header), late - 1), Ok(first));
        assert_eq!(authority.verify(Some(&header), late), Err(AuthError::BotTokenLifetime));
        let early = NOW - CLOCK_SKEW - 1;
        assert_eq!(authority.verify(Some(&header), early), Err(AuthError::BotTokenLifetime));
        assert_eq!(authority.verify(Some(&header), NOW), Ok(first));
    }

    #[test]
    fn a_bad_token_is_not_remembered() {
        let authority = authority();
        let token = authority.access_token(APP, TENANT, ["Calls.Initiate.All"], NOW);
        assert!(authority.verify(Some(&format!("Bearer {token}")), NOW).is_ok());
        assert!(authority.inner.verified.get(&token).is_some());
        assert!(authority.verify(Some(&format!("Bearer {token}A")), NOW).is_err());
        assert!(authority.inner.verified.get(&format!("{token}A")).is_none());
    }
}
