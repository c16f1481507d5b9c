//! The bindings that hub permissions of add-ons were turned into, and which of them must go.
//!
//! Bindings in mailboxes belong to one ManagedClusterAddOn, whose plan withdraws them. Those in other
//! namespaces belong to the ClusterManagementAddOn and may serve agents of many WECs: they go when it
//! is known of each of these that it asks for them no more.

use super::chosen;
use super::configs;
use super::observed;
use super::observed::Index;
use super::observed::Key;
use super::observed::Queues;
use super::registration;
use super::registration::Holder;
use hyades_api::addon::AddOnTemplate;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::names;
use hyades_api::names::labels;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Preconditions;
use hyades_runtime::kube::runtime::watcher;
use serde_json::Value;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

/// Kinds of the owners of bindings.
const ENABLED: &str = "ManagedClusterAddOn";
const OFFERED: &str = "ClusterManagementAddOn";

/// Namespace and name of a binding.
pub(super) type Place = (String, String);

/// Whom a binding serves.
#[derive(Debug, PartialEq, Eq)]
enum Scope {
    /// The agent of one WEC, in its mailbox.
    Own(Key),
    /// The agents of an add-on.
    Shared(String),
}

fn scope(binding: &RoleBinding) -> Option<Scope> {
    let addon = binding.labels().get(labels::ADDON_NAME)?;
    let owned_by = |kind: &str| {
        let mut owners = binding.owner_references().iter();
        owners.any(|owner| owner.kind == kind && owner.name == *addon)
    };
    if owned_by(ENABLED) {
        Some(Scope::Own((binding.namespace()?, addon.clone())))
    } else {
        owned_by(OFFERED).then(|| Scope::Shared(addon.clone()))
    }
}

fn place(binding: &RoleBinding) -> Place {
    (binding.namespace().unwrap_or_default(), binding.name_any())
}

fn place_of(binding: &Value) -> Place {
    let text = |key: &str| binding["metadata"][key].as_str().unwrap_or_default();
    (text("namespace").to_owned(), text("name").to_owned())
}

/// The places of those wanted bindings that belong to the add-on and not to one WEC.
fn shared_places(wanted: &[Value]) -> impl Iterator<Item = Place> {
    let shared = wanted
        .iter()
        .filter(|binding| binding["metadata"]["ownerReferences"][0]["kind"] == OFFERED);
    shared.map(place_of)
}

/// Where the WECs of an add-on want bindings outside mailboxes; nothing while that cannot be told of
/// each of them.
pub(super) fn wanted_outside(
    offered: &ClusterManagementAddOn,
    enabled: &[Arc<ManagedClusterAddOn>],
    find: impl Fn(&str) -> Option<Arc<AddOnTemplate>>,
) -> Option<BTreeSet<Place>> {
    let addon = offered.name_any().parse().ok()?;
    let mut places = BTreeSet::new();
    // Most WECs have the same template, and with certificates want the same of it.
    let mut seen = BTreeSet::new();
    for object in enabled {
        let driver = object.status.kube_client_driver.as_str();
        let cluster = object.namespace().unwrap_or_default();
        let references = &object.status.config_references;
        let asked = configs::of_kind(references, &configs::templates())?;
        let own = (driver == registration::TOKEN_DRIVER).then(|| cluster.clone());
        if !seen.insert((&asked.name, &asked.spec_hash, own)) {
            continue;
        }
        let template = chosen::template(Some(offered), object, &find).found()?;
        let holder = Holder {
            cluster: &cluster.parse().ok()?,
            addon: &addon,
            driver,
            enabled: observed::owner(&**object, false),
            offered: observed::owner(offered, false),
        };
        let wanted = registration::permissions(&template, &holder).ok()?;
        places.extend(shared_places(&wanted));
    }
    Some(places)
}

/// Those of the bindings present that are not wanted, and those that must make room for one of the
/// same name: a binding's role cannot be changed.
pub(super) fn stale(present: &[Arc<RoleBinding>], wanted: &[Value]) -> Vec<Arc<RoleBinding>> {
    let fits = |binding: &RoleBinding, wanted: &Value| {
        let role = &wanted["roleRef"];
        place(binding) == place_of(wanted)
            && role["kind"] == binding.role_ref.kind
            && role["name"] == binding.role_ref.name
    };
    let stale = present
        .iter()
        .filter(|binding| !wanted.iter().any(|wanted| fits(binding, wanted)));
    stale.cloned().collect()
}

#[derive(Debug, Default)]
struct Places {
    own: HashMap<Key, BTreeSet<Place>>,
    shared: HashMap<String, BTreeSet<Place>>,
}

impl Places {
    fn note(&mut self, scope: &Scope, place: Place, is_there: bool) {
        match scope {
            Scope::Own(key) => note(&mut self.own, key, place, is_there),
            Scope::Shared(addon) => note(&mut self.shared, addon, place, is_there),
        }
    }
}

fn note<K: Clone + Eq + Hash>(
    map: &mut HashMap<K, BTreeSet<Place>>,
    key: &K,
    place: Place,
    is_there: bool,
) {
    if is_there {
        map.entry(key.clone()).or_default().insert(place);
    } else if let Some(places) = map.get_mut(key) {
        places.remove(&place);
        if places.is_empty() {
            map.remove(key);
        }
    }
}

/// The bindings there are. Nobody waits for the first list: what is not seen yet is read.
pub(super) struct Bindings {
    cache: Cache<RoleBinding>,
    places: Arc<Mutex<Places>>,
}

impl Bindings {
    pub(super) fn watch(client: &Client, queues: &Queues, index: &Index) -> Self {
        let places: Arc<Mutex<Places>> = Arc::default();
        let (queues, index, noted) = (queues.clone(), index.clone(), places.clone());
        let selector = format!("{},{}", labels::ADDON_NAME, names::TEMPLATE_NAME);
        let config = watcher::Config::default().labels(&selector);
        let trim = |binding: &mut RoleBinding| binding.subjects = None;
        let all = Api::all(client.clone());
        let cache = controller::watch_trimmed(all, config, trim, move |change| {
            let (binding, is_there): (&RoleBinding, bool) = match change {
                Change::Applied(binding) => (binding, true),
                Change::Deleted(binding) => (binding, false),
                Change::Synced => return,
            };
            let Some(scope) = scope(binding) else {
                return;
            };
            lock(&noted).note(&scope, place(binding), is_there);
            match scope {
                Scope::Own(key) => queues.enabled.add(key),
                Scope::Shared(addon) => {
                    // One that somebody deletes is made again by a WEC that asks for it.
                    let asking = index.clusters_of(&addon).into_iter().filter(|_| !is_there);
                    for cluster in asking {
                        queues.enabled.add((cluster, addon.clone()));
                    }
                    queues.offered.add(addon);
                }
            }
        });
        Self { cache, places }
    }

    /// Whether all of these bindings are there.
    pub(super) fn sees(&self, wanted: &[Value]) -> bool {
        let mut bindings = wanted.iter().filter(|object| {
            object["kind"] == "RoleBinding"
                && object["metadata"]["labels"]
                    .get(names::TEMPLATE_NAME)
                    .is_some()
        });
        bindings.all(|binding| {
            let (namespace, name) = place_of(binding);
            self.cache.get_in(&namespace, &name).is_some()
        })
    }

    /// The bindings of one WEC's add-on in its mailbox.
    pub(super) fn own(&self, key: &Key) -> Vec<Arc<RoleBinding>> {
        let places = lock(&self.places).own.get(key).cloned();
        self.find(places.unwrap_or_default())
    }

    /// The bindings of an add-on in other namespaces.
    pub(super) fn shared(&self, addon: &str) -> Vec<Arc<RoleBinding>> {
        let places = lock(&self.places).shared.get(addon).cloned();
        self.find(places.unwrap_or_default())
    }

    fn find(&self, places: BTreeSet<Place>) -> Vec<Arc<RoleBinding>> {
        let found = places
            .iter()
            .filter_map(|(namespace, name)| self.cache.get_in(namespace, name));
        found.collect()
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    // It is whole between any two of its assignments.
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deletes a binding, unless it is gone or another of its name has taken its place.
pub(super) async fn withdraw(client: &Client, binding: &RoleBinding) -> Result<(), Trouble> {
    let (namespace, name) = place(binding);
    let api: Api<RoleBinding> = Api::namespaced(client.clone(), &namespace);
    let parameters = DeleteParams {
        preconditions: Some(Preconditions {
            uid: binding.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&name, &parameters).await {
        Ok(_) => {
            tracing::info!("RoleBinding {namespace}/{name} of an add-on is withdrawn");
            Ok(())
        }
        Err(error) => match Trouble::of(&error) {
            Trouble::NotFound(_) | Trouble::Conflict(_) => Ok(()),
            trouble => Err(trouble),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn binding(namespace: &str, name: &str, role: &str, owner: &str) -> Value {
        json!({
            "metadata": {
                "name": name, "namespace": namespace, "labels": {labels::ADDON_NAME: "hello"},
                "ownerReferences": [{"apiVersion": "v1", "kind": owner, "name": "hello", "uid": "u"}],
            },
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        })
    }

    fn present(object: Value) -> Arc<RoleBinding> {
        Arc::new(serde_json::from_value(object).expect("a binding"))
    }

    #[test]
    fn what_is_not_wanted_and_what_has_another_role_must_go() {
        let all = [
            present(binding("c1", "same", "r", ENABLED)),
            present(binding("c1", "changed", "r", ENABLED)),
            present(binding("c1", "gone", "r", ENABLED)),
        ];
        let wanted = [
            binding("c1", "same", "r", ENABLED),
            binding("c1", "changed", "s", ENABLED),
            binding("c1", "new", "r", ENABLED),
        ];
        let names: Vec<_> = stale(&all, &wanted)
            .iter()
            .map(|binding| binding.name_any())
            .collect();
        assert_eq!(names, ["changed", "gone"]);
    }

    #[test]
    fn a_binding_serves_whom_its_owner_stands_for() {
        let own = present(binding("c1", "b", "r", ENABLED));
        let key = ("c1".to_owned(), "hello".to_owned());
        assert_eq!(scope(&own), Some(Scope::Own(key)));
        let shared = binding("ns", "b", "r", OFFERED);
        let places: Vec<_> = shared_places(std::slice::from_ref(&shared)).collect();
        assert_eq!(places, [("ns".to_owned(), "b".to_owned())]);
        let shared = present(shared);
        assert_eq!(scope(&shared), Some(Scope::Shared("hello".to_owned())));
        assert_eq!(scope(&present(binding("c1", "b", "r", "Pod"))), None);
    }

    #[test]
    fn bindings_outside_mailboxes_are_judged_once_every_wish_is_known() {
        let group = "addon.open-cluster-management.io";
        let template = |namespace: &str| -> Arc<AddOnTemplate> {
            let single = json!({"namespace": namespace, "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}});
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": namespace}, "spec": {
                    "addonName": "hello", "agentSpec": {"workload": {"manifests": []}},
                    "registration": [{"type": "KubeClient", "kubeClient": {"hubPermissions": [
                        {"type": "SingleNamespace", "singleNamespace": single}]}}],
                }}))
                .expect("a template"),
            )
        };
        let find = |name: &str| (name != "gone").then(|| template(name));
        let offered: ClusterManagementAddOn =
            serde_json::from_value(json!({"metadata": {"name": "hello"}, "spec": {}}))
                .expect("an add-on");
        let enabled = |cluster: &str, name: &str, driver: &str| -> Arc<ManagedClusterAddOn> {
            let hash = configs::fingerprint(&template(name).spec);
            let kind = json!({"group": group, "resource": "addontemplates", "name": name});
            let mut reference = kind.clone();
            reference["desiredConfig"] = json!({"name": name, "specHash": hash});
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": "hello", "namespace": cluster},
                    "spec": {"configs": [kind]},
                    "status": {"configReferences": [reference], "kubeClientDriver": driver},
                }))
                .expect("an add-on"),
            )
        };
        let wanted = |all: &[Arc<ManagedClusterAddOn>]| {
            let places = wanted_outside(&offered, all, find)?;
            let places = places.into_iter();
            Some(
                places
                    .map(|(namespace, name)| format!("{namespace}/{name}"))
                    .collect::<Vec<_>>(),
            )
        };
        let base = "open-cluster-management:hello:role:agent:r";
        let all = [
            enabled("c1", "a", "csr"),
            enabled("c2", "a", ""),
            enabled("c3", "b", "csr"),
            enabled("c4", "b", "token"),
        ];
        assert_eq!(
            wanted(&all),
            Some(vec![
                format!("a/{base}"),
                format!("b/{base}"),
                format!("b/{base}:c4")
            ])
        );
        assert_eq!(wanted(&[]), Some(Vec::new()));
        assert_eq!(
            wanted(&[enabled("c1", "a", "csr"), enabled("c2", "gone", "csr")]),
            None
        );
    }

    #[test]
    fn places_are_forgotten_with_their_bindings() {
        let mut places = Places::default();
        let scope = Scope::Shared("hello".to_owned());
        let at = |name: &str| ("ns".to_owned(), name.to_owned());
        places.note(&scope, at("a"), true);
        places.note(&scope, at("b"), true);
        places.note(&scope, at("a"), false);
        assert_eq!(places.shared["hello"], BTreeSet::from([at("b")]));
        places.note(&scope, at("b"), false);
        assert!(places.shared.is_empty());
    }
}
