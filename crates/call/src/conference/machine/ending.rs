//! When a conference is over, and what becomes of those who are in it then.

use super::{Conference, Member, Stage, WithoutBot};
use crate::{
    conference::vocabulary::{ConferenceInput, ConferenceOutput},
    leg::LegEvent,
    operation::ResultInfo,
};

impl Conference {
    pub(super) fn end_if_over(&mut self) {
        if self.has_ended {
            return;
        }
        let has_people = self.members.iter().any(|member| !member.stage.is_bot());
        let has_bot = self.has_bot();
        let goes_on = match self.settings.without_bot {
            WithoutBot::Ends => false,
            WithoutBot::GoesOn => {
                let connected = |member: &&Member| member.stage == Stage::Connected;
                self.members.iter().filter(connected).count() >= 2
            }
            WithoutBot::Stands => has_people,
        };
        let result = if !has_bot && !goes_on {
            ResultInfo::of_call(200, 5003, "The conversation has ended.")
        } else if !self.settings.is_meeting && has_bot && !has_people {
            match (self.had_people, self.last_failure.take()) {
                (true, _) => ResultInfo::of_call(200, 5002, "All others have left."),
                (false, Some(failure)) => failure,
                (false, None) => ResultInfo::of_call(200, 5010, "Only one participant is left."),
            }
        } else {
            return;
        };
        self.end(&result);
    }

    /// Everybody goes; bots are told why.
    pub(super) fn end(&mut self, result: &ResultInfo) {
        self.has_ended = true;
        if let Some(hold) = self.hold.take() {
            self.outputs.push_back(ConferenceOutput::StopHoldMusic(hold.participant));
        }
        self.invites.clear();
        for member in std::mem::take(&mut self.members) {
            if member.stage.is_in() {
                self.outputs.push_back(ConferenceOutput::Exit(member.id));
            }
            if member.stage.is_bot() {
                self.tell(member.id, LegEvent::Ended(result.clone()));
            } else {
                self.outputs.push_back(ConferenceOutput::HangUp(member.id));
            }
        }
        self.outputs.push_back(ConferenceOutput::End);
    }

    /// Who comes when all is over is told so.
    pub(super) fn refuse_late(&mut self, input: ConferenceInput) {
        let over = || ResultInfo::of_call(200, 5003, "The conversation has ended.");
        match input {
            ConferenceInput::Join(place) => self.tell(place.participant, LegEvent::Ended(over())),
            ConferenceInput::Arrive { participant, .. } => {
                self.outputs.push_back(ConferenceOutput::HangUp(participant));
            }
            ConferenceInput::Ask { .. }
            | ConferenceInput::Leave(_)
            | ConferenceInput::Leg { .. }
            | ConferenceInput::HandedOn(_)
            | ConferenceInput::HoldMusic { .. }
            | ConferenceInput::TimeIsUp
            | ConferenceInput::ServerStops => {}
        }
    }
}
