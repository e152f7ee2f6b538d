//! When a request passes the server's stages: its trace events, with the time of each.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer, filter::Targets, layer::Context, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Times since the request, by stage.
pub(crate) type Passed = BTreeMap<&'static str, Vec<Duration>>;

/// The stages passed since they were last forgotten.
#[derive(Clone, Default)]
pub(crate) struct Stages(Arc<Mutex<Vec<(&'static str, Instant)>>>);

impl Stages {
    /// Listens from now on.
    pub(crate) fn install() -> Self {
        let stages = Self::default();
        let only = Targets::new().with_target("graphophone::stage", tracing::Level::TRACE);
        tracing_subscriber::registry().with(stages.clone().with_filter(only)).init();
        stages
    }

    pub(crate) fn forget(&self) {
        self.lock().clear();
    }

    /// Adds the first passing of each stage.
    pub(crate) fn add_to(&self, passed: &mut Passed, since: Instant) {
        let mut first = BTreeMap::new();
        for (stage, at) in self.lock().iter() {
            first.entry(*stage).or_insert(*at);
        }
        for (stage, at) in first {
            passed.entry(stage).or_default().push(at.saturating_duration_since(since));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(&'static str, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Stages {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let at = Instant::now();
        self.lock().push((event.metadata().name(), at));
    }
}
