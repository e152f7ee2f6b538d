//! A dialog (RFC 3261 §12): who the two ends are, where the peer is, and the sequence numbers.

use std::net::{IpAddr, SocketAddr};

use sipx_sip::{HeaderName, Headers, Host, Method, Request, Response, Uri};

use super::{flow::Flow, message};
use crate::leg::DialogName;

/// One end's view of a dialog.
#[derive(Clone, Debug)]
pub(super) struct Dialog {
    pub(super) call_id: String,
    /// Our From value, tag included.
    pub(super) local: String,
    /// The peer's To value, tag included.
    pub(super) remote: String,
    pub(super) remote_tag: String,
    /// The peer's Contact.
    pub(super) target: Uri,
    pub(super) routes: Vec<Uri>,
    pub(super) local_cseq: u32,
    pub(super) remote_cseq: Option<u32>,
    /// How the peer's messages reach us.
    pub(super) flow: Flow,
    /// Everything goes back the way it came: registered phones behind a NAT.
    pub(super) sticky: bool,
}

impl Dialog {
    /// The dialog of our INVITE that this 2xx created (RFC 3261 §12.1.2).
    pub(super) fn of_response(
        request: &Request,
        response: &Response,
        flow: Flow,
        sticky: bool,
    ) -> Option<Self> {
        let mut routes = routes(&response.headers);
        routes.reverse();
        Some(Self {
            call_id: message::call_id(&request.headers),
            local: message::text(&request.headers, &HeaderName::From)?,
            remote: message::text(&response.headers, &HeaderName::To)?,
            remote_tag: message::to_tag(&response.headers).unwrap_or_default(),
            target: message::contact(&response.headers).unwrap_or_else(|| request.uri.clone()),
            routes,
            local_cseq: message::cseq(&request.headers)?,
            remote_cseq: None,
            flow,
            sticky,
        })
    }

    /// The dialog that this 2xx to an INVITE of an earlier process created.
    pub(super) fn of_stray(response: &Response, cseq: u32, flow: Flow) -> Option<Self> {
        let mut routes = routes(&response.headers);
        routes.reverse();
        Some(Self {
            call_id: message::call_id(&response.headers),
            local: message::text(&response.headers, &HeaderName::From)?,
            remote: message::text(&response.headers, &HeaderName::To)?,
            remote_tag: message::to_tag(&response.headers).unwrap_or_default(),
            target: message::contact(&response.headers)?,
            routes,
            local_cseq: cseq,
            remote_cseq: None,
            flow,
            sticky: false,
        })
    }

    /// The dialog of a peer's INVITE (RFC 3261 §12.1.1).
    pub(super) fn of_request(
        request: &Request,
        local_tag: &str,
        first_cseq: u32,
        flow: Flow,
        sticky: bool,
    ) -> Option<Self> {
        let to = message::text(&request.headers, &HeaderName::To)?;
        Some(Self {
            call_id: message::call_id(&request.headers),
            local: format!("{to};tag={local_tag}"),
            remote: message::text(&request.headers, &HeaderName::From)?,
            remote_tag: message::from_tag(&request.headers).unwrap_or_default(),
            target: message::contact(&request.headers)?,
            routes: routes(&request.headers),
            local_cseq: first_cseq,
            remote_cseq: message::cseq(&request.headers),
            flow,
            sticky,
        })
    }

    /// Whether a request with these headers belongs here; the local tag has been compared.
    pub(super) fn owns(&self, headers: &Headers) -> bool {
        message::call_id(headers) == self.call_id
            && message::from_tag(headers).unwrap_or_default() == self.remote_tag
    }

    /// How a third party would name it to the peer (RFC 3891 §3: tags as the peer sees them).
    pub(super) fn name(&self) -> DialogName {
        let Self { call_id, remote_tag, .. } = self;
        let local_tag = super::kept::tag_of(&self.local);
        DialogName {
            target: String::from_utf8_lossy(&self.target.to_bytes()).into_owned(),
            replaces: format!("{call_id};to-tag={remote_tag};from-tag={local_tag}"),
        }
    }

    /// Takes the peer's new Contact after a re-INVITE (RFC 3261 §12.2.2) and the way it came.
    pub(super) fn refresh(&mut self, headers: &Headers, flow: Flow) {
        if let Some(target) = message::contact(headers) {
            self.target = target;
        }
        self.flow = flow;
    }

    /// Composes a request inside the dialog (RFC 3261 §12.2.1.1).
    pub(super) fn request(
        &self,
        method: Method,
        cseq: u32,
        branch: &str,
        extra: Vec<(HeaderName, String)>,
    ) -> Option<Request> {
        self.request_with(method, cseq, branch, extra, None)
    }

    /// The same with a body of a kind.
    pub(super) fn request_with(
        &self,
        method: Method,
        cseq: u32,
        branch: &str,
        extra: Vec<(HeaderName, String)>,
        body: Option<(&'static str, String)>,
    ) -> Option<Request> {
        let flow = self.next_hop();
        let mut headers = vec![
            (HeaderName::Via, message::via(&flow, branch)),
            (HeaderName::MaxForwards, "70".to_owned()),
            (HeaderName::From, self.local.clone()),
            (HeaderName::To, self.remote.clone()),
            (HeaderName::CallId, self.call_id.clone()),
            (HeaderName::CSeq, format!("{cseq} {method}")),
        ];
        let (uri, routes) = self.route();
        headers.extend(routes.iter().map(|route| {
            (HeaderName::Route, format!("<{}>", String::from_utf8_lossy(&route.to_bytes())))
        }));
        headers.extend(extra);
        message::request(method, uri, headers, body)
    }

    /// Request-URI and Route, with the strict routers of RFC 2543 in mind.
    fn route(&self) -> (Uri, Vec<Uri>) {
        match self.routes.split_first() {
            Some((first, rest)) if !is_loose(first) => {
                let mut routes = rest.to_vec();
                routes.push(self.target.clone());
                (first.clone(), routes)
            }
            Some(_) | None => (self.target.clone(), self.routes.clone()),
        }
    }

    /// The Request-URI of the next request, for digest.
    pub(super) fn request_uri(&self) -> String {
        String::from_utf8_lossy(&self.route().0.to_bytes()).into_owned()
    }

    /// Where requests go. An address that the peer only claims is used if it can be meant for us:
    /// a private one behind a public source is a NAT's inside, and a host name is not looked up.
    pub(super) fn next_hop(&self) -> Flow {
        let uri = self.routes.first().unwrap_or(&self.target);
        let Some(Host::Ip(ip)) = uri.host() else { return self.flow };
        let claimed = SocketAddr::new(*ip, uri.port().unwrap_or(5060));
        let source = self.flow.remote.ip();
        let hidden = is_inside(*ip) && !is_inside(source);
        if self.sticky || hidden || !is_unicast(*ip) || ip.is_ipv4() != source.is_ipv4() {
            self.flow.or_listener(uri)
        } else {
            self.flow.to(uri, claimed)
        }
    }

    /// The host that the peer's messages come from.
    pub(super) fn source(&self) -> IpAddr {
        self.flow.remote.ip()
    }
}

fn is_loose(uri: &Uri) -> bool {
    uri.params().is_some_and(|params| params.contains("lr"))
}

/// The Record-Route set in the order of the message; more than anybody needs is cut.
fn routes(headers: &Headers) -> Vec<Uri> {
    headers
        .typed_all::<sipx_sip::headers::RecordRoute>()
        .filter_map(Result::ok)
        .map(|route| route.0.uri)
        .filter(|uri| uri.scheme().is_sip() && !uri.has_headers())
        .take(16)
        .collect()
}

fn is_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !ip.is_multicast() && !ip.is_unspecified() && !broadcast
}

/// Addresses that mean nothing outside one network.
pub(super) fn is_inside(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xC0 == 64;
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
