//! Which tenants and applications there are: those of the configuration and, in the dev profile,
//! those that asked for a token.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use graphophone_call::{AppId, TenantId};

use super::{AppSettings, AuthSettings, Role, RoleSet, Secret};

/// Most applications, and most tenants, that the dev profile makes up. Then it refuses.
const MAX_PROVISIONED: usize = 1024;

/// The first segment of a token URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// A tenant by its id.
    Tenant(TenantId),
    /// `common`, `organizations` or `consumers`: whichever tenant the application is in.
    Shared,
    /// A domain name such as `contoso.onmicrosoft.com` or `botframework.com`. We know no domains,
    /// so this too means the application's own tenant.
    Domain,
}

impl Segment {
    /// Reads the segment; `None` for what can be no tenant.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if matches!(text, "common" | "organizations" | "consumers") {
            return Some(Self::Shared);
        }
        if text.len() == 36
            && let Ok(tenant) = text.parse()
        {
            return Some(Self::Tenant(tenant));
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let domain = text.len() <= 253 && text.contains('.') && text.split('.').all(label);
        domain.then_some(Self::Domain)
    }
}

/// An application that proved who it is.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) app: AppId,
    pub(super) tenant: TenantId,
    pub(super) roles: Arc<[String]>,
}

/// Why an application gets no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownTenant,
    UnknownApp,
    WrongSecret { provisioned: bool },
    Full,
}

/// The register of tenants and applications.
#[derive(Debug)]
pub(super) struct Directory {
    tenants: HashSet<TenantId>,
    default_tenant: Option<TenantId>,
    apps: HashMap<AppId, Registration>,
    /// Only in the dev profile. Never locked across an `.await`.
    provisioned: Option<Mutex<Provisioned>>,
}

#[derive(Clone, Debug)]
struct Registration {
    tenant: TenantId,
    secret: Secret,
    roles: Arc<[String]>,
}

#[derive(Debug, Default)]
struct Provisioned {
    tenants: HashSet<TenantId>,
    apps: HashMap<AppId, Registration>,
}

impl Directory {
    pub(super) fn new(settings: &AuthSettings) -> Self {
        let register = |app: &AppSettings| {
            let roles = app.roles.iter().map(|name| canonical(name)).collect();
            (app.id, Registration { tenant: app.tenant, secret: app.secret.clone(), roles })
        };
        Self {
            tenants: settings.tenants.iter().copied().collect(),
            default_tenant: settings.tenants.first().copied(),
            apps: settings.apps.iter().map(register).collect(),
            provisioned: settings.auto_provision.then(Mutex::default),
        }
    }

    /// Whether tokens can be had for this tenant.
    pub(super) fn has_tenant(&self, tenant: TenantId) -> bool {
        self.provisioned.is_some() || self.tenants.contains(&tenant)
    }

    /// Whether a token of ours for this application still means anything.
    pub(super) fn has_app(&self, app: AppId, tenant: TenantId) -> bool {
        // The dev profile forgets what it made up when it stops, its keys stay: tokens from before
        // the restart go on working.
        self.provisioned.is_some()
            || self.apps.get(&app).is_some_and(|registration| registration.tenant == tenant)
    }

    /// What the configuration allows an application in its tenant; `None` if it names no such
    /// application. Those that the dev profile made up are none of the configuration's.
    pub(super) fn configured_roles(&self, app: AppId, tenant: TenantId) -> Option<RoleSet> {
        let registration = self.apps.get(&app).filter(|found| found.tenant == tenant)?;
        Some(registration.roles.iter().map(String::as_str).collect())
    }

    /// Checks a client's credentials against the tenant it asks in.
    pub(super) fn authenticate(
        &self,
        segment: Segment,
        app: AppId,
        secret: &str,
    ) -> Result<Grant, Refusal> {
        if let Segment::Tenant(tenant) = segment
            && !self.has_tenant(tenant)
        {
            return Err(Refusal::UnknownTenant);
        }
        if let Some(registration) = self.apps.get(&app) {
            if !registration.secret.matches(secret) {
                return Err(Refusal::WrongSecret { provisioned: false });
            }
            let Some(provisioned) = &self.provisioned else {
                return registration.grant(app, segment);
            };
            let mut provisioned = provisioned.lock().unwrap_or_else(PoisonError::into_inner);
            return provisioned.grant(app, registration, segment);
        }
        let Some(provisioned) = &self.provisioned else { return Err(Refusal::UnknownApp) };
        let mut provisioned = provisioned.lock().unwrap_or_else(PoisonError::into_inner);
        let registration = match provisioned.apps.get(&app) {
            Some(registration) => registration.clone(),
            None => self.provision(&mut provisioned, segment, app, secret)?,
        };
        if !registration.secret.matches(secret) {
            return Err(Refusal::WrongSecret { provisioned: true });
        }
        provisioned.grant(app, &registration, segment)
    }

    fn provision(
        &self,
        provisioned: &mut Provisioned,
        segment: Segment,
        app: AppId,
        secret: &str,
    ) -> Result<Registration, Refusal> {
        let tenant = match segment {
            Segment::Tenant(tenant) => tenant,
            Segment::Shared | Segment::Domain => {
                self.default_tenant.ok_or(Refusal::UnknownTenant)?
            }
        };
        if provisioned.apps.len() >= MAX_PROVISIONED {
            return Err(Refusal::Full);
        }
        let roles = Role::ALL.into_iter().map(|role| role.name().to_owned()).collect();
        let registration = Registration { tenant, secret: Secret::new(secret), roles };
        provisioned.apps.insert(app, registration.clone());
        tracing::info!(%app, %tenant, "made an application that asked for its first token");
        Ok(registration)
    }
}

impl Registration {
    fn grant(&self, app: AppId, segment: Segment) -> Result<Grant, Refusal> {
        match segment {
            Segment::Tenant(tenant) if tenant != self.tenant => Err(Refusal::UnknownApp),
            Segment::Tenant(_) | Segment::Shared | Segment::Domain => {
                Ok(Grant { app, tenant: self.tenant, roles: Arc::clone(&self.roles) })
            }
        }
    }
}

impl Provisioned {
    /// In the dev profile an application is at home in every tenant it asks in.
    fn grant(
        &mut self,
        app: AppId,
        registration: &Registration,
        segment: Segment,
    ) -> Result<Grant, Refusal> {
        let tenant = match segment {
            Segment::Tenant(tenant) => tenant,
            Segment::Shared | Segment::Domain => registration.tenant,
        };
        if self.tenants.len() >= MAX_PROVISIONED && !self.tenants.contains(&tenant) {
            return Err(Refusal::Full);
        }
        self.tenants.insert(tenant);
        Ok(Grant { app, tenant, roles: Arc::clone(&registration.roles) })
    }
}

/// The spelling that tokens have; roles of other APIs pass as they are.
fn canonical(name: &str) -> String {
    Role::parse(name).map_or_else(|| name.to_owned(), |role| role.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::{APP, OTHER_TENANT, SECRET, TENANT, settings};

    #[test]
    fn tenant_segments_are_guids_shared_names_and_domains() {
        let guid = TENANT.to_string();
        assert_eq!(Segment::parse(&guid), Some(Segment::Tenant(TENANT)));
        assert_eq!(Segment::parse(&guid.to_uppercase()), Some(Segment::Tenant(TENANT)));
        assert_eq!(Segment::parse("common"), Some(Segment::Shared));
        assert_eq!(Segment::parse("organizations"), Some(Segment::Shared));
        assert_eq!(Segment::parse("botframework.com"), Some(Segment::Domain));
        assert_eq!(Segment::parse("contoso.onmicrosoft.com"), Some(Segment::Domain));
        for text in ["", ".", "..", "a..b", "nonsense", "a.b/c", "a.b%", "{x}", "é.com"] {
            assert_eq!(Segment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_configured_app_gets_tokens_in_its_own_tenant_only() {
        let mut settings = settings();
        settings.tenants.push(OTHER_TENANT);
        let directory = Directory::new(&settings);
        for segment in [Segment::Tenant(TENANT), Segment::Shared, Segment::Domain] {
            let grant = directory.authenticate(segment, APP, SECRET).unwrap();
            assert_eq!((grant.app, grant.tenant), (APP, TENANT));
        }
        let other = Segment::Tenant(OTHER_TENANT);
        assert_eq!(directory.authenticate(other, APP, SECRET).unwrap_err(), Refusal::UnknownApp);
        assert!(directory.has_app(APP, TENANT));
        assert!(!directory.has_app(APP, OTHER_TENANT));
    }

    #[test]
    fn the_dev_profile_keeps_the_first_secret_and_stops_at_its_limit() {
        let mut settings = settings();
        settings.auto_provision = true;
        let directory = Directory::new(&settings);
        let app = |n: usize| AppId::new(uuid::Uuid::from_u128(n as u128));
        let other = Segment::Tenant(OTHER_TENANT);
        let grant = directory.authenticate(other, app(0), "first").unwrap();
        assert_eq!(grant.tenant, OTHER_TENANT);
        assert_eq!(grant.roles.len(), Role::ALL.len());
        assert_eq!(
            directory.authenticate(other, app(0), "second").unwrap_err(),
            Refusal::WrongSecret { provisioned: true }
        );
        assert_eq!(directory.authenticate(other, APP, SECRET).unwrap().tenant, OTHER_TENANT);
        for n in 1..MAX_PROVISIONED {
            directory.authenticate(other, app(n), "secret").unwrap();
        }
        let full = directory.authenticate(other, app(MAX_PROVISIONED), "secret");
        assert_eq!(full.unwrap_err(), Refusal::Full);
        assert!(directory.authenticate(other, app(1), "secret").is_ok(), "those that exist stay");
    }
}
