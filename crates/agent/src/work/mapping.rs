//! From a manifest's kind to the resource that serves it: discovery, remembered.

use hyades_runtime::Trouble;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::core::GroupVersionKind;
use serde_json::Value;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// A kind that was not found is looked for again after this time at the earliest: a work full of
/// unknown kinds must not become a stream of discovery requests.
const MISS_EXPIRES: Duration = Duration::from_secs(1);

/// Group versions remembered. A large cluster serves some hundred.
const GROUP_VERSIONS_MAX: usize = 1_000;

/// An object in the WEC: what serves it, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Group, version, kind and plural.
    pub resource: ApiResource,
    /// Its namespace; none for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl Target {
    /// The client for objects of this type and namespace.
    pub fn api(&self, client: &Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }
}

/// What a manifest says about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Header {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty if none is given.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Header {
    /// Reads a manifest. What is missing is empty.
    pub fn of(manifest: &Value) -> Self {
        let text = |pointer: &str| {
            manifest
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let api_version = text("/apiVersion");
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text("/kind").to_owned(),
            namespace: text("/metadata/namespace").to_owned(),
            name: text("/metadata/name").to_owned(),
        }
    }

    fn group_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Why a manifest has no place in the WEC.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// The manifest is no Kubernetes object.
    #[error("the manifest has no {0}")]
    Incomplete(&'static str),
    /// The WEC does not serve the kind.
    #[error("no matches for kind {kind:?} in version {group_version:?}")]
    NoMatch {
        /// The kind.
        kind: String,
        /// Group and version.
        group_version: String,
    },
    /// A namespaced object without a namespace, or the reverse.
    #[error("{kind} {name} {problem}")]
    Scope {
        /// The kind.
        kind: String,
        /// The object's name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Discovery failed.
    #[error("asked the cluster for the kinds of {group_version}: {trouble}")]
    Discovery {
        /// Group and version.
        group_version: String,
        /// What happened.
        trouble: Trouble,
    },
}

/// The resources of one group version: plural and scope by kind.
type Kinds = HashMap<String, (String, bool)>;

/// Discovery, remembered until a kind is missed.
#[derive(Default)]
pub struct Mapper {
    known: Mutex<HashMap<String, (Instant, Kinds)>>,
}

impl Mapper {
    /// Finds the place of a manifest.
    ///
    /// # Errors
    ///
    /// All of [`MappingError`].
    pub async fn map(&self, client: &Client, header: &Header) -> Result<Target, MappingError> {
        for (text, what) in [
            (&header.version, "apiVersion"),
            (&header.kind, "kind"),
            (&header.name, "metadata.name"),
        ] {
            if text.is_empty() {
                return Err(MappingError::Incomplete(what));
            }
        }
        let (plural, namespaced) = self.find(client, header).await?;
        let scope = |problem| MappingError::Scope {
            kind: header.kind.clone(),
            name: header.name.clone(),
            problem,
        };
        let namespace = match (namespaced, header.namespace.is_empty()) {
            (true, true) => return Err(scope("needs a namespace")),
            (true, false) => Some(header.namespace.clone()),
            (false, _) => None,
        };
        let kind = GroupVersionKind::gvk(&header.group, &header.version, &header.kind);
        Ok(Target {
            resource: ApiResource::from_gvk_with_plural(&kind, &plural),
            namespace,
            name: header.name.clone(),
        })
    }

    async fn find(&self, client: &Client, header: &Header) -> Result<(String, bool), MappingError> {
        let group_version = header.group_version();
        // Held across the request, so that the manifests of one work ask once.
        let mut known = self.known.lock().await;
        if let Some((asked, kinds)) = known.get(&group_version) {
            if let Some(found) = kinds.get(&header.kind) {
                return Ok(found.clone());
            }
            if asked.elapsed() < MISS_EXPIRES {
                return Err(MappingError::NoMatch {
                    kind: header.kind.clone(),
                    group_version,
                });
            }
        }
        let kinds = discover(client, header, &group_version).await?;
        let found = kinds.get(&header.kind).cloned();
        if known.len() >= GROUP_VERSIONS_MAX {
            known.clear();
        }
        known.insert(group_version.clone(), (Instant::now(), kinds));
        found.ok_or(MappingError::NoMatch {
            kind: header.kind.clone(),
            group_version,
        })
    }
}

async fn discover(
    client: &Client,
    header: &Header,
    group_version: &str,
) -> Result<Kinds, MappingError> {
    let answer = if header.group.is_empty() {
        client.list_core_api_resources(&header.version).await
    } else {
        client.list_api_group_resources(group_version).await
    };
    match answer {
        Ok(list) => Ok(list
            .resources
            .into_iter()
            .filter(|resource| !resource.name.contains('/'))
            .map(|resource| (resource.kind, (resource.name, resource.namespaced)))
            .collect()),
        Err(error) if is_unknown(&error) => Ok(Kinds::new()),
        Err(error) => Err(MappingError::Discovery {
            group_version: group_version.to_owned(),
            trouble: Trouble::of(&error),
        }),
    }
}

fn is_unknown(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn target(
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Target {
        Target {
            resource: ApiResource::from_gvk_with_plural(
                &GroupVersionKind::gvk(group, version, kind),
                plural,
            ),
            namespace: (!namespace.is_empty()).then(|| namespace.to_owned()),
            name: name.to_owned(),
        }
    }

    #[test]
    fn a_header_reads_core_and_named_groups() {
        let header = Header::of(
            &json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "n"}}),
        );
        assert_eq!(
            (
                header.group.as_str(),
                header.version.as_str(),
                header.group_version().as_str()
            ),
            ("apps", "v1", "apps/v1")
        );
        let header = Header::of(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}),
        );
        assert_eq!(
            (
                header.group.as_str(),
                header.group_version().as_str(),
                header.namespace.as_str()
            ),
            ("", "v1", "")
        );
        assert_eq!(Header::of(&json!([])), Header::default());
    }
}
