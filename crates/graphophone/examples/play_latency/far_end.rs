//! The far end of the call: just enough SIP to answer, and a thread that reads a UDP socket and the
//! clock, nothing else.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// One RTP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) marker: bool,
}

/// A far end that answers every call. Its threads end with the process.
pub(crate) struct FarEnd {
    sip: SocketAddr,
    arrivals: Receiver<Arrival>,
    /// Bound, so that reports do not come back as errors.
    _rtcp: UdpSocket,
}

impl FarEnd {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (sip, rtp, rtcp) = (bind()?, bind()?, bind()?);
        let address = sip.local_addr()?;
        let contact = format!("<sip:ear@{address}>");
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {} RTP/AVP 0\r\na=rtcp:{}\r\n",
            rtp.local_addr()?.port(),
            rtcp.local_addr()?.port()
        );
        std::thread::spawn(move || answer_all(&sip, &contact, &sdp));
        let (sender, arrivals) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 2_048];
            while let Ok(length) = rtp.recv(&mut buffer) {
                let at = Instant::now();
                let marker = length > 12 && buffer[1] & 0x80 != 0;
                if sender.send(Arrival { at, marker }).is_err() {
                    return;
                }
            }
        });
        Ok(Self { sip: address, arrivals, _rtcp: rtcp })
    }

    pub(crate) fn uri(&self) -> String {
        format!("sip:ear@{}", self.sip)
    }

    /// The next packet.
    pub(crate) fn next(&self, patience: Duration) -> anyhow::Result<Arrival> {
        match self.arrivals.recv_timeout(patience) {
            Ok(arrival) => Ok(arrival),
            Err(RecvTimeoutError::Timeout) => bail!("no packet comes"),
            Err(RecvTimeoutError::Disconnected) => bail!("the far end has stopped"),
        }
    }

    /// All packets up to a silence that long.
    pub(crate) fn drain(&self, silence: Duration) -> Vec<Arrival> {
        std::iter::from_fn(|| self.arrivals.recv_timeout(silence).ok()).collect()
    }

    /// Drops what has arrived.
    pub(crate) fn forget(&self) {
        self.arrivals.try_iter().for_each(drop);
    }
}

fn answer_all(socket: &UdpSocket, contact: &str, sdp: &str) {
    let mut buffer = vec![0; 65_536];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let Ok(request) = std::str::from_utf8(&buffer[..length]) else { continue };
        let Ok(response) = respond(request, contact, sdp) else { continue };
        if !response.is_empty() {
            let _ = socket.send_to(response.as_bytes(), from);
        }
    }
}

/// 200 to everything but ACK and responses (RFC 3261 §8.2.6.2).
fn respond(request: &str, contact: &str, sdp: &str) -> anyhow::Result<String> {
    let mut lines = request.split("\r\n");
    let method = lines.next().and_then(|line| line.split(' ').next()).context("no method")?;
    if method == "ACK" || method.starts_with("SIP/") {
        return Ok(String::new());
    }
    let mut response = String::from("SIP/2.0 200 OK\r\n");
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').context("not a header")?;
        match name.trim().to_ascii_lowercase().as_str() {
            "to" | "t" if !value.contains(";tag=") => {
                write!(response, "{line};tag=ear\r\n")?;
            }
            "via" | "v" | "from" | "f" | "to" | "t" | "call-id" | "i" | "cseq" | "record-route" => {
                write!(response, "{line}\r\n")?
            }
            _ => {}
        }
    }
    if method == "INVITE" {
        let length = sdp.len();
        write!(response, "Contact: {contact}\r\nContent-Type: application/sdp\r\n")?;
        write!(response, "Content-Length: {length}\r\n\r\n{sdp}")?;
    } else {
        response.push_str("Content-Length: 0\r\n\r\n");
    }
    Ok(response)
}
