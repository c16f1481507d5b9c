//! Floods of one WEC, or of whoever holds a bootstrap token, over the wire: what is kept of them is
//! bounded by a limit that is told, and meanwhile others work and join.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use hyades_pki::Key;
use serde_json::Value;
use serde_json::json;

use crate::limits::stands;
use crate::upstream::Its;
use crate::upstream::agent;
use crate::upstream::agent::Agent;
use crate::upstream::agent::REQUESTS;
use crate::upstream::agent::inventory_object;
use crate::upstream::agent::requests_of;
use crate::upstream::identity;
use crate::wire::Answer;
use crate::wire::Caller;

/// Requests for certificates in a flood.
const REQUESTS_SENT: usize = 3_000;
/// Undecided requests that the hub keeps of one name.
const UNDECIDED_MAX: usize = 20;
/// Renewals of a lease in a storm, of each of [`STORMING`] writers.
const RENEWALS: usize = 150;
/// Writers in a storm.
const STORMING: usize = 8;
/// Events in a flood, and how many of them a mailbox takes of its agent.
const EVENTS_SENT: usize = 1_200;
const EVENTS_MAX: usize = 1_000;
/// More events than are under way at once; these are not counted yet.
const UNDER_WAY: usize = 64;
/// Warnings that the hub writes in a row into one namespace, and one more a second.
const WARNINGS_MAX: u64 = 60;
/// Longest that a join may take beside a flood.
const JOIN_MAX: Duration = Duration::from_secs(60);

/// Objects in a collection, as the administrator sees it.
#[track_caller]
fn items(admin: &Caller, path: &str) -> Vec<Value> {
    let list = admin.get(path).ok();
    list["items"].as_array().cloned().unwrap_or_default()
}

/// Renews the lease of one WEC, and has another one join by the bootstrap token, while `flood` runs.
#[track_caller]
fn others_work_and_join<T: Send>(
    its: &Its,
    other: &Agent,
    newcomer: &str,
    flood: impl FnOnce() -> T + Send,
) -> T {
    thread::scope(|scope| {
        let flood = scope.spawn(flood);
        other.renew_lease().ok();
        let start = Instant::now();
        let joined = its.register(newcomer, "a");
        assert!(start.elapsed() < JOIN_MAX, "{:?}", start.elapsed());
        joined.renew_lease().ok();
        while !flood.is_finished() {
            other.renew_lease().ok();
        }
        flood.join().expect("the flood ends")
    })
}

#[test]
fn of_a_flood_of_requests_a_few_are_kept_and_others_join_meanwhile() {
    let its = Its::start();
    let other = its.register("cluster1", "a");
    let start = Instant::now();
    let object = agent::request_object(&identity("cluster2", "a"), &Key::generate());
    let answers: Vec<Answer> = others_work_and_join(&its, &other, "cluster3", || {
        its.bootstrap.create_many(REQUESTS, &object, REQUESTS_SENT)
    });
    let is_told = |answer: &Answer| [201, 429].contains(&answer.code);
    let odd = answers.iter().find(|answer| !is_told(answer));
    assert!(odd.is_none(), "{odd:#?}");
    its.admin.until(&requests_of("cluster2"), |answer| {
        let items = answer.body["items"].as_array();
        items.map_or(0, Vec::len) <= UNDECIDED_MAX
    });
    assert!(items(&its.admin, REQUESTS).len() <= UNDECIDED_MAX + 10);
    // Who sent them is told, not each time.
    let events = "/apis/events.k8s.io/v1/events";
    let warnings = items(&its.admin, events);
    let warnings = warnings
        .iter()
        .filter(|event| event["reason"] == "TooManyRequests");
    let warnings = warnings.count() as u64;
    let most = WARNINGS_MAX + start.elapsed().as_secs() + 1;
    assert!((1..=most).contains(&warnings), "{warnings} of {most}");
    stands(&its, &other);
    // The name is not lost: once those are deleted its own agent gets in.
    for request in items(&its.admin, &requests_of("cluster2")) {
        let name = request["metadata"]["name"].as_str().expect("a name");
        its.admin.delete(&format!("{REQUESTS}/{name}")).ok();
    }
    let late = its.register("cluster2", "b");
    late.renew_lease().ok();
}

#[test]
fn a_storm_of_renewals_changes_nothing_but_its_lease_and_others_join_meanwhile() {
    let its = Its::start();
    let other = its.register("cluster1", "a");
    let wild = its.register("cluster2", "a");
    wild.renew_lease().ok();
    its.until_condition(
        "cluster2",
        "ManagedClusterConditionClockSynced",
        "True",
        "ManagedClusterClockSynced",
    );
    let before = wild.inventory_object();
    let codes = others_work_and_join(&its, &other, "cluster3", || {
        thread::scope(|scope| {
            let writers: Vec<_> = (0..STORMING)
                .map(|_| scope.spawn(|| storm(&wild)))
                .collect();
            let codes = writers.into_iter().map(|writer| writer.join());
            codes.flat_map(|codes| codes.expect("renewals")).collect()
        })
    });
    let codes: Vec<u16> = codes;
    let taken = codes.iter().filter(|code| **code == 200).count();
    assert!(taken >= RENEWALS, "{taken} of {}", codes.len());
    let odd = codes.iter().find(|code| ![200, 409, 429].contains(*code));
    assert_eq!(odd, None);
    let after = wild.inventory_object();
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    assert_eq!(version(&before), version(&after), "the hub wrote nothing");
    let leases = "/apis/coordination.k8s.io/v1/namespaces/cluster2/leases";
    assert_eq!(items(&its.admin, leases).len(), 1);
    stands(&its, &other);
    stands(&its, &wild);
}

fn storm(agent: &Agent) -> Vec<u16> {
    (0..RENEWALS).map(|_| agent.renew_lease().code).collect()
}

#[test]
fn a_mailbox_takes_so_many_events_of_its_agent_and_the_hub_is_still_heard() {
    let its = Its::start();
    let other = its.register("cluster1", "a");
    let wild = its.register("cluster2", "a");
    let events = "/apis/events.k8s.io/v1/namespaces/cluster2/events";
    let object = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"generateName": "flood-"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal", "reason": "Flood", "action": "Flood", "note": "one of many",
        "regarding": {"kind": "ManagedCluster", "name": "cluster2", "namespace": "cluster2"},
        "reportingController": "example.com/agent", "reportingInstance": "a",
    });
    let answers: Vec<Answer> = others_work_and_join(&its, &other, "cluster3", || {
        wild.caller.create_many(events, &object, EVENTS_SENT)
    });
    let refused: Vec<&Answer> = answers.iter().filter(|answer| answer.code != 201).collect();
    assert!(
        refused.len() >= EVENTS_SENT - EVENTS_MAX - UNDER_WAY,
        "{}",
        refused.len()
    );
    for answer in refused {
        assert_eq!(answer.code, 403, "{answer:#?}");
        let message = answer.body["message"].as_str().unwrap_or_default();
        assert!(
            message.contains("1000 objects") && message.contains("\"cluster2\""),
            "{message}"
        );
    }
    let of_agent = items(&its.admin, events);
    let of_agent = of_agent.iter().filter(|event| event["reason"] == "Flood");
    assert!(of_agent.count() <= EVENTS_MAX + UNDER_WAY);
    // What the hub has to say in that mailbox is still said.
    let second = identity("cluster2", "b");
    its.ask_by(&its.bootstrap, &second).ok();
    its.admin.until(events, |answer| {
        let items = answer.body["items"].as_array().into_iter().flatten();
        items
            .into_iter()
            .any(|event| event["reason"] == "ClusterNameTaken")
    });
    stands(&its, &other);
    wild.caller.get(&inventory_object("cluster2")).ok();
}
