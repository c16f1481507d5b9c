//! `pods/NAME/eviction`: a deletion that respects disruption budgets.

use hyades_schema::selector::Selector;
use serde_json::Value;
use serde_json::json;

use crate::body;
use crate::core::Place;
use crate::delete;
use crate::delete::DeleteOptions;
use crate::names;
use crate::negotiate;
use crate::object;
use crate::read;
use crate::resources;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;
use crate::subresource::created;

/// Evicts a pod unless a budget forbids it.
pub(super) async fn serve(call: &Call, place: &Place, bytes: &[u8]) -> Result<Answer, Status> {
    let content_type = negotiate::content_type(&call.headers);
    let decoded = body::decode(content_type, bytes, "Eviction")?;
    let pod_place = place.whole();
    let pod = read::object(&call.core, &pod_place)?;
    if let Some(budget) = forbidding_budget(call, place, &pod)? {
        let message = format!(
            "Cannot evict pod as it would violate the pod's disruption budget. The disruption \
             budget {budget} allows none at present."
        );
        return Err(Status::too_many_requests(message, 10));
    }
    let stated = decoded.value.get("deleteOptions");
    let options = DeleteOptions::parse(&call.head.query, stated)?;
    let actor = resources::deleter(call, &options);
    created(call, &actor, place, &decoded.value)?;
    delete::delete(&call.core, &actor, &pod_place, &options).await?;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    resources::answer_value(call, 201, &status)
}

/// The first budget that covers the pod and allows no disruption.
fn forbidding_budget(call: &Call, place: &Place, pod: &Value) -> Result<Option<String>, Status> {
    let prefix = names::resource_prefix("policy", "poddisruptionbudgets");
    let scope = names::scope_prefix(&prefix, &place.namespace);
    let page = call
        .core
        .store
        .list(&scope, None, 0, None)
        .map_err(crate::core::store_failed)?;
    let labels = object::metadata(pod)
        .get("labels")
        .and_then(Value::as_object);
    for entry in page.entries {
        let budget = object::decode(&entry.value);
        let covers = Selector::from_label_selector(budget["spec"].get("selector"))
            .is_ok_and(|selector| selector.matches(labels));
        let allowed = budget["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
        if covers && allowed <= 0 {
            return Ok(Some(object::name(&budget).to_owned()));
        }
    }
    Ok(None)
}
