//! The claims of an access token: what they must say, whoever issued it.

use std::collections::HashSet;

use graphophone_call::{AppId, TenantId};
use serde::Deserialize;
use serde_json::Value;

use super::{
    CLOCK_SKEW, RoleSet,
    bearer::{AuthError, Caller, issuer},
};

/// When a token is good, in unix seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    not_before: u64,
    pub(super) expires: u64,
}

impl Lifetime {
    /// Valid while nbf ≤ now + skew and now − skew < exp (RFC 7519 §4.1.4: "on or after" is late).
    pub(super) fn check(self, now: u64) -> Result<(), AuthError> {
        let expired = now >= self.expires.saturating_add(CLOCK_SKEW);
        let early = self.not_before > now.saturating_add(CLOCK_SKEW);
        if expired || early { Err(AuthError::BotTokenLifetime) } else { Ok(()) }
    }
}

/// The claims we look at, before anything is believed of their types. serde refuses one that
/// occurs twice.
#[derive(Deserialize)]
pub(super) struct Claims {
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

/// What a token may say in claims that differ from issuer to issuer.
pub(super) struct Expected<'a> {
    pub(super) audiences: &'a HashSet<String>,
    /// `iss` of a token with this `tid`.
    pub(super) issuer: &'a dyn Fn(Option<TenantId>) -> Option<String>,
    /// Tenant of tokens that name none.
    pub(super) tenant: Option<TenantId>,
}

impl Claims {
    /// A token of our own.
    pub(super) fn check(
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
        if !self.is_app_only(app) {
            return Err(AuthError::BotTokenDelegated);
        }
        Ok((Caller { app, tenant, roles: roles(self.roles.as_ref())? }, lifetime))
    }

    /// A token of a trusted issuer. `roles` is the claim that has them there.
    pub(super) fn check_foreign(
        &self,
        expected: &Expected<'_>,
        roles_claim: Option<&Value>,
        now: u64,
    ) -> Result<(Caller, Lifetime), AuthError> {
        if !self.audiences().any(|aud| expected.audiences.contains(aud)) {
            return Err(AuthError::BotTokenAudience);
        }
        let said = match &self.tid {
            None => None,
            Some(_) => Some(guid(&self.tid).ok_or(AuthError::BotTokenIssuer)?),
        };
        let tenant: TenantId = said.or(expected.tenant).ok_or(AuthError::BotTokenIssuer)?;
        let is_expected = expected.tenant.is_none_or(|expected| expected == tenant);
        let iss = (expected.issuer)(said);
        if !is_expected || iss.is_none() || text(&self.iss) != iss.as_deref() {
            return Err(AuthError::BotTokenIssuer);
        }
        let lifetime = self.lifetime()?;
        lifetime.check(now)?;
        // v1 tokens of Entra have `appid`; its v2 tokens, Keycloak and OpenID Connect have `azp`.
        let app = match (&self.appid, &self.azp) {
            (Some(_), None) => guid(&self.appid),
            (None, Some(_)) => guid(&self.azp),
            (Some(appid), Some(azp)) => guid(&self.appid).filter(|_| appid == azp),
            (None, None) => None,
        };
        let app: AppId = app.ok_or(AuthError::BotTokenMalformed)?;
        if !self.is_app_only(app) {
            return Err(AuthError::BotTokenDelegated);
        }
        Ok((Caller { app, tenant, roles: roles(roles_claim)? }, lifetime))
    }

    /// One or a list (RFC 7519 §4.1.3).
    fn audiences(&self) -> impl Iterator<Item = &str> {
        let one = text(&self.aud);
        let list = self.aud.as_ref().and_then(Value::as_array).into_iter().flatten();
        one.into_iter().chain(list.filter_map(Value::as_str))
    }

    fn lifetime(&self) -> Result<Lifetime, AuthError> {
        let seconds = |claim: &Option<Value>| match claim {
            None => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or(AuthError::BotTokenMalformed),
        };
        let expires = seconds(&self.exp)?.ok_or(AuthError::BotTokenMalformed)?;
        Ok(Lifetime { not_before: seconds(&self.nbf)?.unwrap_or(0), expires })
    }

    /// Entra marks application tokens with `idtyp`; without it, subject and object are the same, or
    /// the subject is the application (RFC 9068 §2.2).
    fn is_app_only(&self, app: AppId) -> bool {
        if self.scp.is_some() {
            return false;
        }
        match &self.idtyp {
            Some(idtyp) => idtyp == "app",
            None => (self.oid.is_some() && self.oid == self.sub) || guid(&self.sub) == Some(app),
        }
    }
}

fn roles(claim: Option<&Value>) -> Result<RoleSet, AuthError> {
    let Some(roles) = claim else { return Ok(RoleSet::default()) };
    let names = roles.as_array().ok_or(AuthError::BotTokenMalformed)?;
    let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
    Ok(names.ok_or(AuthError::BotTokenMalformed)?.into_iter().collect())
}

fn text(claim: &Option<Value>) -> Option<&str> {
    claim.as_ref().and_then(Value::as_str)
}

/// Only the dashed form: the issuer is compared as text.
fn guid<T: std::str::FromStr>(claim: &Option<Value>) -> Option<T> {
    text(claim).filter(|text| text.len() == 36)?.parse().ok()
}
