//! Exponential delays with jitter, so that a thousand agents do not knock at the same instant.

use std::time::Duration;

/// How the delay grows from one failure to the next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// The delay after the first failure.
    pub base: Duration,
    /// No delay is longer, jitter included.
    pub cap: Duration,
    /// Each further failure multiplies the delay by this.
    pub factor: f64,
    /// A random share of the delay added to it: 0.5 means up to half as much again.
    pub jitter: f64,
}

impl Policy {
    /// For calls to an API server: fast enough that a restarted server is noticed at once, slow
    /// enough that a dead one costs nothing.
    pub const API: Self = Self {
        base: Duration::from_millis(100),
        cap: Duration::from_secs(30),
        factor: 2.0,
        jitter: 0.5,
    };

    /// For one key of a work queue whose reconciliation failed.
    pub const RECONCILE: Self = Self {
        base: Duration::from_millis(20),
        cap: Duration::from_secs(60),
        factor: 2.0,
        jitter: 0.25,
    };

    /// The delay after `failures` failures in a row, without jitter. Zero failures: no delay.
    pub fn delay(&self, failures: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        // The exponent is bounded so that the multiplication cannot overflow a float.
        let grown = self.base.as_secs_f64() * self.factor.powi((failures - 1).min(64) as i32);
        Duration::from_secs_f64(grown.min(self.cap.as_secs_f64()))
    }

    /// The delay after `failures` failures in a row, with jitter, never above the cap.
    pub fn jittered(&self, failures: u32) -> Duration {
        jitter(self.delay(failures), self.jitter).min(self.cap)
    }
}

/// `duration` lengthened by a random share of at most `share` of itself.
pub fn jitter(duration: Duration, share: f64) -> Duration {
    if share <= 0.0 {
        return duration;
    }
    duration.mul_f64(1.0 + rand::random_range(0.0..share))
}

/// Counts failures in a row and hands out the delay before the next attempt.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: Policy,
    failures: u32,
}

impl Backoff {
    /// A counter at zero failures.
    pub const fn new(policy: Policy) -> Self {
        Self {
            policy,
            failures: 0,
        }
    }

    /// Counts one failure and returns the delay before the next attempt.
    pub fn next_delay(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.policy.jittered(self.failures)
    }

    /// Forgets all failures: call it after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        Backoff::reset(self);
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.next_delay())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let delays: Vec<_> = (0..=12).map(|n| Policy::API.delay(n).as_millis()).collect();
        assert_eq!(delays[..5], [0, 100, 200, 400, 800]);
        assert_eq!(delays[12], 30_000);
        assert_eq!(Policy::API.delay(u32::MAX), Policy::API.cap);
    }

    #[test]
    fn jitter_stays_inside_its_share_and_below_the_cap() {
        for failures in 1..40 {
            let plain = Policy::API.delay(failures);
            let delay = Policy::API.jittered(failures);
            assert!(delay >= plain && delay <= plain.mul_f64(1.5).min(Policy::API.cap).max(plain));
        }
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(Policy {
            jitter: 0.0,
            ..Policy::RECONCILE
        });
        let first = backoff.next_delay();
        assert!(backoff.next_delay() > first);
        backoff.reset();
        assert_eq!(backoff.next_delay(), first);
    }
}
