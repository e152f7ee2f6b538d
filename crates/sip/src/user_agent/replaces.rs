//! INVITE with Replaces (RFC 3891): a new dialog takes the place of a running one on the same leg,
//! so that its call, its stream and what plays in it go on.

use std::time::Instant;

use sipx_sip::{HeaderName, Request};

use super::{
    Kept, LegId, Output, UserAgent,
    answers::{Account, Answers},
    dialog::Dialog,
    flow::Flow,
    incoming::warning,
    leg::{Established, Leg, State, Unacknowledged},
    message,
    screening::allow,
    timers::Timer,
};
use crate::{
    endpoint::Party,
    result_info::Cause,
    sdp::{self, Agreed},
};

/// The header's value (RFC 3891 §6.1), tags as the one sees them who is to be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replaces {
    call_id: String,
    to_tag: String,
    from_tag: String,
    early_only: bool,
}

impl Replaces {
    /// `None` if there is a tag missing or doubled.
    pub(super) fn parse(value: &str) -> Option<Self> {
        let mut parts = value.split(';').map(str::trim);
        let call_id = parts.next().filter(|call_id| !call_id.is_empty())?.to_owned();
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let slot = match name.trim().to_ascii_lowercase().as_str() {
                "to-tag" => &mut to_tag,
                "from-tag" => &mut from_tag,
                "early-only" => {
                    early_only = true;
                    continue;
                }
                _ => continue,
            };
            if slot.replace(value.trim().to_owned()).is_some() {
                return None;
            }
        }
        Some(Self { call_id, to_tag: to_tag?, from_tag: from_tag?, early_only })
    }
}

/// What takes a leg over.
pub(super) struct Successor {
    pub(super) dialog: Dialog,
    pub(super) local_tag: String,
    pub(super) phone: bool,
    pub(super) peer_user: Option<String>,
    pub(super) account: Option<Account>,
    pub(super) agreed: Agreed,
    pub(super) takes_refer: bool,
    /// Our 2xx, if it was the peer who called.
    pub(super) unacknowledged: Option<Unacknowledged>,
}

impl UserAgent {
    /// An INVITE that wants to replace a dialog. Only who was authenticated as the peer of that
    /// dialog may; for everybody else there is none (RFC 3891 §3: 481).
    pub(super) fn receive_replacement(
        &mut self,
        now: Instant,
        flow: Flow,
        reply_to: Flow,
        request: Request,
        from: &Party,
    ) {
        let is_single = request.headers.get_all(&HeaderName::Replaces).count() == 1;
        let value = request.headers.value(&HeaderName::Replaces).unwrap_or_default().into_owned();
        let replaces = Replaces::parse(&String::from_utf8_lossy(&value));
        let Some(replaces) = replaces.filter(|_| is_single) else {
            return self.refuse(reply_to, &request, 400, Vec::new());
        };
        let id = match self.replaced(&replaces, from) {
            Ok(id) => id,
            Err(status) => return self.refuse(reply_to, &request, status, Vec::new()),
        };
        let offer = match self.read_offer(&request, flow) {
            Ok(Some(offer)) => offer,
            Ok(None) => {
                let headers = vec![warning("an INVITE with Replaces needs an offer here")];
                return self.refuse(reply_to, &request, 488, headers);
            }
            Err((status, headers)) => return self.refuse(reply_to, &request, status, headers),
        };
        let local_tag = self.ids.tag();
        let first_cseq = self.ids.first_cseq();
        let phone = matches!(from, Party::Phone { .. });
        let dialog = Dialog::of_request(&request, &local_tag, first_cseq, flow, phone);
        let Some(dialog) = dialog else {
            return self.refuse(reply_to, &request, 400, Vec::new());
        };
        let agent = self.config.agent.clone();
        let allow = allow(&self.config);
        let Some(Leg { local: Some(local), agreed: Some(before), user, account, .. }) =
            self.legs.get_mut(&id)
        else {
            return self.refuse(reply_to, &request, 481, Vec::new());
        };
        local.version += 1;
        // What plays is encoded for this codec.
        let (body, agreed) = match sdp::answer(&offer, local, Some(before)) {
            Ok(answer) => answer,
            Err(error) => {
                let headers = vec![warning(&error.to_string())];
                return self.refuse(reply_to, &request, 488, headers);
            }
        };
        let contact = (HeaderName::Contact, message::our_contact(&reply_to, user));
        let headers = [contact, allow, (HeaderName::Server, agent)];
        let response = message::respond(&request, 200, Some(&local_tag), &headers, Some(body));
        let Some(response) = response else { return };
        let account = account.clone();
        let takes_refer = message::may_take_refer(&request.headers);
        let cseq = message::cseq(&request.headers).unwrap_or_default();
        let Some(key) = self.start_server(now, reply_to, request, None) else { return };
        let unacknowledged = Unacknowledged::new(&key, &response, cseq, now);
        let successor = Successor {
            dialog,
            local_tag,
            phone,
            peer_user: user_of(from),
            account,
            agreed,
            takes_refer,
            unacknowledged: Some(unacknowledged),
        };
        self.send_response(now, &key, response);
        self.take_over(now, id, successor);
        self.timers.set(Timer::Accept(id), now + super::TIMERS.t1);
    }

    /// The leg whose dialog is meant, or with which status the INVITE is refused.
    fn replaced(&self, replaces: &Replaces, from: &Party) -> Result<LegId, u16> {
        let id = *self.tags.get(&replaces.to_tag).ok_or(481_u16)?;
        let leg = self.legs.get(&id).ok_or(481_u16)?;
        match &leg.state {
            State::Established(established) => {
                let dialog = &established.dialog;
                let is_it = dialog.call_id == replaces.call_id
                    && dialog.remote_tag == replaces.from_tag
                    && self.is_peer(leg, dialog, from);
                if !is_it {
                    return Err(481);
                }
                if replaces.early_only {
                    return Err(486);
                }
                let is_free = established.unacknowledged.is_none()
                    && established.leaving.is_none()
                    && established.held_ack.is_none();
                if is_free { Ok(id) } else { Err(491) }
            }
            State::Ending { dialog, .. } => {
                let is_it = dialog.call_id == replaces.call_id
                    && dialog.remote_tag == replaces.from_tag
                    && self.is_peer(leg, dialog, from);
                Err(if is_it { 603 } else { 481 })
            }
            // An early dialog that its other end has begun cannot be replaced (RFC 3891 §3).
            State::Ringing(_) | State::Calling(_) => Err(481),
        }
    }

    /// Whether this caller is who the leg has been connected with all along.
    fn is_peer(&self, leg: &Leg, dialog: &Dialog, from: &Party) -> bool {
        match (from, &leg.peer_user) {
            (Party::Phone { user, .. }, Some(known)) => user == known,
            (Party::Trunk { trunk, .. }, None) => {
                self.trunk_at(dialog.source()).is_some_and(|known| known.name == *trunk)
            }
            (Party::Phone { .. }, None) | (Party::Trunk { .. }, Some(_)) => false,
        }
    }

    /// Moves a leg into another dialog, and ends the one it was in. Its owner hears of the new
    /// dialog and of what changes for the media.
    pub(super) fn take_over(&mut self, now: Instant, id: LegId, successor: Successor) {
        self.refer_moot(id);
        let ghost = self.new_leg_id();
        let Some(leg) = self.legs.get_mut(&id) else { return };
        let State::Established(established) = &mut leg.state else { return };
        let departed = established.departed;
        let mut successor_state = Established::new(successor.dialog, successor.takes_refer);
        successor_state.unacknowledged = successor.unacknowledged;
        let kept = Kept::of(&successor_state.dialog).to_json();
        let name = successor_state.dialog.name();
        let before = std::mem::replace(&mut **established, successor_state);
        let old_tag = std::mem::replace(&mut leg.local_tag, successor.local_tag);
        let media_before = leg.agreed.replace(successor.agreed);
        let old = Leg {
            local_tag: old_tag.clone(),
            phone: std::mem::replace(&mut leg.phone, successor.phone),
            user: leg.user.clone(),
            account: std::mem::replace(&mut leg.account, successor.account),
            peer_user: std::mem::replace(&mut leg.peer_user, successor.peer_user),
            local: None,
            agreed: None,
            said_end: true,
            // Replaced at once.
            state: State::Ending {
                dialog: Box::new(before.dialog.clone()),
                cause: Cause::HungUp,
                answers: Answers::default(),
            },
        };
        self.tags.insert(leg.local_tag.clone(), id);
        if departed {
            self.tags.remove(&old_tag);
        } else {
            self.tags.insert(old_tag, ghost);
            self.leave(now, ghost, old, before.dialog, Cause::HungUp);
        }
        self.outputs.push_back(Output::Dialog { leg: id, dialog: kept, name });
        if let Some(before) = media_before {
            self.change_media(id, before, successor.agreed);
        }
    }
}

/// The registered phone that somebody is, if so.
pub(super) fn user_of(party: &Party) -> Option<String> {
    match party {
        Party::Phone { user, .. } => Some(user.clone()),
        Party::Trunk { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Replaces;

    #[test]
    fn a_header_names_one_dialog_or_nothing() {
        let parsed = Replaces::parse("a@b ; from-tag=2;TO-TAG=1 ;early-only;x=y").unwrap();
        assert_eq!((parsed.call_id.as_str(), parsed.to_tag.as_str()), ("a@b", "1"));
        assert_eq!((parsed.from_tag.as_str(), parsed.early_only), ("2", true));
        for bad in ["", ";to-tag=1;from-tag=2", "a;to-tag=1", "a;to-tag=1;to-tag=2;from-tag=3"] {
            assert_eq!(Replaces::parse(bad), None, "{bad}");
        }
    }
}
