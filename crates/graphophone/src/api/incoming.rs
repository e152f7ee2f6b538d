//! A call from outside: which bot it is for, and how that bot is told.

use graphophone_call::{CallId, LegCommand, RejectReason};
use graphophone_graph::resource::{
    call::{CallDetails, IncomingCall as IncomingDetails, NewCall},
    identity::{Identity, IdentityKind, IdentitySet},
};
use graphophone_sip::{IncomingCall, Party};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::AppState;

/// Finds the bot by `[[route]]` and hands the call over; without one the caller gets 404.
pub(crate) async fn take(state: &AppState, call: IncomingCall) {
    let refuse = |why: &str| {
        warn!(sip_call_id = call.sip_call_id, "incoming call refused: {why}");
        call.leg.command(LegCommand::Reject(RejectReason::None));
    };
    if state.is_stopping() {
        return refuse("the server is stopping");
    }
    if let Some(key) = state.calls().conference_for(&call.to_user) {
        info!(sip_call_id = call.sip_call_id, conference = key.name, "a telephone dials in");
        let IncomingCall { from, leg, dialog, .. } = call;
        if let Err(leg) = state.calls().dial_in(&key, participant(&from), leg, dialog) {
            warn!(conference = key.name, "incoming call refused: no bot is in the conference");
            leg.command(LegCommand::Reject(RejectReason::None));
        }
        return;
    }
    let Some((app, bot)) = state.bot_for(&call.to_user) else {
        warn!(sip_call_id = call.sip_call_id, "incoming call refused: no [[route]] for its number");
        return call.leg.not_found();
    };
    let Some(webhook) = bot.calling_webhook.clone() else {
        return refuse("the bot has no calling_webhook");
    };
    if let Err(refusal) = state.callbacks().check_uri(&webhook) {
        return refuse(&format!("calling_webhook: {refusal}"));
    }
    let id = CallId::new(Uuid::new_v4());
    let details = CallDetails::incoming(IncomingDetails {
        ids: NewCall {
            id,
            tenant: bot.tenant,
            app,
            my_participant_id: Uuid::new_v4(),
            chain: Uuid::new_v4(),
            scenario: None,
        },
        calling_webhook: webhook,
        caller: if bot.sees_callers { caller(&call.from) } else { nobody() },
        bot_name: None,
        called_number: is_number(&call.to_user).then(|| call.to_user.clone()),
    });
    info!(call_id = %id, sip_call_id = call.sip_call_id, "incoming call");
    if let Err(error) = state.calls().incoming(details, call.leg, call.dialog).await {
        debug!(call_id = %id, %error, "incoming call is not taken");
    }
}

/// A caller as a participant of a conference.
fn participant(party: &Party) -> graphophone_call::Identity {
    caller(party).to_domain().unwrap_or(graphophone_call::Identity {
        kind: graphophone_call::IdentityKind::Phone,
        id: None,
        display_name: None,
    })
}

fn caller(party: &Party) -> IdentitySet {
    match party {
        Party::Phone { user, user_id } => {
            let identity = Identity { display_name: Some(user.clone()), ..Identity::new(user_id) };
            IdentitySet::of(IdentityKind::User, identity)
        }
        Party::Trunk { user, display_name, .. } => {
            let identity = Identity {
                id: (!user.is_empty()).then(|| user.clone()),
                display_name: display_name.clone(),
                ..Identity::default()
            };
            IdentitySet::of(IdentityKind::Phone, identity)
        }
    }
}

/// A caller that the bot may not know (spec/notifications.md §5): another one at every call.
fn nobody() -> IdentitySet {
    IdentitySet::of(IdentityKind::Encrypted, Identity::new(Uuid::new_v4().to_string()))
}

fn is_number(user: &str) -> bool {
    let digits = user.strip_prefix('+').unwrap_or(user);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
