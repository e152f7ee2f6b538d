//! Why a file was not fetched, worded for the developer of the bot that wanted it.

use std::{error::Error, io, sync::Arc, time::Duration};

use hyper::StatusCode;

use super::{
    connect::ConnectError,
    guard::{LookupError, Refusal},
};

/// Why a file was not fetched: a sentence about the host, for the bot's developer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// The URI, a redirect, or the address behind one of them is not allowed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No address for the host.
    #[error("the name of {host} cannot be resolved")]
    PeerNameUnknown {
        /// Origin of the hop.
        host: String,
        /// What the resolver said.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// TCP failed.
    #[error("{host} cannot be connected to: {kind}")]
    PeerUnreachable {
        /// Origin of the hop.
        host: String,
        /// Refused, reset, unreachable …
        kind: io::ErrorKind,
    },
    /// TLS failed.
    #[error("TLS with {host} failed: {reason}")]
    PeerTls {
        /// Origin of the hop.
        host: String,
        /// What rustls said, such as an expired or unknown certificate.
        reason: String,
    },
    /// No connection in time.
    #[error("{host} accepted no connection within {limit:?}")]
    PeerConnectTimeout {
        /// Origin of the hop.
        host: String,
        /// [`super::FetchLimits::connect`].
        limit: Duration,
    },
    /// No response headers in time.
    #[error("{host} sent no response within {limit:?}")]
    PeerFirstByteTimeout {
        /// Origin of the hop.
        host: String,
        /// [`super::FetchLimits::first_byte`].
        limit: Duration,
    },
    /// The body stalled or trickles.
    #[error(
        "{host} sent {received} bytes in the last {window:?}, less than {floor} bytes per second"
    )]
    PeerTooSlow {
        /// Origin of the hop.
        host: String,
        /// Bytes of this window.
        received: u64,
        /// [`super::FetchLimits::floor_window`].
        window: Duration,
        /// [`super::FetchLimits::floor`].
        floor: u64,
    },
    /// Not done in time.
    #[error("the download was not complete within {limit:?}: {received} bytes received")]
    PeerTotalTimeout {
        /// [`super::FetchLimits::total`].
        limit: Duration,
        /// Bytes of the body so far.
        received: u64,
    },
    /// Not 200.
    #[error("{host} answered {status}{}", seen(.content_type.as_deref(), .begins))]
    PeerStatus {
        /// Origin of the hop.
        host: String,
        /// The HTTP status.
        status: StatusCode,
        /// Its Content-Type.
        content_type: Option<String>,
        /// The first bytes of the body.
        begins: Vec<u8>,
    },
    /// Too many hops.
    #[error("more than {limit} redirects, the last one from {host}")]
    PeerRedirectsTooOften {
        /// Origin of the last hop.
        host: String,
        /// [`super::FetchLimits::max_redirects`].
        limit: u32,
    },
    /// A redirect without a usable Location.
    #[error("{host} answered {status} without a usable Location")]
    PeerRedirectInvalid {
        /// Origin of the hop.
        host: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// From https to http.
    #[error("{host} redirects from https to {target}: refused because it is not encrypted")]
    PeerRedirectDowngrade {
        /// Origin of the hop.
        host: String,
        /// Origin of the target.
        target: String,
    },
    /// A body that would have to be unpacked.
    #[error("{host} sent Content-Encoding {encoding}: only identity is accepted")]
    PeerEncoding {
        /// Origin of the hop.
        host: String,
        /// The field's value.
        encoding: String,
    },
    /// The body is, or is announced to be, too long.
    #[error("the file is longer than {limit} bytes{}", announced_text(*.announced))]
    PeerTooLarge {
        /// [`super::FetchLimits::max_bytes`].
        limit: u64,
        /// Content-Length, if that told.
        announced: Option<u64>,
    },
    /// The connection ended before the body did.
    #[error("the download broke off after {received} bytes{}", expected_text(*.expected))]
    PeerTruncated {
        /// Bytes of the body received.
        received: u64,
        /// Content-Length, if there was one.
        expected: Option<u64>,
    },
    /// Not HTTP/1.1 as we know it, or headers above 16 KiB.
    #[error("{host} sent no valid HTTP response: {reason}")]
    PeerProtocol {
        /// Origin of the hop.
        host: String,
        /// What hyper said.
        reason: String,
    },
    /// Our own disk.
    #[error("the server could not store the file")]
    SpoolFailed(#[source] Arc<io::Error>),
}

/// What went wrong before a response came, from hyper's chain of sources.
pub(crate) fn explain(error: &(dyn Error + 'static), host: &str) -> FetchError {
    let host = host.to_owned();
    let mut innermost = error;
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(cause) = current.downcast_ref::<ConnectError>() {
            return match cause.clone() {
                ConnectError::Lookup(LookupError::Refused(refusal)) => refusal.into(),
                ConnectError::Lookup(LookupError::PeerNameUnknown(source)) => {
                    FetchError::PeerNameUnknown { host, source }
                }
                ConnectError::PeerUnreachable(source) => {
                    FetchError::PeerUnreachable { host, kind: source.kind() }
                }
                ConnectError::PeerTls(source) => {
                    FetchError::PeerTls { host, reason: source.to_string() }
                }
                ConnectError::PeerSilent(limit) => FetchError::PeerConnectTimeout { host, limit },
            };
        }
        innermost = current;
        next = current.source();
    }
    FetchError::PeerProtocol { host, reason: innermost.to_string() }
}

/// What is wrong with the framing of a body; `None` if the connection ended early.
pub(crate) fn malformed(error: &(dyn Error + 'static)) -> Option<String> {
    use io::ErrorKind::{InvalidData, InvalidInput};
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(cause) = current.downcast_ref::<io::Error>()
            && matches!(cause.kind(), InvalidData | InvalidInput)
        {
            return Some(cause.to_string());
        }
        next = current.source();
    }
    None
}

/// What a response looked like, for a message: content type and first bytes, escaped.
fn seen(content_type: Option<&str>, begins: &[u8]) -> String {
    let mut text = String::new();
    if let Some(content_type) = content_type {
        text.push_str(&format!(", Content-Type {content_type}"));
    }
    if !begins.is_empty() {
        text.push_str(&format!(", beginning with \"{}\"", begins.escape_ascii()));
    }
    text
}

/// Whether an established connection ended before a whole head of an answer.
pub(crate) fn is_lost(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(current) = next {
        if let Some(cause) = current.downcast_ref::<hyper::Error>() {
            let io = cause.source().and_then(|source| source.downcast_ref::<io::Error>());
            return cause.is_incomplete_message()
                || io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionReset);
        }
        next = current.source();
    }
    false
}

fn announced_text(announced: Option<u64>) -> String {
    announced.map_or_else(String::new, |length| format!(": Content-Length {length}"))
}

fn expected_text(expected: Option<u64>) -> String {
    expected.map_or_else(String::new, |length| format!(" of {length}"))
}
