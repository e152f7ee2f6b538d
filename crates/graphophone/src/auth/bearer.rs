//! Checks the bearer token of a Graph request (spec auth.md §4) and says what to answer if it is
//! not good enough.

use std::collections::HashSet;

use graphophone_call::{AppId, TenantId};

use super::{
    AuthSettings, Authority, Role, RoleSet,
    claims::Claims,
    issuer::{Awaited, KeyWanted},
    jws,
    jws::JwsError,
    secret::bearer_token,
    verified::Verified,
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
    /// Another algorithm than the key's, or a header that asks for more.
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
    /// The keys of a trusted issuer cannot be had: no verdict is possible.
    #[error("The keys of the token's issuer are not available.")]
    IssuerUnavailable,
    /// A user's token: the calling API takes application tokens only.
    #[error("Delegated tokens are not supported, an application token is required.")]
    BotTokenDelegated,
}

impl AuthError {
    /// HTTP status to answer: 401, 403 for a good token of the wrong kind, 503 where another try may
    /// help.
    pub const fn status(self) -> u16 {
        match self {
            Self::BotTokenDelegated => 403,
            Self::IssuerUnavailable => 503,
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
        match self.status() {
            403 => "Forbidden",
            503 => "ServiceUnavailable",
            _ => "InvalidAuthenticationToken",
        }
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

/// Why a token is not taken yet.
enum Stop {
    Refused(AuthError),
    /// The keys of this issuer have to come first.
    Awaits(Awaited),
}

impl From<AuthError> for Stop {
    fn from(error: AuthError) -> Self {
        Self::Refused(error)
    }
}

impl From<JwsError> for Stop {
    fn from(error: JwsError) -> Self {
        Self::Refused(error.into())
    }
}

impl Authority {
    /// Checks the value of the `Authorization` header at `now` (unix seconds). A token of a trusted
    /// issuer whose key is not known yet is refused; [`Authority::admit`] asks for it first.
    ///
    /// # Errors
    /// See [`AuthError`]: its text, `status`, `code` and `www_authenticate` are the answer.
    pub fn verify(&self, authorization: Option<&str>, now: u64) -> Result<Caller, AuthError> {
        self.look(authorization, now).map_err(|stop| match stop {
            Stop::Refused(error) => error,
            Stop::Awaits(_) => AuthError::BotTokenKeyUnknown,
        })
    }

    /// The same, after waiting for the keys of a trusted issuer where they may have changed: a few
    /// seconds at most.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub async fn admit(&self, authorization: Option<&str>, now: u64) -> Result<Caller, AuthError> {
        // One fetch may have begun before the key was published; the second one cannot have.
        for _ in 0..2 {
            match self.look(authorization, now) {
                Ok(caller) => return Ok(caller),
                Err(Stop::Refused(error)) => return Err(error),
                Err(Stop::Awaits(awaited)) => self.inner.issuers.wait(awaited).await,
            }
        }
        self.verify(authorization, now)
    }

    fn look(&self, authorization: Option<&str>, now: u64) -> Result<Caller, Stop> {
        let token = authorization.and_then(bearer_token).ok_or(AuthError::BotTokenMissing)?;
        if let Some(seen) = self.inner.verified.get(token)
            && self.still_believes(&seen, now)
        {
            seen.lifetime.check(now)?;
            return self.registered(seen.caller, seen.issuer);
        }
        let read = jws::Token::read(token)?;
        let (good, issuer, fingerprint) = match self.inner.keys.tokens.find(read.kid(), now) {
            Some(key) => {
                let claims: Claims = read.verify(key.verifying())?;
                (claims.check(&self.inner.audiences, now)?, None, key.verifying().fingerprint())
            }
            None => {
                let (index, key) = self.inner.issuers.key_for(&read)?;
                let issuer = self.inner.issuers.settings(index);
                (issuer.check(&read, &key, now)?, Some(index), key.fingerprint())
            }
        };
        let (mut caller, lifetime) = good;
        if issuer.is_some() {
            // What another issuer says is worth as much as the configuration allows the application.
            let most = self.inner.directory.configured_roles(caller.app, caller.tenant);
            caller.roles = caller.roles.among(most.ok_or(AuthError::BotAppUnknown)?);
        }
        let kid = read.kid().into();
        let seen = Verified { caller, lifetime, issuer, kid, fingerprint };
        self.inner.verified.put(token, seen);
        self.registered(caller, issuer)
    }

    /// Whether the key that a token was found good with is still the one of its name.
    fn still_believes(&self, seen: &Verified, now: u64) -> bool {
        let fingerprint = match seen.issuer {
            None => {
                let key = self.inner.keys.tokens.find(&seen.kid, now);
                key.map(|key| key.verifying().fingerprint())
            }
            Some(index) => self.inner.issuers.known(index, &seen.kid).map(|key| key.fingerprint()),
        };
        fingerprint == Some(seen.fingerprint)
    }

    fn registered(&self, caller: Caller, issuer: Option<usize>) -> Result<Caller, Stop> {
        let directory = &self.inner.directory;
        let is_registered = match issuer {
            None => directory.has_app(caller.app, caller.tenant),
            Some(_) => directory.configured_roles(caller.app, caller.tenant).is_some(),
        };
        if is_registered { Ok(caller) } else { Err(AuthError::BotAppUnknown.into()) }
    }
}

impl From<KeyWanted> for Stop {
    fn from(wanted: KeyWanted) -> Self {
        match wanted {
            KeyWanted::Await(awaited) => Self::Awaits(awaited),
            KeyWanted::Unknown => Self::Refused(AuthError::BotTokenKeyUnknown),
            KeyWanted::Unavailable => Self::Refused(AuthError::IssuerUnavailable),
        }
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

#[cfg(test)]
mod tests;
