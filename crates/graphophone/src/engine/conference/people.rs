//! The people of a conference: their legs, and what carries news of them to its task.

use std::{collections::HashMap, sync::Arc};

use futures::future::BoxFuture;
use graphophone_call::{LegEvent, ParticipantId, ReferTo, ResultInfo, Tone};
use graphophone_media::engine::{StreamEvent, StreamHandle};
use graphophone_sip::{LegHandle, LegSignal, LegSinks};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::task::AbortOnDropHandle;

use crate::engine::{bridge::Carried, quota::Permit};

/// Signals and stream events that wait for one person's carrier.
const EVENTS: usize = 64;

/// What there is to know of one person.
pub(super) enum News {
    /// The leg is on its way.
    Dialled(LegHandle),
    Event(LegEvent),
    Stream(Arc<StreamHandle>),
    Dialog(String),
    /// A playout on their stream is over, in one way or the other.
    Played(StreamEvent),
    /// They have come from another call, with all that is theirs.
    Moved(Box<Moved>),
    /// Their telephone asks us to call somebody else.
    Referred,
}

/// What somebody brings along from another call.
pub(super) struct Moved {
    leg: LegHandle,
    stream: Arc<StreamHandle>,
    dialog: Option<String>,
    permits: Vec<Permit>,
}

/// Tells how dialling went.
pub(super) type Dialling = BoxFuture<'static, Result<LegHandle, ResultInfo>>;

/// One whose leg is up, or on its way. Dropped, they are hung up.
pub(super) struct Person {
    leg: Option<LegHandle>,
    pub(super) stream: Option<Arc<StreamHandle>>,
    dialog: Option<String>,
    permits: Vec<Permit>,
    /// They came at our cost, if not by dialling in themselves.
    dialled: Option<Instant>,
    carrier: AbortOnDropHandle<Option<Lines>>,
    /// Used, the carrier gives up what it reads.
    recall: oneshot::Sender<()>,
}

/// All of them.
#[derive(Default)]
pub(super) struct People {
    people: HashMap<ParticipantId, Person>,
    /// The dialogs are others than were told last.
    has_new_dialogs: bool,
}

/// Where carriers bring what they know.
pub(super) type Tell = mpsc::Sender<(ParticipantId, News)>;

impl People {
    /// One who is being called.
    pub(super) fn dial(
        &mut self,
        id: ParticipantId,
        dialog: String,
        permit: Permit,
        dial: impl FnOnce(LegSinks) -> Dialling,
        tell: Tell,
    ) {
        let (sinks, lines) = wire();
        let dialling = dial(sinks);
        let (recall, recalled) = oneshot::channel();
        let carrier = tokio::spawn(async move {
            match dialling.await {
                Ok(leg) => {
                    let _ = tell.send((id, News::Dialled(leg))).await;
                    carry(id, lines, tell, recalled).await
                }
                Err(result) => {
                    let _ = tell.send((id, News::Event(LegEvent::Ended(result)))).await;
                    None
                }
            }
        });
        self.add(id, (None, Some(dialog), vec![permit]), (carrier, recall));
    }

    /// One who is in another call of the bot: their leg comes from there.
    pub(super) fn borrow(
        &mut self,
        id: ParticipantId,
        coming: impl Future<Output = Result<Carried, ResultInfo>> + Send + 'static,
        tell: Tell,
    ) {
        let (recall, recalled) = oneshot::channel();
        let carrier = tokio::spawn(async move {
            match coming.await {
                Ok(Carried { leg, signals, events, stream, dialog, permits }) => {
                    let moved = Box::new(Moved { leg, stream, dialog, permits });
                    let _ = tell.send((id, News::Moved(moved))).await;
                    carry(id, Lines { signals, events }, tell, recalled).await
                }
                Err(result) => {
                    let _ = tell.send((id, News::Event(LegEvent::Ended(result)))).await;
                    None
                }
            }
        });
        self.add(id, (None, None, Vec::new()), (carrier, recall));
    }

    /// One whose telephone has dialled in: their leg rings here.
    pub(super) fn take(&mut self, id: ParticipantId, leg: LegHandle, dialog: String, tell: Tell) {
        let (sinks, lines) = wire();
        leg.attach(sinks);
        let (recall, recalled) = oneshot::channel();
        let carrier = tokio::spawn(carry(id, lines, tell, recalled));
        self.add(id, (Some(leg), Some(dialog), Vec::new()), (carrier, recall));
    }

    fn add(
        &mut self,
        id: ParticipantId,
        (leg, dialog, permits): (Option<LegHandle>, Option<String>, Vec<Permit>),
        (carrier, recall): (JoinHandle<Option<Lines>>, oneshot::Sender<()>),
    ) {
        self.has_new_dialogs = true;
        let carrier = AbortOnDropHandle::new(carrier);
        let dialled = leg.is_none().then(Instant::now);
        let person = Person { leg, stream: None, dialog, permits, dialled, carrier, recall };
        self.people.insert(id, person);
    }

    /// Takes what concerns the leg; the rest comes back.
    pub(super) fn note(&mut self, id: ParticipantId, news: News) -> Option<News> {
        // Who is gone is hung up by dropping their leg.
        let person = self.people.get_mut(&id)?;
        match news {
            News::Dialled(leg) => person.leg = Some(leg),
            News::Dialog(dialog) => {
                person.dialog = Some(dialog);
                self.has_new_dialogs = true;
            }
            News::Stream(stream) => {
                person.stream = Some(Arc::clone(&stream));
                return Some(News::Stream(stream));
            }
            News::Moved(moved) => {
                let Moved { leg, stream, dialog, permits } = *moved;
                (person.leg, person.stream) = (Some(leg), Some(stream));
                (person.dialog, person.permits) = (dialog, permits);
                self.has_new_dialogs = true;
                return Some(News::Event(LegEvent::Answered));
            }
            News::Event(event) => return Some(News::Event(event)),
            News::Played(event) => return Some(News::Played(event)),
            // Nobody of a conference is called because a telephone wants it.
            News::Referred => person.leg.iter().for_each(|leg| leg.report(603)),
        }
        None
    }

    pub(super) fn stream(&self, id: ParticipantId) -> Option<&Arc<StreamHandle>> {
        self.people.get(&id)?.stream.as_ref()
    }

    pub(super) fn answer(&self, id: ParticipantId) {
        if let Some(leg) = self.people.get(&id).and_then(|person| person.leg.as_ref()) {
            leg.command(graphophone_call::LegCommand::Answer);
        }
    }

    /// Takes somebody's leg out, with everything that hears of it; `None` if it has none yet, or is
    /// about to end: then they are hung up.
    pub(super) async fn carry_away(&mut self, id: ParticipantId) -> Option<Carried> {
        let Person { leg, stream, dialog, permits, carrier, recall, .. } =
            self.people.remove(&id)?;
        self.has_new_dialogs = true;
        let _ = recall.send(());
        let Lines { signals, events } = carrier.await.ok().flatten()?;
        Some(Carried { leg: leg?, signals, events, stream: stream?, dialog, permits })
    }

    pub(super) fn refer(&self, id: ParticipantId, ReferTo { target, replaces }: ReferTo) {
        if let Some(leg) = self.people.get(&id).and_then(|person| person.leg.as_ref()) {
            leg.command(graphophone_call::LegCommand::Refer { target, replaces });
        }
    }

    /// When the first of those who are left was dialled.
    pub(super) fn dialled_since(&self) -> Option<Instant> {
        self.people.values().filter_map(|person| person.dialled).min()
    }

    /// Hangs somebody up, or notes that they are gone.
    pub(super) fn remove(&mut self, id: ParticipantId) {
        self.has_new_dialogs |= self.people.remove(&id).is_some();
    }

    /// What ends all dialogs after a crash, if it is another now than it was.
    pub(super) fn new_dialogs(&mut self) -> Option<String> {
        std::mem::take(&mut self.has_new_dialogs).then(|| self.dialogs())
    }

    /// What ends all dialogs after a crash: one in each line.
    pub(super) fn dialogs(&self) -> String {
        let mut all: Vec<&str> =
            self.people.values().filter_map(|person| person.dialog.as_deref()).collect();
        all.sort_unstable();
        all.join("\n")
    }

    /// What was told of dialogs is durable.
    pub(super) fn dialogs_are_kept(&self) {
        let legs = self.people.values().filter_map(|person| person.leg.as_ref());
        legs.for_each(LegHandle::dialog_is_kept);
    }
}

/// A leg's queues, as its owner reads them.
struct Lines {
    signals: mpsc::Receiver<LegSignal>,
    events: mpsc::Receiver<StreamEvent>,
}

fn wire() -> (LegSinks, Lines) {
    let (signal_sender, signals) = mpsc::channel(EVENTS);
    let (stream, events) = mpsc::channel(EVENTS);
    (LegSinks { signals: signal_sender, stream }, Lines { signals, events })
}

/// Brings a leg's news to the conference, to its end; or until it is recalled, then what it reads
/// comes back.
async fn carry(
    id: ParticipantId,
    mut lines: Lines,
    tell: Tell,
    mut recalled: oneshot::Receiver<()>,
) -> Option<Lines> {
    loop {
        let news = tokio::select! {
            biased;
            // Without its other end nobody wants anything more.
            _ = &mut recalled => return Some(lines),
            signal = lines.signals.recv() => match signal {
                Some(LegSignal::Event(event)) => News::Event(event),
                Some(LegSignal::Stream(stream)) => News::Stream(stream),
                Some(LegSignal::Dialog(dialog)) => News::Dialog(dialog),
                Some(LegSignal::Referred(_)) => News::Referred,
                None => return None,
            },
            Some(event) = lines.events.recv() => match event {
                StreamEvent::Tone(code) => match Tone::from_event_code(code) {
                    Some(tone) => News::Event(LegEvent::Tone(tone)),
                    None => continue,
                },
                StreamEvent::Silent => {
                    let text = "The far end sent no media for too long.";
                    News::Event(LegEvent::Ended(ResultInfo::of_call(410, 301_005, text)))
                }
                StreamEvent::Finished(_) | StreamEvent::Stopped(_) => News::Played(event),
                StreamEvent::Receiving
                | StreamEvent::TonesSent(_)
                | StreamEvent::TonesStopped(_) => continue,
            },
        };
        let is_over = matches!(news, News::Event(LegEvent::Ended(_)));
        // Who recalls it reads no news meanwhile.
        let is_told = tokio::select! {
            told = tell.send((id, news)) => told.is_ok(),
            _ = &mut recalled => return if is_over { None } else { Some(lines) },
        };
        if !is_told || is_over {
            return None;
        }
    }
}
