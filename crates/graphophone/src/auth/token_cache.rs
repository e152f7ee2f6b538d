//! A bounded map of what belongs to tokens, for as long as they live.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// At most so many entries. When full, the one that expires first makes room.
pub(super) struct TokenCache<K, V, const MOST: usize>(Mutex<HashMap<K, (u64, V)>>);

impl<K: Copy + Eq + Hash, V: Clone, const MOST: usize> TokenCache<K, V, MOST> {
    /// What was put there, expired or not.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.lock().get(key).map(|(_, value)| value.clone())
    }

    pub(super) fn put(&self, key: K, expires: u64, value: V) {
        let mut kept = self.lock();
        if kept.len() >= MOST && !kept.contains_key(&key) {
            let first = kept.iter().min_by_key(|(_, (expires, _))| *expires).map(|(key, _)| *key);
            first.map(|first| kept.remove(&first));
        }
        kept.insert(key, (expires, value));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, (u64, V)>> {
        // Whole after any panic: each change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, V, const MOST: usize> Default for TokenCache<K, V, MOST> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// Without the tokens.
impl<K, V, const MOST: usize> fmt::Debug for TokenCache<K, V, MOST> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_within_its_bound_and_forgets_what_expires_first() {
        let cache = TokenCache::<u64, &str, 3>::default();
        for (key, expires) in [(1, 30), (2, 10), (3, 20)] {
            cache.put(key, expires, "old");
        }
        cache.put(1, 40, "new");
        assert_eq!(cache.get(&2), Some("old"), "one that is there needs no room");
        cache.put(4, 5, "old");
        assert_eq!(
            [1, 2, 3, 4].map(|key| cache.get(&key)),
            [Some("new"), None, Some("old"), Some("old")]
        );
    }
}
