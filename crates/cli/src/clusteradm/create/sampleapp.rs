//! `clusteradm create sampleapp`: a small application, delivered as a work.
//!
//! Upstream's sample needs the application-manager add-on. A work needs nothing but the agent.

use crate::clusteradm::flags::ClusterOption;
use crate::clusteradm::kinds::MANAGED_CLUSTER;
use crate::clusteradm::kinds::MANIFEST_WORK;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::bail;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeSet;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct SampleappArgs {
    /// The application, and the namespace it gets in each cluster
    name: String,
    #[command(flatten)]
    clusters: ClusterOption,
    /// Image of a web server to deploy as well; without one the application is its page alone
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
}

/// Runs `create sampleapp`.
///
/// # Errors
///
/// Wrong names, no clusters, or a request that failed.
pub async fn run(session: &Session, args: &SampleappArgs) -> anyhow::Result<()> {
    let name = args.name.as_str();
    names::label("application name", name)?;
    let mut clusters = args.clusters.optional()?;
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    if clusters.is_empty() {
        clusters = accepted(session).await?;
    }
    for cluster in &clusters {
        let mut work = MANIFEST_WORK.object(Some(cluster), name);
        let manifests = manifests(name, cluster, args.image.as_deref());
        work["spec"] = json!({"workload": {"manifests": manifests}});
        let is_new = objects::within(session, MANIFEST_WORK, cluster)
            .create(&work)
            .await?;
        session.console.line(match is_new {
            true => format!("create sample application {name} in cluster {cluster}"),
            false => format!("sample application {name} in cluster {cluster} already exists"),
        });
    }
    let (header, clusters) = (
        &session.header,
        clusters.into_iter().collect::<Vec<_>>().join(","),
    );
    session.console.line(format!(
        "See how it fares with '{header} get works {name} --clusters {clusters}', and delete it with '{header} delete work {name} --clusters {clusters}'."
    ));
    Ok(())
}

async fn accepted(session: &Session) -> anyhow::Result<BTreeSet<String>> {
    let clusters = objects::all(session, MANAGED_CLUSTER).list(None).await?;
    let is_accepted = |cluster: &&Value| cluster["spec"]["hubAcceptsClient"] == true;
    let accepted = clusters.iter().filter(is_accepted).map(name_of);
    let accepted: BTreeSet<String> = accepted.map(str::to_owned).collect();
    if accepted.is_empty() {
        bail!(
            "the hub has accepted no cluster to run the application in; accept one with '{} accept'",
            session.header
        );
    }
    Ok(accepted)
}

fn manifests(name: &str, cluster: &str, image: Option<&str>) -> Vec<Value> {
    let metadata = json!({"name": name, "namespace": name, "labels": {"app": name}});
    let page = format!("<h1>{name}</h1><p>Delivered to {cluster}.</p>\n");
    let mut manifests = vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"index.html": page}}),
    ];
    if let Some(image) = image {
        let pod = json!({
            "containers": [{"name": "web", "image": image, "volumeMounts": [
                {"name": "page", "mountPath": "/usr/share/nginx/html"},
            ]}],
            "volumes": [{"name": "page", "configMap": {"name": name}}],
        });
        manifests.push(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
            },
        }));
    }
    manifests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_application_has_a_deployment_only_with_an_image() {
        let kinds = |image: Option<&str>| {
            let manifests = manifests("app1", "cluster1", image);
            let kinds = manifests
                .iter()
                .filter_map(|manifest| manifest["kind"].as_str());
            kinds.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(kinds(None), ["Namespace", "ConfigMap"]);
        assert_eq!(
            kinds(Some("nginx")),
            ["Namespace", "ConfigMap", "Deployment"]
        );
    }
}
