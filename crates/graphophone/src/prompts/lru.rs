//! A map with a budget: what was not used for longest goes first, what is in use stays.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// Values with weights. Above the budget the least recently used ones leave, except those that are
/// in use: dropping them here would free nothing.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    budget: u64,
    weight: u64,
    tick: u64,
    slots: HashMap<K, Slot<V>>,
    by_use: BTreeMap<u64, K>,
}

#[derive(Debug)]
struct Slot<V> {
    value: V,
    weight: u64,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Lru<K, V> {
    pub(crate) fn new(budget: u64) -> Self {
        Self { budget, weight: 0, tick: 0, slots: HashMap::new(), by_use: BTreeMap::new() }
    }

    /// Looks up and notes the use.
    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        let slot = self.slots.get_mut(key)?;
        self.tick += 1;
        if let Some(key) = self.by_use.remove(&slot.used) {
            self.by_use.insert(self.tick, key);
        }
        slot.used = self.tick;
        Some(&mut slot.value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.slots.remove(key)?;
        self.by_use.remove(&slot.used);
        self.weight -= slot.weight;
        Some(slot.value)
    }

    /// Puts a value in and returns what had to leave, for the caller to drop without a lock. The
    /// new value stays even if it is above the budget alone.
    #[must_use]
    pub(crate) fn insert(
        &mut self,
        key: K,
        value: V,
        weight: u64,
        in_use: impl Fn(&V) -> bool,
    ) -> Vec<V> {
        let mut left: Vec<V> = self.remove(&key).into_iter().collect();
        self.tick += 1;
        let newest = self.tick;
        self.by_use.insert(newest, key.clone());
        self.slots.insert(key, Slot { value, weight, used: newest });
        self.weight += weight;
        let mut excess = self.weight.saturating_sub(self.budget);
        let mut victims = Vec::new();
        for (used, key) in &self.by_use {
            if excess == 0 || *used == newest {
                break;
            }
            if let Some(slot) = self.slots.get(key)
                && !in_use(&slot.value)
            {
                excess = excess.saturating_sub(slot.weight);
                victims.push(key.clone());
            }
        }
        left.extend(victims.iter().filter_map(|key| self.remove(key)));
        left
    }

    /// Takes everything out that is not in use, for the caller to drop without a lock.
    #[must_use]
    pub(crate) fn take_unused(&mut self, in_use: impl Fn(&V) -> bool) -> Vec<V> {
        let unused: Vec<K> = self
            .slots
            .iter()
            .filter(|(_, slot)| !in_use(&slot.value))
            .map(|(key, _)| key.clone())
            .collect();
        unused.iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Sum of the weights.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_least_recently_used_value_leaves_first() {
        let mut lru = Lru::new(3);
        for key in ["a", "b", "c"] {
            assert!(lru.insert(key, key, 1, |_| false).is_empty());
        }
        lru.get(&"a");
        assert_eq!(lru.insert("d", "d", 1, |_| false), ["b"]);
        assert_eq!(lru.insert("e", "e", 2, |_| false), ["c", "a"]);
        assert!(lru.get(&"d").is_some());
    }

    #[test]
    fn what_is_in_use_stays_even_above_the_budget() {
        let mut lru = Lru::new(2);
        let in_use = |value: &Arc<u8>| Arc::strong_count(value) > 1;
        let played = Arc::new(1);
        assert!(lru.insert(1, Arc::clone(&played), 2, in_use).is_empty());
        assert!(lru.insert(2, Arc::new(2), 2, in_use).is_empty());
        assert_eq!(lru.weight(), 4);
        drop(played);
        assert_eq!(lru.insert(3, Arc::new(3), 2, in_use).len(), 2);
    }

    proptest! {
        #[test]
        fn the_weight_is_the_sum_and_stays_within_the_budget(
            steps in prop::collection::vec((0_u8..3, 0_u8..8, 1_u64..5), 1..60)
        ) {
            let mut lru = Lru::new(10);
            for (step, key, weight) in steps {
                match step {
                    0 => drop(lru.remove(&key)),
                    1 => drop(lru.get(&key).copied()),
                    _ => drop(lru.insert(key, weight, weight, |_| false)),
                }
                prop_assert_eq!(lru.weight, lru.slots.values().map(|s| s.weight).sum::<u64>());
                prop_assert_eq!(lru.slots.len(), lru.by_use.len());
                prop_assert!(lru.weight <= 10);
            }
        }
    }
}
