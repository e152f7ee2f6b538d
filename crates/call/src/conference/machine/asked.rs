//! What bots ask of a conference.

use std::sync::Arc;

use super::{Conference, Hold, Invite, Stage, full};
use crate::{
    command::ReferTo,
    conference::{
        participant::Invitation,
        vocabulary::{ConferenceOutput, ConferenceRequest, GroupVerb},
    },
    ids::{OperationId, ParticipantId},
    leg::LegEvent,
    operation::{MediaPrompt, ResultInfo},
};

impl Conference {
    pub(super) fn asked(&mut self, by: ParticipantId, request: ConferenceRequest) {
        if self.find(by).is_none_or(|member| member.stage != Stage::Bot) {
            return;
        }
        match request {
            ConferenceRequest::Remove(id) => self.remove(id),
            ConferenceRequest::Route(groups) => {
                self.routing.retain(|(of, _)| *of != by);
                self.routing.push((by, groups));
                self.outputs.push_back(ConferenceOutput::Remix);
            }
            ConferenceRequest::Refer { transferee, refer } => self.refer(by, transferee, refer),
            ConferenceRequest::Act { operation, verb } => self.act(by, operation, verb),
        }
    }

    fn act(&mut self, by: ParticipantId, operation: OperationId, verb: GroupVerb) {
        match verb {
            GroupVerb::Invite(participants) => self.invite(by, operation, &participants),
            GroupVerb::MuteSelf => self.set_muted(&[by], true),
            GroupVerb::UnmuteSelf => self.set_muted(&[by], false),
            GroupVerb::Mute(id) => self.set_muted(&[id], true),
            GroupVerb::Unmute(id) => self.set_muted(&[id], false),
            GroupVerb::MuteAll(named) if !named.is_empty() => self.set_muted(&named, true),
            GroupVerb::MuteAll(_) => {
                let people = self.members.iter().filter(|member| !member.stage.is_bot());
                let people: Vec<_> = people.map(|member| member.id).collect();
                self.set_muted(&people, true);
            }
            GroupVerb::ConfigureMixer(levels) => {
                for level in levels.iter() {
                    self.levels.retain(|old| old.participant != level.participant);
                    if self.find(level.participant).is_some() {
                        self.levels.push(level.clone());
                    }
                }
                self.outputs.push_back(ConferenceOutput::Remix);
                self.done(by, operation, Ok(()));
            }
            GroupVerb::StartHoldMusic { participant, prompt } => {
                match self.start_hold(by, operation, participant, prompt) {
                    Ok(()) => {}
                    Err(refusal) => self.done(by, operation, Err(refusal)),
                }
            }
            GroupVerb::StopHoldMusic(participant) if self.is_on_hold(participant) => {
                self.end_hold();
                self.done(by, operation, Ok(()));
            }
            GroupVerb::StopHoldMusic(_) => {
                let text = "Action failed, the participant is not on hold.";
                self.done(by, operation, Err(ResultInfo::new(400, 8585, text)));
            }
            GroupVerb::UpdateRecordingStatus(status) => {
                if let Some(bot) = self.find_mut(by) {
                    bot.recording = status;
                }
            }
        }
    }

    fn invite(&mut self, by: ParticipantId, operation: OperationId, list: &Arc<[Invitation]>) {
        let is_known = |invitation: &Invitation| self.find(invitation.participant).is_some();
        if self.members.len() + list.len() > self.settings.most_participants {
            return self.done(by, operation, Err(full()));
        }
        if list.is_empty() || list.iter().any(is_known) {
            let text = "Action failed, the invitation names nobody new.";
            return self.done(by, operation, Err(ResultInfo::new(400, 8523, text)));
        }
        let waits_for = list.iter().map(|invitation| invitation.participant).collect();
        self.invites.push(Invite { by, operation, waits_for, failure: None });
        for invitation in list.iter() {
            self.dial(invitation.clone(), by);
        }
    }

    fn remove(&mut self, id: ParticipantId) {
        let Some(member) = self.find(id) else { return };
        let result = ResultInfo::of_call(200, 5300, "Removed from the conversation.");
        if member.stage.is_bot() {
            return self.lose_bot(id, result);
        }
        self.forget(id);
        self.outputs.push_back(ConferenceOutput::HangUp(id));
        self.answered_invite(id, Some(ResultInfo { code: 400, ..result }));
    }

    /// Lets somebody's telephone call somebody else.
    fn refer(&mut self, by: ParticipantId, participant: ParticipantId, refer: ReferTo) {
        let refused = match self.find(participant).map(|member| member.stage) {
            Some(Stage::Connected) if self.refers.iter().all(|(of, _)| *of != participant) => None,
            Some(Stage::Connected) => {
                Some(ResultInfo::new(409, 8607, "The participant is being transferred already."))
            }
            Some(Stage::Bot | Stage::BotWaiting | Stage::Dialling | Stage::Ringing) | None => {
                Some(ResultInfo::listener_gone())
            }
        };
        if let Some(result) = refused {
            return self.tell(by, LegEvent::ReferEnded(Err(result)));
        }
        self.refers.push((participant, by));
        self.outputs.push_back(ConferenceOutput::Refer { participant, refer });
    }

    /// What has become of that. Whoever has reached the other leaves the conference.
    pub(super) fn referred(&mut self, id: ParticipantId, event: LegEvent) {
        let Some(at) = self.refers.iter().position(|(of, _)| *of == id) else { return };
        let by = self.refers[at].1;
        let has_gone = matches!(event, LegEvent::ReferEnded(Ok(())));
        if event != LegEvent::ReferAccepted {
            self.refers.remove(at);
        }
        self.tell(by, event);
        if has_gone {
            self.forget(id);
            self.outputs.push_back(ConferenceOutput::HangUp(id));
        }
    }

    fn set_muted(&mut self, ids: &[ParticipantId], is_muted: bool) {
        let mut has_changed = false;
        for member in self.members.iter_mut().filter(|member| ids.contains(&member.id)) {
            has_changed |= std::mem::replace(&mut member.is_muted, is_muted) != is_muted;
        }
        if has_changed {
            self.outputs.push_back(ConferenceOutput::Remix);
        }
    }

    fn start_hold(
        &mut self,
        by: ParticipantId,
        operation: OperationId,
        participant: ParticipantId,
        prompt: Option<MediaPrompt>,
    ) -> Result<(), ResultInfo> {
        if self.hold.is_some() {
            let text = "Action failed, a participant is on hold already.";
            return Err(ResultInfo::new(409, 8519, text));
        }
        match self.find(participant).map(|member| member.stage) {
            Some(Stage::Connected) => {}
            Some(Stage::Bot | Stage::BotWaiting | Stage::Dialling | Stage::Ringing) | None => {
                let text = "Action failed, nobody of this id can hear hold music.";
                return Err(ResultInfo::new(404, 8558, text));
            }
        }
        self.hold = Some(Hold { participant, by, starting: Some(operation) });
        self.outputs.push_back(ConferenceOutput::Remix);
        self.outputs.push_back(ConferenceOutput::StartHoldMusic { participant, by, prompt });
        Ok(())
    }
}
