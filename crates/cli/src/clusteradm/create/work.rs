//! `clusteradm create work`: the same manifests in one cluster, several, or all of a placement.
//!
//! ```text
//! files ─▶ manifests ─┬─ clusters named ────────────────▶ a work in each mailbox
//!                     ├─ placement ─▶ decisions ────────▶ the same, and works of clusters that left go
//!                     └─ placement, --replicaset ───────▶ a ManifestWorkReplicaSet; the hub does it
//! ```

use super::manifests::FileFlags;
use crate::clusteradm::flags::ClusterOption;
use crate::clusteradm::get::decided;
use crate::clusteradm::kinds::CLUSTER_MANAGER;
use crate::clusteradm::kinds::MANIFEST_WORK;
use crate::clusteradm::kinds::PLACEMENT;
use crate::clusteradm::kinds::PLACEMENT_DECISION;
use crate::clusteradm::kinds::REPLICA_SET;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::Written;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::objects::namespace_of;
use crate::clusteradm::objects::set_label;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::bail;
use hyades_api::names::labels;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeSet;

/// On works made for a placement: its name. What carries no such label is nobody's to delete.
const PLACEMENT_NAME: &str = "clusteradm.hyades.io/placement-name";
/// On works made for a placement: its namespace.
const PLACEMENT_NAMESPACE: &str = "clusteradm.hyades.io/placement-namespace";

/// The gate by which a hub follows ManifestWorkReplicaSets.
const REPLICA_SET_GATE: &str = "ManifestWorkReplicaSet";

/// The command line.
#[derive(Debug, clap::Args)]
pub struct WorkArgs {
    /// The work
    name: String,
    #[command(flatten)]
    clusters: ClusterOption,
    /// Create the work in every cluster of this placement
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        default_value = "",
        hide_default_value = true
    )]
    placement: String,
    /// Change works that exist already, and delete those of clusters that left the placement
    #[arg(long)]
    overwrite: bool,
    /// Let the hub follow the placement, by a ManifestWorkReplicaSet
    #[arg(short, long)]
    replicaset: bool,
    #[command(flatten)]
    files: FileFlags,
}

/// Runs `create work`.
///
/// # Errors
///
/// Wrong flags or manifests, no such placement, or a request that failed.
pub async fn run(session: &Session, args: &WorkArgs) -> anyhow::Result<()> {
    let name = args.name.as_str();
    names::subdomain("work name", name)?;
    let clusters = args.clusters.optional()?;
    let placement = match args.placement.as_str() {
        "" => None,
        text => Some(names::pair("--placement", text)?),
    };
    match (clusters.is_empty(), placement) {
        (true, None) => bail!("either --cluster, --clusters or --placement needs to be set"),
        (false, Some(_)) => bail!(
            "--placement cannot be used with --cluster or --clusters; give the one or the other"
        ),
        _ => {}
    }
    if args.replicaset && placement.is_none() {
        bail!("--replicaset needs a placement to follow; name one with --placement");
    }
    let manifests = args.files.read()?;
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    let spec = json!({"workload": {"manifests": manifests}});
    let Some((namespace, placement)) = placement else {
        for cluster in &clusters {
            write(session, cluster, work(name, cluster, &spec), args.overwrite).await?;
        }
        return Ok(());
    };
    let advice = "list the placements there are with 'get placements'";
    objects::within(session, PLACEMENT, namespace)
        .demand(placement, advice)
        .await?;
    if args.replicaset {
        check_followed(session).await?;
        return replica_set(session, args, namespace, placement, &spec).await;
    }
    follow(session, args, namespace, placement, &spec).await
}

fn work(name: &str, cluster: &str, spec: &Value) -> Value {
    let mut work = MANIFEST_WORK.object(Some(cluster), name);
    work["spec"] = spec.clone();
    work
}

fn said(written: Written, object: &str) -> String {
    match written {
        Written::Created => format!("create {object}"),
        Written::Changed => format!("update {object}"),
        Written::Kept => format!("{object} already exists"),
    }
}

/// Makes a work in a cluster, or changes the one that is there.
async fn write(
    session: &Session,
    cluster: &str,
    work: Value,
    overwrite: bool,
) -> anyhow::Result<()> {
    let replace = |live: &mut Value| {
        live["spec"]["workload"] = work["spec"]["workload"].clone();
        for label in [PLACEMENT_NAME, PLACEMENT_NAMESPACE] {
            if let Some(value) = work["metadata"]["labels"][label].as_str() {
                set_label(live, label, value);
            }
        }
    };
    let works = objects::within(session, MANIFEST_WORK, cluster);
    let written = works.write(&work, overwrite, replace).await?;
    let place = format!("work {} in cluster {cluster}", name_of(&work));
    session.console.line(said(written, &place));
    Ok(())
}

/// Brings the works of a placement to the clusters that it has chosen by now.
async fn follow(
    session: &Session,
    args: &WorkArgs,
    namespace: &str,
    placement: &str,
    spec: &Value,
) -> anyhow::Result<()> {
    let name = args.name.as_str();
    // The name stands in a label of the works.
    names::label_value("the name in --placement", placement)?;
    let selector = format!("{}={placement}", labels::PLACEMENT);
    let decisions = objects::within(session, PLACEMENT_DECISION, namespace);
    let decisions = decisions.list(Some(&selector)).await?;
    let chosen = decided(namespace, placement, &decisions);
    let chosen: BTreeSet<&str> = chosen.into_iter().collect();
    let selector = format!("{PLACEMENT_NAME}={placement},{PLACEMENT_NAMESPACE}={namespace}");
    let present = objects::all(session, MANIFEST_WORK)
        .list(Some(&selector))
        .await?;
    let present: BTreeSet<&str> = present
        .iter()
        .filter(|work| name_of(work) == name)
        .map(namespace_of)
        .collect();
    if chosen.is_empty() && present.is_empty() {
        bail!(
            "the placement {namespace}/{placement} has chosen no cluster; see why with 'get placements {placement} -n {namespace}'"
        );
    }
    for cluster in &chosen {
        let mut work = work(name, cluster, spec);
        set_label(&mut work, PLACEMENT_NAME, placement);
        set_label(&mut work, PLACEMENT_NAMESPACE, namespace);
        write(session, cluster, work, args.overwrite).await?;
    }
    if !args.overwrite {
        return Ok(());
    }
    for cluster in present.difference(&chosen) {
        objects::within(session, MANIFEST_WORK, cluster)
            .delete(name)
            .await?;
        session
            .console
            .line(format!("delete work {name} in cluster {cluster}"));
    }
    Ok(())
}

/// A hub follows ManifestWorkReplicaSets only with a gate that is off by default.
async fn check_followed(session: &Session) -> anyhow::Result<()> {
    let managers = objects::all(session, CLUSTER_MANAGER).list(None).await?;
    let is_on = |gate: &Value| gate["feature"] == REPLICA_SET_GATE && gate["mode"] == "Enable";
    let mut gates = managers.iter().flat_map(|manager| {
        let gates = manager["spec"]["workConfiguration"]["featureGates"].as_array();
        gates.into_iter().flatten()
    });
    if gates.any(is_on) {
        return Ok(());
    }
    bail!(
        "--replicaset cannot be used: the hub follows no ManifestWorkReplicaSets, its feature gate {REPLICA_SET_GATE} is off; leave it out, and run the command again with --overwrite when the placement has changed"
    )
}

async fn replica_set(
    session: &Session,
    args: &WorkArgs,
    namespace: &str,
    placement: &str,
    spec: &Value,
) -> anyhow::Result<()> {
    let name = args.name.as_str();
    let mut wanted = REPLICA_SET.object(Some(namespace), name);
    wanted["spec"] = json!({
        "manifestWorkTemplate": spec,
        "placementRefs": [{"name": placement}],
    });
    let replace = |live: &mut Value| {
        for field in ["manifestWorkTemplate", "placementRefs"] {
            live["spec"][field] = wanted["spec"][field].clone();
        }
    };
    let sets = objects::within(session, REPLICA_SET, namespace);
    let written = sets.write(&wanted, args.overwrite, replace).await?;
    let place = format!("manifestworkreplicaset {name} in namespace {namespace}");
    session.console.line(said(written, &place));
    Ok(())
}
