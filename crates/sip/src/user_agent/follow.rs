//! Following a peer's REFER: a call to the target, made with the leg's own end of the media, takes
//! the leg over when it is answered. Until then, and if it is not, the leg is as before.

use std::time::Instant;

use super::{
    LegId, NewCall, UserAgent,
    dialog::Dialog,
    leg::{Leg, State},
    replaces::Successor,
};
use crate::{result_info::Cause, sdp::Agreed};

impl UserAgent {
    /// Our end of the media of a leg that may be moved by calling somebody else.
    pub(crate) fn movable(&mut self, id: LegId) -> Option<crate::sdp::Local> {
        let established = self.established(id)?;
        let may = established.referred.is_some() && established.following.is_none();
        self.legs.get(&id)?.local.filter(|_| may)
    }

    /// Calls whom the peer of a leg has referred us to. `call.local` is what [`Self::movable`]
    /// gave.
    pub(crate) fn follow(&mut self, now: Instant, id: LegId, call: NewCall) {
        let Some(agreed) = self.legs.get(&id).and_then(|leg| leg.agreed) else { return };
        let (scout, _) = self.place_call_for(now, call, Some((id, agreed)));
        if self.legs.contains_key(&scout)
            && let Some(established) = self.established(id)
        {
            established.following = Some(scout);
        }
    }

    /// The target has answered.
    pub(super) fn arrive(
        &mut self,
        now: Instant,
        scout: LegId,
        (leg, id): (Leg, LegId),
        dialog: Dialog,
        (agreed, takes_refer): (Agreed, bool),
    ) {
        let waits = self.established(id).is_some_and(|it| it.following == Some(scout));
        if !waits {
            return self.leave(now, scout, leg, dialog, Cause::HungUp);
        }
        self.report(now, id, 200);
        let Leg { local_tag, phone, peer_user, account, .. } = leg;
        let successor = Successor {
            dialog,
            local_tag,
            phone,
            peer_user,
            account,
            agreed,
            takes_refer,
            unacknowledged: None,
        };
        self.take_over(now, id, successor);
    }

    /// The target was not reached.
    pub(super) fn turn_back(&mut self, now: Instant, id: LegId, cause: Cause) {
        let Some(established) = self.established(id) else { return };
        established.following = None;
        let departed = established.departed;
        self.report(now, id, cause.status());
        if departed && let Some(leg) = self.legs.remove(&id) {
            let cause = Cause::PeerHungUp { phone: leg.phone };
            self.end(now, id, leg, cause);
        }
    }

    /// Gives up the call that was to move a leg.
    pub(super) fn recall(&mut self, now: Instant, leg: &mut Leg) {
        if let State::Established(established) = &mut leg.state
            && let Some(scout) = established.following.take()
        {
            self.abandon_call(now, scout, Cause::HungUp);
        }
    }
}
