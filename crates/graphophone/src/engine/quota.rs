//! The fuse of `[dial]`: how many outgoing calls one application may have at a time and begin in a
//! minute, whatever its rules allow. A stolen token is worth no more than that.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use graphophone_call::AppId;

const MINUTE: Duration = Duration::from_secs(60);

/// Limits of each application; 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct DialLimits {
    /// Most outgoing calls at a time.
    pub concurrent: usize,
    /// Most outgoing calls begun in any 60 s.
    pub per_minute: usize,
}

/// Why a call is not begun. Nothing was dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// It has as many as it may.
    #[error("The application is at its limit of {0} calls (dial.per_app_concurrent)")]
    BotConcurrent(usize),
    /// It has begun as many as it may.
    #[error(
        "The application is at its limit of {limit} new calls a minute (dial.per_app_per_minute)"
    )]
    BotPerMinute {
        /// The limit.
        limit: usize,
        /// When the next one may begin.
        retry_after: Duration,
    },
}

impl QuotaError {
    /// When it may be tried again, in whole seconds.
    pub fn retry_after(self) -> u64 {
        match self {
            Self::BotConcurrent(_) => 2,
            Self::BotPerMinute { retry_after, .. } => {
                retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)
            }
        }
    }
}

/// What applications have used. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Quota(Arc<Mutex<Counts>>);

/// Leave for one call; used up until it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    app: AppId,
    quota: Quota,
}

#[derive(Debug, Default)]
struct Counts {
    limits: DialLimits,
    apps: HashMap<AppId, Usage>,
}

#[derive(Debug, Default)]
struct Usage {
    live: usize,
    /// When the calls of the last minute began; no more than are allowed.
    begun: VecDeque<Instant>,
    /// That it is at a limit was said.
    is_told: bool,
}

impl Quota {
    pub(super) fn new(limits: DialLimits) -> Self {
        Self(Arc::new(Mutex::new(Counts { limits, apps: HashMap::new() })))
    }

    /// Decides about one new call of an application.
    pub(super) fn take(&self, now: Instant, app: AppId) -> Result<Permit, QuotaError> {
        self.lock().begin(now, app)?;
        Ok(Permit { app, quota: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // Whole after any panic: numbers only.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn begin(&mut self, now: Instant, app: AppId) -> Result<(), QuotaError> {
        let limits = self.limits;
        let usage = self.apps.entry(app).or_default();
        let verdict = usage.judge(now, limits);
        if let Err(error) = verdict {
            if !std::mem::replace(&mut usage.is_told, true) {
                tracing::warn!(%app, "calls are refused: {error}");
            }
            return Err(error);
        }
        usage.is_told = false;
        usage.live += 1;
        if limits.per_minute > 0 {
            usage.begun.push_back(now);
        }
        Ok(())
    }

    fn end(&mut self, app: AppId) {
        if let Some(usage) = self.apps.get_mut(&app) {
            usage.live = usage.live.saturating_sub(1);
            if usage.live == 0 && usage.begun.is_empty() {
                self.apps.remove(&app);
            }
        }
    }
}

impl Usage {
    fn judge(&mut self, now: Instant, limits: DialLimits) -> Result<(), QuotaError> {
        while self.begun.pop_front_if(|at| now.saturating_duration_since(*at) >= MINUTE).is_some() {
        }
        let DialLimits { concurrent, per_minute: limit } = limits;
        if concurrent > 0 && self.live >= concurrent {
            return Err(QuotaError::BotConcurrent(concurrent));
        }
        match self.begun.front() {
            Some(oldest) if self.begun.len() >= limit => {
                let retry_after = (*oldest + MINUTE).saturating_duration_since(now);
                Err(QuotaError::BotPerMinute { limit, retry_after })
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.quota.lock().end(self.app);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn app(number: u128) -> AppId {
        AppId::new(Uuid::from_u128(number))
    }

    #[test]
    fn an_application_has_so_many_calls_at_a_time_and_others_have_their_own() {
        let (now, quota) =
            (Instant::now(), Quota::new(DialLimits { concurrent: 2, per_minute: 0 }));
        let first = quota.take(now, app(1)).unwrap();
        let _second = quota.take(now, app(1)).unwrap();
        assert_eq!(quota.take(now, app(1)).unwrap_err(), QuotaError::BotConcurrent(2));
        let _other = quota.take(now, app(2)).unwrap();
        drop(first);
        let _third = quota.take(now, app(1)).unwrap();
    }

    #[test]
    fn a_minute_begins_so_many_calls_wherever_it_is_laid() {
        let (begun, quota) =
            (Instant::now(), Quota::new(DialLimits { concurrent: 0, per_minute: 3 }));
        let mut taken = Vec::new();
        for tenth in 0..3_000 {
            let now = begun + Duration::from_millis(100) * tenth;
            match quota.take(now, app(1)) {
                Ok(_ended_at_once) => taken.push(now),
                Err(error) => {
                    let wait = Duration::from_secs(error.retry_after());
                    assert!(wait > Duration::ZERO && wait <= MINUTE, "{wait:?}");
                }
            }
        }
        assert!(taken.windows(4).all(|four| four[3] - four[0] >= MINUTE));
        assert_eq!(taken.len(), 15);
    }

    #[test]
    fn without_limits_nothing_is_kept_of_calls_that_are_over() {
        let (now, quota) = (Instant::now(), Quota::default());
        for number in 0..10_000 {
            drop(quota.take(now, app(number)).unwrap());
        }
        assert!(quota.lock().apps.is_empty());
    }
}
