//! A pod's service-account kubeconfig, and its renewal.

use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;

use crate::NodeOptions;
use crate::logs::pod_dir;

/// How long a token is valid; the kubelet asks for the same.
const TOKEN_SECONDS: i64 = 3607;

/// How long to wait after a failed renewal; tokens are renewed when a fifth of their life is left,
/// so many tries fit in.
const RETRY: Duration = Duration::from_secs(5);

/// Why a pod has no credentials.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialError {
    #[error("no token for service account {account:?}: {source}")]
    Token {
        account: String,
        source: Box<kube::Error>,
    },
    #[error("the space returned a token without its text or expiry")]
    Incomplete,
    #[error("the pod's credentials could not be written: {0}")]
    Write(#[from] io::Error),
}

/// The files of one pod's credentials.
#[derive(Debug, Clone)]
pub(crate) struct Credentials {
    pub(crate) kubeconfig: PathBuf,
    token: PathBuf,
}

impl Credentials {
    /// Writes the pod's kubeconfig and first token; returns when the token should be renewed.
    pub(crate) async fn issue(
        options: &NodeOptions,
        pod: &Pod,
    ) -> Result<(Credentials, Duration), CredentialError> {
        let dir = pod_dir(&options.pods_dir, &pod.uid().unwrap_or_default());
        create_private_dir(&dir).await?;
        let credentials = Credentials {
            kubeconfig: dir.join("kubeconfig"),
            token: dir.join("token"),
        };
        let ca = dir.join("ca.crt");
        write_private(&ca, options.server_ca_pem.as_bytes()).await?;
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "space", "cluster": {
                "server": options.server_url, "certificate-authority": ca,
            }}],
            "users": [{"name": "pod", "user": {"tokenFile": credentials.token}}],
            "contexts": [{"name": "pod", "context": {
                "cluster": "space", "user": "pod", "namespace": pod.namespace(),
            }}],
            "current-context": "pod",
        });
        // JSON is YAML.
        write_private(&credentials.kubeconfig, config.to_string().as_bytes()).await?;
        let renew = credentials.renew(options, pod).await?;
        Ok((credentials, renew))
    }

    /// Renews the token for ever; ends only with its task.
    pub(crate) async fn keep_fresh(self, options: &NodeOptions, pod: &Pod, first: Duration) {
        let mut wait = first;
        loop {
            tokio::time::sleep(wait).await;
            wait = match self.renew(options, pod).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(%error, pod = pod.name_any(), "a pod's token is not renewed yet");
                    RETRY
                }
            };
        }
    }

    async fn renew(&self, options: &NodeOptions, pod: &Pod) -> Result<Duration, CredentialError> {
        let namespace = pod.namespace().unwrap_or_default();
        let account = pod
            .spec
            .as_ref()
            .and_then(|spec| spec.service_account_name.clone())
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "default".to_owned());
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {
            "audiences": [],
            "expirationSeconds": TOKEN_SECONDS,
            "boundObjectRef": {
                "apiVersion": "v1", "kind": "Pod", "name": pod.name_any(), "uid": pod.uid(),
            },
        }});
        let accounts = Api::<ServiceAccount>::namespaced(options.client.clone(), &namespace);
        let answer: TokenRequest = accounts
            .create_subresource("token", &account, &PostParams::default(), &request)
            .await
            .map_err(|source| CredentialError::Token {
                account,
                source: Box::new(source),
            })?;
        let status = answer.status.ok_or(CredentialError::Incomplete)?;
        let token = status.token.ok_or(CredentialError::Incomplete)?;
        let expiry = status
            .expiration_timestamp
            .ok_or(CredentialError::Incomplete)?;
        write_private(&self.token, token.as_bytes()).await?;
        let seconds = expiry.0.as_second() - Timestamp::now().as_second();
        Ok(Duration::from_secs(u64::try_from(seconds * 4 / 5).unwrap_or(0)).max(RETRY))
    }
}

async fn create_private_dir(dir: &Path) -> io::Result<()> {
    tokio::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .await
}

/// Writes a file that only the host's user can read, replacing it in one step so that the process
/// never reads half a token.
async fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let fresh = path.with_extension("new");
    let mut file = tokio::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .await?;
    file.write_all(content).await?;
    file.flush().await?;
    drop(file);
    tokio::fs::rename(&fresh, path).await
}
