//! `configureMixer` of a call's participants (beta): how loud others are for one listener.

use graphophone_call::{FULL_LEVEL, MixerLevel, ParticipantId};

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Member, Members},
    resource::audio_routing_group::participant_id,
};

/// Most listeners, and most sources of one. Graph states none; ours.
pub const MAX_LEVELS: usize = 100;

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigureMixer {
    /// One for each listener.
    pub levels: Vec<MixerLevel>,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body. `ducking` is accepted and has no effect: nobody here is ducked.
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
    })
}

fn source(item: &Member<'_>) -> Result<(ParticipantId, u8), BodyError> {
    let members = item.members(&["participant", "level", "ducking"], Extras::Undeclared)?;
    members.expect_type("audioSourceLevel")?;
    let id = participant_id(&members.require("participant", "the id of a participant")?)?;
    let level = match members.get("level") {
        Some(member) => match u8::try_from(member.int32()?) {
            Ok(level @ 0..=FULL_LEVEL) => level,
            Ok(_) | Err(_) => return Err(member.unexpected("0 to 100 per cent")),
        },
        None => FULL_LEVEL,
    };
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
               "ducking":{{"rampActive":50}},"sourceLevels":[{source}]}}],"clientContext":"c"}}"#
        );
        let parsed = parse(body.as_bytes(), ApiVersion::Beta, Compat::Open);
        parsed.map_err(|error| error.to_string())
    }

    #[test]
    fn levels_are_per_cent() {
        let configured = read("50").expect("half as loud");
        let id: ParticipantId = ID.parse().expect("it is a GUID");
        let level = MixerLevel { participant: id, is_exclusive: true, sources: vec![(id, 50)] };
        assert_eq!(configured.levels, [level]);
        let error = read("101").unwrap_err();
        let member = "participantMixerLevels[0].sourceLevels[0].level";
        assert_eq!(error, format!("{member}: 0 to 100 per cent expected, not 101"));
    }
}
