//! What one mix is made of. Listeners with the same recipe, now and a frame before, share a mix.

/// Sources in a mix at most: the speakers that are let through, and those that always are.
pub(super) const MOST_PARTS: usize = 12;

/// Sources and how loud they are, by place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Recipe {
    len: usize,
    /// What is behind `len` is always the same, so that recipes can be compared whole.
    parts: [(u16, f32); MOST_PARTS],
}

impl Recipe {
    pub(super) const EMPTY: Self = Self { len: 0, parts: [(u16::MAX, 0.0); MOST_PARTS] };

    pub(super) fn parts(&self) -> &[(u16, f32)] {
        &self.parts[..self.len]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a source in the order of places. One too many is left out.
    pub(super) fn add(&mut self, source: u16, gain: f32) {
        if self.len == MOST_PARTS {
            return;
        }
        let at = self.parts().partition_point(|(place, _)| *place < source);
        self.parts.copy_within(at..self.len, at + 1);
        self.parts[at] = (source, gain);
        self.len += 1;
    }

    /// How loud a source is in it; 0 if it is not.
    pub(super) fn gain(&self, source: u16) -> f32 {
        self.parts().iter().find(|(place, _)| *place == source).map_or(0.0, |(_, gain)| *gain)
    }

    pub(super) fn remove(&mut self, source: u16) {
        let Some(at) = self.parts().iter().position(|(place, _)| *place == source) else { return };
        self.parts.copy_within(at + 1..self.len, at);
        self.len -= 1;
        self.parts[self.len] = (u16::MAX, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_in_which_sources_come_does_not_matter() {
        let mut one = Recipe::EMPTY;
        [(7, 1.0), (2, 0.5), (9, 1.0)].into_iter().for_each(|(source, gain)| one.add(source, gain));
        let mut other = Recipe::EMPTY;
        [(9, 1.0), (3, 1.0), (7, 1.0), (2, 0.5)].into_iter().for_each(|it| other.add(it.0, it.1));
        assert_ne!(one, other);
        other.remove(3);
        other.remove(4);
        assert_eq!(one, other);
        assert_eq!(one.parts(), [(2, 0.5), (7, 1.0), (9, 1.0)]);
        assert_eq!((one.gain(2), one.gain(3)), (0.5, 0.0));
    }

    #[test]
    fn one_too_many_is_left_out() {
        let mut recipe = Recipe::EMPTY;
        (0..20).for_each(|source| recipe.add(source, 1.0));
        assert_eq!(recipe.parts().len(), MOST_PARTS);
    }
}
