//! Notification tokens: what is in them, when they are made anew, and that bots built on
//! Microsoft's sample accept them.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use super::*;
use crate::auth::{
    Keys,
    testing::{APP, NOW, OTHER_TENANT, TENANT, authority, keys, settings},
};

fn claims_of(authority: &Authority, token: &str) -> (jsonwebtoken::Header, Value) {
    let key = decoding_key(authority);
    let mut rules = Validation::new(Algorithm::RS256);
    rules.validate_exp = false;
    rules.validate_aud = false;
    let data = jsonwebtoken::decode(token, &key, &rules).unwrap();
    (data.header, data.claims)
}

fn decoding_key(authority: &Authority) -> DecodingKey {
    let jwk = serde_json::to_value(&authority.keys().notification_jwks(NOW).keys[0]).unwrap();
    DecodingKey::from_jwk(&serde_json::from_value(jwk).unwrap()).unwrap()
}

#[test]
fn a_notification_token_is_as_the_real_ones() {
    let authority = authority();
    let (header, claims) = claims_of(&authority, &authority.sign_notification(APP, TENANT, NOW));
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    assert_eq!(header.alg, Algorithm::RS256);
    assert_eq!(header.kid.as_deref(), Some(authority.inner.keys.notifications.signing(NOW).kid()));
    assert_eq!(header.kid, header.x5t);
    let expected = serde_json::json!({
        "aud": APP.to_string(), "iss": "https://api.botframework.com", "tid": TENANT.to_string(),
        "iat": NOW, "nbf": NOW, "exp": NOW + 3900,
    });
    assert_eq!(claims, expected);
}

#[test]
fn the_issuer_can_be_graph() {
    let mut settings = settings();
    settings.notification_issuer = NotificationIssuer::Graph;
    let authority = Authority::new(settings, keys()).unwrap();
    let token = authority.sign_notification(APP, TENANT, NOW);
    assert_eq!(claims_of(&authority, &token).1["iss"], "https://graph.microsoft.com");
    let jwks = authority.keys().notification_jwks(NOW);
    let verified = verify_notification(&token, APP, &jwks, NOW).unwrap();
    assert_eq!(verified.issuer, NotificationIssuer::Graph);
}

/// The rules of Microsoft's sample AuthenticationProvider: keys of the OpenID document, two valid
/// issuers spelled exactly, audience is the bot's id, default lifetime check with five minutes of
/// skew, and a tenant claim that must be there.
fn sample_bot_accepts(key: &DecodingKey, token: &str, bot: AppId, now: u64) -> bool {
    let mut rules = Validation::new(Algorithm::RS256);
    rules.set_issuer(&["https://graph.microsoft.com", "https://api.botframework.com"]);
    rules.set_audience(&[bot.to_string()]);
    rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud"]);
    rules.validate_exp = false; // its clock is the machine's; checked below
    let Ok(data) = jsonwebtoken::decode::<Value>(token, key, &rules) else { return false };
    let seconds = |name: &str| data.claims[name].as_u64().unwrap();
    let alive = seconds("nbf") <= now + 300 && now < seconds("exp") + 300;
    let tenant = data.claims["tid"].as_str().is_some_and(|tenant| !tenant.is_empty());
    alive && tenant && seconds("exp") > seconds("nbf")
}

#[test]
fn a_bot_built_on_microsofts_sample_accepts_our_notifications_and_only_its_own() {
    let authority = authority();
    let key = decoding_key(&authority);
    let token = authority.sign_notification(APP, TENANT, NOW);
    assert!(sample_bot_accepts(&key, &token, APP, NOW));
    assert!(sample_bot_accepts(&key, &token, APP, NOW + 3900));
    assert!(!sample_bot_accepts(&key, &token, APP, NOW + 3900 + 300));
    assert!(!sample_bot_accepts(&key, &token, AppId::new(OTHER_TENANT.uuid()), NOW));
    let stranger = Authority::new(settings(), Keys::ephemeral().unwrap()).unwrap();
    let stranger = stranger.sign_notification(APP, TENANT, NOW);
    assert!(!sample_bot_accepts(&key, &stranger, APP, NOW));
}

#[test]
fn a_token_serves_again_while_it_has_ten_minutes_left() {
    let authority = authority();
    let sign = |now| authority.sign_notification(APP, TENANT, now);
    let first = sign(NOW);
    assert_eq!(sign(NOW + NOTIFICATION_LIFETIME - MIN_REMAINING_LIFE), first);
    let second = sign(NOW + NOTIFICATION_LIFETIME - MIN_REMAINING_LIFE + 1);
    assert_ne!(second, first);
    assert_ne!(sign(NOW - 1), second, "after the clock went back a token from later is no use");
    assert_ne!(authority.sign_notification(APP, OTHER_TENANT, NOW), sign(NOW));
}

#[test]
fn a_notification_is_believed_only_if_everything_about_its_token_is_right() {
    use NotificationTokenError::*;
    let authority = authority();
    let jwks = authority.keys().notification_jwks(NOW);
    let token = authority.sign_notification(APP, TENANT, NOW);
    let check = |token: &str, now| verify_notification(token, APP, &jwks, now);
    let good = check(&token, NOW).unwrap();
    assert_eq!((good.tenant, good.expires), (TENANT, NOW + NOTIFICATION_LIFETIME));

    assert!(check(&token, NOW + NOTIFICATION_LIFETIME + 299).is_ok());
    assert_eq!(check(&token, NOW + NOTIFICATION_LIFETIME + 300), Err(PeerLifetime));
    assert_eq!(check(&token, NOW - 301), Err(PeerLifetime));
    assert_eq!(check("a.b.c", NOW), Err(PeerMalformed));
    assert_eq!(check(token.rsplit_once('.').unwrap().0, NOW), Err(PeerMalformed));
    let access = authority.access_token(APP, TENANT, [], NOW);
    assert_eq!(check(&access, NOW), Err(PeerKeyUnknown));
    let (message, signature) = token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{message}.{first}{}", &signature[1..]);
    assert_eq!(check(&forged, NOW), Err(PeerSignature));
    let other = AppId::new(OTHER_TENANT.uuid());
    assert_eq!(verify_notification(&token, other, &jwks, NOW), Err(PeerAudience));

    let key = authority.inner.keys.notifications.signing(NOW);
    let with = |iss: &str, tid| {
        let claims = NotificationClaims {
            aud: APP.uuid(),
            iss: iss.into(),
            iat: NOW,
            nbf: NOW,
            exp: NOW + 60,
            tid,
        };
        check(&jws::sign(&key, &claims), NOW)
    };
    let tenant = Some(TENANT.uuid());
    assert!(with("https://api.botframework.com", tenant).is_ok());
    assert_eq!(with("https://api.botframework.com/", tenant), Err(PeerIssuer));
    assert_eq!(with("https://sts.windows.net/", tenant), Err(PeerIssuer));
    assert_eq!(with("https://api.botframework.com", None), Err(PeerTenantMissing));
}

/// A bot that keeps a key set for as long as it is told to, whatever comes.
struct CachingBot {
    keys: Vec<(String, DecodingKey)>,
    fetched: u64,
}

impl CachingBot {
    const KEEPS: u64 = 24 * 60 * 60;

    fn accepts(&mut self, authority: &Authority, token: &str, now: u64) -> bool {
        if self.keys.is_empty() || now >= self.fetched + Self::KEEPS {
            let keys = authority.keys().notification_jwks(now).keys;
            let read = |jwk: &crate::auth::jwk::Jwk| {
                let value = serde_json::to_value(jwk).unwrap();
                (
                    jwk.kid.clone(),
                    DecodingKey::from_jwk(&serde_json::from_value(value).unwrap()).unwrap(),
                )
            };
            (self.keys, self.fetched) = (keys.iter().map(read).collect(), now);
        }
        let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let key = self.keys.iter().find(|(name, _)| *name == kid);
        key.is_some_and(|(_, key)| sample_bot_accepts(key, token, APP, now))
    }
}

/// Delivers so many notifications while the keys rotate so many times, one rotation every four
/// days; returns how many were not believed.
fn deliver(deliveries: u64, rotations: u64) -> u64 {
    use crate::auth::Rotation;

    let authority = Authority::new(settings(), Keys::ephemeral().unwrap()).unwrap();
    let span = rotations * 4 * 24 * 60 * 60;
    let mut bot = CachingBot { keys: Vec::new(), fetched: 0 };
    let (mut rotated, mut failed) = (0, 0);
    for number in 0..deliveries {
        let now = NOW + span * number / deliveries;
        // In the middle of its time, so that deliveries lie on both sides.
        if rotated < rotations && now >= NOW + span * (2 * rotated + 1) / (2 * rotations) {
            authority.keys().rotate(now, Rotation::In(24 * 60 * 60)).unwrap();
            rotated += 1;
        }
        let token = authority.sign_notification(APP, TENANT, now);
        failed += u64::from(!bot.accepts(&authority, &token, now));
    }
    assert_eq!(rotated, rotations);
    failed
}

#[test]
fn a_bot_that_keeps_the_key_set_for_a_day_never_meets_a_key_it_does_not_know() {
    assert_eq!(deliver(2_000, 3), 0);
}

#[test]
#[ignore = "a measurement: cargo test --release -p graphophone --lib a_million_notifications -- --ignored"]
fn a_million_notifications_are_believed_over_a_hundred_rotations() {
    assert_eq!(deliver(1_000_000, 100), 0);
}
