//! One endpoint for each behaviour, all at once.

use graphophone_store::NotificationState;
use graphophone_testkit::{seen, soon};

use super::{
    endpoint::{Does, Endpoint, OK},
    *,
};

/// Scaled from 15 s.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Of each call to a misbehaving endpoint.
const EACH: u64 = 3;

/// What is to become of the first notification to an endpoint.
enum Fate {
    /// Taken at the first attempt.
    Taken,
    /// Not taken for this reason, and tried again until the endpoint is well.
    Again(&'static str),
    /// The same, the next attempt not before this wait is over.
    After(Duration, &'static str),
    /// Given up for this reason, and so are those behind it.
    GivenUp(&'static str),
    /// Taken at some attempt without any healing.
    InTheEnd,
}

fn answer(text: &str) -> Does {
    Does::Answer(text.replace('|', "\r\n"))
}

fn status(line: &str) -> Does {
    answer(&format!("HTTP/1.1 {line}|Content-Length: 0||"))
}

fn asks_to_wait(value: &str) -> Does {
    answer(&format!("HTTP/1.1 429 Too Many Requests|Retry-After: {value}|Content-Length: 0||"))
}

fn redirect(status: u16, location: &str) -> Does {
    answer(&format!("HTTP/1.1 {status} X|Location: {location}|Content-Length: 0||"))
}

fn table() -> Vec<(&'static str, Does, Fate)> {
    use Fate::{After, Again, GivenUp, InTheEnd, Taken};
    let (second, timed_out) = (Duration::from_secs(1), "no answer within");
    let not_followed = "redirects are not followed";
    let in_an_hour =
        httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(3_600));
    vec![
        ("200", status("200 OK"), Taken),
        ("202", status("202 Accepted"), Taken),
        ("204", answer("HTTP/1.1 204 No Content||"), Taken),
        (
            "200 and 1 GiB",
            Does::Body("HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n", 1 << 30),
            Taken,
        ),
        (
            "200 and half a body",
            Does::Stall("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"),
            Taken,
        ),
        ("200 in time", Does::Later(TIMEOUT.mul_f64(0.8), OK), Taken),
        ("200 too late", Does::Later(TIMEOUT.mul_f64(1.1), OK), Again(timed_out)),
        ("never", Does::Stall(""), Again(timed_out)),
        ("half a head", Does::Stall("HTTP/1.1 200 OK\r\nContent-"), Again(timed_out)),
        ("byte by byte", Does::Drip(second / 10), Again(timed_out)),
        ("RST on accept", Does::ResetAtOnce, Again("")),
        ("RST after the request", Does::Reset(""), Again("")),
        ("RST amid the answer", Does::Reset("HTTP/1.1 20"), Again("")),
        ("FIN", Does::Close, Again("connection closed")),
        ("301", redirect(301, "/other"), Again(not_followed)),
        ("302", redirect(302, "http://127.0.0.1:9/"), Again(not_followed)),
        ("307", redirect(307, "https://bot.example/"), Again(not_followed)),
        ("308", redirect(308, "/"), Again(not_followed)),
        ("303", redirect(303, "/other"), Again("HTTP 303")),
        ("400", status("400 Bad Request"), Again("HTTP 400 Bad Request")),
        ("401", status("401 Unauthorized"), Again("HTTP 401")),
        ("404", status("404 Not Found"), Again("HTTP 404")),
        ("410", status("410 Gone"), GivenUp("HTTP 410 Gone")),
        ("413", status("413 Content Too Large"), Again("HTTP 413")),
        ("429 and 0", asks_to_wait("0"), Again("HTTP 429")),
        ("429 and 5 s", asks_to_wait("5"), After(second, "HTTP 429")),
        ("429 and a date", asks_to_wait(&in_an_hour), After(second, "HTTP 429")),
        ("429 and 1e9 s", asks_to_wait("1000000000"), After(second, "HTTP 429")),
        ("429 and garbage", asks_to_wait("soon"), Again("HTTP 429")),
        ("500", status("500 Internal Server Error"), Again("HTTP 500")),
        (
            "502 and a page",
            answer(
                "HTTP/1.1 502 Bad Gateway|Content-Type: text/html|Content-Length: 15||<h1>Oh no!</h1>",
            ),
            Again("HTTP 502"),
        ),
        ("503", status("503 Service Unavailable"), Again("HTTP 503")),
        ("HTTP/1.0", answer("HTTP/1.0 200 OK||"), Taken),
        (
            "1,000 times 100 Continue",
            answer(
                &("HTTP/1.1 100 Continue||".repeat(1_000) + "HTTP/1.1 200 OK|Content-Length: 0||"),
            ),
            Taken,
        ),
        (
            "100 Continue for ever",
            answer(&"HTTP/1.1 100 Continue||".repeat(1_000)),
            Again(timed_out),
        ),
        // SETTINGS, then GOAWAY with PROTOCOL_ERROR (RFC 9113).
        (
            "HTTP/2 GOAWAY",
            Does::Answer("\0\0\0\u{4}\0\0\0\0\0\0\0\u{8}\u{7}\0\0\0\0\0\0\0\0\0\0\0\0\u{1}".into()),
            Again("invalid HTTP"),
        ),
        ("no HTTP at all", Does::Answer("SSH-2.0-OpenSSH_9.9\r\n".into()), Again("invalid HTTP")),
        ("flaps", Does::Flap(second / 3), InTheEnd),
    ]
}

/// Each case has a call of its own at an endpoint of its own, and a neighbour that is well.
struct Case {
    name: &'static str,
    fate: Fate,
    endpoint: Endpoint,
    call: u64,
    sequences: Vec<Sequence>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_an_endpoint_does_is_in_the_log_and_keeps_nobody_else_waiting() {
    let _alone = ALONE.lock().await;
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    let every = Duration::from_millis(200);
    let outbox =
        Outbox::start(store.clone(), deliverer(TIMEOUT, vec![]), settings(every)).await.unwrap();
    let mut cases = Vec::new();
    for (call, (name, does, fate)) in (0..).zip(table()) {
        let endpoint = Endpoint::start(move |_, _| does.clone()).await;
        let url = format!("{}/calls", endpoint.origin);
        let owed = (0..EACH).map(|number| notification(call, number, &url)).collect();
        let sequences = owe(&store, &outbox, owed).await;
        cases.push(Case { name, fate, endpoint, call, sequences });
    }

    // All have begun to misbehave: another call is told at once.
    for case in &cases {
        soon(case.name, case.endpoint.received(1)).await;
    }
    let healthy = Endpoint::start(|_, _| Does::Answer(OK.into())).await;
    let begin = std::time::Instant::now();
    let neighbours: Vec<_> =
        (1_000..1_100).map(|call| notification(call, 0, &healthy.origin)).collect();
    owe(&store, &outbox, neighbours).await;
    soon("the neighbours are told", healthy.received(100)).await;
    let slowest = begin.elapsed();
    println!("100 neighbours of {} endpoints that misbehave are told in {slowest:?}", cases.len());
    assert!(slowest < TIMEOUT, "{slowest:?}");

    for case in &cases {
        check_log(&store, case).await;
    }
    for case in &cases {
        case.endpoint.heal();
    }
    let given_up = cases.iter().filter(|case| matches!(case.fate, Fate::GivenUp(_))).count() as u64;
    let total = cases.len() as u64 * EACH + 100;
    seen("everything is settled", || async {
        let counts = store.counts().await.unwrap();
        assert_eq!(counts.created, counts.delivered + counts.pending + counts.given_up);
        assert_eq!(counts.created, total);
        (counts.pending == 0).then_some(counts)
    })
    .await;
    let counts = store.counts().await.unwrap();
    assert_eq!((counts.delivered, counts.given_up), (total - given_up * EACH, given_up * EACH));
    for case in &cases {
        check_order(case);
    }
    outbox.shut_down(Duration::from_secs(5)).await;
}

/// What the delivery log says of the first notification while nothing is healed.
async fn check_log(store: &Store, case: &Case) {
    let Case { name, sequences, .. } = case;
    let first = |is_there: fn(&NotificationRecord) -> bool| {
        seen(name, move || async move { Some(logged(store, sequences[0]).await).filter(is_there) })
    };
    match &case.fate {
        Fate::Taken | Fate::InTheEnd => {
            let record = first(|record| record.state == NotificationState::Delivered).await;
            if matches!(case.fate, Fate::Taken) {
                assert_eq!((record.attempts, record.last_error), (1, None), "{name}");
            }
        }
        Fate::Again(cause) | Fate::After(_, cause) => {
            let record = first(|record| record.attempts >= 2).await;
            assert_eq!(record.state, NotificationState::Owed, "{name}");
            let error = record.last_error.expect("the reason is told");
            assert!(!error.is_empty() && error.contains(cause), "{name}: {error}");
            assert!(!error.contains("/calls"), "{name}: no URL in {error}");
            let behind = logged(store, sequences[1]).await;
            assert_eq!(behind.attempts, 0, "{name}: it waits for its turn");
        }
        Fate::GivenUp(cause) => {
            for sequence in sequences {
                let record = seen(name, || async {
                    Some(logged(store, *sequence).await)
                        .filter(|record| record.state == NotificationState::GivenUp)
                })
                .await;
                assert_eq!(record.attempts, 1, "{name}");
                assert!(record.last_error.unwrap().contains(cause), "{name}");
            }
        }
    }
    if let Fate::After(wait, _) = case.fate {
        let got = case.endpoint.got();
        let waited = got[1].at - got[0].at;
        assert!(waited >= wait, "{name}: {waited:?}");
    }
}

/// One after the other, each until it is settled, with one id and one body each.
fn check_order(case: &Case) {
    let Case { name, call, endpoint, .. } = case;
    // An attempt that was reset at once has told nothing.
    let got: Vec<_> = endpoint.got().into_iter().filter(|got| !got.id.is_empty()).collect();
    let number = |body: &[u8]| {
        let text = String::from_utf8(body.to_vec()).unwrap();
        let (of, number) = text.split_once(' ').unwrap();
        assert_eq!(of, call.to_string(), "{name}");
        number.parse::<u64>().unwrap()
    };
    let numbers: Vec<u64> = got.iter().map(|got| number(&got.body)).collect();
    assert!(numbers.is_sorted(), "{name}: {numbers:?}");
    for number in 0..EACH {
        assert!(numbers.contains(&number), "{name}: {number} never came");
    }
    for (got, number) in got.iter().zip(&numbers) {
        assert_eq!(got.id, Uuid::from_u64_pair(call + 1, *number).to_string(), "{name}");
    }
    if matches!(case.fate, Fate::Again(_) | Fate::After(..)) {
        // One that answers too late has taken what it gets again.
        assert!(endpoint.taken().len() as u64 >= EACH, "{name}: {:?}", endpoint.taken());
    }
}
