//! Whether an agent is alive, and whether its clock is right.
//!
//! An agent is alive while the hub *sees* its lease renewed. The time an agent writes into its
//! lease says something about its clock only: with a clock an hour ahead it would stay "available"
//! an hour after its death.
//!
//! How long it may be silent, the agent says itself: a lease that carries a duration is a promise to
//! renew within it, and an agent of this project renews three times as often. Upstream's agents
//! promise nothing and renew once a duration; they get five durations, as upstream's hub gives them.
//!
//! Silence counts from the last of: the renewal seen, the moment from which the present duration
//! holds, and the moment from which this hub sees at all. After a start, or after the watch broke,
//! the hub has seen nothing yet, and every agent starts anew.

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

/// Lease durations without renewal after which an agent counts as lost that promises nothing; and
/// the most that one can promise.
const GRACE_LEASE_DURATIONS: u32 = 5;

/// How long an agent may be silent at most, and how far its clock may be off.
pub(super) fn grace(lease_duration_seconds: i32) -> Duration {
    seconds(lease_duration_seconds) * GRACE_LEASE_DURATIONS
}

fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// What an agent wrote into its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Renewal {
    at: Option<Timestamp>,
    promise: Option<Duration>,
}

impl Renewal {
    /// Reads a lease.
    pub(super) fn of(lease: &Lease) -> Self {
        let Some(spec) = &lease.spec else {
            return Self::default();
        };
        let promise = spec.lease_duration_seconds.filter(|count| *count > 0);
        Self {
            at: spec.renew_time.as_ref().map(|time| time.0),
            promise: promise.map(seconds),
        }
    }
}

/// What is known of one agent.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sighting {
    /// When the last renewal was seen.
    seen: Instant,
    renewal: Renewal,
    /// How far the agent's clock is ahead of the hub's, at most; absent for the first look, which
    /// says nothing about when the renewal happened.
    ahead: Option<SignedDuration>,
    /// The lease duration by which the agent was judged last, in seconds, and since when it holds;
    /// absent before the first judgement.
    judged: Option<(i32, Instant)>,
    /// Whether a look at the end of the agent's time is due anyway.
    is_watched: bool,
}

impl Sighting {
    fn first(renewal: Renewal, seen: Instant) -> Self {
        Self {
            seen,
            renewal,
            ahead: None,
            judged: None,
            is_watched: false,
        }
    }

    /// How long the agent may be silent.
    fn allowance(&self, lease_duration_seconds: i32) -> Duration {
        let grace = grace(lease_duration_seconds);
        self.renewal
            .promise
            .map_or(grace, |promise| promise.min(grace))
    }

    fn clock_is_right(&self) -> Option<bool> {
        let (duration, _) = self.judged?;
        Some(self.ahead?.unsigned_abs() < grace(duration))
    }
}

/// What the hub thinks of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Liveness {
    /// It is alive; look again after this time, when it would be lost.
    Alive(Duration),
    /// It has been silent for longer than it may.
    Lost,
}

/// The last renewals seen, by name of the WEC.
#[derive(Clone, Debug)]
pub(super) struct Sightings(Arc<Mutex<Seen>>);

#[derive(Debug)]
struct Seen {
    agents: HashMap<String, Sighting>,
    /// From when on this hub sees renewals.
    sight_since: Instant,
}

impl Default for Sightings {
    fn default() -> Self {
        Self::starting(Instant::now())
    }
}

impl Sightings {
    fn starting(now: Instant) -> Self {
        Self(Arc::new(Mutex::new(Seen {
            agents: HashMap::new(),
            sight_since: now,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes note of a lease as the server showed it; returns whether the agent must be looked at
    /// now. In steady state a renewal costs this and nothing else.
    pub(super) fn saw(
        &self,
        cluster: &str,
        renewal: Renewal,
        seen: Instant,
        now: Timestamp,
    ) -> bool {
        let mut all = self.lock();
        let Some(last) = all.agents.get_mut(cluster) else {
            let first = Sighting::first(renewal, seen);
            all.agents.insert(cluster.to_owned(), first);
            return true;
        };
        if last.renewal == renewal {
            return false;
        }
        let clock = last.clock_is_right();
        let is_tighter = renewal.promise != last.renewal.promise;
        last.seen = seen;
        last.renewal = renewal;
        last.ahead = renewal.at.map(|at| at.duration_since(now));
        !last.is_watched || is_tighter || last.clock_is_right() != clock
    }

    /// Takes note that the hub sees nothing before this moment.
    pub(super) fn blind_until(&self, moment: Instant) {
        let mut all = self.lock();
        all.sight_since = all.sight_since.max(moment);
    }

    /// Forgets a lease that is gone.
    pub(super) fn forget(&self, cluster: &str) {
        self.lock().agents.remove(cluster);
    }

    /// Judges an agent by how long ago it was seen; nothing if it has no lease.
    pub(super) fn judge(
        &self,
        cluster: &str,
        lease_duration_seconds: i32,
        now: Instant,
    ) -> Option<Liveness> {
        let mut all = self.lock();
        let sight_since = all.sight_since;
        let agent = all.agents.get_mut(cluster)?;
        let holds_since = match agent.judged {
            Some((duration, since)) if duration == lease_duration_seconds => since,
            Some(_) => now,
            None => agent.seen,
        };
        agent.judged = Some((lease_duration_seconds, holds_since));
        let heard = agent.seen.max(holds_since).max(sight_since);
        let silent = now.saturating_duration_since(heard);
        let left = agent
            .allowance(lease_duration_seconds)
            .saturating_sub(silent);
        // Sight may come back in the future: the agent's time has not begun.
        let blind = sight_since.saturating_duration_since(now);
        agent.is_watched = !left.is_zero();
        Some(match left.is_zero() {
            true => Liveness::Lost,
            false => Liveness::Alive(left + blind),
        })
    }

    /// What to say about an agent's clock, if anything.
    pub(super) fn clock(&self, cluster: &str) -> Option<Statement> {
        let is_right = self.lock().agents.get(cluster)?.clock_is_right()?;
        Some(match is_right {
            true => statements::CLOCK_IN_SYNC,
            false => statements::CLOCK_OUT_OF_SYNC,
        })
    }
}

#[cfg(test)]
mod tests;
