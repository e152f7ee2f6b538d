//! `participantInfo` (the source of a call) and `invitationParticipantInfo` (its targets).

use serde::{Deserialize, Serialize};

use super::identity::IdentitySet;
use crate::json::{BodyError, Extras, Map, Member, Members, Value};

/// Graph `participantInfo` or `invitationParticipantInfo`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Participant {
    /// Who it is.
    pub identity: IdentitySet,
    /// Further members by their Graph names, echoed: `region`, `hidden`, `replacesCallId`, ….
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub other: Map<String, Value>,
}

/// Which of the two types; they share their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParticipantRole {
    /// `participantInfo`
    Source,
    /// `invitationParticipantInfo`
    Target,
}

impl ParticipantRole {
    const fn type_name(self) -> &'static str {
        match self {
            Self::Source => "participantInfo",
            Self::Target => "invitationParticipantInfo",
        }
    }

    const fn texts(self) -> &'static [&'static str] {
        match self {
            Self::Source => {
                &["countryCode", "endpointType", "languageId", "participantId", "region"]
            }
            Self::Target => &["endpointType", "participantId", "replacesCallId"],
        }
    }

    const fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Source => &[],
            Self::Target => &["hidden", "removeFromDefaultAudioRoutingGroup"],
        }
    }
}

impl Participant {
    /// A participant of whom only the identity is known.
    pub fn new(identity: IdentitySet) -> Self {
        Self { identity, other: Map::new() }
    }

    /// A member of the Graph object that holds a string, such as `replacesCallId`.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.other.get(name)?.as_str()
    }

    /// A member of the Graph object that is true or false, such as `hidden`; absent is false.
    pub fn flag(&self, name: &str) -> bool {
        self.other.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn parse(member: &Member<'_>, role: ParticipantRole) -> Result<Self, BodyError> {
        let mut declared = vec!["identity"];
        declared.extend(role.texts());
        declared.extend(role.flags());
        // participantInfo is closed in the CSDL, yet the service itself sends `id` and `platformId`
        // in it, and bots send back what they got.
        let members: Members<'_> = member.members(&declared, Extras::Allowed)?;
        members.expect_type(role.type_name())?;
        let identity = members.require("identity", "an identitySet")?;
        let parsed = IdentitySet::parse(&identity)?;
        let mut other = members.unknown();
        for name in role.texts() {
            if let Some(member) = members.get(name) {
                other.insert((*name).to_owned(), member.string()?.into());
            }
        }
        for name in role.flags() {
            if let Some(member) = members.get(name) {
                other.insert((*name).to_owned(), member.boolean()?.into());
            }
        }
        if role == ParticipantRole::Target && parsed.first().is_none() {
            let what = "names nobody, send user, phone or application with an id";
            return Err(identity.wrong(what));
        }
        Ok(Self { identity: parsed, other })
    }

    /// The object as Graph writes it.
    pub fn render(&self, role: ParticipantRole) -> Value {
        let mut rendered = self.other.clone();
        let tag = format!("#microsoft.graph.{}", role.type_name());
        rendered.insert("@odata.type".to_owned(), tag.into());
        rendered.insert("identity".to_owned(), self.identity.render());
        rendered.into()
    }
}
