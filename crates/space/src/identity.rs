//! Who is asking, and for what.

/// An authenticated user, as TokenReview and SubjectAccessReview word it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserInfo {
    /// User name.
    pub name: String,
    /// Unique id; empty when the authenticator knows none.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Further facts, such as the bound pod of a service-account token.
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// The space itself, as which its own controllers write.
    pub fn apiserver() -> UserInfo {
        UserInfo {
            name: "system:apiserver".to_owned(),
            groups: vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ],
            ..UserInfo::default()
        }
    }

    /// A service account, as its token authenticates it.
    pub fn service_account(namespace: &str, name: &str) -> UserInfo {
        UserInfo {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            ..UserInfo::default()
        }
    }

    /// A request without credentials.
    pub fn anonymous() -> UserInfo {
        UserInfo {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..UserInfo::default()
        }
    }
}

/// What a request wants to do, as the authoriser sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attributes {
    /// A resource request.
    Resource {
        /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a
        /// verb of the virtual kind (`bind`, `escalate`, `impersonate`, `approve`, …).
        verb: String,
        /// API group.
        group: String,
        /// API version.
        version: String,
        /// Resource, in the plural.
        resource: String,
        /// Subresource; empty when none.
        subresource: String,
        /// Namespace; empty for cluster-scoped requests and requests over all namespaces.
        namespace: String,
        /// Object name; empty for collections.
        name: String,
    },
    /// A request for a path that is no resource.
    Path {
        /// The lower-case HTTP method.
        verb: String,
        /// The path within the space.
        path: String,
    },
}
