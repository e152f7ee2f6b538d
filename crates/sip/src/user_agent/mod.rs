//! The user agent: dialogs, INVITE both ways, registrations. Sans-IO: time, ids and messages come
//! in, messages and events go out; [`crate::shell`] owns the sockets and the clock.
//!
//! Contract: after every call, drain [`UserAgent::poll_output`]; then wait until
//! [`UserAgent::poll_timeout`] or the next input.

mod answers;
mod dialog;
mod flow;
mod follow;
mod ids;
mod in_dialog;
mod incoming;
mod info;
mod kept;
mod leg;
mod message;
mod outgoing;
mod refer;
mod referred;
mod register;
mod renegotiate;
mod replaces;
mod screening;
mod terse;
#[cfg(test)]
mod tests;
mod timers;
mod transactions;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use graphophone_call::LegEvent;
use graphophone_media::engine::Remote;
use sipx_sip::{
    Message, Request, Timers, TransactionKey, TransactionLayer, TuEvent, Uri, transaction::Dispatch,
};

use self::{
    ids::Ids,
    leg::{Leg, State},
    register::TrunkRegistration,
    terse::Terse,
    timers::{Timer, TimerTable},
    transactions::{ClientEntry, Purpose, ServerEntry},
};
use crate::{
    digest::{DigestAlgorithm, Guard},
    endpoint::{Admit, Party, PhoneAccount, Trunk},
    leg::{DialogName, Referral},
    registrar::{Binding, Registrar},
    result_info::Cause,
    sdp::{self, Agreed},
};

pub(crate) use answers::Account;
pub(crate) use flow::{Flow, LinkId, Transport};
pub(crate) use kept::Kept;
pub(crate) use register::RegistrationState;

/// Longest a 2xx or an INVITE is repeated (RFC 3261: 64 × T1).
const TIMERS: Timers = Timers {
    t1: Duration::from_millis(500),
    t2: Duration::from_secs(4),
    t4: Duration::from_secs(5),
};
/// Most server transactions at a time; each lives for up to 32 s after its answer.
pub(crate) const MOST_SERVER_TRANSACTIONS: usize = 20_000;

/// Identifies a leg inside one user agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct LegId(u64);

/// What does not change while it runs.
pub(crate) struct Config {
    /// `User-Agent` and `Server`.
    pub(crate) agent: String,
    pub(crate) phones: Vec<PhoneAccount>,
    pub(crate) digest: Vec<DigestAlgorithm>,
    pub(crate) trunks: Vec<Trunk>,
    /// Most legs at a time.
    pub(crate) max_calls: usize,
    /// Our own SIP sockets: media must not be sent there.
    pub(crate) own_addresses: Vec<SocketAddr>,
    /// Whether our RTP sockets are IPv4.
    pub(crate) media_is_ipv4: bool,
    /// Peers may refer us to others (REFER); else they get 603.
    pub(crate) takes_refer: bool,
}

/// An outgoing call, its target resolved.
pub(crate) struct NewCall {
    /// Request-URI.
    pub(crate) target: Uri,
    pub(crate) flow: Flow,
    /// The target is a phone registered here.
    pub(crate) phone: bool,
    /// Its user name.
    pub(crate) peer_user: Option<String>,
    /// Value of Replaces (RFC 3891): the dialog at the target whose place ours takes.
    pub(crate) replaces: Option<String>,
    pub(crate) from_user: String,
    /// Host of our From; our own address if `None`.
    pub(crate) from_host: Option<String>,
    pub(crate) from_display: Option<String>,
    pub(crate) ring_timeout: Duration,
    /// Answers a challenge.
    pub(crate) account: Option<Account>,
    /// Our end of the media.
    pub(crate) local: sdp::Local,
    /// The Call-ID, which nobody else may be able to guess; drawn if `None`.
    pub(crate) call_id: Option<String>,
    /// The answer is acknowledged when [`UserAgent::kept`] says so, or a little later.
    pub(crate) holds_ack: bool,
}

/// What the shell must do.
#[derive(Debug)]
pub(crate) enum Output {
    /// Put this on the wire.
    Send { flow: Flow, message: Bytes },
    /// An INVITE waits for a decision.
    Incoming { leg: LegId, from: Party, to_user: String, sip_call_id: String, dialog: String },
    /// What the leg's owner should keep of its dialog from now on.
    Dialog { leg: LegId, dialog: String, name: DialogName },
    /// The peer asks for a call to somebody else; [`UserAgent::report`] tells it how that goes.
    Referred { leg: LegId, referral: Referral },
    /// Tell the leg's owner.
    Event { leg: LegId, event: LegEvent },
    /// Offer and answer are complete: start the stream.
    StartMedia { leg: LegId, agreed: Agreed },
    /// The peer moved or changed its hold.
    UpdateMedia { leg: LegId, remote: Remote, sending: bool, receiving: bool },
    /// A trunk's registration changed.
    Registration { trunk: usize, state: RegistrationState },
}

/// All of SIP that needs no socket.
pub(crate) struct UserAgent {
    config: Config,
    ids: Ids,
    layer: TransactionLayer,
    clients: HashMap<Arc<TransactionKey>, ClientEntry>,
    servers: HashMap<Arc<TransactionKey>, ServerEntry>,
    timers: TimerTable,
    legs: HashMap<LegId, Leg>,
    /// Our tag of each dialog; unique, because we draw it.
    tags: HashMap<String, LegId>,
    /// INVITEs that wait here, by Call-ID, From tag and CSeq, to recognise merged requests
    /// (RFC 3261 §8.2.2.2).
    merged: HashMap<(String, String, u32), LegId>,
    /// INVITEs of an earlier process, by Call-ID, with the ACKs to those who have answered.
    invited: BTreeMap<String, Vec<(String, Flow, Bytes)>>,
    next_leg: u64,
    /// How many more incoming calls the owner has room for.
    room: usize,
    /// Longest response without a transaction, in bytes: no more than the request at hand; and when
    /// that came.
    budget: (usize, Instant),
    terse: Terse,
    admit: Option<Admit>,
    guard: Guard,
    registrar: Registrar,
    registrations: Vec<Option<TrunkRegistration>>,
    /// Keyed hash of stateless To tags.
    tag_secret: u64,
    stopping: bool,
    outputs: VecDeque<Output>,
}

impl UserAgent {
    pub(crate) fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut ids = Ids::new(seed);
        let mut secret = [0; 32];
        for part in secret.chunks_exact_mut(8) {
            part.copy_from_slice(&ids.number().to_be_bytes());
        }
        let registrations = config.trunks.iter().map(|_| None).collect();
        Self {
            tag_secret: ids.number(),
            ids,
            layer: TransactionLayer::new(TIMERS),
            clients: HashMap::new(),
            servers: HashMap::new(),
            timers: TimerTable::default(),
            legs: HashMap::new(),
            tags: HashMap::new(),
            merged: HashMap::new(),
            invited: BTreeMap::new(),
            next_leg: 0,
            room: usize::MAX,
            budget: (usize::MAX, now),
            terse: Terse::default(),
            admit: None,
            guard: Guard::new(secret, &config.digest, now),
            registrar: Registrar::default(),
            registrations,
            config,
            stopping: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a message that has passed the gate.
    pub(crate) fn receive(&mut self, now: Instant, flow: Flow, message: Message) {
        match message {
            Message::Request(request) => self.receive_request(now, flow, request),
            Message::Response(response) => {
                let dispatch =
                    self.layer.receive(Message::Response(response), flow.transport.reliability());
                if let Dispatch::Unmatched(message) = &dispatch
                    && let Message::Response(response) = &**message
                {
                    self.stray(now, flow, response);
                }
                self.dispatched(now, dispatch);
            }
        }
    }

    /// How many more incoming calls the owner can take right now.
    pub(crate) fn set_room(&mut self, room: usize) {
        self.room = room;
    }

    /// Names who decides about incoming calls; without, each one with a slot is taken.
    pub(crate) fn set_admit(&mut self, admit: Option<Admit>) {
        self.admit = admit;
    }

    /// A connection closed or could not be opened: what waits for an answer on it has failed.
    pub(crate) fn connection_closed(&mut self, now: Instant, link: LinkId) {
        let waiting = self
            .clients
            .iter()
            .filter(|(_, entry)| entry.flow.link == link && entry.flow.transport == Transport::Tcp);
        let keys: Vec<_> = waiting.map(|(key, _)| Arc::clone(key)).collect();
        for key in keys {
            let is_open = self.layer.client_state(&key).is_some_and(|state| {
                use sipx_sip::transaction::ClientState::{Calling, Proceeding, Trying};
                matches!(state, Calling | Proceeding | Trying)
            });
            if is_open {
                let outputs = self.layer.on_transport_error(&key);
                self.perform_client(now, &key, outputs);
            }
        }
        self.registration_link_closed(now, link);
    }

    /// Carries out every timer that has expired.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Transaction(key, timer) => self.transaction_timer(now, &key, timer),
                Timer::Ring(leg) => self.give_up_ringing(now, leg),
                Timer::Accept(leg) => self.repeat_answer(now, leg),
                Timer::Acknowledge(leg) => self.kept(leg),
                Timer::Cancelled(leg) => self.forget_cancelled(now, leg),
                Timer::Refer(leg) => self.refer_expired(leg),
                Timer::Referred(leg) => self.referred_expired(now, leg),
                Timer::Registration(trunk) => self.refresh_registration(now, trunk),
            }
        }
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// What to do next.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Where the phone of a Graph user is registered.
    pub(crate) fn contact_of(&self, now: Instant, user_id: &str) -> Option<&Binding> {
        let phones = self.config.phones.iter().filter(|phone| phone.user_id == user_id);
        phones.filter_map(|phone| self.registrar.current(now, &phone.user)).next()
    }

    /// The binding of a phone, by its SIP user name.
    pub(crate) fn binding_of(&self, now: Instant, user: &str) -> Option<&Binding> {
        self.registrar.current(now, user)
    }

    /// The binding with exactly this contact, and whose it is.
    pub(crate) fn binding_at(&self, now: Instant, uri: &str) -> Option<(String, &Binding)> {
        self.registrar.by_uri(now, uri).map(|(user, binding)| (user.to_owned(), binding))
    }

    pub(crate) fn trunks(&self) -> &[Trunk] {
        &self.config.trunks
    }

    /// Ends all legs and registrations and takes no new ones.
    pub(crate) fn shut_down(&mut self, now: Instant) {
        self.stopping = true;
        let mut legs: Vec<LegId> = self.legs.keys().copied().collect();
        legs.sort_unstable();
        for leg in legs {
            self.hang_up(now, leg);
        }
        self.unregister_all(now);
    }

    /// Whether nothing is left to be said to anybody.
    pub(crate) fn is_idle(&self) -> bool {
        use sipx_sip::transaction::ClientState::{Calling, Proceeding, Trying};
        let open = |key: &Arc<TransactionKey>| {
            let state = self.layer.client_state(key);
            state.is_some_and(|state| matches!(state, Calling | Proceeding | Trying))
        };
        self.legs.is_empty() && !self.clients.keys().any(open)
    }

    /// Whether another leg may be made.
    pub(crate) fn has_slot(&self) -> bool {
        self.legs.len() < self.config.max_calls && !self.stopping
    }

    /// Everything that a finished call must have given back.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn footprint(&self) -> usize {
        let (client, server) = self.layer.len();
        self.clients.len()
            + self.servers.len()
            + self.timers.len()
            + self.legs.len()
            + self.tags.len()
            + self.merged.len()
            + client
            + server
    }

    fn new_leg_id(&mut self) -> LegId {
        self.next_leg += 1;
        LegId(self.next_leg)
    }

    fn tell(&mut self, leg: LegId, event: LegEvent) {
        self.outputs.push_back(Output::Event { leg, event });
    }

    /// Says that a leg is gone, and forgets it.
    fn end(&mut self, now: Instant, id: LegId, mut leg: Leg, cause: Cause) {
        self.recall(now, &mut leg);
        self.timers.stop(&Timer::Ring(id));
        self.timers.stop(&Timer::Accept(id));
        self.timers.stop(&Timer::Acknowledge(id));
        self.timers.stop(&Timer::Cancelled(id));
        self.timers.stop(&Timer::Refer(id));
        self.timers.stop(&Timer::Referred(id));
        self.tags.remove(&leg.local_tag);
        if let State::Ringing(ringing) = &leg.state {
            self.merged.remove(&ringing.merge_key);
        }
        if let State::Calling(calling) = &leg.state
            && let Some((moved, _)) = calling.moves
        {
            return self.turn_back(now, moved, cause);
        }
        if !leg.said_end {
            self.tell(id, LegEvent::Ended(cause.result()));
        }
    }

    fn send(&mut self, flow: Flow, message: &Message) {
        self.outputs.push_back(Output::Send { flow, message: message.to_bytes() });
    }

    fn send_request(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Request,
        purpose: Purpose,
    ) -> Option<Arc<TransactionKey>> {
        let reliability = flow.transport.reliability();
        let (key, outputs) = self.layer.send_request(request, reliability)?;
        let key = Arc::new(key);
        self.clients.insert(Arc::clone(&key), ClientEntry::new(flow, purpose));
        self.perform_client(now, &key, outputs);
        Some(key)
    }

    /// What a client transaction tells its user.
    #[expect(clippy::wildcard_enum_match_arm, reason = "sipx may come to tell more")]
    fn client_event(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        purpose: &Purpose,
        event: TuEvent,
    ) {
        let outcome = match event {
            TuEvent::Response(response) => Ok(*response),
            TuEvent::Timeout => Err(Cause::NoResponse),
            TuEvent::TransportError => Err(Cause::Unreachable),
            _ => return,
        };
        match purpose {
            Purpose::Invite(leg) => self.invite_outcome(now, key, *leg, outcome),
            Purpose::Cancel | Purpose::Unminded | Purpose::Bye { leg: None } => {}
            Purpose::Reinvite(leg) => self.reinvite_outcome(now, key, *leg, outcome),
            Purpose::Refer(leg) => self.refer_outcome(now, *leg, outcome),
            Purpose::Bye { leg: Some(leg) } => self.bye_outcome(now, *leg, outcome),
            Purpose::Register(trunk) => self.register_outcome(now, *trunk, outcome),
        }
    }
}
