//! Domain ↔ stored form of the operations of group calls.

use std::sync::Arc;

use graphophone_call::{
    GroupVerb, Identity, IdentityKind, Invitation, MixerDucking, MixerLevel, ParticipantId,
    RecordingStatus,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::StoredPrompt;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StoredVerb {
    Invite(Vec<StoredInvitation>),
    MuteSelf,
    UnmuteSelf,
    Mute(Uuid),
    Unmute(Uuid),
    MuteAll(Vec<Uuid>),
    ConfigureMixer(Vec<StoredLevel>),
    StartHoldMusic { participant: Uuid, prompt: Option<StoredPrompt> },
    StopHoldMusic(Uuid),
    UpdateRecordingStatus(StoredStatus),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredInvitation {
    participant: Uuid,
    kind: StoredIdentityKind,
    id: Option<String>,
    display_name: Option<String>,
    is_hidden: bool,
    is_apart: bool,
    replaces: Option<Uuid>,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredIdentityKind {
    User,
    Phone,
    Application,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredLevel {
    participant: Uuid,
    is_exclusive: bool,
    sources: Vec<(Uuid, u8)>,
    #[serde(default)]
    ducking: Option<StoredDucking>,
}

/// Levels in per cent, times in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct StoredDucking {
    lower: u8,
    upper: u8,
    ramp_down: u32,
    ramp_up: u32,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StoredStatus {
    Unknown,
    NotRecording,
    Recording,
    Failed,
}

impl StoredVerb {
    pub(super) fn new(verb: &GroupVerb) -> Self {
        match verb {
            GroupVerb::Invite(list) => {
                Self::Invite(list.iter().map(StoredInvitation::new).collect())
            }
            GroupVerb::MuteSelf => Self::MuteSelf,
            GroupVerb::UnmuteSelf => Self::UnmuteSelf,
            GroupVerb::Mute(id) => Self::Mute(id.uuid()),
            GroupVerb::Unmute(id) => Self::Unmute(id.uuid()),
            GroupVerb::MuteAll(ids) => Self::MuteAll(ids.iter().map(|id| id.uuid()).collect()),
            GroupVerb::ConfigureMixer(levels) => {
                let stored = |level: &MixerLevel| StoredLevel {
                    participant: level.participant.uuid(),
                    is_exclusive: level.is_exclusive,
                    sources: level.sources.iter().map(|(id, per)| (id.uuid(), *per)).collect(),
                    ducking: level.ducking.map(|ducking| StoredDucking {
                        lower: ducking.lower,
                        upper: ducking.upper,
                        ramp_down: ducking.ramp_down_ms,
                        ramp_up: ducking.ramp_up_ms,
                    }),
                };
                Self::ConfigureMixer(levels.iter().map(stored).collect())
            }
            GroupVerb::StartHoldMusic { participant, prompt } => Self::StartHoldMusic {
                participant: participant.uuid(),
                prompt: prompt.as_ref().map(StoredPrompt::new),
            },
            GroupVerb::StopHoldMusic(id) => Self::StopHoldMusic(id.uuid()),
            GroupVerb::UpdateRecordingStatus(status) => Self::UpdateRecordingStatus(match status {
                RecordingStatus::Unknown => StoredStatus::Unknown,
                RecordingStatus::NotRecording => StoredStatus::NotRecording,
                RecordingStatus::Recording => StoredStatus::Recording,
                RecordingStatus::Failed => StoredStatus::Failed,
            }),
        }
    }

    pub(super) fn into_domain(self) -> GroupVerb {
        let id = ParticipantId::new;
        match self {
            Self::Invite(list) => {
                GroupVerb::Invite(list.into_iter().map(StoredInvitation::into_domain).collect())
            }
            Self::MuteSelf => GroupVerb::MuteSelf,
            Self::UnmuteSelf => GroupVerb::UnmuteSelf,
            Self::Mute(uuid) => GroupVerb::Mute(id(uuid)),
            Self::Unmute(uuid) => GroupVerb::Unmute(id(uuid)),
            Self::MuteAll(uuids) => GroupVerb::MuteAll(uuids.into_iter().map(id).collect()),
            Self::ConfigureMixer(levels) => {
                let domain = |level: StoredLevel| MixerLevel {
                    participant: id(level.participant),
                    is_exclusive: level.is_exclusive,
                    sources: level.sources.into_iter().map(|(of, per)| (id(of), per)).collect(),
                    ducking: level.ducking.map(|ducking| MixerDucking {
                        lower: ducking.lower,
                        upper: ducking.upper,
                        ramp_down_ms: ducking.ramp_down,
                        ramp_up_ms: ducking.ramp_up,
                    }),
                };
                GroupVerb::ConfigureMixer(levels.into_iter().map(domain).collect())
            }
            Self::StartHoldMusic { participant, prompt } => GroupVerb::StartHoldMusic {
                participant: id(participant),
                prompt: prompt.map(StoredPrompt::into_domain),
            },
            Self::StopHoldMusic(uuid) => GroupVerb::StopHoldMusic(id(uuid)),
            Self::UpdateRecordingStatus(status) => GroupVerb::UpdateRecordingStatus(match status {
                StoredStatus::Unknown => RecordingStatus::Unknown,
                StoredStatus::NotRecording => RecordingStatus::NotRecording,
                StoredStatus::Recording => RecordingStatus::Recording,
                StoredStatus::Failed => RecordingStatus::Failed,
            }),
        }
    }
}

impl StoredInvitation {
    fn new(invitation: &Invitation) -> Self {
        Self {
            participant: invitation.participant.uuid(),
            kind: match invitation.identity.kind {
                IdentityKind::User => StoredIdentityKind::User,
                IdentityKind::Phone => StoredIdentityKind::Phone,
                IdentityKind::Application => StoredIdentityKind::Application,
            },
            id: invitation.identity.id.clone(),
            display_name: invitation.identity.display_name.clone(),
            is_hidden: invitation.is_hidden,
            is_apart: invitation.is_apart,
            replaces: invitation.replaces.map(|call| call.uuid()),
        }
    }

    fn into_domain(self) -> Invitation {
        let kind = match self.kind {
            StoredIdentityKind::User => IdentityKind::User,
            StoredIdentityKind::Phone => IdentityKind::Phone,
            StoredIdentityKind::Application => IdentityKind::Application,
        };
        Invitation {
            participant: ParticipantId::new(self.participant),
            identity: Arc::new(Identity { kind, id: self.id, display_name: self.display_name }),
            is_hidden: self.is_hidden,
            is_apart: self.is_apart,
            replaces: self.replaces.map(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_survives_being_stored() {
        let id = |number| ParticipantId::new(Uuid::from_u128(number));
        let identity = |kind| {
            let id = Some("sip:a@b".to_owned());
            Arc::new(Identity { kind, id, display_name: Some("Ann".to_owned()) })
        };
        let invitation = |kind| Invitation {
            participant: id(1),
            identity: identity(kind),
            is_hidden: true,
            is_apart: false,
            replaces: Some(Uuid::from_u128(9).into()),
        };
        let kinds = [IdentityKind::User, IdentityKind::Phone, IdentityKind::Application];
        let prompt = graphophone_call::MediaPrompt {
            uri: "https://cdn.example/a.wav".into(),
            resource_id: None,
            repeat: 1,
            shaping: Default::default(),
        };
        let ducking = Some(MixerDucking { lower: 5, upper: 90, ramp_down_ms: 50, ramp_up_ms: 70 });
        let level = MixerLevel {
            participant: id(1),
            is_exclusive: true,
            sources: vec![(id(2), 30)],
            ducking,
        };
        let mut verbs = vec![
            GroupVerb::Invite(kinds.map(invitation).into()),
            GroupVerb::MuteSelf,
            GroupVerb::UnmuteSelf,
            GroupVerb::Mute(id(1)),
            GroupVerb::Unmute(id(2)),
            GroupVerb::MuteAll([id(1), id(2)].into()),
            GroupVerb::ConfigureMixer([level].into()),
            GroupVerb::StartHoldMusic { participant: id(1), prompt: None },
            GroupVerb::StartHoldMusic { participant: id(1), prompt: Some(prompt) },
            GroupVerb::StopHoldMusic(id(1)),
        ];
        let statuses = [
            RecordingStatus::Unknown,
            RecordingStatus::NotRecording,
            RecordingStatus::Recording,
            RecordingStatus::Failed,
        ];
        verbs.extend(statuses.map(GroupVerb::UpdateRecordingStatus));
        for verb in verbs {
            let json = serde_json::to_string(&StoredVerb::new(&verb)).unwrap();
            let stored: StoredVerb = serde_json::from_str(&json).unwrap();
            assert_eq!(stored.into_domain(), verb, "{json}");
        }
    }
}
