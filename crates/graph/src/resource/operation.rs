//! `commsOperation` and its kinds.

use graphophone_call::{
    CallId, CompletionReason, GroupVerb, MediaPrompt, Operation, OperationKind, OperationStatus,
    Recorded,
};
use serde_json::{Map, Value, json};

use super::{
    call::merge, identity::IdentitySet, media::media_info, receipt::Receipt, result_info, tone,
};
use crate::{
    action::play_prompt::options::{render_options, render_shaping},
    compat::ApiVersion,
    odata::Service,
};

/// The response to the action that made the operation.
pub fn render_response(
    service: &Service<'_>,
    operation: &Operation,
    receipt: Option<&Receipt>,
) -> Value {
    let context = format!("microsoft.graph.{}", type_name(&operation.kind));
    let mut rendered = render_item(service.version, operation, receipt);
    rendered["@odata.context"] = service.context(context);
    rendered
}

/// The response to `GET …/operations/{id}`.
pub fn render_entity(
    service: &Service<'_>,
    call: CallId,
    operation: &Operation,
    receipt: Option<&Receipt>,
) -> Value {
    let context = format!("communications/calls('{call}')/operations/$entity");
    let mut rendered = render_item(service.version, operation, receipt);
    rendered["@odata.context"] = service.context(context);
    rendered
}

/// The operation without `@odata.context`, as an item of a list. Nulls are written.
///
/// v1.0 does not declare `completionReason`, yet its notifications carry it; so do these objects,
/// once there is one. Beta has it from the start, as null.
pub fn render_item(version: ApiVersion, operation: &Operation, receipt: Option<&Receipt>) -> Value {
    let mut rendered = json!({
        "@odata.type": format!("#microsoft.graph.{}", type_name(&operation.kind)),
        "id": operation.id.to_string(),
        "status": status_name(operation.status),
        "clientContext": operation.client_context,
        "resultInfo": operation.result.as_ref().map(result_info::render),
    });
    if let OperationKind::RecordResponse { recorded, .. } = &operation.kind {
        merge(&mut rendered, recording(operation, recorded.as_ref()));
    }
    let has_reason = match operation.kind {
        OperationKind::PlayPrompt { .. } => {
            version == ApiVersion::Beta || operation.completion_reason.is_some()
        }
        // As for a prompt.
        OperationKind::RecordResponse { .. } => {
            version == ApiVersion::Beta || operation.completion_reason.is_some()
        }
        // Both versions declare it.
        OperationKind::SendDtmfTones { .. } => true,
        OperationKind::CancelMediaProcessing
        | OperationKind::SubscribeToTone
        | OperationKind::Group(_) => false,
    };
    if has_reason {
        rendered["completionReason"] = reason_name(operation).into();
    }
    add_invited(&mut rendered, &operation.kind);
    merge(&mut rendered, beyond_graph(operation));
    add_receipt(&mut rendered, receipt);
    rendered
}

/// The operation in its notification: with its prompts, without nulls, the same for both versions.
pub(crate) fn render_ended(operation: &Operation, receipt: Option<&Receipt>) -> Value {
    let mut rendered = json!({
        "@odata.type": format!("#microsoft.graph.{}", type_name(&operation.kind)),
        "id": operation.id.to_string(),
        "status": status_name(operation.status),
        "clientContext": operation.client_context,
        "completionReason": reason_name(operation),
        "resultInfo": operation.result.as_ref().map(result_info::render),
    });
    if let OperationKind::PlayPrompt { prompts, .. } = &operation.kind {
        let prompts: Value = prompts.iter().map(media_prompt).collect();
        merge(&mut rendered, json!({ "prompts": prompts }));
    }
    if let OperationKind::RecordResponse { settings, recorded } = &operation.kind {
        let prompts: Value = settings.prompts.iter().map(media_prompt).collect();
        merge(&mut rendered, json!({ "prompts": prompts }));
        merge(&mut rendered, recording(operation, recorded.as_ref()));
    }
    add_invited(&mut rendered, &operation.kind);
    merge(&mut rendered, beyond_graph(operation));
    add_receipt(&mut rendered, receipt);
    crate::odata::without_nulls(rendered)
}

/// Graph's name of the operation's type.
pub const fn type_name(kind: &OperationKind) -> &'static str {
    match kind {
        OperationKind::PlayPrompt { .. } => "playPromptOperation",
        OperationKind::RecordResponse { .. } => "recordOperation",
        OperationKind::CancelMediaProcessing => "cancelMediaProcessingOperation",
        OperationKind::Group(verb) => group_type_name(verb),
        OperationKind::SubscribeToTone => "subscribeToToneOperation",
        OperationKind::SendDtmfTones { .. } => "sendDtmfTonesOperation",
    }
}

const fn group_type_name(verb: &GroupVerb) -> &'static str {
    match verb {
        GroupVerb::Invite(_) => "inviteParticipantsOperation",
        GroupVerb::MuteSelf | GroupVerb::Mute(_) => "muteParticipantOperation",
        GroupVerb::UnmuteSelf | GroupVerb::Unmute(_) => "unmuteParticipantOperation",
        GroupVerb::MuteAll(_) => "muteParticipantsOperation",
        // Beta has no type of its own for it.
        GroupVerb::ConfigureMixer(_) => "commsOperation",
        GroupVerb::StartHoldMusic { .. } => "startHoldMusicOperation",
        GroupVerb::StopHoldMusic(_) => "stopHoldMusicOperation",
        GroupVerb::UpdateRecordingStatus(_) => "updateRecordingStatusOperation",
    }
}

/// Whom an invite names, with the ids they have in the roster once they have come.
fn add_invited(rendered: &mut Value, kind: &OperationKind) {
    let OperationKind::Group(GroupVerb::Invite(participants)) = kind else { return };
    let invited = participants.iter().map(|invitation| {
        let mut info = json!({
            "@odata.type": "#microsoft.graph.invitationParticipantInfo",
            "identity": IdentitySet::from(&*invitation.identity).render(),
            "participantId": invitation.participant.to_string(),
        });
        if let Some(call) = invitation.replaces {
            info["replacesCallId"] = call.to_string().into();
        }
        info
    });
    rendered["participants"] = invited.collect();
}

/// Graph's text for a status: lower camel, as the service writes it, not as the CSDL has it.
pub const fn status_name(status: OperationStatus) -> &'static str {
    match status {
        OperationStatus::Running => "running",
        OperationStatus::Completed => "completed",
        OperationStatus::Failed => "failed",
    }
}

/// Where a recording is and what opens it: null while it is being made, empty if there is none.
fn recording(operation: &Operation, recorded: Option<&Recorded>) -> Value {
    let (location, token) = match recorded {
        Some(Recorded { location, access_token }) => (Some(&**location), Some(&*access_token.0)),
        None if operation.status.is_final() => (Some(""), Some("")),
        None => (None, None),
    };
    json!({ "recordingLocation": location, "recordingAccessToken": token })
}

/// Graph's text for an operation's completion reason: recordOperation has words of its own.
fn reason_name(operation: &Operation) -> Option<&'static str> {
    let is_recording = matches!(operation.kind, OperationKind::RecordResponse { .. });
    let reason = operation.completion_reason?;
    Some(match (is_recording, reason) {
        (true, CompletionReason::Unknown) => "unspecifiedError",
        (true, CompletionReason::MediaOperationCanceled) => "operationCanceled",
        (true | false, _) => completion_name(reason),
    })
}

/// Graph's text for a completion reason.
pub const fn completion_name(reason: CompletionReason) -> &'static str {
    match reason {
        CompletionReason::StopToneDetected => "stopToneDetected",
        CompletionReason::MaxRecordDurationReached => "maxRecordDurationReached",
        CompletionReason::InitialSilenceTimeout => "initialSilenceTimeout",
        CompletionReason::MaxSilenceTimeout => "maxSilenceTimeout",
        CompletionReason::PlayPromptFailed => "playPromptFailed",
        CompletionReason::PlayBeepFailed => "playBeepFailed",
        CompletionReason::MediaReceiveTimeout => "mediaReceiveTimeout",
        CompletionReason::Unknown => "unknown",
        CompletionReason::CompletedSuccessfully => "completedSuccessfully",
        CompletionReason::MediaOperationCanceled => "mediaOperationCanceled",
        // None of Graph's: `graphophoneEndedBy` says more.
        CompletionReason::StoppedByTone(_) | CompletionReason::StoppedBySpeech => {
            "unknownFutureValue"
        }
    }
}

fn media_prompt(prompt: &MediaPrompt) -> Value {
    let mut rendered = json!({
        "@odata.type": "#microsoft.graph.mediaPrompt",
        "mediaInfo": media_info(&prompt.uri, prompt.resource_id.as_deref()),
    });
    if prompt.repeat != 1 {
        rendered["loop"] = prompt.repeat.into();
    }
    merge(&mut rendered, render_shaping(prompt).into());
    rendered
}

/// Members of ours, where an operation is not Graph's alone.
fn beyond_graph(operation: &Operation) -> Value {
    let mut ours = match &operation.kind {
        OperationKind::PlayPrompt { options, .. } => render_options(*options),
        OperationKind::RecordResponse { .. }
        | OperationKind::CancelMediaProcessing
        | OperationKind::Group(_)
        | OperationKind::SubscribeToTone
        | OperationKind::SendDtmfTones { .. } => Map::new(),
    };
    let ended_by = match operation.completion_reason {
        Some(CompletionReason::StoppedByTone(tone)) => Some(tone::name(tone)),
        Some(CompletionReason::StoppedBySpeech) => Some("speech"),
        Some(
            CompletionReason::Unknown
            | CompletionReason::CompletedSuccessfully
            | CompletionReason::MediaOperationCanceled
            | CompletionReason::StopToneDetected
            | CompletionReason::MaxRecordDurationReached
            | CompletionReason::InitialSilenceTimeout
            | CompletionReason::MaxSilenceTimeout
            | CompletionReason::PlayPromptFailed
            | CompletionReason::PlayBeepFailed
            | CompletionReason::MediaReceiveTimeout,
        )
        | None => None,
    };
    if let Some(ended_by) = ended_by {
        ours.insert("graphophoneEndedBy".to_owned(), ended_by.into());
    }
    ours.into()
}

fn add_receipt(rendered: &mut Value, receipt: Option<&Receipt>) {
    if let Some(receipt) = receipt {
        rendered["graphophoneReceipt"] = json!(receipt);
    }
}
