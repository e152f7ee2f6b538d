//! What is known of an issuer's keys, and when it is asked again. No clock and no network: times are
//! measured from any fixed moment.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use crate::auth::jwk::VerifyingKey;

/// The keys of one issuer by their names.
pub(super) type KeySet = HashMap<String, Arc<VerifyingKey>>;

/// Least time between two fetches that tokens with unknown keys cause, whoever sends them.
pub(super) const GAP: Duration = Duration::from_secs(5 * 60);
/// After a fetch that failed.
pub(super) const RETRY: Duration = Duration::from_secs(30);
/// Keys that could not be confirmed for so long are not believed any more.
pub(super) const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The state of one issuer.
#[derive(Debug, Default)]
pub(super) struct Book {
    keys: KeySet,
    /// When the keys came last.
    confirmed: Option<Duration>,
    /// When an unknown key last caused a fetch.
    asked: Option<Duration>,
    /// Whether a fetch is under way or about to begin.
    fetching: bool,
    /// Fetches that have ended.
    rounds: u64,
}

/// What to do with a token.
#[derive(Debug)]
pub(super) enum Find {
    /// Check it with this key.
    Key(Arc<VerifyingKey>),
    /// Look again when this fetch has ended; it has to be begun if it is new.
    Wait { round: u64, is_new: bool },
    /// The issuer has no such key, as far as we know.
    Unknown,
    /// Nothing is known of the issuer's keys.
    Unavailable,
}

impl Book {
    /// Looks for the key of a token.
    pub(super) fn find(&mut self, kid: &str, now: Duration) -> Find {
        if let Some(key) = self.known(kid, now) {
            return Find::Key(key);
        }
        let round = self.rounds + 1;
        if self.fetching {
            return Find::Wait { round, is_new: false };
        }
        if self.asked.is_none_or(|asked| now >= asked + GAP) {
            self.asked = Some(now);
            self.fetching = true;
            return Find::Wait { round, is_new: true };
        }
        if self.is_fresh(now) { Find::Unknown } else { Find::Unavailable }
    }

    /// The key of that name, if it is believed.
    pub(super) fn known(&self, kid: &str, now: Duration) -> Option<Arc<VerifyingKey>> {
        self.keys.get(kid).filter(|_| self.is_fresh(now)).map(Arc::clone)
    }

    /// Whether a token's key has caused a fetch that has not ended.
    pub(super) fn is_wanted(&self) -> bool {
        self.fetching
    }

    /// A fetch begins.
    pub(super) fn begin(&mut self) {
        self.fetching = true;
    }

    /// It has ended, with the issuer's keys or in vain; then those from before stay. What has
    /// changed comes back.
    pub(super) fn finish(&mut self, keys: Option<KeySet>, now: Duration) -> News {
        self.fetching = false;
        self.rounds += 1;
        let Some(keys) = keys else { return News::default() };
        self.confirmed = Some(now);
        let before = std::mem::replace(&mut self.keys, keys);
        let only = |these: &KeySet, those: &KeySet| {
            let mut names: Vec<_> =
                these.keys().filter(|kid| !those.contains_key(*kid)).cloned().collect();
            names.sort();
            names
        };
        News { came: only(&self.keys, &before), went: only(&before, &self.keys) }
    }

    /// How many fetches have ended.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds
    }

    fn is_fresh(&self, now: Duration) -> bool {
        self.confirmed.is_some_and(|confirmed| now < confirmed + MAX_STALE)
    }
}

/// Names of keys that came and went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    came: Vec<String>,
    went: Vec<String>,
}

impl News {
    pub(super) fn is_empty(&self) -> bool {
        self.came.is_empty() && self.went.is_empty()
    }
}

/// As `+new -old`; names come from outside.
impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signs = self.came.iter().map(|kid| ('+', kid));
        for (sign, kid) in signs.chain(self.went.iter().map(|kid| ('-', kid))) {
            let shown: String = kid.chars().take(64).collect();
            write!(f, " {sign}{}", shown.escape_debug())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::keys;

    fn set(names: &[&str]) -> KeySet {
        let jwks = keys().token_jwks(0);
        let key = Arc::new(jwks.key(&jwks.keys[0].kid).unwrap());
        names.iter().map(|name| ((*name).to_owned(), Arc::clone(&key))).collect()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn loaded(names: &[&str]) -> Book {
        let mut book = Book::default();
        book.begin();
        book.finish(Some(set(names)), at(0));
        book
    }

    #[test]
    fn a_flood_of_unknown_keys_causes_one_fetch_in_five_minutes() {
        let mut book = loaded(&["known"]);
        let mut fetches = Vec::new();
        // 10,000 a second for an hour would take long; 100 a second say the same.
        for tick in 0..360_000_u64 {
            let now = Duration::from_millis(tick * 10);
            match book.find(&format!("kid-{tick}"), now) {
                Find::Wait { is_new: true, .. } => {
                    fetches.push(now);
                    // The answer takes a second; everyone waits for the same one meanwhile.
                }
                Find::Wait { is_new: false, .. } if now >= fetches[fetches.len() - 1] + at(1) => {
                    book.finish(Some(set(&["known"])), now);
                }
                Find::Wait { .. } => {}
                Find::Unknown => assert!(!book.is_wanted()),
                other @ (Find::Key(_) | Find::Unavailable) => panic!("{other:?}"),
            }
            assert!(matches!(book.find("known", now), Find::Key(_)), "others never wait");
        }
        assert_eq!(fetches.len(), 12, "{fetches:?}");
        assert!(fetches.windows(2).all(|pair| pair[1] - pair[0] >= GAP));
    }

    #[test]
    fn a_new_key_is_asked_for_at_once_and_a_key_that_went_is_not_believed() {
        let mut book = loaded(&["old"]);
        let Find::Wait { round, is_new: true } = book.find("new", at(1)) else { panic!() };
        assert!(book.rounds() < round);
        let news = book.finish(Some(set(&["old", "new"])), at(2));
        assert_eq!(news.to_string(), " +new");
        assert!(book.rounds() >= round);
        assert!(matches!(book.find("new", at(2)), Find::Key(_)));
        assert!(matches!(book.find("old", at(2)), Find::Key(_)), "both, as long as both are there");
        book.begin();
        assert_eq!(book.finish(Some(set(&["new"])), at(900)).to_string(), " -old");
        assert!(book.known("old", at(900)).is_none());
        assert!(matches!(book.find("old", at(901)), Find::Wait { is_new: true, .. }));
        assert!(book.finish(Some(set(&["new"])), at(902)).is_empty());
        assert!(matches!(book.find("old", at(903)), Find::Unknown));
    }

    #[test]
    fn keys_stay_while_the_issuer_fails_but_not_for_longer_than_a_day() {
        let mut book = loaded(&["a"]);
        let day = MAX_STALE.as_secs();
        for second in (30..day).step_by(30) {
            book.begin();
            assert!(book.finish(None, at(second)).is_empty());
            assert!(book.known("a", at(second)).is_some());
        }
        assert!(book.known("a", at(day)).is_none());
        assert!(matches!(book.find("a", at(day)), Find::Wait { is_new: true, .. }));
        book.finish(None, at(day));
        assert!(matches!(book.find("a", at(day + 1)), Find::Unavailable));
        book.begin();
        book.finish(Some(set(&["a"])), at(day + 30));
        assert!(matches!(book.find("a", at(day + 30)), Find::Key(_)));
    }

    #[test]
    fn before_the_first_keys_a_token_waits_for_the_fetch_that_runs() {
        let mut book = Book::default();
        book.begin();
        assert!(matches!(book.find("a", at(0)), Find::Wait { round: 1, is_new: false }));
        book.finish(None, at(5));
        assert!(matches!(book.find("a", at(5)), Find::Wait { round: 2, is_new: true }));
        book.finish(None, at(6));
        assert!(matches!(book.find("a", at(7)), Find::Unavailable));
    }

    #[test]
    fn names_of_keys_cannot_break_a_log_line() {
        let mut book = loaded(&[]);
        let news = book.finish(Some(set(&["a\nb\u{1b}[31m"])), at(1));
        assert_eq!(news.to_string(), r" +a\nb\u{1b}[31m");
    }
}
