//! `[callbacks]`, and the secrets of `[[app]]` that sign what goes there: what is wrong with them, and
//! what they mean for the outbox.

use std::time::Duration;

use graphophone_call::AppId;

use super::{App, Config, DEV_WEBHOOK_SECRET, Faults, Profile};
use crate::{
    auth::Secret,
    outbox::{DeliverSettings, Limits, Schedule, Settings, WebhookSecret, WebhookSecrets},
};

/// Attempts at one time at one endpoint, at most; promised to bots.
const MOST_CONCURRENT: usize = 64;
/// Entries of `retry_at`.
const MOST_ATTEMPTS: usize = 100;
/// Between two of them at least: a dead bot is not to be hammered.
const SHORTEST_WAIT: Duration = Duration::from_millis(100);

impl Config {
    pub(super) fn check_callbacks(&self, faults: &mut Faults) {
        let callbacks = &self.callbacks;
        for (setting, value) in [
            ("callbacks.timeout", callbacks.timeout),
            ("callbacks.connect_timeout", callbacks.connect_timeout),
        ] {
            if value.0.is_zero() {
                faults.add(setting, "must be more than zero");
            }
        }
        let at: Vec<Duration> = callbacks.retry_at.iter().map(|at| at.0).collect();
        if at.first() != Some(&Duration::ZERO) {
            faults.add("callbacks.retry_at", "the first attempt is made at \"0s\"");
        } else if at.windows(2).any(|pair| pair[1] < pair[0] + SHORTEST_WAIT) {
            faults.add(
                "callbacks.retry_at",
                "each time must be at least 100ms after the one before it",
            );
        } else if at.len() > MOST_ATTEMPTS {
            faults
                .add("callbacks.retry_at", format!("at most {MOST_ATTEMPTS} times can stand here"));
        }
        if callbacks.jitter_percent > 100 {
            faults.add("callbacks.jitter_percent", "must be 0 to 100");
        }
        if !(1..=MOST_CONCURRENT).contains(&callbacks.concurrency) {
            faults.add("callbacks.concurrency", format!("must be 1 to {MOST_CONCURRENT}"));
        }
        for app in &self.apps {
            check_secrets(app, faults);
        }
    }

    /// How one attempt is made.
    pub(crate) fn deliver_settings(&self) -> DeliverSettings {
        DeliverSettings {
            connect_timeout: self.callbacks.connect_timeout.0,
            total_timeout: self.callbacks.timeout.0,
            redirects: self.callbacks.redirects,
        }
    }

    /// When and how much is attempted.
    pub(crate) fn outbox_settings(&self) -> Settings {
        let callbacks = &self.callbacks;
        Settings {
            schedule: Schedule {
                attempts_at: callbacks.retry_at.iter().map(|at| at.0).collect(),
                give_up_after: callbacks.give_up_after.0,
                jitter: f64::from(callbacks.jitter_percent) / 100.0,
                retry_after_limit: callbacks.retry_after_limit.0,
                ..Schedule::default()
            },
            limits: Limits { per_endpoint: callbacks.concurrency, ..Limits::default() },
            ..Settings::default()
        }
    }

    /// What signs notifications. Those that cannot be read are left out: they are faults.
    pub(crate) fn webhook_secrets(&self) -> WebhookSecrets {
        let mut secrets = WebhookSecrets::default();
        for app in &self.apps {
            for secret in [&app.webhook_secret, &app.webhook_secret_previous].into_iter().flatten()
            {
                if let Ok(secret) = WebhookSecret::parse(secret) {
                    secrets = secrets.with(AppId::new(app.id), secret);
                }
            }
        }
        // Its applications are made on their first token.
        if self.profile == Profile::Dev
            && let Ok(secret) = WebhookSecret::parse(&Secret::new(DEV_WEBHOOK_SECRET))
        {
            secrets = secrets.otherwise(secret);
        }
        secrets
    }
}

fn check_secrets(app: &App, faults: &mut Faults) {
    for (setting, secret) in [
        ("app.webhook_secret", &app.webhook_secret),
        ("app.webhook_secret_previous", &app.webhook_secret_previous),
    ] {
        if let Some(secret) = secret
            && let Err(fault) = WebhookSecret::parse(secret)
        {
            faults.add(setting, format!("app {}: {fault}", app.id));
        }
    }
    let is_unset = app.webhook_secret.is_none() && app.webhook_secret_env.is_none();
    if app.webhook_secret_previous.is_some() && is_unset {
        faults.add(
            "app.webhook_secret_previous",
            format!("app {} has no webhook_secret that replaces it", app.id),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::testing::{faults, load},
        outbox::Redirects,
    };

    const APP: &str = "[[tenant]]\nid = \"b7e2c1d0-0000-0000-0000-000000000001\"\n[[app]]\n\
                       id = \"9f3c0000-0000-0000-0000-000000000001\"\n\
                       tenant = \"b7e2c1d0-0000-0000-0000-000000000001\"\n\
                       secret = \"a secret that is long enough\"\n";
    const GOOD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    #[test]
    fn the_built_in_schedule_is_the_promised_one() {
        let config = load(Profile::Production, "").unwrap();
        let (built_in, promised) = (config.outbox_settings(), Settings::default());
        assert_eq!(format!("{built_in:?}"), format!("{promised:?}"));
        let deliver = format!("{:?}", config.deliver_settings());
        assert_eq!(deliver, format!("{:?}", DeliverSettings::default()));
        assert_eq!(config.callbacks.redirects, Redirects::Refuse);
    }

    #[test]
    fn a_schedule_of_ones_own_is_taken() {
        let text = "[callbacks]\nretry_at = [\"0s\", \"200ms\", \"5s\"]\njitter_percent = 0\n\
                    retry_after_limit = \"10s\"\ngive_up_after = \"1min\"\nconcurrency = 8\n\
                    connect_timeout = \"1s\"\ntimeout = \"3s\"\nredirects = \"same-host\"";
        let config = load(Profile::Production, text).unwrap();
        let Settings { schedule, limits, .. } = config.outbox_settings();
        let ms = Duration::from_millis;
        assert_eq!(schedule.attempts_at, [ms(0), ms(200), ms(5_000)]);
        assert_eq!((schedule.give_up_after, schedule.jitter), (ms(60_000), 0.0));
        assert_eq!((schedule.retry_after_limit, limits.per_endpoint), (ms(10_000), 8));
        let DeliverSettings { connect_timeout, total_timeout, redirects } =
            config.deliver_settings();
        assert_eq!((connect_timeout, total_timeout), (ms(1_000), ms(3_000)));
        assert_eq!(redirects, Redirects::SameHost);
    }

    #[test]
    fn a_schedule_that_would_hammer_or_never_begin_is_refused() {
        for (line, setting) in [
            ("retry_at = []", "callbacks.retry_at"),
            ("retry_at = [\"1s\"]", "callbacks.retry_at"),
            ("retry_at = [\"0s\", \"1s\", \"1s\"]", "callbacks.retry_at"),
            ("retry_at = [\"0s\", \"50ms\"]", "callbacks.retry_at"),
            ("retry_at = [\"0s\", \"2s\", \"1s\"]", "callbacks.retry_at"),
            ("retry_at = [\"0s\", \"soon\"]", "callbacks.retry_at"),
            ("jitter_percent = 101", "callbacks.jitter_percent"),
            ("concurrency = 0", "callbacks.concurrency"),
            ("concurrency = 65", "callbacks.concurrency"),
            ("connect_timeout = \"0s\"", "callbacks.connect_timeout"),
            ("timeout = \"0s\"", "callbacks.timeout"),
            ("redirects = \"always\"", "callbacks.redirects"),
        ] {
            assert_eq!(faults(&format!("[callbacks]\n{line}")), [setting], "{line}");
        }
    }

    #[test]
    fn a_secret_that_signs_has_its_form_and_no_fault_repeats_it() {
        let secrets = |lines: &str| load(Profile::Production, &format!("{APP}{lines}"));
        secrets(&format!("webhook_secret = \"{GOOD}\"")).unwrap();
        secrets(&format!("webhook_secret = \"{GOOD}\"\nwebhook_secret_previous = \"{GOOD}\""))
            .unwrap();
        for (lines, setting) in [
            ("webhook_secret = \"canary\"".to_owned(), "app.webhook_secret"),
            ("webhook_secret = \"whsec_canary\"".to_owned(), "app.webhook_secret"),
            (format!("webhook_secret_previous = \"{GOOD}\""), "app.webhook_secret_previous"),
            ("webhook_secret_env = \"NOT_SET_3\"".to_owned(), "app.webhook_secret_env"),
        ] {
            let error = secrets(&lines).unwrap_err();
            assert_eq!(error.faults[0].setting, setting, "{error}");
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }

    #[test]
    fn dev_signs_for_everybody_and_production_for_those_with_a_secret() {
        let known = AppId::new("9f3c0000-0000-0000-0000-000000000001".parse().unwrap());
        let stranger = AppId::new("9f3c0000-0000-0000-0000-000000000002".parse().unwrap());
        let signs = |profile, lines: &str, app: AppId| {
            let route = format!("[[route]]\nto = \"*\"\napp = \"{}\"", known.uuid());
            let config = load(profile, &format!("{APP}{lines}\n{route}")).unwrap();
            config.webhook_secrets().header(app, "id", 0, b"{}").is_some()
        };
        let secret = format!("webhook_secret = \"{GOOD}\"");
        assert!(signs(Profile::Dev, "", known) && signs(Profile::Dev, &secret, stranger));
        assert!(signs(Profile::Production, &secret, known));
        assert!(!signs(Profile::Production, "", known));
        assert!(!signs(Profile::Production, &secret, stranger));
    }
}
