//! Signs the tokens on our notifications (spec notifications.md §3), and checks them for whoever
//! receives notifications in our own tools.

use std::sync::Arc;

use graphophone_call::{AppId, TenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Authority, CLOCK_SKEW, jwk::Jwks, jws, jws::JwsError, token_cache::TokenCache};

/// Life of a notification token in seconds, as observed of the real service.
pub const NOTIFICATION_LIFETIME: u64 = 3900;
/// A token goes out again only while it has at least this long to live, in seconds.
pub const MIN_REMAINING_LIFE: u64 = 600;
/// Most tokens that are kept.
const MAX_CACHED: usize = 4096;

/// Who our notifications say they are from. Bots built on Microsoft's samples accept both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum NotificationIssuer {
    /// `https://api.botframework.com`: what the real service uses.
    #[default]
    #[serde(rename = "https://api.botframework.com")]
    BotFramework,
    /// `https://graph.microsoft.com`.
    #[serde(rename = "https://graph.microsoft.com")]
    Graph,
}

impl NotificationIssuer {
    /// Value of the `iss` claim.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BotFramework => "https://api.botframework.com",
            Self::Graph => "https://graph.microsoft.com",
        }
    }
}

impl Authority {
    /// The bearer token for a notification to `app` about a call of `tenant`, at `now` (unix
    /// seconds). Signing takes about half a millisecond of CPU, so a token serves until it has less than
    /// [`MIN_REMAINING_LIFE`] left, the clock has gone back before its beginning, or another key
    /// signs.
    pub fn sign_notification(&self, app: AppId, tenant: TenantId, now: u64) -> String {
        let key = self.inner.keys.notifications.signing(now);
        if let Some(token) = self.inner.signed.get(app, tenant, key.kid(), now) {
            return token;
        }
        let claims = NotificationClaims {
            aud: app.uuid(),
            iss: self.inner.settings.notification_issuer.name().into(),
            iat: now,
            nbf: now,
            exp: now + NOTIFICATION_LIFETIME,
            tid: Some(tenant.uuid()),
        };
        let token = jws::sign(&key, &claims);
        self.inner.signed.put(app, tenant, key.kid(), now, &token);
        token
    }
}

/// What a good notification token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedNotification {
    /// Tenant of the call.
    pub tenant: TenantId,
    /// Who it says it is from.
    pub issuer: NotificationIssuer,
    /// When it expires, unix seconds.
    pub expires: u64,
}

/// Why a bot should not believe a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotificationTokenError {
    /// Not a JWT signed with RS256.
    #[error("the notification's token is not a JWT signed with RS256")]
    PeerMalformed,
    /// A key that is not in the key set.
    #[error("the notification's token names a key that is not in the key set")]
    PeerKeyUnknown,
    /// The signature does not fit.
    #[error("the signature of the notification's token is wrong")]
    PeerSignature,
    /// Another issuer.
    #[error("the notification's token is from another issuer")]
    PeerIssuer,
    /// For another application.
    #[error("the notification's token is for another application")]
    PeerAudience,
    /// Expired or not yet valid, beyond five minutes.
    #[error("the notification's token has expired or is not yet valid")]
    PeerLifetime,
    /// No tenant.
    #[error("the notification's token has no tenant")]
    PeerTenantMissing,
}

/// Checks the token of a notification as Microsoft's sample bots do: key set, issuer, audience,
/// lifetime, tenant claim. `now` is unix seconds.
///
/// # Errors
/// The first check that fails, in that order.
pub fn verify_notification(
    token: &str,
    expected_app: AppId,
    jwks: &Jwks,
    now: u64,
) -> Result<VerifiedNotification, NotificationTokenError> {
    let claims: NotificationClaims =
        jws::verify(token, |kid| jwks.key(kid)).map_err(|error| match error {
            JwsError::TooLong | JwsError::Malformed | JwsError::Algorithm | JwsError::Header => {
                NotificationTokenError::PeerMalformed
            }
            JwsError::KeyUnknown => NotificationTokenError::PeerKeyUnknown,
            JwsError::Signature => NotificationTokenError::PeerSignature,
        })?;
    let issuer = [NotificationIssuer::BotFramework, NotificationIssuer::Graph]
        .into_iter()
        .find(|issuer| issuer.name() == claims.iss)
        .ok_or(NotificationTokenError::PeerIssuer)?;
    if claims.aud != expected_app.uuid() {
        return Err(NotificationTokenError::PeerAudience);
    }
    let expired = now >= claims.exp.saturating_add(CLOCK_SKEW);
    if expired || claims.nbf > now.saturating_add(CLOCK_SKEW) {
        return Err(NotificationTokenError::PeerLifetime);
    }
    let tenant = claims.tid.ok_or(NotificationTokenError::PeerTenantMissing)?;
    Ok(VerifiedNotification { tenant: TenantId::new(tenant), issuer, expires: claims.exp })
}

#[derive(Serialize, Deserialize)]
struct NotificationClaims {
    aud: Uuid,
    iss: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    #[serde(default)]
    tid: Option<Uuid>,
}

/// Tokens that may go out again.
#[derive(Debug, Default)]
pub(super) struct SignedCache(TokenCache<(AppId, TenantId), Signed, MAX_CACHED>);

#[derive(Clone)]
struct Signed {
    issued: u64,
    kid: Arc<str>,
    token: String,
}

impl SignedCache {
    fn get(&self, app: AppId, tenant: TenantId, kid: &str, now: u64) -> Option<String> {
        let Signed { issued, kid: signed_by, token } = self.0.get(&(app, tenant))?;
        let fresh = now + MIN_REMAINING_LIFE <= issued + NOTIFICATION_LIFETIME;
        (fresh && now >= issued && *signed_by == *kid).then_some(token)
    }

    fn put(&self, app: AppId, tenant: TenantId, kid: &str, issued: u64, token: &str) {
        let expires = issued + NOTIFICATION_LIFETIME;
        let signed = Signed { issued, kid: kid.into(), token: token.to_owned() };
        self.0.put((app, tenant), expires, signed);
    }
}

#[cfg(test)]
mod tests;
