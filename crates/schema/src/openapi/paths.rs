//! The paths of a resource, with the verbs and query parameters that clients look for.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Resource;
use super::model::ResourceModel;
use super::model::Schemas;

const BODIES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// One operation in the making.
struct Operation<'a> {
    /// HTTP method, which is also the name under which OpenAPI lists the operation.
    method: &'static str,
    /// `x-kubernetes-action`.
    action: &'static str,
    /// Group, version and kind of what it works on.
    gvk: (&'a str, &'a str, &'a str),
    /// The schema of what it reads, if it reads a body.
    body: Option<&'a Value>,
    /// The schema of what it answers.
    answer: Option<&'a Value>,
    /// Whether a patch may be a strategic merge.
    strategic_merge: bool,
}

/// Adds the paths of a resource.
pub(super) fn add(
    paths: &mut Map<String, Value>,
    schemas: &mut Schemas<'_>,
    (group, version): (&str, &str),
    resource: &Resource<'_>,
    model: &ResourceModel,
) {
    let root = match group {
        "" => format!("/api/{version}"),
        _ => format!("/apis/{group}/{version}"),
    };
    let scope = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{root}{scope}/{}", resource.plural);
    let gvk = (group, version, resource.kind);
    let operation = |method, action| Operation {
        method,
        action,
        gvk,
        body: None,
        answer: Some(&model.object),
        strategic_merge: model.strategic_merge,
    };
    let list = Operation {
        answer: model.list.as_ref(),
        ..operation("get", "list")
    };
    let has = |verb: &str| resource.verbs.contains(&verb);
    if resource.namespaced && has("list") {
        let everywhere = format!("{root}/{}", resource.plural);
        put(paths, &everywhere, &list);
    }
    if has("list") {
        put(paths, &collection, &list);
    }
    if has("create") {
        let body = Some(&model.object);
        put(
            paths,
            &collection,
            &Operation {
                body,
                ..operation("post", "post")
            },
        );
    }
    if has("deletecollection") {
        let delete = operation("delete", "deletecollection");
        put(paths, &collection, &delete);
    }
    let item = format!("{collection}/{{name}}");
    for operation in item_operations(resource.verbs, gvk, Some(&model.object), model) {
        put(paths, &item, &operation);
    }
    for subresource in &resource.subresources {
        let own = subresource.body == gvk;
        let body = match own {
            true => Some(model.object.clone()),
            false => schemas.body(subresource.body),
        };
        let path = format!("{item}/{}", subresource.name);
        for operation in item_operations(subresource.verbs, subresource.body, body.as_ref(), model)
        {
            put(paths, &path, &operation);
        }
    }
}

fn item_operations<'a>(
    verbs: &[&str],
    gvk: (&'a str, &'a str, &'a str),
    schema: Option<&'a Value>,
    model: &ResourceModel,
) -> Vec<Operation<'a>> {
    const VERBS: &[(&str, &str, &str)] = &[
        ("create", "post", "post"),
        ("delete", "delete", "delete"),
        ("get", "get", "get"),
        ("patch", "patch", "patch"),
        ("update", "put", "put"),
    ];
    // An item is not created under its own name, only subresources such as `binding` are. They
    // have no collection, and a collection's verbs include `list`.
    let is_item = verbs.contains(&"list") || verbs.contains(&"deletecollection");
    VERBS
        .iter()
        .filter(|(verb, _, _)| verbs.contains(verb) && !(is_item && *verb == "create"))
        .map(|(_, method, action)| Operation {
            method,
            action,
            gvk,
            body: schema.filter(|_| matches!(*method, "post" | "put")),
            answer: schema,
            strategic_merge: model.strategic_merge,
        })
        .collect()
}

fn put(paths: &mut Map<String, Value>, path: &str, operation: &Operation<'_>) {
    let entry = paths.entry(path).or_insert_with(|| {
        let variables = ["name", "namespace"]
            .into_iter()
            .filter(|name| path.contains(&format!("{{{name}}}")))
            .map(|name| {
                json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
            });
        json!({"parameters": variables.collect::<Vec<_>>()})
    });
    entry[operation.method] = describe(operation);
}

fn describe(operation: &Operation<'_>) -> Value {
    let (group, version, kind) = operation.gvk;
    let mut described = json!({
        "parameters": query_parameters(operation.action),
        "responses": {"200": response(operation.answer)},
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if operation.method == "patch" {
        described["requestBody"] = json!({
            "content": patch_content(operation.strategic_merge),
            "required": true,
        });
    } else if let Some(schema) = operation.body {
        described["requestBody"] = json!({"content": content(schema), "required": true});
    }
    described
}

fn response(answer: Option<&Value>) -> Value {
    match answer {
        Some(schema) => json!({"description": "OK", "content": content(schema)}),
        None => json!({"description": "OK"}),
    }
}

fn content(schema: &Value) -> Map<String, Value> {
    BODIES
        .iter()
        .map(|kind| ((*kind).to_owned(), json!({ "schema": schema })))
        .collect()
}

fn patch_content(strategic_merge: bool) -> Map<String, Value> {
    [
        "application/apply-patch+yaml",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
    ]
    .into_iter()
    .filter(|kind| strategic_merge || !kind.contains("strategic"))
    .map(|kind| (kind.to_owned(), json!({"schema": {"type": "object"}})))
    .collect()
}

fn query_parameters(action: &str) -> Vec<Value> {
    const SELECTION: &[(&str, &str)] = &[
        ("allowWatchBookmarks", "boolean"),
        ("continue", "string"),
        ("fieldSelector", "string"),
        ("labelSelector", "string"),
        ("limit", "integer"),
        ("resourceVersion", "string"),
        ("resourceVersionMatch", "string"),
        ("sendInitialEvents", "boolean"),
        ("timeoutSeconds", "integer"),
        ("watch", "boolean"),
    ];
    const WRITING: &[(&str, &str)] = &[
        ("dryRun", "string"),
        ("fieldManager", "string"),
        ("fieldValidation", "string"),
    ];
    const DELETING: &[(&str, &str)] = &[
        ("dryRun", "string"),
        ("gracePeriodSeconds", "integer"),
        ("orphanDependents", "boolean"),
        ("propagationPolicy", "string"),
    ];
    let groups: &[&[(&str, &str)]] = match action {
        "list" => &[SELECTION],
        "deletecollection" => &[SELECTION, DELETING],
        "delete" => &[DELETING],
        "post" | "put" => &[WRITING],
        "patch" => &[WRITING, &[("force", "boolean")]],
        _ => &[],
    };
    groups
        .concat()
        .into_iter()
        .chain([("pretty", "string")])
        .map(|(name, kind)| {
            json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
        })
        .collect()
}
