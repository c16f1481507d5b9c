//! Waiting for the hub to let this agent in.

use super::Shared;
use super::bootstrap;
use super::contact::Contact;
use super::status;
use crate::session::Session;
use hyades_api::cluster::ManagedCluster;
use hyades_api::identity::ClusterName;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::runtime::watcher;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How the agent asks whether it has rights yet. The first pauses are short, since the hub gives
/// the rights within milliseconds of accepting.
const ASKING: Policy = Policy {
    base: Duration::from_millis(8),
    cap: Duration::from_secs(15),
    factor: 3.0,
    jitter: 0.3,
};

/// How long the agent asks before it also watches with its first credentials, over a connection of
/// its own: by then the hub does not let everybody in by itself, and a person may take days.
const SCOUT_AFTER: Duration = Duration::from_secs(4);

/// How often a wait that lasts is mentioned in the log.
const MENTION_EVERY: Duration = Duration::from_secs(60);

/// Reads the inventory object as soon as the hub gives the right to. The bootstrap identity may
/// watch it before, and so tells when asking is worth while.
pub(super) async fn wait(
    shared: &Shared<'_>,
    session: &Session,
    contact: &Contact,
) -> ManagedCluster {
    let api: Api<ManagedCluster> = Api::all(session.client.clone());
    let cluster = &session.identity.cluster;
    let (sender, mut accepted) = watch::channel(false);
    let mut scout = None;
    let mut backoff = Backoff::new(ASKING);
    let mut mentioned: Option<Instant> = None;
    let started = Instant::now();
    loop {
        let trouble = match api.get(cluster.as_str()).await {
            Ok(object) => {
                contact.succeeded();
                return object;
            }
            Err(error) => Trouble::of(&error),
        };
        contact.failed(&trouble);
        if mentioned.is_none_or(|at| at.elapsed() >= MENTION_EVERY) {
            tracing::info!("{}", waiting_for(&trouble, cluster));
            mentioned = Some(Instant::now());
        }
        if scout.is_none() && !*accepted.borrow() && started.elapsed() >= SCOUT_AFTER {
            scout = start_scout(shared, sender.clone()).await;
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.next_delay()) => {}
            Ok(()) = accepted.changed() => {
                backoff.reset();
                // It has told what it was sent out for.
                scout = None;
            }
        }
    }
}

fn waiting_for(trouble: &Trouble, cluster: &ClusterName) -> String {
    match trouble {
        Trouble::Forbidden(_) => format!(
            "waiting for the hub to accept this cluster (on the hub: clusteradm accept --clusters {cluster})"
        ),
        Trouble::NotFound(_) => format!(
            "the inventory object {cluster} is gone from the hub: this cluster is deregistered; join again to come back"
        ),
        other => format!("reading the inventory object {cluster} again and again: {other}"),
    }
}

async fn start_scout(
    shared: &Shared<'_>,
    accepted: watch::Sender<bool>,
) -> Option<Cache<ManagedCluster>> {
    let kubeconfig = shared.in_use().candidate.as_ref()?.kubeconfig.clone();
    let client = bootstrap::client(&kubeconfig).await.ok()?;
    let config =
        watcher::Config::default().fields(&format!("metadata.name={}", shared.identity.cluster));
    Some(controller::watch(
        Api::all(client),
        config,
        move |change: Change<'_, ManagedCluster>| {
            if matches!(change, Change::Applied(object) if status::is_accepted(object)) {
                accepted.send_if_modified(|known| !std::mem::replace(known, true));
            }
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_says_what_must_happen_and_where() {
        let cluster = "cluster1".parse().expect("a name");
        let told = |trouble| waiting_for(&trouble, &cluster);
        assert!(
            told(Trouble::Forbidden("no".into())).contains("clusteradm accept --clusters cluster1")
        );
        assert!(told(Trouble::NotFound("no".into())).contains("join again"));
        assert!(told(Trouble::Unauthorized("no".into())).contains("401"));
    }
}
