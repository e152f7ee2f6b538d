//! The endpoint's task: feeds the user agent with messages, wishes and time, and carries out what
//! it wants.

mod leg_port;
mod line;

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use graphophone_call::LegEvent;
use graphophone_media::engine::{Engine, StreamConfig};
use sipx_sip::{Message, Uri};
use tokio::sync::{mpsc, oneshot, watch};

use self::leg_port::{LegPort, Owner};
use crate::{
    endpoint::{CallError, FollowTo, IncomingCall, OutgoingCall, resolve_trunk},
    gate::Verdict,
    leg::{Attachment, Decision, LegHandle, LegSignal, Mailbox, Wishes},
    port_pool::{PortPair, PortPool},
    sdp::{self, Agreed},
    transport::{Arrival, Links},
    user_agent::{Flow, Kept, LegId, NewCall, Output, RegistrationState, Transport, UserAgent},
};

/// Signals kept for a call that does not keep up, or has not attached yet.
const MOST_KEPT: usize = 64;
/// Pause before kept signals are offered again.
const RETRY: Duration = Duration::from_millis(10);
/// How long a shut-down waits for peers to answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the handles ask of the task.
pub(crate) enum Command {
    Call {
        call: Box<CallRequest>,
        reply: oneshot::Sender<Result<LegHandle, CallError>>,
    },
    /// Whether [`Way::Bound`] leads to a target.
    IsBound {
        target: String,
        reply: oneshot::Sender<bool>,
    },
    /// Call whom the far end of a leg has referred us to.
    Follow {
        leg: LegId,
        to: Box<FollowTo>,
        way: Way,
        reply: oneshot::Sender<Result<(), CallError>>,
    },
    ContactOf {
        user_id: String,
        reply: oneshot::Sender<Option<String>>,
    },
    Release {
        kept: Vec<Kept>,
        reply: oneshot::Sender<()>,
    },
    ShutDown {
        reply: oneshot::Sender<()>,
    },
}

/// An outgoing call and the way it takes.
pub(crate) struct CallRequest {
    pub(crate) call: OutgoingCall,
    pub(crate) way: Way,
    pub(crate) attachment: Attachment,
}

/// How the target of a call is reached.
pub(crate) enum Way {
    /// As the phone registered whose contact it is: whatever that names, nothing is looked up.
    Bound,
    /// At the address its host resolved to.
    Direct { uri: Uri, transport: Transport, remote: SocketAddr },
}

/// Settings of the task beside the user agent's.
pub(crate) struct Media {
    pub(crate) engine: Engine,
    pub(crate) bind: IpAddr,
    pub(crate) ports: PortPool,
    pub(crate) rtcp_interval: Duration,
    /// Longest silence of a far end that is to send.
    pub(crate) timeout: Option<Duration>,
    pub(crate) cname: String,
}

/// The task's state.
pub(crate) struct Shell {
    pub(crate) user_agent: UserAgent,
    pub(crate) links: Links,
    pub(crate) media: Media,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) incoming: mpsc::Sender<IncomingCall>,
    pub(crate) registrations: watch::Sender<Vec<RegistrationState>>,
    /// Trunks whose names are being looked up.
    pub(crate) resolving: BTreeSet<usize>,
    pub(crate) legs: HashMap<LegId, LegPort>,
    /// Legs whose kept signals have not been handed over.
    pub(crate) undelivered: BTreeSet<LegId>,
}

impl Shell {
    /// Runs until it is told to shut down or every [`crate::Endpoint`] is gone.
    pub(crate) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut inbox: mpsc::Receiver<Arrival>,
    ) {
        let mut farewell: Option<Instant> = None;
        let mut waiting = Vec::new();
        loop {
            self.drain();
            if farewell.is_some_and(|until| self.user_agent.is_idle() || Instant::now() >= until) {
                break;
            }
            let deadline = [self.user_agent.poll_timeout(), self.retry_at(), farewell];
            let deadline = deadline.into_iter().flatten().min();
            tokio::select! {
                arrival = inbox.recv() => {
                    if let Some(arrival) = arrival {
                        self.arrived(arrival);
                    }
                }
                command = commands.recv(), if farewell.is_none() => {
                    let reply = match command {
                        Some(Command::ShutDown { reply }) => Some(reply),
                        Some(command) => {
                            self.commanded(command);
                            continue;
                        }
                        None => None,
                    };
                    waiting.extend(reply);
                    self.user_agent.shut_down(Instant::now());
                    farewell = Some(Instant::now() + FAREWELL);
                }
                () = self.mailbox.posted() => {
                    for (leg, wishes) in self.mailbox.take() {
                        self.wished(leg, wishes);
                    }
                }
                () = sleep_until(deadline) => {}
            }
            self.user_agent.handle_timeout(Instant::now());
        }
        self.links.close().await;
        for reply in waiting {
            // Whoever asked may have gone.
            let _ = reply.send(());
        }
    }

    fn arrived(&mut self, arrival: Arrival) {
        let now = Instant::now();
        match arrival {
            Arrival::Message { link, transport, remote, verdict } => {
                let flow = self.links.flow(transport, link, remote);
                match verdict {
                    Verdict::Pass(message) => self.received(now, flow, *message),
                    Verdict::Refuse(response) => self.links.send(&flow, response),
                    Verdict::Drop => {}
                }
            }
            Arrival::Accepted { stream, remote } => self.links.accepted(stream, remote),
            Arrival::Closed { link } => {
                self.links.closed(link);
                self.user_agent.connection_closed(now, link);
            }
            Arrival::Resolved { trunk, remote } => self.register(now, trunk, remote),
        }
    }

    fn received(&mut self, now: Instant, flow: Flow, message: Message) {
        tracing::trace!(transport = flow.transport.via(), remote = %flow.remote, "received");
        self.user_agent.set_room(self.incoming.capacity());
        self.user_agent.receive(now, flow, message);
    }

    fn register(&mut self, now: Instant, trunk: usize, remote: SocketAddr) {
        self.resolving.remove(&trunk);
        let uri = self.user_agent.trunks().get(trunk).and_then(|trunk| trunk.uri.clone());
        let Some(uri) = uri.as_deref().and_then(crate::registrar::callable) else { return };
        let Some(transport) = crate::endpoint::transport_of(&uri) else { return };
        if let Some(flow) = self.links.flow_to(transport, remote) {
            self.user_agent.register(now, trunk, uri, flow);
        }
    }

    fn commanded(&mut self, command: Command) {
        let now = Instant::now();
        match command {
            Command::Call { call, reply } => {
                // If the caller has gone meanwhile, the handle in the reply hangs up.
                let _ = reply.send(self.call(now, *call));
            }
            Command::IsBound { target, reply } => {
                // Whoever asked may have gone; so for the reply below.
                let _ = reply.send(self.binding(now, &target).is_some());
            }
            Command::Follow { leg, to, way, reply } => {
                let _ = reply.send(self.follow(now, leg, &to, way));
            }
            Command::ContactOf { user_id, reply } => {
                let binding = self.user_agent.contact_of(now, &user_id);
                let uri = binding.map(|binding| binding.uri().to_bytes());
                let _ = reply.send(uri.map(|uri| String::from_utf8_lossy(&uri).into_owned()));
            }
            Command::Release { kept, reply } => {
                for kept in kept {
                    let flow = kept
                        .way()
                        .and_then(|(transport, peer)| self.links.flow_to(transport, peer));
                    self.user_agent.release(now, kept, flow);
                }
                let _ = reply.send(());
            }
            // Taken by the loop.
            Command::ShutDown { reply } => drop(reply),
        }
    }

    fn call(&mut self, now: Instant, request: CallRequest) -> Result<LegHandle, CallError> {
        let CallRequest { call, way, attachment } = request;
        let line = self.line(now, &call.target, call.trunk.as_deref(), way)?;
        if !self.user_agent.has_slot() {
            return Err(CallError::NoPort);
        }
        let ports = self.media.ports.take().ok_or(CallError::NoPort)?;
        let local = self.local(&ports, &line.flow);
        let (leg, sip_call_id) = self.user_agent.place_call(
            now,
            NewCall {
                target: line.target,
                flow: line.flow,
                phone: line.phone,
                peer_user: line.peer_user,
                replaces: call.replaces,
                from_user: line.from_user.unwrap_or(call.from_user),
                from_host: line.from_host,
                from_display: call.from_display,
                ring_timeout: call.ring_timeout,
                account: line.account,
                local,
                holds_ack: call.sip_call_id.is_some(),
                call_id: call.sip_call_id,
            },
        );
        let owner = Owner::Attached(attachment);
        let port = LegPort { owner, ports: Some(ports), ..LegPort::default() };
        let dialog = Arc::clone(&port.dialog);
        self.legs.insert(leg, port);
        Ok(LegHandle::new(leg, &sip_call_id, Arc::clone(&self.mailbox), dialog))
    }

    fn wished(&mut self, leg: LegId, wishes: Wishes) {
        let now = Instant::now();
        if let Some(attachment) = wishes.attachment
            && let Some(port) = self.legs.get_mut(&leg)
        {
            port.owner = Owner::Attached(attachment);
            self.undelivered.insert(leg);
            let is_awaited = std::mem::take(&mut port.answer_on_attach);
            self.user_agent.ring(now, leg);
            if is_awaited {
                self.answer(now, leg);
            }
        }
        match wishes.decision {
            Some(Decision::Answer) => self.answer(now, leg),
            Some(Decision::Reject(reason)) => self.user_agent.reject(now, leg, reason),
            Some(Decision::NotFound) => self.user_agent.not_found(now, leg),
            Some(Decision::Decline) => self.user_agent.decline(now, leg),
            None => {}
        }
        if wishes.has_kept_dialog {
            self.user_agent.kept(leg);
        }
        if let Some(wish) = wishes.refer {
            self.user_agent.refer(now, leg, &wish);
        }
        if let Some(status) = wishes.report {
            self.user_agent.report(now, leg, status);
        }
        if let Some(holds) = wishes.hold {
            self.user_agent.hold(now, leg, holds);
        }
        for tone in wishes.presses {
            self.user_agent.press_by_info(now, leg, tone);
        }
        if wishes.hang_up || wishes.dropped {
            self.user_agent.hang_up(now, leg);
        }
        self.drain();
        if wishes.dropped
            && let Some(port) = self.legs.get_mut(&leg)
        {
            // The leg itself lives until its peer has confirmed.
            port.owner = Owner::Gone;
            self.undelivered.insert(leg);
        }
    }

    fn answer(&mut self, now: Instant, leg: LegId) {
        let Some(flow) = self.user_agent.ringing_flow(leg) else { return };
        let Some(port) = self.legs.get_mut(&leg) else { return };
        if let Owner::Unattached = port.owner {
            // The stream's events need somewhere to go.
            port.answer_on_attach = true;
            return;
        }
        let Some(ports) = self.media.ports.take() else {
            return self.user_agent.lack_resources(now, leg);
        };
        let local = self.local(&ports, &flow);
        if let Some(port) = self.legs.get_mut(&leg) {
            port.ports = Some(ports);
            self.user_agent.answer(now, leg, local);
        }
    }

    fn local(&self, ports: &PortPair, flow: &Flow) -> sdp::Local {
        sdp::Local {
            address: self.links.media_address(self.media.bind, flow.remote),
            rtp_port: ports.rtp_port,
            rtcp_port: ports.rtcp_port,
            // RFC 8866 §5.2 wants a number that is unique to us; 62 bits fit every parser.
            session: rand::random::<u64>() >> 2,
            version: 1,
        }
    }

    /// Carries out everything the user agent wants.
    fn drain(&mut self) {
        while let Some(output) = self.user_agent.poll_output() {
            match output {
                Output::Send { flow, message } => self.links.send(&flow, message),
                Output::Incoming { leg, from, to_user, sip_call_id, dialog } => {
                    let port = LegPort::default();
                    let name = Arc::clone(&port.dialog);
                    self.legs.insert(leg, port);
                    let mailbox = Arc::clone(&self.mailbox);
                    let handle = LegHandle::new(leg, &sip_call_id, mailbox, name);
                    let call = IncomingCall { from, to_user, sip_call_id, dialog, leg: handle };
                    // There was room when the INVITE came. If the owner is gone, the handle in
                    // the returned call hangs up.
                    let _ = self.incoming.try_send(call);
                }
                Output::Dialog { leg, dialog, name } => {
                    if let Some(port) = self.legs.get(&leg) {
                        *port.dialog.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
                    }
                    self.deliver(leg, LegSignal::Dialog(dialog));
                }
                Output::Referred { leg, referral } => {
                    self.deliver(leg, LegSignal::Referred(referral));
                }
                Output::Event { leg, event } => self.deliver(leg, LegSignal::Event(event)),
                Output::StartMedia { leg, agreed } => self.start_media(leg, agreed),
                Output::UpdateMedia { leg, remote, sending, receiving } => {
                    if let Some(stream) = self.legs.get(&leg).and_then(|port| port.stream.upgrade())
                        && stream.set_remote(remote, sending, receiving).is_err()
                    {
                        self.user_agent.lose_media(Instant::now(), leg);
                    }
                }
                Output::Registration { trunk, state } => {
                    if matches!(state, RegistrationState::Failed(408 | 503)) {
                        self.look_up_again(trunk);
                    }
                    self.registrations.send_modify(|states| {
                        if let Some(known) = states.get_mut(trunk) {
                            *known = state;
                        }
                    });
                }
            }
        }
        self.offer_kept();
    }

    /// Where a trunk's name led nobody answers; it may lead elsewhere by now.
    fn look_up_again(&mut self, trunk: usize) {
        if let Some(config) = self.user_agent.trunks().get(trunk)
            && self.resolving.insert(trunk)
        {
            tokio::spawn(resolve_trunk(trunk, config.clone(), self.links.inbox()));
        }
    }

    fn start_media(&mut self, leg: LegId, agreed: Agreed) {
        let Some(port) = self.legs.get_mut(&leg) else { return };
        let Some(ports) = port.ports.take() else { return };
        let Owner::Attached(attachment) = &port.owner else {
            // The owner has gone in the meantime.
            return self.user_agent.lose_media(Instant::now(), leg);
        };
        let config = StreamConfig {
            rtp: ports.rtp,
            rtcp: agreed.remote.rtcp.is_some().then_some(ports.rtcp),
            remote: agreed.remote,
            codec: agreed.codec,
            payload_type: agreed.payload_type,
            telephone_event: agreed.telephone_event,
            ssrc: rand::random(),
            first_sequence: rand::random(),
            first_timestamp: rand::random(),
            cname: self.media.cname.clone(),
            rtcp_interval: self.media.rtcp_interval,
            events: attachment.sinks.stream.clone(),
            tap: attachment.tap.clone(),
            srtp: None,
            media_timeout: self.media.timeout,
        };
        let started = self.media.engine.add_stream(config).and_then(|stream| {
            if !(agreed.sending && agreed.receiving) {
                stream.set_remote(agreed.remote, agreed.sending, agreed.receiving)?;
            }
            Ok(stream)
        });
        match started {
            Ok(stream) => {
                let stream = Arc::new(stream);
                port.stream = Arc::downgrade(&stream);
                self.deliver(leg, LegSignal::Stream(stream));
            }
            Err(error) => {
                tracing::warn!(%error, "a call is ended because it got no stream");
                self.user_agent.lose_media(Instant::now(), leg);
            }
        }
    }

    fn deliver(&mut self, leg: LegId, signal: LegSignal) {
        let Some(port) = self.legs.get_mut(&leg) else { return };
        if let LegSignal::Event(LegEvent::Ended(_)) = &signal {
            port.ended = true;
            port.ports = None;
            // At once: the owner may be waiting for its disk. A full queue is the owner's to empty.
            let ceased = port.stream.upgrade().map(|stream| stream.cease());
            if let Some(Err(error)) = ceased {
                tracing::debug!(%error, "a stream whose leg is over still sends");
            }
        }
        port.kept.push_back(signal);
        self.undelivered.insert(leg);
        if port.kept.len() > MOST_KEPT && !port.ended {
            tracing::warn!("a call does not take its signals; its leg is ended");
            self.user_agent.hang_up(Instant::now(), leg);
        }
    }

    /// Hands kept signals over as far as there is room, in order.
    fn offer_kept(&mut self) {
        self.undelivered.retain(|leg| {
            let Some(port) = self.legs.get_mut(leg) else { return false };
            let stuck = port.offer();
            if port.ended && port.kept.is_empty() {
                self.legs.remove(leg);
            }
            stuck
        });
    }

    fn retry_at(&self) -> Option<Instant> {
        (!self.undelivered.is_empty()).then(|| Instant::now() + RETRY)
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
