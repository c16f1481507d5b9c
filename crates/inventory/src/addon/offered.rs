//! One reconciliation per ClusterManagementAddOn: where it goes, which configuration each of its
//! WECs shall ask for now, and how far all have come.

use super::Manager;
use super::configs;
use super::configs::Desired;
use super::install;
use super::observed;
use super::permissions;
use crate::rollout;
use crate::rollout::Group;
use crate::rollout::Progress;
use crate::rollout::State;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ClusterManagementAddOnStatus;
use hyades_api::addon::DefaultConfigReference;
use hyades_api::addon::InstallConfigReference;
use hyades_api::addon::InstallProgression;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::PlacementStrategy;
use hyades_api::addon::conditions as known;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::placement::Placement;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Pause before an add-on is installed again in a WEC whose mailbox is missing; the hub makes it
/// within a second.
const MAILBOX_PAUSE: Duration = Duration::from_secs(1);

type Again = Result<Option<Duration>, Trouble>;

/// The WECs of one placement.
struct Selected {
    strategy: PlacementStrategy,
    /// Nothing while the placement is there and not decided. One that is not there has chosen
    /// nobody, as far as configuration goes.
    groups: Option<Vec<Group>>,
    desired: Desired,
}

pub(super) struct Reconciler {
    manager: Rc<Manager>,
}

impl Reconciler {
    pub(super) fn new(manager: Rc<Manager>) -> Self {
        Self { manager }
    }

    pub(super) async fn reconcile(&self, name: String) -> Again {
        let Some(offered) = self.manager.observed.offered.get(&name) else {
            return Ok(None);
        };
        if offered.metadata.deletion_timestamp.is_some() || install::is_self_managed(&offered) {
            return Ok(None);
        }
        let enabled = self.manager.observed.enabled_of(&name);
        let installed = self.install(&offered, &enabled).await;
        let configured = self.configure(&offered, &enabled).await?;
        self.withdraw(&offered, &enabled).await?;
        let pauses = [installed?, configured];
        Ok(pauses.into_iter().flatten().min())
    }

    /// The decision groups of a placement; nothing while it is not there, or not decided.
    fn groups(&self, strategy: &PlacementStrategy) -> Option<Vec<Group>> {
        let placement = self.placement(strategy)?;
        Group::of(&placement, self.manager.observed.decisions.list())
    }

    fn placement(&self, strategy: &PlacementStrategy) -> Option<Arc<Placement>> {
        let placements = &self.manager.observed.placements;
        placements.get_in(&strategy.namespace, &strategy.name)
    }

    /// Enables and disables the add-on. What goes wrong for one WEC holds up no other.
    async fn install(
        &self,
        offered: &ClusterManagementAddOn,
        enabled: &[Arc<ManagedClusterAddOn>],
    ) -> Again {
        let selected = |strategy: &PlacementStrategy| {
            let groups = self.groups(strategy)?;
            Some(
                groups
                    .into_iter()
                    .flat_map(|group| group.clusters)
                    .collect(),
            )
        };
        let install = install::decide(offered, enabled, selected);
        let name = offered.name_any();
        let (mut again, mut failed) = (None, Ok(()));
        for cluster in install.create {
            let Some(object) = self.manager.observed.cluster(&cluster) else {
                continue;
            };
            if !takes_addons(&object) {
                self.manager.waiting.add(&cluster, &name);
                continue;
            }
            let addon: ManagedClusterAddOn = serde_json::from_value(json!({
                "metadata": {
                    "name": name,
                    "namespace": cluster,
                    "ownerReferences": [observed::owner(offered, true)],
                },
                "spec": {},
            }))
            .map_err(|error| Trouble::Other(error.to_string()))?;
            let api: Api<ManagedClusterAddOn> =
                observed::namespaced(&self.manager.client, &cluster);
            match api.create(&PostParams::default(), &addon).await {
                Ok(_) => tracing::info!("add-on {name} is enabled for {cluster}"),
                Err(error) => match Trouble::of(&error) {
                    Trouble::AlreadyExists(_) => {}
                    // The mailbox is not made yet, or is being deleted.
                    Trouble::NotFound(detail) | Trouble::Forbidden(detail) => {
                        tracing::debug!(
                            "add-on {name} waits for the mailbox of {cluster}: {detail}"
                        );
                        again = Some(MAILBOX_PAUSE);
                    }
                    trouble => failed = Err(trouble),
                },
            }
        }
        for cluster in install.delete {
            let api: Api<ManagedClusterAddOn> =
                observed::namespaced(&self.manager.client, &cluster);
            match api.delete(&name, &Default::default()).await {
                Ok(_) => tracing::info!("add-on {name} is disabled for {cluster}"),
                Err(error) => match Trouble::of(&error) {
                    Trouble::NotFound(_) => {}
                    trouble => failed = Err(trouble),
                },
            }
        }
        failed.map(|()| again)
    }

    /// Withdraws bindings outside mailboxes that no WEC's add-on asks for any more.
    async fn withdraw(
        &self,
        offered: &ClusterManagementAddOn,
        enabled: &[Arc<ManagedClusterAddOn>],
    ) -> Result<(), Trouble> {
        let present = self.manager.observed.bindings.shared(&offered.name_any());
        if present.is_empty() {
            return Ok(());
        }
        let templates = &self.manager.observed.templates;
        let wanted = permissions::wanted_outside(offered, enabled, |name| templates.get(name));
        let Some(wanted) = wanted else {
            return Ok(());
        };
        for binding in present {
            let place = (binding.namespace().unwrap_or_default(), binding.name_any());
            if !wanted.contains(&place) {
                permissions::withdraw(&self.manager.client, &binding).await?;
            }
        }
        Ok(())
    }

    /// Moves WECs to the configuration wanted, as fast as their placement's strategy lets them.
    async fn configure(
        &self,
        offered: &ClusterManagementAddOn,
        enabled: &[Arc<ManagedClusterAddOn>],
    ) -> Again {
        let observed = &self.manager.observed;
        let hashes =
            |kind: &_, namespace: &str, name: &str| observed.fingerprint(kind, namespace, name);
        let defaults = configs::defaults(offered, &hashes);
        let placements = self.placements(offered, &defaults, &hashes);
        let mut members: Vec<BTreeMap<String, (State, Desired)>> =
            vec![BTreeMap::new(); placements.len()];
        let mut moves: Vec<(String, Desired)> = Vec::new();
        let now = Timestamp::now();
        for addon in enabled {
            let cluster = addon.namespace().unwrap_or_default();
            // A WEC of several placements belongs to the last.
            let place = placements.iter().rposition(|selected| {
                let groups = selected.groups.as_ref();
                // One that is not decided may have chosen it: the WEC stays as it is.
                groups.is_none_or(|all| all.iter().any(|group| group.clusters.contains(&cluster)))
            });
            if place.is_some_and(|place| placements[place].groups.is_none()) {
                continue;
            }
            let base = place.map_or(&defaults, |place| &placements[place].desired);
            let references = addon.status.config_references.iter();
            let known = references.filter_map(|reference| reference.desired_config.as_ref());
            let desired = configs::overridden(base, &addon.spec.configs, known, &hashes);
            let state = state(addon, &desired);
            match place {
                Some(place) => {
                    members[place].insert(cluster, (state, desired));
                }
                None if state.progress == Progress::ToApply => moves.push((cluster, desired)),
                None => {}
            }
        }
        let mut status = ClusterManagementAddOnStatus {
            defaultconfig_references: default_references(&defaults),
            install_progressions: Vec::new(),
        };
        let mut again: Option<Timestamp> = None;
        for (selected, members) in placements.iter().zip(&members) {
            let states = members
                .iter()
                .map(|(cluster, (state, _))| (cluster.clone(), *state))
                .collect();
            let strategy = &selected.strategy;
            let Some(groups) = &selected.groups else {
                let before = progression_of(offered, strategy).cloned();
                status.install_progressions.extend(before);
                continue;
            };
            let placement = self.placement(strategy);
            let group = placement
                .as_ref()
                .map(|placement| &placement.spec.decision_strategy.group_strategy);
            let decision = rollout::decide(
                &strategy.rollout_strategy,
                &states,
                groups,
                group.and_then(|group| group.clusters_per_decision_group.as_ref()),
                now,
            );
            for (cluster, (state, desired)) in members {
                if state.progress == Progress::ToApply && decision.go.contains(cluster) {
                    moves.push((cluster.clone(), desired.clone()));
                }
            }
            again = [again, decision.again_at].into_iter().flatten().min();
            let total = groups.iter().map(|group| group.clusters.len()).sum();
            let failed = decision.timed_out.len();
            status
                .install_progressions
                .push(progression(offered, selected, &states, total, failed, now));
        }
        self.report(offered, status).await?;
        for (cluster, desired) in moves {
            self.move_to(&cluster, &offered.name_any(), &desired)
                .await?;
        }
        Ok(again.map(|at| {
            let seconds = at.as_second() - now.as_second();
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1))
        }))
    }

    fn placements(
        &self,
        offered: &ClusterManagementAddOn,
        defaults: &Desired,
        hashes: configs::Fingerprints<'_>,
    ) -> Vec<Selected> {
        let strategy = &offered.spec.install_strategy;
        let placements = strategy.placements.iter();
        let with = |strategy: &PlacementStrategy| {
            let known = progression_of(offered, strategy)
                .into_iter()
                .flat_map(|progression| &progression.config_references)
                .filter_map(|reference| reference.desired_config.as_ref());
            let is_there = self.placement(strategy).is_some();
            Selected {
                strategy: strategy.clone(),
                groups: self.groups(strategy).or_else(|| (!is_there).then(Vec::new)),
                desired: configs::overridden(defaults, &strategy.configs, known, hashes),
            }
        };
        match strategy.r#type.as_str() {
            "Placements" => placements.map(with).collect(),
            _ => Vec::new(),
        }
    }

    async fn report(
        &self,
        offered: &ClusterManagementAddOn,
        status: ClusterManagementAddOnStatus,
    ) -> Result<(), Trouble> {
        if status == offered.status {
            return Ok(());
        }
        let api = Api::<ClusterManagementAddOn>::all(self.manager.client.clone());
        // Lists that became empty must be written as such to replace what is there.
        let body = json!({
            "defaultconfigReferences": status.defaultconfig_references,
            "installProgressions": status.install_progressions,
        });
        let patched = apply::patch_status(&api, offered, body).await;
        patched.map(|_| ()).map_err(|error| Trouble::of(&error))
    }

    /// Lets one WEC ask for a configuration. Its own reconciliation does the rest.
    async fn move_to(&self, cluster: &str, addon: &str, desired: &Desired) -> Result<(), Trouble> {
        let Some(object) = self.manager.observed.enabled.get_in(cluster, addon) else {
            return Ok(());
        };
        let references = configs::references(&object.status.config_references, desired);
        let missing = desired
            .values()
            .flatten()
            .find(|config| config.spec_hash.is_empty());
        let statement = match missing {
            None => known::CONFIGURATIONS_CONFIGURED,
            Some(config) => known::CONFIGURATIONS_NOT_CONFIGURED.with_message(format!(
                "configuration {}/{} is not there, or its own manager has not seen it yet",
                config.namespace, config.name
            )),
        };
        let mut all = object.status.conditions.clone();
        conditions::set(&mut all, &statement, Time(Timestamp::now()));
        let api: Api<ManagedClusterAddOn> = observed::namespaced(&self.manager.client, cluster);
        let body = json!({"configReferences": references, "conditions": all});
        match apply::patch_status(&api, &*object, body).await {
            Ok(_) => Ok(()),
            Err(error) => match Trouble::of(&error) {
                // Gone, or written by others meanwhile: the event brings this add-on back.
                Trouble::NotFound(_) | Trouble::Conflict(_) => Ok(()),
                trouble => Err(trouble),
            },
        }
    }
}

/// Whether a WEC can have add-ons: the mailbox of one that is not accepted, or is going, takes none.
pub(super) fn takes_addons(cluster: &ManagedCluster) -> bool {
    cluster.spec.hub_accepts_client && cluster.metadata.deletion_timestamp.is_none()
}

/// How far a WEC is with the configuration wanted.
fn state(addon: &ManagedClusterAddOn, desired: &Desired) -> State {
    let references = &addon.status.config_references;
    let progressing = conditions::find(&addon.status.conditions, known::PROGRESSING);
    let reason = progressing.map_or("", |found| found.reason.as_str());
    let since = progressing.map(|found| found.last_transition_time.0);
    if !configs::asks_for(references, desired) {
        return State {
            progress: Progress::ToApply,
            since: None,
        };
    }
    let arrived = references
        .iter()
        .all(|reference| reference.last_applied_config == reference.desired_config);
    let progress = match (arrived, reason) {
        (true, _) => Progress::Succeeded,
        (false, "Failed") => Progress::Failed,
        (false, _) => Progress::Progressing,
    };
    State { progress, since }
}

fn default_references(defaults: &Desired) -> Vec<DefaultConfigReference> {
    let reference = |(kind, configs): (&hyades_api::addon::ConfigGroupResource, &Vec<_>)| {
        DefaultConfigReference {
            group: kind.group.clone(),
            resource: kind.resource.clone(),
            desired_config: configs.first().cloned(),
        }
    };
    defaults.iter().map(reference).collect()
}

fn progression_of<'a>(
    offered: &'a ClusterManagementAddOn,
    strategy: &PlacementStrategy,
) -> Option<&'a InstallProgression> {
    let mut all = offered.status.install_progressions.iter();
    all.find(|progression| {
        progression.namespace == strategy.namespace && progression.name == strategy.name
    })
}

/// What to say of one placement.
fn progression(
    offered: &ClusterManagementAddOn,
    selected: &Selected,
    states: &BTreeMap<String, State>,
    total: usize,
    failed: usize,
    now: Timestamp,
) -> InstallProgression {
    let before = progression_of(offered, &selected.strategy);
    let count = |wanted: Progress| {
        let states = states.values();
        states.filter(|state| state.progress == wanted).count()
    };
    let done = count(Progress::Succeeded);
    let started = done + count(Progress::Progressing);
    let complete = total > 0 && done == total;
    let statement = if complete {
        known::COMPLETED.with_message(format!(
            "{done}/{total} completed with no errors, {} failed {failed} timeout.",
            count(Progress::Failed)
        ))
    } else {
        known::IN_PROGRESS.with_message(format!(
            "{started}/{total} progressing..., {} failed {failed} timeout.",
            count(Progress::Failed)
        ))
    };
    let mut all = before.map_or_else(Vec::new, |before| before.conditions.clone());
    conditions::set(&mut all, &statement, Time(now));
    let known_references = before.map(|before| before.config_references.as_slice());
    let references = selected.desired.iter().flat_map(|(kind, configs)| {
        configs.iter().map(move |config| {
            let before = known_references
                .unwrap_or_default()
                .iter()
                .find(|known| known.group == kind.group && known.resource == kind.resource);
            let last = |pick: fn(&InstallConfigReference) -> &Option<_>| {
                if complete {
                    return Some(config.clone());
                }
                before.and_then(|before| pick(before).clone())
            };
            InstallConfigReference {
                group: kind.group.clone(),
                resource: kind.resource.clone(),
                desired_config: Some(config.clone()),
                last_applied_config: last(|reference| &reference.last_applied_config),
                last_known_good_config: last(|reference| &reference.last_known_good_config),
            }
        })
    });
    InstallProgression {
        namespace: selected.strategy.namespace.clone(),
        name: selected.strategy.name.clone(),
        config_references: references.collect(),
        conditions: all,
    }
}
