//! `call`: the part of it that is stored, and the whole as Graph writes it.

use graphophone_call::{AppId, CallId, CallState, Direction, ResultInfo, TenantId, Tone};
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::{
    create_call::CreateCall,
    identity::{Identity, IdentityKind, IdentitySet},
    media::{MediaConfig, MediaState, Modality},
    participant::{Participant, ParticipantRole},
    result_info, tone,
};
use crate::{
    action::answer::Answer,
    compat::ApiVersion,
    json::{Map, Value},
    odata::Service,
    stored,
};

/// Everything of a call that does not change with its state, but by `answer`. Kept as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CallDetails {
    /// Its Graph id.
    #[serde(with = "stored::text")]
    pub id: CallId,
    /// The tenant of the bot.
    #[serde(with = "stored::text")]
    pub tenant: TenantId,
    /// The bot that owns it.
    #[serde(with = "stored::text")]
    pub app: AppId,
    /// The version the bot created or answered it with.
    pub version: ApiVersion,
    /// Who started it.
    #[serde(with = "stored::direction")]
    pub direction: Direction,
    /// Where notifications go.
    pub callback_uri: String,
    /// Graph `callChainId`: a GUID, unless the bot chose another text.
    pub call_chain_id: String,
    /// The bot's own participant.
    pub my_participant_id: Uuid,
    /// Header `Scenario-Id` of the call's notifications: the bot's own, if it sent one.
    pub scenario_id: Uuid,
    /// Who called, or whom the bot claimed to be.
    pub source: Option<Participant>,
    /// Who was called.
    pub targets: Vec<Participant>,
    /// What was asked for.
    pub requested_modalities: Vec<Modality>,
    /// Who handles the media; `None` until an incoming call is answered.
    pub media: Option<MediaConfig>,
    /// Echoed.
    pub subject: Option<String>,
    /// Seconds to ring, if the bot said so.
    pub ringing_seconds: Option<u32>,
    /// `callRoute`s as Graph writes them: how an incoming call came here.
    pub call_routes: Vec<Value>,
    /// Echoed.
    pub call_options: Option<Map<String, Value>>,
    /// Echoed.
    pub chat_info: Option<Map<String, Value>>,
    /// Echoed.
    pub meeting_info: Option<Map<String, Value>>,
    /// Undeclared members that the bot sent, echoed.
    pub other: Map<String, Value>,
}

/// The ids of a new call; made by the server.
#[derive(Clone, Copy, Debug)]
pub struct NewCall {
    /// The call's id.
    pub id: CallId,
    /// The owner's tenant.
    pub tenant: TenantId,
    /// The owner.
    pub app: AppId,
    /// The bot's own participant.
    pub my_participant_id: Uuid,
    /// Becomes `callChainId`, unless the bot chose one.
    pub chain: Uuid,
    /// Header `Scenario-Id` of the request; the chain's id takes its place if there was none.
    pub scenario: Option<Uuid>,
}

/// A call that a phone or trunk placed to a bot.
#[derive(Clone, Debug)]
pub struct IncomingCall {
    /// Its ids.
    pub ids: NewCall,
    /// The bot's registered webhook.
    pub calling_webhook: String,
    /// Who calls: a user, a phone number, or `encrypted`.
    pub caller: IdentitySet,
    /// The bot's name, for people.
    pub bot_name: Option<String>,
    /// The number that was called, if the call came by telephone.
    pub called_number: Option<String>,
}

impl CallDetails {
    /// The call that a bot asked for.
    pub fn outgoing(ids: NewCall, version: ApiVersion, asked: CreateCall) -> Self {
        Self {
            id: ids.id,
            tenant: ids.tenant,
            app: ids.app,
            version,
            direction: Direction::Outgoing,
            callback_uri: asked.callback_uri,
            call_chain_id: asked.call_chain_id.unwrap_or_else(|| ids.chain.to_string()),
            my_participant_id: ids.my_participant_id,
            scenario_id: ids.scenario.unwrap_or(ids.chain),
            source: asked.source,
            targets: asked.targets,
            requested_modalities: asked.requested_modalities,
            media: Some(asked.media),
            subject: asked.subject,
            ringing_seconds: asked.ringing_seconds,
            call_routes: Vec::new(),
            call_options: asked.call_options,
            chat_info: asked.chat_info,
            meeting_info: asked.meeting_info,
            other: asked.other,
        }
    }

    /// A call that rings for a bot. Its version is v1.0 until the bot answers.
    pub fn incoming(call: IncomingCall) -> Self {
        let IncomingCall { ids, calling_webhook, caller, bot_name, called_number } = call;
        let bot = Identity {
            id: Some(ids.app.to_string()),
            display_name: bot_name,
            ..Identity::default()
        };
        let bot = IdentitySet::of(IdentityKind::Application, bot);
        let mut source = Participant::new(caller);
        source.other.insert("endpointType".to_owned(), "default".into());
        let route = |number: String| {
            let number = IdentitySet::of(IdentityKind::Phone, Identity::new(number));
            json!({
                "@odata.type": "#microsoft.graph.callRoute",
                "routingType": "lookup",
                "original": number.render(),
                "final": bot.render(),
            })
        };
        Self {
            id: ids.id,
            tenant: ids.tenant,
            app: ids.app,
            version: ApiVersion::V1,
            direction: Direction::Incoming,
            callback_uri: calling_webhook,
            call_chain_id: ids.chain.to_string(),
            my_participant_id: ids.my_participant_id,
            scenario_id: ids.scenario.unwrap_or(ids.chain),
            source: Some(source),
            call_routes: called_number.map(route).into_iter().collect(),
            targets: vec![Participant::new(bot)],
            requested_modalities: vec![Modality::Audio],
            media: None,
            subject: None,
            ringing_seconds: None,
            call_options: None,
            chat_info: None,
            meeting_info: None,
            other: Map::new(),
        }
    }

    /// Takes over what the bot said when it answered; notifications go to its own URI from now on.
    pub fn answer(&mut self, version: ApiVersion, answer: Answer) {
        self.version = version;
        if let Some(uri) = answer.callback_uri {
            self.callback_uri = uri;
        }
        self.media = Some(answer.media);
        self.call_options = answer.call_options;
    }

    /// Whether the bot is to be left out of the default mix of a group call.
    pub fn is_apart(&self) -> bool {
        self.media.as_ref().is_some_and(MediaConfig::is_apart)
    }

    /// Whether prompts can be played.
    pub fn is_service_hosted(&self) -> bool {
        self.media.as_ref().is_some_and(MediaConfig::is_service_hosted)
    }
}

/// A call as it is now.
#[derive(Clone, Copy, Debug)]
pub struct CallView<'a> {
    /// What does not change.
    pub details: &'a CallDetails,
    /// The state.
    pub state: CallState,
    /// `None` before there is any media.
    pub media: Option<MediaState>,
    /// Why it ended.
    pub result: Option<&'a ResultInfo>,
    /// The last tone and its number in the call, from 1.
    pub tone: Option<(Tone, u64)>,
}

impl CallView<'_> {
    /// The whole resource, as the response to a create or get. All declared properties are there,
    /// nulls included; those of beta only for beta.
    pub fn render(&self, service: &Service<'_>) -> Value {
        let mut rendered = self.render_item(service.version);
        rendered["@odata.context"] = service.context("communications/calls/$entity");
        rendered
    }

    /// The same without `@odata.context`, as an item of a list.
    pub fn render_item(&self, version: ApiVersion) -> Value {
        let details = self.details;
        let source = details.source.as_ref().map(|source| source.render(ParticipantRole::Source));
        let mut rendered = Value::Object(details.other.clone());
        let mut declared = json!({
            "@odata.type": "#microsoft.graph.call",
            "callChainId": details.call_chain_id,
            "callOptions": details.call_options,
            "callRoutes": details.call_routes,
            "callbackUri": details.callback_uri,
            "chatInfo": details.chat_info,
            "direction": stored::direction::name(details.direction),
            "id": details.id.to_string(),
            "incomingContext": null,
            "mediaConfig": details.media.as_ref().map(MediaConfig::render),
            "mediaState": self.media.map(MediaState::render),
            "meetingInfo": details.meeting_info,
            "myParticipantId": details.my_participant_id.to_string(),
            "requestedModalities": Modality::render_list(&details.requested_modalities),
            "resultInfo": self.result.map(result_info::render),
            "source": source,
            "state": state_name(self.state),
            "subject": details.subject,
            "targets": render_targets(&details.targets),
            "tenantId": details.tenant.to_string(),
            "toneInfo": self.tone.map(|(tone, sequence)| tone::render_info(tone, sequence)),
            "transcription": null,
        });
        if version == ApiVersion::Beta {
            let active: &[Modality] = match self.media {
                Some(MediaState::Active) => &[Modality::Audio],
                Some(MediaState::Inactive) | None => &[],
            };
            merge(
                &mut declared,
                json!({
                    "activeModalities": Modality::render_list(active),
                    "answeredBy": null,
                    "meetingCapability": null,
                    "ringingTimeoutInSeconds": details.ringing_seconds,
                    "routingPolicies": [],
                    "terminationReason": null,
                }),
            );
        }
        merge(&mut rendered, declared);
        rendered
    }
}

/// Graph's text for a state.
pub const fn state_name(state: CallState) -> &'static str {
    match state {
        CallState::Incoming => "incoming",
        CallState::Establishing => "establishing",
        CallState::Established => "established",
        CallState::Transferring => "transferring",
        CallState::TransferAccepted => "transferAccepted",
        CallState::Redirecting => "redirecting",
        CallState::Terminating => "terminating",
        CallState::Terminated => "terminated",
    }
}

pub(crate) fn render_targets(targets: &[Participant]) -> Value {
    targets.iter().map(|target| target.render(ParticipantRole::Target)).collect()
}

/// Puts the members of one object over those of another.
pub(crate) fn merge(into: &mut Value, members: Value) {
    if let (Value::Object(into), Value::Object(members)) = (into, members) {
        into.extend(members);
    }
}
