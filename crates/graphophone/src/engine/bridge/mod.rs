//! Bridges: two legs that go on without a bot, after a transfer whose far end does not REFER, or a
//! redirect. [`fork`] calls whoever is to be the second, [`task`] owns the two and their room.

mod fork;
mod task;

use std::{sync::Arc, time::Duration};

use graphophone_call::ResultInfo;
use graphophone_media::engine::{StreamEvent, StreamHandle};
use graphophone_sip::{LegHandle, LegSignal};
use tokio::sync::{mpsc, oneshot};

use super::{dial::Route, quota::Permit, request::Request};

pub(super) use fork::{Forked, fork};
pub(super) use task::{Row, bridge};

/// A leg on its way from one owner to another, with all that hears of it.
pub(super) struct Carried {
    pub(super) leg: LegHandle,
    pub(super) signals: mpsc::Receiver<LegSignal>,
    /// Held, so that the stream's events have somewhere to go.
    pub(super) events: mpsc::Receiver<StreamEvent>,
    pub(super) stream: Arc<StreamHandle>,
    /// What ends its SIP dialog after a crash.
    pub(super) dialog: Option<String>,
    /// What it costs the bot's application, until it ends.
    pub(super) permits: Vec<Permit>,
}

/// Somebody who is to be called.
pub(super) struct Callee {
    /// How they are reached.
    pub(super) route: Route,
    /// What that costs the bot's application.
    pub(super) permit: Permit,
    /// Chosen before they are called, so that whoever picks up after a crash is released.
    pub(super) sip_call_id: String,
}

/// Whom a call is handed on to.
pub(super) enum Plan {
    /// They are called, all at once.
    Dial {
        /// At least one.
        targets: Vec<Callee>,
        /// User part of our From.
        from_user: String,
        /// Name that they see, if not the bot's id alone.
        from_display: Option<String>,
        /// How long they may ring.
        ring_for: Duration,
    },
    /// The bot has them on another call, which gives its leg up.
    Borrow(mpsc::Sender<Request>),
}

/// Asks another call of the bot for its leg.
pub(super) async fn borrow(from: mpsc::Sender<Request>) -> Result<Carried, ResultInfo> {
    let gone = || ResultInfo::of_call(480, 10076, "The other call is not established.");
    let (reply, answer) = oneshot::channel();
    from.send(Request::GiveLeg { reply }).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}
