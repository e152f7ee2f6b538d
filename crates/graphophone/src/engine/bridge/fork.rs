//! Calls several targets at once: the first to answer wins, the others stop ringing.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use graphophone_call::{LegEvent, ResultInfo};
use graphophone_sip::{LegSignal, LegSinks};
use tokio::sync::mpsc;

use super::{Callee, Carried};
use crate::engine::registry::Shared;

/// Signals of one leg that wait here; what does not fit waits at the leg.
const SIGNALS: usize = 16;
const EVENTS: usize = 64;

/// Who is called, and in whose name.
pub(in crate::engine) struct Forked {
    pub(in crate::engine) targets: Vec<Callee>,
    pub(in crate::engine) from_user: String,
    pub(in crate::engine) from_display: Option<String>,
    pub(in crate::engine) ring_for: Duration,
}

/// Calls all targets. `rings` hears that one rings, at most once. Dropping the future calls nobody
/// any more: a leg whose handle is gone is cancelled, or hung up.
pub(in crate::engine) async fn fork(
    shared: Arc<Shared>,
    forked: Forked,
    rings: mpsc::Sender<()>,
) -> Result<Carried, ResultInfo> {
    let Forked { targets, from_user, from_display, ring_for } = forked;
    let mut calls: FuturesUnordered<_> = targets
        .into_iter()
        .map(|callee| {
            let from = (from_user.clone(), from_display.clone());
            reach(Arc::clone(&shared), callee, from, ring_for, rings.clone())
        })
        .collect();
    let mut why: Option<ResultInfo> = None;
    while let Some(outcome) = calls.next().await {
        match outcome {
            // The others' futures are dropped with the rest.
            Ok(carried) => return Ok(carried),
            // Of several refusals, a busy one says most.
            Err(result) => {
                let is_better = why.as_ref().is_none_or(|known| known.code != 486);
                why = if is_better { Some(result) } else { why };
            }
        }
    }
    Err(why.unwrap_or_else(|| ResultInfo::of_call(480, 10037, "Nobody could be called.")))
}

async fn reach(
    shared: Arc<Shared>,
    Callee { route, permit, sip_call_id }: Callee,
    from: (String, Option<String>),
    ring_for: Duration,
    rings: mpsc::Sender<()>,
) -> Result<Carried, ResultInfo> {
    let (signal_sender, mut signals) = mpsc::channel(SIGNALS);
    let (event_sender, events) = mpsc::channel(EVENTS);
    let sinks = LegSinks { signals: signal_sender, stream: event_sender };
    let leg = shared.place_call_as(route, from, ring_for, sip_call_id, sinks).await?;
    let (mut stream, mut dialog) = (None, None);
    while let Some(signal) = signals.recv().await {
        match signal {
            LegSignal::Stream(new) => stream = Some(new),
            LegSignal::Dialog(new) => dialog = Some(new),
            LegSignal::Referred(_) => leg.report(603),
            LegSignal::Event(LegEvent::Ringing) => drop(rings.try_send(())),
            LegSignal::Event(LegEvent::Answered) => {
                let Some(stream) = stream.take() else { break };
                return Ok(Carried { leg, signals, events, stream, dialog, permits: vec![permit] });
            }
            LegSignal::Event(LegEvent::Ended(result)) => return Err(result),
            LegSignal::Event(
                LegEvent::Media { .. }
                | LegEvent::Tone(_)
                | LegEvent::ReferAccepted
                | LegEvent::ReferRefused
                | LegEvent::ReferEnded(_)
                | LegEvent::Conference(_),
            ) => {}
        }
    }
    Err(ResultInfo::of_call(500, 9001, "The SIP endpoint has stopped."))
}
