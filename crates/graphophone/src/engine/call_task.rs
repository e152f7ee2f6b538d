//! One task owns one call: it waits for an input, gives it to the core, and carries the outputs
//! out. There is no lock around a call.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::FutureExt;
use graphophone_call::{
    Call, CallState, Command, Input, LegCommand, LegEvent, MediaPrompt, Notification, Operation,
    OperationId, Output, PlayoutEvent, PromptEvent, Rejection, ResultInfo, Tone,
};
use graphophone_graph::resource::{call::CallDetails, receipt::Receipt};
use graphophone_media::engine::{EngineFull, PlayoutId, StreamEvent, StreamHandle};
use graphophone_sip::{LegHandle, LegSignal, LegSinks};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{debug, error, info, trace, warn};

use super::{ledger::Entry, playouts::Playouts, registry::Shared};
use crate::prompts::{PrepareError, Prepared};

/// How long a stop may take before the operation is reported as ended anyway. The engine answers
/// within a tick; only a dead engine takes longer.
const STOP_WITHIN: Duration = Duration::from_millis(100);

/// What others see of a call without asking its task.
#[derive(Clone, Debug)]
pub struct View {
    /// Where the call is.
    pub state: CallState,
    /// Whether the far end receives audio.
    pub media_active: bool,
    /// Why it ended.
    pub result: Option<ResultInfo>,
    /// What was asked at its creation or answer.
    pub details: Arc<CallDetails>,
}

/// What others ask of a call's task.
#[derive(Debug)]
pub(super) enum Request {
    /// A bot's command; `details` replace the call's, if it is accepted.
    Command {
        command: Command,
        details: Option<Arc<CallDetails>>,
        reply: oneshot::Sender<Result<Option<Operation>, CommandError>>,
    },
    /// One operation as it is now.
    Operation { id: OperationId, reply: oneshot::Sender<Option<(Operation, Receipt)>> },
}

/// Why a command was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The call refuses it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// There is no such call (any more).
    #[error("Call not found.")]
    NotFound,
    /// It could not be made durable; nothing was promised.
    #[error("The operation could not be stored")]
    NotStored,
}

/// How the call reaches its far end.
pub(super) enum Line {
    /// To be dialled after the first commit.
    Dial(super::dial::Route),
    /// An incoming leg that rings.
    Ringing(LegHandle),
}

pub(super) struct CallTask {
    call: Call,
    view: View,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    publish: watch::Sender<View>,
    signals: mpsc::Receiver<LegSignal>,
    stream_events: mpsc::Receiver<StreamEvent>,
    sinks: LegSinks,
    prepared: mpsc::Receiver<PreparedNews>,
    prepared_sender: mpsc::Sender<PreparedNews>,
    leg: Option<LegHandle>,
    stream: Option<Arc<StreamHandle>>,
    playouts: Playouts,
    /// Prompts asked for before the codec is known.
    waiting_fetches: Vec<(OperationId, Vec<MediaPrompt>)>,
    /// Inputs that arose while outputs were carried out.
    follow_ups: VecDeque<Input>,
}

/// A prompt that was fetched, or could not be.
type PreparedNews = (OperationId, usize, Result<Prepared, PrepareError>);

/// What woke the task.
enum Wake {
    Request(Request),
    Input(Input),
    Stream(Arc<StreamHandle>),
    Prepared(PreparedNews),
}

impl CallTask {
    pub(super) fn new(
        call: Call,
        details: CallDetails,
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
    ) -> (Self, watch::Receiver<View>) {
        let view = View {
            state: call.state(),
            media_active: false,
            result: None,
            details: Arc::new(details),
        };
        let (publish, subscribe) = watch::channel(view.clone());
        // Signals are few; a leg that finds its sink full waits there.
        let (signal_sender, signals) = mpsc::channel(16);
        let (stream_sender, stream_events) = mpsc::channel(64);
        let (prepared_sender, prepared) = mpsc::channel(64);
        let task = Self {
            call,
            view,
            shared,
            requests,
            publish,
            signals,
            stream_events,
            sinks: LegSinks { signals: signal_sender, stream: stream_sender },
            prepared,
            prepared_sender,
            leg: None,
            stream: None,
            playouts: Playouts::default(),
            waiting_fetches: Vec::new(),
            follow_ups: VecDeque::new(),
        };
        (task, subscribe)
    }

    /// Lives as long as the call. `born` hears when the call's first state is durable.
    pub(super) async fn run(mut self, line: Line, born: oneshot::Sender<Result<(), CommandError>>) {
        if let Err(error) = self.perform().await {
            let _ = born.send(Err(error));
            return;
        }
        let _ = born.send(Ok(()));
        match line {
            Line::Dial(route) => self.dial(route).await,
            Line::Ringing(leg) => {
                leg.attach(self.sinks.clone());
                self.leg = Some(leg);
            }
        }
        while self.call.state() != CallState::Terminated {
            let outcome = match self.next().await {
                Wake::Request(request) => self.handle_request(request).await,
                Wake::Input(input) => self.handle(input).await,
                Wake::Stream(stream) => {
                    self.stream = Some(stream);
                    for (operation, prompts) in std::mem::take(&mut self.waiting_fetches) {
                        self.fetch(operation, prompts);
                    }
                    Ok(())
                }
                Wake::Prepared(news) => {
                    self.note_prepared(news);
                    Ok(())
                }
            };
            if let Err(error) = outcome.and(self.handle_follow_ups().await) {
                // What cannot be stored must not go on: the restart will report it.
                error!(call_id = %self.view.details.id, %error, "call is dropped");
                break;
            }
        }
        self.close_books().await;
    }

    /// Waits for the next thing to happen; cancel-safe, decides nothing.
    async fn next(&mut self) -> Wake {
        let deadline = self.call.poll_timeout().map(Instant::from_std);
        tokio::select! {
            biased;
            Some(signal) = self.signals.recv() => match signal {
                LegSignal::Event(event) => Wake::Input(Input::Leg(event)),
                LegSignal::Stream(stream) => Wake::Stream(stream),
            },
            Some(event) = self.stream_events.recv() => match event {
                StreamEvent::Finished(id) => {
                    Wake::Input(Input::Playout(PlayoutEvent::Finished(operation_id(id))))
                }
                StreamEvent::Tone(code) => match Tone::from_event_code(code) {
                    Some(tone) => Wake::Input(Input::Leg(LegEvent::Tone(tone))),
                    None => Box::pin(self.next()).await,
                },
                StreamEvent::Stopped(_) | StreamEvent::Receiving => Box::pin(self.next()).await,
            },
            Some(news) = self.prepared.recv() => Wake::Prepared(news),
            Some(request) = self.requests.recv() => Wake::Request(request),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                Wake::Input(Input::Timeout)
            }
        }
    }

    async fn handle_request(&mut self, request: Request) -> Result<(), CommandError> {
        match request {
            Request::Operation { id, reply } => {
                let _ = reply.send(self.playouts.get(id));
                Ok(())
            }
            Request::Command { command, details, reply } => {
                let wanted = match &command {
                    Command::PlayPrompt { operation, .. }
                    | Command::CancelMediaProcessing { operation, .. } => Some(*operation),
                    Command::Answer | Command::HangUp | Command::KeepAlive => None,
                };
                let now = Instant::now().into_std();
                if let Err(rejection) = self.call.handle_input(now, Input::Command(command)) {
                    let _ = reply.send(Err(rejection.into()));
                    return Ok(());
                }
                trace!(name: "command is accepted", target: "graphophone::stage", "command is accepted");
                if let Some(details) = details {
                    self.view.details = details;
                }
                let (effects, operations) = match self.commit().await {
                    Ok(committed) => committed,
                    Err(error) => {
                        let _ = reply.send(Err(CommandError::NotStored));
                        return Err(error);
                    }
                };
                trace!(name: "operation is committed", target: "graphophone::stage", "operation is committed");
                let _ = reply.send(Ok(operations.into_iter().find(|op| Some(op.id) == wanted)));
                self.carry_out(effects).await;
                Ok(())
            }
        }
    }

    async fn handle(&mut self, input: Input) -> Result<(), CommandError> {
        let now = Instant::now().into_std();
        // Only commands are ever refused; those of the task itself may come too late.
        if let Err(rejection) = self.call.handle_input(now, input) {
            debug!(call_id = %self.view.details.id, %rejection, "absorbed");
        }
        self.perform().await
    }

    async fn handle_follow_ups(&mut self) -> Result<(), CommandError> {
        while let Some(input) = self.follow_ups.pop_front() {
            self.handle(input).await?;
        }
        Ok(())
    }

    async fn perform(&mut self) -> Result<(), CommandError> {
        let (effects, _) = self.commit().await?;
        self.carry_out(effects).await;
        Ok(())
    }

    /// Drains the core: playouts at once, then everything to be stored in one transaction. What is
    /// left may leave the process now.
    ///
    /// A playout does not wait for the disk: its operation was durable before its prompts were
    /// fetched, and between two operations of a queue a slow disk would be a pause in the audio.
    async fn commit(&mut self) -> Result<(Vec<Output>, Vec<Operation>), CommandError> {
        let mut effects = Vec::new();
        let mut operations = Vec::new();
        let mut notifications = Vec::new();
        let mut state_changed = false;
        while let Some(output) = self.call.poll_output() {
            match output {
                Output::StopPlayout(operation) => self.stop_playout(operation).await,
                Output::StartPlayout { operation, ready, sealed, looping } => {
                    self.start_playout(operation, ready, sealed, looping);
                }
                Output::ExtendPlayout { operation, ready, sealed } => {
                    self.extend_playout(operation, ready, sealed);
                }
                Output::CommitState { state, result } => {
                    self.view.state = state;
                    self.view.result = result;
                    state_changed = true;
                }
                Output::CommitOperation(operation) => operations.push(operation),
                Output::Notify(notification) => notifications.push(notification),
                output @ (Output::Fetch { .. } | Output::Leg(_)) => effects.push(output),
            }
        }
        let call_ends = state_changed
            && matches!(self.view.state, CallState::Terminating | CallState::Terminated);
        for operation in &operations {
            if operation.status.is_final() {
                self.playouts.end(operation, call_ends);
            } else {
                self.playouts.add(operation);
            }
        }
        self.view.media_active = self.call.media_active();
        if state_changed || !operations.is_empty() || !notifications.is_empty() {
            let entry = Entry {
                view: &self.view,
                operations: operations
                    .iter()
                    .map(|operation| (operation, self.playouts.receipt(operation.id)))
                    .collect(),
                notifications,
            };
            let publish = || drop(self.publish.send_replace(self.view.clone()));
            self.shared.ledger.commit(entry, publish).await.map_err(|error| {
                error!(call_id = %self.view.details.id, %error, "the store refuses a commit");
                CommandError::NotStored
            })?;
        }
        Ok((effects, operations))
    }

    async fn carry_out(&mut self, effects: Vec<Output>) {
        for effect in effects {
            match effect {
                Output::Leg(command) => self.command_leg(command),
                Output::Fetch { operation, prompts } => self.fetch(operation, prompts),
                Output::CommitState { .. }
                | Output::CommitOperation(_)
                | Output::Notify(_)
                | Output::StartPlayout { .. }
                | Output::ExtendPlayout { .. }
                | Output::StopPlayout(_) => {}
            }
        }
    }

    fn start_playout(&mut self, operation: OperationId, ready: usize, sealed: bool, looping: bool) {
        let segments = self.playouts.hand_over(operation, ready);
        let play =
            |stream: &StreamHandle| stream.play(playout_id(operation), segments, sealed, looping);
        match self.stream.as_deref().map(play) {
            Some(Ok(progress)) => {
                trace!(name: "playout is started", target: "graphophone::stage", "playout is started");
                self.playouts.set_progress(operation, progress);
            }
            broken => self.break_playout(operation, broken.and_then(Result::err)),
        }
    }

    fn extend_playout(&mut self, operation: OperationId, ready: usize, sealed: bool) {
        let segments = self.playouts.hand_over(operation, ready);
        let extend = |stream: &StreamHandle| stream.extend(playout_id(operation), segments, sealed);
        match self.stream.as_deref().map(extend) {
            Some(Ok(())) => {}
            broken => self.break_playout(operation, broken.and_then(Result::err)),
        }
    }

    /// The engine is overloaded or gone: the bot must hear of it, or it waits for ever.
    fn break_playout(&mut self, operation: OperationId, error: Option<EngineFull>) {
        let cause = error.map_or("there is no stream".to_owned(), |error| error.to_string());
        warn!(%operation, cause, "prompts cannot be played");
        self.follow_ups.push_back(Input::Playout(PlayoutEvent::Failed(operation)));
    }

    fn command_leg(&mut self, command: LegCommand) {
        match &self.leg {
            Some(leg) => leg.command(command),
            // The dialling failed, or has not got so far: there is nothing to confirm an end.
            None => {
                let end = ResultInfo::of_call(200, 7000, "The call was ended by the bot.");
                self.follow_ups.push_back(Input::Leg(LegEvent::Ended(end)));
            }
        }
    }

    async fn dial(&mut self, route: super::dial::Route) {
        match self.shared.place_call(&self.view.details, route, self.sinks.clone()).await {
            Ok(leg) => {
                info!(call_id = %self.view.details.id, sip_call_id = leg.sip_call_id(), "dialling");
                self.leg = Some(leg);
            }
            Err(result) => {
                self.follow_ups.push_back(Input::Leg(LegEvent::Ended(result)));
                if let Err(error) = self.handle_follow_ups().await {
                    error!(call_id = %self.view.details.id, %error, "call is dropped");
                }
            }
        }
    }

    /// Prepares prompts; what is cached is ready at once, without a task.
    fn fetch(&mut self, operation: OperationId, prompts: Vec<MediaPrompt>) {
        let Some(codec) = self.stream.as_ref().map(|stream| stream.codec()) else {
            self.waiting_fetches.push((operation, prompts));
            return;
        };
        let owner = (self.view.details.tenant, self.view.details.app);
        for (index, prompt) in prompts.into_iter().enumerate() {
            let cache = self.shared.prompts.clone();
            let mut preparing = Box::pin(async move { cache.prepare(owner, &prompt, codec).await });
            if let Some(outcome) = preparing.as_mut().now_or_never() {
                self.note_prepared((operation, index, outcome));
                continue;
            }
            let sender = self.prepared_sender.clone();
            tokio::spawn(async move {
                tokio::select! {
                    outcome = preparing => {
                        // The call may be over by now.
                        let _ = sender.send((operation, index, outcome)).await;
                    }
                    // It is: what only it waited for is not worth fetching.
                    () = sender.closed() => {}
                }
            });
        }
    }

    fn note_prepared(&mut self, (operation, index, outcome): PreparedNews) {
        let event = match outcome {
            Ok(prepared) => {
                let duration = prepared.encoded.duration();
                self.playouts.set_prepared(operation, index, prepared);
                PromptEvent::Ready { operation, index, duration }
            }
            Err(error) => {
                self.playouts.set_broken(operation, index);
                let result = crate::prompts::to_result(&error);
                debug!(%operation, index, message = result.message, "prompt cannot be played");
                PromptEvent::Failed { operation, index, result }
            }
        };
        self.follow_ups.push_back(Input::Prompt(event));
    }

    async fn stop_playout(&mut self, operation: OperationId) {
        let Some(stream) = &self.stream else { return };
        if timeout(STOP_WITHIN, stream.stop_and_wait(playout_id(operation))).await.is_err() {
            warn!(%operation, "the playout engine does not confirm a stop");
        }
    }

    /// Writes down what the far end has acknowledged since, and leaves the map of calls. In this
    /// order: who asks for an operation meanwhile waits for this task, then reads the store.
    async fn close_books(mut self) {
        // Dropping the leg ends it, if it is not gone yet; the stream goes with it.
        self.leg = None;
        self.stream = None;
        let operations: Vec<(Operation, Receipt)> =
            self.playouts.all().map(|(operation, receipt)| (operation.clone(), receipt)).collect();
        let entry = Entry {
            view: &self.view,
            operations: operations
                .iter()
                .filter(|(operation, _)| operation.status.is_final())
                .map(|(operation, receipt)| (operation, Some(receipt.clone())))
                .collect(),
            notifications: Vec::<Notification>::new(),
        };
        if let Err(error) = self.shared.ledger.commit(entry, || {}).await {
            warn!(call_id = %self.view.details.id, %error, "last receipts are not stored");
        }
        self.shared.remove(self.view.details.id);
    }
}

fn playout_id(operation: OperationId) -> PlayoutId {
    PlayoutId(operation.uuid().as_u128())
}

fn operation_id(playout: PlayoutId) -> OperationId {
    OperationId::new(uuid::Uuid::from_u128(playout.0))
}
