//! What the inventory object should say about this WEC. Pure.

use crate::registration::namespaces;
use crate::registration::namespaces::Outcomes;
use crate::registration::resources;
use crate::registration::resources::Resources;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedNamespaceStatus;
use hyades_api::cluster::StatedClaim;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster as known;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;

/// How long the WEC's API server must fail before the hub is told: a restart is no outage.
pub const FAILURE_THRESHOLD: Duration = Duration::from_secs(20);

/// Health of the WEC's API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Liveness {
    /// Not asked yet.
    #[default]
    Unasked,
    /// It answered 200.
    Alive,
    /// It did not.
    Failing {
        /// The status code, 0 without an answer, and the answer's text or the error.
        detail: String,
        /// For how long.
        since: Duration,
    },
}

/// What the agent knows of its WEC. What it does not know yet is left as the hub has it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Health of its API server.
    pub liveness: Liveness,
    /// Its version.
    pub version: Option<String>,
    /// Capacity and allocatable of its nodes.
    pub nodes: Option<(Resources, Resources)>,
    /// The claims to report.
    pub claims: Option<Vec<StatedClaim>>,
    /// Claims left out for their number.
    pub claims_truncated: usize,
    /// How the namespaces fare that the hub wants in the WEC.
    pub namespaces: Outcomes,
}

/// Whether the hub has let this WEC in.
pub fn is_accepted(cluster: &ManagedCluster) -> bool {
    conditions::is_true(&cluster.status.conditions, known::HUB_ACCEPTED)
}

/// The parts of the status that must change, or nothing. `extra` are further conditions to set.
pub fn decide(
    current: &ManagedCluster,
    observed: &Observed,
    extra: &[Statement],
    now: &Time,
) -> Option<Value> {
    let clock_is_wrong = conditions::is_false(&current.status.conditions, known::CLOCK_SYNCED);
    if !is_accepted(current) || clock_is_wrong {
        return None;
    }
    let mut changes = Map::new();
    let mut all = current.status.conditions.clone();
    let mut changed = conditions::set(&mut all, &known::JOINED_STATEMENT, now.clone());
    for statement in availability(&observed.liveness).iter().chain(extra) {
        changed |= conditions::set(&mut all, statement, now.clone());
    }
    if changed {
        changes.insert("conditions".to_owned(), json!(all));
    }
    if !matches!(observed.liveness, Liveness::Failing { .. }) {
        add_facts(current, observed, &mut changes);
    }
    if let Some(entries) = namespaces(current, &observed.namespaces, now) {
        changes.insert("managedNamespaces".to_owned(), json!(entries));
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

/// The hub's list of wanted namespaces with what became of each, if that is news.
fn namespaces(
    current: &ManagedCluster,
    outcomes: &Outcomes,
    now: &Time,
) -> Option<Vec<ManagedNamespaceStatus>> {
    let mut entries = current.status.managed_namespaces.clone();
    let mut changed = false;
    for entry in &mut entries {
        if let Some(outcome) = outcomes.get(&entry.name) {
            let statement = namespaces::statement(outcome);
            changed |= conditions::set(&mut entry.conditions, &statement, now.clone());
        }
    }
    changed.then_some(entries)
}

fn availability(liveness: &Liveness) -> Option<Statement> {
    match liveness {
        Liveness::Alive => Some(known::AVAILABLE_STATEMENT),
        Liveness::Failing { detail, since } if *since >= FAILURE_THRESHOLD => {
            let message = format!("The kube-apiserver is not ok, status code: {detail}");
            Some(known::API_SERVER_UNAVAILABLE.with_message(message))
        }
        Liveness::Unasked | Liveness::Failing { .. } => None,
    }
}

fn add_facts(current: &ManagedCluster, observed: &Observed, changes: &mut Map<String, Value>) {
    let status = &current.status;
    if let Some(version) = observed
        .version
        .as_ref()
        .filter(|version| **version != status.version.kubernetes)
    {
        changes.insert("version".to_owned(), json!({"kubernetes": version}));
    }
    if let Some((capacity, allocatable)) = &observed.nodes {
        let capacity = resources::keep_foreign(&status.capacity, capacity.clone());
        if capacity != status.capacity {
            changes.insert("capacity".to_owned(), json!(capacity));
        }
        let allocatable = resources::keep_foreign(&status.allocatable, allocatable.clone());
        if allocatable != status.allocatable {
            changes.insert("allocatable".to_owned(), json!(allocatable));
        }
    }
    if let Some(claims) = observed
        .claims
        .as_ref()
        .filter(|claims| **claims != status.cluster_claims)
    {
        changes.insert("clusterClaims".to_owned(), json!(claims));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::cluster::ManagedClusterSpec;
    use jiff::Timestamp;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("a time"))
    }

    fn cluster(statements: &[Statement]) -> ManagedCluster {
        let mut cluster = ManagedCluster::new("cluster1", ManagedClusterSpec::default());
        for statement in statements {
            conditions::set(&mut cluster.status.conditions, statement, at(1));
        }
        cluster
    }

    fn alive() -> Observed {
        Observed {
            liveness: Liveness::Alive,
            version: Some("v1.37.0".to_owned()),
            ..Observed::default()
        }
    }

    fn types(changes: &Value) -> Vec<String> {
        let all = changes["conditions"].as_array().expect("conditions");
        all.iter()
            .map(|c| {
                format!(
                    "{}={}",
                    c["type"].as_str().unwrap_or_default(),
                    c["status"].as_str().unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn nothing_is_said_before_acceptance_or_with_a_wrong_clock() {
        assert_eq!(decide(&cluster(&[]), &alive(), &[], &at(5)), None);
        let wrong_clock = cluster(&[known::ACCEPTED, known::CLOCK_OUT_OF_SYNC]);
        assert_eq!(decide(&wrong_clock, &alive(), &[], &at(5)), None);
    }

    #[test]
    fn joined_available_and_version_go_out_together_and_once() {
        let mut current = cluster(&[known::ACCEPTED]);
        let changes = decide(&current, &alive(), &[], &at(5)).expect("changes");
        assert_eq!(
            types(&changes),
            [
                "HubAcceptedManagedCluster=True",
                "ManagedClusterJoined=True",
                "ManagedClusterConditionAvailable=True"
            ]
        );
        assert_eq!(changes["version"]["kubernetes"], "v1.37.0");
        current.status.conditions =
            serde_json::from_value(changes["conditions"].clone()).expect("conditions");
        current.status.version.kubernetes = "v1.37.0".to_owned();
        assert_eq!(decide(&current, &alive(), &[], &at(9)), None);
    }

    #[test]
    fn a_short_failure_is_not_reported_and_a_long_one_is() {
        let current = cluster(&[
            known::ACCEPTED,
            known::JOINED_STATEMENT,
            known::AVAILABLE_STATEMENT,
        ]);
        let failing = |seconds| Observed {
            liveness: Liveness::Failing {
                detail: "500, boom".to_owned(),
                since: Duration::from_secs(seconds),
            },
            version: Some("v2".to_owned()),
            ..Observed::default()
        };
        assert_eq!(decide(&current, &failing(19), &[], &at(5)), None);
        let changes = decide(&current, &failing(20), &[], &at(5)).expect("changes");
        let message = changes["conditions"][2]["message"]
            .as_str()
            .expect("a message");
        assert_eq!(
            message,
            "The kube-apiserver is not ok, status code: 500, boom"
        );
        assert!(
            changes.get("version").is_none(),
            "facts of a failing server are not reported"
        );
    }

    #[test]
    fn resources_of_others_survive_and_unknown_facts_change_nothing() {
        let mut current = cluster(&[
            known::ACCEPTED,
            known::JOINED_STATEMENT,
            known::AVAILABLE_STATEMENT,
        ]);
        let quantity = |text: &str| serde_json::from_value(json!(text)).expect("a quantity");
        current
            .status
            .capacity
            .insert("gpu".to_owned(), quantity("4"));
        let observed = Observed {
            liveness: Liveness::Alive,
            ..Observed::default()
        };
        assert_eq!(decide(&current, &observed, &[], &at(5)), None);
        let nodes = Resources::from([("cpu".to_owned(), quantity("2"))]);
        let observed = Observed {
            nodes: Some((nodes.clone(), nodes)),
            ..observed
        };
        let changes = decide(&current, &observed, &[], &at(5)).expect("changes");
        assert_eq!(changes["capacity"], json!({"cpu": "2", "gpu": "4"}));
        assert_eq!(changes["allocatable"], json!({"cpu": "2"}));
    }

    #[test]
    fn the_namespaces_that_a_set_wants_are_reported_once_each() {
        let mut current = cluster(&[
            known::ACCEPTED,
            known::JOINED_STATEMENT,
            known::AVAILABLE_STATEMENT,
        ]);
        let entry = |name: &str| ManagedNamespaceStatus {
            name: name.to_owned(),
            cluster_set: "set".to_owned(),
            ..ManagedNamespaceStatus::default()
        };
        current.status.managed_namespaces = vec![entry("a"), entry("b")];
        let observed = Observed {
            liveness: Liveness::Alive,
            namespaces: Outcomes::from([("a".to_owned(), Ok(())), ("x".to_owned(), Ok(()))]),
            ..Observed::default()
        };
        let changes = decide(&current, &observed, &[], &at(5)).expect("changes");
        let told = &changes["managedNamespaces"];
        assert_eq!(told[0]["conditions"][0]["reason"], "NamespaceApplied");
        assert_eq!(
            told[1],
            json!({"name": "b", "clusterSet": "set"}),
            "not made yet"
        );
        current.status.managed_namespaces =
            serde_json::from_value(told.clone()).expect("the list as the hub has it then");
        assert_eq!(decide(&current, &observed, &[], &at(9)), None, "no news");
    }
}
