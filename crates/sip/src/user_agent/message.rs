//! Reads header fields and composes requests and responses. All of sipx's builders are called
//! from here.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use sipx_sip::{
    Address, CSeq, Header, HeaderName, Headers, Method, Request, RequestBuilder, Response,
    ResponseBuilder, StatusCode, TypedHeader, Uri, Via,
    headers::{Contact, From, To, first_hop_end},
};

use super::flow::{Flow, Transport};
use crate::endpoint::Party;

/// Methods we understand, for `Allow`.
pub(super) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY";
/// The same where peers may refer us to others.
pub(super) const ALLOW_REFER: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, NOTIFY, REFER";
/// Extensions that an INVITE may require.
pub(super) const SUPPORTED: &str = "replaces";

/// The only kind of body we read.
pub(super) const SDP: &str = "application/sdp";

/// Octets of a multipart boundary (RFC 2046 §5.1.1): it is searched for octet by octet.
const LONGEST_BOUNDARY: usize = 70;

/// A header's value, unfolded; invalid UTF-8 never passes the gate.
pub(super) fn text(headers: &Headers, name: &HeaderName) -> Option<String> {
    headers.value(name).map(|value| String::from_utf8_lossy(&value).into_owned())
}

/// A typed header that is there and well-formed.
pub(super) fn typed<H: TypedHeader>(headers: &Headers) -> Option<H> {
    headers.typed::<H>()?.ok()
}

pub(super) fn call_id(headers: &Headers) -> String {
    text(headers, &HeaderName::CallId).unwrap_or_default()
}

pub(super) fn cseq(headers: &Headers) -> Option<u32> {
    typed::<CSeq>(headers).map(|cseq| cseq.sequence)
}

pub(super) fn from_tag(headers: &Headers) -> Option<String> {
    typed::<From>(headers).and_then(|from| tag(&from))
}

pub(super) fn to_tag(headers: &Headers) -> Option<String> {
    typed::<To>(headers).and_then(|to| tag(&to))
}

fn tag(address: &Address) -> Option<String> {
    address.tag().map(|tag| String::from_utf8_lossy(tag).into_owned())
}

/// The number a header begins with, as of `Retry-After` and `Min-Expires`: seconds.
pub(super) fn seconds(headers: &Headers, name: &HeaderName) -> Option<Duration> {
    let value = text(headers, name)?;
    let digits = value.trim().split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Duration::from_secs)
}

/// The one URI of Contact.
pub(super) fn contact(headers: &Headers) -> Option<Uri> {
    typed::<Contact>(headers).map(|contact| contact.0.uri)
}

/// User part of a URI with escapes undone; empty if it has none.
pub(super) fn user_of(uri: &Uri) -> String {
    let user = uri.decoded_user().unwrap_or_default();
    String::from_utf8_lossy(&user).into_owned()
}

/// The caller as a trunk names it. Only From counts: an untrusted P-Asserted-Identity is worth
/// nothing (threats z19).
pub(super) fn trunk_party(trunk: &str, headers: &Headers) -> Party {
    let from = typed::<From>(headers);
    let user = from.as_ref().map(|from| user_of(&from.0.uri)).unwrap_or_default();
    let display_name = from
        .and_then(|from| from.0.display_name)
        .map(|name| String::from_utf8_lossy(&name).into_owned());
    Party::Trunk { trunk: trunk.to_owned(), user, display_name }
}

/// Whether a list header names something, token by token.
pub(super) fn tokens(headers: &Headers, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).map(|header| header.value().into_owned());
    let joined: Vec<String> =
        values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect();
    let tokens = joined.iter().flat_map(|value| value.split(','));
    tokens.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()).collect()
}

/// Whether a peer may take a REFER: it names the methods it knows in Allow (RFC 3261 §20.5), or
/// does not say.
pub(super) fn may_take_refer(headers: &Headers) -> bool {
    let named = tokens(headers, &HeaderName::Allow);
    named.is_empty() || named.iter().any(|method| method == "REFER")
}

/// Writes `received` and `rport` into the topmost Via (RFC 3261 §18.2.1, RFC 3581 §4) and says
/// where responses go: always to the host the request came from, whatever Via claims.
pub(super) fn stamp_via(request: &mut Request, flow: Flow) -> Flow {
    let Some(via) = typed::<Via>(&request.headers) else { return flow };
    let Some(header) = request.headers.remove_first(&HeaderName::Via) else { return flow };
    let value = header.value().into_owned();
    let (first, rest) = value.split_at(first_hop_end(&value));
    let kept = String::from_utf8_lossy(first);
    let kept: Vec<&str> = kept.split(';').filter(|part| !is_stamp(part)).collect();
    let ip = flow.remote.ip();
    let mut stamped = format!("{};received={ip}", kept.join(";").trim_end());
    if via.rport().is_some() {
        stamped.push_str(&format!(";rport={}", flow.remote.port()));
    }
    stamped.push_str(&String::from_utf8_lossy(rest));
    match Header::build(HeaderName::Via, stamped) {
        Ok(header) => request.headers.push_front(header),
        Err(_) => request.headers.push_front(header),
    }
    let port = match via.rport() {
        None if flow.transport == Transport::Udp => via.port.unwrap_or(5060),
        None | Some(_) => flow.remote.port(),
    };
    flow.towards((ip, port).into())
}

/// Bytes of a request as it came.
pub(super) fn length(request: &Request) -> usize {
    let mut bytes = Vec::new();
    request.write_to(&mut bytes);
    bytes.len()
}

fn is_stamp(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap_or_default().trim();
    name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport")
}

/// Composes a response. `None` when the request lacks what a response must copy, which the gate
/// has ruled out.
pub(super) fn respond(
    request: &Request,
    status: u16,
    to_tag: Option<&str>,
    headers: &[(HeaderName, String)],
    body: Option<String>,
) -> Option<Response> {
    let code = StatusCode::new(status)?;
    let mut builder = ResponseBuilder::to_request(request, code, reason(status)).ok()?;
    if let Some(tag) = to_tag
        && self::to_tag(&request.headers).is_none()
    {
        let to = text(&request.headers, &HeaderName::To)?;
        builder = builder.set_header(&HeaderName::To, format!("{to};tag={tag}")).ok()?;
    }
    if request.method == Method::Invite && (101..300).contains(&status) {
        // Proxies that stay on the way must find themselves in it (RFC 3261 §12.1.1).
        let name = HeaderName::RecordRoute;
        for route in request.headers.get_all(&name) {
            builder = builder.header(name.clone(), route.value().into_owned()).ok()?;
        }
    }
    for (name, value) in headers {
        builder = builder.header(name.clone(), value.clone()).ok()?;
    }
    if let Some(body) = body {
        builder = builder.header(HeaderName::ContentType, SDP).ok()?.body(body);
    }
    Some(builder.build())
}

/// Composes a request from ready header values. `None` when a value cannot stand in a header,
/// which happens only if a caller passes control characters.
pub(super) fn request(
    method: Method,
    uri: Uri,
    headers: Vec<(HeaderName, String)>,
    body: Option<(&'static str, String)>,
) -> Option<Request> {
    let mut builder = RequestBuilder::new(method, uri);
    for (name, value) in headers {
        builder = builder.header(name, value).ok()?;
    }
    if let Some((kind, body)) = body {
        builder = builder.header(HeaderName::ContentType, kind).ok()?.body(body);
    }
    Some(builder.build())
}

/// Our Via for a request on this flow.
pub(super) fn via(flow: &Flow, branch: &str) -> String {
    format!("SIP/2.0/{} {};rport;branch={branch}", flow.transport.via(), flow.local)
}

/// Our Contact on this flow.
pub(super) fn our_contact(flow: &Flow, user: &str) -> String {
    let transport = match flow.transport {
        Transport::Udp => "",
        Transport::Tcp => ";transport=tcp",
    };
    let at = if user.is_empty() { "" } else { "@" };
    format!("<sip:{}{at}{}{transport}>", escaped_user(user), flow.local)
}

/// `host` as a URI writes it.
pub(super) fn uri_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// A user part in URI form (RFC 3261 §25.1 `user`).
pub(super) fn escaped_user(user: &str) -> String {
    let mut out = String::with_capacity(user.len());
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// A display name as a quoted string; control characters are dropped.
pub(super) fn quoted(name: &str) -> String {
    let kept = name.chars().filter(|c| !c.is_control());
    let mut out = String::from("\"");
    for c in kept {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// The bytes of the first SDP part of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    None,
    Sdp(Bytes),
    /// Something we do not read: 415.
    Other,
}

/// Finds the session description in a message, also inside one level of multipart (SIP-I trunks
/// send it next to ISUP; RFC 5621 §3.1).
pub(super) fn body(headers: &Headers, body: &Bytes) -> Body {
    if body.is_empty() {
        return Body::None;
    }
    let encodings = tokens(headers, &HeaderName::ContentEncoding);
    if encodings.iter().any(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Body::Other;
    }
    let Some(kind) = typed::<sipx_sip::headers::ContentType>(headers) else {
        return Body::Other;
    };
    if kind.is("application", "sdp") {
        return Body::Sdp(body.clone());
    }
    match kind.param("boundary") {
        Some(boundary)
            if kind.media_type == b"multipart"
                && (1..=LONGEST_BOUNDARY).contains(&boundary.len()) =>
        {
            sdp_part(body, boundary).map_or(Body::Other, Body::Sdp)
        }
        Some(_) | None => Body::Other,
    }
}

fn sdp_part(body: &Bytes, boundary: &[u8]) -> Option<Bytes> {
    let delimiter = [b"--", boundary].concat();
    let starts: Vec<usize> = find_all(body, &delimiter);
    for pair in starts.windows(2) {
        let &[start, end] = pair else { continue };
        let part = body.slice(start + delimiter.len()..end);
        let Some(blank) = find_all(&part, b"\r\n\r\n").first().copied() else { continue };
        let head = String::from_utf8_lossy(&part[..blank]).to_ascii_lowercase();
        if head.contains("content-type:") && head.contains(SDP) {
            let content = part.slice(blank + 4..);
            let length = content.len().saturating_sub(2);
            return Some(content.slice(..length));
        }
    }
    None
}

/// Where `needle` stands, at most 64 times, each behind the one before: a delimiter of dashes is
/// found in itself otherwise.
fn find_all(haystack: &[u8], needle: &[u8]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut from = 0;
    while found.len() < 64
        && let Some(at) = haystack[from..].windows(needle.len()).position(|part| part == needle)
    {
        found.push(from + at);
        from += at + needle.len();
    }
    found
}

/// Standard reason phrases (RFC 3261 §21).
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        408 => "Request Timeout",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        423 => "Interval Too Brief",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        603 => "Decline",
        _ => "Server Internal Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(boundary: &str) -> Body {
        let sdp = "v=0\r\n";
        let content = format!(
            "--{boundary}\r\nContent-Type: application/isup\r\n\r\nx\r\n--{boundary}\r\n\
             Content-Type: application/sdp\r\n\r\n{sdp}\r\n--{boundary}--\r\n"
        );
        let mut headers = Headers::new();
        let kind = format!("multipart/mixed;boundary=\"{boundary}\"");
        headers.push(Header::build(HeaderName::ContentType, kind).unwrap());
        body(&headers, &Bytes::from(content))
    }

    /// A panic, found by the fuzz target `sip_agent`.
    #[test]
    fn a_delimiter_that_is_found_in_itself_ends_no_part_before_it_begins() {
        let kind = "multipart/mixed;boundary=\"-\"";
        let mut headers = Headers::new();
        headers.push(Header::build(HeaderName::ContentType, kind).unwrap());
        assert_eq!(body(&headers, &Bytes::from("-----\r\n".repeat(3))), Body::Other);
    }

    #[test]
    fn a_description_is_found_beside_other_parts_if_the_boundary_is_no_longer_than_it_may_be() {
        let found = Body::Sdp(Bytes::from_static(b"v=0\r\n"));
        assert_eq!(body_of("b"), found);
        assert_eq!(body_of(&"-".repeat(LONGEST_BOUNDARY)), found);
        assert_eq!(body_of(&"-".repeat(LONGEST_BOUNDARY + 1)), Body::Other);
    }
}
