//! Trusted external issuers (Entra, Keycloak …): whose tokens are taken besides our own, and with
//! which of their keys.
//!
//! What is believed when stands in `book`, which is pure; `fetch` gets the keys; here is what
//! joins them: a task for each issuer, and requests that wait for it.

mod book;
mod fetch;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use graphophone_call::TenantId;
use reqwest::dns::Resolve;
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};
use tracing::{debug, info, warn};
use url::Url;

use super::{
    AuthSettings, Authority,
    bearer::{AuthError, Caller},
    claims::{Claims, Expected, Lifetime},
    jwk::VerifyingKey,
    jws,
};
use crate::prompts::AllowRule;

use book::{Book, Find, RETRY};
use fetch::KeyFetcher;
pub use fetch::KeysError;

/// Stands for the token's `tid` in the `issuer` of a multi-tenant authority, as in Entra's own
/// OpenID documents.
pub const TENANT_TEMPLATE: &str = "{tenantid}";
/// Longest a request waits for keys: two documents of five seconds, and a little.
const WAIT: Duration = Duration::from_secs(11);
/// Most requests that wait for one issuer's keys; further ones are refused at once.
const MAX_WAITING: usize = 256;

/// An issuer whose tokens are taken.
#[derive(Clone, Debug)]
pub struct IssuerSettings {
    /// `iss` of its tokens, letter for letter; may contain [`TENANT_TEMPLATE`].
    pub issuer: String,
    /// Where its keys are; `None`: as its OpenID document says (OpenID Connect Discovery §4).
    pub jwks_uri: Option<Url>,
    /// Values of `aud` that mean this server.
    pub audiences: HashSet<String>,
    /// Tenant of all its tokens; `None`: the token's `tid`.
    pub tenant: Option<TenantId>,
    /// Claim that has the roles; a dot leads into an object, as in `realm_access.roles`.
    pub roles_claim: String,
    /// How often its keys are fetched anew: how long a key that it has taken back is still believed.
    pub refresh: Duration,
    /// Networks, besides public addresses, that its hosts may be in.
    pub allow: Vec<AllowRule>,
}

impl IssuerSettings {
    /// `iss` of a token that says this `tid`.
    fn issuer_of(&self, tenant: Option<TenantId>) -> Option<String> {
        if !self.issuer.contains(TENANT_TEMPLATE) {
            return Some(self.issuer.clone());
        }
        Some(self.issuer.replace(TENANT_TEMPLATE, &tenant?.to_string()))
    }

    /// Judges a token whose key was found.
    pub(super) fn check(
        &self,
        token: &jws::Token<'_>,
        key: &VerifyingKey,
        now: u64,
    ) -> Result<(Caller, Lifetime), AuthError> {
        let claims: Claims = token.verify(key)?;
        let all: Value = token.unverified()?; // verified one line above
        let pointer = format!("/{}", self.roles_claim.replace('.', "/"));
        let issuer = |tenant| self.issuer_of(tenant);
        let expected =
            Expected { audiences: &self.audiences, issuer: &issuer, tenant: self.tenant };
        claims.check_foreign(&expected, all.pointer(&pointer), now)
    }
}

/// A token's key is not there.
pub(super) enum KeyWanted {
    /// It may come with a fetch that is under way.
    Await(Awaited),
    /// The issuer has no such key, as far as we know.
    Unknown,
    /// The issuer's keys cannot be had.
    Unavailable,
}

/// A fetch that a request may wait for.
pub(super) struct Awaited {
    index: usize,
    round: u64,
}

/// All trusted issuers.
pub(super) struct Issuers(Vec<Arc<Issuer>>);

struct Issuer {
    settings: IssuerSettings,
    book: Mutex<Book>,
    /// Where `Book`'s time begins.
    epoch: Instant,
    /// Told when a fetch is wanted.
    wanted: Notify,
    /// Number of the last fetch that ended.
    rounds: watch::Sender<u64>,
    waiting: AtomicUsize,
}

impl Issuers {
    pub(super) fn new(settings: &AuthSettings) -> Self {
        let issuer = |settings: &IssuerSettings| {
            Arc::new(Issuer {
                settings: settings.clone(),
                book: Mutex::default(),
                epoch: Instant::now(),
                wanted: Notify::new(),
                rounds: watch::Sender::new(0),
                waiting: AtomicUsize::new(0),
            })
        };
        Self(settings.issuers.iter().map(issuer).collect())
    }

    pub(super) fn settings(&self, index: usize) -> &IssuerSettings {
        &self.0[index].settings
    }

    /// The key a token names, of the issuer it names. What it says of its issuer is only used to
    /// choose among the issuers that are configured.
    pub(super) fn key_for(
        &self,
        token: &jws::Token<'_>,
    ) -> Result<(usize, Arc<VerifyingKey>), KeyWanted> {
        if self.0.is_empty() {
            return Err(KeyWanted::Unknown);
        }
        let named: Named = token.unverified().map_err(|_| KeyWanted::Unknown)?;
        let tenant = named.tid.as_deref().and_then(|tid| tid.parse().ok());
        let is_named = |issuer: &Arc<Issuer>| issuer.settings.issuer_of(tenant) == named.iss;
        let index = self.0.iter().position(is_named).ok_or(KeyWanted::Unknown)?;
        let issuer = &self.0[index];
        match issuer.lock().find(token.kid(), issuer.epoch.elapsed()) {
            Find::Key(key) => Ok((index, key)),
            Find::Unknown => Err(KeyWanted::Unknown),
            Find::Unavailable => Err(KeyWanted::Unavailable),
            Find::Wait { round, is_new } => {
                if is_new {
                    issuer.wanted.notify_one();
                }
                Err(KeyWanted::Await(Awaited { index, round }))
            }
        }
    }

    /// A key that is known now, without asking for it.
    pub(super) fn known(&self, index: usize, kid: &str) -> Option<Arc<VerifyingKey>> {
        let issuer = self.0.get(index)?;
        issuer.lock().known(kid, issuer.epoch.elapsed())
    }

    /// Waits for a fetch to end, unless too many do already.
    pub(super) async fn wait(&self, awaited: Awaited) {
        let Some(issuer) = self.0.get(awaited.index) else { return };
        let _here = Waiting::new(&issuer.waiting);
        if issuer.waiting.load(Ordering::Relaxed) > MAX_WAITING {
            return;
        }
        let mut rounds = issuer.rounds.subscribe();
        // Late or never is the same: the request is judged by the keys there are.
        let _ = timeout(WAIT, rounds.wait_for(|ended| *ended >= awaited.round)).await;
    }
}

/// The part of a token that says whose it is.
#[derive(Deserialize)]
struct Named {
    iss: Option<String>,
    #[serde(default)]
    tid: Option<String>,
}

/// One more that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Issuer {
    fn lock(&self) -> MutexGuard<'_, Book> {
        // Whole after any panic: each change is made of plain assignments.
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches at once, then by the clock, and when a token names a key that is not known.
    async fn watch(self: Arc<Self>, fetcher: KeyFetcher) {
        loop {
            self.lock().begin();
            let outcome = fetcher.keys(&self.settings).await;
            let name = &self.settings.issuer;
            let pause = if outcome.is_ok() { self.settings.refresh } else { RETRY };
            match &outcome {
                Ok(keys) => debug!(issuer = name, keys = keys.len(), "the issuer's keys are here"),
                Err(error) => {
                    let error = error as &dyn std::error::Error;
                    warn!(
                        issuer = name,
                        error, "the issuer's keys cannot be had; those known stay"
                    );
                }
            }
            let round = {
                let mut book = self.lock();
                let news = book.finish(outcome.ok(), self.epoch.elapsed());
                if !news.is_empty() {
                    info!(issuer = name, keys = %news, "the issuer has other keys now");
                }
                book.rounds()
            };
            self.rounds.send_replace(round);
            // A wish from before the end of this fetch has been met by it.
            let wanted = async {
                while !self.lock().is_wanted() {
                    self.wanted.notified().await;
                }
            };
            let _ = timeout(pause, wanted).await;
        }
    }
}

impl Authority {
    /// Begins to fetch the keys of the trusted issuers, and goes on as long as the set lives. `names`
    /// resolves their hosts; `own_listeners` are never connected to.
    pub fn watch_issuers(
        &self,
        names: &Arc<dyn Resolve>,
        own_listeners: &[SocketAddr],
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for issuer in &self.inner.issuers.0 {
            let fetcher = KeyFetcher::new(&issuer.settings, Arc::clone(names), own_listeners);
            tasks.spawn(Arc::clone(issuer).watch(fetcher));
        }
        tasks
    }
}
