//! `scale`: how many replicas there are and should be, the same for every kind that has them.

use serde_json::Value;
use serde_json::json;

use crate::body;
use crate::core::Actor;
use crate::core::Place;
use crate::guard::Operation;
use crate::negotiate;
use crate::object;
use crate::patch;
use crate::patch::Patch;
use crate::policies;
use crate::read;
use crate::registry::Origin;
use crate::request::Verb;
use crate::resources;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;
use crate::write;

/// Serves a verb on `scale`.
pub(super) async fn serve(
    call: &Call,
    place: &Place,
    verb: Verb,
    bytes: &[u8],
) -> Result<Answer, Status> {
    let paths = Paths::of(place);
    let main = place.whole();
    let written = match verb {
        Verb::Get => {
            let object = read::object(&call.core, &main)?;
            paths.check(&object)?;
            return resources::answer_value(call, 200, &paths.scale(&object));
        }
        Verb::Update => {
            let content_type = negotiate::content_type(&call.headers);
            let mut decoded = body::decode(content_type, bytes, "Scale")?;
            body::check_type("autoscaling/v1", "Scale", false, &mut decoded.value)?;
            write::check_name(place, &decoded.value)?;
            let actor = resources::actor(call, "UpdateOptions")?;
            set(call, &actor, place, &paths, |_| Ok(decoded.value.clone())).await?
        }
        Verb::Patch => {
            let patch = resources::decode_patch(call, &main, bytes)?;
            if matches!(patch, Patch::Apply(_)) {
                let message = "server-side apply is not available for scale; apply the object";
                return Err(Status::bad_request(message));
            }
            let actor = resources::actor(call, "PatchOptions")?;
            let apply = |scale: &Value| patch::patched(place, scale, &patch);
            set(call, &actor, place, &paths, apply).await?
        }
        _ => return Err(Status::method_not_allowed()),
    };
    resources::answer_value(call, 200, &paths.scale(&written))
}

async fn set(
    call: &Call,
    actor: &Actor,
    place: &Place,
    paths: &Paths,
    change: impl Fn(&Value) -> Result<Value, Status> + Send + Sync,
) -> Result<Value, Status> {
    let written = write::update(&call.core, actor, place, |current| {
        let old = paths.scale(current);
        let scale = change(&old)?;
        policies::validate(&policies::Write {
            core: &call.core,
            actor,
            place,
            operation: Operation::Update,
            old: Some(&old),
            new: Some(&scale),
        })?;
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        let mut new = current.clone();
        put(&mut new, &paths.spec, replicas.into());
        let version = object::resource_version(&scale);
        if !version.is_empty() {
            object::set(&mut new, "resourceVersion", version.into());
        }
        Ok(new)
    })
    .await?;
    Ok(written.value())
}

/// Where an object keeps its replicas: field names from the top.
#[derive(Debug)]
struct Paths {
    spec: Vec<String>,
    status: Vec<String>,
    /// Where the selector stands as text; built-in kinds have it as an object in the spec.
    selector: Option<Vec<String>>,
    custom: bool,
    spec_text: String,
}

impl Paths {
    fn of(place: &Place) -> Paths {
        let split = |path: &str| -> Vec<String> {
            path.split('.')
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect()
        };
        match &place.resource.origin {
            Origin::Custom(version) if let Some(scale) = &version.compiled.scale => Paths {
                spec: split(&scale.spec_replicas_path),
                status: split(&scale.status_replicas_path),
                selector: scale.label_selector_path.as_deref().map(split),
                custom: true,
                spec_text: scale.spec_replicas_path.clone(),
            },
            _ => Paths {
                spec: split("spec.replicas"),
                status: split("status.replicas"),
                selector: None,
                custom: false,
                spec_text: ".spec.replicas".to_owned(),
            },
        }
    }

    /// A custom resource without replicas has no scale.
    fn check(&self, object: &Value) -> Result<(), Status> {
        if self.custom && at(object, &self.spec).is_none() {
            let path = &self.spec_text;
            let why = format!("the spec replicas field \"{path}\" does not exist");
            return Err(Status::internal(&why));
        }
        Ok(())
    }

    fn scale(&self, object: &Value) -> Value {
        let number = |path: &[String]| at(object, path).and_then(Value::as_i64).unwrap_or(0);
        let mut metadata = json!({});
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        ] {
            if let Some(value) = object::metadata(object).get(field) {
                metadata[field] = value.clone();
            }
        }
        let mut scale = json!({
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
            "spec": {"replicas": number(&self.spec)},
            "status": {"replicas": number(&self.status)},
        });
        if number(&self.spec) == 0 {
            object::remove_top(&mut scale["spec"], "replicas");
        }
        let selector = match &self.selector {
            Some(path) => at(object, path)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            None => selector_text(&object["spec"]["selector"]),
        };
        if !selector.is_empty() {
            scale["status"]["selector"] = selector.into();
        }
        scale
    }
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, part| value.get(part))
}

fn put(object: &mut Value, path: &[String], value: Value) {
    let mut place = object;
    for part in path {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part.as_str()];
    }
    *place = value;
}

/// A selector object as text.
fn selector_text(selector: &Value) -> String {
    let labels = selector["matchLabels"].as_object().or_else(|| {
        selector
            .as_object()
            .filter(|map| map.values().all(Value::is_string))
    });
    let mut terms: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    let expressions = selector["matchExpressions"].as_array();
    for expression in expressions.into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let values = values.join(",");
        terms.push(match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    terms.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_print_as_text() {
        let selector = json!({
            "matchLabels": {"app": "d1"},
            "matchExpressions": [{"key": "x", "operator": "In", "values": ["a", "b"]}],
        });
        assert_eq!(selector_text(&selector), "app=d1,x in (a,b)");
        assert_eq!(selector_text(&json!({"app": "d1"})), "app=d1");
        assert_eq!(selector_text(&Value::Null), "");
    }
}
