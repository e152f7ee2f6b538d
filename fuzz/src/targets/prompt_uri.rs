//! `graphophone:` URIs: what is read is within its bounds and reads the same when it is written anew;
//! a name is fit for a path and a command line; a refusal is a short text.

use graphophone_graph::prompt_uri::{
    FREQUENCIES, MAX_DURATION_MS, MAX_NAME, MAX_TEXT, MIN_LEVEL_DB, OwnPrompt, SCHEME, parse,
};
use url::form_urlencoded::byte_serialize;

use super::Numbers;

pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check(&text);
    // Most inputs are none: the same behind the scheme, and as each of the four.
    check(&format!("{SCHEME}{text}"));
    let mut numbers = Numbers::of(data);
    let encoded: String = byte_serialize(text.as_bytes()).collect();
    let number = numbers.below(8_000_000);
    let uri = match numbers.below(4) {
        0 => format!("tone?frequency={}&durationMs={number}&{text}", numbers.below(5_000)),
        1 => format!("silence?durationMs={number}"),
        2 => format!("tts?text={encoded}"),
        _ => format!("prompts/{text}"),
    };
    check(&format!("GraphoPhone:{uri}"));
}

fn check(uri: &str) {
    let is_ours = uri.get(..SCHEME.len()).is_some_and(|it| it.eq_ignore_ascii_case(SCHEME));
    let Some(read) = parse(uri) else { return assert!(!is_ours, "{uri} is ours") };
    assert!(is_ours, "{uri} is not ours");
    match read {
        Ok(prompt) => {
            check_bounds(&prompt);
            let again = parse(&written(&prompt));
            assert_eq!(again, Some(Ok(prompt)), "{uri} written anew");
        }
        Err(fault) => {
            let text = fault.to_string();
            assert!(text.len() < 500, "{} bytes about {uri}", text.len());
            assert!(!text.contains(char::is_control), "{text:?} about {uri}");
        }
    }
}

fn check_bounds(prompt: &OwnPrompt) {
    let lasts = |duration: &u32| (1..=MAX_DURATION_MS).contains(duration);
    match prompt {
        OwnPrompt::Tone { frequencies, duration_ms, level_db } => {
            let (least, most) = FREQUENCIES;
            assert!(matches!(frequencies.len(), 1 | 2), "{prompt:?}");
            assert!(frequencies.iter().all(|hz| (least..=most).contains(hz)), "{prompt:?}");
            assert!(lasts(duration_ms) && (MIN_LEVEL_DB..=0).contains(level_db), "{prompt:?}");
        }
        OwnPrompt::Silence { duration_ms } => assert!(lasts(duration_ms), "{prompt:?}"),
        OwnPrompt::Uploaded(name) => check_name(name),
        OwnPrompt::Speech { text, voice } => {
            assert!((1..=MAX_TEXT).contains(&text.chars().count()), "{prompt:?}");
            assert!(!text.contains('\0') && !text.contains('\u{1b}'), "{prompt:?}");
            voice.iter().for_each(|voice| check_name(voice));
        }
    }
}

/// Never another directory, a hidden file, an option of a program or anything that a shell reads.
fn check_name(name: &str) {
    assert!((1..=MAX_NAME).contains(&name.len()), "{name:?}");
    assert!(!name.starts_with(['.', '-']) && name.is_ascii(), "{name:?}");
    let special = |c: char| "/\\:;|&$`'\"<>(){}[]*?!~#%^=, \t\r\n\0".contains(c);
    assert!(!name.contains(special), "{name:?}");
}

fn written(prompt: &OwnPrompt) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    match prompt {
        OwnPrompt::Tone { frequencies, duration_ms, level_db } => {
            let second = frequencies.get(1).map(|hz| format!("&frequency2={hz}"));
            format!(
                "{SCHEME}tone?durationMs={duration_ms}&levelDb={level_db}&frequency={}{}",
                frequencies[0],
                second.unwrap_or_default()
            )
        }
        OwnPrompt::Silence { duration_ms } => format!("{SCHEME}silence?durationMs={duration_ms}"),
        OwnPrompt::Uploaded(name) => format!("{SCHEME}prompts/{name}"),
        OwnPrompt::Speech { text, voice } => {
            let voice = voice.as_deref().map(|voice| format!("&voice={}", encoded(voice)));
            format!("{SCHEME}tts?text={}{}", encoded(text), voice.unwrap_or_default())
        }
    }
}
