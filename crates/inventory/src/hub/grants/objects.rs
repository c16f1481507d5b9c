//! The RBAC objects of one WEC and those that all share, sent to the server when they differ.

use super::super::rights;
use super::super::rights::Extent;
use super::super::rights::Grant;
use super::super::rights::Holder;
use super::Grants;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::apply::Address;
use hyades_runtime::controller::Written;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use std::sync::Arc;

/// The field manager of everything the hub applies.
const FIELD_MANAGER: &str = "hyades-hub";

/// The objects of a WEC, at these places.
pub(super) const OBJECTS: usize = 4;

/// The place of the ClusterRole.
const ROLE: usize = 0;

/// The place of the ClusterRoleBinding.
const BOUND: usize = 1;

/// The place of the role binding for registration.
const REGISTRATION: usize = 2;

/// The place of the role binding for works.
const WORK: usize = 3;

/// What was applied, and the versions the server gave it. While the caches show these versions, or
/// are still to show them, nobody has changed the objects, and nothing needs to be rendered or sent.
#[derive(Debug)]
pub(super) struct Applied<G, const N: usize> {
    grant: G,
    written: [Option<Written>; N],
}

impl<G: PartialEq, const N: usize> Applied<G, N> {
    fn stands(&self, grant: &G, versions: &[Option<String>; N]) -> bool {
        self.grant == *grant && (0..N).all(|place| self.stands_at(place, versions))
    }

    fn stands_at(&self, place: usize, versions: &[Option<String>; N]) -> bool {
        self.written[place].as_ref().map(Written::version) == versions[place].as_deref()
    }
}

impl Grants {
    /// Makes the rights of a WEC what `grant` says. What is in the mailbox is written after
    /// `prepare`, which makes the mailbox and runs while the ClusterRole is written.
    pub(in crate::hub) async fn apply(
        &self,
        cluster: &ClusterName,
        grant: Grant,
        prepare: impl Future<Output = Result<(), Trouble>>,
    ) -> Result<(), Trouble> {
        let versions = self.versions(cluster, grant.extent);
        let (stands, role_stands) = match self.applied.borrow().get(cluster) {
            Some(applied) => (
                applied.stands(&grant, &versions),
                // It does not depend on who holds the rights.
                applied.grant.extent == grant.extent && applied.stands_at(ROLE, &versions),
            ),
            None => (false, false),
        };
        if stands {
            return prepare.await;
        }
        let labels = &self.hub.settings.labels;
        let [role, bound] = rights::cluster_scoped(cluster, &grant, labels);
        let role = async {
            match &versions[ROLE] {
                Some(version) if role_stands => Ok(Some(version.clone())),
                _ => self.send(&role).await,
            }
        };
        // A binding is refused while the role it refers to does not exist.
        let (role, ()) = tokio::try_join!(role, prepare)?;
        let [registration, work] = match grant.extent {
            Extent::Full => rights::mailbox_scoped(cluster, &grant, labels).map(Some),
            Extent::Reduced => [None, None],
        };
        // A binding of nobody gives no rights: none is made, and one that is there is emptied.
        let needed = |place: usize| grant.holder != Holder::Nobody || versions[place].is_some();
        let send = async |place: usize, object: Option<Value>| match object {
            Some(object) if needed(place) => self.send(&object).await,
            _ => Ok(None),
        };
        let (bound, registration, work) = tokio::try_join!(
            send(BOUND, Some(bound)),
            send(REGISTRATION, registration),
            send(WORK, work),
        )?;
        let observed = &self.hub.observed;
        let written = [
            role.map(|version| observed.cluster_roles.written(version)),
            bound.map(|version| observed.cluster_role_bindings.written(version)),
            registration.map(|version| observed.role_bindings.written(version)),
            work.map(|version| observed.role_bindings.written(version)),
        ];
        let applied = Applied { grant, written };
        self.applied.borrow_mut().insert(cluster.clone(), applied);
        Ok(())
    }

    /// The versions of a WEC's objects, as the caches show them or as they were last written. Role
    /// bindings do not count where they are not granted but on their way out.
    fn versions(&self, cluster: &ClusterName, extent: Extent) -> [Option<String>; OBJECTS] {
        let observed = &self.hub.observed;
        let applied = self.applied.borrow();
        let applied = applied.get(cluster);
        let written = |place: usize| applied.and_then(|applied| applied.written[place].as_ref());
        let name = names::cluster_role(cluster);
        let mailbox = names::mailbox(cluster);
        let in_mailbox = |place: usize, name: String| match extent {
            Extent::Full => version(&observed.role_bindings, written(place), |cache| {
                cache.get_in(mailbox, &name)
            }),
            Extent::Reduced => None,
        };
        [
            version(&observed.cluster_roles, written(ROLE), |cache| {
                cache.get(&name)
            }),
            version(&observed.cluster_role_bindings, written(BOUND), |cache| {
                cache.get(&name)
            }),
            in_mailbox(REGISTRATION, names::registration_role_binding(cluster)),
            in_mailbox(WORK, names::work_role_binding(cluster)),
        ]
    }

    /// Makes the roles that all WECs share, or removes them when there is no WEC.
    pub(in crate::hub) async fn common(&self) -> Result<(), Trouble> {
        let observed = &self.hub.observed;
        let names = [names::REGISTRATION_CLUSTER_ROLE, names::WORK_CLUSTER_ROLE];
        let versions: [Option<String>; 2] = {
            let applied = self.common.borrow();
            std::array::from_fn(|place| {
                let written = applied.as_ref();
                let written = written.and_then(|applied| applied.written[place].as_ref());
                version(&observed.cluster_roles, written, |cache| {
                    cache.get(names[place])
                })
            })
        };
        let wanted = || rights::common(&self.hub.settings.labels);
        if observed.clusters.is_empty() {
            self.common.borrow_mut().take();
            for (object, version) in wanted().iter().zip(&versions) {
                if version.is_some() {
                    self.delete(object).await?;
                }
            }
            return Ok(());
        }
        let stands = |applied: &Applied<(), 2>| applied.stands(&(), &versions);
        if self.common.borrow().as_ref().is_some_and(stands) {
            return Ok(());
        }
        let [registration, work] = wanted();
        let (registration, work) = tokio::try_join!(self.send(&registration), self.send(&work))?;
        let written = |version: String| observed.cluster_roles.written(version);
        let applied = Applied {
            grant: (),
            written: [registration.map(written), work.map(written)],
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
}

/// The version of an object, as last written while the cache is still to show that, and else as the
/// cache shows it.
fn version<K>(
    cache: &Cache<K>,
    written: Option<&Written>,
    shown: impl FnOnce(&Cache<K>) -> Option<Arc<K>>,
) -> Option<String>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    match written {
        Some(written) if cache.is_behind(written) => Some(written.version().to_owned()),
        _ => shown(cache)?.resource_version(),
    }
}
