//! Between the user agent and sipx's transaction layer: carries out what transactions want, and
//! remembers what each one is for.

use std::{net::IpAddr, sync::Arc, time::Instant};

use bytes::Bytes;
use sipx_sip::{
    Message, Output as Wish, Request, Response, Timer as TransactionTimer, TransactionKey, TuEvent,
    transaction::Dispatch,
};

use super::{LegId, UserAgent, flow::Flow, timers::Timer};

/// A request of ours in flight.
#[derive(Debug)]
pub(super) struct ClientEntry {
    pub(super) flow: Flow,
    pub(super) purpose: Purpose,
    /// Peers that answered our INVITE with 2xx, by To tag, with the ACK each must get whenever it
    /// repeats its answer (RFC 3261 §13.2.2.4). More than one if a proxy forked.
    pub(super) acknowledged: Vec<(String, Flow, Bytes)>,
}

impl ClientEntry {
    pub(super) fn new(flow: Flow, purpose: Purpose) -> Self {
        Self { flow, purpose, acknowledged: Vec::new() }
    }
}

/// What a client transaction is for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    Invite(LegId),
    /// A later offer of ours.
    Reinvite(LegId),
    Refer(LegId),
    Cancel,
    /// INFO and NOTIFY: whether it arrives changes nothing.
    Unminded,
    /// `None`: nobody waits for the answer.
    Bye {
        leg: Option<LegId>,
    },
    Register(usize),
}

/// A request of a peer that we answer.
#[derive(Debug)]
pub(super) struct ServerEntry {
    /// Where responses go.
    pub(super) flow: Flow,
    /// Host the request came from: only it may cancel.
    pub(super) source: IpAddr,
    /// The leg of an INVITE.
    pub(super) leg: Option<LegId>,
}

impl UserAgent {
    /// Starts a server transaction for a request that matched none.
    pub(super) fn start_server(
        &mut self,
        now: Instant,
        flow: Flow,
        request: Request,
        leg: Option<LegId>,
    ) -> Option<Arc<TransactionKey>> {
        let source = flow.remote.ip();
        let reliability = flow.transport.reliability();
        match self.layer.receive(Message::Request(request), reliability) {
            Dispatch::Created { key, outputs } => {
                let key = Arc::new(key);
                self.servers.insert(Arc::clone(&key), ServerEntry { flow, source, leg });
                // The request itself is in hand already; only the timers count.
                self.perform(now, &key, flow, outputs);
                Some(key)
            }
            Dispatch::Matched { .. } | Dispatch::Unmatched(_) => None,
        }
    }

    /// Answers through a server transaction, which repeats the answer as needed.
    pub(super) fn send_response(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        response: Response,
    ) {
        let Some(flow) = self.servers.get(key).map(|entry| entry.flow) else { return };
        let outputs = self.layer.send_response(key, response);
        self.perform(now, key, flow, outputs);
    }

    /// Feeds what the layer made of a message.
    pub(super) fn dispatched(&mut self, now: Instant, dispatch: Dispatch) {
        match dispatch {
            Dispatch::Matched { key, outputs } => {
                let key = Arc::new(key);
                if self.clients.contains_key(&key) {
                    self.perform_client(now, &key, outputs);
                } else if let Some(flow) = self.servers.get(&key).map(|entry| entry.flow) {
                    for event in self.perform(now, &key, flow, outputs) {
                        self.server_event(now, event);
                    }
                }
            }
            // Strays are dropped: a response to nothing, an ACK to nothing.
            Dispatch::Created { .. } | Dispatch::Unmatched(_) => {}
        }
    }

    pub(super) fn transaction_timer(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        timer: TransactionTimer,
    ) {
        let outputs = self.layer.on_timer(key, timer);
        if self.clients.contains_key(key) {
            self.perform_client(now, key, outputs);
        } else if let Some(flow) = self.servers.get(key).map(|entry| entry.flow) {
            self.perform(now, key, flow, outputs);
        }
    }

    /// Carries out the wishes of a client transaction and tells its user what it says.
    pub(super) fn perform_client(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        outputs: Vec<Wish>,
    ) {
        let Some(entry) = self.clients.get(key) else { return };
        let (flow, purpose) = (entry.flow, entry.purpose.clone());
        for event in self.perform(now, key, flow, outputs) {
            self.client_event(now, key, &purpose, event);
        }
    }

    /// Makes the layer forget a client transaction whose outcome no longer matters.
    pub(super) fn abandon_client(&mut self, now: Instant, key: &Arc<TransactionKey>) {
        let Some(flow) = self.clients.get(key).map(|entry| entry.flow) else { return };
        let outputs = self.layer.on_transport_error(key);
        self.perform(now, key, flow, outputs);
    }

    fn perform(
        &mut self,
        now: Instant,
        key: &Arc<TransactionKey>,
        flow: Flow,
        outputs: Vec<Wish>,
    ) -> Vec<TuEvent> {
        let mut events = Vec::new();
        for output in outputs {
            match output {
                Wish::Send(message) => self.send(flow, &message),
                Wish::SetTimer { timer, after } => {
                    self.timers.set(Timer::Transaction(Arc::clone(key), timer), now + after);
                }
                Wish::ClearTimer(timer) => {
                    self.timers.stop(&Timer::Transaction(Arc::clone(key), timer));
                }
                Wish::ToTu(event) => events.push(*event),
                Wish::Terminated(_) => {
                    for timer in TransactionTimer::ALL {
                        self.timers.stop(&Timer::Transaction(Arc::clone(key), timer));
                    }
                    self.clients.remove(key);
                    self.servers.remove(key);
                }
                _ => {}
            }
        }
        events
    }

    fn server_event(&mut self, now: Instant, event: TuEvent) {
        // Requests are taken before the layer sees them; timeouts of our answers need nothing.
        if let TuEvent::Ack(ack) = event {
            self.acknowledged(now, &ack);
        }
    }
}
