//! The cluster a command acts on, chosen by kubeconfig and context.

use anyhow::Context as _;
use anyhow::anyhow;
use hyades_runtime::Trouble;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::kube;
use kube::Client;
use kube::Config;
use kube::config::Cluster;
use kube::config::Context;
use kube::config::KubeConfigOptions;
use kube::config::Kubeconfig;
use kube::config::KubeconfigError;
use std::path::Path;

/// Name in the `User-Agent` of every request.
const CLIENT_NAME: &str = "clusteradm";

/// What API servers say of a path at which they serve nothing, rather than of a missing object.
const NO_SUCH_PATH: &str = "the server could not find the requested resource";

/// A context of a kubeconfig, and the server it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownContext {
    /// Its name.
    pub name: String,
    /// The URL of the server.
    pub server: String,
    /// PEM of the authority the server is trusted by; none for that of the system, or one that
    /// cannot be read.
    pub authority: Option<String>,
    /// Whether its credentials are at hand: no program is run for them, which might ask somebody.
    pub has_credentials: bool,
}

/// A cluster to act on.
#[derive(Clone)]
pub struct Target {
    /// Talks to its API server.
    pub client: Client,
    /// URL of its API server, exactly as the kubeconfig writes it.
    pub server: String,
    /// PEM of the authority its API server is trusted by; none for that of the system.
    pub certificate_authority: Option<String>,
    /// The name to expect in its certificate, if it is not the URL's host.
    pub tls_server_name: Option<String>,
    /// Whether a proxy lies on the way to it.
    pub has_proxy: bool,
    /// How to call it in messages: its context.
    pub name: String,
}

impl Target {
    /// Reads `file`, else `KUBECONFIG`, else `~/.kube/config`, and takes `context`, else the
    /// current one.
    ///
    /// # Errors
    ///
    /// A kubeconfig that cannot be read, or has no such context.
    pub async fn load(file: Option<&Path>, context: Option<&str>) -> anyhow::Result<Self> {
        let (kubeconfig, origin) = read(file)?;
        Self::of(kubeconfig, &origin, context).await
    }

    /// The current context of a kubeconfig's text. `origin` names it in errors.
    ///
    /// # Errors
    ///
    /// As for [`Target::load`].
    pub async fn of_text(text: &str, origin: &str) -> anyhow::Result<Self> {
        let kubeconfig = Kubeconfig::from_yaml(text)
            .map_err(|error| anyhow!("read {origin}: {}", first_line(&error.to_string())))?;
        Self::of(kubeconfig, origin, None).await
    }

    async fn of(
        kubeconfig: Kubeconfig,
        origin: &str,
        context: Option<&str>,
    ) -> anyhow::Result<Self> {
        let name = context_name(&kubeconfig, origin, context)?;
        let cluster = cluster_of(&kubeconfig, &name)
            .with_context(|| format!("use the context {name:?} of {origin}"))?;
        let server = cluster.server.clone().unwrap_or_default();
        let certificate_authority = authority_of(cluster)?;
        let tls_server_name = cluster.tls_server_name.clone();
        let options = KubeConfigOptions {
            context: Some(name.clone()),
            ..KubeConfigOptions::default()
        };
        client::install_crypto();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options)
            .await
            .map_err(|error| {
                let reason = first_line(&error.to_string()).to_owned();
                anyhow!("use the context {name:?} of {origin}: {reason}; correct its entries")
            })?;
        let has_proxy = config.proxy_url.is_some();
        Ok(Self {
            client: client::connect(config, &component::user_agent(CLIENT_NAME))?,
            server,
            certificate_authority,
            tls_server_name,
            has_proxy,
            name,
        })
    }

    /// The context that was chosen.
    pub fn known(&self) -> KnownContext {
        KnownContext {
            name: self.name.clone(),
            server: self.server.clone(),
            authority: self.certificate_authority.clone(),
            has_credentials: true,
        }
    }

    /// Explains an error of a request to this cluster: what was tried, where, and why it failed.
    pub fn explain(&self, tried: &str, error: &kube::Error) -> anyhow::Error {
        let trouble = Trouble::of(error);
        let advice = match &trouble {
            Trouble::NotFound(said) if said.contains(NO_SUCH_PATH) => {
                "; check the path of the server's URL in the kubeconfig"
            }
            _ => "",
        };
        anyhow!(
            "{tried} (context {:?}, {}): {trouble}{advice}",
            self.name,
            self.server
        )
    }
}

/// The contexts of a kubeconfig that mean a server.
///
/// # Errors
///
/// A kubeconfig that cannot be read.
pub fn contexts(file: Option<&Path>) -> anyhow::Result<Vec<KnownContext>> {
    let (kubeconfig, _) = read(file)?;
    let known = kubeconfig.contexts.iter().filter_map(|named| {
        let cluster = cluster_of(&kubeconfig, &named.name).ok()?;
        Some(KnownContext {
            name: named.name.clone(),
            server: cluster.server.clone()?,
            authority: authority_of(cluster).unwrap_or_default(),
            has_credentials: has_credentials(&kubeconfig, named.context.as_ref()?),
        })
    });
    Ok(known.collect())
}

fn read(file: Option<&Path>) -> anyhow::Result<(Kubeconfig, String)> {
    let origin = match file {
        Some(path) => path.display().to_string(),
        None => std::env::var("KUBECONFIG")
            .ok()
            .filter(|value| !value.is_empty())
            .unwrap_or_else(|| "~/.kube/config".to_owned()),
    };
    let read = match file {
        Some(path) => Kubeconfig::read_from(path),
        None => Kubeconfig::read(),
    };
    let kubeconfig = read.map_err(|error| {
        if let KubeconfigError::ReadConfig(cause, path) = &error
            && cause.kind() == std::io::ErrorKind::NotFound
        {
            return anyhow!(
                "there is no kubeconfig {}; name another with --kubeconfig or KUBECONFIG, or make one with 'hyades up'",
                path.display()
            );
        }
        // The parser draws the offending lines below its message; they may hold secrets.
        let reason = chain(&error);
        anyhow!("read the kubeconfig {origin}: {reason}; correct it, or choose another with --kubeconfig or KUBECONFIG")
    })?;
    Ok((kubeconfig, origin))
}

/// First lines of an error and its causes, without repetition.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = first_line(&error.to_string()).to_owned();
    let mut next = error.source();
    while let Some(cause) = next {
        let line = cause.to_string();
        let line = first_line(&line);
        if !text.contains(line) {
            text.push_str(": ");
            text.push_str(line);
        }
        next = cause.source();
    }
    text
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn context_name(
    kubeconfig: &Kubeconfig,
    origin: &str,
    wanted: Option<&str>,
) -> anyhow::Result<String> {
    let known = || {
        let names: Vec<&str> = kubeconfig
            .contexts
            .iter()
            .map(|context| context.name.as_str())
            .collect();
        match names.is_empty() {
            true => "it has no contexts".to_owned(),
            false => format!("it has {}", names.join(", ")),
        }
    };
    let current = kubeconfig.current_context.as_deref();
    let name = wanted.or(current).filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(anyhow!(
            "no context is chosen: {origin} has no current context, and {}; choose one with --context",
            known()
        ));
    };
    match kubeconfig
        .contexts
        .iter()
        .any(|context| context.name == name)
    {
        true => Ok(name.to_owned()),
        false => Err(anyhow!(
            "context {name:?} does not exist in {origin}: {}; choose one of them with --context, or another file with --kubeconfig",
            known()
        )),
    }
}

fn cluster_of<'a>(kubeconfig: &'a Kubeconfig, context: &str) -> anyhow::Result<&'a Cluster> {
    let context = kubeconfig
        .contexts
        .iter()
        .find(|named| named.name == context)
        .and_then(|named| named.context.as_ref())
        .context("the context is empty; name a cluster and a user in it")?;
    let cluster = kubeconfig
        .clusters
        .iter()
        .find(|named| named.name == context.cluster)
        .and_then(|named| named.cluster.as_ref());
    cluster.with_context(|| {
        format!(
            "it names the cluster {:?}, of which there is no entry; add one",
            context.cluster
        )
    })
}

fn has_credentials(kubeconfig: &Kubeconfig, context: &Context) -> bool {
    let user = context.user.as_deref().unwrap_or_default();
    let named = kubeconfig
        .auth_infos
        .iter()
        .find(|named| named.name == user);
    let info = named.and_then(|named| named.auth_info.as_ref());
    info.is_some_and(|info| info.exec.is_none() && info.auth_provider.is_none())
}

fn authority_of(cluster: &Cluster) -> anyhow::Result<Option<String>> {
    use base64::Engine;
    if let Some(data) = &cluster.certificate_authority_data
        && !data.is_empty()
    {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .context("read certificate-authority-data, which is not base64")?;
        let text = String::from_utf8(bytes)
            .context("read certificate-authority-data, which is not text")?;
        return Ok(Some(text));
    }
    let Some(path) = &cluster.certificate_authority else {
        return Ok(None);
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read the certificate authority {path}"))?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "apiVersion: v1
kind: Config
current-context: its1
contexts:
- {name: its1, context: {cluster: its1, user: u}}
- {name: lost, context: {cluster: nowhere, user: u}}
clusters:
- {name: its1, cluster: {server: 'https://127.0.0.1:9443/spaces/its1', certificate-authority-data: ''}}
users:
- {name: u, user: {token: t}}
";

    fn kubeconfig() -> Kubeconfig {
        Kubeconfig::from_yaml(TEXT).expect("a kubeconfig")
    }

    #[test]
    fn the_context_is_the_one_wanted_else_the_current_one() {
        let name = |wanted| context_name(&kubeconfig(), "FILE", wanted);
        assert_eq!(name(None).expect("current"), "its1");
        assert_eq!(name(Some("lost")).expect("wanted"), "lost");
        assert_eq!(
            name(Some("nope")).expect_err("unknown").to_string(),
            "context \"nope\" does not exist in FILE: it has its1, lost; choose one of them with --context, or another file with --kubeconfig"
        );
    }

    #[test]
    fn a_context_without_its_cluster_is_explained() {
        let kubeconfig = kubeconfig();
        let server = &cluster_of(&kubeconfig, "its1").expect("there").server;
        assert_eq!(
            server.as_deref(),
            Some("https://127.0.0.1:9443/spaces/its1")
        );
        let error = cluster_of(&kubeconfig, "lost").expect_err("no entry");
        assert!(error.to_string().contains("\"nowhere\""), "{error}");
    }
}
