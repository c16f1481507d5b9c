//! CustomResourceDefinitions: names are accepted, and the definition established, at the write
//! itself. Upstream does both moments later in controllers; clients wait for the conditions either
//! way, here not at all.

use hyades_schema::crd;
use hyades_schema::crd::Condition;
use hyades_schema::crd::TakenNames;
use serde_json::Value;
use serde_json::json;

use crate::core::Core;
use crate::names;
use crate::object;
use crate::query;
use crate::registry::Resource;
use crate::registry::builtin_resources;
use crate::status::Status;

/// Refuses a definition of a built-in resource. Its objects would be stored among the built-in ones,
/// past their rules, and its deletion would delete them. The name of a definition holds group and
/// plural, so neither can change later.
pub(super) fn refuse_built_in(resource: &Resource, object: &Value) -> Result<(), Status> {
    let spec = &object["spec"];
    let group = spec["group"].as_str().unwrap_or_default();
    let plural = spec["names"]["plural"].as_str().unwrap_or_default();
    let prefix = names::resource_prefix(group, plural);
    let taken = builtin_resources().values().any(|present| {
        let same = present.gvr.group == group && present.gvr.resource == plural;
        same || present.prefix == prefix
    });
    if !taken {
        return Ok(());
    }
    let cause = query::forbidden(
        "spec.names.plural",
        "the resource is a built-in one of this group; choose another group",
    );
    let kind = resource.qualified_kind();
    Err(Status::invalid(kind, object::name(object), vec![cause]))
}

/// Fills in derived names and the status.
pub(super) fn prepare(core: &Core, object: &mut Value, old: Option<&Value>) {
    crd::default(object);
    // The status carried over from the old object is what names were accepted before.
    object::remove_top(object, "status");
    if let Some(old) = old {
        object::copy_top(object, old, "status");
    }
    let decision = crd::accepted_names(object, &taken_names(core, object));
    let mut conditions = object["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    set_condition(&mut conditions, "NamesAccepted", &decision.names_accepted);
    set_condition(&mut conditions, "Established", &decision.established);
    object["status"] = json!({
        "conditions": conditions,
        "acceptedNames": decision.accepted,
        "storedVersions": stored_versions(object, old),
    });
}

/// The names that other definitions of the group hold.
fn taken_names(core: &Core, object: &Value) -> TakenNames {
    let prefix = names::resource_prefix("apiextensions.k8s.io", "customresourcedefinitions");
    let mut taken = TakenNames::default();
    let Ok(page) = core.store.list(&prefix, None, 0, None) else {
        return taken;
    };
    for entry in page.entries {
        let other = object::decode(&entry.value);
        let same_group = other["spec"]["group"] == object["spec"]["group"];
        if same_group && object::name(&other) != object::name(object) {
            taken.add(&other["status"]["acceptedNames"]);
        }
    }
    taken
}

/// Sets a condition; its time moves when its truth does.
fn set_condition(conditions: &mut Vec<Value>, kind: &str, wanted: &Condition) {
    let status = if wanted.holds { "True" } else { "False" };
    let present = conditions.iter_mut().find(|it| it["type"] == kind);
    let since = match &present {
        Some(present) if present["status"] == status => present["lastTransitionTime"].clone(),
        _ => object::now().into(),
    };
    let condition = json!({
        "type": kind, "status": status, "reason": wanted.reason, "message": wanted.message,
        "lastTransitionTime": since,
    });
    match present {
        Some(present) => *present = condition,
        None => conditions.push(condition),
    }
}

/// The versions in which objects may be stored: all that ever were the storage version.
fn stored_versions(object: &Value, old: Option<&Value>) -> Vec<Value> {
    let mut stored: Vec<Value> = old
        .and_then(|old| old["status"]["storedVersions"].as_array())
        .cloned()
        .unwrap_or_default();
    let versions = object["spec"]["versions"].as_array();
    let storage = versions
        .into_iter()
        .flatten()
        .find(|version| version["storage"] == true)
        .map(|version| version["name"].clone());
    if let Some(name) = storage.filter(|name| !stored.contains(name)) {
        stored.push(name);
    }
    stored
}

/// Whether a definition's conditions say that it is served.
pub(crate) fn is_established(definition: &Value) -> bool {
    holds(definition, "Established")
}

/// Whether a definition has a condition that is true.
pub(crate) fn holds(definition: &Value, kind: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}
