//! `clusteradm get works`.

use crate::clusteradm::flags::ClusterOption;
use crate::clusteradm::kinds::MANAGED_CLUSTER;
use crate::clusteradm::kinds::MANIFEST_WORK;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::condition_status;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::objects::namespace_of;
use crate::clusteradm::preflight;
use crate::clusteradm::printer::FormatFlag;
use crate::clusteradm::printer::Listing;
use crate::clusteradm::printer::Node;
use crate::clusteradm::session::Session;
use hyades_api::conditions::work::APPLIED;
use hyades_api::conditions::work::AVAILABLE;
use serde_json::Value;
use std::collections::BTreeMap;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct WorksArgs {
    /// Only the work of this name
    name: Option<String>,
    #[command(flatten)]
    clusters: ClusterOption,
    #[command(flatten)]
    format: FormatFlag,
}

/// What to do about a cluster that does not exist.
const CLUSTERS: &str = "list the clusters there are with 'get clusters'";

/// Runs `get works`.
///
/// # Errors
///
/// Not a hub, no such cluster or work, or a request that failed.
pub async fn run(session: &Session, args: &WorksArgs) -> anyhow::Result<()> {
    let clusters = args.clusters.required()?;
    if let Some(name) = &args.name {
        names::subdomain("work name", name)?;
    }
    preflight::is_hub(&session.target).await?;
    let mut works = Vec::new();
    for cluster in &clusters {
        let mailbox = objects::within(session, MANIFEST_WORK, cluster);
        match &args.name {
            None => {
                let found = mailbox.list(None).await?;
                if found.is_empty() {
                    objects::refuse_if_missing(session, MANAGED_CLUSTER, cluster, CLUSTERS).await?;
                }
                works.extend(found);
            }
            Some(name) => {
                let advice =
                    format!("list the works there are with 'get works --cluster {cluster}'");
                works.push(mailbox.demand(name, &advice).await?);
            }
        }
    }
    listing(works).show(session, args.format.output)
}

fn listing(works: Vec<Value>) -> Listing {
    let line = |work: &Value| {
        vec![
            name_of(work).to_owned(),
            namespace_of(work).to_owned(),
            manifests(work).len().to_string(),
            condition_status(work, APPLIED).to_owned(),
            condition_status(work, AVAILABLE).to_owned(),
        ]
    };
    let mut by_cluster: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
    for work in &works {
        by_cluster
            .entry(namespace_of(work))
            .or_default()
            .push(branch(work));
    }
    let branches = by_cluster.into_iter();
    Listing {
        root: "ManifestWork",
        branches: branches
            .map(|(cluster, works)| Node::branch(cluster, works))
            .collect(),
        columns: &[
            "Name",
            "Cluster",
            "Number Of Manifests",
            "Applied",
            "Available",
        ],
        rows: works.iter().map(line).collect(),
        kind: MANIFEST_WORK,
        items: works,
    }
}

fn manifests(work: &Value) -> &[Value] {
    let manifests = work["spec"]["workload"]["manifests"].as_array();
    manifests.map(Vec::as_slice).unwrap_or_default()
}

/// One work, with the state of each of its objects.
pub fn branch(work: &Value) -> Node {
    Node::branch(
        name_of(work),
        vec![
            Node::leaf("Number of Manifests", manifests(work).len().to_string()),
            Node::leaf("Applied", condition_status(work, APPLIED)),
            Node::branch("Resources", resources(work)),
            Node::leaf("Available", condition_status(work, AVAILABLE)),
        ],
    )
}

fn resources(work: &Value) -> Vec<Node> {
    let mut by_resource: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
    let manifests = work["status"]["resourceStatus"]["manifests"].as_array();
    for manifest in manifests.map(Vec::as_slice).unwrap_or_default() {
        let meta = &manifest["resourceMeta"];
        let text = |field: &str| meta[field].as_str().unwrap_or_default();
        let conditions = manifest["conditions"].as_array();
        let applied = conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == APPLIED);
        let state = match applied.and_then(|condition| condition["status"].as_str()) {
            Some("True") => "applied",
            Some("False") => "not-applied",
            _ => "unknown",
        };
        let name = match text("namespace") {
            "" => text("name").to_owned(),
            namespace => format!("{namespace}/{}", text("name")),
        };
        by_resource
            .entry(text("resource"))
            .or_default()
            .push(Node::leaf(name, state));
    }
    by_resource
        .into_iter()
        .map(|(resource, nodes)| Node::branch(resource, nodes))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_object_of_a_work_is_shown_with_its_state() {
        let manifest = |resource: &str, namespace: &str, applied: Option<&str>| {
            let conditions = applied.map(|status| json!([{"type": "Applied", "status": status}]));
            json!({
                "resourceMeta": {"resource": resource, "namespace": namespace, "name": "a"},
                "conditions": conditions,
            })
        };
        let work = json!({
            "metadata": {"name": "w", "namespace": "cluster1"},
            "spec": {"workload": {"manifests": [{}, {}, {}]}},
            "status": {
                "conditions": [{"type": "Applied", "status": "False"}],
                "resourceStatus": {"manifests": [
                    manifest("configmaps", "default", Some("True")),
                    manifest("namespaces", "", Some("False")),
                    manifest("configmaps", "other", None),
                ]},
            },
        });
        let listing = listing(vec![work]);
        assert_eq!(
            listing.rows,
            [["w", "cluster1", "3", "False", ""]
                .map(str::to_owned)
                .to_vec()]
        );
        let configmaps = vec![
            Node::leaf("default/a", "applied"),
            Node::leaf("other/a", "unknown"),
        ];
        let resources = vec![
            Node::branch("configmaps", configmaps),
            Node::branch("namespaces", vec![Node::leaf("a", "not-applied")]),
        ];
        let work = Node::branch(
            "w",
            vec![
                Node::leaf("Number of Manifests", "3"),
                Node::leaf("Applied", "False"),
                Node::branch("Resources", resources),
                Node::leaf("Available", ""),
            ],
        );
        assert_eq!(listing.branches, [Node::branch("cluster1", vec![work])]);
    }
}
