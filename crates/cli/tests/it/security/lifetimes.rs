//! When credentials stop opening anything, and what they cannot be turned into.

use serde_json::Value;
use serde_json::json;

use super::trials::Place;
use super::trials::allowed;
use super::trials::discover;
use crate::upstream::Its;
use crate::upstream::agent;
use crate::upstream::agent::INVENTORY;
use crate::upstream::agent::REQUESTS;
use crate::upstream::agent::inventory_object;
use crate::upstream::agent::only_inventory_object;
use crate::upstream::agent::requests_of;
use crate::upstream::agent::works;
use crate::upstream::condition_of;
use crate::upstream::identity;
use crate::upstream::walk::work;

/// Requests that a holder of bootstrap credentials sends in the name of one WEC: far more than the
/// hub keeps.
const FORGED: usize = 200;

#[test]
fn a_stolen_agent_key_opens_nothing_after_deregistration() {
    let its = Its::start();
    let thief = its.register("cluster1", "a");
    let mut mailbox = thief.caller.watch(&works("cluster1"));
    let mut inventory = thief.caller.watch(&only_inventory_object("cluster1"));
    let mut requests = thief.caller.watch(&requests_of("cluster1"));
    its.admin.delete(&inventory_object("cluster1")).ok();
    its.admin
        .until(&inventory_object("cluster1"), |answer| answer.code == 404);

    let resources = discover(&its.admin);
    let places = ["cluster1", "default"].map(|namespace| Place {
        namespace,
        name: "cluster1",
    });
    let everywhere = Place {
        namespace: "",
        name: "cluster1",
    };
    let left = allowed(
        &thief.caller,
        &resources,
        &[places[0], places[1], everywhere],
    );
    let reviews_only = left.lines().all(|line| {
        let title = line.split(' ').nth(2).unwrap_or_default();
        title.starts_with("self") && title.contains("reviews.") && line.ends_with(" create")
    });
    assert!(reviews_only, "{left}");

    // What was open stays open for nobody: the name's next owner has a mailbox of its own.
    its.register("cluster1", "b");
    its.admin.create(&works("cluster1"), &work("secret")).ok();
    for watch in [&mut mailbox, &mut inventory, &mut requests] {
        while let Some(event) = watch.try_next() {
            let labels = &event.object["metadata"];
            assert_ne!(event.object["metadata"]["name"], "secret", "{labels:#}");
        }
    }
    its.ask_by(&thief.caller, &thief.identity).refused(403);
}

#[test]
fn a_bootstrap_token_accepts_nobody() {
    let its = Its::start();
    let accepted = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1",
        "kind": "ManagedCluster",
        "metadata": {"name": "cluster1"},
        "spec": {"hubAcceptsClient": true},
    });
    let message = its.bootstrap.create(INVENTORY, &accepted).refused(403);
    assert!(
        message.contains("cannot update the HubAcceptsClient field"),
        "{message}"
    );
    agent::announce(&its.bootstrap, "cluster1");
    let path = inventory_object("cluster1");
    let patch = json!({"spec": {"hubAcceptsClient": true}});
    its.bootstrap.merge(&path, &patch).refused(403);
    its.bootstrap
        .merge(&format!("{path}/status"), &patch)
        .refused(403);
    its.bootstrap.delete(&path).refused(403);
    let asked = its.ask(&identity("cluster1", "a"));
    let request = format!("{REQUESTS}/{}", asked.name);
    its.bootstrap
        .replace(&format!("{request}/approval"), &asked.object)
        .refused(403);
    its.bootstrap.delete(&request).refused(403);
}

#[test]
fn a_bootstrap_token_is_useless_for_a_name_that_is_owned() {
    let its = Its::start();
    let owner = its.register("cluster1", "a");
    agent::create_inventory_object(&its.bootstrap, "cluster1").refused(409);
    let other = its.ask(&identity("cluster1", "b"));
    let denied = its
        .admin
        .until(&format!("{REQUESTS}/{}", other.name), |answer| {
            condition_of(&answer.body, "Denied")["status"] == "True"
        });
    assert_eq!(
        condition_of(&denied, "Denied")["reason"],
        "ClusterNameTaken"
    );
    // The owner's own common name, under another key: nobody approves it by itself.
    let same = its.ask(&owner.identity);
    let renewal = agent::ask(&owner.caller, &owner.identity);
    agent::await_certificate(&its.wire, &owner.caller, &owner.identity, renewal);
    let left = its.admin.get(&format!("{REQUESTS}/{}", same.name)).ok();
    assert_eq!(condition_of(&left, "Approved"), Value::Null, "{left:#}");
    owner.renew_lease().ok();
}

#[test]
fn bootstrap_credentials_cannot_keep_an_agent_from_renewing() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    // Under the owner's own name, with other keys: nobody can decide on them by himself.
    let key = hyades_pki::Key::generate();
    let object = agent::request_object(&agent.identity, &key);
    its.bootstrap.create_many(REQUESTS, &object, FORGED);
    let asked = agent::ask(&agent.caller, &agent.identity);
    agent::await_certificate(&its.wire, &agent.caller, &agent.identity, asked);
    // And what is too much is gone.
    its.admin.until(&requests_of("cluster1"), |answer| {
        let items = answer.body["items"].as_array();
        items.is_some_and(|items| items.len() < FORGED / 2)
    });
}

#[test]
fn an_agent_cannot_renew_for_another_name_however_alike() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    its.register("cluster10", "a");
    let mut forged = Vec::new();
    for (cluster, name) in [("cluster10", "a"), ("cluster1", "b"), ("cluster", "a")] {
        let asked = agent::ask(&agent.caller, &identity(cluster, name));
        forged.push(asked.name);
    }
    // A proper renewal, sent last: when it is approved, the others have been looked at.
    for _ in 0..3 {
        let asked = agent::ask(&agent.caller, &agent.identity);
        agent::await_certificate(&its.wire, &agent.caller, &agent.identity, asked);
    }
    for name in forged {
        let answer = its.admin.get(&format!("{REQUESTS}/{name}"));
        if answer.code == 404 {
            // Of another cluster's name: not even kept.
            continue;
        }
        let request = answer.ok();
        assert_eq!(
            condition_of(&request, "Approved"),
            Value::Null,
            "{request:#}"
        );
        assert_eq!(request["status"]["certificate"], Value::Null);
    }
}
