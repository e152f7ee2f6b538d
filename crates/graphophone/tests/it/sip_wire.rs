//! Raw SIP on sockets of a test: bytes go out as they stand, and every response that comes back is
//! kept with its Call-ID.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use graphophone_testkit::soon;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// How a message reaches the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Udp,
    TcpOneWrite,
    TcpByteByByte,
}

impl Way {
    /// As the table of differences says it.
    pub(crate) fn transport(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::TcpOneWrite | Self::TcpByteByByte => "TCP",
        }
    }
}

/// One response.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) call_id: String,
    pub(crate) text: String,
}

impl Response {
    fn read(text: &str) -> Self {
        let status = text.get(8..11).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        let call_id = header(text, "Call-ID").unwrap_or_default();
        Self { status, call_id, text: text.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.text, name)
    }

    /// ACK and BYE of a caller that was answered.
    pub(crate) fn farewell(&self, via: &str) -> Vec<String> {
        let named = |name| self.header(name).unwrap_or_default();
        let (cseq, contact) = (named("CSeq"), named("Contact"));
        if !cseq.ends_with("INVITE") || self.status < 200 {
            return Vec::new();
        }
        let number: u32 = cseq.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0);
        let target = contact.trim_start_matches('<').split('>').next().unwrap_or_default();
        let compose = |method: &str, number: u32, via: &str| {
            format!(
                "{method} {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {}\r\n\
                 To: {}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n",
                named("From"),
                named("To"),
                self.call_id,
            )
        };
        if self.status >= 300 {
            return Vec::new();
        }
        let unique: String = self.call_id.chars().filter(char::is_ascii_alphanumeric).collect();
        let branch = |name: &str| format!("{via};branch=z9hG4bK{name}{unique}");
        let ack = compose("ACK", number, &branch("ack"));
        vec![ack, compose("BYE", number + 1, &branch("bye"))]
    }
}

/// What a request wrote in its compact form comes back so (RFC 3261 §7.3.3).
fn header(text: &str, name: &str) -> Option<String> {
    let compact = match name {
        "Call-ID" => "i",
        "From" => "f",
        "To" => "t",
        "Contact" => "m",
        other => other,
    };
    text.lines().find_map(|line| {
        let (have, value) = line.split_once(':')?;
        let is_it = [name, compact].iter().any(|it| have.trim().eq_ignore_ascii_case(it));
        is_it.then(|| value.trim().to_owned())
    })
}

/// A UDP socket at which responses come in.
pub(crate) struct UdpEnd {
    socket: UdpSocket,
    server: SocketAddr,
    probes: usize,
    /// The longest that a probe has waited for its response.
    pub(crate) slowest: Duration,
}

impl UdpEnd {
    pub(crate) async fn open(at: IpAddr, server: SocketAddr) -> Self {
        // Five digits, like the port that the corpus has: what is replaced keeps its length.
        let socket = loop {
            let socket = UdpSocket::bind((at, 0)).await.expect("a free port");
            if socket.local_addr().expect("it is bound").port() >= 10_000 {
                break socket;
            }
        };
        Self { socket, server, probes: 0, slowest: Duration::ZERO }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("it is bound")
    }

    /// `false` if the datagram is longer than UDP carries.
    pub(crate) async fn send(&self, bytes: &[u8]) -> bool {
        bytes.len() <= 65_507 && self.socket.send_to(bytes, self.server).await.is_ok()
    }

    async fn next(&self) -> Response {
        let mut buffer = vec![0; 65_536];
        let (length, from) = self.socket.recv_from(&mut buffer).await.expect("a datagram");
        assert_eq!(from, self.server, "only the server answers");
        Response::read(&String::from_utf8_lossy(&buffer[..length]))
    }

    /// Asks whether the server is alive, and gives what else came meanwhile: the server takes
    /// datagrams in their order, so whatever it says at once to those before is there by then.
    pub(crate) async fn probe(&mut self) -> Vec<Response> {
        self.probes += 1;
        let call_id = format!("probe-{}", self.probes);
        let begun = Instant::now();
        assert!(self.send(options(&call_id, self.address(), "UDP").as_bytes()).await);
        let mut others = Vec::new();
        loop {
            let response = soon("an OPTIONS is answered", self.next()).await;
            if response.call_id == call_id {
                assert_eq!(response.status, 200, "{}", response.text);
                break;
            }
            others.push(response);
        }
        self.slowest = self.slowest.max(begun.elapsed());
        others
    }

    /// Takes responses until one is as wanted, for at most so long.
    pub(crate) async fn until(
        &self,
        within: Duration,
        wanted: impl Fn(&Response) -> bool,
    ) -> Vec<Response> {
        let mut all = Vec::new();
        let _ = timeout(within, async {
            loop {
                let response = self.next().await;
                let is_wanted = wanted(&response);
                all.push(response);
                if is_wanted {
                    return;
                }
            }
        })
        .await;
        all
    }
}

/// A well-formed OPTIONS.
pub(crate) fn options(call_id: &str, at: SocketAddr, transport: &str) -> String {
    format!(
        "OPTIONS sip:bot@graphophone.test SIP/2.0\r\n\
         Via: SIP/2.0/{transport} {at};rport;branch=z9hG4bK-{call_id}\r\nMax-Forwards: 70\r\n\
         From: <sip:probe@graphophone.test>;tag=1\r\nTo: <sip:bot@graphophone.test>\r\n\
         Call-ID: {call_id}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}

/// A TCP connection and what came on it.
pub(crate) struct TcpEnd {
    stream: TcpStream,
    received: Vec<u8>,
    pub(crate) is_closed: bool,
}

impl TcpEnd {
    pub(crate) async fn open(server: SocketAddr) -> Self {
        let stream = soon("a connection", TcpStream::connect(server)).await.expect("a listener");
        stream.set_nodelay(true).expect("it is open");
        Self { stream, received: Vec::new(), is_closed: false }
    }

    /// Writes it all; what the server does not take because it has closed is lost.
    pub(crate) async fn send(&mut self, bytes: &[u8], way: Way) {
        let size = if way == Way::TcpByteByByte { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(size) {
            if self.stream.write_all(piece).await.is_err() {
                return;
            }
        }
    }

    /// Reads until the responses so far are as wanted, the connection is closed, or time is up.
    pub(crate) async fn until(&mut self, within: Duration, wanted: impl Fn(&[Response]) -> bool) {
        let _ = timeout(within, async {
            let mut buffer = vec![0; 65_536];
            while !self.is_closed && !wanted(&self.responses()) {
                match self.stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => self.is_closed = true,
                    Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                }
            }
        })
        .await;
    }

    pub(crate) fn responses(&self) -> Vec<Response> {
        let text = String::from_utf8_lossy(&self.received);
        // No response of this server's has a start line inside.
        let starts: Vec<usize> = text.match_indices("SIP/2.0 ").map(|(at, _)| at).collect();
        let ends = starts.iter().skip(1).copied().chain([text.len()]);
        starts.iter().zip(ends).map(|(start, end)| Response::read(&text[*start..end])).collect()
    }
}
