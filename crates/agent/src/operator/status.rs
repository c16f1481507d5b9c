//! What a Klusterlet's status says. Pure.

use super::manifests::Plan;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::conditions::klusterlet as known;
use hyades_api::operator::GenerationStatus;
use hyades_api::operator::RelatedResource;
use hyades_runtime::apply::Address;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use serde_json::Value;

/// A Deployment as far as it matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollout {
    /// Whether it exists.
    pub exists: bool,
    /// Pods wanted.
    pub desired: i32,
    /// Pods available.
    pub available: i32,
}

impl Rollout {
    /// Reads a Deployment.
    pub fn of(deployment: Option<&Deployment>) -> Self {
        let Some(deployment) = deployment else {
            return Self::default();
        };
        let status = deployment.status.as_ref();
        Self {
            exists: true,
            desired: deployment.spec.replicas.unwrap_or(1),
            available: status
                .and_then(|status| status.available_replicas)
                .unwrap_or(0),
        }
    }
}

/// What applying the objects gave.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Everything is there.
    Complete,
    /// Something could not be applied.
    Failed {
        /// One word, upstream's.
        reason: &'static str,
        /// What happened.
        message: String,
    },
    /// The agent's namespace was deleted by hand: the user wants no agent.
    Uninstalled {
        /// The namespace.
        namespace: String,
    },
}

impl Applied {
    /// The condition.
    pub fn statement(&self) -> Statement {
        let statement = |status, reason: &'static str, message: String| {
            Statement::new(known::APPLIED, status, reason, "").with_message(message)
        };
        match self {
            Self::Complete => statement(
                Status::True,
                "KlusterletApplied",
                "Klusterlet Component Applied".to_owned(),
            ),
            Self::Failed { reason, message } => statement(Status::False, reason, message.clone()),
            Self::Uninstalled { namespace } => statement(
                Status::False,
                "AgentNamespaceDeleted",
                format!(
                    "namespace {namespace} was deleted, and the agent with it; join again to bring it back, or delete this Klusterlet to remove the rest"
                ),
            ),
        }
    }
}

/// Whether the WEC of a hosted agent can be reached.
pub fn prepared(result: Result<(), &str>) -> Statement {
    let statement = |status, reason, message: &str| {
        Statement::new(known::READY_TO_APPLY, status, reason, "").with_message(message)
    };
    match result {
        Ok(()) => statement(
            Status::True,
            "KlusterletPrepared",
            "Klusterlet is ready to apply",
        ),
        Err(why) => statement(Status::False, "KlusterletPrepareFailed", why),
    }
}

/// The gates' condition.
pub fn gates(plan: &Plan) -> Statement {
    let statement = |status, reason, message| {
        Statement::new(known::VALID_FEATURE_GATES, status, reason, message)
    };
    if plan.refused_gates.is_empty() {
        return statement(
            Status::True,
            "FeatureGatesAllValid",
            "Feature gates are all valid",
        );
    }
    statement(Status::False, "InvalidFeatureGatesExisting", "").with_message(format!(
        "there are invalid feature gates: {}",
        plan.refused_gates.join(", ")
    ))
}

/// The conditions about the agents' pods.
pub fn rollouts(plan: &Plan, find: impl Fn(&str) -> Rollout) -> Vec<Statement> {
    let (registration, work) = match plan.mode.is_singleton() {
        false => (plan.registration_deployment(), plan.work_deployment()),
        true => (plan.singleton_deployment(), plan.singleton_deployment()),
    };
    vec![
        available(&registration, &work, &find),
        desired(
            known::REGISTRATION_DESIRED_DEGRADED,
            &registration,
            &find(&registration),
        ),
        desired(known::WORK_DESIRED_DEGRADED, &work, &find(&work)),
    ]
}

fn available(registration: &str, work: &str, find: impl Fn(&str) -> Rollout) -> Statement {
    let mut names = vec![registration, work];
    names.dedup();
    let statement = |status, reason: &'static str, message: String| {
        Statement::new(known::AVAILABLE, status, reason, "").with_message(message)
    };
    for name in &names {
        let rollout = find(name);
        if !rollout.exists {
            return statement(
                Status::False,
                "GetDeploymentFailed",
                format!("deployment {name} does not exist"),
            );
        }
        if rollout.available <= 0 {
            return statement(
                Status::False,
                "NoAvailablePods",
                format!(
                    "{} of requested instances are available for deployment {name}",
                    rollout.available
                ),
            );
        }
    }
    statement(
        Status::True,
        "KlusterletAvailable",
        format!("deployments are ready: {}", names.join(",")),
    )
}

fn desired(type_: &'static str, name: &str, rollout: &Rollout) -> Statement {
    let statement = |status, reason: &'static str, message: String| {
        Statement::new(type_, status, reason, "").with_message(message)
    };
    if !rollout.exists {
        return statement(
            Status::True,
            "GetDeploymentFailed",
            format!("deployment {name} does not exist"),
        );
    }
    if rollout.available < rollout.desired {
        let missing = rollout.desired - rollout.available;
        return statement(
            Status::True,
            "UnavailablePods",
            format!("{missing} of requested instances are unavailable of deployment {name}"),
        );
    }
    statement(
        Status::False,
        "DeploymentsFunctional",
        format!("deployments replicas are desired: {}", rollout.desired),
    )
}

/// The objects, as the status lists them.
pub fn related(objects: &[Value]) -> Vec<RelatedResource> {
    let addresses = objects.iter().filter_map(|object| Address::of(object).ok());
    addresses
        .map(|address| RelatedResource {
            group: address.resource.group,
            version: address.resource.version,
            resource: address.resource.plural,
            namespace: address.namespace.unwrap_or_default(),
            name: address.name,
        })
        .collect()
}

/// The generation of a Deployment, as the status lists it.
pub fn generation(namespace: &str, name: &str, last_generation: i64) -> GenerationStatus {
    GenerationStatus {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        resource: "deployments".to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        last_generation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::manifests::tests::klusterlet;
    use serde_json::json;

    fn plan(spec: Value) -> Plan {
        Plan::of(&klusterlet(spec)).expect("a plan")
    }

    fn told(plan: &Plan, find: impl Fn(&str) -> Rollout) -> Vec<String> {
        rollouts(plan, find)
            .iter()
            .map(|one| {
                format!(
                    "{} {} {}: {}",
                    one.type_,
                    one.status.as_str(),
                    one.reason,
                    one.message
                )
            })
            .collect()
    }

    fn ready(desired: i32, available: i32) -> Rollout {
        Rollout {
            exists: true,
            desired,
            available,
        }
    }

    #[test]
    fn running_agents_are_available_and_not_degraded() {
        assert_eq!(
            told(&plan(json!({})), |_| ready(1, 1)),
            [
                "Available True KlusterletAvailable: deployments are ready: klusterlet-registration-agent,klusterlet-work-agent",
                "RegistrationDesiredDegraded False DeploymentsFunctional: deployments replicas are desired: 1",
                "WorkDesiredDegraded False DeploymentsFunctional: deployments replicas are desired: 1",
            ]
        );
        let singleton = plan(json!({"deployOption": {"mode": "Singleton"}}));
        assert_eq!(
            told(&singleton, |_| ready(1, 1))[0],
            "Available True KlusterletAvailable: deployments are ready: klusterlet-agent"
        );
    }

    #[test]
    fn absent_and_unready_agents_are_told_apart() {
        let plan = plan(json!({}));
        let told = told(&plan, |name| {
            if name == "klusterlet-work-agent" {
                Rollout::default()
            } else {
                ready(1, 0)
            }
        });
        assert!(told[0].contains("NoAvailablePods"), "{told:?}");
        assert!(
            told[1].contains("True UnavailablePods: 1 of requested"),
            "{told:?}"
        );
        assert!(told[2].contains("True GetDeploymentFailed"), "{told:?}");
    }

    #[test]
    fn unknown_gates_are_named() {
        let spec = json!({"workConfiguration": {"featureGates": [{"feature": "Nonsense", "mode": "Enable"}]}});
        let statement = gates(&plan(spec));
        assert_eq!(
            (statement.status, statement.reason.as_ref()),
            (Status::False, "InvalidFeatureGatesExisting")
        );
        assert!(statement.message.contains("Nonsense"));
    }

    #[test]
    fn objects_are_listed_by_their_resource() {
        let related = related(&plan(json!({})).managed_rights());
        assert_eq!(related[0].resource, "serviceaccounts");
        assert!(
            related
                .iter()
                .any(|one| one.resource == "clusterroles" && one.name.ends_with("-work:agent"))
        );
    }
}
