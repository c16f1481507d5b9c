//! Whom each event concerns.

use super::*;
use hyades_api::control::WorkStatus;
use hyades_runtime::kube::api::DynamicObject;
use serde_json::Value;
use serde_json::json;

fn key(name: &str) -> ObjectKey {
    ObjectKey {
        resource: GroupResource::new("apps", "deployments"),
        name: crate::object::ObjectName::new("shop", name),
    }
}

fn binding(objects: &[(&str, Value)], wecs: &[&str]) -> Binding {
    let objects = objects.iter().map(|(name, treatment)| {
        let mut object = json!({
            "group": "apps", "version": "v1", "resource": "deployments", "namespace": "shop",
            "name": name, "resourceVersion": "1",
        });
        for (field, value) in treatment.as_object().into_iter().flatten() {
            object[field] = value.clone();
        }
        object
    });
    let wecs = wecs.iter().map(|wec| json!({"clusterId": wec}));
    serde_json::from_value(json!({
        "metadata": {"name": "p", "uid": "policy"},
        "spec": {
            "workload": {"namespaceScope": objects.collect::<Vec<_>>()},
            "destinations": wecs.collect::<Vec<_>>(),
        },
    }))
    .expect("a Binding")
}

fn object(name: &str, version: &str, labels: Value) -> Object {
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "namespace": "shop", "name": name, "uid": format!("uid-{name}"),
            "resourceVersion": version, "labels": labels, "managedFields": [{"manager": "m"}],
        },
        "spec": {"replicas": 1}, "status": {"replicas": 1},
    });
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    Object::of(object, "apps/v1")
}

fn report(wec: &str, work: &str, version: &str, time: &str) -> WorkStatus {
    serde_json::from_value(json!({
        "metadata": {
            "namespace": wec, "name": work, "resourceVersion": version,
            "managedFields": [
                {"manager": "a", "time": "2030-01-01T00:00:00Z", "fieldsV1": {"f:spec": {}}},
                {"manager": "a", "time": time, "fieldsV1": {"f:status": {}}},
            ],
        },
        "spec": {"sourceRef": {
            "group": "apps", "version": "v1", "resource": "deployments", "kind": "Deployment",
            "namespace": "shop", "name": "web",
        }},
        "status": {"work": work},
    }))
    .expect("a WorkStatus")
}

fn answer(name: &str) -> Key {
    Key::Answer(AnswerName {
        namespace: "shop".to_owned(),
        object: format!("uid-{name}"),
        policy: "policy".to_owned(),
    })
}

fn asked() -> Value {
    json!({"statusCollectors": ["c"]})
}

fn singleton() -> Value {
    json!({"wantSingletonReportedState": true})
}

#[test]
fn a_binding_concerns_the_objects_that_are_wanted_otherwise() {
    let mut model = Model::default();
    let named = || Key::Binding("p".into());
    let first = binding(
        &[("web", singleton()), ("db", asked()), ("none", json!({}))],
        &["a"],
    );
    let keys = model.see_binding("p", Some(&first));
    assert_eq!(
        keys,
        [Key::Status(key("db")), Key::Status(key("web")), named()]
    );
    assert_eq!(
        model
            .see_object(&key("db"), "v1", object("db", "1", json!({})))
            .len(),
        2
    );
    assert_eq!(model.see_binding("p", Some(&first)), [named()]);
    let fewer = binding(&[("web", singleton())], &["a"]);
    let keys = model.see_binding("p", Some(&fewer));
    assert_eq!(keys, [Key::Status(key("db")), answer("db"), named()]);
    let moved = binding(&[("web", singleton())], &["a", "b"]);
    assert_eq!(
        model.see_binding("p", Some(&moved)),
        [Key::Status(key("web")), named()]
    );
    assert_eq!(model.see_binding("p", None), [Key::Status(key("web"))]);
    assert!(model.resources().is_empty());
}

#[test]
fn a_report_concerns_its_object_and_the_newest_of_a_wec_counts() {
    let mut model = Model::default();
    let wanted = binding(&[("web", asked()), ("db", asked())], &["a"]);
    model.see_binding("p", Some(&wanted));
    model.see_object(&key("web"), "v1", object("web", "1", json!({})));
    let keys = model.see_report(report("a", "w1", "5", "2026-01-02T00:00:00Z"));
    assert_eq!(keys, [Key::Status(key("web")), answer("web")]);
    let again = report("a", "w1", "5", "2026-01-02T00:00:00Z");
    assert!(model.see_report(again).is_empty(), "a list brings it again");
    model.see_report(report("a", "w2", "6", "2026-01-01T00:00:00Z"));
    let newest = model.report(&key("web"), "a").expect("a report");
    assert_eq!(newest.name, "w1");
    assert_eq!(newest.reported.as_deref(), Some("2026-01-02T00:00:00Z"));
    assert_eq!(
        model
            .see_all_reports(&HashSet::from([("a".into(), "w2".to_owned())]))
            .len(),
        2
    );
    assert_eq!(
        model.report(&key("web"), "a").expect("the other").name,
        "w2"
    );
    model.miss_report(&("a".into(), "w2".to_owned()));
    assert_eq!(model.report(&key("web"), "a"), None);
}

#[test]
fn nobody_asks_again_about_an_object_whose_status_alone_was_written() {
    let mut model = Model::default();
    model.see_object(&key("web"), "v1", object("web", "1", json!({"app": "web"})));
    let before = model.object(&key("web")).expect("it").content.clone();
    let marked = json!({"app": "web", "managed-by.kubestellar.io/singletonstatus": "true"});
    model.see_object(&key("web"), "v1", object("web", "2", marked));
    let after = model.object(&key("web")).expect("it");
    assert!(Arc::ptr_eq(&before, &after.content) && after.is_marked());
    assert_eq!(
        model.resources().len(),
        1,
        "it is watched until the mark is gone"
    );
    model.see_object(&key("web"), "v1", object("web", "3", json!({"app": "db"})));
    assert_ne!(before, model.object(&key("web")).expect("it").content);
    assert!(model.resources().is_empty());
}

#[test]
fn an_answer_is_unwanted_only_once_all_objects_were_seen() {
    let mut model = Model::default();
    let name = AnswerName::parse("shop", "uid-web.policy").expect("a name");
    assert!(
        matches!(model.subject(&name), Lookup::Unwanted),
        "there is no such policy"
    );
    model.see_binding("p", Some(&binding(&[("web", asked())], &["a"])));
    assert!(matches!(model.subject(&name), Lookup::Unknown));
    let deployments = key("web").resource;
    model.see_object(&key("web"), "v1", object("web", "1", json!({})));
    model.see_all_objects(&deployments, &HashSet::from([key("web")]));
    let Lookup::Wanted(subject) = model.subject(&name) else {
        panic!("the Binding wants it")
    };
    assert_eq!(
        subject.reports.len(),
        1,
        "a WEC that reports nothing is there"
    );
    let elsewhere = AnswerName::parse("store", "uid-web.policy").expect("a name");
    assert!(matches!(model.subject(&elsewhere), Lookup::Unwanted));
    model.see_all_objects(&deployments, &HashSet::new());
    assert!(matches!(model.subject(&name), Lookup::Unwanted));
}
