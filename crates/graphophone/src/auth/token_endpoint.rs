//! The HTTP side of the authority (spec auth.md §1): token endpoints of both versions, OpenID
//! documents, key sets, and what bots check our notifications with.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use graphophone_call::{AppId, TenantId};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    Authority, bearer,
    directory::{Grant, Refusal, Segment},
    discovery::{self, Base},
    jws,
    secret::random_bytes,
    token_error::{TokenError, quoted},
    token_request::{self, Resource, Version},
    unix_now,
};

use crate::api::encoding;

pub use super::discovery::Scheme;

/// Largest body of a token request, in bytes; real ones have about 1 KiB.
const MAX_BODY: usize = 32 * 1024;

/// All endpoints. The HTTPS listener should add `Extension(Scheme::Https)`, see [`Scheme`].
pub fn router(authority: Authority) -> Router {
    let wrong_method = || async { TokenError::BotMethod.answer(unix_now(), None) };
    Router::new()
        .route("/{tenant}/oauth2/v2.0/token", post(token_v2).fallback(wrong_method))
        .route("/{tenant}/oauth2/token", post(token_v1).fallback(wrong_method))
        .route("/{tenant}/v2.0/.well-known/openid-configuration", get(openid_configuration))
        .route("/{tenant}/.well-known/openid-configuration", get(openid_configuration))
        .route("/{tenant}/discovery/v2.0/keys", get(token_keys))
        .route("/{tenant}/discovery/keys", get(token_keys))
        .route("/{tenant}/discovery/instance", get(instance))
        .route("/v1/.well-known/{document}", get(notification_document))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(authority)
}

impl Authority {
    /// An access token for Graph as the token endpoint would give it, for the server's own use
    /// (`demo`, tests). `now` is unix seconds.
    ///
    /// The application and its tenant need not be registered, but then [`Authority::verify`]
    /// refuses the token unless the dev profile is on.
    pub fn access_token<'a>(
        &self,
        app: AppId,
        tenant: TenantId,
        roles: impl IntoIterator<Item = &'a str>,
        now: u64,
    ) -> String {
        let roles: Arc<[String]> = roles.into_iter().map(str::to_owned).collect();
        self.mint(&Grant { app, tenant, roles }, &Resource::Graph, now)
    }

    fn mint(&self, grant: &Grant, resource: &Resource, now: u64) -> String {
        let object = service_principal(grant.app, grant.tenant);
        let issuer = bearer::issuer(grant.tenant);
        let roles = match resource {
            Resource::Graph | Resource::Extra(_) => Some(&*grant.roles),
            // Observed of Entra: its token for the Bot Framework opens no call.
            Resource::BotFramework => None,
        };
        let claims = AccessClaims {
            aud: resource.audience(),
            iss: &issuer,
            iat: now,
            nbf: now,
            exp: now + self.inner.settings.token_lifetime.as_secs(),
            appid: grant.app.uuid(),
            appidacr: "1",
            idp: &issuer,
            idtyp: "app",
            oid: object,
            roles: roles.filter(|roles| !roles.is_empty()),
            sub: object,
            tid: grant.tenant.uuid(),
            uti: URL_SAFE_NO_PAD.encode(random_bytes::<16>()),
            ver: "1.0",
        };
        jws::sign(&self.inner.keys.tokens.signing(now), &claims)
    }

    fn answer(
        &self,
        version: Version,
        tenant: &str,
        request: &TokenParts<'_>,
        now: u64,
    ) -> Result<TokenBody, TokenError> {
        let unknown_tenant = || TokenError::BotTenantUnknown(quoted(tenant));
        let segment = Segment::parse(tenant).ok_or_else(unknown_tenant)?;
        if matches!(segment, Segment::Tenant(id) if !self.inner.directory.has_tenant(id)) {
            return Err(unknown_tenant());
        }
        let settings = &self.inner.settings;
        let host = request.host;
        let asked =
            token_request::read(version, request.body, request.authorization, host, settings)
                .map_err(|error| request.explain(error))?;
        let app = asked.app.to_string();
        let grant = self
            .inner
            .directory
            .authenticate(segment, asked.app, asked.secret.expose())
            .map_err(|refusal| match refusal {
                Refusal::UnknownTenant => unknown_tenant(),
                Refusal::UnknownApp => TokenError::BotAppUnknown { app, tenant: quoted(tenant) },
                Refusal::WrongSecret { provisioned } => {
                    TokenError::BotSecretWrong { app, hint: secret_hint(provisioned) }
                }
                Refusal::Full => TokenError::BotTooManyApps,
            })?;
        let access_token = self.mint(&grant, &asked.resource, now);
        let lifetime = settings.token_lifetime.as_secs();
        Ok(match version {
            Version::V2 => TokenBody::V2 {
                token_type: "Bearer",
                expires_in: lifetime,
                ext_expires_in: lifetime,
                access_token,
            },
            Version::V1 => TokenBody::V1 {
                token_type: "Bearer",
                expires_in: lifetime.to_string(),
                ext_expires_in: lifetime.to_string(),
                expires_on: (now + lifetime).to_string(),
                not_before: now.to_string(),
                resource: asked.resource.audience().to_owned(),
                access_token,
            },
        })
    }
}

/// What a token request is read from.
struct TokenParts<'a> {
    body: &'a [u8],
    authorization: Option<&'a str>,
    content_type: Option<&'a str>,
    host: Option<&'a str>,
}

impl TokenParts<'_> {
    /// A form is read whatever its type says, but if that fails the type is the likely reason.
    fn explain(&self, error: TokenError) -> TokenError {
        match (&error, self.content_type) {
            (TokenError::BotParameterMissing("grant_type"), Some(kind))
                if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") =>
            {
                TokenError::BotContentType(quoted(kind))
            }
            _ => error,
        }
    }
}

async fn token_v2(
    state: State<Authority>,
    tenant: Path<String>,
    base: Base,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    token(Version::V2, &state, &tenant, &base, &headers, body)
}

async fn token_v1(
    state: State<Authority>,
    tenant: Path<String>,
    base: Base,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    token(Version::V1, &state, &tenant, &base, &headers, body)
}

fn token(
    version: Version,
    authority: &Authority,
    tenant: &str,
    base: &Base,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let now = unix_now();
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let correlation =
        headers.get("client-request-id").and_then(|id| Uuid::try_parse(id.to_str().ok()?).ok());
    let outcome = match body {
        _ if headers.get(header::CONTENT_ENCODING).is_some_and(encoding::is_unknown) => {
            Err(TokenError::BotContentEncoding)
        }
        Ok(body) => authority.answer(
            version,
            tenant,
            &TokenParts {
                body: &body,
                authorization: text(header::AUTHORIZATION),
                content_type: text(header::CONTENT_TYPE),
                host: Some(&base.host),
            },
            now,
        ),
        Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Err(TokenError::BotBodyTooLarge)
        }
        Err(_) => Err(TokenError::BotBodyUnreadable),
    };
    match outcome {
        Ok(body) => {
            // RFC 6749 §5.1.
            let caching = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
            (caching, Json(body)).into_response()
        }
        Err(error) => error.answer(now, correlation),
    }
}

async fn openid_configuration(
    State(authority): State<Authority>,
    Path(tenant): Path<String>,
    base: Base,
) -> Response {
    match authority.known_segment(&tenant) {
        Ok(segment) => {
            Json(discovery::openid_configuration(&base, segment, &tenant)).into_response()
        }
        Err(error) => error.answer(unix_now(), None),
    }
}

async fn token_keys(State(authority): State<Authority>, Path(tenant): Path<String>) -> Response {
    match authority.known_segment(&tenant) {
        Ok(_) => Json(authority.inner.keys.token_jwks(unix_now())).into_response(),
        Err(error) => error.answer(unix_now(), None),
    }
}

async fn instance(
    State(authority): State<Authority>,
    base: Base,
    RawQuery(query): RawQuery,
) -> Response {
    let answer = discovery::query_value(query.as_deref(), "authorization_endpoint")
        .ok_or(TokenError::BotParameterMissing("authorization_endpoint"))
        .and_then(|endpoint| {
            discovery::instance(&base, &endpoint, &authority.inner.settings.public_urls)
        });
    match answer {
        Ok(document) => Json(document).into_response(),
        Err(error) => error.answer(unix_now(), None),
    }
}

/// Bot libraries spell the document's name in three ways.
async fn notification_document(
    State(authority): State<Authority>,
    Path(document): Path<String>,
    base: Base,
) -> Response {
    match document.to_ascii_lowercase().as_str() {
        "openidconfiguration" | "openid-configuration" => {
            let issuer = authority.inner.settings.notification_issuer.name();
            Json(discovery::notification_configuration(&base, issuer)).into_response()
        }
        "keys" => Json(authority.inner.keys.notification_jwks(unix_now())).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Authority {
    fn known_segment(&self, tenant: &str) -> Result<Segment, TokenError> {
        let unknown = || TokenError::BotTenantUnknown(quoted(tenant));
        let segment = Segment::parse(tenant).ok_or_else(unknown)?;
        match segment {
            Segment::Tenant(id) if !self.inner.directory.has_tenant(id) => Err(unknown()),
            Segment::Tenant(_) | Segment::Shared | Segment::Domain => Ok(segment),
        }
    }
}

/// v1-format claims (spec auth.md §3), in Entra's order.
#[derive(Serialize)]
struct AccessClaims<'a> {
    aud: &'a str,
    iss: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    appid: Uuid,
    appidacr: &'a str,
    idp: &'a str,
    idtyp: &'a str,
    oid: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    roles: Option<&'a [String]>,
    sub: Uuid,
    tid: Uuid,
    uti: String,
    ver: &'a str,
}

/// v1 has its numbers in quotes.
#[derive(Serialize)]
#[serde(untagged)]
enum TokenBody {
    V2 {
        token_type: &'static str,
        expires_in: u64,
        ext_expires_in: u64,
        access_token: String,
    },
    V1 {
        token_type: &'static str,
        expires_in: String,
        ext_expires_in: String,
        expires_on: String,
        not_before: String,
        resource: String,
        access_token: String,
    },
}

/// `oid` and `sub`: the application's object in that tenant. The same at every start, so it is
/// made from both ids instead of being kept.
fn service_principal(app: AppId, tenant: TenantId) -> Uuid {
    let mut hash = Sha256::new();
    hash.update(b"graphophone service principal");
    hash.update(tenant.uuid().as_bytes());
    hash.update(app.uuid().as_bytes());
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

const fn secret_hint(provisioned: bool) -> &'static str {
    if provisioned {
        " The dev profile keeps the secret an application first came with until it stops."
    } else {
        ""
    }
}

#[cfg(test)]
mod tests;
