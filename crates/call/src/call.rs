//! The call: its states, what it hears, what it wants done.

mod group;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use self::group::Group;
use self::transfer::Handover;
use crate::{
    command::Rejection,
    conference::{AudioRoutingGroup, RecordingStatus, Roster},
    ids::OperationId,
    input::{Input, PlayoutEvent, PromptEvent, TonesEvent},
    key_presses::KeyPresses,
    leg::{LegCommand, RejectReason},
    media_queue::{Context, Heard, MediaQueue},
    operation::{CompletionReason, Operation, ResultInfo},
    output::{Notification, Output},
    settings::Settings,
    timer::{Timer, TimerTable},
    tone_sequences::ToneSequences,
    tones::Tone,
};

/// Who started the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The far end called us.
    Incoming,
    /// The bot called.
    Outgoing,
}

/// Graph `callState`. `ringing` (beta) is no state of its own here but a notification; `hold` is
/// established without active audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// Rings here and waits for the bot.
    Incoming,
    /// Signalling is under way.
    Establishing,
    /// Both ends are connected.
    Established,
    /// The far end was asked to call somebody else.
    Transferring,
    /// The far end has agreed to that and is at it.
    TransferAccepted,
    /// The bot has named others who are to answer instead of it.
    Redirecting,
    /// The bot hung up; the far end has not confirmed.
    Terminating,
    /// Over. Nothing leaves this state.
    Terminated,
}

impl CallState {
    /// Whether what needs an established call may be asked for.
    ///
    /// # Errors
    /// [`Rejection`]: why not.
    pub fn check_established(self) -> Result<(), Rejection> {
        match self {
            Self::Established => Ok(()),
            Self::Incoming | Self::Establishing | Self::Redirecting => {
                Err(Rejection::NotEstablished)
            }
            Self::Transferring | Self::TransferAccepted => Err(Rejection::WrongState),
            Self::Terminating | Self::Terminated => Err(Rejection::Terminated),
        }
    }
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
    /// The far end was heard to ring.
    rang: bool,
    queue: MediaQueue,
    sequences: ToneSequences,
    key_presses: KeyPresses,
    /// The group it is in; `None` of a call between two.
    group: Option<Group>,
    /// What the bot has said of a recording it makes.
    recording: RecordingStatus,
    handover: Option<Handover>,
    /// See [`Input::MayBeReplaced`].
    may_be_replaced: bool,
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

    /// A call that has its place in a conference as its leg.
    pub fn group(now: Instant, settings: Settings, service_hosted: bool) -> Self {
        let mut call = Self::outgoing(now, settings, service_hosted);
        call.group = Some(Group::new());
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
            rang: false,
            queue: MediaQueue::default(),
            sequences: ToneSequences::default(),
            key_presses: KeyPresses::default(),
            group: None,
            recording: RecordingStatus::Unknown,
            handover: None,
            may_be_replaced: false,
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
            Input::Recording(event) => {
                self.with_queue(now, |queue, cx| queue.recording(event, cx));
            }
            Input::Tones(TonesEvent::Sent(id)) => {
                self.sequences.ended(id, Ok(()), &mut self.outputs);
            }
            Input::Tones(TonesEvent::Failed(id, result)) => {
                self.sequences.ended(id, Err(result), &mut self.outputs);
            }
            Input::Speech => self.with_queue(now, |queue, cx| queue.heard(Heard::Speech, cx)),
            Input::Bridge(event) => self.hear_bridge(now, event),
            Input::MayBeReplaced(may) => self.may_be_replaced = may,
            Input::TakenOver => self.give_up_leg(now),
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
        self.state == CallState::Established
            && (self.queue.is_ending() || !self.sequences.is_empty())
    }

    /// Whether something plays that speech of the far end is to end: [`Input::Speech`] is wanted.
    pub fn minds_speech(&self) -> bool {
        self.queue.minds_speech()
    }

    /// An operation that has not ended yet.
    pub fn operation(&self, id: OperationId) -> Option<&Operation> {
        let of_group = || self.group.as_ref().and_then(|group| group.operation(id));
        let queued = self.queue.operation(id);
        queued.or_else(|| self.sequences.operation(id)).or_else(of_group)
    }

    /// The last key press that the bot was told of, with its `sequenceId`.
    pub fn last_tone(&self) -> Option<(Tone, u64)> {
        self.key_presses.last()
    }

    /// Who is in the group; `None` of a call between two.
    pub fn roster(&self) -> Option<&Arc<Roster>> {
        self.group.as_ref().map(Group::roster)
    }

    /// The bot's own routing groups.
    pub fn routing_groups(&self) -> &[AudioRoutingGroup] {
        self.group.as_ref().map_or(&[], Group::routing)
    }

    /// What the bot has said of a recording it makes.
    pub fn recording(&self) -> RecordingStatus {
        self.recording
    }

    fn handle_prompt(&mut self, now: Instant, event: PromptEvent) {
        let (operation, index, outcome) = match event {
            PromptEvent::Ready { operation, index, duration } => (operation, index, Ok(duration)),
            PromptEvent::Failed { operation, index, result } => (operation, index, Err(result)),
        };
        self.with_queue(now, |queue, cx| queue.prepared(operation, index, outcome, cx));
    }

    fn handle_server_stop(&mut self, now: Instant) {
        if self.state == CallState::Terminated {
            return;
        }
        self.outputs.push_back(Output::Leg(self.parting()));
        let stopping = || ResultInfo::new(500, 9999, "Action failed, the server is stopping.");
        // As after a crash: Graph has no rule for it, and a bot that waits must hear of it.
        self.with_queue(now, |queue, cx| {
            queue.drop_all(CompletionReason::Unknown, stopping, true, cx)
        });
        self.sequences.drop_all(CompletionReason::Unknown, stopping, true, &mut self.outputs);
        if let Some(group) = &mut self.group {
            group.drop_all(stopping, true, &mut self.outputs);
        }
        // A call that its bot has hung up ends as that.
        let result = self.end_as.take();
        let text = "The server is stopping.";
        self.terminate(now, result.unwrap_or_else(|| ResultInfo::of_call(500, 9999, text)));
    }

    fn tell_media(&mut self, now: Instant) {
        let active = self.media_active;
        self.notify(Notification::Media { active });
        self.with_queue(now, |queue, cx| queue.set_media(active, cx));
        self.sequences.set_media(active, &mut self.outputs);
    }

    /// What the leg is asked when our side ends the call.
    fn parting(&self) -> LegCommand {
        match self.state {
            CallState::Incoming | CallState::Redirecting => LegCommand::Reject(RejectReason::None),
            CallState::Establishing
            | CallState::Established
            | CallState::Transferring
            | CallState::TransferAccepted
            | CallState::Terminating
            | CallState::Terminated => LegCommand::HangUp,
        }
    }

    fn hang_up(&mut self, now: Instant, leg: LegCommand) {
        self.abandon_handover();
        self.drop_operations(now);
        self.timers.stop_all();
        self.timers.set(Timer::Terminate, now + self.settings.terminate_within);
        self.enter(CallState::Terminating);
        self.notify(Notification::Terminating);
        self.outputs.push_back(Output::Leg(leg));
    }

    fn terminate(&mut self, now: Instant, result: ResultInfo) {
        self.abandon_handover();
        self.end(now, result.clone(), Notification::Terminated(result));
    }

    /// Ends the call; `told` is the last that its bot hears of it.
    fn end(&mut self, now: Instant, result: ResultInfo, told: Notification) {
        self.drop_operations(now);
        self.timers.stop_all();
        self.state = CallState::Terminated;
        self.outputs
            .push_back(Output::CommitState { state: CallState::Terminated, result: Some(result) });
        self.notify(told);
    }

    fn drop_operations(&mut self, now: Instant) {
        let notify = self.settings.notify_cut_operations;
        let reason = CompletionReason::MediaOperationCanceled;
        self.with_queue(now, |queue, cx| {
            queue.drop_all(reason, ResultInfo::cancelled, notify, cx);
        });
        self.sequences.drop_all(reason, ResultInfo::cancelled, notify, &mut self.outputs);
        if let Some(group) = &mut self.group {
            group.drop_all(ResultInfo::cancelled, notify, &mut self.outputs);
        }
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

    fn with_queue<T>(
        &mut self,
        now: Instant,
        work: impl FnOnce(&mut MediaQueue, &mut Context<'_>) -> T,
    ) -> T {
        let mut cx = Context {
            now,
            start_grace: self.settings.start_grace,
            timers: &mut self.timers,
            outputs: &mut self.outputs,
        };
        work(&mut self.queue, &mut cx)
    }
}

fn ended_by_bot() -> ResultInfo {
    ResultInfo::of_call(200, 7000, "The call was ended by the bot.")
}

fn rejected_by_bot() -> ResultInfo {
    ResultInfo::of_call(403, 7000, "The call was rejected by the bot.")
}

mod commands;
mod legs;
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "public for fuzz/ only"))]
#[cfg_attr(feature = "fuzzing", expect(missing_docs, reason = "for fuzz/, not for users"))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
mod timeouts;
mod transfer;
