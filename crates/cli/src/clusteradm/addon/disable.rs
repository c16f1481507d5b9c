//! `clusteradm addon disable`.

use super::addons;
use crate::clusteradm::flags::ClusterOption;
use crate::clusteradm::kinds::ADDON;
use crate::clusteradm::objects;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::objects::namespace_of;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::bail;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct DisableArgs {
    /// The add-ons, separated by commas
    #[arg(long, value_delimiter = ',')]
    names: Vec<String>,
    #[command(flatten)]
    clusters: ClusterOption,
    /// In every cluster
    #[arg(long)]
    all_clusters: bool,
}

/// Runs `addon disable`.
///
/// # Errors
///
/// Wrong flags, an add-on that is not enabled, or a request that failed.
pub async fn run(session: &Session, args: &DisableArgs) -> anyhow::Result<()> {
    let addons = addons(&args.names)?;
    let clusters = args.clusters.optional()?;
    match (clusters.is_empty(), args.all_clusters) {
        (true, false) => bail!("either --cluster, --clusters or --all-clusters needs to be set"),
        (false, true) => bail!(
            "--all-clusters cannot be used with --cluster or --clusters; give the one or the other"
        ),
        _ => {}
    }
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    let enabled = objects::all(session, ADDON).list(None).await?;
    for addon in &addons {
        let is_enabled = |cluster: &str| {
            enabled
                .iter()
                .any(|found| name_of(found) == addon && namespace_of(found) == cluster)
        };
        if let Some(cluster) = clusters.iter().find(|cluster| !is_enabled(cluster)) {
            bail!(
                "{}\nthe add-on {addon} is not enabled for the cluster {cluster}; see which are with 'get addon'",
                ADDON.not_found(addon)
            );
        }
        let places = enabled.iter().filter(|found| {
            name_of(found) == addon && (args.all_clusters || clusters.contains(namespace_of(found)))
        });
        for cluster in places.map(namespace_of) {
            session.console.line(format!(
                "Undeploying {addon} add-on in managed cluster: {cluster}."
            ));
            objects::within(session, ADDON, cluster)
                .delete(addon)
                .await?;
        }
    }
    Ok(())
}
