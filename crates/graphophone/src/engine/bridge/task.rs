//! One task owns two legs and the room in which they hear each other. It ends with either of them,
//! and with the server.

use std::sync::Arc;

use graphophone_call::LegEvent;
use graphophone_media::room::{MemberId, Room, RoomConfig, RoomEvent};
use graphophone_sip::LegSignal;
use tokio::{sync::mpsc, time::sleep};
use tracing::{info, warn};

use super::Carried;
use crate::engine::{registry::Shared, request::View};

/// Connects two legs until one of them ends. `view` is the call that they come from: its row keeps
/// what ends their dialogs after a crash for as long as they last.
pub(in crate::engine) async fn bridge(shared: Arc<Shared>, view: View, legs: [Carried; 2]) {
    let call_id = view.details.id;
    let [mut first, mut second] = legs;
    let room = open(&shared, [&first, &second]);
    // Longer than no call that was dialled.
    let limit = shared.settings.longest_outgoing;
    match room {
        Ok((_room, mut news)) => {
            info!(%call_id, "two legs are bridged");
            tokio::select! {
                () = ended(&mut first) => {}
                () = ended(&mut second) => {}
                () = parted(&mut news) => warn!(%call_id, "a bridge has lost a stream"),
                () = shared.draining.cancelled() => {}
                () = sleep(limit.unwrap_or_default()), if limit.is_some() => {}
            }
        }
        Err(error) => warn!(%call_id, error, "two legs cannot be bridged, and are hung up"),
    }
    // Both are hung up with their handles.
    drop((first, second));
    shared.ledger.forget_dialogs(&view).await;
}

fn open(shared: &Shared, legs: [&Carried; 2]) -> Result<(Room, mpsc::Receiver<RoomEvent>), String> {
    let rooms = shared.conferences.rooms();
    let (room, news) = rooms.open(RoomConfig { speakers: 2 }).map_err(|error| error.to_string())?;
    for (number, carried) in (0..).zip(legs) {
        room.join(MemberId(number), &carried.stream).map_err(|error| error.to_string())?;
    }
    Ok((room, news))
}

/// Waits for a leg's end. Its keys and holds are its own affair: the other hears what comes.
async fn ended(carried: &mut Carried) {
    loop {
        tokio::select! {
            signal = carried.signals.recv() => match signal {
                None | Some(LegSignal::Event(LegEvent::Ended(_))) => return,
                Some(LegSignal::Referred(_)) => carried.leg.report(603),
                Some(LegSignal::Event(
                    LegEvent::Ringing
                    | LegEvent::Answered
                    | LegEvent::Media { .. }
                    | LegEvent::Tone(_)
                    | LegEvent::ReferAccepted
                    | LegEvent::ReferRefused
                    | LegEvent::ReferEnded(_)
                | LegEvent::Conference(_),
                ) | LegSignal::Stream(_) | LegSignal::Dialog(_)) => {}
            },
            Some(_) = carried.events.recv() => {}
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
