//! Gets an issuer's keys: one or two small JSON documents over a connection that the guard allowed.
//! Redirects are not followed, so that no answer can lead elsewhere.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{
    Request, StatusCode,
    header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT},
};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use reqwest::dns::Resolve;
use serde::Deserialize;
use tokio::time::timeout;
use url::Url;

use super::{IssuerSettings, TENANT_TEMPLATE, book::KeySet};
use crate::{
    auth::jwk::foreign_keys,
    prompts::{
        AllowRule, Connector, FetchError, Guard, GuardSettings, Refusal, explain, origin, roots,
    },
};

/// For each document, from the name look-up to its last byte.
const DOCUMENT_WITHIN: Duration = Duration::from_secs(5);
/// Longest document in bytes. Entra's key set has about 15 KiB.
const MAX_DOCUMENT: usize = 256 * 1024;
/// What a multi-tenant authority has in place of a tenant.
const ANY_TENANT: &str = "common";

/// Why an issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// An address that may not be reached. The issuer's own are allowed by its entry.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No connection, or a connection that broke.
    #[error(transparent)]
    Peer(FetchError),
    /// Not 200; redirects, too.
    #[error("{host} answered {status}")]
    PeerStatus {
        /// Scheme, host and port.
        host: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// Too slow.
    #[error("{0} sent no whole document within {DOCUMENT_WITHIN:?}")]
    PeerTimeout(String),
    /// Too long, or broken off.
    #[error("the document of {0} is longer than {MAX_DOCUMENT} bytes or broke off")]
    PeerDocument(String),
    /// Something else than an OpenID document.
    #[error("{0} sent no OpenID document with issuer and jwks_uri")]
    PeerNoConfiguration(String),
    /// The document of another issuer (OpenID Connect Discovery §4.3).
    #[error("the OpenID document of {0} is another issuer's")]
    PeerOtherIssuer(String),
    /// Something else than a key set, or one without a key that can be used.
    #[error("{0} sent no key set with a key for RS256 or ES256")]
    PeerNoKeys(String),
}

/// Gets the keys of one issuer; cheap to clone.
#[derive(Clone)]
pub(super) struct KeyFetcher {
    client: Client<Connector, Empty<Bytes>>,
    guard: Guard,
}

impl KeyFetcher {
    pub(super) fn new(
        settings: &IssuerSettings,
        names: Arc<dyn Resolve>,
        own_listeners: &[SocketAddr],
    ) -> Self {
        let guard = GuardSettings {
            own_listeners: own_listeners.to_vec(),
            ..GuardSettings::production("issuer.allow", rules(settings))
        };
        let guard = Guard::with_resolver(guard, names);
        let connector = Connector::new(guard.clone(), DOCUMENT_WITHIN, roots(&[]));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            // Minutes lie between two fetches.
            .pool_max_idle_per_host(0)
            .build(connector);
        Self { client, guard }
    }

    /// The keys there are now: at least one.
    pub(super) async fn keys(&self, settings: &IssuerSettings) -> Result<KeySet, KeysError> {
        let at = match &settings.jwks_uri {
            Some(uri) => uri.clone(),
            None => self.jwks_uri(settings).await?,
        };
        let text = self.document(&at).await?;
        let keys = foreign_keys(&text).filter(|keys| !keys.is_empty());
        keys.ok_or_else(|| KeysError::PeerNoKeys(origin(&at)))
    }

    async fn jwks_uri(&self, settings: &IssuerSettings) -> Result<Url, KeysError> {
        #[derive(Deserialize)]
        struct Configuration {
            issuer: String,
            jwks_uri: String,
        }
        let issuer = settings.issuer.replace(TENANT_TEMPLATE, ANY_TENANT);
        let at = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let at = self.guard.check_uri(&at)?;
        let text = self.document(&at).await?;
        let found: Configuration = serde_json::from_slice(&text)
            .map_err(|_| KeysError::PeerNoConfiguration(origin(&at)))?;
        if found.issuer != settings.issuer {
            return Err(KeysError::PeerOtherIssuer(origin(&at)));
        }
        let keys = self.guard.check_uri(&found.jwks_uri)?;
        if at.scheme() == "https" && keys.scheme() != "https" {
            let (host, target) = (origin(&at), origin(&keys));
            return Err(KeysError::Peer(FetchError::PeerRedirectDowngrade { host, target }));
        }
        Ok(keys)
    }

    async fn document(&self, url: &Url) -> Result<Bytes, KeysError> {
        self.guard.check_url(url)?;
        let host = origin(url);
        let got = async {
            let request = Request::get(url.as_str())
                .header(USER_AGENT, concat!("Graphophone/", env!("CARGO_PKG_VERSION")))
                .header(ACCEPT, "application/json")
                .header(ACCEPT_ENCODING, "identity")
                .body(Empty::new())
                .map_err(|_| KeysError::PeerDocument(host.clone()))?;
            let asked = self.client.request(request).await;
            let response = asked.map_err(|error| unreachable(&error, &host))?;
            let status = response.status();
            if status != StatusCode::OK {
                return Err(KeysError::PeerStatus { host: host.clone(), status });
            }
            match Limited::new(response.into_body(), MAX_DOCUMENT).collect().await {
                Ok(body) => Ok(body.to_bytes()),
                Err(error) => {
                    let too_long = error.is::<LengthLimitError>();
                    tracing::debug!(host, too_long, "an issuer's document is of no use");
                    Err(KeysError::PeerDocument(host.clone()))
                }
            }
        };
        let outcome = timeout(DOCUMENT_WITHIN, got).await;
        outcome.unwrap_or_else(|_| Err(KeysError::PeerTimeout(host.clone())))
    }
}

fn unreachable(error: &hyper_util::client::legacy::Error, host: &str) -> KeysError {
    let error = explain(error, host);
    if let FetchError::Refused(refusal) = error {
        KeysError::Refused(refusal)
    } else {
        KeysError::Peer(error)
    }
}

/// What its entry in the configuration opens: the origins written there, and every public https
/// host for the `jwks_uri` of its OpenID document, which is its own word.
fn rules(settings: &IssuerSettings) -> Vec<AllowRule> {
    let issuer = settings.issuer.replace(TENANT_TEMPLATE, ANY_TENANT);
    let written = issuer.parse().into_iter().chain(settings.jwks_uri.clone());
    let mut rules: Vec<AllowRule> =
        written.filter_map(|url: Url| url.origin().ascii_serialization().parse().ok()).collect();
    if settings.jwks_uri.is_none() {
        rules.push("https://*:*".parse().expect("a valid pattern"));
    }
    rules.extend(settings.allow.iter().cloned());
    rules
}
