//! What comes back: StatusCollectors ask, CombinedStatuses answer, WorkStatuses carry.

use super::names::CONTROL_GROUP;
use crate::kind::kind;
use crate::kind::null_as_default;
use crate::kind::object;
use crate::kind::part;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

kind! {
    /// A question about what WECs report of an object, in the manner of SQL over one row a WEC.
    StatusCollector, CONTROL_GROUP, "v1alpha1", "statuscollectors", ClusterResourceScope,
    spec: StatusCollectorSpec, status: StatusCollectorStatus
}

/// The question. Expressions are CEL over `obj`, `returned`, `inventory` and `propagation`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCollectorSpec {
    /// Which WECs count; all if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// By what rows are grouped; wants `combinedFields`.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub group_by: Vec<NamedExpression>,
    /// What is computed of each group; excludes `select`.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub combined_fields: Vec<CombinedField>,
    /// What is shown of each WEC; excludes the other two.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub select: Vec<NamedExpression>,
    /// Most rows of the answer. The schema requires it.
    pub limit: i64,
}

part! {
    /// A column and the CEL expression behind it.
    NamedExpression {
        /// The column's name.
        name: String,
        /// The expression.
        def: String,
    }
}

part! {
    /// A column computed of a group of rows.
    CombinedField {
        /// The column's name.
        name: String,
        /// `COUNT`, `SUM`, `AVG`, `MIN` or `MAX`.
        r#type: String,
        /// What is aggregated; absent for `COUNT` and for it alone.
        subject: Option<String>,
    }
}

/// What became of a StatusCollector.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusCollectorStatus {
    /// The generation that this speaks of.
    pub observed_generation: i64,
    /// Why the question cannot be asked.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub errors: Vec<String>,
}

object! {
    /// The answers to one policy's StatusCollectors about one object.
    CombinedStatus, CONTROL_GROUP, "v1alpha1", "combinedstatuses", NamespaceResourceScope,
    fields {
        /// One entry for each StatusCollector that exists and is valid, by name.
        results as "results": Vec<CollectedResult>,
    }
}

/// The answer to one StatusCollector.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CollectedResult {
    /// The StatusCollector's name.
    pub name: String,
    /// The headings, in the order of each row's values.
    #[serde(deserialize_with = "null_as_default")]
    pub column_names: Vec<String>,
    /// The rows.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub rows: Vec<Row>,
    /// Which expressions failed for a WEC.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub row_errors: Vec<RowError>,
    /// Which aggregations failed.
    #[serde(
        deserialize_with = "null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub aggregation_errors: Vec<AggregationError>,
}

/// One row of an answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Row {
    /// A value for each column: an object with `type` (`String`, `Number`, `Bool`, `Null`, `Object`
    /// or `Array`) and, but for `Null`, the member of that type: `string`, `float` (the number as
    /// text), `bool`, `object` or `array`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub columns: Vec<Value>,
}

/// An expression that failed for a WEC.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowError {
    /// The WEC.
    pub wec: WecReference,
    /// The column; empty for the filter.
    pub column_name: String,
    /// What happened.
    pub error: String,
}

/// A WEC, by the name of its inventory object.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WecReference {
    /// The name.
    pub cluster_id: String,
}

/// An aggregation that failed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AggregationError {
    /// The column.
    pub column_name: String,
    /// What happened.
    pub error: String,
}

object! {
    /// What one WEC reports of one object; lives in the WEC's mailbox.
    WorkStatus, CONTROL_GROUP, "v1alpha1", "workstatuses", NamespaceResourceScope,
    fields {
        /// Which object.
        spec as "spec": WorkStatusSpec,
        /// The object's `.status` in the WEC, word for word; `null` if it has none.
        status as "status": Value,
        /// How new that is, as far as known.
        status_details as "statusDetails": Option<StatusDetails>,
    }
}

part! {
    /// Which object a WorkStatus is about.
    WorkStatusSpec {
        /// The object.
        source_ref: SourceReference,
    }
}

/// An object in its WDS, and in its WEC. Group and namespace are required, and may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(default)]
pub struct SourceReference {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The plural name of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The namespace; empty for objects of the cluster scope.
    pub namespace: String,
}

/// How new a reported status is.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusDetails {
    /// The object's generation when it was last looked at.
    pub last_generation: i64,
    /// Whether that generation is the one its work asks for.
    pub last_generation_is_applied: bool,
    /// When the WEC last vouched for it; the Unix epoch if never.
    pub last_currency_update_time: Time,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_and_reports_read_and_write_the_same() {
        let combined = json!({
            "apiVersion": "control.kubestellar.io/v1alpha1",
            "kind": "CombinedStatus",
            "metadata": {"name": "a.b", "namespace": "shop"},
            "results": [{
                "name": "count-wecs",
                "columnNames": ["count"],
                "rows": [{"columns": [{"type": "Number", "float": "2"}]}],
                "rowErrors": [{"wec": {"clusterId": "c"}, "columnName": "", "error": "no such key"}],
            }],
        });
        let typed: CombinedStatus = serde_json::from_value(combined.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), combined);

        let report = json!({
            "apiVersion": "control.kubestellar.io/v1alpha1",
            "kind": "WorkStatus",
            "metadata": {"name": "w", "namespace": "cluster1"},
            "spec": {"sourceRef": {
                "group": "", "version": "v1", "resource": "pods", "kind": "Pod", "name": "web",
                "namespace": "shop",
            }},
            "status": {"phase": "Running"},
            "statusDetails": {
                "lastCurrencyUpdateTime": "1970-01-01T00:00:00Z",
                "lastGeneration": 0,
                "lastGenerationIsApplied": false,
            },
        });
        let typed: WorkStatus = serde_json::from_value(report.clone()).unwrap();
        assert_eq!(typed.spec.source_ref.namespace, "shop");
        assert_eq!(serde_json::to_value(typed).unwrap(), report);
    }

    #[test]
    fn an_object_without_status_has_none_in_its_report() {
        let report = WorkStatus::default();
        let written = serde_json::to_value(report).unwrap();
        assert_eq!(written.get("status"), None);
    }
}
