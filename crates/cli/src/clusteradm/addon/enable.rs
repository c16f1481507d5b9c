//! `clusteradm addon enable`.

use super::addons;
use crate::clusteradm::apply;
use crate::clusteradm::create::FileFlags;
use crate::clusteradm::flags::ClusterOption;
use crate::clusteradm::flags::check_annotations;
use crate::clusteradm::flags::check_labels;
use crate::clusteradm::flags::parse_pair;
use crate::clusteradm::kinds::ADDON;
use crate::clusteradm::kinds::MANAGED_CLUSTER;
use crate::clusteradm::kinds::OFFERED_ADDON;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::set_annotation;
use crate::clusteradm::objects::set_label;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::bail;
use hyades_api::names::namespaces;
use hyades_runtime::apply::Address;
use serde_json::Value;
use serde_json::json;
use std::path::PathBuf;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct EnableArgs {
    /// The add-ons, separated by commas
    #[arg(long, value_delimiter = ',')]
    names: Vec<String>,
    #[command(flatten)]
    clusters: ClusterOption,
    /// Namespace of the add-ons' agents in the clusters
    #[arg(short, long, default_value = namespaces::AGENT_ADDON)]
    namespace: String,
    /// Annotations of the enabled add-ons, as KEY=VALUE, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    annotate: Vec<(String, String)>,
    /// Labels of the enabled add-ons, as KEY=VALUE, separated by commas
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    labels: Vec<(String, String)>,
    /// Settings for the add-ons: a file of objects that is applied and referred to
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,
    /// Also write the enabled add-ons to this file
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
}

/// Runs `addon enable`.
///
/// # Errors
///
/// Wrong flags, no such add-on or cluster, or a request that failed.
pub async fn run(session: &Session, args: &EnableArgs) -> anyhow::Result<()> {
    let addons = addons(&args.names)?;
    let clusters = args.clusters.required()?;
    names::label("namespace", &args.namespace)?;
    check_labels(&args.labels)?;
    check_annotations(&args.annotate)?;
    let settings = match &args.config_file {
        None => Vec::new(),
        Some(file) => FileFlags::of(file).read()?,
    };
    let configs = references(&settings)?;
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    for addon in &addons {
        if objects::all(session, OFFERED_ADDON)
            .get(addon)
            .await?
            .is_none()
        {
            bail!(
                "enabling the unknown addon {addon} is not supported\nlist the add-ons there are with 'get addon', or offer it with 'addon create'"
            );
        }
    }
    for cluster in &clusters {
        let advice = "list the clusters there are with 'get clusters'";
        objects::all(session, MANAGED_CLUSTER)
            .demand(cluster, advice)
            .await?;
    }
    apply::objects(session, &settings, None).await?;
    let mut rendered = Vec::new();
    for addon in &addons {
        for cluster in &clusters {
            let wanted = render(args, addon, cluster, &configs);
            session.console.line(format!(
                "Deploying {addon} add-on to namespaces {} of managed cluster: {cluster}.",
                args.namespace
            ));
            enable(session, args, cluster, &wanted).await?;
            rendered.push(wanted);
        }
    }
    match &args.output_file {
        Some(path) => apply::write_file(path, &apply::yaml(&rendered)?, 0o600),
        None => Ok(()),
    }
}

/// How an enabled add-on refers to its settings.
fn references(settings: &[Value]) -> anyhow::Result<Vec<Value>> {
    let reference = |object: &Value| {
        let address = Address::of(object)?;
        let mut reference = json!({
            "group": address.resource.group,
            "resource": address.resource.plural,
            "name": address.name,
        });
        if let Some(namespace) = address.namespace {
            reference["namespace"] = json!(namespace);
        }
        Ok(reference)
    };
    settings.iter().map(reference).collect()
}

fn render(args: &EnableArgs, addon: &str, cluster: &str, configs: &[Value]) -> Value {
    let mut object = ADDON.object(Some(cluster), addon);
    object["spec"] = json!({"installNamespace": args.namespace});
    if !configs.is_empty() {
        object["spec"]["configs"] = json!(configs);
    }
    decorate(args, &mut object);
    object
}

fn decorate(args: &EnableArgs, object: &mut Value) {
    for (key, value) in &args.labels {
        set_label(object, key, value);
    }
    for (key, value) in &args.annotate {
        set_annotation(object, key, value);
    }
}

/// Enables an add-on; one that is enabled gets the new settings.
async fn enable(
    session: &Session,
    args: &EnableArgs,
    cluster: &str,
    wanted: &Value,
) -> anyhow::Result<()> {
    let renew = |live: &mut Value| {
        live["spec"]["installNamespace"] = wanted["spec"]["installNamespace"].clone();
        if !wanted["spec"]["configs"].is_null() {
            live["spec"]["configs"] = wanted["spec"]["configs"].clone();
        }
        decorate(args, live);
    };
    objects::within(session, ADDON, cluster)
        .write(wanted, true, renew)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_referred_to_by_resource_and_name() {
        let settings = json!({
            "apiVersion": "addon.open-cluster-management.io/v1alpha1",
            "kind": "AddOnDeploymentConfig",
            "metadata": {"name": "c", "namespace": "default"},
        });
        assert_eq!(
            references(&[settings]).expect("complete"),
            [json!({
                "group": "addon.open-cluster-management.io",
                "resource": "addondeploymentconfigs",
                "name": "c",
                "namespace": "default",
            })]
        );
    }
}
