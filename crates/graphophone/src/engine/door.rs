//! The door for new calls: measures the load, feeds the [`Admission`] machine, and logs when it
//! begins and ends to refuse.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use graphophone_media::engine::{Engine, EngineLoad, EngineStats, EngineWindow};
use graphophone_store::Store;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::{
    admission::{
        Admission, AdmissionLimits, Change, LoadSample, Reason, SAMPLE_EVERY, Standing, Verdict,
    },
    registry::{Calls, CreateError},
};

/// Packets that a playing stream sends in a second.
const PACKETS: f64 = 50.0;
/// What a caller is told to wait while this server stops: others may take the call at once.
const WHILE_STOPPING: Duration = Duration::from_secs(2);

/// Decides about new calls. Clones share it.
#[derive(Clone, Debug)]
pub struct Door(Arc<Mutex<Inside>>);

#[derive(Debug)]
struct Inside {
    admission: Admission,
    latest: Option<(LoadSample, EngineWindow)>,
    engine: Option<EngineStats>,
    is_closed: bool,
}

/// What [`Door::report`] tells.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// How things stand.
    pub standing: Standing,
    /// The last sample, and what the engine did in it; `None` before the first one.
    pub latest: Option<(LoadSample, EngineWindow)>,
    /// What the engine counted since its start, up to the last sample.
    pub engine: Option<EngineStats>,
}

impl Door {
    /// Takes calls as far as the limits allow; [`Door::watch`] feeds it.
    pub fn new(limits: AdmissionLimits) -> Self {
        let admission = Admission::new(limits);
        Self(Arc::new(Mutex::new(Inside {
            admission,
            latest: None,
            engine: None,
            is_closed: false,
        })))
    }

    /// Decides about one new call, which counts as taken if it is admitted.
    ///
    /// # Errors
    /// [`CreateError::Overloaded`].
    pub fn admit(&self) -> Result<(), CreateError> {
        match self.decide() {
            Verdict::Admit => Ok(()),
            Verdict::Refuse { retry_after, reason } => {
                Err(CreateError::Overloaded { reason, retry_after })
            }
        }
    }

    /// The same for the SIP endpoint, which is told only how long its caller has to wait.
    pub fn admit_incoming(&self) -> graphophone_sip::Admit {
        let door = self.clone();
        Box::new(move || match door.decide() {
            Verdict::Admit => Ok(()),
            Verdict::Refuse { retry_after, .. } => Err(retry_after),
        })
    }

    /// Lets nobody in any more: the server stops.
    pub fn close(&self) {
        self.lock().is_closed = true;
    }

    fn decide(&self) -> Verdict {
        if self.lock().is_closed {
            return Verdict::Refuse { retry_after: WHILE_STOPPING, reason: Reason::Stopping };
        }
        let (verdict, change) = self.lock().admission.admit(Instant::now());
        log(change);
        verdict
    }

    /// How things stand.
    pub fn report(&self) -> LoadReport {
        let inside = self.lock();
        LoadReport {
            standing: inside.admission.standing(),
            latest: inside.latest.clone(),
            engine: inside.engine,
        }
    }

    /// Measures for ever.
    pub async fn watch(self, engine: Engine, store: Store, calls: Calls) {
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let allowed = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let mut before = (engine.load(), process_time());
        ticks.tick().await;
        loop {
            let due = ticks.tick().await;
            let now = (engine.load(), process_time());
            let (sample, window) =
                LoadSample::taken(&before, &now, &calls, &store, due.elapsed(), allowed);
            before = now;
            let mut inside = self.lock();
            let change = inside.admission.sample(Instant::now(), &sample);
            inside.latest = Some((sample, window));
            inside.engine = Some(engine.stats());
            drop(inside);
            log(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // Whole after any panic: numbers only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes every call.
impl Default for Door {
    fn default() -> Self {
        Self::new(AdmissionLimits::default())
    }
}

impl LoadSample {
    fn taken(
        before: &(EngineLoad, Duration),
        now: &(EngineLoad, Duration),
        calls: &Calls,
        store: &Store,
        task_lag: Duration,
        processors_at_start: NonZeroUsize,
    ) -> (Self, EngineWindow) {
        let window = now.0.since(&before.0);
        let used = now.1.saturating_sub(before.1).as_secs_f64();
        let sample = Self {
            span: window.span,
            calls: calls.count(),
            threads: window.threads.len(),
            playing: window.sent_per_second() / PACKETS,
            engine: window.cpu(),
            busiest: window.busiest(),
            process: used / window.span.as_secs_f64().max(1e-3),
            processors: processors(processors_at_start),
            lateness: window.lateness.quantile(0.99),
            command_age: window.command_age.max(),
            task_lag,
            fetch_wait: calls.prompts().longest_wait(),
            store_age: store.take_longest_wait(),
        };
        (sample, window)
    }
}

/// Processor time that the process has used.
fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Processors that the process may run on now (`taskset`, cpusets), and no more than `at_start`,
/// which knows of a container's quota, too.
fn processors(at_start: NonZeroUsize) -> f64 {
    let now = rustix::thread::sched_getaffinity(None).map_or(u32::MAX, |set| set.count().max(1));
    f64::from(now).min(at_start.get() as f64)
}

fn log(change: Option<Change>) {
    match change {
        Some(Change::Refuses(reason)) => {
            warn!(reason = reason.name(), "new calls are refused: {reason}");
        }
        Some(Change::Opens { refused }) => info!(refused, "new calls are taken again"),
        None => {}
    }
}
