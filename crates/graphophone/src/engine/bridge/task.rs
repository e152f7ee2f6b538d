//! One task owns two legs and the room in which they hear each other, and hands on the keys that each
//! presses. It ends with either of them, and with the server.

use std::{sync::Arc, time::Duration};

use graphophone_call::{AppId, CallId, KeySource, KeySources, LegEvent, TenantId, Tone};
use graphophone_media::{
    engine::{StreamEvent, StreamHandle, TonesId},
    room::{MemberId, Room, RoomConfig, RoomEvent},
};
use graphophone_sip::LegSignal;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

use super::Carried;
use crate::engine::{registry::Shared, request::View};

/// A key that one leg has pressed, as the other hears it; and the shortest pause between two.
const KEY_LENGTH: Duration = Duration::from_millis(100);
const KEY_PAUSE: Duration = Duration::from_millis(60);

/// What keeps what ends the dialogs of two legs after a crash, for as long as they last.
pub(in crate::engine) enum Row {
    /// That of the call that they come from.
    Call(View),
    /// One of their own.
    Own(CallId, (TenantId, AppId)),
}

/// Connects two legs until one of them ends.
pub(in crate::engine) async fn bridge(shared: Arc<Shared>, row: Row, legs: [Carried; 2]) {
    let call_id = match &row {
        Row::Call(view) => view.details.id,
        Row::Own(id, _) => *id,
    };
    let [mut first, mut second] = legs;
    let room = open(&shared, [&first, &second]);
    let streams = [&first, &second].map(|carried| Arc::clone(&carried.stream));
    // Longer than no call that was dialled.
    let limit = shared.settings.longest_outgoing;
    match room {
        Ok((_room, mut news)) => {
            info!(%call_id, "two legs are bridged");
            tokio::select! {
                () = follow(&mut first, &streams[1]) => {}
                () = follow(&mut second, &streams[0]) => {}
                () = parted(&mut news) => warn!(%call_id, "a bridge has lost a stream"),
                () = shared.draining.cancelled() => {}
                () = sleep(limit.unwrap_or_default()), if limit.is_some() => {}
            }
        }
        Err(error) => warn!(%call_id, error, "two legs cannot be bridged, and are hung up"),
    }
    // Both are hung up with their handles.
    drop((first, second));
    match row {
        Row::Call(view) => shared.ledger.forget_dialogs(&view).await,
        Row::Own(id, owner) => shared.ledger.forget_own_dialogs(id, owner).await,
    }
}

fn open(shared: &Shared, legs: [&Carried; 2]) -> Result<(Room, mpsc::Receiver<RoomEvent>), String> {
    let rooms = shared.conferences.rooms();
    let (room, news) = rooms.open(RoomConfig { speakers: 2 }).map_err(|error| error.to_string())?;
    for (number, carried) in (0..).zip(legs) {
        room.join(MemberId(number), &carried.stream).map_err(|error| error.to_string())?;
    }
    Ok((room, news))
}

/// Follows a leg to its end. Its keys go to the other, as telephone-events or as sound; those that it
/// sends as sound are heard like anything else. Its holds are its own affair.
async fn follow(carried: &mut Carried, other: &StreamHandle) {
    let mut keys = KeyRelay { other, sources: KeySources::default(), pressed: 0 };
    loop {
        tokio::select! {
            signal = carried.signals.recv() => match signal {
                None | Some(LegSignal::Event(LegEvent::Ended(_))) => return,
                Some(LegSignal::Referred(_)) => carried.leg.report(603),
                Some(LegSignal::Event(
                    LegEvent::Ringing
                    | LegEvent::Answered
                    | LegEvent::Media { .. }
                    | LegEvent::ReferAccepted
                    | LegEvent::ReferRefused
                    | LegEvent::ReferEnded(_)
                    | LegEvent::Conference(_),
                ) | LegSignal::Stream(_) | LegSignal::Dialog(_)) => {}
                Some(LegSignal::Event(LegEvent::Tone(tone))) => {
                    keys.press(tone, KeySource::Info);
                }
            },
            Some(event) = carried.events.recv() => match event {
                StreamEvent::Tone(code) => {
                    let tone = Tone::from_event_code(code);
                    tone.into_iter().for_each(|tone| keys.press(tone, KeySource::Event));
                }
                StreamEvent::Silent => {
                    warn!("a bridge ends: a far end sent no media for too long");
                    return;
                }
                StreamEvent::Finished(_)
                | StreamEvent::Stopped(_)
                | StreamEvent::Receiving
                | StreamEvent::TonesSent(_)
                | StreamEvent::TonesStopped(_) => {}
            },
        }
    }
}

/// Presses towards one leg what the other has pressed.
struct KeyRelay<'a> {
    other: &'a StreamHandle,
    sources: KeySources,
    pressed: u128,
}

impl KeyRelay<'_> {
    /// A press that was heard in another way already is not handed on again. One too many (256 that
    /// wait) is lost, as is one that has no sound where sound is all there is.
    fn press(&mut self, tone: Tone, source: KeySource) {
        if !self.sources.hear(Instant::now().into_std(), tone, source) {
            return;
        }
        self.pressed += 1;
        let (id, codes) = (TonesId(self.pressed), vec![tone.event_code()]);
        if let Err(error) = self.other.send_tones(id, codes, KEY_LENGTH, KEY_PAUSE) {
            debug!(%error, "a key is not handed on");
        }
    }
}

async fn parted(news: &mut mpsc::Receiver<RoomEvent>) {
    while let Some(event) = news.recv().await {
        match event {
            RoomEvent::Gone(_) => return,
            RoomEvent::Speakers(_) => {}
        }
    }
    std::future::pending().await
}
