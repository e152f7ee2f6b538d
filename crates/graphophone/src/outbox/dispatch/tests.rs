//! The whole outbox with a real store: order, independence, restart, holds, stopping.

mod invariants;
mod replay;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use graphophone_store::{Commit, NotificationState};
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::outbox::{
    AttemptOutcome,
    bot::{Bot, NOW, Reply, call_id, new_notification},
    client::Trust,
    deliver::DeliverSettings,
};

const DEADLINE: Duration = Duration::from_secs(30);

fn open() -> (TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

/// Fast retries without jitter.
fn quick() -> Settings {
    Settings {
        schedule: Schedule {
            attempts_at: (0..50).map(|n| Duration::from_millis(5 * n)).collect(),
            jitter: 0.0,
            ..Schedule::default()
        },
        ..Settings::default()
    }
}

fn deliverer() -> Deliverer {
    // Longer than any test: what hangs stays hanging.
    let total_timeout = 2 * DEADLINE;
    let settings = DeliverSettings { total_timeout, ..DeliverSettings::default() };
    Deliverer::new(
        Arc::new(|_, _| Ok(())),
        Arc::new(|_, _| "token".into()),
        Arc::new(|| NOW),
        Trust::system_and(vec![]),
        settings,
    )
}

async fn fake(
    store: &Store,
    settings: Settings,
    post: impl Fn(Arc<NotificationRecord>) -> Pin<Box<dyn Future<Output = Attempt> + Send>>
    + Send
    + Sync
    + 'static,
) -> Outbox {
    let clock: WallClock = Arc::new({
        let start = Instant::now();
        move || NOW.plus(i64::try_from(start.elapsed().as_millis()).unwrap())
    });
    Outbox::start_with(store.clone(), Box::new(post), clock, settings).await.unwrap()
}

/// Commits and enqueues, as the owner of a call does.
async fn owe(store: &Store, outbox: &Outbox, n: u64, call: u128, url: &str) {
    let notifications = vec![new_notification(n, call, url)];
    let commit = Commit { notifications, ..Commit::default() };
    outbox.enqueue(store.commit(commit).await.unwrap().notifications);
}

/// Waits until the store owes `pending` notifications and checks its sums.
async fn until_pending(store: &Store, pending: u64) {
    loop {
        let counts = store.counts().await.unwrap();
        assert_eq!(counts.created, counts.delivered + counts.pending + counts.given_up);
        if counts.pending == pending {
            return;
        }
    }
}

fn done(outcome: AttemptOutcome) -> Attempt {
    Attempt::new(outcome, "told so")
}

#[tokio::test]
async fn every_call_gets_its_notifications_in_order_under_failures() {
    let (_directory, store) = open();
    let heard: Arc<Mutex<BTreeMap<CallId, Vec<Sequence>>>> = Arc::default();
    let settings = Settings {
        // Small enough that most of it goes by way of the store.
        limits: Limits { remembered_per_call: 3, cached_bytes: 100, ..Limits::default() },
        ..quick()
    };
    let outbox = fake(&store, settings, {
        let heard = Arc::clone(&heard);
        move |record| {
            let heard = Arc::clone(&heard);
            Box::pin(async move {
                let chance: f64 = rand::random();
                if chance < 0.1 {
                    return done(AttemptOutcome::BotFailed);
                }
                tokio::task::yield_now().await;
                // Heard, but the answer is lost: the bot will get it twice.
                heard.lock().unwrap().entry(record.call_id).or_default().push(record.sequence);
                if chance < 0.2 {
                    return done(AttemptOutcome::TimedOut);
                }
                done(AttemptOutcome::Delivered)
            })
        }
    })
    .await;
    for n in 0..400 {
        owe(&store, &outbox, n, u128::from(n % 8), "http://bot.example/").await;
    }
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    outbox.shut_down(DEADLINE).await;

    let heard = heard.lock().unwrap();
    let mut total = 0;
    for sequences in heard.values() {
        assert!(sequences.is_sorted(), "out of order: {sequences:?}");
        let mut distinct = sequences.clone();
        distinct.dedup();
        total += distinct.len();
    }
    assert_eq!(total, 400);
    assert_eq!(outbox.counters().delivered(), 400);
    assert_eq!(outbox.counters().pending(), 0);
    assert!(outbox.counters().attempts(AttemptOutcome::TimedOut) > 0);
}

#[tokio::test]
async fn a_hanging_endpoint_does_not_delay_other_calls() {
    let (_directory, store) = open();
    let hanging = Bot::start(|_, _| Reply::Hang).await;
    let healthy = Bot::start(|_, _| Reply::Status(202)).await;
    let outbox = Outbox::start(store.clone(), deliverer(), quick()).await.unwrap();
    for n in 0..40 {
        owe(&store, &outbox, n, u128::from(n), &hanging.origin).await;
    }
    hanging.received(1).await;
    let begin = std::time::Instant::now();
    for n in 40..60 {
        owe(&store, &outbox, n, u128::from(n), &healthy.origin).await;
    }
    healthy.received(20).await;
    assert!(begin.elapsed() < DEADLINE / 2, "{:?}", begin.elapsed());
    outbox.shut_down(Duration::ZERO).await;
}

#[tokio::test]
async fn a_slow_bot_gets_the_next_one_only_after_its_answer() {
    let (_directory, store) = open();
    let under_way = Arc::new(AtomicU64::new(0));
    let outbox = fake(&store, quick(), {
        let under_way = Arc::clone(&under_way);
        move |_| {
            let under_way = Arc::clone(&under_way);
            Box::pin(async move {
                assert_eq!(under_way.fetch_add(1, Ordering::SeqCst), 0, "two at a time");
                sleep(Duration::from_millis(3)).await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                done(AttemptOutcome::Delivered)
            })
        }
    })
    .await;
    for n in 0..20 {
        owe(&store, &outbox, n, 1, "http://bot.example/").await;
    }
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    assert_eq!(outbox.counters().attempts(AttemptOutcome::Delivered), 20);
}

#[tokio::test(start_paused = true)]
async fn a_bot_that_refuses_is_tried_at_the_promised_times_and_then_given_up() {
    let (_directory, store) = open();
    let times: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let schedule = Schedule { jitter: 0.0, ..Schedule::default() };
    let outbox = fake(&store, Settings { schedule, ..Settings::default() }, {
        let times = Arc::clone(&times);
        move |_| {
            times.lock().unwrap().push(Instant::now());
            Box::pin(async { done(AttemptOutcome::Rejected) })
        }
    })
    .await;
    owe(&store, &outbox, 1, 1, "http://bot.example/").await;
    until_pending(&store, 0).await;

    let times = times.lock().unwrap().clone();
    let seconds: Vec<_> = times.iter().map(|at| (*at - times[0]).as_secs()).collect();
    let promised =
        [0, 1, 2, 5, 10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 14_400, 28_800, 57_600, 86_400];
    assert_eq!(seconds, promised);
    let given_up = store
        .deliveries(DeliveryFilter {
            state: Some(NotificationState::GivenUp),
            ..DeliveryFilter::default()
        })
        .await
        .unwrap();
    assert_eq!(given_up.len(), 1);
    assert_eq!(given_up[0].attempts, 16);
    assert_eq!(given_up[0].last_error.as_deref(), Some("told so"));
}

#[tokio::test]
async fn a_gone_bot_is_not_tried_again_and_its_next_notification_is() {
    let (_directory, store) = open();
    let bot = Bot::start(|_, n| Reply::Status(if n == 0 { 410 } else { 200 })).await;
    let outbox = Outbox::start(store.clone(), deliverer(), quick()).await.unwrap();
    owe(&store, &outbox, 1, 1, &bot.origin).await;
    owe(&store, &outbox, 2, 1, &bot.origin).await;
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    outbox.shut_down(DEADLINE).await;
    assert_eq!(bot.requests().len(), 2);
    let first = store.notification(Sequence(1)).await.unwrap().unwrap();
    assert_eq!(first.state, NotificationState::GivenUp);
    assert_eq!(first.last_error.as_deref(), Some("HTTP 410 Gone"));
    assert_eq!((outbox.counters().given_up(), outbox.counters().delivered()), (1, 1));
}

#[tokio::test]
async fn notifications_wait_for_the_guard_of_their_call() {
    let (_directory, store) = open();
    let bot = Bot::start(|_, _| Reply::Status(200)).await;
    let settings = Settings { hold_at_most: DEADLINE, ..quick() };
    let outbox = Outbox::start(store.clone(), deliverer(), settings).await.unwrap();
    let guard = outbox.hold(call_id(1));
    owe(&store, &outbox, 1, 1, &bot.origin).await;
    owe(&store, &outbox, 2, 2, &bot.origin).await;
    timeout(DEADLINE, until_pending(&store, 1)).await.unwrap();
    assert_eq!(bot.requests().len(), 1, "only the call without a guard");
    drop(guard);
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    assert_eq!(bot.requests()[1].body, br#"{"n":1}"#);
}

#[tokio::test]
async fn a_restart_goes_on_with_the_same_ids_and_bytes() {
    let (directory, store) = open();
    let is_up = Arc::new(AtomicBool::new(false));
    let bot = Bot::start({
        let is_up = Arc::clone(&is_up);
        move |_, _| Reply::Status(if is_up.load(Ordering::SeqCst) { 200 } else { 503 })
    })
    .await;
    let outbox = Outbox::start(store.clone(), deliverer(), quick()).await.unwrap();
    for n in 1..=3 {
        owe(&store, &outbox, n, 1, &bot.origin).await;
    }
    bot.received(2).await;
    outbox.shut_down(Duration::ZERO).await;
    store.close().await;
    let before = bot.requests();
    is_up.store(true, Ordering::SeqCst);

    let store = Store::open(directory.path()).unwrap();
    let outbox = Outbox::start(store.clone(), deliverer(), quick()).await.unwrap();
    assert_eq!(outbox.counters().pending(), 3);
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    outbox.shut_down(DEADLINE).await;

    let requests = bot.requests();
    let ids = |range: &[crate::outbox::bot::Request]| -> Vec<(String, Vec<u8>)> {
        range
            .iter()
            .map(|request| (request.header("webhook-id").unwrap().into(), request.body.clone()))
            .collect()
    };
    let again = ids(&requests[before.len()..]);
    assert_eq!(again.len(), 3);
    for earlier in ids(&before) {
        assert_eq!(earlier, again[0]);
    }
    let bodies: Vec<_> = again.iter().map(|(_, body)| body.as_slice()).collect();
    assert_eq!(bodies, [br#"{"n":1}"#, br#"{"n":2}"#, br#"{"n":3}"#]);
}

#[tokio::test]
async fn a_restart_does_not_wait_for_the_next_attempt_of_the_process_before_it() {
    let (_directory, store) = open();
    let notifications = vec![new_notification(1, 1, "http://bot.example/")];
    store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    let hours = NOW.plus(8 * 3_600_000);
    store.attempt_failed(Sequence(1), "unreachable".into(), hours).await.unwrap();
    let outbox =
        fake(&store, quick(), |_| Box::pin(async { done(AttemptOutcome::Delivered) })).await;
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    outbox.shut_down(DEADLINE).await;
}

#[tokio::test]
async fn stopping_delivers_what_is_due_and_leaves_the_rest_owed() {
    let (directory, store) = open();
    let hanging = Bot::start(|_, _| Reply::Hang).await;
    let healthy = Bot::start(|_, _| Reply::Status(200)).await;
    let outbox = Outbox::start(store.clone(), deliverer(), quick()).await.unwrap();
    for n in 0..30 {
        owe(&store, &outbox, n, u128::from(n % 3), &healthy.origin).await;
    }
    owe(&store, &outbox, 30, 30, &hanging.origin).await;
    hanging.received(1).await;
    outbox.shut_down(Duration::from_secs(4)).await;
    assert_eq!(healthy.requests().len(), 30);
    store.close().await;
    let store = Store::open(directory.path()).unwrap();
    let owed = store.owed().await.unwrap();
    assert_eq!(owed.len(), 1);
    assert_eq!(owed[0].call_id, call_id(30));
}

#[tokio::test]
async fn stopping_with_nothing_to_do_is_immediate() {
    let (_directory, store) = open();
    let outbox = fake(&store, quick(), |_| Box::pin(std::future::pending())).await;
    timeout(DEADLINE, outbox.shut_down(2 * DEADLINE)).await.unwrap();
    timeout(DEADLINE, outbox.shut_down(2 * DEADLINE)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_attempt_does_not_silence_the_call() {
    let (_directory, store) = open();
    let tries = AtomicU64::new(0);
    let outbox = fake(&store, quick(), move |_| {
        let first = tries.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            assert!(!first, "the panic this test is about");
            done(AttemptOutcome::Delivered)
        })
    })
    .await;
    owe(&store, &outbox, 1, 1, "http://bot.example/").await;
    until_pending(&store, 0).await;
    assert_eq!(outbox.counters().attempts(AttemptOutcome::Delivered), 1);
}

#[tokio::test]
async fn a_useless_url_is_given_up_with_its_reason() {
    let (_directory, store) = open();
    let outbox = Outbox::start(store.clone(), deliverer(), quick()).await.unwrap();
    owe(&store, &outbox, 1, 1, "not a url").await;
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    let record = store.notification(Sequence(1)).await.unwrap().unwrap();
    assert_eq!(record.state, NotificationState::GivenUp);
    assert!(record.last_error.unwrap().contains("URL"));
}
