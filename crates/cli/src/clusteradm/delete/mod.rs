//! `clusteradm delete`: takes away what `init` and `create` made.

mod clusterset;
mod token;
mod work;

use super::session::Session;

/// What to delete.
#[derive(Debug, clap::Subcommand)]
pub enum Delete {
    /// Delete a set of clusters; its clusters stay
    Clusterset(clusterset::ClustersetArgs),
    /// Delete what new clusters present themselves with: no further cluster can ask to join
    Token,
    /// Delete a work, and with it its objects in the cluster
    Work(work::WorkArgs),
}

/// Runs `delete`.
///
/// # Errors
///
/// Wrong names, nothing to delete, or a request that failed.
pub async fn run(session: &Session, what: &Delete) -> anyhow::Result<()> {
    session.announce_dry_run();
    match what {
        Delete::Clusterset(args) => clusterset::run(session, args).await,
        Delete::Token => token::run(session).await,
        Delete::Work(args) => work::run(session, args).await,
    }
}
