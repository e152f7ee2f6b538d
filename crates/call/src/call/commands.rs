//! What a bot asks of a call: where it is allowed, and what it does.

use std::time::Instant;

use super::{Call, CallState, ended_by_bot, rejected_by_bot};
use crate::{
    command::{Command, Rejection},
    ids::OperationId,
    leg::LegCommand,
    operation::{Operation, OperationKind, OperationStatus, ResultInfo},
    output::{Notification, Output, end},
    play_options::PlayMode,
    timer::Timer,
};

/// In which states a command is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// The call rings here and waits for the bot.
    Ringing,
    /// The bot has made or answered the call.
    Begun,
    /// The call is established, and its media is ours.
    Media,
    /// The call is established.
    Established,
    /// The call is not over.
    Life,
}

impl Command {
    fn need(&self) -> Need {
        match self {
            Self::Answer { .. } | Self::Reject(_) | Self::Redirect { .. } => Need::Ringing,
            Self::Transfer { .. } => Need::Established,
            Self::KeepAlive => Need::Begun,
            Self::PlayPrompt { .. }
            | Self::Control { .. }
            | Self::RecordResponse { .. }
            | Self::CancelMediaProcessing { .. }
            | Self::SubscribeToTone { .. }
            | Self::SendDtmfTones { .. } => Need::Media,
            Self::Group(_) => Need::Established,
            Self::HangUp => Need::Life,
        }
    }
}

impl Call {
    /// Whether a command fits the call as it is (state-machines.md §1, §4).
    fn permit(&self, need: Need) -> Result<(), Rejection> {
        use CallState::{
            Established, Establishing, Incoming, Redirecting, Terminated, Terminating,
            TransferAccepted, Transferring,
        };
        match (need, self.state) {
            (_, Terminating | Terminated) => Err(Rejection::Terminated),
            (Need::Established, state) => state.check_established(),
            (Need::Media, state) => {
                state.check_established()?;
                if self.service_hosted { Ok(()) } else { Err(Rejection::NotServiceHosted) }
            }
            (Need::Life, _)
            | (Need::Ringing, Incoming)
            | (Need::Begun, Establishing | Established | Transferring | TransferAccepted) => Ok(()),
            (
                Need::Ringing,
                Establishing | Established | Transferring | TransferAccepted | Redirecting,
            )
            | (Need::Begun, Incoming | Redirecting) => Err(Rejection::WrongState),
        }
    }

    pub(super) fn handle_command(
        &mut self,
        now: Instant,
        command: Command,
    ) -> Result<(), Rejection> {
        self.permit(command.need())?;
        match command {
            Command::Answer { service_hosted } => {
                self.service_hosted = service_hosted;
                self.timers.stop(Timer::Answer);
                self.timers.set(Timer::Establish, now + self.settings.terminate_within);
                self.start_keep_alive(now);
                self.enter(CallState::Establishing);
                self.notify(Notification::Establishing);
                self.outputs.push_back(Output::Leg(LegCommand::Answer));
            }
            Command::Reject(reason) => {
                self.outputs.push_back(Output::Leg(LegCommand::Reject(reason)));
                self.end(now, rejected_by_bot(), Notification::Rejected);
            }
            Command::Redirect { ring_for } => self.redirect(now, ring_for),
            Command::Transfer { transferee, refer, is_consultative } => {
                let transferee = self.expect_transferee(transferee)?;
                self.transfer(transferee, refer, is_consultative);
            }
            Command::HangUp => {
                self.end_as = Some(ended_by_bot());
                self.hang_up(now, self.parting());
            }
            Command::KeepAlive => self.start_keep_alive(now),
            Command::Group(command) => self.handle_group(command)?,
            Command::PlayPrompt { operation, prompts, looping, options, client_context } => {
                self.expect_listener(options.participant)?;
                let is_full = self.queue.len() >= self.settings.queue_limit;
                let is_overlay = options.mode == PlayMode::Overlay;
                if is_full || is_overlay && !self.queue.takes_overlay() {
                    return Err(Rejection::QueueFull);
                }
                let kind = OperationKind::PlayPrompt { prompts: prompts.into(), looping, options };
                let operation = Operation::running(operation, kind, client_context);
                self.with_queue(now, |queue, cx| queue.push(operation, cx));
            }
            Command::Control { operation, control } => {
                return self.with_queue(now, |queue, cx| queue.control(operation, control, cx));
            }
            Command::RecordResponse { operation, settings, client_context } => {
                if !settings.barge_in && self.queue.len() >= self.settings.queue_limit {
                    return Err(Rejection::QueueFull);
                }
                let kind = OperationKind::RecordResponse { settings, recorded: None };
                let operation = Operation::running(operation, kind, client_context);
                self.with_queue(now, |queue, cx| queue.push(operation, cx));
            }
            Command::CancelMediaProcessing { operation, scope, client_context } => {
                self.complete(operation, OperationKind::CancelMediaProcessing, client_context);
                self.with_queue(now, |queue, cx| queue.cancel(scope, cx));
            }
            Command::SubscribeToTone { operation, client_context } => {
                self.key_presses.subscribe();
                self.complete(operation, OperationKind::SubscribeToTone, client_context);
            }
            Command::SendDtmfTones { operation, tones, delay, client_context } => {
                if self.sequences.len() >= self.settings.queue_limit {
                    return Err(Rejection::QueueFull);
                }
                let kind = OperationKind::SendDtmfTones { tones: tones.into(), delay };
                let operation = Operation::running(operation, kind, client_context);
                self.sequences.push(operation, &mut self.outputs);
            }
        }
        Ok(())
    }

    /// An operation that is completed in its response: no notification follows (Graph
    /// `commsOperation`).
    pub(super) fn complete(
        &mut self,
        id: OperationId,
        kind: OperationKind,
        client_context: Option<String>,
    ) {
        let operation = Operation::running(id, kind, client_context);
        let ended = operation.ended(OperationStatus::Completed, None, ResultInfo::completed());
        end(ended, false, &mut self.outputs);
    }
}
