//! A phone of another make: raw SIP and RTP on two UDP sockets, written against the RFCs and with
//! nothing of ours in it. Takes one call, speaks A-law only, sends no RTCP.

mod keys;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use tokio::net::UdpSocket;

pub use keys::WireEvent;

const ALAW: u8 = 8;
/// Payload type of telephone-event, for a phone that has keys.
const EVENT: u8 = 101;

/// What a [`WirePhone`] received.
#[derive(Clone, Debug, Default)]
pub struct WireHeard {
    /// RTP payloads in order of arrival, without anything else.
    pub alaw: Vec<u8>,
    /// Sequence number and timestamp of each packet.
    pub packets: Vec<(u16, u32)>,
    /// When each came.
    pub arrivals: Vec<Instant>,
    /// When the last one came.
    pub last: Option<Instant>,
    /// Packets of telephone-event, in order of arrival.
    pub events: Vec<WireEvent>,
    /// Packets of another payload type.
    pub foreign: usize,
}

const PLAIN: Make = Make { ip: "127.0.0.1", ignored: &["ACK"], has_keys: false };

/// A phone that answers at once.
pub struct WirePhone {
    address: SocketAddr,
    heard: Arc<Mutex<WireHeard>>,
    requests: Arc<Mutex<Vec<String>>>,
    rtp: Arc<UdpSocket>,
    /// Where the caller wants its audio.
    caller: Arc<Mutex<Option<SocketAddr>>>,
}

/// How one of these phones differs from the others.
#[derive(Clone, Copy)]
struct Make {
    /// The address in its session description.
    ip: &'static str,
    /// Requests that it does not answer.
    ignored: &'static [&'static str],
    /// It agrees to telephone-event.
    has_keys: bool,
}

impl WirePhone {
    /// Listens on free ports.
    pub async fn start() -> Self {
        Self::start_as(PLAIN).await
    }

    /// One that never confirms the end of a call.
    pub async fn start_deaf_to_bye() -> Self {
        Self::start_as(Make { ignored: &["ACK", "BYE"], ..PLAIN }).await
    }

    /// One that never answers when it is asked to call somebody else.
    pub async fn start_deaf_to_refer() -> Self {
        Self::start_as(Make { ignored: &["ACK", "REFER"], ..PLAIN }).await
    }

    /// One with another address in its session description.
    pub async fn start_with_audio_at(ip: &'static str) -> Self {
        Self::start_as(Make { ip, ..PLAIN }).await
    }

    /// One with keys (telephone-event, RFC 4733).
    pub async fn start_with_keys() -> Self {
        Self::start_as(Make { has_keys: true, ..PLAIN }).await
    }

    async fn start_as(make: Make) -> Self {
        let sip = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let rtp = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("a free port"));
        let address = sip.local_addr().expect("it is bound");
        let rtp_port = rtp.local_addr().expect("it is bound").port();
        let heard = Arc::<Mutex<WireHeard>>::default();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let caller = Arc::default();
        let answering = answer(sip, (make, rtp_port), Arc::clone(&requests), Arc::clone(&caller));
        tokio::spawn(answering);
        tokio::spawn(listen(Arc::clone(&rtp), Arc::clone(&heard)));
        Self { address, heard, requests, rtp, caller }
    }

    /// Where it can be called.
    pub fn identity(&self) -> serde_json::Value {
        serde_json::json!({"user": {"id": format!("sip:wire@{}", self.address)}})
    }

    /// How many requests of this method it got, repetitions included.
    pub fn asked(&self, method: &str) -> usize {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().filter(|asked| *asked == method).count()
    }

    /// What it has heard so far.
    pub fn heard(&self) -> WireHeard {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers INVITE with A-law only and everything else but `ignored` with a bare 200.
async fn answer(
    sip: UdpSocket,
    (make, rtp_port): (Make, u16),
    requests: Arc<Mutex<Vec<String>>>,
    caller: Arc<Mutex<Option<SocketAddr>>>,
) {
    let Make { ip, ignored, has_keys } = make;
    let mut buffer = vec![0; 65_536];
    let host = sip.local_addr().expect("it is bound");
    while let Ok((length, from)) = sip.recv_from(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let Some((method, _)) = text.split_once(' ') else { continue };
        requests.lock().unwrap_or_else(PoisonError::into_inner).push(method.to_owned());
        if ignored.contains(&method) || method.starts_with("SIP/") {
            continue;
        }
        let copied = |name: &str| {
            let lines = text.lines().take_while(|line| !line.is_empty());
            let wanted = lines.filter(|line| {
                line.split_once(':').is_some_and(|(n, _)| n.trim().eq_ignore_ascii_case(name))
            });
            wanted.map(|line| format!("{line}\r\n")).collect::<String>()
        };
        let body = if method == "INVITE" {
            if let Some(at) = keys::audio_of(&text, from.ip()) {
                *caller.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
            }
            let (event, map) = match has_keys {
                true => (format!(" {EVENT}"), format!("a=rtpmap:{EVENT} telephone-event/8000\r\n")),
                false => Default::default(),
            };
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
                 m=audio {rtp_port} RTP/AVP {ALAW}{event}\r\n{map}"
            )
        } else {
            String::new()
        };
        let to = copied("To").trim_end().to_owned();
        let tag = if to.contains("tag=") { "" } else { ";tag=wire" };
        let response = format!(
            "SIP/2.0 200 OK\r\n{}{}{to}{tag}\r\n{}{}Contact: <sip:wire@{host}>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            copied("Via"),
            copied("From"),
            copied("Call-ID"),
            copied("CSeq"),
            body.len()
        );
        let _ = sip.send_to(response.as_bytes(), from).await;
    }
}

async fn listen(rtp: Arc<UdpSocket>, heard: Arc<Mutex<WireHeard>>) {
    let mut buffer = [0; 2_048];
    while let Ok((length, _)) = rtp.recv_from(&mut buffer).await {
        let packet = &buffer[..length];
        // RFC 3550 §5.1: version 2, no CSRC; then type, sequence number, timestamp, SSRC.
        if length < 12 || packet[0] != 0x80 {
            continue;
        }
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        let timestamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        match packet[1] & 0x7F {
            ALAW => {}
            EVENT if length >= 16 => {
                heard.events.push(WireEvent::read(timestamp, &packet[12..]));
                continue;
            }
            _ => {
                heard.foreign += 1;
                continue;
            }
        }
        heard.packets.push((sequence, timestamp));
        heard.alaw.extend(&packet[12..]);
        let now = Instant::now();
        heard.arrivals.push(now);
        heard.last = Some(now);
    }
}
