//! The agent against whole spaces: a hub with the real hub controllers behind real TLS, and a WEC
//! in which the agent has no rights but those its operator gives it.

mod addon_tokens;
mod addons;
mod executors;
mod hosted;
mod hub;
mod hubs;
mod importer;
mod operator;
mod partitions;
mod recovery;
mod registration;
mod reporting;
mod reports;
mod scene;
mod secrecy;
mod serve;
mod treatments;
mod wec;
mod works;

use crate::hub::Hub;
use crate::wec::Wec;
use hyades_runtime::kube::Api;
use std::fmt::Debug;
use std::time::Duration;
use std::time::Instant;

/// Longest wait for anything. Everything here takes milliseconds on an idle machine.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until `find` finds something; fails the test, naming `what`, when it never does.
async fn until<T>(what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = find().await {
            return found;
        }
        assert!(
            start.elapsed() < WAIT_MAX,
            "waited {WAIT_MAX:?} for: {what}"
        );
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until an object is gone.
async fn until_gone<K>(api: &Api<K>, name: &str)
where
    K: Clone + Debug + serde::de::DeserializeOwned,
{
    until(&format!("{name} is gone"), async || {
        let found = api.get_opt(name).await.expect("an answer");
        found.is_none().then_some(())
    })
    .await;
}

/// A hub that accepts by itself, and the WEC `cluster1`, which it finds Available.
async fn registered() -> (Hub, Wec) {
    let hub = Hub::start(true).await;
    let wec = Wec::start("cluster1").await;
    wec.run(&hub, "cluster1").await;
    hub.until_available("cluster1").await;
    (hub, wec)
}

/// Lets time pass for everything that waits in this process, at once. Clocks of the day stay.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// As [`until`], while time passes again and again: a delay may have begun after it passed once.
async fn until_later<T>(time: Duration, what: &str, mut find: impl AsyncFnMut() -> Option<T>) -> T {
    /// How long is looked before more time passes: far longer than anything takes.
    const TURN: Duration = Duration::from_secs(1);
    let start = Instant::now();
    loop {
        pass(time).await;
        let turn = Instant::now();
        while turn.elapsed() < TURN {
            if let Some(found) = find().await {
                return found;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        assert!(
            start.elapsed() < WAIT_MAX,
            "waited {WAIT_MAX:?} for: {what}"
        );
    }
}
