//! An object of the WDS.

use hyades_api::control::names::labels;
use hyades_runtime::kube::api::DynamicObject;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// An object of the WDS, as far as it concerns status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its kind; empty if the server has not told.
    pub kind: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its status; null if it has none.
    pub status: Value,
    /// All of it but status and managed fields.
    pub content: Arc<Value>,
}

impl Object {
    /// Takes an object that was read in this `apiVersion`. A list says the kind of its items in its
    /// own, so that an item of one may say neither.
    pub fn of(object: DynamicObject, api_version: &str) -> Self {
        let metadata = &object.metadata;
        let kind = object.types.map(|types| types.kind).unwrap_or_default();
        let (uid, resource_version) = (metadata.uid.clone(), metadata.resource_version.clone());
        let labels = metadata.labels.clone().unwrap_or_default();
        let mut content = object.data;
        let status = content
            .as_object_mut()
            .and_then(|fields| fields.remove("status"))
            .unwrap_or_default();
        let mut metadata = object.metadata;
        metadata.managed_fields = None;
        if let Some(fields) = content.as_object_mut() {
            fields.insert("apiVersion".to_owned(), api_version.into());
            fields.insert("kind".to_owned(), kind.clone().into());
            fields.insert("metadata".to_owned(), json!(metadata));
        }
        Self {
            uid: uid.unwrap_or_default(),
            resource_version: resource_version.unwrap_or_default(),
            api_version: api_version.to_owned(),
            kind,
            labels,
            status,
            content: Arc::new(content),
        }
    }

    /// Whether it carries a label that says something about its status.
    pub fn is_marked(&self) -> bool {
        let mut marks = labels::OF_THE_WDS.iter();
        marks.any(|label| self.labels.contains_key(*label))
    }

    /// Keeps the content of a former version if only its status and what we say of that differ, so
    /// that nobody asks again about an object whose status we ourselves have written.
    pub fn keep_content_of(&mut self, former: &Self) {
        if essence(&self.content) == essence(&former.content) {
            self.content = former.content.clone();
        }
    }
}

/// An object without what a write of its status changes.
fn essence(content: &Value) -> Value {
    let mut content = content.clone();
    if let Some(metadata) = content["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        if let Some(own) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            own.retain(|label, _| !labels::OF_THE_WDS.contains(&label.as_str()));
            if own.is_empty() {
                metadata.remove("labels");
            }
        }
    }
    content
}
