//! StatefulSets and DaemonSets. Pure.

use hyades_runtime::k8s_openapi::api::apps::v1::DaemonSet;
use hyades_runtime::k8s_openapi::api::apps::v1::StatefulSet;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodTemplateSpec;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

use super::workloads::Plan;
use super::workloads::Workload;
use super::workloads::is_of;
use super::workloads::pod;
use super::workloads::revision;
use crate::controllers::CREATE_BURST_MAX;
use crate::controllers::is_active;
use crate::controllers::is_ready;

impl Workload for StatefulSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.template)
    }

    fn plan(&self, owned: &[Pod], _now: Timestamp) -> Plan {
        let revision = revision(&self.spec.template);
        let members: BTreeMap<usize, &Pod> = owned
            .iter()
            .filter_map(|pod| Some((ordinal(self, pod)?, pod)))
            .collect();
        let replicas = usize::try_from(self.spec.replicas.unwrap_or(1)).unwrap_or(0);
        let parallel = self.spec.pod_management_policy.as_deref() == Some("Parallel");
        let usable = |index: &usize| members.get(index).is_some_and(|pod| is_active(pod));
        let ready = |index: &usize| members.get(index).is_some_and(|pod| is_ready(pod));
        let mut plan = Plan::default();
        // One after the other: the next when all before it are ready.
        let end = match parallel {
            true => replicas,
            false => (0..replicas)
                .find(|index| !ready(index))
                .map_or(replicas, |it| it + 1),
        };
        for index in (0..end)
            .filter(|index| !usable(index))
            .take(CREATE_BURST_MAX)
        {
            match members.get(&index) {
                Some(finished) => plan.delete.push(finished.name_any()),
                None => plan.create.push(member(self, index, &revision)),
            }
        }
        let surplus = members
            .range(replicas..)
            .rev()
            .map(|(_, pod)| pod.name_any());
        plan.delete
            .extend(surplus.take(if parallel { usize::MAX } else { 1 }));
        if plan.create.is_empty() && plan.delete.is_empty() && (0..replicas).all(|it| ready(&it)) {
            let outdated = members.iter().rev().find(|(index, pod)| {
                !is_of(pod, &revision) && **index >= partition(self).unwrap_or(usize::MAX)
            });
            plan.delete.extend(outdated.map(|(_, pod)| pod.name_any()));
        }
        plan.status = stateful_status(self, owned, &revision);
        plan
    }
}

/// From which member on pods are replaced when the template changes; nothing if by hand only.
fn partition(set: &StatefulSet) -> Option<usize> {
    let strategy = set.spec.update_strategy.as_ref();
    if strategy.and_then(|it| it.type_.as_deref()) == Some("OnDelete") {
        return None;
    }
    let rolling = strategy.and_then(|it| it.rolling_update.as_ref());
    let partition = rolling.and_then(|it| it.partition).unwrap_or(0);
    usize::try_from(partition).ok()
}

fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<usize> {
    let name = pod.name_any();
    name.strip_prefix(&format!("{}-", set.name_any()))?
        .parse()
        .ok()
}

fn member(set: &StatefulSet, index: usize, revision: &str) -> Pod {
    let name = format!("{}-{index}", set.name_any());
    let mut pod = pod(set, &set.spec.template, revision);
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(name.clone());
    let labels = pod.labels_mut();
    labels.insert(
        "statefulset.kubernetes.io/pod-name".to_owned(),
        name.clone(),
    );
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), index.to_string());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name);
    spec.subdomain = set.spec.service_name.clone();
    pod
}

fn stateful_status(set: &StatefulSet, owned: &[Pod], revision: &str) -> Value {
    let count = |matches: &dyn Fn(&&Pod) -> bool| {
        let active = owned.iter().filter(|pod| is_active(pod));
        active.filter(matches).count()
    };
    let name = |revision: &str| format!("{}-{revision}", set.name_any());
    let (replicas, ready) = (count(&|_| true), count(&|pod| is_ready(pod)));
    let updated = count(&|pod| is_of(pod, revision));
    let current = set
        .status
        .as_ref()
        .and_then(|status| status.current_revision.clone());
    // A rollout is over once all are updated and ready.
    let is_over = updated == replicas && ready == replicas;
    let current = current
        .filter(|_| !is_over)
        .unwrap_or_else(|| name(revision));
    let of_current = count(&|pod| {
        let own = pod.labels().get(super::workloads::REVISION);
        own.is_some_and(|own| name(own) == current)
    });
    let mut status = json!({
        "replicas": replicas,
        "availableReplicas": ready,
        "collisionCount": 0,
        "currentRevision": current,
        "updateRevision": name(revision),
        "observedGeneration": set.metadata.generation,
    });
    let counts = [
        ("readyReplicas", ready),
        ("currentReplicas", of_current),
        ("updatedReplicas", updated),
    ];
    for (field, count) in counts {
        status[field] = some_or_null(count);
    }
    status
}

/// Counts of nothing are left out, as Go leaves them out.
fn some_or_null(count: usize) -> Value {
    if count > 0 { json!(count) } else { Value::Null }
}

impl Workload for DaemonSet {
    fn template(&self) -> Option<&PodTemplateSpec> {
        Some(&self.spec.template)
    }

    fn plan(&self, owned: &[Pod], _now: Timestamp) -> Plan {
        let revision = revision(&self.spec.template);
        let mut plan = Plan::default();
        let active: Vec<&Pod> = owned.iter().filter(|pod| is_active(pod)).collect();
        // The space has one node.
        if active.is_empty() {
            plan.create.push(pod(self, &self.spec.template, &revision));
        }
        let strategy = self.spec.update_strategy.as_ref();
        let by_hand = strategy.and_then(|it| it.type_.as_deref()) == Some("OnDelete");
        let outdated = active
            .iter()
            .filter(|pod| !by_hand && !is_of(pod, &revision));
        let surplus = active.iter().skip(1);
        let finished = owned
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none() && !is_active(pod));
        plan.delete = outdated
            .chain(surplus)
            .copied()
            .chain(finished)
            .map(|pod| pod.name_any())
            .collect();
        plan.delete.sort();
        plan.delete.dedup();
        let ready = usize::from(active.iter().any(|pod| is_ready(pod)));
        let current = active.len().min(1);
        let updated = usize::from(active.iter().any(|pod| is_of(pod, &revision)));
        plan.status = json!({
            "currentNumberScheduled": current,
            "desiredNumberScheduled": 1,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "observedGeneration": self.metadata.generation,
        });
        let counts = [
            ("numberAvailable", ready),
            ("numberUnavailable", 1 - ready),
            ("updatedNumberScheduled", updated),
        ];
        for (field, count) in counts {
            plan.status[field] = some_or_null(count);
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(replicas: usize, extra: Value) -> StatefulSet {
        let mut set = json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "u", "generation": 2},
            "spec": {"replicas": replicas, "serviceName": "db", "selector": {},
                "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": []}}},
        });
        json_patch::merge(&mut set, &extra);
        serde_json::from_value(set).expect("a set")
    }

    fn member_of(set: &StatefulSet, index: usize, ready: bool) -> Pod {
        let mut pod = member(set, index, &revision(&set.spec.template));
        let ready = if ready { "True" } else { "False" };
        let status =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
        pod.status = Some(serde_json::from_value(status).expect("a status"));
        pod
    }

    fn told(plan: &Plan) -> String {
        let created = plan.create.iter().map(|pod| format!("+{}", pod.name_any()));
        let deleted = plan.delete.iter().map(|name| format!("-{name}"));
        created.chain(deleted).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn members_come_one_after_the_other_and_go_from_the_last() {
        let now = Timestamp::UNIX_EPOCH;
        let three = set(3, json!({}));
        let zero = member_of(&three, 0, false);
        assert_eq!(told(&three.plan(&[], now)), "+db-0");
        assert_eq!(told(&three.plan(&[zero], now)), "");
        let ready: Vec<Pod> = (0..3).map(|it| member_of(&three, it, true)).collect();
        assert_eq!(told(&three.plan(&ready[..1], now)), "+db-1");
        assert_eq!(told(&three.plan(&ready, now)), "");
        assert_eq!(told(&set(1, json!({})).plan(&ready, now)), "-db-2");
        let parallel = set(3, json!({"spec": {"podManagementPolicy": "Parallel"}}));
        assert_eq!(told(&parallel.plan(&[], now)), "+db-0 +db-1 +db-2");
    }

    #[test]
    fn a_changed_template_replaces_members_from_the_last_unless_that_is_for_people() {
        let now = Timestamp::UNIX_EPOCH;
        let old = set(2, json!({}));
        let pods: Vec<Pod> = (0..2).map(|it| member_of(&old, it, true)).collect();
        let changed = json!({"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}});
        assert_eq!(told(&set(2, changed.clone()).plan(&pods, now)), "-db-1");
        let mut by_hand = changed.clone();
        by_hand["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        assert_eq!(told(&set(2, by_hand).plan(&pods, now)), "");
        let mut parted = changed;
        parted["spec"]["updateStrategy"] = json!({"rollingUpdate": {"partition": 2}});
        assert_eq!(told(&set(2, parted).plan(&pods, now)), "");
    }

    #[test]
    fn the_status_of_a_stateful_set_counts_its_members() {
        let set = set(2, json!({}));
        let pods = [member_of(&set, 0, true), member_of(&set, 1, false)];
        let status = set.plan(&pods, Timestamp::UNIX_EPOCH).status;
        assert_eq!(
            (
                &status["replicas"],
                &status["readyReplicas"],
                &status["updatedReplicas"]
            ),
            (&json!(2), &json!(1), &json!(2))
        );
        assert_eq!(status["currentRevision"], status["updateRevision"]);
    }

    #[test]
    fn a_daemon_set_has_one_pod_on_the_one_node() {
        let now = Timestamp::UNIX_EPOCH;
        let set: DaemonSet = serde_json::from_value(json!({
            "metadata": {"name": "log", "namespace": "n", "uid": "u"},
            "spec": {"selector": {}, "template": {"spec": {"containers": []}}},
        }))
        .expect("a set");
        let plan = set.plan(&[], now);
        assert_eq!((plan.create.len(), plan.delete.len()), (1, 0));
        assert_eq!(plan.status["numberUnavailable"], 1);
        let mut pod = plan.create[0].clone();
        pod.metadata.name = Some("log-x".to_owned());
        let status =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        pod.status = Some(serde_json::from_value(status).expect("a status"));
        let plan = set.plan(&[pod], now);
        assert_eq!((plan.create.len(), plan.delete.len()), (0, 0));
        assert_eq!(
            (
                &plan.status["numberReady"],
                &plan.status["updatedNumberScheduled"]
            ),
            (&json!(1), &json!(1))
        );
    }
}
