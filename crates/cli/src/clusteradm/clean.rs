//! `clusteradm clean`: makes a hub an ordinary cluster again. Definitions and inventory stay.

use super::kinds::CLUSTER_MANAGER;
use super::kinds::CLUSTER_ROLE;
use super::kinds::CLUSTER_ROLE_BINDING;
use super::kinds::MANAGED_CLUSTER;
use super::kinds::NAMESPACE;
use super::kinds::SECRET;
use super::kinds::SERVICE_ACCOUNT;
use super::objects;
use super::objects::condition_status;
use super::objects::name_of;
use super::operator;
use super::preflight;
use super::session::Session;
use anyhow::bail;
use hyades_api::conditions::managed_cluster::AVAILABLE;
use hyades_api::names;
use hyades_api::names::apps;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use std::path::PathBuf;

/// The account, role and bindings that older versions of upstream bootstrapped with.
const LEGACY_ROLE: &str = "system:open-cluster-management:bootstrap";
const LEGACY_BINDINGS: [&str; 2] = ["cluster-bootstrap", "cluster-bootstrap-sa"];
const LEGACY_ACCOUNT: &str = "cluster-bootstrap";

/// The command line.
#[derive(Debug, clap::Args)]
pub struct CleanArgs {
    /// The ClusterManager
    #[arg(long, default_value = names::CLUSTER_MANAGER)]
    name: String,
    /// Also take out the operator
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    purge_operator: bool,
    /// Not supported: clean renders no objects
    #[arg(long, value_name = "FILE", hide = true)]
    output_file: Option<PathBuf>,
}

/// Runs `clean`.
///
/// # Errors
///
/// No hub, clusters that are attached to it, or a step that failed.
pub async fn run(session: &Session, args: &CleanArgs) -> anyhow::Result<()> {
    super::names::subdomain("ClusterManager", &args.name)?;
    if args.output_file.is_some() {
        bail!("--output-file cannot be used: clean renders no objects; leave it out");
    }
    session.announce_dry_run();
    preflight::is_initialised(session, "hub has not been initialized").await?;
    check_detached(session).await?;
    remove_bootstrap(session).await?;
    let managers = objects::all(session, CLUSTER_MANAGER);
    let was_there = managers.delete(&args.name).await?;
    managers.gone(&args.name, session.timeout).await?;
    if args.purge_operator {
        purge_operator(session, &args.name).await?;
    }
    session.console.line(match was_there {
        true => "The multicluster hub control plane has been clean up successfully!",
        false => "The multicluster hub control plane is cleand up already",
    });
    Ok(())
}

async fn check_detached(session: &Session) -> anyhow::Result<()> {
    // A hub that was stopped half way through `init` has no inventory.
    let clusters = objects::list_if_defined(session, MANAGED_CLUSTER).await?;
    let attached = clusters
        .iter()
        .filter(|cluster| condition_status(cluster, AVAILABLE) == "True");
    let attached: Vec<&str> = attached.map(name_of).collect();
    if attached.is_empty() {
        return Ok(());
    }
    bail!(
        "Please detach all managed clusters from the hub control plane\navailable are {}; run '{} unjoin --cluster-name NAME' on each, then 'kubectl delete managedcluster NAME' on the hub",
        attached.join(", "),
        session.header
    )
}

/// What new clusters present themselves with, of all versions.
async fn remove_bootstrap(session: &Session) -> anyhow::Result<()> {
    let roles = objects::all(session, CLUSTER_ROLE);
    for role in [LEGACY_ROLE, names::BOOTSTRAP_CLUSTER_ROLE] {
        roles.delete(role).await?;
    }
    let bindings = objects::all(session, CLUSTER_ROLE_BINDING);
    let ours = [
        names::BOOTSTRAP_CLUSTER_ROLE_BINDING,
        names::BOOTSTRAP_TOKEN_CLUSTER_ROLE_BINDING,
    ];
    for binding in LEGACY_BINDINGS.iter().chain(&ours) {
        bindings.delete(binding).await?;
    }
    let secrets = objects::within(session, SECRET, namespaces::KUBE_SYSTEM);
    let selector = format!("{}={}", labels::APP, apps::CLUSTER_MANAGER);
    for secret in secrets.list(Some(&selector)).await? {
        secrets.delete(name_of(&secret)).await?;
    }
    let accounts = objects::within(session, SERVICE_ACCOUNT, namespaces::OPERATOR);
    accounts.delete(LEGACY_ACCOUNT).await?;
    Ok(())
}

/// Deletes the operator, unless other ClusterManagers need it.
async fn purge_operator(session: &Session, manager: &str) -> anyhow::Result<()> {
    let others = objects::all(session, CLUSTER_MANAGER).list(None).await?;
    // In a dry run the ClusterManager itself is still there.
    if others.iter().any(|other| name_of(other) != manager) {
        session
            .console
            .line("operator not purged: there are other ClusterManagers on the hub");
        return Ok(());
    }
    operator::purge(session, CLUSTER_MANAGER, names::CLUSTER_MANAGER).await?;
    objects::all(session, NAMESPACE)
        .delete(namespaces::OPERATOR)
        .await?;
    Ok(())
}
