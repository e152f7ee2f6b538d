//! `graphophone:` URIs: prompts that the server makes or keeps itself. Ours, not Graph's; taken as
//! `mediaInfo.uri` in open mode only.
//!
//! | URI | prompt |
//! |---|---|
//! | `graphophone:tone?frequency=440&durationMs=1000` | a sine; also `levelDb` and `frequency2` |
//! | `graphophone:silence?durationMs=500` | silence |
//! | `graphophone:prompts/welcome` | the file that was uploaded under this name |
//! | `graphophone:tts?text=Hello%20there&voice=en` | what the speech engine makes of the text |
//!
//! Parameters are written like those of a form: percent-encoded, `+` or `%20` for a space.

use url::form_urlencoded;

/// The scheme, with its colon. Taken in any case, as schemes are (RFC 3986 §3.1).
pub const SCHEME: &str = "graphophone:";

/// Lowest and highest frequency of a tone, in Hz: a telephone carries no others.
pub const FREQUENCIES: (u32, u32) = (20, 4_000);
/// Longest tone or silence in ms, an hour. `prompts.max_duration` may be shorter.
pub const MAX_DURATION_MS: u32 = 3_600_000;
/// Lowest level of a tone in dB below full scale; the highest is 0.
pub const MIN_LEVEL_DB: i32 = -60;
/// Level of a tone that does not say, in dB.
pub const DEFAULT_LEVEL_DB: i32 = -10;
/// Most characters of a text to be spoken.
pub const MAX_TEXT: usize = 4_000;
/// Most characters of a voice's name, and of an uploaded prompt's.
pub const MAX_NAME: usize = 64;

/// A prompt that is not fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnPrompt {
    /// One sine, or the sum of two.
    Tone {
        /// One or two, each within [`FREQUENCIES`].
        frequencies: Vec<u32>,
        /// 1 to [`MAX_DURATION_MS`].
        duration_ms: u32,
        /// Peak of the whole in dB below full scale, [`MIN_LEVEL_DB`] to 0.
        level_db: i32,
    },
    /// Nothing, for a while.
    Silence {
        /// 1 to [`MAX_DURATION_MS`].
        duration_ms: u32,
    },
    /// What was put under this name; see [`check_name`].
    Uploaded(String),
    /// A text to be spoken.
    Speech {
        /// 1 to [`MAX_TEXT`] characters, none of them a control character but line breaks and tabs.
        text: String,
        /// The engine's name of a voice; `None` for the server's choice. See [`check_name`].
        voice: Option<String>,
    },
}

/// Why a `graphophone:` URI names no prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptUriFault {
    /// None of the four.
    #[error(
        "not one of graphophone:tone?…, graphophone:silence?…, graphophone:tts?… and \
         graphophone:prompts/NAME"
    )]
    Unknown,
    /// A parameter that this prompt has not.
    #[error("the parameter {name} is not one of {known}")]
    UnknownParameter {
        /// As it was given, cut to a length fit for a message.
        name: String,
        /// Those there are.
        known: &'static str,
    },
    /// Given more than once.
    #[error("the parameter {0} is given twice")]
    Twice(&'static str),
    /// Left out.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// No whole number, or one out of bounds.
    #[error("{name} is not a whole number from {least} to {most}")]
    Number {
        /// The parameter.
        name: &'static str,
        /// Its bounds.
        least: i64,
        /// Its bounds.
        most: i64,
    },
    /// Empty, or above [`MAX_TEXT`].
    #[error("the text has {0} characters: 1 to {MAX_TEXT} are spoken")]
    TextLength(usize),
    /// A character that no engine should be given.
    #[error("the text contains a control character")]
    TextControl,
    /// See [`check_name`].
    #[error(
        "{0} is not a name of 1 to {MAX_NAME} letters, digits and . _ + -, beginning with a letter \
         or digit"
    )]
    Name(&'static str),
}

/// Reads a URI of this scheme; `None` if it has another.
pub fn parse(uri: &str) -> Option<Result<OwnPrompt, PromptUriFault>> {
    let scheme = uri.get(..SCHEME.len())?;
    scheme.eq_ignore_ascii_case(SCHEME).then(|| read(&uri[SCHEME.len()..]))
}

/// Names of uploaded prompts and of voices: fit for a path, a command line and a log.
///
/// # Errors
/// [`PromptUriFault::Name`] about `what`.
pub fn check_name(what: &'static str, name: &str) -> Result<(), PromptUriFault> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '-');
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    // ASCII: bytes are characters.
    match begins_well && name.len() <= MAX_NAME && name.chars().all(plain) {
        true => Ok(()),
        false => Err(PromptUriFault::Name(what)),
    }
}

fn read(rest: &str) -> Result<OwnPrompt, PromptUriFault> {
    if rest.contains('#') {
        return Err(PromptUriFault::Unknown);
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    match path {
        "tone" => {
            const KNOWN: &str = "frequency, frequency2, durationMs and levelDb";
            let names = ["frequency", "frequency2", "durationMs", "levelDb"];
            let [first, second, duration, level] = parameters(query, names, KNOWN)?;
            let (least, most) = FREQUENCIES;
            let within = (i64::from(least), i64::from(most));
            let mut frequencies = vec![number(names[0], first, within)?];
            if second.is_some() {
                frequencies.push(number(names[1], second, within)?);
            }
            let level_db = match level {
                None => DEFAULT_LEVEL_DB,
                level => number(names[3], level, (MIN_LEVEL_DB.into(), 0))?,
            };
            Ok(OwnPrompt::Tone { frequencies, duration_ms: duration_ms(duration)?, level_db })
        }
        "silence" => {
            let [duration] = parameters(query, ["durationMs"], "durationMs")?;
            Ok(OwnPrompt::Silence { duration_ms: duration_ms(duration)? })
        }
        "tts" => {
            let [text, voice] = parameters(query, ["text", "voice"], "text and voice")?;
            let text = text.ok_or(PromptUriFault::Missing("text"))?;
            let length = text.chars().count();
            if text.trim().is_empty() || length > MAX_TEXT {
                return Err(PromptUriFault::TextLength(length));
            }
            if text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
                return Err(PromptUriFault::TextControl);
            }
            if let Some(voice) = &voice {
                check_name("voice", voice)?;
            }
            Ok(OwnPrompt::Speech { text, voice })
        }
        path => {
            let name = path.strip_prefix("prompts/").ok_or(PromptUriFault::Unknown)?;
            let [] = parameters(query, [], "none")?;
            check_name("what follows prompts/", name)?;
            Ok(OwnPrompt::Uploaded(name.to_owned()))
        }
    }
}

fn duration_ms(value: Option<String>) -> Result<u32, PromptUriFault> {
    number("durationMs", value, (1, MAX_DURATION_MS.into()))
}

/// The values of the parameters `names`, in that order.
fn parameters<const N: usize>(
    query: &str,
    names: [&'static str; N],
    known: &'static str,
) -> Result<[Option<String>; N], PromptUriFault> {
    const ECHO: usize = 32;
    let mut values = [const { None }; N];
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let Some(index) = names.iter().position(|known| *known == name) else {
            let name = name.chars().take(ECHO).flat_map(char::escape_debug).collect();
            return Err(PromptUriFault::UnknownParameter { name, known });
        };
        if values[index].replace(value.into_owned()).is_some() {
            return Err(PromptUriFault::Twice(names[index]));
        }
    }
    Ok(values)
}

fn number<T: TryFrom<i64>>(
    name: &'static str,
    value: Option<String>,
    (least, most): (i64, i64),
) -> Result<T, PromptUriFault> {
    let value = value.ok_or(PromptUriFault::Missing(name))?;
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.and_then(|number: i64| T::try_from(number).ok()).ok_or(PromptUriFault::Number {
        name,
        least,
        most,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_whole(uri: &str) -> Result<OwnPrompt, PromptUriFault> {
        parse(uri).expect("it is ours")
    }

    #[test]
    fn each_prompt_is_read_with_its_parameters() {
        let tone = |frequencies: &[u32], duration_ms, level_db| OwnPrompt::Tone {
            frequencies: frequencies.to_vec(),
            duration_ms,
            level_db,
        };
        let speech = |text: &str, voice: Option<&str>| OwnPrompt::Speech {
            text: text.to_owned(),
            voice: voice.map(str::to_owned),
        };
        let table = [
            ("tone?frequency=440&durationMs=1000", tone(&[440], 1_000, -10)),
            ("tone?durationMs=1&levelDb=-3&frequency2=480&frequency=350", tone(&[350, 480], 1, -3)),
            ("silence?durationMs=500", OwnPrompt::Silence { duration_ms: 500 }),
            ("prompts/welcome-2.wav", OwnPrompt::Uploaded("welcome-2.wav".into())),
            ("tts?text=Gr%C3%BC%C3%9Fe+an+alle%0A&voice=en+f3", speech("Grüße an alle\n", None)),
            ("tts?text=%26%3D%23&voice=en%2Bf3", speech("&=#", Some("en+f3"))),
        ];
        for (rest, expected) in table {
            let read = read_whole(&format!("graphophone:{rest}"));
            // A plus in a form is a space, and no voice has one.
            match rest.contains("voice=en+f3") {
                true => assert_eq!(read, Err(PromptUriFault::Name("voice"))),
                false => assert_eq!(read, Ok(expected), "{rest}"),
            }
        }
        assert_eq!(parse("https://cdn/a.wav"), None);
        assert_eq!(parse("graphophone"), None);
        assert!(read_whole("GraphoPhone:silence?durationMs=1").is_ok());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_bounds() {
        let long = format!("tts?text={}", "a".repeat(4_001));
        let table = [
            ("", "not one of graphophone:tone?…"),
            ("tones?frequency=440", "not one of"),
            ("//tone?frequency=440&durationMs=1", "not one of"),
            ("silence?durationMs=1#x", "not one of"),
            ("tone?durationMs=1", "the parameter frequency is missing"),
            ("tone?frequency=440", "the parameter durationMs is missing"),
            (
                "tone?frequency=440&durationMs=0",
                "durationMs is not a whole number from 1 to 3600000",
            ),
            ("tone?frequency=19&durationMs=1", "frequency is not a whole number from 20 to 4000"),
            ("tone?frequency=440.5&durationMs=1", "frequency is not a whole number"),
            ("tone?frequency=4e2&durationMs=1", "frequency is not a whole number"),
            (
                "tone?frequency=440&durationMs=1&levelDb=1",
                "levelDb is not a whole number from -60 to 0",
            ),
            (
                "tone?frequency=440&frequency=441&durationMs=1",
                "the parameter frequency is given twice",
            ),
            ("silence?durationMs=99999999999999999999", "durationMs is not a whole number"),
            ("silence?durationMs=5&x\u{1b}=1", "the parameter x\\u{1b} is not one of durationMs"),
            ("prompts/", "what follows prompts/ is not a name"),
            ("prompts/../etc/passwd", "what follows prompts/ is not a name"),
            ("prompts/.hidden", "what follows prompts/ is not a name"),
            ("prompts/a%2fb", "what follows prompts/ is not a name"),
            ("prompts/a?x=1", "the parameter x is not one of none"),
            ("tts?voice=en", "the parameter text is missing"),
            ("tts?text=+", "the text has 1 characters"),
            ("tts?text=a%00b", "the text contains a control character"),
            ("tts?text=a&voice=--stdin", "voice is not a name"),
            ("tts?text=a&voice=..%2F..%2Fx", "voice is not a name"),
            (long.as_str(), "the text has 4001 characters: 1 to 4000 are spoken"),
        ];
        for (rest, expected) in table {
            let fault = read_whole(&format!("graphophone:{rest}")).unwrap_err().to_string();
            assert!(fault.starts_with(expected), "{rest}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_and_what_is_taken_is_within_bounds(
            rest in r"(tone|silence|tts|prompts/|)[?a-zA-Z0-9&=%+._/-]{0,40}|\PC{0,20}",
        ) {
            match parse(&format!("graphophone:{rest}")) {
                Some(Ok(OwnPrompt::Tone { frequencies, duration_ms, level_db })) => {
                    prop_assert!(frequencies.iter().all(|hz| (20..=4_000).contains(hz)));
                    prop_assert!((1..=MAX_DURATION_MS).contains(&duration_ms));
                    prop_assert!((MIN_LEVEL_DB..=0).contains(&level_db));
                }
                Some(Ok(OwnPrompt::Speech { text, .. })) => {
                    prop_assert!((1..=MAX_TEXT).contains(&text.chars().count()));
                }
                Some(Ok(OwnPrompt::Silence { .. } | OwnPrompt::Uploaded(_)) | Err(_)) | None => {}
            }
        }
    }
}
