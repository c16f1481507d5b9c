//! One policy rule: what it matches, what it covers, how it reads.

use serde_json::Map;
use serde_json::Value;

use crate::identity::Attributes;

/// The value that stands for "every" in verbs, groups, resources and paths.
pub const ALL: &str = "*";

/// A `rbac.authorization.k8s.io/v1` PolicyRule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyRule {
    /// Verbs the rule grants.
    pub verbs: Vec<String>,
    /// API groups it applies to; the core group is the empty string.
    pub api_groups: Vec<String>,
    /// Resources, `resource/subresource`, `*/subresource` or `*`.
    pub resources: Vec<String>,
    /// Object names; empty means every name.
    pub resource_names: Vec<String>,
    /// Paths that are no resource; a final `*` matches any rest.
    pub non_resource_urls: Vec<String>,
}

impl PolicyRule {
    /// Reads a rule from its JSON form; absent and ill-typed lists read as empty, because the
    /// pipeline has validated the object before it was stored.
    pub fn from_json(rule: &Value) -> PolicyRule {
        let strings = |field: &str| -> Vec<String> {
            rule[field]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        PolicyRule {
            verbs: strings("verbs"),
            api_groups: strings("apiGroups"),
            resources: strings("resources"),
            resource_names: strings("resourceNames"),
            non_resource_urls: strings("nonResourceURLs"),
        }
    }

    /// Reads the `rules` of a Role or ClusterRole.
    pub fn list_from_json(rules: &Value) -> Vec<PolicyRule> {
        rules
            .as_array()
            .into_iter()
            .flatten()
            .map(PolicyRule::from_json)
            .collect()
    }

    /// The rule's JSON form, empty lists left out except for `verbs`, which is required.
    pub fn to_json(&self) -> Value {
        let mut rule = Map::new();
        rule.insert("verbs".to_owned(), self.verbs.clone().into());
        let optional = [
            ("apiGroups", &self.api_groups),
            ("resources", &self.resources),
            ("resourceNames", &self.resource_names),
            ("nonResourceURLs", &self.non_resource_urls),
        ];
        for (field, list) in optional {
            if !list.is_empty() {
                rule.insert(field.to_owned(), list.clone().into());
            }
        }
        Value::Object(rule)
    }

    /// Whether the rule grants what is asked.
    pub fn allows(&self, asked: &Attributes) -> bool {
        match asked {
            Attributes::Resource {
                verb,
                group,
                resource,
                subresource,
                name,
                ..
            } => {
                has_or_all(&self.verbs, verb)
                    && has_or_all(&self.api_groups, group)
                    && self.matches_resource(resource, subresource)
                    && (self.resource_names.is_empty() || has(&self.resource_names, name))
            }
            Attributes::Path { verb, path } => {
                has_or_all(&self.verbs, verb)
                    && self
                        .non_resource_urls
                        .iter()
                        .any(|url| url_covers(url, path))
            }
        }
    }

    fn matches_resource(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|granted| {
            if granted == ALL {
                return true;
            }
            match granted.split_once('/') {
                None => subresource.is_empty() && granted == resource,
                Some((of, sub)) => {
                    !subresource.is_empty() && sub == subresource && (of == ALL || of == resource)
                }
            }
        })
    }

    /// How many rules [`PolicyRule::broken_down`] makes of this one.
    pub fn part_count(&self) -> usize {
        let lists = [
            self.api_groups.len(),
            self.resources.len(),
            self.verbs.len(),
            self.resource_names.len().max(1),
        ];
        let resources = lists.into_iter().fold(1, usize::saturating_mul);
        let paths = self
            .non_resource_urls
            .len()
            .saturating_mul(self.verbs.len());
        resources.saturating_add(paths)
    }

    /// The smallest rules that together say the same: one verb each, on one resource (and name) or
    /// one path.
    pub fn broken_down(&self) -> Vec<PolicyRule> {
        let mut parts = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let part = PolicyRule {
                        verbs: vec![verb.clone()],
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..PolicyRule::default()
                    };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                    } else {
                        parts.extend(self.resource_names.iter().map(|name| PolicyRule {
                            resource_names: vec![name.clone()],
                            ..part.clone()
                        }));
                    }
                }
            }
        }
        for url in &self.non_resource_urls {
            parts.extend(self.verbs.iter().map(|verb| PolicyRule {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![url.clone()],
                ..PolicyRule::default()
            }));
        }
        parts
    }

    /// Whether every request that `part`, one of [`PolicyRule::broken_down`], allows is allowed by
    /// this rule too.
    pub fn covers(&self, part: &PolicyRule) -> bool {
        has_all_or_all(&self.verbs, &part.verbs)
            && has_all_or_all(&self.api_groups, &part.api_groups)
            && part.resources.iter().all(|resource| {
                has_or_all(&self.resources, resource)
                    || resource.split_once('/').is_some_and(|(_, sub)| {
                        self.resources
                            .iter()
                            .any(|granted| granted.strip_prefix("*/") == Some(sub))
                    })
            })
            && (self.resource_names.is_empty()
                || (!part.resource_names.is_empty()
                    && part
                        .resource_names
                        .iter()
                        .all(|name| has(&self.resource_names, name))))
            && part.non_resource_urls.iter().all(|url| {
                self.non_resource_urls
                    .iter()
                    .any(|own| url_covers(own, url))
            })
    }

    /// The rule as escalation errors print it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
    pub fn compact_text(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(field, list)| format!("{field}:{}", quoted_list(list)))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// A list of strings as Go prints it with `%q`: `["a" "b"]`.
pub fn quoted_list(list: &[String]) -> String {
    let quoted: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// The parts of `wanted` that no rule of `held` covers.
pub fn missing(held: &[PolicyRule], wanted: &[PolicyRule]) -> Vec<PolicyRule> {
    wanted
        .iter()
        .flat_map(PolicyRule::broken_down)
        .filter(|part| !held.iter().any(|rule| rule.covers(part)))
        .collect()
}

/// Joins the verbs of rules about the same single resource (and name), for shorter messages.
pub fn compact(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    let mut compacted: Vec<PolicyRule> = Vec::new();
    for rule in rules {
        let simple = rule.api_groups.len() == 1
            && rule.resources.len() == 1
            && rule.resource_names.len() <= 1
            && rule.non_resource_urls.is_empty();
        let same = simple
            .then(|| {
                compacted.iter_mut().find(|kept| {
                    kept.api_groups == rule.api_groups
                        && kept.resources == rule.resources
                        && kept.resource_names == rule.resource_names
                })
            })
            .flatten();
        match same {
            Some(kept) => {
                for verb in rule.verbs {
                    if !has(&kept.verbs, &verb) {
                        kept.verbs.push(verb);
                    }
                }
            }
            None => compacted.push(rule),
        }
    }
    compacted
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

fn has_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == ALL || item == wanted)
}

fn has_all_or_all(list: &[String], wanted: &[String]) -> bool {
    has(list, ALL) || wanted.iter().all(|item| has(list, item))
}

fn url_covers(granted: &str, asked: &str) -> bool {
    match granted.strip_suffix(ALL) {
        Some(start) => asked.starts_with(start),
        None => granted == asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> PolicyRule {
        let own = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
        PolicyRule {
            verbs: own(verbs),
            api_groups: own(groups),
            resources: own(resources),
            resource_names: own(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn ask(verb: &str, group: &str, resource: &str, subresource: &str, name: &str) -> Attributes {
        Attributes::Resource {
            verb: verb.to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: String::new(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn resources_match_exactly_by_subresource_and_by_wildcard() {
        let cases = [
            (vec!["pods"], "pods", "", true),
            (vec!["pods"], "pods", "log", false),
            (vec!["pods/log"], "pods", "log", true),
            (vec!["pods/log"], "pods", "", false),
            (vec!["*/scale"], "deployments", "scale", true),
            (vec!["*/scale"], "deployments", "status", false),
            (vec!["*/scale"], "deployments", "", false),
            (vec!["*"], "deployments", "status", true),
            (vec!["po"], "pods", "", false),
        ];
        for (granted, resource, subresource, allowed) in cases {
            let rule = rule(&[""], &granted, &[], &["get"]);
            assert_eq!(
                rule.allows(&ask("get", "", resource, subresource, "x")),
                allowed,
                "{granted:?} against {resource}/{subresource}"
            );
        }
    }

    #[test]
    fn a_rule_with_names_allows_no_request_without_a_name() {
        let rule = rule(&[""], &["configmaps"], &["a"], &["get", "list"]);
        assert!(rule.allows(&ask("get", "", "configmaps", "", "a")));
        assert!(rule.allows(&ask("list", "", "configmaps", "", "a")));
        assert!(!rule.allows(&ask("get", "", "configmaps", "", "ab")));
        assert!(!rule.allows(&ask("list", "", "configmaps", "", "")));
    }

    #[test]
    fn groups_and_verbs_are_compared_by_equality() {
        let rule = rule(&["apps"], &["deployments"], &[], &["get"]);
        assert!(!rule.allows(&ask("get", "", "deployments", "", "a")));
        assert!(!rule.allows(&ask("update", "apps", "deployments", "", "a")));
        assert!(rule.allows(&ask("get", "apps", "deployments", "", "a")));
    }

    #[test]
    fn paths_match_exactly_or_by_a_final_star() {
        let rule = PolicyRule {
            verbs: vec!["get".to_owned()],
            non_resource_urls: vec!["/api".to_owned(), "/apis/*".to_owned()],
            ..PolicyRule::default()
        };
        let get = |path: &str| {
            rule.allows(&Attributes::Path {
                verb: "get".to_owned(),
                path: path.to_owned(),
            })
        };
        assert!(get("/api"));
        assert!(!get("/api/v1"));
        assert!(get("/apis/apps"));
        assert!(!get("/apis"));
    }

    #[test]
    fn covering_needs_the_same_names_or_none() {
        let all = rule(&[""], &["secrets"], &[], &["get"]);
        let one = rule(&[""], &["secrets"], &["a"], &["get"]);
        assert!(missing(std::slice::from_ref(&all), std::slice::from_ref(&one)).is_empty());
        assert_eq!(
            missing(std::slice::from_ref(&one), std::slice::from_ref(&all)),
            vec![all.clone()]
        );
        let subresources = rule(&["*"], &["*/status"], &[], &["*"]);
        let status = rule(&["apps"], &["deployments/status"], &[], &["patch"]);
        assert!(missing(&[subresources], &[status]).is_empty());
    }

    #[test]
    fn the_parts_of_a_rule_are_counted_without_being_made() {
        let few = rule(&["a", "b"], &["x"], &["n", "m"], &["get", "list"]);
        assert_eq!(few.part_count(), few.broken_down().len());
        let many = vec!["x"; 100_000];
        let wide = rule(&many, &many, &many, &many);
        assert_eq!(wide.part_count(), usize::MAX);
    }

    #[test]
    fn several_narrow_rules_together_cover_a_wide_one() {
        let held = [
            rule(&[""], &["pods"], &[], &["get"]),
            rule(&[""], &["pods"], &[], &["list"]),
        ];
        let wanted = [rule(&[""], &["pods"], &[], &["get", "list"])];
        assert!(missing(&held, &wanted).is_empty());
    }

    #[test]
    fn compact_rules_join_verbs_and_print_as_go_does() {
        let parts = rule(&[""], &["pods"], &[], &["get", "list"]).broken_down();
        assert_eq!(parts.len(), 2);
        let compacted = compact(parts);
        assert_eq!(compacted.len(), 1);
        assert_eq!(
            compacted[0].compact_text(),
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#
        );
    }
}
