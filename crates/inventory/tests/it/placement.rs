//! Placements over a served space: sets, bindings, and decisions that follow the fleet.

use crate::fixture::Its;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::names::labels;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::events::v1::Event;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;

const GROUP: &str = "cluster.open-cluster-management.io";

/// Runs a hub on a space with the namespace `team`.
pub async fn its() -> Its {
    let its = Its::with_hub(Options::default()).await;
    let namespace: Namespace =
        serde_json::from_value(json!({"metadata": {"name": "team"}})).expect("a namespace");
    let api = Api::<Namespace>::all(its.admin());
    api.create(&PostParams::default(), &namespace)
        .await
        .expect("created");
    its
}

/// Creates a WEC that is well, as far as its agent says.
pub async fn wec(its: &Its, name: &str, set: &str, env: &str) {
    let object = json!({
        "metadata": {"name": name, "labels": {labels::CLUSTER_SET: set, "env": env}},
        "spec": {"hubAcceptsClient": true},
    });
    let object: ManagedCluster = serde_json::from_value(object).expect("a ManagedCluster");
    let api = Api::<ManagedCluster>::all(its.admin());
    api.create(&PostParams::default(), &object)
        .await
        .expect("created");
    say(its, name, "True").await;
}

/// Says whether a WEC is well, as its agent does.
async fn say(its: &Its, name: &str, available: &str) {
    let condition = json!({
        "type": "ManagedClusterConditionAvailable",
        "status": available,
        "reason": "Test",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    });
    let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
    let api = Api::<ManagedCluster>::all(its.admin());
    let patched = api
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
    patched.expect("patched");
}

pub async fn change(its: &Its, name: &str, patch: Value) {
    let api = Api::<ManagedCluster>::all(its.admin());
    let patch = Patch::Merge(patch);
    let patched = api.patch(name, &PatchParams::default(), &patch).await;
    patched.expect("patched");
}

pub async fn set(its: &Its, name: &str, selector: Value) {
    its.apply(&json!({
        "apiVersion": format!("{GROUP}/v1beta2"),
        "kind": "ManagedClusterSet",
        "metadata": {"name": name},
        "spec": {"clusterSelector": selector},
    }))
    .await;
}

pub async fn bind(its: &Its, name: &str) {
    its.apply(&json!({
        "apiVersion": format!("{GROUP}/v1beta2"),
        "kind": "ManagedClusterSetBinding",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"clusterSet": name},
    }))
    .await;
}

pub async fn place(its: &Its, name: &str, spec: Value) {
    its.apply(&json!({
        "apiVersion": format!("{GROUP}/v1beta1"),
        "kind": "Placement",
        "metadata": {"name": name, "namespace": "team"},
        "spec": spec,
    }))
    .await;
}

pub fn placements(client: &Client) -> Api<Placement> {
    Api::namespaced(client.clone(), "team")
}

pub fn decisions(client: &Client) -> Api<PlacementDecision> {
    Api::namespaced(client.clone(), "team")
}

/// Who is chosen, read as upstream's consumers read it: from all objects with the label.
async fn chosen(client: &Client, placement: &str) -> Option<String> {
    let label = format!("{}={placement}", labels::PLACEMENT);
    let found = decisions(client)
        .list(&ListParams::default().labels(&label))
        .await;
    let found = found.expect("a list").items;
    let mut names: Vec<_> = found
        .iter()
        .flat_map(|object| &object.status.decisions)
        .map(|decision| decision.cluster_name.clone())
        .collect();
    names.sort();
    (!found.is_empty()).then(|| names.join(" "))
}

/// Runs the hub until exactly these are chosen.
pub async fn until_chosen(its: &Its, placement: &str, expected: &str) {
    let what = format!("{placement} chooses {expected:?}");
    its.until(&what, async |admin| {
        chosen(admin, placement).await.as_deref() == Some(expected)
    })
    .await;
}

/// Runs the hub until the condition has this reason; returns its message.
async fn until_says(its: &Its, placement: &str, type_: &str, reason: &str) -> String {
    let mut message = String::new();
    its.until(&format!("{placement} says {reason}"), async |admin| {
        let object = placements(admin)
            .get(placement)
            .await
            .expect("the placement");
        let condition = conditions::find(&object.status.conditions, type_);
        let found = condition.filter(|condition| condition.reason == reason);
        message = found.map(|found| found.message.clone()).unwrap_or_default();
        found.is_some()
    })
    .await;
    message
}

#[tokio::test]
async fn a_placement_says_what_it_lacks_step_by_step_and_then_chooses() {
    let its = its().await;
    let satisfied = "PlacementSatisfied";
    place(&its, "p", json!({"clusterSets": ["blue"]})).await;
    until_says(&its, "p", satisfied, "NoManagedClusterSetBindings").await;
    until_chosen(&its, "p", "").await;
    set(
        &its,
        "green",
        json!({"selectorType": "ExclusiveClusterSetLabel"}),
    )
    .await;
    bind(&its, "green").await;
    let message = until_says(&its, "p", satisfied, "NoIntersection").await;
    assert_eq!(
        message,
        "None of ManagedClusterSets [blue] is bound to placement namespace"
    );
    set(
        &its,
        "blue",
        json!({"selectorType": "ExclusiveClusterSetLabel"}),
    )
    .await;
    bind(&its, "blue").await;
    let message = until_says(&its, "p", satisfied, "AllManagedClusterSetsEmpty").await;
    assert_eq!(
        message,
        "All ManagedClusterSets [blue] have no member ManagedCluster"
    );
    wec(&its, "c1", "blue", "prod").await;
    wec(&its, "c2", "green", "prod").await;
    until_chosen(&its, "p", "c1").await;
    until_says(&its, "p", satisfied, "AllDecisionsScheduled").await;
    until_says(&its, "p", "PlacementMisconfigured", "Succeedconfigured").await;

    let admin = its.admin();
    let object = decisions(&admin)
        .get("p-decision-1")
        .await
        .expect("a decision");
    let owner = &object.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller),
        ("Placement", Some(true))
    );
    let label = |key: &str| object.labels()[key].as_str();
    assert_eq!(label("cluster.open-cluster-management.io/placement"), "p");
    assert_eq!(
        label("cluster.open-cluster-management.io/decision-group-index"),
        "0"
    );
    assert_eq!(
        label("cluster.open-cluster-management.io/decision-group-name"),
        ""
    );
    let status = placements(&admin)
        .get("p")
        .await
        .expect("the placement")
        .status;
    assert_eq!(status.number_of_selected_clusters, 1);
    assert_eq!(status.decision_groups[0].decisions, ["p-decision-1"]);
    its.until("the events tell of it", async |admin| {
        let events = Api::<Event>::namespaced(admin.clone(), "team");
        let all = events
            .list(&ListParams::default())
            .await
            .expect("events")
            .items;
        let told = |reason: &str| {
            all.iter()
                .any(|event| event.reason.as_deref() == Some(reason))
        };
        told("DecisionCreate") && told("DecisionUpdate") && told("ScoreUpdate")
    })
    .await;
}

#[tokio::test]
async fn decisions_follow_labels_taints_sets_and_deletions() {
    let its = its().await;
    bind(&its, "global").await;
    for name in ["c1", "c2", "c3"] {
        wec(&its, name, "default", "prod").await;
    }
    let selector = json!({"labelSelector": {"matchLabels": {"env": "prod"}}});
    place(
        &its,
        "p",
        json!({"predicates": [{"requiredClusterSelector": selector}]}),
    )
    .await;
    until_chosen(&its, "p", "c1 c2 c3").await;
    change(&its, "c1", json!({"metadata": {"labels": {"env": "dev"}}})).await;
    until_chosen(&its, "p", "c2 c3").await;
    let taint = json!({"key": "repair", "effect": "NoSelect"});
    change(&its, "c2", json!({"spec": {"taints": [taint]}})).await;
    until_chosen(&its, "p", "c3").await;
    say(&its, "c3", "False").await;
    until_chosen(&its, "p", "").await;
    until_says(&its, "p", "PlacementSatisfied", "NoManagedClusterMatched").await;
    say(&its, "c3", "True").await;
    change(&its, "c1", json!({"metadata": {"labels": {"env": "prod"}}})).await;
    until_chosen(&its, "p", "c1 c3").await;
    let inventory = Api::<ManagedCluster>::all(its.admin());
    inventory
        .delete("c1", &Default::default())
        .await
        .expect("deleted");
    until_chosen(&its, "p", "c3").await;

    let all = placements(&its.admin());
    let two = json!({"spec": {"numberOfClusters": 2, "tolerations": [{"key": "repair", "operator": "Exists"}]}});
    let patched = all
        .patch("p", &PatchParams::default(), &Patch::Merge(two))
        .await;
    patched.expect("patched");
    until_chosen(&its, "p", "c2 c3").await;
    all.delete("p", &Default::default()).await.expect("deleted");
    its.until("the decisions go with their placement", async |admin| {
        chosen(admin, "p").await.is_none()
    })
    .await;
}

#[tokio::test]
async fn cel_and_scores_of_add_ons_decide() {
    let its = its().await;
    bind(&its, "global").await;
    for (name, value) in [("c1", 10), ("c2", 90), ("c3", 50)] {
        wec(&its, name, "default", "prod").await;
        its.until("the mailbox is there", async |admin| {
            let mailboxes = Api::<Namespace>::all(admin.clone());
            mailboxes.get_opt(name).await.expect("an answer").is_some()
        })
        .await;
        its.apply(&json!({
            "apiVersion": format!("{GROUP}/v1alpha1"),
            "kind": "AddOnPlacementScore",
            "metadata": {"name": "usage", "namespace": name},
        }))
        .await;
        let api = Api::<hyades_api::placement::AddOnPlacementScore>::namespaced(its.admin(), name);
        let scores = json!([{"name": "free", "value": value}]);
        let patch = Patch::Merge(json!({"status": {"scores": scores}}));
        let patched = api
            .patch_status("usage", &PatchParams::default(), &patch)
            .await;
        patched.expect("patched");
    }
    let coordinate =
        json!({"type": "AddOn", "addOn": {"resourceName": "usage", "scoreName": "free"}});
    let policy =
        json!({"mode": "Exact", "configurations": [{"scoreCoordinate": coordinate, "weight": 1}]});
    place(
        &its,
        "best",
        json!({"numberOfClusters": 1, "prioritizerPolicy": policy}),
    )
    .await;
    until_chosen(&its, "best", "c2").await;
    let expression =
        "managedCluster.scores('usage').filter(s, s.name == 'free').all(s, s.value < 60)";
    let selector = json!({"celSelector": {"celExpressions": [expression]}});
    place(
        &its,
        "busy",
        json!({"predicates": [{"requiredClusterSelector": selector}]}),
    )
    .await;
    until_chosen(&its, "busy", "c1 c3").await;

    let wrong = json!({"celSelector": {"celExpressions": ["xxxx.expression"]}});
    let patch = json!({"spec": {"predicates": [{"requiredClusterSelector": wrong}]}});
    let all = placements(&its.admin());
    let patched = all
        .patch("busy", &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.expect("patched");
    let message = until_says(&its, "busy", "PlacementMisconfigured", "Misconfigured").await;
    assert_eq!(
        message,
        "Predicate:compilation failed: undeclared reference to 'xxxx'"
    );
    assert_eq!(
        chosen(&its.admin(), "busy").await.as_deref(),
        Some("c1 c3"),
        "the last good ones"
    );
}

#[tokio::test]
async fn decisions_that_somebody_changed_or_deleted_are_put_right_and_an_idle_placement_writes_nothing()
 {
    let its = its().await;
    bind(&its, "global").await;
    wec(&its, "c1", "default", "prod").await;
    place(&its, "p", json!({})).await;
    until_chosen(&its, "p", "c1").await;
    let all = decisions(&its.admin());
    let forged = json!({"status": {"decisions": [{"clusterName": "c9", "reason": ""}]}});
    let patched = all
        .patch_status(
            "p-decision-1",
            &PatchParams::default(),
            &Patch::Merge(forged),
        )
        .await;
    patched.expect("patched");
    until_chosen(&its, "p", "c1").await;
    all.delete("p-decision-1", &Default::default())
        .await
        .expect("deleted");
    until_chosen(&its, "p", "c1").await;

    until_says(&its, "p", "PlacementSatisfied", "AllDecisionsScheduled").await;
    let before = all.get("p-decision-1").await.expect("a decision");
    let status = placements(&its.admin())
        .get("p")
        .await
        .expect("the placement");
    // A change that counts for another placement only shows that the hub has looked at it.
    place(&its, "q", json!({"numberOfClusters": 1})).await;
    change(&its, "c1", json!({"metadata": {"labels": {"x": "y"}}})).await;
    until_chosen(&its, "q", "c1").await;
    let after = all.get("p-decision-1").await.expect("a decision");
    assert_eq!(after.resource_version(), before.resource_version());
    let later = placements(&its.admin())
        .get("p")
        .await
        .expect("the placement");
    assert_eq!(later.resource_version(), status.resource_version());
}

/// Sends a placement; returns what the server warns of.
async fn warnings(client: &Client, name: &str, spec: Value) -> Vec<String> {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1beta1"),
        "kind": "Placement",
        "metadata": {"name": name},
        "spec": spec,
    });
    let body = serde_json::to_vec(&object).expect("JSON");
    let request = http::Request::post(format!("/apis/{GROUP}/v1beta1/namespaces/team/placements"));
    let request = request.header("content-type", "application/json");
    let request = request.body(body.into()).expect("a request");
    let answer = client.send(request).await.expect("an answer");
    assert_eq!(answer.status(), 201, "{name} is taken");
    let warnings = answer.headers().get_all("warning").iter();
    let text = |value: &http::HeaderValue| value.to_str().expect("text").to_owned();
    warnings.map(text).collect()
}

#[tokio::test]
async fn whoever_writes_a_placement_that_cannot_be_followed_is_told_at_once() {
    let its = its().await;
    let admin = its.admin();
    let requirement = |operator: &str, values: Value| {
        let requirement = json!({"key": "k", "operator": operator, "values": values});
        json!({"matchExpressions": [requirement]})
    };
    let predicate =
        |selector: Value| json!({"predicates": [{"requiredClusterSelector": selector}]});
    let prioritizer = |coordinate: Value| json!({"prioritizerPolicy": {"configurations": [{"scoreCoordinate": coordinate}]}});
    let group = |selector: Value| {
        let group = json!({"groupName": "g1", "groupClusterSelector": {"labelSelector": selector}});
        json!({"decisionStrategy": {"groupStrategy": {"decisionGroups": [group]}}})
    };
    let wrong = [
        (json!({"numberOfClusters": -1}), "must be 0 or more"),
        (
            json!({"tolerations": [{"operator": "Equal"}]}),
            "operator must be Exists.",
        ),
        (
            json!({"tolerations": [{"key": "k", "operator": "Exists", "value": "v"}]}),
            "the value should be empty.",
        ),
        (
            json!({"tolerations": [{"key": "k", "operator": "Like"}]}),
            "tolerates nothing",
        ),
        (
            json!({"prioritizerPolicy": {"mode": "Some"}}),
            "Additive or Exact",
        ),
        (
            prioritizer(json!({"type": "BuiltIn", "builtIn": "Nonsense"})),
            "must name Balance",
        ),
        (prioritizer(json!({"type": "AddOn"})), "must have addOn"),
        (
            predicate(json!({"labelSelector": requirement("Like", json!([]))})),
            "must be In, NotIn",
        ),
        (
            predicate(json!({"claimSelector": requirement("In", json!([]))})),
            "needs values",
        ),
        (
            group(requirement("Exists", json!(["v"]))),
            "takes no values",
        ),
    ];
    for (number, (spec, expected)) in wrong.into_iter().enumerate() {
        let warned = warnings(&admin, &format!("wrong-{number}"), spec.clone()).await;
        assert_eq!(warned.len(), 1, "{spec}: {warned:?}");
        assert!(warned[0].contains(expected), "{spec}: {warned:?}");
    }
    let mut good = predicate(json!({"labelSelector": requirement("In", json!(["v"]))}));
    good["tolerations"] = json!([{"operator": "Exists"}, {"key": "k", "value": "v"}]);
    good["numberOfClusters"] = json!(3);
    good["prioritizerPolicy"] = json!({"mode": "Exact", "configurations": [
        {"scoreCoordinate": {"builtIn": "Steady"}},
        {"scoreCoordinate": {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "s"}}},
    ]});
    assert_eq!(warnings(&admin, "good", good).await, [""; 0]);
    assert_eq!(warnings(&admin, "empty", json!({})).await, [""; 0]);
}
