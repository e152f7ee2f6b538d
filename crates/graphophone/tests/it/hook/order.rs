//! Many notifications under failures: none overtakes another of its call, none is lost, and those
//! to endpoints that are well do not wait for those that are not.

use std::{collections::HashMap, sync::Mutex, time::Instant};

use graphophone_testkit::soon;

use super::{
    endpoint::{Does, Endpoint, OK},
    *,
};

const CALLS: u64 = 200;
const ENDPOINTS: u64 = 4;

/// What the bots have seen of each call.
#[derive(Default)]
struct Told {
    /// The number that has not been answered with 200 yet.
    next: HashMap<u64, u64>,
    requests: u64,
    inversions: u64,
    again: u64,
    failed: [u64; 3],
}

impl Told {
    /// 10 % of the requests get 500, 5 % no answer, 5 % a reset.
    fn take(&mut self, body: &[u8]) -> Does {
        let text = std::str::from_utf8(body).unwrap();
        let Some((call, number)) = text.split_once(' ') else { return Does::Close };
        let (call, number): (u64, u64) = (call.parse().unwrap(), number.parse().unwrap());
        self.requests += 1;
        let next = self.next.entry(call).or_default();
        self.inversions += u64::from(number > *next);
        self.again += u64::from(number < *next);
        let chance: f64 = rand::random();
        if chance < 0.10 {
            self.failed[0] += 1;
            return Does::Answer("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n".into());
        }
        if chance < 0.15 {
            self.failed[1] += 1;
            return Does::Stall("");
        }
        if chance < 0.20 {
            self.failed[2] += 1;
            return Does::Reset("");
        }
        *next = (*next).max(number + 1);
        Does::Answer(OK.into())
    }
}

/// P3. `GRAPHOPHONE_TEST_NOTIFICATIONS=1000000 cargo test --release -p graphophone --test it
/// hook::order -- --nocapture` is the long form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_failures_and_restarts_no_notification_overtakes_another_of_its_call() {
    let wanted = std::env::var("GRAPHOPHONE_TEST_NOTIFICATIONS").ok();
    let wanted: u64 = wanted.map_or(20_000, |text| text.parse().expect("a number"));
    let _alone = ALONE.lock().await;
    let each = wanted.div_ceil(CALLS);
    let total = each * CALLS;
    let told: Arc<Mutex<Told>> = Arc::default();
    let mut endpoints = Vec::new();
    for _ in 0..ENDPOINTS {
        let told = Arc::clone(&told);
        endpoints.push(Endpoint::start(move |body, _| told.lock().unwrap().take(body)).await);
    }
    let url = |call: u64| endpoints[(call % ENDPOINTS) as usize].origin.clone();
    let directory = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    // A tenth is owed since before the start; the rest comes while it is delivered. Twice the process
    // ends amid it.
    let parts = [0, each.div_ceil(10), each.div_ceil(3), each.div_ceil(3) * 2, each];
    let (every, timeout) = (Duration::from_millis(20), Duration::from_millis(400));
    let mut store = Store::open(directory.path()).unwrap();
    for number in parts[0]..parts[1] {
        let notifications = (0..CALLS).map(|call| notification(call, number, &url(call))).collect();
        store.commit(Commit { notifications, ..Commit::default() }).await.unwrap();
    }
    for part in 1..parts.len() - 1 {
        let outbox = Outbox::start(store.clone(), deliverer(timeout, vec![]), settings(every))
            .await
            .unwrap();
        let calls: Vec<_> = (0..CALLS)
            .map(|call| {
                let (store, outbox, url) = (store.clone(), outbox.clone(), url(call));
                let numbers = parts[part]..parts[part + 1];
                tokio::spawn(async move {
                    for number in numbers {
                        owe(&store, &outbox, vec![notification(call, number, &url)]).await;
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        if part == parts.len() - 2 {
            until_settled(&store, begin, total).await;
        }
        outbox.shut_down(Duration::ZERO).await;
        store.close().await;
        store = Store::open(directory.path()).unwrap();
    }
    let counts = store.counts().await.unwrap();
    let told = told.lock().unwrap();
    println!(
        "{total} notifications of {CALLS} calls in {:?}: {} requests, {} answered 500, {} not, {} \
         reset; {} inversions, {} delivered again",
        begin.elapsed(),
        told.requests,
        told.failed[0],
        told.failed[1],
        told.failed[2],
        told.inversions,
        told.again,
    );
    assert_eq!(told.inversions, 0);
    assert!(told.next.values().all(|next| *next == each) && told.next.len() as u64 == CALLS);
    assert_eq!((counts.created, counts.delivered, counts.pending), (total, total, 0));
    assert!(told.failed.iter().all(|failed| *failed > 0), "{:?}", told.failed);
}

async fn until_settled(store: &Store, begin: Instant, total: u64) {
    // Ten times what it takes on a busy machine.
    let patience = Duration::from_secs(60) + Duration::from_millis(total * 10);
    loop {
        let counts = store.counts().await.unwrap();
        assert_eq!(counts.created, counts.delivered + counts.pending + counts.given_up);
        if counts.pending == 0 {
            return;
        }
        assert!(begin.elapsed() < patience, "{counts:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// P3: p99 delay of endpoints that are well is below a second while half of all hang, with the
/// time-outs and limits of the product.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_are_well_are_told_within_a_second_while_half_of_all_hang() {
    let _alone = ALONE.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let deliverer = deliverer(DeliverSettings::default().total_timeout, vec![]);
    let outbox = Outbox::start(store.clone(), deliverer, Settings::default()).await.unwrap();
    let (mut hanging, mut healthy) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        hanging.push(Endpoint::start(|_, _| Does::Stall("")).await);
        healthy.push(Endpoint::start(|_, _| Does::Answer(OK.into())).await);
    }
    // Each of them has more calls than it may have attempts.
    for call in 0..40 * 80 {
        let url = &hanging[usize::try_from(call).unwrap() % hanging.len()].origin;
        owe(&store, &outbox, vec![notification(call, 0, url)]).await;
    }
    for endpoint in &hanging {
        soon("it hangs", endpoint.received(1)).await;
    }
    // Another program on this machine may take it for a while: the best of three.
    let mut best = Duration::MAX;
    for round in 1..=3 {
        let delays = tell(&store, &outbox, &healthy, round).await;
        let part = |part: f64| delays[((delays.len() - 1) as f64 * part) as usize];
        let (p50, p99, worst) = (part(0.5), part(0.99), part(1.0));
        println!(
            "delay while half of 80 endpoints hang: p50 {p50:?}, p99 {p99:?}, worst {worst:?}"
        );
        best = best.min(p99);
        if best < Duration::from_secs(1) {
            break;
        }
    }
    assert!(best < Duration::from_secs(1), "p99 {best:?}");
    assert!(hanging.iter().all(|endpoint| endpoint.taken().is_empty()), "they hang to the end");
    outbox.shut_down(Duration::ZERO).await;
}

/// Tells endpoints that are well; how long each notification took, from when it was owed, ascending.
async fn tell(store: &Store, outbox: &Outbox, healthy: &[Endpoint], round: u64) -> Vec<Duration> {
    const EACH: u64 = 30;
    const TELL: u64 = 2_000;
    let mut owed_at = HashMap::new();
    for n in 0..TELL {
        let call = 100_000 * round + n / EACH;
        let endpoint = &healthy[usize::try_from(call).unwrap() % healthy.len()];
        let told = notification(call, n % EACH, &endpoint.origin);
        let id = told.id.0.to_string();
        owe(store, outbox, vec![told]).await;
        owed_at.insert(id, Instant::now());
    }
    let all = async {
        while healthy.iter().map(|endpoint| endpoint.got().len() as u64).sum::<u64>() < TELL * round
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("all are told", all).await;
    let mut delays: Vec<Duration> = healthy
        .iter()
        .flat_map(Endpoint::got)
        .filter_map(|got| Some(got.at.saturating_duration_since(*owed_at.get(&got.id)?)))
        .collect();
    assert_eq!(delays.len() as u64, TELL, "each is told once");
    delays.sort_unstable();
    delays
}
