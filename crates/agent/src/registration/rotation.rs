//! When a certificate is renewed: in good time, and not when all the others are.

use super::certificate::CertificateError;
use super::certificate::Issued;
use crate::clock::Clock;
use crate::credentials;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use jiff::Timestamp;
use std::time::Duration;

/// Credentials are renewed when this share of their life remains: drawn at random, so that those
/// issued together are not renewed together.
pub(crate) const RENEWAL_SHARE: std::ops::Range<f64> = 0.20..0.25;

/// Longest single sleep before looking at the clock again: a suspended machine must not oversleep.
const CLOCK_CHECK: Duration = Duration::from_secs(300);

/// Waits for a time of day.
pub(super) async fn until(clock: Clock, time: Timestamp) {
    loop {
        let seconds = time.as_second() - clock.now().as_second();
        let Ok(seconds) = u64::try_from(seconds) else {
            return;
        };
        if seconds == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_secs(seconds).min(CLOCK_CHECK)).await;
    }
}

/// Waits until renewal of a certificate is due, and asks until there is another. Each failure is
/// told to `failed`.
pub(super) async fn next(
    clock: Clock,
    certificate_pem: &str,
    ask: impl AsyncFn() -> Result<Issued, CertificateError>,
    failed: impl AsyncFn(&CertificateError),
) -> Issued {
    let share = rand::random_range(RENEWAL_SHARE);
    let due = credentials::renew_at(certificate_pem, share).unwrap_or(Timestamp::MAX);
    until(clock, due).await;
    let mut backoff = Backoff::new(Policy::API);
    loop {
        tracing::info!("the certificate is due for renewal");
        match ask().await {
            Ok(issued) => return issued,
            Err(error) => {
                failed(&error).await;
                tokio::time::sleep(backoff.next_delay()).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_pki::Authority;
    use hyades_pki::Validity;
    use hyades_runtime::Trouble;
    use std::cell::Cell;

    const DAY: i64 = 86_400;
    const LIFE: i64 = 90 * DAY;

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("a time")
    }

    /// A signer of certificates that live for [`LIFE`], by a simulated clock, and is away at times.
    struct Signer {
        clock: Clock,
        authority: Authority,
        away: std::ops::Range<i64>,
        asked: Cell<usize>,
    }

    impl Signer {
        fn new(away: std::ops::Range<i64>) -> Self {
            let valid = Validity::starting(start(), 100 * 365 * DAY);
            Self {
                clock: Clock::starting(start()),
                authority: Authority::new("hub", valid).expect("an authority"),
                away,
                asked: Cell::new(0),
            }
        }

        fn day(&self) -> f64 {
            (self.clock.now().as_second() - start().as_second()) as f64 / DAY as f64
        }

        fn certificate(&self) -> String {
            let now = self.clock.now();
            let end = Timestamp::from_second(now.as_second() + LIFE).expect("a time");
            let valid = Validity {
                not_before: now,
                not_after: end,
            };
            let issued = self.authority.issue_client("agent", &[], valid);
            issued.expect("a certificate").0.to_pem()
        }

        async fn ask(&self) -> Result<Issued, CertificateError> {
            self.asked.set(self.asked.get() + 1);
            if self.away.contains(&(self.day() as i64)) {
                return Err(CertificateError::Hub {
                    action: "created a certificate request",
                    trouble: Trouble::Refused("nobody is there".to_owned()),
                });
            }
            Ok(Issued {
                certificate_pem: self.certificate(),
                key_pem: String::new(),
            })
        }

        async fn rotate(&self, certificate_pem: &str) -> String {
            let next = next(
                self.clock,
                certificate_pem,
                async || self.ask().await,
                async |_| {},
            );
            next.await.certificate_pem
        }
    }

    fn end_of(certificate_pem: &str) -> Timestamp {
        credentials::renew_at(certificate_pem, 0.0).expect("a certificate")
    }

    #[tokio::test(start_paused = true)]
    async fn three_years_of_renewals_never_come_late_and_never_too_often() {
        let signer = Signer::new(0..0);
        let mut certificate = signer.certificate();
        let mut count = 0;
        while signer.day() < 1095.0 {
            let end = end_of(&certificate);
            certificate = signer.rotate(&certificate).await;
            let left = end.as_second() - signer.clock.now().as_second();
            assert!(
                (LIFE / 5 - 1..=LIFE / 4).contains(&left),
                "{left} s were left"
            );
            count += 1;
        }
        assert!((15..=17).contains(&count), "{count} renewals");
    }

    #[tokio::test(start_paused = true)]
    async fn certificates_issued_together_are_renewed_days_apart() {
        let signer = Signer::new(0..0);
        let certificate = signer.certificate();
        let fleet = (0..60).map(|_| async {
            signer.rotate(&certificate).await;
            signer.day()
        });
        let days = futures::future::join_all(fleet).await;
        let first = days.iter().copied().fold(f64::MAX, f64::min);
        let last = days.iter().copied().fold(0.0, f64::max);
        assert!((67.5..69.5).contains(&first), "{first}");
        assert!((70.0..=72.1).contains(&last), "{last}");
        let busiest = (0..5).map(|day| {
            let from = 67.5 + f64::from(day);
            days.iter()
                .filter(|at| (from..from + 1.0).contains(*at))
                .count()
        });
        assert!(busiest.max() < Some(40), "{days:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_is_away_when_renewal_is_due_is_met_within_a_minute_of_its_return() {
        let signer = Signer::new(60..85);
        let certificate = signer.certificate();
        let renewed = signer.rotate(&certificate).await;
        let late = (signer.day() - 85.0) * DAY as f64;
        assert!((0.0..60.0).contains(&late), "{late} s after its return");
        assert!(end_of(&renewed) > end_of(&certificate));
        assert!(signer.asked.get() > 1000, "it was asked all the while");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_stays_away_leaves_an_expired_certificate_to_be_noticed() {
        let signer = Signer::new(60..1000);
        let certificate = signer.certificate();
        let end = end_of(&certificate);
        tokio::select! {
            _ = signer.rotate(&certificate) => panic!("nobody can have signed that"),
            () = until(signer.clock, end) => {}
        }
        assert_eq!(signer.clock.now().as_second(), end.as_second());
    }
}
