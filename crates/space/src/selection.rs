//! Which objects of a collection a request selects: label and field selectors together.

use hyades_schema::selector::FieldSelector;
use hyades_schema::selector::Selector;
use serde_json::Value;

use crate::core::Place;
use crate::names;
use crate::object;
use crate::query::Query;
use crate::registry::Origin;
use crate::registry::Resource;
use crate::status::Status;

/// Fields that built-in kinds can be selected by, beside name and namespace.
const FIELDS: &[(&str, &str, &[&str])] = &[
    (
        "",
        "pods",
        &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
    ),
    ("", "nodes", &["spec.unschedulable"]),
    ("", "namespaces", &["status.phase"]),
    ("", "secrets", &["type"]),
    ("", "services", &["spec.clusterIP", "spec.type"]),
    ("", "replicationcontrollers", &["status.replicas"]),
    ("apps", "replicasets", &["status.replicas"]),
    ("batch", "jobs", &["status.successful"]),
    (
        "certificates.k8s.io",
        "certificatesigningrequests",
        &["spec.signerName"],
    ),
    ("", "events", EVENT_FIELDS),
    ("events.k8s.io", "events", EVENT_FIELDS),
];

const EVENT_FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    labels: Option<Selector>,
    fields: FieldSelector,
}

impl Selection {
    /// Parses a label selector alone.
    pub(crate) fn labels(selector: &str) -> Result<Selection, Status> {
        let parsed =
            Selector::parse(selector).map_err(|error| Status::bad_request(error.to_string()))?;
        Ok(Selection {
            labels: Some(parsed).filter(|selector| !selector.is_everything()),
            fields: FieldSelector::default(),
        })
    }

    /// Parses a request's selectors.
    pub(crate) fn parse(resource: &Resource, query: &Query) -> Result<Selection, Status> {
        let mut selection = Selection::labels(query.first("labelSelector").unwrap_or_default())?;
        selection.fields = FieldSelector::parse(query.first("fieldSelector").unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        for term in &selection.fields.terms {
            check_field(resource, &term.field)?;
        }
        Ok(selection)
    }

    /// Pins the selection to one name.
    pub(crate) fn pin_name(&mut self, name: &str) {
        self.fields.terms.push(hyades_schema::selector::FieldTerm {
            field: "metadata.name".to_owned(),
            value: name.to_owned(),
            equal: true,
        });
    }

    /// Whether it selects everything.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_everything()
    }

    /// The key of the only object it can select in a place, if it pins the name of one.
    pub(crate) fn key(&self, place: &Place) -> Option<String> {
        let across = place.resource.namespaced && place.namespace.is_empty();
        let name = self.fields.exact("metadata.name").filter(|_| !across)?;
        // A name with a slash is no name, and would lead to another place of the store.
        (!name.is_empty() && !name.contains('/'))
            .then(|| place.resource.key(&place.namespace, name))
    }

    /// Whether it selects the object stored at a key.
    pub(crate) fn matches(&self, key: &str, bytes: &[u8]) -> bool {
        if self.is_everything() {
            return true;
        }
        if let Some(labels) = &self.labels {
            let glance = object::glance(bytes);
            let label = |name: &str| glance.metadata.labels.get(name).map(AsRef::as_ref);
            if !labels.matches_with(label) {
                return false;
            }
        }
        self.fields.is_everything() || self.matches_fields(key, bytes)
    }

    fn matches_fields(&self, key: &str, bytes: &[u8]) -> bool {
        let (namespace, name) = names::split_key(key).unwrap_or_default();
        let by_key = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
        let decoded = if self.fields.terms.iter().all(|term| by_key(&term.field)) {
            Value::Null
        } else {
            object::decode(bytes)
        };
        self.fields.terms.iter().all(|term| {
            let value = match term.field.as_str() {
                "metadata.name" => name.to_owned(),
                "metadata.namespace" => namespace.to_owned(),
                field => field_text(&decoded, field),
            };
            (value == term.value) == term.equal
        })
    }
}

/// A field's value as selectors compare it; absent is empty.
fn field_text(object: &Value, field: &str) -> String {
    let place = match field {
        "source" => "source.component",
        "status.successful" => "status.succeeded",
        other => other,
    };
    let value = place
        .split('.')
        .filter(|part| !part.is_empty())
        .try_fold(object, |value, part| value.get(part));
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(truth)) => truth.to_string(),
        Some(Value::Number(number)) => number.to_string(),
        // What the selectable fields of built-in kinds mean when they are absent.
        _ if matches!(field, "spec.unschedulable" | "spec.hostNetwork") => "false".to_owned(),
        _ if matches!(field, "status.replicas" | "status.successful") => "0".to_owned(),
        _ => String::new(),
    }
}

fn check_field(resource: &Resource, field: &str) -> Result<(), Status> {
    if matches!(field, "metadata.name" | "metadata.namespace") {
        return Ok(());
    }
    let unsupported = || Status::bad_request(format!("field label not supported: {field}"));
    match &resource.origin {
        Origin::Custom(version) => {
            let known = version
                .compiled
                .selectable_fields
                .iter()
                .any(|path| path.trim_start_matches('.') == field);
            if known { Ok(()) } else { Err(unsupported()) }
        }
        Origin::Builtin(kind) => {
            let row = FIELDS
                .iter()
                .find(|(group, plural, _)| *group == kind.group && *plural == kind.plural);
            match row {
                Some((_, _, fields)) if fields.contains(&field) => Ok(()),
                Some(_) => Err(unsupported()),
                None => Err(Status::bad_request(format!(
                    "\"{field}\" is not a known field selector: only \"metadata.name\", \
                     \"metadata.namespace\""
                ))),
            }
        }
    }
}
