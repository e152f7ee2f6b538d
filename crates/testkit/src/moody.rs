//! Far ends of many calls, each in the mood that the user part of its address names: raw SIP on one
//! UDP socket, like [`crate::WirePhone`]. RTP goes to a port that nobody reads.

use std::{collections::HashMap, net::SocketAddr};

use tokio::{net::UdpSocket, task::JoinHandle};

/// What the far end does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mood {
    /// Answers at once.
    Answers,
    /// Rings until the call is cancelled.
    Rings,
    /// 486.
    Busy,
    /// 503.
    Fails,
    /// Answers with a description that has no codec of ours.
    Foreign,
    /// Answers, and hangs up as soon as the call is confirmed.
    HangsUp,
}

impl Mood {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Answers, Self::Rings, Self::Busy, Self::Fails, Self::Foreign, Self::HangsUp];

    const fn user(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Rings => "rings",
            Self::Busy => "busy",
            Self::Fails => "fails",
            Self::Foreign => "foreign",
            Self::HangsUp => "hangs-up",
        }
    }
}

/// The far ends, until dropped.
pub struct Moody {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Moody {
    /// Listens on a free port.
    pub async fn start() -> Self {
        let sip = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let rtp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let address = sip.local_addr().expect("it is bound");
        let task = tokio::spawn(serve(sip, rtp));
        Self { address, task }
    }

    /// The Graph identity of one in this mood.
    pub fn identity(&self, mood: Mood) -> serde_json::Value {
        let uri = format!("sip:{}@{}", mood.user(), self.address);
        serde_json::json!({"user": {"id": uri}})
    }
}

impl Drop for Moody {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(sip: UdpSocket, rtp: UdpSocket) {
    let mut far_end = FarEnd {
        host: sip.local_addr().expect("it is bound"),
        rtp: rtp.local_addr().expect("it is bound").port(),
        ringing: HashMap::new(),
    };
    let mut buffer = vec![0; 65_536];
    while let Ok((length, from)) = sip.recv_from(&mut buffer).await {
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        for message in far_end.take(&text) {
            // Loopback loses what does not fit; then the server repeats its request.
            let _ = sip.send_to(message.as_bytes(), from).await;
        }
    }
}

struct FarEnd {
    host: SocketAddr,
    rtp: u16,
    /// INVITEs that wait for their CANCEL, by Call-ID.
    ringing: HashMap<String, String>,
}

impl FarEnd {
    fn take(&mut self, text: &str) -> Vec<String> {
        let Some((method, rest)) = text.split_once(' ') else { return Vec::new() };
        let mood = Mood::ALL.into_iter().find(|mood| user_of(rest) == mood.user());
        match (method, mood) {
            ("INVITE", Some(mood)) => self.invited(mood, text),
            ("ACK", Some(Mood::HangsUp)) => vec![self.bye(text)],
            ("CANCEL", _) => {
                let mut answers = vec![self.response("200 OK", text, "")];
                if let Some(invite) = self.ringing.remove(header(text, "Call-ID")) {
                    answers.push(self.response("487 Request Terminated", &invite, ""));
                }
                answers
            }
            ("BYE", _) => vec![self.response("200 OK", text, "")],
            _ => Vec::new(),
        }
    }

    fn invited(&mut self, mood: Mood, invite: &str) -> Vec<String> {
        let sdp = |payload_type: u8| {
            let port = self.rtp;
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP {payload_type}\r\n"
            )
        };
        match mood {
            Mood::Answers | Mood::HangsUp => vec![self.response("200 OK", invite, &sdp(0))],
            // GSM.
            Mood::Foreign => vec![self.response("200 OK", invite, &sdp(3))],
            Mood::Busy => vec![self.response("486 Busy Here", invite, "")],
            Mood::Fails => vec![self.response("503 Service Unavailable", invite, "")],
            Mood::Rings => {
                self.ringing.insert(header(invite, "Call-ID").to_owned(), invite.to_owned());
                vec![self.response("180 Ringing", invite, "")]
            }
        }
    }

    fn response(&self, status: &str, request: &str, body: &str) -> String {
        let copied = |name: &str| {
            let lines = request.lines().take_while(|line| !line.is_empty());
            let wanted = lines.filter(|line| line.split(':').next() == Some(name));
            wanted.map(|line| format!("{line}\r\n")).collect::<String>()
        };
        let to = copied("To").trim_end().to_owned();
        let tag = if to.contains("tag=") { "" } else { ";tag=moody" };
        // Requests in the dialog come to the same address, and so to the same mood.
        let user = request.split_once(' ').map(|(_, rest)| user_of(rest)).unwrap_or_default();
        format!(
            "SIP/2.0 {status}\r\n{}{}{to}{tag}\r\n{}{}Contact: <sip:{user}@{}>\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            copied("Via"),
            copied("From"),
            copied("Call-ID"),
            copied("CSeq"),
            self.host,
            body.len()
        )
    }

    /// A BYE in the dialog that `ack` confirms.
    fn bye(&self, ack: &str) -> String {
        let call_id = header(ack, "Call-ID");
        let target = header(ack, "Contact");
        let target = match target.trim_matches(['<', '>']) {
            "" => "sip:bot@127.0.0.1",
            target => target,
        };
        format!(
            "BYE {target} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bKbye{}\r\n\
             Max-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {call_id}\r\nCSeq: 1 BYE\r\n\
             Content-Length: 0\r\n\r\n",
            self.host,
            call_id.replace(|c: char| !c.is_ascii_alphanumeric(), ""),
            header(ack, "To"),
            header(ack, "From"),
        )
    }
}

/// The user part of the URI that `text` begins with.
fn user_of(text: &str) -> &str {
    text.strip_prefix("sip:").and_then(|rest| rest.split('@').next()).unwrap_or_default()
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.split_once(':').filter(|(found, _)| *found == name);
    text.lines().find_map(value).map(|(_, value)| value.trim()).unwrap_or_default()
}
