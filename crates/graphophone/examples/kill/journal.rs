//! What everybody has seen: the bot's requests and answers, the phones' dialogs and samples, the
//! webhook's posts. The rig is never killed, so memory is durable enough.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::time::Instant;

/// Milliseconds of each prompt of each operation of a call, in the order in which they are asked
/// for; the last one loops.
pub(crate) const OPERATIONS: [&[u32]; 5] = [&[160], &[40; 20], &[100, 200, 60], &[300, 300], &[80]];
pub(crate) const LOOP: usize = 4;

/// The code that all samples of a prompt have: told apart within a call.
pub(crate) fn code(operation: usize, prompt: usize) -> u8 {
    u8::try_from(1 + operation * 21 + prompt).expect("few operations with at most 20 prompts")
}

/// A call of a round.
pub(crate) type Number = (u32, u32);

#[derive(Debug, Default)]
pub(crate) struct Journal {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) calls: BTreeMap<Number, CallSeen>,
    /// Posts of notifications, by call id, in order of their first arrival.
    pub(crate) told: HashMap<String, Vec<Told>>,
}

/// One call from all sides.
#[derive(Debug, Default)]
pub(crate) struct CallSeen {
    /// Its Graph id, once a 201 said so.
    pub(crate) id: Option<String>,
    /// Operations whose 200 has come.
    pub(crate) operations: [Option<String>; OPERATIONS.len()],
    /// Requests that were answered otherwise than before.
    pub(crate) contradictions: Vec<String>,
    /// SIP dialogs of its phone, by Call-ID.
    pub(crate) dialogs: BTreeMap<String, DialogSeen>,
    /// Samples heard of each code.
    pub(crate) heard: HashMap<u8, u64>,
}

#[derive(Debug, Default)]
pub(crate) struct DialogSeen {
    pub(crate) answered: bool,
    pub(crate) acknowledged: bool,
    pub(crate) ended: Option<Instant>,
}

/// One notification.
#[derive(Debug)]
pub(crate) struct Told {
    /// `webhook-id`.
    pub(crate) id: String,
    pub(crate) value: Value,
    pub(crate) body: Vec<u8>,
    /// How often it was taken with 2xx.
    pub(crate) taken: u32,
}

impl Journal {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn call(&self, number: Number, note: impl FnOnce(&mut CallSeen)) {
        note(self.lock().calls.entry(number).or_default());
    }

    /// A round is over and judged.
    pub(crate) fn forget(&self, round: u32) {
        let mut inside = self.lock();
        let ids: Vec<String> = inside
            .calls
            .iter()
            .filter(|((of, _), _)| *of == round)
            .filter_map(|(_, call)| call.id.clone())
            .collect();
        ids.iter().for_each(|id| drop(inside.told.remove(id)));
        inside.calls.retain(|(of, _), _| *of != round);
    }
}

impl Inside {
    pub(crate) fn of_round(&self, round: u32) -> impl Iterator<Item = (&Number, &CallSeen)> {
        self.calls.range((round, 0)..(round + 1, 0))
    }

    pub(crate) fn told_of(&self, call: &CallSeen) -> &[Told] {
        call.id.as_ref().and_then(|id| self.told.get(id)).map_or(&[], Vec::as_slice)
    }
}
