//! Values with units and forms of their own.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use graphophone_sip::DigestAlgorithm;
use serde::{Deserialize, Deserializer, de::Error as _};
use url::Url;

/// A list of values that are written as text.
pub(super) fn list<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

/// A URL. The fault does not repeat it: a password may stand in it.
pub(super) fn url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let read = |text: String| {
        text.parse().map_err(|_| D::Error::custom("write a whole URL: \"https://host.example\""))
    };
    text.map(read).transpose()
}

macro_rules! from_text {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    };
}

/// A duration with its unit: `500ms`, `15s`, `45min`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(pub Duration);
from_text!(Interval);

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|_| {
            format!(
                "{text:?} is not a duration: write a number and a unit, like \"15s\" or \"45min\""
            )
        })
    }
}

/// A size: `32MiB`, `500kB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);
from_text!(Bytes);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<bytesize::ByteSize>().map(|size| Self(size.as_u64())).map_err(|_| {
            format!("{text:?} is not a size: write a number and a unit, like \"32MiB\"")
        })
    }
}

/// Ports `low-high`, both included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortRange(pub RangeInclusive<u16>);
from_text!(PortRange);

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('-')
            .and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)))
            .filter(|(low, high): &(u16, u16)| *low >= 1024 && low < high)
            .map(|(low, high)| Self(low..=high))
            .ok_or_else(|| format!("{text:?} is not a port range: write \"20000-29999\""))
    }
}

/// Where SIP comes in: `udp:ADDRESS:PORT` or `tcp:ADDRESS:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SipListen {
    /// A UDP socket.
    Udp(SocketAddr),
    /// A TCP listener.
    Tcp(SocketAddr),
}
from_text!(SipListen);

impl fmt::Display for SipListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(at) => write!(f, "udp:{at}"),
            Self::Tcp(at) => write!(f, "tcp:{at}"),
        }
    }
}

impl FromStr for SipListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fault =
            || format!("{text:?} is not a SIP listener: write \"udp:0.0.0.0:5060\" or \"tcp:…\"");
        let (transport, address) = text.split_once(':').ok_or_else(fault)?;
        let address = address.parse().map_err(|_| fault())?;
        match transport {
            "udp" => Ok(Self::Udp(address)),
            "tcp" => Ok(Self::Tcp(address)),
            _ => Err(fault()),
        }
    }
}

/// A digest algorithm by its name in RFC 8760: `SHA-256` or `MD5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub DigestAlgorithm);
from_text!(Digest);

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "SHA-256" => Ok(Self(DigestAlgorithm::Sha256)),
            "MD5" => Ok(Self(DigestAlgorithm::Md5)),
            _ => Err(format!("{text:?} is not a digest algorithm: write \"SHA-256\" or \"MD5\"")),
        }
    }
}

/// A network, `203.0.113.0/24`; a single address is a network of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(pub ipnet::IpNet);
from_text!(Network);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse::<ipnet::IpNet>()
            .or_else(|_| text.parse::<IpAddr>().map(ipnet::IpNet::from))
            .map(Self)
            .map_err(|_| format!("{text:?} is not a network: write \"203.0.113.0/24\""))
    }
}

/// Text in which `*` matches any run of characters, also none. Letters match in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);
from_text!(Pattern);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty pattern matches nothing: write \"*\" or a number".to_owned());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Pattern {
    /// Matches everything.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether the whole of `text` matches.
    pub fn matches(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(text)
    }

    #[test]
    fn patterns_match_whole_texts() {
        assert!(matches("+1555*", "+15551234"));
        assert!(!matches("+1555*", "0+15551234"));
        assert!(matches("sip:*@127.0.0.1:*", "SIP:Bob@127.0.0.1:5080"));
        assert!(!matches("sip:*@127.0.0.1:*", "sip:bob@127.0.0.1"));
        assert!(matches("*", ""));
        assert!(matches("abc", "ABC") && !matches("abc", "abcd"));
        assert!(matches("a*b*c", "a-b-b-c") && !matches("a*b*c", "a-c-b"));
        assert!(!matches("ab*ba", "aba"), "the ends may not overlap");
    }

    #[test]
    fn values_say_how_they_are_written() {
        assert_eq!("45min".parse(), Ok(Interval(Duration::from_secs(2700))));
        assert_eq!("32MiB".parse(), Ok(Bytes(32 << 20)));
        assert_eq!("20000-29999".parse(), Ok(PortRange(20000..=29999)));
        assert_eq!("tcp:127.0.0.1:0".parse(), Ok(SipListen::Tcp(([127, 0, 0, 1], 0).into())));
        assert!("15".parse::<Interval>().unwrap_err().contains("unit"));
        for bad in ["", "29999-20000", "1-2", "20000"] {
            assert!(bad.parse::<PortRange>().is_err(), "{bad}");
        }
        assert!("sctp:127.0.0.1:5060".parse::<SipListen>().is_err());
    }
}
