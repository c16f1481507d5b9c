//! `clusteradm get placements`.

use crate::clusteradm::kinds::PLACEMENT;
use crate::clusteradm::kinds::PLACEMENT_DECISION;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::condition;
use crate::clusteradm::objects::condition_status;
use crate::clusteradm::objects::label_of;
use crate::clusteradm::objects::name_of;
use crate::clusteradm::objects::namespace_of;
use crate::clusteradm::preflight;
use crate::clusteradm::printer::FormatFlag;
use crate::clusteradm::printer::Listing;
use crate::clusteradm::printer::Node;
use crate::clusteradm::printer::go_slice;
use crate::clusteradm::session::Session;
use anyhow::bail;
use hyades_api::conditions::placement::MISCONFIGURED;
use hyades_api::conditions::placement::SATISFIED;
use hyades_api::names::labels;
use serde_json::Value;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct PlacementsArgs {
    /// Only the placement of this name
    name: Option<String>,
    /// The namespace; all if none is named
    #[arg(short, long, default_value = "", hide_default_value = true)]
    namespace: String,
    #[command(flatten)]
    format: FormatFlag,
}

/// Runs `get placements`.
///
/// # Errors
///
/// Not a hub, no such placement, or a request that failed.
pub async fn run(session: &Session, args: &PlacementsArgs) -> anyhow::Result<()> {
    let namespace = args.namespace.as_str();
    if !namespace.is_empty() {
        names::label("namespace", namespace)?;
    }
    preflight::is_hub(&session.target).await?;
    let objects = |kind| match namespace {
        "" => objects::all(session, kind),
        namespace => objects::within(session, kind, namespace),
    };
    let mut placements = objects(PLACEMENT).list(None).await?;
    if let Some(name) = &args.name {
        placements.retain(|placement| name_of(placement) == name);
        if placements.is_empty() {
            bail!(
                "{}\nlist the placements there are with 'get placements'",
                PLACEMENT.not_found(name)
            );
        }
    }
    let decisions = objects(PLACEMENT_DECISION).list(None).await?;
    listing(placements, &decisions).show(session, args.format.output)
}

/// The clusters in the decisions of a placement, in their order.
pub fn decided<'a>(namespace: &str, placement: &str, decisions: &'a [Value]) -> Vec<&'a str> {
    let belongs = |decision: &&Value| {
        namespace_of(decision) == namespace && label_of(decision, labels::PLACEMENT) == placement
    };
    let clusters = decisions.iter().filter(belongs).flat_map(|decision| {
        decision["status"]["decisions"]
            .as_array()
            .into_iter()
            .flatten()
    });
    clusters
        .filter_map(|decision| decision["clusterName"].as_str())
        .collect()
}

fn listing(placements: Vec<Value>, decisions: &[Value]) -> Listing {
    let selected = |placement: &Value| {
        let number = placement["status"]["numberOfSelectedClusters"].as_i64();
        number.unwrap_or_default().to_string()
    };
    let branch = |placement: &Value| {
        let (namespace, name) = (namespace_of(placement), name_of(placement));
        let sets = placement["spec"]["clusterSets"].as_array();
        let clusters = decided(namespace, name, decisions);
        let decision = match clusters.is_empty() {
            true => "NoClusterSelected".to_owned(),
            false => go_slice(clusters),
        };
        let conditions = vec![
            Node::leaf(
                "PlacementConditionSatisfied",
                condition_status(placement, SATISFIED),
            ),
            Node::leaf(
                "PlacementConditionMisconfigured",
                condition_status(placement, MISCONFIGURED),
            ),
        ];
        let status = vec![
            Node::leaf("NumberOfSelectedClusters", selected(placement)),
            Node::branch("Conditions", conditions),
        ];
        Node::branch(
            name,
            vec![
                Node::leaf("Namespace", namespace),
                Node::leaf(
                    "ClusterSet",
                    go_slice(sets.into_iter().flatten().filter_map(Value::as_str)),
                ),
                Node::branch("Status", status),
                Node::leaf("PlacementDecision", decision),
            ],
        )
    };
    let line = |placement: &Value| {
        let reason = condition(placement, SATISFIED).and_then(|found| found["reason"].as_str());
        vec![
            name_of(placement).to_owned(),
            condition_status(placement, SATISFIED).to_owned(),
            reason.unwrap_or_default().to_owned(),
            selected(placement),
        ]
    };
    Listing {
        root: "Placement",
        branches: placements.iter().map(branch).collect(),
        // The last head is spelt as upstream spells it: scripts read it.
        columns: &["Name", "Status", "Reason", "SeletedClusters"],
        rows: placements.iter().map(line).collect(),
        kind: PLACEMENT,
        items: placements,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_placement_is_shown_before_and_after_its_decision() {
        let new = json!({"metadata": {"name": "p", "namespace": "default"}, "spec": {}});
        let listed = listing(vec![new], &[]);
        assert_eq!(
            listed.rows,
            [["p", "", "", "0"].map(str::to_owned).to_vec()]
        );

        let placed = json!({
            "metadata": {"name": "p", "namespace": "default"},
            "spec": {"clusterSets": ["global"]},
            "status": {
                "numberOfSelectedClusters": 1,
                "conditions": [{"type": SATISFIED, "status": "True", "reason": "AllDecisionsScheduled"}],
            },
        });
        let decision = |namespace: &str, cluster: &str| {
            json!({
                "metadata": {"namespace": namespace, "labels": {labels::PLACEMENT: "p"}},
                "status": {"decisions": [{"clusterName": cluster, "reason": ""}]},
            })
        };
        let decisions = [
            decision("default", "cluster1"),
            decision("other", "cluster2"),
        ];
        assert_eq!(decided("default", "p", &decisions), ["cluster1"]);
        let listed = listing(vec![placed], &decisions);
        assert_eq!(
            listed.rows,
            [["p", "True", "AllDecisionsScheduled", "1"]
                .map(str::to_owned)
                .to_vec()]
        );
    }
}
