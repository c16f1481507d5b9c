//! The ReplicaSet controller: keeps as many pods of a template as the set wants.

use std::sync::Arc;
use std::time::Duration;

use hyades_runtime::k8s_openapi::api::apps::v1::ReplicaSet;
use hyades_runtime::k8s_openapi::api::apps::v1::ReplicaSetStatus;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodTemplateSpec;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::controllers;
use crate::controllers::CREATE_BURST_MAX;
use crate::controllers::is_active;
use crate::controllers::is_ready;
use crate::controllers::owned;
use crate::controllers::phase;
use crate::role::Role;

/// What brings a set closer to its wanted replicas.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// How many pods to create.
    pub create: usize,
    /// The names of pods to delete.
    pub delete: Vec<String>,
}

pub(crate) async fn run(client: Client, role: &Role, stop: CancellationToken) {
    controllers::run::<ReplicaSet, Pod, _, _>(client, role, template, stop, reconcile).await;
}

fn template(set: &ReplicaSet) -> Option<&PodTemplateSpec> {
    set.spec.template.as_ref()
}

async fn reconcile(set: Arc<ReplicaSet>, client: Client) -> Result<Option<Duration>, kube::Error> {
    if set.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let namespace = set.namespace().unwrap_or_default();
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    // Pods get generated names, so that a stale cache would create too many: ask the space itself,
    // which is in this very process.
    let owned = owned(&*set, pods.list(&ListParams::default()).await?.items);
    let next = plan(&set, &owned);
    for _ in 0..next.create {
        pods.create(&PostParams::default(), &pod(&set)).await?;
    }
    for name in &next.delete {
        match pods.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other?),
        }
    }
    let wanted = status(&set, &owned);
    if set.status.as_ref() != Some(&wanted) {
        let sets = Api::<ReplicaSet>::namespaced(client.clone(), &namespace);
        let patch = json!({"status": wanted});
        sets.patch_status(
            &set.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    }
    Ok(None)
}

/// Decides how many pods to create and which to delete: unscheduled before pending before unready
/// before ready, and the youngest first among equals.
pub fn plan(set: &ReplicaSet, owned: &[Pod]) -> Plan {
    let wanted = set.spec.replicas.unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let mut active: Vec<&Pod> = owned.iter().filter(|pod| is_active(pod)).collect();
    if active.len() <= wanted {
        return Plan {
            create: (wanted - active.len()).min(CREATE_BURST_MAX),
            delete: Vec::new(),
        };
    }
    active.sort_by_key(|pod| {
        let scheduled = pod
            .spec
            .as_ref()
            .is_some_and(|spec| spec.node_name.is_some());
        let age = std::cmp::Reverse(pod.creation_timestamp());
        (scheduled, phase(pod) == "Running", is_ready(pod), age)
    });
    let surplus = active.len() - wanted;
    Plan {
        create: 0,
        delete: active[..surplus].iter().map(|pod| pod.name_any()).collect(),
    }
}

/// The status that the observed pods amount to.
pub fn status(set: &ReplicaSet, owned: &[Pod]) -> ReplicaSetStatus {
    let count = |matches: &dyn Fn(&Pod) -> bool| {
        i32::try_from(
            owned
                .iter()
                .filter(|pod| is_active(pod) && matches(pod))
                .count(),
        )
        .unwrap_or(i32::MAX)
    };
    let template = set.spec.template.as_ref();
    let labels = template
        .and_then(|template| template.metadata.as_ref())
        .and_then(|metadata| metadata.labels.clone())
        .unwrap_or_default();
    let labelled = |pod: &Pod| {
        let own = pod.labels();
        labels
            .iter()
            .all(|(key, value)| own.get(key) == Some(value))
    };
    let positive = |count: i32| (count > 0).then_some(count);
    ReplicaSetStatus {
        replicas: count(&|_| true),
        fully_labeled_replicas: positive(count(&labelled)),
        ready_replicas: positive(count(&is_ready)),
        available_replicas: positive(count(&is_ready)),
        observed_generation: set.metadata.generation,
        conditions: None,
        terminating_replicas: None,
    }
}

fn pod(set: &ReplicaSet) -> Pod {
    let template = set.spec.template.clone().unwrap_or_default();
    let metadata = template.metadata.unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", set.name_any())),
            namespace: set.namespace(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: set.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u"},
            "spec": {"replicas": replicas, "selector": {}},
        }))
        .expect("a set")
    }

    fn running(name: &str, ready: bool) -> Pod {
        let ready = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"containers": [], "nodeName": "host"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
        }))
        .expect("a pod")
    }

    #[test]
    fn missing_pods_are_created_and_finished_ones_replaced() {
        let mut done = running("done", false);
        done.status.as_mut().expect("status").phase = Some("Failed".to_owned());
        assert_eq!(plan(&set(3), &[running("a", true), done]).create, 2);
    }

    #[test]
    fn a_mistyped_replica_count_is_approached_in_bursts() {
        assert_eq!(plan(&set(100_000), &[]).create, CREATE_BURST_MAX);
    }

    #[test]
    fn the_least_useful_pods_go_first() {
        let pods = [
            running("ready", true),
            running("unready", false),
            running("ready-too", true),
        ];
        assert_eq!(plan(&set(2), &pods).delete, ["unready"]);
    }

    #[test]
    fn the_status_counts_only_live_pods() {
        let status = status(&set(2), &[running("a", true), running("b", false)]);
        assert_eq!((status.replicas, status.ready_replicas), (2, Some(1)));
    }
}
