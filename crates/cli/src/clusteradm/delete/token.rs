//! `clusteradm delete token`: the bootstrap account, its rights, and the newest bootstrap token.

use crate::clusteradm::kinds::CLUSTER_ROLE;
use crate::clusteradm::kinds::CLUSTER_ROLE_BINDING;
use crate::clusteradm::kinds::SECRET;
use crate::clusteradm::kinds::SERVICE_ACCOUNT;
use crate::clusteradm::objects;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use crate::clusteradm::token;
use hyades_api::names;
use hyades_api::names::namespaces;

/// The binding of older hubs.
const LEGACY_BINDING: &str = "agent-registration-bootstrap";

/// Runs `delete token`. Silent, as upstream is.
///
/// # Errors
///
/// Not a hub, or a request that failed.
pub async fn run(session: &Session) -> anyhow::Result<()> {
    preflight::is_initialised(session, "this is not a hub").await?;
    let bindings = objects::all(session, CLUSTER_ROLE_BINDING);
    for binding in [names::BOOTSTRAP_CLUSTER_ROLE_BINDING, LEGACY_BINDING] {
        bindings.delete(binding).await?;
    }
    let roles = objects::all(session, CLUSTER_ROLE);
    roles.delete(names::BOOTSTRAP_CLUSTER_ROLE).await?;
    if let Some(secret) = token::newest_secret(session).await? {
        objects::within(session, SECRET, namespaces::KUBE_SYSTEM)
            .delete(&secret)
            .await?;
    }
    let accounts = objects::within(session, SERVICE_ACCOUNT, namespaces::OPERATOR);
    accounts.delete(names::BOOTSTRAP_SERVICE_ACCOUNT).await?;
    Ok(())
}
