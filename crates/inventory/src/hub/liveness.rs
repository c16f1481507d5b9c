//! Whether an agent is alive, and whether its clock is right.
//!
//! An agent is alive while the hub *sees* its lease renewed. The time an agent writes into its
//! lease says something about its clock only: with a clock an hour ahead it would stay "available"
//! an hour after its death. After a start the hub has seen nothing yet; it gives every agent one
//! grace period from its own first look.

use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster as statements;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use jiff::SignedDuration;
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use std::time::Instant;

/// Lease durations without renewal after which an agent counts as lost.
const GRACE_LEASE_DURATIONS: u32 = 5;

/// How long an agent may be silent.
pub(super) fn grace(lease_duration_seconds: i32) -> Duration {
    let seconds = u64::try_from(lease_duration_seconds).unwrap_or(0);
    Duration::from_secs(seconds) * GRACE_LEASE_DURATIONS
}

/// The last renewal of one lease that the hub saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sighting {
    /// When, by the hub's monotonic clock.
    pub(super) seen: Instant,
    /// What the agent wrote.
    renewed: Option<Timestamp>,
    /// How far the agent's clock is ahead of the hub's, at most; absent for the first look, which
    /// says nothing about when the renewal happened.
    pub(super) ahead: Option<SignedDuration>,
}

/// The last renewals seen, by name of the WEC.
#[derive(Clone, Debug, Default)]
pub(super) struct Sightings(Arc<Mutex<HashMap<String, Sighting>>>);

impl Sightings {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sighting>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes note of a lease as a watch delivered it.
    pub(super) fn saw(&self, cluster: &str, lease: &Lease) {
        let renewed = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.renew_time.as_ref());
        let renewed = renewed.map(|time| time.0);
        let mut all = self.lock();
        let last = all.get(cluster).copied();
        if let Some(next) = next(last, renewed, Instant::now(), Timestamp::now()) {
            all.insert(cluster.to_owned(), next);
        }
    }

    /// Forgets a lease that is gone.
    pub(super) fn forget(&self, cluster: &str) {
        self.lock().remove(cluster);
    }

    /// The last renewal seen.
    pub(super) fn of(&self, cluster: &str) -> Option<Sighting> {
        self.lock().get(cluster).copied()
    }
}

/// The sighting after a look at a lease; nothing if it shows no new renewal.
fn next(
    last: Option<Sighting>,
    renewed: Option<Timestamp>,
    seen: Instant,
    now: Timestamp,
) -> Option<Sighting> {
    match last {
        Some(last) if last.renewed == renewed => None,
        Some(_) => Some(Sighting {
            seen,
            renewed,
            ahead: renewed.map(|renewed| renewed.duration_since(now)),
        }),
        None => Some(Sighting {
            seen,
            renewed,
            ahead: None,
        }),
    }
}

/// What the hub thinks of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It is alive; look again after this time, when it would be lost.
    Alive(Duration),
    /// It has been silent for the whole grace period.
    Lost,
}

/// Judges an agent by how long ago it was seen.
pub(super) fn judge(silent: Duration, grace: Duration) -> Liveness {
    match grace.checked_sub(silent) {
        Some(left) if !left.is_zero() => Liveness::Alive(left),
        _ => Liveness::Lost,
    }
}

/// What to say about an agent's clock, if anything.
pub(super) fn clock(ahead: Option<SignedDuration>, grace: Duration) -> Option<Statement> {
    let off = ahead?.unsigned_abs();
    Some(if off < grace {
        statements::CLOCK_IN_SYNC
    } else {
        statements::CLOCK_OUT_OF_SYNC
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn the_grace_period_is_five_lease_durations() {
        assert_eq!(grace(60), Duration::from_secs(300));
        assert_eq!(grace(1), Duration::from_secs(5));
    }

    #[test]
    fn an_agent_is_lost_when_the_grace_period_is_over_and_not_before() {
        let grace = grace(1);
        assert_eq!(judge(Duration::ZERO, grace), Liveness::Alive(grace));
        assert_eq!(
            judge(Duration::from_millis(4999), grace),
            Liveness::Alive(Duration::from_millis(1))
        );
        assert_eq!(judge(grace, grace), Liveness::Lost);
        assert_eq!(judge(Duration::MAX, grace), Liveness::Lost);
    }

    #[test]
    fn only_a_new_renewal_counts_as_seen_whatever_the_agents_clock_says() {
        let start = Instant::now();
        let first = next(None, Some(at(1000)), start, at(5000)).expect("first look");
        assert_eq!((first.seen, first.ahead), (start, None));

        let later = start + Duration::from_secs(60);
        assert_eq!(next(Some(first), Some(at(1000)), later, at(5060)), None);

        let renewed = next(Some(first), Some(at(900)), later, at(5060)).expect("a renewal");
        assert_eq!(renewed.seen, later);
        assert_eq!(renewed.ahead, Some(SignedDuration::from_secs(900 - 5060)));
    }

    #[test]
    fn a_clock_is_judged_in_both_directions_against_the_grace_period() {
        let grace = Duration::from_secs(300);
        let reason = |seconds: i64| {
            clock(Some(SignedDuration::from_secs(seconds)), grace).map(|statement| statement.reason)
        };
        assert_eq!(reason(-299).as_deref(), Some("ManagedClusterClockSynced"));
        assert_eq!(reason(299).as_deref(), Some("ManagedClusterClockSynced"));
        assert_eq!(reason(300).as_deref(), Some("ManagedClusterClockOutOfSync"));
        assert_eq!(
            reason(-3600).as_deref(),
            Some("ManagedClusterClockOutOfSync")
        );
        assert_eq!(clock(None, grace), None);
    }
}
