//! Challenges and what answers to them are worth, under a clock that the tests move.

use super::*;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

fn password_of(user: &str) -> Option<String> {
    (user == "alice").then(|| "secret".to_owned())
}

struct Bench {
    guard: Guard,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            guard: Guard::new([7; 32], &[DigestAlgorithm::Sha256, DigestAlgorithm::Md5], now),
            now,
        }
    }

    fn challenge(&self, index: usize) -> Challenge {
        let values = self.guard.challenges(self.now, HERE, 1, false);
        Challenge::parse(values[index].as_bytes(), false).unwrap()
    }

    fn judge(&mut self, source: IpAddr, value: &str) -> Judgement {
        self.guard.judge(self.now, source, "REGISTER", &[value.to_owned()], password_of)
    }
}

fn answer(challenge: &Challenge, user: &str, password: &str, count: u32) -> String {
    let credentials = Credentials::new(user, password);
    auth::respond(challenge, &credentials, "REGISTER", "sip:graphophone", count, "cn")
}

fn valid() -> Judgement {
    Judgement::Valid { user: "alice".to_owned() }
}

#[test]
fn the_right_password_is_accepted_with_either_algorithm() {
    for index in 0..2 {
        let mut bench = Bench::new();
        let value = answer(&bench.challenge(index), "alice", "secret", 1);
        assert_eq!(bench.judge(HERE, &value), valid());
    }
}

#[test]
fn only_what_is_configured_is_offered_and_accepted() {
    let mut bench = Bench::new();
    let md5 = bench.challenge(1);
    assert_eq!(bench.judge(HERE, &answer(&md5, "alice", "secret", 1)), valid());
    bench.guard.algorithms = vec![Algorithm::Sha256];
    assert_eq!(bench.guard.challenges(bench.now, HERE, 1, false).len(), 1);
    let weak = answer(&md5, "alice", "secret", 2);
    assert_eq!(bench.judge(HERE, &weak), Judgement::Challenge { stale: false });
}

#[test]
fn a_wrong_password_and_an_absent_user_are_the_same() {
    let mut bench = Bench::new();
    let challenge = bench.challenge(0);
    assert_eq!(bench.judge(HERE, &answer(&challenge, "alice", "x", 1)), Judgement::Wrong);
    assert_eq!(bench.judge(HERE, &answer(&challenge, "bob", "x", 1)), Judgement::Wrong);
    assert_eq!(bench.judge(HERE, &answer(&challenge, "bob", "", 1)), Judgement::Wrong);
}

#[test]
fn each_nonce_count_is_good_once_and_only_rises() {
    let mut bench = Bench::new();
    let challenge = bench.challenge(0);
    let stale = Judgement::Challenge { stale: true };
    assert_eq!(bench.judge(HERE, &answer(&challenge, "alice", "secret", 1)), valid());
    assert_eq!(bench.judge(HERE, &answer(&challenge, "alice", "secret", 1)), stale);
    assert_eq!(bench.judge(HERE, &answer(&challenge, "alice", "secret", 0x10a)), valid());
    assert_eq!(bench.judge(HERE, &answer(&challenge, "alice", "secret", 2)), stale);
}

#[test]
fn a_nonce_is_bound_to_its_source_and_to_five_minutes() {
    let mut bench = Bench::new();
    let value = answer(&bench.challenge(0), "alice", "secret", 1);
    assert_eq!(bench.judge(THERE, &value), Judgement::Challenge { stale: false });
    bench.now += NONCE_LIFE + Duration::from_secs(1);
    assert_eq!(bench.judge(HERE, &value), Judgement::Challenge { stale: true });
}

#[test]
fn guessing_is_stopped_for_the_guesser_only() {
    let mut bench = Bench::new();
    let challenge = bench.challenge(0);
    for count in 1..=MOST_FAILURES {
        bench.judge(HERE, &answer(&challenge, "alice", "guess", count));
    }
    let right = answer(&challenge, "alice", "secret", 99);
    assert_eq!(bench.judge(HERE, &right), Judgement::Wrong);

    let values = bench.guard.challenges(bench.now, THERE, 2, false);
    let elsewhere = Challenge::parse(values[0].as_bytes(), false).unwrap();
    assert_eq!(bench.judge(THERE, &answer(&elsewhere, "alice", "secret", 1)), valid());

    bench.now += FAILURE_WINDOW;
    assert_eq!(bench.judge(HERE, &right), valid());
}

#[test]
fn many_failing_users_do_not_lift_the_limit_of_one() {
    let mut bench = Bench::new();
    let challenge = bench.challenge(0);
    for number in 0..2 * MOST_REMEMBERED {
        bench.judge(HERE, &answer(&challenge, &format!("u{number}"), "x", 1));
    }
    assert!(bench.guard.failures.len() <= MOST_REMEMBERED);
    for count in 1..=MOST_FAILURES {
        bench.judge(HERE, &answer(&challenge, "alice", "guess", count));
    }
    assert_eq!(bench.judge(HERE, &answer(&challenge, "alice", "secret", 99)), Judgement::Wrong);
}

#[test]
fn a_hundred_thousand_replays_are_refused() {
    let mut bench = Bench::new();
    let challenge = bench.challenge(0);
    let value = answer(&challenge, "alice", "secret", u32::MAX);
    assert_eq!(bench.judge(HERE, &value), valid(), "the highest count there is");
    let replayed = (0..100_000).filter(|_| bench.judge(HERE, &value) == valid());
    assert_eq!(replayed.count(), 0);
}

#[test]
fn counts_are_eight_hexadecimal_digits() {
    let mut bench = Bench::new();
    let good = answer(&bench.challenge(0), "alice", "secret", 1);
    for bad in ["+0000001", "1", "000000001", " 0000001", "0000000g"] {
        let value = good.replace("nc=00000001", &format!("nc={bad}"));
        assert_ne!(value, good);
        assert_ne!(bench.judge(HERE, &value), valid(), "{bad}");
    }
    assert_eq!(bench.judge(HERE, &good), valid());
}

#[test]
fn malformed_credentials_are_challenged_and_never_panic() {
    let mut bench = Bench::new();
    let again = Judgement::Challenge { stale: false };
    for value in [
        "",
        "Digest",
        "Basic dXNlcjpwYXNz",
        r#"Digest username="alice"#,
        r#"Digest username="alice", realm="graphophone", nonce="", uri="", response="", nc=1"#,
        r#"Digest username="é", realm="graphophone", nonce="ééééééééééééééééé", uri="", response="", cnonce="", nc=00000001, qop=auth"#,
        "Digest ======,,,,\"",
    ] {
        assert_eq!(bench.judge(HERE, value), again, "{value}");
    }
}

#[test]
fn hmac_is_that_of_rfc_4231() {
    let mac = hmac_sha256(
        &[0x0b; 20].iter().copied().chain([0; 12]).collect::<Vec<_>>().try_into().unwrap(),
        b"Hi There",
    );
    assert_eq!(hex(&mac), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}
