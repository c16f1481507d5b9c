//! What a Deployment's ReplicaSets should become next.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::apps::v1::DeploymentSpec;
use hyades_runtime::k8s_openapi::api::apps::v1::ReplicaSet;
use hyades_runtime::k8s_openapi::api::apps::v1::ReplicaSetSpec;
use hyades_runtime::k8s_openapi::api::core::v1::PodTemplateSpec;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;

/// The annotation that numbers rollouts.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
/// The label that tells one template's pods from another's.
pub(super) const TEMPLATE_HASH: &str = "pod-template-hash";
/// Kubernetes' default for `revisionHistoryLimit`.
const HISTORY_DEFAULT: i32 = 10;

/// One write that brings the ReplicaSets closer to what the Deployment wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Create a ReplicaSet.
    Create(Box<ReplicaSet>),
    /// Set a ReplicaSet's replica count.
    Scale {
        /// The ReplicaSet.
        name: String,
        /// Its new count.
        replicas: i32,
    },
    /// Give a ReplicaSet a new revision, because its template is in use again.
    Annotate {
        /// The ReplicaSet.
        name: String,
        /// The revision.
        revision: String,
    },
    /// Delete a ReplicaSet that the history no longer needs.
    Delete {
        /// The ReplicaSet.
        name: String,
    },
}

/// Decides the next writes. Calling it again after they are done, and again after pods became
/// available, ends with only the newest template running.
pub fn plan(deployment: &Deployment, owned: &[Arc<ReplicaSet>]) -> Vec<Action> {
    let spec = &deployment.spec;
    let newest = newest(spec, owned);
    let paused = spec.paused == Some(true);
    match newest {
        None if paused => Vec::new(),
        None => vec![Action::Create(Box::new(replica_set(
            deployment, spec, owned,
        )))],
        Some(newest) => {
            let mut actions = renumber(newest, owned);
            actions.extend(match is_recreate(spec) {
                true => recreate(spec, newest, owned),
                false => rolling(spec, newest, owned),
            });
            actions.extend(clean_up(spec, newest, owned));
            actions
        }
    }
}

/// The ReplicaSet that has the Deployment's present template.
pub(super) fn newest<'a>(
    spec: &DeploymentSpec,
    owned: &'a [Arc<ReplicaSet>],
) -> Option<&'a Arc<ReplicaSet>> {
    let wanted = without_hash(&spec.template);
    owned
        .iter()
        .filter(|set| {
            let template = set.spec.template.as_ref();
            template.is_some_and(|template| without_hash(template) == wanted)
        })
        .min_by_key(|set| (set.creation_timestamp(), set.name_any()))
}

/// The revision annotation the Deployment should carry.
pub(super) fn newest_revision(
    deployment: &Deployment,
    owned: &[Arc<ReplicaSet>],
) -> Option<String> {
    let newest = newest(&deployment.spec, owned)?;
    newest.annotations().get(REVISION).cloned()
}

/// Wanted replicas; Kubernetes' default is 1.
pub(super) fn wanted(spec: &DeploymentSpec) -> i32 {
    spec.replicas.unwrap_or(1)
}

fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    if let Some(labels) = template
        .metadata
        .as_mut()
        .and_then(|metadata| metadata.labels.as_mut())
    {
        labels.remove(TEMPLATE_HASH);
    }
    template
}

fn revision(set: &ReplicaSet) -> i64 {
    set.annotations()
        .get(REVISION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(0)
}

fn available(set: &ReplicaSet) -> i32 {
    set.status
        .as_ref()
        .and_then(|status| status.available_replicas)
        .unwrap_or(0)
}

fn is_recreate(spec: &DeploymentSpec) -> bool {
    let strategy = spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.type_.as_deref());
    strategy == Some("Recreate")
}

/// Surge and unavailability of a rolling update, as counts. Surge rounds up, unavailability down,
/// and at least one of them is positive, else nothing could ever move.
pub(super) fn rolling_limits(spec: &DeploymentSpec) -> (i32, i32) {
    let wanted = wanted(spec);
    let rolling = spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.rolling_update.as_ref());
    let quarter = IntOrString::String("25%".to_owned());
    let resolve = |value: Option<&IntOrString>, round_up: bool| match value.unwrap_or(&quarter) {
        IntOrString::Int(count) => *count,
        IntOrString::String(text) => {
            let percent: i32 = text.trim_end_matches('%').parse().unwrap_or(0);
            let hundredths = percent.saturating_mul(wanted);
            if round_up {
                hundredths.saturating_add(99) / 100
            } else {
                hundredths / 100
            }
        }
    };
    let surge = resolve(rolling.and_then(|rolling| rolling.max_surge.as_ref()), true);
    let unavailable = resolve(
        rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
        false,
    );
    if surge <= 0 && unavailable <= 0 {
        (0, 1)
    } else {
        (surge, unavailable)
    }
}

fn replica_set(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    owned: &[Arc<ReplicaSet>],
) -> ReplicaSet {
    let hash = template_hash(&spec.template);
    let mut template = spec.template.clone();
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(TEMPLATE_HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector.clone();
    selector
        .match_labels
        .get_or_insert_default()
        .insert(TEMPLATE_HASH.to_owned(), hash.clone());
    let old: i32 = owned.iter().map(|set| replicas(set)).sum();
    let first = match is_recreate(spec) {
        true if old > 0 => 0,
        true => wanted(spec),
        false => (wanted(spec) + rolling_limits(spec).0 - old).clamp(0, wanted(spec)),
    };
    let revision = owned.iter().map(|set| revision(set)).max().unwrap_or(0) + 1;
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            namespace: deployment.namespace(),
            labels: Some(labels),
            annotations: Some(annotations(spec, revision)),
            owner_references: deployment
                .controller_owner_ref(&())
                .map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(first),
            selector,
            template: Some(template),
            min_ready_seconds: spec.min_ready_seconds,
        },
        status: None,
    }
}

fn annotations(spec: &DeploymentSpec, revision: i64) -> BTreeMap<String, String> {
    let most = wanted(spec) + rolling_limits(spec).0;
    BTreeMap::from([
        (REVISION.to_owned(), revision.to_string()),
        (DESIRED.to_owned(), wanted(spec).to_string()),
        (MAX.to_owned(), most.to_string()),
    ])
}

/// A name-safe hash of a pod template (FNV-1a over its JSON, in Kubernetes' safe alphabet).
pub(crate) fn template_hash(template: &PodTemplateSpec) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let text = serde_json::to_string(&without_hash(template)).unwrap_or_default();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    (0..10)
        .map(|_| {
            let place = usize::try_from(hash % 27).unwrap_or(0);
            hash /= 27;
            char::from(ALPHABET[place])
        })
        .collect()
}

/// A template in use again after newer ones (a rollback) becomes the newest revision.
fn renumber(newest: &ReplicaSet, owned: &[Arc<ReplicaSet>]) -> Vec<Action> {
    let others = owned.iter().filter(|set| set.uid() != newest.uid());
    let highest = others.map(|set| revision(set)).max().unwrap_or(0);
    if revision(newest) > highest {
        return Vec::new();
    }
    vec![Action::Annotate {
        name: newest.name_any(),
        revision: (highest + 1).to_string(),
    }]
}

fn scale(set: &ReplicaSet, to: i32) -> Option<Action> {
    (replicas(set) != to).then(|| Action::Scale {
        name: set.name_any(),
        replicas: to,
    })
}

fn recreate(spec: &DeploymentSpec, newest: &ReplicaSet, owned: &[Arc<ReplicaSet>]) -> Vec<Action> {
    let old = || owned.iter().filter(|set| set.uid() != newest.uid());
    let down: Vec<Action> = old().filter_map(|set| scale(set, 0)).collect();
    let running = old().any(|set| {
        set.status
            .as_ref()
            .is_some_and(|status| status.replicas > 0)
    });
    if !down.is_empty() || running {
        return down;
    }
    scale(newest, wanted(spec)).into_iter().collect()
}

fn rolling(spec: &DeploymentSpec, newest: &ReplicaSet, owned: &[Arc<ReplicaSet>]) -> Vec<Action> {
    let (surge, unavailable) = rolling_limits(spec);
    let wanted = wanted(spec);
    let mut old: Vec<&Arc<ReplicaSet>> = owned
        .iter()
        .filter(|set| set.uid() != newest.uid() && replicas(set) > 0)
        .collect();
    old.sort_by_key(|set| revision(set));
    let old_total: i32 = old.iter().map(|set| replicas(set)).sum();
    let mut actions = Vec::new();
    if replicas(newest) > wanted || old_total == 0 {
        actions.extend(scale(newest, wanted));
    } else {
        let room = (wanted + surge - old_total - replicas(newest)).max(0);
        actions.extend(scale(newest, (replicas(newest) + room).min(wanted)));
    }
    // Pods that are not available can go at once; the others only as far as the limit allows.
    let old_available: i32 = old.iter().map(|set| available(set)).sum();
    let mut unhealthy = old_total - old_available;
    let mut healthy = (available(newest) + old_available - (wanted - unavailable)).max(0);
    for set in old {
        let dead = (replicas(set) - available(set)).min(unhealthy).max(0);
        let live = available(set).min(healthy).max(0);
        unhealthy -= dead;
        healthy -= live;
        actions.extend(scale(set, replicas(set) - dead - live));
    }
    actions
}

fn clean_up(spec: &DeploymentSpec, newest: &ReplicaSet, owned: &[Arc<ReplicaSet>]) -> Vec<Action> {
    let keep = usize::try_from(spec.revision_history_limit.unwrap_or(HISTORY_DEFAULT)).unwrap_or(0);
    let mut idle: Vec<&Arc<ReplicaSet>> = owned
        .iter()
        .filter(|set| {
            set.uid() != newest.uid()
                && replicas(set) == 0
                && set.metadata.deletion_timestamp.is_none()
                && set
                    .status
                    .as_ref()
                    .is_none_or(|status| status.replicas == 0)
        })
        .collect();
    idle.sort_by_key(|set| revision(set));
    let surplus = idle.len().saturating_sub(keep);
    idle[..surplus]
        .iter()
        .map(|set| Action::Delete {
            name: set.name_any(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment(image: &str, replicas: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "n", "uid": "d"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "c", "image": image}]},
                },
            },
        }))
        .expect("a deployment")
    }

    /// The ReplicaSets after the actions, every pod available at once if `ready`.
    fn after(sets: &[Arc<ReplicaSet>], actions: Vec<Action>, ready: bool) -> Vec<Arc<ReplicaSet>> {
        let mut sets: Vec<ReplicaSet> = sets.iter().map(|set| (**set).clone()).collect();
        for action in actions {
            match action {
                Action::Create(mut set) => {
                    set.metadata.uid = set.metadata.name.clone();
                    sets.push(*set);
                }
                Action::Scale { name, replicas } => {
                    let set = sets
                        .iter_mut()
                        .find(|set| set.name_any() == name)
                        .expect("known");
                    set.spec.replicas = Some(replicas);
                }
                Action::Annotate { name, revision } => {
                    let set = sets
                        .iter_mut()
                        .find(|set| set.name_any() == name)
                        .expect("known");
                    set.annotations_mut().insert(REVISION.to_owned(), revision);
                }
                Action::Delete { name } => sets.retain(|set| set.name_any() != name),
            }
        }
        for set in &mut sets {
            let count = replicas(set);
            let status = set.status.get_or_insert_default();
            status.replicas = count;
            status.available_replicas = Some(if ready {
                count
            } else {
                status.available_replicas.unwrap_or(0).min(count)
            });
        }
        sets.into_iter().map(Arc::new).collect()
    }

    #[test]
    fn a_rollout_keeps_availability_and_ends_with_the_new_template_only() {
        let old = deployment("a", 4);
        let mut sets = after(&[], plan(&old, &[]), true);
        assert_eq!(replicas(&sets[0]), 4);
        let new = deployment("b", 4);
        for _ in 0..10 {
            let actions = plan(&new, &sets);
            sets = after(&sets, actions, true);
            let ready: i32 = sets.iter().map(|set| available(set)).sum();
            let total: i32 = sets.iter().map(|set| replicas(set)).sum();
            assert!(ready >= 3 && total <= 5, "{ready} available of {total}");
        }
        let counts: Vec<i32> = sets.iter().map(|set| replicas(set)).collect();
        assert_eq!(counts, [0, 4]);
        assert_eq!(plan(&new, &sets), Vec::new(), "nothing is left to do");
    }

    #[test]
    fn a_template_that_never_becomes_available_does_not_take_the_old_pods_down() {
        let mut sets = after(&[], plan(&deployment("a", 4), &[]), true);
        let new = deployment("broken", 4);
        for _ in 0..10 {
            let actions = plan(&new, &sets);
            sets = after(&sets, actions, false);
        }
        assert!(available(&sets[0]) >= 3, "{:?}", sets[0].status);
    }

    #[test]
    fn going_back_to_an_old_template_reuses_its_set_as_the_newest_revision() {
        let first = deployment("a", 1);
        let second = deployment("b", 1);
        let mut sets = Vec::new();
        for wanted in [
            &first, &first, &second, &second, &second, &first, &first, &first,
        ] {
            let actions = plan(wanted, &sets);
            sets = after(&sets, actions, true);
        }
        assert_eq!(sets.len(), 2);
        assert_eq!(newest_revision(&first, &sets).as_deref(), Some("3"));
    }

    #[test]
    fn recreate_waits_until_the_old_pods_are_gone() {
        let mut old = deployment("a", 2);
        let strategy = serde_json::from_value(json!({"type": "Recreate"})).ok();
        old.spec.strategy = strategy.clone();
        let mut new = deployment("b", 2);
        new.spec.strategy = strategy;
        let sets = after(&[], plan(&old, &[]), true);
        let sets = after(&sets, plan(&new, &sets), true);
        assert_eq!(replicas(&sets[1]), 0);
        let sets = after(&sets, plan(&new, &sets), true);
        assert_eq!(replicas(&sets[0]), 0);
        let sets = after(&sets, plan(&new, &sets), true);
        assert_eq!(replicas(&sets[1]), 2);
    }

    #[test]
    fn history_is_bounded_by_its_limit() {
        let mut sets = Vec::new();
        for image in ["a", "b", "c", "d"] {
            let mut deployment = deployment(image, 1);
            deployment.spec.revision_history_limit = Some(1);
            for _ in 0..5 {
                let actions = plan(&deployment, &sets);
                sets = after(&sets, actions, true);
            }
        }
        assert_eq!(sets.len(), 2);
    }
}
