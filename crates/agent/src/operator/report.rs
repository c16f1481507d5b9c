//! Writing the status of a Klusterlet.

use super::manifests::Plan;
use super::reconcile::Operator;
use super::status;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::klusterlet as known;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

impl Operator {
    /// Writes the status, if it changes.
    pub(super) async fn tell(
        &self,
        klusterlet: &Klusterlet,
        statements: Vec<Statement>,
        plan: Option<&Plan>,
    ) -> hyades_runtime::kube::Result<()> {
        let now = Time(Timestamp::now());
        let generation = klusterlet.metadata.generation;
        let mut all = klusterlet.status.conditions.clone();
        let mut changes = Map::new();
        let mut changed = false;
        for statement in statements {
            changed |= conditions::set(&mut all, &statement.observing(generation), now.clone());
        }
        if changed {
            changes.insert("conditions".to_owned(), json!(all));
        }
        let complete = conditions::is_true(&all, known::APPLIED);
        if complete && Some(klusterlet.status.observed_generation) != generation {
            changes.insert("observedGeneration".to_owned(), json!(generation));
        }
        if let Some(plan) = plan.filter(|_| complete) {
            self.add_objects(klusterlet, plan, &mut changes).await;
        }
        if changes.is_empty() {
            return Ok(());
        }
        match apply::patch_status(&self.api, klusterlet, changes).await {
            // Someone wrote the Klusterlet meanwhile; that change is in the queue, or put there.
            Err(error) if Trouble::of(&error).is_conflict() => {
                self.queue.add(klusterlet.name_any());
                Ok(())
            }
            Err(error) if Trouble::of(&error).is_not_found() => Ok(()),
            other => other.map(drop),
        }
    }

    async fn add_objects(
        &self,
        klusterlet: &Klusterlet,
        plan: &Plan,
        changes: &mut Map<String, Value>,
    ) {
        let namespaces = [plan.klusterlet_namespace(), plan.addon_namespace()];
        let deployments = plan.deployments(true);
        let objects = [
            plan.definitions(),
            namespaces.to_vec(),
            plan.managed_rights(),
            plan.addon_rights(namespaces::AGENT_ADDON).to_vec(),
            plan.management_rights(),
            deployments.clone(),
        ]
        .concat();
        let related = status::related(&objects);
        if related != klusterlet.status.related_resources {
            changes.insert("relatedResources".to_owned(), json!(related));
        }
        let Some(surroundings) = self
            .known
            .lock()
            .await
            .get(&plan.name)
            .map(|known| known.surroundings.clone())
        else {
            return;
        };
        let live = |object: &Value| {
            let name = object.pointer("/metadata/name").and_then(Value::as_str)?;
            let deployment = surroundings.deployments.get_in(&plan.namespace, name)?;
            Some(status::generation(
                &plan.namespace,
                name,
                deployment.metadata.generation.unwrap_or_default(),
            ))
        };
        let generations: Vec<_> = deployments.iter().filter_map(live).collect();
        if generations != klusterlet.status.generations {
            changes.insert("generations".to_owned(), json!(generations));
        }
    }
}
