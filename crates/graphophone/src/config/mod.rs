//! The configuration: one typed value, read from layers and checked whole at start.

mod callbacks;
mod check;
mod issuers;
mod layers;
#[cfg(test)]
mod testing;
mod tts;
mod values;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use uuid::Uuid;

use crate::{auth::Secret, outbox::Redirects, prompts::AllowRule};

use check::Faults;
pub use check::{ConfigError, Fault};
pub use issuers::IssuerSection;
pub use values::{Bytes, Digest, Interval, Network, Pattern, PortRange, SipListen};

/// Text of the lowest layer, which documents every key.
pub const DEFAULT_TOML: &str = include_str!("../../config.default.toml");
/// Text of the layer that `dev` and `demo` put above it.
pub const DEV_TOML: &str = include_str!("../../config.dev.toml");

/// The whole configuration. Keys and their meaning: `config.default.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub struct Config {
    pub profile: Profile,
    pub http: Http,
    pub https: Https,
    pub server: ServerSection,
    pub store: StoreSection,
    pub admin: Admin,
    #[serde(default, rename = "tenant")]
    pub tenants: Vec<Tenant>,
    #[serde(default, rename = "app")]
    pub apps: Vec<App>,
    #[serde(default, rename = "issuer")]
    pub issuers: Vec<IssuerSection>,
    pub sip: Sip,
    pub rtp: Rtp,
    #[serde(default, rename = "phone")]
    pub phones: Vec<Phone>,
    #[serde(default, rename = "trunk")]
    pub trunks: Vec<TrunkSection>,
    #[serde(default, rename = "route")]
    pub routes: Vec<Route>,
    #[serde(default, rename = "conference")]
    pub conferences: Vec<ConferenceSection>,
    pub dial: Dial,
    pub prompts: PromptsSection,
    pub tts: TtsSection,
    pub recordings: RecordingsSection,
    pub callbacks: Callbacks,
    pub limits: Limits,
    pub admission: AdmissionSection,
    pub calls: Calls,
    pub operations: Operations,
    pub media: Media,
    pub compat: CompatSection,
}

/// What the server dares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub enum Profile {
    Production,
    Dev,
}

/// Whether far ends are sent REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub enum OutgoingRefer {
    Try,
    Never,
}

/// What becomes of REFER from a far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub enum IncomingRefer {
    Decline,
    Follow,
}

impl Profile {
    /// As it is written in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Dev => "dev",
        }
    }
}

/// `[compat] mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub enum CompatMode {
    Open,
    StrictBeta,
    StrictV1,
}

/// `[media] io`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "config.default.toml documents every key")]
pub enum MediaIo {
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "raw")]
    Raw,
    #[serde(rename = "io_uring")]
    IoUring,
    #[serde(rename = "sendto")]
    SendTo,
}

macro_rules! sections {
    ($($(#[$doc:meta])* $name:ident { $($(#[$attr:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(missing_docs, reason = "config.default.toml documents every key")]
        pub struct $name { $($(#[$attr])* pub $field: $type,)* }
    )*};
}

sections! {
    /// `[http]`
    Http { listen: SocketAddr, behind_proxy: bool, }
    /// `[https]`
    Https { listen: Option<SocketAddr>, cert: Option<PathBuf>, key: Option<PathBuf>, }
    /// `[server]`
    ServerSection {
        #[serde(default, deserialize_with = "values::url")]
        public_url: Option<url::Url>,
        drain: Interval,
    }
    /// `[store]`
    StoreSection { path: PathBuf, }
    /// `[admin]`
    Admin { token: Option<Secret>, }
    /// `[[tenant]]`
    Tenant { id: Uuid, }
    /// `[[app]]`
    App {
        id: Uuid,
        tenant: Uuid,
        secret: Option<Secret>,
        secret_env: Option<String>,
        webhook_secret: Option<Secret>,
        webhook_secret_env: Option<String>,
        webhook_secret_previous: Option<Secret>,
        webhook_secret_previous_env: Option<String>,
        #[serde(default)]
        roles: Vec<String>,
        #[serde(default, deserialize_with = "values::url")]
        calling_webhook: Option<url::Url>,
    }
    /// `[sip]`
    Sip {
        listen: Vec<SipListen>,
        digest: Vec<Digest>,
        incoming_refer: IncomingRefer,
        outgoing_refer: OutgoingRefer,
        external_address: Option<std::net::IpAddr>,
    }
    /// `[rtp]`
    Rtp { ports: PortRange, bind: std::net::IpAddr, media_timeout: Interval, }
    /// `[[phone]]`
    Phone { user: String, password: Secret, user_id: String, }
    /// `[[trunk]]`
    TrunkSection {
        name: String,
        uri: Option<String>,
        username: Option<String>,
        from: Option<String>,
        password: Option<Secret>,
        realm: Option<String>,
        #[serde(default)]
        register: bool,
        #[serde(default)]
        peers: Vec<Network>,
    }
    /// `[[route]]`
    Route { to: Pattern, app: Uuid, }
    /// `[[conference]]`
    ConferenceSection {
        name: String,
        tenant: Option<Uuid>,
        to: Option<Pattern>,
        passcode: Option<Secret>,
        #[serde(default)]
        without_bot: bool,
    }
    /// `[dial]`
    Dial {
        allow: Vec<Pattern>,
        deny: Vec<Pattern>,
        trunk: Option<String>,
        max_call: Interval,
        per_app_concurrent: usize,
        per_app_per_minute: usize,
    }
    /// `[prompts]`
    PromptsSection {
        #[serde(deserialize_with = "values::list")]
        allow: Vec<AllowRule>,
        max_bytes: Bytes,
        timeout: Interval,
        disk_budget: Bytes,
        memory_budget: Bytes,
        uploads_budget: Bytes,
        max_duration: Interval,
        start_grace: Interval,
    }
    /// `[tts]`
    TtsSection {
        command: Vec<String>,
        #[serde(default)]
        url: Option<String>,
        #[serde(deserialize_with = "values::list")]
        allow: Vec<AllowRule>,
        voice: String,
        timeout: Interval,
        concurrent: usize,
    }
    /// `[recordings]`
    RecordingsSection { keep: Interval, token_valid: Interval, disk_budget: Bytes, }
    /// `[callbacks]`
    Callbacks {
        #[serde(deserialize_with = "values::list")]
        allow: Vec<AllowRule>,
        timeout: Interval,
        connect_timeout: Interval,
        retry_at: Vec<Interval>,
        jitter_percent: u8,
        retry_after_limit: Interval,
        give_up_after: Interval,
        keep_given_up: Interval,
        concurrency: usize,
        redirects: Redirects,
    }
    /// `[limits]`
    Limits { calls: usize, participants: usize, queued_operations: usize, connections: usize, }
    /// `[admission]`
    AdmissionSection {
        enabled: bool,
        free_calls: usize,
        engine_thread_percent: u8,
        process_percent: u8,
        lateness: Interval,
        queue_age: Interval,
        fetch_wait: Interval,
        store_age: Interval,
    }
    /// `[calls]`
    Calls {
        keep_alive: Interval,
        answer_within: Interval,
        ring_for: Interval,
        without_bot: Interval,
    }
    /// `[operations]`
    Operations { keep: Interval, remember_requests: Interval, notify_on_hang_up: bool, }
    /// `[media]`
    Media { threads: usize, io: MediaIo, }
    /// `[compat]`
    CompatSection { mode: CompatMode, }
}

/// Flags of the command line that set configuration keys, by their dotted name.
pub type Overrides = BTreeMap<String, figment::value::Value>;

impl Config {
    /// Reads the layers and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] lists every fault found, each with the name of its setting.
    pub fn load(
        base: Profile,
        file: Option<&Path>,
        overrides: Overrides,
    ) -> Result<Self, ConfigError> {
        let (built_in, values) = layers::put_together(base, file, overrides)?;
        let mut faults = Faults::default();
        let Some((mut config, is_whole)) = layers::read(values, &built_in, &mut faults) else {
            return faults.verdict().and(Err(ConfigError::one("(file)", "cannot be read")));
        };
        if config.profile != base {
            let (ours, theirs) = (base.name(), config.profile.name());
            faults.add("profile", format!("this command has the profile \"{ours}\", the configuration says \"{theirs}\": take the line out, or use the other command (`dev`, `serve`)"));
            config.profile = base;
        }
        config.read_secrets(&mut faults);
        if config.profile == Profile::Dev {
            config.add_dev_phone();
            config.add_dev_webhook_secrets();
        }
        // Where entries are missing, what refers to them would be called a fault, too.
        if is_whole {
            config.add_faults(&mut faults);
        }
        faults.verdict()?;
        Ok(config)
    }

    fn add_dev_phone(&mut self) {
        if !self.phones.iter().any(|phone| phone.user == DEV_PHONE_USER) {
            self.phones.push(Phone {
                user: DEV_PHONE_USER.to_owned(),
                password: Secret::new(DEV_PHONE_PASSWORD),
                user_id: DEV_PHONE_USER_ID.to_owned(),
            });
        }
    }

    fn add_dev_webhook_secrets(&mut self) {
        for app in &mut self.apps {
            if app.webhook_secret.is_none() && app.webhook_secret_env.is_none() {
                app.webhook_secret = Some(Secret::new(DEV_WEBHOOK_SECRET));
            }
        }
    }

    /// Puts values from the environment where `secret_env` and the like name them.
    fn read_secrets(&mut self, faults: &mut Faults) {
        for app in &mut self.apps {
            for (setting, name, secret) in [
                ("app.secret_env", &app.secret_env, &mut app.secret),
                ("app.webhook_secret_env", &app.webhook_secret_env, &mut app.webhook_secret),
                (
                    "app.webhook_secret_previous_env",
                    &app.webhook_secret_previous_env,
                    &mut app.webhook_secret_previous,
                ),
            ] {
                let Some(name) = name else { continue };
                match std::env::var(name) {
                    Ok(value) => *secret = Some(Secret::new(value)),
                    Err(_) => {
                        faults.add(setting, format!("the environment variable {name} is not set"));
                    }
                }
            }
        }
    }
}

/// Secrets of the dev profile. They stand in every copy of this program.
const PUBLISHED_SECRETS: [&str; 3] =
    ["dev-client-secret", "dev-admin-token-not-for-production", DEV_PHONE_PASSWORD];

/// SIP user of the dev profile's built-in phone.
pub const DEV_PHONE_USER: &str = "phone";
/// Its digest password; the dev profile listens on loopback only.
pub const DEV_PHONE_PASSWORD: &str = "dev-phone-password";
/// What signs the notifications of the dev profile to applications without a `webhook_secret`;
/// an example, as everything there.
pub const DEV_WEBHOOK_SECRET: &str = "whsec_ZGV2LXdlYmhvb2stc2VjcmV0LW5vdC1mb3ItcHJvZHVjdGlvbg==";
/// The Graph user id that calls it.
pub const DEV_PHONE_USER_ID: &str = "00000000-0000-0000-0000-000000000001";
