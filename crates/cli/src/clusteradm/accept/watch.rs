//! `accept --watch`: accepts clusters as they ask, until it is told to stop.
//!
//! ```text
//! inventory objects ─┐
//! requests ──────────┼▶ one key per cluster ▶ due? ▶ accept ▶ one line
//! Ctrl-C ────────────┘                                  ▶ how many there were
//! ```

use super::AcceptArgs;
use super::Attempt;
use super::Unapproved;
use super::accept;
use super::decide::has;
use crate::clusteradm::session::Session;
use crate::console::Console;
use anyhow::Context;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as types;
use hyades_api::names::labels;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::watcher;
use hyades_runtime::shutdown;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Pause before a cluster is tried again that could not be accepted.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Troubles remembered, one a cluster, so that each is told once. More clusters in trouble than this
/// only repeat themselves.
const TROUBLES_MAX: usize = 10_000;

/// Runs `accept --watch`, for these clusters or, if none are named, for all.
pub(super) async fn run(
    session: &Session,
    args: &AcceptArgs,
    only: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let stop = shutdown::on_signal().context("listen for signals")?;
    let queue: Queue<String> = Queue::new();
    let clusters = watch_clusters(session, queue.clone());
    let requests = watch_requests(session, queue.clone());
    session.console.line(match only.is_empty() {
        true => "Accepting clusters as they ask to join; Ctrl-C ends this".to_owned(),
        false => format!(
            "Accepting {} as they ask to join; Ctrl-C ends this",
            only.iter().cloned().collect::<Vec<_>>().join(", ")
        ),
    });
    let mut count = 0_usize;
    // The hub takes a moment to say that a cluster is accepted: till then, by name, whose it was.
    let mut accepted: HashMap<String, Option<String>> = HashMap::new();
    let mut troubles = HashMap::new();
    loop {
        let cluster = tokio::select! {
            () = stop.cancelled() => break,
            cluster = queue.next() => cluster,
        };
        let object = clusters.get(&cluster);
        let uid = object.as_ref().and_then(|object| object.uid());
        let due = object.is_some_and(|object| is_due(&object, || requests.list()));
        if !due {
            accepted.remove(&cluster);
        } else if accepted.get(&cluster) != Some(&uid)
            && (only.is_empty() || only.contains(&cluster))
        {
            let step = one(session, args, &cluster, &mut troubles);
            let done = tokio::select! {
                () = stop.cancelled() => break,
                done = step => done,
            };
            match done {
                true => {
                    count += 1;
                    accepted.insert(cluster.clone(), uid);
                }
                false => queue.add_after(cluster.clone(), RETRY_PAUSE),
            }
        }
        queue.done(&cluster);
    }
    session.console.line(format!("{count} clusters accepted"));
    Ok(())
}

/// Accepts one cluster and says so in one line; whether it is accepted.
async fn one(
    session: &Session,
    args: &AcceptArgs,
    cluster: &str,
    troubles: &mut HashMap<String, String>,
) -> bool {
    let quiet = Session {
        console: Console::Silent,
        ..session.on(session.target.clone())
    };
    let trouble = match accept(&quiet, args, cluster, Unapproved::Refuse).await {
        Ok(Attempt::Accepted) => {
            troubles.remove(cluster);
            let now = jiff::Timestamp::now();
            session
                .console
                .line(format!("{now:.0} cluster {cluster} accepted"));
            return true;
        }
        Ok(Attempt::NothingApproved) => return false,
        Err(failure) => failure.text,
    };
    if troubles.get(cluster) != Some(&trouble) {
        let line = format!("cluster {cluster} is not accepted: {trouble}");
        session.console.warn(line);
        if troubles.len() >= TROUBLES_MAX {
            troubles.clear();
        }
        troubles.insert(cluster.to_owned(), trouble);
    }
    false
}

/// Whether a cluster asks to be accepted: it waits, and a request of it is undecided or approved.
/// One that was accepted once and turned away is not let in again behind its administrator's back.
/// `requests` are only listed for one that waits.
fn is_due(
    object: &ManagedCluster,
    requests: impl FnOnce() -> Vec<Arc<CertificateSigningRequest>>,
) -> bool {
    let all = &object.status.conditions;
    let is_known = conditions::find(all, types::HUB_ACCEPTED).is_some();
    if object.metadata.deletion_timestamp.is_some() || is_known {
        return false;
    }
    let name = object.name_any();
    let asks = |request: &Arc<CertificateSigningRequest>| {
        request.labels().get(labels::CLUSTER_NAME) == Some(&name) && !has(request, "Denied")
    };
    requests().iter().any(asks)
}

fn watch_clusters(session: &Session, queue: Queue<String>) -> Cache<ManagedCluster> {
    let api = Api::all(session.target.client.clone());
    controller::watch(api, watcher::Config::default(), move |change| {
        if let Change::Applied(object) = change {
            queue.add(object.name_any());
        }
    })
}

fn watch_requests(session: &Session, queue: Queue<String>) -> Cache<CertificateSigningRequest> {
    let selector = format!("{},!{}", labels::CLUSTER_NAME, labels::ADDON_NAME);
    let config = watcher::Config::default().labels(&selector);
    let api = Api::all(session.target.client.clone());
    // What is asked here is only who asks; the request itself is read when it is decided.
    let trim = |object: &mut CertificateSigningRequest| {
        object.spec.request.0 = Vec::new();
        object.spec.extra = None;
        object.spec.groups = None;
        if let Some(status) = &mut object.status {
            status.certificate = None;
        }
    };
    controller::watch_trimmed(api, config, trim, move |change| {
        if let Change::Applied(object) = change
            && let Some(cluster) = object.labels().get(labels::CLUSTER_NAME)
        {
            queue.add(cluster.clone());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn cluster(status: Value) -> ManagedCluster {
        let object = json!({"metadata": {"name": "c1"}, "status": status});
        serde_json::from_value(object).expect("a ManagedCluster")
    }

    fn request(cluster: &str, condition: Option<&str>) -> Vec<Arc<CertificateSigningRequest>> {
        let conditions: Vec<_> = condition
            .iter()
            .map(|type_| json!({"type": type_, "status": "True"}))
            .collect();
        let request = serde_json::from_value(json!({
            "metadata": {"name": "r", "labels": {labels::CLUSTER_NAME: cluster}},
            "spec": {"request": "", "signerName": "x"},
            "status": {"conditions": conditions},
        }))
        .expect("a request");
        vec![Arc::new(request)]
    }

    #[test]
    fn only_who_asks_and_was_never_decided_on_is_accepted() {
        let new = cluster(json!({}));
        assert!(is_due(&new, || request("c1", None)));
        assert!(is_due(&new, || request("c1", Some("Approved"))));
        assert!(!is_due(&new, || request("c1", Some("Denied"))));
        assert!(!is_due(&new, || request("c10", None)));
        let turned_away = cluster(json!({"conditions": [{
            "type": types::HUB_ACCEPTED, "status": "False", "reason": "r", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]}));
        assert!(!is_due(&turned_away, || request("c1", None)));
    }
}
