//! Which addresses may be fetched or called back: asked when a URI arrives, on every redirect, and
//! again with the address that is about to be connected to (no gap for DNS rebinding).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::{
    address::AddressKind,
    allow::{AllowRule, is_localhost, literal},
    machine,
};

/// Longest URI looked at, in bytes.
pub const MAX_URI: usize = 8_192;
/// A hostile name server may return thousands; the rest of the answer is ignored.
const MAX_ADDRESSES: usize = 8;

/// What a [`Guard`] lets through. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct GuardSettings {
    /// The configuration key that refusals name, such as `prompts.allow`.
    pub setting: &'static str,
    /// Origins and networks that are allowed.
    pub allow: Vec<AllowRule>,
    /// Whether every http and https origin on loopback is allowed: 127/8, ::1 and `localhost`, not
    /// names that happen to resolve there.
    pub loopback: bool,
    /// Listeners of this server, which are refused even where their address is allowed.
    pub own_listeners: Vec<SocketAddr>,
}

impl GuardSettings {
    /// The production profile: what `allow` names and nothing else.
    pub fn production(setting: &'static str, allow: Vec<AllowRule>) -> Self {
        Self { setting, allow, ..Self::default() }
    }

    /// The dev profile: everything on loopback, every public https host, and what `allow` names.
    pub fn dev(setting: &'static str, mut allow: Vec<AllowRule>) -> Self {
        allow.push("https://*:*".parse().expect("a valid pattern"));
        Self { setting, allow, loopback: true, ..Self::default() }
    }
}

/// Decides what may be reached; cheap to clone.
#[derive(Clone)]
pub struct Guard {
    settings: Arc<GuardSettings>,
    resolver: Arc<dyn Resolve>,
}

/// Why a URI or the address behind it may not be reached. The text is fit for the bot: it does not
/// tell the address that a name resolved to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an absolute http or https URI that means one thing only.
    #[error("the URI {0}")]
    BotUri(UriFault),
    /// No entry of the allow list names the origin.
    #[error("{origin} is not allowed: an entry \"{origin}\" in {setting} would allow it")]
    OriginNotAllowed {
        /// Scheme, host and port.
        origin: String,
        /// The configuration key.
        setting: &'static str,
    },
    /// The host is written as an address that is not public, or as a name of this machine.
    #[error("{origin} is {kind}: an entry \"{origin}\" in {setting} would allow it")]
    LiteralNotAllowed {
        /// Scheme, host and port.
        origin: String,
        /// What the host is.
        kind: AddressKind,
        /// The configuration key.
        setting: &'static str,
    },
    /// The name leads to an address that is not public.
    #[error("{host} resolves to {kind}: its network in {setting} would allow it")]
    ResolvedNotAllowed {
        /// The name.
        host: String,
        /// What it resolved to.
        kind: AddressKind,
        /// The configuration key.
        setting: &'static str,
    },
    /// The server would talk to itself.
    #[error("{origin} is a listener of this server")]
    OwnListener {
        /// Scheme, host and port.
        origin: String,
    },
}

/// What is wrong with a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UriFault {
    /// Above [`MAX_URI`] bytes.
    TooLong,
    /// Parsers strip or turn these characters, each in its own way.
    SpaceControlOrBackslash,
    /// Relative, or not parseable.
    NotAbsolute,
    /// Neither http nor https.
    Scheme,
    /// `user:password@`.
    Credentials,
    /// Port 0.
    Port,
}

/// Why a host has no address to connect to.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LookupError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("the name cannot be resolved")]
    PeerNameUnknown(#[source] Arc<dyn std::error::Error + Send + Sync>),
}

impl Guard {
    /// A guard that asks the system's resolver.
    pub fn new(settings: GuardSettings) -> Self {
        Self::with_resolver(settings, Arc::new(SystemResolver))
    }

    /// A guard over another resolver.
    pub fn with_resolver(settings: GuardSettings, resolver: Arc<dyn Resolve>) -> Self {
        Self { settings: Arc::new(settings), resolver }
    }

    /// Judges a URI as a bot wrote it, without asking DNS.
    ///
    /// # Errors
    /// [`Refusal`], whose text names the setting that would allow it.
    pub fn check_uri(&self, uri: &str) -> Result<Url, Refusal> {
        let fault = |fault| Err(Refusal::BotUri(fault));
        if uri.len() > MAX_URI {
            return fault(UriFault::TooLong);
        }
        if uri.contains(|c: char| c.is_whitespace() || c.is_control() || c == '\\') {
            return fault(UriFault::SpaceControlOrBackslash);
        }
        // The parser would also take "https:host", "https:/host" and "https:///host".
        let is_absolute = uri
            .split_once(':')
            .is_some_and(|(_, rest)| rest.starts_with("//") && !rest.starts_with("///"));
        // An empty user name is gone after parsing, but it is none of ours to say who reads it how.
        let authority = uri.split("//").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
        if authority.is_some_and(|authority| authority.contains('@')) {
            return fault(UriFault::Credentials);
        }
        if authority.is_some_and(graphophone_graph::uri::has_long_label) {
            return fault(UriFault::NotAbsolute);
        }
        match Url::parse(uri) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => fault(UriFault::Scheme),
            Ok(url) if is_absolute => self.check_url(&url).map(|()| url),
            Ok(_) | Err(_) => fault(UriFault::NotAbsolute),
        }
    }

    /// Judges a parsed URL, without asking DNS.
    ///
    /// # Errors
    /// [`Refusal`], whose text names the setting that would allow it.
    pub fn check_url(&self, url: &Url) -> Result<(), Refusal> {
        let fault = |fault| Err(Refusal::BotUri(fault));
        if !matches!(url.scheme(), "http" | "https") {
            return fault(UriFault::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return fault(UriFault::Credentials);
        }
        if url.port() == Some(0) {
            return fault(UriFault::Port);
        }
        let Some(host) = url.host() else {
            return fault(UriFault::NotAbsolute);
        };
        if let Some(address) = literal(&host) {
            self.check_address(url, address)?;
        }
        if self.is_local(&host) || self.settings.allow.iter().any(|rule| rule.names(url)) {
            // "https://*" means hosts elsewhere, also where this machine has a name.
            return match is_localhost(&host) {
                true => self.check_localhost(url),
                false => Ok(()),
            };
        }
        let (origin, setting) = (origin(url), self.settings.setting);
        Err(match is_localhost(&host) {
            true => Refusal::LiteralNotAllowed { origin, kind: AddressKind::Loopback, setting },
            false => Refusal::OriginNotAllowed { origin, setting },
        })
    }

    /// Judges `url` and the address that it leads to, before a packet is sent there: what a
    /// resolver or connector asks.
    ///
    /// # Errors
    /// [`Refusal`], whose text names the setting that would allow it.
    pub fn check_addr(&self, url: &Url, address: IpAddr) -> Result<(), Refusal> {
        self.check_url(url)?;
        self.check_address(url, address)
    }

    /// The addresses of a URL's host that may be connected to: at least one.
    pub(crate) async fn lookup(&self, url: &Url) -> Result<Vec<SocketAddr>, LookupError> {
        self.check_url(url)?;
        let port = url.port_or_known_default().unwrap_or_default();
        let name = match url.host().ok_or(Refusal::BotUri(UriFault::NotAbsolute))? {
            Host::Domain(name) => name,
            Host::Ipv4(v4) => return Ok(vec![(v4, port).into()]),
            Host::Ipv6(v6) => return Ok(vec![(v6, port).into()]),
        };
        let found = self.resolve(name).await?;
        let mut refusal = None;
        let mut allowed = Vec::new();
        for address in found {
            match self.check_address(url, address) {
                Ok(()) => allowed.push(SocketAddr::new(address, port)),
                Err(because) => refusal = Some(because),
            }
        }
        match refusal {
            Some(refusal) if allowed.is_empty() => Err(refusal.into()),
            _ => Ok(allowed),
        }
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, LookupError> {
        let unknown = |source: Box<dyn std::error::Error + Send + Sync>| {
            LookupError::PeerNameUnknown(source.into())
        };
        let query = name.parse::<Name>().map_err(|source| unknown(source.into()))?;
        let found = self.resolver.resolve(query).await.map_err(unknown)?;
        let found: Vec<_> = found.map(|found| found.ip()).take(MAX_ADDRESSES).collect();
        if found.is_empty() {
            return Err(unknown("no address".into()));
        }
        Ok(found)
    }

    fn check_address(&self, url: &Url, address: IpAddr) -> Result<(), Refusal> {
        let Some(host) = url.host() else {
            return Err(Refusal::BotUri(UriFault::NotAbsolute));
        };
        let port = url.port_or_known_default().unwrap_or_default();
        if self.settings.own_listeners.iter().any(|own| reaches(*own, address, port)) {
            return Err(Refusal::OwnListener { origin: origin(url) });
        }
        self.check_host(url, &host, address).map_err(|kind| match literal(&host) {
            Some(_) => Refusal::LiteralNotAllowed {
                origin: origin(url),
                kind,
                setting: self.settings.setting,
            },
            None => Refusal::ResolvedNotAllowed {
                host: cut(&host.to_string()),
                kind,
                setting: self.settings.setting,
            },
        })
    }

    fn check_host(&self, url: &Url, host: &Host<&str>, address: IpAddr) -> Result<(), AddressKind> {
        let kind = AddressKind::of(address);
        let permitted = kind == AddressKind::Public
            || (kind == AddressKind::Loopback && self.is_local(host))
            || self.settings.allow.iter().any(|rule| rule.permits(url, address));
        if permitted { Ok(()) } else { Err(kind) }
    }

    /// A name of this machine needs an entry of its own or the dev profile.
    fn check_localhost(&self, url: &Url) -> Result<(), Refusal> {
        let Some(host) = url.host() else {
            return Err(Refusal::BotUri(UriFault::NotAbsolute));
        };
        let loopback = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        if loopback.iter().any(|address| self.check_host(url, &host, *address).is_ok()) {
            return Ok(());
        }
        Err(Refusal::LiteralNotAllowed {
            origin: origin(url),
            kind: AddressKind::Loopback,
            setting: self.settings.setting,
        })
    }

    fn is_local(&self, host: &Host<&str>) -> bool {
        let is_loopback = |address| AddressKind::of(address) == AddressKind::Loopback;
        self.settings.loopback && (is_localhost(host) || literal(host).is_some_and(is_loopback))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.settings).finish()
    }
}

impl fmt::Display for UriFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "is longer than 8192 bytes",
            Self::SpaceControlOrBackslash => {
                "contains a space, a control character or a backslash: percent-encode it"
            }
            Self::NotAbsolute => "is not an absolute URI with a host",
            Self::Scheme => "is neither http nor https",
            Self::Credentials => "contains a user name or a password",
            Self::Port => "names port 0",
        })
    }
}

/// Scheme, host and port of a URL, cut to a length fit for a message.
pub(crate) fn origin(url: &Url) -> String {
    cut(&url.origin().ascii_serialization())
}

fn cut(text: &str) -> String {
    const LONGEST: usize = 120;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a connection to `address` would end at our own listener.
fn reaches(own: SocketAddr, address: IpAddr, port: u16) -> bool {
    own.port() == port
        && (own.ip() == address
            || (own.ip().is_unspecified() && (address.is_loopback() || machine::owns(address))))
}

/// getaddrinfo on a blocking thread.
pub(crate) struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
#[path = "guard_tests.rs"]
mod tests;
