//! `commsNotifications`: what is posted to a bot's callbackUri (spec/notifications.md §4–5).
//!
//! One value per post. Both `resource` (older bots) and `resourceUrl` (the documents) are there.
//! `resourceData` holds what production sends for each event, and no nulls.

use graphophone_call::{CallState, Notification, ResultInfo};
use serde_json::{Value, json};

use crate::{
    odata::without_nulls,
    resource::{
        call::{CallDetails, merge, render_targets, state_name},
        media::{MediaState, Modality},
        operation,
        participant::ParticipantRole,
        receipt::Receipt,
        result_info, roster, tone,
    },
    stored,
};

/// Whose notification it is, and in which manner.
#[derive(Clone, Copy, Debug)]
pub struct NotificationContext<'a> {
    /// The call.
    pub details: &'a CallDetails,
    /// Whether `resourceData` of a call has its `id`. Production had it until 2020 and dropped it;
    /// older bots read it and no bot minds it, so `true` is the default to use.
    pub with_id: bool,
}

/// The body to post, as UTF-8 JSON without a byte order mark. `receipt` is for the operation in
/// [`Notification::OperationEnded`].
pub fn render(
    context: &NotificationContext<'_>,
    notification: &Notification,
    receipt: Option<&Receipt>,
) -> String {
    let details = context.details;
    let chain = json!({ "callChainId": details.call_chain_id });
    let (change, data) = match notification {
        Notification::Incoming => ("created", incoming(details)),
        Notification::Establishing => ("updated", in_state(CallState::Establishing, chain)),
        Notification::Ringing => {
            let mut data = json!({ "@odata.type": "#microsoft.graph.call", "state": "ringing" });
            merge(&mut data, chain);
            ("updated", data)
        }
        // Production sends neither mediaState nor callChainId with it: bots take a mediaState for
        // a change of it.
        Notification::Tone { tone, sequence } => {
            let data = json!({ "toneInfo": tone::render_info(*tone, *sequence) });
            ("updated", in_state(CallState::Established, data))
        }
        Notification::Rejected => {
            let mut data = json!({ "@odata.type": "#microsoft.graph.call" });
            merge(&mut data, chain);
            ("deleted", data)
        }
        Notification::Established => {
            let direction = stored::direction::name(details.direction);
            let data = json!({ "callChainId": details.call_chain_id, "direction": direction });
            ("updated", in_state(CallState::Established, data))
        }
        Notification::Media { active: true } => {
            let mut data = in_state(CallState::Established, chain);
            merge(&mut data, json!({ "mediaState": MediaState::Active.render() }));
            merge(&mut data, meeting());
            ("updated", data)
        }
        Notification::Media { active: false } => {
            let mut data = in_state(CallState::Established, chain);
            merge(&mut data, json!({ "mediaState": MediaState::Inactive.render() }));
            ("updated", data)
        }
        Notification::Roster(roster) => {
            let all = roster::render_all(roster).into_iter().map(without_nulls).collect();
            return envelope(details, "updated", "/participants", all);
        }
        Notification::Terminating => ("updated", in_state(CallState::Terminating, json!({}))),
        Notification::Transferring => ("updated", in_state(CallState::Transferring, chain)),
        Notification::TransferAccepted => ("updated", in_state(CallState::TransferAccepted, chain)),
        Notification::TransferFailed(result) => {
            let mut data = in_state(CallState::Established, chain);
            merge(&mut data, json!({ "resultInfo": result_info::render(result) }));
            ("updated", data)
        }
        Notification::Transferred { is_consultative } => {
            let result = result_info::render(&ResultInfo::transferred());
            let mut data = in_state(CallState::Terminated, chain);
            merge(&mut data, json!({ "resultInfo": result }));
            if *is_consultative {
                merge(&mut data, json!({ "terminationReason": "AppTransferred" }));
            }
            ("deleted", data)
        }
        // The documents show with whom the call was.
        Notification::Redirected(result) => {
            let source = details.source.as_ref();
            let mut data = in_state(CallState::Terminated, chain);
            merge(
                &mut data,
                json!({
                    "direction": stored::direction::name(details.direction),
                    "resultInfo": result_info::render(result),
                    "source": source.map(|source| source.render(ParticipantRole::Source)),
                    "targets": render_targets(&details.targets),
                }),
            );
            ("deleted", without_nulls(data))
        }
        Notification::Terminated(result) => {
            let mut data = in_state(CallState::Terminated, chain);
            merge(&mut data, json!({ "resultInfo": result_info::render(result) }));
            merge(&mut data, meeting());
            ("deleted", data)
        }
        Notification::OperationEnded(ended) => {
            let data = operation::render_ended(ended, receipt);
            return envelope(details, "deleted", &format!("/operations/{}", ended.id), data);
        }
    };
    of_call(context, change, data)
}

fn of_call(context: &NotificationContext<'_>, change: &str, mut data: Value) -> String {
    if context.with_id {
        data["id"] = context.details.id.to_string().into();
    }
    envelope(context.details, change, "", data)
}

fn envelope(details: &CallDetails, change: &str, below: &str, data: Value) -> String {
    let resource = format!("/calls/{}{below}", details.id);
    json!({
        "@odata.type": "#microsoft.graph.commsNotifications",
        "value": [{
            "@odata.type": "#microsoft.graph.commsNotification",
            "changeType": change,
            "resource": format!("/app{resource}"),
            "resourceUrl": format!("/communications{resource}"),
            "resourceData": data,
        }],
    })
    .to_string()
}

fn in_state(state: CallState, members: Value) -> Value {
    let mut data = json!({ "@odata.type": "#microsoft.graph.call", "state": state_name(state) });
    merge(&mut data, members);
    data
}

/// Production writes these also for calls that are no meetings.
fn meeting() -> Value {
    json!({
        "coOrganizers": [],
        "meetingCapability": {
            "@odata.type": "#microsoft.graph.meetingCapability",
            "allowAnonymousUsersToDialOut": false,
            "allowAnonymousUsersToStartMeeting": false,
        },
    })
}

fn incoming(details: &CallDetails) -> Value {
    let source = details.source.as_ref().map(|source| source.render(ParticipantRole::Source));
    let data = json!({
        "callChainId": details.call_chain_id,
        "callRoutes": details.call_routes,
        "direction": stored::direction::name(details.direction),
        "myParticipantId": details.my_participant_id.to_string(),
        "requestedModalities": Modality::render_list(&details.requested_modalities),
        "source": source,
        "subject": details.subject,
        "targets": render_targets(&details.targets),
        "tenantId": details.tenant.to_string(),
    });
    without_nulls(in_state(CallState::Incoming, data))
}
