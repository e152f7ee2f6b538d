//! Who is who: the authority that gives bots their tokens, checks them on every request, and signs
//! the notifications that bots check.
//!
//! [`token_endpoint`] serves what Microsoft's libraries ask an authority for, [`bearer`] checks
//! callers, [`issuer`] knows the keys of other authorities that are trusted, [`signer`] signs
//! notifications, [`tls`] has certificates. Time comes in as unix seconds; only the HTTP handlers of
//! [`token_endpoint`] and the fetches of [`issuer`] read the clock.

pub mod bearer;
mod claims;
mod directory;
mod discovery;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod issuer;
pub mod jwk;
mod jws;
pub mod keys;
mod private_file;
mod ring;
mod role;
mod secret;
pub mod signer;
#[cfg(test)]
mod testing;
pub mod tls;
mod token_cache;
pub mod token_endpoint;
mod token_error;
mod token_request;
mod verified;

use std::{collections::HashSet, sync::Arc, time::Duration};

use graphophone_call::{AppId, TenantId};
use url::Url;

pub use bearer::{AuthError, Caller};
pub use issuer::IssuerSettings;
pub use keys::Keys;
pub use private_file::FileError;
pub use ring::{KeyStanding, OVERLAP, RotateError, Rotation};
pub use role::{Role, RoleSet};
pub(crate) use secret::random_bytes;
pub use secret::{AdminToken, ConfigAdminTokenTooShort, Secret};
pub use signer::NotificationIssuer;

use directory::Directory;
use issuer::Issuers;
use signer::SignedCache;
use verified::VerifiedCache;

/// Life of an access token unless configured otherwise: what Entra says, one second short of an
/// hour.
pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(3599);

/// How far two clocks may differ before a token counts as expired or not yet valid, in seconds.
pub const CLOCK_SKEW: u64 = 300;

/// Everything the authority has to know.
#[derive(Clone, Debug)]
pub struct AuthSettings {
    /// Tenants there are. The first is the home of applications that name none.
    pub tenants: Vec<TenantId>,
    /// Applications there are.
    pub apps: Vec<AppSettings>,
    /// Dev profile only: unknown tenants and applications come into being with their first token,
    /// with every `Calls.*` role and the secret they came with.
    pub auto_provision: bool,
    /// Where the world reaches this server. Empty: discovery documents say what the request's
    /// `Host` says. Otherwise the one with the request's host, or the first.
    pub public_urls: Vec<Url>,
    /// Life of an access token: 1 minute to 24 hours.
    pub token_lifetime: Duration,
    /// Further values of `aud` that are accepted, and further resources a scope may name.
    pub extra_audiences: Vec<String>,
    /// Who our notifications say they are from.
    pub notification_issuer: NotificationIssuer,
    /// Others whose tokens are taken.
    pub issuers: Vec<IssuerSettings>,
}

/// No tenants and no applications; add them with struct update syntax.
impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            tenants: Vec::new(),
            apps: Vec::new(),
            auto_provision: false,
            public_urls: Vec::new(),
            token_lifetime: DEFAULT_TOKEN_LIFETIME,
            extra_audiences: Vec::new(),
            notification_issuer: NotificationIssuer::default(),
            issuers: Vec::new(),
        }
    }
}

/// One application (bot).
#[derive(Clone, Debug)]
pub struct AppSettings {
    /// Its client id.
    pub id: AppId,
    /// The tenant it lives in.
    pub tenant: TenantId,
    /// Its client secret.
    pub secret: Secret,
    /// Its application roles, for example `Calls.Initiate.All`, singular or plural.
    pub roles: Vec<String>,
}

/// What is wrong with [`AuthSettings`]. The text names the setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsFault {
    /// Two applications have the same id.
    #[error("app.id {0} occurs twice")]
    ConfigAppTwice(AppId),
    /// An application is in a tenant that is not configured.
    #[error("app {app}: its tenant {tenant} is not among the [[tenant]] entries")]
    ConfigAppTenantUnknown {
        /// The application.
        app: AppId,
        /// The tenant it names.
        tenant: TenantId,
    },
    /// An application has an empty secret.
    #[error("app {0}: its secret is empty")]
    ConfigSecretEmpty(AppId),
    /// A role looks like one of ours and is none.
    #[error("app {app}: there is no role {role:?}")]
    ConfigRoleUnknown {
        /// The application.
        app: AppId,
        /// What it was given.
        role: String,
    },
    /// The life of tokens is out of range.
    #[error("the token lifetime of {0:?} is not between 1 minute and 24 hours")]
    ConfigLifetime(Duration),
    /// A public URL that is no http or https URL with a host.
    #[error("server.public_url {0} is not an http or https URL without query")]
    ConfigPublicUrl(Url),
}

impl AuthSettings {
    /// All faults at once; empty if the settings can be used.
    pub fn faults(&self) -> Vec<SettingsFault> {
        let mut faults = Vec::new();
        let mut seen = HashSet::new();
        for app in &self.apps {
            if !seen.insert(app.id) {
                faults.push(SettingsFault::ConfigAppTwice(app.id));
            }
            if !self.tenants.contains(&app.tenant) {
                let (app, tenant) = (app.id, app.tenant);
                faults.push(SettingsFault::ConfigAppTenantUnknown { app, tenant });
            }
            if app.secret.is_empty() {
                faults.push(SettingsFault::ConfigSecretEmpty(app.id));
            }
            let ours = |name: &&String| name.to_ascii_lowercase().starts_with("calls.");
            for role in app.roles.iter().filter(ours).filter(|name| Role::parse(name).is_none()) {
                let role = role.clone();
                faults.push(SettingsFault::ConfigRoleUnknown { app: app.id, role });
            }
        }
        let day = Duration::from_secs(24 * 60 * 60);
        if self.token_lifetime < Duration::from_secs(60) || self.token_lifetime > day {
            faults.push(SettingsFault::ConfigLifetime(self.token_lifetime));
        }
        for url in &self.public_urls {
            let plain = url.query().is_none() && url.fragment().is_none();
            if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
                faults.push(SettingsFault::ConfigPublicUrl(url.clone()));
            }
        }
        faults
    }
}

/// Gives, checks and signs tokens. Cheap to clone; all clones are the same authority.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

struct Inner {
    settings: AuthSettings,
    keys: Keys,
    directory: Directory,
    /// Every `aud` that is accepted on the Graph API.
    audiences: HashSet<String>,
    signed: SignedCache,
    verified: VerifiedCache,
    issuers: Issuers,
}

impl Authority {
    /// Puts settings and keys together.
    ///
    /// # Errors
    /// Every fault of the settings.
    pub fn new(settings: AuthSettings, keys: Keys) -> Result<Self, Vec<SettingsFault>> {
        let faults = settings.faults();
        if !faults.is_empty() {
            return Err(faults);
        }
        let directory = Directory::new(&settings);
        let audiences = bearer::audiences(&settings);
        let (signed, verified) = (SignedCache::default(), VerifiedCache::default());
        let issuers = Issuers::new(&settings);
        let inner = Inner { settings, keys, directory, audiences, signed, verified, issuers };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The keys tokens and notifications are checked with.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("keys", &self.inner.keys).finish_non_exhaustive()
    }
}

/// The clock of the token endpoints: seconds since 1970, 0 if the machine believes it is earlier.
pub fn unix_now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |duration| duration.as_secs())
}

#[cfg(test)]
mod tests {
    use super::testing::{APP, OTHER_TENANT, settings};
    use super::*;

    #[test]
    fn all_faults_of_the_settings_are_told_at_once() {
        let mut faulty = settings();
        let mut twin = faulty.apps[0].clone();
        twin.tenant = OTHER_TENANT;
        twin.secret = Secret::new("");
        twin.roles = vec!["Calls.Inititate.All".into(), "User.Read.All".into()];
        faulty.apps.push(twin);
        faulty.token_lifetime = Duration::from_secs(59);
        faulty.public_urls = vec!["ftp://example.com/".parse().unwrap()];
        let faults = Authority::new(faulty, testing::keys()).unwrap_err();
        assert_eq!(
            faults,
            [
                SettingsFault::ConfigAppTwice(APP),
                SettingsFault::ConfigAppTenantUnknown { app: APP, tenant: OTHER_TENANT },
                SettingsFault::ConfigSecretEmpty(APP),
                SettingsFault::ConfigRoleUnknown { app: APP, role: "Calls.Inititate.All".into() },
                SettingsFault::ConfigLifetime(Duration::from_secs(59)),
                SettingsFault::ConfigPublicUrl("ftp://example.com/".parse().unwrap()),
            ]
        );
        assert_eq!(settings().faults(), []);
    }

    #[test]
    fn printing_the_settings_or_the_authority_tells_no_secret() {
        let authority = testing::authority();
        let printed = format!("{:?} {authority:?}", settings());
        assert!(!printed.contains(testing::SECRET), "{printed}");
        assert!(printed.contains("***"));
    }
}
