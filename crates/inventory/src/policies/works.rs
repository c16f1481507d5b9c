//! The rules about works.

use super::about;
use super::expression::Right;
use super::expression::USER;
use super::expression::is_agent;
use super::expression::metadata;
use super::expression::right;
use super::expression::rule;
use super::expression::told;
use super::variable;
use crate::manifests::named_rule;
use hyades_api::names;
use serde_json::Value;
use serde_json::json;

/// Up to how many manifests of one work are compared with each other. Each is compared with all, so
/// that more would cost what the API server grants to all policies of a request.
const COMPARED_MAX: usize = 64;

/// The account as which works without an executor are applied, as upstream asks for it.
const NIL_EXECUTOR: &str = "/klusterlet-work-sa";

/// The right to works without an executor, where they need one.
pub(super) fn nil_executor_rule() -> Value {
    let account = format!("system:serviceaccount:{}", NIL_EXECUTOR.replace('/', ":"));
    named_rule(
        names::WORK_GROUP,
        &["manifestworks"],
        &[&account],
        &["execute-as"],
    )
}

/// The policy about `ManifestWork`; `nil_executor` says whether works without an executor need the
/// right to the agent's own account.
pub(super) fn validation(nil_executor: bool) -> Value {
    // An agent writes finalizers, and nothing is judged anew for that.
    let changed = "request.operation == 'CREATE' || \
                   object.metadata.?generation.orValue(0) != oldObject.metadata.?generation.orValue(0)";
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": about(&["CREATE", "UPDATE"], names::WORK_GROUP, "manifestworks"),
        "matchConditions": [{"name": "changed", "expression": changed}],
        "variables": variables(nil_executor),
        "validations": [
            rule("variables.manifests.size() > 0", "manifests should not be empty"),
            rule(
                "variables.manifests.all(m, m.?apiVersion.orValue('') != '' && m.?kind.orValue('') != '')",
                "apiVersion and kind must be set in manifest",
            ),
            rule(
                "variables.manifests.all(m, m.?metadata.?name.orValue('') != '')",
                "name must be set in manifest",
            ),
            rule(
                "variables.manifests.all(m, m.?metadata.?generateName.orValue('') == '')",
                "generateName must not be set in manifest",
            ),
            duplicates(),
            executor(),
        ],
    })
}

/// The policy about what agents add to works: finalizers, and little else.
pub(super) fn of_agents() -> Value {
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": about(&["UPDATE"], names::WORK_GROUP, "manifestworks"),
        "matchConditions": [{"name": "agents", "expression": is_agent()}],
        "validations": [metadata("false")],
    })
}

fn variables(nil_executor: bool) -> Vec<Value> {
    let otherwise = if nil_executor { NIL_EXECUTOR } else { "" };
    let executor = |object: &str| {
        let account = format!("{object}.spec.executor.subject.serviceAccount");
        format!(
            "{object}.?spec.?executor.?subject.?serviceAccount.hasValue() ? \
             {account}.namespace + '/' + {account}.name : '{otherwise}'"
        )
    };
    let keys = format!(
        "variables.manifests.size() > {COMPARED_MAX} ? [] : variables.manifests.map(m, \
         m.?metadata.?namespace.orValue('') + '/' + m.?metadata.?name.orValue('') + \
         ' with resource type ' + m.?apiVersion.orValue('') + '.' + m.?kind.orValue(''))"
    );
    vec![
        variable("manifests", "object.?spec.?workload.?manifests.orValue([])"),
        variable("keys", &keys),
        variable("executor", &executor("object")),
        variable(
            "oldExecutor",
            &format!(
                "request.operation == 'CREATE' ? '' : ({})",
                executor("oldObject")
            ),
        ),
    ]
}

fn duplicates() -> Value {
    told(
        "variables.keys.all(k, variables.keys.exists_one(o, o == k))",
        "'duplicate manifest for resource ' + \
         variables.keys.filter(k, !variables.keys.exists_one(o, o == k))[0]",
        "duplicate manifest",
    )
}

/// Who chooses as whom a WEC applies a work must hold a right to that account.
fn executor() -> Value {
    let account = "'system:serviceaccount:' + variables.executor.replace('/', ':')";
    let execute = Right {
        group: names::WORK_GROUP,
        resource: "manifestworks",
        subresource: "",
        verb: "execute-as",
        namespace: "object.metadata.namespace",
        name: account,
    };
    right(
        &format!(
            "variables.executor == '' || variables.executor == variables.oldExecutor || {}",
            execute.is_held()
        ),
        &format!(
            "'user ' + {USER} + ' cannot manipulate the Manifestwork with executor ' + \
             variables.executor + ' in namespace ' + object.metadata.namespace"
        ),
        "the user cannot manipulate the Manifestwork with this executor",
    )
}
