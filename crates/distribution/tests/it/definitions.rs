//! The definitions as an API server takes them, and what they refuse.

use crate::fixture::Spaces;
use hyades_runtime::Trouble;
use serde_json::Value;
use serde_json::json;

/// Creates an object of the WDS with strict validation, as kubectl does; returns the refusal.
async fn refusal(spaces: &Spaces, kind: &str, name: &str, spec: Value) -> Option<String> {
    let object = json!({
        "apiVersion": "control.kubestellar.io/v1alpha1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    });
    let plural = match kind {
        "BindingPolicy" => "bindingpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let request = http::Request::post(format!(
        "/apis/control.kubestellar.io/v1alpha1/{plural}?fieldValidation=Strict"
    ))
    .header("content-type", "application/json")
    .body(object.to_string().into_bytes())
    .expect("a request");
    let created = spaces.wds().request::<Value>(request).await;
    created.err().map(|error| Trouble::of(&error).to_string())
}

#[tokio::test]
async fn policies_are_accepted_and_refused_as_upstreams_cases_say() {
    let spaces = Spaces::start().await;
    let refused = [
        ("an unknown field", json!({"abc": "def"})),
        (
            "an unknown field of a clause",
            json!({"downsync": [{"resources": ["*"], "abc": 1}]}),
        ),
        (
            "a clause that selects nothing",
            json!({"downsync": [{"createOnly": true}]}),
        ),
        (
            "the former name of status collectors",
            json!({"downsync": [{"resources": ["*"], "statusCollection": {"statusCollectors": ["x"]}}]}),
        ),
        (
            "a wrong value",
            json!({"clusterSelectors": [{"matchLabels": {"a": "-b"}}]}),
        ),
        (
            "a wrong key",
            json!({"clusterSelectors": [{"matchExpressions": [{"key": "-a", "operator": "Exists"}]}]}),
        ),
        (
            "a wrong operator",
            json!({"downsync": [{"objectSelectors": [{"matchExpressions": [{"key": "a", "operator": "Like"}]}]}]}),
        ),
        (
            "values that are missing",
            json!({"clusterSelectors": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}),
        ),
        (
            "values that are too many",
            json!({"clusterSelectors": [{"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}]}),
        ),
    ];
    for (what, spec) in refused {
        let refusal = refusal(&spaces, "BindingPolicy", "refused", spec).await;
        assert!(refusal.is_some(), "{what} is accepted");
    }
    let accepted = [
        json!({}),
        json!({"downsync": [{"resources": ["*"]}]}),
        json!({"downsync": [{"apiGroup": ""}]}),
        json!({"clusterSelectors": [{}, {"matchExpressions": [
            {"key": "example.com/a", "operator": "NotIn", "values": ["", "b"]},
            {"key": "c", "operator": "DoesNotExist", "values": []},
        ]}]}),
    ];
    for (index, spec) in accepted.into_iter().enumerate() {
        let name = format!("accepted-{index}");
        let refusal = refusal(&spaces, "BindingPolicy", &name, spec).await;
        assert_eq!(refusal, None, "{name}");
    }
}

#[tokio::test]
async fn a_binding_holds_an_object_and_a_wec_once() {
    let spaces = Spaces::start().await;
    let object = |version: &str| {
        json!({
            "group": "apps", "version": version, "resource": "deployments", "namespace": "shop",
            "name": "web", "resourceVersion": "1",
        })
    };
    let twice = json!({"workload": {"namespaceScope": [object("v1"), object("v1beta1")]}});
    assert!(refusal(&spaces, "Binding", "b", twice).await.is_some());
    let twice = json!({"destinations": [{"clusterId": "c"}, {"clusterId": "c"}]});
    assert!(refusal(&spaces, "Binding", "b", twice).await.is_some());
    let once = json!({"workload": {"namespaceScope": [object("v1")]}});
    assert_eq!(refusal(&spaces, "Binding", "b", once).await, None);
    let collector = json!({"combinedFields": [{"name": "count", "type": "COUNT"}]});
    let unlimited = refusal(&spaces, "StatusCollector", "s", collector).await;
    assert!(unlimited.is_some_and(|refusal| refusal.contains("limit")));
}
