//! The end of the certificate in use, as the process's health tells it.

use crate::clock::Clock;
use hyades_runtime::health::Health;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering;

/// Seconds past a certificate's end after which the process calls itself unhealthy: the agent
/// goes back to bootstrapping by itself, so being still there means that it is stuck.
const GRACE_SECONDS: i64 = 60;

/// End of the certificate in use. It is forgotten when registration starts anew.
pub(super) struct Expiry(Arc<AtomicI64>);

impl Expiry {
    /// An end that is not known yet, and that `health` shows from now on.
    pub(super) fn watched(health: &Health, clock: Clock) -> Self {
        let expires_at = Arc::new(AtomicI64::new(0));
        let seen = expires_at.clone();
        health.add_live("hub-kube-config", move || {
            let end = seen.load(Ordering::Relaxed);
            if end == 0 || clock.now().as_second() <= end + GRACE_SECONDS {
                return Ok(());
            }
            Err("the client certificate expires and rebootstrap is required.".to_owned())
        });
        Self(expires_at)
    }

    /// In seconds of the epoch; 0 while there is no certificate.
    pub(super) fn seconds(&self) -> &AtomicI64 {
        &self.0
    }
}

impl Drop for Expiry {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_sits_on_an_expired_certificate_is_to_be_restarted() {
        let start = Timestamp::from_second(1_800_000_000).expect("a time");
        let health = Health::new();
        let expiry = Expiry::watched(&health, Clock::starting(start));
        assert_eq!(health.live(), Ok(()), "there is none yet");
        let end = start.as_second() + 3600;
        expiry.seconds().store(end, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(3600 + 60)).await;
        assert_eq!(health.live(), Ok(()), "it has a moment to help itself");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let why = health.live().expect_err("unhealthy");
        assert!(why.contains("rebootstrap is required"), "{why}");
        drop(expiry);
        assert_eq!(health.live(), Ok(()), "registration starts anew");
    }
}
