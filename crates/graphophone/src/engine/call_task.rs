//! One task owns one call: it waits for an input, gives it to the core, and carries the outputs
//! out. There is no lock around a call.

mod handover;
mod outputs;
mod referral;
mod wake;

use std::{collections::VecDeque, sync::Arc};

use futures::future::{BoxFuture, OptionFuture};
use graphophone_call::{
    Call, CallState, Command, GroupCommand, Input, KeySources, LegEvent, Operation, OperationId,
    ResultInfo,
};
use graphophone_graph::resource::{call::CallDetails, receipt::Receipt};
use graphophone_media::engine::StreamEvent;
use graphophone_sip::{LegHandle, LegSignal, LegSinks};
use graphophone_store::StoreError;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};
use tracing::{debug, error, info, trace, warn};

use super::{
    audio::Audio,
    backlog::{Backlog, Change, is_lasting},
    conference::Place,
    ledger::{Entry, unix_millis},
    participants::GroupView,
    quota::Permit,
    recorder::Recorder,
    registry::{Listed, Shared},
    request::{CommandError, Once, Reply, Request, View, Wish},
    speech::SpeechWatch,
};
use handover::Handover;
use wake::Wake;

/// How the call reaches its far end.
pub(super) enum Line {
    /// To be dialled after the first commit.
    Dial(Dialler),
    /// An incoming leg that rings.
    Ringing(LegHandle),
    /// A place in a conference, to be taken after the first commit.
    Place(Box<dyn FnOnce(LegSinks) -> Place + Send>),
}

/// Dials, and says how that went. Dropping what it returns gives the call up.
pub(super) type Dialler = Box<dyn FnOnce(LegSinks) -> Dialling + Send>;
type Dialling = BoxFuture<'static, Result<LegHandle, ResultInfo>>;

pub(super) struct CallTask {
    call: Call,
    view: View,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    publish: watch::Sender<View>,
    signals: mpsc::Receiver<LegSignal>,
    stream_events: mpsc::Receiver<StreamEvent>,
    sinks: LegSinks,
    dialling: OptionFuture<Dialling>,
    leg: Option<LegHandle>,
    /// What a group call has instead of a leg.
    place: Option<Place>,
    audio: Audio,
    speech: SpeechWatch,
    backlog: Option<Backlog>,
    /// What the next process needs to end the leg's dialog.
    dialog: Option<String>,
    /// The details or the dialog are not those in the store.
    has_new_details: bool,
    handover: Handover,
    keys: KeySources,
    /// What the call's far end has had dialled, for as long as the call lives.
    followed: Vec<Permit>,
    /// The call ends as soon as nothing plays that ends by itself.
    is_draining: bool,
    /// The core knows that the server stops.
    knows_of_stop: bool,
    /// Inputs that arose while outputs were carried out.
    follow_ups: VecDeque<Input>,
    /// Last, so that the call is found as long as there is anything of it.
    listed: Listed,
}

impl CallTask {
    pub(super) fn new(
        call: Call,
        details: CallDetails,
        dialog: Option<String>,
        listed: Listed,
        requests: mpsc::Receiver<Request>,
    ) -> (Self, watch::Receiver<View>) {
        let view = View {
            state: call.state(),
            media_active: None,
            tone: None,
            group: GroupView::default(),
            result: None,
            details: Arc::new(details),
        };
        let (publish, subscribe) = watch::channel(view.clone());
        // Signals are few; a leg that finds its sink full waits there.
        let (signal_sender, signals) = mpsc::channel(16);
        let (stream_sender, stream_events) = mpsc::channel(64);
        let shared = Arc::clone(&listed.shared);
        let owner = (view.details.tenant, view.details.app);
        let task = Self {
            call,
            view,
            requests,
            publish,
            signals,
            stream_events,
            sinks: LegSinks { signals: signal_sender, stream: stream_sender },
            dialling: None.into(),
            leg: None,
            place: None,
            speech: SpeechWatch::new(shared.ears.clone()),
            audio: Audio::new(
                owner,
                shared.prompts.clone(),
                Recorder::new(owner, shared.ears.clone(), shared.recordings.clone()),
            ),
            backlog: None,
            dialog,
            has_new_details: true,
            handover: Handover::default(),
            keys: KeySources::default(),
            followed: Vec::new(),
            is_draining: false,
            knows_of_stop: false,
            follow_ups: VecDeque::new(),
            shared,
            listed,
        };
        (task, subscribe)
    }

    /// Lives as long as the call. `born` hears when the call's first state is durable, and what
    /// that is.
    pub(super) async fn run(
        mut self,
        line: Line,
        once: Option<Once>,
        born: oneshot::Sender<Result<View, CommandError>>,
    ) {
        let (mut first, _) = self.drain().await;
        self.begins(&mut first, once, None);
        if let Err(error) = self.store(&first).await {
            debug!(call_id = %self.view.details.id, %error, "the call is not stored");
            // Nothing of it is left when that is told.
            drop(self);
            let _ = born.send(Err(CommandError::of_store(&error)));
            return;
        }
        let _ = born.send(Ok(self.view.clone()));
        match line {
            Line::Dial(dial) => self.dialling = Some(dial(self.sinks.clone())).into(),
            Line::Place(take) => self.place = Some(take(self.sinks.clone())),
            Line::Ringing(leg) => {
                leg.attach(self.sinks.clone());
                self.leg = Some(leg);
            }
        }
        match self.live().await {
            Ok(()) => self.close_books().await,
            // Nothing more is stored of it: the next start finds it unfinished and reports it.
            Err(error) => error!(call_id = %self.view.details.id, %error, "call is dropped"),
        }
    }

    /// To the call's end, and until that is durable.
    async fn live(&mut self) -> Result<(), StoreError> {
        while self.call.state() != CallState::Terminated || self.backlog.is_some() {
            let stream = self.audio.stream().map(Arc::as_ref);
            self.speech.set(self.call.minds_speech(), stream);
            match self.next().await {
                Wake::Request(request) => self.handle_request(request).await?,
                Wake::Input(input) => self.handle(input).await?,
                Wake::Stream(stream) => self.audio.open(stream),
                Wake::Dialog(dialog) => {
                    // Durable with the next thing that happens, which is its answer at the latest.
                    self.dialog = Some(dialog);
                    self.has_new_details = true;
                }
                Wake::Referred(referral) => self.follow(referral),
                Wake::Bridge(event) => self.handle(Input::Bridge(event)).await?,
                Wake::PlayedOut(playout) => {
                    if let Some(event) = self.audio.finished(playout) {
                        self.handle(Input::Playout(event)).await?;
                    }
                }
                Wake::Cut(playout) => {
                    if let Some(event) = self.audio.cut(playout) {
                        self.handle(Input::Playout(event)).await?;
                    }
                }
                Wake::Lent(loan) => self.audio.borrowed(loan),
                Wake::Prepared(news) => self.audio.note(news),
                Wake::Heard(heard) => self.audio.note_recorder(heard),
                Wake::Dialled(Ok(leg)) => {
                    info!(
                        call_id = %self.view.details.id, sip_call_id = leg.sip_call_id(), "dialling"
                    );
                    self.leg = Some(leg);
                }
                Wake::Dialled(Err(result)) => {
                    self.handle(Input::Leg(LegEvent::Ended(result))).await?;
                }
                Wake::Drains => self.is_draining = true,
                Wake::ServerStops => self.stop().await?,
                Wake::Abandoned => {
                    self.backlog.take().into_iter().for_each(Backlog::give_up);
                    return Err(StoreError::StoreClosed);
                }
                Wake::Retry => self.retry().await?,
            }
            while let Some(input) = self.follow_ups.pop_front().or_else(|| self.audio.poll()) {
                self.handle(input).await?;
            }
            if self.is_draining && !self.knows_of_stop && !self.call.is_playing_to_an_end() {
                self.stop().await?;
            }
        }
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), StoreError> {
        self.knows_of_stop = true;
        self.handle(Input::ServerStops).await
    }

    async fn handle_request(&mut self, request: Request) -> Result<(), StoreError> {
        match request {
            Request::Operation { id, reply } => {
                let is_durable = self.backlog.as_ref().is_none_or(|backlog| !backlog.holds(id));
                let _ = reply.send(self.audio.playouts.get(id).filter(|_| is_durable));
                Ok(())
            }
            Request::Name { reply } => {
                self.handle(Input::MayBeReplaced(true)).await?;
                let _ = reply.send(self.leg.as_ref().and_then(LegHandle::dialog));
                Ok(())
            }
            Request::Spare => self.handle(Input::MayBeReplaced(false)).await,
            Request::GiveLeg { reply } => match self.wanted_by(reply) {
                Some(input) => self.handle(input).await,
                None => Ok(()),
            },
            Request::Command { wish, reply } => self.handle_command(*wish, reply).await,
        }
    }

    async fn handle_command(&mut self, wish: Wish, reply: Reply) -> Result<(), StoreError> {
        let Wish { command, details, once, plan } = wish;
        let transferee = command.transferee();
        // Nothing new is promised before what is done is durable; a keepAlive promises nothing.
        if self.backlog.is_some() && command != Command::KeepAlive {
            let _ = reply.send(Err(CommandError::NotStored));
            return Ok(());
        }
        if self.is_draining && begins_something(&command) {
            let _ = reply.send(Err(CommandError::Stopping));
            return Ok(());
        }
        let wanted = command.operation();
        // What cannot be taken back must not be begun twice.
        if let Some(once) = once.filter(|_| !command.can_be_taken_back()) {
            let known = self.shared.ledger.store.request(once.key).await;
            if let Some(error) = known.map_or_else(
                |error| Some(CommandError::of_store(&error)),
                |known| known.map(|_| CommandError::Repeated),
            ) {
                let _ = reply.send(Err(error));
                return Ok(());
            }
        }
        let before = command.can_be_taken_back().then(|| (self.call.clone(), self.view.clone()));
        let now = Instant::now().into_std();
        if let Err(rejection) = self.call.handle_input(now, Input::Command(command)) {
            let _ = reply.send(Err(rejection.into()));
            return Ok(());
        }
        trace!(name: "command is accepted", target: "graphophone::stage", "command is accepted");
        if let Some(details) = details {
            self.view.details = details;
            self.has_new_details = true;
        }
        self.plan(plan, transferee);
        let (mut change, operations) = self.drain().await;
        let made = operations.into_iter().find(|operation| Some(operation.id) == wanted);
        let Some((call, view)) = before else {
            self.remember(&mut change, once, wanted);
            change.replies.push((reply, made));
            return self.settle(change).await;
        };
        self.begins(&mut change, once, wanted);
        if let Err(error) = self.store(&change).await {
            debug!(call_id = %self.view.details.id, %error, "a command is not stored, and taken back");
            (self.call, self.view) = (call, view);
            wanted.into_iter().for_each(|id| self.audio.playouts.forget(id));
            let _ = reply.send(Err(CommandError::of_store(&error)));
            return if is_lasting(&error) { Err(error) } else { Ok(()) };
        }
        trace!(name: "operation is committed", target: "graphophone::stage", "operation is committed");
        change.replies.push((reply, made));
        self.carry_out(change);
        Ok(())
    }

    /// Marks a change that begins something: there must be room on the disk for all of it, and the
    /// request that asked for it is remembered with it.
    fn begins(&self, change: &mut Change, once: Option<Once>, made: Option<OperationId>) {
        Arc::make_mut(&mut change.commit).is_new_work = true;
        self.remember(change, once, made);
    }

    fn remember(&self, change: &mut Change, once: Option<Once>, made: Option<OperationId>) {
        let record = |once: Once| once.record(self.view.details.id, made, unix_millis());
        Arc::make_mut(&mut change.commit).request = once.map(record);
    }

    async fn handle(&mut self, input: Input) -> Result<(), StoreError> {
        let now = Instant::now().into_std();
        // Only commands are ever refused, and this is none.
        if let Err(rejection) = self.call.handle_input(now, input) {
            debug!(call_id = %self.view.details.id, %rejection, "absorbed");
        }
        let (change, _) = self.drain().await;
        self.settle(change).await
    }

    /// Writes down what the far end has acknowledged since, and leaves the map of calls. In this
    /// order: who asks for an operation meanwhile waits for this task, then reads the store.
    async fn close_books(mut self) {
        // Dropping the leg ends it, if it is not gone yet; the stream goes with it.
        self.leg = None;
        self.place = None;
        self.audio.close();
        let operations: Vec<(Operation, Receipt)> = self
            .audio
            .playouts
            .all()
            .filter(|(operation, _)| operation.status.is_final())
            .map(|(operation, receipt)| (operation.clone(), receipt))
            .collect();
        if operations.is_empty() {
            return;
        }
        let entry = Entry {
            view: &self.view,
            dialog: None,
            is_new: false,
            operations: operations
                .iter()
                .map(|(operation, receipt)| (operation, Some(receipt.clone())))
                .collect(),
            notifications: Vec::new(),
        };
        if let Err(error) = self.shared.ledger.commit(entry.to_commit(), || {}).await {
            warn!(call_id = %self.view.details.id, %error, "last receipts are not stored");
        }
    }
}

/// Whether a command asks for something that takes time: none of it begins while the server drains.
fn begins_something(command: &Command) -> bool {
    match command {
        Command::PlayPrompt { .. }
        | Command::RecordResponse { .. }
        | Command::SendDtmfTones { .. } => true,
        Command::Answer { .. }
        | Command::Reject(_)
        | Command::HangUp
        | Command::KeepAlive
        | Command::Control { .. }
        | Command::Redirect { .. }
        | Command::Transfer { .. }
        | Command::CancelMediaProcessing { .. }
        | Command::SubscribeToTone { .. } => false,
        Command::Group(command) => match command {
            GroupCommand::Act { verb, .. } => !verb.is_immediate(),
            GroupCommand::Remove(_)
            | GroupCommand::PutRoutingGroup { .. }
            | GroupCommand::DeleteRoutingGroup(_) => false,
        },
    }
}
