//! From a Graph identity to something SIP can dial, by the rules of `[dial]`.

use graphophone_call::{Identity, IdentityKind};
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

impl Target {
    /// The target that an identity names; `None` of a bot, and of one without an id.
    pub fn of(identity: &Identity) -> Option<Self> {
        let id = identity.id.clone()?;
        match identity.kind {
            IdentityKind::User => Some(Self::User(id)),
            IdentityKind::Phone => Some(Self::Phone(id)),
            IdentityKind::Application => None,
        }
    }
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
    /// The configuration forbids it, whatever else it allows.
    #[error("Dialling this target is forbidden: it matches the setting dial.deny")]
    ConfigForbids,
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
    /// Numbers that are not called, whatever `allow` says.
    deny: Vec<Pattern>,
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
            deny: config.dial.deny.clone(),
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
            self.forbid(&uri.user)?;
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
                self.forbid(number)?;
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

    /// Judges a number, or the user part of a URI if it is one, in every way it could be dialled.
    fn forbid(&self, user: &str) -> Result<(), DialError> {
        let digits: String = user.chars().filter(|c| !"+-.()".contains(*c)).collect();
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(());
        }
        // As it stands, and behind the prefixes of calls abroad: 00, in North America 011.
        let behind = digits.trim_start_matches("00");
        let readings = [digits.as_str(), behind, behind.trim_start_matches("011")];
        let mut readings = readings.into_iter().map(|number| format!("+{number}"));
        if readings.any(|number| self.deny.iter().any(|pattern| pattern.matches(&number))) {
            return Err(DialError::ConfigForbids);
        }
        Ok(())
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
            deny: ["+1900*", "+881*"].iter().map(|text| text.parse().unwrap()).collect(),
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
    fn what_is_forbidden_is_not_dialled_in_any_spelling() {
        let rules = rules(&["*"], Some("sip.example"));
        for spelling in [
            "+19005550100",
            "tel:+19005550100",
            "19005550100",
            "0019005550100",
            "01119005550100",
            "sip:+19005550100@sip.example",
            "sip:+1-900-555-0100@sip.example;user=phone",
            "sip:+1(900)555.0100@sip.example",
            "sip:0088112345@sip.example",
        ] {
            for target in [Target::Phone(spelling.into()), Target::User(spelling.into())] {
                let verdict = rules.route(&target);
                let is_user = target == Target::User("19005550100".into())
                    || !spelling.contains(':') && matches!(target, Target::User(_));
                assert!(is_user || verdict == Err(DialError::ConfigForbids), "{target:?}");
            }
        }
        assert!(rules.route(&Target::Phone("+15559005550".into())).is_ok());
        assert!(rules.route(&Target::Phone("sip:alice1900@sip.example".into())).is_ok());
    }

    /// Pieces that targets are made of, good and evil.
    const PIECES: [&str; 44] = [
        "sip:",
        "sips:",
        "tel:",
        "SIP:",
        "user:",
        "+",
        "+1555",
        "+1900",
        "1900",
        "00",
        "011",
        "55501",
        "%35",
        "%2B",
        "%40",
        "@",
        "@127.0.0.1",
        "@sip.example",
        "@evil.example",
        "127.0.0.1",
        "[::1]",
        "localhost",
        "::ffff:127.0.0.1",
        ":5060",
        ":",
        ";",
        ";user=phone",
        ";maddr=evil.example",
        ";transport=tcp",
        ";transport=tls",
        ";phone-context=+1900",
        ";ext=1",
        "?Route=%3Csip:evil%3E",
        "&",
        "\r\n",
        "\0",
        " ",
        "１９",
        "٣",
        "-",
        ".",
        "(900)",
        "alice",
        "//",
    ];

    #[test]
    fn a_hundred_thousand_tricky_targets_reach_nobody_outside_the_rules() {
        let allow = ["+1555*", "sip:*@127.0.0.1", "sip:*@127.0.0.1:*", "sip:+1555*@sip.example"];
        let rules = rules(&allow, Some("trunk.example"));
        let mut state = 0x2545_F491_4F6C_DD1D_u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % below as u64) as usize
        };
        let (mut dialled, mut tried) = (0, 0);
        while tried < 100_000 {
            let count = 1 + next(6);
            let id: String = (0..count).map(|_| PIECES[next(PIECES.len())]).collect();
            for target in [Target::Phone(id.clone()), Target::User(id)] {
                tried += 1;
                if let Ok(Route::Uri { uri, trunk }) = rules.route(&target) {
                    dialled += 1;
                    assert!(is_inside_the_rules(&uri, trunk.is_some()), "{target:?} dials {uri}");
                }
            }
        }
        assert!(dialled > 100, "the pieces must make some good targets, too: {dialled}");
    }

    /// The rules of the test above once more, by other means than the code under test.
    fn is_inside_the_rules(uri: &str, by_trunk: bool) -> bool {
        let plain = uri.bytes().all(|byte| byte.is_ascii_graphic()) && !uri.contains('?');
        let Some(rest) = uri.get(4..) else { return false };
        let address = rest.split(';').next().unwrap_or_default();
        let (user, host) = address.rsplit_once('@').unwrap_or(("", address));
        let host = host.split(':').next().unwrap_or_default();
        let digits: String = user.chars().filter(char::is_ascii_digit).collect();
        let national = digits.trim_start_matches("00").trim_start_matches("011");
        let is_number = user.chars().all(|c| "+-.()0123456789".contains(c));
        let is_premium = is_number && (national.starts_with("1900") || national.starts_with("881"));
        let is_allowed = match host {
            "trunk.example" => by_trunk && user.starts_with("+1555"),
            "127.0.0.1" => !by_trunk,
            "sip.example" => user.starts_with("+1555"),
            _ => false,
        };
        plain && is_allowed && !is_premium && !rest.contains("maddr") && !user.contains("%3")
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
