//! `serviceaccounts/NAME/token`: credentials for a service account.

use crate::body;
use crate::core::Place;
use crate::negotiate;
use crate::object;
use crate::resources;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;
use crate::subresource::created;

/// Issues a token.
pub(super) fn serve(call: &Call, place: &Place, bytes: &[u8]) -> Result<Answer, Status> {
    let content_type = negotiate::content_type(&call.headers);
    let mut decoded = body::decode(content_type, bytes, "TokenRequest")?;
    body::check_type(
        "authentication.k8s.io/v1",
        "TokenRequest",
        false,
        &mut decoded.value,
    )?;
    object::metadata_mut(&mut decoded.value);
    let actor = resources::actor(call, "CreateOptions")?;
    created(call, &actor, place, &decoded.value)?;
    let answer = call
        .core
        .guard
        .request_token(&place.namespace, &place.name, decoded.value)?;
    resources::answer_value(call, 201, &answer)
}
