//! What playPrompt may say beyond Graph, in open mode: `graphophoneMode`, `graphophoneStopOn`,
//! `graphophoneParticipant`, and of each prompt `graphophoneGainDb` and `graphophoneStartMs`.

use graphophone_call::{MediaPrompt, PlayMode, PlayOptions, Shaping, StopOn, Tone, ToneSet};
use serde_json::{Map, Value, json};

use crate::{
    json::{BodyError, Extras, Member, Members},
    resource::{audio_routing_group::participant_id, tone},
};

/// Members of the action.
pub(super) const OF_ACTION: [&str; 3] =
    ["graphophoneMode", "graphophoneStopOn", "graphophoneParticipant"];
/// Members of a prompt.
pub(super) const OF_PROMPT: [&str; 2] = ["graphophoneGainDb", "graphophoneStartMs"];

/// Lowest and highest gain in decibels.
const GAINS: (f64, f64) = (-60.0, 20.0);
/// Longest beginning that is left out, an hour.
const MAX_START_MS: i32 = 3_600_000;

const MODES: [(&str, PlayMode); 3] = [
    ("queue", PlayMode::Queue),
    ("interrupt", PlayMode::Interrupt),
    ("overlay", PlayMode::Overlay),
];

/// How the prompts are to be played.
pub(super) fn options(members: &Members<'_>) -> Result<PlayOptions, BodyError> {
    let mode = match members.get(OF_ACTION[0]) {
        Some(member) => member.one_of(&MODES)?,
        None => PlayMode::Queue,
    };
    let stop_on = match members.get(OF_ACTION[1]) {
        Some(member) => stop_on(&member)?,
        None => StopOn::default(),
    };
    let participant = members.get(OF_ACTION[2]).map(|member| participant_id(&member));
    Ok(PlayOptions { mode, stop_on, participant: participant.transpose()? })
}

/// How one prompt is to be played.
pub(super) fn shaping(members: &Members<'_>) -> Result<Shaping, BodyError> {
    let mut shaping = Shaping::default();
    if let Some(member) = members.get(OF_PROMPT[0]) {
        let (least, most) = GAINS;
        let gain = member.value().as_f64().filter(|gain| (least..=most).contains(gain));
        let gain = gain.ok_or_else(|| {
            member.unexpected(&format!("a number of decibels from {least} to {most}"))
        })?;
        shaping.gain_tenths = (gain * 10.0).round() as i16;
    }
    if let Some(member) = members.get(OF_PROMPT[1]) {
        shaping.start_ms = match member.int32()? {
            ms @ 0..=MAX_START_MS => ms.unsigned_abs(),
            _ => return Err(member.unexpected(&format!("0 to {MAX_START_MS} milliseconds"))),
        };
    }
    Ok(shaping)
}

fn stop_on(member: &Member<'_>) -> Result<StopOn, BodyError> {
    let members = member.members(&["tones", "speech"], Extras::Undeclared)?;
    if let Some((name, _)) = members.unknown().iter().next() {
        // A prompt that a misspelt member does not stop is worse than an error.
        return Err(members.wrong(name, "not known here, known members are tones, speech"));
    }
    let tones = match members.get("tones") {
        Some(member) if member.value().is_boolean() => match member.boolean()? {
            true => ToneSet::ALL,
            false => ToneSet::default(),
        },
        Some(member) => {
            let names = Tone::ALL.map(|tone| (tone::name(tone), tone));
            let tones = member.items()?.into_iter().map(|item| item.one_of(&names));
            tones.collect::<Result<_, _>>()?
        }
        None => ToneSet::default(),
    };
    let speech = members.get("speech").map(|member| member.boolean()).transpose()?;
    Ok(StopOn { tones, speech: speech.unwrap_or(false) })
}

/// What of it is not Graph's way, as members of the operation.
pub(crate) fn render_options(options: PlayOptions) -> Map<String, Value> {
    let PlayOptions { mode, stop_on, participant } = options;
    let mut rendered = Map::new();
    if mode != PlayMode::Queue {
        let name = MODES.iter().find(|(_, known)| *known == mode).map(|(name, _)| *name);
        rendered.insert(OF_ACTION[0].to_owned(), name.into());
    }
    if stop_on != StopOn::default() {
        let tones: Vec<&str> = stop_on.tones.tones().map(tone::name).collect();
        let stop_on = json!({ "tones": tones, "speech": stop_on.speech });
        rendered.insert(OF_ACTION[1].to_owned(), stop_on);
    }
    if let Some(participant) = participant {
        rendered.insert(OF_ACTION[2].to_owned(), participant.to_string().into());
    }
    rendered
}

/// The same of a prompt.
pub(crate) fn render_shaping(prompt: &MediaPrompt) -> Map<String, Value> {
    let Shaping { gain_tenths, start_ms } = prompt.shaping;
    let mut rendered = Map::new();
    if gain_tenths != 0 {
        rendered.insert(OF_PROMPT[0].to_owned(), (f64::from(gain_tenths) / 10.0).into());
    }
    if start_ms != 0 {
        rendered.insert(OF_PROMPT[1].to_owned(), start_ms.into());
    }
    rendered
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        action::play_prompt::{PlayPrompt, parse},
        compat::{ApiVersion, Compat},
    };

    fn body(of_action: Value, of_prompt: Value) -> Value {
        let mut body = json!({ "prompts": [{
            "@odata.type": "#microsoft.graph.mediaPrompt",
            "mediaInfo": { "uri": "https://a/b.wav" },
        }] });
        let add = |to: &mut Value, members: Value| {
            let members = members.as_object().unwrap().clone();
            to.as_object_mut().unwrap().extend(members);
        };
        add(&mut body["prompts"][0], of_prompt);
        add(&mut body, of_action);
        body
    }

    fn read(body: &Value, compat: Compat) -> Result<PlayPrompt, BodyError> {
        parse(body.to_string().as_bytes(), ApiVersion::Beta, compat)
    }

    #[test]
    fn everything_is_read_and_written_back() {
        let asked = json!({
            "graphophoneMode": "overlay",
            "graphophoneStopOn": { "tones": ["tone5", "pound"], "speech": true },
            "graphophoneParticipant": "2e1a0b00-2db4-4022-9570-243709c565ab",
        });
        let participant = asked["graphophoneParticipant"].as_str().unwrap().parse().ok();
        let of_prompt = json!({ "graphophoneGainDb": -3.5, "graphophoneStartMs": 1500 });
        let read = read(&body(asked.clone(), of_prompt.clone()), Compat::Open).unwrap();
        let tones = [Tone::Tone5, Tone::Pound].into_iter().collect();
        let stop_on = StopOn { tones, speech: true };
        assert_eq!(read.options, PlayOptions { mode: PlayMode::Overlay, stop_on, participant });
        assert_eq!(read.prompts[0].shaping, Shaping { gain_tenths: -35, start_ms: 1_500 });
        assert_eq!(Value::from(render_options(read.options)), asked);
        assert_eq!(Value::from(render_shaping(&read.prompts[0])), of_prompt);
    }

    #[test]
    fn graphs_own_way_is_written_without_any_of_it() {
        let plain = read(&body(json!({}), json!({})), Compat::StrictBeta).unwrap();
        assert_eq!(plain.options, PlayOptions::default());
        assert!(render_options(plain.options).is_empty());
        assert!(render_shaping(&plain.prompts[0]).is_empty());
        let all = json!({ "graphophoneStopOn": { "tones": true }, "graphophoneMode": "queue" });
        let all = read(&body(all, json!({})), Compat::Open).unwrap().options;
        assert_eq!((all.mode, all.stop_on.tones), (PlayMode::Queue, ToneSet::ALL));
        assert_eq!(ToneSet::ALL.tones().count(), Tone::ALL.len());
    }

    #[test]
    fn strict_modes_refuse_each_by_its_name() {
        for (action, prompt, name) in [
            (json!({ "graphophoneMode": "queue" }), json!({}), "graphophoneMode"),
            (json!({ "graphophoneStopOn": {} }), json!({}), "graphophoneStopOn"),
            (json!({}), json!({ "graphophoneGainDb": 0 }), "prompts[0].graphophoneGainDb"),
            (json!({}), json!({ "graphophoneStartMs": 0 }), "prompts[0].graphophoneStartMs"),
        ] {
            let body = body(action, prompt);
            assert!(read(&body, Compat::Open).is_ok(), "{name}");
            for compat in [Compat::StrictBeta, Compat::StrictV1] {
                let refused = read(&body, compat).unwrap_err().to_string();
                assert!(refused.starts_with(&format!("{name}: not declared here")), "{refused}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (action, prompt, what) in [
            (
                json!({ "graphophoneParticipant": "me" }),
                json!({}),
                "graphophoneParticipant: the id of a participant expected, not \"me\"",
            ),
            (
                json!({ "graphophoneMode": "loud" }),
                json!({}),
                "graphophoneMode: one of queue, interrupt, overlay expected, not \"loud\"",
            ),
            (
                json!({ "graphophoneStopOn": { "tone": true } }),
                json!({}),
                "graphophoneStopOn.tone: not known here",
            ),
            (
                json!({ "graphophoneStopOn": { "tones": ["5"] } }),
                json!({}),
                "graphophoneStopOn.tones[0]: one of tone0, ",
            ),
            (
                json!({}),
                json!({ "graphophoneGainDb": 20.1 }),
                "prompts[0].graphophoneGainDb: a number of decibels from -60 to 20 expected",
            ),
            (
                json!({}),
                json!({ "graphophoneStartMs": -1 }),
                "prompts[0].graphophoneStartMs: 0 to 3600000 milliseconds expected, not -1",
            ),
        ] {
            let refused = read(&body(action, prompt), Compat::Open).unwrap_err().to_string();
            assert!(refused.starts_with(what), "{refused}");
        }
    }
}
