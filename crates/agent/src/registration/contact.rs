//! Whether the hub can be reached and knows the agent, from how the agent's calls fare.

use hyades_runtime::Trouble;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A hub that refuses the certificate for so long means it. An authenticator that starts may refuse
/// for seconds; the lease is tried every ten, so that this is three refusals at least.
const REFUSED_AFTER: Duration = Duration::from_secs(30);

/// Since when something has been so, without a break.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct State {
    unreachable: Option<Instant>,
    refused: Option<Instant>,
}

/// The record of one session with the hub.
#[derive(Debug, Default)]
pub(super) struct Contact(watch::Sender<State>);

impl Contact {
    /// Notes that a call succeeded.
    pub(super) fn succeeded(&self) {
        self.set(State::default());
    }

    /// Notes that a call failed. An answer is contact, too, unless it says 401.
    pub(super) fn failed(&self, trouble: &Trouble) {
        let before = *self.0.borrow();
        let now = Instant::now();
        self.set(match trouble {
            Trouble::Forbidden(_)
            | Trouble::NotFound(_)
            | Trouble::Conflict(_)
            | Trouble::AlreadyExists(_)
            | Trouble::Gone(_)
            | Trouble::Invalid(_) => State::default(),
            Trouble::Unauthorized(_) => State {
                unreachable: before.unreachable.or(Some(now)),
                refused: before.refused.or(Some(now)),
            },
            _ => State {
                unreachable: before.unreachable.or(Some(now)),
                refused: None,
            },
        });
    }

    fn set(&self, state: State) {
        self.0
            .send_if_modified(|known| std::mem::replace(known, state) != state);
    }

    /// Waits until the hub has refused the agent for long enough to mean it.
    pub(super) async fn refused(&self) {
        self.lasting(REFUSED_AFTER, |state| state.refused).await;
    }

    /// Waits until there was no good answer for `limit`.
    pub(super) async fn lost(&self, limit: Duration) {
        self.lasting(limit, |state| state.unreachable).await;
    }

    async fn lasting(&self, limit: Duration, since: impl Fn(&State) -> Option<Instant>) {
        let mut states = self.0.subscribe();
        loop {
            let since = since(&states.borrow_and_update());
            let elapsed = async {
                match since {
                    Some(since) => tokio::time::sleep_until(since + limit).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = elapsed => return,
                Ok(()) = states.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn within(seconds: u64, wait: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_secs(seconds), wait)
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_when_it_lasts_and_no_good_answer_comes_between() {
        let contact = Contact::default();
        let no = Trouble::Unauthorized("no".to_owned());
        contact.failed(&no);
        assert!(!within(29, contact.refused()).await);
        contact.succeeded();
        contact.failed(&no);
        assert!(!within(29, contact.refused()).await);
        contact.failed(&no);
        assert!(within(2, contact.refused()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_answers_anything_but_401_is_not_lost() {
        let contact = Contact::default();
        let limit = Duration::from_secs(600);
        contact.failed(&Trouble::Refused("nobody there".to_owned()));
        assert!(!within(599, contact.lost(limit)).await);
        contact.failed(&Trouble::Forbidden("not accepted".to_owned()));
        assert!(!within(10_000, contact.lost(limit)).await);
        contact.failed(&Trouble::TimedOut("late".to_owned()));
        assert!(within(601, contact.lost(limit)).await);
        assert!(
            !within(10_000, contact.refused()).await,
            "lost is not refused"
        );
    }
}
