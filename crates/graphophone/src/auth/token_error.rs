//! Errors of the token endpoints as Entra phrases them: an `error` of RFC 6749 §5.2 and an AADSTS
//! number that people search for.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use uuid::Uuid;

use super::secret::random_bytes;

/// What went wrong with a token or discovery request. The fields are what the client sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    #[error("The request body must contain the following parameter: '{0}'.")]
    BotParameterMissing(&'static str),
    #[error("The request contains the parameter '{0}' more than once, or with two values.")]
    BotParameterTwice(&'static str),
    #[error("The request body must be application/x-www-form-urlencoded, but its type is '{0}'.")]
    BotContentType(String),
    #[error("The Host header of the request is missing or is no host name.")]
    BotHost,
    #[error("The endpoint only accepts POST requests.")]
    BotMethod,
    #[error("The request body is too large.")]
    BotBodyTooLarge,
    #[error("The Content-Encoding of the request body must be gzip or identity.")]
    BotContentEncoding,
    #[error("The request body could not be read.")]
    BotBodyUnreadable,
    #[error(
        "Tenant '{0}' not found. Check that the tenant id in the URL is one that is configured."
    )]
    BotTenantUnknown(String),
    #[error(
        "Application with identifier '{app}' was not found in the directory '{tenant}'. \
         Check that the client id is configured, and for this tenant."
    )]
    BotAppUnknown { app: String, tenant: String },
    #[error("The dev profile makes no more applications; restart it to begin anew.")]
    BotTooManyApps,
    #[error("Invalid client secret provided for app '{app}'.{hint}")]
    BotSecretWrong { app: String, hint: &'static str },
    #[error(
        "The request body must contain the following parameter: 'client_assertion' or \
         'client_secret'. Graphophone takes a client secret, in the body or as HTTP Basic."
    )]
    BotSecretMissing,
    #[error("The grant type '{0}' is not supported. Applications use 'client_credentials'.")]
    BotGrantUnsupported(String),
    #[error(
        "The provided value for scope '{0}' is not valid. Client credential flows must have one \
         scope value with /.default suffixed to the resource identifier."
    )]
    BotScopeNotDefault(String),
    #[error(
        "The provided value for the input parameter 'scope' is not valid. The scope '{0}' names \
         a resource that is not this server; use https://graph.microsoft.com/.default."
    )]
    BotScopeUnknown(String),
    #[error("The resource principal named '{0}' was not found; use https://graph.microsoft.com.")]
    BotResourceUnknown(String),
    #[error("The 'resource' request parameter is not supported; send 'scope'.")]
    BotResourceOnV2,
    #[error("The authority '{0}' is not this server.")]
    BotAuthorityUnknown(String),
}

impl TokenError {
    /// HTTP status, OAuth error, AADSTS number.
    pub(super) fn parts(&self) -> (StatusCode, &'static str, u32) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
        match self {
            Self::BotParameterMissing(_) => (BAD, "invalid_request", 900_144),
            Self::BotParameterTwice(_) => (BAD, "invalid_request", 90_013),
            Self::BotContentType(_) => (BAD, "invalid_request", 900_144),
            Self::BotHost => (BAD, "invalid_request", 90_013),
            Self::BotMethod => (StatusCode::METHOD_NOT_ALLOWED, "invalid_request", 900_561),
            Self::BotBodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", 90_013),
            Self::BotContentEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", 90_013)
            }
            Self::BotBodyUnreadable => (BAD, "invalid_request", 90_013),
            Self::BotTenantUnknown(_) => (BAD, "invalid_request", 90_002),
            Self::BotAppUnknown { .. } => (BAD, "unauthorized_client", 700_016),
            Self::BotTooManyApps => (BAD, "unauthorized_client", 700_016),
            Self::BotSecretWrong { .. } => (UNAUTHORIZED, "invalid_client", 7_000_215),
            Self::BotSecretMissing => (UNAUTHORIZED, "invalid_client", 7_000_218),
            Self::BotGrantUnsupported(_) => (BAD, "unsupported_grant_type", 70_003),
            Self::BotScopeNotDefault(_) => (BAD, "invalid_scope", 1_002_012),
            Self::BotScopeUnknown(_) => (BAD, "invalid_scope", 70_011),
            Self::BotResourceUnknown(_) => (BAD, "invalid_resource", 500_011),
            Self::BotResourceOnV2 => (BAD, "invalid_request", 901_002),
            Self::BotAuthorityUnknown(_) => (BAD, "invalid_instance", 50_049),
        }
    }

    /// The answer. `correlation` is the request's `client-request-id`, if it sent one.
    pub(super) fn answer(&self, now: u64, correlation: Option<Uuid>) -> Response {
        let (status, error, code) = self.parts();
        let trace_id = random_uuid();
        let correlation_id = correlation.unwrap_or_else(random_uuid);
        let timestamp = timestamp(now);
        tracing::debug!(%trace_id, %correlation_id, code, error = %self, "no token");
        let body = ErrorBody {
            error,
            error_description: format!(
                "AADSTS{code}: {self} Trace ID: {trace_id} Correlation ID: {correlation_id} \
                 Timestamp: {timestamp}"
            ),
            error_codes: [code],
            timestamp,
            trace_id,
            correlation_id,
            error_uri: format!("https://login.microsoftonline.com/error?code={code}"),
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        if status == StatusCode::UNAUTHORIZED {
            // RFC 6749 §5.2: needed for clients that used Basic, harmless for the others.
            let basic = HeaderValue::from_static("Basic realm=\"graphophone\"");
            headers.insert(header::WWW_AUTHENTICATE, basic);
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

/// What the client sent, short enough to be sent back.
pub(super) fn quoted(text: &str) -> String {
    const LONGEST: usize = 120;
    let safe = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(LONGEST).map(safe).collect()
}

#[derive(Serialize)]
struct ErrorBody {
    error: &'static str,
    error_description: String,
    error_codes: [u32; 1],
    timestamp: String,
    trace_id: Uuid,
    correlation_id: Uuid,
    error_uri: String,
}

fn random_uuid() -> Uuid {
    uuid::Builder::from_random_bytes(random_bytes()).into_uuid()
}

/// `2026-01-01 00:00:00Z`
fn timestamp(now: u64) -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let seconds = i64::try_from(now).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(FORMAT).expect("the format has only parts that every date has")
}
