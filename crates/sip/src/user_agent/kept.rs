//! What is kept of a dialog outside of this process, so that the next one can end what a crash has
//! left behind: a BYE in each confirmed dialog, an ACK and a BYE to whoever picks up late.

use std::{net::SocketAddr, time::Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sipx_sip::{HeaderName, Message, Method, Response, Uri, auth::Credentials};

use super::{
    UserAgent,
    answers::Account,
    dialog::Dialog,
    flow::{Flow, Transport},
    leg::{Leg, State},
    message,
    outgoing::MOST_FORKS,
};
use crate::result_info::Cause;

/// Calls of an earlier process whose INVITE may still be answered; the oldest are forgotten first.
const MOST_INVITED: usize = 20_000;

/// A dialog, or the INVITE that may come to make one.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", tag = "is")]
pub(crate) enum Kept {
    /// Our INVITE may be out; no answer has come yet.
    Invited { call_id: String },
    /// There is a dialog.
    Confirmed {
        call_id: String,
        local: String,
        remote: String,
        target: String,
        routes: Vec<String>,
        cseq: u32,
        is_tcp: bool,
        peer: SocketAddr,
        sticky: bool,
    },
}

impl Kept {
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("it has string keys and no failing serializers")
    }

    /// `None` for what this program has not written.
    pub(crate) fn parse(json: &str) -> Option<Self> {
        serde_json::from_str(json).ok()
    }

    pub(super) fn of(dialog: &Dialog) -> Self {
        let text = |uri: &Uri| String::from_utf8_lossy(&uri.to_bytes()).into_owned();
        Self::Confirmed {
            call_id: dialog.call_id.clone(),
            local: dialog.local.clone(),
            remote: dialog.remote.clone(),
            target: text(&dialog.target),
            routes: dialog.routes.iter().map(text).collect(),
            cseq: dialog.local_cseq,
            is_tcp: dialog.flow.transport == Transport::Tcp,
            peer: dialog.flow.remote,
            sticky: dialog.sticky,
        }
    }

    /// How the peer was reached.
    pub(crate) fn way(&self) -> Option<(Transport, SocketAddr)> {
        match self {
            Self::Invited { .. } => None,
            Self::Confirmed { is_tcp: true, peer, .. } => Some((Transport::Tcp, *peer)),
            Self::Confirmed { peer, .. } => Some((Transport::Udp, *peer)),
        }
    }

    fn into_dialog(self, flow: Flow) -> Option<Dialog> {
        let Self::Confirmed { call_id, local, remote, target, routes, cseq, sticky, .. } = self
        else {
            return None;
        };
        let uri = |text: String| Uri::parse(Bytes::from(text)).ok();
        Some(Dialog {
            call_id,
            local,
            remote_tag: tag_of(&remote),
            remote,
            target: uri(target)?,
            routes: routes.into_iter().map(uri).collect::<Option<_>>()?,
            local_cseq: cseq,
            remote_cseq: None,
            flow,
            sticky,
        })
    }
}

impl UserAgent {
    /// Ends what an earlier process has left behind; `flow` leads to its peer. Nobody is told.
    pub(crate) fn release(&mut self, now: Instant, kept: Kept, flow: Option<Flow>) {
        match (kept, flow) {
            (Kept::Invited { call_id }, _) => {
                if self.invited.len() >= MOST_INVITED {
                    self.invited.pop_first();
                }
                self.invited.entry(call_id).or_default();
            }
            (kept @ Kept::Confirmed { .. }, Some(flow)) => {
                let Some(dialog) = kept.into_dialog(flow) else { return };
                let local_tag = tag_of(&dialog.local);
                let id = self.new_leg_id();
                self.tags.insert(local_tag.clone(), id);
                let leg = Leg {
                    local_tag,
                    phone: false,
                    peer_user: None,
                    user: String::new(),
                    account: self.account_at(&dialog.target),
                    local: None,
                    agreed: None,
                    said_end: true,
                    // Replaced at once.
                    state: State::Ending {
                        dialog: Box::new(dialog.clone()),
                        cause: Cause::HungUp,
                        answers: Default::default(),
                    },
                };
                self.leave(now, id, leg, dialog, Cause::HungUp);
            }
            (Kept::Confirmed { .. }, None) => {}
        }
    }

    /// A response to nothing of ours. If an earlier process has sent the INVITE, whoever answers is
    /// released at once (RFC 3261 §13.3.1.4 would have it repeat the answer for 32 s, and hang on).
    pub(super) fn stray(&mut self, now: Instant, flow: Flow, response: &Response) {
        if !response.status.is_success() {
            return;
        }
        let Some(cseq) = invite_cseq(response) else { return };
        let call_id = message::call_id(&response.headers);
        let Some(answered) = self.invited.get(&call_id) else { return };
        let tag = message::to_tag(&response.headers).unwrap_or_default();
        if let Some((_, flow, ack)) = answered.iter().find(|(known, ..)| *known == tag).cloned() {
            return self.outputs.push_back(super::Output::Send { flow, message: ack });
        }
        if answered.len() >= MOST_FORKS {
            return;
        }
        let Some(dialog) = Dialog::of_stray(response, cseq, flow) else { return };
        let branch = self.ids.branch();
        let Some(ack) = dialog.request(Method::Ack, cseq, &branch, Vec::new()) else { return };
        let ack = Message::Request(ack).to_bytes();
        let flow = dialog.next_hop();
        self.outputs.push_back(super::Output::Send { flow, message: ack.clone() });
        if let Some(answered) = self.invited.get_mut(&call_id) {
            answered.push((tag, flow, ack));
        }
        self.send_bye(now, dialog, None, Vec::new());
    }

    /// What a trunk at that host knows us by.
    fn account_at(&self, target: &Uri) -> Option<Account> {
        let host = target.host()?.to_string();
        let trunk = self.config.trunks.iter().find(|trunk| {
            let uri = trunk.uri.as_deref().and_then(crate::registrar::callable);
            uri.is_some_and(|uri| uri.host().is_some_and(|known| known.to_string() == host))
        })?;
        let credentials = Credentials::new(trunk.username.clone()?, trunk.password.clone()?);
        Some(Account { credentials, realm: trunk.realm.clone() })
    }
}

fn invite_cseq(response: &Response) -> Option<u32> {
    let text = message::text(&response.headers, &HeaderName::CSeq)?;
    let (number, method) = text.split_once(char::is_whitespace)?;
    (method.trim() == "INVITE").then(|| number.parse().ok())?
}

/// The tag of a From or To value that this program has composed or checked.
pub(super) fn tag_of(value: &str) -> String {
    let after = value.rsplit_once('>').map_or(value, |(_, after)| after);
    let tag = after.split(';').find_map(|parameter| parameter.trim().strip_prefix("tag="));
    tag.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_back_and_foreign_text_does_not() {
        for kept in [
            Kept::Invited { call_id: "a\"b".into() },
            Kept::Confirmed {
                call_id: "c".into(),
                local: "<sip:a@b>;tag=1".into(),
                remote: "\"x;tag=9\" <sip:c;tag=8@d>;q=1;tag=2".into(),
                target: "sip:c@127.0.0.1:5070".into(),
                routes: vec!["sip:127.0.0.1;lr".into()],
                cseq: 7,
                is_tcp: false,
                peer: ([127, 0, 0, 1], 5070).into(),
                sticky: true,
            },
        ] {
            let json = kept.to_json();
            assert_eq!(Kept::parse(&json).map(|again| again.to_json()), Some(json));
        }
        assert!(Kept::parse("{}").is_none() && Kept::parse("").is_none());
        assert_eq!(tag_of("\"x;tag=9\" <sip:c;tag=8@d>;q=1;tag=2"), "2");
    }
}
