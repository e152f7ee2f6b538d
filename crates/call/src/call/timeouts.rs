//! What a call does when one of its timers expires.

use std::time::Instant;

use super::{Call, Direction, ended_by_bot};
use crate::{
    leg::{LegCommand, RejectReason},
    operation::ResultInfo,
    output::Output,
    timer::Timer,
};

impl Call {
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Answer => {
                    self.outputs.push_back(Output::Leg(LegCommand::Reject(RejectReason::None)));
                    let text = "The incoming call was not answered in time.";
                    self.terminate(now, ResultInfo::of_call(408, 8587, text));
                }
                Timer::Establish => {
                    // The caller of a call that is being redirected has not been answered.
                    let parting = self.parting();
                    self.outputs.push_back(Output::Leg(parting));
                    self.terminate(now, self.not_established());
                }
                Timer::KeepAlive => {
                    self.outputs.push_back(Output::Leg(LegCommand::HangUp));
                    let text = "No keepAlive was received in time.";
                    self.terminate(now, ResultInfo::of_call(408, 8537, text));
                }
                Timer::Longest => {
                    self.outputs.push_back(Output::Leg(LegCommand::HangUp));
                    let text = "The call has lasted as long as any may.";
                    self.terminate(now, ResultInfo::of_call(403, 10199, text));
                }
                Timer::StartGrace => {
                    self.with_queue(now, |queue, cx| queue.start_grace_expired(cx));
                }
                Timer::InitialSilence | Timer::MaxSilence | Timer::MaxRecording => {
                    self.with_queue(now, |queue, cx| queue.recording_expired(timer, cx));
                }
                Timer::Terminate => {
                    let result = self.end_as.take().unwrap_or_else(ended_by_bot);
                    self.terminate(now, result);
                }
            }
        }
    }

    /// Why a call ends whose leg said nothing for too long.
    fn not_established(&self) -> ResultInfo {
        match self.direction {
            Direction::Incoming => {
                ResultInfo::of_call(408, 1106, "The far end did not acknowledge the answer.")
            }
            Direction::Outgoing => ResultInfo::of_call(408, 10057, "The far end did not answer."),
        }
    }
}
