//! The rules about bindings of sets to namespaces.

use super::about;
use super::expression::Right;
use super::expression::USER;
use super::expression::right;
use super::expression::rule;
use hyades_api::names;
use serde_json::Value;
use serde_json::json;

/// The policy about `ManagedClusterSetBinding`.
pub(super) fn validation() -> Value {
    let writes = ["CREATE", "UPDATE"];
    let resource = "managedclustersetbindings";
    let bind = Right {
        group: names::CLUSTER_GROUP,
        resource: "managedclustersets",
        subresource: "bind",
        verb: "create",
        namespace: "",
        name: "object.spec.clusterSet",
    };
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": about(&writes, names::CLUSTER_GROUP, resource),
        "validations": [
            rule(
                "object.?spec.?clusterSet.orValue('') == object.metadata.name",
                "The ManagedClusterSetBinding must have the same name as the target \
                 ManagedClusterSet",
            ),
            right(
                &format!("request.operation != 'CREATE' || {}", bind.is_held()),
                &format!(
                    "'user \"' + {USER} + '\" is not allowed to bind cluster set \"' + \
                     object.spec.clusterSet + '\"'"
                ),
                "the user is not allowed to bind the cluster set",
            ),
        ],
    })
}
