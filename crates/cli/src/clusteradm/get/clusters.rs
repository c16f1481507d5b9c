//! `clusteradm get clusters`.

use crate::clusteradm::kinds::CLUSTER_SET as CLUSTER_SET_KIND;
use crate::clusteradm::kinds::MANAGED_CLUSTER;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::condition_status;
use crate::clusteradm::objects::label_of;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::preflight;
use crate::clusteradm::printer::FormatFlag;
use crate::clusteradm::printer::Listing;
use crate::clusteradm::printer::Node;
use crate::clusteradm::session::Session;
use hyades_api::conditions::managed_cluster::AVAILABLE;
use hyades_api::names::labels::CLUSTER_SET;
use serde_json::Value;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct ClustersArgs {
    /// Only those of this set
    #[arg(
        long,
        value_name = "SET",
        default_value = "",
        hide_default_value = true
    )]
    clusterset: String,
    #[command(flatten)]
    format: FormatFlag,
}

/// Runs `get clusters`.
///
/// # Errors
///
/// Not a hub, no such set, or a request that failed.
pub async fn run(session: &Session, args: &ClustersArgs) -> anyhow::Result<()> {
    let selector = match args.clusterset.as_str() {
        "" => None,
        set => {
            names::label_value("cluster set", set)?;
            Some(format!("{CLUSTER_SET}={set}"))
        }
    };
    preflight::is_hub(&session.target).await?;
    let clusters = objects::all(session, MANAGED_CLUSTER)
        .list(selector.as_deref())
        .await?;
    if clusters.is_empty() && selector.is_some() {
        let advice = "list the sets there are with 'get clustersets'";
        objects::refuse_if_missing(session, CLUSTER_SET_KIND, &args.clusterset, advice).await?;
    }
    listing(clusters).show(session, args.format.output)
}

/// What is shown of one cluster.
struct Row<'a> {
    accepted: String,
    available: &'a str,
    set: &'a str,
    version: &'a str,
    cpu: &'a str,
    memory: &'a str,
}

impl<'a> Row<'a> {
    fn of(cluster: &'a Value) -> Self {
        let status = &cluster["status"];
        let text = |value: &'a Value| value.as_str().unwrap_or_default();
        let accepted = cluster["spec"]["hubAcceptsClient"]
            .as_bool()
            .unwrap_or(false);
        Self {
            accepted: accepted.to_string(),
            available: condition_status(cluster, AVAILABLE),
            set: label_of(cluster, CLUSTER_SET),
            version: text(&status["version"]["kubernetes"]),
            cpu: text(&status["capacity"]["cpu"]),
            memory: text(&status["capacity"]["memory"]),
        }
    }
}

fn listing(clusters: Vec<Value>) -> Listing {
    let branch = |cluster: &Value| {
        let row = Row::of(cluster);
        let capacity = vec![Node::leaf("Memory", row.memory), Node::leaf("Cpu", row.cpu)];
        Node::branch(
            name_of(cluster),
            vec![
                Node::branch("Capacity", capacity),
                Node::leaf("Accepted", row.accepted),
                Node::leaf("Available", row.available),
                Node::leaf("ClusterSet", row.set),
                Node::leaf("KubernetesVersion", row.version),
            ],
        )
    };
    let line = |cluster: &Value| {
        let row = Row::of(cluster);
        let name = name_of(cluster);
        [
            name,
            &row.accepted,
            row.available,
            row.set,
            row.cpu,
            row.memory,
            row.version,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    Listing {
        root: "ManagedCluster",
        branches: clusters.iter().map(branch).collect(),
        columns: &[
            "Name",
            "Accepted",
            "Available",
            "ClusterSet",
            "CPU",
            "Memory",
            "Kubernetes Version",
        ],
        rows: clusters.iter().map(line).collect(),
        kind: MANAGED_CLUSTER,
        items: clusters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cluster_that_has_said_nothing_is_shown_with_gaps() {
        let listing = listing(vec![json!({"metadata": {"name": "new"}})]);
        assert_eq!(
            listing.rows,
            [["new", "false", "", "", "", "", ""]
                .map(str::to_owned)
                .to_vec()]
        );
    }
}
