//! Transfer and redirect: who may be called on behalf of a call, and in which way.

use std::time::Duration;

use graphophone_call::{
    AppId, CallId, CallState, Command, ParticipantId, ReferTo, Rejection, TenantId,
};
use graphophone_graph::resource::call::CallDetails;
use graphophone_sip::DialogName;
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

use super::{
    bridge::{Callee, Plan},
    dial::{DialError, Route, Target},
    quota::QuotaError,
    registry::Calls,
    request::{CommandError, Request},
};

/// Why a call is not handed on. It is as before.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// A target is refused.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The application dials too much.
    #[error(transparent)]
    Quota(#[from] QuotaError),
    /// There is no such other call, or it is not established.
    #[error("transferTarget.replacesCallId: not an established call of this application")]
    BotOtherCall,
    /// The call does not take it.
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl Calls {
    /// Graph "call: redirect": `targets` are called at once, the first who answers has the call.
    /// `from` is who they see.
    ///
    /// # Errors
    /// [`HandOverError`]; then nobody is called.
    pub async fn redirect(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
        targets: &[Target],
        ring_for: Duration,
        details: Option<CallDetails>,
        from: (String, Option<String>),
    ) -> Result<(), HandOverError> {
        let plan = self.plan(owner.1, targets, ring_for, from)?;
        self.hand_on(owner, id, Command::Redirect { ring_for }, details, plan).await?;
        Ok(())
    }

    /// Graph "call: transfer" to somebody who is not in a call with the bot; of a group call, of one
    /// participant.
    ///
    /// # Errors
    /// [`HandOverError`]; then nothing has changed.
    pub async fn transfer(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
        transferee: Option<ParticipantId>,
        target: &Target,
    ) -> Result<(), HandOverError> {
        let ring_for = self.shared.settings.ring_for;
        let from = (owner.1.to_string(), None);
        let plan = self.plan(owner.1, std::slice::from_ref(target), ring_for, from)?;
        let refer = self.refer_to(&self.shared.dial.route(target)?).await;
        let command = Command::Transfer { transferee, refer, is_consultative: false };
        self.hand_on(owner, id, command, None, plan).await?;
        Ok(())
    }

    /// Graph "call: transfer" to the far end of another call of the bot.
    ///
    /// # Errors
    /// [`HandOverError`]; then nothing has changed.
    pub async fn transfer_to_call(
        &self,
        owner: (TenantId, AppId),
        id: CallId,
        transferee: Option<ParticipantId>,
        other: CallId,
    ) -> Result<(), HandOverError> {
        // A group has no single far end.
        let found = self.line_to(owner, other).filter(|(_, view)| other != id && !view.is_group());
        let (line, view) = found.ok_or(HandOverError::BotOtherCall)?;
        if view.state != CallState::Established {
            return Err(HandOverError::BotOtherCall);
        }
        let (reply, answer) = oneshot::channel();
        line.send(Request::Name { reply }).await.map_err(|_| HandOverError::BotOtherCall)?;
        let name: Option<DialogName> = answer.await.map_err(|_| HandOverError::BotOtherCall)?;
        let refer = name
            .filter(|_| self.shared.refers)
            .map(|DialogName { target, replaces }| ReferTo { target, replaces: Some(replaces) });
        let command = Command::Transfer { transferee, refer, is_consultative: true };
        self.hand_on(owner, id, command, None, Plan::Borrow(line)).await?;
        Ok(())
    }

    fn plan(
        &self,
        app: AppId,
        targets: &[Target],
        ring_for: Duration,
        (from_user, from_display): (String, Option<String>),
    ) -> Result<Plan, HandOverError> {
        let now = Instant::now().into_std();
        let routes: Vec<Route> = targets
            .iter()
            .map(|target| self.shared.dial.route(target))
            .collect::<Result<_, _>>()?;
        let targets = routes
            .into_iter()
            .map(|route| {
                let permit = self.shared.quota.take(now, app)?;
                let sip_call_id = Uuid::new_v4().simple().to_string();
                Ok(Callee { route, permit, sip_call_id })
            })
            .collect::<Result<_, QuotaError>>()?;
        Ok(Plan::Dial { targets, from_user, from_display, ring_for })
    }

    /// What a far end would have to call by itself; `None` if only we can: a number is carried by
    /// our trunk, under our account there.
    async fn refer_to(&self, route: &Route) -> Option<ReferTo> {
        if !self.shared.refers {
            return None;
        }
        let target = match route {
            Route::Uri { uri, trunk: None } => uri.clone(),
            Route::Uri { trunk: Some(_), .. } => return None,
            Route::Registered { user_id } => self.shared.sip.get()?.contact_of(user_id).await?,
        };
        Some(ReferTo { target, replaces: None })
    }
}

impl From<Rejection> for HandOverError {
    fn from(rejection: Rejection) -> Self {
        Self::Command(rejection.into())
    }
}
