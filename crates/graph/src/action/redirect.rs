//! `redirect`: let others answer an incoming call instead of the bot.

use std::time::Duration;

use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Members},
    resource::{
        media::http_uri,
        participant::{Participant, ParticipantRole},
    },
};

/// Most targets (Graph).
pub const MAX_TARGETS: usize = 25;
/// Seconds that targets may ring (Graph).
pub const TIMEOUT: std::ops::RangeInclusive<i32> = 15..=90;

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    /// Who rings, all at once: 1 to [`MAX_TARGETS`].
    pub targets: Vec<Participant>,
    /// How long: Graph's 55 s for one and 60 s for several, if the bot does not say.
    pub ring_for: Duration,
    /// Where the end of the call is told; `None` leaves the bot's webhook in force.
    pub callback_uri: Option<String>,
    /// Targets see the bot and not the caller (beta).
    pub mask_caller: bool,
    /// The caller sees the bot and not who answers (beta). A caller by SIP sees no name of who
    /// answers anyway.
    pub mask_callee: bool,
}

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<Redirect, BodyError> {
    const DECLARED: [&str; 3] = ["targets", "timeout", "callbackUri"];
    const BETA: [&str; 6] =
        ["targets", "timeout", "callbackUri", "maskCallee", "maskCaller", "targetDisposition"];
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let declared: &[&'static str] = if dialect.takes_beta() { &BETA } else { &DECLARED };
    let members = Members::of_body(&body, declared, Extras::Undeclared, dialect)?;
    let member = members.require("targets", "whom to call instead of you")?;
    let items = member.items()?;
    if items.is_empty() {
        return Err(member.wrong("empty, send whom to call instead of you"));
    }
    if items.len() > MAX_TARGETS {
        return Err(member.wrong(format!("more than {MAX_TARGETS} targets")));
    }
    let targets: Vec<Participant> = items
        .iter()
        .map(|item| Participant::parse(item, ParticipantRole::Target))
        .collect::<Result<_, _>>()?;
    let seconds = match members.get("timeout") {
        Some(member) => {
            let seconds = member.int32()?;
            if !TIMEOUT.contains(&seconds) {
                let expected = format!("{} to {} seconds", TIMEOUT.start(), TIMEOUT.end());
                return Err(member.unexpected(&expected));
            }
            seconds.unsigned_abs()
        }
        None if targets.len() == 1 => 55,
        None => 60,
    };
    let flag = |name| match members.get(name).filter(|_| dialect.takes_beta()) {
        Some(member) => member.boolean(),
        None => Ok(false),
    };
    let (mask_caller, mask_callee) = (flag("maskCaller")?, flag("maskCallee")?);
    if let Some(member) = members.get("targetDisposition").filter(|_| dialect.takes_beta()) {
        // Deprecated, and each of them comes to the same: all targets ring at once.
        member.one_of(&[("default", ()), ("simultaneousRing", ()), ("forward", ())])?;
    }
    Ok(Redirect {
        targets,
        ring_for: Duration::from_secs(seconds.into()),
        callback_uri: members.get("callbackUri").map(|member| http_uri(&member)).transpose()?,
        mask_caller,
        mask_callee,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(id: &str) -> String {
        format!(r#"{{"identity":{{"user":{{"id":"{id}"}}}}}}"#)
    }

    fn read(members: &str, version: ApiVersion, compat: Compat) -> Result<Redirect, BodyError> {
        parse(format!("{{{members}}}").as_bytes(), version, compat)
    }

    #[test]
    fn one_target_rings_for_55_seconds_and_several_for_60_unless_the_bot_says_so() {
        let (one, two) = (target("a"), format!("{},{}", target("a"), target("b")));
        for (members, targets, seconds) in [
            (format!(r#""targets":[{one}]"#), 1, 55),
            (format!(r#""targets":[{two}]"#), 2, 60),
            (format!(r#""targets":[{two}],"timeout":15"#), 2, 15),
            (format!(r#""targets":[{one}],"timeout":90"#), 1, 90),
        ] {
            let redirect = read(&members, ApiVersion::V1, Compat::StrictV1).expect("documented");
            assert_eq!(redirect.targets.len(), targets);
            assert_eq!(redirect.ring_for, Duration::from_secs(seconds));
        }
    }

    #[test]
    fn masks_are_of_beta_only() {
        let members = format!(
            r#""targets":[{}],"maskCaller":true,"maskCallee":true,"targetDisposition":"forward""#,
            target("a")
        );
        let beta = read(&members, ApiVersion::Beta, Compat::StrictBeta).expect("documented");
        assert!(beta.mask_caller && beta.mask_callee);
        let error = read(&members, ApiVersion::V1, Compat::StrictV1).expect_err("not of v1.0");
        assert!(error.to_string().contains("mask"), "{error}");
    }

    #[test]
    fn a_wrong_member_is_named() {
        let many = vec![target("a"); 26].join(",");
        for (members, named) in [
            (String::new(), "targets"),
            (r#""targets":[]"#.to_owned(), "targets: empty"),
            (format!(r#""targets":[{many}]"#), "targets: more than 25"),
            (r#""targets":[{"identity":{}}]"#.to_owned(), "targets[0].identity"),
            (format!(r#""targets":[{}],"timeout":14"#, target("a")), "timeout: 15 to 90 seconds"),
            (format!(r#""targets":[{}],"timeout":91"#, target("a")), "timeout: 15 to 90 seconds"),
            (format!(r#""targets":[{}],"callbackUri":"x"#, target("a")) + "\"", "callbackUri"),
        ] {
            let error = read(&members, ApiVersion::V1, Compat::Open).expect_err("it is wrong");
            assert!(error.to_string().starts_with(named), "{error}");
        }
    }
}
