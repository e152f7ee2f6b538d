//! The vocabulary between a call and the leg that carries it (a SIP dialog, later WebRTC).

use crate::{conference::ConferenceEvent, operation::ResultInfo, tones::Tone};

/// What a call asks of its leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegCommand {
    /// Accept an incoming leg (SIP: final 200).
    Answer,
    /// Refuse an incoming leg that has not been answered.
    Reject(RejectReason),
    /// End the leg in whatever state it is (SIP: CANCEL, BYE, or a final error).
    HangUp,
    /// Ask the far end of an answered leg to call somebody else in our place (SIP: REFER,
    /// RFC 3515). Answered by [`LegEvent::ReferAccepted`] and later [`LegEvent::ReferEnded`], by
    /// the latter alone, or by [`LegEvent::ReferRefused`]; each at most once.
    Refer {
        /// SIP URI of who is to be called.
        target: String,
        /// Value of the Replaces header that the far end is to call with (RFC 3891): its call
        /// takes the place of that dialog at the target.
        replaces: Option<String>,
    },
}

/// Why an incoming leg is refused. Graph page "call: reject"; SIP status by spec/state-machines.md §1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// Nobody answers: SIP 480.
    None,
    /// SIP 486.
    Busy,
    /// SIP 403.
    Forbidden,
}

/// What a leg tells its call. Late or doubled events are absorbed by the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegEvent {
    /// A provisional response says that the far end rings (SIP 180 or 183).
    Ringing,
    /// The dialog is confirmed: we got a 2xx, or the ACK to ours.
    Answered,
    /// Audio flows or stops flowing: offer and answer are complete and the far end receives
    /// (`true`), or it has put us on hold (`false`).
    Media {
        /// Whether the far end now receives our audio.
        active: bool,
    },
    /// The far end pressed a key (RFC 4733), once per press.
    Tone(Tone),
    /// The far end takes on our Refer and tries the target now.
    ReferAccepted,
    /// The far end cannot or will not take on a Refer: nothing was tried, and the leg is as before.
    ReferRefused,
    /// What became of our Refer: the far end reached the target, or did not, and why; then the leg
    /// is as before. On success the leg is for us to hang up.
    ReferEnded(Result<(), ResultInfo>),
    /// The conference that a group call has its place in tells something.
    Conference(ConferenceEvent),
    /// The leg is gone, and nothing more comes from it.
    Ended(ResultInfo),
}
