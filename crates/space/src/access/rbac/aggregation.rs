//! Aggregated ClusterRoles: roles whose rules are those of the roles their selectors find.

use hyades_schema::selector::Selector;
use serde_json::Value;

/// The selectors by which a role collects others; `None` when it does not. One that does not parse
/// selects nothing.
pub fn selectors(role: &Value) -> Option<Vec<Selector>> {
    let selectors = role["aggregationRule"]["clusterRoleSelectors"].as_array()?;
    Some(
        selectors
            .iter()
            .filter_map(|selector| Selector::from_label_selector(Some(selector)).ok())
            .collect(),
    )
}

/// The rules an aggregated role must have: those of every matching role, in the order of selectors
/// and then of names, each rule once. `None` when the role does not aggregate, or has these rules
/// already. `roles` are all ClusterRoles, sorted by name.
pub fn due_rules(role: &Value, roles: &[Value]) -> Option<Vec<Value>> {
    let name = &role["metadata"]["name"];
    let mut rules: Vec<Value> = Vec::new();
    for selector in selectors(role)? {
        let found = roles
            .iter()
            .filter(|other| other["metadata"]["name"] != *name)
            .filter(|other| selector.matches(other["metadata"]["labels"].as_object()));
        for rule in found.flat_map(|other| other["rules"].as_array().into_iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    let present = role["rules"].as_array().map_or(&[][..], Vec::as_slice);
    (present != rules).then_some(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn role(name: &str, label: &str, verbs: &[&str]) -> Value {
        json!({"metadata": {"name": name, "labels": {label: "true"}}, "rules": [{"verbs": verbs}]})
    }

    #[test]
    fn an_aggregated_role_gets_the_rules_of_all_matching_roles_once() {
        let edit = json!({"metadata": {"name": "edit", "labels": {"to-edit": "true"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to-edit": "true"}}]},
            "rules": [{"verbs": ["stale"]}]});
        let roles = [
            role("a", "to-edit", &["get"]),
            role("b", "to-edit", &["get"]),
            role("c", "to-edit", &["list"]),
            role("d", "to-view", &["watch"]),
            edit.clone(),
        ];
        let due = due_rules(&edit, &roles);
        assert_eq!(
            due,
            Some(vec![json!({"verbs": ["get"]}), json!({"verbs": ["list"]})])
        );
        let mut settled = edit;
        settled["rules"] = due.into();
        assert_eq!(due_rules(&settled, &roles), None);
    }

    #[test]
    fn a_role_without_selectors_is_left_alone() {
        let plain = role("a", "x", &["get"]);
        assert_eq!(due_rules(&plain, std::slice::from_ref(&plain)), None);
    }
}
