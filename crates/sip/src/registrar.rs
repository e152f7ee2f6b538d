//! The registrar: where registered phones are now (RFC 3261 §10.3). Who may register is decided
//! before it is asked.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use sipx_sip::{
    Address, HeaderName, Headers, Uri,
    headers::{ContactValue, Expires},
};

use crate::user_agent::Flow;

/// Longest and default lifetime of a binding.
const LONGEST: Duration = Duration::from_secs(3600);
/// Shortest lifetime we grant; a shorter wish gets 423 (RFC 3261 §10.2.8).
pub(crate) const SHORTEST: Duration = Duration::from_secs(30);
/// Most contacts of one phone.
const MOST_CONTACTS: usize = 8;
/// Longest contact URI, in bytes.
const LONGEST_URI: usize = 512;

/// One place where a phone can be reached.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    uri: Uri,
    /// The way its REGISTER came, which is the only one through a NAT. If that was a connection
    /// which is closed by now, and the contact is on the same host, it leads there.
    pub(crate) flow: Flow,
    /// Where its REGISTER came from.
    source: SocketAddr,
    expires: Instant,
    registered: Instant,
    call_id: String,
    cseq: u32,
}

impl Binding {
    /// The contact URI, as the phone wrote it.
    pub(crate) fn uri(&self) -> &Uri {
        &self.uri
    }
}

/// Why a REGISTER is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(clippy::enum_variant_names, reason = "the names say who is to blame")]
pub(crate) enum RegisterError {
    #[error("the contact is not one we can call")]
    PeerBadContact,
    #[error("the lifetime asked for is too short")]
    PeerTooBrief,
    #[error("the request is older than the one that made the binding")]
    PeerOutOfOrder,
    #[error("the phone has too many contacts")]
    PeerTooMany,
}

/// A REGISTER after digest.
pub(crate) struct Registration<'a> {
    /// The configured user name.
    pub(crate) user: &'a str,
    pub(crate) flow: Flow,
    pub(crate) headers: &'a Headers,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
}

/// All bindings.
#[derive(Debug, Default)]
pub(crate) struct Registrar {
    bindings: HashMap<String, Vec<Binding>>,
}

impl Registrar {
    /// Carries out a REGISTER, all of it or nothing. Answers the phone's bindings with the
    /// seconds they have left; a REGISTER without Contact only asks for them.
    pub(crate) fn register(
        &mut self,
        now: Instant,
        request: &Registration<'_>,
    ) -> Result<Vec<(String, u64)>, RegisterError> {
        let wishes = wishes(request.headers)?;
        self.forget_expired(now);
        let mut bindings = self.bindings.get(request.user).cloned().unwrap_or_default();
        for wish in wishes {
            apply(&mut bindings, now, request, wish)?;
        }
        if bindings.len() > MOST_CONTACTS {
            return Err(RegisterError::PeerTooMany);
        }
        let listed = bindings.iter().map(|binding| {
            let left = binding.expires.saturating_duration_since(now);
            (String::from_utf8_lossy(&binding.uri.to_bytes()).into_owned(), left.as_secs())
        });
        let listed = listed.collect();
        if bindings.is_empty() {
            self.bindings.remove(request.user);
        } else {
            self.bindings.insert(request.user.to_owned(), bindings);
        }
        Ok(listed)
    }

    /// Where a phone registered last, if it still is.
    pub(crate) fn current(&self, now: Instant, user: &str) -> Option<&Binding> {
        let alive = self.bindings.get(user)?.iter().filter(|binding| binding.expires > now);
        alive.max_by_key(|binding| binding.registered)
    }

    /// The binding with exactly this contact URI, and whose it is.
    pub(crate) fn by_uri(&self, now: Instant, uri: &str) -> Option<(&str, &Binding)> {
        self.bindings.iter().find_map(|(user, bindings)| {
            let same = |binding: &&Binding| {
                binding.expires > now && binding.uri.to_bytes() == uri.as_bytes()
            };
            bindings.iter().find(same).map(|binding| (user.as_str(), binding))
        })
    }

    /// Whether a request with this source comes from where `user` is registered.
    pub(crate) fn is_at(&self, now: Instant, user: &str, flow: &Flow) -> bool {
        self.bindings.get(user).is_some_and(|bindings| {
            bindings.iter().any(|binding| binding.expires > now && binding.source == flow.remote)
        })
    }

    fn forget_expired(&mut self, now: Instant) {
        self.bindings.retain(|_, bindings| {
            bindings.retain(|binding| binding.expires > now);
            !bindings.is_empty()
        });
    }
}

/// What a REGISTER wants done with one contact.
enum Wish {
    RemoveAll,
    Remove(Uri),
    Keep(Uri, Duration),
}

fn wishes(headers: &Headers) -> Result<Vec<Wish>, RegisterError> {
    let default = match headers.typed::<Expires>() {
        Some(Ok(Expires(seconds))) => Some(u64::from(seconds)),
        Some(Err(_)) | None => None,
    };
    let contacts: Vec<ContactValue> = headers
        .typed_all::<ContactValue>()
        .collect::<Result<_, _>>()
        .map_err(|_| RegisterError::PeerBadContact)?;
    let wildcard = contacts.iter().any(|contact| matches!(contact, ContactValue::Wildcard));
    if wildcard {
        // "*" stands alone and only with Expires: 0 (RFC 3261 §10.2.2).
        return match (contacts.len(), default) {
            (1, Some(0)) => Ok(vec![Wish::RemoveAll]),
            _ => Err(RegisterError::PeerBadContact),
        };
    }
    let addresses = contacts.into_iter().filter_map(|contact| match contact {
        ContactValue::Address(address) => Some(address),
        ContactValue::Wildcard => None,
    });
    addresses.map(|address| wish(address, default)).collect()
}

fn wish(address: Address, default: Option<u64>) -> Result<Wish, RegisterError> {
    let own = address.param("expires").map(|value| String::from_utf8_lossy(value).into_owned());
    let Address { uri, .. } = address;
    // A contact with headers would make us send what a stranger wrote (threats, a15).
    if !uri.scheme().is_sip() || uri.has_headers() || uri.to_bytes().len() > LONGEST_URI {
        return Err(RegisterError::PeerBadContact);
    }
    // RFC 3261 §10.2.1.1: a malformed value counts as 3600.
    let seconds = own.and_then(|value| value.parse().ok()).or(default);
    match seconds.map_or(LONGEST, Duration::from_secs) {
        Duration::ZERO => Ok(Wish::Remove(uri)),
        brief if brief < SHORTEST => Err(RegisterError::PeerTooBrief),
        lifetime => Ok(Wish::Keep(uri, lifetime.min(LONGEST))),
    }
}

fn apply(
    bindings: &mut Vec<Binding>,
    now: Instant,
    request: &Registration<'_>,
    wish: Wish,
) -> Result<(), RegisterError> {
    let in_order =
        |binding: &Binding| binding.call_id != request.call_id || binding.cseq < request.cseq;
    let (uri, lifetime) = match wish {
        Wish::RemoveAll => {
            if !bindings.iter().all(in_order) {
                return Err(RegisterError::PeerOutOfOrder);
            }
            bindings.clear();
            return Ok(());
        }
        Wish::Remove(uri) => (uri, None),
        Wish::Keep(uri, lifetime) => (uri, Some(lifetime)),
    };
    if let Some(at) = bindings.iter().position(|binding| binding.uri.equivalent(&uri)) {
        if !in_order(&bindings[at]) {
            return Err(RegisterError::PeerOutOfOrder);
        }
        bindings.remove(at);
    }
    if let Some(lifetime) = lifetime {
        // A phone that restarted comes from the same place under a new contact; the contacts of one
        // run share its Call-ID (RFC 3261 §10.2) and may be several.
        bindings.retain(|binding| {
            binding.source != request.flow.remote || binding.call_id == request.call_id
        });
        bindings.push(Binding {
            flow: request.flow.or_listener(&uri),
            source: request.flow.remote,
            uri,
            expires: now + lifetime,
            registered: now,
            call_id: request.call_id.clone(),
            cseq: request.cseq,
        });
    }
    Ok(())
}

/// Contact headers of the 200.
pub(crate) fn contact_headers(bindings: &[(String, u64)]) -> Vec<(HeaderName, String)> {
    let value = |(uri, seconds): &(String, u64)| format!("<{uri}>;expires={seconds}");
    bindings.iter().map(|binding| (HeaderName::Contact, value(binding))).collect()
}

/// Parses a SIP URI that we can call; `None` for anything else.
pub(crate) fn callable(text: &str) -> Option<Uri> {
    let uri = Uri::parse(Bytes::copy_from_slice(text.as_bytes())).ok()?;
    (uri.scheme().as_bytes() == b"sip" && !uri.has_headers()).then_some(uri)
}
