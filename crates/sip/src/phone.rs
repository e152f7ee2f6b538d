//! The built-in phone: a real SIP/RTP endpoint on sockets of its own, for `demo`, `dev` and tests.
//!
//! It registers, answers as it is told, hears and records what is played to it, presses keys, holds,
//! refers and is referred, calls and hangs up. Nothing in it is a shortcut into the server: it speaks the protocols.

mod call;
mod heard;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use graphophone_media::engine::Engine;
use tokio::sync::{Notify, mpsc};

use crate::{
    Endpoint, EndpointConfig, IncomingCall, IncomingRefer, OutgoingCall, Trunk,
    endpoint::CallError,
    leg::{Attachment, Referral},
};

pub use call::{CallStage, PhoneCall, ReferOutcome};
pub use heard::{Heard, HeardPacket};

/// Name of the only trunk a phone has.
const SERVER: &str = "server";
/// Most incoming calls kept for [`Phone::next_call`].
const MOST_WAITING: usize = 64;

/// What carries a phone's signalling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneTransport {
    /// UDP.
    Udp,
    /// TCP; calls to the phone come over the connection it registered on.
    Tcp,
}

/// What a phone does with calls to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerPolicy {
    /// Rings for this long, then answers.
    After(Duration),
    /// Refuses as busy (486).
    Busy,
    /// Refuses for good (603).
    Decline,
    /// Rings until the caller gives up.
    Never,
}

/// Everything a phone is told at start.
#[derive(Clone)]
pub struct PhoneConfig {
    /// SIP user name.
    pub user: String,
    /// Digest password; empty if it never has to prove itself.
    pub password: String,
    /// Display name shown to those it calls.
    pub display_name: Option<String>,
    /// The server's SIP address: where it registers, and the host whose calls it takes.
    pub server: SocketAddr,
    /// How it talks to the server.
    pub transport: PhoneTransport,
    /// Register there. A phone that does not can call and be called at its own address.
    pub register: bool,
    /// What to do with calls.
    pub answer: AnswerPolicy,
    /// Address of its sockets.
    pub bind: IpAddr,
    /// Its RTP ports; `0..=0` leaves them to the operating system.
    pub rtp_ports: RangeInclusive<u16>,
    /// What it does when it is referred to somebody else: it calls them, or declines.
    pub incoming_refer: IncomingRefer,
    /// Time between its RTCP reports; short, so that receipts are acknowledged soon.
    pub rtcp_interval: Duration,
}

impl PhoneConfig {
    /// A registered UDP phone on the server's own host that answers at once.
    pub fn new(user: &str, password: &str, server: SocketAddr) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            display_name: None,
            server,
            transport: PhoneTransport::Udp,
            register: true,
            answer: AnswerPolicy::After(Duration::ZERO),
            bind: server.ip(),
            rtp_ports: 0..=0,
            incoming_refer: IncomingRefer::Decline,
            rtcp_interval: Duration::from_millis(250),
        }
    }
}

/// Why a phone cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum PhoneError {
    /// A socket could not be bound.
    #[error("the phone's sockets cannot be bound")]
    Bind(#[source] io::Error),
    /// The server refused the registration with this status, or did not respond (408).
    #[error("the server did not register the phone (SIP {0})")]
    PeerRefused(u16),
    /// A call could not be tried.
    #[error("the call cannot be placed")]
    Call(#[source] CallError),
}

/// A running phone; clones share it. It hangs up and unregisters when the last clone and the last
/// of its calls are gone, or on [`Phone::shut_down`].
#[derive(Clone)]
pub struct Phone {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    user: String,
    display_name: Option<String>,
    address: SocketAddr,
    transport: PhoneTransport,
    answer: Mutex<AnswerPolicy>,
    calls: Mutex<Calls>,
    arrived: Notify,
}

#[derive(Default)]
struct Calls {
    /// Incoming calls that nobody has asked for; the oldest goes when there are too many.
    waiting: VecDeque<PhoneCall>,
    /// The last one, in or out.
    latest: Option<PhoneCall>,
}

impl Phone {
    /// Binds its sockets and, if it is to register, waits for the first answer to that.
    ///
    /// # Errors
    /// [`PhoneError`] when it has no sockets or is not registered.
    pub async fn start(config: PhoneConfig, engine: Engine) -> Result<Self, PhoneError> {
        let own = SocketAddr::new(config.bind, 0);
        let (udp, tcp) = match config.transport {
            PhoneTransport::Udp => (vec![own], vec![]),
            PhoneTransport::Tcp => (vec![], vec![own]),
        };
        let uri = uri(None, config.server, config.transport);
        let server = Trunk {
            name: SERVER.to_owned(),
            uri: Some(uri),
            username: Some(config.user.clone()),
            from: None,
            password: Some(config.password.clone()),
            realm: None,
            register: config.register,
            peers: vec![(config.server.ip(), if config.server.is_ipv4() { 32 } else { 128 })],
        };
        let endpoint = EndpointConfig {
            udp,
            tcp,
            external_address: None,
            rtp_bind: config.bind,
            rtp_ports: config.rtp_ports.clone(),
            phones: Vec::new(),
            digest: Vec::new(),
            trunks: vec![server],
            max_calls: 256,
            media_timeout: None,
            agent: "Graphophone phone".to_owned(),
            incoming_refer: config.incoming_refer,
        };
        let bound = Endpoint::bind_with(endpoint, engine, config.rtcp_interval, None).await;
        let (endpoint, incoming) = bound.map_err(PhoneError::Bind)?;
        let addresses = [endpoint.udp_addrs(), endpoint.tcp_addrs()].concat();
        let shared = Arc::new(Shared {
            endpoint,
            user: config.user,
            display_name: config.display_name,
            address: addresses.first().copied().unwrap_or(own),
            transport: config.transport,
            answer: Mutex::new(config.answer),
            calls: Mutex::default(),
            arrived: Notify::new(),
        });
        tokio::spawn(take_calls(incoming, Arc::downgrade(&shared)));
        if config.register {
            let registered = shared.endpoint.registered(SERVER).await;
            registered.map_err(PhoneError::PeerRefused)?;
        }
        Ok(Self { shared })
    }

    /// Its own address as a URI, for calls past the registrar.
    pub fn uri(&self) -> String {
        let Shared { user, address, transport, .. } = &*self.shared;
        uri(Some(user), *address, *transport)
    }

    /// Waits until it is registered (again).
    ///
    /// # Errors
    /// [`PhoneError::PeerRefused`] when the last try failed; it goes on trying.
    pub async fn registered(&self) -> Result<(), PhoneError> {
        self.shared.endpoint.registered(SERVER).await.map_err(PhoneError::PeerRefused)
    }

    /// Changes what happens to calls from now on.
    pub fn set_answer(&self, policy: AnswerPolicy) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    /// Calls a SIP URI.
    ///
    /// # Errors
    /// [`PhoneError::Call`] when the call cannot be tried at all.
    pub async fn call(&self, target: &str) -> Result<PhoneCall, PhoneError> {
        self.shared.call(target, None).await
    }

    /// Calls a SIP URI to take somebody's place in a dialog of its: `replaces` is the value of the
    /// header (RFC 3891).
    ///
    /// # Errors
    /// [`PhoneError::Call`] when the call cannot be tried at all.
    pub async fn call_replacing(
        &self,
        target: &str,
        replaces: &str,
    ) -> Result<PhoneCall, PhoneError> {
        self.shared.call(target, Some(replaces.to_owned())).await
    }

    /// The next call to this phone, in the order they came; waits for one. A call is here as soon
    /// as it rings.
    pub async fn next_call(&self) -> PhoneCall {
        loop {
            let arrived = self.shared.arrived.notified();
            if let Some(call) = self.shared.lock_calls().waiting.pop_front() {
                return call;
            }
            arrived.await;
        }
    }

    /// The last call, in or out, if there was one.
    pub fn latest_call(&self) -> Option<PhoneCall> {
        self.shared.lock_calls().latest.clone()
    }

    /// What the last call has heard so far; empty without a call.
    pub fn heard(&self) -> Heard {
        self.latest_call().map(|call| call.heard()).unwrap_or_default()
    }

    /// Hangs up, unregisters and closes its sockets.
    pub async fn shut_down(&self) {
        self.shared.endpoint.shut_down().await;
    }
}

impl Shared {
    fn lock_calls(&self) -> std::sync::MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn call(
        self: &Arc<Self>,
        target: &str,
        replaces: Option<String>,
    ) -> Result<PhoneCall, PhoneError> {
        let (wiring, sinks, tap) = call::wire();
        let attachment = Attachment { sinks: sinks.clone(), tap: Some(tap) };
        let call = OutgoingCall {
            replaces,
            sip_call_id: None,
            target: target.to_owned(),
            trunk: Some(SERVER.to_owned()),
            from_user: self.user.clone(),
            from_display: self.display_name.clone(),
            ring_timeout: Duration::from_secs(120),
            sinks,
        };
        let placed = self.endpoint.call_with(call, attachment).await.map_err(PhoneError::Call)?;
        let call = PhoneCall::start(placed, wiring, None, Arc::downgrade(self));
        self.lock_calls().latest = Some(call.clone());
        Ok(call)
    }

    /// Calls whom the far end of `call` has referred it to, and tells it how that goes. Who
    /// referred hangs up, as most people's phones expect it to.
    async fn follow(self: Arc<Self>, call: PhoneCall, referral: Referral) {
        let Ok(new) = self.call(&referral.target, referral.replaces).await else {
            return call.report(404);
        };
        if matches!(new.ringing().await, CallStage::Ringing) {
            call.report(180);
        }
        match new.established().await {
            Ok(()) => call.report(200),
            Err(result) => call.report(u16::try_from(result.code).unwrap_or(480).max(400)),
        }
    }

    fn take(self: &Arc<Self>, incoming: IncomingCall) {
        let policy = *self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let (wiring, sinks, tap) = call::wire();
        incoming.leg.attach_with(Attachment { sinks, tap: Some(tap) });
        let call = PhoneCall::start(incoming.leg, wiring, Some(policy), Arc::downgrade(self));
        let mut calls = self.lock_calls();
        calls.latest = Some(call.clone());
        // Each keeps what it heard; those that ended while nobody came for them are not missed.
        calls.waiting.retain(|call| !matches!(call.stage(), CallStage::Ended(_)));
        calls.waiting.push_back(call);
        if calls.waiting.len() > MOST_WAITING {
            calls.waiting.pop_front();
        }
        drop(calls);
        self.arrived.notify_one();
    }
}

async fn take_calls(mut incoming: mpsc::Receiver<IncomingCall>, phone: std::sync::Weak<Shared>) {
    while let Some(call) = incoming.recv().await {
        let Some(phone) = phone.upgrade() else { return };
        phone.take(call);
    }
}

fn uri(user: Option<&str>, address: SocketAddr, transport: PhoneTransport) -> String {
    let transport = match transport {
        PhoneTransport::Udp => "",
        PhoneTransport::Tcp => ";transport=tcp",
    };
    let at = if user.is_some() { "@" } else { "" };
    format!("sip:{}{at}{address}{transport}", user.unwrap_or_default())
}
