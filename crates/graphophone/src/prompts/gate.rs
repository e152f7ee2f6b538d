//! Admission to fetching: so many at once, per host, per application and in all; the rest waits.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::Owner;

/// How many fetches run and wait.
#[derive(Clone, Debug)]
pub struct GateLimits {
    /// Running fetches in all. Default 64.
    pub total: usize,
    /// Running fetches per origin, so that a slow host does not hold up the others. Default 8.
    pub per_host: usize,
    /// Running fetches per application. Default 32.
    pub per_app: usize,
    /// Waiting fetches; one more is refused. Default 1024.
    pub waiting: usize,
    /// Waiting fetches per application, so that none fills the queue alone. Default 256.
    pub waiting_per_app: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        Self { total: 64, per_host: 8, per_app: 32, waiting: 1_024, waiting_per_app: 256 }
    }
}

/// Hands out passes. Of those who wait and may go, the application with the fewest running fetches
/// is next, then the longest wait.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: GateLimits,
    state: Mutex<State>,
}

/// The right to run one fetch, until dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    claim: Claim,
}

/// The queue is full, or the application's share of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Clone, Debug)]
struct Claim {
    app: Owner,
    host: String,
}

#[derive(Debug, Default)]
struct State {
    running: usize,
    per_app: HashMap<Owner, usize>,
    per_host: HashMap<String, usize>,
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    claim: Claim,
    turn: oneshot::Sender<Pass>,
    since: Instant,
}

impl Gate {
    pub(crate) fn new(limits: GateLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    /// Waits for a pass; dropping the future gives the place in the queue up.
    pub(crate) async fn enter(self: &Arc<Self>, app: Owner, host: String) -> Result<Pass, Full> {
        let turn = {
            let mut state = self.lock();
            let claim = Claim { app, host };
            if self.limits.admit(&state, &claim) {
                return Ok(self.pass(&mut state, claim));
            }
            state.waiting.retain(|other| !other.turn.is_closed());
            let theirs = state.waiting.iter().filter(|it| it.claim.app == claim.app).count();
            if state.waiting.len() >= self.limits.waiting || theirs >= self.limits.waiting_per_app {
                return Err(Full);
            }
            let (sender, receiver) = oneshot::channel();
            let since = Instant::now();
            state.waiting.push_back(Waiting { claim, turn: sender, since });
            receiver
        };
        turn.await.map_err(|_| Full)
    }

    /// How long the oldest fetch has waited that nothing but the limit of all holds up: who waits
    /// for a slow host of its own is no burden to the others.
    pub(crate) fn longest_wait(&self) -> Duration {
        let state = self.lock();
        if state.running < self.limits.total {
            return Duration::ZERO;
        }
        let mut burdened = state
            .waiting
            .iter()
            .filter(|it| !it.turn.is_closed() && self.limits.has_share(&state, &it.claim));
        burdened.next().map_or(Duration::ZERO, |it| it.since.elapsed())
    }

    fn pass(self: &Arc<Self>, state: &mut State, claim: Claim) -> Pass {
        state.running += 1;
        *state.per_app.entry(claim.app).or_default() += 1;
        *state.per_host.entry(claim.host.clone()).or_default() += 1;
        Pass { gate: Arc::clone(self), claim }
    }

    fn leave(self: &Arc<Self>, claim: &Claim) {
        let mut state = self.lock();
        state.running -= 1;
        decrement(&mut state.per_app, claim.app);
        decrement(&mut state.per_host, claim.host.clone());
        state.waiting.retain(|it| !it.turn.is_closed());
        let mut turns = Vec::new();
        while let Some(next) = self.limits.next(&state)
            && let Some(Waiting { claim, turn, .. }) = state.waiting.remove(next)
        {
            turns.push((self.pass(&mut state, claim), turn));
        }
        drop(state);
        for (pass, turn) in turns {
            // Whoever gave up meanwhile gets the pass dropped, which lets the next one in.
            let _ = turn.send(pass);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while the gate is locked")
    }
}

impl GateLimits {
    fn admit(&self, state: &State, claim: &Claim) -> bool {
        state.running < self.total && self.has_share(state, claim)
    }

    fn has_share(&self, state: &State, claim: &Claim) -> bool {
        state.per_app.get(&claim.app).is_none_or(|running| *running < self.per_app)
            && state.per_host.get(&claim.host).is_none_or(|running| *running < self.per_host)
    }

    fn next(&self, state: &State) -> Option<usize> {
        let admissible =
            state.waiting.iter().enumerate().filter(|(_, it)| self.admit(state, &it.claim));
        admissible
            .min_by_key(|(_, it)| state.per_app.get(&it.claim.app).copied().unwrap_or(0))
            .map(|(index, _)| index)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let gate = Arc::clone(&self.gate);
        gate.leave(&self.claim);
    }
}

fn decrement<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K) {
    if let Entry::Occupied(mut count) = counts.entry(key) {
        *count.get_mut() -= 1;
        if *count.get() == 0 {
            count.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::BoxFuture};
    use graphophone_call::{AppId, TenantId};
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_busy_host_holds_up_itself_only() {
        let gate = gate(10, 2, 10, 10);
        let held = [go(&gate, 1, "slow"), go(&gate, 1, "slow")].map(Option::unwrap);
        let mut third = wait(&gate, 1, "slow");
        assert!(third.as_mut().now_or_never().is_none());
        assert!(gate.longest_wait().is_zero(), "and burdens nobody");
        assert!(go(&gate, 1, "fast").is_some());
        drop(held);
        assert!(third.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn the_application_with_the_fewest_running_fetches_is_next() {
        let gate = gate(3, 10, 10, 10);
        let greedy = [go(&gate, 1, "a"), go(&gate, 1, "b"), go(&gate, 1, "c")].map(Option::unwrap);
        let mut first = wait(&gate, 1, "d");
        let mut second = wait(&gate, 2, "d");
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        assert!(!gate.longest_wait().is_zero(), "there is no place for anybody");
        let [one, _two, _three] = greedy;
        drop(one);
        let _modest = second.now_or_never().unwrap().unwrap();
        assert!(first.as_mut().now_or_never().is_none());
    }

    #[test]
    fn one_application_cannot_take_every_place() {
        let gate = gate(10, 10, 2, 10);
        let _held = [go(&gate, 1, "a"), go(&gate, 1, "b")].map(Option::unwrap);
        assert!(go(&gate, 1, "c").is_none());
        assert!(go(&gate, 2, "c").is_some());
    }

    #[test]
    fn a_full_queue_refuses_and_those_who_gave_up_do_not_count() {
        let gate = gate(1, 1, 1, 1);
        let held = go(&gate, 1, "a").unwrap();
        let mut waits = wait(&gate, 1, "a");
        assert!(waits.as_mut().now_or_never().is_none());
        assert!(matches!(wait(&gate, 1, "a").now_or_never(), Some(Err(Full))));
        drop(waits);
        let mut waits = wait(&gate, 1, "a");
        assert!(waits.as_mut().now_or_never().is_none());
        drop(held);
        drop(waits.now_or_never().unwrap().unwrap());
        let state = gate.lock();
        assert_eq!((state.running, state.per_app.len(), state.per_host.len()), (0, 0, 0));
    }

    #[test]
    fn one_application_cannot_fill_the_queue() {
        let limits =
            GateLimits { total: 1, per_host: 1, per_app: 1, waiting: 10, waiting_per_app: 2 };
        let gate = Gate::new(limits);
        let _held = go(&gate, 1, "a").unwrap();
        let mut greedy = [wait(&gate, 1, "a"), wait(&gate, 1, "b")];
        assert!(greedy.iter_mut().all(|wait| wait.now_or_never().is_none()));
        assert!(matches!(wait(&gate, 1, "c").now_or_never(), Some(Err(Full))));
        assert!(wait(&gate, 2, "a").now_or_never().is_none(), "another one's may wait");
    }

    fn gate(total: usize, per_host: usize, per_app: usize, waiting: usize) -> Arc<Gate> {
        Gate::new(GateLimits { total, per_host, per_app, waiting, waiting_per_app: waiting })
    }

    fn go(gate: &Arc<Gate>, app: u128, host: &str) -> Option<Pass> {
        wait(gate, app, host).now_or_never()?.ok()
    }

    fn wait(gate: &Arc<Gate>, app: u128, host: &str) -> BoxFuture<'static, Result<Pass, Full>> {
        let gate = Arc::clone(gate);
        let app = (TenantId::new(Uuid::nil()), AppId::new(Uuid::from_u128(app)));
        let host = host.to_owned();
        async move { gate.enter(app, host).await }.boxed()
    }
}
