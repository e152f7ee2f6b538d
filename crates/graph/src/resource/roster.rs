//! `participant`: one who is in a call, as lists and roster notifications show them.

use graphophone_call::{CallId, Participant, ParticipantId, RecordingStatus, Roster};
use serde_json::json;

use super::identity::IdentitySet;
use crate::{json::Value, odata::Service};

/// Graph's texts for what is said of a recording.
pub(crate) const RECORDING_STATUSES: [(&str, RecordingStatus); 4] = [
    ("unknown", RecordingStatus::Unknown),
    ("notRecording", RecordingStatus::NotRecording),
    ("recording", RecordingStatus::Recording),
    ("failed", RecordingStatus::Failed),
];

/// One of them with its context.
pub fn render(
    service: &Service<'_>,
    call: CallId,
    participant: &Participant,
    sequence: u64,
) -> Value {
    let mut rendered = render_item(participant, sequence);
    let context = format!("communications/calls('{call}')/participants/$entity");
    rendered["@odata.context"] = service.context(context);
    rendered
}

/// All who are to be shown, each as Graph writes it.
pub fn render_all(roster: &Roster) -> Vec<Value> {
    let is_shown = |participant: &&Participant| !participant.is_hidden;
    let shown = roster.participants.iter().filter(is_shown);
    shown.map(|participant| render_item(participant, roster.sequence)).collect()
}

fn render_item(participant: &Participant, sequence: u64) -> Value {
    let identity = IdentitySet::from(&*participant.identity).render();
    let recording = (participant.recording != RecordingStatus::Unknown).then(|| {
        json!({
            "@odata.type": "#microsoft.graph.recordingInfo",
            "initiator": identity,
            "recordingStatus": recording_name(participant.recording),
        })
    });
    let mut rendered = json!({
        "@odata.type": "#microsoft.graph.participant",
        "id": participant.id.to_string(),
        "info": {
            "@odata.type": "#microsoft.graph.participantInfo",
            "endpointType": "default",
            "identity": identity,
            "participantId": participant.id.to_string(),
        },
        "isInLobby": false,
        "isMuted": participant.is_muted,
        "mediaStreams": [{
            "@odata.type": "#microsoft.graph.mediaStream",
            "mediaType": "audio",
            "label": "main-audio",
            "sourceId": source_id(participant.id).to_string(),
            "direction": "sendReceive",
            "serverMuted": participant.is_muted,
        }],
        "metadata": null,
        "recordingInfo": recording,
        "removedState": null,
        "restrictedExperience": null,
        "rosterSequenceNumber": sequence,
    });
    if participant.is_on_hold {
        rendered["graphophoneIsOnHold"] = true.into();
    }
    rendered
}

fn recording_name(status: RecordingStatus) -> &'static str {
    let is_it = |(_, known): &&(&str, RecordingStatus)| *known == status;
    RECORDING_STATUSES.iter().find(is_it).map_or("unknown", |(name, _)| name)
}

/// The number of a participant's audio: the same as long as they are in the call.
fn source_id(id: ParticipantId) -> u32 {
    id.uuid().as_fields().0
}
