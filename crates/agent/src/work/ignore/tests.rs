use super::*;
use expect_test::expect;

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "n", "annotations": {"a/b": "1"}},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"name": "web", "image": "web:1", "env": [{"name": "A"}, {"name": "B"}]},
            {"name": "proxy", "image": "proxy:1"},
            {"name": "probe", "image": "probe:1"},
        ]}}},
    })
}

fn without(fields: Value) -> Result<Value, String> {
    let fields: IgnoreField = serde_json::from_value(fields).expect("fields");
    let mut found = paths(&deployment(), &fields)?;
    found.sort();
    let mut object = deployment();
    path::remove_all(&mut object, &found);
    Ok(object)
}

fn images(object: &Value) -> String {
    let containers = object["spec"]["template"]["spec"]["containers"].as_array();
    let image = |container: &Value| container["image"].as_str().unwrap_or("-").to_owned();
    let images: Vec<_> = containers.into_iter().flatten().map(image).collect();
    images.join(" ")
}

#[test]
fn pointers_and_paths_name_fields() {
    let found = |fields| without(fields).expect("places");
    let object = found(
        json!({"jsonPointers": ["/spec/replicas", "/metadata/annotations/a~1b", "/spec/none/at/all"]}),
    );
    assert!(object["spec"].get("replicas").is_none());
    assert_eq!(object["metadata"]["annotations"], json!({}));
    let object =
        found(json!({"jsonPaths": [".spec.template.spec.containers[*].image", ".nothing"]}));
    assert_eq!(images(&object), "- - -");
    let by_name = ".spec.template.spec.containers[?(@.name==\"proxy\")]";
    assert_eq!(
        images(&found(json!({"jsonPaths": [by_name]}))),
        "web:1 probe:1"
    );
    assert_eq!(
        without(json!({"jsonPointers": ["spec"]})).unwrap_err(),
        "the JSON pointer \"spec\" does not begin with /"
    );
    assert!(without(json!({"jsonPaths": [".spec["]})).is_err());
    assert!(without(json!({"jqPathExpressions": ["."]})).is_err());
}

#[test]
fn jq_names_places() {
    let containers = ".spec.template.spec.containers";
    let table: Vec<String> = [
        "[].image",
        "[1]",
        "[-1]",
        "[1:]",
        "[:-1]",
        "[7]",
        "[] | select(.name == \"proxy\")",
        "[] | select(.name != \"proxy\") | .image",
        "[] | select(.name | startswith(\"pro\"))",
        "[] | select(.name | startswith(\"pro\") | not)",
        "[] | select(has(\"env\") or .name == \"probe\")",
        "[] | select(.env[]? | .name == \"B\")",
        "[] | select(.image > \"proxy\" and (.name | endswith(\"b\")))",
        "[0], .spec.template.spec.containers[2]",
        "[\"name\"]?",
        "[] | .[\"image\"]",
    ]
    .iter()
    .map(|rest| {
        let text = format!("{containers}{rest}");
        let left = without(json!({"jqPathExpressions": [text]})).map(|object| images(&object));
        format!("{rest}  =>  {}", left.unwrap_or_else(|error| error))
    })
    .collect();
    expect![[r#"
        [].image  =>  - - -
        [1]  =>  web:1 probe:1
        [-1]  =>  web:1 proxy:1
        [1:]  =>  web:1
        [:-1]  =>  probe:1
        [7]  =>  web:1 proxy:1 probe:1
        [] | select(.name == "proxy")  =>  web:1 probe:1
        [] | select(.name != "proxy") | .image  =>  - proxy:1 -
        [] | select(.name | startswith("pro"))  =>  web:1
        [] | select(.name | startswith("pro") | not)  =>  proxy:1 probe:1
        [] | select(has("env") or .name == "probe")  =>  proxy:1
        [] | select(.env[]? | .name == "B")  =>  proxy:1 probe:1
        [] | select(.image > "proxy" and (.name | endswith("b")))  =>  proxy:1 probe:1
        [0], .spec.template.spec.containers[2]  =>  proxy:1
        ["name"]?  =>  web:1 proxy:1 probe:1
        [] | .["image"]  =>  - - -"#]]
    .assert_eq(&table.join("\n"));
    let object = without(json!({"jqPathExpressions": [".. | .image?"]})).expect("places");
    assert_eq!(images(&object), "- - -");
}

#[test]
fn what_jq_cannot_say_here_is_refused_with_its_place() {
    let told = |text: &str| without(json!({"jqPathExpressions": [text]})).unwrap_err();
    assert!(
        told("walk(.)")
            .starts_with("jq \"walk(.)\": cannot read \"walk(.)\" at byte 0; only paths")
    );
    assert!(told(".spec[").contains("it ends too early"));
    assert_eq!(
        told(".spec.replicas.more"),
        "jq \".spec.replicas.more\": number has no field \"more\""
    );
    assert_eq!(
        told("\"x\""),
        "jq \"\\\"x\\\"\": \"x\" is no place in the object"
    );
    assert!(told(&"(".repeat(100)).contains("nests deeper than 32"));
    assert!(told(&format!(".{}", "a".repeat(3000))).contains("2048 is the limit"));
    let explosion = format!(".. {}", "| .. ".repeat(9));
    assert!(told(&explosion).contains("more than 10000 places"));
    let pairs = "(., .) | select((.., ..) == (..)) | select((.., ..) == (..))";
    assert!(
        told(pairs).contains("more than 200000 steps"),
        "{}",
        told(pairs)
    );
}

fn plan(manifest: &Value, condition: &str) -> Plan {
    let fields = json!([{"condition": condition, "jsonPointers": ["/spec/replicas"]}]);
    let fields: Vec<IgnoreField> = serde_json::from_value(fields).expect("fields");
    Plan::of(manifest, &fields).expect("a plan")
}

#[test]
fn the_fingerprint_tells_whether_to_apply_again() {
    let present = plan(&deployment(), "OnSpokePresent");
    let mut live = present.full().clone();
    live["spec"]["replicas"] = json!(7);
    assert!(present.stands(&live));
    let mut edited = deployment();
    edited["spec"]["replicas"] = json!(3);
    assert!(
        plan(&edited, "OnSpokePresent").stands(&live),
        "an ignored field"
    );
    assert!(!plan(&edited, "OnSpokeChange").stands(plan(&deployment(), "OnSpokeChange").full()));
    edited["spec"]["paused"] = json!(true);
    assert!(!plan(&edited, "OnSpokePresent").stands(&live));
    assert!(!present.stands(&deployment()));
}

fn live(managers: Value) -> DynamicObject {
    let mut object = deployment();
    object["spec"]["replicas"] = json!(7);
    object["metadata"]["managedFields"] = managers;
    serde_json::from_value(object).expect("an object")
}

#[test]
fn an_ignored_field_is_left_to_its_holder_and_kept_where_there_is_no_other() {
    let plan = plan(&deployment(), "OnSpokePresent");
    let ours = json!({"manager": "work-agent", "operation": "Apply", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}, "f:template": {}}}});
    let held = plan.partial(&live(json!([ours])), "work-agent");
    assert_eq!(
        held["spec"]["replicas"], 7,
        "what it is, not what the manifest says"
    );
    let left = plan.partial(&live(json!([])), "work-agent");
    assert!(left["spec"].get("replicas").is_none());
    assert_eq!(left["spec"]["template"], deployment()["spec"]["template"]);
}

#[test]
fn items_of_lists_are_found_by_their_keys() {
    let fields = json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {
        "k:{\"name\":\"proxy\"}": {".": {}, "f:image": {}}}}}}});
    let manifest = deployment();
    let mut live = deployment();
    let containers = live
        .pointer_mut("/spec/template/spec/containers")
        .expect("containers");
    *containers = json!([{"name": "new"}, {"name": "proxy", "image": "proxy:9"}]);
    let of = |index: usize| {
        let pointer = format!("/spec/template/spec/containers/{index}/image");
        let path = Path::of_pointer(&manifest, &pointer)
            .expect("a pointer")
            .expect("a place");
        path::held(&fields, &manifest, &live, path.steps()).cloned()
    };
    assert_eq!(of(1), Some(json!("proxy:9")));
    assert_eq!(of(0), None);
}
