//! The least SIP that keeps a call up: what a far end of a benchmark answers.

use std::fmt::Write as _;

/// A far end that takes every call and never hangs up.
#[derive(Clone, Debug)]
pub struct Answerer {
    contact: String,
    sdp: String,
}

impl Answerer {
    /// Reachable by SIP at `sip` (`ADDRESS:PORT`), taking PCMU at these ports of 127.0.0.1.
    pub fn new(sip: &str, rtp_port: u16, rtcp_port: u16) -> Self {
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {rtp_port} RTP/AVP 0\r\na=rtcp:{rtcp_port}\r\n"
        );
        Self { contact: format!("<sip:ear@{sip}>"), sdp }
    }

    /// 200 to every request but ACK (RFC 3261 §8.2.6.2); nothing to that, to responses, and to
    /// what is no SIP.
    pub fn respond(&self, request: &[u8]) -> Option<String> {
        let mut lines = std::str::from_utf8(request).ok()?.split("\r\n");
        let method = lines.next()?.split(' ').next()?;
        if method == "ACK" || method.starts_with("SIP/") {
            return None;
        }
        let mut response = String::with_capacity(1_024);
        response.push_str("SIP/2.0 200 OK\r\n");
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':')?;
            match name.trim().to_ascii_lowercase().as_str() {
                "to" | "t" if !value.contains(";tag=") => {
                    write!(response, "{line};tag=ear\r\n").ok()?;
                }
                "via" | "v" | "from" | "f" | "to" | "t" | "call-id" | "i" | "cseq"
                | "record-route" => write!(response, "{line}\r\n").ok()?,
                _ => {}
            }
        }
        if method == "INVITE" {
            let Self { contact, sdp } = self;
            let length = sdp.len();
            write!(response, "Contact: {contact}\r\nContent-Type: application/sdp\r\n").ok()?;
            write!(response, "Content-Length: {length}\r\n\r\n{sdp}").ok()?;
        } else {
            response.push_str("Content-Length: 0\r\n\r\n");
        }
        Some(response)
    }
}
