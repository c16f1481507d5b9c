//! The connection to the hub under the agent's own identity, shared by registration and works.

use crate::credentials::Credentials;
use hyades_api::identity::AgentIdentity;
use hyades_runtime::client;
use hyades_runtime::client::ClientError;
use hyades_runtime::component;
use hyades_runtime::kube::Client;
use tokio::sync::watch;

/// A hub, and who the agent is there.
#[derive(Clone)]
pub struct Session {
    /// Client with the agent's certificate.
    pub client: Client,
    /// Cluster and agent.
    pub identity: AgentIdentity,
    /// The hub's server URL exactly as in the kubeconfig: what tells hubs apart.
    pub server: String,
    /// Whether the hub is known to have let the agent in.
    pub is_admitted: bool,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("identity", &self.identity)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// Where the present session is published; nothing while there is none.
pub type Sessions = watch::Sender<Option<Session>>;

impl Session {
    /// Makes the client.
    ///
    /// # Errors
    ///
    /// When the credentials are broken.
    pub async fn open(
        credentials: &Credentials,
        identity: AgentIdentity,
        component: &str,
    ) -> Result<Self, ClientError> {
        let origin = "of the agent's own credentials";
        let user_agent = component::user_agent(component);
        let kubeconfig = credentials.client_kubeconfig();
        Ok(Self {
            client: client::from_parsed(&kubeconfig, origin, &user_agent).await?,
            server: credentials.endpoint.server().to_owned(),
            identity,
            is_admitted: false,
        })
    }
}
