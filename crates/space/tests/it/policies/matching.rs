//! Which writes a policy is about.

use serde_json::Value;
use serde_json::json;

use super::CONFIG_MAPS;
use super::REGISTRATION;
use super::binding;
use super::config_map;
use super::created;
use super::deny;
use super::policy;
use super::rule;
use crate::support::TestSpace;

/// A policy that refuses whatever it is about.
fn never(constraints: Value) -> Value {
    json!({"matchConstraints": constraints, "validations": [{"expression": "false"}]})
}

#[tokio::test]
async fn selectors_look_at_the_namespace_and_at_both_states_of_the_object() {
    let space = TestSpace::start().await;
    let constraints = json!({
        "resourceRules": [rule(&["CREATE", "UPDATE"], &["configmaps", "namespaces", "nodes"])],
        "namespaceSelector": {"matchLabels": {"guarded": "yes"}},
        "objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
    });
    deny(&space, "p", never(constraints)).await;
    assert_eq!(created(&space, "a", json!({})).await, 201);
    let namespace = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let namespaces = "/api/v1/namespaces";
    let guarded = namespace("n", json!({"guarded": "yes"}));
    assert_eq!(
        space.admin("POST", namespaces, Some(&guarded)).await.code,
        422,
        "a namespace is selected by its own labels"
    );
    let guarded = namespace("n", json!({"guarded": "yes", "free": ""}));
    space.must("POST", namespaces, Some(&guarded)).await;
    let inside = "/api/v1/namespaces/n/configmaps";
    let mut object = config_map("a", json!({}));
    assert_eq!(space.admin("POST", inside, Some(&object)).await.code, 422);
    object["metadata"]["labels"] = json!({"free": ""});
    space.must("POST", inside, Some(&object)).await;
    let path = format!("{inside}/a");
    space
        .must("PATCH", &path, Some(&json!({"data": {"x": "y"}})))
        .await;
    let unlabelled = json!({"metadata": {"labels": {"free": null}}});
    assert_eq!(
        space.admin("PATCH", &path, Some(&unlabelled)).await.code,
        422,
        "the new state is selected"
    );
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    assert_eq!(
        space.admin("POST", "/api/v1/nodes", Some(&node)).await.code,
        422,
        "what is in no namespace is selected by none"
    );
}

#[tokio::test]
async fn rules_name_operations_scopes_names_and_exceptions() {
    let space = TestSpace::start().await;
    let mut named = rule(&["UPDATE"], &["configmaps"]);
    named["resourceNames"] = json!(["a"]);
    let mut cluster = rule(&["CREATE"], &["*"]);
    cluster["scope"] = json!("Cluster");
    let mut excepted = rule(&["*"], &["namespaces"]);
    excepted["resourceNames"] = json!(["allowed"]);
    let constraints =
        json!({"resourceRules": [named, cluster], "excludeResourceRules": [excepted]});
    deny(&space, "p", never(constraints)).await;
    for name in ["a", "b"] {
        assert_eq!(
            created(&space, name, json!({})).await,
            201,
            "the scope is the cluster's"
        );
    }
    let patch = json!({"data": {"x": "y"}});
    for (name, code) in [("a", 422), ("b", 200)] {
        let path = format!("{CONFIG_MAPS}/{name}");
        assert_eq!(
            space.admin("PATCH", &path, Some(&patch)).await.code,
            code,
            "{name}"
        );
    }
    for (name, code) in [("allowed", 201), ("refused", 422)] {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        assert_eq!(
            space
                .admin("POST", "/api/v1/namespaces", Some(&object))
                .await
                .code,
            code
        );
    }
}

#[tokio::test]
async fn bindings_narrow_what_the_policy_is_about() {
    let space = TestSpace::start().await;
    let constraints = json!({"resourceRules": [rule(&["CREATE"], &["configmaps"])]});
    policy(&space, "Validating", "p", never(constraints)).await;
    let narrow = json!({
        "validationActions": ["Deny"],
        "matchResources": {"objectSelector": {"matchLabels": {"judged": "yes"}}},
    });
    binding(&space, "Validating", "p", narrow).await;
    assert_eq!(created(&space, "a", json!({})).await, 201);
    let mut object = config_map("b", json!({}));
    object["metadata"]["labels"] = json!({"judged": "yes"});
    assert_eq!(
        space.admin("POST", CONFIG_MAPS, Some(&object)).await.code,
        422
    );
}

/// A kind served in two versions, whose status is written apart.
fn gadgets() -> Value {
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gadgets.demo.io"},
        "spec": {
            "group": "demo.io", "scope": "Cluster",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
            "versions": [version("v1", true), version("v2", false)],
        },
    })
}

#[tokio::test]
async fn a_rule_about_one_version_is_about_its_equivalents_unless_exact() {
    let space = TestSpace::start().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    space.must("POST", definitions, Some(&gadgets())).await;
    let constraints = json!({"resourceRules": [{
        "operations": ["CREATE"], "apiGroups": ["demo.io"], "apiVersions": ["v1"], "resources": ["gadgets"],
    }]});
    let spec = json!({
        "matchConstraints": constraints,
        "validations": [{
            "expression": "false",
            "messageExpression": "object.apiVersion + ' ' + request.kind.version + ' ' + request.requestKind.version",
        }],
    });
    deny(&space, "p", spec).await;
    let gadget = |version: &str| json!({"apiVersion": format!("demo.io/{version}"), "kind": "Gadget", "metadata": {"name": "g"}});
    for version in ["v1", "v2"] {
        let path = format!("/apis/demo.io/{version}/gadgets");
        let answer = space.admin("POST", &path, Some(&gadget(version))).await;
        let expected = format!("denied request: demo.io/v1 v1 {version}");
        assert!(answer.message().ends_with(&expected), "{answer:?}");
    }
    let path = format!("{REGISTRATION}/validatingadmissionpolicies/p");
    let exact = json!({"spec": {"matchConstraints": {"matchPolicy": "Exact"}}});
    space.must("PATCH", &path, Some(&exact)).await;
    space
        .must("POST", "/apis/demo.io/v2/gadgets", Some(&gadget("v2")))
        .await;
}

#[tokio::test]
async fn a_subresource_is_matched_by_its_own_name_only() {
    let space = TestSpace::start().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    space.must("POST", definitions, Some(&gadgets())).await;
    let gadget = json!({"apiVersion": "demo.io/v1", "kind": "Gadget", "metadata": {"name": "g"}});
    let path = "/apis/demo.io/v1/gadgets";
    space.must("POST", path, Some(&gadget)).await;
    let constraints = json!({"resourceRules": [{
        "operations": ["UPDATE"], "apiGroups": ["demo.io"], "apiVersions": ["*"], "resources": ["gadgets/status"],
    }]});
    deny(&space, "p", never(constraints)).await;
    let main = json!({"spec": {"a": 1}});
    space.must("PATCH", &format!("{path}/g"), Some(&main)).await;
    let status = json!({"status": {"a": 1}});
    let answer = space
        .admin("PATCH", &format!("{path}/g/status"), Some(&status))
        .await;
    assert_eq!(answer.code, 422);
}

#[tokio::test]
async fn an_object_that_only_a_webhook_could_convert_is_not_judged_by_fields_it_lacks() {
    let space = TestSpace::start().await;
    let mut definition = gadgets();
    definition["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {
            "conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/"},
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    space.must("POST", definitions, Some(&definition)).await;
    let constraints = json!({"resourceRules": [{
        "operations": ["CREATE"], "apiGroups": ["demo.io"], "apiVersions": ["v2"], "resources": ["gadgets"],
    }]});
    let about_v2 =
        json!({"matchConstraints": constraints, "validations": [{"expression": "true"}]});
    deny(&space, "p", about_v2).await;
    let gadget = json!({"apiVersion": "demo.io/v1", "kind": "Gadget", "metadata": {"name": "g"}});
    let gadgets = "/apis/demo.io/v1/gadgets";
    let answer = space.admin("POST", gadgets, Some(&gadget)).await;
    assert_eq!(answer.code, 422);
    let message = answer.message();
    assert!(message.contains("converted by a webhook"), "{message}");
    let path = format!("{REGISTRATION}/validatingadmissionpolicies/p");
    let lenient = json!({"spec": {"failurePolicy": "Ignore"}});
    space.must("PATCH", &path, Some(&lenient)).await;
    space.must("POST", gadgets, Some(&gadget)).await;
}
