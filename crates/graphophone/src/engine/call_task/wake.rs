//! What a call's task waits for.

use std::sync::Arc;

use graphophone_call::{BridgeEvent, Input, KeySource, LegEvent, ResultInfo, Tone};
use graphophone_media::{
    ear::EarEvent,
    engine::{PlayoutId, StreamEvent, StreamHandle},
};
use graphophone_sip::{LegHandle, LegSignal, Referral};
use tokio::time::{Instant, sleep_until};

use super::CallTask;
use crate::engine::{
    audio::{Audio, Loan, News, Told},
    recorder::Heard,
    request::Request,
};

/// What woke the task.
pub(super) enum Wake {
    Request(Request),
    Input(Input),
    Stream(Arc<StreamHandle>),
    Dialog(String),
    Referred(Referral),
    Bridge(BridgeEvent),
    PlayedOut(PlayoutId),
    Cut(PlayoutId),
    Lent(Loan),
    Prepared(News),
    Heard(Heard),
    Dialled(Result<LegHandle, ResultInfo>),
    Drains,
    ServerStops,
    Abandoned,
    Retry,
}

impl CallTask {
    /// Waits for the next thing to happen; cancel-safe, decides nothing.
    pub(super) async fn next(&mut self) -> Wake {
        let deadline = self.call.poll_timeout().map(Instant::from_std);
        let retry = self.backlog.as_ref().map(|backlog| backlog.due);
        tokio::select! {
            biased;
            () = self.shared.abandoned.cancelled() => Wake::Abandoned,
            Some(signal) = self.signals.recv() => match signal {
                // By INFO: what comes as a telephone-event comes from the stream.
                LegSignal::Event(LegEvent::Tone(tone)) => match self.press(tone, KeySource::Info) {
                    Some(press) => press,
                    None => Box::pin(self.next()).await,
                },
                LegSignal::Event(event) => Wake::Input(Input::Leg(event)),
                LegSignal::Stream(stream) => Wake::Stream(stream),
                LegSignal::Dialog(dialog) => Wake::Dialog(dialog),
                LegSignal::Referred(referral) => Wake::Referred(referral),
            },
            Some(event) = self.stream_events.recv() => match event {
                StreamEvent::Finished(id) => Wake::PlayedOut(id),
                // By a stop of ours, or because a participant's stream had no place for it.
                StreamEvent::Stopped(id) => Wake::Cut(id),
                StreamEvent::Tone(code) => match Tone::from_event_code(code)
                    .and_then(|tone| self.press(tone, KeySource::Event))
                {
                    Some(press) => press,
                    None => Box::pin(self.next()).await,
                },
                StreamEvent::Silent => Wake::Input(Input::Leg(LegEvent::Ended(silent()))),
                StreamEvent::Receiving => Box::pin(self.next()).await,
                StreamEvent::TonesSent(id) => Wake::Input(Audio::tones(id, true)),
                StreamEvent::TonesStopped(id) => Wake::Input(Audio::tones(id, false)),
            },
            event = self.handover.news() => Wake::Bridge(event),
            input = self.speech.next() => Wake::Input(input),
            Some(told) = self.audio.next() => match told {
                Told::Prompt(news) => Wake::Prepared(news),
                Told::Heard(Heard::Ear(EarEvent::Tone(code))) => {
                    match Tone::from_event_code(code)
                        .and_then(|tone| self.press(tone, KeySource::Sound))
                    {
                        Some(press) => press,
                        None => Box::pin(self.next()).await,
                    }
                }
                Told::Lent(loan) => Wake::Lent(loan),
                Told::Heard(heard) => Wake::Heard(heard),
            },
            Some(outcome) = &mut self.dialling => {
                self.dialling = None.into();
                Wake::Dialled(outcome)
            }
            () = self.shared.stopping.cancelled(), if !self.knows_of_stop => Wake::ServerStops,
            () = self.shared.draining.cancelled(), if !self.is_draining => Wake::Drains,
            Some(request) = self.requests.recv() => Wake::Request(request),
            () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some() => Wake::Retry,
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                Wake::Input(Input::Timeout)
            }
        }
    }
}

impl CallTask {
    /// A key press, unless it was heard in another way already.
    pub(super) fn press(&mut self, tone: Tone, source: KeySource) -> Option<Wake> {
        let is_new = self.keys.hear(Instant::now().into_std(), tone, source);
        is_new.then_some(Wake::Input(Input::Leg(LegEvent::Tone(tone))))
    }
}

/// Why a call ends whose far end has fallen silent. Its leg is dropped with it, which sends BYE.
fn silent() -> ResultInfo {
    ResultInfo::of_call(410, 301_005, "The far end sent no media for too long.")
}
