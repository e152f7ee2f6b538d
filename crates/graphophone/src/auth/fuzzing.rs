//! Doors for the target `jwt` in `fuzz/`: an authority with one tenant and one application.

use std::sync::Arc;

use graphophone_call::{AppId, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    AppSettings, AuthSettings, Authority, Keys, Secret, bearer, jws, keys::SigningKey,
    token_request, token_request::Version,
};

/// The tenant that is known.
pub const TENANT: &str = "11111111-1111-4111-8111-111111111111";
/// The application that is known.
pub const APP: &str = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
/// When tokens are checked, in unix seconds.
pub const NOW: u64 = 1_800_000_000;

/// The authority.
pub struct TokenCheck {
    authority: Authority,
    settings: AuthSettings,
}

impl TokenCheck {
    /// With keys of its own.
    #[expect(clippy::new_without_default, reason = "a door, not a type")]
    pub fn new() -> Self {
        let uuid = |text: &str| text.parse::<Uuid>().expect("a constant");
        let tenant = TenantId::new(uuid(TENANT));
        let settings = AuthSettings {
            tenants: vec![tenant],
            apps: vec![AppSettings {
                id: AppId::new(uuid(APP)),
                tenant,
                secret: Secret::new("correct horse battery staple"),
                roles: vec!["Calls.Initiate.All".into()],
            }],
            ..AuthSettings::default()
        };
        let keys = Keys::ephemeral().expect("keys can be made");
        let authority = Authority::new(settings.clone(), keys).expect("the settings are sound");
        Self { authority, settings }
    }

    /// Claims of a good token.
    pub fn good_claims() -> Value {
        let tenant = TenantId::new(TENANT.parse().expect("a constant"));
        json!({
            "aud": bearer::GRAPH_AUDIENCE, "iss": bearer::issuer(tenant), "tid": TENANT,
            "appid": APP, "exp": NOW + 3_600, "nbf": NOW, "idtyp": "app",
            "roles": ["Calls.Initiate.All"],
        })
    }

    /// A token with these claims and our signature.
    pub fn sign(&self, claims: &Value) -> String {
        jws::sign(&self.key(), claims)
    }

    /// Our signature over any bytes.
    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        self.key().sign(message)
    }

    /// The name of our key.
    pub fn kid(&self) -> String {
        self.key().kid().to_owned()
    }

    fn key(&self) -> Arc<SigningKey> {
        self.authority.inner.keys.tokens.signing(NOW)
    }

    /// Whether a token is let in.
    pub fn lets_in(&self, token: &str) -> bool {
        self.authority.verify(Some(&format!("Bearer {token}")), NOW).is_ok()
    }

    /// Reads a token request: its application, if it can be read.
    pub fn token_request(&self, body: &[u8], authorization: Option<&str>) -> Option<String> {
        token_request::read(Version::V2, body, authorization, Some("localhost"), &self.settings)
            .ok()
            .map(|request| request.app.to_string())
    }
}
