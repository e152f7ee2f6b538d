//! Tokens of a trusted issuer, good and forged, and what its documents can do to us.

use std::sync::Arc;

use axum::{Router, http::StatusCode, response::IntoResponse, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use graphophone_testkit::sentinel::{Found, Sentinels, URLS, Zone};
use rcgen::PublicKeyData as _;
use serde_json::json;
use tokio::net::TcpListener;

use super::{book::KeySet, fetch::KeyFetcher, *};
use crate::{
    auth::{
        AppSettings, Keys, Role, Secret,
        jwk::foreign_keys,
        testing::{APP, NOW, OTHER_TENANT, SECRET, TENANT, keys, settings},
    },
    prompts::Refusal,
};

const ISSUER: &str = "https://id.example/realms/x";

/// An issuer's keys: one of each kind.
struct Foreign {
    rsa: Keys,
    p256: rcgen::KeyPair,
}

impl Foreign {
    fn new() -> Self {
        Self { rsa: Keys::ephemeral().unwrap(), p256: rcgen::KeyPair::generate().unwrap() }
    }

    fn jwks(&self) -> Value {
        let point = self.p256.der_bytes();
        let coordinate = |from: usize| URL_SAFE_NO_PAD.encode(&point[from..from + 32]);
        let mut rsa = serde_json::to_value(&self.rsa.token_jwks(NOW).keys[0]).unwrap();
        rsa["kid"] = json!("rsa");
        let p256 = json!({
            "kty": "EC", "crv": "P-256", "kid": "p256", "x": coordinate(1), "y": coordinate(33),
        });
        json!({"keys": [rsa, p256]})
    }

    fn known(&self) -> KeySet {
        foreign_keys(self.jwks().to_string().as_bytes()).unwrap()
    }

    /// A token whose header says `alg` and `kid`, signed with the key of that kind.
    fn token(&self, alg: &str, kid: &str, claims: &Value) -> String {
        self.typed("JWT", alg, kid, claims)
    }

    fn typed(&self, typ: &str, alg: &str, kid: &str, claims: &Value) -> String {
        let header = json!({"typ": typ, "alg": alg, "kid": kid}).to_string();
        let [header, claims] =
            [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
        let message = format!("{header}.{claims}");
        let signature = if alg == "ES256" {
            let pem = self.p256.serialize_pem();
            let key = jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes()).unwrap();
            let sign = jsonwebtoken::crypto::sign;
            sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::ES256).unwrap()
        } else {
            URL_SAFE_NO_PAD.encode(self.rsa.tokens.signing(NOW).sign(message.as_bytes()))
        };
        format!("{message}.{signature}")
    }
}

fn trusted(issuer: &str) -> IssuerSettings {
    IssuerSettings {
        issuer: issuer.to_owned(),
        jwks_uri: None,
        audiences: ["api://calls".to_owned(), "other".to_owned()].into(),
        tenant: None,
        roles_claim: "roles".to_owned(),
        refresh: Duration::from_secs(900),
        allow: Vec::new(),
    }
}

/// An authority that trusts these issuers, whose keys are here already.
fn authority(issuers: Vec<IssuerSettings>, foreign: &Foreign) -> Authority {
    let authority = Authority::new(AuthSettings { issuers, ..settings() }, keys()).unwrap();
    for issuer in &authority.inner.issuers.0 {
        issuer.lock().begin();
        issuer.lock().finish(Some(foreign.known()), issuer.epoch.elapsed());
    }
    authority
}

/// Of Entra, version 2.
fn claims() -> Value {
    json!({
        "aud": "api://calls", "iss": ISSUER, "iat": NOW, "nbf": NOW, "exp": NOW + 3599,
        "azp": APP.to_string(), "idtyp": "app", "oid": "o", "sub": "o", "tid": TENANT.to_string(),
        "roles": ["Calls.Initiate.All", "Calls.AccessMedia.All"], "ver": "2.0",
    })
}

fn with(changes: &[(&str, Value)]) -> Value {
    let mut claims = claims();
    for (name, value) in changes {
        claims[*name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(*name);
        }
    }
    claims
}

#[test]
fn every_token_of_a_trusted_issuer_is_judged_by_its_entry() {
    use AuthError::*;
    let foreign = Foreign::new();
    let authority = authority(vec![trusted(ISSUER)], &foreign);
    let other_app = json!(OTHER_TENANT.to_string());
    let app = json!(APP.to_string());
    let gone = Value::Null;
    let table: [(&str, Value, Result<(), AuthError>); 29] = [
        ("as Entra makes them", claims(), Ok(())),
        ("version 1", with(&[("azp", gone.clone()), ("appid", app.clone())]), Ok(())),
        ("both names", with(&[("appid", app.clone())]), Ok(())),
        ("both, not the same", with(&[("appid", other_app.clone())]), Err(BotTokenMalformed)),
        ("no application", with(&[("azp", gone.clone())]), Err(BotTokenMalformed)),
        ("a name as application", with(&[("azp", json!("ivr"))]), Err(BotTokenMalformed)),
        ("an application not configured", with(&[("azp", other_app.clone())]), Err(BotAppUnknown)),
        ("a list with our audience", with(&[("aud", json!(["account", "other"]))]), Ok(())),
        ("a list without", with(&[("aud", json!(["account"]))]), Err(BotTokenAudience)),
        ("another audience", with(&[("aud", json!("api://calls2"))]), Err(BotTokenAudience)),
        // Graph's own audience is only ours where we are the issuer.
        (
            "for the real Graph",
            with(&[("aud", json!("https://graph.microsoft.com"))]),
            Err(BotTokenAudience),
        ),
        ("no audience", with(&[("aud", gone.clone())]), Err(BotTokenAudience)),
        (
            "another issuer",
            with(&[("iss", json!("https://evil.example"))]),
            Err(BotTokenKeyUnknown),
        ),
        ("a longer issuer", with(&[("iss", json!(format!("{ISSUER}/")))]), Err(BotTokenKeyUnknown)),
        (
            "our own issuer",
            with(&[("iss", json!(super::super::bearer::issuer(TENANT)))]),
            Err(BotTokenKeyUnknown),
        ),
        ("no issuer", with(&[("iss", gone.clone())]), Err(BotTokenKeyUnknown)),
        ("another tenant", with(&[("tid", other_app.clone())]), Err(BotAppUnknown)),
        ("a tenant by name", with(&[("tid", json!("contoso"))]), Err(BotTokenIssuer)),
        ("no tenant", with(&[("tid", gone.clone())]), Err(BotTokenIssuer)),
        ("expired 299 s ago", with(&[("exp", json!(NOW - 299))]), Ok(())),
        ("expired 300 s ago", with(&[("exp", json!(NOW - 300))]), Err(BotTokenLifetime)),
        ("valid in 301 s", with(&[("nbf", json!(NOW + 301))]), Err(BotTokenLifetime)),
        ("no end", with(&[("exp", gone.clone())]), Err(BotTokenMalformed)),
        ("a person's", with(&[("scp", json!("Calls.All"))]), Err(BotTokenDelegated)),
        ("a person's by type", with(&[("idtyp", json!("user"))]), Err(BotTokenDelegated)),
        (
            "of an unknown type",
            with(&[("idtyp", gone.clone()), ("sub", json!("someone"))]),
            Err(BotTokenDelegated),
        ),
        (
            "whose subject is the application",
            with(&[("idtyp", gone.clone()), ("oid", gone.clone()), ("sub", app.clone())]),
            Ok(()),
        ),
        (
            "roles as a text",
            with(&[("roles", json!("Calls.Initiate.All"))]),
            Err(BotTokenMalformed),
        ),
        ("no roles", with(&[("roles", gone)]), Ok(())),
    ];
    for (what, claims, expected) in &table {
        for (alg, kid) in [("RS256", "rsa"), ("ES256", "p256")] {
            let token = foreign.token(alg, kid, claims);
            let outcome = authority.verify(Some(&format!("Bearer {token}")), NOW).map(|_| ());
            assert_eq!(outcome, *expected, "{what}, {alg}");
        }
    }
}

#[test]
fn the_algorithm_and_the_key_are_the_issuers_choice() {
    use AuthError::*;
    let (foreign, stranger) = (Foreign::new(), Foreign::new());
    let authority = authority(vec![trusted(ISSUER)], &foreign);
    let own = authority.inner.keys.tokens.signing(NOW);
    let good = foreign.token("ES256", "p256", &claims());
    let zeros = format!("{}.{}", good.rsplit_once('.').unwrap().0, URL_SAFE_NO_PAD.encode([0; 64]));
    for (what, token, expected) in [
        ("RS256", foreign.token("RS256", "rsa", &claims()), Ok(())),
        ("ES256", good, Ok(())),
        ("RFC 9068", foreign.typed("at+jwt", "RS256", "rsa", &claims()), Ok(())),
        (
            "another type",
            foreign.typed("logout+jwt", "RS256", "rsa", &claims()),
            Err(BotTokenHeader),
        ),
        ("r and s zero", zeros, Err(BotTokenSignature)),
        ("ES256 with the RSA key", foreign.token("ES256", "rsa", &claims()), Err(BotTokenHeader)),
        ("RS256 with the EC key", foreign.token("RS256", "p256", &claims()), Err(BotTokenHeader)),
        ("a stranger's RSA key", stranger.token("RS256", "rsa", &claims()), Err(BotTokenSignature)),
        ("a stranger's EC key", stranger.token("ES256", "p256", &claims()), Err(BotTokenSignature)),
        ("with our own kid", foreign.token("RS256", own.kid(), &claims()), Err(BotTokenSignature)),
    ] {
        let outcome = authority.verify(Some(&format!("Bearer {token}")), NOW).map(|_| ());
        assert_eq!(outcome, expected, "{what}");
    }
    // Our own key vouches for our own claims only.
    let ours = jws::sign(&own, &claims());
    let outcome = authority.verify(Some(&format!("Bearer {ours}")), NOW).map(|_| ());
    assert_eq!(outcome, Err(BotTokenAudience));
}

#[test]
fn an_issuer_gives_no_role_that_the_application_does_not_have_here() {
    let foreign = Foreign::new();
    let authority = authority(vec![trusted(ISSUER)], &foreign);
    let token = foreign.token("RS256", "rsa", &claims());
    let caller = authority.verify(Some(&format!("Bearer {token}")), NOW).unwrap();
    assert_eq!((caller.app, caller.tenant), (APP, TENANT));
    assert!(caller.has(Role::Initiate), "both have it");
    assert!(!caller.has(Role::AccessMedia), "only the token has it");
    assert!(!caller.has(Role::JoinGroupCall), "only the application has it");
    // The same from the cache.
    assert_eq!(authority.verify(Some(&format!("Bearer {token}")), NOW), Ok(caller));
}

#[test]
fn keycloaks_tokens_need_a_tenant_of_the_entry_and_may_have_their_roles_deeper() {
    let foreign = Foreign::new();
    let entry = IssuerSettings {
        tenant: Some(TENANT),
        roles_claim: "realm_access.roles".to_owned(),
        ..trusted(ISSUER)
    };
    let authority = authority(vec![entry], &foreign);
    let mut claims = with(&[("tid", Value::Null), ("roles", Value::Null), ("sub", json!("s"))]);
    claims["realm_access"] = json!({"roles": ["offline_access", "Calls.Initiate.All"]});
    let verify = |claims: &Value| {
        let token = foreign.token("RS256", "rsa", claims);
        authority.verify(Some(&format!("Bearer {token}")), NOW)
    };
    assert!(verify(&claims).unwrap().has(Role::Initiate));
    claims["tid"] = json!(OTHER_TENANT.to_string());
    assert_eq!(verify(&claims), Err(AuthError::BotTokenIssuer));
    claims["tid"] = json!(TENANT.to_string());
    claims["realm_access"] = json!("Calls.Initiate.All");
    assert!(verify(&claims).unwrap().roles.is_empty());
}

#[test]
fn a_template_stands_for_the_tokens_own_tenant_and_for_nothing_else() {
    let foreign = Foreign::new();
    let mut both = settings();
    both.tenants.push(OTHER_TENANT);
    let second = graphophone_call::AppId::new(uuid::Uuid::from_u128(77));
    both.apps.push(AppSettings {
        id: second,
        tenant: OTHER_TENANT,
        secret: Secret::new(SECRET),
        roles: vec!["Calls.Initiate.All".into()],
    });
    both.issuers = vec![trusted("https://login.example/{tenantid}/v2.0")];
    let authority = Authority::new(both, keys()).unwrap();
    let issuer = &authority.inner.issuers.0[0];
    issuer.lock().finish(Some(foreign.known()), issuer.epoch.elapsed());
    let verify = |iss: String, tid: &str, app: &str| {
        let claims = with(&[("iss", json!(iss)), ("tid", json!(tid)), ("azp", json!(app))]);
        let token = foreign.token("RS256", "rsa", &claims);
        authority.verify(Some(&format!("Bearer {token}")), NOW).map(|caller| caller.tenant)
    };
    let at = |tenant: &str| format!("https://login.example/{tenant}/v2.0");
    let (here, there) = (TENANT.to_string(), OTHER_TENANT.to_string());
    let (app, second) = (APP.to_string(), second.to_string());
    assert_eq!(verify(at(&here), &here, &app), Ok(TENANT));
    assert_eq!(verify(at(&there), &there, &second), Ok(OTHER_TENANT));
    assert_eq!(verify(at(&there), &there, &app), Err(AuthError::BotAppUnknown));
    assert_eq!(verify(at(&here), &there, &app), Err(AuthError::BotTokenKeyUnknown));
    for iss in [at("common"), at("{tenantid}"), at(&there), at("")] {
        assert_eq!(verify(iss, &here, &app), Err(AuthError::BotTokenKeyUnknown));
    }
}

/// An issuer on loopback with these documents: path, status, body.
async fn issuer_with(documents: Vec<(String, u16, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut router = Router::new();
    for (path, status, body) in documents {
        let body = body.replace("{base}", &base);
        let answer = move || async move {
            let status = StatusCode::from_u16(status).unwrap();
            ([("location", body.clone())], (status, body)).into_response()
        };
        router = router.route(&path, get(answer));
    }
    tokio::spawn(async move { axum::serve(listener, router).await });
    base
}

async fn keys_of(settings: &IssuerSettings, names: Arc<dyn Resolve>) -> Result<KeySet, KeysError> {
    crate::auth::tls::install_crypto_provider();
    KeyFetcher::new(settings, names, &[]).keys(settings).await
}

fn configuration(jwks_uri: &str) -> String {
    json!({"issuer": "{base}", "jwks_uri": jwks_uri}).to_string()
}

const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn keys_are_found_by_the_openid_document_or_where_the_entry_says() {
    let foreign = Foreign::new();
    let base = issuer_with(vec![
        (OPENID.to_owned(), 200, configuration("{base}/keys")),
        ("/keys".to_owned(), 200, foreign.jwks().to_string()),
    ])
    .await;
    let discovered = trusted(&base);
    let told = IssuerSettings {
        jwks_uri: Some(format!("{base}/keys").parse().unwrap()),
        ..trusted(ISSUER)
    };
    for settings in [discovered, told] {
        let mut found: Vec<_> =
            keys_of(&settings, Zone::hostile()).await.unwrap().into_keys().collect();
        found.sort();
        assert_eq!(found, ["p256", "rsa"]);
    }
}

#[tokio::test]
async fn documents_that_are_not_what_they_should_be_give_no_keys() {
    let long = format!("{{\"keys\": [], \"x\": \"{}\"}}", "x".repeat(300 * 1024));
    let jwks = Foreign::new().jwks().to_string();
    let other = json!({"issuer": "https://evil.example", "jwks_uri": "{base}/keys"}).to_string();
    let good = configuration("{base}/keys");
    for (what, documents) in [
        ("no document", vec![]),
        ("a page", vec![(OPENID, 200, "<html>".to_owned())]),
        ("another issuer's", vec![(OPENID, 200, other), ("/keys", 200, jwks.clone())]),
        ("a redirect", vec![(OPENID, 302, "{base}/else".to_owned()), ("/else", 200, good.clone())]),
        (
            "a redirect of the keys",
            vec![
                (OPENID, 200, good.clone()),
                ("/keys", 307, "{base}/else".to_owned()),
                ("/else", 200, jwks.clone()),
            ],
        ),
        ("no keys", vec![(OPENID, 200, good.clone()), ("/keys", 200, "{\"keys\":[]}".to_owned())]),
        ("too long", vec![(OPENID, 200, good.clone()), ("/keys", 200, long)]),
        ("an error", vec![(OPENID, 200, good), ("/keys", 500, jwks)]),
    ] {
        let documents =
            documents.into_iter().map(|(at, status, text)| (at.to_owned(), status, text));
        let base = issuer_with(documents.collect()).await;
        let outcome = keys_of(&trusted(&base), Zone::hostile()).await;
        assert!(outcome.is_err(), "{what}: {outcome:?}");
    }
}

#[tokio::test]
async fn no_openid_document_leads_to_an_address_that_is_denied() {
    let (sentinels, _allowed) = Sentinels::listen().await;
    let zone = Zone::hostile();
    for (found, url) in URLS {
        let url = sentinels.at(url);
        let document = json!({"issuer": "{base}", "jwks_uri": url}).to_string();
        let base = issuer_with(vec![(OPENID.to_owned(), 200, document)]).await;
        let error = keys_of(&trusted(&base), Arc::clone(&zone) as _).await.expect_err(&url);
        assert!(matches!(error, KeysError::Refused(_)), "{url}: {error}");
        // Public https hosts are allowed: only there a name is asked for.
        let resolved = matches!(error, KeysError::Refused(Refusal::ResolvedNotAllowed { .. }));
        assert_eq!(
            resolved,
            found == Found::Resolved && url.starts_with("https:"),
            "{url}: {error}"
        );
    }
    // An entry of the configuration does not open more than it says, either.
    let named = IssuerSettings {
        jwks_uri: Some(format!("https://inside.test:{}/keys", sentinels.port).parse().unwrap()),
        ..trusted(ISSUER)
    };
    let error = keys_of(&named, Arc::clone(&zone) as _).await.unwrap_err();
    assert!(matches!(error, KeysError::Refused(Refusal::ResolvedNotAllowed { .. })), "{error}");
    sentinels.assert_untouched().await;
    // With its network in `allow` it is reached: there is no TLS, but a connection.
    let open = IssuerSettings { allow: vec!["127.0.0.1".parse().unwrap()], ..named };
    let error = keys_of(&open, zone).await.unwrap_err();
    assert!(matches!(error, KeysError::Peer(_) | KeysError::PeerTimeout(_)), "{error}");
}
