//! Digest both ways: whatever stands in `Authorization`, nobody comes in without the password; and
//! whatever stands in a challenge, our client gives one line or nothing.

use graphophone_sip::fuzzing::{DigestGuard, answer_challenge};

const PASSWORD: &str = "q7-canary-Vx";

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut guard = DigestGuard::new(PASSWORD);
    let challenges = guard.challenges(1);
    let challenge = &challenges[data.len() % challenges.len()];

    // As it stands, and with a nonce of ours where it asks for one.
    let nonce = challenge.split('"').nth(3).expect("a challenge has a nonce").to_owned();
    for value in [text.to_string(), text.replace("{nonce}", &nonce)] {
        let values: Vec<String> = value.split('\n').map(str::to_owned).collect();
        assert!(!guard.lets_in(1, "REGISTER", &values), "in without the password: {value}");
    }

    // The right credentials, of which the input changes something.
    let right = answer_challenge(challenge.as_bytes(), "alice", PASSWORD).expect("it is ours");
    if let [at, byte, ..] = *data {
        let mut changed = right.clone().into_bytes();
        let place = usize::from(at) % changed.len();
        changed[place] = byte;
        let changed = String::from_utf8_lossy(&changed).into_owned();
        assert!(!guard.lets_in(1, "INVITE", &[right.clone()]), "in with another method");
        assert!(!guard.lets_in(2, "REGISTER", &[right.clone()]), "in from another address");
        if !says_the_same(&changed, &right) {
            assert!(!guard.lets_in(1, "REGISTER", &[changed.clone()]), "in with {changed}");
        }
    }

    // The gate lets no header with anything else through.
    let is_clean = std::str::from_utf8(data).is_ok_and(|text| !text.contains(char::is_control));
    if is_clean && let Some(answer) = answer_challenge(data, "alice\"", PASSWORD) {
        assert!(!answer.contains(['\r', '\n']), "a challenge breaks our header: {answer:?}");
        assert!(!answer.contains(PASSWORD));
    }
}

/// Whether everything that the response is made of is in it still, but for case, blanks and
/// punctuation. The algorithm has a default, which may be the right one.
fn says_the_same(changed: &str, right: &str) -> bool {
    let plain = |text: &str| {
        let kept = text.chars().filter(|c| !c.is_whitespace() && !matches!(c, '"' | ',' | '\\'));
        kept.collect::<String>().to_ascii_lowercase()
    };
    let changed = plain(changed);
    let counts = |parameter: &&str| !parameter.contains("algorithm");
    right.split(", ").filter(counts).all(|parameter| changed.contains(&plain(parameter)))
}
