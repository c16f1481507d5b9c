//! What the operator reports on a ClusterManager.

use super::desired;
use super::desired::Refusal;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::conditions::cluster_manager as types;
use hyades_api::operator::ClusterManager;
use hyades_api::operator::GenerationStatus;
use hyades_api::operator::OperatorStatus;
use hyades_api::operator::RelatedResource;
use hyades_runtime::apply::Address;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;

/// The new status, if it differs from the one written.
pub(super) fn decide(
    manager: &ClusterManager,
    result: &Result<Vec<Value>, Refusal>,
    deployment: Option<&Deployment>,
    now: Time,
) -> Option<OperatorStatus> {
    let mut status = manager.status.clone();
    let generation = manager.metadata.generation;
    let statements = [
        applied(result),
        valid_gates(&desired::gates(manager).refused),
        progressing(deployment),
        degraded(deployment),
        placement_degraded(deployment),
    ];
    for statement in statements {
        let statement = statement.observing(generation);
        conditions::set(&mut status.conditions, &statement, now.clone());
    }
    status.observed_generation = generation.unwrap_or_default();
    if let Ok(objects) = result {
        status.related_resources = objects.iter().filter_map(related).collect();
        status.generations = deployment.map(applied_generation).into_iter().collect();
    }
    (status != manager.status).then_some(status)
}

fn applied(result: &Result<Vec<Value>, Refusal>) -> Statement {
    let statement = Statement::new(
        types::APPLIED,
        Status::True,
        "ClusterManagerApplied",
        "Components of cluster manager are applied",
    );
    match result {
        Ok(_) => statement,
        Err(refusal) => Statement::new(types::APPLIED, Status::False, refusal.reason, "")
            .with_message(refusal.message.clone()),
    }
}

fn valid_gates(refused: &[String]) -> Statement {
    if refused.is_empty() {
        return Statement::new(
            types::VALID_FEATURE_GATES,
            Status::True,
            "FeatureGatesAllValid",
            "Feature gates are all valid",
        );
    }
    Statement::new(
        types::VALID_FEATURE_GATES,
        Status::False,
        "InvalidFeatureGatesExisting",
        "",
    )
    .with_message(format!(
        "There are no such feature gates: {}",
        refused.join(", ")
    ))
}

fn ready_replicas(deployment: Option<&Deployment>) -> i32 {
    deployment
        .and_then(|deployment| deployment.status.as_ref())
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

/// Whether the Deployment's controller has seen the newest spec and rolled it out.
fn rolled_out(deployment: &Deployment) -> bool {
    let status = deployment.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    let updated = status.and_then(|status| status.updated_replicas);
    observed >= deployment.metadata.generation && updated.unwrap_or(0) >= 1
}

fn progressing(deployment: Option<&Deployment>) -> Statement {
    let done = deployment.is_some_and(rolled_out) && ready_replicas(deployment) >= 1;
    if done {
        return Statement::new(
            types::PROGRESSING,
            Status::False,
            "ClusterManagerUpToDate",
            "Components of cluster manager are up to date",
        );
    }
    Statement::new(
        types::PROGRESSING,
        Status::True,
        "ClusterManagerDeploymentRolling",
        "The registration controller is being rolled out",
    )
}

fn degraded(deployment: Option<&Deployment>) -> Statement {
    if ready_replicas(deployment) >= 1 {
        return Statement::new(
            types::HUB_REGISTRATION_DEGRADED,
            Status::False,
            "RegistrationFunctional",
            "Registration is managing credentials",
        );
    }
    Statement::new(
        types::HUB_REGISTRATION_DEGRADED,
        Status::True,
        "UnavailableRegistrationPod",
        "No pod of the registration controller is ready; look at the pods in \
         open-cluster-management-hub",
    )
}

/// Placements are decided in the hub's process, so they fare as it does.
fn placement_degraded(deployment: Option<&Deployment>) -> Statement {
    if ready_replicas(deployment) >= 1 {
        return Statement::new(
            types::HUB_PLACEMENT_DEGRADED,
            Status::False,
            "PlacementFunctional",
            "Placement is scheduling placement decisions",
        );
    }
    Statement::new(
        types::HUB_PLACEMENT_DEGRADED,
        Status::True,
        "UnavailablePlacementPod",
        "No pod of the registration controller, which also decides placements, is ready; look at \
         the pods in open-cluster-management-hub",
    )
}

fn related(object: &Value) -> Option<RelatedResource> {
    let address = Address::of(object).ok()?;
    Some(RelatedResource {
        group: address.resource.group,
        version: address.resource.version,
        resource: address.resource.plural,
        namespace: address.namespace.unwrap_or_default(),
        name: address.name,
    })
}

fn applied_generation(deployment: &Deployment) -> GenerationStatus {
    GenerationStatus {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        resource: "deployments".to_owned(),
        namespace: deployment.namespace().unwrap_or_default(),
        name: deployment.name_any(),
        last_generation: deployment.metadata.generation.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).expect("a time"))
    }

    fn manager() -> ClusterManager {
        serde_json::from_value(json!({
            "metadata": {"name": "cluster-manager", "generation": 3},
        }))
        .expect("a ClusterManager")
    }

    fn deployment(available: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": "n", "generation": 2},
            "status": {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": available},
        }))
        .expect("a Deployment")
    }

    fn summary(status: &OperatorStatus) -> String {
        let line =
            |c: &hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
                format!("{}={} {}", c.type_, c.status, c.reason)
            };
        status
            .conditions
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_ready_hub_is_reported_once_and_then_nothing_is_written() {
        let mut manager = manager();
        let status = decide(&manager, &Ok(Vec::new()), Some(&deployment(1)), at(1)).expect("new");
        expect_test::expect![[r#"
            Applied=True ClusterManagerApplied
            ValidFeatureGates=True FeatureGatesAllValid
            Progressing=False ClusterManagerUpToDate
            HubRegistrationDegraded=False RegistrationFunctional
            HubPlacementDegraded=False PlacementFunctional"#]]
        .assert_eq(&summary(&status));
        assert_eq!(status.observed_generation, 3);
        manager.status = status;
        let again = decide(&manager, &Ok(Vec::new()), Some(&deployment(1)), at(9));
        assert_eq!(again, None);
    }

    #[test]
    fn a_refusal_is_reported_with_its_reason() {
        let refusal = Refusal::apply_failed("applied Namespace x: forbidden".to_owned());
        let status = decide(&manager(), &Err(refusal), None, at(1)).expect("new");
        expect_test::expect![[r#"
            Applied=False ClusterManagerApplyFailed
            ValidFeatureGates=True FeatureGatesAllValid
            Progressing=True ClusterManagerDeploymentRolling
            HubRegistrationDegraded=True UnavailableRegistrationPod
            HubPlacementDegraded=True UnavailablePlacementPod"#]]
        .assert_eq(&summary(&status));
        assert_eq!(
            status.conditions[0].message,
            "applied Namespace x: forbidden"
        );
    }
}
