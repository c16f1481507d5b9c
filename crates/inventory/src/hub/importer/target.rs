//! The cluster that gets an agent.

use super::Refusal;
use super::refusal;
use hyades_api::names;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::apply::ApplyError;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use serde_json::Value;
use std::time::Duration;

/// The field manager of what the importer applies; it knows an agent of its own by it.
const FIELD_MANAGER: &str = "hyades-importer";

/// A definition is served a moment after it is made: so often and so long an object of it is tried.
const DEFINITION_TRIES: usize = 50;

/// The pause between two tries.
const DEFINITION_PAUSE: Duration = Duration::from_millis(100);

/// Checks that nobody else has put an agent into the cluster.
pub(super) async fn check(target: &Client) -> Result<(), Refusal> {
    let api = Api::<Klusterlet>::all(target.clone());
    let klusterlet = match api.get(names::KLUSTERLET).await {
        Ok(klusterlet) => klusterlet,
        Err(error) => match Trouble::of(&error) {
            // Neither an agent nor, perhaps, its definition.
            Trouble::NotFound(_) => return Ok(()),
            trouble => {
                let message = format!("looked for an agent in the cluster: {trouble}");
                return Err(refusal("ImportFailed", message));
            }
        },
    };
    let mut writers = klusterlet.metadata.managed_fields.iter().flatten();
    match writers.any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER)) {
        true => Ok(()),
        false => {
            let message = format!(
                "the cluster has an agent already, for the name {:?}; take it out with \
                 'clusteradm unjoin', or join with it",
                klusterlet.spec.cluster_name
            );
            Err(refusal("ImportFailed", message))
        }
    }
}

/// Applies the objects in their order.
pub(super) async fn install(target: &Client, objects: &[Value]) -> Result<(), Refusal> {
    for object in objects {
        let applied = install_one(target, object).await;
        applied.map_err(|error| refusal("ImportFailed", error.to_string()))?;
    }
    Ok(())
}

async fn install_one(target: &Client, object: &Value) -> Result<(), ApplyError> {
    let mut tries = 1;
    loop {
        match apply::ensure(target, FIELD_MANAGER, object).await {
            Err(ApplyError::Refused { trouble, .. })
                if trouble.is_not_found() && tries < DEFINITION_TRIES =>
            {
                tries += 1;
                tokio::time::sleep(DEFINITION_PAUSE).await;
            }
            other => return other.map(drop),
        }
    }
}
