//! Replays: what was given up or delivered is sent again.

use super::*;

/// A bot that answers what it is told to.
async fn bot(status: &Arc<AtomicU64>) -> Bot {
    let status = Arc::clone(status);
    Bot::start(move |_, _| {
        Reply::Status(u16::try_from(status.load(Ordering::SeqCst)).expect("a status"))
    })
    .await
}

fn failed() -> DeliveryFilter {
    DeliveryFilter { state: Some(NotificationState::GivenUp), ..DeliveryFilter::default() }
}

#[tokio::test]
async fn what_was_given_up_is_sent_again_with_its_id_and_bytes_in_the_order_of_its_call() {
    let (_directory, store) = open();
    let status = Arc::new(AtomicU64::new(410));
    let bot = bot(&status).await;
    let outbox = Outbox::start(store.clone(), deliverer(), quick()).await.unwrap();
    for n in 1..=6 {
        owe(&store, &outbox, n, u128::from(n % 2), &bot.origin).await;
    }
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    let first = bot.requests();
    assert_eq!(store.counts().await.unwrap().given_up, 6);

    status.store(200, Ordering::SeqCst);
    let of_call = DeliveryFilter { call_id: Some(call_id(1)), ..failed() };
    assert_eq!(outbox.replay(of_call.clone()).await.unwrap(), 3);
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    let again = bot.requests().split_off(first.len());
    let said = |requests: &[crate::outbox::bot::Request]| -> Vec<(String, Vec<u8>)> {
        requests
            .iter()
            .map(|request| (request.header("webhook-id").unwrap().into(), request.body.clone()))
            .collect()
    };
    let odd = first.iter().filter(|request| request.body[5] % 2 == 1).cloned();
    assert_eq!(said(&again), said(&odd.collect::<Vec<_>>()));
    assert_eq!(outbox.replay(of_call).await.unwrap(), 0, "they are delivered now");

    let rest = outbox.replay(failed()).await.unwrap();
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    let counts = store.counts().await.unwrap();
    assert_eq!((rest, counts.delivered, counts.given_up), (3, 6, 0));
    let record = store.notification(Sequence(1)).await.unwrap().unwrap();
    assert_eq!(record.attempts, 2, "the log tells of both");
    assert_eq!(record.last_error.as_deref(), Some("HTTP 410 Gone"));
    outbox.shut_down(DEADLINE).await;
    assert_eq!(outbox.counters().pending(), 0);
}

#[tokio::test]
async fn a_replay_of_many_pages_sends_each_of_them_once_more() {
    let (_directory, store) = open();
    let times: Arc<Mutex<BTreeMap<Sequence, u32>>> = Arc::default();
    let outbox = fake(&store, quick(), {
        let times = Arc::clone(&times);
        move |record| {
            *times.lock().unwrap().entry(record.sequence).or_default() += 1;
            Box::pin(async { done(AttemptOutcome::Delivered) })
        }
    })
    .await;
    let many = u64::from(REPLAY_CHUNK) * 2 + 50;
    for n in 0..many {
        owe(&store, &outbox, n, u128::from(n % 7), "http://bot.example/").await;
    }
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    let state = Some(NotificationState::Delivered);
    let delivered = DeliveryFilter { state, limit: 3, ..DeliveryFilter::default() };
    assert_eq!(outbox.replay(delivered).await.unwrap(), many);
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    outbox.shut_down(DEADLINE).await;
    let times = times.lock().unwrap();
    assert_eq!(times.len() as u64, many);
    assert!(times.values().all(|times| *times == 2), "{times:?}");
}

#[tokio::test]
async fn a_replay_lets_a_call_go_that_waits_for_a_later_attempt() {
    let (_directory, store) = open();
    let status = Arc::new(AtomicU64::new(410));
    let bot = bot(&status).await;
    let schedule =
        Schedule { attempts_at: vec![Duration::ZERO, 100 * DEADLINE], ..Schedule::default() };
    let settings = Settings { schedule, ..Settings::default() };
    let outbox = Outbox::start(store.clone(), deliverer(), settings).await.unwrap();
    owe(&store, &outbox, 1, 1, &bot.origin).await;
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    status.store(503, Ordering::SeqCst);
    owe(&store, &outbox, 2, 1, &bot.origin).await;
    bot.received(2).await;
    // Its failure is recorded, so that it waits.
    let waits =
        async { while store.notification(Sequence(2)).await.unwrap().unwrap().attempts == 0 {} };
    timeout(DEADLINE, waits).await.unwrap();
    status.store(200, Ordering::SeqCst);
    assert_eq!(outbox.replay(failed()).await.unwrap(), 1);
    timeout(DEADLINE, until_pending(&store, 0)).await.unwrap();
    let bodies: Vec<_> = bot.requests().split_off(2).into_iter().map(|one| one.body).collect();
    assert_eq!(bodies, [br#"{"n":1}"#, br#"{"n":2}"#]);
    outbox.shut_down(DEADLINE).await;
}
