//! Placing a leg: from a route to an INVITE.

use std::{sync::Arc, time::Duration};

use graphophone_call::{AppId, ResultInfo};
use graphophone_sip::{CallError, LegHandle, LegSinks, OutgoingCall};

use super::Shared;
use crate::engine::dial::Route;

impl Shared {
    pub(in crate::engine) async fn place_call(
        self: Arc<Self>,
        route: Route,
        app: AppId,
        ring_timeout: Duration,
        sip_call_id: String,
        sinks: LegSinks,
    ) -> Result<LegHandle, ResultInfo> {
        let from = (app.to_string(), None);
        self.place_call_as(route, from, ring_timeout, sip_call_id, sinks).await
    }

    /// The same in another name: user part and display name of our From.
    pub(in crate::engine) async fn place_call_as(
        self: Arc<Self>,
        route: Route,
        from: (String, Option<String>),
        ring_timeout: Duration,
        sip_call_id: String,
        sinks: LegSinks,
    ) -> Result<LegHandle, ResultInfo> {
        let sip = self
            .sip
            .get()
            .ok_or_else(|| ResultInfo::of_call(500, 9001, "SIP is not configured (sip.listen)."))?;
        let (target, trunk) = match route {
            Route::Uri { uri, trunk } => (uri, trunk),
            Route::Registered { user_id } => {
                let contact = sip.contact_of(&user_id).await.ok_or_else(|| {
                    ResultInfo::of_call(480, 10037, "No phone is registered for this user.")
                })?;
                (contact, None)
            }
        };
        let call = OutgoingCall {
            replaces: None,
            target,
            trunk,
            from_user: from.0,
            from_display: from.1,
            ring_timeout,
            sip_call_id: Some(sip_call_id),
            sinks,
        };
        sip.call(call).await.map_err(|error| {
            let (code, subcode) = match error {
                CallError::PeerUnresolved(_) => (480, 10076),
                CallError::NoPort => (503, 9001),
                CallError::BotBadTarget(_) | CallError::Stopped => (500, 9001),
            };
            ResultInfo::of_call(code, subcode, &format!("The call cannot be placed: {error}."))
        })
    }
}
