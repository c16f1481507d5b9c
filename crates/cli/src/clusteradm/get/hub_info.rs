//! `clusteradm get hub-info`: operator, components and definitions of a hub.

use super::operators;
use super::operators::Order;
use crate::clusteradm::kinds::CLUSTER_MANAGER;
use crate::clusteradm::objects;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use hyades_api::names;
use hyades_api::names::namespaces;

/// A part of a hub, with the Deployments and definitions that upstream runs it by.
struct Component {
    name: &'static str,
    /// What follows the ClusterManager's name in that of the controller's Deployment.
    controller: Option<&'static str>,
    /// The same for the webhook's.
    webhook: Option<&'static str>,
    definitions: &'static [&'static str],
}

/// The parts of a hub, in upstream's order.
const COMPONENTS: [Component; 4] = [
    Component {
        name: "AddOn Manager",
        controller: Some("addon-manager-controller"),
        webhook: None,
        definitions: &[
            "addondeploymentconfigs.addon.open-cluster-management.io",
            "addontemplates.addon.open-cluster-management.io",
            "clustermanagementaddons.addon.open-cluster-management.io",
            "managedclusteraddons.addon.open-cluster-management.io",
        ],
    },
    Component {
        name: "Registration",
        controller: Some("registration-controller"),
        webhook: Some("registration-webhook"),
        definitions: &[
            "managedclusters.cluster.open-cluster-management.io",
            "managedclustersets.cluster.open-cluster-management.io",
            "managedclustersetbindings.cluster.open-cluster-management.io",
        ],
    },
    Component {
        name: "Work",
        controller: Some("work-controller"),
        webhook: Some("work-webhook"),
        definitions: &[
            "manifestworks.work.open-cluster-management.io",
            "manifestworkreplicasets.work.open-cluster-management.io",
        ],
    },
    Component {
        name: "Placement",
        controller: Some("placement-controller"),
        webhook: None,
        definitions: &[
            "placements.cluster.open-cluster-management.io",
            "placementdecisions.cluster.open-cluster-management.io",
            "addonplacementscores.cluster.open-cluster-management.io",
        ],
    },
];

/// Runs `get hub-info`.
///
/// # Errors
///
/// Not a hub, or a request that failed.
pub async fn run(session: &Session) -> anyhow::Result<()> {
    preflight::is_hub(&session.target).await?;
    let mut text = operator(session).await?;
    match manager(session).await? {
        None => text.push_str("Components:\t<uninstalled>\n"),
        Some(manager) => {
            text.push_str("Components:\n");
            text.push_str(&components(session, &manager).await?);
        }
    }
    session.console.text(&text);
    Ok(())
}

async fn operator(session: &Session) -> anyhow::Result<String> {
    let (namespace, name) = (namespaces::OPERATOR, names::CLUSTER_MANAGER);
    let found = operators::deployment(session, namespace, name, Order::AvailableFirst).await?;
    let Some(found) = found else {
        return Ok(operators::line(0, "Registration Operator", None));
    };
    let definition = CLUSTER_MANAGER.full_plural();
    Ok(format!(
        "Registration Operator:\n{}{}",
        operators::line(2, "Controller", Some(&found)),
        operators::definitions(session, 2, &[&definition]).await?
    ))
}

/// The name of the ClusterManager, if there is one.
async fn manager(session: &Session) -> anyhow::Result<Option<String>> {
    let managers = objects::list_if_defined(session, CLUSTER_MANAGER).await?;
    Ok(managers.first().map(|manager| name_of(manager).to_owned()))
}

async fn components(session: &Session, manager: &str) -> anyhow::Result<String> {
    let namespace = namespaces::HUB;
    let hub = names::hub_deployment(manager);
    let hub = operators::deployment(session, namespace, &hub, Order::DesiredFirst).await?;
    // Here one program is every component, and admission needs no webhook.
    let one_program = hub.filter(|line| operators::is_one_program(line));
    let mut text = String::new();
    for component in &COMPONENTS {
        text.push_str(&format!("  {}:\n", component.name));
        let parts = [
            ("Controller", component.controller),
            ("Webhook", component.webhook),
        ];
        for (part, suffix) in parts {
            let Some(suffix) = suffix else { continue };
            let found = match (&one_program, part) {
                (Some(line), "Controller") => Some(line.clone()),
                (Some(_), _) => Some("<not needed>".to_owned()),
                (None, _) => {
                    let name = format!("{manager}-{suffix}");
                    operators::deployment(session, namespace, &name, Order::DesiredFirst).await?
                }
            };
            text.push_str(&operators::line(4, part, found.as_deref()));
        }
        text.push_str(&operators::definitions(session, 4, component.definitions).await?);
    }
    Ok(text)
}
