use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::types::Shape;
use crate::types::TypeId;

const RECORDED: &str = include_str!("../../tests/proto/recorded.txt");

fn recorded() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    RECORDED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, body) = line.split_once(' ').unwrap();
            (name, STANDARD.decode(body).unwrap())
        })
}

fn recorded_body(name: &str) -> Vec<u8> {
    recorded().find(|(found, _)| *found == name).unwrap().1
}

fn decoded(body: &[u8]) -> Value {
    decode(builtin(), body).unwrap()
}

#[test]
fn recorded_bodies_survive_decoding_and_encoding() {
    let mut seen = 0;
    for (name, body) in recorded().filter(|(name, _)| !name.ends_with("frame")) {
        let object = decoded(&body);
        let again = decoded(&encode(&object).unwrap());
        assert_eq!(object, again, "{name}");
        seen += 1;
    }
    assert!(seen > 10);
}

#[test]
fn a_config_map_is_the_same_in_both_encodings() {
    let json: Value =
        serde_json::from_str(include_str!("../../tests/proto/configmap.json")).unwrap();
    assert_eq!(decoded(&recorded_body("configmap-create-response")), json);
}

#[test]
fn what_holds_no_zero_value_is_written_byte_for_byte() {
    // The specification of a lease has only pointers, so Go writes no zero values into it.
    let body = recorded_body("lease-update-request");
    let ours = encode(&decoded(&body)).unwrap();
    let spec = |body: &[u8]| {
        let start = body
            .windows(4)
            .rposition(|part| part == b"\x12\x25\x0a\x15");
        body[start.unwrap()..].to_vec()
    };
    assert_eq!(spec(&ours), spec(&body));
}

#[test]
fn zero_scalars_are_dropped_unless_they_mean_something() {
    let object = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "generateName": ""},
        "spec": {
            "replicas": 0,
            "minReadySeconds": 0,
            "paused": false,
            "selector": {},
            "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "25%"}},
            "template": {"metadata": {}, "spec": {"containers": [{"name": ""}]}},
        },
    });
    expect![[r#"
        {
          "apiVersion": "apps/v1",
          "kind": "Deployment",
          "metadata": {
            "name": "d"
          },
          "spec": {
            "replicas": 0,
            "selector": {},
            "strategy": {
              "rollingUpdate": {
                "maxSurge": 0,
                "maxUnavailable": "25%"
              }
            },
            "template": {
              "metadata": {},
              "spec": {
                "containers": [
                  {
                    "name": ""
                  }
                ]
              }
            }
          }
        }"#]]
    .assert_eq(&format!("{:#}", decoded(&encode(&object).unwrap())));
}

#[test]
fn an_empty_list_has_items() {
    let list = decoded(&recorded_body("pod-list-empty"));
    assert_eq!(
        list,
        json!({
            "apiVersion": "v1",
            "kind": "PodList",
            "metadata": {"resourceVersion": "239"},
            "items": [],
        })
    );
}

#[test]
fn a_status_is_decoded_with_its_details() {
    let status = decoded(&recorded_body("deployment-not-found"));
    assert_eq!(status["reason"], "NotFound");
    assert_eq!(status["code"], 404);
    assert_eq!(status["details"]["kind"], "deployments");
}

#[test]
fn an_event_keeps_its_microseconds() {
    let event = decoded(&recorded_body("event-create-request"));
    let time = event["eventTime"].as_str().unwrap();
    assert_eq!(time.len(), "2026-11-24T05:40:34.434704Z".len(), "{time}");
    assert!(event.get("deprecatedFirstTimestamp").is_none());
}

#[test]
fn watch_frames_are_framed_as_recorded() {
    let frame = recorded_body("node-bookmark-frame");
    let start = frame.windows(4).position(|part| part == MAGIC).unwrap();
    let node = decoded(&frame[start..]);
    let ours = encode_watch_event("BOOKMARK", &node).unwrap();
    let length = u32::from_be_bytes(*ours.first_chunk().unwrap()) as usize;
    assert_eq!(length, ours.len() - 4);
    // Both start with the type and the tag of the object; lengths differ by Go's empty values.
    assert_eq!(ours[4..15], frame[4..15]);
    let start = ours.windows(4).position(|part| part == MAGIC).unwrap();
    assert_eq!(decoded(&ours[start..]), node);
}

#[test]
fn schemas_inside_definitions_keep_their_forms() {
    let schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "free": {"type": "object", "additionalProperties": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "integer", "maximum": 0.0, "enum": [1, "a", {"b": []}]}},
            "x": {"x-kubernetes-preserve-unknown-fields": true, "default": {"k": 1.5}},
        },
        "required": ["free"],
        "dependencies": {"a": ["b", "c"], "d": {"minLength": 0}},
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "x.y"},
        "spec": {
            "group": "y",
            "names": {"kind": "X", "plural": "x"},
            "scope": "Namespaced",
            "versions": [
                {"name": "v1", "served": false, "storage": true, "schema": {"openAPIV3Schema": schema}},
            ],
        },
    });
    assert_eq!(decoded(&encode(&definition).unwrap()), definition);
}

#[test]
fn maps_of_lists_and_secrets_are_written_as_go_does() {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {"user": "u", "extra": {"k": ["a", "b"], "none": []}},
        "status": {"allowed": false},
    });
    assert_eq!(decoded(&encode(&review).unwrap()), review);
    let secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "labels": {"empty": ""}},
        "data": {"k": "AAEC/w==", "empty": ""},
        "immutable": false,
    });
    assert_eq!(decoded(&encode(&secret).unwrap()), secret);
}

#[test]
fn wrong_values_are_named_by_their_path() {
    let wrong = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"containers": [{"name": "c", "ports": [{"containerPort": "http"}]}]},
    });
    expect![[r#"cannot write "spec.containers[0].ports[0].containerPort" as protobuf: expected an integer, found "http""#]]
        .assert_eq(&encode(&wrong).unwrap_err().to_string());
    let unknown = json!({"apiVersion": "example.com/v1", "kind": "Toy"});
    expect![[r#"no protobuf form is known for kind "Toy" of apiVersion "example.com/v1"; use JSON for it"#]]
        .assert_eq(&encode(&unknown).unwrap_err().to_string());
    assert_eq!(decode(builtin(), b"{}"), Err(ProtoError::NoMagic));
}

#[test]
fn deep_and_wide_bodies_are_refused() {
    let mut schema = json!({"type": "object"});
    for _ in 0..MAX_NESTING + 1 {
        schema = json!({ "not": schema });
    }
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]},
    });
    assert_eq!(encode(&definition), Err(ProtoError::TooDeep));

    let mut deep = Vec::new();
    for _ in 0..MAX_NESTING + 1 {
        let mut outer = Vec::new();
        wire::put_bytes(&mut outer, 28, &deep);
        deep = outer;
    }
    // Definition: spec 2, versions 7, schema 4, openAPIV3Schema 1.
    for number in [1, 4, 7, 2] {
        let mut outer = Vec::new();
        wire::put_bytes(&mut outer, number, &deep);
        deep = outer;
    }
    let body = envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &deep);
    assert_eq!(decode(builtin(), &body), Err(ProtoError::TooDeep));

    let wide = [0x12, 0x00].repeat(MAX_VALUES + 1);
    let body = envelope("v1", "ConfigMapList", &wide);
    assert_eq!(decode(builtin(), &body), Err(ProtoError::TooManyValues));
}

fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut type_meta = Vec::new();
    wire::put_bytes(&mut type_meta, 1, api_version.as_bytes());
    wire::put_bytes(&mut type_meta, 2, kind.as_bytes());
    let mut body = MAGIC.to_vec();
    wire::put_bytes(&mut body, 1, &type_meta);
    wire::put_bytes(&mut body, 2, raw);
    body
}

/// Makes objects of a type out of a seed: every field may be there, none has a value that an
/// encoding without presence would lose.
struct Maker(u64);

impl Maker {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    fn value(&mut self, id: TypeId, depth: usize) -> Value {
        let ty = &builtin().pool.types[id.0 as usize];
        let text = format!("t{}", self.below(1_000));
        match &ty.shape {
            Shape::Object(object) => match object.additional {
                Some(values) => json!({ text: self.value(values, depth + 1) }),
                None => self.object(&object.fields, depth),
            },
            Shape::Array(array) => {
                let length = 1 + self.below(2);
                (0..length)
                    .map(|_| self.value(array.items, depth + 1))
                    .collect()
            }
            Shape::String => text.into(),
            Shape::Bytes => STANDARD.encode(text).into(),
            Shape::Integer => (self.below(1_000) as i64 + 1 - 2_000 * self.below(2) as i64).into(),
            Shape::Number => (self.below(1_000) as f64 + 0.5).into(),
            Shape::Boolean => true.into(),
            Shape::IntOrString if self.below(2) == 0 => self.below(9).into(),
            Shape::IntOrString => text.into(),
            Shape::Quantity => format!("{}Mi", self.below(1_000)).into(),
            Shape::Time => format!("19{:02}-02-28T23:59:07Z", self.below(90) + 10).into(),
            Shape::MicroTime => format!(
                "20{:02}-02-28T00:00:00.{:06}Z",
                self.below(90) + 10,
                self.below(999_999)
            )
            .into(),
            Shape::Any => match special::Special::of(ty) {
                Some(special::Special::SchemaOrBool) => (self.below(2) == 0).into(),
                Some(special::Special::SchemaOrStringArray) => json!([text]),
                Some(special::Special::SchemaOrArray) => json!([{"type": text}]),
                _ => json!({ text: [1, null, {"x": false}] }),
            },
        }
    }

    fn object(&mut self, fields: &[crate::types::Field], depth: usize) -> Value {
        /// Beyond it only leaves are made, so that recursive types end.
        const MAX_DEPTH: usize = 7;
        let mut object = serde_json::Map::new();
        for field in fields.iter().filter(|field| field.proto.is_some()) {
            let scalar = matches!(
                builtin().pool.types[field.ty.0 as usize].shape,
                Shape::String | Shape::Integer | Shape::Boolean
            );
            if (depth < MAX_DEPTH || scalar) && self.below(3) == 0 {
                object.insert(field.name.clone(), self.value(field.ty, depth + 1));
            }
        }
        Value::Object(object)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_object_of_any_kind_survives_both_ways(seed: u64, place: prop::sample::Index) {
        let kind = place.get(builtin().kinds);
        let ty = builtin().type_named(kind.type_name).unwrap();
        let mut object = Maker(seed).value(ty.id, 0);
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        let body = encode(&object).unwrap();
        prop_assert_eq!(decode(builtin(), &body).unwrap(), object);
    }

    #[test]
    fn no_bytes_make_decoding_panic(
        raw in prop::collection::vec(any::<u8>(), 0..400),
        place: prop::sample::Index,
    ) {
        let kind = place.get(builtin().kinds);
        let _ = decode(builtin(), &envelope(&kind.api_version(), kind.kind, &raw));
        let _ = decode(builtin(), &[MAGIC.as_slice(), &raw].concat());
    }

    #[test]
    fn damaged_bodies_do_not_make_decoding_panic(
        name: prop::sample::Index,
        place: prop::sample::Index,
        byte: u8,
    ) {
        let all: Vec<_> = recorded().collect();
        let mut body = name.get(&all).1.clone();
        let place = place.index(body.len());
        body[place] = byte;
        let _ = decode(builtin(), &body);
        let _ = decode(builtin(), &body[..place]);
    }
}
