//! As much SIP as a far end needs (RFC 3261): reading messages, and writing responses and requests.
//!
//! Not the server's own stack, on purpose: what measures a server should not share its faults.

use std::{fmt::Write as _, net::SocketAddr};

/// What a far end that takes every call answers: 200 to every request but ACK, to an INVITE with
/// `sdp`.
pub fn answer(datagram: &[u8], contact: &str, sdp: &str) -> Option<String> {
    let request = Message::parse(datagram)?;
    let method = request.method().filter(|method| *method != "ACK")?;
    let sdp = (method == "INVITE").then_some(sdp);
    Some(response(&request, "200 OK", "far", contact, sdp))
}

/// A message. Header names are as they came.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    /// Request line or status line.
    pub(super) start: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    /// What follows the empty line.
    pub(super) body: &'a str,
}

impl<'a> Message<'a> {
    /// Reads a datagram; `None` for what is no SIP.
    pub(super) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(datagram).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?;
        let header = |line: &'a str| {
            let (name, value) = line.split_once(':')?;
            Some((name.trim(), value.trim()))
        };
        let headers = lines.map(header).collect::<Option<_>>()?;
        start.contains("SIP/2.0").then_some(Self { start, headers, body })
    }

    /// The method of a request.
    pub(super) fn method(&self) -> Option<&'a str> {
        let (method, _) = self.start.split_once(' ')?;
        (!method.starts_with("SIP/")).then_some(method)
    }

    /// The request URI.
    pub(super) fn uri(&self) -> Option<&'a str> {
        self.start.split(' ').nth(1)
    }

    /// The status of a response.
    pub(super) fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.split(' ').next()?.parse().ok()
    }

    /// All values of a header, by its long name or its compact form (§7.3.3).
    pub(super) fn all(&self, name: &'static str) -> impl Iterator<Item = &'a str> + '_ {
        let compact = match name {
            "via" => "v",
            "from" => "f",
            "to" => "t",
            "call-id" => "i",
            "contact" => "m",
            _ => name,
        };
        let is_it = move |found: &str| {
            found.eq_ignore_ascii_case(name) || found.eq_ignore_ascii_case(compact)
        };
        self.headers.iter().filter(move |(found, _)| is_it(found)).map(|(_, value)| *value)
    }

    /// The first value of a header, or nothing.
    pub(super) fn header(&self, name: &'static str) -> &'a str {
        self.all(name).next().unwrap_or_default()
    }

    /// Where the SDP body wants audio, and whether it knows PCMU.
    pub(super) fn audio(&self) -> Option<(SocketAddr, bool)> {
        let line = |prefix: &str| self.body.lines().find_map(|line| line.strip_prefix(prefix));
        let ip = line("c=IN IP4 ")?.split(['/', ' ']).next()?.trim().parse().ok()?;
        let mut media = line("m=audio ")?.split_whitespace();
        let port = media.next()?.parse().ok()?;
        Some((SocketAddr::new(ip, port), media.skip(1).any(|format| format == "0")))
    }
}

/// The URI between `<` and `>`, or a bare one without its parameters (§20).
pub(super) fn uri_of(value: &str) -> &str {
    match value.split_once('<') {
        Some((_, rest)) => rest.split('>').next().unwrap_or(rest),
        None => value.split(';').next().unwrap_or(value).trim(),
    }
}

/// A response (§8.2.6.2): Via, From, Call-ID, CSeq and Record-Route as they came, the tag in To
/// only if there is none yet.
pub(super) fn response(
    request: &Message<'_>,
    status: &str,
    tag: &str,
    contact: &str,
    sdp: Option<&str>,
) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for (name, long) in [("Via", "via"), ("Record-Route", "record-route")] {
        for value in request.all(long) {
            let _ = write!(text, "{name}: {value}\r\n");
        }
    }
    let to = request.header("to");
    let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
    let _ = write!(
        text,
        "From: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <{contact}>\r\n",
        request.header("from"),
        request.header("call-id"),
        request.header("cseq"),
    );
    finish(text, sdp)
}

/// A request of a dialog or outside of one.
#[derive(Clone, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
    /// Our address, and a branch of this transaction.
    pub(super) via: (SocketAddr, &'a str),
    /// Whole header values, with tags.
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) call_id: &'a str,
    pub(super) cseq: u32,
    /// The route set (§12.1), in the order in which it is to be visited.
    pub(super) routes: &'a [String],
    pub(super) contact: &'a str,
    pub(super) sdp: Option<&'a str>,
}

impl Request<'_> {
    /// As it goes over the wire.
    pub(super) fn write(&self) -> String {
        let (address, branch) = self.via;
        let Self { method, uri, from, to, call_id, cseq, contact, .. } = self;
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\nContact: <{contact}>\r\n"
        );
        for route in self.routes {
            let _ = write!(text, "Route: {route}\r\n");
        }
        finish(text, self.sdp)
    }
}

/// G.711 on one port, RTCP on another.
pub fn sdp(rtp: SocketAddr, rtcp: u16, payload_types: &str) -> String {
    let (ip, port) = (rtp.ip(), rtp.port());
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP {payload_types}\r\na=rtcp:{rtcp}\r\na=ptime:20\r\na=sendrecv\r\n"
    )
}

fn finish(mut text: String, sdp: Option<&str>) -> String {
    match sdp {
        Some(sdp) => {
            let length = sdp.len();
            let _ = write!(
                text,
                "Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
            );
        }
        None => text.push_str("Content-Length: 0\r\n\r\n"),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const INVITE: &str = "INVITE sip:17@127.0.0.1:5070 SIP/2.0\r\n\
        v: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKa\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKb\r\n\
        Record-Route: <sip:10.0.0.2;lr>\r\nf: <sip:bot@127.0.0.1>;tag=1\r\nTo: <sip:17@127.0.0.1>\r\n\
        Call-ID: c\r\nCSeq: 3 INVITE\r\nm: <sip:bot@127.0.0.1:5060>\r\n\r\n\
        v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 20000 RTP/AVP 8 0 101\r\n";

    #[test]
    fn a_response_has_what_the_request_had_and_a_tag() {
        let request = Message::parse(INVITE.as_bytes()).unwrap();
        assert_eq!(
            (request.method(), request.uri()),
            (Some("INVITE"), Some("sip:17@127.0.0.1:5070"))
        );
        assert_eq!(request.audio(), Some(("127.0.0.1:20000".parse().unwrap(), true)));
        let text = response(&request, "200 OK", "t", "sip:17@127.0.0.1:5070", Some("v=0\r\n"));
        let response = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(response.status(), Some(200));
        assert_eq!(response.method(), None);
        let vias: Vec<_> = response.all("via").collect();
        assert_eq!(
            vias,
            ["SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bKa", "SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKb"]
        );
        assert_eq!(response.header("record-route"), "<sip:10.0.0.2;lr>");
        assert_eq!(response.header("to"), "<sip:17@127.0.0.1>;tag=t");
        assert_eq!(response.header("content-length"), "5");
        assert_eq!(response.header("cseq"), "3 INVITE");
        assert_eq!(response.body, "v=0\r\n");
    }

    #[test]
    fn a_tag_that_is_there_is_kept() {
        let bye = "BYE sip:17@127.0.0.1 SIP/2.0\r\nTo: <sip:17@127.0.0.1>;tag=own\r\n\r\n";
        let request = Message::parse(bye.as_bytes()).unwrap();
        assert!(
            response(&request, "200 OK", "t", "sip:x", None)
                .contains("To: <sip:17@127.0.0.1>;tag=own\r\n")
        );
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let routes = ["<sip:10.0.0.2;lr>".to_owned()];
        let text = Request {
            method: "BYE",
            uri: "sip:bot@127.0.0.1:5060",
            via: ("127.0.0.1:5070".parse().unwrap(), "x"),
            from: "<sip:17@a>;tag=t",
            to: "<sip:bot@a>;tag=1",
            call_id: "c",
            cseq: 9,
            routes: &routes,
            contact: "sip:17@127.0.0.1:5070",
            sdp: None,
        }
        .write();
        let request = Message::parse(text.as_bytes()).unwrap();
        assert_eq!((request.method(), request.header("cseq")), (Some("BYE"), "9 BYE"));
        assert_eq!(request.header("route"), "<sip:10.0.0.2;lr>");
        assert!(request.header("via").contains("branch=z9hG4bKx"));
    }

    #[test]
    fn uris_are_taken_out_of_their_brackets() {
        assert_eq!(uri_of("\"A\" <sip:a@b;transport=udp>;expires=3"), "sip:a@b;transport=udp");
        assert_eq!(uri_of("sip:a@b;expires=3"), "sip:a@b");
    }

    #[test]
    fn noise_is_no_message() {
        assert!(Message::parse(b"\r\n\r\n").is_none());
        assert!(Message::parse(b"\xFF\xFE").is_none());
        assert!(Message::parse(b"GET / HTTP/1.1\r\n\r\n").is_none());
    }
}
