//! Which notification may be attempted now: one lane per call, a bounded number of attempts per
//! endpoint and in all. Pure: time is an argument, attempts are made elsewhere.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use graphophone_call::CallId;
use graphophone_store::{NotificationRecord, Owed, Sequence};
use tokio::time::Instant;

use super::{
    endpoints::{Endpoint, EndpointState, endpoint_of},
    holds::{HoldId, Holds, Moment},
};

/// The bounds of the outbox.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Attempts under way at one endpoint (scheme, host and port), at least 1.
    pub per_endpoint: usize,
    /// Attempts under way in all, at least 1. An endpoint gets only a share of what is left of
    /// it (see `Lanes::has_place`), so that endpoints that hang leave room for the others.
    pub total: usize,
    /// Notifications remembered per call; what is beyond stays in the store until its turn.
    pub remembered_per_call: usize,
    /// Bytes of bodies kept in memory for calls that are not being attempted; beyond it they are
    /// read from the store again.
    pub cached_bytes: usize,
}

impl Default for Limits {
    /// 64 per endpoint, 1,024 in all, 16 per call, 16 MiB.
    fn default() -> Self {
        Self {
            per_endpoint: 64,
            total: 1_024,
            remembered_per_call: 16,
            cached_bytes: 16 * 1024 * 1024,
        }
    }
}

/// What the driver is to do; it reports back by the method of the same line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Action {
    /// Attempt this notification, then [`Lanes::settled`] or [`Lanes::failed`].
    Attempt(Start),
    /// Read the call's next owed notifications, then [`Lanes::loaded`] or [`Lanes::not_loaded`].
    Load(Load),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Start {
    pub(super) call_id: CallId,
    pub(super) sequence: Sequence,
    /// Attempts made before this one since the start of the process.
    pub(super) attempts: u32,
    /// When it would be due, if this is an attempt before its time to see whether the endpoint is
    /// back: a failure then changes nothing for the notification.
    pub(super) scheduled: Option<Instant>,
    /// `None`: read it from the store.
    pub(super) record: Option<Arc<NotificationRecord>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) call_id: CallId,
    pub(super) after: Sequence,
    pub(super) limit: usize,
    /// The last one known to be in the store when the load began.
    pub(super) known: Sequence,
}

/// What a failed attempt says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It may be down: others will fail too, and its recovery is worth an early attempt.
    Outage,
    /// It refused this one, or asked for the wait, or the fault is ours: the time of the next
    /// attempt stands. Says nothing about the endpoint; a proxy in front of a dead bot refuses
    /// as well.
    Other,
}

pub(super) struct Lanes {
    limits: Limits,
    lanes: HashMap<CallId, Lane>,
    endpoints: HashMap<Endpoint, EndpointState>,
    /// Endpoints with lanes that are ready, each once, taken in turn.
    turn: VecDeque<Endpoint>,
    /// Lanes in `Waiting` and `Held`, by the time at which that ends.
    timers: BTreeSet<(Instant, CallId)>,
    /// Endpoints that are down, by the time at which to look whether they still are.
    probes: BTreeSet<(Instant, Endpoint)>,
    holds: Holds,
    loads: Vec<Load>,
    in_flight: usize,
    /// Of these, at endpoints that seem to be down.
    in_vain: usize,
    cached_bytes: usize,
}

/// The notifications owed for one call. Exists while there are any.
struct Lane {
    /// The next ones, in order; empty only while `Loading`.
    queue: VecDeque<Entry>,
    /// The last one that is only in the store, if there are such.
    spilled_to: Option<Sequence>,
    /// The last one taken in.
    last: Sequence,
    /// Earlier ones are owed again: the next load, or the one under way, begins at the first.
    anew: bool,
    step: Step,
}

struct Entry {
    sequence: Sequence,
    endpoint: Endpoint,
    attempts: u32,
    due: Instant,
    /// Attempted before it is due; see [`Start::scheduled`].
    is_early: bool,
    /// When it was taken in, in the order of holds.
    owed: Moment,
    record: Option<Arc<NotificationRecord>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The head is due at the time.
    Waiting(Instant, Failure),
    /// The head is due, but held at most until the time.
    Held(Instant),
    /// The head waits for a place at its endpoint.
    Ready,
    /// The head is being attempted.
    InFlight,
    /// The queue is empty, more is in the store.
    Loading,
}

impl Lanes {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            endpoints: HashMap::new(),
            turn: VecDeque::new(),
            timers: BTreeSet::new(),
            probes: BTreeSet::new(),
            holds: Holds::default(),
            loads: Vec::new(),
            in_flight: 0,
            in_vain: 0,
            cached_bytes: 0,
        }
    }

    /// Takes in a notification that is owed and due at once. False if it was known already.
    pub(super) fn enqueue(&mut self, now: Instant, record: Arc<NotificationRecord>) -> bool {
        let call_id = record.call_id;
        let sequence = record.sequence;
        let Some(lane) = self.lanes.get_mut(&call_id) else {
            let entry = self.entry(now, record);
            self.open_lane(now, call_id, entry, None);
            return true;
        };
        if sequence <= lane.last {
            return false;
        }
        lane.last = sequence;
        let is_full = lane.queue.len() >= self.limits.remembered_per_call.max(1);
        if is_full || lane.spilled_to.is_some() || lane.queue.is_empty() {
            lane.spilled_to = Some(sequence);
        } else {
            let entry = self.entry(now, record);
            self.lane(call_id).queue.push_back(entry);
        }
        true
    }

    /// Takes in a call that owes something since before the start. It is due at once, and its
    /// schedule begins anew: whatever kept the bot from taking it may well be over.
    pub(super) fn restore(&mut self, now: Instant, owed: &Owed) {
        let entry = Entry {
            sequence: owed.first,
            endpoint: endpoint_of(&owed.url),
            attempts: 0,
            due: now,
            is_early: false,
            owed: self.holds.moment(),
            record: None,
        };
        let spilled_to = (owed.last > owed.first).then_some(owed.last);
        self.open_lane(now, owed.call_id, entry, spilled_to);
    }

    /// Settled notifications of the call, the last of them `last`, are owed again, durably. They go
    /// in the order of the store, in front of whatever is behind them in it, except an attempt that
    /// is under way or about to be: what is remembered of the call is read from the store anew.
    pub(super) fn replay(&mut self, now: Instant, call_id: CallId, last: Sequence) {
        let Some(lane) = self.lanes.get_mut(&call_id) else {
            let (queue, step) = (VecDeque::new(), Step::Loading);
            let lane = Lane { queue, spilled_to: Some(last), last, anew: true, step };
            self.lanes.insert(call_id, lane);
            self.next_head(now, call_id, last);
            return;
        };
        lane.last = lane.last.max(last);
        lane.spilled_to = Some(lane.last);
        lane.anew = true;
        let kept = match lane.step {
            Step::InFlight | Step::Ready => 1,
            Step::Waiting(..) | Step::Held(_) | Step::Loading => 0,
        };
        if kept == 0 && lane.step != Step::Loading {
            self.stop_waiting(call_id);
            let lane = self.lane(call_id);
            let head = Arc::clone(&lane.queue.front().expect("a waiting lane has a head").endpoint);
            self.forget_behind(call_id, 0);
            self.leave(&head);
            self.next_head(now, call_id, last);
        } else {
            self.forget_behind(call_id, kept);
        }
    }

    /// Keeps what the call comes to owe from now on back until [`Lanes::release`] or `until`.
    pub(super) fn hold(&mut self, call_id: CallId, until: Instant) -> HoldId {
        self.holds.begin(call_id, until)
    }

    /// What may be done now. Call again after every other method and at [`Lanes::next_timeout`].
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Action> {
        while let Some(&(at, call_id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.stop_waiting(call_id);
            self.come_due(now, call_id);
        }
        while self.probes.first().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, endpoint)) = self.probes.pop_first() {
                self.probe(now, &endpoint);
            }
        }
        let mut actions: Vec<_> = self.loads.drain(..).map(Action::Load).collect();
        let mut passed_over = 0;
        while passed_over < self.turn.len() && self.in_flight < self.limits.total.max(1) {
            let Some(endpoint) = self.turn.pop_front() else { break };
            if !self.has_place(&endpoint) {
                self.turn.push_back(endpoint);
                passed_over += 1;
                continue;
            }
            let state = self.endpoints.get_mut(&endpoint).expect("a lane is ready for it");
            let next = state.ready.pop_front();
            if !state.ready.is_empty() {
                self.turn.push_back(endpoint);
            }
            passed_over = 0;
            if let Some(call_id) = next {
                actions.push(Action::Attempt(self.start(call_id)));
            }
        }
        actions
    }

    /// When to poll next, if nothing else happens.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        timer.into_iter().chain(self.probes.first().map(|(at, _)| *at)).min()
    }

    /// The head is delivered or given up, durably.
    pub(super) fn settled(&mut self, now: Instant, call_id: CallId, delivered: bool) {
        self.attempt_ended(call_id);
        let lane = self.lane(call_id);
        let head = lane.queue.pop_front().expect("an attempted lane has a head");
        if delivered {
            self.endpoint_works(now, &head.endpoint);
        }
        self.leave(&head.endpoint);
        self.next_head(now, call_id, head.sequence);
    }

    /// The head's attempt failed; the next one is due at `next`.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        call_id: CallId,
        attempts: u32,
        next: Instant,
        failure: Failure,
    ) {
        self.attempt_ended(call_id);
        let lane = self.lanes.get_mut(&call_id).expect("an attempted lane exists");
        let head = lane.queue.front_mut().expect("an attempted lane has a head");
        head.attempts = attempts;
        head.due = next;
        if failure == Failure::Outage {
            let state = self.endpoints.get_mut(&head.endpoint).expect("it has a lane");
            if !state.is_failing() {
                self.in_vain += state.in_flight;
            }
            head.due = state.seems_down(now, next);
            if let Some(at) = state.probe_at {
                self.probes.insert((at, Arc::clone(&head.endpoint)));
            }
        }
        self.wait(now, call_id, failure);
        let lane = self.lane(call_id);
        if lane.anew {
            // What was replayed meanwhile need not wait for it.
            let last = lane.last;
            self.replay(now, call_id, last);
        }
    }

    /// The result of a [`Load`].
    pub(super) fn loaded(&mut self, now: Instant, load: Load, records: Vec<NotificationRecord>) {
        if self.lane(load.call_id).anew {
            // It may have passed what is owed again since.
            self.next_head(now, load.call_id, load.after);
            return;
        }
        let complete = records.len() < load.limit;
        let mut after = load.after;
        for record in records {
            // Committed since the load began: `enqueue` will bring it, and must not find it
            // delivered by then.
            if record.sequence > load.known {
                break;
            }
            after = record.sequence;
            let entry = self.entry(now, Arc::new(record));
            self.lane(load.call_id).queue.push_back(entry);
        }
        let lane = self.lane(load.call_id);
        if (complete || after >= load.known) && lane.spilled_to <= Some(load.known) {
            lane.spilled_to = None;
        }
        self.next_head(now, load.call_id, after);
    }

    /// A [`Load`] could not be done; try again.
    pub(super) fn not_loaded(&mut self, load: Load) {
        self.loads.push(load);
    }

    /// Whether nothing is under way or could be: all lanes wait for a later attempt.
    pub(super) fn is_quiet(&self) -> bool {
        self.lanes.values().all(|lane| matches!(lane.step, Step::Waiting(..)))
    }

    /// Whether one more attempt may be made at the endpoint. Beside the fixed limits, an endpoint
    /// may use at most a quarter of what is free (and always one): endpoints that hang, however
    /// many calls they have, take less and less and never the last places. However many they are,
    /// those that are known to be down have half of all places among them.
    fn has_place(&self, endpoint: &Endpoint) -> bool {
        let total = self.limits.total.max(1);
        let (used, is_down) = self
            .endpoints
            .get(endpoint)
            .map_or((0, false), |state| (state.in_flight, state.is_failing()));
        let free = total.saturating_sub(self.in_flight);
        let in_share = !is_down || self.in_vain < total.div_ceil(2);
        let fits = used < self.limits.per_endpoint.max(1) && used.saturating_mul(4) <= free;
        free > 0 && in_share && fits
    }

    fn start(&mut self, call_id: CallId) -> Start {
        let lane = self.lanes.get_mut(&call_id).expect("a ready lane exists");
        lane.step = Step::InFlight;
        let head = lane.queue.front_mut().expect("a ready lane has a head");
        let record = head.record.take();
        let scheduled = std::mem::take(&mut head.is_early).then_some(head.due);
        self.cached_bytes -= record.as_ref().map_or(0, |record| record.body.len());
        self.in_flight += 1;
        let state = self.endpoints.get_mut(&head.endpoint).expect("it has a lane");
        state.in_flight += 1;
        self.in_vain += usize::from(state.is_failing());
        Start { call_id, sequence: head.sequence, attempts: head.attempts, scheduled, record }
    }

    fn attempt_ended(&mut self, call_id: CallId) {
        self.in_flight -= 1;
        let lane = self.lanes.get(&call_id).expect("an attempted lane exists");
        let head = lane.queue.front().expect("an attempted lane has a head");
        let state = self.endpoints.get_mut(&head.endpoint).expect("it has a lane");
        state.in_flight -= 1;
        self.in_vain -= usize::from(state.is_failing());
    }

    fn open_lane(
        &mut self,
        now: Instant,
        call_id: CallId,
        head: Entry,
        spilled_to: Option<Sequence>,
    ) {
        let last = spilled_to.unwrap_or(head.sequence);
        let queue = VecDeque::from([head]);
        self.lanes
            .insert(call_id, Lane { queue, spilled_to, last, anew: false, step: Step::Loading });
        self.next_head(now, call_id, last);
    }

    /// A new head stands in the queue, or is to be loaded, or the lane is done.
    fn next_head(&mut self, now: Instant, call_id: CallId, after: Sequence) {
        let limit = self.limits.remembered_per_call.max(1);
        let lane = self.lane(call_id);
        if let Some(head) = lane.queue.front() {
            let endpoint = Arc::clone(&head.endpoint);
            self.endpoints.entry(endpoint).or_default().lanes += 1;
            self.wait(now, call_id, Failure::Other);
        } else if let Some(known) = lane.spilled_to {
            lane.step = Step::Loading;
            let after = if std::mem::take(&mut lane.anew) { Sequence(0) } else { after };
            self.loads.push(Load { call_id, after, limit, known });
        } else {
            self.lanes.remove(&call_id);
        }
    }

    fn make_ready(&mut self, call_id: CallId) {
        let lane = self.lane(call_id);
        lane.step = Step::Ready;
        let endpoint = Arc::clone(&lane.queue.front().expect("a ready lane has a head").endpoint);
        let state = self.endpoints.get_mut(&endpoint).expect("it has a lane");
        state.ready.push_back(call_id);
        if state.ready.len() == 1 {
            self.turn.push_back(endpoint);
        }
    }

    /// A head is gone; an endpoint without any is forgotten.
    fn leave(&mut self, endpoint: &Endpoint) {
        let state = self.endpoints.get_mut(endpoint).expect("it has a lane");
        state.lanes -= 1;
        if state.lanes == 0 {
            if let Some(at) = state.probe_at {
                self.probes.remove(&(at, Arc::clone(endpoint)));
            }
            self.endpoints.remove(endpoint);
        }
    }

    /// Forgets what is behind the first `kept` entries; it is in the store.
    fn forget_behind(&mut self, call_id: CallId, kept: usize) {
        let lane = self.lanes.get_mut(&call_id).expect("the lane is not done");
        for entry in lane.queue.drain(kept.min(lane.queue.len())..) {
            self.cached_bytes -= entry.record.map_or(0, |record| record.body.len());
        }
    }

    /// An entry with its record, or without if the memory for bodies is used up.
    fn entry(&mut self, due: Instant, record: Arc<NotificationRecord>) -> Entry {
        let size = record.body.len();
        let fits = self.cached_bytes + size <= self.limits.cached_bytes;
        if fits {
            self.cached_bytes += size;
        }
        Entry {
            sequence: record.sequence,
            endpoint: endpoint_of(&record.url),
            attempts: 0,
            due,
            is_early: false,
            owed: self.holds.moment(),
            record: fits.then_some(record),
        }
    }

    fn lane(&mut self, call_id: CallId) -> &mut Lane {
        self.lanes.get_mut(&call_id).expect("the lane is not done")
    }
}

mod waiting;

#[cfg(test)]
mod tests;
