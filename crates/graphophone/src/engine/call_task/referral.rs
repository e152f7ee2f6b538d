//! What becomes of a far end's REFER (`[sip] incoming_refer = "follow"`): its target is dialled for
//! the bot that has the call, by the rules and at the cost of that bot's own dialling.

use graphophone_call::CallState;
use graphophone_sip::{FollowTo, Referral};
use tokio::time::Instant;
use tracing::info;

use super::CallTask;
use crate::engine::dial::{Route, Target};

impl CallTask {
    pub(super) fn follow(&mut self, referral: Referral) {
        let verdict = self.may_follow(referral);
        let (Some(leg), Some(sip)) = (&self.leg, self.shared.sip.get()) else { return };
        match verdict {
            Ok(to) => drop(tokio::spawn(sip.follow(leg, to))),
            Err(status) => leg.report(status),
        }
    }

    /// Where to, or the SIP status that the far end is told.
    fn may_follow(&mut self, referral: Referral) -> Result<FollowTo, u16> {
        // A transfer of the bot's own, or its hang-up, comes first.
        if self.call.state() != CallState::Established || self.is_draining {
            return Err(603);
        }
        let call_id = self.view.details.id;
        let route = self.shared.dial.route(&Target::Phone(referral.target)).map_err(|error| {
            info!(%call_id, %error, "a far end's REFER is not followed");
            403_u16
        })?;
        let Route::Uri { uri, trunk } = route else { return Err(404) };
        let app = self.view.details.app;
        let permit = self.shared.quota.take(Instant::now().into_std(), app).map_err(|error| {
            info!(%call_id, %error, "a far end's REFER is not followed");
            503_u16
        })?;
        // One rings, and the one before may be who the call goes on with.
        if self.followed.len() > 1 {
            self.followed.remove(0);
        }
        self.followed.push(permit);
        info!(%call_id, "the far end refers the call to somebody else");
        let from_user = app.to_string();
        Ok(FollowTo { target: uri, trunk, from_user, replaces: referral.replaces })
    }
}
