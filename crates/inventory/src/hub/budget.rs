//! How often the hub writes one WEC's inventory object, whatever its agent does.
//!
//! An agent may write its lease and its status as often as it likes, and some of what it says makes
//! the hub answer: a clock that goes wrong, a cluster that fails. One that changes its mind a
//! thousand times a second shall not make the hub write as often, nor keep it from the others. The
//! same holds for Events that warn of requests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

/// Writes to one inventory object in a row. A join takes three, a deregistration one for each
/// thing that is waited for.
pub(super) const WRITES_IN_A_ROW_MAX: u32 = 60;

/// Time after which one more write is allowed: a WEC in a storm is judged once a second, which is
/// five times as often as the shortest lease.
pub(super) const WRITE_PERIOD: Duration = Duration::from_secs(1);

/// The writes of each WEC's inventory object, as the moment when all of them are paid for.
#[derive(Debug, Default)]
pub(super) struct Budget(RefCell<HashMap<String, Instant>>);

impl Budget {
    /// How long the WEC has to wait before it may be written to, if it has to.
    pub(super) fn wait(&self, cluster: &str, now: Instant) -> Option<Duration> {
        let paid = self.0.borrow().get(cluster).copied()?;
        let debt = paid.saturating_duration_since(now);
        let allowed = WRITE_PERIOD * (WRITES_IN_A_ROW_MAX - 1);
        debt.checked_sub(allowed).filter(|wait| !wait.is_zero())
    }

    /// Takes note of a write.
    pub(super) fn spend(&self, cluster: &str, now: Instant) {
        let mut all = self.0.borrow_mut();
        let paid = all.entry(cluster.to_owned()).or_insert(now);
        *paid = (*paid).max(now) + WRITE_PERIOD;
    }

    /// Forgets a WEC that is gone.
    pub(super) fn forget(&self, cluster: &str) {
        self.0.borrow_mut().remove(cluster);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_written_at_a_calm_pace_and_others_are_not_held_up() {
        let budget = Budget::default();
        let start = Instant::now();
        let mut written = 0;
        // A thousand changes a second for ten seconds.
        for millisecond in 0..10_000 {
            let now = start + Duration::from_millis(millisecond);
            if budget.wait("c1", now).is_none() {
                budget.spend("c1", now);
                written += 1;
            }
        }
        assert_eq!(written, WRITES_IN_A_ROW_MAX + 9);
        assert_eq!(budget.wait("c2", start), None);
        let later = start + Duration::from_secs(10);
        let wait = budget.wait("c1", later - Duration::from_millis(1));
        assert!(wait.is_some_and(|wait| wait <= WRITE_PERIOD), "{wait:?}");
        let rested = later + WRITE_PERIOD * WRITES_IN_A_ROW_MAX;
        assert_eq!(budget.wait("c1", rested), None);
        budget.forget("c1");
        assert_eq!(budget.wait("c1", start), None);
    }
}
