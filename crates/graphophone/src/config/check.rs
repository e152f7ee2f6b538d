//! What makes a configuration unsafe or impossible. All faults are reported at once.

use std::{collections::BTreeSet, fmt, path::Path};

use graphophone_sip::is_sip_uri;

use super::{Config, Profile, SipListen};
use crate::{
    api::callback_guard,
    auth::{AdminToken, Role, Secret, tls},
    prompts::Guard,
};

/// One fault, with the setting that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Dotted name of the setting, as in the file.
    pub setting: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// Why a configuration is refused (exit code 78).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused")?;
        for Fault { setting, message } in &self.faults {
            write!(f, "\n  {setting}: {message}")?;
        }
        Ok(())
    }
}

impl ConfigError {
    pub(super) fn one(setting: &str, message: impl Into<String>) -> Self {
        Self { faults: vec![Fault { setting: setting.to_owned(), message: message.into() }] }
    }

    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        Self::one("--config", format!("{} cannot be read: {error}", file.display()))
    }
}

impl Config {
    /// Checks a configuration that was changed after it was loaded.
    ///
    /// # Errors
    /// Every fault.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.add_faults(&mut faults);
        faults.verdict()
    }

    pub(super) fn add_faults(&self, faults: &mut Faults) {
        self.check_listeners(faults);
        self.check_identities(faults);
        self.check_issuers(faults);
        self.check_published(faults);
        self.check_lines(faults);
        self.check_limits(faults);
        self.check_callbacks(faults);
        self.tts.add_faults(faults);
    }

    fn check_listeners(&self, faults: &mut Faults) {
        let dev = self.profile == Profile::Dev;
        let http_open = !self.http.listen.ip().is_loopback();
        if http_open && (dev || !self.http.behind_proxy) {
            faults.add("http.listen", "plain HTTP carries tokens in the clear: listen on 127.0.0.1, use [https], or set http.behind_proxy = true behind a proxy that speaks TLS (production only)");
        }
        if dev {
            let loopback = "the dev profile has known secrets: it listens on loopback only";
            if self.https.listen.is_some_and(|at| !at.ip().is_loopback()) {
                faults.add("https.listen", loopback);
            }
            let open = |listen: &SipListen| match listen {
                SipListen::Udp(at) | SipListen::Tcp(at) => !at.ip().is_loopback(),
            };
            if self.sip.listen.iter().any(open) {
                faults.add("sip.listen", loopback);
            }
            if !self.rtp.bind.is_loopback() {
                faults.add("rtp.bind", loopback);
            }
        } else if self.https.listen.is_some() {
            for (setting, file) in
                [("https.cert", &self.https.cert), ("https.key", &self.https.key)]
            {
                if file.is_none() {
                    faults.add(setting, "HTTPS needs a PEM file here");
                }
            }
        }
        if self.https.listen.is_some()
            && let (Some(cert), Some(key)) = (&self.https.cert, &self.https.key)
            && let Err(error) = tls::server_config_from_files(cert, key)
        {
            faults.add("https.cert, https.key", format!("{:#}", anyhow::Error::from(error)));
        }
        if let Some(url) = &self.server.public_url
            && (!matches!(url.scheme(), "http" | "https")
                || url.query().is_some()
                || url.fragment().is_some())
        {
            faults.add("server.public_url", "write an http or https URL without query");
        }
        if let Some(token) = &self.admin.token
            && let Err(error) = AdminToken::configured(token.clone())
        {
            faults.add("admin.token", error.to_string());
        }
    }

    fn check_identities(&self, faults: &mut Faults) {
        let tenants: BTreeSet<_> = self.tenants.iter().map(|tenant| tenant.id).collect();
        let webhooks = Guard::new(callback_guard(self));
        let mut apps = BTreeSet::new();
        for app in &self.apps {
            if !tenants.contains(&app.tenant) {
                faults.add("app.tenant", format!("there is no [[tenant]] with id {}", app.tenant));
            }
            if !apps.insert(app.id) {
                faults.add("app.id", format!("{} stands twice", app.id));
            }
            let secret = app.secret.as_ref().map_or("", |secret| secret.expose());
            let is_unset = app.secret.is_none() && app.secret_env.is_some();
            if is_unset {
                // Told already, with the variable's name.
            } else if secret.is_empty() {
                faults
                    .add("app.secret", format!("app {} has neither secret nor secret_env", app.id));
            } else if self.profile == Profile::Production && secret.len() < 16 {
                faults.add(
                    "app.secret",
                    format!("the secret of app {} is shorter than 16 characters", app.id),
                );
            }
            for role in &app.roles {
                if Role::parse(role).is_none() {
                    let known = Role::ALL.map(Role::name).join(", ");
                    faults.add(
                        "app.roles",
                        format!("{role:?} is not a calling role; there are {known}"),
                    );
                }
            }
            if let Some(url) = &app.calling_webhook
                && let Err(refusal) = webhooks.check_uri(url.as_str())
            {
                faults.add("app.calling_webhook", refusal.to_string());
            }
        }
        let mut conferences = BTreeSet::new();
        for conference in &self.conferences {
            let (name, tenant) = (&conference.name, conference.tenant);
            if name.is_empty() {
                faults.add("conference.name", "empty: bots join a conference by its name");
            }
            if !conferences.insert((tenant, name)) {
                faults.add("conference.name", format!("{name:?} stands twice"));
            }
            match tenant {
                Some(tenant) if !tenants.contains(&tenant) => faults
                    .add("conference.tenant", format!("there is no [[tenant]] with id {tenant}")),
                None if tenants.len() != 1 => faults.add(
                    "conference.tenant",
                    format!("there are several tenants: say whose {name:?} is"),
                ),
                Some(_) | None => {}
            }
        }
        for route in &self.routes {
            if !apps.contains(&route.app) {
                faults.add("route.app", format!("there is no [[app]] with id {}", route.app));
            }
        }
    }

    /// The dev profile's secrets are no secrets.
    fn check_published(&self, faults: &mut Faults) {
        if self.profile == Profile::Dev {
            return;
        }
        let is_published =
            |secret: &&Secret| super::PUBLISHED_SECRETS.iter().any(|known| secret.matches(known));
        let apps = self.apps.iter().filter_map(|app| app.secret.as_ref());
        let phones = self.phones.iter().map(|phone| &phone.password);
        let trunks = self.trunks.iter().filter_map(|trunk| trunk.password.as_ref());
        for (setting, found) in [
            ("admin.token", self.admin.token.iter().any(|secret| is_published(&secret))),
            ("app.secret", apps.clone().any(|secret| is_published(&secret))),
            ("phone.password", phones.clone().any(|secret| is_published(&secret))),
            ("trunk.password", trunks.clone().any(|secret| is_published(&secret))),
        ] {
            if found {
                faults.add(
                    setting,
                    "this is the dev profile's, which everyone knows: choose another",
                );
            }
        }
    }

    fn check_lines(&self, faults: &mut Faults) {
        let mut users = BTreeSet::new();
        for phone in &self.phones {
            if !users.insert(&phone.user) {
                faults.add("phone.user", format!("{:?} stands twice", phone.user));
            }
            if phone.password.expose().is_empty() {
                faults.add("phone.password", format!("phone {:?} has no password", phone.user));
            }
        }
        if self.sip.digest.is_empty() && !self.phones.is_empty() {
            faults.add("sip.digest", "no [[phone]] can register without an algorithm");
        }
        let names: BTreeSet<_> = self.trunks.iter().map(|trunk| &trunk.name).collect();
        if names.len() != self.trunks.len() {
            faults.add("trunk.name", "two trunks have the same name");
        }
        for trunk in &self.trunks {
            if trunk.uri.as_deref().is_some_and(|uri| !is_sip_uri(uri)) {
                faults.add(
                    "trunk.uri",
                    format!("trunk {:?} needs a SIP URI: \"sip:sip.carrier.example\"", trunk.name),
                );
            }
            if trunk.register && (trunk.uri.is_none() || trunk.username.is_none()) {
                faults.add(
                    "trunk.register",
                    format!("trunk {:?} needs uri and username to register", trunk.name),
                );
            }
        }
        if let Some(name) = &self.dial.trunk
            && !self.trunks.iter().any(|trunk| trunk.name == *name && trunk.uri.is_some())
        {
            faults.add("dial.trunk", format!("there is no [[trunk]] {name:?} with a uri"));
        }
    }

    fn check_limits(&self, faults: &mut Faults) {
        let zero = "must be more than zero";
        for (setting, value) in [
            ("limits.calls", self.limits.calls as u64),
            ("limits.participants", self.limits.participants as u64),
            ("limits.queued_operations", self.limits.queued_operations as u64),
            ("limits.connections", self.limits.connections as u64),
            ("prompts.max_bytes", self.prompts.max_bytes.0),
            ("prompts.max_duration", self.prompts.max_duration.0.as_millis() as u64),
            ("prompts.timeout", self.prompts.timeout.0.as_millis() as u64),
            ("recordings.keep", self.recordings.keep.0.as_millis() as u64),
            ("recordings.token_valid", self.recordings.token_valid.0.as_millis() as u64),
            ("recordings.disk_budget", self.recordings.disk_budget.0),
            ("calls.keep_alive", self.calls.keep_alive.0.as_millis() as u64),
            ("calls.answer_within", self.calls.answer_within.0.as_millis() as u64),
            ("dial.max_call", self.dial.max_call.0.as_millis() as u64),
            ("calls.ring_for", self.calls.ring_for.0.as_millis() as u64),
        ] {
            if value == 0 {
                faults.add(setting, zero);
            }
        }
        for (setting, value) in [
            ("admission.engine_thread_percent", self.admission.engine_thread_percent),
            ("admission.process_percent", self.admission.process_percent),
        ] {
            if value > 100 {
                faults.add(setting, "must be 0 to 100");
            }
        }
        if self.rtp.ports.0.clone().count() < 2 {
            faults.add("rtp.ports", "a call needs two ports");
        }
    }
}

/// Faults found so far.
#[derive(Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn verdict(self) -> Result<(), ConfigError> {
        if self.0.is_empty() { Ok(()) } else { Err(ConfigError { faults: self.0 }) }
    }

    pub(super) fn add(&mut self, setting: &str, message: impl Into<String>) {
        self.0.push(Fault { setting: setting.to_owned(), message: message.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{faults, load},
        *,
    };

    #[test]
    fn the_built_in_files_are_good() {
        Config::load(Profile::Production, None, Default::default()).unwrap();
        let dev = Config::load(Profile::Dev, None, Default::default()).unwrap();
        assert_eq!(dev.profile, Profile::Dev);
        assert!(dev.phones.iter().any(|phone| phone.user == super::super::DEV_PHONE_USER));
    }

    #[test]
    fn plain_http_to_the_world_is_refused() {
        assert_eq!(faults("[http]\nlisten = \"0.0.0.0:8080\""), ["http.listen"]);
        load(Profile::Production, "[http]\nlisten = \"0.0.0.0:8080\"\nbehind_proxy = true")
            .unwrap();
    }

    #[test]
    fn the_dev_profile_stays_on_loopback() {
        let error = load(Profile::Dev, "[sip]\nlisten = [\"udp:0.0.0.0:5060\"]").unwrap_err();
        assert_eq!(error.faults[0].setting, "sip.listen");
    }

    #[test]
    fn all_faults_are_reported_at_once_with_their_settings() {
        let text = "[https]\nlisten = \"0.0.0.0:8443\"\n[limits]\ncalls = 0\n\
                    [admission]\nprocess_percent = 101\n\
                    [[route]]\nto = \"*\"\napp = \"9f3c9f3c-0000-0000-0000-000000000000\"";
        assert_eq!(
            faults(text),
            ["https.cert", "https.key", "route.app", "limits.calls", "admission.process_percent"]
        );
    }

    #[test]
    fn whatever_cannot_be_read_is_told_at_once_with_everything_else() {
        let text = "[sip]\nlistten = []\nlisten = [\"udp:127.0.0.1:0\", \"sctp:x\", \"udp:y\"]\n\
                    [http]\nlisten = \"0.0.0.0:80\"\nhost = 1\n\
                    [calls]\nkeep_alive = \"45\"\n[limits]\ncalls = \"many\"";
        let error = load(Profile::Production, text).unwrap_err();
        let named: Vec<_> = error.faults.iter().map(|fault| fault.setting.as_str()).collect();
        assert_eq!(
            named,
            [
                "calls.keep_alive",
                "http.host",
                "limits.calls",
                "sip.listen",
                "sip.listen",
                "sip.listten"
            ]
        );
        for said in ["unit", "(entry 2)", "(entry 3)", "must be usize, not a text"] {
            assert!(error.to_string().contains(said), "{said}: {error}");
        }
        // What can be read is judged, too, as long as no entry of a list is in doubt.
        let text = "[http]\nlisten = \"0.0.0.0:80\"\nhost = 1";
        assert_eq!(faults(text), ["http.host", "http.listen"]);
    }

    #[test]
    fn entries_of_lists_of_tables_are_read_one_by_one() {
        let text = "[[app]]\nid = 7\nroles = []\nname = \"x\"\n[[tenant]]\n\
                    [[tenant]]\nid = \"b7e2c1d0-0000-0000-0000-000000000001\"\n[[tenant]]\nid = 1\n\
                    [[route]]\nto = \"*\"\napp = \"9f3c9f3c-0000-0000-0000-000000000000\"";
        let error = load(Profile::Production, text).unwrap_err();
        let told: Vec<_> = error.to_string().lines().skip(1).map(str::to_owned).collect();
        let begins = [
            "  app.id: must be",
            "  app.name: there is no such key; here stand id, tenant, secret",
            "  tenant.id: is missing (entry 1)",
            "  tenant.id: must be",
        ];
        assert_eq!(told.len(), begins.len(), "{told:#?}");
        for (told, begin) in told.iter().zip(begins) {
            assert!(told.starts_with(begin), "{told}");
        }
        assert!(told[3].ends_with("(entry 3)"), "{}", told[3]);
    }

    #[test]
    fn no_fault_repeats_a_value_that_may_be_secret() {
        let canary = "1234567890123456";
        for text in [
            format!("[admin]\ntoken = {canary}"),
            format!("[admin]\ntoken = [\"{canary}\"]"),
            format!("[admin]\ntoken = \"{canary}\" x"),
            format!("[[phone]]\nuser = \"a\"\nuser_id = \"b\"\npassword = {canary}"),
            format!("[[app]]\nid = \"{canary}\""),
            format!("[[app]]\nsecret = {canary}.5"),
            format!("[server]\npublic_url = \"{canary}\""),
            format!("[[trunk]]\nname = \"x\"\nuri = \"sips:u:{canary}@host\""),
            format!("[[trunk]]\nname = \"x\"\npassword = \"{canary}"),
        ] {
            let error = load(Profile::Production, &text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains(canary), "{text}: {error}");
        }
        let error = load(Profile::Production, "[http]\nlisten = 1\nlisten = \"a\" b").unwrap_err();
        assert_eq!(error.faults[0].setting, "(file)");
        assert!(error.to_string().contains("line 3, column "), "{error}");
    }

    #[test]
    fn the_profile_is_the_commands() {
        for (base, said) in [(Profile::Dev, "production"), (Profile::Production, "dev")] {
            let error = load(base, &format!("profile = \"{said}\"")).unwrap_err();
            assert_eq!(error.faults.len(), 1, "{error}");
            assert_eq!(error.faults[0].setting, "profile");
            load(base, &format!("profile = \"{}\"", base.name())).unwrap();
        }
        let error = load(Profile::Dev, super::super::DEFAULT_TOML).unwrap_err();
        assert!(error.faults.iter().all(|fault| fault.setting != "profile"), "{error}");
    }

    #[test]
    fn what_a_server_would_refuse_at_its_start_is_a_fault() {
        let app = "[[tenant]]\nid = \"b7e2c1d0-0000-0000-0000-000000000001\"\n[[app]]\n\
                   id = \"9f3c0000-0000-0000-0000-000000000001\"\n\
                   tenant = \"b7e2c1d0-0000-0000-0000-000000000001\"\n";
        let secret = "secret = \"a secret that is long enough\"\n";
        for (text, wanted) in [
            (format!("{app}{secret}roles = [\"Calls.Initiate\"]"), vec!["app.roles"]),
            (
                format!("{app}{secret}calling_webhook = \"https://bot.example.com/\""),
                vec!["app.calling_webhook"],
            ),
            ("[server]\npublic_url = \"https://x/?a=b\"".to_owned(), vec!["server.public_url"]),
            (
                "[https]\nlisten = \"0.0.0.0:0\"\ncert = \"/none.pem\"\nkey = \"/none.key\""
                    .to_owned(),
                vec!["https.cert, https.key"],
            ),
            ("[[trunk]]\nname = \"x\"\nuri = \"carrier\"".to_owned(), vec!["trunk.uri"]),
            (
                format!(
                    "{app}secret_env = \"NOT_SET_1\"\n{}secret_env = \"NOT_SET_2\"",
                    &app.replace("9f3c0000", "9f3c0001")[app.find("[[app]]").unwrap()..]
                ),
                vec!["app.secret_env", "app.secret_env"],
            ),
        ] {
            assert_eq!(faults(&text), wanted, "{text}");
        }
    }

    #[test]
    fn production_refuses_the_secrets_that_every_copy_of_the_dev_profile_has() {
        let text = "[admin]\ntoken = \"dev-admin-token-not-for-production\"\n\
                    [[tenant]]\nid = \"b7e2c1d0-0000-0000-0000-000000000001\"\n[[app]]\n\
                    id = \"9f3c0000-0000-0000-0000-000000000001\"\n\
                    tenant = \"b7e2c1d0-0000-0000-0000-000000000001\"\n\
                    secret = \"dev-client-secret\"\n[[phone]]\nuser = \"phone\"\nuser_id = \"x\"\n\
                    password = \"dev-phone-password\"\n";
        assert_eq!(faults(text), ["admin.token", "app.secret", "phone.password"]);
        let dev = text.split("[[tenant]]").next().unwrap();
        load(Profile::Dev, dev).unwrap();
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Config::load(
            Profile::Production,
            Some(Path::new("/nonexistent.toml")),
            Default::default(),
        );
        assert!(error.unwrap_err().to_string().contains("/nonexistent.toml"));
    }
}
