//! `clusteradm create clusterset`.

use crate::clusteradm::clusterset::check_name;
use crate::clusteradm::kinds::CLUSTER_SET;
use crate::clusteradm::objects;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use serde_json::json;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct ClustersetArgs {
    /// The set
    name: String,
}

/// Runs `create clusterset`.
///
/// # Errors
///
/// A wrong name, not a hub, or a request that failed.
pub async fn run(session: &Session, args: &ClustersetArgs) -> anyhow::Result<()> {
    let name = args.name.as_str();
    check_name(name)?;
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    let mut set = CLUSTER_SET.object(None, name);
    // The definition fills in how members are found.
    set["spec"] = json!({});
    let is_new = objects::all(session, CLUSTER_SET).create(&set).await?;
    session.console.line(match is_new {
        true => format!("Clusterset {name} is created"),
        false => format!("Clusterset {name} is already created"),
    });
    Ok(())
}
