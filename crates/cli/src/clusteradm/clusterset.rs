//! `clusteradm clusterset`: who belongs to a set, and who may use it.

use super::flags::split_names;
use super::kinds::CLUSTER_SET;
use super::kinds::MANAGED_CLUSTER;
use super::kinds::SET_BINDING;
use super::names;
use super::objects;
use super::objects::label_of;
use super::objects::set_label;
use super::preflight;
use super::session::Session;
use anyhow::bail;
use hyades_api::names::GLOBAL_CLUSTER_SET;
use hyades_api::names::labels;
use serde_json::Value;
use serde_json::json;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum ClustersetCommand {
    /// Put clusters into a set, or have the set make namespaces in its clusters
    Set(SetArgs),
    /// Let a namespace use a set
    Bind(BindingArgs),
    /// Let a namespace no longer use a set
    Unbind(BindingArgs),
}

/// The command line of `set`.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// The set
    name: String,
    /// Clusters to put into the set, separated by commas
    #[arg(long, value_delimiter = ',')]
    clusters: Vec<String>,
    /// Namespaces that every cluster of the set shall have, separated by commas
    #[arg(long, value_delimiter = ',')]
    namespaces: Vec<String>,
}

/// The command line of `bind` and `unbind`.
#[derive(Debug, clap::Args)]
pub struct BindingArgs {
    /// The set
    name: String,
    /// The namespace
    #[arg(long, default_value = "default")]
    namespace: String,
}

/// Runs `clusterset`.
///
/// # Errors
///
/// Wrong names, no such set or cluster, or a request that failed.
pub async fn run(session: &Session, command: &ClustersetCommand) -> anyhow::Result<()> {
    match command {
        ClustersetCommand::Set(args) => set(session, args).await,
        ClustersetCommand::Bind(args) => bind(session, args).await,
        ClustersetCommand::Unbind(args) => unbind(session, args).await,
    }
}

/// Checks the name of a set: it serves as the value of a label.
pub fn check_name(name: &str) -> anyhow::Result<()> {
    names::subdomain("cluster set", name)?;
    names::label_value("cluster set", name)
}

async fn set(session: &Session, args: &SetArgs) -> anyhow::Result<()> {
    let name = args.name.as_str();
    check_name(name)?;
    let clusters = split_names("cluster name", &args.clusters)?;
    let namespaces = split_names("namespace", &args.namespaces)?;
    if clusters.is_empty() && namespaces.is_empty() {
        bail!("nothing to set: name clusters with --clusters or namespaces with --namespaces");
    }
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    let sets = objects::all(session, CLUSTER_SET);
    let advice = format!(
        "make the set first with '{} create clusterset {name}'",
        session.header
    );
    let found = sets.demand(name, &advice).await?;
    if !clusters.is_empty() {
        check_exclusive(&found, name)?;
    }
    for cluster in &clusters {
        let clusters = objects::all(session, MANAGED_CLUSTER);
        let advice = "list the clusters there are with 'get clusters'";
        let (before, changed) = clusters
            .change(cluster, advice, |cluster| {
                set_label(cluster, labels::CLUSTER_SET, name);
            })
            .await?;
        let earlier = label_of(&before, labels::CLUSTER_SET);
        session.console.line(match (changed, earlier) {
            (false, _) => format!("Cluster {cluster} is already in Clusterset {name}"),
            (true, "") => format!("Cluster {cluster} is set to Clusterset {name}"),
            (true, earlier) => {
                format!("Cluster {cluster} is set, from ClusterSet {earlier} to Clusterset {name}")
            }
        });
    }
    if namespaces.is_empty() {
        return Ok(());
    }
    let add = |set: &mut Value| add_namespaces(set, namespaces.iter().map(String::as_str));
    let (_, changed) = sets.change(name, &advice, add).await?;
    let namespaces: Vec<&str> = namespaces.iter().map(String::as_str).collect();
    let namespaces = namespaces.join(", ");
    session.console.line(match changed {
        true => format!("Managed namespaces {namespaces} are added to Clusterset {name}"),
        false => format!("Managed namespaces {namespaces} are already in Clusterset {name}"),
    });
    Ok(())
}

/// A label puts clusters only into sets that go by the label.
fn check_exclusive(set: &Value, name: &str) -> anyhow::Result<()> {
    let by_label = set["spec"]["clusterSelector"]["selectorType"] != "LabelSelector";
    if name != GLOBAL_CLUSTER_SET && by_label {
        return Ok(());
    }
    bail!(
        "the set {name} chooses its clusters by its own selector ({}); give clusters the labels it selects, or use a set of type ExclusiveClusterSetLabel",
        set["spec"]["clusterSelector"]["labelSelector"]
    )
}

/// Appends namespaces that the set does not name yet.
fn add_namespaces<'a>(set: &mut Value, namespaces: impl Iterator<Item = &'a str>) {
    let listed = set["spec"]["managedNamespaces"].as_array();
    let mut listed = listed.cloned().unwrap_or_default();
    for namespace in namespaces {
        if !listed.iter().any(|entry| entry["name"] == namespace) {
            listed.push(json!({"name": namespace}));
        }
    }
    set["spec"]["managedNamespaces"] = Value::Array(listed);
}

fn check_binding(args: &BindingArgs) -> anyhow::Result<()> {
    check_name(&args.name)?;
    names::label("namespace", &args.namespace)
}

async fn bind(session: &Session, args: &BindingArgs) -> anyhow::Result<()> {
    check_binding(args)?;
    let (name, namespace) = (args.name.as_str(), args.namespace.as_str());
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    let advice = format!(
        "make the set first with '{} create clusterset {name}'",
        session.header
    );
    objects::all(session, CLUSTER_SET)
        .demand(name, &advice)
        .await?;
    let mut binding = SET_BINDING.object(Some(namespace), name);
    binding["spec"] = json!({"clusterSet": name});
    let is_new = objects::within(session, SET_BINDING, namespace)
        .create(&binding)
        .await?;
    session.console.line(match is_new {
        true => format!("Clusterset {name} is bound to Namespace {namespace}"),
        false => format!("Clusterset {name} is already bound to Namespace {namespace}"),
    });
    Ok(())
}

async fn unbind(session: &Session, args: &BindingArgs) -> anyhow::Result<()> {
    check_binding(args)?;
    let (name, namespace) = (args.name.as_str(), args.namespace.as_str());
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    if !objects::within(session, SET_BINDING, namespace)
        .delete(name)
        .await?
    {
        bail!(
            "{}\nsee in 'get clustersets' which namespaces the set {name} is bound to",
            SET_BINDING.not_found(name)
        );
    }
    session.console.line(format!(
        "Clusterset {name} is unbind from namespace {namespace}"
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_appended_once() {
        let mut set = json!({"spec": {"managedNamespaces": [{"name": "a"}]}});
        add_namespaces(&mut set, ["b", "a", "b"].into_iter());
        assert_eq!(
            set["spec"]["managedNamespaces"],
            json!([{"name": "a"}, {"name": "b"}])
        );
        let mut set = json!({"spec": {}});
        add_namespaces(&mut set, ["a"].into_iter());
        assert_eq!(set["spec"]["managedNamespaces"], json!([{"name": "a"}]));
    }

    #[test]
    fn a_label_is_no_way_into_a_set_with_a_selector() {
        let set = |type_: &str| json!({"spec": {"clusterSelector": {"selectorType": type_, "labelSelector": {}}}});
        assert!(check_exclusive(&set("ExclusiveClusterSetLabel"), "s1").is_ok());
        let error = check_exclusive(&set("LabelSelector"), "s1")
            .expect_err("refused")
            .to_string();
        assert!(error.contains("by its own selector"), "{error}");
        assert!(check_exclusive(&set("ExclusiveClusterSetLabel"), "global").is_err());
    }

    #[test]
    fn the_name_of_a_set_must_fit_a_label() {
        assert!(check_name("s1").is_ok());
        for name in ["UPPER", "-a", "", &"x".repeat(64)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
