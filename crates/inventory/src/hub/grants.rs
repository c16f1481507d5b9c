//! Writing the mailbox and the rights of one WEC, and not writing them when they stand.

use super::Hub;
use super::pins;
use super::pins::Pin;
use super::requests;
use super::requests::Request;
use super::rights;
use super::rights::Extent;
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
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The field manager of everything the hub applies.
const FIELD_MANAGER: &str = "hyades-hub";

/// The four objects of a WEC: ClusterRole, ClusterRoleBinding, and two role bindings.
const OBJECTS: usize = 4;

/// What was applied, and the versions the server gave it. While the caches show these versions
/// nobody has changed the objects, and nothing needs to be rendered or sent.
#[derive(Debug, PartialEq, Eq)]
struct Applied<G, const N: usize> {
    grant: G,
    versions: [Option<String>; N],
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

    /// Makes the mailbox and finds out who holds its rights, pinning the name if an agent has
    /// earned it.
    pub(super) async fn mailbox(
        &self,
        cluster: &ClusterName,
        object: &ManagedCluster,
    ) -> Result<Holder, Trouble> {
        let mailbox = self.hub.observed.mailboxes.get(cluster.as_str());
        let meta = mailbox.as_deref().map(|mailbox| &mailbox.metadata);
        if let Some(pin) = meta.and_then(pins::read) {
            self.hub.release(cluster);
            self.pinned.borrow_mut().remove(cluster);
            return Ok(Holder::Pinned(pin));
        }
        if let Some(pin) = self.pinned.borrow().get(cluster) {
            return Ok(Holder::Pinned(pin.clone()));
        }
        let pin = self.earned(cluster).await?;
        let rule = rights_go_to(meta, object);
        let mut wanted = json!({
            "labels": {labels::CLUSTER_NAME: cluster.as_str()},
            "annotations": {annotations::RIGHTS_GO_TO: rule},
        });
        if let Some(pin) = &pin {
            wanted["annotations"] = pins::annotations_of(pin, Timestamp::now());
            wanted["annotations"][annotations::RIGHTS_GO_TO] =
                json!(annotations::RIGHTS_TO_PINNED_AGENT);
        }
        let stands = pin.is_none()
            && meta.is_some_and(|meta| annotation(meta, annotations::RIGHTS_GO_TO) == Some(rule));
        if !stands {
            self.write_mailbox(cluster, meta.is_some(), wanted).await?;
        }
        Ok(match pin {
            Some(pin) => {
                tracing::info!("the name {cluster} is pinned to {}", pin.agent);
                self.pinned
                    .borrow_mut()
                    .insert(cluster.clone(), pin.clone());
                Holder::Pinned(pin)
            }
            None if rule == annotations::RIGHTS_TO_GROUP => Holder::Group,
            None => Holder::Nobody,
        })
    }

    /// The pin that the first approved request earns. The request is read once more: the cache may
    /// still show one of a former life.
    async fn earned(&self, cluster: &ClusterName) -> Result<Option<Pin>, Trouble> {
        let requests = self.hub.observed.requests_of(cluster.as_str());
        let Some((
            name,
            Request {
                agent, key_sha256, ..
            },
        )) = requests::first_approved(&requests)
        else {
            return Ok(None);
        };
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        let live = api
            .get_opt(&name)
            .await
            .map_err(|error| Trouble::of(&error))?;
        Ok(live.map(|_| Pin { agent, key_sha256 }))
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

    /// Takes the pin off a mailbox.
    pub(super) async fn unpin(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        self.hub.release(cluster);
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

    /// Makes the rights of a WEC what `grant` says.
    pub(super) async fn apply(&self, cluster: &ClusterName, grant: Grant) -> Result<(), Trouble> {
        let current = Applied {
            versions: self.versions(cluster),
            grant,
        };
        let stands = current.versions.iter().all(Option::is_some)
            && self.applied.borrow().get(cluster) == Some(&current);
        if stands {
            return Ok(());
        }
        let grant = current.grant;
        let labels = &self.hub.settings.labels;
        let [role, role_binding] = rights::cluster_scoped(cluster, &grant, labels);
        let role = self.send(&role).await?;
        let versions = if grant.extent == Extent::Full {
            let [registration, work] = rights::mailbox_scoped(cluster, &grant, labels);
            let (bound, registration, work) = tokio::try_join!(
                self.send(&role_binding),
                self.send(&registration),
                self.send(&work),
            )?;
            [role, bound, registration, work]
        } else {
            [role, self.send(&role_binding).await?, None, None]
        };
        let applied = Applied { grant, versions };
        self.applied.borrow_mut().insert(cluster.clone(), applied);
        Ok(())
    }

    /// Forgets what was applied for a WEC, because it is being taken away.
    pub(super) fn forget(&self, cluster: &ClusterName) {
        self.applied.borrow_mut().remove(cluster);
    }

    /// The versions of a WEC's objects, as the caches show them.
    fn versions(&self, cluster: &ClusterName) -> [Option<String>; OBJECTS] {
        let observed = &self.hub.observed;
        let name = names::cluster_role(cluster);
        let mailbox = names::mailbox(cluster);
        let in_mailbox = |name: String| {
            let found = observed.role_bindings.get_in(mailbox, &name);
            found.and_then(|object| object.resource_version())
        };
        [
            observed
                .cluster_roles
                .get(&name)
                .and_then(|object| object.resource_version()),
            observed
                .cluster_role_bindings
                .get(&name)
                .and_then(|object| object.resource_version()),
            in_mailbox(names::registration_role_binding(cluster)),
            in_mailbox(names::work_role_binding(cluster)),
        ]
    }

    /// Makes the roles that all WECs share, or removes them when there is no WEC.
    pub(super) async fn common(&self) -> Result<(), Trouble> {
        let observed = &self.hub.observed;
        let names = [names::REGISTRATION_CLUSTER_ROLE, names::WORK_CLUSTER_ROLE];
        let versions = names.map(|name| {
            let role = observed.cluster_roles.get(name);
            role.and_then(|role| role.resource_version())
        });
        let wanted = rights::common(&self.hub.settings.labels);
        if observed.clusters.list().is_empty() {
            self.common.borrow_mut().take();
            for (object, version) in wanted.iter().zip(&versions) {
                if version.is_some() {
                    self.delete(object).await?;
                }
            }
            return Ok(());
        }
        let current = Applied {
            grant: (),
            versions,
        };
        let complete = current.versions.iter().all(Option::is_some);
        if complete && self.common.borrow().as_ref() == Some(&current) {
            return Ok(());
        }
        let (registration, work) = tokio::try_join!(self.send(&wanted[0]), self.send(&wanted[1]))?;
        let applied = Applied {
            grant: (),
            versions: [registration, work],
        };
        self.common.borrow_mut().replace(applied);
        Ok(())
    }

    /// Applies an object; returns the version the server gave it. A server changes nothing, and
    /// gives no new version, when the object stands as wanted.
    async fn send(&self, object: &Value) -> Result<Option<String>, Trouble> {
        let address = Address::of(object).map_err(|error| Trouble::Other(error.to_string()))?;
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let api = address.api(&self.hub.client);
        let live = api
            .patch(&address.name, &parameters, &Patch::Apply(object))
            .await;
        let live = live.map_err(|error| Trouble::of(&error))?;
        Ok(live.resource_version())
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
