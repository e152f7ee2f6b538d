//! What the outbox knows of one endpoint: its share of the attempts, whether it is down, and when to
//! look whether it still is. Pure.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use graphophone_call::CallId;
use graphophone_store::Sequence;
use tokio::time::Instant;
use url::Url;

/// After an outage of at least this long, the first success at an endpoint lets everything that
/// waits for it go at once, instead of at the end of waits of up to hours.
pub(super) const OUTAGE: Duration = Duration::from_secs(30);

/// For so long after an outage a failure is taken for its aftermath (an attempt from before its
/// end, a bot that is overrun by everything at once), and the next attempt comes within
/// [`AFTERMATH_WAIT`].
pub(super) const AFTERMATH: Duration = Duration::from_secs(300);
pub(super) const AFTERMATH_WAIT: Duration = Duration::from_secs(30);

/// While an endpoint is down, it is asked again after this part of the outage so far, but not
/// before the shortest nor after the longest: an hour of outage is noticed to be over within two
/// minutes, a dead bot gets one POST in five.
const PROBE_PART: u32 = 30;
const PROBE_SHORTEST: Duration = Duration::from_secs(30);
const PROBE_LONGEST: Duration = Duration::from_secs(300);

/// The place a URL is served at: scheme, host and port. URLs that are none share one.
pub(super) type Endpoint = Arc<str>;

pub(super) fn endpoint_of(url: &str) -> Endpoint {
    Url::parse(url).map_or_else(|_| "".into(), |url| url.origin().ascii_serialization().into())
}

#[derive(Default)]
pub(super) struct EndpointState {
    /// Lanes whose head goes here.
    pub(super) lanes: usize,
    pub(super) in_flight: usize,
    pub(super) ready: VecDeque<CallId>,
    /// Lanes that wait because it seemed to be down, by their heads.
    pub(super) waiting: BTreeSet<(Sequence, CallId)>,
    /// When it will be asked whether it is back, if it is down.
    pub(super) probe_at: Option<Instant>,
    /// The first failure since the last success.
    failing_since: Option<Instant>,
    /// The end of its last outage.
    recovered: Option<Instant>,
}

impl EndpointState {
    /// Whether it has failed since its last success.
    pub(super) fn is_failing(&self) -> bool {
        self.failing_since.is_some()
    }

    /// An attempt failed as if it were down; the next one is to be at `next`. Gives when it is.
    pub(super) fn seems_down(&mut self, now: Instant, next: Instant) -> Instant {
        let since = *self.failing_since.get_or_insert(now);
        if self.probe_at.is_none() {
            self.probe_at = Some(now + probe_after(now.duration_since(since)));
        }
        match self.recovered {
            Some(at) if now.duration_since(at) < AFTERMATH => next.min(now + AFTERMATH_WAIT),
            Some(_) | None => next,
        }
    }

    /// An attempt succeeded. Gives the lanes that need not wait any longer.
    ///
    /// Only after a real outage: one bad call among good ones must not be tried again at every
    /// success of the others.
    pub(super) fn works(&mut self, now: Instant) -> BTreeSet<(Sequence, CallId)> {
        let Some(since) = self.failing_since.take() else { return BTreeSet::new() };
        if now.duration_since(since) < OUTAGE {
            return BTreeSet::new();
        }
        self.recovered = Some(now);
        std::mem::take(&mut self.waiting)
    }

    /// The time of `probe_at` has come. Gives the lane to be tried before its time: the one that is
    /// owed longest. None if the endpoint works, or all its lanes are about to be tried anyway.
    pub(super) fn probe(&mut self, now: Instant) -> Option<CallId> {
        self.probe_at = None;
        let since = self.failing_since?;
        let (_, call_id) = *self.waiting.first()?;
        self.probe_at = Some(now + probe_after(now.duration_since(since)));
        Some(call_id)
    }
}

fn probe_after(outage: Duration) -> Duration {
    (outage / PROBE_PART).clamp(PROBE_SHORTEST, PROBE_LONGEST)
}
