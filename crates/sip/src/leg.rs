//! The call's hand on a leg, and the mailbox through which it reaches the endpoint's task without
//! ever waiting.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, mpsc::SyncSender},
};

use graphophone_call::{LegCommand, LegEvent, RejectReason, Tone};
use graphophone_media::engine::{StreamEvent, StreamHandle, TappedPacket};
use tokio::sync::{Notify, mpsc};

use crate::user_agent::LegId;

/// Where a leg's signals go; both are bounded, and the receiver must drain them.
#[derive(Clone)]
pub struct LegSinks {
    /// Signalling. What does not fit is kept and offered again, up to 64 signals.
    pub signals: mpsc::Sender<LegSignal>,
    /// Given to the media engine for the leg's stream.
    pub stream: mpsc::Sender<StreamEvent>,
}

/// Names a confirmed dialog to a third party: whoever calls `target` with this value of Replaces
/// takes our place in it (RFC 3891).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogName {
    /// SIP URI of the far end: its Contact.
    pub target: String,
    /// Call-ID and tags.
    pub replaces: String,
}

/// What the far end asks for by REFER (RFC 3515). Nothing of it was checked: it is a stranger's
/// wish that may cost money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referral {
    /// URI of who is to be called, without the headers it came with.
    pub target: String,
    /// Value of Replaces that the call is to carry.
    pub replaces: Option<String>,
    /// Who says that it asks (RFC 3892), as it came.
    pub referred_by: Option<String>,
}

/// What a leg sends to its call.
pub enum LegSignal {
    /// Something happened.
    Event(LegEvent),
    /// The media stream; comes once, before `LegEvent::Media { active: true }`. The endpoint keeps
    /// a weak reference to follow the peer's holds and moves, so dropping this closes the stream.
    Stream(Arc<StreamHandle>),
    /// What [`crate::Endpoint::release`] needs to end the leg's dialog after a crash, from now on:
    /// comes before `LegEvent::Answered` of an outgoing leg, and whenever the peer has moved.
    Dialog(String),
    /// The far end asks for a call to somebody else; comes only with [`crate::IncomingRefer::Follow`].
    /// To be answered by [`crate::Endpoint::follow`] or
    /// [`LegHandle::report`], within 90 s.
    Referred(Referral),
}

/// The call's hand on a leg. Dropping it hangs up.
pub struct LegHandle {
    id: LegId,
    sip_call_id: Arc<str>,
    mailbox: Arc<Mailbox>,
    dialog: Arc<Mutex<Option<DialogName>>>,
}

impl LegHandle {
    pub(crate) fn new(
        id: LegId,
        sip_call_id: &str,
        mailbox: Arc<Mailbox>,
        dialog: Arc<Mutex<Option<DialogName>>>,
    ) -> Self {
        Self { id, sip_call_id: sip_call_id.into(), mailbox, dialog }
    }

    /// Names the call's sinks for an incoming leg and delivers what was kept. From now on its caller
    /// hears it ring (180).
    ///
    /// Again, it hands the leg to another owner: signals that the first one's queue had no room for
    /// go to the new one, in order, as do all later ones. Events of a stream that runs already stay
    /// with the sink it was made with, so who hands a leg on hands its receivers on as well, and then
    /// need not attach again.
    pub fn attach(&self, sinks: LegSinks) {
        self.attach_with(Attachment { sinks, tap: None });
    }

    /// Asks the leg for something. Never blocks; the outcome comes as signals. An answer waits for
    /// [`Self::attach`].
    pub fn command(&self, command: LegCommand) {
        self.mailbox.post(self.id, |wishes| match command {
            // The first decision counts; the user agent ignores a second one anyway.
            LegCommand::Answer => {
                wishes.decision.get_or_insert(Decision::Answer);
            }
            LegCommand::Reject(reason) => {
                wishes.decision.get_or_insert(Decision::Reject(reason));
            }
            LegCommand::HangUp => wishes.hang_up = true,
            LegCommand::Refer { target, replaces } => {
                wishes.refer = Some(ReferWish { target, replaces });
            }
        });
    }

    /// Refuses an incoming call because nobody has the number it asks for: SIP 404. If nothing was
    /// attached, its caller has not heard it ring.
    pub fn not_found(&self) {
        self.mailbox.post(self.id, |wishes| {
            wishes.decision.get_or_insert(Decision::NotFound);
        });
    }

    /// The dialog that the leg has signalled is durable, so that its answer may be acknowledged. Only
    /// a leg whose Call-ID its owner has chosen waits for it, and no longer than 400 ms.
    pub fn dialog_is_kept(&self) {
        self.mailbox.post(self.id, |wishes| wishes.has_kept_dialog = true);
    }

    /// How others may name the leg's dialog to its far end; `None` before it is confirmed.
    pub fn dialog(&self) -> Option<DialogName> {
        self.dialog.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells a far end that has sent REFER what has become of it: a SIP status, final from 200 on.
    /// Does nothing if it waits for none.
    pub fn report(&self, status: u16) {
        self.mailbox.post(self.id, |wishes| wishes.report = Some(status));
    }

    /// The SIP Call-ID.
    pub fn sip_call_id(&self) -> &str {
        &self.sip_call_id
    }

    /// Refuses for good: SIP 603.
    pub(crate) fn decline(&self) {
        self.mailbox.post(self.id, |wishes| {
            wishes.decision.get_or_insert(Decision::Decline);
        });
    }

    /// Puts the far end on hold, or takes it back.
    pub(crate) fn hold(&self, holds: bool) {
        self.mailbox.post(self.id, |wishes| wishes.hold = Some(holds));
    }

    /// Presses a key by INFO.
    pub(crate) fn press_by_info(&self, tone: Tone) {
        self.mailbox.post(self.id, |wishes| {
            if wishes.presses.len() < MOST_PRESSES {
                wishes.presses.push(tone);
            }
        });
    }

    /// What reports on a REFER after the handle has gone elsewhere.
    pub(crate) fn line(&self) -> ReportLine {
        ReportLine { id: self.id, mailbox: Arc::clone(&self.mailbox) }
    }

    pub(crate) fn attach_with(&self, attachment: Attachment) {
        self.mailbox.post(self.id, |wishes| wishes.attachment = Some(attachment));
    }
}

/// Tells a far end what has become of its REFER, without being its leg's owner.
pub(crate) struct ReportLine {
    id: LegId,
    mailbox: Arc<Mailbox>,
}

impl ReportLine {
    pub(crate) fn leg(&self) -> LegId {
        self.id
    }

    pub(crate) fn report(&self, status: u16) {
        self.mailbox.post(self.id, |wishes| wishes.report = Some(status));
    }
}

impl Drop for LegHandle {
    fn drop(&mut self) {
        self.mailbox.post(self.id, |wishes| wishes.dropped = true);
    }
}

/// Sinks, and for phones a copy of the audio.
#[derive(Clone)]
pub(crate) struct Attachment {
    pub(crate) sinks: LegSinks,
    pub(crate) tap: Option<SyncSender<TappedPacket>>,
}

/// What becomes of a ringing leg.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Decision {
    Answer,
    Reject(RejectReason),
    /// 404, which Graph has no reason for either.
    NotFound,
    /// 603; Graph has no such reason, people at phones do.
    Decline,
}

/// Whom the far end is to call in our place, and in place of which dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReferWish {
    pub(crate) target: String,
    pub(crate) replaces: Option<String>,
}

/// Most key presses by INFO that wait.
const MOST_PRESSES: usize = 64;

/// What a call wants of one leg; each wish at most once.
#[derive(Default)]
pub(crate) struct Wishes {
    pub(crate) attachment: Option<Attachment>,
    pub(crate) decision: Option<Decision>,
    pub(crate) refer: Option<ReferWish>,
    /// Status of what the far end has referred us to; a later one replaces an earlier.
    pub(crate) report: Option<u16>,
    pub(crate) hold: Option<bool>,
    /// At most [`MOST_PRESSES`].
    pub(crate) presses: Vec<Tone>,
    /// The answer may be acknowledged.
    pub(crate) has_kept_dialog: bool,
    pub(crate) hang_up: bool,
    pub(crate) dropped: bool,
}

/// Wishes of all legs; at most one entry for each living handle, so it is bounded.
#[derive(Default)]
pub(crate) struct Mailbox {
    wishes: Mutex<BTreeMap<LegId, Wishes>>,
    posted: Notify,
}

impl Mailbox {
    fn post(&self, leg: LegId, change: impl FnOnce(&mut Wishes)) {
        let mut wishes = self.wishes.lock().unwrap_or_else(PoisonError::into_inner);
        change(wishes.entry(leg).or_default());
        drop(wishes);
        self.posted.notify_one();
    }

    /// Waits until something is in the box. Cancel-safe.
    pub(crate) async fn posted(&self) {
        self.posted.notified().await;
    }

    pub(crate) fn take(&self) -> BTreeMap<LegId, Wishes> {
        std::mem::take(&mut self.wishes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
