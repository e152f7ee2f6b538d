//! Digest authentication, server side (RFC 7616, RFC 8760): challenges, and judging the answers.
//! Nonces carry their own proof, so a flood of unanswered challenges costs no memory.

use std::{
    collections::HashMap,
    fmt::Write as _,
    net::IpAddr,
    time::{Duration, Instant},
};

use sha2::{Digest, Sha256};
use sipx_sip::auth::{self, Algorithm, Challenge, Credentials};

/// Protection space of all our challenges.
pub(crate) const REALM: &str = "graphophone";
/// How long a nonce may be used.
const NONCE_LIFE: Duration = Duration::from_secs(300);
/// Wrong answers a minute from one source for one user, before we stop looking.
const MOST_FAILURES: u32 = 5;
const FAILURE_WINDOW: Duration = Duration::from_secs(60);
/// Most nonces and most failing sources remembered.
const MOST_REMEMBERED: usize = 10_000;
/// Longest user name that is looked at, in bytes: failures are remembered by it.
const LONGEST_USER: usize = 255;

/// What an `Authorization` header is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The user knows the password.
    Valid {
        /// The user name.
        user: String,
    },
    /// Nothing usable for our realm, or a nonce that has expired: challenge (again).
    Challenge {
        /// The password was right, only the nonce was old (RFC 7616 §3.3).
        stale: bool,
    },
    /// Wrong, absent user, replayed or banned; the peer is not told which.
    Wrong,
}

/// A hash that registering devices may use (RFC 8760).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestAlgorithm {
    /// SHA-256.
    Sha256,
    /// MD5: broken as a hash, and all that many devices know.
    Md5,
}

impl DigestAlgorithm {
    const fn in_sipx(self) -> Algorithm {
        match self {
            Self::Sha256 => Algorithm::Sha256,
            Self::Md5 => Algorithm::Md5,
        }
    }
}

/// Challenges and judges.
#[derive(Debug)]
pub(crate) struct Guard {
    secret: [u8; 32],
    /// In the order of the challenges; others are not accepted.
    algorithms: Vec<Algorithm>,
    /// Zero of the times in nonces.
    epoch: Instant,
    /// Highest `nc` of each nonce that was used with success.
    used: HashMap<String, (u32, Instant)>,
    failures: HashMap<(String, IpAddr), (u32, Instant)>,
}

impl Guard {
    pub(crate) fn new(secret: [u8; 32], algorithms: &[DigestAlgorithm], epoch: Instant) -> Self {
        let algorithms = algorithms.iter().map(|algorithm| algorithm.in_sipx()).collect();
        Self { secret, algorithms, epoch, used: HashMap::new(), failures: HashMap::new() }
    }

    /// Values of `WWW-Authenticate`, one for each algorithm, in their order (RFC 8760 §2.3).
    pub(crate) fn challenges(
        &self,
        now: Instant,
        source: IpAddr,
        salt: u64,
        stale: bool,
    ) -> Vec<String> {
        let nonce = self.nonce(now, source, salt);
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &Algorithm| {
            let algorithm = algorithm.as_str();
            format!(
                r#"Digest realm="{REALM}", nonce="{nonce}", algorithm={algorithm}, qop="auth"{stale}"#
            )
        };
        self.algorithms.iter().map(challenge).collect()
    }

    /// Judges the `Authorization` values of a request.
    pub(crate) fn judge(
        &mut self,
        now: Instant,
        source: IpAddr,
        method: &str,
        values: &[String],
        password_of: impl Fn(&str) -> Option<String>,
    ) -> Judgement {
        let is_offered = |claim: &Claim| self.algorithms.contains(&claim.algorithm);
        let mut ours = values.iter().filter_map(|value| Claim::parse(value)).filter(is_offered);
        let Some(claim) = ours.next() else { return Judgement::Challenge { stale: false } };
        if ours.next().is_some() || self.is_banned(now, &claim.username, source) {
            return Judgement::Wrong;
        }
        let Some(age) = self.age(now, source, &claim.nonce) else {
            return Judgement::Challenge { stale: false };
        };
        let password = password_of(&claim.username);
        let known = password.is_some();
        // An absent user costs the same work as a wrong password (threat T8).
        let right = claim.is_answered_by(&password.unwrap_or_default(), method) & known;
        if !right {
            self.note_failure(now, claim.username, source);
            return Judgement::Wrong;
        }
        if age > NONCE_LIFE {
            return Judgement::Challenge { stale: true };
        }
        if !self.note_use(now, &claim) {
            return Judgement::Challenge { stale: true };
        }
        Judgement::Valid { user: claim.username }
    }

    /// Seconds, salt and their keyed hash with the source, in hex; short, because a challenge to a
    /// stranger must not be longer than what the stranger sent.
    fn nonce(&self, now: Instant, source: IpAddr, salt: u64) -> String {
        let seconds = now.saturating_duration_since(self.epoch).as_secs();
        let stamp = format!("{seconds:08x}{:08x}", salt >> 32);
        let seal = self.seal(&stamp, source);
        stamp + &seal
    }

    fn seal(&self, stamp: &str, source: IpAddr) -> String {
        let mac = hmac_sha256(&self.secret, format!("{stamp}{source}").as_bytes());
        hex(&mac[..8])
    }

    /// How old a nonce of ours is; `None` if it is not ours or not for this source.
    fn age(&self, now: Instant, source: IpAddr, nonce: &str) -> Option<Duration> {
        let (stamp, seal) = nonce.split_at_checked(16)?;
        if !equal(seal.as_bytes(), self.seal(stamp, source).as_bytes()) {
            return None;
        }
        let seconds = u64::from_str_radix(stamp.get(..8)?, 16).ok()?;
        let made = self.epoch.checked_add(Duration::from_secs(seconds))?;
        Some(now.saturating_duration_since(made))
    }

    /// Each count of a nonce is good for one request, and counts only rise (RFC 7616 §3.4).
    fn note_use(&mut self, now: Instant, claim: &Claim) -> bool {
        if self.used.len() >= MOST_REMEMBERED {
            self.used.retain(|_, (_, at)| now.saturating_duration_since(*at) <= NONCE_LIFE);
        }
        if self.used.len() >= MOST_REMEMBERED && !self.used.contains_key(&claim.nonce) {
            return false;
        }
        let (count, at) = self.used.entry(claim.nonce.clone()).or_insert((0, now));
        *at = now;
        let fresh = claim.count > *count;
        *count = claim.count.max(*count);
        fresh
    }

    fn is_banned(&self, now: Instant, user: &str, source: IpAddr) -> bool {
        self.failures.get(&(user.to_owned(), source)).is_some_and(|(count, since)| {
            *count >= MOST_FAILURES && now.saturating_duration_since(*since) < FAILURE_WINDOW
        })
    }

    fn note_failure(&mut self, now: Instant, user: String, source: IpAddr) {
        let key = (user, source);
        if self.failures.len() >= MOST_REMEMBERED && !self.failures.contains_key(&key) {
            // Whichever: to have a certain one forgotten takes thousands of wrong answers, and to
            // refuse new ones would be no limit for them.
            let any = self.failures.keys().next().cloned();
            if let Some(any) = any {
                self.failures.remove(&any);
            }
        }
        let entry = self.failures.entry(key).or_insert((0, now));
        if now.saturating_duration_since(entry.1) >= FAILURE_WINDOW {
            *entry = (0, now);
        }
        entry.0 += 1;
    }
}

/// What a client claims in one `Authorization` header for our realm.
struct Claim {
    username: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    cnonce: String,
    count: u32,
}

impl Claim {
    /// Parses `Digest` credentials for our realm with `qop=auth`; anything else is as good as none.
    fn parse(value: &str) -> Option<Self> {
        let rest = value.trim();
        let (scheme, rest) = rest.split_once([' ', '\t'])?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut fields = HashMap::new();
        for (name, value) in parameters(rest)? {
            // A repeated parameter is a game we do not play.
            if fields.insert(name.to_ascii_lowercase(), value).is_some() {
                return None;
            }
        }
        let algorithm = match fields.get("algorithm") {
            Some(name) => Algorithm::parse(name)?,
            None => Algorithm::Md5,
        };
        let is_count = |nc: &String| nc.len() == 8 && nc.bytes().all(|it| it.is_ascii_hexdigit());
        let count = fields.remove("nc").filter(is_count)?;
        let claim = Self {
            username: fields.remove("username").filter(|name| name.len() <= LONGEST_USER)?,
            nonce: fields.remove("nonce")?,
            uri: fields.remove("uri")?,
            response: fields.remove("response")?,
            algorithm,
            cnonce: fields.remove("cnonce")?,
            count: u32::from_str_radix(&count, 16).ok()?,
        };
        let ours = fields.get("realm").is_some_and(|realm| realm == REALM);
        let supported = matches!(algorithm, Algorithm::Sha256 | Algorithm::Md5);
        let auth = fields.get("qop").is_some_and(|qop| qop.eq_ignore_ascii_case("auth"));
        (ours && supported && auth).then_some(claim)
    }

    fn is_answered_by(&self, password: &str, method: &str) -> bool {
        let challenge = Challenge {
            realm: REALM.to_owned(),
            nonce: self.nonce.clone(),
            opaque: None,
            algorithm: self.algorithm,
            qop_auth: true,
            stale: false,
            from_proxy: false,
        };
        let credentials = Credentials::new(self.username.clone(), password);
        let expected =
            auth::respond(&challenge, &credentials, method, &self.uri, self.count, &self.cnonce);
        let expected = expected.split("response=\"").nth(1).and_then(|rest| rest.split('"').next());
        expected.is_some_and(|expected| {
            equal(expected.as_bytes(), self.response.to_ascii_lowercase().as_bytes())
        })
    }
}

/// Splits `name=value, name="quoted, value"`. `None` when a quoted value does not end.
fn parameters(text: &str) -> Option<Vec<(&str, String)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, tail) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        found.push((name.trim(), value));
        rest = tail.trim_start().strip_prefix(',').unwrap_or(tail).trim_start();
        if found.len() > 32 {
            return None;
        }
    }
    Some(found)
}

/// A quoted string's content and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(chars.next()?.1),
            _ => out.push(c),
        }
    }
    None
}

/// RFC 2104 with SHA-256; the key is shorter than a block.
fn hmac_sha256(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let pad = |byte: u8| {
        let mut block = [byte; 64];
        block.iter_mut().zip(key).for_each(|(out, key)| *out ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5C)).chain_update(inner).finalize().into()
}

/// Compares without telling by its time where the difference is.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
