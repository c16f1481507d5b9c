//! Telling the hub how add-ons fare: conditions, and the driver of their credentials.

use super::Scene;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use serde_json::json;
use std::sync::Arc;

/// How often a report is written against others who write the same status at the same time. The
/// hub and each registration write once a change, so more collisions mean something is wrong.
const ATTEMPTS_MAX: usize = 8;

/// Writes the status of add-ons.
#[derive(Clone)]
pub(super) struct Reporter {
    scene: Arc<Scene>,
    addons: Arc<Cache<ManagedClusterAddOn>>,
}

impl Reporter {
    pub(super) fn new(scene: &Arc<Scene>, addons: Arc<Cache<ManagedClusterAddOn>>) -> Self {
        Self {
            scene: scene.clone(),
            addons,
        }
    }

    /// Writes one statement, and the driver if there is one to name, unless they stand already.
    pub(super) async fn say(&self, addon: &str, statement: &Statement, driver: Option<&str>) {
        let cluster = self.scene.session.identity.cluster.as_str();
        let api: Api<ManagedClusterAddOn> =
            Api::namespaced(self.scene.session.client.clone(), cluster);
        let mut known = self
            .addons
            .get_in(cluster, addon)
            .map(|seen| (*seen).clone());
        for _ in 0..ATTEMPTS_MAX {
            let Some(object) = known else { return };
            let mut all = object.status.conditions.clone();
            let now = Time(self.scene.clock.now());
            let mut status = json!({});
            if conditions::set(&mut all, statement, now) {
                status["conditions"] = json!(all);
            }
            if driver.is_some_and(|driver| driver != object.status.kube_client_driver) {
                status["kubeClientDriver"] = json!(driver);
            }
            if status == json!({}) {
                return;
            }
            let trouble = match apply::patch_status(&api, &object, status).await {
                Ok(_) => {
                    tracing::info!(
                        "add-on {addon}: {} ({})",
                        statement.message,
                        statement.reason
                    );
                    return;
                }
                Err(error) => Trouble::of(&error),
            };
            if !trouble.is_conflict() {
                tracing::warn!("reported on add-on {addon}: {trouble}");
                return;
            }
            known = match api.get_opt(addon).await {
                Ok(found) => found,
                Err(error) => {
                    let trouble = Trouble::of(&error);
                    return tracing::warn!("read add-on {addon} to report on it: {trouble}");
                }
            };
        }
        tracing::warn!(
            "reported on add-on {addon}: others changed its status {ATTEMPTS_MAX} times meanwhile"
        );
    }
}
