//! The rules about inventory objects.

use super::about;
use super::expression::Right;
use super::expression::USER;
use super::expression::is_agent;
use super::expression::metadata;
use super::expression::right;
use super::expression::rule;
use super::expression::text;
use super::expression::texts;
use super::expression::told;
use super::variable;
use hyades_api::conditions::managed_cluster as conditions;
use hyades_api::identity::GROUP_OF_ALL;
use hyades_api::identity::RESERVED_NAMES;
use hyades_api::identity::RESERVED_STARTS;
use hyades_api::names;
use hyades_api::names::finalizers;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use serde_json::Value;
use serde_json::json;

const RESOURCE: &str = "managedclusters";
const WRITES: [&str; 2] = ["CREATE", "UPDATE"];

/// What upstream says about a name that cannot be that of a mailbox.
const NAME_FORMAT: &str = "metadata.name format is not correct: a lowercase RFC 1123 label must \
                           consist of lower case alphanumeric characters or '-', start and end \
                           with an alphanumeric character, and have at most 63 characters";

/// Conditions that only the hub sets. With the first an agent would let itself in; the second
/// decides whether agents report their status at all.
const CONDITIONS_OF_HUB: [&str; 2] = [conditions::HUB_ACCEPTED, conditions::CLOCK_SYNCED];

/// Most characters in the messages of all conditions of an inventory object that an agent writes:
/// the longest message that the API takes of one. The hub keeps them of every WEC.
const MESSAGE_CHARACTERS_MAX: usize = 32 * 1024;

/// The value of the label that says which set an inventory object is in.
fn set_of(object: &str) -> String {
    let label = text(labels::CLUSTER_SET);
    format!("{object}.metadata.?labels[?{label}].orValue('')")
}

/// The right to move inventory objects into a set, and out of it.
fn may_join(set: &str) -> String {
    let right = Right {
        group: names::CLUSTER_GROUP,
        resource: "managedclustersets",
        subresource: "join",
        verb: "create",
        namespace: "",
        name: set,
    };
    right.is_held()
}

fn may_accept() -> String {
    let right = Right {
        group: names::REGISTER_GROUP,
        resource: RESOURCE,
        subresource: "accept",
        verb: "update",
        namespace: "",
        name: "object.metadata.name",
    };
    right.is_held()
}

/// The policy about inventory objects themselves.
pub(super) fn validation() -> Value {
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": about(&WRITES, names::CLUSTER_GROUP, RESOURCE),
        "variables": variables(),
        "validations": [
            name_format(),
            name_reserved(),
            name_of_group(),
            addresses(),
            metadata(&may_accept()),
            acceptance(),
            finalizer(),
            joins("variables.set", "variables.set"),
            joins("variables.oldSet", "variables.oldSet"),
            times(),
        ],
    })
}

fn variables() -> Vec<Value> {
    // A taint is the same as before when its key, value and effect are.
    let same =
        "o.key == t.key && o.effect == t.effect && o.?value.orValue('') == t.?value.orValue('')";
    let time = |taint: &str| format!("{taint}.?timeAdded.orValue(null)");
    let mistimed = format!(
        "variables.taints.filter(t, variables.oldTaints.exists(o, {same}) ? \
         !variables.oldTaints.exists(o, {same} && {} == {}) : {} != null)",
        time("o"),
        time("t"),
        time("t"),
    );
    let taints = |object: &str| format!("{object}.?spec.?taints.orValue([])");
    let before =
        |empty: &str, otherwise: &str| format!("variables.created ? {empty} : {otherwise}");
    vec![
        variable("created", "request.operation == 'CREATE'"),
        variable("set", &set_of("object")),
        variable("oldSet", &before("''", &set_of("oldObject"))),
        variable("taints", &taints("object")),
        variable("oldTaints", &before("[]", &taints("oldObject"))),
        variable("mistimed", &mistimed),
        variable(
            "insecure",
            "object.?spec.?managedClusterClientConfigs.orValue([])\
             .filter(c, !isURL(c.url) || url(c.url).getScheme() != 'https')",
        ),
    ]
}

fn name_format() -> Value {
    rule(
        "!variables.created || (object.metadata.name.size() <= 63 && \
         object.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
        NAME_FORMAT,
    )
}

fn name_reserved() -> Value {
    let starts = RESERVED_STARTS.iter();
    let starts = starts.map(|start| format!("object.metadata.name.startsWith({})", text(start)));
    let reserved = starts.collect::<Vec<_>>().join(" || ");
    told(
        &format!(
            "!variables.created || !(object.metadata.name in {} || {reserved})",
            texts(&RESERVED_NAMES)
        ),
        "'cluster name \"' + object.metadata.name + '\" is reserved: the hub uses the namespace of \
         that name itself; choose another cluster name'",
        "the cluster name is reserved; choose another",
    )
}

fn name_of_group() -> Value {
    let group = text(GROUP_OF_ALL);
    told(
        &format!("!variables.created || object.metadata.name != {group}"),
        "'cluster name \"' + object.metadata.name + '\" is reserved: the group of that name holds \
         the agents of all clusters; choose another cluster name'",
        "the cluster name is reserved; choose another",
    )
}

fn addresses() -> Value {
    told(
        "variables.insecure.size() == 0",
        "'url \"' + variables.insecure[0].url + '\" is invalid in client configs'",
        "a url is invalid in client configs",
    )
}

/// Letting a WEC in takes a right of its own; turning it away takes none.
fn acceptance() -> Value {
    let accepts = |object: &str| format!("{object}.?spec.?hubAcceptsClient.orValue(false)");
    right(
        &format!(
            "!{} || (!variables.created && {}) || {}",
            accepts("object"),
            accepts("oldObject"),
            may_accept()
        ),
        &format!("'user \"' + {USER} + '\" cannot update the HubAcceptsClient field'"),
        "the user cannot update the HubAcceptsClient field",
    )
}

/// The finalizer of accepted WECs tells the hub to look after what it made for one. Whoever may not
/// accept a WEC must not claim that there is such.
fn finalizer() -> Value {
    let mark = text(finalizers::API_RESOURCE_CLEANUP);
    let has = |object: &str| format!("{mark} in {object}.metadata.?finalizers.orValue([])");
    right(
        &format!(
            "!({}) || (!variables.created && {}) || {}",
            has("object"),
            has("oldObject"),
            may_accept()
        ),
        &format!(
            "'user \"' + {USER} + '\" cannot add the finalizer ' + {mark} + ': the hub adds it to \
             accepted clusters'"
        ),
        "the user cannot add the finalizer of accepted clusters",
    )
}

/// The right to a set is needed where the set changes, on both sides of the change.
fn joins(set: &str, shown: &str) -> Value {
    right(
        &format!(
            "variables.set == variables.oldSet || {set} == '' || {}",
            may_join(set)
        ),
        &format!(
            "'user \"' + {USER} + '\" cannot add/remove a ManagedCluster to/from \
             ManagedClusterSet \"' + {shown} + '\"'"
        ),
        "the user cannot add/remove a ManagedCluster to/from the ManagedClusterSet",
    )
}

/// When a taint was added is the hub's to say: nobody else sets a time, or changes one.
fn times() -> Value {
    let hub = format!(
        "system:serviceaccount:{}:{}",
        namespaces::HUB,
        names::HUB_SERVICE_ACCOUNT
    );
    told(
        &format!("variables.mistimed.size() == 0 || {USER} == {}", text(&hub)),
        "'It is not allowed to set TimeAdded of Taint \"' + variables.mistimed[0].key + ',' + \
         variables.mistimed[0].key + '\".'",
        "It is not allowed to set TimeAdded of a Taint.",
    )
}

/// The policy about what agents say of themselves.
pub(super) fn status() -> Value {
    let own = |object: &str| {
        format!(
            "{object}.?status.?conditions.orValue([]).filter(c, c.type in {})",
            texts(&CONDITIONS_OF_HUB)
        )
    };
    let mut unchanged = rule(
        &format!("{} == {}", own("object"), own("oldObject")),
        &format!(
            "only the hub sets the conditions {}",
            CONDITIONS_OF_HUB.join(" and ")
        ),
    );
    unchanged["reason"] = json!("Forbidden");
    let messages = rule(
        &format!(
            "object.?status.?conditions.orValue([]).map(c, c.message.size()).sum() <= \
             {MESSAGE_CHARACTERS_MAX}"
        ),
        &format!(
            "status.conditions: too long: the messages may not be more than \
             {MESSAGE_CHARACTERS_MAX} characters together"
        ),
    );
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": about(&["UPDATE"], names::CLUSTER_GROUP, "managedclusters/status"),
        "matchConditions": [{"name": "agents", "expression": is_agent()}],
        "validations": [unchanged, messages],
    })
}

/// The policy that completes inventory objects: the default set, and taints without times, which the
/// hub stamps.
pub(super) fn defaults(with_default_set: bool) -> Value {
    let mut mutations = Vec::new();
    if with_default_set {
        mutations.push(patch(&default_set()));
    }
    mutations.push(patch(&without_times()));
    let concerned = format!(
        "{} == '' || (request.operation == 'CREATE' && \
         object.?spec.?taints.orValue([]).exists(t, t.?timeAdded.orValue(null) != null))",
        set_of("object")
    );
    json!({
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": about(&WRITES, names::CLUSTER_GROUP, RESOURCE),
        "matchConditions": [{"name": "incomplete", "expression": concerned}],
        "mutations": mutations,
    })
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

fn default_set() -> String {
    let label = text(labels::CLUSTER_SET);
    let default = text(names::DEFAULT_CLUSTER_SET);
    format!(
        "{} != '' ? [] : has(object.metadata.labels) ? \
         [JSONPatch{{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey({label}), value: {default}}}] : \
         [JSONPatch{{op: 'add', path: '/metadata/labels', value: {{{label}: {default}}}}}]",
        set_of("object")
    )
}

fn without_times() -> String {
    "request.operation != 'CREATE' || \
     !object.?spec.?taints.orValue([]).exists(t, t.?timeAdded.orValue(null) != null) ? [] : \
     [JSONPatch{op: 'replace', path: '/spec/taints', value: object.spec.taints.map(t, \
     has(t.value) ? {'key': t.key, 'value': t.value, 'effect': t.effect} : \
     {'key': t.key, 'effect': t.effect})}]"
        .to_owned()
}
