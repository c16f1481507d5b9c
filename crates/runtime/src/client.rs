//! Kubernetes clients with bounded waits and their own user agent.

use crate::transport;
use crate::trouble::Trouble;
use http::HeaderName;
use http::HeaderValue;
use http::Request;
use http::header::USER_AGENT;
use kube::Client;
use kube::Config;
use kube::client::Body;
use kube::config::KubeConfigOptions;
use kube::config::Kubeconfig;
use serde::Serialize;
use std::time::Duration;

/// The header that names whom a request acts as.
const IMPERSONATE_USER: HeaderName = HeaderName::from_static("impersonate-user");

/// Time for TCP and TLS to be established. Ten times the longest round trip around the earth,
/// with room for one lost packet's retransmission.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Time until the head of an answer arrives. Kubernetes API servers bound their own work by 60 s;
/// what takes half of that is better tried again. Watches answer at once and stream afterwards,
/// so this does not end them.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A response did not begin within [`RESPONSE_TIMEOUT`].
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", RESPONSE_TIMEOUT.as_secs())]
pub struct RequestTimedOut;

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a pod's service account is there.
    #[error(
        "looked for a cluster in KUBECONFIG, ~/.kube/config and the pod's service account, found none: {0}; set KUBECONFIG to a file"
    )]
    NoCluster(String),
    /// The kubeconfig cannot be used.
    #[error("read the kubeconfig {origin}: {reason}; correct it and try again")]
    Kubeconfig {
        /// Where the kubeconfig comes from: a file, or a Secret.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The configuration is complete, and the client refuses it (a broken certificate, say).
    #[error("made a client for {server}: {reason}")]
    Unusable {
        /// The server's URL.
        server: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Makes ring the process's TLS provider. Idempotent; call it before anything uses TLS.
pub fn install_crypto() {
    // The error only says that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// The configuration for the cluster this process belongs to: `KUBECONFIG`, else
/// `~/.kube/config`, else the pod's service account.
pub async fn local_config() -> Result<Config, ClientError> {
    let explicit = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    match Config::from_kubeconfig(&KubeConfigOptions::default()).await {
        Ok(config) => Ok(config),
        Err(error) if explicit.is_some() => Err(ClientError::Kubeconfig {
            origin: explicit.unwrap_or_default().to_string_lossy().into_owned(),
            reason: error.to_string(),
        }),
        Err(kubeconfig) => Config::incluster()
            .map_err(|pod| ClientError::NoCluster(format!("{kubeconfig}; {pod}"))),
    }
}

/// Reads a kubeconfig from text, using its current context. `origin` names it in errors.
///
/// The text comes from a Secret, whose author may be somebody who must not run commands or read
/// files where this process runs: credentials have to be in the text itself.
///
/// # Errors
/// When the text is no kubeconfig, or refers to commands or files.
pub async fn config_from_text(text: &str, origin: &str) -> Result<Config, ClientError> {
    let broken = |reason: String| ClientError::Kubeconfig {
        origin: origin.to_owned(),
        reason,
    };
    let kubeconfig =
        Kubeconfig::from_yaml(text).map_err(|error| broken(without_content(&error.to_string())))?;
    config_from(kubeconfig, origin).await
}

async fn config_from(kubeconfig: Kubeconfig, origin: &str) -> Result<Config, ClientError> {
    let broken = |reason: String| ClientError::Kubeconfig {
        origin: origin.to_owned(),
        reason,
    };
    if let Some(field) = outside_reference(&kubeconfig) {
        return Err(broken(format!(
            "it uses {field}; only credentials that stand in the kubeconfig itself are accepted"
        )));
    }
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| broken(without_content(&error.to_string())))
}

/// A parser's message without what it quotes of the text, which may be a secret: the lines that it
/// draws below, and values in quotation marks.
fn without_content(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let parts = first.split('"').enumerate();
    let kept = parts.map(|(index, part)| if index % 2 == 0 { part } else { "…" });
    kept.collect::<Vec<_>>().join("\"")
}

/// The first field of a kubeconfig that names a command to run or a file to read.
fn outside_reference(kubeconfig: &Kubeconfig) -> Option<&'static str> {
    let users = kubeconfig.auth_infos.iter();
    let of_users = users
        .filter_map(|user| user.auth_info.as_ref())
        .find_map(|user| {
            let used = [
                ("exec", user.exec.is_some()),
                ("auth-provider", user.auth_provider.is_some()),
                ("tokenFile", user.token_file.is_some()),
                ("client-certificate", user.client_certificate.is_some()),
                ("client-key", user.client_key.is_some()),
            ];
            used.into_iter()
                .find_map(|(field, used)| used.then_some(field))
        });
    let mut clusters = kubeconfig.clusters.iter();
    let of_clusters = clusters.any(|cluster| {
        let cluster = cluster.cluster.as_ref();
        cluster.is_some_and(|cluster| cluster.certificate_authority.is_some())
    });
    of_users.or(of_clusters.then_some("certificate-authority"))
}

/// Makes a client with this crate's time limits and the given `User-Agent`.
pub fn connect(mut config: Config, user_agent: &str) -> Result<Client, ClientError> {
    install_crypto();
    let server = config.cluster_url.to_string();
    let unusable = |reason: String| ClientError::Unusable {
        server: server.clone(),
        reason,
    };
    let agent = HeaderValue::from_str(user_agent).map_err(|error| unusable(error.to_string()))?;
    config.headers.push((USER_AGENT, agent));
    transport::client(config).map_err(|error| unusable(Trouble::of(&error).to_string()))
}

/// Makes a client from the text of a kubeconfig.
pub async fn from_kubeconfig(
    text: &str,
    origin: &str,
    user_agent: &str,
) -> Result<Client, ClientError> {
    connect(config_from_text(text, origin).await?, user_agent)
}

/// The name of a user that requests can act as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserName(HeaderValue);

impl UserName {
    /// The name, unless it holds what a header cannot.
    pub fn new(name: &str) -> Option<Self> {
        HeaderValue::from_str(name).ok().map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        // It was made from a text of visible characters.
        self.0.to_str().unwrap_or_default()
    }
}

/// A client that acts as another user: its requests go over `client`'s connection, with the rights
/// of that user and not of `client`'s own, who must be allowed to impersonate him.
pub fn acting_as(client: &Client, user: &UserName) -> Client {
    let name = user.0.clone();
    let inner = client.clone();
    let acting = tower::service_fn(move |mut request: Request<Body>| {
        let inner = inner.clone();
        let headers = request.headers_mut();
        headers.insert(IMPERSONATE_USER, name.clone());
        async move { inner.send(request).await }
    });
    Client::new(acting, client.default_namespace())
}

/// Makes a client from a kubeconfig that is at hand as an object, under the same rules.
pub async fn from_parsed(
    kubeconfig: &impl Serialize,
    origin: &str,
    user_agent: &str,
) -> Result<Client, ClientError> {
    let parsed = serde_json::to_value(kubeconfig).and_then(serde_json::from_value);
    let parsed = parsed.map_err(|error| ClientError::Kubeconfig {
        origin: origin.to_owned(),
        reason: without_content(&error.to_string()),
    })?;
    connect(config_from(parsed, origin).await?, user_agent)
}

/// A GET of `path` on the API server, for the pages that are no objects: `/livez`, `/version`.
pub fn get_request(path: &str) -> Request<Vec<u8>> {
    let mut request = Request::new(Vec::new());
    // A path that is no URI leaves "/", which every server answers in its own way.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBECONFIG: &str = "apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: hub, user: u, namespace: here}}]
clusters: [{name: hub, cluster: {server: 'https://127.0.0.1:1/spaces/its1'}}]
users: [{name: u, user: {token: t}}]
";

    #[tokio::test]
    async fn a_kubeconfig_gives_a_client_with_its_namespace() {
        let client = from_kubeconfig(KUBECONFIG, "test", "hyades-test")
            .await
            .expect("a client");
        assert_eq!(client.default_namespace(), "here");
    }

    #[tokio::test]
    async fn a_refused_connection_is_told_in_plain_words() {
        let client = from_kubeconfig(KUBECONFIG, "test", "hyades-test")
            .await
            .expect("a client");
        let error = client
            .apiserver_version()
            .await
            .expect_err("nothing listens on port 1");
        assert!(
            matches!(Trouble::of(&error), Trouble::Refused(_)),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_kubeconfig_that_names_commands_or_files_is_refused() {
        let folder = std::env::temp_dir().join(format!("hyades-exec-{}", std::process::id()));
        let command = format!("{{command: touch, args: ['{}']}}", folder.display());
        for (field, part) in [
            ("exec", format!("users: [{{name: u, user: {{exec: {command}}}}}]")),
            ("tokenFile", "users: [{name: u, user: {tokenFile: /etc/passwd}}]".to_owned()),
            ("client-key", "users: [{name: u, user: {client-key: /k}}]".to_owned()),
            (
                "certificate-authority",
                "clusters: [{name: hub, cluster: {server: 'https://h', certificate-authority: /c}}]"
                    .to_owned(),
            ),
        ] {
            let place = if part.starts_with("users") { "users" } else { "clusters" };
            let kept = KUBECONFIG.lines().filter(|line| !line.starts_with(place));
            let text = kept.chain([part.as_str()]).collect::<Vec<_>>().join("\n");
            let error = config_from_text(&text, "test").await.expect_err("refused");
            assert!(error.to_string().contains(&format!("it uses {field};")), "{error}");
        }
        assert!(!folder.exists(), "the command was not run");
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_is_not_quoted() {
        for text in [
            "users: [{name: u, user: {token: [secret]}}]",
            "users: secret",
            "clusters: 3\nusers: [{name: u, user: {token: secret: [}}]",
        ] {
            let error = config_from_text(text, "test").await.expect_err("broken");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_says_where_it_came_from() {
        let error = config_from_text("clusters: 3", "Secret a/b")
            .await
            .expect_err("broken");
        assert!(
            error
                .to_string()
                .starts_with("read the kubeconfig Secret a/b: "),
            "{error}"
        );
    }
}
