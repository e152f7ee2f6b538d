//! The way a call takes: where it goes, and who we are there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use sipx_sip::{Uri, auth::Credentials};

use super::{Shell, Way};
use crate::{
    endpoint::{CallError, FollowTo, is_registered},
    registrar::Binding,
    user_agent::{Account, Flow, LegId, NewCall},
};

/// Longest the target of a REFER may ring; below what the far end waits for.
const FOLLOW_FOR: Duration = Duration::from_secs(60);

/// Where a call goes, and who we are there.
pub(super) struct Line {
    pub(super) target: Uri,
    pub(super) flow: Flow,
    pub(super) phone: bool,
    /// The registered phone that it leads to.
    pub(super) peer_user: Option<String>,
    pub(super) account: Option<Account>,
    /// User part of our From, if the trunk knows us by one.
    pub(super) from_user: Option<String>,
    pub(super) from_host: Option<String>,
}

impl Shell {
    pub(super) fn line(
        &mut self,
        now: Instant,
        wanted: &str,
        trunk: Option<&str>,
        way: Way,
    ) -> Result<Line, CallError> {
        let bad_target = || CallError::BotBadTarget(wanted.to_owned());
        let phone = matches!(way, Way::Bound);
        let mut peer_user = None;
        let (target, flow) = match way {
            Way::Bound => {
                let (user, binding) = self.binding(now, wanted).ok_or_else(bad_target)?;
                peer_user = Some(user);
                (binding.uri().clone(), Some(binding.flow))
            }
            Way::Direct { uri, transport, remote } => (uri, self.links.flow_to(transport, remote)),
        };
        let flow = flow.ok_or_else(bad_target)?;
        let trunk = trunk
            .and_then(|name| self.user_agent.trunks().iter().find(|trunk| trunk.name == *name));
        let from_host = trunk.and_then(|trunk| trunk.uri.as_deref()).and_then(host_of);
        // A password answers challenges of its own trunk only (CVE-2021-41158).
        let same_host = from_host.is_some() && from_host == target.host().map(ToString::to_string);
        let account = trunk.filter(|_| same_host).and_then(|trunk| {
            let (username, password) = (trunk.username.clone()?, trunk.password.clone()?);
            let credentials = Credentials::new(username, password);
            Some(Account { credentials, realm: trunk.realm.clone() })
        });
        // To a trunk we are our account there; many refuse a caller they do not know.
        let from_user = trunk.and_then(|trunk| trunk.from.clone().or(trunk.username.clone()));
        Ok(Line { target, flow, phone, peer_user, account, from_user, from_host })
    }

    /// The binding that a target means: `sip:user@registered`, or exactly its contact; and whose
    /// it is.
    pub(super) fn binding(&self, now: Instant, target: &str) -> Option<(String, &Binding)> {
        match crate::registrar::callable(target) {
            Some(uri) if is_registered(&uri) => {
                let user = uri.decoded_user().unwrap_or_default();
                let user = String::from_utf8_lossy(&user).into_owned();
                let binding = self.user_agent.binding_of(now, &user)?;
                Some((user, binding))
            }
            Some(_) | None => self.user_agent.binding_at(now, target),
        }
    }

    /// Calls whom the far end of a leg has referred us to.
    pub(super) fn follow(
        &mut self,
        now: Instant,
        leg: LegId,
        to: &FollowTo,
        way: Way,
    ) -> Result<(), CallError> {
        let line = self.line(now, &to.target, to.trunk.as_deref(), way)?;
        if !self.user_agent.has_slot() {
            return Err(CallError::NoPort);
        }
        // It has hung up meanwhile, or has been told that nothing comes of it.
        let local = self.user_agent.movable(leg).ok_or(CallError::Stopped)?;
        let call = NewCall {
            target: line.target,
            flow: line.flow,
            phone: line.phone,
            peer_user: line.peer_user,
            replaces: to.replaces.clone(),
            from_user: line.from_user.unwrap_or_else(|| to.from_user.clone()),
            from_host: line.from_host,
            from_display: None,
            ring_timeout: FOLLOW_FOR,
            account: line.account,
            local,
            call_id: None,
            holds_ack: false,
        };
        self.user_agent.follow(now, leg, call);
        Ok(())
    }
}

fn host_of(uri: &str) -> Option<String> {
    let uri = Uri::parse(Bytes::copy_from_slice(uri.as_bytes())).ok()?;
    uri.host().map(ToString::to_string)
}
