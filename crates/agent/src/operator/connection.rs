//! Whether the agent's credentials give it its rights on the hub: asked of the hub itself.

use crate::credentials;
use crate::credentials::Credentials;
use crate::credentials::keys;
use crate::registration::certificate;
use crate::registration::certificate::Progress;
use crate::review;
use crate::review::Right;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::conditions::klusterlet as known;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_runtime::Trouble;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A Secret with first credentials: its name, and the Secret if it exists, or why that is unknown.
pub type Bootstrap = (String, Result<Option<Arc<Secret>>, Trouble>);

/// Clients by the kubeconfigs they were made from: who asks a hub again and again pays for one
/// handshake.
#[derive(Default)]
pub struct Clients(BTreeMap<String, Client>);

impl Clients {
    async fn get(&mut self, kubeconfig: &str, secret: &str) -> Result<Client, String> {
        if let Some(client) = self.0.get(kubeconfig) {
            return Ok(client.clone());
        }
        let origin = format!("in Secret {secret}");
        let user_agent = component::user_agent("klusterlet");
        let client = client::from_kubeconfig(kubeconfig, &origin, &user_agent)
            .await
            .map_err(|error| error.to_string())?;
        self.0.insert(kubeconfig.to_owned(), client.clone());
        Ok(client)
    }
}

/// How one of the two Secrets fares. `reason` is upstream's word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether all rights are there.
    pub functional: bool,
    /// One word.
    pub reason: &'static str,
    /// What was found, for people.
    pub message: String,
}

impl Finding {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            functional: false,
            reason,
            message: message.into(),
        }
    }

    fn functional(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            functional: true,
            reason,
            message: message.into(),
        }
    }
}

/// What the Klusterlet's condition says. The bootstrap Secret matters only while the agent's own
/// credentials do not serve.
pub fn statement(hub: &Finding, bootstrap: Option<&Finding>) -> Statement {
    let degraded = |status, reason: String, message: String| {
        Statement::new(known::HUB_CONNECTION_DEGRADED, status, "", "")
            .with_reason(reason)
            .with_message(message)
    };
    match bootstrap {
        Some(bootstrap) if !hub.functional => degraded(
            Status::True,
            format!("{},{}", bootstrap.reason, hub.reason),
            format!("{}\n{}", bootstrap.message, hub.message),
        ),
        _ => degraded(Status::False, hub.reason.to_owned(), hub.message.clone()),
    }
}

/// Tests the agent's own credentials.
pub async fn test_hub(clients: &mut Clients, secret: Option<&Secret>) -> Finding {
    let name = names::HUB_KUBECONFIG_SECRET;
    let Some(secret) = secret else {
        return Finding::new(
            "HubKubeConfigSecretMissing",
            format!("Secret {name} does not exist yet"),
        );
    };
    let cluster = credentials::text(secret, keys::CLUSTER_NAME).unwrap_or_default();
    let Ok(cluster) = cluster.parse::<ClusterName>() else {
        return Finding::new(
            "ClusterNameMissing",
            format!("Secret {name} names no cluster"),
        );
    };
    let Some(credentials) = Credentials::read(secret) else {
        return Finding::new(
            "HubKubeConfigMissing",
            format!("Secret {name} is not complete"),
        );
    };
    let kubeconfig = match credentials.client_kubeconfig().to_yaml() {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return Finding::new("HubKubeConfigError", error.to_string()),
    };
    let rights = hub_rights(cluster.as_str());
    match review(clients, &kubeconfig, name, &rights).await {
        Ok((missing, _)) if missing.is_empty() => Finding::functional(
            "HubConnectionFunctional",
            format!(
                "the hub at {} gives the agent all its rights",
                credentials.endpoint.server()
            ),
        ),
        Ok((missing, _)) => Finding::new(
            "HubKubeConfigUnauthorized",
            format!(
                "the hub at {} does not give the agent these rights yet: {}; accept the cluster there: clusteradm accept --clusters {cluster}",
                credentials.endpoint.server(),
                missing.join(", ")
            ),
        ),
        Err(error) => Finding::new("HubKubeConfigError", error),
    }
}

/// What the agent's own credentials must be good for, for a cluster of this name.
fn hub_rights(cluster: &str) -> [Right<'_>; 9] {
    let clusters = names::CLUSTER_GROUP;
    [
        (
            "certificates.k8s.io",
            "certificatesigningrequests",
            "",
            "",
            &["get", "list", "watch"],
        ),
        (
            clusters,
            "managedclusters",
            "",
            cluster,
            &["get", "list", "update", "watch"],
        ),
        (
            clusters,
            "managedclusters/status",
            "",
            cluster,
            &["patch", "update"],
        ),
        (
            names::REGISTER_GROUP,
            "managedclusters/clientcertificates",
            "",
            "",
            &["renew"],
        ),
        (
            "coordination.k8s.io",
            "leases",
            cluster,
            names::LEASE,
            &["get", "update"],
        ),
        ("", "events", cluster, "", &["create", "patch", "update"]),
        (
            "events.k8s.io",
            "events",
            cluster,
            "",
            &["create", "patch", "update"],
        ),
        (
            names::WORK_GROUP,
            "manifestworks",
            cluster,
            "",
            &["get", "list", "watch", "update"],
        ),
        (
            names::WORK_GROUP,
            "manifestworks/status",
            cluster,
            "",
            &["patch", "update"],
        ),
    ]
}

/// Tests the bootstrap credentials of one hub after the other: the first that serve, else what is
/// wrong with all of them.
pub async fn test_bootstraps(
    clients: &mut Clients,
    secrets: &[Bootstrap],
    cluster: &str,
) -> Finding {
    let mut failed: Option<Finding> = None;
    for (name, secret) in secrets {
        let found = match secret {
            Ok(secret) => test_bootstrap(clients, name, secret.as_deref(), cluster).await,
            Err(trouble) => Finding::new(
                "BootstrapSecretError",
                format!("read Secret {name}: {trouble}"),
            ),
        };
        if found.functional {
            return found;
        }
        failed = Some(match failed {
            None => found,
            Some(before) => Finding {
                message: format!("{}; {}", before.message, found.message),
                ..before
            },
        });
    }
    failed.unwrap_or_else(|| Finding::new("BootstrapSecretMissing", "no Secret is named"))
}

/// Tests the bootstrap credentials in the Secret `name`, and looks for a denial of the agent's
/// request.
async fn test_bootstrap(
    clients: &mut Clients,
    name: &str,
    secret: Option<&Secret>,
    cluster: &str,
) -> Finding {
    let Some(secret) = secret else {
        return Finding::new(
            "BootstrapSecretMissing",
            format!("Secret {name} does not exist: join again"),
        );
    };
    let Some(kubeconfig) = credentials::text(secret, keys::KUBECONFIG) else {
        return Finding::new(
            "BootstrapSecretError",
            format!("Secret {name} has no kubeconfig: join again"),
        );
    };
    match review(clients, kubeconfig, name, &review::BOOTSTRAP_RIGHTS).await {
        Ok((missing, client)) if missing.is_empty() => {
            let message = match denial(&client, cluster).await {
                Ok(Some(denial)) => denial,
                Ok(None) => format!("Secret {name} is accepted by the hub"),
                Err(trouble) => format!(
                    "Secret {name} is accepted by the hub, which does not list the requests of this cluster: {trouble}"
                ),
            };
            Finding::functional("BootstrapSecretFunctional", message)
        }
        Ok((missing, _)) => Finding::new(
            "BootstrapSecretUnauthorized",
            format!(
                "Secret {name} does not give these rights on the hub: {}",
                missing.join(", ")
            ),
        ),
        Err(error) => Finding::new("BootstrapSecretError", format!("Secret {name}: {error}")),
    }
}

/// The hub's words about a request that it denied.
fn denied(request: &CertificateSigningRequest) -> Option<String> {
    match certificate::progress(request) {
        Progress::Denied(words) => Some(words),
        _ => None,
    }
}

/// The newest request of the cluster, if it was denied. Times are whole seconds: of several
/// requests in one, a denied one counts, since a WEC of the same name may have been let in.
async fn denial(client: &Client, cluster: &str) -> Result<Option<String>, Trouble> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let selector = format!("{}={cluster}", labels::CLUSTER_NAME);
    let requests = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(|error| Trouble::of(&error))?;
    let newest = requests.items.iter().max_by_key(|request| {
        let created = request.metadata.creation_timestamp.as_ref();
        (created.map(|time| time.0), denied(request).is_some())
    });
    Ok(newest.and_then(|request| {
        let (name, words) = (request.name_any(), denied(request)?);
        Some(format!(
            "the hub denied the certificate request {name}: {words}"
        ))
    }))
}

/// Asks for every right with the credentials of a kubeconfig; returns those that are missing.
async fn review(
    clients: &mut Clients,
    kubeconfig: &str,
    secret: &str,
    rights: &[Right<'_>],
) -> Result<(Vec<String>, Client), String> {
    let client = clients.get(kubeconfig, secret).await?;
    let missing = review::missing(&client, rights).await?;
    Ok((missing, client))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_runtime::kube::client::Body;
    use hyper::Request;
    use hyper::Response;
    use serde_json::Value;
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    #[test]
    fn the_condition_joins_the_words_of_both_secrets() {
        let hub = Finding::new("HubKubeConfigSecretMissing", "no secret");
        let bootstrap = Finding::functional("BootstrapSecretFunctional", "fine");
        let degraded = statement(&hub, Some(&bootstrap));
        assert_eq!(degraded.status, Status::True);
        assert_eq!(
            degraded.reason,
            "BootstrapSecretFunctional,HubKubeConfigSecretMissing"
        );
        assert_eq!(degraded.message, "fine\nno secret");
        let good = statement(
            &Finding::functional("HubConnectionFunctional", "good"),
            None,
        );
        assert_eq!(
            (good.status, good.reason.as_ref()),
            (Status::False, "HubConnectionFunctional")
        );
    }

    #[tokio::test]
    async fn missing_secrets_are_told_without_asking_anyone() {
        let clients = &mut Clients::default();
        assert_eq!(
            test_hub(clients, None).await.reason,
            "HubKubeConfigSecretMissing"
        );
        assert_eq!(
            test_bootstrap(clients, "s", None, "c").await.reason,
            "BootstrapSecretMissing"
        );
        assert_eq!(
            test_hub(clients, Some(&Secret::default())).await.reason,
            "ClusterNameMissing"
        );
    }
    /// A hub that grants everything, and what it was asked.
    fn granting() -> (Client, Arc<Mutex<BTreeSet<String>>>) {
        let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let kept = asked.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let kept = kept.clone();
            async move {
                let body = request.into_body().collect_bytes().await?;
                let mut review: Value = serde_json::from_slice(&body)?;
                let of = review["spec"]["resourceAttributes"].clone();
                let text = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
                let keys = [
                    "verb",
                    "group",
                    "resource",
                    "subresource",
                    "namespace",
                    "name",
                ];
                kept.lock()
                    .expect("questions")
                    .insert(keys.map(text).join(" "));
                review["status"] = json!({"allowed": true});
                let answer = Body::from(review.to_string().into_bytes());
                Ok::<_, tower::BoxError>(Response::new(answer))
            }
        });
        (Client::new(service, "default"), asked)
    }

    fn questions(lines: &[(&str, &[&str])]) -> BTreeSet<String> {
        let lines = lines.iter();
        lines
            .flat_map(|(what, verbs)| verbs.iter().map(move |verb| format!("{verb} {what}")))
            .collect()
    }

    #[tokio::test]
    async fn a_hub_is_judged_by_the_rights_that_upstreams_operator_asks_for() {
        let (client, asked) = granting();
        let agent = hub_rights("c1");
        assert_eq!(review::missing(&client, &agent).await, Ok(Vec::new()));
        let cluster = "cluster.open-cluster-management.io managedclusters";
        let work = "work.open-cluster-management.io manifestworks";
        let expected = questions(&[
            (
                "certificates.k8s.io certificatesigningrequests   ",
                &["get", "list", "watch"],
            ),
            (
                &format!("{cluster}   c1"),
                &["get", "list", "update", "watch"],
            ),
            (&format!("{cluster} status  c1"), &["patch", "update"]),
            (
                "register.open-cluster-management.io managedclusters clientcertificates  ",
                &["renew"],
            ),
            (
                "coordination.k8s.io leases  c1 managed-cluster-lease",
                &["get", "update"],
            ),
            (" events  c1 ", &["create", "patch", "update"]),
            ("events.k8s.io events  c1 ", &["create", "patch", "update"]),
            (&format!("{work}  c1 "), &["get", "list", "watch", "update"]),
            (&format!("{work} status c1 "), &["patch", "update"]),
        ]);
        assert_eq!(*asked.lock().expect("questions"), expected);

        let (client, asked) = granting();
        let first = review::missing(&client, &review::BOOTSTRAP_RIGHTS).await;
        assert_eq!(first, Ok(Vec::new()));
        let expected = questions(&[
            (&format!("{cluster}   "), &["create", "get"]),
            (
                "certificates.k8s.io certificatesigningrequests   ",
                &["create", "get", "list", "watch"],
            ),
        ]);
        assert_eq!(*asked.lock().expect("questions"), expected);
    }
}
