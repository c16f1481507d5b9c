//! The lease of one WEC: made by the hub, renewed by the agent, judged by the hub.

use super::Hub;
use super::liveness::Liveness;
use super::liveness::Renewal;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster as statements;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::labels;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde_json::json;
use std::rc::Rc;
use std::time::Duration;
use std::time::Instant;

/// Makes leases and judges by them.
pub(super) struct Leases {
    hub: Rc<Hub>,
}

impl Leases {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self { hub }
    }

    /// Makes the lease of a WEC, if there is none.
    pub(super) async fn ensure(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        let mailbox = names::mailbox(cluster);
        let leases = &self.hub.observed.leases;
        if leases.get_in(mailbox, names::LEASE).is_some() {
            return Ok(());
        }
        let api = self.api(mailbox);
        let labels = json!({labels::CLUSTER_NAME: cluster.as_str()});
        let lease = json!({
            "metadata": {"name": names::LEASE, "namespace": mailbox, "labels": labels},
            "spec": {
                "holderIdentity": names::LEASE,
                "renewTime": format!("{:.6}", Timestamp::now()),
            },
        });
        let lease: Lease =
            serde_json::from_value(lease).map_err(|error| Trouble::Other(error.to_string()))?;
        match api.create(&PostParams::default(), &lease).await {
            Ok(_) => Ok(()),
            Err(error) => match Trouble::of(&error) {
                // One made by hand lacks the label and so is not in the cache.
                Trouble::AlreadyExists(_) => {
                    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
                    let patched = api
                        .patch(names::LEASE, &PatchParams::default(), &patch)
                        .await;
                    patched.map(|_| ()).map_err(|error| Trouble::of(&error))
                }
                trouble => Err(trouble),
            },
        }
    }

    /// What to say about an agent's life and clock, and when to look again.
    pub(super) async fn judge(
        &self,
        object: &ManagedCluster,
    ) -> Result<(Option<Duration>, Vec<Statement>), Trouble> {
        let name = object.name_any();
        let duration = object.spec.effective_lease_duration_seconds();
        let sightings = &self.hub.observed.sightings;
        let judge = || sightings.judge(&name, duration, Instant::now());
        let mut liveness = judge();
        if liveness == Some(Liveness::Lost) && !is_called_lost(object) {
            // The watch may be behind, or cut without a word: nobody is called lost unheard.
            self.look(&name).await?;
            liveness = judge();
        }
        let mut said = Vec::new();
        let skip = object.annotations().get(annotations::SKIP_CLOCK_SYNC_CHECK);
        if skip.map(String::as_str) != Some("true") {
            said.extend(sightings.clock(&name));
        }
        Ok(match liveness {
            Some(Liveness::Alive(left)) => (Some(left), said),
            Some(Liveness::Lost) => {
                said.push(statements::LEASE_STOPPED);
                (None, said)
            }
            // A WEC that is leaving gets no lease any more.
            None if object.metadata.deletion_timestamp.is_some() => {
                said.push(statements::LEASE_STOPPED);
                (None, said)
            }
            None => (None, said),
        })
    }

    /// Reads the lease itself. A server that cannot be asked says nothing about an agent.
    async fn look(&self, cluster: &str) -> Result<(), Trouble> {
        let lease = self.api(cluster).get_opt(names::LEASE).await;
        let sightings = &self.hub.observed.sightings;
        if let Some(lease) = lease.map_err(|error| Trouble::of(&error))? {
            let renewal = Renewal::of(&lease);
            sightings.saw(cluster, renewal, Instant::now(), Timestamp::now());
        }
        Ok(())
    }

    fn api(&self, mailbox: &str) -> Api<Lease> {
        Api::namespaced(self.hub.client.clone(), mailbox)
    }
}

fn is_called_lost(object: &ManagedCluster) -> bool {
    let available = conditions::find(&object.status.conditions, statements::AVAILABLE);
    available.is_some_and(|condition| condition.reason == statements::LEASE_STOPPED.reason)
}
