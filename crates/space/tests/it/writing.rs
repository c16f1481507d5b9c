//! Writes that go wrong cleanly, and writes that race.

use bytes::Bytes;
use hyades_space::identity::UserInfo;
use serde_json::Value;
use serde_json::json;

use crate::bare::Ask;
use crate::bare::TestSpace;
use crate::bare::ask_service;
use crate::support;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn raw(body: impl Into<Bytes>) -> Ask {
    Ask {
        method: "POST".to_owned(),
        path: MAPS.to_owned(),
        content_type: Some("application/json".to_owned()),
        body: body.into(),
        ..Ask::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_deep_and_oversized_bodies_are_refused_with_a_status() {
    let space = TestSpace::open().await;
    let deep = format!("{{\"data\":{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let large = format!(
        "{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"a\":\"{}\"}}}}",
        "x".repeat(3 * 1024 * 1024)
    );
    for (body, code) in [
        ("{".to_owned(), 400),
        ("[]".to_owned(), 400),
        ("\u{0}\u{1}".to_owned(), 400),
        (deep, 400),
        (large, 413),
    ] {
        let reply = space.ask(raw(body)).await;
        assert_eq!(reply.code, code, "{}", reply.json());
        assert_eq!(reply.json()["kind"], "Status");
    }
    let protobuf = Ask {
        content_type: Some("application/vnd.kubernetes.protobuf".to_owned()),
        ..raw(&b"k8s\0\xff\xff\xff"[..])
    };
    assert_eq!(space.ask(protobuf).await.code, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_patches_all_take_effect() {
    let space = std::sync::Arc::new(TestSpace::open().await);
    space.post(MAPS, &json!({"metadata": {"name": "a"}})).await;
    let writers: Vec<_> = (0..20)
        .map(|number| {
            let space = std::sync::Arc::clone(&space);
            tokio::spawn(async move {
                let mut patch = json!({"data": {}});
                patch["data"][format!("k{number}")] = "v".into();
                space.merge_patch(&format!("{MAPS}/a"), &patch).await.code
            })
        })
        .collect();
    for writer in writers {
        assert_eq!(writer.await.unwrap(), 200);
    }
    let object = space.get(&format!("{MAPS}/a")).await.json();
    assert_eq!(object["data"].as_object().unwrap().len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_creators_wins_and_a_stale_update_loses() {
    let space = TestSpace::open().await;
    let body = json!({"metadata": {"name": "a"}});
    assert_eq!(space.post(MAPS, &body).await.code, 201);
    assert_eq!(space.post(MAPS, &body).await.code, 409);
    let read = space.get(&format!("{MAPS}/a")).await.json();
    let mut changed = read.clone();
    changed["data"] = json!({"a": "b"});
    assert_eq!(space.put(&format!("{MAPS}/a"), &changed).await.code, 200);
    assert_eq!(space.put(&format!("{MAPS}/a"), &read).await.code, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_serves_before_its_writer_is_answered() {
    let space = TestSpace::open().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.demo.io"},
        "spec": {
            "group": "demo.io", "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                }}},
            }],
        },
    });
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let reply = space.post(path, &definition).await;
    assert_eq!(reply.code, 201, "{}", reply.json());
    let widgets = "/apis/demo.io/v1/namespaces/default/widgets";
    let widget = json!({"metadata": {"name": "a"}, "spec": {"size": 1, "junk": 2}});
    let reply = space.post(widgets, &widget).await;
    assert_eq!(reply.code, 201, "{}", reply.json());
    assert_eq!(reply.json()["spec"], json!({"size": 1}));
    assert_eq!(
        reply.warnings,
        ["299 - \"unknown field \\\"spec.junk\\\"\""]
    );
    assert_eq!(space.get("/openapi/v3/apis/demo.io/v1").await.code, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn protobuf_goes_in_and_comes_out() {
    let space = TestSpace::open().await;
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "l"}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 60},
    });
    let protobuf = "application/vnd.kubernetes.protobuf";
    let reply = space
        .ask(Ask {
            method: "POST".to_owned(),
            path: "/apis/coordination.k8s.io/v1/namespaces/default/leases".to_owned(),
            accept: Some(format!("{protobuf},application/json")),
            content_type: Some(protobuf.to_owned()),
            body: hyades_schema::proto::encode(&lease).unwrap().into(),
            ..Ask::default()
        })
        .await;
    assert_eq!(reply.code, 201);
    assert_eq!(reply.content_type, protobuf);
    let builtin = hyades_schema::kinds::builtin();
    let decoded = hyades_schema::proto::decode(builtin, &reply.bytes).unwrap();
    assert_eq!(decoded["spec"], lease["spec"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_a_service_twice_changes_nothing() {
    let space = TestSpace::open().await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    let apply = || Ask {
        method: "PATCH".to_owned(),
        path: "/api/v1/namespaces/default/services/web?fieldManager=m".to_owned(),
        content_type: Some("application/apply-patch+yaml".to_owned()),
        body: serde_json::to_vec(&service).unwrap().into(),
        ..Ask::default()
    };
    let first = space.ask(apply()).await;
    assert_eq!(first.code, 201, "{}", first.json());
    let second = space.ask(apply()).await;
    assert_eq!(second.code, 200, "{}", second.json());
    assert_eq!(first.json(), second.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn applying_an_absent_object_needs_the_right_to_create() {
    let space = support::TestSpace::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}],
    });
    space.must("POST", roles, Some(&role)).await;
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
    });
    space.must("POST", bindings, Some(&binding)).await;
    let bob = UserInfo {
        name: "bob".to_owned(),
        groups: vec!["system:authenticated".to_owned()],
        ..UserInfo::default()
    };
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let apply = || Ask {
        method: "PATCH".to_owned(),
        path: format!("{MAPS}/a?fieldManager=m"),
        content_type: Some("application/apply-patch+yaml".to_owned()),
        body: serde_json::to_vec(&object).unwrap().into(),
        ..Ask::default()
    };
    let refused = ask_service(space.space.service_as(bob.clone()), apply()).await;
    assert_eq!(refused.code, 403, "{}", refused.json());
    space.must("POST", MAPS, Some(&object)).await;
    let applied = ask_service(space.space.service_as(bob), apply()).await;
    assert_eq!(applied.code, 200, "{}", applied.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_no_kind() {
    let space = support::TestSpace::start().await;
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    space.must("POST", MAPS, Some(&object)).await;
    let path = format!("{MAPS}/a");
    for change in [json!({"kind": "Secret"}), json!({"apiVersion": "v2"})] {
        let refused = space.admin("PATCH", &path, Some(&change)).await;
        assert_eq!(refused.code, 400, "{}", refused.body);
    }
    let stored = space.must("GET", &path, None).await;
    assert_eq!(stored["kind"], "ConfigMap");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_on_trial_leaves_the_pod() {
    let space = support::TestSpace::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    space.must("POST", pods, Some(&pod)).await;
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": "p", "namespace": "default"},
    });
    let trial = format!("{pods}/p/eviction?dryRun=All");
    space.must("POST", &trial, Some(&eviction)).await;
    space.must("GET", &format!("{pods}/p"), None).await;
    let real = format!("{pods}/p/eviction");
    space.must("POST", &real, Some(&eviction)).await;
    space.gone("the evicted pod", &format!("{pods}/p")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_definition_takes_a_built_in_resource() {
    let space = support::TestSpace::start().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterrolebindings.rbac.authorization.k8s.io"},
        "spec": {
            "group": "rbac.authorization.k8s.io", "scope": "Namespaced",
            "names": {"plural": "clusterrolebindings", "kind": "Mine"},
            "versions": [{"name": "v2", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    let refused = space.admin("POST", definitions, Some(&definition)).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    let why = refused.body["message"].as_str().unwrap_or_default();
    assert!(why.contains("built-in"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_cannot_grow_an_object_without_bound() {
    let space = support::TestSpace::start().await;
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
        "data": {"a": "x".repeat(1000)},
    });
    space.must("POST", MAPS, Some(&object)).await;
    let copies: Vec<Value> = (0..60)
        .map(|number| json!({"op": "copy", "from": "/data", "path": format!("/data/c{number}")}))
        .collect();
    let ask = Ask {
        method: "PATCH".to_owned(),
        path: format!("{MAPS}/a"),
        content_type: Some("application/json-patch+json".to_owned()),
        body: Value::Array(copies).to_string().into(),
        ..Ask::default()
    };
    let service = space.space.service_as(UserInfo::apiserver());
    let refused = ask_service(service, ask).await;
    assert_eq!(refused.code, 400, "{}", refused.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_of_custom_resources_is_typed_like_any_other() {
    let space = support::TestSpace::start().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.demo.io"},
        "spec": {
            "group": "demo.io", "scope": "Cluster",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    space.must("POST", definitions, Some(&definition)).await;
    let widgets = "/apis/demo.io/v1/widgets";
    let widget = |metadata: Value| {
        let mut object = json!({"apiVersion": "demo.io/v1", "kind": "Widget"});
        object["metadata"] = metadata;
        object["metadata"]["name"] = "w".into();
        object
    };
    space
        .must("POST", widgets, Some(&widget(json!({"finalizers": []}))))
        .await;
    for field in [
        json!({"labels": {"a": 1}}),
        json!({"labels": "x"}),
        json!({"annotations": {"a": true}}),
        json!({"finalizers": ["a/b", 3]}),
        json!({"ownerReferences": "x"}),
        json!({"generation": "x"}),
    ] {
        let whole = space
            .admin("POST", widgets, Some(&widget(field.clone())))
            .await;
        assert_eq!(whole.code, 400, "{field}: {}", whole.body);
        let path = format!("{widgets}/w");
        let change = json!({"metadata": field});
        let patched = space.admin("PATCH", &path, Some(&change)).await;
        assert!(patched.code >= 400, "{field}: {}", patched.body);
        let apply = Ask {
            method: "PATCH".to_owned(),
            path: format!("{path}?fieldManager=m"),
            content_type: Some("application/apply-patch+yaml".to_owned()),
            body: widget(field.clone()).to_string().into(),
            ..Ask::default()
        };
        let service = space.space.service_as(UserInfo::apiserver());
        let applied = ask_service(service, apply).await;
        assert!(applied.code >= 400, "{field}: {}", applied.json());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_typed_clients_cannot_read_is_not_stored() {
    let space = support::TestSpace::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    for time in [
        "9999-12-31T23:59:59.000000Z",
        "2026-11-24T05:46:31.1234567890Z",
    ] {
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"renewTime": time},
        });
        let refused = space.admin("POST", leases, Some(&lease)).await;
        assert_eq!(refused.code, 400, "{time}: {}", refused.body);
    }
    let secret = |name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name},
            "data": {"a": "YWJj\nZGVm\r\n"},
        })
    };
    let secrets = "/api/v1/namespaces/default/secrets";
    let created = space.must("POST", secrets, Some(&secret("created"))).await;
    assert_eq!(created["data"]["a"], "YWJjZGVm");
    let apply = |body: &Value, name: &str| Ask {
        method: "PATCH".to_owned(),
        path: format!("{secrets}/{name}?fieldManager=m"),
        content_type: Some("application/apply-patch+yaml".to_owned()),
        body: body.to_string().into(),
        ..Ask::default()
    };
    let service = || space.space.service_as(UserInfo::apiserver());
    let applied = ask_service(service(), apply(&secret("applied"), "applied")).await;
    assert_eq!(
        applied.json()["data"]["a"],
        "YWJjZGVm",
        "{}",
        applied.json()
    );
    let mut broken = secret("broken");
    broken["data"]["a"] = "!".into();
    let refused = ask_service(service(), apply(&broken, "broken")).await;
    assert!(refused.code >= 400, "{}", refused.json());
}
