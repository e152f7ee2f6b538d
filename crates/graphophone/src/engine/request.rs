//! What others see of a call, ask of it, and are answered.

use std::sync::Arc;

use graphophone_call::{
    CallId, CallState, Command, Operation, OperationId, Rejection, ResultInfo, Tone,
};
use graphophone_graph::resource::{call::CallDetails, receipt::Receipt};
use graphophone_sip::DialogName;
use graphophone_store::{RequestRecord, StoreError, UnixMillis};
use tokio::sync::oneshot;

use super::bridge::{Carried, Plan};
use super::participants::GroupView;

/// What others see of a call without asking its task.
#[derive(Clone, Debug)]
pub struct View {
    /// Where the call is.
    pub state: CallState,
    /// Whether the far end receives audio; `None` before it ever did.
    pub media_active: Option<bool>,
    /// The last key press that the bot was told of, with its number.
    pub tone: Option<(Tone, u64)>,
    /// What there is to know of its group.
    pub group: GroupView,
    /// Why it ended.
    pub result: Option<ResultInfo>,
    /// What was asked at its creation or answer.
    pub details: Arc<CallDetails>,
}

impl View {
    /// Notes whether the far end receives audio now.
    pub(super) fn set_media(&mut self, active: bool) {
        if active || self.media_active.is_some() {
            self.media_active = Some(active);
        }
    }
}

/// Where the answer to a command goes: the operation it made, if it made one.
pub(super) type Reply = oneshot::Sender<Result<Option<Operation>, CommandError>>;

/// A bot's command, with what comes along.
pub(super) struct Wish {
    pub(super) command: Command,
    /// They replace the call's, if it is accepted.
    pub(super) details: Option<Arc<CallDetails>>,
    pub(super) once: Option<Once>,
    /// Whom the call is handed on to, if that is what the command asks for.
    pub(super) plan: Option<Plan>,
}

/// What others ask of a call's task.
pub(super) enum Request {
    /// A bot's command.
    Command { wish: Box<Wish>, reply: Reply },
    /// Another call of the same bot takes over the far end of this one, if it is established;
    /// else the reply is dropped.
    GiveLeg { reply: oneshot::Sender<Carried> },
    /// How a third party names the far end's dialog, which is to be replaced: `None` without one.
    Name { reply: oneshot::Sender<Option<DialogName>> },
    /// Nobody replaces the far end's dialog any more.
    Spare,
    /// One operation as it is now; `None` if the store knows best.
    Operation { id: OperationId, reply: oneshot::Sender<Option<(Operation, Receipt)>> },
}

/// Which request asks for something that must be done once, however often it is asked
/// (promise P7): digests, so that they are short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Once {
    /// Of who asks, for what, under which id.
    pub key: [u8; 16],
    /// Of the body.
    pub digest: [u8; 16],
}

impl Once {
    /// The row that remembers it.
    pub(super) fn record(
        self,
        call_id: CallId,
        operation: Option<OperationId>,
        now: UnixMillis,
    ) -> RequestRecord {
        let Self { key, digest } = self;
        RequestRecord { key, digest, call_id, operation, created_at: now }
    }
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The call refuses it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// There is no such call (any more).
    #[error("Call not found.")]
    NotFound,
    /// It could not be made durable; nothing was promised, and nothing has changed.
    #[error("The operation could not be stored")]
    NotStored,
    /// The server ends what has begun and begins nothing.
    #[error("The server is stopping")]
    Stopping,
    /// There is no room on the disk; nothing was promised, and nothing has changed.
    #[error("There is no room to store the operation")]
    NoSpace,
    /// Another request with the same key was quicker.
    #[error("The request was carried out before")]
    Repeated,
    /// It has silenced or released the far end, and the server stops before that could be made
    /// durable. The next start reports it.
    #[error("The server stops before the operation is stored")]
    NotReported,
}

impl CommandError {
    /// Why something that nothing was done for yet is not stored.
    pub(super) fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::DiskFull => Self::NoSpace,
            StoreError::CallerKnownRequest => Self::Repeated,
            StoreError::DiskFailed(_)
            | StoreError::StoreDamaged(_)
            | StoreError::StoreClosed
            | StoreError::CallerFinalOperation(_)
            | StoreError::CallerTerminatedCall(_)
            | StoreError::CallerNotOwed(_)
            | StoreError::StoreStatement(_) => Self::NotStored,
        }
    }
}

#[cfg(test)]
mod tests {
    use graphophone_call::{AppId, CallId, TenantId};
    use graphophone_graph::resource::{
        call::{IncomingCall, NewCall},
        identity::IdentitySet,
    };
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_hold_is_told_from_a_call_that_has_had_no_audio_yet() {
        let details = CallDetails::incoming(IncomingCall {
            ids: NewCall {
                id: CallId::new(Uuid::from_u128(1)),
                tenant: TenantId::new(Uuid::from_u128(2)),
                app: AppId::new(Uuid::from_u128(3)),
                my_participant_id: Uuid::from_u128(4),
                chain: Uuid::from_u128(5),
                scenario: None,
            },
            calling_webhook: "https://bot.example/".into(),
            caller: IdentitySet::default(),
            bot_name: None,
            called_number: None,
        });
        let mut view = View {
            state: CallState::Establishing,
            media_active: None,
            tone: None,
            group: GroupView::default(),
            result: None,
            details: Arc::new(details),
        };
        let seen: Vec<_> = [false, true, false]
            .into_iter()
            .map(|active| {
                view.set_media(active);
                view.media_active
            })
            .collect();
        assert_eq!(seen, [None, Some(true), Some(false)]);
    }
}
