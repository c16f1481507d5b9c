//! Every verb on every resource that a space discovers, tried with real requests.
//!
//! Authorisation comes before everything else that looks at a request, so an answer other than 403
//! and 401 says that the caller may: what is sent then fails later, since its body is no object and
//! its name is nobody's.

use std::collections::BTreeMap;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::wire::Caller;

/// A name that no object has.
const NOBODY: &str = "no-such-object";

/// A resource as discovery tells of it.
#[derive(Debug, Clone)]
pub struct Resource {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    root: String,
    /// `PLURAL` or `PLURAL/SUBRESOURCE`.
    name: String,
    is_namespaced: bool,
}

impl Resource {
    /// `PLURAL.GROUP`, with the subresource after it, if it is one.
    fn title(&self) -> String {
        let group = self.root.strip_prefix("/apis/").unwrap_or_default();
        let group = group.split('/').next().unwrap_or_default();
        let (plural, subresource) = self.parts();
        let dot = if group.is_empty() { "" } else { "." };
        format!("{plural}{dot}{group}{subresource}")
    }

    fn parts(&self) -> (&str, String) {
        match self.name.split_once('/') {
            Some((plural, sub)) => (plural, format!("/{sub}")),
            None => (&self.name, String::new()),
        }
    }
}

/// All resources that a space serves.
pub fn discover(admin: &Caller) -> Vec<Resource> {
    let json = |path: &str| {
        let accept = "application/json";
        admin
            .send_accepting(accept, "GET", path, None, Vec::new())
            .ok()
    };
    let mut roots = vec!["/api/v1".to_owned()];
    for group in list(&json("/apis"), "groups") {
        for version in list(&group, "versions") {
            let version = version["groupVersion"].as_str().expect("a version");
            roots.push(format!("/apis/{version}"));
        }
    }
    let mut resources = Vec::new();
    for root in roots {
        for entry in list(&json(&root), "resources") {
            resources.push(Resource {
                root: root.clone(),
                name: entry["name"].as_str().expect("a name").to_owned(),
                is_namespaced: entry["namespaced"] == true,
            });
        }
    }
    assert!(
        resources.len() > 100,
        "discovery is complete: {}",
        resources.len()
    );
    resources
}

fn list(object: &Value, field: &str) -> Vec<Value> {
    object[field].as_array().cloned().unwrap_or_default()
}

/// What is tried: verbs by how they are sent.
fn requests(resource: &Resource, place: &str, name: &str) -> Vec<(&'static str, Sent)> {
    let (plural, subresource) = resource.parts();
    let root = &resource.root;
    let all = match place {
        "" => format!("{root}/{plural}"),
        namespace => format!("{root}/namespaces/{namespace}/{plural}"),
    };
    let one = format!("{all}/{name}{subresource}");
    let sent = |method, path: &str| Sent {
        method,
        path: path.to_owned(),
    };
    let mut requests = vec![
        ("get", sent("GET", &one)),
        ("update", sent("PUT", &one)),
        ("patch", sent("PATCH", &one)),
    ];
    if subresource.is_empty() {
        requests.extend([
            ("list", sent("GET", &all)),
            (
                "watch",
                sent("GET", &format!("{all}?watch=true&timeoutSeconds=1")),
            ),
            ("create", sent("POST", &all)),
            ("delete", sent("DELETE", &one)),
            ("deletecollection", sent("DELETE", &all)),
        ]);
    } else {
        requests.push(("create", sent("POST", &one)));
    }
    requests
}

struct Sent {
    method: &'static str,
    path: String,
}

/// Places and names to try: a namespace, or none, and a name.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// A namespace; empty for everything that has none, and for lists across namespaces.
    pub namespace: &'static str,
    /// The name of a cluster-scoped object.
    pub name: &'static str,
}

/// Tries everything at these places; says what was not refused, one line for each resource and
/// place.
pub fn allowed(caller: &Caller, resources: &[Resource], places: &[Place]) -> String {
    let mut found: BTreeMap<(usize, String), BTreeSet<&str>> = BTreeMap::new();
    for (number, place) in places.iter().enumerate() {
        for resource in resources {
            let fits = place.namespace.is_empty() || resource.is_namespaced;
            if !fits {
                continue;
            }
            let name = match resource.is_namespaced {
                true => NOBODY,
                false => place.name,
            };
            for (verb, sent) in requests(resource, place.namespace, name) {
                let across = resource.is_namespaced && place.namespace.is_empty();
                if across && verb != "list" && verb != "watch" {
                    continue;
                }
                let answer = try_out(caller, &sent);
                assert!(answer < 500, "{} {}: {answer}", sent.method, sent.path);
                // 405: the resource has no such verb; nobody may.
                if ![401, 403, 405].contains(&answer) {
                    let key = (number, resource.title());
                    found.entry(key).or_default().insert(verb);
                }
            }
        }
    }
    let mut text = String::new();
    for ((number, title), verbs) in found {
        let place = match places[number] {
            Place {
                namespace: "",
                name,
            } => format!("cluster-scoped {name}"),
            Place { namespace, .. } => format!("namespace {namespace}"),
        };
        let verbs = verbs.into_iter().collect::<Vec<_>>().join(",");
        text.push_str(&format!("{place}: {title} {verbs}\n"));
    }
    text
}

fn try_out(caller: &Caller, sent: &Sent) -> u16 {
    let (content_type, body) = match sent.method {
        "PATCH" => (Some("application/merge-patch+json"), "{}"),
        "PUT" | "POST" => (Some("application/json"), "{}"),
        _ => (None, ""),
    };
    let accept = "application/json";
    let body = body.as_bytes().to_vec();
    caller
        .send_accepting(accept, sent.method, &sent.path, content_type, body)
        .code
}
