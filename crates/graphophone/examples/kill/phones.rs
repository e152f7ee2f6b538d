//! The far ends: one SIP socket for all phones, an RTP socket for each call. Nothing of the server's
//! SIP and RTP is in them.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use graphophone::bench::sip;
use tokio::{
    net::UdpSocket,
    time::{Instant, sleep},
};

use crate::journal::{Journal, Number};

/// A 2xx is repeated until its ACK, for as long as RFC 3261 §13.3.1.4 says.
const REPEAT_FOR: Duration = Duration::from_secs(32);
const RECEIVE_BUFFER: usize = 4 << 20;

pub(crate) struct Phones {
    address: SocketAddr,
}

impl Phones {
    pub(crate) async fn start(journal: Arc<Journal>) -> anyhow::Result<Self> {
        let sip = Arc::new(bind()?);
        let address = sip.local_addr()?;
        tokio::spawn(async move { serve(&sip, &journal).await });
        Ok(Self { address })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// `sip:ROUND-CALL@…`
pub(crate) fn user((round, call): Number) -> String {
    format!("{round}-{call}")
}

fn number(uri: &str) -> Option<Number> {
    let user = uri.strip_prefix("sip:")?.split('@').next()?;
    let (round, call) = user.split_once('-')?;
    Some((round.parse().ok()?, call.parse().ok()?))
}

async fn serve(socket: &Arc<UdpSocket>, journal: &Arc<Journal>) {
    let mut buffer = vec![0; 65_536];
    let mut numbers: HashMap<String, Number> = HashMap::new();
    let contact = format!("sip:{}", socket.local_addr().expect("it is bound"));
    loop {
        let Ok((length, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Ok(text) = std::str::from_utf8(&buffer[..length]) else { continue };
        let Some((method, rest)) = text.split_once(' ') else { continue };
        if method.starts_with("SIP/") {
            continue;
        }
        let uri = rest.split(' ').next().unwrap_or_default();
        let Some(call_id) = header(text, "Call-ID").map(str::to_owned) else { continue };
        if method == "INVITE"
            && let Some(number) = number(uri)
        {
            let is_new = numbers.insert(call_id.clone(), number).is_none();
            if is_new {
                let Ok(rtp) = bind() else { continue };
                let port = rtp.local_addr().expect("it is bound").port();
                tokio::spawn(listen(rtp, Arc::clone(journal), number));
                journal.call(number, |call| {
                    call.dialogs.entry(call_id.clone()).or_default();
                });
                let sdp = sdp(port);
                let Some(answer) = sip::answer(text.as_bytes(), &contact, &sdp) else {
                    continue;
                };
                // One phone in three rings for a while, some longer than a server lives.
                let rings = Duration::from_millis(u64::from(number.1 % 3) * 150);
                let socket = Arc::clone(socket);
                tokio::spawn(pick_up(
                    socket,
                    Arc::clone(journal),
                    (number, call_id),
                    answer,
                    from,
                    rings,
                ));
            }
            continue;
        }
        let Some(number) = numbers.get(&call_id).copied() else { continue };
        journal.call(number, |call| {
            let dialog = call.dialogs.entry(call_id.clone()).or_default();
            match method {
                "ACK" => dialog.acknowledged = true,
                "BYE" | "CANCEL" => {
                    dialog.ended.get_or_insert_with(Instant::now);
                }
                _ => {}
            }
        });
        if let Some(answer) = sip::answer(text.as_bytes(), &contact, "") {
            let _ = socket.send_to(answer.as_bytes(), from).await;
        }
    }
}

async fn pick_up(
    socket: Arc<UdpSocket>,
    journal: Arc<Journal>,
    (number, call_id): (Number, String),
    answer: String,
    from: SocketAddr,
    rings: Duration,
) {
    sleep(rings).await;
    let begun = Instant::now();
    let mut wait = Duration::from_millis(500);
    loop {
        let mut is_over = false;
        journal.call(number, |call| {
            if let Some(dialog) = call.dialogs.get_mut(&call_id) {
                is_over = dialog.acknowledged || dialog.ended.is_some();
                dialog.answered |= !is_over;
            }
        });
        if is_over || begun.elapsed() > REPEAT_FOR {
            return;
        }
        let _ = socket.send_to(answer.as_bytes(), from).await;
        sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(4));
    }
}

/// Counts the samples of each code until the call is forgotten.
async fn listen(rtp: UdpSocket, journal: Arc<Journal>, number: Number) {
    let mut buffer = [0; 2_048];
    loop {
        let received =
            tokio::time::timeout(Duration::from_secs(60), rtp.recv_from(&mut buffer)).await;
        let Ok(Ok((length, _))) = received else { return };
        let packet = &buffer[..length];
        // RFC 3550 §5.1; payload type 0 is PCMU.
        if length < 12 || packet[0] != 0x80 || packet[1] & 0x7F != 0 {
            continue;
        }
        let mut inside = journal.lock();
        let Some(call) = inside.calls.get_mut(&number) else { return };
        for sample in &packet[12..] {
            *call.heard.entry(*sample).or_default() += 1;
        }
    }
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.trim().eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

fn sdp(port: u16) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n"
    )
}

fn bind() -> anyhow::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.set_nonblocking(true)?;
    Ok(UdpSocket::from_std(socket.into())?)
}
