//! One entry of an allow list: an origin pattern, or a network that names may resolve into.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;
use serde::Deserialize;
use url::{Host, Url};

/// An entry of `prompts.allow` or `callbacks.allow`.
///
/// | entry | allows |
/// |---|---|
/// | `https://cdn.example.com` | this origin, on the scheme's port |
/// | `http://10.1.2.3:8080`, `http://localhost:8080` | this origin, and its address |
/// | `https://*.example.com` | every name below `example.com`, not `example.com` itself |
/// | `https://*` | every host with a public address |
/// | `http://bot.example.com:*` | every port of this host |
/// | `10.0.0.0/8`, `10.1.2.3` | these addresses, for hosts that another entry names |
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AllowRule(Rule);

/// An entry of an allow list that means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither an origin such as https://cdn.example.com nor a network")]
pub struct ConfigRuleInvalid(String);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    /// `port` is `None` for every port.
    Origin {
        scheme: String,
        host: HostRule,
        port: Option<u16>,
    },
    Network(IpNet),
}

/// Names are without their trailing dot.
#[derive(Clone, Debug, PartialEq, Eq)]
enum HostRule {
    Any,
    Below(String),
    Name(String),
    Address(IpAddr),
}

impl AllowRule {
    /// Whether the entry names the origin of `url`.
    pub(crate) fn names(&self, url: &Url) -> bool {
        let Rule::Origin { scheme, host, port } = &self.0 else {
            return false;
        };
        scheme == url.scheme()
            && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            && url.host().is_some_and(|named| host.covers(&named))
    }

    /// Whether the entry lets the host of `url` be at `address`, which is not public. A name alone
    /// does not say where DNS may point it; `localhost` does. An origin opens its address for its
    /// own scheme and port only, whatever else another entry names.
    pub(crate) fn permits(&self, url: &Url, address: IpAddr) -> bool {
        match &self.0 {
            Rule::Network(network) => network.contains(&address),
            Rule::Origin { host: HostRule::Address(named), .. } => {
                *named == address && self.names(url)
            }
            Rule::Origin { host: HostRule::Name(_), .. } => {
                let is_localhost = url.host().is_some_and(|host| is_localhost(&host));
                is_localhost && address.is_loopback() && self.names(url)
            }
            Rule::Origin { host: HostRule::Any | HostRule::Below(_), .. } => false,
        }
    }
}

impl FromStr for AllowRule {
    type Err = ConfigRuleInvalid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self(Rule::Network(network)));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(Rule::Network(address.into())));
        }
        origin(text).map(Self).ok_or_else(|| ConfigRuleInvalid(text.to_owned()))
    }
}

impl TryFrom<String> for AllowRule {
    type Error = ConfigRuleInvalid;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl HostRule {
    fn covers(&self, host: &Host<&str>) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Address(ours), theirs) => literal(theirs) == Some(*ours),
            (Self::Name(ours), Host::Domain(theirs)) => ours == without_dot(theirs),
            (Self::Below(parent), Host::Domain(name)) => without_dot(name)
                .strip_suffix(parent.as_str())
                .is_some_and(|label| label.len() > 1 && label.ends_with('.')),
            (Self::Name(_) | Self::Below(_), Host::Ipv4(_) | Host::Ipv6(_)) => false,
        }
    }
}

/// The address that a host is written as.
pub(crate) fn literal(host: &Host<&str>) -> Option<IpAddr> {
    match host {
        Host::Ipv4(v4) => Some((*v4).into()),
        Host::Ipv6(v6) => Some((*v6).into()),
        Host::Domain(_) => None,
    }
}

/// Whether a host means this machine by its name (RFC 6761 §6.3).
pub(crate) fn is_localhost(host: &Host<&str>) -> bool {
    let Host::Domain(name) = host else {
        return false;
    };
    let name = without_dot(name);
    name == "localhost" || name.ends_with(".localhost")
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn origin(text: &str) -> Option<Rule> {
    let (scheme, rest) = text.split_once("://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if !matches!(scheme, "http" | "https") || rest.contains(['/', '?', '#', '@', '\\']) {
        return None;
    }
    let (rest, any_port) = match rest.strip_suffix(":*") {
        Some(rest) => (rest, true),
        None => (rest, false),
    };
    // A stand-in label lets the one URL parser judge what is behind the star.
    let (pattern, plain) = match rest.strip_prefix('*') {
        Some(after) => (true, format!("star{after}")),
        None => (false, rest.to_owned()),
    };
    let url = Url::parse(&format!("{scheme}://{plain}")).ok()?;
    let host = match (url.host()?, pattern) {
        (Host::Domain(name), _) if name.contains('*') => return None,
        (Host::Domain(name), false) => HostRule::Name(without_dot(name).to_owned()),
        (Host::Domain("star"), true) => HostRule::Any,
        (Host::Domain(name), true) => {
            HostRule::Below(without_dot(name.strip_prefix("star.")?).to_owned())
        }
        (address, _) => HostRule::Address(literal(&address)?),
    };
    let port = if any_port { None } else { url.port_or_known_default() };
    Some(Rule::Origin { scheme: scheme.to_owned(), host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_the_origins_it_says_and_no_others() {
        let table = [
            ("https://cdn.example.com", "https://cdn.example.com/a.wav", true),
            ("https://cdn.example.com/", "https://CDN.example.com:443/a.wav", true),
            ("https://cdn.example.com", "https://cdn.example.com./a.wav", true),
            ("https://cdn.example.com", "https://cdn.example.com:8443/", false),
            ("https://cdn.example.com", "http://cdn.example.com/", false),
            ("https://cdn.example.com", "https://cdn.example.com.evil.test/", false),
            ("https://cdn.example.com:8443", "https://cdn.example.com:8443/", true),
            ("https://*.example.com", "https://a.b.example.com/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://evilexample.com/", false),
            ("https://*.example.com", "https://.example.com/", false),
            ("https://*", "https://anything.test/", true),
            ("https://*", "http://anything.test/", false),
            ("https://*", "https://anything.test:8443/", false),
            ("https://*:*", "https://anything.test:8443/", true),
            ("http://127.0.0.1:*", "http://127.0.0.1:8080/", true),
            ("http://127.0.0.1:*", "http://2130706433:8080/", true),
            ("http://127.0.0.1:*", "http://127.0.0.2:8080/", false),
            ("http://[::1]:80", "http://[0:0::1]/", true),
            ("https://bücher.example", "https://xn--bcher-kva.example/", true),
            ("10.0.0.0/8", "https://10.0.0.1/", false),
        ];
        for (rule, url, expected) in table {
            let rule: AllowRule = rule.parse().unwrap();
            assert_eq!(rule.names(&url.parse().unwrap()), expected, "{rule:?} {url}");
        }
    }

    #[test]
    fn only_an_address_or_a_network_or_localhost_opens_a_private_address() {
        let table = [
            ("10.0.0.0/8", "https://cdn.test/", "10.1.2.3", true),
            ("10.1.2.3", "https://cdn.test/", "10.1.2.3", true),
            ("10.0.0.0/8", "https://cdn.test/", "11.1.2.3", false),
            ("http://10.1.2.3", "http://10.1.2.3/", "10.1.2.3", true),
            ("http://10.1.2.3", "http://cdn.test/", "10.1.2.3", false),
            ("http://10.1.2.3", "https://10.1.2.3/", "10.1.2.3", false),
            ("http://10.1.2.3:8080", "http://10.1.2.3/", "10.1.2.3", false),
            ("http://localhost:8080", "https://localhost/", "127.0.0.1", false),
            ("https://cdn.test", "https://cdn.test/", "10.1.2.3", false),
            ("https://*", "https://cdn.test/", "10.1.2.3", false),
            ("http://localhost:8080", "http://localhost:8080/", "127.0.0.1", true),
            ("http://localhost:8080", "http://localhost:8080/", "10.1.2.3", false),
        ];
        for (rule, url, address, expected) in table {
            let rule: AllowRule = rule.parse().unwrap();
            let url: Url = url.parse().unwrap();
            let permitted = rule.permits(&url, address.parse().unwrap());
            assert_eq!(permitted, expected, "{rule:?} {url} {address}");
        }
    }

    #[test]
    fn an_entry_without_a_meaning_is_refused_by_its_text() {
        for text in [
            "",
            "cdn.example.com",
            "ftp://x",
            "https://",
            "https://a/b",
            "https://u@h",
            "10.0.0.0/33",
        ]
        .into_iter()
        .chain(["https://a*.example.com", "https://*a.test", "https://a:99999", "*"])
        {
            assert_eq!(text.parse::<AllowRule>(), Err(ConfigRuleInvalid(text.to_owned())));
        }
    }
}
