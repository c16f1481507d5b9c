//! What the two `…-info` commands share: Deployments and definitions, in lines of text.

use crate::clusteradm::kinds::DEFINITION;
use crate::clusteradm::kinds::DEPLOYMENT;
use crate::clusteradm::objects;
use crate::clusteradm::session::Session;
use serde_json::Value;

/// Which of a Deployment's two numbers comes first. Upstream prints an operator's the one way and a
/// component's the other.
#[derive(Clone, Copy)]
pub enum Order {
    /// `(available/desired)`.
    AvailableFirst,
    /// `(desired/available)`.
    DesiredFirst,
}

/// `(1/1) IMAGE` of a Deployment, and `<none>` where there is none.
///
/// # Errors
///
/// The cluster cannot be asked.
pub async fn deployment(
    session: &Session,
    namespace: &str,
    name: &str,
    order: Order,
) -> anyhow::Result<Option<String>> {
    let found = objects::within(session, DEPLOYMENT, namespace)
        .get(name)
        .await?;
    Ok(found.map(|found| describe(&found, order)))
}

fn describe(deployment: &Value, order: Order) -> String {
    let desired = deployment["spec"]["replicas"].as_i64().unwrap_or(1);
    let available = deployment["status"]["availableReplicas"]
        .as_i64()
        .unwrap_or(0);
    let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
    let (first, second) = match order {
        Order::AvailableFirst => (available, desired),
        Order::DesiredFirst => (desired, available),
    };
    format!("({first}/{second}) {}", image.as_str().unwrap_or_default())
}

/// Whether the image of a Deployment's line is this project's, whose one program is all components.
pub fn is_one_program(line: &str) -> bool {
    let image = line.rsplit(' ').next().unwrap_or_default();
    hyades_api::image::is_hyades(image)
}

/// `KEY:\tVALUE`, with `<none>` for no value.
pub fn line(indent: usize, key: &str, value: Option<&str>) -> String {
    format!("{:indent$}{key}:\t{}\n", "", value.unwrap_or("<none>"))
}

/// The block that tells which definitions there are, and in which versions.
///
/// # Errors
///
/// The cluster cannot be asked.
pub async fn definitions(
    session: &Session,
    indent: usize,
    names: &[&str],
) -> anyhow::Result<String> {
    let mut text = format!("{:indent$}CustomResourceDefinition:\n", "");
    for name in names {
        let found = objects::all(session, DEFINITION).get(name).await?;
        text.push_str(&definition(indent + 2, name, found.as_ref()));
    }
    Ok(text)
}

fn definition(indent: usize, name: &str, found: Option<&Value>) -> String {
    let Some(found) = found else {
        return format!("{:indent$}(absent) {name}\n", "");
    };
    let versions = found["spec"]["versions"].as_array();
    let versions = versions.into_iter().flatten().map(|version| {
        let mark = if version["storage"] == true { "*" } else { "" };
        format!("{mark}{}", version["name"].as_str().unwrap_or_default())
    });
    let versions: Vec<String> = versions.collect();
    format!(
        "{:indent$}(installed) {name} [{}]\n",
        "",
        versions.join("|")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn deployments_are_counted_in_both_orders() {
        let deployment = json!({
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{"image": "quay.io/hyades/hyades:v1.0.0"}]}}},
            "status": {"availableReplicas": 2},
        });
        let line = describe(&deployment, Order::AvailableFirst);
        assert_eq!(line, "(2/3) quay.io/hyades/hyades:v1.0.0");
        assert!(is_one_program(&line));
        assert!(!is_one_program(
            "(1/1) quay.io/open-cluster-management/registration:v1"
        ));
        assert!(describe(&deployment, Order::DesiredFirst).starts_with("(3/2) "));
    }

    #[test]
    fn the_version_that_is_stored_has_a_star() {
        let found = json!({"spec": {"versions": [
            {"name": "v1alpha1", "storage": false}, {"name": "v1", "storage": true},
        ]}});
        assert_eq!(
            definition(4, "a.b", Some(&found)),
            "    (installed) a.b [v1alpha1|*v1]\n"
        );
        assert_eq!(definition(2, "a.b", None), "  (absent) a.b\n");
        assert_eq!(line(2, "Controller", None), "  Controller:\t<none>\n");
    }
}
