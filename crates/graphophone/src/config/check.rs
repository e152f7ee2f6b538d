//! What makes a configuration unsafe or impossible. All faults are reported at once.

use std::{collections::BTreeSet, fmt, path::Path};

use super::{Config, Profile, SipListen};
use crate::auth::AdminToken;

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

impl From<figment::Error> for ConfigError {
    fn from(error: figment::Error) -> Self {
        let fault = |error: figment::Error| Fault {
            setting: if error.path.is_empty() { "(file)".to_owned() } else { error.path.join(".") },
            message: error.kind.to_string(),
        };
        Self { faults: error.into_iter().map(fault).collect() }
    }
}

impl Config {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Faults::default();
        self.check_listeners(&mut faults);
        self.check_identities(&mut faults);
        self.check_lines(&mut faults);
        self.check_limits(&mut faults);
        if faults.0.is_empty() { Ok(()) } else { Err(ConfigError { faults: faults.0 }) }
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
        if let Some(url) = &self.server.public_url
            && !matches!(url.scheme(), "http" | "https")
        {
            faults.add("server.public_url", "write an http or https URL");
        }
        if let Some(token) = &self.admin.token
            && let Err(error) = AdminToken::configured(token.clone())
        {
            faults.add("admin.token", error.to_string());
        }
    }

    fn check_identities(&self, faults: &mut Faults) {
        let tenants: BTreeSet<_> = self.tenants.iter().map(|tenant| tenant.id).collect();
        let mut apps = BTreeSet::new();
        for app in &self.apps {
            if !tenants.contains(&app.tenant) {
                faults.add("app.tenant", format!("there is no [[tenant]] with id {}", app.tenant));
            }
            if !apps.insert(app.id) {
                faults.add("app.id", format!("{} stands twice", app.id));
            }
            let secret = app.secret.as_ref().map_or("", |secret| secret.expose());
            if secret.is_empty() {
                faults
                    .add("app.secret", format!("app {} has neither secret nor secret_env", app.id));
            } else if self.profile == Profile::Production && secret.len() < 16 {
                faults.add(
                    "app.secret",
                    format!("the secret of app {} is shorter than 16 characters", app.id),
                );
            }
            for role in &app.roles {
                if !role.starts_with("Calls.") {
                    faults.add(
                        "app.roles",
                        format!("{role:?} is not a calling role: see docs for Calls.*"),
                    );
                }
            }
        }
        for route in &self.routes {
            if !apps.contains(&route.app) {
                faults.add("route.app", format!("there is no [[app]] with id {}", route.app));
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
            ("limits.queued_operations", self.limits.queued_operations as u64),
            ("prompts.max_bytes", self.prompts.max_bytes.0),
            ("prompts.max_duration", self.prompts.max_duration.0.as_millis() as u64),
            ("prompts.timeout", self.prompts.timeout.0.as_millis() as u64),
            ("callbacks.timeout", self.callbacks.timeout.0.as_millis() as u64),
            ("calls.keep_alive", self.calls.keep_alive.0.as_millis() as u64),
            ("calls.answer_within", self.calls.answer_within.0.as_millis() as u64),
            ("calls.ring_for", self.calls.ring_for.0.as_millis() as u64),
        ] {
            if value == 0 {
                faults.add(setting, zero);
            }
        }
        if self.rtp.ports.0.clone().count() < 2 {
            faults.add("rtp.ports", "a call needs two ports");
        }
    }
}

#[derive(Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, setting: &str, message: impl Into<String>) {
        self.0.push(Fault { setting: setting.to_owned(), message: message.into() });
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn load(profile: Profile, text: &str) -> Result<Config, ConfigError> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Config::load(profile, Some(file.path()), Default::default())
    }

    fn faults(text: &str) -> Vec<String> {
        let error = load(Profile::Production, text).expect_err("should be refused");
        error.faults.into_iter().map(|fault| fault.setting).collect()
    }

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
                    [[route]]\nto = \"*\"\napp = \"9f3c9f3c-0000-0000-0000-000000000000\"";
        assert_eq!(faults(text), ["https.cert", "https.key", "route.app", "limits.calls"]);
    }

    #[test]
    fn unknown_keys_and_wrong_values_name_the_setting() {
        assert_eq!(faults("[sip]\nlistten = []"), ["sip.listten"]);
        let error = load(Profile::Production, "[calls]\nkeep_alive = \"45\"").unwrap_err();
        assert_eq!(error.faults[0].setting, "calls.keep_alive");
        assert!(error.to_string().contains("unit"), "{error}");
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
