//! Objects sent to a real API server, and whether it took them: `data/create.jsonl` for built-in
//! kinds, `data/custom.jsonl` for a definition and its custom resources. Fields that admission or a
//! controller adds are left out of the data.

use hyades_schema::builtin;
use hyades_schema::builtin::cluster_ip;
use hyades_schema::builtin::metadata;
use hyades_schema::builtin::metadata::NameRule;
use hyades_schema::crd;
use hyades_schema::kinds;
use hyades_schema::types::TypeRef;
use hyades_schema::validate;
use hyades_schema::validate::FieldError;
use hyades_schema::validate::fields;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of the data is JSON"))
        .collect()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn causes(errors: &[FieldError]) -> Value {
    let cause = |error: &FieldError| json!({"reason": error.reason(), "message": error.body(), "field": error.path});
    errors.iter().map(cause).collect()
}

/// What our engines say of a new object: the object itself, or status, message and causes.
fn create(case: &Value) -> Value {
    let api_version = text(case, "apiVersion");
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let kind = text(case, "kind");
    let builtin = kinds::builtin();
    let row = builtin
        .kind(group, version, kind)
        .expect("the data has built-in kinds only");
    let ty = builtin
        .type_named(row.type_name)
        .expect("each kind has a type");
    let mut object = case["request"].clone();
    if let Err(error) = fields::shape_check(&ty, &object) {
        let message =
            format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {error}");
        return json!({"status": 400, "message": message});
    }
    fields::prune(&ty, &mut object);
    if row.namespaced {
        object["metadata"]["namespace"] = case["namespace"].clone();
    }
    builtin::default(group, version, kind, &mut object);
    if cluster_ip::needed(&object) && kind == "Service" {
        let address = case
            .pointer("/object/spec/clusterIP")
            .and_then(Value::as_str);
        if let Some(address) = address {
            cluster_ip::set(&mut object, address);
        }
    }
    if kind == "Namespace" {
        // Creation holds a namespace; a default would hold it again when it is let go.
        object["spec"]["finalizers"] = json!(["kubernetes"]);
    }
    if kind == "Job" {
        object["metadata"]["uid"] = case["uid"].clone();
        builtin::select_job_pods(&mut object);
        object["metadata"]["uid"].take();
    }
    let mut named = object.clone();
    if !text(&object["metadata"], "generateName").is_empty() {
        named["metadata"]["name"] = case["object"]["metadata"]["name"].clone();
    }
    let errors = builtin::validate(group, version, kind, &named, None);
    if errors.is_empty() {
        return json!({"status": 201, "object": named});
    }
    let qualified = if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    };
    let name = text(&named["metadata"], "name");
    json!({"status": 422, "message": validate::invalid_message(&qualified, name, &errors), "causes": causes(&errors)})
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn new_objects_are_judged_and_defaulted_as_a_real_server_does() {
    let mut wrong = Vec::new();
    let cases = lines(include_str!("data/create.jsonl"));
    assert!(cases.len() >= 40, "the data is complete");
    for case in &cases {
        let ours = create(case);
        for field in ["status", "message", "causes", "object"] {
            let (ours, theirs) = (without_nulls(&ours[field]), without_nulls(&case[field]));
            if ours != theirs {
                wrong.push(format!(
                    "{}: {field}\n  ours   {ours}\n  theirs {theirs}",
                    case["request"]
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn custom(ty: &TypeRef, case: &Value) -> Value {
    let mut object = case["request"].clone();
    let mut warnings: Vec<String> = fields::unknown(ty, &object);
    if case["status"] == 400 {
        let message = format!(
            "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: {}",
            warnings.join(", ")
        );
        return json!({"status": 400, "message": message, "warnings": []});
    }
    warnings = warnings
        .iter()
        .map(|warning| format!("299 - {}", validate::go_quote(warning)))
        .collect();
    fields::prune(ty, &mut object);
    validate::default(ty, &mut object);
    object["metadata"]["namespace"] = json!("o1");
    let mut errors = metadata::validate(&object, NameRule::Subdomain, true);
    errors.extend(validate::check(ty, &object, None));
    if errors.is_empty() {
        return json!({"status": 201, "object": object, "warnings": warnings});
    }
    let name = text(&object["metadata"], "name");
    let message = validate::invalid_message("Widget.demo.io", name, &errors);
    json!({"status": 422, "message": message, "causes": causes(&errors), "warnings": []})
}

fn definition(case: &Value) -> Value {
    let mut object = case["request"].clone();
    builtin::default(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        &mut object,
    );
    let errors = builtin::validate(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
        &object,
        None,
    );
    if errors.is_empty() {
        return json!({"status": 201, "object": object, "warnings": []});
    }
    let name = text(&object["metadata"], "name");
    let message = validate::invalid_message(
        "CustomResourceDefinition.apiextensions.k8s.io",
        name,
        &errors,
    );
    json!({"status": 422, "message": message, "causes": causes(&errors), "warnings": []})
}

#[test]
fn definitions_and_custom_resources_are_judged_as_a_real_server_does() {
    let cases = lines(include_str!("data/custom.jsonl"));
    let mut crd = cases[0]["request"].clone();
    crd::default(&mut crd);
    let compiled = crd::compile(&crd).expect("the first line defines widgets");
    let mut wrong = Vec::new();
    for case in &cases {
        let ours = match text(case, "kind") {
            "CustomResourceDefinition" => definition(case),
            _ => custom(&compiled.storage().ty, case),
        };
        for field in ["status", "message", "causes", "object", "warnings"] {
            let (ours, theirs) = (without_nulls(&ours[field]), without_nulls(&case[field]));
            if ours != theirs {
                wrong.push(format!(
                    "{}: {field}\n  ours   {ours}\n  theirs {theirs}",
                    case["request"]
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

fn update(group: &str, kind: &str, old: &Value, new: &Value) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for error in builtin::validate(group, "v1", kind, new, Some(old)) {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

#[test]
fn what_may_not_change_is_refused_as_a_real_server_does() {
    let meta = json!({"name": "a", "namespace": "o1"});
    let deployment = |selector: Value| {
        let mut object = json!({"metadata": meta, "spec": {"selector": {"matchLabels": selector}, "template": {
            "metadata": {"labels": {"app": "d1"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}});
        builtin::default("apps", "v1", "Deployment", &mut object);
        object
    };
    let cases = [
        (
            "",
            "ConfigMap",
            json!({"metadata": meta, "immutable": true, "data": {"k": "i"}}),
            json!({"metadata": meta, "data": {"k": "j"}}),
            vec![
                "immutable: Forbidden: field is immutable when `immutable` is set",
                "data: Forbidden: field is immutable when `immutable` is set",
            ],
        ),
        (
            "apps",
            "Deployment",
            deployment(json!({"app": "d1"})),
            deployment(json!({"app": "d1", "x": "y"})),
            vec![
                "spec.template.metadata.labels: Invalid value: {\"app\":\"d1\"}: `selector` does not match template `labels`",
                "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"d1\",\"x\":\"y\"}}: field is immutable",
            ],
        ),
        (
            "rbac.authorization.k8s.io",
            "RoleBinding",
            json!({"metadata": meta, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}}),
            json!({"metadata": meta, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "x"}}),
            vec![
                "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"x\"}: cannot change roleRef",
            ],
        ),
        (
            "",
            "ConfigMap",
            json!({"metadata": {"name": "a", "namespace": "o1", "deletionTimestamp": "2026-11-24T05:46:31Z", "finalizers": ["x.y/z"]}}),
            json!({"metadata": {"name": "a", "namespace": "o1", "deletionTimestamp": "2026-11-24T05:46:31Z", "finalizers": ["x.y/z", "new.y/z"]}}),
            vec![
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"new.y/z\"}",
            ],
        ),
        (
            "",
            "ConfigMap",
            json!({"metadata": {"name": "a", "namespace": "o1", "uid": "1"}}),
            json!({"metadata": {"name": "a", "namespace": "o1", "uid": "2"}}),
            vec!["metadata.uid: Invalid value: \"2\": field is immutable"],
        ),
    ];
    for (group, kind, old, new, expected) in cases {
        assert_eq!(update(group, kind, &old, &new), expected);
        assert_eq!(update(group, kind, &old, &old), Vec::<String>::new());
    }
}

fn builtin_type(group: &str, kind: &str) -> TypeRef {
    let builtin = kinds::builtin();
    let row = builtin
        .kind(group, "v1", kind)
        .expect("the kind is built in");
    builtin
        .type_named(row.type_name)
        .expect("each kind has a type")
}

#[test]
fn bodies_that_cannot_be_decoded_are_refused_in_the_words_of_gos_decoder() {
    let cases = [
        (
            "",
            "ConfigMap",
            json!({"data": {"k": 1}}),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "apps",
            "Deployment",
            json!({"spec": {"replicas": "two"}}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "apps",
            "Deployment",
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "",
            "Pod",
            json!({"spec": {"containers": {"name": "c"}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            "",
            "Pod",
            json!({"metadata": {"labels": ["a"]}}),
            "json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            "",
            "Pod",
            json!([]),
            "json: cannot unmarshal array into Go value of type v1.Pod",
        ),
        (
            "",
            "Secret",
            json!({"data": {"k": "a!"}}),
            "illegal base64 data at input byte 1",
        ),
        (
            "",
            "Pod",
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (
            "coordination.k8s.io",
            "Lease",
            json!({"spec": {"renewTime": "now"}}),
            "parsing time \"now\" as \"2006-01-02T15:04:05.000000Z07:00\": cannot parse \"now\" as \"2006\"",
        ),
    ];
    for (group, kind, body, expected) in cases {
        let error = fields::shape_check(&builtin_type(group, kind), &body).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let nulls = json!({"metadata": null, "spec": {"replicas": null}});
    assert!(fields::shape_check(&builtin_type("apps", "Deployment"), &nulls).is_ok());
}

#[test]
fn objects_take_the_form_in_which_go_writes_them() {
    let mut object = json!({
        "metadata": {"name": "a", "namespace": "", "labels": {}, "creationTimestamp": null},
        "spec": {"replicas": 0, "paused": false, "template": {"spec": {"nodeName": "", "containers": [
            {"name": "c", "image": "x:1", "env": [], "tty": false, "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]}}},
    });
    fields::normalise(&builtin_type("apps", "Deployment"), &mut object);
    assert_eq!(
        object["spec"],
        json!({"replicas": 0, "template": {"spec": {"containers": [
            {"name": "c", "image": "x:1", "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]}}})
    );
    builtin::default("apps", "v1", "Deployment", &mut object);
    assert_eq!(object["metadata"], json!({"name": "a"}));
    assert_eq!(
        object["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"],
        "IfNotPresent"
    );
    let once = object.clone();
    builtin::default("apps", "v1", "Deployment", &mut object);
    assert_eq!(object, once);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..70_000).prop_map(Value::from),
        "[a-zA-Z/.%é-]{0,5}".prop_map(Value::from),
    ];
    let names = [
        "metadata",
        "name",
        "labels",
        "annotations",
        "finalizers",
        "ownerReferences",
        "spec",
        "template",
        "selector",
        "matchLabels",
        "containers",
        "volumes",
        "ports",
        "port",
        "data",
        "stringData",
        "type",
        "rules",
        "subjects",
        "roleRef",
        "webhooks",
        "usages",
        "request",
        "status",
        "conditions",
        "strategy",
        "resources",
        "limits",
        "requests",
        "cpu",
        "env",
        "versions",
        "names",
        "schema",
        "openAPIV3Schema",
        "properties",
        "livenessProbe",
        "httpGet",
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(proptest::sample::select(names.to_vec()), inner, 0..6)
                .prop_map(|map| map
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn no_body_makes_a_kind_panic(body in any_value(), old in any_value()) {
        for row in kinds::builtin().kinds {
            let ty = builtin_type_of(row.type_name);
            let mut new = body.clone();
            let _shape = fields::shape_check(&ty, &new);
            fields::prune(&ty, &mut new);
            builtin::default(row.group, row.version, row.kind, &mut new);
            let _created = builtin::validate(row.group, row.version, row.kind, &new, None);
            let _updated = builtin::validate(row.group, row.version, row.kind, &new, Some(&old));
        }
    }
}

fn builtin_type_of(name: &str) -> TypeRef {
    kinds::builtin()
        .type_named(name)
        .expect("each kind has a type")
}
