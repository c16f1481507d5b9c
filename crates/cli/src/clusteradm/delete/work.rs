//! `clusteradm delete work`.

use crate::clusteradm::flags::ClusterOption;
use crate::clusteradm::kinds::MANIFEST_WORK;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::Context;
use anyhow::bail;
use serde_json::json;
use std::time::Duration;

/// How long a work may take to go, as upstream waits for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The command line.
#[derive(Debug, clap::Args)]
pub struct WorkArgs {
    /// The work
    name: String,
    #[command(flatten)]
    clusters: ClusterOption,
    /// Let go of the work even if its agent does not clean up: its objects stay in the cluster
    #[arg(long)]
    force: bool,
}

/// Runs `delete work`.
///
/// # Errors
///
/// No such work, an agent that does not clean up in time, or a request that failed.
pub async fn run(session: &Session, args: &WorkArgs) -> anyhow::Result<()> {
    let name = args.name.as_str();
    names::subdomain("work name", name)?;
    let clusters = args.clusters.required()?;
    preflight::is_hub(&session.target).await?;
    for cluster in &clusters {
        let works = objects::within(session, MANIFEST_WORK, cluster);
        if !works.delete(name).await? {
            bail!(
                "{}\nlist the works there are with 'get works --cluster {cluster}'",
                MANIFEST_WORK.not_found(name)
            );
        }
        // The agent may have cleaned up already, in which case there is nothing to let go of.
        if args.force && works.get(name).await?.is_some() {
            works
                .patch(name, &json!({"metadata": {"finalizers": null}}))
                .await?;
        }
        works.gone(name, PATIENCE.min(session.timeout)).await.with_context(|| {
            format!(
                "the agent of {cluster} has not cleaned up after the work {name}; see whether it runs with 'get clusters', or let go of the work with --force, which leaves its objects in the cluster"
            )
        })?;
        session
            .console
            .line(format!("work {name} in cluster {cluster} is deleted"));
    }
    Ok(())
}
