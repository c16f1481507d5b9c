//! The time of day, which tests move.

use jiff::SignedDuration;
use jiff::Timestamp;
use tokio::time::Instant;

/// Tells the time of day: the machine's, or one that moves with the runtime's own time.
///
/// Waits are tokio's, which a test can let pass in no time; with this clock the dates in
/// certificates and conditions pass with them, and a year of rotations takes a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    simulated: Option<(Timestamp, Instant)>,
}

impl Clock {
    /// The machine's clock.
    pub const SYSTEM: Self = Self { simulated: None };

    /// A clock that shows `start` now and goes as fast as the runtime's time.
    pub fn starting(start: Timestamp) -> Self {
        Self {
            simulated: Some((start, Instant::now())),
        }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        match self.simulated {
            None => Timestamp::now(),
            Some((start, at)) => {
                let passed = SignedDuration::try_from(at.elapsed()).unwrap_or(SignedDuration::MAX);
                start.checked_add(passed).unwrap_or(Timestamp::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_simulated_day_passes_with_the_runtimes_time() {
        let start = Timestamp::from_second(1_800_000_000).expect("a time");
        let clock = Clock::starting(start);
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        assert_eq!(clock.now().as_second(), start.as_second() + 86_400);
    }
}
