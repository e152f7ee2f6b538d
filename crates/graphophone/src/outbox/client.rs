//! HTTP clients that only connect to permitted addresses: one per endpoint, kept for their
//! connections.
//!
//! One per endpoint, because reqwest tells a resolver the host alone while the guard wants to
//! know scheme and port too; and a name is judged by the addresses it resolves to at the moment
//! of connecting, so that a second look-up cannot give another answer (DNS rebinding).

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};
use rustls_platform_verifier::Verifier;
use url::{Host, Position, Url};

use crate::prompts::SystemResolver;

/// Whether an address may be called for a URL; the refusal says why, for the bot's developer.
pub type AddressGuard = Arc<dyn Fn(&Url, IpAddr) -> Result<(), String> + Send + Sync>;

/// Clients kept at a time; the one not used for longest goes first.
const CLIENTS: usize = 256;
const IDLE_CONNECTIONS_PER_ENDPOINT: usize = 64;
/// A hostile name server may return thousands; the rest of the answer is ignored.
const MAX_ADDRESSES: usize = 8;
const IDLE_CONNECTION_KEPT: Duration = Duration::from_secs(30);

/// Which certificates are believed: those of the system and extra ones, such as the dev CA.
#[derive(Clone)]
pub struct Trust {
    config: Result<ClientConfig, String>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("usable", &self.config.is_ok()).finish()
    }
}

impl Trust {
    /// Reads the system's certificates once. A machine without any can still call http, and
    /// https by the extra ones; otherwise an https delivery fails with the reason.
    pub fn system_and(extra_roots: Vec<CertificateDer<'static>>) -> Self {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = Verifier::new_with_extra_roots(extra_roots, Arc::clone(&provider))
            .and_then(|verifier| {
                Ok(ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()?
                    .dangerous() // rustls's word for any verifier of one's own choice
                    .with_custom_certificate_verifier(Arc::new(verifier))
                    .with_no_client_auth())
            })
            .map_err(|error| format!("no usable root certificates on this machine: {error}"));
        if let Err(error) = &config {
            tracing::warn!(%error, "https callbacks cannot be delivered");
        }
        Self { config }
    }
}

/// A guard's refusal, carried through reqwest's errors.
#[derive(Debug, thiserror::Error)]
#[error("address not permitted: {0}")]
pub(super) struct Refusal(pub(super) String);

/// The clients in use.
pub(super) struct Clients {
    guard: AddressGuard,
    trust: Trust,
    connect_timeout: Duration,
    names: Arc<dyn Resolve>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    clock: u64,
    clients: HashMap<String, (reqwest::Client, u64)>,
}

impl Clients {
    pub(super) fn new(guard: AddressGuard, trust: Trust, connect_timeout: Duration) -> Self {
        let names = Arc::new(SystemResolver);
        Self { guard, trust, connect_timeout, names, kept: Mutex::default() }
    }

    /// The same with another resolver than the system's.
    pub(super) fn with_names(self, names: Arc<dyn Resolve>) -> Self {
        Self { names, ..self }
    }

    /// Checks an address that stands in the URL itself: it never meets the resolver. The URL
    /// parser has normalised `2130706433` and `0x7f.1` by now.
    pub(super) fn check_literal(&self, url: &Url) -> Result<(), Refusal> {
        let address = match url.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        (self.guard)(url, address).map_err(Refusal)
    }

    /// The client for the URL's scheme, host and port.
    pub(super) fn client(&self, url: &Url) -> Result<reqwest::Client, String> {
        // Without credentials, which are taken out of every URL before, this is the origin.
        let origin = &url[..Position::AfterPort];
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.clock += 1;
            let now = kept.clock;
            if let Some((client, used)) = kept.clients.get_mut(origin) {
                *used = now;
                return Ok(client.clone());
            }
        }
        // Two tasks may build the same client at once; the later one stays.
        let client = self.build(url)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.clients.len() >= CLIENTS {
            let oldest = kept.clients.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(origin, _)| origin.clone()) {
                kept.clients.remove(&oldest);
            }
        }
        let now = kept.clock;
        kept.clients.insert(origin.to_owned(), (client.clone(), now));
        Ok(client)
    }

    fn build(&self, url: &Url) -> Result<reqwest::Client, String> {
        let mut origin = url.clone();
        origin.set_path("");
        origin.set_query(None);
        origin.set_fragment(None);
        let mut tls = match (&self.trust.config, url.scheme()) {
            (Ok(config), _) => config.clone(),
            (Err(error), "https") => return Err(error.clone()),
            (Err(_), _) => trust_nobody(),
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // A proxy of the environment would connect for us, past the guard.
            .no_proxy()
            .dns_resolver(GuardedResolver {
                origin,
                guard: Arc::clone(&self.guard),
                names: Arc::clone(&self.names),
            })
            .connect_timeout(self.connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION_KEPT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_ENDPOINT)
            .tcp_nodelay(true)
            .build()
            .map_err(|error| format!("no HTTP client: {error}"))
    }
}

fn trust_nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs supports the default protocol versions")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

struct GuardedResolver {
    origin: Url,
    guard: AddressGuard,
    names: Arc<dyn Resolve>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (origin, guard) = (self.origin.clone(), Arc::clone(&self.guard));
        let found = self.names.resolve(name);
        Box::pin(async move {
            // Port 0 means the URL's own.
            let found =
                found.await?.map(|found| SocketAddr::new(found.ip(), 0)).take(MAX_ADDRESSES);
            let mut refusal = None;
            let mut allowed = Vec::new();
            for address in found {
                match guard(&origin, address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(reason) => refusal = Some(Refusal(reason)),
                }
            }
            match refusal {
                Some(refusal) if allowed.is_empty() => {
                    Err(Box::new(refusal) as Box<dyn Error + Send + Sync>)
                }
                Some(_) | None => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

/// Finds a guard's refusal among the causes of an error.
pub(super) fn refusal_in<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e Refusal> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref() {
            return Some(refusal);
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(
        guard: impl Fn(&Url, IpAddr) -> Result<(), String> + Send + Sync + 'static,
    ) -> Clients {
        Clients::new(Arc::new(guard), Trust::system_and(vec![]), Duration::from_secs(5))
    }

    #[test]
    fn an_address_in_the_url_is_checked_in_every_spelling() {
        let clients = clients(|_, address| Err(address.to_string()));
        for (url, address) in [
            ("http://127.0.0.1:8080/a", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://[::ffff:10.0.0.1]/", "::ffff:10.0.0.1"),
        ] {
            let refusal = clients.check_literal(&url.parse().unwrap()).unwrap_err();
            assert_eq!(refusal.0, address, "{url}");
        }
        clients.check_literal(&"http://bot.example/".parse().unwrap()).unwrap();
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_addresses_and_the_guard_sees_scheme_and_port() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let clients = clients({
            let seen = Arc::clone(&seen);
            move |url, address| {
                seen.lock().unwrap().push(url.to_string());
                Err(format!("{address} is private"))
            }
        });
        let url: Url = "http://localhost:1/secret?key=1".parse().unwrap();
        let error = clients.client(&url).unwrap().post(url).send().await.unwrap_err();
        let refusal = refusal_in(&error).expect("the guard's refusal is the cause");
        assert!(refusal.0.ends_with("is private"), "{refusal}");
        assert!(seen.lock().unwrap().iter().all(|url| url == "http://localhost:1/"));
    }

    #[test]
    fn the_number_of_clients_is_bounded() {
        let clients = clients(|_, _| Ok(()));
        for port in 1..=CLIENTS + 10 {
            clients.client(&format!("http://127.0.0.1:{port}/").parse().unwrap()).unwrap();
        }
        assert_eq!(clients.kept.lock().unwrap().clients.len(), CLIENTS);
    }
}
