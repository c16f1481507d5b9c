//! What transport has seen of its WDS and its ITS, and which Bindings an event concerns.

use super::clean::clean;
use super::properties::Sources;
use super::properties::properties;
use super::seen::Mailboxes;
use super::seen::Seen;
use super::seen::SeenWork;
use super::transform::Transforms;
use super::wrap::ContentDigest;
use crate::object::GroupResource;
use crate::object::ObjectKey;
use crate::object::ObjectName;
use hyades_api::cluster::ManagedCluster;
use hyades_api::control::Binding;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

/// The name of a Binding.
pub(super) type BindingName = Arc<str>;

/// Bindings to look at.
pub(super) type Concerned = BTreeSet<BindingName>;

/// An object of the WDS, without what does not travel.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) uid: String,
    pub(super) object: Value,
    digest: ContentDigest,
}

/// What is known of an object.
#[derive(Clone, Debug)]
pub(super) enum Known {
    There(Arc<Source>),
    /// The WDS has no such object.
    Absent,
    /// The objects of its resource could not be listed yet.
    Unlisted,
}

/// The objects of one resource.
#[derive(Debug, Default)]
struct Listing {
    is_complete: bool,
    objects: HashMap<ObjectName, Arc<Source>>,
    /// Of a list that is under way.
    incoming: Option<HashMap<ObjectName, Arc<Source>>>,
}

/// What a Binding names.
#[derive(Debug, Default)]
struct Named {
    objects: Vec<ObjectKey>,
    destinations: BTreeSet<String>,
    /// The version in which each resource is read.
    versions: BTreeMap<GroupResource, String>,
    is_customised: bool,
}

/// What the ITS knows of a WEC.
#[derive(Debug, Default)]
pub(super) struct Wec {
    /// Whether it has an inventory object that is accepted: only then it has a mailbox.
    pub(super) is_accepted: bool,
    /// See [`properties`].
    pub(super) properties: Arc<BTreeMap<String, String>>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    config_map: Option<ConfigMap>,
}

/// All that was seen.
#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) transforms: Transforms,
    listings: HashMap<GroupResource, Listing>,
    bindings: HashMap<BindingName, Named>,
    wecs: HashMap<String, Wec>,
    seen: Seen,
    listed: BTreeSet<Watched>,
}

/// What must be listed before anything is written: who has not seen all would take the rest for
/// gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Watched {
    Bindings,
    Clusters,
    ConfigMaps,
    Transforms,
    Works,
}

const ALL_WATCHED: [Watched; 5] = [
    Watched::Bindings,
    Watched::Clusters,
    Watched::ConfigMaps,
    Watched::Transforms,
    Watched::Works,
];

impl Model {
    /// What was not listed yet.
    pub(super) fn unlisted(&self) -> impl Iterator<Item = Watched> {
        ALL_WATCHED
            .into_iter()
            .filter(|what| !self.listed.contains(what))
    }

    /// Notes that a list is complete.
    pub(super) fn see_list(&mut self, what: Watched) -> Concerned {
        let is_news = self.listed.insert(what) && self.unlisted().next().is_none();
        self.who(|_| is_news)
    }

    pub(super) fn object(&self, key: &ObjectKey) -> Known {
        let Some(listing) = self.listings.get(&key.resource) else {
            return Known::Unlisted;
        };
        match listing.objects.get(&key.name) {
            // Without its kind it would be no manifest.
            Some(source) if source.object["kind"] == "" => Known::Unlisted,
            Some(source) => Known::There(source.clone()),
            None if listing.is_complete => Known::Absent,
            None => Known::Unlisted,
        }
    }

    pub(super) fn wec(&self, name: &str) -> Option<&Wec> {
        self.wecs.get(name)
    }

    /// The works of a Binding.
    pub(super) fn works(&self, binding: &str) -> &Mailboxes {
        self.seen.of(binding)
    }

    /// Resources whose objects Bindings name, with the version in which they are to be read.
    pub(super) fn resources(&self) -> BTreeMap<GroupResource, String> {
        let named = self.bindings.values().flat_map(|named| &named.versions);
        named
            .map(|(resource, version)| (resource.clone(), version.clone()))
            .collect()
    }

    /// Notes what a Binding names.
    pub(super) fn see_binding(&mut self, binding: &Binding) {
        let workload = &binding.spec.workload;
        let mut named = Named::default();
        for bound in workload
            .cluster_scope
            .iter()
            .chain(&workload.namespace_scope)
        {
            let key = ObjectKey::of(bound);
            named
                .versions
                .insert(key.resource.clone(), bound.version.clone());
            named.objects.push(key);
        }
        named.objects.sort();
        let destinations = binding.spec.destinations.iter();
        named.destinations = destinations.map(|to| to.cluster_id.clone()).collect();
        let name = BindingName::from(binding.name_any());
        let before = self.bindings.insert(name.clone(), named);
        if let Some(named) = self.bindings.get_mut(&name) {
            named.is_customised = before.is_some_and(|before| before.is_customised);
        }
    }

    /// Forgets what a Binding named.
    pub(super) fn miss_binding(&mut self, name: &str) {
        self.bindings.remove(name);
    }

    /// Notes whether the works of a Binding depend on properties.
    pub(super) fn note_customised(&mut self, binding: &str, is_customised: bool) {
        if let Some(named) = self.bindings.get_mut(binding) {
            named.is_customised = is_customised;
        }
    }

    fn naming(&self, key: &ObjectKey) -> Concerned {
        self.who(|named| named.objects.binary_search(key).is_ok())
    }

    fn who(&self, concerns: impl Fn(&Named) -> bool) -> Concerned {
        let bindings = self.bindings.iter().filter(|(_, named)| concerns(named));
        bindings.map(|(name, _)| name.clone()).collect()
    }

    fn naming_any_of(&self, resource: &GroupResource) -> Concerned {
        self.who(|named| named.versions.contains_key(resource))
    }

    /// Takes over other transforms.
    pub(super) fn see_transforms(&mut self, transforms: Transforms) -> Concerned {
        if transforms == self.transforms {
            return Concerned::new();
        }
        self.transforms = transforms;
        self.who(|_| true)
    }

    /// A list of a resource's objects begins.
    pub(super) fn begin_list(&mut self, resource: &GroupResource) {
        let listing = self.listings.entry(resource.clone()).or_default();
        listing.incoming = Some(HashMap::new());
    }

    /// An object of the list under way.
    pub(super) fn list_object(&mut self, resource: &GroupResource, object: Value) {
        let (name, source) = read(object);
        let listing = self.listings.entry(resource.clone()).or_default();
        listing
            .incoming
            .get_or_insert_default()
            .insert(name, Arc::new(source));
    }

    /// The list is complete.
    pub(super) fn end_list(&mut self, resource: &GroupResource) -> Concerned {
        let listing = self.listings.entry(resource.clone()).or_default();
        listing.objects = listing.incoming.take().unwrap_or_default();
        listing.is_complete = true;
        self.naming_any_of(resource)
    }

    /// An object is new or was modified.
    pub(super) fn see_object(&mut self, resource: &GroupResource, object: Value) -> Concerned {
        let (name, source) = read(object);
        let listing = self.listings.entry(resource.clone()).or_default();
        let is_same =
            |before: &Arc<Source>| before.digest == source.digest && before.uid == source.uid;
        if listing.objects.get(&name).is_some_and(is_same) {
            return Concerned::new();
        }
        listing.objects.insert(name.clone(), Arc::new(source));
        self.naming(&ObjectKey {
            resource: resource.clone(),
            name,
        })
    }

    /// An object is gone.
    pub(super) fn miss_object(&mut self, resource: &GroupResource, object: Value) -> Concerned {
        let (name, _) = read(object);
        if let Some(listing) = self.listings.get_mut(resource) {
            listing.objects.remove(&name);
        }
        self.naming(&ObjectKey {
            resource: resource.clone(),
            name,
        })
    }

    /// A resource is watched no more.
    pub(super) fn forget_resource(&mut self, resource: &GroupResource) {
        self.listings.remove(resource);
    }

    /// An inventory object is new or was modified.
    pub(super) fn see_cluster(&mut self, cluster: &ManagedCluster) -> Concerned {
        let is_staying = cluster.metadata.deletion_timestamp.is_none();
        let wec = self.wecs.entry(cluster.name_any()).or_default();
        let is_accepted = cluster.spec.hub_accepts_client && is_staying;
        let flips = std::mem::replace(&mut wec.is_accepted, is_accepted) != is_accepted;
        wec.labels = cluster.labels().clone();
        wec.annotations = cluster.annotations().clone();
        self.look_again(&cluster.name_any(), flips)
    }

    /// An inventory object is gone.
    pub(super) fn miss_cluster(&mut self, name: &str) -> Concerned {
        let wec = self.wecs.entry(name.to_owned()).or_default();
        let flips = std::mem::take(&mut wec.is_accepted);
        wec.labels.clear();
        wec.annotations.clear();
        self.look_again(name, flips)
    }

    /// A WEC's ConfigMap is new, was modified, or is gone.
    pub(super) fn see_config_map(
        &mut self,
        name: &str,
        config_map: Option<&ConfigMap>,
    ) -> Concerned {
        let wec = self.wecs.entry(name.to_owned()).or_default();
        wec.config_map = config_map.cloned();
        self.look_again(name, false)
    }

    /// Brings a WEC's properties up to date; whom that concerns, or that its acceptance `flips`.
    fn look_again(&mut self, name: &str, flips: bool) -> Concerned {
        let Some(wec) = self.wecs.get_mut(name) else {
            return Concerned::new();
        };
        let config_map = wec.config_map.as_ref();
        let now = properties(
            name,
            Sources {
                labels: Some(&wec.labels),
                annotations: Some(&wec.annotations),
                binary: config_map.and_then(|map| map.binary_data.as_ref()),
                data: config_map.and_then(|map| map.data.as_ref()),
            },
        );
        let differs = now != *wec.properties;
        wec.properties = Arc::new(now);
        self.who(|named| {
            let matters = flips || differs && named.is_customised;
            matters && named.destinations.contains(name)
        })
    }

    /// A list of works begins.
    pub(super) fn begin_work_list(&mut self) {
        self.seen.begin_list();
    }

    /// A work of the list under way.
    pub(super) fn list_work(&mut self, work: &SeenWork) {
        self.seen.list(work);
    }

    /// The list of works is complete.
    pub(super) fn end_work_list(&mut self) -> Concerned {
        let mut concerned = self.seen.end_list();
        concerned.extend(self.see_list(Watched::Works));
        concerned
    }

    /// A work is new or was modified, as a watch or the answer to a write shows it.
    pub(super) fn see_work(&mut self, work: &SeenWork) -> Concerned {
        self.seen.see(work)
    }

    /// A work is gone.
    pub(super) fn miss_work(&mut self, work: &SeenWork) -> Concerned {
        self.seen.miss(work)
    }

    /// A work is being deleted.
    pub(super) fn note_deleted(&mut self, mailbox: &str, name: &str) {
        self.seen.note_deleted(mailbox, name);
    }

    /// What the server made of a spec that was written.
    pub(super) fn note_written(&mut self, work: &SeenWork, wanted: ContentDigest) {
        self.seen.note_written(work, wanted);
    }
}

fn read(mut object: Value) -> (ObjectName, Source) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    let name = ObjectName::new(text(&metadata["namespace"]), text(&metadata["name"]));
    let uid = text(&metadata["uid"]);
    clean(&mut object);
    let digest = ContentDigest::of(&object);
    let source = Source {
        uid,
        object,
        digest,
    };
    (name, source)
}
