//! Laws of merging and ownership, over a small custom resource.

use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

use super::*;
use crate::types::ArrayShape;
use crate::types::Field;
use crate::types::ListType;
use crate::types::ObjectShape;
use crate::types::PatchStrategy;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;
use crate::types::TypePool;
use crate::types::TypeRef;

/// Builds types for one test.
#[derive(Default)]
struct Types(TypePool);

impl Types {
    fn of(&mut self, shape: Shape) -> TypeId {
        self.0.add(Type {
            shape,
            ..Type::default()
        })
    }

    fn list(&mut self, items: TypeId, list: ListType) -> TypeId {
        self.of(Shape::Array(ArrayShape { items, list }))
    }

    fn object(&mut self, fields: &[(&str, TypeId)]) -> TypeId {
        let fields = fields.iter().map(|(name, ty)| field(name, *ty)).collect();
        self.of(Shape::Object(ObjectShape {
            fields,
            ..ObjectShape::default()
        }))
    }
}

fn field(name: &str, ty: TypeId) -> Field {
    Field {
        name: name.into(),
        ty,
        required: false,
        default: None,
        proto: None,
        patch_strategy: PatchStrategy::default(),
        patch_merge_key: None,
    }
}

/// A resource with one field of every form. Fields are listed by name.
fn gadget() -> TypeRef {
    let mut types = Types::default();
    let string = types.of(Shape::String);
    let any = types.of(Shape::Any);
    let mut protocol = field("protocol", string);
    protocol.default = Some(json!("TCP"));
    let port = types.of(Shape::Object(ObjectShape {
        fields: vec![field("host", string), field("port", any), protocol],
        ..ObjectShape::default()
    }));
    let ports = types.list(port, ListType::Map(vec!["port".into(), "protocol".into()]));
    let tags = types.list(string, ListType::Set);
    let words = types.list(string, ListType::Atomic);
    let labels = types.of(Shape::Object(ObjectShape {
        additional: Some(string),
        ..ObjectShape::default()
    }));
    let whole = types.of(Shape::Object(ObjectShape {
        additional: Some(string),
        atomic: true,
        ..ObjectShape::default()
    }));
    let spec = types.object(&[
        ("any", any),
        ("labels", labels),
        ("ports", ports),
        ("size", string),
        ("tags", tags),
        ("whole", whole),
        ("words", words),
    ]);
    let root = types.object(&[
        ("apiVersion", string),
        ("kind", string),
        ("spec", spec),
        ("status", any),
    ]);
    TypeRef {
        pool: Arc::new(types.0),
        id: root,
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

fn gadget_with(spec: Value) -> Value {
    json!({"apiVersion": "demo.io/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec})
}

/// Applies and returns the result.
fn apply_as(
    live: Option<&Value>,
    manager: &str,
    spec: Value,
    force: bool,
) -> Result<Value, ApplyError> {
    apply(&ApplyRequest {
        ty: &gadget(),
        live,
        config: &gadget_with(spec),
        manager,
        subresource: "",
        force,
        api_version: "demo.io/v1",
        reset_fields: &FieldSet::default(),
        now: at(0),
    })
}

fn applied(live: Option<&Value>, manager: &str, spec: Value) -> Value {
    apply_as(live, manager, spec, false).expect("applies without conflict")
}

/// Stores `spec` as an update and returns the object with its ownership.
fn updated(old: Option<&Value>, manager: &str, spec: Value, second: i64) -> Value {
    let mut new = gadget_with(spec);
    new["metadata"]["managedFields"] =
        old.map_or(json!([]), |old| old["metadata"]["managedFields"].clone());
    let managed = track_update(&TrackRequest {
        ty: &gadget(),
        old,
        new: &new,
        manager,
        subresource: "",
        api_version: "demo.io/v1",
        reset_fields: &FieldSet::default(),
        now: at(second),
    });
    new["metadata"]["managedFields"] = managed;
    new
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"]
        .as_array()
        .expect("managed fields");
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

#[test]
fn a_create_owns_maps_and_lists_with_a_dot() {
    let object = updated(
        None,
        "",
        json!({"tags": ["a"], "labels": {"x": "y"}, "any": {"k": {"l": 1}}}),
        0,
    );
    let expected = json!({"f:spec": {".": {},
        "f:any": {".": {}, "f:k": {".": {}, "f:l": {}}},
        "f:labels": {".": {}, "f:x": {}},
        "f:tags": {".": {}, "v:\"a\"": {}}}});
    assert_eq!(owned(&object, "unknown"), expected);
}

#[test]
fn keys_with_defaults_identify_items_that_omit_them() {
    let live = applied(None, "m1", json!({"ports": [{"port": 80, "host": "a"}]}));
    let conflict = apply_as(
        Some(&live),
        "m2",
        json!({"ports": [{"port": 80, "protocol": "TCP", "host": "b"}]}),
        false,
    );
    let expected = "Apply failed with 1 conflict: conflict with \"m1\": .spec.ports[port=80,protocol=\"TCP\"].host";
    assert_eq!(conflict.expect_err("m1 owns host").to_string(), expected);
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let live = applied(None, "m1", json!({"size": "1", "words": ["a"]}));
    let live = updated(
        Some(&live),
        "kubectl",
        json!({"size": "1", "words": ["a"], "labels": {"x": "y"}}),
        1,
    );
    let config = json!({"size": "2", "words": ["b"], "labels": {"x": "z"}});
    let conflicts = apply_as(Some(&live), "m2", config, false).expect_err("three conflicts");
    let expected = "Apply failed with 3 conflicts: conflicts with \"kubectl\" using demo.io/v1:\n- .spec.labels.x\n\
        conflicts with \"m1\":\n- .spec.size\n- .spec.words";
    assert_eq!(conflicts.to_string(), expected);
}

#[test]
fn a_forced_apply_takes_the_fields() {
    let live = applied(None, "m1", json!({"size": "1"}));
    let live = apply_as(Some(&live), "m2", json!({"size": "2"}), true).expect("forced");
    assert_eq!(owned(&live, "m1"), Value::Null);
    assert_eq!(owned(&live, "m2"), json!({"f:spec": {"f:size": {}}}));
}

#[test]
fn an_item_another_manager_claims_stays_when_its_first_owner_drops_it() {
    let live = applied(
        None,
        "m1",
        json!({"ports": [{"port": 1}, {"port": 2, "host": "x"}]}),
    );
    let live = applied(Some(&live), "m2", json!({"ports": [{"port": 2}]}));
    let live = applied(Some(&live), "m1", json!({"size": "1"}));
    assert_eq!(live["spec"]["ports"], json!([{"port": 2}]));
}

#[test]
fn merged_lists_follow_the_configuration_and_keep_what_only_the_live_list_has() {
    let cases = [
        (
            json!(["a", "b", "c"]),
            json!(["c", "a"]),
            json!(["b", "c", "a"]),
        ),
        (json!(["a", "b"]), json!(["x", "b"]), json!(["a", "x", "b"])),
        (json!(["a"]), json!(["b"]), json!(["a", "b"])),
    ];
    for (live, config, expected) in cases {
        let live = updated(None, "u", json!({"tags": live}), 0);
        let out = applied(Some(&live), "m", json!({"tags": config}));
        assert_eq!(out["spec"]["tags"], expected);
    }
}

#[test]
fn an_object_nobody_owns_is_owned_by_its_past_when_first_applied_to() {
    let live = gadget_with(json!({"size": "1", "labels": {"x": "y"}}));
    let conflict =
        apply_as(Some(&live), "m", json!({"size": "2"}), false).expect_err("the past owns size");
    let expected = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using demo.io/v1: .spec.size";
    assert_eq!(conflict.to_string(), expected);
}

#[test]
fn what_kubectl_applied_from_the_client_side_is_no_conflict() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut new = gadget_with(json!({"size": "1", "labels": {"x": "y"}}));
    new["metadata"]["annotations"] =
        json!({ANNOTATION: gadget_with(json!({"size": "1"})).to_string()});
    new["metadata"]["managedFields"] = track_update(&TrackRequest {
        ty: &gadget(),
        old: None,
        new: &new,
        manager: "kubectl-client-side-apply",
        subresource: "",
        api_version: "demo.io/v1",
        reset_fields: &FieldSet::default(),
        now: at(0),
    });
    let applied = applied(Some(&new), "kubectl", json!({"size": "2"}));
    assert_eq!(applied["spec"]["size"], "2");
    let followed = applied["metadata"]["annotations"][ANNOTATION]
        .as_str()
        .expect("text");
    let followed: Value = serde_json::from_str(followed).expect("JSON");
    assert_eq!(followed["spec"], json!({"size": "2"}));

    let conflict = apply_as(
        Some(&new),
        "kubectl",
        json!({"size": "2", "labels": {"x": "z"}}),
        false,
    );
    let expected = "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using demo.io/v1: .spec.labels.x";
    assert_eq!(
        conflict.expect_err("labels were not applied").to_string(),
        expected
    );
}

#[test]
fn misfits_are_refused_with_their_path() {
    let cases = [
        (
            json!({"nope": 1}),
            ".spec.nope: field not declared in schema",
        ),
        (
            json!({"tags": ["a", "a"]}),
            ".spec.tags: duplicate entries for key [=\"a\"]",
        ),
        (json!({"tags": "a"}), ".spec.tags: expected list, got \"a\""),
    ];
    for (spec, mistake) in cases {
        let error = apply_as(None, "m", spec, false).expect_err("a misfit");
        let expected =
            format!("failed to create typed patch object (/g; demo.io/v1, Kind=Gadget): {mistake}");
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn an_update_that_changes_nothing_keeps_entries_and_times() {
    let first = updated(None, "u", json!({"size": "1"}), 0);
    let second = updated(Some(&first), "v", json!({"size": "1"}), 60);
    assert_eq!(
        first["metadata"]["managedFields"],
        second["metadata"]["managedFields"]
    );
}

#[test]
fn reset_fields_are_never_owned() {
    let new = json!({"apiVersion": "demo.io/v1", "kind": "Gadget", "spec": {"size": "1"}, "status": {"ok": true}});
    let managed = track_update(&TrackRequest {
        ty: &gadget(),
        old: None,
        new: &new,
        manager: "u",
        subresource: "",
        api_version: "demo.io/v1",
        reset_fields: &FieldSet::of_fields(&[&["status"]]),
        now: at(0),
    });
    assert_eq!(
        managed[0]["fieldsV1"],
        json!({"f:spec": {".": {}, "f:size": {}}})
    );
}

#[test]
fn a_client_may_clear_all_ownership() {
    let old = updated(None, "u", json!({"size": "1"}), 0);
    let mut new = old.clone();
    new["metadata"]["managedFields"] = json!([{}]);
    let request = TrackRequest {
        ty: &gadget(),
        old: Some(&old),
        new: &new,
        manager: "v",
        subresource: "",
        api_version: "demo.io/v1",
        reset_fields: &FieldSet::default(),
        now: at(1),
    };
    assert_eq!(track_update(&request), json!([]));
}

#[test]
fn the_oldest_update_managers_are_merged_beyond_the_limit() {
    let mut live = updated(None, "m0", json!({"labels": {"k0": "v"}}), 0);
    for round in 1..=12_i64 {
        let mut spec = live["spec"].clone();
        spec["labels"][format!("k{round}")] = json!("v");
        live = updated(Some(&live), &format!("m{round}"), spec, round);
    }
    let entries = live["metadata"]["managedFields"]
        .as_array()
        .expect("managed fields");
    assert_eq!(entries.len(), MAX_UPDATE_MANAGERS);
    let ancient = json!({"f:spec": {".": {}, "f:labels": {".": {}, "f:k0": {}, "f:k1": {}, "f:k2": {}, "f:k3": {}}}});
    assert_eq!(owned(&live, "ancient-changes"), ancient);
}

/// Specs over small alphabets, so that two of them overlap.
fn any_spec() -> impl Strategy<Value = Value> {
    let letters = || proptest::sample::subsequence(vec!["a", "b", "c", "d"], 0..4).prop_shuffle();
    let labels = proptest::collection::btree_map("[abc]", "[xy]", 0..3);
    let ports = proptest::collection::btree_map(1..4_u32, "[xy]", 0..3);
    (
        letters(),
        letters(),
        labels,
        ports,
        proptest::option::of("[12]"),
    )
        .prop_map(|(tags, words, labels, ports, size)| {
            let ports: Vec<Value> = ports
                .into_iter()
                .map(|(port, host)| json!({"port": port, "protocol": "TCP", "host": host}))
                .collect();
            let mut spec = json!({"tags": tags, "words": words, "labels": labels, "ports": ports});
            if let Some(size) = size {
                spec["size"] = json!(size);
            }
            let map = spec.as_object_mut().expect("a map");
            map.retain(|_, value| {
                value.as_array().is_none_or(|list| !list.is_empty()) && *value != json!({})
            });
            spec
        })
}

/// The spec with its merged lists sorted: an applier may have moved the items of another.
fn in_any_order(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for name in ["tags", "ports"] {
        if let Some(items) = spec.get_mut(name).and_then(Value::as_array_mut) {
            items.sort_by_key(Value::to_string);
        }
    }
    spec
}

proptest! {
    #[test]
    fn applying_twice_is_applying_once(before in any_spec(), spec in any_spec()) {
        let live = updated(None, "u", before, 0);
        let once = apply_as(Some(&live), "m", spec.clone(), true).expect("forced");
        let twice = apply_as(Some(&once), "m", spec, true).expect("forced");
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn giving_everything_up_undoes_an_apply_to_nothing(spec in any_spec()) {
        let once = applied(None, "m", spec);
        let given_up = applied(Some(&once), "m", json!({}));
        prop_assert!(given_up.get("spec").is_none_or(|spec| *spec == json!({})), "{}", given_up);
    }

    #[test]
    fn giving_everything_up_leaves_what_another_manager_applied(theirs in any_spec(), ours in any_spec()) {
        // An empty map that has been filled and emptied again is gone, as upstream has it.
        prop_assume!(theirs != json!({}));
        let live = applied(None, "they", theirs);
        let both = apply_as(Some(&live), "we", ours, false);
        prop_assume!(both.is_ok());
        let both = both.expect("checked");
        let after = applied(Some(&both), "we", json!({}));
        prop_assert_eq!(in_any_order(&after["spec"]), in_any_order(&live["spec"]));
        prop_assert_eq!(owned(&after, "they"), owned(&live, "they"));
        prop_assert!(after["metadata"]["managedFields"].as_array().is_some_and(|entries| entries.len() <= 2));
    }

    #[test]
    fn every_written_field_has_exactly_one_updater(first in any_spec(), second in any_spec()) {
        let one = updated(None, "u", first, 0);
        let two = updated(Some(&one), "v", second, 1);
        let (u, v) = (FieldSet::parse(&owned(&two, "u")), FieldSet::parse(&owned(&two, "v")));
        prop_assert!(u.intersection(&v).is_empty());
    }
}
