//! Add-ons of one WEC: the credentials of their agents, and whether these are well.
//!
//! ```text
//! ManagedClusterAddOn.status.registrations ──▶ one keeper per registration (credentials)
//!      request or token ▶ Secret in the add-on's namespace ▶ renewal ▶ …
//! Lease in the add-on's namespace ──every 30 s──▶ condition Available (lease)
//! ```
//!
//! Reads the version of the objects that hubs of every age serve. Secrets whose registration is
//! gone are deleted, also those of an earlier life of this process.

mod certificate;
mod credentials;
mod lease;
mod report;
mod token;

use crate::clock::Clock;
use crate::endpoint::HubEndpoint;
use crate::options::AddOnRegistration;
use crate::session::Session;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::RegistrationConfig;
use hyades_api::addon::identity::AddOnName;
use hyades_api::addon::names as addon_names;
use hyades_api::names::CLIENT_SIGNER;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::runtime::watcher;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often leases of add-ons are looked at.
const LEASE_PERIOD: std::time::Duration = std::time::Duration::from_secs(30);

/// Most add-ons of one WEC that are looked after; more are named in the log. Each costs a few
/// kilobytes and a call in thirty seconds.
const ADDONS_MAX: usize = 256;

/// What everything here needs.
pub(crate) struct Scene {
    /// The hub, and who this agent is there.
    pub(crate) session: Session,
    /// The hub, as add-ons shall reach it.
    pub(crate) endpoint: HubEndpoint,
    /// The WEC.
    pub(crate) wec: Client,
    /// The time.
    pub(crate) clock: Clock,
    /// How add-ons get their credentials.
    pub(crate) settings: AddOnRegistration,
    /// Seconds of life to ask for in certificates; 0 for the signer's choice.
    pub(crate) expiration_seconds: i32,
}

/// One registration of one add-on, and where its Secret goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registration {
    pub(crate) addon: AddOnName,
    pub(crate) config: RegistrationConfig,
    pub(crate) namespace: String,
    /// Uid of the account whose token is presented; empty with certificates.
    pub(crate) account_uid: String,
}

/// Where a Secret lies: namespace and name.
type Place = (String, String);

impl Registration {
    pub(crate) fn is_for_hub(&self) -> bool {
        self.config.signer_name == CLIENT_SIGNER
    }

    pub(crate) fn secret_name(&self) -> String {
        if self.is_for_hub() {
            addon_names::hub_kubeconfig_secret(&self.addon)
        } else {
            addon_names::client_certificate_secret(&self.addon, &self.config.signer_name)
        }
    }

    fn place(&self) -> Place {
        (self.namespace.clone(), self.secret_name())
    }
}

/// The registrations that add-ons ask for, by the place of their Secrets. Add-ons that are going, or
/// whose agents run elsewhere, have none.
fn wanted<'a>(
    addons: impl Iterator<Item = &'a ManagedClusterAddOn>,
    by_token: bool,
) -> BTreeMap<Place, Registration> {
    let mut wanted = BTreeMap::new();
    for addon in addons {
        let Ok(name) = addon.name_any().parse::<AddOnName>() else {
            continue;
        };
        let going = addon.metadata.deletion_timestamp.is_some();
        if going || addon.hosting_cluster().is_some() {
            continue;
        }
        for config in &addon.status.registrations {
            let is_token = by_token && config.signer_name == CLIENT_SIGNER;
            let registration = Registration {
                addon: name.clone(),
                config: config.clone(),
                namespace: addon.effective_namespace().to_owned(),
                account_uid: if is_token {
                    token::account_uid(addon).unwrap_or_default()
                } else {
                    String::new()
                },
            };
            wanted.insert(registration.place(), registration);
        }
    }
    wanted
}

/// A running keeper; dropped, it stops.
struct Keeper {
    registration: Registration,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks after the add-ons of a WEC for as long as its session lasts.
pub(crate) async fn keep(scene: Scene) -> Infallible {
    let scene = Arc::new(scene);
    let changes = watch::Sender::new(());
    let addons = Arc::new(watch_addons(&scene, changes.clone()));
    addons.wait_until_synced().await;
    let mut changed = changes.subscribe();
    let mut keepers: BTreeMap<Place, Keeper> = BTreeMap::new();
    let mut leftovers = Leftovers::default();
    leftovers.search(&scene).await;
    let reporter = report::Reporter::new(&scene, addons.clone());
    let first = tokio::time::Instant::now() + LEASE_PERIOD;
    let mut tick = tokio::time::interval_at(first, LEASE_PERIOD);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut judged = BTreeSet::new();
    loop {
        changed.borrow_and_update();
        let all = listed(&addons);
        let wanted = wanted(all.iter().map(AsRef::as_ref), scene.settings.is_token());
        let gone: Vec<Place> = keepers
            .iter()
            .filter(|(place, keeper)| wanted.get(*place) != Some(&keeper.registration))
            .map(|(place, _)| place.clone())
            .collect();
        for place in gone {
            keepers.remove(&place);
            leftovers.places.insert(place);
        }
        leftovers.remove(&scene, &wanted).await;
        for (place, registration) in wanted {
            keepers.entry(place).or_insert_with(|| Keeper {
                task: tokio::spawn(credentials::keep(
                    scene.clone(),
                    registration.clone(),
                    reporter.clone(),
                )),
                registration,
            });
        }
        for addon in &all {
            // Every change comes by here, the agent's own reports too: between two ticks a lease is
            // looked at once.
            let namespace = addon.effective_namespace().to_owned();
            if judged.insert((addon.uid(), namespace, addon.is_customized_health())) {
                lease::check(&scene, addon, &reporter).await;
            }
        }
        tokio::select! {
            _ = tick.tick() => {
                judged.clear();
                if !leftovers.is_searched {
                    leftovers.search(&scene).await;
                }
            }
            _ = changed.changed() => {}
        }
    }
}

/// The add-ons that are looked after.
fn listed(addons: &Cache<ManagedClusterAddOn>) -> Vec<Arc<ManagedClusterAddOn>> {
    let mut all = addons.list();
    all.sort_by_key(|addon| addon.name_any());
    if all.len() > ADDONS_MAX {
        tracing::warn!(
            "this cluster has {} add-ons; the first {ADDONS_MAX} by name are looked after",
            all.len()
        );
        all.truncate(ADDONS_MAX);
    }
    all
}

fn watch_addons(scene: &Scene, changes: watch::Sender<()>) -> Cache<ManagedClusterAddOn> {
    let cluster = scene.session.identity.cluster.as_str();
    let api = Api::namespaced(scene.session.client.clone(), cluster);
    controller::watch(api, watcher::Config::default(), move |change| {
        if !matches!(change, Change::Synced) {
            changes.send_replace(());
        }
    })
}

/// Secrets of registrations that are gone: those that an earlier life of this process left, and those
/// that could not be deleted yet.
#[derive(Debug, Default)]
struct Leftovers {
    places: BTreeSet<Place>,
    /// Whether every namespace of add-ons was looked into. Rights there come from the operator, and
    /// may come later than this agent.
    is_searched: bool,
}

impl Leftovers {
    /// Looks into the common namespace of add-ons and into those that are marked as such.
    async fn search(&mut self, scene: &Scene) {
        self.is_searched = true;
        let selector = format!("{}=true", labels::ADDON_NAMESPACE);
        let api: Api<Namespace> = Api::all(scene.wec.clone());
        let parameters = ListParams::default().labels(&selector);
        let mut namespaces = BTreeSet::from([namespaces::AGENT_ADDON.to_owned()]);
        match api.list_metadata(&parameters).await {
            Ok(marked) => namespaces.extend(marked.items.iter().map(ResourceExt::name_any)),
            Err(error) => self.missed("looked for namespaces of add-ons", &Trouble::of(&error)),
        }
        let selector = format!(
            "{}={},{}",
            labels::CLUSTER_NAME,
            scene.session.identity.cluster,
            labels::ADDON_NAME
        );
        let parameters = ListParams::default().labels(&selector);
        for namespace in namespaces {
            let api: Api<Secret> = Api::namespaced(scene.wec.clone(), &namespace);
            match api.list_metadata(&parameters).await {
                Ok(found) => self.places.extend(
                    found
                        .items
                        .iter()
                        .map(|secret| (namespace.clone(), secret.name_any())),
                ),
                Err(error) => {
                    let what = format!("looked for Secrets of former add-ons in {namespace}");
                    self.missed(&what, &Trouble::of(&error));
                }
            }
        }
    }

    fn missed(&mut self, what: &str, trouble: &Trouble) {
        tracing::info!("{what}: {trouble}; again in {} s", LEASE_PERIOD.as_secs());
        self.is_searched = false;
    }

    /// Deletes those that are not wanted again, and keeps for the next time what could not be.
    async fn remove(&mut self, scene: &Scene, wanted: &BTreeMap<Place, Registration>) {
        for place in std::mem::take(&mut self.places) {
            if !wanted.contains_key(&place) && !remove(scene, &place).await {
                self.places.insert(place);
            }
        }
    }
}

/// Deletes a Secret; whether it is gone.
async fn remove(scene: &Scene, (namespace, name): &Place) -> bool {
    let api: Api<Secret> = Api::namespaced(scene.wec.clone(), namespace);
    match api.delete(name, &Default::default()).await {
        Ok(_) => tracing::info!("Secret {namespace}/{name} of a former add-on is deleted"),
        Err(error) => match Trouble::of(&error) {
            Trouble::NotFound(_) => {}
            trouble => {
                tracing::warn!("deleted Secret {namespace}/{name} of a former add-on: {trouble}");
                return false;
            }
        },
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn addon(name: &str, status: Value) -> ManagedClusterAddOn {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "c1"}, "spec": {}, "status": status,
        }))
        .expect("an add-on")
    }

    fn registrations() -> Value {
        json!([
            {"signerName": CLIENT_SIGNER, "subject": {"user": "u"}},
            {"signerName": "example.com/s"},
        ])
    }

    #[test]
    fn each_registration_has_its_secret_in_the_add_ons_namespace() {
        let addons = [
            addon(
                "hello",
                json!({"namespace": "there", "registrations": registrations()}),
            ),
            addon("plain", json!({})),
        ];
        let wanted = wanted(addons.iter(), false);
        let places: Vec<_> = wanted.into_keys().collect();
        let place = |name: &str| ("there".to_owned(), name.to_owned());
        assert_eq!(
            places,
            [
                place("hello-example.com-s-client-cert"),
                place("hello-hub-kubeconfig")
            ]
        );
    }

    #[test]
    fn add_ons_that_go_or_live_elsewhere_have_no_secrets_here() {
        let mut going = addon("a", json!({"registrations": registrations()}));
        going.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time"));
        let mut hosted = addon("b", json!({"registrations": registrations()}));
        hosted.metadata.annotations =
            Some([(addon_names::HOSTING_CLUSTER.to_owned(), "x".to_owned())].into());
        assert!(wanted([going, hosted].iter(), false).is_empty());
    }

    #[test]
    fn tokens_belong_to_an_account_of_one_uid() {
        let mut with_account = addon("a", json!({"registrations": registrations()}));
        with_account.status.conditions = serde_json::from_value(json!([{
            "type": "TokenInfrastructureReady", "status": "True", "reason": "R",
            "message": "ServiceAccount c1/a-agent (UID: 7-8) is ready",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]))
        .expect("conditions");
        let all = wanted([with_account].iter(), true);
        let uids: Vec<_> = all.values().map(|one| one.account_uid.as_str()).collect();
        assert_eq!(uids, ["", "7-8"], "certificates have none");
    }
}
