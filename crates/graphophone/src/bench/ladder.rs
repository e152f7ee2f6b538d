//! How many calls next: up by steps until a step is not clean, then halving what is left.

use super::meter::Window;

/// Most packets that may be lost, of all.
const LOSS: f64 = 0.001;
/// Latest that 99 of 100 packets may come against their grid.
const ERROR_P99_MICROS: u64 = 5_000;

/// Why a window is not clean.
pub(super) fn faults(window: &Window) -> Vec<&'static str> {
    let tally = &window.tally;
    let sent = tally.packets + tally.lost;
    let mut faults = Vec::new();
    if window.silent > 0 {
        faults.push("silent streams");
    }
    if sent == 0 || tally.lost as f64 > sent as f64 * LOSS {
        faults.push("loss");
    }
    if tally.error.quantile(0.99) > ERROR_P99_MICROS {
        faults.push("late");
    }
    if window.wrong > 0 {
        faults.push("content");
    }
    faults
}

/// The search for the breaking point.
#[derive(Clone, Debug)]
pub(super) struct Ladder {
    step: usize,
    max: usize,
    clean: usize,
    broken: Option<usize>,
    next: usize,
    /// A step that was not clean has a second chance.
    doubted: bool,
}

impl Ladder {
    /// Begins at `start`; ends at `max`, or when the breaking point is known to within `step`.
    pub(super) fn new(start: usize, step: usize, max: usize) -> Self {
        let (step, max) = (step.max(1), max.max(1));
        Self { step, max, clean: 0, broken: None, next: start.clamp(1, max), doubted: false }
    }

    /// How many to try next; `None` at the end.
    pub(super) fn next(&self) -> Option<usize> {
        (self.next > 0).then_some(self.next)
    }

    /// What came of it.
    pub(super) fn take(&mut self, clean: bool) {
        let tried = self.next;
        if !clean && !self.doubted {
            self.doubted = true;
            return;
        }
        self.doubted = false;
        if clean {
            self.clean = self.clean.max(tried);
        } else {
            self.broken = Some(tried);
        }
        self.next = match self.broken {
            Some(broken) if broken - self.clean <= self.step => 0,
            Some(broken) => self.clean + ((broken - self.clean) / 2).max(1),
            None if tried >= self.max => 0,
            None => (tried + self.step).min(self.max),
        };
    }

    /// The most that was clean; 0 if nothing was.
    pub(super) fn clean(&self) -> usize {
        self.clean
    }

    /// The least that was not.
    pub(super) fn broken(&self) -> Option<usize> {
        self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that was tried on a machine that carries so many.
    fn climb(mut ladder: Ladder, limit: usize) -> (Vec<usize>, usize, Option<usize>) {
        let mut tried = Vec::new();
        while let Some(calls) = ladder.next() {
            tried.push(calls);
            ladder.take(calls <= limit);
        }
        (tried, ladder.clean(), ladder.broken())
    }

    #[test]
    fn it_climbs_until_a_step_breaks_twice() {
        let (tried, clean, broken) = climb(Ladder::new(100, 100, 1_000), 350);
        assert_eq!(tried, [100, 200, 300, 400, 400]);
        assert_eq!((clean, broken), (300, Some(400)));
    }

    #[test]
    fn a_start_too_high_comes_down() {
        let (tried, clean, broken) = climb(Ladder::new(800, 100, 1_000), 350);
        assert_eq!(tried, [800, 800, 400, 400, 200, 300]);
        assert_eq!((clean, broken), (300, Some(400)));
    }

    #[test]
    fn it_ends_at_the_top_and_at_nothing() {
        assert_eq!(climb(Ladder::new(100, 300, 500), 9_999), (vec![100, 400, 500], 500, None));
        let (_, clean, broken) = climb(Ladder::new(4, 1, 4), 0);
        assert_eq!((clean, broken), (0, Some(1)));
    }

    #[test]
    fn one_bad_window_is_forgiven() {
        let mut ladder = Ladder::new(10, 10, 20);
        ladder.take(false);
        assert_eq!(ladder.next(), Some(10));
        ladder.take(true);
        assert_eq!((ladder.next(), ladder.clean()), (Some(20), 10));
    }

    #[test]
    fn a_window_is_clean_or_says_why_not() {
        let mut window = Window { streams: 1, ..Window::default() };
        assert_eq!(faults(&window), ["loss"]);
        window.tally.packets = 10_000;
        window.tally.lost = 10;
        window.tally.error.add(4_999);
        assert!(faults(&window).is_empty());
        window.tally.lost = 11;
        window.wrong = 1;
        window.silent = 1;
        window.tally.error.add(6_000);
        assert_eq!(faults(&window), ["silent streams", "loss", "late", "content"]);
    }
}
