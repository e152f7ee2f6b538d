//! The call: its states, what it hears, what it wants done.

use std::{collections::VecDeque, time::Instant};

use crate::{
    command::{Command, Rejection},
    ids::OperationId,
    input::{Input, PlayoutEvent, PromptEvent},
    leg::{LegCommand, LegEvent, RejectReason},
    media_queue::{Context, MediaQueue},
    operation::{CompletionReason, Operation, OperationKind, OperationStatus, ResultInfo},
    output::{Notification, Output},
    settings::Settings,
    timer::{Timer, TimerTable},
};

/// Who started the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The far end called us.
    Incoming,
    /// The bot called.
    Outgoing,
}

/// Graph `callState`, as far as a service-hosted peer-to-peer call takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// Rings here and waits for the bot.
    Incoming,
    /// Signalling is under way.
    Establishing,
    /// Both ends are connected.
    Established,
    /// The bot hung up; the far end has not confirmed.
    Terminating,
    /// Over. Nothing leaves this state.
    Terminated,
}

/// The machine of one call. See the contract in the crate's documentation. A copy made before an
/// input stands in for it, if nothing of the input's outputs was carried out.
#[derive(Clone, Debug)]
pub struct Call {
    settings: Settings,
    direction: Direction,
    service_hosted: bool,
    state: CallState,
    media_active: bool,
    queue: MediaQueue,
    /// What the leg's end is reported as, when it was our wish.
    end_as: Option<ResultInfo>,
    timers: TimerTable,
    outputs: VecDeque<Output>,
}

impl Call {
    /// A call the bot has asked for; the driver starts the leg after the first commit.
    pub fn outgoing(now: Instant, settings: Settings, service_hosted: bool) -> Self {
        let mut call =
            Self::new(settings, Direction::Outgoing, service_hosted, CallState::Establishing);
        // The leg gives up ringing by itself; this is the net below it.
        let net = call.settings.ring_for + call.settings.terminate_within;
        call.timers.set(Timer::Establish, now + net);
        call.start_keep_alive(now);
        call.enter(CallState::Establishing);
        call.notify(Notification::Establishing);
        call
    }

    /// A call that rings here and waits for the bot to answer.
    pub fn incoming(now: Instant, settings: Settings) -> Self {
        let mut call = Self::new(settings, Direction::Incoming, true, CallState::Incoming);
        call.timers.set(Timer::Answer, now + call.settings.answer_within);
        call.enter(CallState::Incoming);
        call.notify(Notification::Incoming);
        call
    }

    fn new(
        settings: Settings,
        direction: Direction,
        service_hosted: bool,
        state: CallState,
    ) -> Self {
        Self {
            settings,
            direction,
            service_hosted,
            state,
            media_active: false,
            queue: MediaQueue::default(),
            end_as: None,
            timers: TimerTable::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Drain [`Call::poll_output`] before the next.
    ///
    /// # Errors
    /// [`Rejection`], for commands only; then nothing has changed.
    pub fn handle_input(&mut self, now: Instant, input: Input) -> Result<(), Rejection> {
        match input {
            Input::Command(command) => return self.handle_command(now, command),
            Input::Leg(event) => self.handle_leg(now, event),
            Input::Prompt(event) => self.handle_prompt(now, event),
            Input::Playout(PlayoutEvent::Finished(id)) => {
                self.with_queue(now, |queue, cx| queue.playout_finished(id, cx));
            }
            Input::Playout(PlayoutEvent::Failed(id)) => {
                self.with_queue(now, |queue, cx| queue.playout_failed(id, cx));
            }
            Input::ServerStops => self.handle_server_stop(now),
            Input::Timeout => self.handle_timeout(now),
        }
        Ok(())
    }

    /// The next thing to be done, in order.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send [`Input::Timeout`], if nothing else comes first.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// The state the call is in.
    pub fn state(&self) -> CallState {
        self.state
    }

    /// Who started it.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Whether the far end receives our audio; before `Established` this is early media.
    pub fn media_active(&self) -> bool {
        self.media_active
    }

    /// Whether a media operation plays or waits that will come to its end by itself: a loop does not,
    /// nor what waits behind one. A server that drains lets such a call go on.
    pub fn is_playing_to_an_end(&self) -> bool {
        self.state == CallState::Established && self.queue.is_ending()
    }

    /// An operation that has not ended yet.
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        self.queue.operation(id)
    }

    fn handle_command(&mut self, now: Instant, command: Command) -> Result<(), Rejection> {
        match (self.state, command) {
            (CallState::Terminating | CallState::Terminated, _) => Err(Rejection::Terminated),
            (CallState::Incoming, Command::Answer) => {
                self.timers.stop(Timer::Answer);
                self.timers.set(Timer::Establish, now + self.settings.terminate_within);
                self.start_keep_alive(now);
                self.enter(CallState::Establishing);
                self.notify(Notification::Establishing);
                self.outputs.push_back(Output::Leg(LegCommand::Answer));
                Ok(())
            }
            (CallState::Establishing | CallState::Established, Command::Answer) => {
                Err(Rejection::WrongState)
            }
            (
                CallState::Incoming | CallState::Establishing | CallState::Established,
                Command::HangUp,
            ) => {
                let leg = if self.state == CallState::Incoming {
                    LegCommand::Reject(RejectReason::None)
                } else {
                    LegCommand::HangUp
                };
                self.end_as = Some(ended_by_bot());
                self.hang_up(now, leg);
                Ok(())
            }
            (CallState::Incoming, Command::KeepAlive) => Err(Rejection::WrongState),
            (CallState::Establishing | CallState::Established, Command::KeepAlive) => {
                self.start_keep_alive(now);
                Ok(())
            }
            (
                CallState::Incoming | CallState::Establishing,
                Command::PlayPrompt { .. } | Command::CancelMediaProcessing { .. },
            ) => Err(Rejection::NotEstablished),
            (
                CallState::Established,
                Command::PlayPrompt { .. } | Command::CancelMediaProcessing { .. },
            ) if !self.service_hosted => Err(Rejection::NotServiceHosted),
            (CallState::Established, Command::PlayPrompt { .. })
                if self.queue.len() >= self.settings.queue_limit =>
            {
                Err(Rejection::QueueFull)
            }
            (
                CallState::Established,
                Command::PlayPrompt { operation, prompts, looping, client_context },
            ) => {
                let operation = Operation {
                    id: operation,
                    kind: OperationKind::PlayPrompt { prompts: prompts.into(), looping },
                    status: OperationStatus::Running,
                    client_context,
                    completion_reason: None,
                    result: None,
                };
                self.with_queue(now, |queue, cx| queue.push(operation, cx));
                Ok(())
            }
            (
                CallState::Established,
                Command::CancelMediaProcessing { operation, scope, client_context },
            ) => {
                // Completed in the response already: no notification follows (Graph commsOperation).
                self.outputs.push_back(Output::CommitOperation(Operation {
                    id: operation,
                    kind: OperationKind::CancelMediaProcessing,
                    status: OperationStatus::Completed,
                    client_context,
                    completion_reason: None,
                    result: Some(ResultInfo::completed()),
                }));
                self.with_queue(now, |queue, cx| queue.cancel(scope, cx));
                Ok(())
            }
        }
    }

    fn handle_leg(&mut self, now: Instant, event: LegEvent) {
        match (self.state, event) {
            (CallState::Terminated, _)
            | (
                _,
                LegEvent::Ringing
                | LegEvent::Tone(_)
                | LegEvent::ReferAccepted
                | LegEvent::ReferRefused
                | LegEvent::ReferEnded(_),
            )
            | (
                CallState::Incoming | CallState::Established | CallState::Terminating,
                LegEvent::Answered,
            )
            | (CallState::Terminating, LegEvent::Media { .. }) => {}
            // Early media, or a leg whose audio is quicker than its signalling: told once
            // established.
            (CallState::Incoming | CallState::Establishing, LegEvent::Media { active }) => {
                self.media_active = active;
            }
            (CallState::Establishing, LegEvent::Answered) => {
                self.timers.stop(Timer::Establish);
                if let (Direction::Outgoing, Some(longest)) =
                    (self.direction, self.settings.longest_outgoing)
                {
                    self.timers.set(Timer::Longest, now + longest);
                }
                self.enter(CallState::Established);
                self.notify(Notification::Established);
                if self.media_active {
                    self.tell_media(now);
                }
            }
            (CallState::Established, LegEvent::Media { active }) => {
                if active != self.media_active {
                    self.media_active = active;
                    self.tell_media(now);
                }
            }
            (
                CallState::Incoming
                | CallState::Establishing
                | CallState::Established
                | CallState::Terminating,
                LegEvent::Ended(result),
            ) => {
                let result = self.end_as.take().unwrap_or(result);
                self.terminate(now, result);
            }
        }
    }

    fn handle_prompt(&mut self, now: Instant, event: PromptEvent) {
        let (operation, index, outcome) = match event {
            PromptEvent::Ready { operation, index, duration } => (operation, index, Ok(duration)),
            PromptEvent::Failed { operation, index, result } => (operation, index, Err(result)),
        };
        self.with_queue(now, |queue, cx| queue.prepared(operation, index, outcome, cx));
    }

    fn handle_server_stop(&mut self, now: Instant) {
        let leg = match self.state {
            CallState::Terminated => return,
            CallState::Incoming => LegCommand::Reject(RejectReason::None),
            CallState::Establishing | CallState::Established | CallState::Terminating => {
                LegCommand::HangUp
            }
        };
        self.outputs.push_back(Output::Leg(leg));
        let stopping = || ResultInfo::new(500, 9999, "Action failed, the server is stopping.");
        // As after a crash: Graph has no rule for it, and a bot that waits must hear of it.
        self.with_queue(now, |queue, cx| {
            queue.drop_all(CompletionReason::Unknown, stopping, true, cx)
        });
        // A call that its bot has hung up ends as that.
        let result = self.end_as.take();
        let text = "The server is stopping.";
        self.terminate(now, result.unwrap_or_else(|| ResultInfo::of_call(500, 9999, text)));
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.timers.pop_expired(now) {
            match timer {
                Timer::Answer => {
                    self.outputs.push_back(Output::Leg(LegCommand::Reject(RejectReason::None)));
                    let text = "The incoming call was not answered in time.";
                    self.terminate(now, ResultInfo::of_call(408, 8587, text));
                }
                Timer::Establish => {
                    self.outputs.push_back(Output::Leg(LegCommand::HangUp));
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
                Timer::Terminate => {
                    let result = self.end_as.take().unwrap_or_else(ended_by_bot);
                    self.terminate(now, result);
                }
            }
        }
    }

    fn tell_media(&mut self, now: Instant) {
        let active = self.media_active;
        self.notify(Notification::Media { active });
        self.with_queue(now, |queue, cx| queue.set_media(active, cx));
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

    fn hang_up(&mut self, now: Instant, leg: LegCommand) {
        self.drop_operations(now);
        self.timers.stop_all();
        self.timers.set(Timer::Terminate, now + self.settings.terminate_within);
        self.enter(CallState::Terminating);
        self.notify(Notification::Terminating);
        self.outputs.push_back(Output::Leg(leg));
    }

    fn terminate(&mut self, now: Instant, result: ResultInfo) {
        self.drop_operations(now);
        self.timers.stop_all();
        self.state = CallState::Terminated;
        self.outputs.push_back(Output::CommitState {
            state: CallState::Terminated,
            result: Some(result.clone()),
        });
        self.notify(Notification::Terminated(result));
    }

    fn drop_operations(&mut self, now: Instant) {
        let notify = self.settings.notify_cut_operations;
        let reason = CompletionReason::MediaOperationCanceled;
        self.with_queue(now, |queue, cx| {
            queue.drop_all(reason, ResultInfo::cancelled, notify, cx);
        });
    }

    fn enter(&mut self, state: CallState) {
        self.state = state;
        self.outputs.push_back(Output::CommitState { state, result: None });
    }

    fn notify(&mut self, notification: Notification) {
        self.outputs.push_back(Output::Notify(notification));
    }

    fn start_keep_alive(&mut self, now: Instant) {
        self.timers.set(Timer::KeepAlive, now + self.settings.keep_alive);
    }

    fn with_queue(&mut self, now: Instant, work: impl FnOnce(&mut MediaQueue, &mut Context<'_>)) {
        let mut cx = Context {
            now,
            start_grace: self.settings.start_grace,
            timers: &mut self.timers,
            outputs: &mut self.outputs,
        };
        work(&mut self.queue, &mut cx);
    }
}

fn ended_by_bot() -> ResultInfo {
    ResultInfo::of_call(200, 7000, "The call was ended by the bot.")
}

#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzz/ only"))]
#[cfg_attr(feature = "fuzzing", expect(missing_docs, reason = "for fuzz/, not for users"))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
