//! `clusteradm get addon`.

use super::works;
use crate::clusteradm::flags::ClusterOption;
use crate::clusteradm::kinds::ADDON;
use crate::clusteradm::kinds::MANIFEST_WORK;
use crate::clusteradm::kinds::OFFERED_ADDON;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::condition_status;
use crate::clusteradm::objects::label_of;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::objects::namespace_of;
use crate::clusteradm::preflight;
use crate::clusteradm::printer::FormatFlag;
use crate::clusteradm::printer::Listing;
use crate::clusteradm::printer::Node;
use crate::clusteradm::session::Session;
use anyhow::bail;
use hyades_api::names::labels::ADDON_NAME;
use serde_json::Value;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct AddonArgs {
    /// Only the add-ons of these names
    names: Vec<String>,
    #[command(flatten)]
    clusters: ClusterOption,
    #[command(flatten)]
    format: FormatFlag,
}

/// Runs `get addon`.
///
/// # Errors
///
/// Not a hub, or a request that failed.
pub async fn run(session: &Session, args: &AddonArgs) -> anyhow::Result<()> {
    let clusters = args.clusters.optional()?;
    for name in &args.names {
        names::subdomain("add-on name", name)?;
    }
    preflight::is_hub(&session.target).await?;
    let is_named =
        |name: &str| args.names.is_empty() || args.names.iter().any(|wanted| wanted == name);
    let mut offered = objects::all(session, OFFERED_ADDON).list(None).await?;
    offered.retain(|addon| is_named(name_of(addon)));
    for name in &args.names {
        if !offered.iter().any(|addon| name_of(addon) == name) {
            bail!(
                "{}\nlist the add-ons there are with 'get addon'",
                OFFERED_ADDON.not_found(name)
            );
        }
    }
    let is_wanted = |object: &Value| clusters.is_empty() || clusters.contains(namespace_of(object));
    let mut enabled = objects::all(session, ADDON).list(None).await?;
    enabled.retain(is_wanted);
    let mut works = objects::all(session, MANIFEST_WORK)
        .list(Some(ADDON_NAME))
        .await?;
    works.retain(is_wanted);
    listing(offered, &enabled, &works).show(session, args.format.output)
}

fn listing(offered: Vec<Value>, enabled: &[Value], works: &[Value]) -> Listing {
    let installations = |addon: &Value| {
        let name = name_of(addon).to_owned();
        enabled
            .iter()
            .filter(move |enabled| name_of(enabled) == name)
    };
    let branch = |addon: &Value| {
        let of_cluster = |installed: &Value| {
            let state = |type_| condition_status(installed, type_);
            let status = vec![
                Node::leaf("Available", state("Available")),
                Node::leaf("ManifestApplied", state("ManifestApplied")),
                Node::leaf("RegistrationApplied", state("RegistrationApplied")),
            ];
            let its_works = works.iter().filter(|work| {
                namespace_of(work) == namespace_of(installed)
                    && label_of(work, ADDON_NAME) == name_of(installed)
            });
            let its_works: Vec<Node> = its_works.map(works::branch).collect();
            let mut children = vec![Node::branch("Status", status)];
            if !its_works.is_empty() {
                children.push(Node::branch("ManifestWork", its_works));
            }
            Node::branch(namespace_of(installed), children)
        };
        Node::branch(
            name_of(addon),
            installations(addon).map(of_cluster).collect(),
        )
    };
    let line = |addon: &Value| {
        let clusters: Vec<&str> = installations(addon).map(namespace_of).collect();
        vec![name_of(addon).to_owned(), clusters.join(",")]
    };
    Listing {
        root: "ClusterManagementAddon",
        branches: offered.iter().map(branch).collect(),
        columns: &["Name", "InstalledClusters"],
        rows: offered.iter().map(line).collect(),
        kind: OFFERED_ADDON,
        items: offered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_addon_is_shown_with_the_clusters_it_is_enabled_for() {
        let offered = ["one", "two"].map(|name| json!({"metadata": {"name": name}}));
        let enabled = [json!({
            "metadata": {"name": "one", "namespace": "cluster1"},
            "status": {"conditions": [{"type": "Available", "status": "True"}]},
        })];
        let work = json!({"metadata": {"name": "w", "namespace": "cluster1", "labels": {ADDON_NAME: "one"}}});
        let listing = listing(offered.to_vec(), &enabled, &[work]);
        let rows = [["one", "cluster1"], ["two", ""]];
        assert_eq!(
            listing.rows,
            rows.map(|row| row.map(str::to_owned).to_vec())
        );
        assert_eq!(listing.branches[1], Node::branch("two", Vec::new()));
    }
}
