//! Group `control.kubestellar.io`: what goes where, what is changed on the way, and what comes back.
//!
//! ```text
//! WDS   BindingPolicy ──▶ Binding          which objects, which WECs
//!       CustomTransform                    what is taken off them
//!       StatusCollector ──▶ CombinedStatus what is asked, what was answered
//! ITS   WorkStatus                         what one WEC reports of one object
//! ```

pub mod names;
mod reported;

pub use reported::AggregationError;
pub use reported::CollectedResult;
pub use reported::CombinedField;
pub use reported::CombinedStatus;
pub use reported::NamedExpression;
pub use reported::Row;
pub use reported::RowError;
pub use reported::SourceReference;
pub use reported::StatusCollector;
pub use reported::StatusCollectorSpec;
pub use reported::StatusCollectorStatus;
pub use reported::StatusDetails;
pub use reported::WecReference;
pub use reported::WorkStatus;
pub use reported::WorkStatusSpec;

use crate::kind::kind;
use crate::kind::null_as_default;
use crate::kind::part;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use names::CONTROL_GROUP;
use serde::Deserialize;
use serde::Serialize;

kind! {
    /// Which objects of a WDS go to which WECs, said by selectors.
    BindingPolicy, CONTROL_GROUP, "v1alpha1", "bindingpolicies", ClusterResourceScope,
    spec: BindingPolicySpec, status: BindingPolicyStatus
}

part! {
    /// The selectors of a policy.
    BindingPolicySpec {
        /// A WEC is a destination if any of these matches its inventory object's labels. No
        /// selector matches nobody, the empty selector everybody.
        cluster_selectors: Vec<LabelSelector>,
        /// An object is selected if any of these matches it.
        downsync: Vec<DownsyncClause>,
    }
}

part! {
    /// One way in which objects are selected, and how those are treated. Absent criteria match all;
    /// the API server refuses a clause without any.
    DownsyncClause {
        /// The API group; the empty one is the core group.
        api_group: Option<String>,
        /// Plural names of resources; `*` stands for all.
        resources: Vec<String>,
        /// Names of namespaces; `*` stands for any and for none. Without it, objects of the cluster
        /// scope do not match a list that is not empty.
        namespaces: Vec<String>,
        /// Any must match the labels of the object's namespace; objects of the cluster scope are
        /// matched by the empty selector only.
        namespace_selectors: Vec<LabelSelector>,
        /// Any must match the object's labels.
        object_selectors: Vec<LabelSelector>,
        /// Names of objects; `*` stands for all.
        object_names: Vec<String>,
        /// How the objects are treated.
        #[serde(flatten)]
        modulation: Modulation,
    }
}

part! {
    /// How selected objects are treated. Clauses of one policy that match the same object add up.
    Modulation {
        /// An object that a WEC has is left as it is there.
        create_only: bool,
        /// Names of the StatusCollectors that are asked about the object.
        status_collectors: Vec<String>,
        /// The status reported by the one WEC that has the object becomes that of the object.
        want_singleton_reported_state: bool,
        /// The status that several WECs report is brought together in that of the object.
        #[serde(rename = "wantMultiWECReportedState")]
        want_multi_wec_reported_state: bool,
    }
}

/// What became of a policy. `observedGeneration` is required, so it is always written.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BindingPolicyStatus {
    /// The generation of the policy that this speaks of.
    pub observed_generation: i64,
    /// See [`names::conditions`].
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub conditions: Vec<Condition>,
    /// What is wrong with the policy, then what is wrong with its Binding.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub errors: Vec<String>,
}

kind! {
    /// Which objects of a WDS go to which WECs, one by one. Of a BindingPolicy's name if that made
    /// it.
    Binding, CONTROL_GROUP, "v1alpha1", "bindings", ClusterResourceScope,
    spec: BindingSpec, status: BindingStatus
}

part! {
    /// Objects and WECs.
    BindingSpec {
        /// The objects.
        workload: BoundWorkload,
        /// The WECs, each once.
        destinations: Vec<Destination>,
    }
}

part! {
    /// The objects of a Binding.
    BoundWorkload {
        /// Objects without a namespace; each once by group, resource and name.
        cluster_scope: Vec<BoundObject>,
        /// Objects in namespaces; each once by group, resource, namespace and name.
        namespace_scope: Vec<BoundObject>,
    }
}

/// One object of a Binding. The required fields are written even when they are empty, as the core
/// group's name is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BoundObject {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version in which the object is read; no part of its identity.
    pub version: String,
    /// The plural name of the resource.
    pub resource: String,
    /// The namespace; empty for objects of the cluster scope, and then not written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The name.
    pub name: String,
    /// The object's version when the Binding was written. It says which object was seen and is no
    /// promise that this version is sent: that is always the newest.
    pub resource_version: String,
    /// How the object is treated.
    #[serde(flatten)]
    pub modulation: Modulation,
}

/// A WEC of a Binding.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// The name of its inventory object.
    pub cluster_id: String,
}

/// What became of a Binding. `observedGeneration` is required, so it is always written.
pub type BindingStatus = BindingPolicyStatus;

kind! {
    /// What is taken off objects of one resource on their way to the WECs.
    CustomTransform, CONTROL_GROUP, "v1alpha1", "customtransforms", ClusterResourceScope,
    spec: CustomTransformSpec, status: CustomTransformStatus
}

/// Whose objects are changed, and how.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTransformSpec {
    /// The API group; empty for the core group.
    pub api_group: String,
    /// The plural name of the resource, without subresource.
    pub resource: String,
    /// What goes, in a subset of JSONPath: `$`, then members by name.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub remove: Vec<String>,
}

/// What became of a CustomTransform.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTransformStatus {
    /// The generation that this speaks of.
    pub observed_generation: i64,
    /// Which parts are wrong.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub errors: Vec<String>,
    /// What is allowed but hardly meant.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub warnings: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn same<T: Serialize + for<'a> Deserialize<'a>>(value: Value) -> T {
        let typed: T = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(&typed).unwrap(), value);
        typed
    }

    #[test]
    fn a_policy_with_every_field_reads_and_writes_the_same() {
        let policy: BindingPolicy = same(json!({
            "apiVersion": "control.kubestellar.io/v1alpha1",
            "kind": "BindingPolicy",
            "metadata": {"name": "everything"},
            "spec": {
                "clusterSelectors": [
                    {"matchLabels": {"location-group": "edge"}},
                    {"matchExpressions": [{"key": "region", "operator": "In", "values": ["east"]}]},
                ],
                "downsync": [{
                    "apiGroup": "apps",
                    "resources": ["deployments"],
                    "namespaces": ["shop"],
                    "namespaceSelectors": [{"matchLabels": {"tier": "prod"}}],
                    "objectSelectors": [{"matchLabels": {"app": "web"}}],
                    "objectNames": ["*"],
                    "createOnly": true,
                    "wantSingletonReportedState": true,
                    "wantMultiWECReportedState": true,
                    "statusCollectors": ["count-wecs", "list-stale"],
                }],
            },
            "status": {"observedGeneration": 1},
        }));
        assert!(
            policy.spec.downsync[0]
                .modulation
                .want_multi_wec_reported_state
        );
    }

    #[test]
    fn an_absent_group_differs_from_the_core_group() {
        let clause = |text: &str| serde_json::from_str::<DownsyncClause>(text).unwrap();
        assert_eq!(clause(r#"{"resources": ["pods"]}"#).api_group, None);
        let core = clause(r#"{"apiGroup": ""}"#);
        assert_eq!(core.api_group.as_deref(), Some(""));
        assert_eq!(serde_json::to_value(core).unwrap(), json!({"apiGroup": ""}));
    }

    #[test]
    fn a_binding_writes_the_required_fields_even_if_empty() {
        same::<Binding>(json!({
            "apiVersion": "control.kubestellar.io/v1alpha1",
            "kind": "Binding",
            "metadata": {"name": "everything"},
            "spec": {
                "destinations": [{"clusterId": "cluster1"}],
                "workload": {
                    "clusterScope": [{
                        "group": "", "version": "v1", "resource": "namespaces", "name": "shop",
                        "resourceVersion": "369",
                    }],
                    "namespaceScope": [{
                        "group": "apps", "version": "v1", "resource": "deployments",
                        "namespace": "shop", "name": "web", "resourceVersion": "373",
                        "createOnly": true, "statusCollectors": ["count-wecs"],
                    }],
                },
            },
        }));
    }

    #[test]
    fn statuses_that_go_clients_wrote_null_into_are_read() {
        let status = r#"{"observedGeneration": 3, "errors": null, "conditions": null}"#;
        let status: BindingStatus = serde_json::from_str(status).unwrap();
        assert_eq!(status.observed_generation, 3);
        assert!(status.errors.is_empty());
    }
}
