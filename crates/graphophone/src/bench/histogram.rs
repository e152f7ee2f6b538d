//! A histogram of microseconds with buckets of at most 1.6 % of their value.

/// Buckets for each doubling.
const PER_OCTAVE: u64 = 64;
/// Up to 2^32 µs, over an hour; what is longer counts as that long.
const BUCKETS: usize = 27 * PER_OCTAVE as usize;

/// How often each length of time was seen, in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, max: 0 }
    }
}

impl Histogram {
    /// Adds one.
    pub(super) fn add(&mut self, micros: u64) {
        let bucket = bucket_of(micros).min(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.total += 1;
        self.max = self.max.max(micros);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.total
    }

    /// The greatest, exactly; 0 if there is none.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The upper end of the bucket that holds this part (0 to 1) of all; 0 if there is none.
    pub(super) fn quantile(&self, part: f64) -> u64 {
        let wanted = (self.total as f64 * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            // The last bucket has no end.
            if seen >= wanted && bucket + 1 < BUCKETS {
                return end_of(bucket).min(self.max);
            }
        }
        self.max
    }
}

/// Linear up to `PER_OCTAVE`, then `PER_OCTAVE` buckets for each doubling.
fn bucket_of(micros: u64) -> usize {
    if micros < PER_OCTAVE {
        return micros as usize;
    }
    let shift = micros.ilog2() - PER_OCTAVE.ilog2();
    (u64::from(shift) * PER_OCTAVE + (micros >> shift)) as usize
}

/// The greatest value of a bucket.
fn end_of(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * PER_OCTAVE {
        return bucket;
    }
    let shift = bucket / PER_OCTAVE - 1;
    ((bucket - shift * PER_OCTAVE + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_the_bucket_is_narrow() {
        for value in (0..5_000).chain([65_535, 65_536, 1_000_000, 123_456_789]) {
            let end = end_of(bucket_of(value));
            assert!(end >= value, "{value}: {end}");
            assert!((end - value) as f64 <= value as f64 / 63.0, "{value}: {end}");
        }
    }

    #[test]
    fn quantiles_are_ranks() {
        let mut histogram = Histogram::default();
        (1..=1_000).for_each(|value| histogram.add(value));
        assert!((500..=508).contains(&histogram.quantile(0.5)));
        assert!((990..=1_000).contains(&histogram.quantile(0.99)));
        assert_eq!(histogram.quantile(1.0), 1_000);
        assert_eq!(histogram.max(), 1_000);
    }

    #[test]
    fn nothing_seen_is_zero_and_the_endless_is_counted() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), 0);
        histogram.add(u64::MAX);
        assert_eq!((histogram.count(), histogram.quantile(0.5)), (1, u64::MAX));
    }
}
