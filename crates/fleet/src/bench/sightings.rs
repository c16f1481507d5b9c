//! When objects were first seen, by a watch, to be as they should be.

use anyhow::Context;
use anyhow::bail;
use futures::StreamExt;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::watcher;
use hyades_runtime::kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Sightings not yet asked for. The benchmark asks all the time, and the watch waits when it does
/// not; this is a burst of works, several times over.
const UNREAD_MAX: usize = 1024;

/// How long the first list may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(30);

/// A watch that notes when each object first passed a test.
pub(super) struct Sightings {
    what: &'static str,
    seen: HashMap<String, Instant>,
    receiver: mpsc::Receiver<Message>,
    task: JoinHandle<()>,
}

enum Message {
    Listed,
    Seen(String, Instant),
}

impl Sightings {
    /// Starts to watch; returns when the first list is complete. `what` tells in errors what the
    /// test looks for.
    pub(super) async fn start<K>(
        api: Api<K>,
        what: &'static str,
        test: fn(&K) -> bool,
    ) -> anyhow::Result<Self>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        Self::start_by(api, what, test, K::name_any).await
    }

    /// As [`Sightings::start`], for objects that are told apart by another text than their name.
    pub(super) async fn start_by<K>(
        api: Api<K>,
        what: &'static str,
        test: fn(&K) -> bool,
        key: fn(&K) -> String,
    ) -> anyhow::Result<Self>
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(UNREAD_MAX);
        let mut sightings = Self {
            what,
            seen: HashMap::new(),
            receiver,
            task: tokio::spawn(follow(api, test, key, sender)),
        };
        let listed = async {
            while let Some(message) = sightings.receiver.recv().await {
                match message {
                    Message::Listed => return Ok(()),
                    Message::Seen(name, at) => sightings.note(name, at),
                }
            }
            bail!("the watch ended")
        };
        match tokio::time::timeout(LIST_TIMEOUT, listed).await {
            Ok(result) => result.map(|()| sightings),
            Err(_) => bail!("waited {} s to list {what}", LIST_TIMEOUT.as_secs()),
        }
    }

    /// When the object of this name first passed; waits for it until `timeout`.
    pub(super) async fn of(&mut self, name: &str, timeout: Duration) -> anyhow::Result<Instant> {
        let wait = async {
            loop {
                if let Some(at) = self.seen.get(name) {
                    return Ok(*at);
                }
                let message = self.receiver.recv().await;
                if let Message::Seen(name, at) = message.context("the watch ended")? {
                    self.note(name, at);
                }
            }
        };
        match tokio::time::timeout(timeout, wait).await {
            Ok(result) => result,
            Err(_) => bail!("waited {} s for {} {name:?}", timeout.as_secs(), self.what),
        }
    }

    fn note(&mut self, name: String, at: Instant) {
        self.seen.entry(name).or_insert(at);
    }
}

impl Drop for Sightings {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow<K>(
    api: Api<K>,
    test: fn(&K) -> bool,
    key: fn(&K) -> String,
    sender: mpsc::Sender<Message>,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    // Errors are tried again by the watcher, and a watch that never comes back ends in a timeout
    // of whoever waits for a sighting.
    let mut events = pin!(watcher(api, watcher::Config::default()));
    while let Some(event) = events.next().await {
        let at = Instant::now();
        let message = match event {
            Ok(Event::InitDone) => Message::Listed,
            Ok(Event::Apply(object) | Event::InitApply(object)) if test(&object) => {
                Message::Seen(key(&object), at)
            }
            Ok(_) => continue,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            }
        };
        if sender.send(message).await.is_err() {
            return;
        }
    }
}
