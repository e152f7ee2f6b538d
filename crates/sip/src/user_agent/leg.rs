//! What the user agent knows of one leg.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sipx_sip::{Request, Response, TransactionKey, Uri};

use super::{
    answers::{Account, Answers},
    dialog::Dialog,
    flow::Flow,
    info::PressBudget,
    refer::Referring,
    referred::Referred,
};
use crate::{
    result_info::Cause,
    sdp::{self, Agreed, Description},
};

/// One leg, from the first INVITE to its end.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) local_tag: String,
    /// The other end is a phone registered here.
    pub(super) phone: bool,
    /// The user name of that phone.
    pub(super) peer_user: Option<String>,
    /// User part of our Contact.
    pub(super) user: String,
    pub(super) account: Option<Account>,
    /// Our end of the media, once there is one.
    pub(super) local: Option<sdp::Local>,
    /// What offer and answer agreed on, once they did.
    pub(super) agreed: Option<Agreed>,
    /// The owner has been told that the leg is gone; what is left is courtesy to the peer.
    pub(super) said_end: bool,
    pub(super) state: State,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum State {
    /// Our INVITE is out.
    Calling(Box<Calling>),
    /// A peer's INVITE waits for our owner's decision.
    Ringing(Box<Ringing>),
    /// There is a dialog.
    Established(Box<Established>),
    /// Our BYE is out.
    Ending { dialog: Box<Dialog>, cause: Cause, answers: Answers },
}

/// See [`State::Calling`].
#[derive(Debug)]
pub(super) struct Calling {
    pub(super) target: Uri,
    pub(super) flow: Flow,
    /// From, without our tag.
    pub(super) from: String,
    pub(super) call_id: String,
    pub(super) cseq: u32,
    /// The INVITE in flight; `None` only while it is being composed.
    pub(super) key: Option<Arc<TransactionKey>>,
    pub(super) request: Option<Request>,
    /// Credentials of the INVITE in flight.
    pub(super) answers: Answers,
    /// A provisional response has come, so a CANCEL may go (RFC 3261 §9.1).
    pub(super) provisional: bool,
    pub(super) said_ringing: bool,
    /// Value of Replaces.
    pub(super) replaces: Option<String>,
    /// The leg that moves here when the target answers, and what its stream is.
    pub(super) moves: Option<(super::LegId, Agreed)>,
    /// Its owner says when the 2xx may be acknowledged.
    pub(super) holds_ack: bool,
    /// Why we no longer want the call.
    pub(super) unwanted: Option<Cause>,
}

/// See [`State::Ringing`].
#[derive(Debug)]
pub(super) struct Ringing {
    pub(super) key: Arc<TransactionKey>,
    pub(super) request: Request,
    pub(super) flow: Flow,
    /// `None`: the INVITE had no description, so we offer in our 200.
    pub(super) offer: Option<Description>,
    pub(super) merge_key: (String, String, u32),
}

/// See [`State::Established`].
#[derive(Debug)]
pub(super) struct Established {
    pub(super) dialog: Dialog,
    /// The ACK to the peer's 2xx waits for our owner to have noted the dialog: a crash before that
    /// leaves a peer that repeats its 2xx, not one that believes in a call nobody knows of.
    pub(super) held_ack: Option<Box<HeldAck>>,
    /// A 2xx of ours that has not been acknowledged.
    pub(super) unacknowledged: Option<Unacknowledged>,
    /// Why we are to end it, but for an ACK that is still to come.
    pub(super) leaving: Option<Cause>,
    /// The peer has not said that it knows no REFER.
    pub(super) takes_refer: bool,
    /// Our last REFER.
    pub(super) referring: Option<Referring>,
    /// The peer's REFER that we are to report on.
    pub(super) referred: Option<Referred>,
    /// The leg that calls whom the peer has referred us to.
    pub(super) following: Option<super::LegId>,
    /// The peer hung up while we follow its REFER.
    pub(super) departed: bool,
    /// A re-INVITE of ours is out.
    pub(super) offering: bool,
    /// The hold (`true`) or its end that was wished for while an offer was under way.
    pub(super) next_hold: Option<bool>,
    /// Key presses by INFO.
    pub(super) presses: PressBudget,
}

impl Established {
    pub(super) fn new(dialog: Dialog, takes_refer: bool) -> Self {
        Self {
            dialog,
            held_ack: None,
            unacknowledged: None,
            leaving: None,
            takes_refer,
            referring: None,
            referred: None,
            following: None,
            departed: false,
            offering: false,
            next_hold: None,
            presses: PressBudget::default(),
        }
    }
}

/// What the ACK to a peer's 2xx is made of.
#[derive(Debug)]
pub(super) struct HeldAck {
    /// The INVITE's transaction.
    pub(super) key: Arc<TransactionKey>,
    pub(super) invite: Request,
    /// The To tag of the 2xx.
    pub(super) tag: String,
}

/// Our 2xx to an INVITE, first or later, until its ACK.
#[derive(Debug)]
pub(super) struct Unacknowledged {
    pub(super) key: Arc<TransactionKey>,
    pub(super) response: Response,
    pub(super) cseq: u32,
    /// Time to the next repetition.
    pub(super) interval: Duration,
    /// When the peer is given up.
    pub(super) until: Instant,
    /// It answers the call itself, not a re-INVITE.
    pub(super) first: bool,
    /// It carries our offer, so the ACK must carry the answer.
    pub(super) offered: bool,
}

impl Unacknowledged {
    /// A 2xx that is sent now.
    pub(super) fn new(
        key: &Arc<TransactionKey>,
        response: &Response,
        cseq: u32,
        now: Instant,
    ) -> Self {
        Self {
            key: Arc::clone(key),
            response: response.clone(),
            cseq,
            interval: super::TIMERS.t1,
            until: now + super::TIMERS.timeout(),
            first: false,
            offered: false,
        }
    }
}
