//! The far end as the caller: dials any SIP server over UDP, and hangs up at the end.

use std::{
    collections::HashMap,
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{
    content::Expected,
    meter::Meter,
    sip::{self, Message, Request, uri_of},
};

/// T1 (RFC 3261 §17.1.1.1).
const T1: Duration = Duration::from_millis(500);
/// An INVITE without a final response for so long has failed: Timer B.
const GIVE_UP: Duration = Duration::from_secs(32);
/// How long an answer to BYE is waited for.
const BYE_WITHIN: Duration = Duration::from_secs(2);

/// Calls that were dialled.
pub(super) struct Dialler {
    socket: UdpSocket,
    local: SocketAddr,
    server: SocketAddr,
    uri: String,
    meter: Meter,
    rtcp: UdpSocket,
    expected: Expected,
    calls: HashMap<String, Call>,
    /// Final responses other than 2xx, by their status line.
    refused: HashMap<String, usize>,
}

struct Call {
    number: u32,
    state: State,
}

enum State {
    Calling { due: Instant, wait: Duration, since: Instant },
    Up { to: String, target: String, routes: Vec<String> },
    Over,
}

impl Dialler {
    /// Gets ready to dial `uri` (`sip:user@host:port`).
    ///
    /// # Errors
    /// When the URI names no host that can be reached over UDP.
    pub(super) fn new(uri: &str, meter: Meter, expected: Expected) -> anyhow::Result<Self> {
        let host = uri.strip_prefix("sip:").context("write a SIP URI: sip:user@host:port")?;
        let host = host.rsplit('@').next().unwrap_or(host);
        let host = host.split([';', '?']).next().unwrap_or(host);
        let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5060") };
        let server = host.to_socket_addrs()?.find(SocketAddr::is_ipv4);
        let server = server.with_context(|| format!("{host} has no IPv4 address"))?;
        let ip = meter.addresses().first().context("no RTP socket")?.ip();
        let socket = UdpSocket::bind((ip, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        Ok(Self {
            local: socket.local_addr()?,
            rtcp: UdpSocket::bind((ip, 0))?,
            socket,
            server,
            uri: uri.to_owned(),
            meter,
            expected,
            calls: HashMap::new(),
            refused: HashMap::new(),
        })
    }

    /// Dials `calls` calls, `rate` a second, and waits until each is answered or refused; how many
    /// are up comes back.
    ///
    /// # Errors
    /// When none is answered.
    pub(super) fn dial(&mut self, calls: u32, rate: f64) -> anyhow::Result<usize> {
        ensure!(rate > 0.0, "a rate is more than 0 calls per second");
        let since = Instant::now();
        let mut next = 0;
        while next < calls || self.is_calling() {
            let due = since + Duration::from_secs_f64(f64::from(next) / rate);
            if next < calls && Instant::now() >= due {
                self.invite(next)?;
                next += 1;
            }
            self.read()?;
            self.retransmit()?;
        }
        let up = self.up();
        if up == 0 {
            bail!("no call is answered: {:?}", self.refused);
        }
        Ok(up)
    }

    /// What was refused, and how often.
    pub(super) fn refused(&self) -> &HashMap<String, usize> {
        &self.refused
    }

    /// Reads and answers until `deadline`: far ends may ask something too.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) fn serve_until(&mut self, deadline: Instant) -> anyhow::Result<()> {
        while Instant::now() < deadline {
            self.read()?;
        }
        Ok(())
    }

    /// Hangs up.
    ///
    /// # Errors
    /// When the socket fails.
    pub(super) fn hang_up(&mut self) -> anyhow::Result<()> {
        for (call_id, call) in &self.calls {
            let State::Up { to, target, routes } = &call.state else { continue };
            let bye = self.request("BYE", target, call_id, call.number, to, routes, 2, None);
            self.socket.send_to(bye.as_bytes(), self.next_hop(target, routes))?;
        }
        let deadline = Instant::now() + BYE_WITHIN;
        while self.up() > 0 && Instant::now() < deadline {
            self.read()?;
        }
        Ok(())
    }

    fn up(&self) -> usize {
        self.calls.values().filter(|call| matches!(call.state, State::Up { .. })).count()
    }

    fn is_calling(&self) -> bool {
        self.calls.values().any(|call| matches!(call.state, State::Calling { .. }))
    }

    fn invite(&mut self, number: u32) -> anyhow::Result<()> {
        let call_id = format!("bench-{number}-{}", self.local.port());
        self.send_invite(&call_id, number)?;
        let now = Instant::now();
        let state = State::Calling { due: now + T1, wait: T1, since: now };
        self.calls.insert(call_id, Call { number, state });
        Ok(())
    }

    fn send_invite(&self, call_id: &str, number: u32) -> anyhow::Result<()> {
        let addresses = self.meter.addresses();
        let rtp = addresses[number as usize % addresses.len()];
        let sdp = sip::sdp(rtp, self.rtcp.local_addr()?.port(), "0 8");
        let to = format!("<{}>", self.uri);
        let text = self.request("INVITE", &self.uri, call_id, number, &to, &[], 1, Some(&sdp));
        self.socket.send_to(text.as_bytes(), self.server)?;
        Ok(())
    }

    fn retransmit(&mut self) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut late = Vec::new();
        for (call_id, call) in &mut self.calls {
            let State::Calling { due, wait, since } = &mut call.state else { continue };
            if now - *since > GIVE_UP {
                *self.refused.entry("no response".to_owned()).or_default() += 1;
                call.state = State::Over;
            } else if now >= *due {
                *wait *= 2;
                *due = now + *wait;
                late.push((call_id.clone(), call.number));
            }
        }
        late.iter().try_for_each(|(call_id, number)| self.send_invite(call_id, *number))
    }

    /// One datagram, if there is one.
    fn read(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 8_192];
        // Nothing there, or a closed port of the other side.
        let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { return Ok(()) };
        let Some(message) = Message::parse(&buffer[..length]) else { return Ok(()) };
        match (message.method(), message.status()) {
            (Some("ACK"), _) => {}
            (Some(method), _) => {
                let contact = self.contact();
                let text = sip::response(&message, "200 OK", "dialler", &contact, None);
                self.socket.send_to(text.as_bytes(), from)?;
                if method == "BYE"
                    && let Some(call) = self.calls.get_mut(message.header("call-id"))
                {
                    call.state = State::Over;
                }
            }
            (None, Some(status)) if status >= 200 => self.take_final(&message, status)?,
            (None, _) => {}
        }
        Ok(())
    }

    fn take_final(&mut self, response: &Message<'_>, status: u16) -> anyhow::Result<()> {
        let call_id = response.header("call-id");
        let is_invite = response.header("cseq").ends_with("INVITE");
        let Some(call) = self.calls.get(call_id) else { return Ok(()) };
        let (number, was_calling) = (call.number, matches!(call.state, State::Calling { .. }));
        let to = response.header("to").to_owned();
        let state = if !is_invite {
            State::Over
        } else if status >= 300 {
            // The ACK of a refusal belongs to the INVITE's transaction (§17.1.1.3).
            let ack = self.request("ACK", &self.uri, call_id, number, &to, &[], 1, None);
            self.socket.send_to(ack.as_bytes(), self.server)?;
            if was_calling {
                *self.refused.entry(response.start.to_owned()).or_default() += 1;
            }
            State::Over
        } else {
            let target = uri_of(response.header("contact")).to_owned();
            let mut routes: Vec<String> = response.all("record-route").map(str::to_owned).collect();
            routes.reverse();
            let ack = self.request("ACK", &target, call_id, number, &to, &routes, 1, None);
            self.socket.send_to(ack.as_bytes(), self.next_hop(&target, &routes))?;
            if let Some((peer, _)) = response.audio().filter(|_| was_calling) {
                self.meter.expect(peer, self.expected.clone());
            }
            State::Up { to, target, routes }
        };
        if let Some(call) = self.calls.get_mut(call_id)
            && (was_calling || !is_invite)
        {
            call.state = state;
        }
        Ok(())
    }

    /// Where a request in a dialog goes: the first route, or the contact, if that is an address.
    fn next_hop(&self, target: &str, routes: &[String]) -> SocketAddr {
        let uri = routes.first().map_or(target, |route| uri_of(route));
        let host = uri.split_once(':').map_or(uri, |(_, rest)| rest);
        let host = host.rsplit('@').next().unwrap_or(host).split([';', '?']).next();
        host.and_then(|host| host.parse().ok()).unwrap_or(self.server)
    }

    fn contact(&self) -> String {
        format!("sip:bench@{}", self.local)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a request")]
    fn request(
        &self,
        method: &str,
        uri: &str,
        call_id: &str,
        number: u32,
        to: &str,
        routes: &[String],
        cseq: u32,
        sdp: Option<&str>,
    ) -> String {
        // An ACK of a 2xx is a transaction of its own; that of a refusal is the INVITE's.
        let kind = if method == "ACK" && uri != self.uri { "ack" } else { "tx" };
        let from = format!("<{}>;tag=bench{number}", self.contact());
        Request {
            method,
            uri,
            via: (self.local, &format!("{kind}{cseq}x{number}x{}", self.local.port())),
            from: &from,
            to,
            call_id,
            cseq,
            routes,
            contact: &self.contact(),
            sdp,
        }
        .write()
    }
}
