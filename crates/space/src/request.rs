//! What a request asks for: method, path and query parsed once into types. Pure.
//!
//! ```text
//!  /api/v1/…  /apis/GROUP/VERSION/…          ▶ Route::Resource
//!      namespaces/NS/RESOURCE/NAME/SUBRESOURCE
//!      RESOURCE/NAME/SUBRESOURCE
//!  everything else                            ▶ Route::Path
//! ```

use http::Method;

use crate::identity::Attributes;
use crate::query::Query;

/// The longest path that is looked at, in bytes. The longest meaningful one holds four names of
/// 253 bytes, each percent-encoded threefold.
pub const PATH_BYTES_MAX: usize = 4 * 3 * 253 + 256;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// A resource, its collection or one of its subresources.
    Resource(Target),
    /// Any other path.
    Path,
}

/// A resource request's place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Resource, in the plural.
    pub resource: String,
    /// Namespace; empty for cluster-scoped resources and for all namespaces.
    pub namespace: String,
    /// Object name; empty for the collection.
    pub name: String,
    /// Subresource; empty when none. `proxy/a/b` keeps its tail apart: only `proxy` stays.
    pub subresource: String,
}

/// What is done to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are upstream's and say it all")]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// The verb as RBAC and discovery name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
}

/// Parses the path. Segments arrive percent-decoded.
pub fn route(path: &str) -> Route {
    let segments: Vec<String> = path
        .split('/')
        .filter(|segment| !segment.is_empty())
        .map(crate::query::percent_decode)
        .collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["api", version, rest @ ..] if !rest.is_empty() => target("", version, rest),
        ["apis", group, version, rest @ ..] if !rest.is_empty() => target(group, version, rest),
        _ => Route::Path,
    }
}

fn target(group: &str, version: &str, rest: &[&str]) -> Route {
    // `namespaces/NAME/status` and `namespaces/NAME/finalize` are subresources of the namespace,
    // any other third segment is a resource in it.
    let (namespace, rest) = match rest {
        ["namespaces", name, sub @ ("status" | "finalize")] => {
            return Route::Resource(Target {
                group: group.to_owned(),
                version: version.to_owned(),
                resource: "namespaces".to_owned(),
                namespace: (*name).to_owned(),
                name: (*name).to_owned(),
                subresource: (*sub).to_owned(),
            });
        }
        ["namespaces", namespace, tail @ ..] if !tail.is_empty() => (*namespace, tail),
        other => ("", other),
    };
    let at = |place: usize| rest.get(place).copied().unwrap_or_default().to_owned();
    Route::Resource(Target {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: at(0),
        namespace: namespace.to_owned(),
        name: at(1),
        subresource: at(2),
    })
}

impl Target {
    /// The verb of a method on this target; `None` for methods no resource has.
    pub fn verb(&self, method: &Method, query: &Query) -> Option<Verb> {
        let collection = self.name.is_empty();
        Some(match *method {
            Method::GET | Method::HEAD if query.flag("watch") && self.subresource.is_empty() => {
                Verb::Watch
            }
            Method::GET | Method::HEAD if collection => Verb::List,
            Method::GET | Method::HEAD => Verb::Get,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if collection => Verb::DeleteCollection,
            Method::DELETE => Verb::Delete,
            _ => return None,
        })
    }

    /// Whether this makes a certificate signing request, or reads one by its name.
    pub fn renews_a_certificate(&self, method: &Method, query: &Query) -> bool {
        let is_request = self.group == "certificates.k8s.io"
            && self.resource == "certificatesigningrequests"
            && self.subresource.is_empty();
        let verb = self.verb(method, query);
        is_request && matches!(verb, Some(Verb::Create | Verb::Get))
    }

    /// What the authoriser is asked. Collections restricted to one name by a field selector are
    /// judged as that name, so that a rule with resourceNames can allow them.
    pub fn attributes(&self, verb: Verb, query: &Query) -> Attributes {
        let mut name = self.name.clone();
        if name.is_empty() && matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
            name = selected_name(query.first("fieldSelector").unwrap_or_default());
        }
        Attributes::Resource {
            verb: verb.as_str().to_owned(),
            group: self.group.clone(),
            version: self.version.clone(),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            namespace: self.namespace.clone(),
            name,
        }
    }
}

/// The name a field selector pins (`metadata.name=a`), or nothing.
fn selected_name(selector: &str) -> String {
    selector
        .split(',')
        .find_map(|term| {
            let value = term.trim().strip_prefix("metadata.name=")?;
            Some(value.strip_prefix('=').unwrap_or(value).to_owned())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Option<[String; 6]> {
        match route(path) {
            Route::Resource(t) => Some([
                t.group,
                t.version,
                t.resource,
                t.namespace,
                t.name,
                t.subresource,
            ]),
            Route::Path => None,
        }
    }

    #[test]
    fn paths_come_apart_into_group_resource_namespace_name_and_subresource() {
        let cases = [
            ("/api/v1/pods", ["", "v1", "pods", "", "", ""]),
            ("/api/v1/namespaces", ["", "v1", "namespaces", "", "", ""]),
            (
                "/api/v1/namespaces/a",
                ["", "v1", "namespaces", "", "a", ""],
            ),
            (
                "/api/v1/namespaces/a/finalize",
                ["", "v1", "namespaces", "a", "a", "finalize"],
            ),
            (
                "/api/v1/namespaces/a/pods/b/log",
                ["", "v1", "pods", "a", "b", "log"],
            ),
            (
                "/apis/apps/v1/namespaces/a/deployments/b/scale",
                ["apps", "v1", "deployments", "a", "b", "scale"],
            ),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                [
                    "rbac.authorization.k8s.io",
                    "v1",
                    "clusterroles",
                    "",
                    "system:node",
                    "",
                ],
            ),
        ];
        for (path, expected) in cases {
            assert_eq!(parsed(path), Some(expected.map(str::to_owned)), "{path}");
        }
        for path in ["/", "/api", "/apis", "/apis/apps/v1", "/api/v1", "/version"] {
            assert_eq!(parsed(path), None, "{path}");
        }
    }

    #[test]
    fn only_making_and_reading_a_certificate_request_renews_a_certificate() {
        let base = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let renews = |method: Method, path: &str, query: &str| match route(path) {
            Route::Resource(target) => target.renews_a_certificate(&method, &Query::parse(query)),
            Route::Path => false,
        };
        assert!(renews(Method::POST, base, ""));
        assert!(renews(Method::GET, &format!("{base}/a"), ""));
        for (method, path, query) in [
            (Method::GET, base.to_owned(), ""),
            (Method::GET, base.to_owned(), "watch=true"),
            (Method::GET, format!("{base}/a"), "watch=true"),
            (Method::PUT, format!("{base}/a/approval"), ""),
            (Method::DELETE, format!("{base}/a"), ""),
            (Method::POST, "/api/v1/namespaces/a/secrets".to_owned(), ""),
        ] {
            assert!(!renews(method, &path, query), "{path}?{query}");
        }
    }

    #[test]
    fn verbs_follow_method_name_and_watch() {
        let collection = Target::default();
        let object = Target {
            name: "a".to_owned(),
            ..Target::default()
        };
        let none = Query::parse("");
        let watch = Query::parse("watch=true");
        let cases = [
            (&collection, Method::GET, &none, Some(Verb::List)),
            (&collection, Method::GET, &watch, Some(Verb::Watch)),
            (&object, Method::GET, &none, Some(Verb::Get)),
            (&object, Method::DELETE, &none, Some(Verb::Delete)),
            (
                &collection,
                Method::DELETE,
                &none,
                Some(Verb::DeleteCollection),
            ),
            (&object, Method::OPTIONS, &none, None),
        ];
        for (target, method, query, expected) in cases {
            assert_eq!(target.verb(&method, query), expected, "{method}");
        }
    }

    #[test]
    fn a_field_selector_on_the_name_names_the_object() {
        assert_eq!(selected_name("metadata.name=a"), "a");
        assert_eq!(selected_name("x=y,metadata.name==a"), "a");
        assert_eq!(selected_name("metadata.name!=a"), "");
    }
}
