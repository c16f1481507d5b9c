//! The way to the WEC: the cluster the agent runs in, or, for a hosted agent, the one that a
//! kubeconfig in a Secret names.

use crate::credentials;
use crate::credentials::HubEndpoint;
use crate::credentials::keys;
use crate::error::AgentError;
use crate::options::CommonOptions;
use crate::secrets::WatchedSecret;
use hyades_runtime::Context;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::kube::Client;

/// The WEC as the agent reaches it.
#[derive(Clone)]
pub(crate) struct Wec {
    /// Client under the agent's account there.
    pub(crate) client: Client,
    /// PEM of the authority its API server is trusted by, if there is one.
    pub(crate) certificate_authority: Option<String>,
}

impl Wec {
    /// The cluster the agent runs in.
    fn own(context: &Context) -> Self {
        Self {
            client: context.client.clone(),
            certificate_authority: context.certificate_authority.clone(),
        }
    }

    async fn of(kubeconfig: &str, secret: &str) -> Result<Self, String> {
        let origin = format!("in Secret {secret}");
        let user_agent = component::user_agent("klusterlet-agent");
        let client = client::from_kubeconfig(kubeconfig, &origin, &user_agent)
            .await
            .map_err(|error| error.to_string())?;
        let endpoint = HubEndpoint::of(kubeconfig, secret).map_err(|error| error.to_string())?;
        Ok(Self {
            client,
            certificate_authority: endpoint.cluster.certificate_authority_pem(),
        })
    }
}

/// Runs `work` for the WEC until it ends or the process shall. A hosted agent waits for the Secret
/// first, and starts `work` anew whenever the kubeconfig in it changes.
///
/// # Errors
///
/// Those of `work`.
pub(crate) async fn with_wec(
    common: &CommonOptions,
    context: &Context,
    work: impl AsyncFn(Wec) -> Result<(), AgentError>,
) -> Result<(), AgentError> {
    let name = common.spoke_kubeconfig_secret.as_str();
    if name.is_empty() {
        return work(Wec::own(context)).await;
    }
    let mut secret = WatchedSecret::start(context.client.clone(), &context.namespace, name);
    loop {
        let seen = secret.current();
        let text = seen
            .secret()
            .and_then(|one| credentials::text(one, keys::KUBECONFIG));
        let working = async {
            let Some(text) = text else {
                tracing::info!("waiting for Secret {name} with the managed cluster's kubeconfig");
                return std::future::pending().await;
            };
            match Wec::of(text, name).await {
                Ok(wec) => work(wec).await,
                Err(error) => {
                    tracing::warn!("{error}; waiting for another");
                    std::future::pending().await
                }
            }
        };
        tokio::select! {
            () = context.shutdown.cancelled() => return Ok(()),
            result = working => return result,
            () = secret.changed() => tracing::info!("Secret {name} changed: starting anew"),
        }
    }
}
