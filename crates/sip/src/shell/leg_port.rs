//! The shell's side of one leg: who listens to it, and what is kept until they do.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, Weak},
};

use graphophone_media::engine::StreamHandle;
use tokio::sync::mpsc;

use crate::{
    leg::{Attachment, DialogName, LegSignal},
    port_pool::PortPair,
};

/// The shell's side of a leg.
#[derive(Default)]
pub(crate) struct LegPort {
    pub(super) owner: Owner,
    pub(super) kept: VecDeque<LegSignal>,
    pub(super) ports: Option<PortPair>,
    pub(super) stream: Weak<StreamHandle>,
    /// As others may name its dialog; the handle reads it.
    pub(super) dialog: Arc<Mutex<Option<DialogName>>>,
    /// To be answered as soon as somebody listens.
    pub(super) answer_on_attach: bool,
    /// Nothing more will come.
    pub(super) ended: bool,
}

/// Who listens to a leg.
#[derive(Default)]
pub(super) enum Owner {
    /// A call that has not named its sinks; signals are kept.
    #[default]
    Unattached,
    Attached(Attachment),
    /// The handle was dropped.
    Gone,
}

impl LegPort {
    /// Offers kept signals; `true` when the owner's queue is full.
    pub(super) fn offer(&mut self) -> bool {
        match &self.owner {
            Owner::Unattached => {}
            Owner::Gone => self.kept.clear(),
            Owner::Attached(attachment) => {
                while let Some(signal) = self.kept.pop_front() {
                    match attachment.sinks.signals.try_send(signal) {
                        // A closed receiver wants nothing more; its handle will be dropped, too.
                        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
                        Err(mpsc::error::TrySendError::Full(signal)) => {
                            self.kept.push_front(signal);
                            return true;
                        }
                    }
                }
            }
        }
        false
    }
}
