//! Applying what a Klusterlet asks for, to the WEC and to where the agents' pods run.

use super::cleanup;
use super::hosted;
use super::manifests::Plan;
use super::reconcile::Known;
use super::reconcile::MANAGER;
use super::reconcile::Operator;
use super::reconcile::RESYNC;
use super::status::Applied;
use super::surroundings::Surroundings;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::apply::ApplyError;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Instant;

/// What was applied for a Klusterlet.
#[derive(Debug)]
pub(super) struct Done {
    generation: i64,
    /// The Klusterlet's labels on what was applied.
    inherited: BTreeMap<String, String>,
    at: Instant,
    /// Namespaces that are marked as namespaces of add-ons and have what belongs there.
    served: BTreeSet<String>,
}

impl Operator {
    /// Applies what is not there yet.
    pub(super) async fn apply(
        &self,
        klusterlet: &Klusterlet,
        plan: &Plan,
        managed: &Client,
        around: &Surroundings,
    ) -> Applied {
        let namespace = around.namespace.get(&plan.namespace);
        let seen = namespace_state(namespace.as_deref(), klusterlet);
        if seen == Seen::Unwanted {
            if let Some(known) = self.known.lock().await.get_mut(&plan.name) {
                known.applied = None;
            }
            return Applied::Uninstalled {
                namespace: plan.namespace.clone(),
            };
        }
        let wanting = self.addon_namespaces(plan).await;
        let generation = klusterlet.metadata.generation.unwrap_or_default();
        let (is_current, left) = match self.known.lock().await.get(&plan.name) {
            Some(Known {
                applied: Some(done),
                ..
            }) => (
                done.generation == generation
                    && done.inherited == plan.inherited
                    && done.at.elapsed() < RESYNC
                    && done.served == wanting,
                done.served.difference(&wanting).cloned().collect(),
            ),
            _ => (false, BTreeSet::new()),
        };
        if !is_current || seen == Seen::Missing {
            let applied = self
                .apply_foundation(klusterlet, plan, managed, &wanting)
                .await;
            if let Err(failure) = applied {
                return failure;
            }
            for namespace in &left {
                let rights = plan.addon_rights(namespace);
                if let Err(error) = cleanup::remove(managed, &rights).await {
                    let reason = "ManagedClusterResourceApplyFailed";
                    let message = error.to_string();
                    return Applied::Failed { reason, message };
                }
            }
            if let Some(known) = self.known.lock().await.get_mut(&plan.name) {
                known.applied = Some(Done {
                    generation,
                    inherited: plan.inherited.clone(),
                    at: Instant::now(),
                    served: wanting,
                });
            }
        }
        if let Some(external) = around.external(&plan.namespace) {
            let result = hosted::ensure_kubeconfigs(&self.client, managed, plan, &external).await;
            if let Err(message) = result {
                let reason = "ManagementClusterResourceApplyFailed";
                return Applied::Failed { reason, message };
            }
        }
        let has_credentials = around
            .hub
            .get_in(&plan.namespace, names::HUB_KUBECONFIG_SECRET)
            .is_some();
        match self.apply_deployments(plan, has_credentials).await {
            Ok(()) => Applied::Complete,
            Err(error) => failed("KlusterletApplyFailed", &error),
        }
    }

    /// Definitions, namespaces and rights, in this order; what is independent at once.
    async fn apply_foundation(
        &self,
        klusterlet: &Klusterlet,
        plan: &Plan,
        managed: &Client,
        wanting: &BTreeSet<String>,
    ) -> Result<(), Applied> {
        let in_wec = |error| failed("ManagedClusterResourceApplyFailed", &error);
        let here = |error| failed("ManagementClusterResourceApplyFailed", &error);
        ensure_all(managed, &plan.definitions())
            .await
            .map_err(|error| failed("CRDApplyFailed", &error))?;
        ensure_all(managed, &[plan.klusterlet_namespace()])
            .await
            .map_err(in_wec)?;
        if plan.mode.is_hosted() {
            ensure_all(&self.client, &[plan.agent_namespace()])
                .await
                .map_err(here)?;
        }
        // As with the agent's namespace: once made, its deletion by hand is respected.
        if !is_observed(klusterlet) {
            ensure_all(managed, &[plan.addon_namespace()])
                .await
                .map_err(in_wec)?;
        }
        // Without one the operator's own image needs none, and neither does the agents'.
        if let Some(secret) = self.pull_secret().await.map_err(here)? {
            let copy = |namespace| copy_of(&secret, namespace, plan);
            ensure_all(&self.client, &[copy(plan.namespace.as_str())])
                .await
                .map_err(here)?;
            let copies: Vec<_> = wanting.iter().map(|name| copy(name.as_str())).collect();
            ensure_all(managed, &copies).await.map_err(in_wec)?;
        }
        ensure_all(managed, &plan.managed_rights())
            .await
            .map_err(in_wec)?;
        let marked = wanting.iter().map(String::as_str);
        for namespace in marked.chain([namespaces::AGENT_ADDON]) {
            match ensure_all(managed, &plan.addon_rights(namespace)).await {
                // Whoever deleted a namespace of add-ons wants none there.
                Err(error) if lacks_namespace(&error) => {}
                applied => applied.map_err(in_wec)?,
            }
        }
        ensure_all(&self.client, &plan.management_rights())
            .await
            .map_err(here)?;
        Ok(())
    }

    async fn apply_deployments(
        &self,
        plan: &Plan,
        has_credentials: bool,
    ) -> Result<(), ApplyError> {
        ensure_all(&self.client, &plan.deployments(has_credentials)).await?;
        for name in plan.foreign_deployments() {
            apply::ensure_absent(&self.client, &cleanup::deployment(&plan.namespace, &name)?)
                .await?;
        }
        Ok(())
    }

    /// What the operator itself pulls its image with.
    async fn pull_secret(&self) -> Result<Option<Secret>, ApplyError> {
        let (namespace, name) = (namespaces::OPERATOR, names::IMAGE_PULL_SECRET);
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(name).await;
        found.map_err(|error| ApplyError::Refused {
            kind: "copies of Secret".to_owned(),
            name: format!("{namespace}/{name}"),
            trouble: Trouble::of(&error),
        })
    }
}

/// The same credentials for pulling images, for another namespace.
fn copy_of(secret: &Secret, namespace: &str, plan: &Plan) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names::IMAGE_PULL_SECRET, "namespace": namespace, "labels": plan.labels(),
        },
        "type": secret.type_,
        "data": secret.data,
    })
}

async fn ensure_all(client: &Client, objects: &[Value]) -> Result<(), ApplyError> {
    let ensuring = objects
        .iter()
        .map(|object| apply::ensure_with_labels(client, MANAGER, object));
    for result in futures::future::join_all(ensuring).await {
        result?;
    }
    Ok(())
}

/// Whether an object was refused because its namespace is gone or going.
fn lacks_namespace(error: &ApplyError) -> bool {
    match error {
        ApplyError::Refused { trouble, .. } => match trouble {
            Trouble::NotFound(_) => true,
            Trouble::Forbidden(detail) => detail.contains("being terminated"),
            _ => false,
        },
        ApplyError::Incomplete(_) => false,
    }
}

fn failed(reason: &'static str, error: &ApplyError) -> Applied {
    Applied::Failed {
        reason,
        message: error.to_string(),
    }
}

/// Whether the Klusterlet was followed completely as it is now.
fn is_observed(klusterlet: &Klusterlet) -> bool {
    klusterlet.metadata.generation == Some(klusterlet.status.observed_generation)
}

/// What the agent's namespace tells.
#[derive(Debug, PartialEq)]
enum Seen {
    /// It is there.
    Present,
    /// It is not there yet, and shall be made.
    Missing,
    /// It is being deleted, or was deleted after it had been made.
    Unwanted,
}

fn namespace_state(namespace: Option<&Namespace>, klusterlet: &Klusterlet) -> Seen {
    match namespace {
        Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => Seen::Unwanted,
        Some(_) => Seen::Present,
        None if is_observed(klusterlet) => Seen::Unwanted,
        None => Seen::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::manifests::tests::klusterlet;
    use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use jiff::Timestamp;

    #[test]
    fn a_namespace_deleted_by_hand_is_not_made_again() {
        let mut object = klusterlet(json!({}));
        object.metadata.generation = Some(2);
        assert_eq!(
            namespace_state(None, &object),
            Seen::Missing,
            "never applied"
        );
        object.status.observed_generation = 2;
        assert_eq!(
            namespace_state(None, &object),
            Seen::Unwanted,
            "deleted since"
        );
        let mut namespace = Namespace::default();
        assert_eq!(
            namespace_state(Some(&namespace), &object),
            Seen::Present,
            "joined again"
        );
        namespace.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(
            namespace_state(Some(&namespace), &object),
            Seen::Unwanted,
            "being deleted"
        );
        object.metadata.generation = Some(3);
        assert_eq!(
            namespace_state(None, &object),
            Seen::Missing,
            "the spec asks anew"
        );
    }
}
