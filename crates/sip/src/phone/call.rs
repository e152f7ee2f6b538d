//! One call of the built-in phone.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use graphophone_call::{LegCommand, LegEvent, RejectReason, ResultInfo, Tone};
use graphophone_media::{
    codec::SampleCodec,
    dtmf::generate,
    engine::{
        EngineFull, PlayError, PlayoutId, Segment, StreamEvent, StreamHandle, TappedPacket,
        TonesError, TonesId,
    },
    prompt::{Prompt, Sha256},
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use super::{AnswerPolicy, Heard, Shared, heard::Recorder};
use crate::{DialogName, LegHandle, LegSignal, LegSinks};

/// Signals and stream events that wait for the call's task.
const EVENTS: usize = 64;
/// Packets between two looks at the tap: more than 10 s.
const TAP: usize = 512;
const TAP_INTERVAL: Duration = Duration::from_millis(200);
/// How long after the end audio is still taken in.
const STRAGGLERS: Duration = Duration::from_millis(50);

/// How far a call is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallStage {
    /// Nothing is decided.
    Trying,
    /// The far end rings; an incoming call begins here.
    Ringing,
    /// Both ends are connected.
    Established,
    /// Over.
    Ended(ResultInfo),
}

/// What has become of a REFER of the phone's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferOutcome {
    /// The far end does not take it.
    Refused,
    /// The far end has reached the target.
    Reached,
    /// The far end has not reached the target.
    Failed(ResultInfo),
}

/// A call of the phone; clones share it. It goes on when all of them are gone.
#[derive(Clone)]
pub struct PhoneCall(Arc<Inner>);

struct Inner {
    leg: Arc<LegHandle>,
    stage: watch::Receiver<CallStage>,
    refer: watch::Receiver<Option<ReferOutcome>>,
    /// Whether the far end may send audio and wants ours.
    media: watch::Receiver<bool>,
    phone: Weak<Shared>,
    stream: Mutex<Option<Arc<StreamHandle>>>,
    tap: Mutex<Receiver<TappedPacket>>,
    recorder: Mutex<Recorder>,
}

/// The call's ends of the leg's queues.
pub(super) struct Wiring {
    signals: mpsc::Receiver<LegSignal>,
    events: mpsc::Receiver<StreamEvent>,
    tap: Receiver<TappedPacket>,
}

/// Where a call's task says what it hears.
struct News {
    stages: watch::Sender<CallStage>,
    refers: watch::Sender<Option<ReferOutcome>>,
    flows: watch::Sender<bool>,
}

/// Makes the queues between a leg and its call.
pub(super) fn wire() -> (Wiring, LegSinks, SyncSender<TappedPacket>) {
    let (signal_sender, signals) = mpsc::channel(EVENTS);
    let (event_sender, events) = mpsc::channel(EVENTS);
    let (tap_sender, tap) = sync_channel(TAP);
    let sinks = LegSinks { signals: signal_sender, stream: event_sender };
    (Wiring { signals, events, tap }, sinks, tap_sender)
}

impl PhoneCall {
    /// `policy` is what to do with an incoming call.
    pub(super) fn start(
        leg: LegHandle,
        wiring: Wiring,
        policy: Option<AnswerPolicy>,
        phone: Weak<Shared>,
    ) -> Self {
        let first = if policy.is_some() { CallStage::Ringing } else { CallStage::Trying };
        let (stages, stage) = watch::channel(first);
        let (refers, refer) = watch::channel(None);
        let (flows, media) = watch::channel(false);
        let call = Self(Arc::new(Inner {
            leg: Arc::new(leg),
            stage,
            refer,
            media,
            phone,
            stream: Mutex::new(None),
            tap: Mutex::new(wiring.tap),
            recorder: Mutex::default(),
        }));
        if let Some(policy) = policy {
            call.decide(policy);
        }
        let news = News { stages, refers, flows };
        tokio::spawn(call.clone().run(wiring.signals, wiring.events, news));
        call
    }

    /// How far it is now.
    pub fn stage(&self) -> CallStage {
        self.0.stage.borrow().clone()
    }

    /// The SIP Call-ID.
    pub fn sip_call_id(&self) -> &str {
        self.0.leg.sip_call_id()
    }

    /// Waits until both ends are connected.
    ///
    /// # Errors
    /// Why it ended instead.
    pub async fn established(&self) -> Result<(), ResultInfo> {
        match self
            .reached(|stage| *stage != CallStage::Trying && *stage != CallStage::Ringing)
            .await
        {
            CallStage::Ended(result) => Err(result),
            CallStage::Trying | CallStage::Ringing | CallStage::Established => Ok(()),
        }
    }

    /// Waits until the far end rings, or more.
    pub async fn ringing(&self) -> CallStage {
        self.reached(|stage| *stage != CallStage::Trying).await
    }

    /// Waits until the call is over, and says why.
    pub async fn ended(&self) -> ResultInfo {
        loop {
            let over = |stage: &CallStage| matches!(stage, CallStage::Ended(_));
            if let CallStage::Ended(result) = self.reached(over).await {
                return result;
            }
        }
    }

    /// What was heard so far. Readable also after the end.
    pub fn heard(&self) -> Heard {
        self.0.listen();
        self.0.lock_recorder().heard()
    }

    /// Answers now, whatever the policy.
    pub fn answer(&self) {
        self.0.leg.command(LegCommand::Answer);
    }

    /// Hangs up, cancels or refuses.
    pub fn hang_up(&self) {
        self.0.leg.command(LegCommand::HangUp);
    }

    /// Puts the far end on hold (`a=sendonly`).
    pub fn hold(&self) {
        self.0.leg.hold(true);
    }

    /// Takes the far end back.
    pub fn resume(&self) {
        self.0.leg.hold(false);
    }

    /// Waits until the far end wants our audio (`true`) or does not (`false`), or the call is over.
    pub async fn media(&self, active: bool) {
        let mut media = self.0.media.clone();
        // An error says that the call is over.
        let _ = media.wait_for(|now| *now == active).await;
    }

    /// Asks the far end to call somebody else, in place of a dialog of theirs if one is named.
    pub fn refer(&self, target: &str, replaces: Option<&str>) {
        let (target, replaces) = (target.to_owned(), replaces.map(str::to_owned));
        self.0.leg.command(LegCommand::Refer { target, replaces });
    }

    /// Waits for what becomes of [`Self::refer`]; `None` if the call ends before.
    pub async fn refer_outcome(&self) -> Option<ReferOutcome> {
        let mut refer = self.0.refer.clone();
        let outcome = refer.wait_for(Option::is_some).await;
        outcome.ok().and_then(|outcome| outcome.clone())
    }

    /// How others may name the call to its far end; `None` before it is established.
    pub fn dialog(&self) -> Option<DialogName> {
        self.0.leg.dialog()
    }

    pub(super) fn report(&self, status: u16) {
        self.0.leg.report(status);
    }

    /// Presses keys by INFO (`application/dtmf-relay`), one after another.
    pub fn press_by_info(&self, tones: &[Tone]) {
        tones.iter().for_each(|tone| self.0.leg.press_by_info(*tone));
    }

    /// Presses keys by nothing but their sound, each for 100 ms with 100 ms between.
    ///
    /// # Errors
    /// [`PlayError`] without a stream, or when the engine does not take it.
    pub fn press_in_band(&self, tones: &[Tone]) -> Result<(), PlayError> {
        let (duration, gap) = (Duration::from_millis(100), Duration::from_millis(100));
        let silence = std::iter::repeat_n(0, gap.as_millis() as usize * 8);
        let sound = |tone: &Tone| generate::tone(tone.event_code(), 8_000, duration);
        let samples: Vec<i16> = tones
            .iter()
            .flat_map(|tone| sound(tone).unwrap_or_default().into_iter().chain(silence.clone()))
            .collect();
        self.say(&Prompt { rate: 8_000, sha256: Sha256::of(&samples), samples })
    }

    /// Presses keys one after another, each for 100 ms with 60 ms between: as telephone-events
    /// (RFC 4733), or as sound if the server takes none.
    ///
    /// # Errors
    /// [`TonesError`] without a stream, or when the engine does not take it.
    pub fn press(&self, tones: &[Tone]) -> Result<(), TonesError> {
        let codes = tones.iter().map(|tone| tone.event_code()).collect();
        let stream = self.0.stream().ok_or(EngineFull)?;
        stream.send_tones(
            TonesId(rand::random()),
            codes,
            Duration::from_millis(100),
            Duration::from_millis(60),
        )
    }

    /// Says something into the call.
    ///
    /// # Errors
    /// [`PlayError`] without a stream, or when the engine does not take it.
    pub fn say(&self, prompt: &Prompt) -> Result<(), PlayError> {
        let stream = self.0.stream().ok_or(EngineFull)?;
        // Nothing encodes frames: a stream of them refuses this.
        let codec = stream.codec().sample().unwrap_or(SampleCodec::Pcmu);
        let prompt = Arc::new(prompt.encode(codec));
        let id = PlayoutId(rand::random());
        stream.play(id, vec![Segment { prompt, repeat: 1 }], true, false).map(drop)
    }

    /// RTP packets that it has sent so far; of what is said one each 20 ms.
    pub fn packets_sent(&self) -> u64 {
        self.0.stream().map_or(0, |stream| stream.stats().counts.packets_sent)
    }

    async fn reached(&self, wanted: impl Fn(&CallStage) -> bool) -> CallStage {
        let mut stage = self.0.stage.clone();
        match stage.wait_for(|stage| wanted(stage)).await {
            Ok(stage) => stage.clone(),
            // The task always ends with `Ended`; an aborted runtime is the one exception.
            Err(_) => CallStage::Ended(ResultInfo::of_call(500, 9001, "The phone has stopped.")),
        }
    }

    fn decide(&self, policy: AnswerPolicy) {
        match policy {
            AnswerPolicy::After(Duration::ZERO) => self.answer(),
            AnswerPolicy::After(delay) => {
                let call = Arc::downgrade(&self.0);
                tokio::spawn(async move {
                    sleep(delay).await;
                    if let Some(call) = call.upgrade() {
                        call.leg.command(LegCommand::Answer);
                    }
                });
            }
            AnswerPolicy::Busy => self.0.leg.command(LegCommand::Reject(RejectReason::Busy)),
            AnswerPolicy::Decline => self.0.leg.decline(),
            AnswerPolicy::Never => {}
        }
    }

    async fn run(
        self,
        mut signals: mpsc::Receiver<LegSignal>,
        mut events: mpsc::Receiver<StreamEvent>,
        news: News,
    ) {
        let News { stages, refers, flows } = news;
        let mut look = interval(TAP_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                signal = signals.recv() => match signal {
                    Some(LegSignal::Stream(stream)) => {
                        *self.0.lock_stream() = Some(stream);
                    }
                    // A phone that crashes is not started again.
                    Some(LegSignal::Dialog(_)) => {}
                    Some(LegSignal::Referred(referral)) => match self.0.phone.upgrade() {
                        Some(phone) => drop(tokio::spawn(phone.follow(self.clone(), referral))),
                        None => self.report(480),
                    },
                    Some(LegSignal::Event(event)) => {
                        match &event {
                            LegEvent::Media { active } => drop(flows.send_replace(*active)),
                            LegEvent::ReferRefused => {
                                refers.send_replace(Some(ReferOutcome::Refused));
                            }
                            LegEvent::ReferEnded(Ok(())) => {
                                refers.send_replace(Some(ReferOutcome::Reached));
                            }
                            LegEvent::ReferEnded(Err(result)) => {
                                refers.send_replace(Some(ReferOutcome::Failed(result.clone())));
                            }
                            LegEvent::Ringing
                            | LegEvent::Answered
                            | LegEvent::Tone(_)
                            | LegEvent::ReferAccepted
                            | LegEvent::Conference(_)
                            | LegEvent::Ended(_) => {}
                        }
                        if let Some(stage) = self.notice(event) {
                            let over = matches!(stage, CallStage::Ended(_));
                            if over {
                                // A BYE may overtake the audio that was sent before it.
                                sleep(STRAGGLERS).await;
                                self.0.listen();
                            }
                            stages.send_replace(stage);
                            if over {
                                break;
                            }
                        }
                    }
                    None => {
                        let text = "The phone's endpoint has stopped.";
                        let result = ResultInfo::of_call(500, 9001, text);
                        stages.send_replace(CallStage::Ended(result));
                        break;
                    }
                },
                Some(event) = events.recv() => {
                    if let StreamEvent::Tone(code) = event {
                        self.0.lock_recorder().tone(code);
                    }
                }
                _ = look.tick() => self.0.listen(),
            }
        }
        *self.0.lock_stream() = None;
    }

    fn notice(&self, event: LegEvent) -> Option<CallStage> {
        match event {
            LegEvent::Ringing => Some(CallStage::Ringing),
            LegEvent::Answered => Some(CallStage::Established),
            LegEvent::Ended(result) => Some(CallStage::Ended(result)),
            LegEvent::Tone(tone) => {
                self.0.lock_recorder().tone(tone.event_code());
                None
            }
            LegEvent::Media { .. }
            | LegEvent::Conference(_)
            | LegEvent::ReferAccepted
            | LegEvent::ReferRefused
            | LegEvent::ReferEnded(_) => None,
        }
    }
}

impl Inner {
    /// Takes what the engine has left in the tap.
    fn listen(&self) {
        let tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recorder = self.lock_recorder();
        for packet in tap.try_iter() {
            recorder.take(&packet);
        }
    }

    fn stream(&self) -> Option<Arc<StreamHandle>> {
        self.lock_stream().clone()
    }

    fn lock_stream(&self) -> std::sync::MutexGuard<'_, Option<Arc<StreamHandle>>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_recorder(&self) -> std::sync::MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
