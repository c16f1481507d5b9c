use serde_json::Value;
use serde_json::json;

use super::*;
use crate::validate::FieldError;

fn gadget(schema: Value) -> Value {
    let mut crd = json!({
        "metadata": {"name": "gadgets.demo.io"},
        "spec": {
            "group": "demo.io",
            "names": {"kind": "Gadget", "plural": "gadgets", "shortNames": ["gd"]},
            "scope": "Namespaced",
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}},
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.color"}],
                "schema": {"openAPIV3Schema": schema},
            }],
        },
    });
    default(&mut crd);
    crd
}

fn texts(errors: &[FieldError]) -> Vec<String> {
    errors.iter().map(FieldError::to_string).collect()
}

fn color() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string"}}}}})
}

#[test]
fn a_valid_definition_compiles() {
    let crd = gadget(color());
    assert_eq!(crd["spec"]["names"]["singular"], "gadget");
    assert_eq!(crd["spec"]["names"]["listKind"], "GadgetList");
    assert_eq!(crd["spec"]["conversion"]["strategy"], "None");
    assert_eq!(crd["status"]["storedVersions"], json!(["v1"]));
    let compiled = compile(&crd).expect("the definition is valid");
    assert!(compiled.namespaced);
    let version = compiled.storage();
    assert!(version.has_status);
    assert_eq!(version.selectable_fields, [".spec.color"]);
    assert_eq!(version.columns[0].json_path, ".spec.size");
    assert!(version.ty.field("metadata").is_some());
}

#[test]
fn what_is_not_structural_is_refused_in_the_api_servers_words() {
    let untyped = json!({"type": "object", "properties": {"spec": {"properties": {"a": {"type": "string"}}}}});
    assert_eq!(
        texts(&compile(&gadget(untyped)).unwrap_err()),
        [
            "spec.validation.openAPIV3Schema.properties[spec].type: Required value: must not be empty for specified object fields",
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.color\": is an invalid path: does not refer to a valid field",
        ]
    );
    let rule = json!({"type": "object", "properties": {"spec": {
        "type": "object", "x-kubernetes-validations": [{"rule": "self.zz > 1"}],
        "properties": {"color": {"type": "string"}}}}});
    assert_eq!(
        texts(&compile(&gadget(rule)).unwrap_err()),
        [
            "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {\"Rule\":\"self.zz \\u003e 1\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:5: undefined field 'zz'\n | self.zz > 1\n | ....^",
        ]
    );
}

#[test]
fn definitions_are_refused_for_each_of_their_parts() {
    let cases: [(&str, Value, &str); 8] = [
        (
            "/metadata/name",
            json!("wrong.demo.io"),
            "metadata.name: Invalid value: \"wrong.demo.io\": must be spec.names.plural+\".\"+spec.group",
        ),
        (
            "/spec/scope",
            json!("Galaxy"),
            "spec.scope: Unsupported value: \"Galaxy\": supported values: \"Cluster\", \"Namespaced\"",
        ),
        ("/spec/scope", json!(""), "spec.scope: Required value"),
        (
            "/spec/versions/0/storage",
            json!(false),
            "must have exactly one version marked as storage version",
        ),
        (
            "/spec/versions/0/schema",
            json!({}),
            "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
        ),
        (
            "/spec/versions/0/subresources/scale/specReplicasPath",
            json!(".status.x"),
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
        ),
        (
            "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/color/default",
            json!(3),
            "default: Invalid value: 3: must be valid",
        ),
        (
            "/spec/names/listKind",
            json!("Gadget"),
            "spec.names.listKind: Invalid value: \"Gadget\": kind and listKind may not be the same",
        ),
    ];
    for (pointer, value, expected) in cases {
        let mut crd = gadget(color());
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
        crd.pointer_mut(parent).expect("the parent exists")[key] = value;
        let errors = texts(&compile(&crd).unwrap_err());
        assert!(
            errors.iter().any(|error| error.contains(expected)),
            "{pointer}: {errors:?}"
        );
    }
}

#[test]
fn stored_versions_stay_defined() {
    let old = gadget(color());
    let mut new = old.clone();
    new["spec"]["versions"][0]["name"] = json!("v2");
    let errors = texts(&validate_update(&new, &old));
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with(
        "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions;"
    ));
}

#[test]
fn rules_at_the_root_may_read_what_every_object_has() {
    let mut schema = color();
    schema["x-kubernetes-validations"] =
        json!([{"rule": "self.metadata.name != 'all' && self.kind != '' && has(self.spec)"}]);
    assert!(compile(&gadget(schema)).is_ok());
}

#[test]
fn rules_that_the_engine_cannot_bear_are_refused_when_written() {
    let sum = vec!["1"; 2000].join("+");
    let long = format!("self.spec.color != '{}'", "x".repeat(20_000));
    for (rule, expected) in [
        ("Gadget{} == self", "undeclared reference to 'Gadget'"),
        (sum.as_str(), "nests deeper than"),
        (long.as_str(), "at most 16384 are taken"),
    ] {
        for field in ["rule", "messageExpression"] {
            let mut schema = color();
            let mut stated = json!({"rule": "has(self.spec)"});
            stated[field] = json!(rule);
            schema["x-kubernetes-validations"] = json!([stated]);
            let errors = texts(&compile(&gadget(schema)).expect_err(expected));
            assert!(errors[0].contains(expected), "{field}: {errors:?}");
        }
    }
}
