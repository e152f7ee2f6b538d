//! Our REFER (RFC 3515): asks the peer of a dialog to call somebody else.

use std::time::Instant;

use graphophone_call::LegEvent;

use super::{LegId, UserAgent};
use crate::leg::ReferWish;

impl UserAgent {
    /// Asks the peer of an established leg to call somebody else in our place.
    pub(crate) fn refer(&mut self, _now: Instant, id: LegId, _wish: &ReferWish) {
        self.tell(id, LegEvent::ReferRefused);
    }
}
