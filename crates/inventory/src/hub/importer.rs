//! Clusters that Cluster API made: the hub puts the agent into them itself.
//!
//! ```text
//! ManagedCluster ─┐                  kubeconfig ▶ client of the cluster ─┐
//! Cluster ────────┴▶ one key per WEC                                     ├▶ agent applied ▶ condition
//!                                    cluster-info, token ▶ its objects ──┘
//! ```
//!
//! Stands behind the feature gate ClusterImporter. An inventory object names its Cluster in an
//! annotation, as NAMESPACE/NAME; without one it is that of its own name, in the namespace of that
//! name. It is imported once, and only if an administrator has accepted it and no agent has asked
//! under its name: a newcomer that writes its own inventory object must not have an agent put into
//! a cluster of its choice. An agent that runs there already is left alone.
//!
//! The hub holds no right to the kubeconfigs; who wants to import grants it, namespace by namespace.

mod target;

use super::Hub;
use hyades_api::capi;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster as statements;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::namespaces;
use hyades_pki::Kubeconfig;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::client;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::events::EventType;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequestSpec;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::runtime::watcher;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

/// Clusters imported at a time: each is a dozen calls to a server that may be slow, and rare.
pub(super) const WORKERS: usize = 4;

/// How soon an import that failed is tried again, as upstream does where a kubeconfig is missing.
const RETRY: Duration = Duration::from_secs(60);

/// Longest time for one import: two dozen calls, each of which takes a second at worst on a cluster
/// that is well.
const IMPORT_MAX: Duration = Duration::from_secs(60);

/// How long a new agent may take to present itself, in seconds; upstream's number.
const TOKEN_SECONDS: i64 = 86_400;

/// How often the condition is written anew when somebody else changes the object meanwhile. The
/// agent writes twice when it arrives, the hub three times.
const CONFLICTS_MAX: usize = 8;

/// What an agent is made of that the hub puts into a cluster.
pub struct NewAgent {
    /// The name under which it registers.
    pub cluster: ClusterName,
    /// URL of this hub.
    pub server: String,
    /// PEM of the authorities by which this hub is trusted; those of the system if absent.
    pub certificate_authority: Option<String>,
    /// The token with which it presents itself.
    pub token: String,
    /// The image of operator and agent; the program's own if absent.
    pub image: Option<String>,
    /// The credentials for pulling it: the text of a `.dockerconfigjson`.
    pub image_pull_credentials: Option<String>,
}

impl std::fmt::Debug for NewAgent {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Token and credentials are nobody's business.
        let mut shown = formatter.debug_struct("NewAgent");
        shown
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// Renders the objects of an agent, in the order to apply them, the Klusterlet last. What an agent
/// needs is not the hub's knowledge: whoever runs the hub brings it along.
pub type RenderAgent = fn(&NewAgent) -> Result<Vec<Value>, hyades_pki::KubeconfigError>;

/// Why a cluster was not imported: reason and message of the condition, and when to try again if no
/// event is to be waited for.
#[derive(Debug)]
struct Refusal {
    reason: &'static str,
    message: String,
    again: Option<Duration>,
}

/// A refusal that is worth another try.
fn refusal(reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        reason,
        message: message.into(),
        again: Some(RETRY),
    }
}

/// An import that failed: for which version of the Cluster, and until when it is not tried again.
struct Failed {
    source: Option<String>,
    until: Instant,
}

/// Imports clusters.
pub(super) struct Importer {
    hub: Rc<Hub>,
    clusters: Cache<capi::Cluster>,
    render: RenderAgent,
    /// By inventory object. One that changes, as by our own words, is no reason to try again.
    failed: RefCell<HashMap<String, Failed>>,
}

impl Importer {
    /// Starts to watch the clusters of Cluster API. Where it is not installed there are none.
    pub(super) fn start(hub: Rc<Hub>, queue: Queue<String>, render: RenderAgent) -> Self {
        let wecs = hub.observed.clusters.store();
        let clusters = controller::watch(
            Api::<capi::Cluster>::all(hub.client.clone()),
            watcher::Config::default(),
            move |change| {
                let Change::Applied(cluster) = change else {
                    return;
                };
                for wec in wecs.state() {
                    if is_source(cluster, &wec) {
                        queue.add(wec.name_any());
                    }
                }
            },
        );
        Self {
            hub,
            clusters,
            render,
            failed: RefCell::default(),
        }
    }

    /// How long to wait because this Cluster could not be imported a short while ago.
    fn pause(&self, name: &str, source: &capi::Cluster) -> Option<Duration> {
        let failed = self.failed.borrow();
        let failed = failed.get(name)?;
        let same = failed.source == version_of(source);
        let left = failed.until.saturating_duration_since(Instant::now());
        (same && !left.is_zero()).then_some(left)
    }

    /// Imports the WEC of that name, if it is to be imported.
    pub(super) async fn reconcile(&self, name: String) -> Result<Option<Duration>, Trouble> {
        let Some(wec) = self.hub.observed.clusters.get(&name) else {
            self.failed.borrow_mut().remove(&name);
            return Ok(None);
        };
        let Ok(cluster) = name.parse::<ClusterName>() else {
            return Ok(None);
        };
        let observed = &self.hub.observed;
        let has_agent = self.hub.owner_of(&cluster).is_some()
            || !observed.requests_of(&name).is_empty()
            || !observed.index.pending_of(&name).is_empty();
        if has_agent || !is_wanted(&wec) {
            self.failed.borrow_mut().remove(&name);
            return Ok(None);
        }
        let (namespace, of) = source(&wec);
        let Some(source) = self.clusters.get_in(&namespace, &of) else {
            return Ok(None);
        };
        if let Some(pause) = self.pause(&name, &source) {
            return Ok(Some(pause));
        }
        let importing = tokio::time::timeout(IMPORT_MAX, self.import(&cluster, &source));
        let result = importing.await.unwrap_or_else(|_| {
            let seconds = IMPORT_MAX.as_secs();
            let message = format!(
                "the cluster {namespace}/{of} took more than {seconds} s to get its agent; see \
                 whether it answers"
            );
            Err(refusal("ImportFailed", message))
        });
        match result {
            Ok(()) => {
                let by = format!("The agent was put into the cluster {namespace}/{of}");
                self.state(&name, &statements::IMPORT_SUCCEEDED).await?;
                let regarding = wec.object_ref(&());
                let (kind, reason) = (EventType::Normal, "ManagedClusterImported");
                let events = &self.hub.events;
                events.record(&name, &regarding, kind, reason, &by).await;
                tracing::info!("{name}: {by}");
                Ok(None)
            }
            Err(refusal) => {
                let failed = Failed {
                    source: version_of(&source),
                    until: Instant::now() + RETRY,
                };
                self.failed.borrow_mut().insert(name.clone(), failed);
                tracing::warn!("{name} is not imported: {}", refusal.message);
                let statement = Statement::new(
                    statements::IMPORTED,
                    conditions::Status::False,
                    refusal.reason,
                    "",
                );
                self.state(&name, &statement.with_message(refusal.message))
                    .await?;
                Ok(refusal.again)
            }
        }
    }

    async fn import(&self, cluster: &ClusterName, source: &capi::Cluster) -> Result<(), Refusal> {
        let target = self.target(source).await?;
        let agent = self.agent(cluster).await?;
        target::check(&target).await?;
        let objects = (self.render)(&agent).map_err(|error| {
            let message = format!("wrote the bootstrap kubeconfig: {error}");
            refusal("ConfigRendererFailed", message)
        })?;
        target::install(&target, &objects).await
    }

    /// A client of the cluster, by the kubeconfig that Cluster API wrote for it.
    async fn target(&self, source: &capi::Cluster) -> Result<Client, Refusal> {
        let (namespace, name) = (source.namespace().unwrap_or_default(), source.name_any());
        if source.status.phase != capi::PROVISIONED {
            return Err(Refusal {
                reason: "KubeConfigNotFound",
                message: format!(
                    "the cluster {namespace}/{name} is in the phase {:?} and has no API server yet",
                    source.status.phase
                ),
                again: None,
            });
        }
        let secret = capi::kubeconfig_secret(&name);
        let api = Api::<Secret>::namespaced(self.hub.client.clone(), &namespace);
        let found = api.get_opt(&secret).await.map_err(|error| {
            let mut message = format!(
                "read the Secret {namespace}/{secret}: {}",
                Trouble::of(&error)
            );
            if matches!(Trouble::of(&error), Trouble::Forbidden(_)) {
                message.push_str(&grant(&namespace, &secret));
            }
            refusal("KubeConfigGetFailed", message)
        })?;
        let found = found.ok_or_else(|| {
            let message = format!("there is no Secret {namespace}/{secret} yet");
            refusal("KubeConfigNotFound", message)
        })?;
        let key = capi::KUBECONFIG_KEY;
        let text = text_of(&found, key).ok_or_else(|| {
            let message = format!("the Secret {namespace}/{secret} has no text under {key:?}");
            refusal("KubeConfigGetFailed", message)
        })?;
        let origin = format!("in the Secret {namespace}/{secret}");
        client::from_kubeconfig(&text, &origin, "hyades-hub")
            .await
            .map_err(|error| refusal("KubeConfigGetFailed", error.to_string()))
    }

    /// What the new agent is told about this hub.
    async fn agent(&self, cluster: &ClusterName) -> Result<NewAgent, Refusal> {
        let failed = |what: &str, why: String| {
            let message = format!("{what}: {why}");
            refusal("ConfigRendererFailed", message)
        };
        let tried = |what: &'static str| move |error| failed(what, Trouble::of(&error).to_string());
        let client = &self.hub.client;
        let page = "read the ConfigMap kube-public/cluster-info";
        let maps = Api::<ConfigMap>::namespaced(client.clone(), "kube-public");
        let map = maps.get_opt("cluster-info").await.map_err(tried(page))?;
        let map = map.ok_or_else(|| {
            let why = "there is none; 'clusteradm init' makes it where it is missing";
            failed(page, why.to_owned())
        })?;
        let text = map.data.unwrap_or_default().remove("kubeconfig");
        let info = Kubeconfig::parse(&text.unwrap_or_default())
            .map_err(|error| failed(page, error.to_string()))?;
        let hub = info.clusters.into_iter().next().map(|named| named.cluster);
        let hub = hub.and_then(|hub| Some((hub.server.clone()?, hub.certificate_authority_pem())));
        let (server, certificate_authority) =
            hub.ok_or_else(|| failed(page, "it names no URL of this hub".to_owned()))?;
        let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespaces::OPERATOR);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: Some(TOKEN_SECONDS),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let account = names::BOOTSTRAP_SERVICE_ACCOUNT;
        let asked = "asked for a token of the account agent-registration-bootstrap";
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .map_err(tried(asked))?;
        let token = answer.status.and_then(|status| status.token);
        let secrets = Api::<Secret>::namespaced(client.clone(), namespaces::HUB);
        let pull = secrets
            .get_opt(names::IMAGE_PULL_SECRET)
            .await
            .map_err(tried("read the credentials for pulling images"))?;
        Ok(NewAgent {
            cluster: cluster.clone(),
            server,
            certificate_authority,
            token: token.ok_or_else(|| failed(asked, "the answer has none".to_owned()))?,
            image: self.hub.settings.agent_image.clone(),
            image_pull_credentials: pull.and_then(|secret| text_of(&secret, ".dockerconfigjson")),
        })
    }

    /// Writes the condition. The agent that has just been made writes to the same object.
    async fn state(&self, name: &str, statement: &Statement) -> Result<(), Trouble> {
        let api = Api::<ManagedCluster>::all(self.hub.client.clone());
        let mut conflicts = 0;
        loop {
            let live = api.get(name).await.map_err(|error| Trouble::of(&error))?;
            let mut all = live.status.conditions.clone();
            if !conditions::set(&mut all, statement, Time(Timestamp::now())) {
                return Ok(());
            }
            let patched = apply::patch_status(&api, &live, json!({ "conditions": all })).await;
            match patched.as_ref().map_err(Trouble::of) {
                Ok(_) => return Ok(()),
                Err(Trouble::Conflict(_)) if conflicts < CONFLICTS_MAX => conflicts += 1,
                Err(trouble) => return Err(trouble),
            }
        }
    }
}

/// Uid and version of a Cluster.
fn version_of(cluster: &capi::Cluster) -> Option<String> {
    let uid = cluster.uid()?;
    Some(format!("{uid}/{}", cluster.resource_version()?))
}

fn text_of(secret: &Secret, key: &str) -> Option<String> {
    let ByteString(bytes) = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.clone()).ok()
}

/// What an administrator does to let the hub read a kubeconfig.
fn grant(namespace: &str, secret: &str) -> String {
    format!(
        "; let the hub read it: 'kubectl -n {namespace} create role {secret} --verb=get \
         --resource=secrets --resource-name={secret}' and 'kubectl -n {namespace} create rolebinding \
         {secret} --role={secret} --serviceaccount={}:{}'",
        namespaces::HUB,
        names::HUB_SERVICE_ACCOUNT
    )
}

/// Namespace and name of the cluster of Cluster API that an inventory object stands for.
fn source(wec: &ManagedCluster) -> (String, String) {
    let name = wec.name_any();
    let stated = wec.annotations().get(annotations::CAPI_CLUSTER);
    match stated.and_then(|stated| stated.split_once('/')) {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (name.clone(), name),
    }
}

fn is_source(cluster: &capi::Cluster, wec: &ManagedCluster) -> bool {
    let (namespace, name) = source(wec);
    cluster.namespace() == Some(namespace) && cluster.name_any() == name
}

/// Whether an inventory object without an agent is to get one.
fn is_wanted(wec: &ManagedCluster) -> bool {
    let conditions = &wec.status.conditions;
    wec.spec.hub_accepts_client
        && wec.metadata.deletion_timestamp.is_none()
        && !conditions::is_true(conditions, statements::IMPORTED)
        && !conditions::is_true(conditions, statements::JOINED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wec(json: Value) -> ManagedCluster {
        serde_json::from_value(json).expect("a ManagedCluster")
    }

    #[test]
    fn a_wec_stands_for_the_cluster_it_names_or_for_that_of_its_own_name() {
        let plain = wec(json!({"metadata": {"name": "c1"}}));
        assert_eq!(source(&plain), ("c1".to_owned(), "c1".to_owned()));
        let named = wec(json!({"metadata": {"name": "c1", "annotations": {
            annotations::CAPI_CLUSTER: "fleet/edge"}}}));
        assert_eq!(source(&named), ("fleet".to_owned(), "edge".to_owned()));
        let cluster = |namespace: &str, name: &str| -> capi::Cluster {
            serde_json::from_value(json!({"metadata": {"namespace": namespace, "name": name}}))
                .expect("a Cluster")
        };
        assert!(is_source(&cluster("fleet", "edge"), &named));
        assert!(!is_source(&cluster("c1", "c1"), &named));
        assert!(is_source(&cluster("c1", "c1"), &plain));
    }

    #[test]
    fn only_what_was_accepted_and_has_not_been_imported_or_joined_is_imported() {
        let accepted = |accepted: bool, condition: &str| {
            wec(json!({
                "metadata": {"name": "c1"},
                "spec": {"hubAcceptsClient": accepted},
                "status": {"conditions": [{
                    "type": condition, "status": "True", "reason": "r", "message": "",
                    "lastTransitionTime": "1970-01-01T00:00:00Z",
                }]},
            }))
        };
        assert!(is_wanted(&accepted(true, statements::HUB_ACCEPTED)));
        assert!(!is_wanted(&accepted(false, statements::HUB_ACCEPTED)));
        assert!(!is_wanted(&accepted(true, statements::IMPORTED)));
        assert!(!is_wanted(&accepted(true, statements::JOINED)));
    }
}
