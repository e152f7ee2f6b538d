//! From a SIP URI to an address and a transport.

use std::{net::SocketAddr, time::Duration};

use sipx_sip::{Host, Uri, UriTransport};
use tokio::sync::mpsc;

use super::Trunk;
use crate::{registrar, transport::Arrival, user_agent::Transport};

const LOOKUP_WITHIN: Duration = Duration::from_secs(5);
const LOOKUP_AGAIN: Duration = Duration::from_secs(10);

/// Whether a URI means a phone by its user name and not by its contact.
pub(crate) fn is_registered(uri: &Uri) -> bool {
    matches!(uri.host(), Some(Host::Name(name)) if name.as_bytes() == b"registered")
}

/// The transport a URI asks for, if it is one of ours.
pub(crate) fn transport_of(uri: &Uri) -> Option<Transport> {
    match uri.selected_transport() {
        Ok(UriTransport::Udp) => Some(Transport::Udp),
        Ok(UriTransport::Tcp) => Some(Transport::Tcp),
        Ok(_) | Err(_) => None,
    }
}

/// The address of a URI's host: itself, or the first its name resolves to. Names are looked up for
/// targets and trunks that our side chose, never for what a peer writes.
pub(super) async fn resolve(uri: &Uri) -> Option<SocketAddr> {
    let port = uri.port().unwrap_or(5060);
    match uri.host()? {
        Host::Ip(ip) => Some(SocketAddr::new(*ip, port)),
        Host::Name(name) => {
            let name = std::str::from_utf8(name.as_bytes()).ok()?.to_owned();
            let lookup = tokio::net::lookup_host((name, port));
            let mut found = tokio::time::timeout(LOOKUP_WITHIN, lookup).await.ok()?.ok()?;
            found.next()
        }
    }
}

/// Resolves a trunk's name, however long that takes.
pub(crate) async fn resolve_trunk(index: usize, trunk: Trunk, inbox: mpsc::Sender<Arrival>) {
    let Some(uri) = trunk.uri.as_deref().and_then(registrar::callable) else {
        tracing::warn!(trunk = trunk.name, "a trunk without a SIP URI cannot be registered at");
        return;
    };
    while !inbox.is_closed() {
        if let Some(remote) = resolve(&uri).await {
            // An error says that the endpoint has stopped.
            let _ = inbox.send(Arrival::Resolved { trunk: index, remote }).await;
            return;
        }
        tracing::warn!(trunk = trunk.name, "a trunk's host name does not resolve; trying again");
        tokio::time::sleep(LOOKUP_AGAIN).await;
    }
}
