//! Checks the bearer token of a Graph request (spec auth.md §4) and says what to answer if it is
//! not good enough.

use std::collections::HashSet;

use graphophone_call::{AppId, TenantId};
use serde::Deserialize;
use serde_json::Value;

use super::{
    AuthSettings, Authority, CLOCK_SKEW, Role, RoleSet, jws, jws::JwsError, secret::bearer_token,
};

/// Longest token that is looked at, in bytes.
pub(crate) const LONGEST_TOKEN: usize = jws::MAX_TOKEN;
/// `aud` of the access tokens we give for Graph.
pub(super) const GRAPH_AUDIENCE: &str = "https://graph.microsoft.com";
/// `aud` of tokens for the Bot Framework: accepted, but they carry no roles.
pub(super) const BOT_FRAMEWORK_AUDIENCE: &str = "https://api.botframework.com";
/// Graph's application id, which Entra also uses as `aud`.
pub(super) const GRAPH_APP_ID: &str = "00000003-0000-0000-c000-000000000000";

/// `iss` of a token of that tenant, in the v1 format that Entra uses for Graph.
pub(super) fn issuer(tenant: TenantId) -> String {
    format!("https://sts.windows.net/{tenant}/")
}

/// A bot that proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The application: owner of the calls it makes.
    pub app: AppId,
    /// The tenant the token was given for.
    pub tenant: TenantId,
    /// What it may do.
    pub roles: RoleSet,
}

impl Caller {
    /// Whether its token carries that role, in either spelling.
    pub const fn has(&self, role: Role) -> bool {
        self.roles.has(role)
    }
}

/// Why a request is turned away before anyone looks at what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization` header, another scheme, or an empty token.
    #[error("Access token is empty.")]
    BotTokenMissing,
    /// More bytes than any token of ours.
    #[error("Access token is too long.")]
    BotTokenTooLong,
    /// Not a signed JWT, or one whose claims are not what they should be.
    #[error("CompactToken parsing failed with error code: 80049217")]
    BotTokenMalformed,
    /// Another algorithm than RS256, or a header that asks for more.
    #[error("Access token validation failure. The token's algorithm or header is not supported.")]
    BotTokenHeader,
    /// A key we do not have.
    #[error("Access token validation failure. The signing key is unknown.")]
    BotTokenKeyUnknown,
    /// The signature does not fit.
    #[error("Access token validation failure. Signature is invalid.")]
    BotTokenSignature,
    /// Meant for another service.
    #[error("Access token validation failure. Invalid audience.")]
    BotTokenAudience,
    /// Issued by another authority, or for another tenant than it says.
    #[error("Access token validation failure. Invalid issuer.")]
    BotTokenIssuer,
    /// Expired or not yet valid, beyond the clock skew.
    #[error("Access token has expired or is not yet valid.")]
    BotTokenLifetime,
    /// The application is not, or no longer, configured here.
    #[error("Access token validation failure. The application is not registered here.")]
    BotAppUnknown,
    /// A user's token: the calling API takes application tokens only.
    #[error("Delegated tokens are not supported, an application token is required.")]
    BotTokenDelegated,
}

impl AuthError {
    /// HTTP status to answer: 401, or 403 for a good token of the wrong kind.
    pub const fn status(self) -> u16 {
        match self {
            Self::BotTokenDelegated => 403,
            Self::BotTokenMissing
            | Self::BotTokenTooLong
            | Self::BotTokenMalformed
            | Self::BotTokenHeader
            | Self::BotTokenKeyUnknown
            | Self::BotTokenSignature
            | Self::BotTokenAudience
            | Self::BotTokenIssuer
            | Self::BotTokenLifetime
            | Self::BotAppUnknown => 401,
        }
    }

    /// `error.code` of Graph's error envelope; the message is the error's text.
    pub const fn code(self) -> &'static str {
        if self.status() == 403 { "Forbidden" } else { "InvalidAuthenticationToken" }
    }

    /// `WWW-Authenticate` to send along (RFC 6750 §3), for those answers that have one. Never with
    /// `claims`: that would send Microsoft's clients into a second round.
    pub const fn www_authenticate(self) -> Option<&'static str> {
        if self.status() == 401 { Some(CHALLENGE) } else { None }
    }
}

const CHALLENGE: &str = "Bearer realm=\"\", \
    authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", \
    client_id=\"00000003-0000-0000-c000-000000000000\"";

impl From<JwsError> for AuthError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::TooLong => Self::BotTokenTooLong,
            JwsError::Malformed => Self::BotTokenMalformed,
            JwsError::Algorithm | JwsError::Header => Self::BotTokenHeader,
            JwsError::KeyUnknown => Self::BotTokenKeyUnknown,
            JwsError::Signature => Self::BotTokenSignature,
        }
    }
}

impl Authority {
    /// Checks the value of the `Authorization` header at `now` (unix seconds).
    ///
    /// # Errors
    /// See [`AuthError`]: its text, `status`, `code` and `www_authenticate` are the answer.
    pub fn verify(&self, authorization: Option<&str>, now: u64) -> Result<Caller, AuthError> {
        let token = authorization.and_then(bearer_token).ok_or(AuthError::BotTokenMissing)?;
        let caller = match self.inner.verified.get(token) {
            Some((caller, lifetime)) => {
                lifetime.check(now)?;
                caller
            }
            None => {
                let key = &self.inner.keys.tokens;
                let find = |kid: &str| (kid == key.kid()).then(|| key.verifying());
                let claims: Claims = jws::verify(token, find)?;
                let (caller, lifetime) = claims.check(&self.inner.audiences, now)?;
                self.inner.verified.put(token, caller, lifetime);
                caller
            }
        };
        if !self.inner.directory.has_app(caller.app, caller.tenant) {
            return Err(AuthError::BotAppUnknown);
        }
        Ok(caller)
    }
}

/// Every `aud` that means this server.
pub(super) fn audiences(settings: &AuthSettings) -> HashSet<String> {
    let own = settings.public_urls.iter().map(|url| url.as_str().trim_end_matches('/'));
    let known = [GRAPH_AUDIENCE, BOT_FRAMEWORK_AUDIENCE];
    let mut audiences: HashSet<String> = known
        .into_iter()
        .chain(own)
        .flat_map(|audience| [audience.to_owned(), format!("{audience}/")])
        .collect();
    audiences.insert(GRAPH_APP_ID.to_owned());
    audiences.extend(settings.extra_audiences.iter().cloned());
    audiences
}

/// When a token is good, in unix seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    not_before: u64,
    pub(super) expires: u64,
}

impl Lifetime {
    /// Valid while nbf ≤ now + skew and now − skew < exp (RFC 7519 §4.1.4: "on or after" is late).
    fn check(self, now: u64) -> Result<(), AuthError> {
        let expired = now >= self.expires.saturating_add(CLOCK_SKEW);
        let early = self.not_before > now.saturating_add(CLOCK_SKEW);
        if expired || early { Err(AuthError::BotTokenLifetime) } else { Ok(()) }
    }
}

/// The claims we look at, before anything is believed of their types. serde refuses one that
/// occurs twice.
#[derive(Deserialize)]
struct Claims {
    aud: Option<Value>,
    iss: Option<Value>,
    tid: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    appid: Option<Value>,
    azp: Option<Value>,
    roles: Option<Value>,
    scp: Option<Value>,
    idtyp: Option<Value>,
    oid: Option<Value>,
    sub: Option<Value>,
}

impl Claims {
    fn check(
        &self,
        audiences: &HashSet<String>,
        now: u64,
    ) -> Result<(Caller, Lifetime), AuthError> {
        // Our tokens have one audience, never a list (RFC 7519 §4.1.3 allows both).
        let aud = text(&self.aud).ok_or(AuthError::BotTokenAudience)?;
        if !audiences.contains(aud) {
            return Err(AuthError::BotTokenAudience);
        }
        let tenant: TenantId = guid(&self.tid).ok_or(AuthError::BotTokenIssuer)?;
        if text(&self.iss) != Some(issuer(tenant).as_str()) {
            return Err(AuthError::BotTokenIssuer);
        }
        let lifetime = self.lifetime()?;
        lifetime.check(now)?;
        let app: AppId = guid(&self.appid).ok_or(AuthError::BotTokenMalformed)?;
        if self.azp.is_some() && guid(&self.azp) != Some(app) {
            return Err(AuthError::BotTokenMalformed);
        }
        if !self.is_app_only() {
            return Err(AuthError::BotTokenDelegated);
        }
        Ok((Caller { app, tenant, roles: self.roles()? }, lifetime))
    }

    fn lifetime(&self) -> Result<Lifetime, AuthError> {
        let seconds = |claim: &Option<Value>| match claim {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(AuthError::BotTokenMalformed),
        };
        let expires = seconds(&self.exp)?.ok_or(AuthError::BotTokenMalformed)?;
        Ok(Lifetime { not_before: seconds(&self.nbf)?.unwrap_or(0), expires })
    }

    /// Entra marks application tokens with `idtyp`; without it, subject and object are the same.
    fn is_app_only(&self) -> bool {
        if self.scp.is_some() {
            return false;
        }
        match &self.idtyp {
            Some(idtyp) => idtyp == "app",
            None => self.oid.is_some() && self.oid == self.sub,
        }
    }

    fn roles(&self) -> Result<RoleSet, AuthError> {
        let Some(roles) = &self.roles else { return Ok(RoleSet::default()) };
        let names = roles.as_array().ok_or(AuthError::BotTokenMalformed)?;
        let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
        Ok(names.ok_or(AuthError::BotTokenMalformed)?.into_iter().collect())
    }
}

fn text(claim: &Option<Value>) -> Option<&str> {
    claim.as_ref().and_then(Value::as_str)
}

/// Only the dashed form: the issuer is compared as text.
fn guid<T: std::str::FromStr>(claim: &Option<Value>) -> Option<T> {
    text(claim).filter(|text| text.len() == 36)?.parse().ok()
}

#[cfg(test)]
mod tests;
