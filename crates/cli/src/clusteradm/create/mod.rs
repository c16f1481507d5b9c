//! `clusteradm create`: sets, placements and works.

mod clusterset;
mod manifests;
mod placement;
mod sampleapp;
mod work;

use super::session::Session;

pub use manifests::FileFlags;

/// What to create.
#[derive(Debug, clap::Subcommand)]
pub enum Create {
    /// Create a set of clusters
    Clusterset(clusterset::ClustersetArgs),
    /// Create a placement, which chooses clusters
    Placement(placement::PlacementArgs),
    /// Create a work from manifests, in one cluster, several, or all of a placement
    Work(work::WorkArgs),
    /// Create a small application as a work, to see works at work
    Sampleapp(sampleapp::SampleappArgs),
}

/// Runs `create`.
///
/// # Errors
///
/// Wrong flags or manifests, or a request that failed.
pub async fn run(session: &Session, what: &Create) -> anyhow::Result<()> {
    match what {
        Create::Clusterset(args) => clusterset::run(session, args).await,
        Create::Placement(args) => placement::run(session, args).await,
        Create::Work(args) => work::run(session, args).await,
        Create::Sampleapp(args) => sampleapp::run(session, args).await,
    }
}
