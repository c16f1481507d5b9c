//! Mutating policies: what they change, and what they refuse.

use serde_json::json;

use super::CONFIG_MAPS;
use super::about_config_maps;
use super::binding;
use super::config_map;
use super::policy;
use super::rule;
use crate::support::TestSpace;

async fn mutate(space: &TestSpace, name: &str, reinvocation: &str, mutations: serde_json::Value) {
    let spec = json!({
        "matchConstraints": about_config_maps(),
        "reinvocationPolicy": reinvocation,
        "mutations": mutations,
    });
    policy(space, "Mutating", name, spec).await;
    binding(space, "Mutating", name, json!({})).await;
}

#[tokio::test]
async fn configurations_and_patches_change_the_object_before_it_is_judged() {
    let space = TestSpace::start().await;
    let label = json!([{
        "patchType": "ApplyConfiguration",
        "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'team': object.?metadata.?labels[?'team'].orValue('none')}}}"},
    }]);
    mutate(&space, "label", "Never", label).await;
    let patch = json!([{
        "patchType": "JSONPatch",
        "jsonPatch": {"expression": "has(object.data) ? [JSONPatch{op: 'add', path: '/metadata/annotations', value: {'a/b': 'c'}}, JSONPatch{op: 'add', path: '/data/seen', value: request.operation}] : []"},
    }]);
    mutate(&space, "patch", "Never", patch).await;
    let judge = json!({
        "matchConstraints": about_config_maps(),
        "validations": [{"expression": "object.metadata.labels.team != ''"}],
    });
    super::deny(&space, "judge", judge).await;
    let object = config_map("a", json!({"x": "y"}));
    let created = space.must("POST", CONFIG_MAPS, Some(&object)).await;
    assert_eq!(created["metadata"]["labels"], json!({"team": "none"}));
    assert_eq!(created["data"], json!({"x": "y", "seen": "CREATE"}));
    let fields = &created["metadata"]["managedFields"][0]["fieldsV1"];
    assert_eq!(
        *fields,
        json!({"f:data": {".": {}, "f:x": {}}}),
        "nobody owns what a policy sets"
    );
    let path = format!("{CONFIG_MAPS}/a");
    let patch = json!({"metadata": {"labels": {"team": "red"}}, "data": {"seen": null}});
    let updated = space.must("PATCH", &path, Some(&patch)).await;
    assert_eq!(updated["metadata"]["labels"], json!({"team": "red"}));
    assert_eq!(updated["data"], json!({"x": "y", "seen": "UPDATE"}));
    let stored = space.must("GET", &path, None).await;
    assert_eq!(stored["data"], updated["data"]);
}

#[tokio::test]
async fn a_policy_runs_again_after_a_later_change_if_it_asks_to() {
    let space = TestSpace::start().await;
    let count = |key: &str| {
        json!([{
            "patchType": "JSONPatch",
            "jsonPatch": {"expression": format!("[JSONPatch{{op: 'add', path: '/data/{key}', value: string(object.data.size())}}]")},
        }])
    };
    mutate(&space, "a-again", "IfNeeded", count("again")).await;
    mutate(&space, "b-once", "Never", count("once")).await;
    let object = config_map("a", json!({"x": "y"}));
    let created = space.must("POST", CONFIG_MAPS, Some(&object)).await;
    assert_eq!(
        created["data"],
        json!({"x": "y", "again": "3", "once": "2"})
    );
}

#[tokio::test]
async fn a_change_that_cannot_be_made_refuses_unless_it_may_be_ignored() {
    let space = TestSpace::start().await;
    let spec = |failure: &str, mutation: serde_json::Value| {
        json!({
            "failurePolicy": failure, "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [rule(&["CREATE"], &["configmaps"])]},
            "matchConditions": [{"name": "named", "expression": format!("object.metadata.name.startsWith('{}')", failure.to_lowercase())}],
            "mutations": [mutation],
        })
    };
    let patch = |expression: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});
    let broken = patch("[JSONPatch{op: 'remove', path: '/data/none'}]");
    for failure in ["Fail", "Ignore"] {
        let name = failure.to_lowercase();
        policy(&space, "Mutating", &name, spec(failure, broken.clone())).await;
        binding(&space, "Mutating", &name, json!({})).await;
    }
    let object = config_map("fail", json!({"x": "y"}));
    let answer = space.admin("POST", CONFIG_MAPS, Some(&object)).await;
    assert_eq!(
        (answer.code, &answer.body["reason"]),
        (403, &json!("Invalid"))
    );
    let start = "policy 'fail' with binding 'fail' denied request: JSONPatch: ";
    assert!(answer.message().starts_with(start), "{answer:?}");
    let object = config_map("ignore", json!({"x": "y"}));
    space.must("POST", CONFIG_MAPS, Some(&object)).await;
}

#[tokio::test]
async fn no_policy_gives_an_object_another_name_or_a_form_its_kind_has_not() {
    let space = TestSpace::start().await;
    let rename = json!([{
        "patchType": "JSONPatch",
        "jsonPatch": {"expression": "[JSONPatch{op: 'replace', path: '/metadata/name', value: 'other'}, JSONPatch{op: 'add', path: '/spec', value: {'a': 'b'}}]"},
    }]);
    mutate(&space, "rename", "Never", rename).await;
    let created = space
        .must("POST", CONFIG_MAPS, Some(&config_map("a", json!({}))))
        .await;
    assert_eq!(created["metadata"]["name"], "a");
    assert_eq!(created.get("spec"), None);
    let mistyped = json!([{
        "patchType": "JSONPatch",
        "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/data', value: 'text'}]"},
    }]);
    mutate(&space, "mistyped", "Never", mistyped).await;
    let answer = space
        .admin("POST", CONFIG_MAPS, Some(&config_map("b", json!({}))))
        .await;
    assert_eq!(answer.code, 403, "{answer:?}");
}
