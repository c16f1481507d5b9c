//! Taking out an operator: `clean` the hub's, `unjoin` the agent's.

use super::kinds::CLUSTER_ROLE;
use super::kinds::CLUSTER_ROLE_BINDING;
use super::kinds::DEFINITION;
use super::kinds::DEPLOYMENT;
use super::kinds::Kind;
use super::kinds::SERVICE_ACCOUNT;
use super::objects;
use super::session::Session;
use hyades_api::names::namespaces;

/// Deletes the operator of this name, and the definition of the kind that it follows. The namespace
/// stays.
///
/// # Errors
///
/// The first object that cannot be deleted.
pub async fn purge(session: &Session, follows: Kind, name: &str) -> anyhow::Result<()> {
    let namespaced = |kind| objects::within(session, kind, namespaces::OPERATOR);
    namespaced(DEPLOYMENT).delete(name).await?;
    let definition = follows.full_plural();
    objects::all(session, DEFINITION)
        .delete(&definition)
        .await?;
    for kind in [CLUSTER_ROLE, CLUSTER_ROLE_BINDING] {
        objects::all(session, kind).delete(name).await?;
    }
    namespaced(SERVICE_ACCOUNT).delete(name).await?;
    Ok(())
}
