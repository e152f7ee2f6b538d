//! The access tokens whose signature and claims were found good: a bot sends the same one for an
//! hour, and checking it anew costs as much as the rest of a small request.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sha2::{Digest, Sha256};

use super::bearer::{Caller, Lifetime};

/// Most tokens that are kept. When full, the one that expires first makes room. Only tokens that
/// we signed come in, so nobody else can fill it.
const MAX_CACHED: usize = 1_024;

/// What good tokens said, by the SHA-256 of the whole token: its text is not kept. What can change
/// afterwards (the time, the directory) is the caller's to check.
#[derive(Debug, Default)]
pub(super) struct VerifiedCache(Mutex<HashMap<[u8; 32], (Caller, Lifetime)>>);

impl VerifiedCache {
    pub(super) fn get(&self, token: &str) -> Option<(Caller, Lifetime)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&digest(token)).copied()
    }

    pub(super) fn put(&self, token: &str, caller: Caller, lifetime: Lifetime) {
        let mut verified = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MAX_CACHED {
            let first = verified.iter().min_by_key(|(_, (_, lifetime))| lifetime.expires);
            if let Some(first) = first.map(|(digest, _)| *digest) {
                verified.remove(&first);
            }
        }
        verified.insert(digest(token), (caller, lifetime));
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn a_bad_token_is_not_remembered_and_the_number_of_good_ones_is_bounded() {
        let authority = authority();
        let token = authority.access_token(APP, TENANT, ["Calls.Initiate.All"], NOW);
        let caller = authority.verify(Some(&format!("Bearer {token}")), NOW).unwrap();
        let (_, lifetime) = authority.inner.verified.get(&token).unwrap();
        assert!(authority.verify(Some(&format!("Bearer {token}A")), NOW).is_err());
        assert!(authority.inner.verified.get(&format!("{token}A")).is_none());
        for number in 0..MAX_CACHED + 10 {
            authority.inner.verified.put(&number.to_string(), caller, lifetime);
        }
        let kept = authority.inner.verified.0.lock().unwrap().len();
        assert_eq!(kept, MAX_CACHED);
    }
}
