//! What a connection is doing, so that one that does nothing gives its slot back.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Frame;
use hyper::body::SizeHint;

use crate::router::Body;

/// How long a connection may last before its first request: clients connect because they have one.
/// Neither the detection of the protocol nor the beginning of HTTP/2 has a limit of its own.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may have no request under way, and no watch open. HTTP/2 has no such limit
/// of its own, and answered pings would keep the slot for ever. A client that has something to ask
/// later pays one handshake; agents keep watches open.
const REST_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

impl Activity {
    /// Counts a request, which is under way until the result is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Exchange(Arc::clone(self))
    }

    /// Resolves, with the reason, when the connection has asked nothing in time, or has had nothing
    /// under way from one look to the next.
    pub(super) async fn rests(&self) -> &'static str {
        tokio::time::sleep(FIRST_REQUEST_TIMEOUT).await;
        if self.begun.load(Ordering::Relaxed) == 0 {
            return "it asks nothing";
        }
        loop {
            let ended_before = self.ended.load(Ordering::Relaxed);
            tokio::time::sleep(REST_TIMEOUT).await;
            let ended = self.ended.load(Ordering::Relaxed);
            if ended == ended_before && ended == self.begun.load(Ordering::Relaxed) {
                return "it has been idle for minutes";
            }
        }
    }
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Exchange(Arc<Activity>);

impl Exchange {
    /// The body of the answer, with whose end the exchange ends.
    pub(super) fn until_the_end_of(self, body: Body) -> Answering {
        Answering {
            body,
            _exchange: self,
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer under way.
pub(super) struct Answering {
    body: Body,
    _exchange: Exchange,
}

impl hyper::body::Body for Answering {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use http_body_util::Empty;

    async fn rests_within(activity: &Activity, patience: Duration) -> bool {
        let rests = tokio::time::timeout(patience, activity.rests());
        rests.await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_connection_that_asks_nothing_is_ended() {
        let patience = 2 * FIRST_REQUEST_TIMEOUT;
        let mute = Activity::default();
        assert!(rests_within(&mute, patience).await);
        let asking = Arc::new(Activity::default());
        drop(asking.begin());
        assert!(!rests_within(&asking, patience).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_ended_some_minutes_after_its_last_answer() {
        let patience = FIRST_REQUEST_TIMEOUT + 2 * REST_TIMEOUT;
        let activity = Arc::new(Activity::default());
        let body = Empty::new().boxed_unsync();
        let watch = activity.begin().until_the_end_of(body);
        assert!(!rests_within(&activity, 10 * patience).await, "a watch");
        drop(watch);
        assert!(rests_within(&activity, patience).await, "nothing is open");
        let busy = async {
            for _ in 0..20 {
                tokio::time::sleep(REST_TIMEOUT / 2).await;
                drop(activity.begin());
            }
        };
        tokio::select! {
            reason = activity.rests() => panic!("{reason}"),
            () = busy => {}
        }
    }
}
