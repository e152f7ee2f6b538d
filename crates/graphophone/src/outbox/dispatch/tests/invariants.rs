//! I5: created = delivered + given up + pending, at every moment of any course of events.

use graphophone_store::{Counts, Cutoff};
use proptest::prelude::*;

use super::*;

const CALLS: u8 = 5;

#[derive(Clone, Debug)]
enum Event {
    /// A call comes to owe some at once.
    Owe { call: u8, notifications: u8 },
    /// Time for attempts to be made; how they end is chance.
    Pass(u16),
    /// Somebody asks for what was given up, or delivered; of one call or of all.
    Replay { delivered: bool, call: Option<u8> },
    /// What is settled is forgotten.
    Prune,
    /// The process ends and another one goes on; with what is under way, or without.
    Restart { in_order: bool },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..CALLS, 1..6_u8).prop_map(|(call, notifications)| Event::Owe { call, notifications }),
        4 => (0..20_000_u16).prop_map(Event::Pass),
        2 => (any::<bool>(), prop::option::of(0..CALLS))
            .prop_map(|(delivered, call)| Event::Replay { delivered, call }),
        1 => Just(Event::Prune),
        1 => any::<bool>().prop_map(|in_order| Event::Restart { in_order }),
    ]
}

/// How the attempts of a course end: a number out of the seed, the notification and the attempt.
fn outcome(seed: u64, record: &NotificationRecord) -> AttemptOutcome {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hash = DefaultHasher::new();
    (seed, record.sequence, record.attempts).hash(&mut hash);
    match hash.finish() % 20 {
        0..=9 => AttemptOutcome::Delivered,
        10..=12 => AttemptOutcome::BotFailed,
        13..=14 => AttemptOutcome::TimedOut,
        15 => AttemptOutcome::Unreachable,
        16 => AttemptOutcome::Rejected,
        17..=18 => AttemptOutcome::Gone,
        _ => AttemptOutcome::BadUrl,
    }
}

struct World {
    directory: TempDir,
    store: Store,
    outbox: Outbox,
    seed: u64,
    created: u64,
    checking: JoinHandle<()>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let (directory, store) = open();
        let outbox = Self::outbox(&store, seed).await;
        let checking = Self::check(&store);
        Self { directory, store, outbox, seed, created: 0, checking }
    }

    async fn outbox(store: &Store, seed: u64) -> Outbox {
        let schedule = Schedule {
            attempts_at: [0, 1, 2, 5].map(Duration::from_secs).to_vec(),
            give_up_after: Duration::from_secs(12),
            ..Schedule::default()
        };
        let limits = Limits { remembered_per_call: 2, cached_bytes: 64, ..Limits::default() };
        fake(store, Settings { schedule, limits, ..Settings::default() }, move |record| {
            Box::pin(async move {
                sleep(Duration::from_millis(record.sequence.0 % 50)).await;
                done(outcome(seed, &record))
            })
        })
        .await
    }

    /// Looks at the sums as often as it can while everything else goes on.
    fn check(store: &Store) -> JoinHandle<()> {
        let store = store.clone();
        tokio::spawn(async move {
            let mut before = 0;
            while let Ok(Counts { created, delivered, pending, given_up }) = store.counts().await {
                assert_eq!(created, delivered + pending + given_up);
                assert!(created >= before, "nothing vanishes from the sum");
                before = created;
                sleep(Duration::from_millis(7)).await;
            }
        })
    }

    async fn happens(mut self, event: &Event) -> Self {
        match *event {
            Event::Owe { call, notifications } => {
                let owed = (0..notifications).map(|n| {
                    let n = self.created + u64::from(n);
                    new_notification(n, u128::from(call), "http://bot.example/")
                });
                let notifications: Vec<_> = owed.collect();
                self.created += notifications.len() as u64;
                let commit = Commit { notifications, ..Commit::default() };
                self.outbox.enqueue(self.store.commit(commit).await.unwrap().notifications);
            }
            Event::Pass(millis) => sleep(Duration::from_millis(millis.into())).await,
            Event::Replay { delivered, call } => {
                let state = match delivered {
                    true => NotificationState::Delivered,
                    false => NotificationState::GivenUp,
                };
                let call_id = call.map(|call| call_id(call.into()));
                let filter =
                    DeliveryFilter { state: Some(state), call_id, ..DeliveryFilter::default() };
                self.outbox.replay(filter).await.unwrap();
            }
            Event::Prune => {
                let end = NOW.plus(i64::MAX);
                self.store
                    .prune(Cutoff { ended: end, given_up: end, requests: end })
                    .await
                    .unwrap();
            }
            Event::Restart { in_order } => {
                let patience = if in_order { Duration::from_secs(1) } else { Duration::ZERO };
                self.outbox.shut_down(patience).await;
                self.store.close().await;
                self.checking.await.unwrap();
                self.store = Store::open(self.directory.path()).unwrap();
                self.outbox = Self::outbox(&self.store, self.seed).await;
                self.checking = Self::check(&self.store);
            }
        }
        self
    }

    async fn ends(self) {
        until_pending(&self.store, 0).await;
        let counts = self.store.counts().await.unwrap();
        assert_eq!(counts.created, self.created);
        // The store's thread is not in the paused time: a deadline would pass before its answer comes.
        for _ in 0..10_000 {
            if self.outbox.counters().pending() == 0 {
                break;
            }
            self.store.counts().await.unwrap();
        }
        self.outbox.shut_down(Duration::from_secs(60)).await;
        assert_eq!(self.outbox.counters().pending(), 0, "in memory as in the store");
        self.store.close().await;
        self.checking.await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn created_is_always_delivered_and_pending_and_given_up(
        seed: u64,
        events in prop::collection::vec(event(), 1..25),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new(seed).await;
            for event in &events {
                world = world.happens(event).await;
            }
            world.ends().await;
        });
    }
}
