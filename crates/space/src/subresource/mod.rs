//! Subresources that are more than a limited view of their object.

mod binding;
mod eviction;
mod log;
pub(crate) mod review;
mod scale;
mod token;

use serde_json::Value;

use crate::core::Actor;
use crate::core::Place;
use crate::guard::Operation;
use crate::policies;
use crate::request::Verb;
use crate::resources;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;

/// Puts the body of a subresource that is created, and never stored, to the admission policies.
fn created(call: &Call, actor: &Actor, place: &Place, body: &Value) -> Result<(), Status> {
    policies::validate(&policies::Write {
        core: &call.core,
        actor,
        place,
        operation: Operation::Create,
        old: None,
        new: Some(body),
    })
}

/// Serves a verb on a subresource.
pub(crate) async fn serve(
    call: &Call,
    place: &Place,
    verb: Verb,
    bytes: &[u8],
) -> Result<Answer, Status> {
    match (place.subresource.as_str(), verb) {
        ("scale", _) => scale::serve(call, place, verb, bytes).await,
        ("log", Verb::Get) => log::serve(call, place).await,
        ("eviction", Verb::Create) => eviction::serve(call, place, bytes).await,
        ("binding", Verb::Create) => binding::serve(call, place, bytes).await,
        ("token", Verb::Create) => token::serve(call, place, bytes),
        ("exec" | "attach" | "portforward" | "proxy", _) => Err(Status::bad_request(format!(
            "{} is not available: pods of a served space are processes of its host, without a \
             network or a terminal of their own; use logs instead",
            place.subresource
        ))),
        (_, Verb::Get) => resources::get(call, place).await,
        (_, Verb::Update) => resources::update(call, place, bytes).await,
        (_, Verb::Patch) => resources::patch_object(call, place, bytes).await,
        _ => Err(Status::method_not_allowed()),
    }
}
