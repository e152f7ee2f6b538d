//! A call's audio: its stream, prompts on their way to it, and what is played.

mod listeners;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use graphophone_call::{
    AppId, Input, MediaPrompt, Operation, OperationId, PlayoutEvent, PromptEvent, RecordSettings,
    ResultInfo, TenantId, Tone, TonesEvent,
};
use graphophone_graph::resource::receipt::Receipt;
use graphophone_media::{
    codec::Codec,
    engine::{EngineFull, PlayError, PlayoutId, Segment, StreamHandle, TonesId},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tracing::{debug, error, trace, warn};

use self::listeners::Listeners;
pub(super) use self::listeners::{Lent, Loan};
use super::{
    playouts::Playouts,
    recorder::{Heard, Recorder, beep},
};
use crate::prompts::{PrepareError, Prepared, Prompts};

/// How long a stop may take before the operation is reported as ended anyway. The engine answers
/// within a tick; only a dead engine takes longer. The time is counted in looks: a machine that
/// stood still for a second, and the engine with it, has used up one of them.
const STOP_WITHIN: Duration = Duration::from_millis(100);
const LOOKS: u32 = 10;
/// How long each tone of sendDtmfTones is: Graph has no say in it, and phones send such.
const TONE_LENGTH: Duration = Duration::from_millis(100);
/// Wait before an engine whose queue is full is asked again.
const STOP_AGAIN: Duration = Duration::from_millis(2);

/// The audio of one call.
pub(super) struct Audio {
    owner: (TenantId, AppId),
    prompts: Prompts,
    stream: Option<Arc<StreamHandle>>,
    /// Known since the stream came, also when it had to be closed.
    codec: Option<Codec>,
    pub(super) playouts: Playouts,
    pub(super) recorder: Recorder,
    listeners: Listeners,
    /// Prompts asked for before the codec is known.
    waiting: Vec<(OperationId, Arc<[MediaPrompt]>)>,
    /// Who waits for prompts, by operation; gone with it.
    fetches: HashMap<OperationId, JoinSet<()>>,
    news: mpsc::Receiver<News>,
    tell: mpsc::Sender<News>,
    /// What the core is to hear of all this.
    heard: VecDeque<Input>,
}

/// A prompt that was fetched, or could not be.
pub(super) type News = (OperationId, usize, Result<Prepared, PrepareError>);

/// Something that a call's audio has to say.
pub(super) enum Told {
    Prompt(News),
    Heard(Heard),
    Lent(Loan),
}

impl Audio {
    pub(super) fn new(owner: (TenantId, AppId), prompts: Prompts, recorder: Recorder) -> Self {
        let (tell, news) = mpsc::channel(64);
        Self {
            owner,
            prompts,
            stream: None,
            codec: None,
            playouts: Playouts::default(),
            recorder,
            listeners: Listeners::default(),
            waiting: Vec::new(),
            fetches: HashMap::new(),
            news,
            tell,
            heard: VecDeque::new(),
        }
    }

    /// The stream is there, and with it the codec.
    pub(super) fn open(&mut self, stream: Arc<StreamHandle>) {
        self.codec = Some(stream.codec());
        self.recorder.open(&stream);
        self.stream = Some(stream);
        for (operation, prompts) in std::mem::take(&mut self.waiting) {
            self.fetch(operation, prompts);
        }
    }

    /// The stream, while there is one.
    pub(super) fn stream(&self) -> Option<&Arc<StreamHandle>> {
        self.stream.as_ref()
    }

    /// The stream, for another owner of the leg.
    pub(super) fn give_stream(&mut self) -> Option<Arc<StreamHandle>> {
        self.fetches.clear();
        self.stream.take()
    }

    /// The next input for the core that arose here.
    pub(super) fn poll(&mut self) -> Option<Input> {
        self.heard.pop_front()
    }

    /// Waits for a prompt to be ready or to fail, or for something to be heard. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Told> {
        tokio::select! {
            Some(news) = self.news.recv() => Some(Told::Prompt(news)),
            Some(heard) = self.recorder.next() => Some(Told::Heard(heard)),
            Some(loan) = self.listeners.next() => Some(Told::Lent(loan)),
            else => None,
        }
    }

    /// Prepares prompts; what is cached is ready at once, without a task.
    pub(super) fn fetch(&mut self, operation: OperationId, prompts: Arc<[MediaPrompt]>) {
        let Some(codec) = self.codec else {
            self.waiting.push((operation, prompts));
            return;
        };
        self.prepare(operation, &prompts, codec);
    }

    fn prepare(&mut self, operation: OperationId, prompts: &[MediaPrompt], codec: Codec) {
        if prompts.is_empty() {
            let event = PromptEvent::Ready { operation, index: 0, duration: Duration::ZERO };
            self.heard.push_back(Input::Prompt(event));
        }
        let owner = self.owner;
        for (index, prompt) in prompts.iter().cloned().enumerate() {
            let cache = self.prompts.clone();
            let mut preparing = Box::pin(async move { cache.prepare(owner, &prompt, codec).await });
            if let Some(outcome) = preparing.as_mut().now_or_never() {
                self.note((operation, index, outcome));
                continue;
            }
            let tell = self.tell.clone();
            self.fetches.entry(operation).or_default().spawn(async move {
                let outcome = preparing.await;
                // The call may be over by now.
                let _ = tell.send((operation, index, outcome)).await;
            });
        }
    }

    /// A prompt is ready or has failed.
    pub(super) fn note(&mut self, (operation, index, outcome): News) {
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
        self.heard.push_back(Input::Prompt(event));
    }

    pub(super) fn start(
        &mut self,
        operation: OperationId,
        ready: usize,
        sealed: bool,
        looping: bool,
    ) {
        let segments = self.segments(operation, ready, sealed);
        let play =
            |stream: &StreamHandle| stream.play(playout_id(operation), segments, sealed, looping);
        match self.stream.as_deref().map(play) {
            Some(Ok(progress)) => {
                trace!(name: "playout is started", target: "graphophone::stage", "playout is started");
                self.playouts.set_progress(operation, progress);
            }
            broken => self.break_off(operation, broken.and_then(Result::err)),
        }
    }

    pub(super) fn extend(&mut self, operation: OperationId, ready: usize, sealed: bool) {
        let segments = self.segments(operation, ready, sealed);
        let extend = |stream: &StreamHandle| stream.extend(playout_id(operation), segments, sealed);
        match self.stream.as_deref().map(extend) {
            Some(Ok(())) => {}
            broken => self.break_off(operation, broken.and_then(Result::err)),
        }
    }

    /// Plays over what plays.
    pub(super) fn overlay(&mut self, operation: OperationId, ready: usize, looping: bool) {
        let segments = self.playouts.hand_over(operation, ready);
        let play = |stream: &StreamHandle| stream.overlay(playout_id(operation), segments, looping);
        match self.line(operation).0.as_deref().map(play) {
            Some(Ok(progress)) => self.playouts.set_progress(operation, progress),
            broken => self.break_off(operation, broken.and_then(Result::err)),
        }
    }

    /// Keeps a playout silent, or lets it go on.
    pub(super) fn pause(&mut self, operation: OperationId, paused: bool) {
        let pause = |stream: &StreamHandle| stream.pause(playout_id(operation), paused);
        match self.line(operation).0.as_deref().map(pause) {
            Some(Ok(())) => self.playouts.set_paused(operation, paused),
            broken => self.break_off(operation, broken.and_then(Result::err).map(Into::into)),
        }
    }

    /// Lets a playout go on from another place.
    pub(super) fn seek(&mut self, operation: OperationId, position: Duration) {
        let (stream, Some(codec)) = self.line(operation) else { return };
        let units = position.as_millis() * u128::from(codec.rate()) / 1_000;
        let units = u64::try_from(units).unwrap_or(u64::MAX);
        let seek = |stream: &StreamHandle| stream.seek(playout_id(operation), units);
        match stream.as_deref().map(seek) {
            Some(Ok(())) => {}
            broken => self.break_off(operation, broken.and_then(Result::err).map(Into::into)),
        }
    }

    /// What is to be played next of an operation: prompts, and behind those of a recordResponse its
    /// beep.
    fn segments(&mut self, operation: OperationId, ready: usize, sealed: bool) -> Vec<Segment> {
        let mut segments = self.playouts.hand_over(operation, ready);
        if sealed && self.playouts.beeps(operation) {
            // Where nothing encodes it, the prompt could not be played either.
            segments.extend(self.codec.and_then(beep));
        }
        segments
    }

    /// Begins to record.
    pub(super) fn record(&mut self, operation: OperationId, settings: Arc<RecordSettings>) {
        let input = self.recorder.start(operation, settings, self.stream.as_deref());
        self.heard.extend(input);
    }

    /// Ends a recording.
    pub(super) fn finish_recording(&mut self, operation: OperationId) {
        self.heard.extend(self.recorder.finish(operation));
    }

    /// An ear or the disk has something to say.
    pub(super) fn note_recorder(&mut self, heard: Heard) {
        self.heard.extend(self.recorder.note(heard));
    }

    /// What the end of a playout means. One of which the kernel refused packets has not been
    /// played: `completed` is a promise about every sample.
    ///
    /// Of participants' streams everything is told, also what others play there.
    pub(super) fn finished(&self, playout: PlayoutId) -> Option<PlayoutEvent> {
        let operation = operation_id(playout);
        if self.playouts.is_over(operation) {
            return None;
        }
        if self.playouts.is_sent(operation) {
            return Some(PlayoutEvent::Finished(operation));
        }
        warn!(%operation, "packets could not be sent");
        Some(PlayoutEvent::Failed(operation))
    }

    /// What it means that a playout has stopped before its end: of what plays to one participant,
    /// that somebody else has ended it there.
    pub(super) fn cut(&self, playout: PlayoutId) -> Option<PlayoutEvent> {
        let operation = operation_id(playout);
        let is_lost = self.listener(operation).is_some() && !self.playouts.is_over(operation);
        is_lost.then_some(PlayoutEvent::Failed(operation))
    }

    /// Silences a playout. When this comes back, nothing of it will be sent.
    pub(super) async fn stop(&mut self, operation: OperationId) {
        // A participant's stream that has gone plays nothing any more.
        let Some(stream) = self.line(operation).0 else { return };
        match cut(|| stream.stop_and_wait(playout_id(operation))).await {
            Cut::Done => {}
            Cut::Unconfirmed => warn!(%operation, "the playout engine does not confirm a stop"),
            Cut::Refused => {
                // Without it prompts fail with a reason; a prompt that nobody can stop is worse.
                error!(%operation, "the playout engine takes no stop: the stream is closed");
                if self.listener(operation).is_none() {
                    self.stream = None;
                }
            }
        }
    }

    /// Sends tones to the far end, in order. [`Audio::tones`] hears of their end.
    pub(super) fn send_tones(&mut self, operation: OperationId, tones: &[Tone], delay: Duration) {
        let codes = tones.iter().map(|tone| tone.event_code()).collect();
        let id = TonesId(operation.uuid().as_u128());
        let send = |stream: &StreamHandle| stream.send_tones(id, codes, TONE_LENGTH, delay);
        let cause = match self.stream.as_deref().map(send) {
            Some(Ok(())) => return,
            Some(Err(error)) => error.to_string(),
            None => "there is no stream".to_owned(),
        };
        self.tones_failed(operation, &cause);
    }

    /// What the end of a sequence of tones means: it was sent, or was one too many.
    pub(super) fn tones(id: TonesId, sent: bool) -> Input {
        let operation = OperationId::new(uuid::Uuid::from_u128(id.0));
        Input::Tones(if sent {
            TonesEvent::Sent(operation)
        } else {
            let result = ResultInfo::tones_failed("Too many tones are waiting.");
            TonesEvent::Failed(operation, result)
        })
    }

    fn tones_failed(&mut self, operation: OperationId, cause: &str) {
        warn!(%operation, cause, "tones cannot be sent");
        let result = ResultInfo::tones_failed(&format!("Reason: {cause}."));
        self.heard.push_back(Input::Tones(TonesEvent::Failed(operation, result)));
    }

    /// An operation has reached its final status; see [`Playouts::end`].
    #[must_use]
    pub(super) fn end(
        &mut self,
        operation: &Operation,
        with_call: bool,
    ) -> Option<(Operation, Receipt)> {
        self.waiting.retain(|(waiting, _)| *waiting != operation.id);
        self.fetches.remove(&operation.id);
        self.listeners.forget(operation.id);
        self.playouts.end(operation, with_call)
    }

    /// Lets go of the stream and of all prompts on their way.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.recorder.close();
        self.listeners.clear();
        self.fetches.clear();
    }

    /// The engine is overloaded or gone, or the prompts are none for it: the bot must hear of it, or it waits for ever.
    fn break_off(&mut self, operation: OperationId, error: Option<PlayError>) {
        let cause = error.map_or("there is no stream".to_owned(), |error| error.to_string());
        warn!(%operation, cause, "prompts cannot be played");
        self.heard.push_back(Input::Playout(PlayoutEvent::Failed(operation)));
    }
}

/// What became of a stop.
#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Done,
    /// The engine has the order and is late to say that it is done.
    Unconfirmed,
    /// The engine did not even take the order.
    Refused,
}

/// Gives a stop to the engine, again and again while its queue is full.
async fn cut<F>(mut stop: impl FnMut() -> F) -> Cut
where
    F: Future<Output = Result<bool, EngineFull>>,
{
    let mut stopping = Box::pin(stop());
    let mut outcome = Cut::Unconfirmed;
    for _ in 0..LOOKS {
        let until = Instant::now() + STOP_WITHIN / LOOKS;
        loop {
            match timeout_at(until, &mut stopping).await {
                Ok(Ok(_)) => return Cut::Done,
                Ok(Err(EngineFull)) => {
                    outcome = Cut::Refused;
                    sleep(STOP_AGAIN).await;
                    stopping.set(stop());
                }
                Err(_) => {
                    outcome = Cut::Unconfirmed;
                    break;
                }
            }
            if Instant::now() >= until {
                break;
            }
        }
    }
    outcome
}

fn playout_id(operation: OperationId) -> PlayoutId {
    PlayoutId(operation.uuid().as_u128())
}

fn operation_id(playout: PlayoutId) -> OperationId {
    OperationId::new(uuid::Uuid::from_u128(playout.0))
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stop_is_repeated_while_the_engine_is_full() {
        let mut refusals = 0;
        let outcome = cut(|| {
            refusals += 1;
            ready(if refusals < 5 { Err(EngineFull) } else { Ok(true) })
        });
        assert_eq!(outcome.await, Cut::Done);
        assert_eq!(refusals, 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_that_is_refused_for_too_long_is_told_from_one_that_is_late() {
        let begun = Instant::now();
        assert_eq!(cut(|| ready(Err(EngineFull))).await, Cut::Refused);
        assert!(begun.elapsed() <= STOP_WITHIN + STOP_AGAIN);
        assert_eq!(cut(pending).await, Cut::Unconfirmed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_machine_that_stood_still_does_not_make_a_stop_late() {
        let (done, answer) = tokio::sync::oneshot::channel();
        let mut answer = Some(answer);
        let engine = async move {
            // Both wake up behind the owner's first look, the owner first.
            tokio::time::advance(Duration::from_secs(3)).await;
            sleep(Duration::from_millis(50)).await;
            let _ = done.send(true);
        };
        let owner = cut(|| {
            let answer = answer.take().expect("the engine takes the first stop");
            async move { answer.await.map_err(|_| EngineFull) }
        });
        assert_eq!(tokio::join!(owner, engine).0, Cut::Done);
    }
}
