//! One watch without a store, kept up whatever breaks: what is there, what changes, in order.

use crate::backoff::Backoff;
use crate::backoff::Policy;
use crate::trouble::Trouble;
use futures::TryStreamExt;
use kube::Api;
use kube::Resource;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;
use tokio::task::AbortHandle;

/// How a watch that failed is tried again. The first pause is short, because rights are often given
/// a few milliseconds after what shows that they will be.
const WATCHING: Policy = Policy {
    base: Duration::from_millis(20),
    ..Policy::API
};

/// A watch without a store. Dropping it ends the watch.
#[derive(Debug)]
pub struct Follower {
    task: AbortHandle,
}

impl Follower {
    pub(crate) fn start<K>(
        api: Api<K>,
        config: watcher::Config,
        plural: String,
        on_event: impl FnMut(Event<K>) + Send + 'static,
        on_gap: impl FnMut(&Trouble, Duration) + Send + 'static,
    ) -> Self
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let task = tokio::spawn(events(api, config, plural, on_event, on_gap));
        Self {
            task: task.abort_handle(),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches `api` for those who keep a store of their own: tells `on_event` of every event, lists
/// included, and `on_trouble` of every failure, until the returned follower is dropped. With an
/// [`Api`] of `PartialObjectMeta` the server sends no more than metadata. `plural` names the
/// resource in the log.
pub fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    plural: String,
    on_event: impl FnMut(Event<K>) + Send + 'static,
    mut on_trouble: impl FnMut(&Trouble) + Send + 'static,
) -> Follower
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Send + Sync + Unpin,
{
    let on_gap = move |trouble: &Trouble, _| on_trouble(trouble);
    Follower::start(api, config, plural, on_event, on_gap)
}

/// Passes on the events of a watch for ever.
async fn events<K>(
    api: Api<K>,
    config: watcher::Config,
    plural: String,
    mut on_event: impl FnMut(Event<K>),
    mut on_gap: impl FnMut(&Trouble, Duration),
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut backoff = Backoff::new(WATCHING);
    let mut config = config.streaming_lists();
    let start = |config: &watcher::Config| Box::pin(watcher(api.clone(), config.clone()));
    let mut events = start(&config);
    loop {
        match events.try_next().await {
            Ok(None) => return,
            Ok(Some(event)) => {
                // The beginning of a list is told before the server has answered.
                if !matches!(event, Event::Init) {
                    backoff.reset();
                }
                on_event(event);
            }
            Err(error) if lists_first(&error, &mut config) => events = start(&config),
            Err(error) => {
                if is_from_the_future(&error) {
                    // A server restored from a backup counts from an earlier revision: what was
                    // seen is no place to go on from, now or ever.
                    events = start(&config);
                }
                let trouble = Trouble::of_watch(&error);
                let delay = pause_after(&trouble, &mut backoff, &plural);
                on_gap(&trouble, delay);
                tokio::time::sleep(delay).await;
            }
        }
    }
}

/// Falls back to a list and a watch when the server refuses a streaming list, as those before
/// Kubernetes 1.32 do unless told otherwise. Whatever else is wrong with the request, the list will
/// tell.
fn lists_first(error: &watcher::Error, config: &mut watcher::Config) -> bool {
    let refused = matches!(
        error,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.is_invalid() || status.code == 400
    );
    let streams = config.initial_list_strategy == watcher::InitialListStrategy::StreamingList;
    if refused && streams {
        config.initial_list_strategy = watcher::InitialListStrategy::ListWatch;
    }
    refused && streams
}

/// Whether the server has not come as far as the revision that a watch wants to go on from.
fn is_from_the_future(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchError(status) => status,
        watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes
        .into_iter()
        .any(|cause| cause.reason == "ResourceVersionTooLarge")
        || status.message.contains("Too large resource version")
}

/// How long to wait after a failed watch, and the log line about it.
fn pause_after(trouble: &Trouble, backoff: &mut Backoff, plural: &str) -> Duration {
    if let Trouble::Gone(_) = trouble {
        // The server's history does not reach back: a fresh list is the answer, at once.
        tracing::debug!("the watch of {plural} is too old to continue: listing again");
        return Duration::ZERO;
    }
    let delay = backoff.next_delay();
    let retry = delay.as_secs_f64();
    if backoff.failures() == 1 {
        tracing::info!("watching {plural}: {trouble}; trying again in {retry:.1} s");
    } else {
        tracing::warn!("watching {plural}: {trouble}; trying again in {retry:.1} s");
    }
    delay
}
