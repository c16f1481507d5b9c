//! Works for all WECs that a placement chooses, and works whose time is over, over a served space.

use crate::fixture::Its;
use crate::placement::bind;
use crate::placement::change;
use crate::placement::place;
use crate::placement::set;
use crate::placement::wec;
use hyades_api::conditions;
use hyades_api::names::labels;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_api::work::ManifestWork;
use hyades_api::work::replica_set::ManifestWorkReplicaSet;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;

const GROUP: &str = "work.open-cluster-management.io";

/// Both gates of works, as the ClusterManager and the hub's flags state them.
const GATES: [&str; 2] = ["ManifestWorkReplicaSet", "CleanUpCompletedManifestWork"];

/// A hub with both gates on and the namespace `team`, to which the set `all` is bound.
async fn its(wecs: &[&str]) -> Its {
    let mut its = Its::start().await;
    let gate = |name: &&str| json!({"feature": name, "mode": "Enable"});
    let gates: Vec<Value> = GATES.iter().map(gate).collect();
    its.apply(&json!({
        "apiVersion": "operator.open-cluster-management.io/v1", "kind": "ClusterManager",
        "metadata": {"name": "cluster-manager"},
        "spec": {"workConfiguration": {"featureGates": gates}},
    }))
    .await;
    its.start_operator(Default::default());
    its.until_hub_has_rights().await;
    its.start_hub(Options {
        feature_gates: GATES.map(|name| format!("{name}=true")).to_vec(),
        ..Options::default()
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    its.apply(&namespace).await;
    set(
        &its,
        "all",
        json!({"selectorType": "LabelSelector", "labelSelector": {}}),
    )
    .await;
    bind(&its, "all").await;
    for name in wecs {
        wec(&its, name, "default", "prod").await;
        its.until(&format!("{name} has a mailbox"), async |admin| {
            let api = Api::<Namespace>::all(admin.clone());
            api.get_opt(name).await.expect("an answer").is_some()
        })
        .await;
    }
    let of_env = json!({"labelSelector": {"matchLabels": {"env": "prod"}}});
    place(
        &its,
        "p",
        json!({"predicates": [{"requiredClusterSelector": of_env}]}),
    )
    .await;
    its
}

fn sets(client: &Client) -> Api<ManifestWorkReplicaSet> {
    Api::namespaced(client.clone(), "team")
}

async fn apply_set(its: &Its, value: &str, strategy: Value) {
    apply_set_with(its, value, strategy, "Foreground").await;
}

async fn apply_set_with(its: &Its, value: &str, strategy: Value, deletion: &str) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                     "metadata": {"name": "m", "namespace": "default"}, "data": {"a": value}});
    its.apply(&json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ManifestWorkReplicaSet",
        "metadata": {"name": "web", "namespace": "team"},
        "spec": {"manifestWorkTemplate": {"workload": {"manifests": [map]}},
                 "placementRefs": [{"name": "p", "rolloutStrategy": strategy}],
                 "cascadeDeletionPolicy": deletion},
    }))
    .await;
}

/// The works of the set: WEC and value.
async fn works(client: &Client) -> Vec<(String, String)> {
    let api = Api::<ManifestWork>::all(client.clone());
    let label = format!("{}=team.web", labels::REPLICA_SET);
    let found = api.list(&ListParams::default().labels(&label)).await;
    let mut works: Vec<_> = found
        .expect("a list")
        .iter()
        .map(|work| {
            let value = &work.spec.workload.manifests[0]["data"]["a"];
            (
                work.namespace().unwrap_or_default(),
                value.as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    works.sort();
    works
}

async fn until_works(its: &Its, wanted: &[(&str, &str)]) {
    its.until(&format!("the works are {wanted:?}"), async |admin| {
        let works = works(admin).await;
        let found = works
            .iter()
            .map(|(wec, value)| (wec.as_str(), value.as_str()));
        found.eq(wanted.iter().copied())
    })
    .await;
}

/// Says that every work is applied and its objects are there, as the agents do.
async fn report(its: &Its) {
    let api = Api::<ManifestWork>::all(its.admin());
    for work in api.list(&ListParams::default()).await.expect("a list") {
        report_one(its, &work, &["Applied", "Available"]).await;
    }
}

async fn report_one(its: &Its, work: &ManifestWork, types: &[&str]) {
    let condition = |type_: &&str| {
        json!({"type": type_, "status": "True", "reason": "Test", "message": "",
               "observedGeneration": work.metadata.generation,
               "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let all: Vec<Value> = types.iter().map(condition).collect();
    let patch = Patch::Merge(json!({"status": {"conditions": all}}));
    let mailbox = work.namespace().unwrap_or_default();
    let api = Api::<ManifestWork>::namespaced(its.admin(), &mailbox);
    let reported = api
        .patch_status(&work.name_any(), &PatchParams::default(), &patch)
        .await;
    reported.expect("reported");
}

async fn until_said(its: &Its, type_: &str, status: &str, reason: &str) -> ManifestWorkReplicaSet {
    let mut found = None;
    its.until(
        &format!("the set says {type_}={status} {reason}"),
        async |admin| {
            let set = sets(admin).get("web").await.expect("the set");
            let said = conditions::find(&set.status.conditions, type_);
            let is_said = said.is_some_and(|said| {
                (said.status.as_str(), said.reason.as_str()) == (status, reason)
                    && said.observed_generation == set.metadata.generation
            });
            found = is_said.then_some(set);
            is_said
        },
    )
    .await;
    found.expect("the set")
}

#[tokio::test]
async fn a_set_makes_changes_and_removes_works_as_its_placement_chooses() {
    let its = its(&["a", "b"]).await;
    apply_set(&its, "1", json!({"type": "All"})).await;
    until_works(&its, &[("a", "1"), ("b", "1")]).await;
    until_said(&its, "ManifestworkApplied", "False", "Processing").await;
    report(&its).await;
    let set = until_said(&its, "PlacementRolledOut", "True", "Complete").await;
    let summary = set.status.summary;
    assert_eq!(
        (summary.total, summary.applied, summary.available),
        (2, 2, 2)
    );
    let placement = &set.status.placement_summary[0];
    assert_eq!(
        placement.available_decision_groups,
        "1 (2 / 2 clusters applied)"
    );
    until_said(&its, "ManifestworkApplied", "True", "AsExpected").await;
    until_said(&its, "PlacementVerified", "True", "AsExpected").await;

    apply_set(&its, "2", json!({"type": "All"})).await;
    until_works(&its, &[("a", "2"), ("b", "2")]).await;
    change(&its, "b", json!({"metadata": {"labels": {"env": "test"}}})).await;
    until_works(&its, &[("a", "2")]).await;

    let deleted = sets(&its.admin())
        .delete("web", &DeleteParams::default())
        .await;
    deleted.expect("deleted");
    until_works(&its, &[]).await;
    its.until("the set is gone", async |admin| {
        sets(admin)
            .get_opt("web")
            .await
            .expect("an answer")
            .is_none()
    })
    .await;
}

/// The works of the set, by uid.
async fn uids(client: &Client) -> Vec<Option<String>> {
    let api = Api::<ManifestWork>::all(client.clone());
    let found = api.list(&ListParams::default()).await.expect("a list");
    found.iter().map(ResourceExt::uid).collect()
}

#[tokio::test]
async fn works_outlive_the_loss_of_decisions_and_a_placement_made_anew() {
    let its = its(&["a", "b"]).await;
    apply_set(&its, "1", json!({"type": "All"})).await;
    until_works(&its, &[("a", "1"), ("b", "1")]).await;
    let works = uids(&its.admin()).await;
    let decisions = Api::<PlacementDecision>::namespaced(its.admin(), "team");
    let placements = Api::<Placement>::namespaced(its.admin(), "team");
    let decided = async |old: Option<String>| {
        let old = &old;
        its.until("there is a new decision", async |_| {
            let found = decisions.get_opt("p-decision-1").await.expect("an answer");
            found.is_some_and(|new| new.uid() != *old && new.status.decisions.len() == 2)
        })
        .await;
    };
    let old = decisions.get("p-decision-1").await.expect("the decision");
    let deleted = decisions
        .delete("p-decision-1", &DeleteParams::default())
        .await;
    deleted.expect("deleted");
    decided(old.uid()).await;
    // The set's next change comes after whatever it made of the loss.
    apply_set(&its, "2", json!({"type": "All"})).await;
    until_works(&its, &[("a", "2"), ("b", "2")]).await;
    assert_eq!(uids(&its.admin()).await, works);

    let deleted = placements.delete("p", &DeleteParams::default()).await;
    deleted.expect("deleted");
    its.until("its decision is gone", async |_| {
        let found = decisions.get_opt("p-decision-1").await.expect("an answer");
        found.is_none()
    })
    .await;
    place(&its, "p", json!({})).await;
    decided(None).await;
    apply_set(&its, "3", json!({"type": "All"})).await;
    until_works(&its, &[("a", "3"), ("b", "3")]).await;
    assert_eq!(uids(&its.admin()).await, works);
    until_said(&its, "PlacementVerified", "True", "AsExpected").await;
}

#[tokio::test]
async fn a_set_deleted_as_its_works_are_made_leaves_none_behind() {
    const ROUNDS: usize = 8;
    let its = its(&["a", "b"]).await;
    for round in 0..ROUNDS {
        let policy = ["Background", "Foreground"][round % 2];
        apply_set_with(&its, "1", json!({"type": "All"}), policy).await;
        its.until("a work is made", async |admin| {
            !works(admin).await.is_empty()
        })
        .await;
        let deleted = sets(&its.admin())
            .delete("web", &DeleteParams::default())
            .await;
        deleted.expect("deleted");
        its.until("the set is gone", async |admin| {
            let found = sets(admin).get_opt("web").await.expect("an answer");
            found.is_none()
        })
        .await;
        assert_eq!(works(&its.admin()).await, [], "round {round}, {policy}");
    }
}

#[tokio::test]
async fn a_change_spreads_over_one_wec_at_a_time_and_a_settled_set_writes_nothing() {
    let its = its(&["a", "b"]).await;
    apply_set(&its, "1", json!({"type": "All"})).await;
    until_works(&its, &[("a", "1"), ("b", "1")]).await;
    report(&its).await;
    until_said(&its, "PlacementRolledOut", "True", "Complete").await;
    let one = json!({"type": "Progressive", "progressive": {"maxConcurrency": 1}});
    apply_set(&its, "2", one).await;
    until_works(&its, &[("a", "2"), ("b", "1")]).await;
    its.meanwhile(tokio::time::sleep(Duration::from_millis(300)))
        .await;
    assert_eq!(
        works(&its.admin()).await[1].1,
        "1",
        "the first has not come through"
    );
    report(&its).await;
    until_works(&its, &[("a", "2"), ("b", "2")]).await;
    report(&its).await;
    until_said(&its, "PlacementRolledOut", "True", "Complete").await;
    its.hub_writes().clear();
    report(&its).await;
    its.meanwhile(tokio::time::sleep(Duration::from_millis(300)))
        .await;
    let commits = its.hub_writes().commits();
    let about_works = commits.iter().filter(|line| line.contains(GROUP));
    assert_eq!(about_works.count(), 0, "{commits:?}");
}

#[tokio::test]
async fn a_finished_work_goes_when_its_time_is_over_and_others_stay() {
    let its = its(&["a"]).await;
    for (name, seconds) in [
        ("now", json!(0)),
        ("later", json!(900_000_000)),
        ("ever", Value::Null),
    ] {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
                         "metadata": {"name": name, "namespace": "default"}});
        its.apply(&json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "ManifestWork",
            "metadata": {"name": name, "namespace": "a"},
            "spec": {"workload": {"manifests": [map]},
                     "deleteOption": {"propagationPolicy": "Foreground", "ttlSecondsAfterFinished": seconds}},
        }))
        .await;
    }
    let api = Api::<ManifestWork>::namespaced(its.admin(), "a");
    let names = async || {
        let found = api.list(&ListParams::default()).await.expect("a list");
        found.iter().map(ResourceExt::name_any).collect::<Vec<_>>()
    };
    its.meanwhile(tokio::time::sleep(Duration::from_millis(200)))
        .await;
    assert_eq!(
        names().await,
        ["ever", "later", "now"],
        "nothing is finished"
    );
    for name in names().await {
        let work = api.get(&name).await.expect("the work");
        report_one(&its, &work, &["Complete"]).await;
    }
    its.until("the finished work is gone", async |_| {
        names().await == ["ever", "later"]
    })
    .await;
}
