//! Sans-IO machines of a Graph call: the call, its operations and its media queue.
//!
//! # The contract
//! [`Call`] reads no clock, makes no ids and does no I/O. Its driver obeys:
//! 1. One [`Input`] by [`Call::handle_input`], then [`Call::poll_output`] until `None`, then the
//!    next input. [`Call::poll_timeout`] says when to send [`Input::Timeout`].
//! 2. Outputs are carried out in order; nothing behind a `Commit*` leaves the process before the
//!    commit is durable. The exception are playouts ([`Output::StartPlayout`] and its kin): their
//!    own operation is durable since an earlier input, and audio must not wait for a disk.
//! 3. A command is either refused with a [`Rejection`] and no output, or accepted; never half.
//! 4. The same inputs give the same outputs.
//! 5. Late or doubled events of legs, prompts and playouts are absorbed.
//! 6. Every accepted operation reaches exactly one final status, before the call's `terminated`;
//!    an infinite loop ends by cancel, failure or hang-up only.

mod call;
mod command;
mod conference;
mod ids;
mod input;
mod key_presses;
mod key_sources;
mod leg;
mod media_queue;
mod operation;
mod output;
mod play_options;
mod playback;
mod recording;
mod settings;
mod timer;
mod tone_sequences;
mod tones;

pub use call::{Call, CallState, Direction};
pub use command::{CancelScope, Command, ReferTo, Rejection};
pub use conference::{
    AudioRoutingGroup, BotPlace, Conference, ConferenceEvent, ConferenceInput, ConferenceOutput,
    ConferenceRequest, ConferenceSettings, FULL_LEVEL, GroupCommand, GroupVerb, Identity,
    IdentityKind, Invitation, MAX_ROUTING_GROUPS, MemberMix, Mix, MixerDucking, MixerLevel,
    Participant, RecordingStatus, Roster, RoutingFault, RoutingMode, WithoutBot,
};
pub use ids::{AppId, CallId, OperationId, ParticipantId, TenantId};
pub use input::{BridgeEvent, Input, PlayoutEvent, PromptEvent, RecordingEvent, TonesEvent};
pub use key_sources::{KeySource, KeySources};
pub use leg::{LegCommand, LegEvent, RejectReason};
pub use operation::{
    CompletionReason, MediaPrompt, Operation, OperationKind, OperationStatus, ResultInfo,
};
pub use output::{BridgeCommand, Notification, Output};
pub use play_options::{PlayControl, PlayMode, PlayOptions, Shaping, StopOn, ToneSet};
pub use recording::{AccessToken, RecordSettings, Recorded};
pub use settings::Settings;
pub use tones::Tone;

/// The call beside its reference, for `fuzz/`.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::call::model::{Setting, Step, run};
}
