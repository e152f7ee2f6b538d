//! What a lane waits for, and what ends it: the time of its next attempt, a hold, news of its
//! endpoint.

use std::sync::Arc;

use graphophone_call::CallId;
use tokio::time::Instant;

use super::{Failure, Lanes, Step};
use crate::outbox::{endpoints::Endpoint, holds::HoldId};

impl Lanes {
    pub(in crate::outbox) fn release(&mut self, now: Instant, hold: HoldId) {
        self.holds.end(hold);
        let call_id = hold.call_id();
        if let Some(Step::Held(_)) = self.lanes.get(&call_id).map(|lane| lane.step) {
            self.stop_waiting(call_id);
            self.come_due(now, call_id);
        }
    }

    /// The head waits until it is due.
    pub(super) fn wait(&mut self, now: Instant, call_id: CallId, failure: Failure) {
        let lane = self.lanes.get_mut(&call_id).expect("a waiting lane exists");
        let head = lane.queue.front().expect("a waiting lane has a head");
        if head.due <= now {
            return self.come_due(now, call_id);
        }
        lane.step = Step::Waiting(head.due, failure);
        self.timers.insert((head.due, call_id));
        if failure == Failure::Outage {
            let state = self.endpoints.get_mut(&head.endpoint).expect("it has a lane");
            state.waiting.insert((head.sequence, call_id));
        }
    }

    /// Undoes what keeps a `Waiting` or `Held` lane; it needs another step at once.
    pub(super) fn stop_waiting(&mut self, call_id: CallId) {
        let lane = self.lanes.get(&call_id).expect("a waiting lane exists");
        let (Step::Waiting(at, _) | Step::Held(at)) = lane.step else { return };
        self.timers.remove(&(at, call_id));
        let head = lane.queue.front().expect("a waiting lane has a head");
        if let Some(state) = self.endpoints.get_mut(&head.endpoint) {
            state.waiting.remove(&(head.sequence, call_id));
        }
    }

    /// The time of a `Waiting` or `Held` lane has come.
    pub(super) fn come_due(&mut self, now: Instant, call_id: CallId) {
        if !self.hold_back(now, call_id) {
            self.make_ready(call_id);
        }
    }

    /// Moves the lane to `Held` if its head is held.
    fn hold_back(&mut self, now: Instant, call_id: CallId) -> bool {
        let owed = self.lane(call_id).queue.front().expect("a due lane has a head").owed;
        let Some(until) = self.holds.held_until(call_id, owed, now) else { return false };
        self.lane(call_id).step = Step::Held(until);
        self.timers.insert((until, call_id));
        true
    }

    /// A notification was delivered there.
    pub(super) fn endpoint_works(&mut self, now: Instant, endpoint: &Endpoint) {
        let Some(state) = self.endpoints.get_mut(endpoint) else { return };
        if state.is_failing() {
            self.in_vain -= state.in_flight;
        }
        for (_, call_id) in state.works(now) {
            self.stop_waiting(call_id);
            self.come_due(now, call_id);
        }
    }

    /// Tries one of the lanes that wait for an endpoint before its time.
    pub(super) fn probe(&mut self, now: Instant, endpoint: &Endpoint) {
        let Some(state) = self.endpoints.get_mut(endpoint) else { return };
        let Some(call_id) = state.probe(now) else { return };
        if let Some(at) = state.probe_at {
            self.probes.insert((at, Arc::clone(endpoint)));
        }
        self.stop_waiting(call_id);
        self.lane(call_id).queue.front_mut().expect("a waiting lane has a head").is_early = true;
        self.come_due(now, call_id);
    }
}
