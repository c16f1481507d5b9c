//! Advice about placements.
//!
//! Upstream takes every placement that fits the schema, and says in its conditions what cannot be
//! followed. So does the hub; but whoever writes one is told at once.

use super::about;
use super::expression::rule;
use super::expression::texts;
use super::variable;
use hyades_api::names;
use serde_json::Value;
use serde_json::json;

/// The operators of selectors that compare with values.
const WITH_VALUES: [&str; 2] = ["In", "NotIn"];

/// The operators of selectors that take none.
const WITHOUT_VALUES: [&str; 2] = ["Exists", "DoesNotExist"];

/// The prioritizers that are built in.
const BUILT_IN: [&str; 4] = [
    "Balance",
    "Steady",
    "ResourceAllocatableCPU",
    "ResourceAllocatableMemory",
];

/// The policy about `Placement`.
pub(super) fn validation() -> Value {
    json!({
        // Advice that cannot be had holds up nobody.
        "failurePolicy": "Ignore",
        "matchConstraints": about(&["CREATE", "UPDATE"], names::CLUSTER_GROUP, "placements"),
        "variables": variables(),
        "validations": [
            rule(
                "object.spec.?numberOfClusters.orValue(0) >= 0",
                "spec.numberOfClusters must be 0 or more",
            ),
            rule(
                "variables.tolerations.all(t, t.?key.orValue('') != '' || \
                 t.?operator.orValue('') == 'Exists')",
                "spec.tolerations: If the key is empty, operator must be Exists.",
            ),
            rule(
                "variables.tolerations.all(t, t.?value.orValue('') == '' || \
                 t.?operator.orValue('') != 'Exists')",
                "spec.tolerations: If the operator is Exists, the value should be empty.",
            ),
            rule(
                "variables.tolerations.all(t, t.?operator.orValue('') in ['', 'Equal', 'Exists'])",
                "spec.tolerations: a toleration with another operator than Equal and Exists \
                 tolerates nothing",
            ),
            rule(
                "object.spec.?prioritizerPolicy.?mode.orValue('') in ['', 'Additive', 'Exact']",
                "spec.prioritizerPolicy.mode must be Additive or Exact",
            ),
            prioritizers(),
            rule(
                &format!(
                    "variables.requirements.all(list, list.all(r, r.operator in {}))",
                    texts(&[WITH_VALUES, WITHOUT_VALUES].concat())
                ),
                "the operator of a selector must be In, NotIn, Exists or DoesNotExist",
            ),
            rule(
                &format!(
                    "variables.requirements.all(list, list.all(r, !(r.operator in {}) || \
                     r.?values.orValue([]).size() > 0))",
                    texts(&WITH_VALUES)
                ),
                "a selector with the operator In or NotIn needs values",
            ),
            rule(
                &format!(
                    "variables.requirements.all(list, list.all(r, !(r.operator in {}) || \
                     r.?values.orValue([]).size() == 0))",
                    texts(&WITHOUT_VALUES)
                ),
                "a selector with the operator Exists or DoesNotExist takes no values",
            ),
        ],
    })
}

/// Every prioritizer that is not switched off must be one that there is.
fn prioritizers() -> Value {
    let known = format!(
        "c.?scoreCoordinate.?type.orValue('BuiltIn') == 'BuiltIn' ? \
         c.?scoreCoordinate.?builtIn.orValue('') in {} : has(c.scoreCoordinate.addOn)",
        texts(&BUILT_IN)
    );
    rule(
        &format!(
            "object.spec.?prioritizerPolicy.?configurations.orValue([])\
             .all(c, c.?weight.orValue(1) == 0 || ({known}))"
        ),
        "spec.prioritizerPolicy.configurations: a scoreCoordinate of type BuiltIn must name \
         Balance, Steady, ResourceAllocatableCPU or ResourceAllocatableMemory, and one of type \
         AddOn must have addOn",
    )
}

fn variables() -> Vec<Value> {
    let selectors = |list: &str, selector: &str, kind: &str| {
        format!("{list}.map(e, e.?{selector}.?{kind}.?matchExpressions.orValue([]))")
    };
    let of = |list: &str, selector: &str| {
        let labels = selectors(list, selector, "labelSelector");
        let claims = selectors(list, selector, "claimSelector");
        format!("{labels} + {claims}")
    };
    let predicates = of("variables.predicates", "requiredClusterSelector");
    let groups = of("variables.groups", "groupClusterSelector");
    vec![
        variable("tolerations", "object.spec.?tolerations.orValue([])"),
        variable("predicates", "object.spec.?predicates.orValue([])"),
        variable(
            "groups",
            "object.spec.?decisionStrategy.?groupStrategy.?decisionGroups.orValue([])",
        ),
        variable("requirements", &format!("{predicates} + {groups}")),
    ]
}
