//! Good tokens give the right caller, and nothing that is nearly one is taken.

mod table;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::*;
use crate::auth::{
    Keys,
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
