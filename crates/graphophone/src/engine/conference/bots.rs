//! The bots of a conference: what their calls are told, in order, however slow they are.

use std::{collections::VecDeque, time::Duration};

use graphophone_call::{AppId, ConferenceEvent, LegEvent, ParticipantId, TenantId};
use graphophone_media::engine::StreamEvent;
use graphophone_sip::{LegSignal, LegSinks};
use tokio::sync::mpsc::error::TrySendError;

use super::Joining;
use crate::engine::quota::Permit;

/// Signals that may wait for one call; then older rosters give way to newer ones.
const MOST_KEPT: usize = 64;

/// One bot's call.
pub(super) struct Bot {
    pub(super) id: ParticipantId,
    pub(super) owner: (TenantId, AppId),
    pub(super) sinks: LegSinks,
    pub(super) ring_timeout: Duration,
    permits: Vec<Permit>,
    kept: VecDeque<Word>,
}

/// What a call is told.
enum Word {
    Signal(LegSignal),
    /// What it plays to one participant is over.
    Played(StreamEvent),
}

/// All of them, in the order they came.
#[derive(Default)]
pub(super) struct Bots(Vec<Bot>);

impl Bots {
    pub(super) fn add(&mut self, joining: Joining) -> graphophone_call::BotPlace {
        let Joining { place, owner, sinks, ring_timeout, permits } = joining;
        let id = place.participant;
        self.0.push(Bot { id, owner, sinks, ring_timeout, permits, kept: VecDeque::new() });
        place
    }

    pub(super) fn get(&self, id: ParticipantId) -> Option<&Bot> {
        self.0.iter().find(|bot| bot.id == id)
    }

    /// Whether there is no bot beside this one.
    pub(super) fn is_last(&self, id: ParticipantId) -> bool {
        self.0.iter().all(|bot| bot.id == id)
    }

    /// Leave that a bot has brought along for whom it calls.
    pub(super) fn permit(&mut self, id: ParticipantId) -> Option<Permit> {
        self.0.iter_mut().find(|bot| bot.id == id)?.permits.pop()
    }

    /// The one whose call keeps the dialogs of all.
    pub(super) fn keeper(&self) -> Option<ParticipantId> {
        self.0.first().map(|bot| bot.id)
    }

    /// Tells a bot's call. The last word, that it has ended, gives up its place.
    pub(super) fn tell(&mut self, id: ParticipantId, signal: LegSignal) {
        let Some(at) = self.0.iter().position(|bot| bot.id == id) else { return };
        let is_last = matches!(signal, LegSignal::Event(LegEvent::Ended(_)));
        let bot = &mut self.0[at];
        bot.kept.push_back(Word::Signal(signal));
        if bot.kept.len() > MOST_KEPT {
            bot.forget_a_roster();
        }
        bot.offer();
        if is_last {
            let Bot { sinks, kept, .. } = self.0.remove(at);
            if !kept.is_empty() {
                // Few, and the call drains its queue or drops it.
                tokio::spawn(async move {
                    for word in kept {
                        let is_taken = match word {
                            Word::Signal(signal) => sinks.signals.send(signal).await.is_ok(),
                            Word::Played(event) => sinks.stream.send(event).await.is_ok(),
                        };
                        if !is_taken {
                            return;
                        }
                    }
                });
            }
        }
    }

    /// Tells all calls of a playout on a participant's stream: whose it is knows it.
    pub(super) fn tell_of_playout(&mut self, event: &StreamEvent) {
        for bot in &mut self.0 {
            // One that has so much to hear is behind by far, and its operations end with it.
            if bot.kept.len() < MOST_KEPT {
                bot.kept.push_back(Word::Played(event.clone()));
            }
            bot.offer();
        }
    }

    /// Offers once more what calls had no room for. True if something is still kept.
    pub(super) fn offer(&mut self) -> bool {
        self.0.iter_mut().for_each(Bot::offer);
        self.is_behind()
    }

    pub(super) fn is_behind(&self) -> bool {
        self.0.iter().any(|bot| !bot.kept.is_empty())
    }
}

impl Bot {
    fn offer(&mut self) {
        while let Some(word) = self.kept.pop_front() {
            // A call that is gone wants nothing more; its place is given up, too.
            let refused = match word {
                Word::Signal(signal) => match self.sinks.signals.try_send(signal) {
                    Ok(()) | Err(TrySendError::Closed(_)) => continue,
                    Err(TrySendError::Full(signal)) => Word::Signal(signal),
                },
                Word::Played(event) => match self.sinks.stream.try_send(event) {
                    Ok(()) | Err(TrySendError::Closed(_)) => continue,
                    Err(TrySendError::Full(event)) => Word::Played(event),
                },
            };
            return self.kept.push_front(refused);
        }
    }

    /// The oldest roster that another follows: each is whole, so that it says nothing more.
    fn forget_a_roster(&mut self) {
        let is_roster = |word: &Word| {
            let Word::Signal(LegSignal::Event(event)) = word else { return false };
            matches!(event, LegEvent::Conference(ConferenceEvent::Roster(_)))
        };
        let mut rosters =
            self.kept.iter().enumerate().filter(|(_, word)| is_roster(word)).map(|(at, _)| at);
        if let (Some(oldest), Some(_)) = (rosters.next(), rosters.next()) {
            self.kept.remove(oldest);
        }
    }
}
