//! The table of tokens (promise P25): what is forged, and why each of them is refused.

use aws_lc_rs::hmac;

use super::*;
use crate::auth::keys::SigningKey;

/// Makes tokens of every kind with the authority's own key, or with another.
struct Forger<'a> {
    key: &'a SigningKey,
}

impl Forger<'_> {
    fn header(&self) -> Value {
        json!({"typ": "JWT", "alg": "RS256", "kid": self.key.kid(), "x5t": self.key.kid()})
    }

    fn header_with(&self, member: &str, value: Value) -> String {
        let mut header = self.header();
        header[member] = value;
        header.to_string()
    }

    fn raw(&self, header: &str, claims: &str) -> String {
        let message = unsigned(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    fn token(&self, claims: &Value) -> String {
        self.raw(&self.header().to_string(), &claims.to_string())
    }

    fn with(&self, claim: &str, value: Value) -> String {
        let mut claims = good_claims();
        claims[claim] = value;
        self.token(&claims)
    }

    fn without(&self, claim: &str) -> String {
        let mut claims = good_claims();
        claims.as_object_mut().unwrap().remove(claim).unwrap();
        self.token(&claims)
    }

    /// The good claims and `more` behind them, as text: the way to say something twice.
    fn and_again(&self, more: &str) -> String {
        let claims = good_claims().to_string();
        let claims = format!("{},{more}}}", claims.strip_suffix('}').unwrap());
        self.raw(&self.header().to_string(), &claims)
    }
}

fn unsigned(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

#[test]
fn every_token_of_the_table_is_taken_or_refused_for_the_right_reason() {
    use AuthError::*;
    let mut trusted = settings();
    trusted.extra_audiences = vec!["api://calls".into()];
    trusted.public_urls = vec!["https://calls.example.com".parse().unwrap()];
    let authority = Authority::new(trusted, keys()).unwrap();
    let key = &*authority.inner.keys.tokens.signing(NOW);
    let own = Forger { key };
    let notifications = Forger { key: &authority.inner.keys.notifications.signing(NOW) };
    let foreign_keys = Keys::ephemeral().unwrap();
    let foreign = Forger { key: &foreign_keys.tokens.signing(NOW) };
    let good = own.token(&good_claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let claims = good_claims().to_string();
    let jwk = serde_json::to_value(authority.keys().token_jwks(NOW)).unwrap()["keys"][0].clone();

    let none = |alg: &str| {
        let header = own.header_with("alg", json!(alg));
        (
            format!("{}.", unsigned(&header, &claims)),
            format!("{}.{signature}", unsigned(&header, &claims)),
        )
    };
    let hs256 = |secret: &[u8]| {
        let message = unsigned(&own.header_with("alg", json!("HS256")), &claims);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let flipped = {
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[17] ^= 1;
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
    };
    let other_claims = {
        let (header, _) = message.split_once('.').unwrap();
        let mut claims = good_claims();
        claims["appid"] = json!(OTHER_TENANT.to_string());
        format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()))
    };
    // The last of 342 characters of a 256-byte signature has four bits that mean nothing.
    let loose_bits = {
        let last = signature.chars().last().unwrap();
        let set = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let next = set.chars().nth(set.find(last).unwrap() + 1).unwrap();
        format!("{message}.{}{next}", &signature[..signature.len() - 1])
    };
    let foreign_as_own = foreign.raw(&own.header().to_string(), &claims);
    let deep = format!("{}1{}", "[".repeat(3000), "]".repeat(3000));

    let mut cases: Vec<(&str, String, Result<(), AuthError>)> = vec![
        ("good", good.clone(), Ok(())),
        // Form.
        ("empty", String::new(), Err(BotTokenMissing)),
        ("spaces", "   ".into(), Err(BotTokenMissing)),
        ("garbage", "garbage".into(), Err(BotTokenMalformed)),
        ("one dot", "a.b".into(), Err(BotTokenMalformed)),
        ("two dots", "..".into(), Err(BotTokenMalformed)),
        ("not ASCII", "é.é.é".into(), Err(BotTokenMalformed)),
        ("four parts", format!("{good}.x"), Err(BotTokenMalformed)),
        ("JWE of five parts", format!("{good}.x.x"), Err(BotTokenMalformed)),
        ("dot in front", format!(".{good}"), Err(BotTokenMalformed)),
        ("100 KiB", "a".repeat(100 * 1024), Err(BotTokenTooLong)),
        ("100 KiB, signed", own.with("pad", json!("x".repeat(100 * 1024))), Err(BotTokenTooLong)),
        ("standard base64", format!("{message}.+{}", &signature[1..]), Err(BotTokenMalformed)),
        ("padded", format!("{good}="), Err(BotTokenMalformed)),
        ("loose bits at the end", loose_bits, Err(BotTokenMalformed)),
        ("space in the header", good.replacen('.', " .", 1), Err(BotTokenMalformed)),
        ("space in the claims", good.replacen('.', ". ", 1), Err(BotTokenSignature)),
        ("header no JSON", own.raw("RS256", &claims), Err(BotTokenMalformed)),
        ("header a text", own.raw("\"RS256\"", &claims), Err(BotTokenMalformed)),
        ("header null", own.raw("null", &claims), Err(BotTokenMalformed)),
        ("header without alg", own.raw("{}", &claims), Err(BotTokenMalformed)),
        ("claims no JSON", own.raw(&own.header().to_string(), "nothing"), Err(BotTokenMalformed)),
        ("claims cut off", own.raw(&own.header().to_string(), "{\"aud\":"), Err(BotTokenMalformed)),
        ("claims and more", own.raw(&own.header().to_string(), "{}{}"), Err(BotTokenMalformed)),
        (
            "claims too deep",
            own.raw(&own.header().to_string(), &format!("{{\"aud\":{deep}}}")),
            Err(BotTokenMalformed),
        ),
        (
            "JWT in a JWT",
            own.raw(&own.header_with("cty", json!("JWT")), &good),
            Err(BotTokenHeader),
        ),
        // Algorithms and headers.
        (
            "HS256 with the modulus",
            hs256(jwk["n"].as_str().unwrap().as_bytes()),
            Err(BotTokenHeader),
        ),
        (
            "HS256 with the certificate",
            hs256(jwk["x5c"][0].as_str().unwrap().as_bytes()),
            Err(BotTokenHeader),
        ),
        ("HS256 with the key as JSON", hs256(jwk.to_string().as_bytes()), Err(BotTokenHeader)),
        ("HS256 with nothing", hs256(b""), Err(BotTokenHeader)),
        (
            "ES256 with zeros",
            format!(
                "{}.{}",
                unsigned(&own.header_with("alg", json!("ES256")), &claims),
                URL_SAFE_NO_PAD.encode([0; 64])
            ),
            Err(BotTokenHeader),
        ),
        ("RS512", own.raw(&own.header_with("alg", json!("RS512")), &claims), Err(BotTokenHeader)),
        ("PS256", own.raw(&own.header_with("alg", json!("PS256")), &claims), Err(BotTokenHeader)),
        ("rs256", own.raw(&own.header_with("alg", json!("rs256")), &claims), Err(BotTokenHeader)),
        (
            "alg a list",
            own.raw(&own.header_with("alg", json!(["RS256"])), &claims),
            Err(BotTokenMalformed),
        ),
        (
            "alg null",
            own.raw(&own.header_with("alg", Value::Null), &claims),
            Err(BotTokenMalformed),
        ),
        (
            "alg twice",
            own.raw(&own.header().to_string().replacen('{', "{\"alg\":\"none\",", 1), &claims),
            Err(BotTokenMalformed),
        ),
        (
            "typ another",
            own.raw(&own.header_with("typ", json!("dpop+jwt")), &claims),
            Err(BotTokenHeader),
        ),
        ("typ in lower case", own.raw(&own.header_with("typ", json!("jwt")), &claims), Ok(())),
        ("crit", own.raw(&own.header_with("crit", json!(["exp"])), &claims), Err(BotTokenHeader)),
        ("crit null", own.raw(&own.header_with("crit", Value::Null), &claims), Err(BotTokenHeader)),
        ("b64 false", own.raw(&own.header_with("b64", json!(false)), &claims), Err(BotTokenHeader)),
        ("zip", own.raw(&own.header_with("zip", json!("DEF")), &claims), Err(BotTokenHeader)),
        ("enc", own.raw(&own.header_with("enc", json!("A256GCM")), &claims), Err(BotTokenHeader)),
        (
            "jku",
            foreign.raw(&foreign.header_with("jku", json!("http://127.0.0.1:9/keys")), &claims),
            Err(BotTokenHeader),
        ),
        (
            "x5u",
            foreign.raw(&foreign.header_with("x5u", json!("http://127.0.0.1:9/cert")), &claims),
            Err(BotTokenHeader),
        ),
        (
            "jwk",
            foreign.raw(
                &foreign.header_with(
                    "jwk",
                    serde_json::to_value(&foreign_keys.token_jwks(NOW).keys[0]).unwrap(),
                ),
                &claims,
            ),
            Err(BotTokenHeader),
        ),
        (
            "x5c",
            foreign.raw(
                &foreign.header_with("x5c", json!(foreign_keys.token_jwks(NOW).keys[0].x5c)),
                &claims,
            ),
            Err(BotTokenHeader),
        ),
        // Keys and signatures.
        ("no kid", own.raw(r#"{"alg":"RS256","typ":"JWT"}"#, &claims), Err(BotTokenKeyUnknown)),
        (
            "kid empty",
            own.raw(&own.header_with("kid", json!("")), &claims),
            Err(BotTokenKeyUnknown),
        ),
        (
            "kid a number",
            own.raw(&own.header_with("kid", json!(0)), &claims),
            Err(BotTokenMalformed),
        ),
        (
            "kid a path",
            own.raw(&own.header_with("kid", json!("../../dev/null")), &claims),
            Err(BotTokenKeyUnknown),
        ),
        (
            "kid SQL",
            own.raw(&own.header_with("kid", json!("' OR '1'='1")), &claims),
            Err(BotTokenKeyUnknown),
        ),
        (
            "kid a URL",
            own.raw(&own.header_with("kid", json!("http://127.0.0.1:9/key")), &claims),
            Err(BotTokenKeyUnknown),
        ),
        (
            "kid with a zero byte",
            own.raw(&own.header_with("kid", json!(format!("{}\0", key.kid()))), &claims),
            Err(BotTokenKeyUnknown),
        ),
        (
            "kid in another case",
            own.raw(&own.header_with("kid", json!(key.kid().to_uppercase())), &claims),
            Err(BotTokenKeyUnknown),
        ),
        ("foreign key", foreign.token(&good_claims()), Err(BotTokenKeyUnknown)),
        ("foreign key, our kid", foreign_as_own, Err(BotTokenSignature)),
        ("our key for notifications", notifications.token(&good_claims()), Err(BotTokenKeyUnknown)),
        (
            "our key for notifications, kid of the other",
            notifications.raw(&own.header().to_string(), &claims),
            Err(BotTokenSignature),
        ),
        ("signature empty", format!("{message}."), Err(BotTokenSignature)),
        ("signature of one byte", format!("{message}.AA"), Err(BotTokenSignature)),
        (
            "signature of zeros",
            format!("{message}.{}", URL_SAFE_NO_PAD.encode([0; 256])),
            Err(BotTokenSignature),
        ),
        ("signature one bit off", flipped, Err(BotTokenSignature)),
        ("claims exchanged", other_claims, Err(BotTokenSignature)),
        // Audience.
        ("aud with a slash", own.with("aud", json!("https://graph.microsoft.com/")), Ok(())),
        ("aud Graph's id", own.with("aud", json!(GRAPH_APP_ID)), Ok(())),
        ("aud our public URL", own.with("aud", json!("https://calls.example.com")), Ok(())),
        ("aud configured", own.with("aud", json!("api://calls")), Ok(())),
        ("aud Bot Framework", own.with("aud", json!(BOT_FRAMEWORK_AUDIENCE)), Ok(())),
        ("aud another", own.with("aud", json!("https://vault.azure.net")), Err(BotTokenAudience)),
        ("aud the app itself", own.with("aud", json!(APP.to_string())), Err(BotTokenAudience)),
        (
            "aud longer",
            own.with("aud", json!("https://graph.microsoft.com.evil.example")),
            Err(BotTokenAudience),
        ),
        (
            "aud a list",
            own.with("aud", json!([GRAPH_AUDIENCE, "https://vault.azure.net"])),
            Err(BotTokenAudience),
        ),
        ("aud missing", own.without("aud"), Err(BotTokenAudience)),
        ("aud null", own.with("aud", Value::Null), Err(BotTokenAudience)),
        // Issuer and tenant.
        (
            "iss of another tenant",
            own.with("iss", json!(issuer(OTHER_TENANT))),
            Err(BotTokenIssuer),
        ),
        (
            "tid of another tenant",
            own.with("tid", json!(OTHER_TENANT.to_string())),
            Err(BotTokenIssuer),
        ),
        (
            "iss without slash",
            own.with("iss", json!(issuer(TENANT).trim_end_matches('/'))),
            Err(BotTokenIssuer),
        ),
        (
            "iss v2",
            own.with("iss", json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0"))),
            Err(BotTokenIssuer),
        ),
        (
            "iss common",
            own.with("iss", json!("https://sts.windows.net/common/")),
            Err(BotTokenIssuer),
        ),
        (
            "iss of notifications",
            own.with("iss", json!("https://api.botframework.com")),
            Err(BotTokenIssuer),
        ),
        ("iss missing", own.without("iss"), Err(BotTokenIssuer)),
        ("tid missing", own.without("tid"), Err(BotTokenIssuer)),
        ("tid no GUID", own.with("tid", json!("common")), Err(BotTokenIssuer)),
        (
            "tid undashed",
            own.with("tid", json!(TENANT.uuid().simple().to_string())),
            Err(BotTokenIssuer),
        ),
        (
            "both of an unknown tenant",
            {
                let mut c = good_claims();
                c["iss"] = json!(issuer(OTHER_TENANT));
                c["tid"] = json!(OTHER_TENANT.to_string());
                own.token(&c)
            },
            Err(BotAppUnknown),
        ),
        // Lifetime, with 300 s of skew.
        ("expired a moment ago", own.with("exp", json!(NOW)), Ok(())),
        ("expired 299 s ago", own.with("exp", json!(NOW - 299)), Ok(())),
        ("expired 300 s ago", own.with("exp", json!(NOW - 300)), Err(BotTokenLifetime)),
        ("expired 301 s ago", own.with("exp", json!(NOW - 301)), Err(BotTokenLifetime)),
        ("valid in 299 s", own.with("nbf", json!(NOW + 299)), Ok(())),
        ("valid in 300 s", own.with("nbf", json!(NOW + 300)), Ok(())),
        ("valid in 301 s", own.with("nbf", json!(NOW + 301)), Err(BotTokenLifetime)),
        ("exp missing", own.without("exp"), Err(BotTokenMalformed)),
        ("exp a text", own.with("exp", json!((NOW + 3599).to_string())), Err(BotTokenMalformed)),
        ("exp negative", own.with("exp", json!(-1)), Err(BotTokenMalformed)),
        ("exp a fraction", own.with("exp", json!(1.8e9 + 3600.5)), Err(BotTokenMalformed)),
        ("exp at the end of time", own.with("exp", json!(u64::MAX)), Ok(())),
        ("nbf at the end of time", own.with("nbf", json!(u64::MAX)), Err(BotTokenLifetime)),
        ("nbf a text", own.with("nbf", json!("now")), Err(BotTokenMalformed)),
        ("nbf missing", own.without("nbf"), Ok(())),
        // Claims said twice.
        (
            "aud twice",
            own.and_again("\"aud\":\"https://graph.microsoft.com\""),
            Err(BotTokenMalformed),
        ),
        ("exp twice", own.and_again("\"exp\":99999999999"), Err(BotTokenMalformed)),
        ("appid twice", own.and_again("\"appid\":\"x\""), Err(BotTokenMalformed)),
        ("roles twice", own.and_again("\"roles\":[]"), Err(BotTokenMalformed)),
        ("tid twice, once escaped", own.and_again("\"\\u0074id\":\"x\""), Err(BotTokenMalformed)),
        ("unknown claims", own.and_again("\"xms_cc\":[\"CP1\"],\"rh\":\"0.\""), Ok(())),
        // Application and kind of token.
        ("app unknown", own.with("appid", json!(OTHER_TENANT.to_string())), Err(BotAppUnknown)),
        ("appid missing", own.without("appid"), Err(BotTokenMalformed)),
        ("appid no GUID", own.with("appid", json!("bot")), Err(BotTokenMalformed)),
        ("azp the same", own.with("azp", json!(APP.to_string())), Ok(())),
        ("azp another", own.with("azp", json!(OTHER_TENANT.to_string())), Err(BotTokenMalformed)),
        ("delegated", own.with("scp", json!("Calls.Initiate")), Err(BotTokenDelegated)),
        ("delegated, scp empty", own.with("scp", json!("")), Err(BotTokenDelegated)),
        ("delegated, idtyp user", own.with("idtyp", json!("user")), Err(BotTokenDelegated)),
        (
            "delegated and expired",
            {
                let mut c = good_claims();
                c["scp"] = json!("x");
                c["exp"] = json!(1);
                own.token(&c)
            },
            Err(BotTokenLifetime),
        ),
        ("idtyp missing, sub and oid the same", own.without("idtyp"), Ok(())),
        (
            "idtyp missing, sub another",
            {
                let mut c = good_claims();
                c.as_object_mut().unwrap().remove("idtyp");
                c["sub"] = json!("s");
                own.token(&c)
            },
            Err(BotTokenDelegated),
        ),
        ("roles missing", own.without("roles"), Ok(())),
        ("roles a text", own.with("roles", json!("Calls.Initiate.All")), Err(BotTokenMalformed)),
        ("roles of numbers", own.with("roles", json!([1])), Err(BotTokenMalformed)),
    ];
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let (bare, signed) = none(alg);
        cases.push(("alg none, no signature", bare, Err(BotTokenHeader)));
        cases.push(("alg none, signature of another", signed, Err(BotTokenHeader)));
    }
    assert!(cases.len() >= 120, "{} cases", cases.len());
    for (name, token, expected) in &cases {
        let outcome = authority.verify(Some(&format!("Bearer {token}")), NOW).map(|_| ());
        assert_eq!(outcome, *expected, "{name}");
    }
}
