//! Good tokens give the right caller, and nothing that is nearly one is taken.

mod table;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::auth::{
    CLOCK_SKEW, Keys,
    testing::{APP, NOW, OTHER_TENANT, TENANT, authority, keys, settings},
};

#[test]
fn no_token_with_one_character_changed_is_taken() {
    let authority = authority();
    let token = authority.access_token(APP, TENANT, ["Calls.Initiate.All"], NOW);
    assert!(authority.verify(Some(&format!("Bearer {token}")), NOW).is_ok());
    for position in 0..token.len() {
        for other in ["A", "_", ".", " ", "\0"] {
            if &token[position..=position] == other {
                continue;
            }
            let changed = format!("Bearer {}{other}{}", &token[..position], &token[position + 1..]);
            let outcome = authority.verify(Some(&changed), NOW);
            assert!(outcome.is_err(), "{other:?} at {position}");
        }
    }
}

#[test]
fn the_authorization_header_must_be_a_bearer_credential() {
    let authority = authority();
    let token = authority.access_token(APP, TENANT, ["Calls.Initiate.All"], NOW);
    for header in
        [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER  {token} ")]
    {
        assert!(authority.verify(Some(&header), NOW).is_ok(), "{header}");
    }
    let refused = [None, Some(token.as_str()), Some("Bearer"), Some("Basic abc"), Some("")];
    for header in refused {
        assert_eq!(authority.verify(header, NOW), Err(AuthError::BotTokenMissing), "{header:?}");
    }
}

#[test]
fn a_good_token_gives_app_tenant_and_roles_in_either_spelling() {
    let authority = authority();
    let roles = ["Calls.InitiateGroupCalls.All", "Calls.AccessMedia.All", "User.Read.All"];
    let token = authority.access_token(APP, TENANT, roles, NOW);
    let caller = authority.verify(Some(&format!("Bearer {token}")), NOW).unwrap();
    assert_eq!((caller.app, caller.tenant), (APP, TENANT));
    assert!(caller.has(Role::InitiateGroupCall) && caller.has(Role::AccessMedia));
    assert!(!caller.has(Role::Initiate) && !caller.has(Role::JoinGroupCall));
}

#[test]
fn another_implementation_reads_our_tokens_and_we_read_its() {
    let authority = authority();
    let token = authority.access_token(APP, TENANT, ["Calls.Initiate.All"], NOW);
    let jwk = serde_json::to_value(&authority.keys().token_jwks(NOW).keys[0]).unwrap();
    let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(jwk).unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    rules.set_audience(&[GRAPH_AUDIENCE]);
    rules.set_issuer(&[issuer(TENANT)]);
    rules.validate_exp = false; // its clock is the machine's
    let read = jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap();
    assert_eq!(read.claims["tid"], TENANT.to_string());
    assert_eq!(read.header.kid, read.header.x5t);

    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new(settings(), Keys::open(directory.path()).unwrap()).unwrap();
    let pem = std::fs::read(directory.path().join(crate::auth::keys::TOKEN_KEY_FILE)).unwrap();
    let pem = String::from_utf8(pem).unwrap();
    let pem = pem.split("-----BEGIN CERTIFICATE").next().unwrap();
    let signing = jsonwebtoken::EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::RS256);
    header.kid = Some(authority.inner.keys.tokens.signing(NOW).kid().to_owned());
    let theirs = jsonwebtoken::encode(&header, &good_claims(), &signing).unwrap();
    assert!(authority.verify(Some(&format!("Bearer {theirs}")), NOW).is_ok());
}

#[test]
fn what_is_answered_says_whether_to_come_back_with_a_token() {
    use AuthError::*;
    let unauthorized = [
        BotTokenMissing,
        BotTokenTooLong,
        BotTokenMalformed,
        BotTokenHeader,
        BotTokenKeyUnknown,
        BotTokenSignature,
        BotTokenAudience,
        BotTokenIssuer,
        BotTokenLifetime,
        BotAppUnknown,
    ];
    for error in unauthorized {
        assert_eq!((error.status(), error.code()), (401, "InvalidAuthenticationToken"));
        let challenge = error.www_authenticate().unwrap();
        assert!(challenge.starts_with("Bearer realm=\"\", authorization_uri="), "{challenge}");
        assert!(!challenge.contains("claims="), "{challenge}");
    }
    assert_eq!(BotTokenMissing.to_string(), "Access token is empty.");
    assert_eq!((BotTokenDelegated.status(), BotTokenDelegated.code()), (403, "Forbidden"));
    assert_eq!(BotTokenDelegated.www_authenticate(), None);
}

fn good_claims() -> Value {
    json!({
        "aud": GRAPH_AUDIENCE, "iss": issuer(TENANT), "iat": NOW, "nbf": NOW, "exp": NOW + 3599,
        "appid": APP.to_string(), "appidacr": "1", "idp": issuer(TENANT), "idtyp": "app",
        "oid": "o", "roles": ["Calls.Initiate.All"], "sub": "o", "tid": TENANT.to_string(),
        "ver": "1.0",
    })
}

#[test]
fn a_rotation_refuses_no_token_while_it_goes_on() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use crate::auth::Rotation;

    let authority = Authority::new(settings(), Keys::ephemeral().unwrap()).unwrap();
    let done = AtomicBool::new(false);
    let checked = std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..4 {
                // Each second another key; the tokens below are of all of them.
                authority.keys().rotate(NOW + round, Rotation::In(0)).unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        let mut tokens = Vec::new();
        let mut checked = 0;
        while !done.load(Ordering::SeqCst) || checked < 1_000 {
            let now = NOW + checked % 6;
            tokens.push(authority.access_token(APP, TENANT, ["Calls.Initiate.All"], now));
            for token in tokens.iter().rev().take(5) {
                let outcome = authority.verify(Some(&format!("Bearer {token}")), now);
                assert!(outcome.is_ok(), "{outcome:?} after {checked}");
            }
            checked += 1;
        }
        tokens.iter().for_each(|token| {
            assert!(authority.verify(Some(&format!("Bearer {token}")), NOW + 9).is_ok());
        });
        checked
    });
    assert!(checked >= 1_000);
    assert_eq!(authority.keys().token_jwks(NOW + 9).keys.len(), 5);
    authority.keys().rotate(NOW + 10, Rotation::Compromised).unwrap();
    let last = authority.access_token(APP, TENANT, [], NOW + 10);
    assert!(authority.verify(Some(&format!("Bearer {last}")), NOW + 10).is_ok());
}

#[test]
fn a_verdict_that_was_kept_does_not_outlive_its_key() {
    use crate::auth::{OVERLAP, Rotation};

    let mut day = settings();
    day.token_lifetime = std::time::Duration::from_secs(24 * 60 * 60);
    let authority = Authority::new(day, Keys::ephemeral().unwrap()).unwrap();
    let header = format!("Bearer {}", authority.access_token(APP, TENANT, [], NOW));
    let verify = |now| authority.verify(Some(&header), now).map(|_| ());
    assert_eq!(verify(NOW), Ok(()));
    authority.keys().rotate(NOW, Rotation::In(1)).unwrap();
    // The longest life there is and the skew end when the key does, not before.
    assert_eq!(verify(NOW + 24 * 60 * 60 + CLOCK_SKEW - 1), Ok(()));
    assert_eq!(verify(NOW + OVERLAP + 1), Err(AuthError::BotTokenKeyUnknown));
    authority.keys().rotate(NOW + 2, Rotation::Compromised).unwrap();
    assert_eq!(verify(NOW + 2), Err(AuthError::BotTokenKeyUnknown));
}
