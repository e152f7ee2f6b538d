//! What every handler needs.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use graphophone_call::{AppId, TenantId};
use graphophone_graph::compat::Compat;
use graphophone_sip::phone::Phone;
use graphophone_store::Store;

use crate::{
    auth::{AdminToken, Authority, RoleSet},
    config::{CompatMode, Config, Pattern, Profile, SipListen},
    engine::Calls,
    prompts::{AllowRule, Guard, GuardSettings},
};

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    inner: Arc<Inner>,
}

struct Inner {
    authority: Authority,
    calls: Calls,
    store: Store,
    admin: Option<AdminToken>,
    compat: Compat,
    public_url: Option<String>,
    callbacks: Guard,
    prompts: Guard,
    bots: BTreeMap<AppId, Bot>,
    routes: Vec<(Pattern, AppId)>,
    stopping: AtomicBool,
    sip_address: Option<SocketAddr>,
    phone: OnceLock<Phone>,
    limits: serde_json::Value,
}

/// Where a bot is told of incoming calls.
#[derive(Clone, Debug)]
pub(crate) struct Bot {
    pub(crate) tenant: TenantId,
    pub(crate) calling_webhook: Option<String>,
    /// Whether it has a role of the calling API: without one it is not told who calls.
    pub(crate) sees_callers: bool,
}

impl AppState {
    /// Takes what concerns the API out of the configuration.
    pub fn new(
        config: &Config,
        authority: Authority,
        calls: Calls,
        store: Store,
        sip_address: Option<SocketAddr>,
    ) -> Self {
        let bot = |app: &crate::config::App| {
            let calling_webhook = app.calling_webhook.as_ref().map(|url| url.as_str().to_owned());
            let roles: RoleSet = app.roles.iter().map(String::as_str).collect();
            let tenant = TenantId::new(app.tenant);
            let bot = Bot { tenant, calling_webhook, sees_callers: !roles.is_empty() };
            (AppId::new(app.id), bot)
        };
        Self {
            inner: Arc::new(Inner {
                authority,
                calls,
                store,
                admin: config
                    .admin
                    .token
                    .clone()
                    .and_then(|token| AdminToken::configured(token).ok()),
                compat: match config.compat.mode {
                    CompatMode::Open => Compat::Open,
                    CompatMode::StrictBeta => Compat::StrictBeta,
                    CompatMode::StrictV1 => Compat::StrictV1,
                },
                public_url: config
                    .server
                    .public_url
                    .as_ref()
                    .map(|url| url.as_str().trim_end_matches('/').to_owned()),
                callbacks: Guard::new(callback_guard(config)),
                prompts: Guard::new(prompt_guard(config)),
                bots: config.apps.iter().map(bot).collect(),
                routes: config
                    .routes
                    .iter()
                    .map(|route| (route.to.clone(), AppId::new(route.app)))
                    .collect(),
                stopping: AtomicBool::new(false),
                sip_address,
                phone: OnceLock::new(),
                limits: super::limits::of(config),
            }),
        }
    }

    /// How much of everything there may be.
    pub(super) fn limits(&self) -> serde_json::Value {
        self.inner.limits.clone()
    }

    /// Who checks tokens.
    pub fn authority(&self) -> &Authority {
        &self.inner.authority
    }

    pub(crate) fn calls(&self) -> &Calls {
        &self.inner.calls
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Whether a request may use the admin API; without a configured token nobody may.
    pub(crate) fn is_admin(&self, authorization: Option<&str>) -> bool {
        self.inner.admin.as_ref().is_some_and(|token| token.allows(authorization))
    }

    pub(crate) fn compat(&self) -> Compat {
        self.inner.compat
    }

    pub(crate) fn public_url(&self) -> Option<&str> {
        self.inner.public_url.as_deref()
    }

    /// Which addresses notifications may be posted to.
    pub(crate) fn callbacks(&self) -> &Guard {
        &self.inner.callbacks
    }

    /// Which addresses prompts may be fetched from.
    pub(crate) fn prompt_guard(&self) -> &Guard {
        &self.inner.prompts
    }

    /// The bot that takes calls to a number, by the first `[[route]]` that matches.
    pub(crate) fn bot_for(&self, number: &str) -> Option<(AppId, &Bot)> {
        let (_, app) = self.inner.routes.iter().find(|(pattern, _)| pattern.matches(number))?;
        self.inner.bots.get_key_value(app).map(|(app, bot)| (*app, bot))
    }

    /// Where this server listens for SIP over UDP.
    pub(crate) fn sip_address(&self) -> Option<SocketAddr> {
        self.inner.sip_address
    }

    /// The built-in phone, once it has registered.
    pub(crate) fn phone(&self) -> Option<&Phone> {
        self.inner.phone.get()
    }

    /// Names the built-in phone. The first one stays.
    pub(crate) fn set_phone(&self, phone: Phone) {
        let _ = self.inner.phone.set(phone);
    }

    /// From now on new calls are refused and `/readyz` says so.
    pub(crate) fn set_stopping(&self) {
        self.inner.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.inner.stopping.load(Ordering::Relaxed)
    }
}

/// Where this server itself listens: nobody may make it talk to itself.
fn own_listeners(config: &Config) -> Vec<SocketAddr> {
    let sip = config.sip.listen.iter().map(|listen| match listen {
        SipListen::Udp(at) | SipListen::Tcp(at) => *at,
    });
    sip.chain([config.http.listen]).chain(config.https.listen).collect()
}

/// The guard of `[callbacks]`.
pub(crate) fn callback_guard(config: &Config) -> GuardSettings {
    guard(config, "callbacks.allow", &config.callbacks.allow)
}

/// The guard of `[prompts]`.
pub(crate) fn prompt_guard(config: &Config) -> GuardSettings {
    guard(config, "prompts.allow", &config.prompts.allow)
}

fn guard(config: &Config, setting: &'static str, allow: &[AllowRule]) -> GuardSettings {
    match config.profile {
        // Here a bot may well play the samples that this server has.
        Profile::Dev => GuardSettings::dev(setting, allow.to_vec()),
        Profile::Production => GuardSettings {
            own_listeners: own_listeners(config),
            ..GuardSettings::production(setting, allow.to_vec())
        },
    }
}
