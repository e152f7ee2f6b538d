//! `startHoldMusic` of a participant: a tune, or a prompt of the bot's, over and over.

use graphophone_call::MediaPrompt;

use super::{client_context, play_prompt::parse_prompt};
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members},
};

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartHoldMusic {
    /// Instead of the built-in tune.
    pub custom_prompt: Option<MediaPrompt>,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body, which may be empty.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(
    body: &[u8],
    version: ApiVersion,
    compat: Compat,
) -> Result<StartHoldMusic, BodyError> {
    let body = if body.is_empty() { Map::new() } else { json::read(body)? };
    let dialect = Dialect { version, compat };
    let declared = ["customPrompt", "clientContext"];
    let members = Members::of_body(&body, &declared, Extras::Undeclared, dialect)?;
    let custom_prompt = match members.get("customPrompt") {
        Some(prompt) => Some(parse_prompt(&prompt)?),
        None => None,
    };
    Ok(StartHoldMusic { custom_prompt, client_context: client_context(&members)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_optional_and_read_as_those_of_play_prompt() {
        let read = |body: &str| {
            let parsed = parse(body.as_bytes(), ApiVersion::V1, Compat::Open);
            parsed.map_err(|error| error.to_string())
        };
        assert_eq!(read("").expect("a body is optional").custom_prompt, None);
        assert_eq!(read(r#"{"customPrompt":null}"#).expect("null is none").custom_prompt, None);
        let body = r##"{"customPrompt":{"@odata.type":"#microsoft.graph.mediaPrompt",
            "mediaInfo":{"uri":"https://cdn.example/hold.wav"}}}"##;
        let prompt = read(body).expect("a prompt").custom_prompt.expect("it is given");
        assert_eq!(prompt.uri, "https://cdn.example/hold.wav");
        let error = read(r#"{"customPrompt":{"mediaInfo":{}}}"#).unwrap_err();
        assert!(error.starts_with("customPrompt.mediaInfo.uri: required"), "{error}");
    }
}
