//! Matching: whether a clause of a policy means an object, and whether a policy means a WEC.

use crate::object::ObjectKey;
use hyades_api::control::BindingPolicySpec;
use hyades_api::control::DownsyncClause;
use hyades_api::control::Modulation;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use hyades_runtime::kube::core::Expression;
use hyades_runtime::kube::core::Selector;
use hyades_runtime::kube::core::SelectorExt;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Stands for everything, in lists of names.
pub(super) const ALL: &str = "*";

/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// A policy, read.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// Any selects a WEC.
    pub(super) cluster_selectors: Vec<Selector>,
    /// Any selects an object.
    pub(super) clauses: Vec<Clause>,
    /// Which selectors of WECs cannot be read, with their place. They select nothing.
    pub(super) cluster_problems: Vec<String>,
    /// Which selectors of objects and of namespaces cannot be read, likewise.
    pub(super) object_problems: Vec<String>,
}

/// A clause, read. `None` where a criterion matches everything.
#[derive(Clone, Debug)]
pub(super) struct Clause {
    pub(super) group: Option<String>,
    pub(super) resources: Option<BTreeSet<String>>,
    pub(super) namespaces: Option<BTreeSet<String>>,
    pub(super) names: Option<BTreeSet<String>>,
    pub(super) labels: Option<Vec<Selector>>,
    pub(super) namespace_labels: Option<Vec<Selector>>,
    pub(super) modulation: Modulation,
}

impl Policy {
    /// Reads a policy's spec.
    pub(super) fn read(spec: &BindingPolicySpec) -> Self {
        let mut cluster_problems = Vec::new();
        let cluster_selectors = read_selectors(
            &spec.cluster_selectors,
            "spec.clusterSelectors",
            &mut cluster_problems,
        );
        let mut object_problems = Vec::new();
        let mut clauses = Vec::new();
        for (index, clause) in spec.downsync.iter().enumerate() {
            let place = format!("spec.downsync[{index}]");
            clauses.push(Clause::read(clause, &place, &mut object_problems));
        }
        Self {
            cluster_selectors,
            clauses,
            cluster_problems,
            object_problems,
        }
    }

    /// Everything that cannot be read.
    pub(super) fn problems(&self) -> impl Iterator<Item = &String> {
        self.cluster_problems.iter().chain(&self.object_problems)
    }

    /// How an object is treated, if the policy means it: what all matching clauses say together.
    pub(super) fn treatment(&self, object: &Candidate<'_>) -> Option<Modulation> {
        let mut matching = self
            .clauses
            .iter()
            .filter(|clause| clause.matches(object))
            .map(|clause| &clause.modulation);
        let mut sum = matching.next()?.clone();
        matching.for_each(|modulation| add(&mut sum, modulation));
        sum.status_collectors.sort();
        sum.status_collectors.dedup();
        Some(sum)
    }

    /// Whether the policy means a WEC with these labels.
    pub(super) fn selects_cluster(&self, labels: &Labels) -> bool {
        any_matches(&self.cluster_selectors, labels)
    }

    /// Whether a namespace's labels count.
    pub(super) fn looks_at_namespaces(&self) -> bool {
        let mut clauses = self.clauses.iter();
        clauses.any(|clause| clause.namespace_labels.is_some())
    }
}

fn add(sum: &mut Modulation, more: &Modulation) {
    sum.create_only |= more.create_only;
    sum.want_singleton_reported_state |= more.want_singleton_reported_state;
    sum.want_multi_wec_reported_state |= more.want_multi_wec_reported_state;
    sum.status_collectors
        .extend(more.status_collectors.iter().cloned());
}

/// What of an object counts in matching.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) labels: &'a Labels,
    /// Labels of its namespace; absent for the cluster scope and while the namespace is not known.
    pub(super) namespace_labels: Option<&'a Labels>,
}

impl Clause {
    fn read(clause: &DownsyncClause, place: &str, problems: &mut Vec<String>) -> Self {
        let mut selectors = |selectors: &[LabelSelector], field: &str| {
            (!selectors.is_empty())
                .then(|| read_selectors(selectors, &format!("{place}.{field}"), problems))
        };
        let labels = selectors(&clause.object_selectors, "objectSelectors");
        let namespace_labels = selectors(&clause.namespace_selectors, "namespaceSelectors");
        Self {
            group: clause.api_group.clone(),
            resources: criterion(&clause.resources),
            namespaces: criterion(&clause.namespaces),
            names: criterion(&clause.object_names),
            labels,
            // One selector that matches all spares the look at the namespace, and so matches
            // objects without one too.
            namespace_labels: namespace_labels
                .filter(|selectors| !selectors.iter().any(Selector::selects_all)),
            modulation: clause.modulation.clone(),
        }
    }

    /// Whether the clause means the object.
    pub(super) fn matches(&self, object: &Candidate<'_>) -> bool {
        let key = object.key;
        self.may_match_resource(&key.resource.group, &key.resource.resource)
            && holds(&self.namespaces, &key.name.namespace)
            && holds(&self.names, &key.name.name)
            && self
                .labels
                .as_ref()
                .is_none_or(|selectors| any_matches(selectors, object.labels))
            && self.namespace_labels.as_ref().is_none_or(|selectors| {
                object
                    .namespace_labels
                    .is_some_and(|labels| any_matches(selectors, labels))
            })
    }

    /// Whether objects of a resource can be meant at all.
    pub(super) fn may_match_resource(&self, group: &str, resource: &str) -> bool {
        self.group.as_ref().is_none_or(|wanted| wanted == group) && holds(&self.resources, resource)
    }

    /// Of each selector of labels, one label with its value that an object must have. `None` unless
    /// all have one.
    pub(super) fn needed_labels(&self) -> Option<Vec<(String, String)>> {
        let selectors = self.labels.as_ref()?;
        selectors.iter().map(needed_label).collect()
    }
}

fn needed_label(selector: &Selector) -> Option<(String, String)> {
    selector.clone().into_iter().find_map(|part| match part {
        Expression::Equal(key, value) => Some((key, value)),
        Expression::In(key, values) if values.len() == 1 => {
            values.into_iter().next().map(|value| (key, value))
        }
        _ => None,
    })
}

fn criterion(names: &[String]) -> Option<BTreeSet<String>> {
    let restricts = !names.is_empty() && !names.iter().any(|name| name == ALL);
    restricts.then(|| names.iter().cloned().collect())
}

fn holds(criterion: &Option<BTreeSet<String>>, name: &str) -> bool {
    criterion.as_ref().is_none_or(|names| names.contains(name))
}

fn any_matches(selectors: &[Selector], labels: &Labels) -> bool {
    selectors.iter().any(|selector| selector.matches(labels))
}

fn read_selectors(
    selectors: &[LabelSelector],
    field: &str,
    problems: &mut Vec<String>,
) -> Vec<Selector> {
    let mut read = Vec::new();
    for (index, selector) in selectors.iter().enumerate() {
        match read_selector(selector) {
            Ok(selector) => read.push(selector),
            Err(problem) => problems.push(format!("{field}[{index}] is left out: {problem}")),
        }
    }
    read
}

/// Reads a selector. The API server checks most of it; keys of `matchLabels` no schema can check.
fn read_selector(selector: &LabelSelector) -> Result<Selector, String> {
    let keys = selector.match_labels.iter().flat_map(BTreeMap::keys);
    if let Some(key) = keys.into_iter().find(|key| !is_label_key(key)) {
        return Err(format!(
            "matchLabels has the key {key:?}, which no label can have; write NAME or DOMAIN/NAME"
        ));
    }
    Selector::try_from(selector.clone()).map_err(|error| error.to_string())
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let edge = |character: char| character.is_ascii_alphanumeric();
    let inner = |character: char| edge(character) || "-_.".contains(character);
    let is_name = !name.is_empty()
        && name.len() <= 63
        && name.chars().all(inner)
        && name.starts_with(edge)
        && name.ends_with(edge);
    let is_prefix = |prefix: &str| {
        prefix.len() <= 253
            && prefix.split('.').all(|part| {
                let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                part.starts_with(edge)
                    && part.ends_with(edge)
                    && part.chars().all(|c| edge(c) || c == '-')
            })
    };
    is_name && prefix.is_none_or(is_prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::GroupResource;
    use crate::object::ObjectName;
    use serde_json::Value;
    use serde_json::json;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(own).collect()
    }

    fn policy(clauses: Value) -> Policy {
        let spec = json!({"downsync": clauses});
        Policy::read(&serde_json::from_value(spec).expect("a spec"))
    }

    /// Objects of a shop, by a short name.
    fn matched(clauses: Value) -> Vec<&'static str> {
        let objects = [
            (
                "deployment",
                "apps",
                "deployments",
                "shop",
                "web",
                labels(&[("app", "web")]),
            ),
            (
                "service",
                "",
                "services",
                "shop",
                "web",
                labels(&[("app", "web")]),
            ),
            (
                "elsewhere",
                "apps",
                "deployments",
                "other",
                "web",
                labels(&[("app", "web")]),
            ),
            (
                "namespace",
                "",
                "namespaces",
                "",
                "shop",
                labels(&[("tier", "prod")]),
            ),
            (
                "role",
                "rbac.authorization.k8s.io",
                "clusterroles",
                "",
                "web",
                labels(&[]),
            ),
        ];
        let policy = policy(clauses);
        let shop = labels(&[("tier", "prod")]);
        let mut found = Vec::new();
        for (short, group, resource, namespace, name, labels) in &objects {
            let key = ObjectKey {
                resource: GroupResource::new(*group, *resource),
                name: ObjectName::new(*namespace, *name),
            };
            let candidate = Candidate {
                key: &key,
                labels,
                namespace_labels: (*namespace == "shop").then_some(&shop),
            };
            if policy.treatment(&candidate).is_some() {
                found.push(*short);
            }
        }
        found
    }

    #[test]
    fn each_criterion_narrows_and_absent_ones_match_all() {
        let all = ["deployment", "service", "elsewhere", "namespace", "role"];
        let cases = [
            (json!([]), &[][..]),
            (json!([{"resources": ["*"]}]), &all[..]),
            (json!([{"apiGroup": ""}]), &["service", "namespace"]),
            (json!([{"apiGroup": "apps"}]), &["deployment", "elsewhere"]),
            (
                json!([{"resources": ["services", "clusterroles"]}]),
                &["service", "role"],
            ),
            (json!([{"resources": ["Services"]}]), &[]),
            (
                json!([{"namespaces": ["shop"]}]),
                &["deployment", "service"],
            ),
            (json!([{"namespaces": ["*"]}]), &all),
            (json!([{"namespaces": [""]}]), &["namespace", "role"]),
            (json!([{"objectNames": ["shop"]}]), &["namespace"]),
            (json!([{"objectNames": ["*"]}]), &all),
            (json!([{"objectSelectors": [{}]}]), &all),
            (
                json!([{"objectSelectors": [{"matchLabels": {"app": "api"}}, {"matchLabels": {"app": "web"}}]}]),
                &["deployment", "service", "elsewhere"],
            ),
            (
                json!([{"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}]}]),
                &["namespace", "role"],
            ),
            (
                json!([{"namespaceSelectors": [{"matchLabels": {"tier": "prod"}}]}]),
                &["deployment", "service"],
            ),
            (
                json!([{"namespaceSelectors": [{"matchLabels": {"tier": "prod"}}, {}]}]),
                &all,
            ),
            (
                json!([{"apiGroup": "apps", "namespaces": ["shop"]}, {"resources": ["clusterroles"]}]),
                &["deployment", "role"],
            ),
        ];
        for (clauses, expected) in cases {
            assert_eq!(matched(clauses.clone()), expected, "{clauses}");
        }
    }

    #[test]
    fn what_matching_clauses_say_adds_up() {
        let policy = policy(json!([
            {"resources": ["pods"], "createOnly": true, "statusCollectors": ["b", "a"]},
            {"resources": ["*"], "wantMultiWECReportedState": true, "statusCollectors": ["a", "c"]},
            {"resources": ["services"], "wantSingletonReportedState": true},
        ]));
        let key = ObjectKey {
            resource: GroupResource::new("", "pods"),
            name: ObjectName::new("n", "p"),
        };
        let treatment = policy.treatment(&Candidate {
            key: &key,
            labels: &Labels::new(),
            namespace_labels: None,
        });
        let expected = Modulation {
            create_only: true,
            status_collectors: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            want_singleton_reported_state: false,
            want_multi_wec_reported_state: true,
        };
        assert_eq!(treatment, Some(expected));
    }

    #[test]
    fn no_selector_means_no_wec_and_the_empty_one_all() {
        let selects = |selectors: Value, labels: &Labels| {
            let spec = json!({"clusterSelectors": selectors});
            Policy::read(&serde_json::from_value(spec).expect("a spec")).selects_cluster(labels)
        };
        let edge = labels(&[("location-group", "edge")]);
        assert!(!selects(json!([]), &edge));
        assert!(selects(json!([{}]), &Labels::new()));
        let either = json!([
            {"matchLabels": {"location-group": "core"}},
            {"matchExpressions": [{"key": "location-group", "operator": "Exists"}]},
        ]);
        assert!(selects(either.clone(), &edge));
        assert!(!selects(either, &Labels::new()));
    }

    #[test]
    fn a_selector_that_cannot_be_read_is_named_with_its_place_and_matches_nothing() {
        let policy = policy(json!([
            {"resources": ["pods"], "objectSelectors": [{}, {"matchLabels": {"-a b": "c"}}]},
        ]));
        assert_eq!(
            policy.object_problems,
            [
                "spec.downsync[0].objectSelectors[1] is left out: matchLabels has the key \"-a b\", \
                 which no label can have; write NAME or DOMAIN/NAME"
            ]
        );
        assert!(is_label_key("app.kubernetes.io/name") && is_label_key("a"));
        for wrong in ["", "/a", "a/", "A.b/c", "a/b/c", "-a"] {
            assert!(!is_label_key(wrong), "{wrong:?}");
        }
    }
}
