//! `clusteradm get klusterlet-info`: operator, agents and definitions of a managed cluster.

use super::operators;
use super::operators::Order;
use crate::clusteradm::kinds::KLUSTERLET;
use crate::clusteradm::objects;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use hyades_api::names;
use hyades_api::names::namespaces;
use serde_json::Value;

/// Runs `get klusterlet-info`.
///
/// # Errors
///
/// Not a managed cluster, or a request that failed.
pub async fn run(session: &Session) -> anyhow::Result<()> {
    preflight::is_managed(&session.target).await?;
    let klusterlets = objects::list_if_defined(session, KLUSTERLET).await?;
    if klusterlets.is_empty() {
        session.console.line(format!(
            "No klusterlet detected! Join this cluster to a hub with '{} join'.",
            session.header
        ));
        return Ok(());
    }
    for klusterlet in &klusterlets {
        let text = describe(session, klusterlet).await?;
        session.console.text(&text);
    }
    Ok(())
}

async fn describe(session: &Session, klusterlet: &Value) -> anyhow::Result<String> {
    let name = name_of(klusterlet);
    let mut text = format!("Klusterlet:\t{name}\n{}", conditions(klusterlet));
    let operator = names::KLUSTERLET;
    let operator = operators::deployment(
        session,
        namespaces::OPERATOR,
        operator,
        Order::AvailableFirst,
    )
    .await?;
    match operator {
        None => text.push_str(&operators::line(0, "Registration Operator", None)),
        Some(line) => {
            text.push_str("Registration Operator:\n");
            text.push_str(&operators::line(2, "Controller", Some(&line)));
            let definition = KLUSTERLET.full_plural();
            text.push_str(&operators::definitions(session, 2, &[&definition]).await?);
        }
    }
    text.push_str("Components:\n");
    text.push_str(&agents(session, klusterlet).await?);
    Ok(text)
}

fn conditions(klusterlet: &Value) -> String {
    let mut text = "Conditions:\n".to_owned();
    let conditions = klusterlet["status"]["conditions"].as_array();
    for condition in conditions.into_iter().flatten() {
        let field = |name: &str| condition[name].as_str().unwrap_or_default();
        text.push_str(&format!(
            "  {}:\t{} ({}) {}\n",
            field("type"),
            field("status"),
            field("reason"),
            field("message").replace('\n', " ")
        ));
    }
    text
}

/// The definitions that a registration agent works with.
const REGISTRATION: [&str; 1] = ["clusterclaims.cluster.open-cluster-management.io"];
/// The definitions that a work agent works with.
const WORK: [&str; 1] = ["appliedmanifestworks.work.open-cluster-management.io"];

async fn agents(session: &Session, klusterlet: &Value) -> anyhow::Result<String> {
    let name = name_of(klusterlet);
    let mode = klusterlet["spec"]["deployOption"]["mode"]
        .as_str()
        .unwrap_or_default();
    // A hosted agent runs in a namespace of the hosting cluster named like its Klusterlet.
    let namespace = match mode {
        "Hosted" | "SingletonHosted" => name,
        _ => match klusterlet["spec"]["namespace"].as_str() {
            None | Some("") => namespaces::AGENT,
            Some(namespace) => namespace,
        },
    };
    let line = async |suffix: &str| {
        let deployment = format!("{name}-{suffix}");
        operators::deployment(session, namespace, &deployment, Order::DesiredFirst).await
    };
    let mut text = String::new();
    if mode.starts_with("Singleton") {
        text.push_str(&operators::line(
            2,
            "Controller",
            line("agent").await?.as_deref(),
        ));
        let both = [REGISTRATION, WORK].concat();
        text.push_str(&operators::definitions(session, 2, &both).await?);
        return Ok(text);
    }
    let parts = [
        ("Registration Agent", "registration-agent", REGISTRATION),
        ("Work Agent", "work-agent", WORK),
    ];
    for (part, suffix, definitions) in parts {
        text.push_str(&format!("  {part}:\n"));
        text.push_str(&operators::line(
            4,
            "Controller",
            line(suffix).await?.as_deref(),
        ));
        text.push_str(&operators::definitions(session, 4, &definitions).await?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_condition_is_one_line() {
        let klusterlet = json!({"status": {"conditions": [
            {"type": "Available", "status": "True", "reason": "Ready", "message": "two\nlines"},
        ]}});
        assert_eq!(
            conditions(&klusterlet),
            "Conditions:\n  Available:\tTrue (Ready) two lines\n"
        );
    }
}
