//! Reviews: questions that are answered and not stored.

use serde_json::Value;

use crate::body;
use crate::core::Place;
use crate::negotiate;
use crate::object;
use crate::request::Verb;
use crate::resources;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;

/// Answers a review; kinds that are neither stored nor reviews have nothing to list.
pub(crate) fn serve(
    call: &Call,
    place: &Place,
    verb: Verb,
    bytes: &[u8],
) -> Result<Answer, Status> {
    let resource = &place.resource;
    match verb {
        Verb::Create => {
            let content_type = negotiate::content_type(&call.headers);
            let mut decoded = body::decode(content_type, bytes, &resource.kind)?;
            body::check_kind(resource, &mut decoded.value)?;
            let body = with_metadata(place, decoded.value);
            let answer =
                call.core
                    .guard
                    .review(&resource.gvr, &place.namespace, &call.user, body)?;
            resources::answer_value(call, 201, &answer)
        }
        Verb::List => {
            let list = serde_json::json!({
                "kind": resource.list_kind, "apiVersion": resource.api_version(),
                "metadata": {}, "items": [],
            });
            resources::answer_value(call, 200, &list)
        }
        Verb::Get => Err(Status::not_found(resource.qualified(), &place.name)),
        _ => Err(Status::method_not_allowed()),
    }
}

/// Answers always carry metadata; a namespaced review's names its namespace.
fn with_metadata(place: &Place, mut body: Value) -> Value {
    object::metadata_mut(&mut body);
    if !place.namespace.is_empty() {
        object::set(&mut body, "namespace", place.namespace.clone().into());
    }
    body
}
