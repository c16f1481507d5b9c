//! The bootstrap phase: an inventory object, a certificate, and the Secret to keep it in.

use super::Shared;
use super::certificate;
use crate::credentials::Credentials;
use crate::credentials::HubEndpoint;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_api::cluster::ClientConfig;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSpec;
use hyades_runtime::Trouble;
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
use serde_json::json;
use std::collections::BTreeMap;

/// Makes the client that presents the bootstrap credentials.
pub(super) async fn client(kubeconfig: &str) -> Result<Client, client::ClientError> {
    let user_agent = component::user_agent("registration-agent");
    client::from_kubeconfig(kubeconfig, "in the bootstrap Secret", &user_agent).await
}

/// Registers the WEC and obtains the agent's certificate. Tries until it succeeds; the caller
/// drops it when the Secrets change.
pub(super) async fn run(
    shared: &Shared<'_>,
    kubeconfig: &str,
    endpoint: HubEndpoint,
) -> Credentials {
    let client = match client(kubeconfig).await {
        Ok(client) => client,
        Err(error) => {
            shared
                .warn(
                    "BootstrapKubeconfigUnusable",
                    &format!("{error}; waiting for another"),
                )
                .await;
            std::future::pending().await
        }
    };
    let (credentials, ()) = tokio::join!(
        certified(shared, &client, endpoint),
        create_inventory_object(shared, &client),
    );
    // Last, since an agent with credentials never makes an inventory object again.
    save(shared, &credentials).await;
    credentials
}

async fn certified(shared: &Shared<'_>, client: &Client, endpoint: HubEndpoint) -> Credentials {
    let mut backoff = Backoff::new(Policy::API);
    loop {
        let denied = async |message: &str| shared.warn("CertificateRequestDenied", message).await;
        match certificate::obtain(
            client,
            &shared.identity,
            certificate::Requester::Bootstrap,
            shared.options,
            denied,
        )
        .await
        {
            Ok(issued) => {
                return Credentials {
                    endpoint,
                    certificate_pem: issued.certificate_pem,
                    key_pem: issued.key_pem,
                };
            }
            Err(error) => {
                let delay = backoff.next_delay();
                let message = format!("no certificate from {}: {error}", endpoint.server());
                shared.warn("CertificateNotObtained", &message).await;
                tracing::info!(
                    "asking for a certificate again in {:.1} s",
                    delay.as_secs_f64()
                );
                tokio::time::sleep(delay).await;
            }
        }
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

/// Writes the credentials into the hub Secret. Tries until it succeeds: they are of no use before
/// they are safe, since the key exists nowhere else.
pub(super) async fn save(shared: &Shared<'_>, credentials: &Credentials) {
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
    while let Err(error) = write(shared, &data).await {
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

async fn write(shared: &Shared<'_>, data: &BTreeMap<String, ByteString>) -> kube::Result<()> {
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
            let patch = Patch::Merge(json!({"data": data}));
            api.patch(shared.hub_secret, &PatchParams::default(), &patch)
                .await
                .map(drop)
        }
        Err(error) => Err(error),
    }
}
