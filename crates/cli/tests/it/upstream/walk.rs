//! One WEC under upstream's agents, from its announcement to its deregistration and its return.

use serde_json::Value;
use serde_json::json;

use super::Its;
use super::agent;
use super::agent::Agent;
use super::agent::inventory_object;
use super::agent::lease;
use super::agent::works;
use super::condition_of;
use crate::wire::Watch;

/// A work of one ConfigMap.
pub fn work(name: &str) -> Value {
    json!({
        "apiVersion": "work.open-cluster-management.io/v1",
        "kind": "ManifestWork",
        "metadata": {"name": name, "namespace": "cluster1"},
        "spec": {"workload": {"manifests": [{
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": {"a": "b"},
        }]}},
    })
}

/// The status that upstream's work agent reports for it.
fn work_status(generation: &Value, manifest_conditions: Value, conditions: Value) -> Value {
    let mut conditions = conditions;
    for condition in conditions.as_array_mut().expect("a list") {
        condition["observedGeneration"] = generation.clone();
    }
    json!({
        "conditions": conditions,
        "resourceStatus": {"manifests": [{
            "conditions": manifest_conditions,
            "resourceMeta": {
                "group": "",
                "kind": "ConfigMap",
                "name": "hello",
                "namespace": "default",
                "ordinal": 0,
                "resource": "configmaps",
                "version": "v1",
            },
            "statusFeedback": {},
        }]},
    })
}

#[test]
fn a_wec_under_upstreams_agents_lives_from_announcement_to_return() {
    let its = Its::start();
    let agent = its.register("cluster1", "mj9jx");
    becomes_available(&its, &agent);
    let mut mailbox = agent.caller.watch(&works("cluster1"));
    assert!(mailbox.initial().is_empty());
    follows_a_work(&its, &agent, &mut mailbox);
    is_denied_and_accepted_again(&its, &agent);
    is_deregistered(&its, &agent, &mut mailbox);
    comes_back(&its, &agent);
}

fn becomes_available(its: &Its, agent: &Agent) {
    agent.renew_lease().ok();
    let object = agent.report_available();
    agent.tell_available(&object).ok();
    let object = its.until_condition(
        "cluster1",
        "ManagedClusterConditionClockSynced",
        "True",
        "ManagedClusterClockSynced",
    );
    let message = "The clock of the managed cluster is synced with the hub.";
    let clock = condition_of(&object, "ManagedClusterConditionClockSynced");
    assert_eq!(clock["message"], message);
    assert_eq!(object["status"]["version"]["kubernetes"], "v1.36.2");
    assert_eq!(
        condition_of(&object, "ManagedClusterJoined")["status"],
        "True"
    );
    its.until_condition(
        "cluster1",
        "ManagedClusterConditionAvailable",
        "True",
        "ManagedClusterAvailable",
    );
}

/// The work of that name, as the agent's informer shows it.
fn shown(mailbox: &mut Watch, name: &str, kind: &str) -> Value {
    mailbox.until(|event| event.kind == kind && event.object["metadata"]["name"] == name)
}

fn follows_a_work(its: &Its, agent: &Agent, mailbox: &mut Watch) {
    its.admin.create(&works("cluster1"), &work("hello")).ok();
    let seen = shown(mailbox, "hello", "ADDED");
    let held = agent.hold_work(&seen).ok();
    let applied = agent::condition(
        "Applied",
        "AppliedManifestComplete",
        "Apply manifest complete",
    );
    let complete = agent::condition(
        "Applied",
        "AppliedManifestWorkComplete",
        "Apply manifest work complete",
    );
    let generation = &held["metadata"]["generation"];
    let status = work_status(generation, json!([applied]), json!([complete]));
    let reported = agent.report_work(&held, status.clone()).ok();
    // The agent provokes conflicts in normal running: it bases a patch on what it saw before.
    agent.report_work(&held, status).refused(409);
    let available = agent::condition("Available", "ResourceAvailable", "Resource is available");
    let all = agent::condition(
        "Available",
        "ResourcesAvailable",
        "All resources are available",
    );
    let status = work_status(
        generation,
        json!([applied, available]),
        json!([complete, all]),
    );
    let reported = agent.report_work(&reported, status).ok();
    assert_eq!(
        condition_of(&reported, "Available")["reason"],
        "ResourcesAvailable"
    );
    its.admin
        .delete(&format!("{}/hello", works("cluster1")))
        .ok();
    let deleting = mailbox.until(|event| !event.object["metadata"]["deletionTimestamp"].is_null());
    let conditions = json!({"conditions": [agent::condition(
        "Deleting",
        "WorkDeleting",
        "ManifestWork is being deleted",
    )]});
    let deleting = agent.report_work(&deleting, conditions.clone()).ok();
    agent.release_work(&deleting).ok();
    shown(mailbox, "hello", "DELETED");
    agent.report_work(&deleting, conditions).refused(404);
}

fn is_denied_and_accepted_again(its: &Its, agent: &Agent) {
    its.set_accepted("cluster1", false);
    its.until_denied("cluster1");
    agent.renew_lease().refused(403);
    agent.inventory_object();
    its.set_accepted("cluster1", true);
    agent
        .caller
        .until(&lease("cluster1"), |answer| answer.code == 200);
    agent.renew_lease().ok();
}

fn is_deregistered(its: &Its, agent: &Agent, mailbox: &mut Watch) {
    its.admin.create(&works("cluster1"), &work("last")).ok();
    // The informer may have been cut by the denial; upstream's opens again.
    *mailbox = agent.caller.watch(&works("cluster1"));
    let seen = shown(mailbox, "last", "ADDED");
    agent.hold_work(&seen).ok();
    its.admin.delete(&inventory_object("cluster1")).ok();
    let deleting = mailbox.until(|event| !event.object["metadata"]["deletionTimestamp"].is_null());
    agent.release_work(&deleting).ok();
    its.admin
        .until(&inventory_object("cluster1"), |answer| answer.code == 404);
    for path in [
        inventory_object("cluster1"),
        lease("cluster1"),
        works("cluster1"),
    ] {
        agent.caller.get(&path).refused(403);
    }
    let status = json!({"status": {"version": {"kubernetes": "v9"}}});
    let path = format!("{}/status", inventory_object("cluster1"));
    agent.caller.merge(&path, &status).refused(403);
    agent::create_inventory_object(&agent.caller, "cluster1").refused(403);
}

/// A deregistered WEC returns by a bootstrap token, as a new agent; the old certificate does not
/// come back with it.
fn comes_back(its: &Its, old: &Agent) {
    let agent = its.register("cluster1", "k2x9q");
    agent.renew_lease().ok();
    old.renew_lease().refused(403);
}
