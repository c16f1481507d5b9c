//! Which writes a policy or binding is about.

use std::sync::Arc;

use hyades_schema::selector::Selector;
use serde_json::Value;

use super::Write;
use super::definition::selector;
use crate::guard::Operation;
use crate::names::Gvr;
use crate::object;
use crate::registry::Resource;

/// `MatchResources`.
#[derive(Debug)]
pub(super) struct MatchResources {
    namespaces: Selector,
    objects: Selector,
    rules: Vec<Rule>,
    excluded: Vec<Rule>,
    /// Whether a rule about one version of a resource is about that version only.
    exact: bool,
}

/// `NamedRuleWithOperations`.
#[derive(Debug)]
struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    scope: String,
}

impl MatchResources {
    pub(super) fn read(stated: &Value) -> MatchResources {
        let rules = |field: &str| {
            let rules = stated[field].as_array().into_iter().flatten();
            rules.map(Rule::read).collect()
        };
        let selected = |field: &str| selector(&stated[field]).unwrap_or_default();
        MatchResources {
            namespaces: selected("namespaceSelector"),
            objects: selected("objectSelector"),
            rules: rules("resourceRules"),
            excluded: rules("excludeResourceRules"),
            exact: stated["matchPolicy"] == "Exact",
        }
    }

    /// The resources whose writes can match, or `None` for any.
    pub(super) fn resource_names(&self) -> Option<Vec<&str>> {
        if self.rules.is_empty() {
            return None;
        }
        let stated = self.rules.iter().flat_map(|rule| &rule.resources);
        let names = stated.map(|resource| {
            let name = resource
                .split_once('/')
                .map_or(&**resource, |(name, _)| name);
            Some(name).filter(|name| *name != "*")
        });
        names.collect()
    }

    /// The version of its resource in which the write matches, if it does.
    pub(super) fn matches(&self, write: &Write<'_>) -> Option<Arc<Resource>> {
        if !self.selects_namespace(write) || !self.selects_object(write) {
            return None;
        }
        if self.by_rules(&self.excluded, write).is_some() {
            return None;
        }
        if self.rules.is_empty() {
            return Some(Arc::clone(&write.place.resource));
        }
        self.by_rules(&self.rules, write)
    }

    fn by_rules(&self, rules: &[Rule], write: &Write<'_>) -> Option<Arc<Resource>> {
        let own = &write.place.resource;
        let mut about: Vec<&Rule> = rules.iter().collect();
        about.retain(|rule| rule.is_about(write));
        if about.iter().any(|rule| rule.covers(&own.gvr)) {
            return Some(Arc::clone(own));
        }
        if self.exact || about.is_empty() {
            return None;
        }
        // The same objects, as another version or group serves them.
        let alike = write.core.registry.all().into_iter();
        let mut alike = alike.filter(|resource| resource.prefix == own.prefix);
        alike.find(|resource| about.iter().any(|rule| rule.covers(&resource.gvr)))
    }

    fn selects_namespace(&self, write: &Write<'_>) -> bool {
        if self.namespaces.is_everything() {
            return true;
        }
        let labels = |object: Option<&Value>| {
            let labels = object.and_then(|object| object["metadata"]["labels"].as_object());
            self.namespaces.matches(labels)
        };
        if write.place.resource.is(&Gvr::NAMESPACES) {
            return labels(write.new.or(write.old));
        }
        if write.place.namespace.is_empty() {
            return true;
        }
        let Some(entry) = write.core.namespace(&write.place.namespace) else {
            return labels(None);
        };
        let seen = object::glance(&entry.value);
        self.namespaces
            .matches_with(|key| seen.metadata.labels.get(key).map(AsRef::as_ref))
    }

    fn selects_object(&self, write: &Write<'_>) -> bool {
        if self.objects.is_everything() {
            return true;
        }
        let selects = |object: &Value| {
            self.objects
                .matches(object["metadata"]["labels"].as_object())
        };
        [write.old, write.new].into_iter().flatten().any(selects)
    }
}

impl Rule {
    fn read(stated: &Value) -> Rule {
        let texts = |field: &str| {
            let items = stated[field].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            scope: stated["scope"].as_str().unwrap_or("*").to_owned(),
        }
    }

    /// Whether the rule is about such a write, whatever the group and version of its resource.
    fn is_about(&self, write: &Write<'_>) -> bool {
        let place = write.place;
        let namespaced = !place.namespace.is_empty();
        let in_scope = match self.scope.as_str() {
            "Namespaced" => namespaced,
            "Cluster" => !namespaced,
            _ => true,
        };
        let named = self.names.is_empty() || self.names.contains(&place.name);
        in_scope
            && named
            && any(&self.operations, write.operation_name())
            && self.resources.iter().any(|stated| {
                let (resource, subresource) = stated.split_once('/').unwrap_or((stated, ""));
                (resource == "*" || resource == place.resource.gvr.resource)
                    && (subresource == "*" || subresource == place.subresource)
            })
    }

    fn covers(&self, gvr: &Gvr) -> bool {
        any(&self.groups, &gvr.group) && any(&self.versions, &gvr.version)
    }
}

fn any(stated: &[String], wanted: &str) -> bool {
    stated.iter().any(|item| item == "*" || item == wanted)
}

/// Whether no policy may be about the write. Reviews are questions and not writes; policies about
/// policies could lock everybody out of them.
pub(super) fn is_exempt(write: &Write<'_>) -> bool {
    const POLICIES: [&str; 4] = [
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ];
    let gvr = &write.place.resource.gvr;
    gvr.group == super::index::GROUP && POLICIES.contains(&&*gvr.resource)
}

/// Whether mutating policies may be about the write.
pub(super) fn can_mutate(write: &Write<'_>) -> bool {
    write.operation != Operation::Delete && !is_exempt(write)
}
