//! The cluster to join when it is not that of the context: one that a kubeconfig or Cluster API
//! names.
//!
//! ```text
//! file ──────────────────────────┐
//! Cluster API: Cluster, Secret ──┴▶ kubeconfig ─▶ current context, files put in ─▶ Managed
//! ```

use super::options::CapiCluster;
use super::options::Source;
use crate::clusteradm::choices::read_limited;
use crate::clusteradm::cluster_info;
use crate::clusteradm::kinds::CAPI_CLUSTER;
use crate::clusteradm::kinds::SECRET;
use crate::clusteradm::objects;
use crate::clusteradm::session::Session;
use crate::target::Target;
use anyhow::Context;
use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::FILE_BYTES_MAX;
use hyades_runtime::client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Largest certificate, key or token that a kubeconfig names by its file, in bytes.
const REFERENCE_BYTES_MAX: u64 = 1024 * 1024;
/// What keeps a server from being verified; the operator refuses it too.
const UNVERIFIED: &str = "insecure-skip-tls-verify";
/// The key of a Secret of Cluster API that holds a kubeconfig.
const CAPI_KEY: &str = "value";

/// A cluster that is reached by a kubeconfig of its own.
pub struct Managed {
    /// The cluster.
    pub target: Target,
    /// The kubeconfig by which an agent elsewhere reaches it: complete in itself.
    pub kubeconfig: String,
}

impl Managed {
    /// Finds the cluster.
    ///
    /// # Errors
    ///
    /// A kubeconfig that cannot be read, found or used from elsewhere.
    pub async fn find(session: &Session, source: &Source) -> anyhow::Result<Self> {
        match source {
            Source::File(path) => {
                let limit = FILE_BYTES_MAX as u64;
                let tried = || format!("read --managed-cluster-kubeconfig {}", path.display());
                let text = read_limited(path, limit).with_context(tried)?;
                let folder = path.parent().unwrap_or(Path::new("."));
                let text = complete(&text, Some(folder)).with_context(tried)?;
                Self::of(text, &path.display().to_string()).await
            }
            Source::Capi(cluster) => {
                let text = of_capi(session, cluster).await?;
                let origin = format!("the kubeconfig of the Cluster API cluster {}", cluster.name);
                let text = complete(&text, None).with_context(|| format!("read {origin}"))?;
                Self::of(text, &origin).await
            }
        }
    }

    async fn of(kubeconfig: String, origin: &str) -> anyhow::Result<Self> {
        Ok(Self {
            target: Target::of_text(&kubeconfig, origin).await?,
            kubeconfig,
        })
    }

    /// Checks that the cluster answers.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub async fn check(&self) -> anyhow::Result<()> {
        let answer = self
            .target
            .client
            .request_text(client::get_request("/healthz"));
        let answer = answer.await.map_err(|error| {
            self.target
                .explain("ask the managed cluster whether it is well", &error)
        })?;
        match answer.trim() {
            "ok" => Ok(()),
            other => bail!(
                "the managed cluster at {} is not well: it answers {other:?}; try again when it is",
                self.target.server
            ),
        }
    }

    /// Lets the agent reach the cluster by the URL that the cluster names itself.
    ///
    /// # Errors
    ///
    /// A cluster that names none.
    pub async fn use_inner_url(&mut self) -> anyhow::Result<()> {
        let map = cluster_info::api(&self.target.client)
            .get_opt(cluster_info::NAME)
            .await;
        let map = map.map_err(|error| {
            self.target.explain(
                "read the ConfigMap kube-public/cluster-info of the managed cluster",
                &error,
            )
        })?;
        let text = map.as_ref().and_then(cluster_info::kubeconfig);
        let server = text
            .map(cluster_info::parse)
            .transpose()?
            .and_then(|info| info.server);
        let server = server.with_context(|| format!(
            "the managed cluster at {} names no URL of its own in the ConfigMap kube-public/cluster-info; leave out --force-internal-endpoint-lookup-managed",
            self.target.server
        ))?;
        let mut kubeconfig = Kubeconfig::parse(&self.kubeconfig)?;
        for named in &mut kubeconfig.clusters {
            named.cluster.server = Some(server.clone());
        }
        self.kubeconfig = kubeconfig
            .to_yaml()
            .context("write the managed cluster's kubeconfig")?;
        Ok(())
    }
}

/// The kubeconfig of a cluster that Cluster API made.
async fn of_capi(session: &Session, cluster: &CapiCluster) -> anyhow::Result<String> {
    let management = match &cluster.kubeconfig {
        None => session.target.clone(),
        Some(file) => Target::load(Some(file), None).await?,
    };
    let session = session.on(management);
    let (namespace, name) = (cluster.namespace.as_str(), cluster.name.as_str());
    let advice = "name a cluster of Cluster API with --capi-cluster-name NAMESPACE/NAME, and its management cluster with --capi-kubeconfig";
    objects::within(&session, CAPI_CLUSTER, namespace)
        .demand(name, advice)
        .await?;
    let secret = format!("{name}-kubeconfig");
    let advice = "Cluster API writes it when the cluster's control plane is up; try again then";
    let found = objects::within(&session, SECRET, namespace)
        .demand(&secret, advice)
        .await?;
    let tried = || format!("read the Secret {namespace}/{secret}");
    let data = found["data"][CAPI_KEY].as_str();
    let data = data.with_context(|| format!("{}: it has no key {CAPI_KEY:?}", tried()))?;
    let bytes = STANDARD.decode(data).with_context(tried)?;
    String::from_utf8(bytes).with_context(tried)
}

/// The current context of a kubeconfig with everything it names by files put in. `folder` is where
/// relative paths begin; without one, files are refused.
///
/// # Errors
///
/// No current context, files that cannot be read, credentials that only a command gives.
fn complete(text: &str, folder: Option<&Path>) -> anyhow::Result<String> {
    let kubeconfig = Kubeconfig::parse(text)?;
    if kubeconfig.current_context.is_empty() {
        bail!("it has no current context; choose one in it with 'config use-context'");
    }
    let mut kubeconfig = kubeconfig.only(&kubeconfig.current_context)?;
    let inline =
        |other: &mut BTreeMap<String, Value>, key: &str| -> anyhow::Result<Option<String>> {
            let Some(path) = other.remove(key) else {
                return Ok(None);
            };
            let path = path.as_str().filter(|path| !path.is_empty());
            let Some(path) = path else { return Ok(None) };
            let folder = folder.with_context(|| {
                format!("{key} names a file, which is not at hand; it must hold the content itself")
            })?;
            let path = folder.join(path);
            let text = read_limited(&path, REFERENCE_BYTES_MAX);
            text.map(Some)
                .with_context(|| format!("read {key} {}", path.display()))
        };
    for named in &mut kubeconfig.clusters {
        let cluster = &mut named.cluster;
        if cluster.other.get(UNVERIFIED) == Some(&Value::Bool(true)) {
            bail!(
                "its cluster has {UNVERIFIED}, and an agent elsewhere would send its credentials to whoever answers; set certificate-authority-data to the authority of {} instead",
                cluster.server.as_deref().unwrap_or("its server")
            );
        }
        if let Some(pem) = inline(&mut cluster.other, "certificate-authority")? {
            cluster
                .certificate_authority_data
                .get_or_insert(STANDARD.encode(pem));
        }
    }
    for named in &mut kubeconfig.users {
        let user = &mut named.user;
        if let Some(pem) = inline(&mut user.other, "client-certificate")? {
            user.client_certificate_data
                .get_or_insert(STANDARD.encode(pem));
        }
        if let Some(pem) = inline(&mut user.other, "client-key")? {
            user.client_key_data.get_or_insert(STANDARD.encode(pem));
        }
        if let Some(token) = inline(&mut user.other, "tokenFile")? {
            user.token.get_or_insert(token.trim().to_owned());
        }
        for plugin in ["exec", "auth-provider"] {
            if user.other.contains_key(plugin) {
                bail!(
                    "its user gets credentials by {plugin}, which an agent elsewhere cannot run; give a kubeconfig with a certificate or a token"
                );
            }
        }
    }
    kubeconfig.to_yaml().context("write it anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubeconfig(user: &str) -> String {
        format!(
            "current-context: a
contexts: [{{name: a, context: {{cluster: c, user: u}}}}, {{name: b, context: {{cluster: d, user: u}}}}]
clusters:
- {{name: c, cluster: {{server: 'https://c', certificate-authority: ca.crt}}}}
- {{name: d, cluster: {{server: 'https://d'}}}}
users: [{{name: u, user: {user}}}]
"
        )
    }

    #[test]
    fn only_the_current_context_is_kept_and_files_are_put_in() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.crt"), "PEM").expect("written");
        std::fs::write(folder.path().join("token"), "t\n").expect("written");
        let text = kubeconfig("{tokenFile: token}");
        let whole = complete(&text, Some(folder.path())).expect("complete");
        let whole = Kubeconfig::parse(&whole).expect("a kubeconfig");
        assert_eq!(whole.clusters.len(), 1);
        assert_eq!(
            whole.clusters[0]
                .cluster
                .certificate_authority_pem()
                .as_deref(),
            Some("PEM")
        );
        assert_eq!(whole.users[0].user.token.as_deref(), Some("t"));
        assert!(whole.users[0].user.other.is_empty());
        let error = complete(&text, None)
            .expect_err("no files there")
            .to_string();
        assert!(
            error.contains("certificate-authority names a file"),
            "{error}"
        );
    }

    #[test]
    fn what_an_agent_elsewhere_could_not_use_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.crt"), "PEM").expect("written");
        let refused = |text: &str| {
            let error = complete(text, Some(folder.path())).expect_err("refused");
            format!("{error:#}")
        };
        assert!(refused(&kubeconfig("{exec: {command: login}}")).contains("by exec"));
        assert!(refused(&kubeconfig("{client-key: absent}")).contains("read client-key"));
        assert!(refused("clusters: []").contains("no current context"));
        let unverified = |value: &str| {
            let text = kubeconfig("{token: t}");
            text.replace(
                "certificate-authority: ca.crt",
                &format!("insecure-skip-tls-verify: {value}"),
            )
        };
        let error = refused(&unverified("true"));
        assert!(
            error.contains("insecure-skip-tls-verify") && error.contains("https://c"),
            "{error}"
        );
        complete(&unverified("false"), Some(folder.path())).expect("a flag that is off");
    }
}
