//! What the node's controllers share: how they are run.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodTemplateSpec;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::core::PartialObjectMeta;
use hyades_runtime::kube::runtime::watcher;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::role::Role;

/// How many objects are reconciled at once. A space runs a handful of deployments, and each of them
/// waits for the space only.
const WORKERS: usize = 4;

/// How many pods one reconcile creates at most: a mistyped replica count fills the space slowly and
/// can still be corrected. Kubernetes' own controller bursts 500; child processes are dearer.
pub(crate) const CREATE_BURST_MAX: usize = 50;

/// Namespace and name of an object.
type Key = (String, String);

/// Reconciles every `K`, unless its pods are for others to run, whenever it or an `Owned` of its own changes, until `stop`. What fails is
/// told and tried again with growing delays.
pub(crate) async fn run<K, Owned, Reconcile, Outcome>(
    client: Client,
    role: &Role,
    template: fn(&K) -> Option<&PodTemplateSpec>,
    stop: CancellationToken,
    reconcile: Reconcile,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    Owned: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    Reconcile: Fn(Arc<K>, Client) -> Outcome,
    Outcome: Future<Output = Result<Option<Duration>, kube::Error>>,
{
    let queue = Queue::<Key>::new();
    let feed = queue.clone();
    let objects = controller::watch(
        Api::<K>::all(client.clone()),
        watcher::Config::default(),
        move |change| {
            if let Change::Applied(object) = change {
                feed.add((object.namespace().unwrap_or_default(), object.name_any()));
            }
        },
    );
    let feed = queue.clone();
    let _owned = controller::watch(
        Api::<PartialObjectMeta<Owned>>::all(client.clone()),
        watcher::Config::default(),
        move |change| {
            if let Change::Applied(object) | Change::Deleted(object) = change {
                owners::<K>(object).for_each(|key| feed.add(key));
            }
        },
    );
    let kind = K::kind(&());
    let work = controller::work(&kind, queue, WORKERS, stop, |(namespace, name): Key| {
        let object = objects.get_in(&namespace, &name);
        let object = object.filter(|object| {
            let pods = template(object).and_then(|template| template.spec.as_ref());
            !role.leaves_alone(pods)
        });
        let outcome = object.map(|object| reconcile(object, client.clone()));
        async move {
            match outcome {
                Some(outcome) => outcome.await.map_err(|error| Trouble::of(&error)),
                None => Ok(None),
            }
        }
    });
    work.await;
}

/// The objects of kind `K` that control an object.
fn owners<K: Resource<DynamicType = ()>>(object: &impl ResourceExt) -> impl Iterator<Item = Key> {
    let namespace = object.namespace().unwrap_or_default();
    let references = object.owner_references().iter();
    references
        .filter(|owner| {
            owner.controller == Some(true)
                && owner.kind == K::kind(&())
                && owner.api_version == K::api_version(&())
        })
        .map(move |owner| (namespace.clone(), owner.name.clone()))
}

/// The pods that an object controls.
pub(crate) fn owned(owner: &impl ResourceExt, pods: Vec<Pod>) -> Vec<Pod> {
    let uid = owner.uid().unwrap_or_default();
    pods.into_iter()
        .filter(|pod| {
            let owners = pod.owner_references();
            owners
                .iter()
                .any(|owner| owner.controller == Some(true) && owner.uid == uid)
        })
        .collect()
}

/// A pod's phase.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether a pod has neither ended nor is going.
pub(crate) fn is_active(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
    use hyades_runtime::k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::json;

    #[test]
    fn an_owner_is_a_controller_of_the_very_kind() {
        let owner = |kind: &str, name: &str, controller: bool| {
            json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u",
                "controller": controller})
        };
        let set: ReplicaSet = serde_json::from_value(json!({"metadata": {
            "name": "s", "namespace": "n",
            "ownerReferences": [owner("Deployment", "d", true),
                owner("Deployment", "bystander", false), owner("ReplicaSet", "r", true)],
        }}))
        .expect("a set");
        let found: Vec<Key> = owners::<Deployment>(&set).collect();
        assert_eq!(found, [("n".to_owned(), "d".to_owned())]);
    }
}
