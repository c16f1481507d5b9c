//! Status return: from Bindings in a WDS and WorkStatuses in an ITS to objects' status and
//! CombinedStatuses.

mod journey;
mod questions;

use crate::fixture::QUIET;
use crate::fixture::Spaces;
use hyades_api::control::CombinedStatus;
use hyades_api::control::WorkStatus;
use hyades_api::control::names::labels;
use hyades_runtime::apply;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn deployment(namespace: &str, replicas: i64) -> Value {
    let labels = json!({"app": "web"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": "web", "labels": labels},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]},
            },
        },
    })
}

/// A Binding as a person writes one: the Deployment `web` of these namespaces, treated like this.
fn binding(name: &str, namespaces: &[&str], wecs: &[&str], treatment: Value) -> Value {
    let objects = namespaces.iter().map(|namespace| {
        let mut object = json!({
            "group": "apps", "version": "v1", "resource": "deployments", "namespace": namespace,
            "name": "web", "resourceVersion": "1",
        });
        merge(&mut object, &treatment);
        object
    });
    let objects: Vec<Value> = objects.collect();
    with_objects(name, wecs, json!({"namespaceScope": objects}))
}

fn with_objects(name: &str, wecs: &[&str], workload: Value) -> Value {
    let wecs: Vec<Value> = wecs.iter().map(|wec| json!({"clusterId": wec})).collect();
    json!({
        "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "Binding",
        "metadata": {"name": name}, "spec": {"workload": workload, "destinations": wecs},
    })
}

fn merge(object: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        object[name] = value.clone();
    }
}

fn collector(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["limit"] = 10.into();
    json!({
        "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "StatusCollector",
        "metadata": {"name": name}, "spec": spec,
    })
}

fn singleton() -> Value {
    json!({"wantSingletonReportedState": true})
}

fn several() -> Value {
    json!({"wantMultiWECReportedState": true})
}

fn asked(collectors: &[&str]) -> Value {
    json!({"statusCollectors": collectors})
}

/// What a WEC reports of an object, as the agent writes it.
async fn report(spaces: &Spaces, wds: &str, wec: &str, object: &Value, status: Value) {
    let its = spaces.its();
    let kind = object["kind"].as_str().expect("a kind").to_lowercase();
    let address = apply::Address::of(object).expect("an address");
    let source = json!({
        "group": address.resource.group, "version": address.resource.version,
        "resource": address.resource.plural, "kind": object["kind"],
        "namespace": address.namespace.clone().unwrap_or_default(), "name": address.name,
    });
    let namespace = address.namespace.unwrap_or_default();
    let name = format!("{wds}-{kind}-{namespace}-{}", address.name);
    let written = async {
        let mailbox = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": wec}});
        apply::ensure(&its, "agent", &mailbox)
            .await
            .expect("a mailbox");
        let work_status = json!({
            "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "WorkStatus",
            "metadata": {"namespace": wec, "name": name, "labels": {labels::ORIGIN_WDS: wds}},
            "spec": {"sourceRef": source},
        });
        let ensured = apply::ensure_with_labels(&its, "agent", &work_status).await;
        ensured.expect("a WorkStatus");
        let api = Api::<WorkStatus>::namespaced(its.clone(), wec);
        let patch = Patch::Merge(json!({"status": status}));
        api.patch_status(&name, &PatchParams::default(), &patch)
            .await
    };
    spaces.meanwhile(written).await.expect("a report");
}

async fn reports(spaces: &Spaces, wecs: &[(&str, Value)]) {
    for (wec, status) in wecs {
        report(spaces, "wds1", wec, &deployment("shop", 2), status.clone()).await;
    }
}

/// An object of the WDS as it is now.
async fn now(wds: &Client, object: &Value) -> DynamicObject {
    let address = apply::Address::of(object).expect("an address");
    let found = address.api(wds).get(&address.name).await;
    found.expect("the object")
}

fn marks(object: &DynamicObject) -> Vec<&str> {
    let is = |label: &&&str| object.labels().contains_key(**label);
    labels::OF_THE_WDS.iter().filter(is).copied().collect()
}

async fn until_status(
    spaces: &Spaces,
    what: &str,
    object: &Value,
    is: impl Fn(&Value, &[&str]) -> bool,
) {
    let reached = async |wds: Client| {
        let found = now(&wds, object).await;
        is(&found.data["status"], &marks(&found)).then_some(())
    };
    spaces.until(what, reached).await;
}

/// The one CombinedStatus of a namespace, once it answers so many questions with such rows.
async fn until_answered(
    spaces: &Spaces,
    what: &str,
    namespace: &str,
    is: impl Fn(&CombinedStatus) -> bool,
) -> CombinedStatus {
    let reached = async |wds: Client| {
        let api = Api::<CombinedStatus>::namespaced(wds, namespace);
        let found = api.list(&Default::default()).await.expect("a list").items;
        found.into_iter().find(&is)
    };
    spaces.until(what, reached).await
}

/// The rows of an answer, each value as its text.
fn rows(answers: &CombinedStatus, question: &str) -> Vec<Vec<String>> {
    let text = |cell: &Value| {
        let value = cell.get("float").or_else(|| cell.get("string"));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let answer = answers
        .results
        .iter()
        .find(|answer| answer.name == question);
    let rows = answer.into_iter().flat_map(|answer| &answer.rows);
    rows.map(|row| row.columns.iter().map(text).collect())
        .collect()
}

async fn started(objects: &[Value]) -> Spaces {
    let spaces = Spaces::start().await;
    for object in objects {
        spaces.apply(object.clone()).await;
    }
    spaces.start_status();
    spaces
}

#[tokio::test]
async fn the_status_of_the_one_wec_becomes_that_of_the_object_and_goes_with_a_second() {
    let web = deployment("shop", 2);
    let one = binding("p", &["shop"], &["c1"], singleton());
    let spaces = started(&[namespace("shop"), web.clone(), one]).await;
    reports(
        &spaces,
        &[("c1", json!({"replicas": 2, "readyReplicas": 1}))],
    )
    .await;
    let mark = [labels::SINGLETON_STATUS, labels::EXECUTING_COUNT];
    until_status(&spaces, "the status is there", &web, |status, marks| {
        status["readyReplicas"] == 1 && marks == mark
    })
    .await;
    reports(
        &spaces,
        &[("c1", json!({"replicas": 2, "readyReplicas": 2}))],
    )
    .await;
    until_status(&spaces, "the status follows", &web, |status, _| {
        status["readyReplicas"] == 2
    })
    .await;
    // Another Binding that wants no status does not make it two.
    let other = binding("q", &["shop"], &["c1", "c2"], asked(&["none"]));
    spaces.apply(other).await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    assert_eq!(
        now(&spaces.wds(), &web).await.data["status"]["readyReplicas"],
        2
    );
    spaces
        .apply(binding("p", &["shop"], &["c1", "c2"], singleton()))
        .await;
    until_status(&spaces, "there is no single WEC", &web, |status, marks| {
        status["readyReplicas"].is_null() && marks == [labels::EXECUTING_COUNT]
    })
    .await;
}

#[tokio::test]
async fn the_status_of_several_wecs_is_brought_together() {
    let web = deployment("shop", 2);
    let both = binding("p", &["shop"], &["c1", "c2"], several());
    let spaces = started(&[namespace("shop"), web.clone(), both]).await;
    let full = json!({"replicas": 2, "availableReplicas": 2, "readyReplicas": 2});
    reports(&spaces, &[("c1", full.clone())]).await;
    until_status(
        &spaces,
        "the first report is copied",
        &web,
        |status, marks| status["availableReplicas"] == 2 && marks == [labels::SINGLETON_STATUS],
    )
    .await;
    let half = json!({"replicas": 2, "availableReplicas": 1, "readyReplicas": 1});
    reports(&spaces, &[("c2", half)]).await;
    until_status(&spaces, "the least counts", &web, |status, marks| {
        status["availableReplicas"] == 1 && marks == [labels::MULTI_WEC_STATUS]
    })
    .await;
    reports(&spaces, &[("c2", full)]).await;
    until_status(&spaces, "both are available", &web, |status, _| {
        status["availableReplicas"] == 2
    })
    .await;
}

#[tokio::test]
async fn what_was_returned_is_cleared_also_after_a_restart() {
    let web = deployment("shop", 2);
    let one = binding("p", &["shop"], &["c1"], singleton());
    let mut spaces = started(&[namespace("shop"), web.clone(), one.clone()]).await;
    reports(
        &spaces,
        &[("c1", json!({"replicas": 2, "readyReplicas": 2}))],
    )
    .await;
    until_status(&spaces, "the status is there", &web, |status, _| {
        status["readyReplicas"] == 2
    })
    .await;
    spaces.stop_programs();
    spaces.delete(one).await;
    spaces.start_status();
    until_status(&spaces, "nothing is left", &web, |status, marks| {
        status["readyReplicas"].is_null() && marks.is_empty()
    })
    .await;
}

#[tokio::test]
async fn namespaces_and_definitions_keep_their_own_status() {
    let scope = json!({"clusterScope": [{
        "group": "", "version": "v1", "resource": "namespaces", "name": "shop",
        "resourceVersion": "1", "wantSingletonReportedState": true,
    }]});
    let shop = namespace("shop");
    let spaces = started(&[shop.clone(), with_objects("p", &["c1"], scope)]).await;
    report(
        &spaces,
        "wds1",
        "c1",
        &shop,
        json!({"phase": "Terminating"}),
    )
    .await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    let found = now(&spaces.wds(), &shop).await;
    assert_eq!(found.data["status"]["phase"], "Active");
    assert!(marks(&found).is_empty());
}

#[tokio::test]
async fn a_kind_without_status_subresource_gets_its_status_too() {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    });
    let thing = json!({
        "apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": {"namespace": "shop", "name": "t"}, "spec": {"a": 1},
    });
    let scope = json!({"namespaceScope": [{
        "group": "example.com", "version": "v1", "resource": "things", "namespace": "shop",
        "name": "t", "resourceVersion": "1", "wantSingletonReportedState": true,
    }]});
    let objects = [
        namespace("shop"),
        definition,
        thing.clone(),
        with_objects("p", &["c1"], scope),
    ];
    let spaces = started(&objects).await;
    report(&spaces, "wds1", "c1", &thing, json!({"phase": "Done"})).await;
    until_status(&spaces, "the status is there", &thing, |status, _| {
        status["phase"] == "Done"
    })
    .await;
}

#[tokio::test]
async fn equal_names_in_two_namespaces_and_two_wdses_are_kept_apart() {
    let (shop, store) = (deployment("shop", 2), deployment("store", 2));
    let one = binding("p", &["shop", "store"], &["c1"], singleton());
    let objects = [
        namespace("shop"),
        namespace("store"),
        shop.clone(),
        store.clone(),
        one,
    ];
    let spaces = started(&objects).await;
    report(&spaces, "wds2", "c1", &shop, json!({"replicas": 9})).await;
    report(&spaces, "wds1", "c1", &shop, json!({"replicas": 1})).await;
    report(&spaces, "wds1", "c1", &store, json!({"replicas": 2})).await;
    until_status(&spaces, "the one has its own", &shop, |status, _| {
        status["replicas"] == 1
    })
    .await;
    until_status(&spaces, "and so has the other", &store, |status, _| {
        status["replicas"] == 2
    })
    .await;
}

fn sum() -> Value {
    collector(
        "sum",
        json!({"combinedFields": [
            {"name": "sum", "type": "SUM", "subject": "returned.status.availableReplicas"},
        ]}),
    )
}

fn whole() -> Value {
    collector(
        "whole",
        json!({
            "filter": "obj.spec.replicas == returned.status.availableReplicas",
            "select": [{"name": "wec", "def": "inventory.name"}],
        }),
    )
}

#[tokio::test]
async fn what_is_as_it_should_be_is_not_written_again() {
    let treatment = json!({
        "wantSingletonReportedState": true, "statusCollectors": ["sum", "whole"],
    });
    let web = deployment("shop", 1);
    let one = binding("p", &["shop"], &["c1"], treatment);
    let mut spaces = started(&[namespace("shop"), web.clone(), one, sum(), whole()]).await;
    until_status(&spaces, "its WECs are counted", &web, |_, marks| {
        marks == [labels::EXECUTING_COUNT]
    })
    .await;
    reports(
        &spaces,
        &[("c1", json!({"replicas": 1, "availableReplicas": 1}))],
    )
    .await;
    until_status(&spaces, "the status is there", &web, |status, _| {
        status["availableReplicas"] == 1
    })
    .await;
    until_answered(&spaces, "it is answered", "shop", |answers| {
        rows(answers, "sum") == [["1"]] && rows(answers, "whole") == [["c1"]]
    })
    .await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    let of_object: Vec<_> = spaces
        .wds_writes
        .take()
        .into_iter()
        .filter(|write| write.contains("/deployments/"))
        .collect();
    assert_eq!(
        of_object.len(),
        3,
        "the count of WECs, the mark, the status: {of_object:?}"
    );
    // Neither a change that concerns no status nor a new start writes anything.
    let mut changed = web.clone();
    changed["metadata"]["labels"]["more"] = "a".into();
    spaces.apply(changed).await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    spaces.stop_programs();
    spaces.start_status();
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    assert_eq!(spaces.wds_writes.take(), Vec::<String>::new());
}
