//! `identitySet`: who takes part in a call.

use serde::{Deserialize, Serialize};

use crate::json::{BodyError, Extras, Map, Member, Members, Value};

/// Most UTF-16 code units of an identity's id or displayName. Graph states none; ours.
pub const MAX_IDENTITY_TEXT: usize = 1024;

/// What an identity is: the member of the identitySet that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IdentityKind {
    /// A person; the id is a GUID that a registered phone has, or a `sip:` URI.
    User,
    /// A telephone number in E.164, or a `sip:` URI.
    Phone,
    /// A bot; the id is its application id.
    Application,
    /// The resource account a bot calls from.
    ApplicationInstance,
    /// A device.
    Device,
    /// A person of an on-premises Skype for Business.
    OnPremises,
    /// Somebody without an account.
    Guest,
    /// Somebody whose identity the bot may not see.
    Encrypted,
}

/// Graph `identity`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Not empty where a bot sent it; `None` if it sent none.
    pub id: Option<String>,
    /// For people.
    pub display_name: Option<String>,
    /// Further members, echoed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub other: Map<String, Value>,
}

/// Graph `identitySet` or `communicationsIdentitySet`: one identity in most cases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentitySet {
    /// In the order of [`IdentityKind`].
    pub identities: Vec<(IdentityKind, Identity)>,
    /// Further members, echoed.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub other: Map<String, Value>,
}

impl IdentityKind {
    const ALL: [Self; 8] = [
        Self::User,
        Self::Phone,
        Self::Application,
        Self::ApplicationInstance,
        Self::Device,
        Self::OnPremises,
        Self::Guest,
        Self::Encrypted,
    ];

    const NAMES: [&'static str; 8] = [
        "user",
        "phone",
        "application",
        "applicationInstance",
        "device",
        "onPremises",
        "guest",
        "encrypted",
    ];

    /// The member's name.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// Whether plain `identitySet` declares it (v1.0 CSDL).
    const fn is_plain(self) -> bool {
        matches!(self, Self::User | Self::Application | Self::Device)
    }
}

impl Identity {
    /// An identity with an id only.
    pub fn new(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    fn parse(member: &Member<'_>) -> Result<Self, BodyError> {
        let members = member.members(&["id", "displayName"], Extras::Allowed)?;
        let text = |name: &str| match members.get(name) {
            Some(member) => {
                let text = member.short_string(MAX_IDENTITY_TEXT)?;
                if text.contains(char::is_control) {
                    return Err(member.wrong("has a control character"));
                }
                Ok(Some((member, text.to_owned())))
            }
            None => Ok(None),
        };
        let id = match text("id")? {
            Some((member, id)) if id.trim().is_empty() => return Err(member.wrong("empty")),
            id => id.map(|(_, id)| id),
        };
        let display_name = text("displayName")?.map(|(_, name)| name);
        Ok(Self { id, display_name, other: members.unknown() })
    }

    fn render(&self) -> Value {
        let mut rendered = self.other.clone();
        rendered.insert("@odata.type".to_owned(), "#microsoft.graph.identity".into());
        let texts = [("displayName", &self.display_name), ("id", &self.id)];
        for (name, text) in texts.into_iter().filter_map(|(n, text)| Some((n, text.as_deref()?))) {
            rendered.insert(name.to_owned(), text.into());
        }
        rendered.into()
    }
}

impl IdentitySet {
    /// A set of one.
    pub fn of(kind: IdentityKind, identity: Identity) -> Self {
        Self { identities: vec![(kind, identity)], other: Map::new() }
    }

    /// The identity of a kind.
    pub fn get(&self, kind: IdentityKind) -> Option<&Identity> {
        self.identities.iter().find(|(own, _)| *own == kind).map(|(_, identity)| identity)
    }

    /// The first identity that has an id, users and phones before bots.
    pub fn first(&self) -> Option<(IdentityKind, &str)> {
        self.identities.iter().find_map(|(kind, identity)| Some((*kind, identity.id.as_deref()?)))
    }

    /// Plain and communications identity sets are told apart by their members, not by their tag:
    /// bots send `phone` in sets tagged `#microsoft.graph.identitySet`.
    pub(crate) fn parse(member: &Member<'_>) -> Result<Self, BodyError> {
        let members: Members<'_> = member.members(&IdentityKind::NAMES, Extras::Allowed)?;
        match members.type_name()? {
            None | Some("identitySet" | "communicationsIdentitySet") => {}
            Some(tag) => {
                return Err(members.wrong_type(tag, &["identitySet", "communicationsIdentitySet"]));
            }
        }
        let mut identities = Vec::new();
        for kind in IdentityKind::ALL {
            if let Some(member) = members.get(kind.name()) {
                identities.push((kind, Identity::parse(&member)?));
            }
        }
        Ok(Self { identities, other: members.unknown() })
    }

    /// The object as Graph writes it. Kiota clients type `phone` and its like only in a
    /// communicationsIdentitySet, so the tag says that where it is needed.
    pub fn render(&self) -> Value {
        let plain = self.identities.iter().all(|(kind, _)| kind.is_plain());
        let tag = if plain { "identitySet" } else { "communicationsIdentitySet" };
        let mut rendered = self.other.clone();
        for (kind, identity) in &self.identities {
            rendered.insert(kind.name().to_owned(), identity.render());
        }
        rendered.insert("@odata.type".to_owned(), format!("#microsoft.graph.{tag}").into());
        rendered.into()
    }
}

/// Who is dialled by it, and shown in rosters: a user before a telephone before a bot.
impl IdentitySet {
    /// The identity as the core knows it; `None` if there is none of a kind that takes part.
    pub fn to_domain(&self) -> Option<graphophone_call::Identity> {
        KINDS.iter().find_map(|(kind, domain)| {
            let identity = self.get(*kind).filter(|identity| identity.id.is_some())?;
            Some(graphophone_call::Identity {
                kind: *domain,
                id: identity.id.clone(),
                display_name: identity.display_name.clone(),
            })
        })
    }
}

impl From<&graphophone_call::Identity> for IdentitySet {
    fn from(identity: &graphophone_call::Identity) -> Self {
        let kind = match identity.kind {
            graphophone_call::IdentityKind::User => IdentityKind::User,
            graphophone_call::IdentityKind::Phone => IdentityKind::Phone,
            graphophone_call::IdentityKind::Application => IdentityKind::Application,
        };
        let (id, display_name) = (identity.id.clone(), identity.display_name.clone());
        Self::of(kind, Identity { id, display_name, other: Map::new() })
    }
}

const KINDS: [(IdentityKind, graphophone_call::IdentityKind); 3] = [
    (IdentityKind::User, graphophone_call::IdentityKind::User),
    (IdentityKind::Phone, graphophone_call::IdentityKind::Phone),
    (IdentityKind::Application, graphophone_call::IdentityKind::Application),
];
