//! OpenAPI v3 documents of API groups, as `kubectl explain`, `apply` and `--validate` read them.
//!
//! ```text
//!  kinds of a group and version ─▶ paths: which verbs, which query parameters
//!        │
//!        └─ types reachable ─────▶ components/schemas: structure, list types, merge keys
//! ```
//!
//! Documents hold structure and no prose, except that custom resources are published with the
//! schema that their definition states, descriptions included.
//!
//! Clients look for three things: the schema whose `x-kubernetes-group-version-kind` names their
//! kind (explain, client-side apply), the content types of its `patch` operation (whether strategic
//! merge is possible) and that operation's query parameters (`fieldValidation`, `dryRun`).

mod model;
mod paths;

use std::sync::OnceLock;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use crate::kinds::Builtin;
use crate::kinds::Kind;
use crate::kinds::Subresource;

/// A resource to publish.
#[derive(Debug, Clone)]
pub struct Resource<'a> {
    /// Kind (`Pod`).
    pub kind: &'a str,
    /// Resource name in paths (`pods`).
    pub plural: &'a str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Supported verbs.
    pub verbs: &'a [&'a str],
    /// Its subresources.
    pub subresources: Vec<SubresourcePath<'a>>,
    /// What its objects look like.
    pub model: Model<'a>,
}

/// A subresource to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubresourcePath<'a> {
    /// Its name in paths (`status`).
    pub name: &'a str,
    /// Supported verbs.
    pub verbs: &'a [&'a str],
    /// Group, version and kind of its body.
    pub body: (&'a str, &'a str, &'a str),
}

/// Where a resource's schema comes from.
#[derive(Debug, Clone, Copy)]
pub enum Model<'a> {
    /// A type of the built-in table, by name.
    Builtin(&'a str),
    /// The `openAPIV3Schema` of a CustomResourceDefinition's version, as written.
    Custom(&'a Value),
}

impl From<&'static Kind> for Resource<'static> {
    fn from(kind: &'static Kind) -> Resource<'static> {
        Resource {
            kind: kind.kind,
            plural: kind.plural,
            namespaced: kind.namespaced,
            verbs: kind.verbs,
            subresources: kind
                .subresources
                .iter()
                .map(SubresourcePath::from)
                .collect(),
            model: Model::Builtin(kind.type_name),
        }
    }
}

impl From<&'static Subresource> for SubresourcePath<'static> {
    fn from(subresource: &'static Subresource) -> SubresourcePath<'static> {
        SubresourcePath {
            name: subresource.name,
            verbs: subresource.verbs,
            body: subresource.body,
        }
    }
}

/// The document of one group and version: what `/openapi/v3/apis/GROUP/VERSION` answers.
///
/// The same input gives the same document, byte for byte.
pub fn v3_document(
    builtin: &Builtin,
    group: &str,
    version: &str,
    resources: &[Resource<'_>],
) -> Value {
    let mut schemas = model::Schemas::new(builtin);
    let mut all_paths = Map::new();
    for resource in resources {
        let model = schemas.add_resource(group, version, resource);
        paths::add(
            &mut all_paths,
            &mut schemas,
            (group, version),
            resource,
            &model,
        );
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": all_paths,
        "components": {"schemas": schemas.finish()},
    })
}

/// The path of a group and version in the index and under `/openapi/v3/` (`api/v1`,
/// `apis/apps/v1`).
pub fn v3_path(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// The index that `/openapi/v3` answers, out of paths and fingerprints.
///
/// Clients keep a document for as long as its hash stays.
pub fn v3_index<'a>(documents: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let paths: Map<String, Value> = documents
        .into_iter()
        .map(|(path, hash)| {
            let url = format!("/openapi/v3/{path}?hash={hash}");
            (path.to_owned(), json!({ "serverRelativeURL": url }))
        })
        .collect();
    json!({ "paths": paths })
}

/// A hash of everything that a document is made of, found without making it: 64 digits.
pub fn v3_fingerprint(group: &str, version: &str, resources: &[Resource<'_>]) -> String {
    static TABLE: OnceLock<[u8; 32]> = OnceLock::new();
    let table = TABLE.get_or_init(|| Sha256::digest(crate::table::builtin_text()).into());
    let mut hash = Sha256::new();
    hash.update(table);
    hash.update(env!("CARGO_PKG_VERSION"));
    for part in [group, version] {
        hash.update(part);
        hash.update([0]);
    }
    for resource in resources {
        // The derived form names every field and quotes every string: no two resources share it.
        hash.update(format!("{resource:?}"));
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::ALL_VERBS;
    use crate::kinds::GROUPS;
    use crate::kinds::builtin;

    fn document(group: &str, version: &str) -> Value {
        let resources: Vec<_> = builtin()
            .kinds_of(group, version)
            .iter()
            .map(Resource::from)
            .collect();
        v3_document(builtin(), group, version, &resources)
    }

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    match value {
                        Value::String(name) if key == "$ref" => found.push(name),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_reference_of_every_document_leads_somewhere() {
        for group in GROUPS {
            for version in group.versions {
                let document = document(group.name, version);
                let mut found = Vec::new();
                references(&document, &mut found);
                assert!(!found.is_empty(), "{}", group.name);
                for reference in found {
                    let pointer = &reference[1..];
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
            }
        }
    }

    #[test]
    fn every_stored_kind_has_a_schema_and_a_patch_operation_of_its_own() {
        for group in GROUPS {
            for version in group.versions {
                let document = document(group.name, version);
                for kind in builtin().kinds_of(group.name, version) {
                    let wanted =
                        json!({"group": group.name, "version": version, "kind": kind.kind});
                    let schema = &document["components"]["schemas"][kind.type_name];
                    assert_eq!(schema["x-kubernetes-group-version-kind"], json!([wanted]));
                    if !kind.verbs.contains(&"patch") {
                        continue;
                    }
                    let patch = document["paths"]
                        .as_object()
                        .unwrap()
                        .values()
                        .map(|path| &path["patch"])
                        .find(|patch| patch["x-kubernetes-group-version-kind"] == wanted)
                        .unwrap();
                    let content = &patch["requestBody"]["content"];
                    assert!(content["application/strategic-merge-patch+json"].is_object());
                    let parameters = patch["parameters"].as_array().unwrap();
                    for name in ["dryRun", "fieldManager", "fieldValidation", "force"] {
                        assert!(parameters.iter().any(|p| p["name"] == name), "{name}");
                    }
                }
            }
        }
    }

    #[test]
    fn structure_and_merge_keys_are_published() {
        let core = document("", "v1");
        let schemas = &core["components"]["schemas"];
        assert_eq!(
            schemas["io.k8s.api.core.v1.ServiceSpec"]["properties"]["ports"],
            json!({
                "type": "array",
                "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.ServicePort"},
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["port", "protocol"],
                "x-kubernetes-patch-merge-key": "port",
                "x-kubernetes-patch-strategy": "merge",
            })
        );
        let apps = document("apps", "v1");
        assert_eq!(
            apps["components"]["schemas"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"],
            json!({
                "allOf": [
                    {"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentStrategy"},
                ],
                "x-kubernetes-patch-strategy": "retainKeys",
            })
        );
        assert!(core["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/log"]["get"].is_object());
        assert!(core["paths"]["/api/v1/pods"]["get"].is_object());
        assert!(core["paths"]["/api/v1/pods"]["post"].is_null());
    }

    #[test]
    fn custom_resources_are_published_with_their_own_schema() {
        let schema = json!({
            "type": "object",
            "description": "A toy.",
            "properties": {
                "metadata": {"type": "object"},
                "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
            },
        });
        let resource = |schema| Resource {
            kind: "Toy",
            plural: "toys",
            namespaced: true,
            verbs: ALL_VERBS,
            subresources: vec![SubresourcePath {
                name: "status",
                verbs: &["get", "patch", "update"],
                body: ("play.example.com", "v1", "Toy"),
            }],
            model: Model::Custom(schema),
        };
        let document = v3_document(builtin(), "play.example.com", "v1", &[resource(&schema)]);
        let toy = &document["components"]["schemas"]["com.example.play.v1.Toy"];
        assert_eq!(toy["description"], "A toy.");
        assert_eq!(toy["properties"]["spec"], schema["properties"]["spec"]);
        assert_eq!(
            toy["properties"]["metadata"]["$ref"],
            "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
        );
        let item = "/apis/play.example.com/v1/namespaces/{namespace}/toys/{name}";
        let content = &document["paths"][item]["patch"]["requestBody"]["content"];
        assert!(content["application/strategic-merge-patch+json"].is_null());
        assert!(content["application/merge-patch+json"].is_object());
        let mut found = Vec::new();
        references(&document, &mut found);
        for reference in found {
            assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
        }
        let other = json!({"type": "object"});
        let fingerprint = |schema| v3_fingerprint("play.example.com", "v1", &[resource(schema)]);
        assert_ne!(fingerprint(&schema), fingerprint(&other));
        assert_eq!(fingerprint(&schema), fingerprint(&schema.clone()));
    }

    #[test]
    fn the_index_names_documents_with_their_hash() {
        let path = v3_path("apps", "v1");
        assert_eq!(
            v3_index([(path.as_str(), "AB"), ("api/v1", "CD")]),
            json!({"paths": {
                "api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=CD"},
                "apis/apps/v1": {"serverRelativeURL": "/openapi/v3/apis/apps/v1?hash=AB"},
            }})
        );
    }
}
