//! Conferences: one task each, which owns the legs and streams of its people, the places of its
//! bots, and the room they hear each other in.
//!
//! A group call is an ordinary call whose leg is its [`Place`] here, so no task touches two calls:
//! what a bot asks goes from its call to the conference, and comes back as signals.

mod bots;
mod calls;
mod mailbox;
mod orphans;
mod people;
mod sound;
mod task;
mod tune;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use graphophone_call::{
    AppId, BotPlace, ConferenceSettings, Identity, LegEvent, ParticipantId, ResultInfo, TenantId,
    WithoutBot,
};
use graphophone_media::{engine::Engine, room::Rooms};
use graphophone_sip::{LegHandle, LegSignal, LegSinks};

use self::{
    mailbox::{Ask, Mailbox, Refused, give_back},
    task::ConferenceTask,
};
use super::{quota::Permit, registry::Shared};
use crate::{auth::Secret, config::Pattern};

pub use calls::JoinError;
pub(super) use mailbox::Place;

/// Which conference is meant: all who name the same one meet in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeetingKey {
    /// Tenants never meet.
    pub tenant: TenantId,
    /// A name of the configuration, or any other text that bots agree on.
    pub name: String,
}

/// A conference of the configuration (`[[conference]]`).
#[derive(Clone)]
pub struct NamedConference {
    /// What bots join it by, in which tenant.
    pub key: MeetingKey,
    /// Numbers by which telephones dial in.
    pub to: Option<Pattern>,
    /// What bots have to send with its name.
    pub passcode: Option<Secret>,
    /// It takes callers, and goes on, without a bot.
    pub without_bot: bool,
}

/// What the configuration says of conferences.
#[derive(Clone, Default)]
pub struct ConferenceRules {
    /// Those that have a name.
    pub named: Vec<NamedConference>,
    /// Most participants of one conference, those included who are being called.
    pub most_participants: usize,
    /// How long people go on after the last bot has left; zero ends a conference with it.
    pub without_bot: Duration,
}

/// What conferences are heard by.
#[derive(Clone)]
pub struct ConferenceAudio {
    /// Streams of bots are made here.
    pub engine: Engine,
    /// Where all are mixed.
    pub rooms: Rooms,
}

/// All conferences of this server.
pub(super) struct Conferences {
    rules: ConferenceRules,
    audio: ConferenceAudio,
    /// Those that others can find.
    open: Mutex<HashMap<MeetingKey, Mailbox>>,
}

impl Conferences {
    pub(super) fn new(rules: ConferenceRules, audio: ConferenceAudio) -> Self {
        Self { rules, audio, open: Mutex::default() }
    }

    /// Where bridged legs meet, too.
    pub(super) fn rooms(&self) -> &Rooms {
        &self.audio.rooms
    }

    fn named(&self, key: &MeetingKey) -> Option<&NamedConference> {
        self.rules.named.iter().find(|named| named.key == *key)
    }

    /// The conference that a number leads to.
    fn dialled(&self, number: &str) -> Option<&NamedConference> {
        let leads = |named: &&NamedConference| {
            named.to.as_ref().is_some_and(|pattern| pattern.matches(number))
        };
        self.rules.named.iter().find(leads)
    }

    fn settings(&self, key: Option<&MeetingKey>) -> ConferenceSettings {
        let named = key.and_then(|key| self.named(key));
        ConferenceSettings {
            is_meeting: key.is_some(),
            without_bot: match named {
                Some(named) if named.without_bot => WithoutBot::Stands,
                Some(_) | None if self.rules.without_bot.is_zero() => WithoutBot::Ends,
                Some(_) | None => WithoutBot::GoesOn,
            },
            most_participants: self.rules.most_participants,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<MeetingKey, Mailbox>> {
        // Whole after any panic: each change is one insert or remove.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for NamedConference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "NamedConference {{ name: {:?}, to: {:?}, passcode: *** }}",
            self.key.name, self.to
        )
    }
}

/// A bot's call that takes its place.
pub(super) struct Joining {
    place: BotPlace,
    owner: (TenantId, AppId),
    sinks: LegSinks,
    /// How long whom it calls may ring.
    ring_timeout: Duration,
    /// Leave for the first whom it calls.
    permits: Vec<Permit>,
}

/// A telephone that has dialled in.
pub(super) struct Arrival {
    participant: ParticipantId,
    identity: Arc<Identity>,
    leg: LegHandle,
    /// What ends its dialog after a crash.
    dialog: String,
}

impl Shared {
    /// Takes a bot's call to its conference, which is made if there is none.
    fn enter(self: &Arc<Self>, key: Option<&MeetingKey>, joining: Joining) -> Place {
        let participant = joining.place.participant;
        let mut ask = Ask::Join(Box::new(joining));
        // One that ends at this moment is not found again.
        loop {
            let mailbox = self.find_or_open(key);
            match mailbox.post(ask) {
                Ok(()) => return Place::new(participant, mailbox),
                Err((again, Refused::Closed)) => ask = again,
                Err((refused, Refused::Full)) => {
                    if let Ask::Join(joining) = refused {
                        let text = "The conference has too much to do.";
                        let end = LegEvent::Ended(ResultInfo::of_call(429, 8516, text));
                        let _ = joining.sinks.signals.try_send(LegSignal::Event(end));
                    }
                    return Place::new(participant, mailbox);
                }
            }
        }
    }

    /// Takes a telephone to a named conference. Its leg comes back if it has to be refused.
    fn dial_in(self: &Arc<Self>, key: &MeetingKey, arrival: Arrival) -> Result<(), LegHandle> {
        let may_begin = self.conferences.settings(Some(key)).without_bot == WithoutBot::Stands;
        let mut ask = Ask::Arrive(Box::new(arrival));
        loop {
            let is_open = self.conferences.lock().contains_key(key);
            if !is_open && !may_begin {
                return give_back(ask).map_or(Ok(()), Err);
            }
            match self.find_or_open(Some(key)).post(ask) {
                Ok(()) => return Ok(()),
                Err((again, Refused::Closed)) => ask = again,
                Err((refused, Refused::Full)) => return give_back(refused).map_or(Ok(()), Err),
            }
        }
    }

    fn find_or_open(self: &Arc<Self>, key: Option<&MeetingKey>) -> Mailbox {
        let mailbox = Mailbox::default();
        if let Some(key) = key {
            let mut open = self.conferences.lock();
            if let Some(known) = open.get(key).filter(|known| !known.is_closed()) {
                return known.clone();
            }
            open.insert(key.clone(), mailbox.clone());
        }
        let task = ConferenceTask::new(Arc::clone(self), key.cloned(), mailbox.clone());
        self.tasks.spawn(task.run());
        mailbox
    }
}
