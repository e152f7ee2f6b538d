//! The Standard Webhooks signature of a notification: HMAC-SHA256 over `id.timestamp.body` with a
//! secret that the server shares with one application (Standard Webhooks 1.0.0, "Signature scheme").
//! Pure.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use graphophone_call::AppId;
use reqwest::header::HeaderValue;

use crate::auth::Secret;

/// What a secret begins with in a file.
const PREFIX: &str = "whsec_";
/// Bytes of a secret (Standard Webhooks, "Symmetric signatures").
const LENGTHS: std::ops::RangeInclusive<usize> = 24..=64;

/// A secret that signs, ready for use. Prints nothing of itself.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

/// A configured secret that is none. The text does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write \"whsec_\" and 24 to 64 random bytes in base64, as `openssl rand -base64 32` gives")]
pub struct ConfigWebhookSecret;

impl WebhookSecret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`ConfigWebhookSecret`] for another form or length.
    pub fn parse(secret: &Secret) -> Result<Self, ConfigWebhookSecret> {
        let text = secret.expose().strip_prefix(PREFIX).ok_or(ConfigWebhookSecret)?;
        let bytes = STANDARD.decode(text).map_err(|_| ConfigWebhookSecret)?;
        if !LENGTHS.contains(&bytes.len()) {
            return Err(ConfigWebhookSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// One signature of the header: `v1,` and the code in base64.
    fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut code = hmac::Context::with_key(&self.0);
        code.update(format!("{id}.{timestamp}.").as_bytes());
        code.update(body);
        format!("v1,{}", STANDARD.encode(code.sign()))
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The secrets of all applications. While one is replaced by another an application has two, and
/// each notification carries a signature by each, the newer first.
#[derive(Clone, Debug, Default)]
pub struct WebhookSecrets {
    of_app: BTreeMap<AppId, Vec<WebhookSecret>>,
    otherwise: Option<WebhookSecret>,
}

impl WebhookSecrets {
    /// The same with one more secret of an application, behind those that it has.
    #[must_use]
    pub fn with(mut self, app: AppId, secret: WebhookSecret) -> Self {
        self.of_app.entry(app).or_default().push(secret);
        self
    }

    /// The same with a secret for every application that has none of its own.
    #[must_use]
    pub fn otherwise(mut self, secret: WebhookSecret) -> Self {
        self.otherwise = Some(secret);
        self
    }

    /// Value of `webhook-signature` for the values of `webhook-id` and `webhook-timestamp` (unix
    /// seconds); `None` without a secret.
    pub(crate) fn header(
        &self,
        app: AppId,
        id: &str,
        timestamp: i64,
        body: &[u8],
    ) -> Option<HeaderValue> {
        let secrets = match self.of_app.get(&app) {
            Some(secrets) => secrets.as_slice(),
            None => self.otherwise.as_slice(),
        };
        let signatures: Vec<_> =
            secrets.iter().map(|secret| secret.sign(id, timestamp, body)).collect();
        let text = Some(signatures.join(" ")).filter(|text| !text.is_empty())?;
        Some(HeaderValue::try_from(text).expect("base64 is header text"))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    // The example of the specification and of its reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    const APP: AppId = AppId::new(Uuid::from_u128(1));

    fn secret(text: &str) -> WebhookSecret {
        WebhookSecret::parse(&Secret::new(text)).unwrap()
    }

    fn other() -> WebhookSecret {
        secret(&format!("whsec_{}", STANDARD.encode([7; 32])))
    }

    #[test]
    fn the_signature_of_the_specifications_example_is_its_own() {
        let secrets = WebhookSecrets::default().with(APP, secret(SECRET));
        let header = secrets.header(APP, ID, TIMESTAMP, BODY).unwrap();
        assert_eq!(header, SIGNATURE);
    }

    #[test]
    fn the_reference_implementation_takes_it_and_nothing_that_was_changed() {
        let theirs = standardwebhooks::Webhook::new(SECRET).unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        // A replacement is under way: a bot with either secret believes it.
        let secrets = WebhookSecrets::default().with(APP, other()).with(APP, secret(SECRET));
        let header = secrets.header(APP, ID, now, BODY).unwrap();
        assert_eq!(header.to_str().unwrap().split(' ').count(), 2);
        let verify = |id: &str, timestamp: i64, body: &[u8], signature: &HeaderValue| {
            let mut headers = reqwest::header::HeaderMap::new();
            headers.insert("webhook-id", id.parse().unwrap());
            headers.insert("webhook-timestamp", timestamp.into());
            headers.insert("webhook-signature", signature.clone());
            theirs.verify(body, &headers).is_ok()
        };
        assert!(verify(ID, now, BODY, &header));
        assert!(!verify("msg_other", now, BODY, &header));
        assert!(!verify(ID, now + 1, BODY, &header));
        assert!(!verify(ID, now, b"{}", &header));
        let by_another = WebhookSecrets::default().with(APP, other());
        assert!(!verify(ID, now, BODY, &by_another.header(APP, ID, now, BODY).unwrap()));
        let old = secrets.header(APP, ID, now - 600, BODY).unwrap();
        assert!(!verify(ID, now - 600, BODY, &old), "a record of ten minutes ago is no news");
    }

    #[test]
    fn an_application_without_a_secret_gets_none_of_the_others() {
        let secrets = WebhookSecrets::default().with(APP, secret(SECRET));
        let stranger = AppId::new(Uuid::from_u128(2));
        assert_eq!(secrets.header(stranger, ID, TIMESTAMP, BODY), None);
        let secrets = secrets.otherwise(other());
        let header = secrets.header(stranger, ID, TIMESTAMP, BODY).unwrap();
        assert_eq!(header.to_str().unwrap(), other().sign(ID, TIMESTAMP, BODY));
        assert_eq!(secrets.header(APP, ID, TIMESTAMP, BODY).unwrap(), SIGNATURE);
    }

    #[test]
    fn a_secret_has_its_form_and_its_length_and_is_not_printed() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![1; bytes]));
        for good in [of(24), of(32), of(64)] {
            let secrets = WebhookSecrets::default().with(APP, secret(&good));
            let printed = format!("{secrets:?}");
            assert!(printed.contains("***") && !printed.contains(&good[6..]), "{printed}");
        }
        for bad in ["", "whsec_", "hunter2", &of(23), &of(65), &of(32)[6..], "whsec_%%%%"] {
            WebhookSecret::parse(&Secret::new(bad)).unwrap_err();
        }
    }
}
