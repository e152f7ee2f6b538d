//! When each stream next wants to be woken for something else than a packet: a binary heap with one
//! entry per stream whose deadline can be moved, so that it never grows with use and a tick costs
//! no allocation.

use std::time::Instant;

/// Deadlines by slot.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    heap: Vec<(Instant, usize)>,
    /// Where a slot's entry is in `heap`.
    places: Vec<Option<usize>>,
}

impl Deadlines {
    /// Makes room for `slot`, so that [`Self::set`] does not allocate.
    pub(super) fn reserve(&mut self, slot: usize) {
        if self.places.len() <= slot {
            self.places.resize(slot + 1, None);
        }
        self.heap.reserve(self.places.len().saturating_sub(self.heap.len()));
    }

    /// The earliest deadline.
    pub(super) fn first(&self) -> Option<(Instant, usize)> {
        self.heap.first().copied()
    }

    /// Sets, moves or removes the deadline of a reserved slot.
    pub(super) fn set(&mut self, slot: usize, deadline: Option<Instant>) {
        match (self.places[slot], deadline) {
            (None, None) => {}
            (None, Some(deadline)) => {
                self.heap.push((deadline, slot));
                self.rise(self.heap.len() - 1);
            }
            (Some(place), Some(deadline)) if self.heap[place].0 == deadline => {}
            (Some(place), Some(deadline)) => {
                let earlier = deadline < self.heap[place].0;
                self.heap[place].0 = deadline;
                if earlier { self.rise(place) } else { self.sink(place) }
            }
            (Some(place), None) => {
                self.places[slot] = None;
                self.heap.swap_remove(place);
                if place < self.heap.len() {
                    self.places[self.heap[place].1] = Some(place);
                    self.sink(place);
                    self.rise(place);
                }
            }
        }
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                break;
            }
            self.swap(place, parent);
            place = parent;
        }
        self.places[self.heap[place].1] = Some(place);
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let child = [2 * place + 1, 2 * place + 2]
                .into_iter()
                .filter(|child| *child < self.heap.len())
                .min_by_key(|child| self.heap[*child].0);
            let Some(child) = child.filter(|child| self.heap[*child].0 < self.heap[place].0) else {
                break;
            };
            self.swap(place, child);
            place = child;
        }
        self.places[self.heap[place].1] = Some(place);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].1] = Some(a);
        self.places[self.heap[b].1] = Some(b);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_earliest_deadline_is_always_first(
            changes in proptest::collection::vec((0usize..12, proptest::option::of(0u64..50)), 1..200),
        ) {
            let start = Instant::now();
            let (mut deadlines, mut model) = (Deadlines::default(), BTreeMap::new());
            deadlines.reserve(11);
            for (slot, deadline) in changes {
                let deadline = deadline.map(|after| start + Duration::from_millis(after));
                deadlines.set(slot, deadline);
                match deadline {
                    Some(deadline) => drop(model.insert(slot, deadline)),
                    None => drop(model.remove(&slot)),
                }
                prop_assert_eq!(
                    deadlines.first().map(|(deadline, _)| deadline),
                    model.values().min().copied()
                );
                if let Some((deadline, slot)) = deadlines.first() {
                    prop_assert_eq!(model.get(&slot), Some(&deadline));
                }
                prop_assert_eq!(deadlines.heap.len(), model.len());
            }
        }
    }
}
