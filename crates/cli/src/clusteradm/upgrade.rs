//! `clusteradm upgrade`: another image for a hub or an agent; every other setting stays.
//!
//! ```text
//! ClusterManager, Klusterlet ─▶ its operator's objects anew ─▶ apply ─▶ images in its spec ─▶ wait
//! ```

use super::apply;
use super::choices::ImageChoice;
use super::kinds::CLUSTER_MANAGER;
use super::kinds::DEPLOYMENT;
use super::kinds::KLUSTERLET;
use super::kinds::Kind;
use super::objects;
use super::objects::condition_status;
use super::objects::name_of;
use super::session::Session;
use crate::wait;
use crate::wait::Look;
use anyhow::Context;
use anyhow::bail;
use hyades_api::conditions::cluster_manager;
use hyades_api::conditions::klusterlet;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use serde_json::Value;
use serde_json::json;

/// What to upgrade.
#[derive(Debug, clap::Subcommand)]
pub enum Upgrade {
    /// Upgrade the hub
    Clustermanager(ClusterManagerArgs),
    /// Upgrade the agent of a managed cluster
    Klusterlet(KlusterletArgs),
}

/// The command line of `upgrade clustermanager`.
#[derive(Debug, clap::Args)]
pub struct ClusterManagerArgs {
    #[command(flatten)]
    image: ImageChoice,
    /// Wait until the new version runs
    #[arg(long)]
    wait: bool,
    /// Not supported: there is no Helm chart behind this command
    #[arg(long, value_name = "FILE", hide = true)]
    cluster_manager_values_file: Option<String>,
}

/// The command line of `upgrade klusterlet`.
#[derive(Debug, clap::Args)]
pub struct KlusterletArgs {
    #[command(flatten)]
    image: ImageChoice,
    /// Wait until the new version runs
    #[arg(long)]
    wait: bool,
    /// Not supported: there is no Helm chart behind this command
    #[arg(long, value_name = "FILE", hide = true)]
    klusterlet_values_file: Option<String>,
}

/// What differs between hub and agent.
struct Subject {
    kind: Kind,
    /// How upstream calls it in its messages.
    name: &'static str,
    /// Name of the operator's Deployment.
    operator: &'static str,
    /// The fields of the spec that hold an image.
    images: &'static [&'static str],
    /// Conditions that hold when everything runs, with the status they have then.
    settled: &'static [(&'static str, &'static str)],
}

const HUB: Subject = Subject {
    kind: CLUSTER_MANAGER,
    name: "clustermanager",
    operator: names::CLUSTER_MANAGER,
    images: &[
        "registrationImagePullSpec",
        "workImagePullSpec",
        "placementImagePullSpec",
        "addOnManagerImagePullSpec",
    ],
    settled: &[
        (cluster_manager::APPLIED, "True"),
        (cluster_manager::PROGRESSING, "False"),
        (cluster_manager::HUB_REGISTRATION_DEGRADED, "False"),
    ],
};

const AGENT: Subject = Subject {
    kind: KLUSTERLET,
    name: "klusterlet",
    operator: names::KLUSTERLET,
    images: &[
        "registrationImagePullSpec",
        "workImagePullSpec",
        "imagePullSpec",
    ],
    settled: &[
        (klusterlet::APPLIED, "True"),
        (klusterlet::REGISTRATION_DESIRED_DEGRADED, "False"),
        (klusterlet::WORK_DESIRED_DEGRADED, "False"),
    ],
};

/// Runs `upgrade`.
///
/// # Errors
///
/// Nothing to upgrade, wrong flags, or a step that failed.
pub async fn run(session: &Session, what: &Upgrade) -> anyhow::Result<()> {
    match what {
        Upgrade::Clustermanager(args) => {
            refuse_values(
                args.cluster_manager_values_file.as_deref(),
                "--cluster-manager-values-file",
            )?;
            upgrade(session, &HUB, &args.image.reference()?, args.wait).await
        }
        Upgrade::Klusterlet(args) => {
            refuse_values(
                args.klusterlet_values_file.as_deref(),
                "--klusterlet-values-file",
            )?;
            upgrade(session, &AGENT, &args.image.reference()?, args.wait).await
        }
    }
}

fn refuse_values(file: Option<&str>, flag: &str) -> anyhow::Result<()> {
    match file {
        None => Ok(()),
        Some(_) => bail!(
            "{flag} cannot be used: there is no Helm chart behind this command; objects are rendered by the program; leave it out"
        ),
    }
}

async fn upgrade(
    session: &Session,
    subject: &Subject,
    image: &str,
    wait: bool,
) -> anyhow::Result<()> {
    session.announce_dry_run();
    let kind = subject.kind;
    let present = objects::list_if_defined(session, kind).await?;
    if present.is_empty() {
        bail!(
            "{} is not installed in context {:?} at {}; there is nothing to upgrade, choose another context with --context",
            subject.name,
            session.target.name,
            session.target.server
        );
    }
    session
        .console
        .line(format!("{} installed. starting upgrade", subject.name));
    let deployments = objects::within(session, DEPLOYMENT, namespaces::OPERATOR);
    let running = deployments.get(subject.operator).await?.unwrap_or_default();
    let operator = operator_objects(subject, &present, image, syncs_labels(&running))?;
    apply::objects(session, &operator, None).await?;
    let images = subject
        .images
        .iter()
        .map(|field| ((*field).to_owned(), json!(image)));
    let patch = json!({"spec": Value::Object(images.collect())});
    for object in &present {
        objects::all(session, kind)
            .patch(name_of(object), &patch)
            .await?;
    }
    if wait && !session.dry_run {
        let deployment = operator
            .iter()
            .find(|object| object["kind"] == "Deployment");
        rolled_out(session, deployment.map(name_of).unwrap_or_default(), image).await?;
        for object in &present {
            settled(session, subject, name_of(object)).await?;
        }
    }
    session.console.line("upgraded completed successfully");
    Ok(())
}

/// Whether an operator hands labels on: a setting that stands nowhere but in its own arguments.
fn syncs_labels(deployment: &Value) -> bool {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array();
    let arguments = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["args"].as_array())
        .flatten();
    arguments.filter_map(Value::as_str).any(|argument| {
        matches!(
            argument,
            "--enable-sync-labels" | "--enable-sync-labels=true"
        )
    })
}

/// The operator's own objects: its definition, its rights and its Deployment. Tokens and pull
/// secrets are left as they are.
fn operator_objects(
    subject: &Subject,
    present: &[Value],
    image: &str,
    sync_labels: bool,
) -> anyhow::Result<Vec<Value>> {
    let rendered = match subject.kind {
        CLUSTER_MANAGER => {
            hyades_inventory::install::objects(&hyades_inventory::install::InstallOptions {
                image: image.to_owned(),
                sync_labels,
                ..Default::default()
            })
        }
        _ => {
            let klusterlet: Klusterlet =
                serde_json::from_value(present[0].clone()).context("read the Klusterlet")?;
            // The name matters to the Klusterlet only, which is not among the objects kept.
            let name = "klusterlet".parse()?;
            let options = hyades_agent::install::InstallOptions {
                image: image.to_owned(),
                sync_labels,
                resource_requirement: klusterlet.spec.resource_requirement,
                ..hyades_agent::install::InstallOptions::new(name, String::new())
            };
            hyades_agent::install::objects(&options)
        }
    };
    let belongs = |object: &Value| {
        matches!(
            object["kind"].as_str(),
            Some(
                "CustomResourceDefinition"
                    | "ServiceAccount"
                    | "ClusterRole"
                    | "ClusterRoleBinding"
                    | "Deployment"
            )
        ) && !name_of(object).contains("bootstrap")
    };
    Ok(rendered.into_iter().filter(belongs).collect())
}

/// Waits until the operator runs from the image.
async fn rolled_out(session: &Session, name: &str, image: &str) -> anyhow::Result<()> {
    let namespace = namespaces::OPERATOR;
    let what = format!("the operator {namespace}/{name} to run from {image}");
    wait::until(&what, session.timeout, || async {
        let deployments = objects::within(session, DEPLOYMENT, namespace);
        let found = deployments.get(name).await?.unwrap_or_default();
        Ok(match is_rolled_out(&found) {
            true => Look::Done(()),
            false => Look::NotYet(format!("its status is {}", found["status"])),
        })
    })
    .await
}

fn is_rolled_out(deployment: &Value) -> bool {
    let number = |value: &Value| value.as_i64().unwrap_or_default();
    let (status, wanted) = (
        &deployment["status"],
        number(&deployment["spec"]["replicas"]),
    );
    deployment["metadata"]["generation"].is_i64()
        && number(&status["observedGeneration"]) >= number(&deployment["metadata"]["generation"])
        && number(&status["updatedReplicas"]) >= wanted
        && number(&status["availableReplicas"]) >= wanted
        && number(&status["replicas"]) == number(&status["updatedReplicas"])
}

/// Waits until the operator has brought up what the object asks for.
async fn settled(session: &Session, subject: &Subject, name: &str) -> anyhow::Result<()> {
    let what = format!("the {} {name} to be followed", subject.kind.name());
    wait::until(&what, session.timeout, || async {
        let objects = objects::all(session, subject.kind);
        let found = objects.demand(name, "it was deleted meanwhile").await?;
        Ok(match unsettled(&found, subject.settled) {
            None => Look::Done(()),
            Some(reason) => Look::NotYet(reason),
        })
    })
    .await
}

/// Why an object is not followed yet.
fn unsettled(object: &Value, settled: &[(&str, &str)]) -> Option<String> {
    let observed = object["status"]["observedGeneration"]
        .as_i64()
        .unwrap_or_default();
    if observed
        < object["metadata"]["generation"]
            .as_i64()
            .unwrap_or_default()
    {
        return Some("its operator has not seen the change".to_owned());
    }
    let differs = |(type_, status): &&(&str, &str)| condition_status(object, type_) != *status;
    let (type_, _) = settled.iter().find(differs)?;
    let condition = objects::condition(object, type_);
    Some(format!(
        "its condition {type_} is {}",
        condition.unwrap_or(&Value::Null)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(subject: &Subject, present: &[Value]) -> Vec<String> {
        let objects =
            operator_objects(subject, present, "reg/hyades:v9.9.9", false).expect("rendered");
        let name = |object: &Value| {
            format!(
                "{} {}",
                object["kind"].as_str().unwrap_or_default(),
                name_of(object)
            )
        };
        objects.iter().map(name).collect()
    }

    #[test]
    fn an_upgrade_renews_the_operator_and_leaves_tokens_and_settings() {
        assert_eq!(
            kinds(&HUB, &[]),
            [
                "CustomResourceDefinition clustermanagers.operator.open-cluster-management.io",
                "ServiceAccount cluster-manager",
                "ClusterRole cluster-manager",
                "ClusterRoleBinding cluster-manager",
                "Deployment cluster-manager",
            ]
        );
        assert_eq!(
            kinds(
                &AGENT,
                &[json!({"metadata": {"name": "klusterlet"}, "spec": {}})]
            ),
            [
                "CustomResourceDefinition klusterlets.operator.open-cluster-management.io",
                "ServiceAccount klusterlet",
                "ClusterRole klusterlet",
                "ClusterRoleBinding klusterlet",
                "Deployment klusterlet",
            ]
        );
    }

    #[test]
    fn an_operator_that_hands_labels_on_does_so_after_the_upgrade() {
        let klusterlet = [json!({"metadata": {"name": "klusterlet"}, "spec": {}})];
        for (subject, present) in [(&HUB, &[][..]), (&AGENT, &klusterlet[..])] {
            for sync_labels in [true, false] {
                let objects = operator_objects(subject, present, "reg/hyades:v9", sync_labels);
                let objects = objects.expect("rendered");
                let is_operator = |object: &&Value| {
                    object["kind"] == "Deployment" && name_of(object) == subject.operator
                };
                let deployment = objects.iter().find(is_operator).expect("a Deployment");
                assert_eq!(syncs_labels(deployment), sync_labels, "{}", subject.name);
            }
        }
    }

    #[test]
    fn a_deployment_is_rolled_out_when_no_old_pod_is_left() {
        let deployment = |observed: i64, replicas: i64| {
            json!({
                "metadata": {"generation": 2},
                "spec": {"replicas": 1},
                "status": {"observedGeneration": observed, "replicas": replicas, "updatedReplicas": 1, "availableReplicas": 1},
            })
        };
        assert!(is_rolled_out(&deployment(2, 1)));
        assert!(!is_rolled_out(&deployment(1, 1)));
        assert!(!is_rolled_out(&deployment(2, 2)));
        assert!(!is_rolled_out(&Value::Null));
    }

    #[test]
    fn an_object_is_followed_when_seen_and_its_conditions_hold() {
        let object = |observed: i64, applied: &str| {
            json!({
                "metadata": {"generation": 3},
                "status": {"observedGeneration": observed, "conditions": [{"type": "Applied", "status": applied}]},
            })
        };
        let settled = [("Applied", "True")];
        assert_eq!(unsettled(&object(3, "True"), &settled), None);
        assert!(
            unsettled(&object(2, "True"), &settled)
                .is_some_and(|reason| reason.contains("not seen"))
        );
        assert!(
            unsettled(&object(3, "False"), &settled)
                .is_some_and(|reason| reason.contains("Applied"))
        );
    }
}
