//! Which notifications wait for the response to the request that may have caused them. Pure.

use std::collections::BTreeMap;

use graphophone_call::CallId;
use tokio::time::Instant;

/// One hold of one call, numbered in the order of their beginnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HoldId {
    call_id: CallId,
    number: u64,
}

/// A moment in the order of holds: those that began earlier may have caused what happens at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment(u64);

/// The holds of all calls.
///
/// A hold applies to what came to be owed after it began, and for a bounded time: a bot that
/// always has a request under way gets each notification not later than one that stops asking.
#[derive(Default)]
pub(super) struct Holds {
    begun: u64,
    open: BTreeMap<HoldId, Instant>,
}

impl Holds {
    /// Begins a hold that ends at `until`, if [`Holds::end`] does not come before.
    pub(super) fn begin(&mut self, call_id: CallId, until: Instant) -> HoldId {
        let id = HoldId { call_id, number: self.begun };
        self.begun += 1;
        self.open.insert(id, until);
        id
    }

    pub(super) fn end(&mut self, id: HoldId) {
        self.open.remove(&id);
    }

    /// Whatever comes to be owed now is held by the holds that are open.
    pub(super) fn moment(&self) -> Moment {
        Moment(self.begun)
    }

    /// Until when at most something that came to be owed at the moment is held.
    pub(super) fn held_until(
        &self,
        call_id: CallId,
        owed: Moment,
        now: Instant,
    ) -> Option<Instant> {
        let id = |number| HoldId { call_id, number };
        self.open
            .range(id(0)..id(owed.0))
            .map(|(_, until)| *until)
            .max()
            .filter(|until| *until > now)
    }
}

impl HoldId {
    pub(super) fn call_id(self) -> CallId {
        self.call_id
    }
}
