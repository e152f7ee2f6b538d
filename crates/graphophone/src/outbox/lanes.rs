//! Which notification may be attempted now: one lane per call, a bounded number of attempts per
//! endpoint and in all. Pure: time is an argument, attempts are made elsewhere.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use graphophone_call::CallId;
use graphophone_store::{NotificationRecord, Owed, Sequence};
use tokio::time::Instant;
use url::Url;

use super::holds::{HoldId, Holds, Moment};

/// After an outage of at least this long, the first success at an endpoint lets everything that
/// waits for it go at once, instead of at the end of waits of up to hours.
const OUTAGE: Duration = Duration::from_secs(30);

/// For so long after an outage a failure is taken for its aftermath (an attempt from before its
/// end, a bot that is overrun by everything at once), and the next attempt comes within
/// [`AFTERMATH_WAIT`].
const AFTERMATH: Duration = Duration::from_secs(300);
const AFTERMATH_WAIT: Duration = Duration::from_secs(30);

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

/// The place a URL is served at: scheme, host and port. URLs that are none share one.
type Endpoint = Arc<str>;

pub(super) struct Lanes {
    limits: Limits,
    lanes: HashMap<CallId, Lane>,
    endpoints: HashMap<Endpoint, EndpointState>,
    /// Endpoints with lanes that are ready, each once, taken in turn.
    turn: VecDeque<Endpoint>,
    /// Lanes in `Waiting` and `Held`, by the time at which that ends.
    timers: BTreeSet<(Instant, CallId)>,
    holds: Holds,
    loads: Vec<Load>,
    in_flight: usize,
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
    step: Step,
}

struct Entry {
    sequence: Sequence,
    endpoint: Endpoint,
    attempts: u32,
    due: Instant,
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

#[derive(Default)]
struct EndpointState {
    /// Lanes whose head goes here.
    lanes: usize,
    in_flight: usize,
    ready: VecDeque<CallId>,
    /// The first failure since the last success.
    failing_since: Option<Instant>,
    /// The end of its last outage.
    recovered: Option<Instant>,
}

impl Lanes {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            lanes: HashMap::new(),
            endpoints: HashMap::new(),
            turn: VecDeque::new(),
            timers: BTreeSet::new(),
            holds: Holds::default(),
            loads: Vec::new(),
            in_flight: 0,
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
            owed: self.holds.moment(),
            record: None,
        };
        let spilled_to = (owed.last > owed.first).then_some(owed.last);
        self.open_lane(now, owed.call_id, entry, spilled_to);
    }

    /// Keeps what the call comes to owe from now on back until [`Lanes::release`] or `until`.
    pub(super) fn hold(&mut self, call_id: CallId, until: Instant) -> HoldId {
        self.holds.begin(call_id, until)
    }

    pub(super) fn release(&mut self, now: Instant, hold: HoldId) {
        self.holds.end(hold);
        let call_id = hold.call_id();
        if let Some(Step::Held(until)) = self.lanes.get(&call_id).map(|lane| lane.step) {
            self.timers.remove(&(until, call_id));
            self.come_due(now, call_id);
        }
    }

    /// What may be done now. Call again after every other method and at [`Lanes::next_timeout`].
    pub(super) fn poll(&mut self, now: Instant) -> Vec<Action> {
        while let Some(&(at, call_id)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            self.come_due(now, call_id);
        }
        let mut actions: Vec<_> = self.loads.drain(..).map(Action::Load).collect();
        let mut passed_over = 0;
        while passed_over < self.turn.len() {
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
        self.timers.first().map(|(at, _)| *at)
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
            state.failing_since.get_or_insert(now);
            if state.recovered.is_some_and(|at| now.duration_since(at) < AFTERMATH) {
                head.due = next.min(now + AFTERMATH_WAIT);
            }
        }
        self.wait(now, call_id, failure);
    }

    /// The result of a [`Load`].
    pub(super) fn loaded(&mut self, now: Instant, load: Load, records: Vec<NotificationRecord>) {
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
    /// many calls they have, take less and less and never the last places.
    fn has_place(&self, endpoint: &Endpoint) -> bool {
        let used = self.endpoints.get(endpoint).map_or(0, |state| state.in_flight);
        let free = self.limits.total.max(1).saturating_sub(self.in_flight);
        free > 0 && used < self.limits.per_endpoint.max(1) && used.saturating_mul(4) <= free
    }

    fn start(&mut self, call_id: CallId) -> Start {
        let lane = self.lanes.get_mut(&call_id).expect("a ready lane exists");
        lane.step = Step::InFlight;
        let head = lane.queue.front_mut().expect("a ready lane has a head");
        let record = head.record.take();
        self.cached_bytes -= record.as_ref().map_or(0, |record| record.body.len());
        self.in_flight += 1;
        let state = self.endpoints.get_mut(&head.endpoint).expect("it has a lane");
        state.in_flight += 1;
        Start { call_id, sequence: head.sequence, attempts: head.attempts, record }
    }

    fn attempt_ended(&mut self, call_id: CallId) {
        self.in_flight -= 1;
        let lane = self.lanes.get(&call_id).expect("an attempted lane exists");
        let head = lane.queue.front().expect("an attempted lane has a head");
        let state = self.endpoints.get_mut(&head.endpoint).expect("it has a lane");
        state.in_flight -= 1;
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
        self.lanes.insert(call_id, Lane { queue, spilled_to, last, step: Step::Loading });
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
            self.loads.push(Load { call_id, after, limit, known });
        } else {
            self.lanes.remove(&call_id);
        }
    }

    /// The head waits until it is due.
    fn wait(&mut self, now: Instant, call_id: CallId, failure: Failure) {
        let lane = self.lane(call_id);
        let due = lane.queue.front().expect("a waiting lane has a head").due;
        lane.step = Step::Waiting(due, failure);
        if due <= now {
            self.come_due(now, call_id);
        } else {
            self.timers.insert((due, call_id));
        }
    }

    /// The time of a `Waiting` or `Held` lane has come.
    fn come_due(&mut self, now: Instant, call_id: CallId) {
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

    fn endpoint_works(&mut self, now: Instant, endpoint: &Endpoint) {
        let Some(state) = self.endpoints.get_mut(endpoint) else { return };
        let Some(since) = state.failing_since.take() else { return };
        // Only after a real outage: one bad call among good ones must not be tried again at
        // every success of the others.
        if now.duration_since(since) < OUTAGE {
            return;
        }
        state.recovered = Some(now);
        let mut early: Vec<_> = self
            .lanes
            .iter()
            .filter_map(|(call_id, lane)| match lane.step {
                Step::Waiting(due, Failure::Outage)
                    if lane.queue.front().is_some_and(|head| head.endpoint == *endpoint) =>
                {
                    Some((lane.queue.front()?.sequence, due, *call_id))
                }
                Step::Waiting(..)
                | Step::Held(_)
                | Step::Ready
                | Step::InFlight
                | Step::Loading => None,
            })
            .collect();
        early.sort_unstable();
        for (_, due, call_id) in early {
            self.timers.remove(&(due, call_id));
            self.come_due(now, call_id);
        }
    }

    /// A head is gone; an endpoint without any is forgotten.
    fn leave(&mut self, endpoint: &Endpoint) {
        let state = self.endpoints.get_mut(endpoint).expect("it has a lane");
        state.lanes -= 1;
        if state.lanes == 0 {
            self.endpoints.remove(endpoint);
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
            owed: self.holds.moment(),
            record: fits.then_some(record),
        }
    }

    fn lane(&mut self, call_id: CallId) -> &mut Lane {
        self.lanes.get_mut(&call_id).expect("the lane is not done")
    }
}

fn endpoint_of(url: &str) -> Endpoint {
    Url::parse(url).map_or_else(|_| "".into(), |url| url.origin().ascii_serialization().into())
}

#[cfg(test)]
mod tests;
