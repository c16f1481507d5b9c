//! Which resources of a WDS are watched, and which of their objects no policy can mean.

use super::clause::Labels;
use crate::object::GroupResource;
use crate::object::ObjectKey;
use hyades_api::control::names::CONTROL_GROUP;
use hyades_api::control::names::SYSTEM_NAMESPACE;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use hyades_runtime::kube;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Discovery;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::discovery::ApiGroup;
use hyades_runtime::kube::discovery::verbs;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;

/// Groups that describe a cluster's own workings and nobody's workload, as upstream leaves them out.
const GROUPS_LEFT_OUT: [&str; 5] = [
    "apiregistration.k8s.io",
    CONTROL_GROUP,
    "coordination.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// Resources that are left out for the same reason, as GROUP and PLURAL.
const RESOURCES_LEFT_OUT: [(&str, &str); 6] = [
    ("", "endpoints"),
    ("", "events"),
    ("", "nodes"),
    ("events.k8s.io", "events"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
];

/// The group of definitions: it is watched whatever `--api-groups` says, since its objects tell
/// which kinds there are.
pub(super) const DEFINITIONS_GROUP: &str = "apiextensions.k8s.io";

/// The label of roles that an API server itself keeps.
const BOOTSTRAPPING_LABEL: &str = "kubernetes.io/bootstrapping";

/// The ConfigMap that every namespace of every cluster has of its own, with that cluster's
/// authority: another one's would cut off the pods that trust it.
const ROOT_CA_CONFIG_MAP: &str = "kube-root-ca.crt";

/// The kind of a resource, in the one version in which it is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) version: String,
    pub(super) kind: String,
    /// Whether policies can mean it. Namespaces are watched for their labels at any rate.
    pub(super) is_selectable: bool,
}

impl Kind {
    pub(crate) fn api_resource(&self, resource: &GroupResource) -> ApiResource {
        let api_version = match resource.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        };
        ApiResource {
            group: resource.group.clone(),
            version: self.version.clone(),
            api_version,
            kind: self.kind.clone(),
            plural: resource.resource.clone(),
        }
    }
}

/// Asks a WDS which resources it has.
///
/// # Errors
/// When the API server cannot be asked, in either form of discovery.
pub(crate) async fn discover(client: &Client) -> kube::Result<Discovery> {
    match Discovery::new(client.clone()).run_aggregated().await {
        Ok(found) => Ok(found),
        // A server from before aggregated discovery is asked group by group.
        Err(_) => Discovery::new(client.clone()).run().await,
    }
}

/// Asks a WDS itself about kinds that its discovery shows no more, and returns those of which it does
/// not say that they are gone. Discovery leaves out, or shows empty, what an aggregated API server
/// serves while it is down; its group and version then answer with an error that is not 404.
pub(super) async fn not_surely_gone(
    client: &Client,
    missing: BTreeMap<GroupResource, Kind>,
) -> BTreeMap<GroupResource, Kind> {
    let mut shown = HashMap::new();
    let mut doubtful = BTreeMap::new();
    for (resource, kind) in missing {
        let api_version = kind.api_resource(&resource).api_version;
        if !shown.contains_key(&api_version) {
            let answer = match resource.group.as_str() {
                "" => client.list_core_api_resources(&api_version).await,
                _ => client.list_api_group_resources(&api_version).await,
            };
            shown.insert(api_version.clone(), plurals(answer));
        }
        let is_gone = match &shown[&api_version] {
            Ok(plurals) => !plurals.contains(&resource.resource),
            Err(trouble) => {
                tracing::warn!(
                    "{resource} is missing in discovery, and reading {api_version} failed: \
                     {trouble}; going on as if it were there"
                );
                false
            }
        };
        if !is_gone {
            doubtful.insert(resource, kind);
        }
    }
    doubtful
}

/// The resources that an API version says can be watched: none if it does not exist.
fn plurals(answer: kube::Result<APIResourceList>) -> Result<HashSet<String>, Trouble> {
    match answer {
        Ok(list) => {
            let resources = list.resources.into_iter();
            let watchable = resources.filter(|resource| {
                let can = |verb: &str| resource.verbs.iter().any(|own| own == verb);
                can(verbs::LIST) && can(verbs::WATCH)
            });
            Ok(watchable.map(|resource| resource.name).collect())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(HashSet::new()),
        Err(error) => Err(Trouble::of(&error)),
    }
}

/// The resources to watch. With `groups`, only those of these groups can be meant.
pub(crate) fn watched(
    discovery: &Discovery,
    groups: &BTreeSet<String>,
) -> BTreeMap<GroupResource, Kind> {
    let mut kinds = BTreeMap::new();
    for group in discovery.groups() {
        let is_wanted =
            groups.is_empty() || groups.contains(group.name()) || group.name() == DEFINITIONS_GROUP;
        for (resource, kind) in of_group(group) {
            let is_selectable = is_wanted && !is_left_out(&resource);
            if is_selectable || is_namespace(&resource) {
                let kind = Kind {
                    is_selectable,
                    ..kind
                };
                kinds.insert(resource, kind);
            }
        }
    }
    kinds
}

/// The resources of a group that can be listed and watched, each in one version: the group's
/// preferred one, else the most stable.
fn of_group(group: &ApiGroup) -> BTreeMap<GroupResource, Kind> {
    let mut kinds = BTreeMap::new();
    let preferred = group.recommended_resources();
    let others = group.resources_by_stability();
    for (api, capabilities) in preferred.into_iter().chain(others) {
        let is_watchable = capabilities.supports_operation(verbs::LIST)
            && capabilities.supports_operation(verbs::WATCH);
        if is_watchable {
            let resource = GroupResource::new(api.group, api.plural);
            kinds.entry(resource).or_insert(Kind {
                version: api.version,
                kind: api.kind,
                is_selectable: true,
            });
        }
    }
    kinds
}

fn is_left_out(resource: &GroupResource) -> bool {
    let (group, plural) = (resource.group.as_str(), resource.resource.as_str());
    GROUPS_LEFT_OUT.contains(&group) || RESOURCES_LEFT_OUT.contains(&(group, plural))
}

/// The resource of namespaces.
pub(super) fn namespaces() -> GroupResource {
    GroupResource::new("", "namespaces")
}

pub(super) fn is_namespace(resource: &GroupResource) -> bool {
    resource.group.is_empty() && resource.resource == "namespaces"
}

/// Whether this is the resource of definitions.
pub(super) fn is_definition(resource: &GroupResource) -> bool {
    resource.group == DEFINITIONS_GROUP && resource.resource == "customresourcedefinitions"
}

/// Whether an object belongs to the WDS itself, so that no policy can mean it: what an API server
/// makes in every cluster anew, and what distribution runs by, its credentials among it.
pub(super) fn belongs_to_the_space(key: &ObjectKey, labels: &Labels) -> bool {
    let (resource, name) = (&key.resource, &key.name);
    let is_ours = name.namespace == SYSTEM_NAMESPACE
        || (is_namespace(resource) && name.name == SYSTEM_NAMESPACE);
    let is_root_ca = resource.group.is_empty()
        && resource.resource == "configmaps"
        && name.name == ROOT_CA_CONFIG_MAP;
    is_ours || is_root_ca || labels.contains_key(BOOTSTRAPPING_LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::ObjectName;
    use http::Request;
    use http::Response;
    use hyades_runtime::kube::client::Body;
    use serde_json::json;
    use std::convert::Infallible;

    /// An API server of one served group and version, one that is down and none else.
    fn half_an_api_server() -> Client {
        let service = tower::service_fn(async |request: Request<Body>| {
            let status = |code: u16, reason: &str| {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "message": "x", "reason": reason, "code": code,
                });
                (code, status)
            };
            let (code, body) = match request.uri().path() {
                "/apis/apps/v1" => {
                    let resource = json!({
                        "name": "deployments", "singularName": "", "namespaced": true,
                        "kind": "Deployment", "verbs": ["list", "watch"],
                    });
                    let list = json!({
                        "kind": "APIResourceList", "apiVersion": "v1",
                        "groupVersion": "apps/v1", "resources": [resource],
                    });
                    (200, list)
                }
                "/apis/down.example.com/v1" => status(503, "ServiceUnavailable"),
                _ => status(404, "NotFound"),
            };
            let body = body.to_string().into_bytes();
            let answer = Response::builder().status(code).body(Body::from(body));
            Ok::<_, Infallible>(answer.expect("an answer"))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn a_kind_is_gone_only_if_its_own_version_says_so() {
        let missing = [
            ("apps", "deployments"),
            ("apps", "replicasets"),
            ("down.example.com", "widgets"),
            ("gone.example.com", "widgets"),
        ];
        let missing = missing.map(|(group, plural)| {
            let kind = Kind {
                version: "v1".to_owned(),
                kind: String::new(),
                is_selectable: true,
            };
            (GroupResource::new(group, plural), kind)
        });
        let kept = not_surely_gone(&half_an_api_server(), missing.into()).await;
        let kept: Vec<_> = kept.keys().map(ToString::to_string).collect();
        assert_eq!(kept, ["deployments.apps", "widgets.down.example.com"]);
    }

    #[test]
    fn a_clusters_own_workings_are_left_out_and_everything_else_is_not() {
        let is_out = |group: &str, plural: &str| is_left_out(&GroupResource::new(group, plural));
        for (group, plural) in RESOURCES_LEFT_OUT {
            assert!(is_out(group, plural), "{plural}.{group}");
        }
        assert!(is_out("coordination.k8s.io", "leases"));
        assert!(is_out(CONTROL_GROUP, "bindingpolicies"));
        for (group, plural) in [
            ("", "secrets"),
            ("", "namespaces"),
            ("storage.k8s.io", "storageclasses"),
            (DEFINITIONS_GROUP, "customresourcedefinitions"),
            ("example.com", "nodes"),
        ] {
            assert!(!is_out(group, plural), "{plural}.{group}");
        }
    }

    #[test]
    fn what_belongs_to_the_space_cannot_be_meant() {
        let belongs = |plural: &str, namespace: &str, name: &str, label: Option<&str>| {
            let key = ObjectKey {
                resource: GroupResource::new("", plural),
                name: ObjectName::new(namespace, name),
            };
            let labels = label.map(|label| (label.to_owned(), "x".to_owned()));
            belongs_to_the_space(&key, &labels.into_iter().collect())
        };
        assert!(belongs("secrets", SYSTEM_NAMESPACE, "its", None));
        assert!(belongs("namespaces", "", SYSTEM_NAMESPACE, None));
        assert!(belongs("configmaps", "shop", ROOT_CA_CONFIG_MAP, None));
        assert!(belongs(
            "roles",
            "kube-system",
            "r",
            Some(BOOTSTRAPPING_LABEL)
        ));
        assert!(!belongs("configmaps", "shop", "settings", Some("app")));
        assert!(!belongs("namespaces", "", "default", None));
    }
}
