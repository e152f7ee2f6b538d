//! The far end of all calls: a SIP user agent server over UDP that answers every INVITE, and hands
//! the addresses of its RTP sockets out in turn.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context;

use super::{
    content::Expected,
    meter::Meter,
    sip::{self, Message, Request, uri_of},
};

/// Datagrams of SIP that may wait for the thread.
const RECEIVE_BUFFER: usize = 4 << 20;

/// What a stream of the call with this number should carry.
pub(super) type Expect = dyn Fn(u32) -> Expected + Send + Sync;

/// Where a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Answered.
    Answered,
    /// ACK has come.
    Confirmed,
    /// BYE has come.
    Ended,
}

/// A call as the far end sees it.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) stage: Stage,
    /// Where the server wants its audio; where it sends from, too.
    pub(super) peer: SocketAddr,
    dialog: Dialog,
}

/// What a request in the dialog needs (§12).
#[derive(Clone, Debug)]
struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    target: String,
    routes: Vec<String>,
    /// Where the INVITE came from.
    next_hop: SocketAddr,
}

/// The far end. Its thread ends with the process.
#[derive(Clone)]
pub(super) struct FarEnd {
    socket: Arc<UdpSocket>,
    address: SocketAddr,
    legs: Arc<(Mutex<HashMap<u32, Leg>>, Condvar)>,
}

struct Server {
    far_end: FarEnd,
    meter: Meter,
    rtcp: UdpSocket,
    expect: Box<Expect>,
    /// Numbers of calls that name none themselves.
    next: u32,
    numbers: HashMap<String, u32>,
}

impl FarEnd {
    /// Listens on `at` (port 0: a free one).
    ///
    /// # Errors
    /// When the socket cannot be had.
    pub(super) fn start(at: SocketAddr, meter: Meter, expect: Box<Expect>) -> anyhow::Result<Self> {
        let socket = bind(at).with_context(|| format!("{at} cannot be listened on"))?;
        let address = socket.local_addr()?;
        let far_end = Self { socket: Arc::new(socket), address, legs: Arc::default() };
        // Bound and never read: reports must not come back as errors.
        let rtcp = UdpSocket::bind((at.ip(), 0))?;
        let numbers = HashMap::new();
        let server = Server { far_end: far_end.clone(), meter, rtcp, expect, next: 0, numbers };
        std::thread::Builder::new()
            .name("far-end".to_owned())
            .spawn(move || server.run())
            .context("the far end's thread does not start")?;
        Ok(far_end)
    }

    /// The address of a call with this number.
    pub(super) fn uri(&self, number: u32) -> String {
        format!("sip:{number}@{}", self.address)
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until a call is that far; its leg, or `None` when time is up.
    pub(super) fn wait(&self, number: u32, stage: Stage, patience: Duration) -> Option<Leg> {
        let deadline = Instant::now() + patience;
        let mut legs = self.lock();
        loop {
            if let Some(leg) = legs.get(&number)
                && leg.stage as u8 >= stage as u8
            {
                return Some(leg.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            legs = self.legs.1.wait_timeout(legs, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The calls that are up, in the order of their numbers.
    pub(super) fn up(&self) -> Vec<(u32, Leg)> {
        let is_up = |(_, leg): &(&u32, &Leg)| leg.stage != Stage::Ended;
        let legs = self.lock();
        let up = legs.iter().filter(is_up).map(|(number, leg)| (*number, leg.clone()));
        let mut up: Vec<_> = up.collect();
        up.sort_unstable_by_key(|(number, _)| *number);
        up
    }

    /// Sends BYE on every call that is up.
    pub(super) fn hang_up_all(&self) {
        for (number, leg) in self.up() {
            let Dialog { call_id, local, remote, target, routes, next_hop } = &leg.dialog;
            let bye = Request {
                method: "BYE",
                uri: target,
                via: (self.address, &format!("bye{number}")),
                from: local,
                to: remote,
                call_id,
                cseq: 1,
                routes,
                contact: &self.uri(number),
                sdp: None,
            };
            let _ = self.socket.send_to(bye.write().as_bytes(), next_hop);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Leg>> {
        self.legs.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    fn run(mut self) {
        let mut buffer = vec![0; 65_536];
        loop {
            // An error is what loopback reports of a closed port of somebody else.
            let Ok((length, from)) = self.far_end.socket.recv_from(&mut buffer) else { continue };
            let Some(message) = Message::parse(&buffer[..length]) else { continue };
            if let Some(response) = self.take(&message, from) {
                let _ = self.far_end.socket.send_to(response.as_bytes(), from);
            }
        }
    }

    fn take(&mut self, request: &Message<'_>, from: SocketAddr) -> Option<String> {
        let method = request.method()?;
        if method == "INVITE" {
            return self.answer(request, from);
        }
        let number = self.numbers.get(request.header("call-id")).copied();
        match (method, number) {
            ("ACK", Some(number)) => self.reach(number, Stage::Confirmed),
            ("BYE" | "CANCEL", Some(number)) => {
                self.numbers.remove(request.header("call-id"));
                self.reach(number, Stage::Ended);
            }
            _ => {}
        }
        let contact = self.far_end.uri(number.unwrap_or_default());
        (method != "ACK").then(|| sip::response(request, "200 OK", "far", &contact, None))
    }

    /// 200 with our SDP; the same again to a retransmission.
    fn answer(&mut self, invite: &Message<'_>, from: SocketAddr) -> Option<String> {
        let (peer, has_pcmu) = invite.audio()?;
        let call_id = invite.header("call-id");
        let number = match self.numbers.get(call_id) {
            Some(number) => *number,
            None => self.number_of(invite.uri()?),
        };
        let contact = self.far_end.uri(number);
        let addresses = self.meter.addresses();
        let rtp = addresses.get(number as usize % addresses.len())?;
        let payload_type = if has_pcmu { "0" } else { "8" };
        let sdp = sip::sdp(*rtp, self.rtcp.local_addr().ok()?.port(), payload_type);
        let tag = format!("far{number}");
        if self.numbers.insert(call_id.to_owned(), number).is_none() {
            self.meter.expect(peer, (self.expect)(number));
            let dialog = Dialog {
                call_id: call_id.to_owned(),
                local: format!("{};tag={tag}", invite.header("to")),
                remote: invite.header("from").to_owned(),
                target: uri_of(invite.header("contact")).to_owned(),
                routes: invite.all("record-route").map(str::to_owned).collect(),
                next_hop: from,
            };
            self.far_end.lock().insert(number, Leg { stage: Stage::Answered, peer, dialog });
            self.far_end.legs.1.notify_all();
        }
        Some(sip::response(invite, "200 OK", &tag, &contact, Some(&sdp)))
    }

    /// The user part of the request URI, if it is a free number.
    fn number_of(&mut self, uri: &str) -> u32 {
        let user = uri.split_once(':').and_then(|(_, rest)| rest.split('@').next());
        if let Some(number) = user.and_then(|user| user.parse().ok())
            && self.far_end.lock().get(&number).is_none_or(|leg| leg.stage == Stage::Ended)
        {
            return number;
        }
        while self.far_end.lock().contains_key(&self.next) {
            self.next += 1;
        }
        self.next
    }

    fn reach(&mut self, number: u32, stage: Stage) {
        let mut legs = self.far_end.lock();
        if let Some(leg) = legs.get_mut(&number)
            && leg.stage as u8 <= stage as u8
        {
            leg.stage = stage;
            if stage == Stage::Ended {
                self.meter.forget(leg.peer);
            }
        }
        self.far_end.legs.1.notify_all();
    }
}

fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(at), socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// A loopback address with a free port.
pub(super) fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}
