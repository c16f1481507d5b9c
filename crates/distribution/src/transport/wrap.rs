//! Objects to works: bundles of at most so many objects and bytes, under names that stay.

use crate::object::ObjectKey;
use serde_json::Value;
use serde_json::json;
use sha2::Digest as _;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// Characters of a label's value, at most, as Kubernetes has it.
const MAX_LABEL_VALUE: usize = 63;

/// Characters of an object's name, at most, as Kubernetes has it.
const MAX_NAME: usize = 253;

/// Hexadecimal digits of the digest that ends a shortened name. 64 bits: two of a million names
/// meet with a probability below one in thirty million.
const DIGEST_DIGITS: usize = 16;

/// How much goes into one work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects in a work. With one, works are named after their objects and come and go with them.
    pub max_objects: usize,
    /// Bytes of all objects of a work, as JSON. An object that is larger goes nowhere.
    pub max_bytes: usize,
}

impl Default for Limits {
    /// As upstream's chart has it.
    fn default() -> Self {
        Self {
            max_objects: 1,
            max_bytes: 500 * 1024,
        }
    }
}

/// Whose works they are; it gives them their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The name of the WDS.
    pub wds: String,
    /// The name of the Binding.
    pub binding: String,
    /// The uid of the Binding.
    pub binding_uid: String,
}

/// An object as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is in its WDS.
    pub key: ObjectKey,
    /// Its uid in its WDS.
    pub uid: String,
    /// Whether a WEC that has it keeps its own.
    pub create_only: bool,
    /// The object as JSON, with the keys of all maps in order.
    pub json: String,
}

/// What tells one content of a work from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentDigest([u8; 16]);

impl ContentDigest {
    /// The digest of JSON whose maps have their keys in order.
    fn of_canonical(json: &str) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(json.as_bytes())[..16]);
        Self(bytes)
    }

    /// The digest of a work's spec, in whatever order it is written.
    pub fn of(spec: &Value) -> Self {
        // serde_json keeps maps ordered by key, so the text is canonical.
        Self::of_canonical(&spec.to_string())
    }
}

/// A work as it shall be, but for the mailbox it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its name.
    pub name: String,
    /// Its spec as JSON.
    pub spec: String,
    /// What the spec says.
    pub digest: ContentDigest,
}

/// An object that fits into no work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The object.
    pub key: ObjectKey,
    /// Its size as JSON.
    pub bytes: usize,
    /// The name of the work that would have it alone.
    pub work: String,
}

/// The name of an object's own work.
pub fn name_of_single(origin: &Origin, uid: &str) -> String {
    limited(
        &format!("{}-{}-{uid}", origin.binding_uid, origin.wds),
        MAX_NAME,
    )
}

/// The value of a label that says `text`, if need be shortened by a digest.
pub fn label_value(text: &str) -> String {
    limited(text, MAX_LABEL_VALUE)
}

fn limited(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut shortened = text[..text.floor_char_boundary(max - DIGEST_DIGITS - 1)].to_owned();
    shortened.push('-');
    for byte in Sha256::digest(text.as_bytes())
        .iter()
        .take(DIGEST_DIGITS / 2)
    {
        // Writing into a String cannot fail.
        let _ = write!(shortened, "{byte:02x}");
    }
    shortened
}

/// Makes works of manifests, in their order; those that are too large are left out.
pub fn wrap(
    manifests: &[Arc<Manifest>],
    limits: Limits,
    origin: &Origin,
) -> (Vec<Work>, Vec<TooLarge>) {
    let mut works = Vec::new();
    let mut too_large = Vec::new();
    let mut batch: Vec<&Manifest> = Vec::new();
    let mut batch_bytes = 0;
    let singles = limits.max_objects <= 1;
    let mut close = |batch: &mut Vec<&Manifest>| {
        if let Some(first) = batch.first() {
            let name = if singles {
                name_of_single(origin, &first.uid)
            } else {
                let shard = works.len();
                limited(
                    &format!("{}-{}-{shard}", origin.binding, origin.wds),
                    MAX_NAME,
                )
            };
            works.push(work(name, batch));
        }
        batch.clear();
    };
    for manifest in manifests {
        let bytes = manifest.json.len();
        if bytes > limits.max_bytes {
            too_large.push(TooLarge {
                key: manifest.key.clone(),
                bytes,
                work: name_of_single(origin, &manifest.uid),
            });
            continue;
        }
        let is_full = batch.len() >= limits.max_objects.max(1);
        if is_full || batch_bytes + bytes > limits.max_bytes {
            close(&mut batch);
            batch_bytes = 0;
        }
        batch.push(manifest);
        batch_bytes += bytes;
    }
    close(&mut batch);
    (works, too_large)
}

fn work(name: String, manifests: &[&Manifest]) -> Work {
    let configs: Vec<Value> = manifests
        .iter()
        .filter(|manifest| manifest.create_only)
        .map(|manifest| create_only(&manifest.key))
        .collect();
    let objects: Vec<&str> = manifests.iter().map(|one| one.json.as_str()).collect();
    let objects = objects.join(",");
    // Keys in order, as of all that digests are made of.
    let spec = if configs.is_empty() {
        format!(r#"{{"workload":{{"manifests":[{objects}]}}}}"#)
    } else {
        let configs = Value::from(configs);
        format!(r#"{{"manifestConfigs":{configs},"workload":{{"manifests":[{objects}]}}}}"#)
    };
    Work {
        name,
        digest: ContentDigest::of_canonical(&spec),
        spec,
    }
}

fn create_only(key: &ObjectKey) -> Value {
    let mut identifier = BTreeMap::from([
        ("group", key.resource.group.as_str()),
        ("resource", key.resource.resource.as_str()),
        ("name", key.name.name.as_str()),
    ]);
    if !key.name.namespace.is_empty() {
        identifier.insert("namespace", &key.name.namespace);
    }
    json!({"resourceIdentifier": identifier, "updateStrategy": {"type": "CreateOnly"}})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::GroupResource;
    use crate::object::ObjectName;

    fn origin() -> Origin {
        Origin {
            wds: "wds1".to_owned(),
            binding: "nginx-bpolicy".to_owned(),
            binding_uid: "b-uid".to_owned(),
        }
    }

    fn manifest(name: &str, bytes: usize, create_only: bool) -> Arc<Manifest> {
        Arc::new(Manifest {
            key: ObjectKey {
                resource: GroupResource::new("apps", "deployments"),
                name: ObjectName::new("nginx", name),
            },
            uid: format!("{name}-uid"),
            create_only,
            json: json!("x".repeat(bytes - 2)).to_string(),
        })
    }

    fn shapes(works: &[Work]) -> Vec<(String, usize)> {
        let count = |work: &Work| {
            let spec: Value = serde_json::from_str(&work.spec).expect("JSON");
            assert_eq!(ContentDigest::of(&spec), work.digest);
            spec["workload"]["manifests"].as_array().map_or(0, Vec::len)
        };
        works
            .iter()
            .map(|work| (work.name.clone(), count(work)))
            .collect()
    }

    #[test]
    fn one_object_a_work_is_named_after_binding_and_object() {
        let manifests = [manifest("a", 10, false), manifest("b", 10, false)];
        let (works, too_large) = wrap(&manifests, Limits::default(), &origin());
        assert_eq!(
            shapes(&works),
            [
                ("b-uid-wds1-a-uid".to_owned(), 1),
                ("b-uid-wds1-b-uid".to_owned(), 1)
            ]
        );
        assert_eq!(too_large, []);
    }

    #[test]
    fn bundles_end_at_either_limit_and_are_never_empty() {
        let limits = Limits {
            max_objects: 3,
            max_bytes: 100,
        };
        let bundle = |sizes: &[usize]| {
            let manifests: Vec<_> = sizes
                .iter()
                .map(|size| manifest("a", *size, false))
                .collect();
            let (works, too_large) = wrap(&manifests, limits, &origin());
            let counts: Vec<usize> = shapes(&works).iter().map(|(_, count)| *count).collect();
            (counts, too_large.len())
        };
        assert_eq!(bundle(&[]), (vec![], 0));
        assert_eq!(bundle(&[10, 10, 10, 10]), (vec![3, 1], 0));
        assert_eq!(bundle(&[60, 60, 40]), (vec![1, 2], 0));
        assert_eq!(bundle(&[100, 10]), (vec![1, 1], 0));
        assert_eq!(bundle(&[10, 101, 10]), (vec![2], 1));
        let (works, _) = wrap(&vec![manifest("a", 60, false); 2], limits, &origin());
        assert_eq!(
            shapes(&works),
            [
                ("nginx-bpolicy-wds1-0".to_owned(), 1),
                ("nginx-bpolicy-wds1-1".to_owned(), 1)
            ]
        );
    }

    #[test]
    fn an_object_over_the_limit_is_left_out_and_told() {
        let limits = Limits {
            max_objects: 1,
            max_bytes: 50,
        };
        let manifests = [manifest("big", 51, false), manifest("small", 50, false)];
        let (works, too_large) = wrap(&manifests, limits, &origin());
        assert_eq!(shapes(&works), [("b-uid-wds1-small-uid".to_owned(), 1)]);
        assert_eq!(
            (too_large[0].bytes, too_large[0].work.as_str()),
            (51, "b-uid-wds1-big-uid")
        );
    }

    #[test]
    fn objects_to_be_created_only_are_named_to_the_agent() {
        let limits = Limits {
            max_objects: 2,
            max_bytes: 100,
        };
        let manifests = [manifest("a", 10, false), manifest("b", 10, true)];
        let (works, _) = wrap(&manifests, limits, &origin());
        let spec: Value = serde_json::from_str(&works[0].spec).expect("JSON");
        assert_eq!(
            spec["manifestConfigs"],
            json!([{
                "resourceIdentifier":
                    {"group": "apps", "resource": "deployments", "namespace": "nginx", "name": "b"},
                "updateStrategy": {"type": "CreateOnly"},
            }])
        );
    }

    #[test]
    fn long_names_become_labels_by_their_digest() {
        assert_eq!(label_value("nginx-bpolicy"), "nginx-bpolicy");
        let long = "a".repeat(100);
        let value = label_value(&long);
        assert_eq!(value.len(), 63);
        assert_ne!(value, label_value(&"a".repeat(101)));
        assert!(value.starts_with("aaaa") && !value.ends_with('-'));
    }
}
