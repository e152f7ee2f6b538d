//! How calls and telephones reach a conference's task without ever waiting for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use graphophone_call::{ConferenceRequest, LegCommand, ParticipantId, ResultInfo};
use graphophone_sip::LegHandle;
use tokio::sync::{Notify, oneshot};

use super::{Arrival, Joining};
use crate::engine::{audio::Lent, bridge::Carried};

/// Most requests that wait; one more is refused. Who leaves is always heard.
const MOST_WAITING: usize = 256;

/// What is in the box.
pub(super) enum Ask {
    /// A bot's call takes its place.
    Join(Box<Joining>),
    /// A telephone has dialled in.
    Arrive(Box<Arrival>),
    /// A bot's call asks for something.
    Request(ParticipantId, ConferenceRequest),
    /// A bot's call wants to play something to one participant.
    Borrow(ParticipantId, oneshot::Sender<Option<Lent>>),
    /// Somebody's leg is to be bridged with this one, which has answered.
    HandOn(ParticipantId, Box<Carried>),
    /// The dialogs that a bot's call was told of are durable.
    DialogsKept,
    /// A bot's call is over.
    Leave(ParticipantId),
}

/// Why something cannot be posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The conference is over.
    Closed,
    /// Too much waits already.
    Full,
}

/// The box of one conference. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Mailbox(Arc<Inside>);

#[derive(Default)]
struct Inside {
    content: Mutex<Content>,
    posted: Notify,
}

#[derive(Default)]
struct Content {
    asks: VecDeque<Ask>,
    is_closed: bool,
}

impl Mailbox {
    pub(super) fn post(&self, ask: Ask) -> Result<(), (Ask, Refused)> {
        let mut content = self.lock();
        let is_short = match &ask {
            // At most one for each call that has a place, and short.
            Ask::Leave(_) | Ask::DialogsKept | Ask::HandOn(..) => true,
            Ask::Join(_) | Ask::Arrive(_) | Ask::Request(..) | Ask::Borrow(..) => false,
        };
        if content.is_closed {
            return Err((ask, Refused::Closed));
        }
        if !is_short && content.asks.len() >= MOST_WAITING {
            return Err((ask, Refused::Full));
        }
        content.asks.push_back(ask);
        drop(content);
        self.0.posted.notify_one();
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits until something is in the box. Cancel-safe.
    pub(super) async fn posted(&self) {
        self.0.posted.notified().await;
    }

    pub(super) fn take(&self) -> Option<Ask> {
        self.lock().asks.pop_front()
    }

    /// Takes nothing more; what is in it can still be taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // Whole after any panic: a queue and a flag.
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A group call's place in its conference: what a leg is to other calls. Given up when dropped.
pub(in crate::engine) struct Place {
    participant: ParticipantId,
    mailbox: Mailbox,
}

impl Place {
    pub(super) fn new(participant: ParticipantId, mailbox: Mailbox) -> Self {
        Self { participant, mailbox }
    }

    /// Asks for something; the outcome comes as signals. `Err` if the conference cannot be asked.
    pub(in crate::engine) fn ask(&self, request: ConferenceRequest) -> Result<(), ResultInfo> {
        self.mailbox.post(Ask::Request(self.participant, request)).map_err(|(_, refused)| {
            match refused {
                Refused::Closed => {
                    ResultInfo::new(400, 8528, "Action failed, the conversation has ended.")
                }
                Refused::Full => ResultInfo::new(
                    429,
                    8516,
                    "Action failed, the conference has too much to do: try again later.",
                ),
            }
        })
    }

    /// Asks for a participant's stream. Without an answer there is none.
    pub(in crate::engine) fn borrow(
        &self,
        participant: ParticipantId,
    ) -> oneshot::Receiver<Option<Lent>> {
        let (reply, loan) = oneshot::channel();
        // Refused, the reply is dropped.
        let _ = self.mailbox.post(Ask::Borrow(participant, reply));
        loan
    }

    /// Lets somebody's leg go on with this one, which has answered. A conference that is over drops
    /// it, which hangs it up.
    pub(in crate::engine) fn hand_on(&self, transferee: ParticipantId, other: Carried) {
        let _ = self.mailbox.post(Ask::HandOn(transferee, Box::new(other)));
    }

    /// What a call asks of its leg. A place has nothing to answer or to refer.
    pub(in crate::engine) fn command(&self, command: &LegCommand) {
        match command {
            LegCommand::HangUp | LegCommand::Reject(_) => self.leave(),
            LegCommand::Answer | LegCommand::Refer { .. } => {}
        }
    }

    /// The dialogs that were signalled are durable.
    pub(in crate::engine) fn dialogs_are_kept(&self) {
        let _ = self.mailbox.post(Ask::DialogsKept);
    }

    fn leave(&self) {
        // In a conference that is over there is nobody to be told.
        let _ = self.mailbox.post(Ask::Leave(self.participant));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What is to become of a leg that nobody takes.
pub(super) fn give_back(ask: Ask) -> Option<LegHandle> {
    match ask {
        Ask::Arrive(arrival) => Some(arrival.leg),
        Ask::Join(_)
        | Ask::Request(..)
        | Ask::Borrow(..)
        | Ask::HandOn(..)
        | Ask::DialogsKept
        | Ask::Leave(_) => None,
    }
}
