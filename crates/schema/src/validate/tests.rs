use std::sync::Arc;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::crd;
use crate::types::TypeRef;

/// The type of custom resources whose schema is `schema`.
fn compiled(schema: Value) -> TypeRef {
    crd::compile_schema(&schema).expect("the schema is structural")
}

fn texts(ty: &TypeRef, new: &Value, old: Option<&Value>) -> Vec<String> {
    check(ty, new, old)
        .iter()
        .map(FieldError::to_string)
        .collect()
}

const NOT_CHECKED: &str = "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

fn widget() -> TypeRef {
    compiled(
        json!({"type": "object", "required": ["spec"], "properties": {"spec": {
            "type": "object", "required": ["size"],
            "x-kubernetes-validations": [
                {"rule": "self.size <= self.max", "message": "size must not exceed max"},
                {"rule": "self.color == oldSelf.color", "message": "color is immutable"},
            ],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 100},
                "max": {"type": "integer", "default": 50},
                "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
                "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "port": {"x-kubernetes-int-or-string": true},
                "tags": {"type": "array", "maxItems": 3, "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                    "items": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}, "v": {"type": "string", "default": "d"}}}},
                "when": {"type": "string", "format": "date-time"},
            },
        }}}),
    )
}

#[test]
fn a_custom_resource_is_refused_in_the_api_servers_words() {
    let ty = widget();
    let cases = [
        (json!({}), vec!["spec.size: Required value", NOT_CHECKED]),
        (
            json!({"size": "x"}),
            vec![
                "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
                NOT_CHECKED,
            ],
        ),
        (
            json!({"size": 1.5}),
            vec![
                "spec.size: Invalid value: \"number\": spec.size in body must be of type integer: \"number\"",
                "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in spec.size",
                NOT_CHECKED,
            ],
        ),
        (
            json!({"size": 500}),
            vec![
                "spec.size: Invalid value: 500: spec.size in body should be less than or equal to 100",
                "spec: Invalid value: size must not exceed max",
            ],
        ),
        (
            json!({"size": 5, "color": "green"}),
            vec![
                "spec.color: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
                NOT_CHECKED,
            ],
        ),
        (
            json!({"size": 5, "name": "ABC"}),
            vec!["spec.name: Invalid value: \"ABC\": spec.name in body should match '^[a-z]+$'"],
        ),
        (
            json!({"size": 5, "name": "abcdefgh"}),
            vec![
                "spec.name: Too long: may not be more than 5 bytes",
                NOT_CHECKED,
            ],
        ),
        (
            json!({"size": 5, "tags": ["a", "a"]}),
            vec!["spec.tags[1]: Duplicate value: \"a\""],
        ),
        (
            json!({"size": 5, "items": [{"id": "1"}, {"id": "1"}]}),
            vec!["spec.items[1]: Duplicate value: {\"id\":\"1\"}"],
        ),
        (
            json!({"size": 5, "items": [{"v": "1"}]}),
            vec!["spec.items[0].id: Required value", NOT_CHECKED],
        ),
        (
            json!({"size": 5, "when": "yesterday"}),
            vec![
                "spec.when: Invalid value: \"yesterday\": spec.when in body must be of type date-time: \"yesterday\"",
                NOT_CHECKED,
            ],
        ),
        (
            json!({"size": 5, "port": true}),
            vec![
                "spec.port: Invalid value: \"boolean\": spec.port in body must be of type integer,string: \"boolean\"",
                NOT_CHECKED,
            ],
        ),
        (json!({"size": 5, "port": "http", "tags": ["a"]}), vec![]),
    ];
    for (spec, expected) in cases {
        let mut object = json!({"spec": spec});
        default(&ty, &mut object);
        assert_eq!(texts(&ty, &object, None), expected, "{spec}");
    }
}

#[test]
fn defaults_reach_into_lists_and_nulls_are_pruned() {
    let ty = widget();
    let mut object = json!({"spec": {"size": null, "color": null, "items": [{"id": "1"}, {"id": "2", "v": "x"}]}});
    default(&ty, &mut object);
    assert_eq!(
        object,
        json!({"spec": {"max": 50, "color": "red", "items": [{"id": "1", "v": "d"}, {"id": "2", "v": "x"}]}})
    );
}

#[test]
fn unknown_fields_are_named_and_pruned() {
    let ty = widget();
    let mut object = json!({"apiVersion": "v1", "top": 1, "spec": {"junk": 1, "any": {"keep": {"x": 1}}, "items": [{"id": "1", "y": 2}]}});
    assert_eq!(
        fields::unknown(&ty, &object),
        [
            "unknown field \"spec.items[0].y\"",
            "unknown field \"spec.junk\"",
            "unknown field \"top\""
        ]
    );
    fields::prune(&ty, &mut object);
    assert_eq!(
        object,
        json!({"apiVersion": "v1", "spec": {"any": {"keep": {"x": 1}}, "items": [{"id": "1"}]}})
    );
}

#[test]
fn transition_rules_see_the_old_value() {
    let ty = widget();
    let old = json!({"spec": {"size": 5, "max": 50, "color": "red"}});
    let new = json!({"spec": {"size": 5, "max": 50, "color": "blue"}});
    assert_eq!(
        texts(&ty, &new, Some(&old)),
        ["spec: Invalid value: color is immutable"]
    );
    assert_eq!(texts(&ty, &new, None), Vec::<String>::new());
}

#[test]
fn what_did_not_change_is_not_held_against_an_update() {
    let ty = widget();
    let old = json!({"spec": {"size": 5, "max": 50, "color": "red", "name": "TOO-LONG"}});
    let new = json!({"spec": {"size": 6, "max": 50, "color": "red", "name": "TOO-LONG"}});
    assert_eq!(texts(&ty, &new, Some(&old)), Vec::<String>::new());
}

#[test]
fn logic_decides_as_open_api_does() {
    let ty = compiled(json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
        "not": {"properties": {"c": {"enum": ["no"]}}, "required": ["c"]},
    }}}));
    let cases = [
        (json!({"a": 1}), vec![]),
        (
            json!({"a": 1, "b": 1}),
            vec![
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            json!({}),
            vec![
                "<nil>: Invalid value: \"\": \"spec\" must validate one and only one schema (oneOf). Found none valid",
                "spec.a: Required value",
            ],
        ),
        (
            json!({"a": 1, "c": "no"}),
            vec!["<nil>: Invalid value: \"\": \"spec\" must not validate the schema (not)"],
        ),
    ];
    for (spec, expected) in cases {
        assert_eq!(texts(&ty, &json!({"spec": spec}), None), expected);
    }
}

#[test]
fn rules_state_reason_path_and_message() {
    let ty = compiled(json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "x-kubernetes-validations": [
            {"rule": "!has(self.a) || self.a > 1", "messageExpression": "'a is ' + string(self.a)", "fieldPath": ".a", "reason": "FieldValueForbidden"},
            {"rule": "!has(self.b) || self.b > 1"},
        ],
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    }}}));
    assert_eq!(
        texts(&ty, &json!({"spec": {"a": 1, "b": 1}}), None),
        [
            "spec.a: Forbidden: a is 1",
            "spec: Invalid value: failed rule: !has(self.b) || self.b > 1"
        ]
    );
}

#[test]
fn rules_stop_at_their_budget() {
    let ty = compiled(json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.l.all(x, self.l.all(y, self.l.all(z, x + y + z > 0)))"}],
        "properties": {"l": {"type": "array", "items": {"type": "integer"}}},
    }}}));
    let object = json!({"spec": {"l": vec![1; 1000]}});
    assert_eq!(
        texts(&ty, &object, None),
        [
            "spec: Invalid value: validation failed due to running out of cost budget, no further validation rules will be run"
        ]
    );
}

#[test]
fn embedded_objects_are_objects() {
    let ty = compiled(json!({"type": "object", "properties": {"template": {
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
    }}}));
    let object = json!({"template": {"kind": "Pod", "metadata": {"labels": {"a": "bad value!"}}}});
    let errors = texts(&ty, &object, None);
    assert_eq!(
        errors[0],
        "template.apiVersion: Required value: must not be empty"
    );
    assert!(errors[1].starts_with("template.metadata.labels: Invalid value: \"bad value!\""));
}

#[test]
fn deep_values_end_in_an_error() {
    let mut pool = crate::types::TypePool::default();
    let id = pool.add(crate::types::Type::default());
    pool.types[0].shape = crate::types::Shape::Array(crate::types::ArrayShape {
        items: id,
        list: crate::types::ListType::Set,
    });
    let ty = TypeRef {
        pool: Arc::new(pool),
        id,
    };
    let mut value = json!([]);
    for _ in 0..MAX_VALUE_DEPTH * 2 {
        value = Value::Array(vec![value]);
    }
    let errors = check(&ty, &value, None);
    assert!(errors[0].detail.contains("must not nest deeper"));
    fields::prune(&ty, &mut value);
    default(&ty, &mut value);
    assert!(fields::unknown(&ty, &value).is_empty());
    assert!(fields::shape_check(&ty, &value).is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,6}".prop_map(Value::from),
    ];
    let key = prop_oneof![
        "[a-z]{1,3}",
        Just(String::from("spec")),
        Just(String::from("items")),
        Just(String::from("size"))
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            proptest::collection::btree_map(key.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_value_makes_the_engines_panic(new in any_value(), old in any_value()) {
        let ty = widget();
        let mut new = json!({"spec": new});
        let old = json!({"spec": old});
        let _unknown = fields::unknown(&ty, &new);
        let _shape = fields::shape_check(&ty, &new);
        fields::normalise(&ty, &mut new.clone());
        fields::prune(&ty, &mut new);
        prop_assert!(fields::unknown(&ty, &new).is_empty());
        default(&ty, &mut new);
        let mut again = new.clone();
        default(&ty, &mut again);
        prop_assert_eq!(&again, &new);
        let _errors = check(&ty, &new, Some(&old));
    }
}
