//! `clusteradm get clustersets`.

use crate::clusteradm::kinds::CLUSTER_SET;
use crate::clusteradm::kinds::MANAGED_CLUSTER;
use crate::clusteradm::kinds::SET_BINDING;
use crate::clusteradm::objects;
use crate::clusteradm::objects::condition;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::objects::namespace_of;
use crate::clusteradm::preflight;
use crate::clusteradm::printer::FormatFlag;
use crate::clusteradm::printer::Listing;
use crate::clusteradm::printer::Node;
use crate::clusteradm::printer::go_slice;
use crate::clusteradm::session::Session;
use hyades_api::conditions::cluster_set::EMPTY;
use hyades_api::names::labels;
use hyades_schema::selector::Selector;
use serde_json::Value;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct ClustersetsArgs {
    #[command(flatten)]
    format: FormatFlag,
}

/// Runs `get clustersets`.
///
/// # Errors
///
/// Not a hub, or a request that failed.
pub async fn run(session: &Session, args: &ClustersetsArgs) -> anyhow::Result<()> {
    preflight::is_hub(&session.target).await?;
    let sets = objects::all(session, CLUSTER_SET).list(None).await?;
    let bindings = objects::all(session, SET_BINDING).list(None).await?;
    let clusters = objects::all(session, MANAGED_CLUSTER).list(None).await?;
    listing(sets, &bindings, &clusters).show(session, args.format.output)
}

/// The names of a set's members.
fn members<'a>(set: &Value, clusters: &'a [Value]) -> Vec<&'a str> {
    let selector = &set["spec"]["clusterSelector"];
    let by_selector = selector["selectorType"] == "LabelSelector";
    let wanted = match by_selector {
        // A selector that cannot be read chooses nobody; the hub's condition says why.
        true => Selector::from_label_selector(Some(&selector["labelSelector"]))
            .unwrap_or_else(|_| Selector::nothing()),
        false => {
            let own = [(labels::CLUSTER_SET.to_owned(), Value::from(name_of(set)))];
            Selector::from_labels(&own.into_iter().collect())
                .unwrap_or_else(|_| Selector::nothing())
        }
    };
    let is_member = |cluster: &&Value| wanted.matches(cluster["metadata"]["labels"].as_object());
    clusters.iter().filter(is_member).map(name_of).collect()
}

fn listing(sets: Vec<Value>, bindings: &[Value], clusters: &[Value]) -> Listing {
    let bound = |set: &Value| {
        let binds = |binding: &&Value| binding["spec"]["clusterSet"] == name_of(set);
        let namespaces = bindings.iter().filter(binds).map(namespace_of);
        namespaces.collect::<Vec<_>>().join(",")
    };
    let status = |set: &Value| {
        let message = condition(set, EMPTY).and_then(|found| found["message"].as_str());
        message.unwrap_or_default().to_owned()
    };
    let managed = |set: &Value| {
        let namespaces = set["spec"]["managedNamespaces"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        go_slice(
            namespaces
                .iter()
                .filter_map(|namespace| namespace["name"].as_str()),
        )
    };
    let branch = |set: &Value| {
        Node::branch(
            name_of(set),
            vec![
                Node::leaf("BoundNamespace", bound(set)),
                Node::leaf("Status", status(set)),
                Node::leaf("Clusters", go_slice(members(set, clusters))),
                Node::leaf("ManagedNamespaces", managed(set)),
            ],
        )
    };
    Listing {
        root: "ManagedClusterSet",
        branches: sets.iter().map(branch).collect(),
        columns: &["Name", "Bound Namespaces", "Status", "Managed Namespaces"],
        rows: sets
            .iter()
            .map(|set| {
                vec![
                    name_of(set).to_owned(),
                    bound(set),
                    status(set),
                    managed(set),
                ]
            })
            .collect(),
        kind: CLUSTER_SET,
        items: sets,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(name: &str, selector: Value) -> Value {
        json!({"metadata": {"name": name}, "spec": {"clusterSelector": selector}})
    }

    #[test]
    fn members_are_found_by_label_or_by_selector() {
        let cluster =
            |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
        let clusters = [
            cluster(
                "a",
                json!({"cluster.open-cluster-management.io/clusterset": "s1"}),
            ),
            cluster("b", json!({"env": "prod"})),
        ];
        let exclusive = set("s1", json!({"selectorType": "ExclusiveClusterSetLabel"}));
        assert_eq!(members(&exclusive, &clusters), ["a"]);
        let by_label = |selector: Value| {
            set(
                "s2",
                json!({"selectorType": "LabelSelector", "labelSelector": selector}),
            )
        };
        assert_eq!(
            members(
                &by_label(json!({"matchLabels": {"env": "prod"}})),
                &clusters
            ),
            ["b"]
        );
        assert_eq!(members(&by_label(json!({})), &clusters), ["a", "b"]);
        assert!(
            members(
                &by_label(json!({"matchLabels": {"env": "no such value"}})),
                &clusters
            )
            .is_empty()
        );
    }

    #[test]
    fn a_set_is_shown_with_its_bindings_and_namespaces() {
        let mut set = set("s1", json!({}));
        set["spec"]["managedNamespaces"] = json!([{"name": "n1"}, {"name": "n2"}]);
        set["status"] =
            json!({"conditions": [{"type": EMPTY, "message": "1 ManagedClusters selected"}]});
        let binding = |namespace: &str| {
            json!({
                "metadata": {"name": "s1", "namespace": namespace}, "spec": {"clusterSet": "s1"},
            })
        };
        let listing = listing(vec![set], &[binding("default"), binding("other")], &[]);
        assert_eq!(
            listing.rows,
            [[
                "s1",
                "default,other",
                "1 ManagedClusters selected",
                "[n1 n2]"
            ]
            .map(str::to_owned)
            .to_vec()]
        );
    }
}
