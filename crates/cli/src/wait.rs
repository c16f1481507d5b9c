//! Waiting for a cluster to get somewhere: bounded, and always saying for what. Every wait of every
//! command goes through here, and is on the board of [`progress`](crate::progress) meanwhile.

use crate::progress::board::Step;
use std::time::Duration;
use std::time::Instant;

/// Longest wait that can be asked for, in seconds: a year. Nobody waits longer, and clocks cannot
/// count to every number.
const TIMEOUT_SECONDS_MAX: u64 = 365 * 24 * 3600;
/// Pause after the first look. On a host of our own most waits end within it.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
/// Longest pause between two looks: five requests a second burden no server.
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Reads a `--timeout`.
pub fn timeout_seconds() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(0..=TIMEOUT_SECONDS_MAX)
}

/// What one look found.
#[derive(Debug)]
pub enum Look<T> {
    /// What was waited for.
    Done(T),
    /// Not yet; what there is instead.
    NotYet(String),
}

/// A wait that was over before it got what it waited for.
#[derive(Debug, thiserror::Error)]
#[error("waited {} s for {what}; last seen: {last_seen}", timeout.as_secs())]
pub struct TimedOut {
    what: String,
    timeout: Duration,
    last_seen: String,
}

/// Looks again and again until `look` is done, fails, or `timeout` is over. A look that hangs is
/// cut off by the timeout as well.
///
/// # Errors
///
/// Those of `look`; when the time is over, a [`TimedOut`].
pub async fn until<T, F, R>(what: &str, timeout: Duration, look: F) -> anyhow::Result<T>
where
    F: FnMut() -> R,
    R: Future<Output = anyhow::Result<Look<T>>>,
{
    let step = Step::begin(format!("waiting for {what}"));
    step.during(look_until(what, timeout, look, |seen| step.saw(seen)))
        .await
}

async fn look_until<T, F, R>(
    what: &str,
    timeout: Duration,
    mut look: F,
    saw: impl Fn(&str),
) -> anyhow::Result<T>
where
    F: FnMut() -> R,
    R: Future<Output = anyhow::Result<Look<T>>>,
{
    let deadline = Instant::now() + timeout;
    let mut pause = PAUSE_FIRST;
    let mut last_seen = "nothing, the first look did not end".to_owned();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(Look::Done(value))) => return Ok(value),
            Ok(Ok(Look::NotYet(seen))) => {
                saw(&seen);
                last_seen = seen;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {}
        }
        if Instant::now() + pause >= deadline {
            let what = what.to_owned();
            return Err(TimedOut {
                what,
                timeout,
                last_seen,
            }
            .into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_ends_with_what_it_waited_for_or_says_what_it_saw_last() {
        let mut looks = 0;
        let found = until("three looks", Duration::from_secs(60), || {
            looks += 1;
            let look = if looks == 3 {
                Look::Done(looks)
            } else {
                Look::NotYet(format!("{looks} looks"))
            };
            std::future::ready(Ok(look))
        })
        .await;
        assert_eq!(found.expect("done"), 3);

        let never = || std::future::ready(Ok(Look::<()>::NotYet("a closed door".to_owned())));
        let error = until("an open door", Duration::from_millis(1), never)
            .await
            .expect_err("never opens");
        assert_eq!(
            error.to_string(),
            "waited 0 s for an open door; last seen: a closed door"
        );
    }
}
