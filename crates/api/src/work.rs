//! Group `work.open-cluster-management.io`: works, and what they left in a WEC.

pub mod replica_set;

use crate::kind::kind;
use crate::kind::part;
use crate::names::WORK_GROUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

kind! {
    /// Manifests for one WEC, in its mailbox.
    ManifestWork, WORK_GROUP, "v1", "manifestworks", NamespaceResourceScope,
    spec: ManifestWorkSpec, status: ManifestWorkStatus
}

part! {
    /// What the WEC shall hold, and how the agent shall treat it.
    ManifestWorkSpec {
        /// The objects.
        workload: Workload,
        /// What becomes of the objects when the work goes.
        delete_option: Option<DeleteOption>,
        /// Treatment of single objects.
        manifest_configs: Vec<ManifestConfig>,
        /// On whose behalf the agent acts; itself if absent.
        executor: Option<Executor>,
    }
}

part! {
    /// The objects of a work.
    Workload {
        /// Complete manifests, in the author's order; the position is the ordinal in the status.
        manifests: Vec<Value>,
    }
}

part! {
    /// What becomes of a work's objects when the work goes.
    DeleteOption {
        /// `Foreground` (the default), `Orphan` or `SelectivelyOrphan`.
        propagation_policy: String,
        /// Which objects stay, with `SelectivelyOrphan`.
        selectively_orphans: Option<SelectivelyOrphan>,
        /// Seconds after completion until the hub deletes the work.
        ttl_seconds_after_finished: Option<i64>,
    }
}

part! {
    /// Which objects stay when their work goes.
    SelectivelyOrphan {
        /// An object that any of these rules matches stays.
        orphaning_rules: Vec<ResourceIdentifier>,
    }
}

part! {
    /// Points at an object in a WEC.
    ResourceIdentifier {
        /// API group; empty for the core group.
        group: String,
        /// Plural name of the resource.
        resource: String,
        /// Name of the object.
        name: String,
        /// Its namespace; empty for cluster-scoped objects.
        namespace: String,
    }
}

part! {
    /// How the agent treats one object of a work.
    ManifestConfig {
        /// Which object.
        resource_identifier: ResourceIdentifier,
        /// Which of its fields are reported back.
        feedback_rules: Vec<FeedbackRule>,
        /// `Poll` (the default) or `Watch`.
        feedback_scrape_type: String,
        /// How changes are applied.
        update_strategy: Option<UpdateStrategy>,
        /// Conditions computed from the object.
        condition_rules: Vec<ConditionRule>,
    }
}

part! {
    /// Which fields of an object are reported back.
    FeedbackRule {
        /// `WellKnownStatus` or `JSONPaths`.
        r#type: String,
        /// The paths, with `JSONPaths`.
        json_paths: Vec<JsonPath>,
    }
}

part! {
    /// A field to report back.
    JsonPath {
        /// The name it is reported under.
        name: String,
        /// Only for objects of this API version; any version if empty.
        version: String,
        /// Path in client-go's JSONPath, without braces.
        path: String,
    }
}

part! {
    /// How changes of a manifest are applied.
    UpdateStrategy {
        /// `Update` (the default), `CreateOnly`, `ServerSideApply` or `ReadOnly`.
        r#type: String,
        /// Settings for `ServerSideApply`.
        server_side_apply: Option<ServerSideApply>,
    }
}

part! {
    /// Settings of server-side apply.
    ServerSideApply {
        /// Whether conflicts with other field managers are overridden.
        force: bool,
        /// The field manager; empty means `work-agent`.
        field_manager: String,
        /// Fields the agent leaves alone.
        ignore_fields: Vec<IgnoreField>,
    }
}

part! {
    /// Fields the agent leaves alone.
    IgnoreField {
        /// `OnSpokePresent` or `OnSpokeChange`.
        condition: String,
        /// Paths in client-go's JSONPath.
        json_paths: Vec<String>,
        /// JSON pointers.
        json_pointers: Vec<String>,
        /// jq paths.
        jq_path_expressions: Vec<String>,
    }
}

part! {
    /// A condition computed from an object.
    ConditionRule {
        /// `WellKnownConditions` or `CEL`.
        r#type: String,
        /// Type of the condition.
        condition: String,
        /// Expressions that must all hold.
        cel_expressions: Vec<String>,
        /// A fixed message.
        message: String,
        /// An expression that makes the message.
        message_expression: String,
    }
}

part! {
    /// On whose behalf the agent acts.
    Executor {
        /// The account.
        subject: ExecutorSubject,
    }
}

part! {
    /// An account in the WEC.
    ExecutorSubject {
        /// `ServiceAccount`.
        r#type: String,
        /// Which one.
        service_account: Option<ServiceAccountReference>,
    }
}

part! {
    /// A service account in the WEC.
    ServiceAccountReference {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    }
}

part! {
    /// What the agent reports of a work.
    ManifestWorkStatus {
        /// Conditions of the work as a whole.
        conditions: Vec<Condition>,
        /// What became of each manifest.
        resource_status: ResourceStatus,
    }
}

part! {
    /// What became of each manifest.
    ResourceStatus {
        /// In the order of the manifests.
        manifests: Vec<ManifestStatus>,
    }
}

part! {
    /// What became of one manifest.
    ManifestStatus {
        /// Which object it is.
        resource_meta: ManifestResourceMeta,
        /// Fields reported back.
        status_feedback: StatusFeedback,
        /// Conditions of this manifest.
        conditions: Vec<Condition>,
    }
}

/// The object a manifest stands for. The ordinal is always written: the schema requires it.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default)]
pub struct ManifestResourceMeta {
    /// Position in the work's list of manifests, from 0.
    pub ordinal: i32,
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural name of the resource; empty if it could not be found out.
    pub resource: String,
    /// Name of the object.
    pub name: String,
    /// Its namespace; empty for cluster-scoped objects.
    pub namespace: String,
}

part! {
    /// Fields reported back.
    StatusFeedback {
        /// One entry a name.
        values: Vec<FeedbackValue>,
    }
}

part! {
    /// One field reported back.
    FeedbackValue {
        /// The name from the rule.
        name: String,
        /// The value.
        field_value: FieldValue,
    }
}

part! {
    /// A value with its type; exactly the field that `type` names is set.
    FieldValue {
        /// `Integer`, `String`, `Boolean` or `JsonRaw`.
        r#type: String,
        /// Set with `Integer`.
        integer: Option<i64>,
        /// Set with `String`.
        string: Option<String>,
        /// Set with `Boolean`.
        boolean: Option<bool>,
        /// Set with `JsonRaw`: JSON as text.
        json_raw: Option<String>,
    }
}

kind! {
    /// What one work left in a WEC; kept in the WEC.
    AppliedManifestWork, WORK_GROUP, "v1", "appliedmanifestworks", ClusterResourceScope,
    spec: AppliedManifestWorkSpec, status: AppliedManifestWorkStatus
}

part! {
    /// Which work of which hub, applied by which agent.
    AppliedManifestWorkSpec {
        /// SHA-256 of the hub's server URL, lower-case hexadecimal.
        hub_hash: String,
        /// The agent that applied it.
        #[serde(rename = "agentID")]
        agent_id: String,
        /// Name of the work in the mailbox.
        manifest_work_name: String,
    }
}

part! {
    /// The objects that exist because of the work.
    AppliedManifestWorkStatus {
        /// The objects.
        applied_resources: Vec<AppliedResource>,
        /// When the agent first missed the work on its hub.
        eviction_start_time: Option<Time>,
    }
}

part! {
    /// One object that exists because of a work.
    AppliedResource {
        /// API group; empty for the core group.
        group: String,
        /// Plural name of the resource.
        resource: String,
        /// Name of the object.
        name: String,
        /// Its namespace; empty for cluster-scoped objects.
        namespace: String,
        /// API version it was applied in.
        version: String,
        /// Its uid, so that a successor of the same name is not taken for it.
        uid: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_that_camel_case_would_spoil_are_kept() {
        let object: AppliedManifestWork = serde_json::from_value(json!({
            "metadata": {"name": "x"},
            "spec": {"hubHash": "h", "agentID": "a", "manifestWorkName": "w"},
        }))
        .unwrap();
        assert_eq!(object.spec.agent_id, "a");
        let written = serde_json::to_value(&object).unwrap();
        assert_eq!(written["spec"]["agentID"], "a");
        assert_eq!(
            serde_json::to_value(FeedbackRule {
                r#type: "JSONPaths".into(),
                json_paths: vec![JsonPath::default()],
            })
            .unwrap(),
            json!({"type": "JSONPaths", "jsonPaths": [{}]})
        );
    }

    #[test]
    fn the_first_ordinal_is_written() {
        let meta = serde_json::to_value(ManifestResourceMeta::default()).unwrap();
        assert_eq!(meta["ordinal"], 0);
    }
}
