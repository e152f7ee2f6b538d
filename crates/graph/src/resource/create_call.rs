//! The body of `POST /communications/calls`: a `call` as a bot writes it.

use graphophone_call::TenantId;

use super::{
    media::{MediaConfig, Modality, http_uri},
    participant::{Participant, ParticipantRole},
};
use crate::{
    compat::{ApiVersion, Compat, Dialect},
    json::{self, BodyError, Extras, Map, Members, Value},
};

/// Most targets of a call (Graph: group calls take five).
pub const MAX_TARGETS: usize = 5;
/// Longest body of a create or answer in bytes: most of it is kept as long as the call. Ours.
pub const MAX_KEPT_BODY: usize = 128 * 1024;
/// Longest ring time in seconds (Graph beta, `ringingTimeoutInSeconds`).
pub const MAX_RINGING_SECONDS: u32 = 115;

/// What a bot asks for. Who may ask for it is not judged here.
#[derive(Clone, Debug, PartialEq)]
pub struct CreateCall {
    /// Where the call's notifications go: absolute http or https, as it came.
    pub callback_uri: String,
    /// Whom to call, 1 to [`MAX_TARGETS`]; empty only with `meeting_info`.
    pub targets: Vec<Participant>,
    /// Whom the bot claims to be. Its application must be the token's (else 7507).
    pub source: Option<Participant>,
    /// Who handles the media.
    pub media: MediaConfig,
    /// Without doubles.
    pub requested_modalities: Vec<Modality>,
    /// `None` if absent; Graph then answers 7505.
    pub tenant: Option<TenantId>,
    /// Echoed.
    pub subject: Option<String>,
    /// Correlates calls; made by the server if absent. Any text of up to 256 characters.
    pub call_chain_id: Option<String>,
    /// How long to ring, 1 to [`MAX_RINGING_SECONDS`] (beta).
    pub ringing_seconds: Option<u32>,
    /// `outgoingCallOptions`, echoed.
    pub call_options: Option<Map<String, Value>>,
    /// Echoed.
    pub chat_info: Option<Map<String, Value>>,
    /// A meeting to join, echoed.
    pub meeting_info: Option<Map<String, Value>>,
    /// Undeclared members: `call` is an open type.
    pub other: Map<String, Value>,
}

/// Members that the service fills in; bots that send a whole call back may send them.
const READ_ONLY: [&str; 17] = [
    "activeModalities",
    "answeredBy",
    "callRoutes",
    "id",
    "incomingContext",
    "mediaState",
    "meetingCapability",
    "myParticipantId",
    "operations",
    "participants",
    "resultInfo",
    "routingPolicies",
    "state",
    "terminationReason",
    "toneInfo",
    "transcription",
    "contentSharingSessions",
];

const WRITABLE: [&str; 13] = [
    "callbackUri",
    "callChainId",
    "callOptions",
    "chatInfo",
    "direction",
    "mediaConfig",
    "meetingInfo",
    "requestedModalities",
    "ringingTimeoutInSeconds",
    "source",
    "subject",
    "targets",
    "tenantId",
];

/// Reads the body.
///
/// # Errors
/// [`BodyError`]: malformed JSON, or the member at fault.
pub fn parse(body: &[u8], version: ApiVersion, compat: Compat) -> Result<CreateCall, BodyError> {
    let body = json::read_up_to(MAX_KEPT_BODY, body)?;
    let dialect = Dialect { version, compat };
    let declared: Vec<&'static str> = WRITABLE.into_iter().chain(READ_ONLY).collect();
    let members = Members::of_body(&body, &declared, Extras::Allowed, dialect)?;
    members.expect_type("call")?;
    if let Some(direction) = members.get("direction") {
        direction.one_of(&[("outgoing", ())])?;
    }
    let callback = members.require("callbackUri", "an absolute http or https URI")?;
    let media = "an object with @odata.type #microsoft.graph.serviceHostedMediaConfig";
    let modalities = members.require("requestedModalities", "[\"audio\"]");
    let text = |name, limit| match members.get(name) {
        Some(member) => member.short_string(limit).map(|text| Some(text.to_owned())),
        None => Ok(None),
    };
    Ok(CreateCall {
        callback_uri: http_uri(&callback)?,
        targets: targets(&members)?,
        source: match members.get("source") {
            Some(source) => Some(Participant::parse(&source, ParticipantRole::Source)?),
            None => None,
        },
        media: MediaConfig::parse(&members.require("mediaConfig", media)?)?,
        requested_modalities: Modality::parse_list(modalities, dialect.is_open())?,
        tenant: tenant(&members)?,
        subject: text("subject", MAX_KEPT_BODY)?,
        call_chain_id: text("callChainId", 256)?.filter(|id| !id.is_empty()),
        ringing_seconds: ringing_seconds(&members, dialect)?,
        call_options: options(&members, "outgoingCallOptions", dialect)?,
        chat_info: object(&members, "chatInfo", &["chatInfo"])?,
        meeting_info: object(
            &members,
            "meetingInfo",
            &["organizerMeetingInfo", "tokenMeetingInfo", "joinMeetingIdMeetingInfo"],
        )?,
        other: members.unknown(),
    })
}

fn targets(members: &Members<'_>) -> Result<Vec<Participant>, BodyError> {
    let Some(member) = members.get("targets") else {
        return match members.get("meetingInfo") {
            Some(_) => Ok(Vec::new()),
            None => Err(members.wrong("targets", "required, send whom to call")),
        };
    };
    let items = member.items()?;
    if items.is_empty() && members.get("meetingInfo").is_none() {
        return Err(member.wrong("empty, send whom to call"));
    }
    if items.len() > MAX_TARGETS {
        return Err(member.wrong(format!("more than {MAX_TARGETS} targets")));
    }
    items.iter().map(|item| Participant::parse(item, ParticipantRole::Target)).collect()
}

fn tenant(members: &Members<'_>) -> Result<Option<TenantId>, BodyError> {
    let Some(member) = members.get("tenantId") else {
        return Ok(None);
    };
    match member.string()?.parse() {
        Ok(tenant) => Ok(Some(tenant)),
        Err(_) => Err(member.unexpected("a GUID")),
    }
}

fn ringing_seconds(members: &Members<'_>, dialect: Dialect) -> Result<Option<u32>, BodyError> {
    let Some(member) = members.get("ringingTimeoutInSeconds").filter(|_| dialect.takes_beta())
    else {
        return Ok(None);
    };
    match u32::try_from(member.int32()?) {
        Ok(seconds @ 1..=MAX_RINGING_SECONDS) => Ok(Some(seconds)),
        Ok(_) | Err(_) => Err(member.unexpected(&format!("1 to {MAX_RINGING_SECONDS} seconds"))),
    }
}

/// `callOptions` of a create or answer; the type may be tagged as what it must be only.
pub(crate) fn options(
    members: &Members<'_>,
    type_name: &str,
    dialect: Dialect,
) -> Result<Option<Map<String, Value>>, BodyError> {
    const FLAGS: [&str; 4] = [
        "hideBotAfterEscalation",
        "isContentSharingNotificationEnabled",
        "isDeltaRosterEnabled",
        "isInteractiveRosterEnabled",
    ];
    let Some(member) = members.get("callOptions") else {
        return Ok(None);
    };
    let options = member.members(&FLAGS, Extras::Undeclared)?;
    options.expect_type(type_name)?;
    let mut kept = if dialect.is_open() { options.unknown() } else { Map::new() };
    for name in FLAGS {
        if let Some(flag) = options.get(name) {
            kept.insert(name.to_owned(), flag.boolean()?.into());
        }
    }
    kept.insert("@odata.type".to_owned(), format!("#microsoft.graph.{type_name}").into());
    Ok(Some(kept))
}

/// An object that is echoed as it came, of one of these types.
fn object(
    members: &Members<'_>,
    name: &str,
    types: &[&str],
) -> Result<Option<Map<String, Value>>, BodyError> {
    let Some(member) = members.get(name) else {
        return Ok(None);
    };
    let object = member.members(&[], Extras::Allowed)?;
    let mut kept = object.unknown();
    match object.type_name()? {
        Some(tag) if !types.contains(&tag) => return Err(object.wrong_type(tag, types)),
        Some(tag) => {
            kept.insert("@odata.type".to_owned(), format!("#microsoft.graph.{tag}").into());
        }
        None => {}
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests;
