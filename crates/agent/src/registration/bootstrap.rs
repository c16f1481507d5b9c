//! The bootstrap phase: an inventory object, a certificate, and the Secret to keep it in.

use super::Shared;
use super::certificate;
use super::certificate::Asking;
use super::certificate::Issued;
use super::certificate::Requester;
use super::pending;
use super::plan::Candidate;
use super::recovery;
use crate::credentials::Credentials;
use crate::credentials::HubEndpoint;
use crate::credentials::Invalid;
use crate::credentials::keys;
use crate::endpoint::readdressed;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_api::cluster::ClientConfig;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSpec;
use hyades_api::names::annotations;
use hyades_pki::Key;
use hyades_runtime::Trouble;
use hyades_runtime::backoff;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::ObjectMeta;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::Notify;

/// How often an agent without a certificate makes sure of its inventory object; up to twice as long
/// at random, as upstream's.
const ANNOUNCE_PERIOD: Duration = Duration::from_secs(3600);

/// Makes the client that presents the bootstrap credentials.
pub(super) async fn client(kubeconfig: &str) -> Result<Client, client::ClientError> {
    let user_agent = component::user_agent("registration-agent");
    client::from_kubeconfig(kubeconfig, "in the bootstrap Secret", &user_agent).await
}

/// Obtains credentials: by the key of former ones if there are any, and by registering the WEC
/// with the first credentials of `candidate`. Tries until it succeeds; the caller drops it when
/// the Secrets change.
pub(super) async fn run(
    shared: &Shared<'_>,
    candidate: Option<Candidate>,
    former: Option<Credentials>,
    why: &Invalid,
) -> Credentials {
    let failed_once = Notify::new();
    let recovery = async {
        let Some(former) = &former else {
            return std::future::pending().await;
        };
        let elsewhere = candidate
            .as_ref()
            .filter(|_| matches!(why, Invalid::OtherHub(_)));
        let endpoint = elsewhere.map_or(&former.endpoint, |candidate| &candidate.endpoint);
        recovery::run(shared, former, endpoint.clone(), why, &failed_once).await
    };
    let registration = async {
        let Some(candidate) = &candidate else {
            return std::future::pending().await;
        };
        if former.is_some() {
            tokio::select! {
                () = failed_once.notified() => {}
                () = tokio::time::sleep(recovery::HEAD_START) => {}
            }
        }
        register(shared, candidate, former.as_ref(), why).await
    };
    let credentials = tokio::select! {
        credentials = recovery => credentials,
        credentials = registration => credentials,
    };
    // Last, since an agent with credentials never makes an inventory object again.
    let is_new = !former.is_some_and(|former| former.endpoint == credentials.endpoint);
    let page = if is_new { Page::Forget } else { Page::Keep };
    save(shared, &credentials, page).await;
    credentials
}

/// Makes the inventory object and obtains a certificate, with the first credentials.
async fn register(
    shared: &Shared<'_>,
    candidate: &Candidate,
    former: Option<&Credentials>,
    why: &Invalid,
) -> Credentials {
    // A hub that has moved since is met where it is now.
    let moved = former.filter(|_| !matches!(why, Invalid::OtherHub(_)));
    let moved = moved.filter(|former| former.moved_from.is_some());
    let endpoint = moved.map_or(&candidate.endpoint, |former| &former.endpoint);
    let elsewhere = moved.and_then(|_| readdressed(&candidate.kubeconfig, endpoint).ok());
    let kubeconfig = elsewhere.as_deref().unwrap_or(&candidate.kubeconfig);
    let client = match client(kubeconfig).await {
        Ok(client) => client,
        Err(error) => {
            let message = format!("{error}; waiting for another");
            shared.warn("BootstrapKubeconfigUnusable", &message).await;
            std::future::pending().await
        }
    };
    let credentials = Credentials {
        endpoint: endpoint.clone(),
        moved_from: moved.and_then(|former| former.moved_from.clone()),
        certificate_pem: String::new(),
        key_pem: String::new(),
    };
    // The former key proves to the same hub that this is the agent it knows. No other hub is
    // shown that it is the same one.
    let key = former.filter(|_| !matches!(why, Invalid::OtherHub(_)));
    let key = key.and_then(|former| Key::from_pem(&former.key_pem).ok());
    // The key of a renewal that was cut short may own the name by now. Recovery asks for the former.
    let begun = match &key {
        Some(_) => pending::find(shared, former).await,
        None => None,
    };
    let key = match begun.or(key) {
        Some(key) => key,
        None => pending::next(shared, None).await,
    };
    let certified = async {
        tokio::select! {
            issued = certified(shared, &client, endpoint, &key) => issued,
            never = announce_again(shared, &client) => match never {},
        }
    };
    let (issued, ()) = tokio::join!(certified, create_inventory_object(shared, &client));
    credentials.renewed(issued)
}

/// Makes the inventory object again now and then: somebody may delete it while the request waits.
async fn announce_again(shared: &Shared<'_>, client: &Client) -> Infallible {
    loop {
        tokio::time::sleep(backoff::jitter(ANNOUNCE_PERIOD, 1.0)).await;
        create_inventory_object(shared, client).await;
    }
}

async fn certified(
    shared: &Shared<'_>,
    client: &Client,
    endpoint: &HubEndpoint,
    key: &Key,
) -> Issued {
    let mut backoff = Backoff::new(Policy::API);
    loop {
        let denied = async |message: &str| shared.warn("CertificateRequestDenied", message).await;
        let asking = Asking {
            client,
            identity: &shared.identity,
            requester: Requester::Bootstrap,
            key: key.clone(),
            expiration_seconds: shared.options.client_cert_expiration_seconds,
        };
        let error = match certificate::obtain(asking, denied).await {
            Ok(issued) => return issued,
            Err(error) => error,
        };
        let delay = backoff.next_delay();
        let message = format!("no certificate from {}: {error}", endpoint.server());
        shared.warn("CertificateNotObtained", &message).await;
        let seconds = delay.as_secs_f64();
        tracing::info!("asking for a certificate again in {seconds:.1} s");
        tokio::time::sleep(delay).await;
    }
}

async fn create_inventory_object(shared: &Shared<'_>, client: &Client) {
    let api: Api<ManagedCluster> = Api::all(client.clone());
    let object = inventory_object(shared);
    let mut backoff = Backoff::new(Policy::API);
    loop {
        let error = match api.create(&PostParams::default(), &object).await {
            Ok(_) => return tracing::info!("inventory object {} created", shared.identity.cluster),
            Err(error) => error,
        };
        let trouble = Trouble::of(&error);
        if let Trouble::AlreadyExists(_) = trouble {
            return tracing::info!(
                "inventory object {} exists already",
                shared.identity.cluster
            );
        }
        let delay = backoff.next_delay();
        let message = format!(
            "creating the inventory object {}: {trouble}",
            shared.identity.cluster
        );
        shared.warn("InventoryObjectNotCreated", &message).await;
        tracing::info!(
            "creating the inventory object again in {:.1} s",
            delay.as_secs_f64()
        );
        tokio::time::sleep(delay).await;
    }
}

fn inventory_object(shared: &Shared<'_>) -> ManagedCluster {
    let bundle = shared
        .wec
        .certificate_authority
        .as_ref()
        .map(|pem| STANDARD.encode(pem));
    let urls = shared.options.spoke_external_server_urls.iter();
    let configs = urls
        .map(|url| ClientConfig {
            url: url.clone(),
            ca_bundle: bundle.clone(),
        })
        .collect();
    let spec = ManagedClusterSpec {
        managed_cluster_client_configs: configs,
        ..ManagedClusterSpec::default()
    };
    let mut object = ManagedCluster::new(shared.identity.cluster.as_str(), spec);
    let annotations = shared.options.annotations();
    object.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    let labels: BTreeMap<_, _> = shared.options.cluster_labels.iter().cloned().collect();
    object.metadata.labels = (!labels.is_empty()).then_some(labels);
    object
}

/// What becomes of the note of what the hub publishes of itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Page {
    /// The same hub at the same place published it.
    Keep,
    /// It is of another: told by it, this hub's page would seem to have changed.
    Forget,
}

/// Writes the credentials into the hub Secret. Tries until it succeeds: they are of no use before
/// they are safe, since the key exists nowhere else.
pub(super) async fn save(shared: &Shared<'_>, credentials: &Credentials, page: Page) {
    let data = match credentials.secret_data(&shared.identity, &shared.identity.cluster) {
        Ok(data) => data,
        Err(error) => {
            shared
                .warn(
                    "CredentialsNotSaved",
                    &format!("writing the hub kubeconfig: {error}"),
                )
                .await;
            return;
        }
    };
    let mut backoff = Backoff::new(Policy::API);
    while let Err(error) = write(shared, &data, page).await {
        let delay = backoff.next_delay();
        let message = format!(
            "saving Secret {}: {}",
            shared.hub_secret,
            Trouble::of(&error)
        );
        shared.warn("CredentialsNotSaved", &message).await;
        tokio::time::sleep(delay).await;
    }
    tracing::info!(
        "credentials for {} saved in Secret {}",
        credentials.endpoint.server(),
        shared.hub_secret
    );
}

/// The patch of a hub Secret that exists already.
fn patch_of(data: &BTreeMap<String, ByteString>, page: Page) -> Value {
    // What credentials for a hub that had moved left behind goes with them.
    let mut data = json!(data);
    if data.get(keys::MOVED_FROM).is_none() {
        data[keys::MOVED_FROM] = Value::Null;
    }
    let mut patch = json!({"data": data});
    if page == Page::Forget {
        patch["metadata"]["annotations"] = json!({
            annotations::PUBLISHED_SERVER: null,
            annotations::PUBLISHED_AUTHORITY: null,
        });
    }
    patch
}

async fn write(
    shared: &Shared<'_>,
    data: &BTreeMap<String, ByteString>,
    page: Page,
) -> kube::Result<()> {
    let api: Api<Secret> =
        Api::namespaced(shared.context.client.clone(), &shared.context.namespace);
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(shared.hub_secret.to_owned()),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".to_owned()),
        data: Some(data.clone()),
        ..Secret::default()
    };
    match api.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(Trouble::of(&error), Trouble::AlreadyExists(_)) => {
            let patch = Patch::Merge(patch_of(data, page));
            api.patch(shared.hub_secret, &PatchParams::default(), &patch)
                .await
                .map(drop)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_former_hub_published_goes_with_its_credentials() {
        let data = BTreeMap::from([(keys::KEY.to_owned(), ByteString(b"key".to_vec()))]);
        let kept = patch_of(&data, Page::Keep);
        assert_eq!(kept.get("metadata"), None);
        assert_eq!(kept["data"][keys::MOVED_FROM], Value::Null);
        let mut forgotten = patch_of(&data, Page::Forget);
        let notes = forgotten["metadata"]["annotations"].take();
        let both = json!({
            annotations::PUBLISHED_SERVER: null,
            annotations::PUBLISHED_AUTHORITY: null,
        });
        assert_eq!(notes, both);
    }
}
