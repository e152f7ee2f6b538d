//! Bearer tokens: only those that we have signed pass, and of those only with the claims that they
//! must have, by a second reading of them here.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use graphophone::fuzzing::{APP, NOW, TENANT, TokenCheck};
use serde_json::Value;

static CHECK: LazyLock<TokenCheck> = LazyLock::new(TokenCheck::new);
static GOOD: LazyLock<String> = LazyLock::new(|| CHECK.sign(&TokenCheck::good_claims()));

pub(crate) fn run(data: &[u8]) {
    let Some((mode, data)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(data);
    match mode % 8 {
        0 | 1 => assert!(text == *GOOD || !CHECK.lets_in(&text), "in with {text}"),
        2 | 3 => spliced(data),
        4 => header(data),
        5 => claims(data),
        6 => {
            // A form, and Basic credentials behind a line feed.
            let (form, basic) = text.split_once('\n').unwrap_or((&text, ""));
            let app = CHECK.token_request(form.as_bytes(), Some(basic));
            assert!(app.is_none_or(|app| app.len() == 36));
        }
        _ => {
            // The signature of something else.
            let parts: Vec<&str> = GOOD.split('.').collect();
            let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(data), parts[2]);
            assert!(forged == *GOOD || !CHECK.lets_in(&forged), "in with {forged}");
        }
    }
}

/// The good token with something put in the place of something.
fn spliced(data: &[u8]) {
    let [at, length, with @ ..] = data else { return };
    let mut token = GOOD.clone().into_bytes();
    let at = usize::from(*at) * token.len() / 256;
    let end = token.len().min(at + usize::from(*length % 8));
    token.splice(at..end, with.iter().copied());
    let token = String::from_utf8_lossy(&token);
    assert!(token.trim() == *GOOD || !CHECK.lets_in(&token), "in with {token}");
}

/// Any header over good claims, with our signature.
fn header(data: &[u8]) {
    let claims = GOOD.split('.').nth(1).expect("a token has claims");
    let text = String::from_utf8_lossy(data).replace("{kid}", &CHECK.kid());
    let message = format!("{}.{claims}", URL_SAFE_NO_PAD.encode(&*text));
    let signature = URL_SAFE_NO_PAD.encode(CHECK.signature(message.as_bytes()));
    let token = format!("{message}.{signature}");
    if !CHECK.lets_in(&token) {
        return;
    }
    let header: Value = serde_json::from_str(&text).expect("a header is JSON");
    assert_eq!(header["alg"], "RS256", "in with another algorithm: {text}");
    assert_eq!(header["kid"], CHECK.kid(), "in with another key: {text}");
    for demand in ["crit", "b64", "jku", "jwk", "x5u", "x5c", "cty", "enc", "zip"] {
        assert!(header.get(demand).is_none(), "in with {demand}");
    }
}

/// Any claims, with our signature.
fn claims(data: &[u8]) {
    let Ok(claims) = serde_json::from_slice::<Value>(data) else { return };
    if !CHECK.lets_in(&CHECK.sign(&claims)) {
        return;
    }
    let audiences = [
        "https://graph.microsoft.com",
        "https://graph.microsoft.com/",
        "https://api.botframework.com",
        "https://api.botframework.com/",
        "00000003-0000-0000-c000-000000000000",
    ];
    let is = |name: &str, wanted: &str| {
        claims[name].as_str().is_some_and(|text| text.eq_ignore_ascii_case(wanted))
    };
    assert!(audiences.iter().any(|audience| claims["aud"] == *audience), "aud: {claims}");
    assert!(is("tid", TENANT), "tid: {claims}");
    assert!(is("iss", &format!("https://sts.windows.net/{TENANT}/")), "iss: {claims}");
    assert!(is("appid", APP), "appid: {claims}");
    let expires = claims["exp"].as_u64().expect("an accepted token expires");
    assert!(expires.saturating_add(300) > NOW, "expired: {claims}");
    assert!(claims["nbf"].as_u64().unwrap_or(0) <= NOW + 300, "too early: {claims}");
    assert!(claims.get("scp").is_none_or(Value::is_null), "a user's: {claims}");
}
