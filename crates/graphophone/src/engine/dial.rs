//! From a Graph identity to something SIP can dial, by the rules of `[dial]`.

use graphophone_sip::DialledUri;

use crate::config::{Config, Pattern, Profile};

/// Whom a bot wants to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `identity.user.id`: a registered phone, or a SIP URI as it stands.
    User(String),
    /// `identity.phone.id`: an E.164 number, or a SIP URI as it stands.
    Phone(String),
}

/// How to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// The phone that is registered for this Graph user.
    Registered {
        /// Graph user id.
        user_id: String,
    },
    /// A SIP URI.
    Uri {
        /// Request-URI.
        uri: String,
        /// Trunk whose credentials answer challenges.
        trunk: Option<String>,
    },
}

/// Why a target is not dialled. Nothing has been sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// The bot named something that is not a number, a SIP URI or a user id.
    #[error("{0:?} cannot be dialled: use an E.164 number (+15551234567), a sip: URI or a user id")]
    BotBadTarget(String),
    /// The configuration does not allow it.
    #[error("Dialling this target is not allowed: the setting dial.allow has no pattern for it")]
    ConfigDenies,
    /// The dev profile has known secrets, so it dials nobody outside this machine.
    #[error(
        "The dev profile dials SIP URIs on loopback only: \
         for others, write a configuration with profile = \"production\""
    )]
    ConfigDevProfile,
    /// There is no trunk to carry it.
    #[error("There is no [[trunk]] with a uri to carry telephone numbers")]
    ConfigNoTrunk,
}

/// The `[dial]` section, ready to use.
#[derive(Clone, Debug)]
pub struct DialRules {
    allow: Vec<Pattern>,
    /// Only SIP URIs on this machine, whatever `allow` says.
    loopback_only: bool,
    /// Name and host part of the trunk that carries numbers.
    trunk: Option<(String, String)>,
}

impl DialRules {
    /// Takes what concerns dialling out of the configuration.
    pub fn new(config: &Config) -> Self {
        let wanted = config.dial.trunk.as_ref();
        let trunk = config
            .trunks
            .iter()
            .filter(|trunk| wanted.is_none_or(|name| *name == trunk.name))
            .find_map(|trunk| {
                Some((trunk.name.clone(), host_part(trunk.uri.as_deref()?).to_owned()))
            });
        Self {
            allow: config.dial.allow.clone(),
            loopback_only: config.profile == Profile::Dev,
            trunk,
        }
    }

    /// Decides how a target is reached.
    ///
    /// # Errors
    /// [`DialError`]; default deny.
    pub fn route(&self, target: &Target) -> Result<Route, DialError> {
        let (Target::User(id) | Target::Phone(id)) = target;
        // A URI with control characters or white space would split our own messages.
        if id.is_empty() || id.len() > 512 || !id.chars().all(|c| c.is_ascii_graphic()) {
            return Err(bad_target(id));
        }
        if has_scheme(id, "sip") {
            // Patterns see who is really called, not the text: parameters may hold anything.
            let uri = DialledUri::parse(id).ok_or_else(|| bad_target(id))?;
            self.permit(&uri.address)?;
            if self.loopback_only && !uri.is_loopback {
                return Err(DialError::ConfigDevProfile);
            }
            return Ok(Route::Uri { uri: id.clone(), trunk: None });
        }
        match target {
            Target::User(user_id) if !has_scheme(user_id, "tel") => {
                self.permit(&format!("user:{user_id}"))?;
                Ok(Route::Registered { user_id: user_id.clone() })
            }
            Target::User(id) | Target::Phone(id) => {
                let number = id.get(4..).filter(|_| has_scheme(id, "tel")).unwrap_or(id);
                let digits = number.strip_prefix('+').unwrap_or(number);
                if digits.is_empty()
                    || digits.len() > 32
                    || !digits.bytes().all(|b| b.is_ascii_digit())
                {
                    return Err(bad_target(id));
                }
                self.permit(number)?;
                let (trunk, host) = self.trunk.as_ref().ok_or(DialError::ConfigNoTrunk)?;
                Ok(Route::Uri { uri: format!("sip:{number}@{host}"), trunk: Some(trunk.clone()) })
            }
        }
    }

    fn permit(&self, text: &str) -> Result<(), DialError> {
        if self.allow.iter().any(|pattern| pattern.matches(text)) {
            Ok(())
        } else {
            Err(DialError::ConfigDenies)
        }
    }
}

fn bad_target(id: &str) -> DialError {
    DialError::BotBadTarget(id.chars().take(64).collect())
}

fn has_scheme(text: &str, scheme: &str) -> bool {
    text.split_once(':').is_some_and(|(have, _)| have.eq_ignore_ascii_case(scheme))
}

/// What stands behind the user part of a SIP URI, with port and parameters.
fn host_part(uri: &str) -> &str {
    let rest = uri.split_once(':').map_or(uri, |(_, rest)| rest);
    rest.rsplit_once('@').map_or(rest, |(_, host)| host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow: &[&str], trunk: Option<&str>) -> DialRules {
        DialRules {
            allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
            loopback_only: false,
            trunk: trunk.map(|host| ("carrier".to_owned(), host.to_owned())),
        }
    }

    #[test]
    fn numbers_go_to_the_trunk_if_a_pattern_allows_them() {
        let rules = rules(&["+1555*"], Some("sip.example:5070;transport=tcp"));
        let route = rules.route(&Target::Phone("+15551234".into())).unwrap();
        let uri = "sip:+15551234@sip.example:5070;transport=tcp".to_owned();
        assert_eq!(route, Route::Uri { uri, trunk: Some("carrier".into()) });
        assert_eq!(rules.route(&Target::Phone("tel:+15551234".into())).unwrap(), route);
        assert_eq!(
            rules.route(&Target::Phone("+19005551234".into())),
            Err(DialError::ConfigDenies)
        );
    }

    #[test]
    fn nothing_is_dialled_by_default() {
        let rules = rules(&[], Some("sip.example"));
        for target in ["+15551234", "sip:a@127.0.0.1", "5f1d"] {
            assert!(rules.route(&Target::User(target.into())).is_err(), "{target}");
            assert!(rules.route(&Target::Phone(target.into())).is_err(), "{target}");
        }
    }

    #[test]
    fn users_are_registered_phones_and_uris_are_taken_as_they_stand() {
        let rules = rules(&["user:*", "sip:*@127.0.0.1:*"], None);
        let registered = Route::Registered { user_id: "5f1d".into() };
        assert_eq!(rules.route(&Target::User("5f1d".into())), Ok(registered));
        let uri = "sip:bob@127.0.0.1:5080;transport=tcp".to_owned();
        let route = Ok(Route::Uri { uri: uri.clone(), trunk: None });
        assert_eq!(rules.route(&Target::User(uri.clone())), route);
        assert_eq!(rules.route(&Target::Phone(uri)), route);
    }

    #[test]
    fn patterns_see_the_real_host_and_nothing_of_the_parameters() {
        let rules = rules(&["sip:*.pbx.example"], None);
        let evil = Target::Phone("sip:v@evil.example;x=.pbx.example".into());
        assert_eq!(rules.route(&evil), Err(DialError::ConfigDenies));
        let good = Target::Phone("sip:v@a.pbx.example;user=phone".into());
        assert!(rules.route(&good).is_ok());
    }

    #[test]
    fn the_dev_profile_calls_nobody_outside_this_machine() {
        let mut rules = rules(&["sip:*@127.*", "sip:*@localhost*"], None);
        rules.loopback_only = true;
        for (uri, allowed) in [
            ("sip:a@127.0.0.1:5080", true),
            ("sip:a@localhost", true),
            ("sip:a@127.0.0.1.example.com", false),
            ("sip:a@localhost.example.com", false),
        ] {
            assert_eq!(rules.route(&Target::Phone(uri.into())).is_ok(), allowed, "{uri}");
        }
    }

    #[test]
    fn tricks_in_targets_are_refused() {
        let rules = rules(&["*"], Some("sip.example"));
        for bad in [
            "",
            "+1555\r\nX: y",
            "+1900;phone-context=x",
            "1555@evil",
            "+１５５５",
            "+",
            "sip:a b@c",
            "sip:v@127.0.0.2:5060;x=@127.0.0.1:1",
            "sip:v@evil@127.0.0.1:1",
            "sip:v@127.0.0.1;maddr=evil",
        ] {
            assert!(
                matches!(rules.route(&Target::Phone(bad.into())), Err(DialError::BotBadTarget(_))),
                "{bad}"
            );
        }
    }
}
