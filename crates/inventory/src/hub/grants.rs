//! Writing the mailbox and the rights of one WEC, and not writing them when they stand.

mod objects;

use super::Hub;
use super::joining;
use super::pins;
use super::pins::Heir;
use super::pins::Pin;
use super::requests;
use super::requests::FirstApproved;
use super::rights::Grant;
use super::rights::Holder;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as types;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::labels;
use hyades_runtime::Trouble;
use hyades_runtime::apply::Address;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use objects::Applied;
use objects::OBJECTS;
use serde_json::Value;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// Who holds the rights of a mailbox, and what is to be written for it.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) holder: Holder,
    /// The pin that is to be written, if one is.
    pin: Option<Pin>,
    /// Whether the mailbox exists, as far as is known.
    exists: bool,
    /// Metadata to write.
    write: Option<Value>,
}

/// Writes mailboxes and rights.
pub(super) struct Grants {
    hub: Rc<Hub>,
    applied: RefCell<HashMap<ClusterName, Applied<Grant, OBJECTS>>>,
    common: RefCell<Option<Applied<(), 2>>>,
    /// Pins written and not yet shown by the cache.
    pinned: RefCell<HashMap<ClusterName, Pin>>,
}

impl Grants {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self {
            hub,
            applied: RefCell::default(),
            common: RefCell::default(),
            pinned: RefCell::default(),
        }
    }

    /// Finds out who holds the rights of a mailbox, and what must be written into it: a pin, if an
    /// agent has earned the name, was handed it, or has it by another key now.
    pub(super) async fn plan(
        &self,
        cluster: &ClusterName,
        object: &ManagedCluster,
    ) -> Result<Plan, Trouble> {
        let mailbox = self.hub.observed.mailboxes.get(cluster.as_str());
        let meta = mailbox.as_deref().map(|mailbox| &mailbox.metadata);
        if let Some(pin) = self.pin(cluster, meta) {
            let heir = meta.and_then(|meta| pins::heir(meta, Timestamp::now()));
            return Ok(match self.inherited(cluster, &pin, heir.as_ref()) {
                Some(pin) => self.plan_pin(cluster, true, pin),
                None => {
                    self.hub.release_settled(cluster);
                    self.plan_key(cluster, meta.is_some(), pin)
                }
            });
        }
        if let Some(pin) = self.hub.orphaned_pin(cluster) {
            return Ok(self.plan_pin(cluster, meta.is_some(), pin));
        }
        if let Some(pin) = self.earned(cluster).await? {
            return Ok(self.plan_pin(cluster, meta.is_some(), pin));
        }
        let rule = rights_go_to(meta, object);
        let stands =
            meta.is_some_and(|meta| annotation(meta, annotations::RIGHTS_GO_TO) == Some(rule));
        Ok(Plan {
            holder: match rule {
                annotations::RIGHTS_TO_GROUP => Holder::Group,
                _ => Holder::Nobody,
            },
            pin: None,
            exists: meta.is_some(),
            write: (!stands).then(|| {
                json!({
                    "labels": {labels::CLUSTER_NAME: cluster.as_str()},
                    "annotations": {annotations::RIGHTS_GO_TO: rule},
                })
            }),
        })
    }

    /// The pin as last written, or else as the cache shows it.
    fn pin(&self, cluster: &ClusterName, mailbox: Option<&ObjectMeta>) -> Option<Pin> {
        let shown = mailbox.and_then(pins::read);
        let mut written = self.pinned.borrow_mut();
        if shown.is_some() && written.get(cluster) == shown.as_ref() {
            written.remove(cluster);
        }
        written.get(cluster).cloned().or(shown)
    }

    fn plan_pin(&self, cluster: &ClusterName, exists: bool, pin: Pin) -> Plan {
        let mut marks = pins::annotations_of(&pin, Timestamp::now());
        marks[annotations::RIGHTS_GO_TO] = json!(annotations::RIGHTS_TO_PINNED_AGENT);
        if let Some(invitation) = self.hub.invitation_of(cluster) {
            marks[annotations::JOINED_BY_RULE] = json!(invitation.rule);
        }
        if exists {
            // Whoever has the name now, nobody is to get it any more.
            marks[annotations::HAND_OVER_TO] = Value::Null;
            marks[annotations::HAND_OVER_TO_KEY] = Value::Null;
            marks[annotations::HAND_OVER_UNTIL] = Value::Null;
        }
        Plan {
            holder: Holder::Pinned(pin.agent.clone()),
            pin: Some(pin),
            exists,
            write: Some(json!({
                "labels": {labels::CLUSTER_NAME: cluster.as_str()},
                "annotations": marks,
            })),
        }
    }

    /// What a renewal changes: the name belongs to the key of the owner's newest certificate, and to
    /// a former one no longer.
    fn plan_key(&self, cluster: &ClusterName, exists: bool, pin: Pin) -> Plan {
        let holder = Holder::Pinned(pin.agent.clone());
        let requests = self.hub.observed.requests_of(cluster.as_str());
        let newest = requests::newest_key(&requests, &pin.agent);
        let newest = newest.filter(|key| exists && *key != pin.key_sha256);
        let pin = newest.map(|key_sha256| Pin { key_sha256, ..pin });
        let key = |pin: &Pin| json!({"annotations": {annotations::PINNED_KEY: pin.key_sha256}});
        Plan {
            holder,
            exists,
            write: pin.as_ref().map(key),
            pin,
        }
    }

    /// The pin of the agent that an administrator handed the name over to, once a request of that
    /// agent is approved.
    fn inherited(&self, cluster: &ClusterName, pin: &Pin, heir: Option<&Heir>) -> Option<Pin> {
        let heir = heir.filter(|heir| heir.common_name != pin.agent.common_name())?;
        let claim = self.hub.claim_of(cluster).filter(|claim| {
            claim.is_approved && heir.is(&claim.owner.agent, &claim.owner.key_sha256)
        });
        if let Some(claim) = claim {
            return Some(Pin {
                agent: claim.owner.agent,
                key_sha256: claim.owner.key_sha256,
            });
        }
        let mut requests = self.hub.observed.requests_of(cluster.as_str());
        requests.retain(|request| {
            let asks = request.reading.as_ref();
            asks.is_ok_and(|request| heir.is(&request.agent, &request.key_sha256))
        });
        requests::first_approved(&requests).map(|first| Pin {
            agent: first.request.agent,
            key_sha256: first.request.key_sha256,
        })
    }

    /// The pin that the first approved request earns. Unless this process approved it just now, the
    /// request is read once more: the cache may still show one of a former life.
    async fn earned(&self, cluster: &ClusterName) -> Result<Option<Pin>, Trouble> {
        if let Some(claim) = self.hub.claim_of(cluster).filter(|claim| claim.is_approved) {
            return Ok(Some(Pin {
                agent: claim.owner.agent,
                key_sha256: claim.owner.key_sha256,
            }));
        }
        let requests = self.hub.observed.requests_of(cluster.as_str());
        let Some(FirstApproved { name, request, .. }) = requests::first_approved(&requests) else {
            return Ok(None);
        };
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        let live = api
            .get_metadata_opt(&name)
            .await
            .map_err(|error| Trouble::of(&error))?;
        Ok(live.map(|_| Pin {
            agent: request.agent,
            key_sha256: request.key_sha256,
        }))
    }

    /// Writes what a plan has to say into the mailbox.
    pub(super) async fn settle(&self, cluster: &ClusterName, plan: &Plan) -> Result<(), Trouble> {
        let Some(metadata) = &plan.write else {
            return Ok(());
        };
        self.write_mailbox(cluster, plan.exists, metadata.clone())
            .await?;
        if let Some(pin) = &plan.pin {
            tracing::info!("the name {cluster} is pinned to {}", pin.agent);
            let mut pinned = self.pinned.borrow_mut();
            pinned.insert(cluster.clone(), pin.clone());
        }
        if plan.pin.is_some() && self.hub.orphaned_pin(cluster).is_some() {
            self.mark_binding(cluster, None).await?;
            self.hub.orphaned_pins.borrow_mut().remove(cluster);
        }
        Ok(())
    }

    /// Finds out who holds the rights of a mailbox, and writes what must be written into it.
    pub(super) async fn mailbox(
        &self,
        cluster: &ClusterName,
        object: &ManagedCluster,
    ) -> Result<Holder, Trouble> {
        let plan = self.plan(cluster, object).await?;
        self.settle(cluster, &plan).await?;
        Ok(plan.holder)
    }

    async fn write_mailbox(
        &self,
        cluster: &ClusterName,
        exists: bool,
        metadata: Value,
    ) -> Result<(), Trouble> {
        let api = Api::<Namespace>::all(self.hub.client.clone());
        if !exists {
            let mut metadata = metadata.clone();
            metadata["name"] = json!(names::mailbox(cluster));
            let namespace = json!({"metadata": metadata});
            let namespace: Namespace = serde_json::from_value(namespace)
                .map_err(|error| Trouble::Other(error.to_string()))?;
            match api.create(&PostParams::default(), &namespace).await {
                Ok(_) => return Ok(()),
                Err(error) => match Trouble::of(&error) {
                    // One made by hand lacks the label and so is not in the cache.
                    Trouble::AlreadyExists(_) => {}
                    trouble => return Err(trouble),
                },
            }
        }
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let name = names::mailbox(cluster);
        let patched = api
            .patch_metadata(name, &PatchParams::default(), &patch)
            .await;
        patched.map(|_| ()).map_err(|error| Trouble::of(&error))
    }

    /// The agent that a WEC's name is handed over to and that does not have it yet.
    pub(super) fn heir(&self, cluster: &ClusterName) -> Option<Heir> {
        let mailbox = self.hub.observed.mailboxes.get(cluster.as_str())?;
        let heir = pins::heir(&mailbox.metadata, Timestamp::now())?;
        let pin = self.pin(cluster, Some(&mailbox.metadata));
        pin.is_none_or(|pin| pin.agent.common_name() != heir.common_name)
            .then_some(heir)
    }

    /// Whether a mailbox is being deleted.
    pub(super) fn mailbox_is_going(&self, cluster: &ClusterName) -> bool {
        let mailbox = self.hub.observed.mailboxes.get(cluster.as_str());
        mailbox.is_some_and(|mailbox| mailbox.metadata.deletion_timestamp.is_some())
    }

    /// Whether a WEC's name is pinned, readably or not.
    fn is_pinned(&self, cluster: &ClusterName) -> bool {
        let mailbox = self.hub.observed.mailboxes.get(cluster.as_str());
        self.pinned.borrow().contains_key(cluster)
            || mailbox.is_some_and(|mailbox| pins::is_marked(&mailbox.metadata))
    }

    /// Whether anything shows that the WEC was let in once: its role, or its pin.
    pub(super) fn has_traces(&self, cluster: &ClusterName) -> bool {
        let role = names::cluster_role(cluster);
        let roles = &self.hub.observed.cluster_roles;
        roles.get(&role).is_some() || self.is_pinned(cluster)
    }

    /// Takes the pin off a mailbox.
    pub(super) async fn unpin(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        self.hub.release(cluster);
        self.hub.orphaned_pins.borrow_mut().remove(cluster);
        let observed = &self.hub.observed;
        if let Some(rule) = observed.tally.release(cluster.as_str()) {
            observed.queues.rules.add_after(rule, joining::SETTLE);
        }
        if !self.is_pinned(cluster) {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"metadata": {"annotations": pins::removal()}}));
        let api = Api::<Namespace>::all(self.hub.client.clone());
        let name = names::mailbox(cluster);
        let patched = api
            .patch_metadata(name, &PatchParams::default(), &patch)
            .await;
        match patched.as_ref().map_err(Trouble::of) {
            Ok(_) | Err(Trouble::NotFound(_)) => {}
            Err(trouble) => return Err(trouble),
        }
        self.pinned.borrow_mut().remove(cluster);
        Ok(())
    }

    /// Forgets what was applied for a WEC, because it is being taken away.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.applied.borrow_mut().remove(cluster);
    }

    /// Keeps the pin of a mailbox that goes for the one that will be made: the WEC is still accepted
    /// and its agent at work. It is written into the WEC's ClusterRoleBinding, which agents cannot
    /// write either, so that it outlives this process.
    pub(super) async fn keep_pin(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        let mailbox = self.hub.observed.mailboxes.get(cluster.as_str());
        let meta = mailbox.as_deref().map(|mailbox| &mailbox.metadata);
        if let Some(pin) = self.pin(cluster, meta)
            && self.hub.orphaned_pin(cluster).as_ref() != Some(&pin)
        {
            self.mark_binding(cluster, Some(&pin)).await?;
            let mut orphaned = self.hub.orphaned_pins.borrow_mut();
            orphaned.insert(cluster.clone(), pin);
        }
        self.pinned.borrow_mut().remove(cluster);
        Ok(())
    }

    /// Writes a pin into a WEC's ClusterRoleBinding, or takes it off.
    async fn mark_binding(&self, cluster: &ClusterName, pin: Option<&Pin>) -> Result<(), Trouble> {
        let patch = Patch::Merge(json!({"metadata": {"annotations": pins::kept(pin)}}));
        let api = Api::<ClusterRoleBinding>::all(self.hub.client.clone());
        let name = names::cluster_role(cluster);
        let patched = api
            .patch_metadata(&name, &PatchParams::default(), &patch)
            .await;
        match patched.as_ref().map_err(Trouble::of) {
            Ok(_) | Err(Trouble::NotFound(_)) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Deletes an object; one that does not exist is success.
    pub(super) async fn delete(&self, object: &Value) -> Result<(), Trouble> {
        let address = Address::of(object).map_err(|error| Trouble::Other(error.to_string()))?;
        let api = address.api(&self.hub.client);
        match api.delete(&address.name, &Default::default()).await {
            Ok(_) => Ok(()),
            Err(error) => match Trouble::of(&error) {
                Trouble::NotFound(_) => Ok(()),
                trouble => Err(trouble),
            },
        }
    }
}

fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// Whom rights go to while nobody is pinned. It is decided when this hub first sees a mailbox: if
/// the WEC had been accepted before, another hub did it, and its agent is at work.
fn rights_go_to(mailbox: Option<&ObjectMeta>, object: &ManagedCluster) -> &'static str {
    let stated = mailbox.and_then(|meta| annotation(meta, annotations::RIGHTS_GO_TO));
    match stated {
        Some(annotations::RIGHTS_TO_GROUP) => annotations::RIGHTS_TO_GROUP,
        Some(_) => annotations::RIGHTS_TO_PINNED_AGENT,
        None if mailbox.is_some()
            && conditions::is_true(&object.status.conditions, types::HUB_ACCEPTED) =>
        {
            annotations::RIGHTS_TO_GROUP
        }
        None => annotations::RIGHTS_TO_PINNED_AGENT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wec_that_another_hub_accepted_keeps_its_group() {
        let mut accepted = ManagedCluster::default();
        let now = hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            Timestamp::UNIX_EPOCH,
        );
        conditions::set(&mut accepted.status.conditions, &types::ACCEPTED, now);
        let fresh = ManagedCluster::default();
        let mailbox = |rule: Option<&str>| -> ObjectMeta {
            let annotations = rule.map(|rule| json!({annotations::RIGHTS_GO_TO: rule}));
            serde_json::from_value(json!({ "annotations": annotations })).expect("metadata")
        };
        let (group, pinned) = (
            annotations::RIGHTS_TO_GROUP,
            annotations::RIGHTS_TO_PINNED_AGENT,
        );
        assert_eq!(rights_go_to(None, &fresh), pinned);
        assert_eq!(rights_go_to(None, &accepted), pinned);
        assert_eq!(rights_go_to(Some(&mailbox(None)), &fresh), pinned);
        assert_eq!(rights_go_to(Some(&mailbox(None)), &accepted), group);
        assert_eq!(rights_go_to(Some(&mailbox(Some(group))), &accepted), group);
        assert_eq!(
            rights_go_to(Some(&mailbox(Some(pinned))), &accepted),
            pinned
        );
        assert_eq!(rights_go_to(Some(&mailbox(Some("?"))), &accepted), pinned);
    }
}
