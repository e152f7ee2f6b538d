//! One SIP user agent on its sockets: the only door of this crate.

mod resolve;

use std::{
    collections::{BTreeSet, HashMap},
    fmt, io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use graphophone_media::engine::Engine;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    digest::DigestAlgorithm,
    leg::{Attachment, LegHandle, LegSinks},
    port_pool::PortPool,
    registrar,
    shell::{CallRequest, Command, Media, Shell, Way},
    transport::{self, Links},
    user_agent::{self, Kept, LegId, RegistrationState, UserAgent},
};

use resolve::resolve;
pub(crate) use resolve::{is_registered, resolve_trunk, transport_of};

/// Commands of all clones that wait for the task; callers wait when it is full.
const COMMANDS: usize = 64;
/// Incoming calls that wait for the owner; further ones get 503.
const INCOMING: usize = 1_024;
/// RFC 3550 §6.2.
const RTCP_INTERVAL: Duration = Duration::from_secs(5);

/// Decides about one incoming call that there is a slot for: `Err` says after how long it may be
/// tried again, in whole seconds.
pub type Admit = Box<dyn FnMut() -> Result<(), Duration> + Send>;

/// Everything an endpoint is told at start.
pub struct EndpointConfig {
    /// UDP sockets to listen on; port 0 picks a free one.
    pub udp: Vec<SocketAddr>,
    /// TCP sockets to listen on.
    pub tcp: Vec<SocketAddr>,
    /// Address written in Contact, Via and SDP, if not the bound one.
    pub external_address: Option<IpAddr>,
    /// Address RTP sockets are bound to.
    pub rtp_bind: IpAddr,
    /// RTP ports (even: RTP, next odd: RTCP); a range that begins with 0 leaves the choice to the
    /// operating system.
    pub rtp_ports: RangeInclusive<u16>,
    /// A far end that is to send and of which neither RTP nor RTCP comes for so long is told to the
    /// call ([`StreamEvent::Silent`](graphophone_media::engine::StreamEvent::Silent)); `None` waits
    /// for ever.
    pub media_timeout: Option<Duration>,
    /// Devices that may register here.
    pub phones: Vec<PhoneAccount>,
    /// What they may hash with, the first challenge first. Some devices give up at a challenge
    /// they do not know: for those, `Md5` alone.
    pub digest: Vec<DigestAlgorithm>,
    /// Peers that may send calls without registering.
    pub trunks: Vec<Trunk>,
    /// Most calls at one time; further INVITEs get 503 with Retry-After.
    pub max_calls: usize,
    /// `User-Agent` and `Server` text.
    pub agent: String,
    /// What becomes of a far end's wish to refer us to somebody else.
    pub incoming_refer: IncomingRefer,
}

/// What becomes of REFER inside a dialog (RFC 3515). Outside of dialogs it is always refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncomingRefer {
    /// It is declined: 603.
    #[default]
    Decline,
    /// It is accepted, and the leg's owner decides ([`crate::LegSignal::Referred`]).
    Follow,
}

/// A device that registers by digest.
#[derive(Clone)]
pub struct PhoneAccount {
    /// SIP user name.
    pub user: String,
    /// Digest password.
    pub password: String,
    /// Graph user id its calls carry.
    pub user_id: String,
}

/// A peer known by address that sends and takes calls.
#[derive(Clone)]
pub struct Trunk {
    /// Its name in the configuration.
    pub name: String,
    /// SIP URI of the peer (`sip:host:port;transport=tcp`), for outgoing calls and registration.
    pub uri: Option<String>,
    /// Digest user name for its challenges.
    pub username: Option<String>,
    /// User part of From and Contact in calls to it; `username` if not set, and without either the
    /// call's own.
    pub from: Option<String>,
    /// Digest password.
    pub password: Option<String>,
    /// Protection space that the password is for: challenges of others are not answered. `None`
    /// answers whatever the trunk passes on.
    pub realm: Option<String>,
    /// Keep a registration there.
    pub register: bool,
    /// Source networks (address, prefix length) whose INVITEs are accepted without digest.
    pub peers: Vec<(IpAddr, u8)>,
}

impl fmt::Debug for PhoneAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, user_id, .. } = self;
        write!(f, "PhoneAccount {{ user: {user:?}, password: ***, user_id: {user_id:?} }}")
    }
}

impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, uri, register, peers, .. } = self;
        write!(
            f,
            "Trunk {{ name: {name:?}, uri: {uri:?}, password: ***, register: {register}, \
             peers: {peers:?} }}"
        )
    }
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A registered phone.
    Phone {
        /// SIP user name.
        user: String,
        /// Graph user id.
        user_id: String,
    },
    /// Somebody behind a trunk.
    Trunk {
        /// The trunk's name.
        trunk: String,
        /// User part of the From URI (a number, usually); empty if it has none.
        user: String,
        /// Display name, if any.
        display_name: Option<String>,
    },
}

/// An outgoing call to be placed.
pub struct OutgoingCall {
    /// Request-URI: `sip:user@host[:port][;transport=tcp]`, or `sip:user@registered` for a phone's
    /// current contact (see [`Endpoint::contact_of`]).
    pub target: String,
    /// Name of the trunk whose credentials answer a challenge.
    pub trunk: Option<String>,
    /// User part of our From URI, unless the trunk knows us by another.
    pub from_user: String,
    /// Display name of our From.
    pub from_display: Option<String>,
    /// Value of Replaces (RFC 3891): the dialog at the target whose place ours is to take.
    pub replaces: Option<String>,
    /// Give up ringing after this and send CANCEL.
    pub ring_timeout: Duration,
    /// The SIP Call-ID, if [`crate::invited`] was told one; must be impossible to guess. The leg then
    /// waits for [`LegHandle::dialog_is_kept`] before it acknowledges the answer. Drawn if `None`.
    pub sip_call_id: Option<String>,
    /// Where its signals go.
    pub sinks: LegSinks,
}

/// Whom a leg is to follow a REFER to.
#[derive(Clone, Debug)]
pub struct FollowTo {
    /// Request-URI, as in [`OutgoingCall::target`].
    pub target: String,
    /// As in [`OutgoingCall::trunk`].
    pub trunk: Option<String>,
    /// User part of our From URI, unless the trunk knows us by another.
    pub from_user: String,
    /// As in [`OutgoingCall::replaces`].
    pub replaces: Option<String>,
}

/// An INVITE that waits for a decision.
pub struct IncomingCall {
    /// Who calls.
    pub from: Party,
    /// User part of the Request-URI: the number or name dialled.
    pub to_user: String,
    /// SIP Call-ID.
    pub sip_call_id: String,
    /// What [`Endpoint::release`] needs to end its dialog after a crash.
    pub dialog: String,
    /// The leg. Its caller hears it ring (180) from [`LegHandle::attach`] on, until a `LegCommand`
    /// comes; signals are kept until then, too.
    pub leg: LegHandle,
}

/// Why a call could not even be tried.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The target is not a SIP URI we can dial.
    #[error("{0} is not a SIP URI that can be dialled")]
    BotBadTarget(String),
    /// The target's host name has no address, or none in time.
    #[error("the host name of {0} does not resolve")]
    PeerUnresolved(String),
    /// No RTP port or no call slot is free.
    #[error("no RTP port is free")]
    NoPort,
    /// The endpoint has stopped.
    #[error("the SIP endpoint has stopped")]
    Stopped,
}

/// A running endpoint; clones share it. When the last clone is gone, it shuts down.
#[derive(Clone)]
pub struct Endpoint {
    commands: mpsc::Sender<Command>,
    registrations: watch::Receiver<Vec<RegistrationState>>,
    trunks: Arc<[String]>,
    udp: Arc<[SocketAddr]>,
    tcp: Arc<[SocketAddr]>,
}

impl Endpoint {
    /// Binds the sockets and starts. Incoming calls come out of the receiver (bounded; when the
    /// owner does not keep up, further INVITEs get 503).
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub async fn bind(
        config: EndpointConfig,
        engine: Engine,
    ) -> io::Result<(Self, mpsc::Receiver<IncomingCall>)> {
        Self::bind_with(config, engine, RTCP_INTERVAL, None).await
    }

    /// As [`Self::bind`]; `admit` is asked about each incoming call that there is a slot for,
    /// and answers at once. What it refuses gets 503 with Retry-After (RFC 3261 §21.5.4) and is
    /// forgotten.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub async fn bind_admitting(
        config: EndpointConfig,
        engine: Engine,
        admit: Admit,
    ) -> io::Result<(Self, mpsc::Receiver<IncomingCall>)> {
        Self::bind_with(config, engine, RTCP_INTERVAL, Some(admit)).await
    }

    /// As [`Self::bind`], with another time between RTCP reports.
    pub(crate) async fn bind_with(
        config: EndpointConfig,
        engine: Engine,
        rtcp_interval: Duration,
        admit: Option<Admit>,
    ) -> io::Result<(Self, mpsc::Receiver<IncomingCall>)> {
        let (inbox_sender, inbox) = mpsc::channel(transport::INBOX);
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (incoming, calls) = mpsc::channel(INCOMING);
        let EndpointConfig { udp, tcp, external_address, .. } = &config;
        let links = Links::bind(udp, tcp, *external_address, inbox_sender.clone()).await?;
        let (udp, tcp) = (links.udp_addrs(), links.tcp_addrs());
        let mut resolving = BTreeSet::new();
        for (index, trunk) in config.trunks.iter().enumerate().filter(|(_, trunk)| trunk.register) {
            tokio::spawn(resolve_trunk(index, trunk.clone(), inbox_sender.clone()));
            resolving.insert(index);
        }
        let trunks = config.trunks.iter().map(|trunk| trunk.name.clone()).collect();
        let (registration_sender, registrations) =
            watch::channel(vec![RegistrationState::Pending; config.trunks.len()]);
        let media = Media {
            engine,
            bind: config.rtp_bind,
            ports: PortPool::new(
                config.rtp_bind,
                &config.rtp_ports,
                rand::random::<u32>() as usize,
            ),
            rtcp_interval,
            timeout: config.media_timeout,
            // RFC 7022 §4.2: random, the same for all streams of one endpoint.
            cname: format!("{:024x}", rand::random::<u128>() >> 32),
        };
        let core = user_agent::Config {
            agent: config.agent,
            phones: config.phones,
            digest: config.digest,
            trunks: config.trunks,
            max_calls: config.max_calls,
            own_addresses: udp.iter().chain(&tcp).copied().collect(),
            media_is_ipv4: config.rtp_bind.is_ipv4(),
            takes_refer: config.incoming_refer == IncomingRefer::Follow,
        };
        let mut user_agent = UserAgent::new(core, rand::random(), Instant::now());
        user_agent.set_admit(admit);
        let shell = Shell {
            user_agent,
            links,
            media,
            mailbox: Arc::default(),
            incoming,
            registrations: registration_sender,
            resolving,
            legs: HashMap::new(),
            undelivered: BTreeSet::new(),
        };
        tokio::spawn(shell.run(command_queue, inbox));
        let endpoint = Self { commands, registrations, trunks, udp: udp.into(), tcp: tcp.into() };
        Ok((endpoint, calls))
    }

    /// Bound UDP addresses.
    pub fn udp_addrs(&self) -> Vec<SocketAddr> {
        self.udp.to_vec()
    }

    /// Bound TCP addresses.
    pub fn tcp_addrs(&self) -> Vec<SocketAddr> {
        self.tcp.to_vec()
    }

    /// Places a call. Everything after this comes as signals.
    ///
    /// # Errors
    /// [`CallError`] when it cannot be tried at all.
    pub async fn call(&self, call: OutgoingCall) -> Result<LegHandle, CallError> {
        let attachment = Attachment { sinks: call.sinks.clone(), tap: None };
        self.call_with(call, attachment).await
    }

    pub(crate) async fn call_with(
        &self,
        call: OutgoingCall,
        attachment: Attachment,
    ) -> Result<LegHandle, CallError> {
        let way = self.way(&call.target).await?;
        let (reply, answer) = oneshot::channel();
        let call = Box::new(CallRequest { call, way, attachment });
        self.commands.send(Command::Call { call, reply }).await.map_err(|_| CallError::Stopped)?;
        answer.await.map_err(|_| CallError::Stopped)?
    }

    /// Follows the REFER of a leg's far end ([`crate::LegSignal::Referred`]): calls the target with the
    /// leg's own end of the media. When it answers, the leg goes on with it, and the one that
    /// referred us is told and hung up on; its owner notices a new dialog and perhaps a hold.
    /// If the target cannot be tried, does not answer within 60 s or refuses, the leg is as
    /// before and the far end is told.
    ///
    /// Whether the target may be called at all must have been checked.
    pub fn follow(&self, leg: &LegHandle, to: FollowTo) -> impl Future<Output = ()> + Send + use<> {
        let (endpoint, line) = (self.clone(), leg.line());
        async move {
            let error = match endpoint.try_follow(line.leg(), to).await {
                Ok(()) => return,
                Err(error) => error,
            };
            line.report(match error {
                CallError::BotBadTarget(_) | CallError::PeerUnresolved(_) => 404,
                CallError::NoPort | CallError::Stopped => 503,
            });
        }
    }

    async fn try_follow(&self, leg: LegId, to: FollowTo) -> Result<(), CallError> {
        let way = self.way(&to.target).await?;
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(Command::Follow { leg, to: Box::new(to), way, reply })
            .await
            .map_err(|_| CallError::Stopped)?;
        answer.await.map_err(|_| CallError::Stopped)?
    }

    async fn way(&self, target: &str) -> Result<Way, CallError> {
        let bad_target = || CallError::BotBadTarget(target.to_owned());
        let uri = registrar::callable(target);
        if uri.as_ref().is_some_and(is_registered) || self.is_bound(target).await? {
            return Ok(Way::Bound);
        }
        let uri = uri.ok_or_else(bad_target)?;
        let transport = transport_of(&uri).ok_or_else(bad_target)?;
        let remote =
            resolve(&uri).await.ok_or_else(|| CallError::PeerUnresolved(target.to_owned()))?;
        Ok(Way::Direct { uri, transport, remote })
    }

    async fn is_bound(&self, target: &str) -> Result<bool, CallError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::IsBound { target: target.to_owned(), reply };
        self.commands.send(command).await.map_err(|_| CallError::Stopped)?;
        answer.await.map_err(|_| CallError::Stopped)
    }

    /// The contact URI of the phone registered for a Graph user id, if there is one. A call to
    /// exactly this URI takes the way on which the phone registered, also through a NAT and whatever
    /// host and transport the URI names. Of several contacts, the one registered last.
    pub async fn contact_of(&self, user_id: &str) -> Option<String> {
        let (reply, answer) = oneshot::channel();
        let user_id = user_id.to_owned();
        self.commands.send(Command::ContactOf { user_id, reply }).await.ok()?;
        answer.await.ok()?
    }

    /// Waits until this endpoint is registered at a trunk with `register` set. `Err` with the SIP
    /// status when a try fails (408 for no response); it is tried again all the same, so one may
    /// wait again.
    ///
    /// # Errors
    /// The status of the failed try; 404 for a trunk that is not configured or when the endpoint
    /// has stopped.
    pub async fn registered(&self, trunk: &str) -> Result<(), u16> {
        let index = self.trunks.iter().position(|name| name == trunk).ok_or(404_u16)?;
        let mut states = self.registrations.clone();
        states.mark_changed();
        loop {
            if states.changed().await.is_err() {
                return Err(404);
            }
            match states.borrow_and_update().get(index) {
                Some(RegistrationState::Registered) => return Ok(()),
                Some(RegistrationState::Failed(status)) => return Err(*status),
                Some(RegistrationState::Pending) | None => {}
            }
        }
    }

    /// Ends the dialogs that an earlier process has left behind, as their legs gave them
    /// ([`LegSignal::Dialog`](crate::LegSignal::Dialog), [`IncomingCall::dialog`], [`invited`]): BYE
    /// to each confirmed one; who answers an earlier INVITE from now on gets ACK and BYE. Comes back
    /// when the first BYEs are on the wire. What is not understood is skipped.
    pub async fn release(&self, dialogs: &[String]) {
        let kept = dialogs.iter().filter_map(|dialog| {
            let kept = Kept::parse(dialog);
            if kept.is_none() {
                tracing::warn!("a stored dialog is unreadable: its peer is not released");
            }
            kept
        });
        let (reply, done) = oneshot::channel();
        let command = Command::Release { kept: kept.collect(), reply };
        if self.commands.send(command).await.is_ok() {
            // An error says that the endpoint has stopped.
            let _ = done.await;
        }
    }

    /// Stops taking calls, hangs up all legs, waits up to 2 s for their peers to confirm, and
    /// closes the sockets.
    pub async fn shut_down(&self) {
        let (reply, done) = oneshot::channel();
        if self.commands.send(Command::ShutDown { reply }).await.is_ok() {
            // An error says that it had stopped already.
            let _ = done.await;
        }
    }
}

/// What [`Endpoint::release`] needs of an outgoing call that is about to be placed with this Call-ID.
pub fn invited(sip_call_id: &str) -> String {
    Kept::Invited { call_id: sip_call_id.to_owned() }.to_json()
}

/// Whether `text` is a SIP URI that calls and registrations can go to.
pub fn is_sip_uri(text: &str) -> bool {
    registrar::callable(text).is_some()
}
