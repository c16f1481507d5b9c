//! Why an agent does not start.

use hyades_api::features::FeatureError;
use hyades_api::identity::ClusterNameError;
use hyades_api::identity::IdentityError;

/// Why an agent does not start. Everything that can change while it runs is waited for instead.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// A feature gate that does not exist or has nothing behind it, or a value that is none.
    #[error("read --feature-gates: {0}")]
    Feature(#[from] FeatureError),
    /// Several hubs, without what that needs.
    #[error(
        "--bootstrap-kubeconfig-secrets needs the feature gate MultipleHubs and at least two Secrets"
    )]
    SeveralHubs,
    /// The cluster's name is none.
    #[error("read the cluster's name: {0}")]
    ClusterName(#[from] ClusterNameError),
    /// The agent's name is none.
    #[error("read the agent's name: {0}")]
    Identity(#[from] IdentityError),
}
