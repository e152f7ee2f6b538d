//! `playPrompt`: 1 to 20 prompts, played back to back.

pub(crate) mod options;

use graphophone_call::{MediaPrompt, PlayOptions};

use super::client_context;
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Member, Members},
    resource::media::MediaInfo,
};

/// Most prompts of one action (Graph).
pub const MAX_PROMPTS: usize = 20;
/// Most repeats of one prompt. Graph documents none; ours: whoever wants more means `loop: true`.
pub const MAX_REPEAT: u32 = 1000;

/// The parameters of the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayPrompt {
    /// 1 to [`MAX_PROMPTS`].
    pub prompts: Vec<MediaPrompt>,
    /// Start over at the end, until cancelled.
    pub looping: bool,
    /// How it is played; Graph knows one way only.
    pub options: PlayOptions,
    /// To be echoed verbatim; at most 256 UTF-16 code units.
    pub client_context: Option<String>,
}

/// Reads the body.
///
/// `loop` comes in three forms (spec/api.md §3.1): a boolean beside `prompts`, declared by beta;
/// the same sent to v1.0, honoured in open mode; and an Int32 in each prompt, from 1 to
/// [`MAX_REPEAT`], how many times it is played. A `uri` of null is refused even with a
/// `resourceId`: send the uri each time, the cache then answers from the resourceId.
///
/// Members of ours, beyond Graph and in open mode only, are in `options`.
///
/// Which addresses may be fetched is judged by the server, not here.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault. One wrong prompt refuses all.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<PlayPrompt, BodyError> {
    let body = json::read(body)?;
    let dialect = Dialect { version, compat };
    let mut declared = vec!["prompts", "clientContext"];
    declared.extend(dialect.takes_beta().then_some("loop"));
    declared.extend(dialect.is_open().then_some(options::OF_ACTION).into_iter().flatten());
    let members = Members::of_body(&body, &declared, Extras::Undeclared, dialect)?;
    let looping = match members.get("loop") {
        Some(member) => member.boolean()?,
        None => false,
    };
    let prompts = members.require("prompts", "an array of 1 to 20 mediaPrompt")?;
    Ok(PlayPrompt {
        prompts: parse_prompts(&prompts)?,
        looping,
        options: options::options(&members)?,
        client_context: client_context(&members)?,
    })
}

fn parse_prompts(member: &Member<'_>) -> Result<Vec<MediaPrompt>, BodyError> {
    let items = member.items()?;
    if items.is_empty() || items.len() > MAX_PROMPTS {
        let what = format!("{} prompts, send 1 to {MAX_PROMPTS}", items.len());
        return Err(member.wrong(what));
    }
    items.iter().map(parse_prompt).collect()
}

pub(super) fn parse_prompt(item: &Member<'_>) -> Result<MediaPrompt, BodyError> {
    const TYPE: &str = "mediaPrompt";
    let dialect = item.dialect();
    let mut declared = vec!["mediaInfo"];
    declared.extend(dialect.takes_beta().then_some("loop"));
    declared.extend(dialect.is_open().then_some(options::OF_PROMPT).into_iter().flatten());
    let members = item.members(&declared, Extras::Undeclared)?;
    match members.type_name()? {
        Some(TYPE) => {}
        Some(tag) => return Err(members.wrong_type(tag, &[TYPE])),
        // `prompt` is abstract, so OData needs the tag; there is but one type it can be.
        None if dialect.is_open() => {}
        None => {
            return Err(members.wrong("@odata.type", "required, send #microsoft.graph.mediaPrompt"));
        }
    }
    let media = MediaInfo::parse(&members.require("mediaInfo", "an object with a uri")?)?;
    Ok(MediaPrompt {
        uri: media.uri,
        resource_id: media.resource_id,
        repeat: repeat(&members)?,
        shaping: options::shaping(&members)?,
    })
}

fn repeat(members: &Members<'_>) -> Result<u32, BodyError> {
    let Some(member) = members.get("loop") else {
        return Ok(1);
    };
    match u32::try_from(member.int32()?) {
        Ok(repeat @ 1..=MAX_REPEAT) => Ok(repeat),
        Ok(_) | Err(_) => Err(member.unexpected(&format!("1 to {MAX_REPEAT} times"))),
    }
}

#[cfg(test)]
mod tests;
