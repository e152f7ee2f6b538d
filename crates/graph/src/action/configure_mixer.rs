//! `configureMixer` of a call's participants (beta): how loud others are for one listener.

use graphophone_call::{FULL_LEVEL, MixerDucking, MixerLevel, ParticipantId};

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Member, Members},
    resource::audio_routing_group::participant_id,
};

/// Most listeners, and most sources of one. Graph states none; ours.
pub const MAX_LEVELS: usize = 100;
/// Longest ramp of ducking in milliseconds. Graph states none; ours.
pub const MAX_RAMP_MS: i32 = 60_000;

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigureMixer {
    /// One for each listener.
    pub levels: Vec<MixerLevel>,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body. A listener's `ducking` lowers whoever is not among the `sourceLevels` while one of
/// those speaks; `ducking` of a single source is read and has no effect.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    body: &[u8],
    version: ApiVersion,
    compat: Compat,
) -> Result<ConfigureMixer, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let declared = ["participantMixerLevels", "clientContext"];
    let members = Members::of_body(&body, &declared, Extras::Undeclared, dialect)?;
    let list = members.require("participantMixerLevels", "an array of participantMixerLevel")?;
    Ok(ConfigureMixer {
        levels: bounded(&list)?.iter().map(mixer_level).collect::<Result<_, _>>()?,
        client_context: client_context(&members)?,
    })
}

fn mixer_level(item: &Member<'_>) -> Result<MixerLevel, BodyError> {
    let declared = ["participant", "exclusive", "ducking", "sourceLevels"];
    let members = item.members(&declared, Extras::Undeclared)?;
    members.expect_type("participantMixerLevel")?;
    Ok(MixerLevel {
        participant: participant_id(&members.require("participant", "the id of a participant")?)?,
        is_exclusive: match members.get("exclusive") {
            Some(member) => member.boolean()?,
            None => false,
        },
        sources: match members.get("sourceLevels") {
            Some(list) => bounded(&list)?.iter().map(source).collect::<Result<_, _>>()?,
            None => Vec::new(),
        },
        ducking: members.get("ducking").map(|member| ducking(&member)).transpose()?,
    })
}

/// What is left out is as in the documents' example, but for others who are as loud as they are
/// while nobody speaks.
fn ducking(item: &Member<'_>) -> Result<MixerDucking, BodyError> {
    let declared = ["exclusive", "lowerLevel", "upperLevel", "rampActive", "rampInactive"];
    let members = item.members(&declared, Extras::Undeclared)?;
    members.expect_type("audioDuckingConfiguration")?;
    let ramp = |name| match members.get(name) {
        Some(member) => match member.int32()? {
            ms @ 0..=MAX_RAMP_MS => Ok(ms.unsigned_abs()),
            _ => Err(member.unexpected(&format!("0 to {MAX_RAMP_MS} milliseconds"))),
        },
        None => Ok(50),
    };
    let level = |name, other| members.get(name).map_or(Ok(other), |member| per_cent(&member));
    let (lower, upper) = (level("lowerLevel", 50)?, level("upperLevel", FULL_LEVEL)?);
    if lower > upper {
        let what = format!("{lower} is above upperLevel, send at most {upper}");
        return Err(members.wrong("lowerLevel", &what));
    }
    Ok(MixerDucking {
        lower,
        upper,
        ramp_down_ms: ramp("rampActive")?,
        ramp_up_ms: ramp("rampInactive")?,
    })
}

fn per_cent(member: &Member<'_>) -> Result<u8, BodyError> {
    match u8::try_from(member.int32()?) {
        Ok(level @ 0..=FULL_LEVEL) => Ok(level),
        Ok(_) | Err(_) => Err(member.unexpected("0 to 100 per cent")),
    }
}

fn source(item: &Member<'_>) -> Result<(ParticipantId, u8), BodyError> {
    let members = item.members(&["participant", "level", "ducking"], Extras::Undeclared)?;
    members.expect_type("audioSourceLevel")?;
    let id = participant_id(&members.require("participant", "the id of a participant")?)?;
    let level = match members.get("level") {
        Some(member) => per_cent(&member)?,
        None => FULL_LEVEL,
    };
    members.get("ducking").map(|member| ducking(&member)).transpose()?;
    Ok((id, level))
}

fn bounded<'a>(list: &Member<'a>) -> Result<Vec<Member<'a>>, BodyError> {
    let items = list.items()?;
    if items.len() > MAX_LEVELS {
        return Err(list.wrong(format!("more than {MAX_LEVELS} items")));
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2e1a0b00-2db4-4022-9570-243709c565ab";

    fn read(level: &str) -> Result<ConfigureMixer, String> {
        let source = format!(r#"{{"participant":"{ID}","level":{level},"ducking":{{}}}}"#);
        let body = format!(
            r#"{{"participantMixerLevels":[{{"participant":"{ID}","exclusive":true,
               "ducking":{{"rampActive":70}},"sourceLevels":[{source}]}}],"clientContext":"c"}}"#
        );
        let parsed = parse(body.as_bytes(), ApiVersion::Beta, Compat::Open);
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn levels_are_per_cent() {
        let configured = read("50").expect("half as loud");
        let id: ParticipantId = ID.parse().expect("it is a GUID");
        let ducking =
            Some(MixerDucking { lower: 50, upper: 100, ramp_down_ms: 70, ramp_up_ms: 50 });
        let sources = vec![(id, 50)];
        let level = MixerLevel { participant: id, is_exclusive: true, sources, ducking };
        assert_eq!(configured.levels, [level]);
        let error = read("101").unwrap_err();
        let member = "participantMixerLevels[0].sourceLevels[0].level";
        assert_eq!(error, format!("{member}: 0 to 100 per cent expected, not 101"));
    }

    #[test]
    fn ducking_that_cannot_be_is_named() {
        let of = |ducking: &str| {
            let body = format!(
                r#"{{"participantMixerLevels":[{{"participant":"{ID}","ducking":{ducking}}}]}}"#
            );
            parse(body.as_bytes(), ApiVersion::Beta, Compat::Open).map_err(|it| it.to_string())
        };
        let read = of(r#"{"lowerLevel":5,"upperLevel":80,"rampInactive":0}"#).expect("it is whole");
        let ducking = MixerDucking { lower: 5, upper: 80, ramp_down_ms: 50, ramp_up_ms: 0 };
        assert_eq!(read.levels[0].ducking, Some(ducking));
        for (wrong, named) in [
            (r#"{"lowerLevel":101}"#, "lowerLevel: 0 to 100 per cent expected"),
            (r#"{"lowerLevel":60,"upperLevel":50}"#, "lowerLevel: 60 is above upperLevel"),
            (r#"{"rampActive":-1}"#, "rampActive: 0 to 60000 milliseconds expected"),
            ("7", ""),
        ] {
            let error = of(wrong).expect_err("it is wrong");
            let place = "participantMixerLevels[0].ducking";
            assert!(error.starts_with(place) && error.contains(named), "{error}");
        }
    }
}
