//! A call on a virtual clock. Operations are named by a letter, outputs are read as short lines:
//! `"start a 2 sealed"`, `"notify terminated 200/7000"`.

use std::time::{Duration, Instant};

use crate::{
    Call, CancelScope, Command, CompletionReason, ConferenceRequest, Input, LegCommand, LegEvent,
    Notification, Operation, OperationStatus, Output, PlayoutEvent, Rejection, ResultInfo,
    Settings,
};

pub(super) use crate::call::model::named::*;

pub(super) const ANSWER: Command = Command::Answer { service_hosted: true };
pub(super) const CURRENT: CancelScope = CancelScope::Current;
/// A prompt's playing time where no test looks at it.
const SOME_TIME: Duration = Duration::from_secs(5);

pub(super) struct Sim {
    pub(super) call: Call,
    pub(super) now: Instant,
    /// Everything since the call began.
    pub(super) log: Vec<String>,
}

impl Sim {
    pub(super) fn outgoing() -> Self {
        Self::outgoing_with(Settings::default())
    }

    pub(super) fn outgoing_with(settings: Settings) -> Self {
        let now = epoch();
        Self::of(Call::outgoing(now, settings, true), now)
    }

    /// A group call that is not established yet.
    pub(super) fn group() -> Self {
        Self::group_with(Settings::default())
    }

    pub(super) fn group_with(settings: Settings) -> Self {
        let now = epoch();
        Self::of(Call::group(now, settings, true), now)
    }

    pub(super) fn app_hosted() -> Self {
        let now = epoch();
        Self::of(Call::outgoing(now, Settings::default(), false), now)
    }

    pub(super) fn incoming() -> Self {
        let now = epoch();
        Self::of(Call::incoming(now, Settings::default()), now)
    }

    /// Established, and the far end hears us.
    pub(super) fn talking() -> Self {
        Self::talking_with(Settings::default())
    }

    pub(super) fn talking_with(settings: Settings) -> Self {
        let mut sim = Self::outgoing_with(settings);
        sim.leg(LegEvent::Answered);
        sim.media(true);
        sim
    }

    fn of(call: Call, now: Instant) -> Self {
        let mut sim = Self { call, now, log: Vec::new() };
        sim.drain();
        sim
    }

    /// Hands in a command. A refused one must leave no output.
    pub(super) fn try_command(&mut self, command: Command) -> Result<Vec<String>, Rejection> {
        let answer = self.call.handle_input(self.now, Input::Command(command));
        let outputs = self.drain();
        assert!(answer.is_ok() || outputs.is_empty(), "{answer:?} with outputs {outputs:?}");
        answer.map(|()| outputs)
    }

    pub(super) fn command(&mut self, command: Command) -> Vec<String> {
        self.try_command(command).expect("the command is accepted")
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<String> {
        self.call.handle_input(self.now, input).expect("only commands are refused");
        self.drain()
    }

    /// Moves the clock, with a timeout wherever the call asked for one.
    pub(super) fn wait(&mut self, time: Duration) -> Vec<String> {
        let end = self.now + time;
        let mut outputs = Vec::new();
        while let Some(at) = self.call.poll_timeout().filter(|at| *at <= end) {
            assert!(at >= self.now, "poll_timeout lies in the past");
            self.now = at;
            outputs.extend(self.input(Input::Timeout));
            assert!(self.call.poll_timeout().is_none_or(|next| next > self.now), "stuck timer");
        }
        self.now = end;
        outputs
    }

    pub(super) fn wait_s(&mut self, seconds: u64) -> Vec<String> {
        self.wait(Duration::from_secs(seconds))
    }

    pub(super) fn play(&mut self, name: char, prompts: usize) -> Vec<String> {
        self.command(play(name, prompts, false))
    }

    pub(super) fn play_loop(&mut self, name: char, prompts: usize) -> Vec<String> {
        self.command(play(name, prompts, true))
    }

    pub(super) fn cancel(&mut self, name: char, scope: CancelScope) -> Vec<String> {
        self.command(cancel(name, scope))
    }

    pub(super) fn hang_up(&mut self) -> Vec<String> {
        self.command(Command::HangUp)
    }

    pub(super) fn leg(&mut self, event: LegEvent) -> Vec<String> {
        self.input(Input::Leg(event))
    }

    pub(super) fn media(&mut self, active: bool) -> Vec<String> {
        self.leg(LegEvent::Media { active })
    }

    /// The far end says goodbye.
    pub(super) fn bye(&mut self) -> Vec<String> {
        self.leg(bye())
    }

    pub(super) fn ready(&mut self, name: char, index: usize) -> Vec<String> {
        self.ready_after(name, index, SOME_TIME)
    }

    pub(super) fn ready_after(&mut self, name: char, index: usize, time: Duration) -> Vec<String> {
        self.input(Input::Prompt(ready(name, index, time)))
    }

    pub(super) fn failed(&mut self, name: char, index: usize) -> Vec<String> {
        self.input(Input::Prompt(failed(name, index)))
    }

    pub(super) fn finished(&mut self, name: char) -> Vec<String> {
        self.input(Input::Playout(PlayoutEvent::Finished(id(name))))
    }

    pub(super) fn broke(&mut self, name: char) -> Vec<String> {
        self.input(Input::Playout(broke(name)))
    }

    /// Asks for a playback whose prompts are all there.
    pub(super) fn play_ready(&mut self, name: char, prompts: usize) -> Vec<String> {
        let mut outputs = self.play(name, prompts);
        for index in 0..prompts {
            outputs.extend(self.ready(name, index));
        }
        outputs
    }

    fn drain(&mut self) -> Vec<String> {
        let outputs: Vec<_> =
            std::iter::from_fn(|| self.call.poll_output()).map(|output| line(&output)).collect();
        self.log.extend(outputs.iter().cloned());
        outputs
    }
}

#[expect(clippy::disallowed_methods, reason = "a virtual clock must start somewhere")]
pub(super) fn epoch() -> Instant {
    Instant::now()
}

pub(super) fn bye() -> LegEvent {
    LegEvent::Ended(ResultInfo::of_call(200, 560_000, "The far end hung up."))
}

/// One output as one line.
pub(super) fn line(output: &Output) -> String {
    match output {
        Output::CommitState { state, result } => {
            format!("commit {}{}", format!("{state:?}").to_lowercase(), codes(result.as_ref()))
        }
        Output::CommitOperation(operation) => format!("commit {}", outcome(operation)),
        Output::Notify(notification) => format!("notify {}", told(notification)),
        Output::Fetch { operation, prompts } => {
            format!("fetch {} {}", name(*operation), prompts.len())
        }
        Output::StartPlayout { operation, ready, sealed, looping } => format!(
            "start {} {ready}{}{}",
            name(*operation),
            flag(*sealed, " sealed"),
            flag(*looping, " looping")
        ),
        Output::ExtendPlayout { operation, ready, sealed } => {
            format!("extend {} {ready}{}", name(*operation), flag(*sealed, " sealed"))
        }
        Output::StopPlayout(operation) => format!("stop {}", name(*operation)),
        Output::StartOverlay { operation, ready, looping } => {
            format!("overlay {} {ready}{}", name(*operation), flag(*looping, " looping"))
        }
        Output::PausePlayout { operation, paused } => {
            format!("{} {}", if *paused { "pause" } else { "resume" }, name(*operation))
        }
        Output::SeekPlayout { operation, position } => {
            format!("seek {} {}", name(*operation), position.as_millis())
        }
        Output::StartRecording { operation, settings } => {
            format!("record {} {}s", name(*operation), settings.longest.as_secs())
        }
        Output::FinishRecording(operation) => format!("finish {}", name(*operation)),
        Output::DropRecording(operation) => format!("drop {}", name(*operation)),
        Output::SendTones { operation, tones, delay } => {
            format!("send {} {tones:?} {}", name(*operation), delay.as_millis())
        }
        Output::Conference(ConferenceRequest::Act { operation, .. }) => {
            format!("conference {}", name(*operation))
        }
        Output::Conference(ConferenceRequest::Refer { refer, .. }) => {
            format!("conference refer {}", refer.target)
        }
        Output::Conference(ConferenceRequest::Remove(_)) => "conference remove".into(),
        Output::Conference(ConferenceRequest::Route(groups)) => {
            format!("conference route {}", groups.len())
        }
        Output::Bridge(command) => format!("bridge {command:?}").to_lowercase(),
        Output::Leg(LegCommand::Answer) => "leg answer".into(),
        Output::Leg(LegCommand::Reject(reason)) => format!("leg reject {reason:?}").to_lowercase(),
        Output::Leg(LegCommand::HangUp) => "leg hang up".into(),
        Output::Leg(LegCommand::Refer { target, replaces }) => {
            format!("leg refer {target} {replaces:?}")
        }
    }
}

fn told(notification: &Notification) -> String {
    match notification {
        Notification::Incoming => "incoming".into(),
        Notification::Establishing => "establishing".into(),
        Notification::Ringing => "ringing".into(),
        Notification::Tone { tone, sequence } => format!("{tone:?} {sequence}").to_lowercase(),
        Notification::Rejected => "rejected".into(),
        Notification::Established => "established".into(),
        Notification::Media { active: true } => "media active".into(),
        Notification::Media { active: false } => "media inactive".into(),
        Notification::OperationEnded(operation) => outcome(operation),
        Notification::Roster(roster) => {
            format!("roster {} of {}", roster.sequence, roster.participants.len())
        }
        Notification::Terminating => "terminating".into(),
        Notification::Transferring => "transferring".into(),
        Notification::TransferAccepted => "transferAccepted".into(),
        Notification::TransferFailed(result) => format!("established{}", codes(Some(result))),
        Notification::Transferred { is_consultative } => {
            format!("transferred{}", flag(*is_consultative, " between two calls"))
        }
        Notification::Redirected(result) => format!("redirected{}", codes(Some(result))),
        Notification::Terminated(result) => format!("terminated{}", codes(Some(result))),
    }
}

fn outcome(operation: &Operation) -> String {
    let reason = match operation.completion_reason {
        None => String::new(),
        Some(CompletionReason::Unknown) => " unknown".into(),
        Some(CompletionReason::CompletedSuccessfully) => " successfully".into(),
        Some(CompletionReason::MediaOperationCanceled) => " cancelled".into(),
        Some(CompletionReason::StoppedByTone(tone)) => {
            format!(" by {}", format!("{tone:?}").to_lowercase())
        }
        Some(CompletionReason::StoppedBySpeech) => " by speech".into(),
        Some(CompletionReason::StopToneDetected) => " stop tone".into(),
        Some(CompletionReason::MaxRecordDurationReached) => " longest".into(),
        Some(CompletionReason::InitialSilenceTimeout) => " initial silence".into(),
        Some(CompletionReason::MaxSilenceTimeout) => " max silence".into(),
        Some(CompletionReason::PlayPromptFailed) => " prompt failed".into(),
        Some(CompletionReason::PlayBeepFailed) => " beep failed".into(),
        Some(CompletionReason::MediaReceiveTimeout) => " no media".into(),
    };
    let status = match operation.status {
        OperationStatus::Running => "running",
        OperationStatus::Completed => "completed",
        OperationStatus::Failed => "failed",
    };
    format!("{} {status}{reason}{}", name(operation.id), codes(operation.result.as_ref()))
}

fn codes(result: Option<&ResultInfo>) -> String {
    result.map_or_else(String::new, |result| format!(" {}/{}", result.code, result.subcode))
}

fn flag(set: bool, text: &'static str) -> &'static str {
    if set { text } else { "" }
}
