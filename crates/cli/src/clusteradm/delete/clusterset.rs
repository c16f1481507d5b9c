//! `clusteradm delete clusterset`.

use crate::clusteradm::clusterset::check_name;
use crate::clusteradm::kinds::CLUSTER_SET;
use crate::clusteradm::kinds::SET_BINDING;
use crate::clusteradm::objects;
use crate::clusteradm::objects::namespace_of;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::bail;
use hyades_api::names::DEFAULT_CLUSTER_SET;
use hyades_api::names::GLOBAL_CLUSTER_SET;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct ClustersetArgs {
    /// The set
    name: String,
}

/// Runs `delete clusterset`.
///
/// # Errors
///
/// A set that must stay, is bound, or does not exist; or a request that failed.
pub async fn run(session: &Session, args: &ClustersetArgs) -> anyhow::Result<()> {
    let name = args.name.as_str();
    check_name(name)?;
    if [DEFAULT_CLUSTER_SET, GLOBAL_CLUSTER_SET].contains(&name) {
        bail!("the set {name} cannot be deleted: the hub makes it and would make it again");
    }
    preflight::is_hub(&session.target).await?;
    let bindings = objects::all(session, SET_BINDING).list(None).await?;
    let bound = bindings
        .iter()
        .filter(|binding| binding["spec"]["clusterSet"] == name);
    let bound: Vec<&str> = bound.map(namespace_of).collect();
    if let Some(namespace) = bound.first() {
        bail!(
            "the set {name} is bound to the namespaces {}; unbind it first with '{} clusterset unbind {name} --namespace {namespace}'",
            bound.join(", "),
            session.header
        );
    }
    let sets = objects::all(session, CLUSTER_SET);
    if !sets.delete(name).await? {
        bail!(
            "{}\nlist the sets there are with 'get clustersets'",
            CLUSTER_SET.not_found(name)
        );
    }
    sets.gone(name, session.timeout).await?;
    session
        .console
        .line(format!("Clusterset {name} is deleted"));
    Ok(())
}
