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
use graphophone_graph::{
    compat::Compat,
    prompt_uri::{self, OwnPrompt},
};
use graphophone_sip::phone::Phone;
use graphophone_store::Store;

use super::host::OwnNames;
use crate::{
    auth::{AdminToken, Authority, RoleSet},
    config::{CompatMode, Config, Pattern, Profile, SipListen},
    engine::Calls,
    outbox::Outbox,
    prompts::{AllowRule, Guard, GuardSettings, OwnPromptError},
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
    outbox: Outbox,
    admin: Option<AdminToken>,
    compat: Compat,
    public_url: Option<String>,
    own_names: Option<OwnNames>,
    callbacks: Guard,
    prompts: Guard,
    /// There is a speech engine.
    speaks: bool,
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
        (store, outbox): (Store, Outbox),
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
                outbox,
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
                own_names: (config.profile == Profile::Dev)
                    .then(|| OwnNames::new(config.server.public_url.as_ref())),
                callbacks: Guard::new(callback_guard(config)),
                prompts: Guard::new(prompt_guard(config)),
                speaks: config.tts.engine().is_some(),
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

    pub(crate) fn recordings(&self) -> &crate::recordings::Recordings {
        self.inner.calls.recordings()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.inner.outbox
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

    /// The only names that requests may use; `None`: any.
    pub(super) fn own_names(&self) -> Option<&OwnNames> {
        self.inner.own_names.as_ref()
    }

    /// Which addresses notifications may be posted to.
    pub(crate) fn callbacks(&self) -> &Guard {
        &self.inner.callbacks
    }

    /// Which addresses prompts may be fetched from.
    pub(crate) fn prompt_guard(&self) -> &Guard {
        &self.inner.prompts
    }

    /// Judges the URI of a prompt before anything is promised: whether it may be fetched, or the
    /// server has what makes it.
    ///
    /// # Errors
    /// What is wrong with it, for the bot.
    pub(crate) fn check_prompt(&self, uri: &str) -> Result<(), String> {
        match prompt_uri::parse(uri) {
            None => {
                let checked = self.prompt_guard().check_uri(uri);
                checked.map(drop).map_err(|refusal| refusal.to_string())
            }
            Some(Err(fault)) => Err(fault.to_string()),
            Some(Ok(OwnPrompt::Speech { .. })) if !self.inner.speaks => {
                Err(OwnPromptError::NoSpeech.to_string())
            }
            Some(Ok(_)) => Ok(()),
        }
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
pub(crate) fn own_listeners(config: &Config) -> Vec<SocketAddr> {
    let sip = config.sip.listen.iter().map(|listen| match listen {
        SipListen::Udp(at) | SipListen::Tcp(at) => *at,
    });
    let bound: Vec<_> = sip.chain([config.http.listen]).chain(config.https.listen).collect();
    // The address that an address translation has for this machine leads here, too.
    let outside = config.sip.external_address;
    let translated = bound.iter().filter_map(|at| Some(SocketAddr::new(outside?, at.port())));
    bound.iter().copied().chain(translated).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn the_address_of_a_translation_in_front_leads_to_our_own_listeners_too() {
        let mut config = Config::load(Profile::Production, None, Overrides::new()).unwrap();
        config.https.listen = Some("0.0.0.0:8443".parse().unwrap());
        config.sip.external_address = Some("203.0.113.7".parse().unwrap());
        config.callbacks.allow =
            ["https://*:*", "203.0.113.0/24"].map(|rule| rule.parse().unwrap()).into();
        let guard = Guard::new(callback_guard(&config));
        guard.check_uri("https://203.0.113.7:8443/").expect_err("it is translated to us");
        guard.check_uri("https://203.0.113.7:9443/").expect("another port");
        guard.check_uri("https://203.0.113.8:8443/").expect("another address");
    }
}
