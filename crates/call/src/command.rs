//! What a bot may ask of a call, and why it may be refused.

use crate::{ids::OperationId, operation::MediaPrompt};

/// One variant per Graph action on a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Graph "call: answer".
    Answer,
    /// Graph "Delete call".
    HangUp,
    /// Graph "call: keepAlive".
    KeepAlive,
    /// Graph "call: playPrompt".
    PlayPrompt {
        /// Id of the operation that is made.
        operation: OperationId,
        /// 1 to 20 prompts.
        prompts: Vec<MediaPrompt>,
        /// Repeat the list until cancelled.
        looping: bool,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
    /// Graph "call: cancelMediaProcessing".
    CancelMediaProcessing {
        /// Id of the operation that is made.
        operation: OperationId,
        /// What to cancel.
        scope: CancelScope,
        /// Echoed on the operation.
        client_context: Option<String>,
    },
}

/// How much a cancelMediaProcessing cancels (the old beta member `all`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelScope {
    /// The running operation and all queued ones.
    All,
    /// Only the running one; the next in the queue starts.
    Current,
}

/// Why a command is refused. The call is as it was before.
/// HTTP status and `error.code` of each are in `graphophone`'s `api/error.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The call is not established yet (8501).
    #[error("Call is not established: wait for the notification with state established")]
    NotEstablished,
    /// The call is ending or has ended (8528).
    #[error("Call is terminated")]
    Terminated,
    /// The call was not made with serviceHostedMediaConfig (8500).
    #[error("Action is supported only for calls with serviceHostedMediaConfig")]
    NotServiceHosted,
    /// The action does not fit the call's state (8585).
    #[error("Action is not valid in the current call state")]
    WrongState,
    /// The call's media queue is full (8519).
    #[error("Too many media operations are queued on this call: wait for one to end, or cancel")]
    QueueFull,
}
