use super::*;

/// Two clocks that only the test moves: the hub's monotonic one and its wall clock.
#[derive(Clone, Copy)]
struct Clock {
    start: Instant,
    wall_seconds: i64,
    passed: Duration,
}

impl Clock {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            wall_seconds: 1_800_000_000,
            passed: Duration::ZERO,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.passed += time;
    }

    fn instant(&self) -> Instant {
        self.start + self.passed
    }

    fn wall(&self) -> Timestamp {
        let passed = SignedDuration::try_from(self.passed).expect("a duration");
        Timestamp::from_second(self.wall_seconds).expect("a time") + passed
    }

    /// A renewal by an agent whose clock is off by so many seconds.
    fn renewal(&self, off_seconds: i64, promise_seconds: Option<i32>) -> Renewal {
        Renewal {
            at: Some(self.wall() + SignedDuration::from_secs(off_seconds)),
            promise: promise_seconds.map(seconds),
        }
    }
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn see(sightings: &Sightings, clock: &Clock, renewal: Renewal) -> bool {
    sightings.saw("c1", renewal, clock.instant(), clock.wall())
}

#[test]
fn the_grace_period_is_five_lease_durations() {
    assert_eq!(grace(60), secs(300));
    assert_eq!(grace(1), secs(5));
}

#[test]
fn an_agent_that_promises_nothing_is_lost_after_five_durations_and_not_before() {
    let mut clock = Clock::new();
    let sightings = Sightings::starting(clock.instant());
    see(&sightings, &clock, clock.renewal(0, None));
    let judge = |clock: &Clock| sightings.judge("c1", 1, clock.instant());
    assert_eq!(judge(&clock), Some(Liveness::Alive(secs(5))));
    clock.pass(Duration::from_millis(4999));
    assert_eq!(
        judge(&clock),
        Some(Liveness::Alive(Duration::from_millis(1)))
    );
    clock.pass(Duration::from_millis(1));
    assert_eq!(judge(&clock), Some(Liveness::Lost));
    assert_eq!(sightings.judge("c2", 1, clock.instant()), None);
}

#[test]
fn an_agent_that_promises_is_lost_within_one_lease_and_cannot_promise_more_than_five() {
    let mut clock = Clock::new();
    let sightings = Sightings::starting(clock.instant());
    see(&sightings, &clock, clock.renewal(0, Some(5)));
    clock.pass(secs(5));
    let now = clock.instant();
    assert_eq!(sightings.judge("c1", 5, now), Some(Liveness::Lost));

    let boastful = Sightings::starting(clock.instant());
    see(&boastful, &clock, clock.renewal(0, Some(i32::MAX)));
    let judged = boastful.judge("c1", 5, clock.instant());
    assert_eq!(judged, Some(Liveness::Alive(secs(25))));
}

#[test]
fn only_a_new_renewal_counts_as_seen_whatever_the_agents_clock_says() {
    let mut clock = Clock::new();
    let sightings = Sightings::starting(clock.instant());
    let first = clock.renewal(3600, None);
    see(&sightings, &clock, first);
    assert_eq!(
        sightings.clock("c1"),
        None,
        "a first look says nothing about clocks"
    );
    clock.pass(secs(300));
    assert!(!see(&sightings, &clock, first), "the same renewal again");
    let now = clock.instant();
    assert_eq!(sightings.judge("c1", 60, now), Some(Liveness::Lost));
    // A clock that was set back still shows a renewal.
    assert!(see(&sightings, &clock, clock.renewal(-7200, None)));
    assert_eq!(
        sightings.judge("c1", 60, now),
        Some(Liveness::Alive(secs(300)))
    );
}

#[test]
fn a_clock_is_judged_in_both_directions_against_the_grace_period() {
    let reason = |off_seconds: i64| {
        let mut clock = Clock::new();
        let sightings = Sightings::starting(clock.instant());
        see(&sightings, &clock, clock.renewal(0, None));
        sightings.judge("c1", 60, clock.instant());
        clock.pass(secs(60));
        see(&sightings, &clock, clock.renewal(off_seconds, None));
        sightings.clock("c1").expect("a statement").reason
    };
    assert_eq!(reason(-299), "ManagedClusterClockSynced");
    assert_eq!(reason(299), "ManagedClusterClockSynced");
    assert_eq!(reason(300), "ManagedClusterClockOutOfSync");
    assert_eq!(reason(-3600), "ManagedClusterClockOutOfSync");
}

#[test]
fn a_shorter_lease_starts_when_it_is_set_and_loses_nobody_at_once() {
    let mut clock = Clock::new();
    let sightings = Sightings::starting(clock.instant());
    see(&sightings, &clock, clock.renewal(0, None));
    sightings.judge("c1", 60, clock.instant());
    clock.pass(secs(50));
    let now = clock.instant();
    assert_eq!(
        sightings.judge("c1", 5, now),
        Some(Liveness::Alive(secs(25)))
    );
    clock.pass(secs(25));
    assert_eq!(
        sightings.judge("c1", 5, clock.instant()),
        Some(Liveness::Lost)
    );
}

#[test]
fn while_the_hub_is_blind_nobodys_time_runs() {
    let mut clock = Clock::new();
    let sightings = Sightings::starting(clock.instant());
    see(&sightings, &clock, clock.renewal(0, Some(5)));
    clock.pass(secs(4));
    // The watch broke, and is tried again in ten seconds.
    sightings.blind_until(clock.instant() + secs(10));
    clock.pass(secs(9));
    let now = clock.instant();
    assert_eq!(
        sightings.judge("c1", 5, now),
        Some(Liveness::Alive(secs(6)))
    );
    clock.pass(secs(6));
    assert_eq!(
        sightings.judge("c1", 5, clock.instant()),
        Some(Liveness::Lost)
    );
}

#[test]
fn a_storm_of_renewals_asks_for_one_look() {
    let mut clock = Clock::new();
    let sightings = Sightings::starting(clock.instant());
    let mut looks = 0;
    for _ in 0..100_000 {
        clock.pass(Duration::from_micros(10));
        if see(&sightings, &clock, clock.renewal(0, Some(60))) {
            looks += 1;
            sightings.judge("c1", 60, clock.instant());
        }
    }
    // The second is the first renewal that says something about the agent's clock.
    assert_eq!(looks, 2);
    assert_eq!(sightings.lock().agents.len(), 1);
}

#[test]
fn months_of_skew_and_restarts_lose_no_living_agent_and_miss_no_death() {
    // A small generator with a printed seed: renewals come early or late, clocks jump, the hub
    // restarts, and its watch breaks.
    let seed = u64::from(std::process::id()) | 1;
    println!("seed {seed}");
    let mut state = seed;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let lease = 5;
    let mut clock = Clock::new();
    let mut sightings = Sightings::starting(clock.instant());
    let mut off_seconds = 0;
    let mut last = clock.renewal(0, Some(lease));
    see(&sightings, &clock, last);
    // Ninety days, a renewal each second or two.
    for _ in 0..90 * 24 * 3600 * 2 / 3 {
        clock.pass(Duration::from_millis(1000 + random(1000)));
        match random(1000) {
            0 => off_seconds = i64::try_from(random(1_000_000)).expect("small") - 500_000,
            1 => {
                // A restart: what was seen before is forgotten, the old lease is the first look.
                clock.pass(secs(random(600)));
                sightings = Sightings::starting(clock.instant());
                see(&sightings, &clock, last);
            }
            2 => {
                let pause = secs(random(60));
                sightings.blind_until(clock.instant() + pause);
                clock.pass(pause);
            }
            _ => {}
        }
        let judged = sightings.judge("c1", lease, clock.instant());
        assert!(
            matches!(judged, Some(Liveness::Alive(_))),
            "{:?} after the start",
            clock.passed
        );
        last = clock.renewal(off_seconds, Some(lease));
        see(&sightings, &clock, last);
    }
    let death = clock.passed;
    while sightings.judge("c1", lease, clock.instant()) != Some(Liveness::Lost) {
        clock.pass(Duration::from_millis(10));
    }
    assert!(clock.passed - death <= secs(5), "noticed within one lease");
}
