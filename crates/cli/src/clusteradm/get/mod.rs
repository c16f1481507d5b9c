//! `clusteradm get`: what there is on a hub, or on a managed cluster.
//!
//! ```text
//! lists ─▶ pure shape ─▶ Listing ─▶ tree, table, YAML, JSON
//! ```

mod addon;
mod clusters;
mod clustersets;
mod hub_info;
mod klusterlet_info;
mod operators;
mod placements;
mod works;

use super::session::Session;
use super::token;

pub use placements::decided;

/// What to get.
#[derive(Debug, clap::Subcommand)]
pub enum Get {
    /// Get the token that new clusters present themselves with
    Token(token::TokenArgs),
    /// Get the clusters of a hub
    Clusters(clusters::ClustersArgs),
    /// Get the sets of clusters of a hub
    Clustersets(clustersets::ClustersetsArgs),
    /// Get the works of clusters
    Works(works::WorksArgs),
    /// Get the placements of a hub
    Placements(placements::PlacementsArgs),
    /// Get the add-ons of a hub, and where they are enabled
    Addon(addon::AddonArgs),
    /// Get how the hub runs
    HubInfo,
    /// Get how the agent of a managed cluster runs
    KlusterletInfo,
}

/// Runs `get`.
///
/// # Errors
///
/// The first request that failed.
pub async fn run(session: &Session, what: &Get) -> anyhow::Result<()> {
    match what {
        Get::Token(args) => token::run(session, args).await,
        Get::Clusters(args) => clusters::run(session, args).await,
        Get::Clustersets(args) => clustersets::run(session, args).await,
        Get::Works(args) => works::run(session, args).await,
        Get::Placements(args) => placements::run(session, args).await,
        Get::Addon(args) => addon::run(session, args).await,
        Get::HubInfo => hub_info::run(session).await,
        Get::KlusterletInfo => klusterlet_info::run(session).await,
    }
}
