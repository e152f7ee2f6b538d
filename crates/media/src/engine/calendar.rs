//! When each stream's next packet is due: a ring of lists, half a millisecond wide each, so that
//! putting a stream 20 ms further costs the same for one stream and for thousands.
//!
//! A list is served as a whole when its earliest deadline has come: what is in it with that one
//! leaves less than [`WIDTH`] early, for good, as 20 ms are a whole number of lists.

use std::time::{Duration, Instant};

/// Width of a list.
pub(super) const WIDTH: Duration = Duration::from_micros(500);
/// Lists of the ring: 64 ms, as a packet is due within 20 ms, or within 40 ms of a slip. Whatever
/// is due later is looked at in between.
const LISTS: u64 = 128;
/// The list that is being served, behind those of the ring.
const SERVED: usize = LISTS as usize;
/// No slot, and no list.
const NONE: u32 = u32::MAX;

/// Nanoseconds since the calendar began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(u64);

/// Slots by when they are due.
#[derive(Debug)]
pub(super) struct Calendar {
    began: Instant,
    lists: Box<[List]>,
    /// Lists of the ring that are not empty, a bit each.
    occupied: u128,
    /// By slot.
    places: Vec<Place>,
    /// Number of the first list that may have a slot, counted from the beginning.
    first: u64,
}

/// Slots that are due in the same half millisecond, in the order in which they came.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    tail: u32,
    /// No slot in it is due before.
    earliest: Moment,
}

/// Where a slot is.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Index of its list; [`NONE`] if it is in none.
    list: u32,
    previous: u32,
    next: u32,
}

impl List {
    const EMPTY: Self = Self { head: NONE, tail: NONE, earliest: Moment(u64::MAX) };
}

impl Moment {
    pub(super) fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    fn list(self) -> u64 {
        self.0 / (WIDTH.as_nanos() as u64)
    }
}

impl std::ops::Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_nanos() as u64))
    }
}

impl Calendar {
    pub(super) fn new(began: Instant) -> Self {
        Self {
            began,
            lists: vec![List::EMPTY; SERVED + 1].into(),
            occupied: 0,
            places: Vec::new(),
            first: 0,
        }
    }

    /// A time as this calendar counts it.
    pub(super) fn moment(&self, at: Instant) -> Moment {
        let since = at.saturating_duration_since(self.began);
        Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    /// Makes room for `slot`.
    pub(super) fn reserve(&mut self, slot: usize) {
        if self.places.len() <= slot {
            let nowhere = Place { list: NONE, previous: NONE, next: NONE };
            self.places.resize(slot + 1, nowhere);
        }
    }

    /// Not later than the earliest deadline.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let earliest = if self.lists[SERVED].head == NONE {
            self.lists[index(self.first_occupied()?)].earliest
        } else {
            self.lists[SERVED].earliest
        };
        Some(self.began + Duration::from_nanos(earliest.0))
    }

    /// Sets, moves or removes the deadline of a reserved slot.
    pub(super) fn set(&mut self, now: Moment, slot: usize, due: Option<Moment>) {
        self.remove(slot);
        let Some(due) = due else { return };
        if self.occupied == 0 {
            self.first = now.list();
        }
        let number = due.list().clamp(self.first, self.first + LISTS - 1);
        // Later than the ring reaches: at its end there is time to look again.
        let due = if due.list() > number { start(number) } else { due };
        self.append(index(number), slot, due);
        self.occupied |= 1 << index(number);
    }

    /// Takes a slot out that is due, or will be in less than [`WIDTH`].
    pub(super) fn pop(&mut self, now: Moment) -> Option<usize> {
        if self.lists[SERVED].head == NONE {
            self.serve(now)?;
        }
        let slot = self.lists[SERVED].head as usize;
        self.remove(slot);
        Some(slot)
    }

    /// Takes the first list out that is due, so that whatever is set from now on goes to others.
    fn serve(&mut self, now: Moment) -> Option<()> {
        // After a stall of more than the ring everything is overdue, and its order is lost.
        self.first = self.first.max((now.list() + 1).saturating_sub(LISTS));
        let due = self.first_occupied().filter(|it| self.lists[index(*it)].earliest <= now);
        let Some(number) = due else {
            // No list before this one has a slot.
            self.first = self.first.max(now.list());
            return None;
        };
        self.first = number;
        self.occupied &= !(1 << index(number));
        let list = std::mem::replace(&mut self.lists[index(number)], List::EMPTY);
        self.lists[SERVED] = list;
        let mut slot = list.head;
        while slot != NONE {
            let place = &mut self.places[slot as usize];
            place.list = SERVED as u32;
            slot = place.next;
        }
        Some(())
    }

    fn append(&mut self, list: usize, slot: usize, due: Moment) {
        let (name, tail) = (slot as u32, self.lists[list].tail);
        self.places[slot] = Place { list: list as u32, previous: tail, next: NONE };
        match tail {
            NONE => self.lists[list].head = name,
            tail => self.places[tail as usize].next = name,
        }
        self.lists[list].tail = name;
        self.lists[list].earliest = self.lists[list].earliest.min(due);
    }

    fn remove(&mut self, slot: usize) {
        let Place { list, previous, next } = self.places[slot];
        if list == NONE {
            return;
        }
        self.places[slot].list = NONE;
        let list = list as usize;
        match previous {
            NONE => self.lists[list].head = next,
            previous => self.places[previous as usize].next = next,
        }
        match next {
            NONE => self.lists[list].tail = previous,
            next => self.places[next as usize].previous = previous,
        }
        if self.lists[list].head == NONE {
            self.lists[list] = List::EMPTY;
            if list != SERVED {
                self.occupied &= !(1 << list);
            }
        }
    }

    /// Number of the first list with a slot.
    fn first_occupied(&self) -> Option<u64> {
        let ahead = self.occupied.rotate_right((self.first % LISTS) as u32);
        (ahead != 0).then(|| self.first + u64::from(ahead.trailing_zeros()))
    }
}

fn index(number: u64) -> usize {
    (number % LISTS) as usize
}

/// When a list begins.
fn start(number: u64) -> Moment {
    Moment(number * WIDTH.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const RING: u64 = LISTS * 500;

    /// What a test does at a time, in microseconds.
    #[derive(Clone, Debug)]
    enum Step {
        Set { slot: usize, after: Option<u64> },
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..8, proptest::option::of(0..RING * 2))
                .prop_map(|(slot, after)| Step::Set { slot, after }),
            (0usize..8, Just(Some(20_000))).prop_map(|(slot, after)| Step::Set { slot, after }),
            (0..RING * 3 / 2).prop_map(Step::Pass),
            (0u64..700).prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// Whatever is set and however long nobody looks: what is due is popped, once, nothing
        /// leaves earlier than the width of a list, and nobody has to wake late.
        #[test]
        fn what_is_due_comes_and_nothing_comes_early(steps in proptest::collection::vec(step(), 1..120)) {
            let began = Instant::now();
            let mut calendar = Calendar::new(began);
            calendar.reserve(7);
            let (mut now, mut model) = (1_000_u64, BTreeMap::new());
            let moment = |microseconds: u64| Moment(microseconds * 1_000);
            for step in steps {
                match step {
                    Step::Set { slot, after } => {
                        let due = after.map(|after| now + after);
                        calendar.set(moment(now), slot, due.map(moment));
                        match due {
                            Some(due) => drop(model.insert(slot, due)),
                            None => drop(model.remove(&slot)),
                        }
                    }
                    Step::Pass(span) => {
                        now += span;
                        let mut popped = Vec::new();
                        while let Some(slot) = calendar.pop(moment(now)) {
                            prop_assert!(!popped.contains(&slot));
                            popped.push(slot);
                            let due = model[&slot];
                            if due < now + 500 {
                                model.remove(&slot);
                            }
                        }
                        prop_assert!(model.values().all(|due| *due > now), "left at {now}: {model:?}");
                        // What is far away was only looked at.
                        for slot in popped {
                            if let Some(due) = model.get(&slot) {
                                prop_assert!(*due > now + 500);
                                calendar.set(moment(now), slot, Some(moment(*due)));
                            }
                        }
                    }
                }
                let wake = calendar.earliest().map(|at| calendar.moment(at));
                prop_assert_eq!(wake.is_some(), !model.is_empty());
                if let (Some(wake), Some(due)) = (wake, model.values().min()) {
                    prop_assert!(wake <= moment(*due));
                }
            }
        }
    }

    #[test]
    fn slots_of_a_list_keep_their_order_from_round_to_round() {
        let mut calendar = Calendar::new(Instant::now());
        calendar.reserve(2);
        let mut now = Moment(0);
        for slot in [2, 0, 1] {
            calendar.set(now, slot, Some(now));
        }
        for _ in 0..10 {
            for expected in [2, 0, 1] {
                assert_eq!(calendar.pop(now), Some(expected));
                calendar.set(now, expected, Some(now + Duration::from_millis(20)));
            }
            assert_eq!(calendar.pop(now), None);
            now = now + Duration::from_millis(20);
        }
    }
}
