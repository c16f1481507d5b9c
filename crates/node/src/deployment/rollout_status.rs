//! What a Deployment's status says about its ReplicaSets.

use std::sync::Arc;
use std::time::Duration;

use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::apps::v1::DeploymentCondition;
use hyades_runtime::k8s_openapi::api::apps::v1::DeploymentSpec;
use hyades_runtime::k8s_openapi::api::apps::v1::DeploymentStatus;
use hyades_runtime::k8s_openapi::api::apps::v1::ReplicaSet;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube::ResourceExt;

use super::plan;

/// Kubernetes' default for `progressDeadlineSeconds`.
const PROGRESS_DEADLINE_SECONDS: i32 = 600;

/// The status that the observed ReplicaSets amount to. Condition times change only with the
/// condition's status, so that an unchanged Deployment gives an equal status.
pub fn status(deployment: &Deployment, owned: &[Arc<ReplicaSet>]) -> DeploymentStatus {
    let spec = &deployment.spec;
    let newest = plan::newest(spec, owned);
    let statuses = || owned.iter().filter_map(|set| set.status.as_ref());
    let replicas: i32 = statuses().map(|status| status.replicas).sum();
    let ready: i32 = statuses().filter_map(|status| status.ready_replicas).sum();
    let available: i32 = statuses()
        .filter_map(|status| status.available_replicas)
        .sum();
    let updated = newest
        .and_then(|set| set.status.as_ref())
        .map_or(0, |status| status.replicas);
    let wanted = plan::wanted(spec);
    let unavailable = (wanted.max(replicas) - available).max(0);
    let positive = |count: i32| (count > 0).then_some(count);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: positive(replicas),
        updated_replicas: positive(updated),
        ready_replicas: positive(ready),
        available_replicas: positive(available),
        unavailable_replicas: positive(unavailable),
        collision_count: None,
        terminating_replicas: None,
        conditions: Some(vec![
            keep_times(deployment, availability(spec, available)),
            keep_times(
                deployment,
                progress(deployment, newest, replicas, updated, available, wanted),
            ),
        ]),
    }
}

/// How long until the rollout counts as stuck, if it is under way.
pub(super) fn deadline(deployment: &Deployment, owned: &[Arc<ReplicaSet>]) -> Option<Duration> {
    let wanted = status(deployment, owned);
    let progressing = wanted
        .conditions?
        .into_iter()
        .find(|condition| condition.type_.as_deref() == Some("Progressing"))?;
    if progressing.reason.as_deref() == Some("NewReplicaSetAvailable")
        || progressing.status.as_deref() != Some("True")
    {
        return None;
    }
    Some(Duration::from_secs(
        u64::try_from(deadline_seconds(deployment)).unwrap_or(0) + 1,
    ))
}

fn deadline_seconds(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .progress_deadline_seconds
        .unwrap_or(PROGRESS_DEADLINE_SECONDS)
}

fn condition(type_: &str, status: bool, reason: &str, message: String) -> DeploymentCondition {
    let now = Some(Time(
        Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
    ));
    DeploymentCondition {
        type_: Some(type_.to_owned()),
        status: Some(if status { "True" } else { "False" }.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: now.clone(),
        last_update_time: now,
    }
}

fn keep_times(deployment: &Deployment, mut new: DeploymentCondition) -> DeploymentCondition {
    let old = existing(deployment, new.type_.as_deref().unwrap_or_default());
    if let Some(old) = old.filter(|old| old.status == new.status) {
        new.last_transition_time = old.last_transition_time.clone();
        if old.reason == new.reason && old.message == new.message {
            new.last_update_time = old.last_update_time.clone();
        }
    }
    new
}

fn existing<'a>(deployment: &'a Deployment, type_: &str) -> Option<&'a DeploymentCondition> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|condition| condition.type_.as_deref() == Some(type_))
}

fn availability(spec: &DeploymentSpec, available: i32) -> DeploymentCondition {
    let (_, unavailable) = plan::rolling_limits(spec);
    let enough = available >= plan::wanted(spec) - unavailable;
    if enough {
        let message = "Deployment has minimum availability.".to_owned();
        condition("Available", true, "MinimumReplicasAvailable", message)
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        condition("Available", false, "MinimumReplicasUnavailable", message)
    }
}

fn progress(
    deployment: &Deployment,
    newest: Option<&Arc<ReplicaSet>>,
    replicas: i32,
    updated: i32,
    available: i32,
    wanted: i32,
) -> DeploymentCondition {
    let name = newest.map(|set| set.name_any()).unwrap_or_default();
    if newest.is_none() {
        let message = format!(
            "Creating a replica set for deployment {:?}",
            deployment.name_any()
        );
        return condition("Progressing", true, "ReplicaSetUpdated", message);
    }
    if updated == wanted && replicas == wanted && available == wanted {
        let message = format!("ReplicaSet \"{name}\" has successfully progressed.");
        return condition("Progressing", true, "NewReplicaSetAvailable", message);
    }
    let before = existing(deployment, "Progressing");
    let complete_before =
        before.is_some_and(|old| old.reason.as_deref() == Some("NewReplicaSetAvailable"));
    let moved = deployment.status.as_ref().is_none_or(|old| {
        old.updated_replicas.unwrap_or(0) != updated
            || old.available_replicas.unwrap_or(0) < available
    });
    let late = before
        .and_then(|old| old.last_update_time.as_ref())
        .is_some_and(|time| {
            Timestamp::now().as_second() - time.0.as_second()
                >= i64::from(deadline_seconds(deployment))
        });
    if late && !complete_before && !moved {
        let message = format!("ReplicaSet \"{name}\" has timed out progressing.");
        return condition("Progressing", false, "ProgressDeadlineExceeded", message);
    }
    // A pod lost after a finished rollout is no new rollout.
    if complete_before && updated == wanted {
        return before.cloned().unwrap_or_default();
    }
    let message = format!("ReplicaSet \"{name}\" is progressing.");
    condition("Progressing", true, "ReplicaSetUpdated", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rolled_out(available: i32) -> (Deployment, Vec<Arc<ReplicaSet>>) {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}});
        let selector = json!({"matchLabels": {"a": "b"}});
        let deployment = serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 3},
            "spec": {"replicas": 2, "selector": selector, "template": template},
        }));
        let set: ReplicaSet = serde_json::from_value(json!({
            "metadata": {"name": "web-x"},
            "spec": {"replicas": 2, "selector": selector, "template": template},
            "status": {"replicas": 2, "readyReplicas": available, "availableReplicas": available},
        }))
        .expect("a set");
        (deployment.expect("a deployment"), vec![Arc::new(set)])
    }

    #[test]
    fn a_finished_rollout_reports_availability_and_the_generation_it_saw() {
        let (deployment, sets) = rolled_out(2);
        let status = status(&deployment, &sets);
        assert_eq!(status.observed_generation, Some(3));
        assert_eq!(status.available_replicas, Some(2));
        assert_eq!(status.unavailable_replicas, None);
        let conditions = status.conditions.expect("conditions");
        assert_eq!(
            conditions[0].reason.as_deref(),
            Some("MinimumReplicasAvailable")
        );
        assert_eq!(
            conditions[1].reason.as_deref(),
            Some("NewReplicaSetAvailable")
        );
    }

    #[test]
    fn an_unchanged_deployment_gives_an_equal_status() {
        let (mut deployment, sets) = rolled_out(1);
        let first = status(&deployment, &sets);
        deployment.status = Some(first.clone());
        assert_eq!(status(&deployment, &sets), first);
        assert_eq!(first.unavailable_replicas, Some(1));
    }
}
