//! Durations, and their percentiles.

use std::time::Duration;

/// Measured durations, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Samples {
    sorted: Vec<Duration>,
}

impl Samples {
    /// Sorts what was measured; nothing if nothing was.
    pub(super) fn new(mut durations: Vec<Duration>) -> Option<Self> {
        durations.sort_unstable();
        (!durations.is_empty()).then_some(Self { sorted: durations })
    }

    /// The smallest duration that at least `percent` per cent of all do not exceed: the nearest
    /// rank, which is always a value that was measured.
    pub(super) fn percentile(&self, percent: u32) -> Duration {
        let count = self.sorted.len();
        let rank = (count * percent as usize).div_ceil(100).clamp(1, count);
        self.sorted[rank - 1]
    }

    /// The longest.
    pub(super) fn longest(&self) -> Duration {
        self.percentile(100)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.sorted.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(milliseconds: impl IntoIterator<Item = u64>) -> Option<Samples> {
        Samples::new(
            milliseconds
                .into_iter()
                .map(Duration::from_millis)
                .collect(),
        )
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let samples = samples((1..=200).rev()).expect("samples");
        let at = |percent| samples.percentile(percent).as_millis();
        assert_eq!([at(50), at(90), at(99), at(100)], [100, 180, 198, 200]);
        assert_eq!(samples.longest().as_millis(), 200);
        assert_eq!(samples.count(), 200);
    }

    #[test]
    fn few_samples_round_up() {
        let three = samples([30, 10, 20]).expect("samples");
        let at = |percent| three.percentile(percent).as_millis();
        assert_eq!(
            [at(0), at(33), at(34), at(50), at(99)],
            [10, 10, 20, 20, 30]
        );
        assert_eq!(samples([]), None);
    }
}
