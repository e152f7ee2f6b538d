//! `recordResponse`, and `record`, as it was called before: a prompt, a beep, and what the far end says.

use std::time::Duration;

use graphophone_call::{MediaPrompt, RecordSettings, Tone};

use super::{client_context, play_prompt};
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Member, Members},
    resource::tone,
};

/// The longest silence that may be asked for, in seconds (Graph).
pub const MAX_SILENCE: u64 = 120;
/// The longest recording that may be asked for, in seconds (Graph).
pub const MAX_DURATION: u64 = 120;
/// The same of the old action `record`.
pub const MAX_OLD_DURATION: u64 = 300;
/// The same in open mode: bots ask for it.
pub const MAX_OPEN_DURATION: u64 = 600;
/// What each of the times is where the bot does not say, in seconds (Graph).
const DEFAULT: u64 = 5;
/// Most stop tones: there are not more.
const MAX_STOP_TONES: usize = 17;

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordResponse {
    /// What is asked for.
    pub settings: RecordSettings,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// By which name the action was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `recordResponse`.
    RecordResponse,
    /// `record`.
    Record,
}

/// Reads the body; `root` is what `recordingLocation` is to begin with.
///
/// Graph wants exactly one prompt; open mode does without. `streamWhileRecording`, which beta has, is
/// read and means nothing here: a recording can be downloaded when it is complete.
///
/// Which addresses may be fetched is judged by the server, not here.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    body: &[u8],
    name: Name,
    root: &str,
    version: ApiVersion,
    compat: Compat,
) -> Result<RecordResponse, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let mut declared = vec![
        "prompts",
        "bargeInAllowed",
        "initialSilenceTimeoutInSeconds",
        "maxSilenceTimeoutInSeconds",
        "maxRecordDurationInSeconds",
        "playBeep",
        "stopTones",
        "clientContext",
    ];
    declared.extend(dialect.takes_beta().then_some("streamWhileRecording"));
    let members = Members::of_body(&body, &declared, Extras::Undeclared, dialect)?;
    if let Some(stream) = members.get("streamWhileRecording") {
        stream.boolean()?;
    }
    let longest = match name {
        _ if dialect.is_open() => MAX_OPEN_DURATION,
        Name::Record => MAX_OLD_DURATION,
        Name::RecordResponse => MAX_DURATION,
    };
    let settings = RecordSettings {
        prompts: prompts(&members, dialect)?.into(),
        barge_in: flag(&members, "bargeInAllowed", false)?,
        initial_silence: seconds(&members, "initialSilenceTimeoutInSeconds", MAX_SILENCE)?,
        max_silence: seconds(&members, "maxSilenceTimeoutInSeconds", MAX_SILENCE)?,
        longest: seconds(&members, "maxRecordDurationInSeconds", longest)?,
        beep: flag(&members, "playBeep", true)?,
        stop_tones: stop_tones(&members)?,
        root: root.to_owned(),
    };
    Ok(RecordResponse { settings, client_context: client_context(&members)? })
}

fn prompts(members: &Members<'_>, dialect: Dialect) -> Result<Vec<MediaPrompt>, BodyError> {
    let wrong = |count| members.wrong("prompts", format!("{count} prompts, send exactly 1"));
    let Some(member) = members.get("prompts") else {
        return if dialect.is_open() { Ok(Vec::new()) } else { Err(wrong(0)) };
    };
    match member.items()?.as_slice() {
        [prompt] => Ok(vec![play_prompt::parse_prompt(prompt)?]),
        [] if dialect.is_open() => Ok(Vec::new()),
        other => Err(wrong(other.len())),
    }
}

fn flag(members: &Members<'_>, name: &str, default: bool) -> Result<bool, BodyError> {
    members.get(name).map_or(Ok(default), |member| member.boolean())
}

fn seconds(members: &Members<'_>, name: &str, most: u64) -> Result<Duration, BodyError> {
    let Some(member) = members.get(name) else { return Ok(Duration::from_secs(DEFAULT)) };
    let seconds = u64::try_from(member.int32()?).ok().filter(|it| (1..=most).contains(it));
    let seconds = seconds.ok_or_else(|| member.unexpected(&format!("1 to {most} seconds")))?;
    Ok(Duration::from_secs(seconds))
}

fn stop_tones(members: &Members<'_>) -> Result<Vec<Tone>, BodyError> {
    let Some(member) = members.get("stopTones") else { return Ok(Vec::new()) };
    let items = member.items()?;
    if items.len() > MAX_STOP_TONES {
        return Err(member.wrong(format!("{} tones, at most {MAX_STOP_TONES}", items.len())));
    }
    items.iter().map(stop_tone).collect()
}

/// A key as it is written on a phone; in open mode also by its name in Graph.
fn stop_tone(item: &Member<'_>) -> Result<Tone, BodyError> {
    let text = item.string()?;
    let key = |tone: &Tone| match tone.event_code() {
        digit @ 0..=9 => text == char::from(b'0' + digit).to_string(),
        10 => text == "*",
        11 => text == "#",
        _ => item.dialect().is_open() && tone::name(*tone).eq_ignore_ascii_case(text),
    };
    let named = |tone: &Tone| item.dialect().is_open() && tone::name(*tone) == text;
    let found = Tone::ALL.into_iter().find(|tone| key(tone) || named(tone));
    found.ok_or_else(|| item.unexpected("one of 0 to 9, * and #"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, compat: Compat) -> Result<RecordResponse, BodyError> {
        let root = "https://calls.example";
        parse(body.as_bytes(), Name::RecordResponse, root, ApiVersion::V1, compat)
    }

    const DOCUMENTED: &str = r##"{
        "bargeInAllowed": true,
        "clientContext": "d45324c1-fcb5-430a-902c-f20af696537c",
        "prompts": [{"@odata.type": "#microsoft.graph.mediaPrompt", "mediaInfo": {
            "@odata.type": "#microsoft.graph.mediaInfo",
            "uri": "https://cdn.example/beep.wav", "resourceId": "1D6DE2D4"}}],
        "maxRecordDurationInSeconds": 10,
        "initialSilenceTimeoutInSeconds": 5,
        "maxSilenceTimeoutInSeconds": 2,
        "playBeep": false,
        "stopTones": ["#", "1", "*"]
    }"##;

    #[test]
    fn the_documented_body_is_read_in_every_mode() {
        for compat in [Compat::Open, Compat::StrictBeta, Compat::StrictV1] {
            let asked = read(DOCUMENTED, compat).expect("it is documented");
            let RecordSettings { prompts, stop_tones, longest, max_silence, root, .. } =
                &asked.settings;
            assert_eq!(prompts[0].uri, "https://cdn.example/beep.wav");
            assert_eq!(*stop_tones, [Tone::Pound, Tone::Tone1, Tone::Star]);
            assert_eq!((longest.as_secs(), max_silence.as_secs()), (10, 2));
            assert_eq!(root, "https://calls.example");
            assert!(asked.settings.barge_in && !asked.settings.beep);
            assert!(asked.client_context.is_some());
        }
    }

    #[test]
    fn what_is_not_said_has_the_defaults_of_graph() {
        let asked = read("{}", Compat::Open).expect("open mode wants no prompt").settings;
        let times = [asked.initial_silence, asked.max_silence, asked.longest];
        assert_eq!(times, [Duration::from_secs(5); 3]);
        assert!(asked.beep && !asked.barge_in && asked.stop_tones.is_empty());
        assert!(asked.prompts.is_empty());
        let null = r#"{"prompts":null,"stopTones":null,"playBeep":null}"#;
        assert_eq!(read(null, Compat::Open).expect("null is absent").settings, asked);
    }

    #[test]
    fn one_prompt_it_is() {
        let refused = |body: &str, compat| read(body, compat).expect_err("it is wrong").to_string();
        let none = "prompts: 0 prompts, send exactly 1";
        assert_eq!(refused("{}", Compat::StrictV1), none);
        assert_eq!(refused(r#"{"prompts":[]}"#, Compat::StrictV1), none);
        let two =
            r#"{"prompts":[{"mediaInfo":{"uri":"http://a/"}},{"mediaInfo":{"uri":"http://b/"}}]}"#;
        for compat in [Compat::Open, Compat::StrictBeta] {
            assert_eq!(refused(two, compat), "prompts: 2 prompts, send exactly 1");
        }
    }

    #[test]
    fn times_are_held_to_their_ranges_and_the_member_is_named() {
        let refused = |body: &str, compat| read(body, compat).expect_err("it is wrong").to_string();
        for value in ["0", "-1", "601"] {
            let body = format!(r#"{{"maxRecordDurationInSeconds":{value}}}"#);
            assert_eq!(
                refused(&body, Compat::Open),
                format!("maxRecordDurationInSeconds: 1 to 600 seconds expected, not {value}")
            );
        }
        let strict = DOCUMENTED
            .replace(r#""maxRecordDurationInSeconds": 10"#, r#""maxRecordDurationInSeconds": 121"#);
        assert_eq!(
            refused(&strict, Compat::StrictV1),
            "maxRecordDurationInSeconds: 1 to 120 seconds expected, not 121"
        );
        let old = parse(strict.as_bytes(), Name::Record, "", ApiVersion::Beta, Compat::StrictBeta);
        assert_eq!(old.expect("up to 300").settings.longest.as_secs(), 121);
        assert_eq!(
            refused(r#"{"initialSilenceTimeoutInSeconds":121}"#, Compat::Open),
            "initialSilenceTimeoutInSeconds: 1 to 120 seconds expected, not 121"
        );
        assert!(
            refused(r#"{"maxSilenceTimeoutInSeconds":"5"}"#, Compat::Open)
                .starts_with("maxSilence")
        );
    }

    #[test]
    fn stop_tones_are_written_as_on_a_phone() {
        let tones = |list: &str, compat| {
            let prompt = r##""prompts":[{"@odata.type":"#microsoft.graph.mediaPrompt","mediaInfo":{"@odata.type":"#microsoft.graph.mediaInfo","uri":"http://a/"}}]"##;
            read(&format!(r#"{{{prompt},"stopTones":[{list}]}}"#), compat)
                .map(|it| it.settings.stop_tones)
        };
        assert_eq!(tones(r#""0","9""#, Compat::StrictV1), Ok(vec![Tone::Tone0, Tone::Tone9]));
        assert_eq!(tones(r#""pound","d""#, Compat::Open), Ok(vec![Tone::Pound, Tone::D]));
        let error = tones(r#""1","10""#, Compat::Open).expect_err("no such key");
        assert_eq!(error.to_string(), "stopTones[1]: one of 0 to 9, * and # expected, not \"10\"");
        assert!(tones(r#""pound""#, Compat::StrictV1).is_err());
    }

    #[test]
    fn only_beta_streams_while_it_records() {
        let body = r#"{"streamWhileRecording":true}"#;
        assert!(read(body, Compat::Open).is_ok());
        let strict =
            format!("{},{}", &DOCUMENTED[..DOCUMENTED.rfind('}').expect("json")], &body[1..]);
        let read =
            |version, compat| parse(strict.as_bytes(), Name::RecordResponse, "", version, compat);
        assert!(read(ApiVersion::Beta, Compat::StrictBeta).is_ok());
        assert!(read(ApiVersion::V1, Compat::StrictBeta).is_err());
    }
}
