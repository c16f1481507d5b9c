//! What a pod's status says about its processes.

use hyades_runtime::k8s_openapi::api::core::v1::ContainerState;
use hyades_runtime::k8s_openapi::api::core::v1::ContainerStateRunning;
use hyades_runtime::k8s_openapi::api::core::v1::ContainerStateTerminated;
use hyades_runtime::k8s_openapi::api::core::v1::ContainerStateWaiting;
use hyades_runtime::k8s_openapi::api::core::v1::ContainerStatus;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodCondition;
use hyades_runtime::k8s_openapi::api::core::v1::PodIP;
use hyades_runtime::k8s_openapi::api::core::v1::PodStatus;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::k8s_openapi::jiff::Timestamp;

use crate::process::Ended;
use crate::simulation;

/// What the node knows of one container.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The container's name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// How often it was restarted.
    pub restarts: i32,
    /// What it does now.
    pub now: Now,
    /// How its run before ended.
    pub last: Option<Finished>,
    /// Whether its readiness probe agrees (true without one) while it runs.
    pub ready: bool,
}

/// What a container does now.
#[derive(Debug, Clone, PartialEq)]
pub enum Now {
    /// Not running, with a reason such as `CrashLoopBackOff`.
    Waiting {
        /// The reason.
        reason: &'static str,
        /// Details for a person.
        message: Option<String>,
    },
    /// Running.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// Ended for good.
    Ended(Finished),
}

/// A finished run.
#[derive(Debug, Clone, PartialEq)]
pub struct Finished {
    /// How it ended.
    pub ended: Ended,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

/// The status of a pod that runs on this node.
pub fn running(pod: &Pod, containers: &[Observed], now: Timestamp) -> PodStatus {
    let before = pod.status.clone().unwrap_or_default();
    let all_ready = containers
        .iter()
        .all(|container| container.ready && is_running(container));
    let unready = "containers with unready status";
    let names: Vec<&str> = containers
        .iter()
        .filter(|container| !(container.ready && is_running(container)))
        .map(|container| container.name.as_str())
        .collect();
    let readiness = |type_: &str| {
        let mut condition = condition(type_, all_ready, now);
        if !all_ready {
            condition.reason = Some("ContainersNotReady".to_owned());
            condition.message = Some(format!("{unready}: [{}]", names.join(" ")));
        }
        condition
    };
    let conditions = vec![
        condition("PodScheduled", true, now),
        condition("Initialized", true, now),
        readiness("ContainersReady"),
        readiness("Ready"),
    ];
    PodStatus {
        phase: Some(phase(containers).to_owned()),
        conditions: Some(
            conditions
                .into_iter()
                .map(|new| keep_time(&before, new))
                .collect(),
        ),
        host_ip: Some("127.0.0.1".to_owned()),
        pod_ip: Some("127.0.0.1".to_owned()),
        pod_ips: Some(vec![PodIP {
            ip: "127.0.0.1".to_owned(),
        }]),
        start_time: before.start_time.or_else(|| Some(seconds(now))),
        container_statuses: Some(containers.iter().map(container_status).collect()),
        qos_class: before.qos_class,
        observed_generation: pod.metadata.generation,
        ..PodStatus::default()
    }
}

/// The status of a pod that only seems to run.
pub fn simulated(pod: &Pod, containers: &[Observed], now: Timestamp) -> PodStatus {
    let mut status = running(pod, containers, now);
    let before = pod.status.clone().unwrap_or_default();
    let mut mark = condition(simulation::CONDITION, true, now);
    mark.reason = Some("NoContainerRuntime".to_owned());
    mark.message = Some("This host simulates workloads: no container runs.".to_owned());
    let conditions = status.conditions.get_or_insert_default();
    conditions.push(keep_time(&before, mark));
    status
}

/// The status of a pod that cannot run here.
pub fn refused(pod: &Pod, message: &str, now: Timestamp) -> PodStatus {
    let before = pod.status.clone().unwrap_or_default();
    let mut scheduled = condition("PodScheduled", false, now);
    scheduled.reason = Some("Unschedulable".to_owned());
    scheduled.message = Some(message.to_owned());
    let conditions = Some(vec![keep_time(&before, scheduled)]);
    PodStatus {
        phase: Some("Pending".to_owned()),
        conditions,
        ..before
    }
}

fn is_running(container: &Observed) -> bool {
    matches!(container.now, Now::Running { .. })
}

fn phase(containers: &[Observed]) -> &'static str {
    let ended = |container: &Observed| match &container.now {
        Now::Ended(finished) => Some(finished.ended.exit_code == 0),
        _ => None,
    };
    if containers
        .iter()
        .all(|container| ended(container).is_some())
    {
        let all_good = containers
            .iter()
            .all(|container| ended(container) == Some(true));
        return if all_good { "Succeeded" } else { "Failed" };
    }
    let started = |container: &Observed| is_running(container) || container.last.is_some();
    if containers
        .iter()
        .any(|container| started(container) || ended(container).is_some())
    {
        "Running"
    } else {
        "Pending"
    }
}

fn condition(type_: &str, status: bool, now: Timestamp) -> PodCondition {
    PodCondition {
        type_: type_.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        last_transition_time: Some(seconds(now)),
        ..PodCondition::default()
    }
}

fn keep_time(before: &PodStatus, mut new: PodCondition) -> PodCondition {
    let old = before
        .conditions
        .iter()
        .flatten()
        .find(|old| old.type_ == new.type_);
    if let Some(old) = old.filter(|old| old.status == new.status) {
        new.last_transition_time = old.last_transition_time.clone();
    }
    new
}

fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or_default())
}

fn terminated(finished: &Finished) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: finished.ended.exit_code,
        reason: Some(finished.ended.reason.to_owned()),
        started_at: Some(seconds(finished.started)),
        finished_at: Some(seconds(finished.finished)),
        ..ContainerStateTerminated::default()
    }
}

fn container_status(container: &Observed) -> ContainerStatus {
    let mut state = ContainerState::default();
    match &container.now {
        Now::Waiting { reason, message } => {
            state.waiting = Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: message.clone(),
            });
        }
        Now::Running { since } => {
            state.running = Some(ContainerStateRunning {
                started_at: Some(seconds(*since)),
            });
        }
        Now::Ended(finished) => state.terminated = Some(terminated(finished)),
    }
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone(),
        image_id: container.image.clone(),
        ready: container.ready && is_running(container),
        started: Some(is_running(container)),
        restart_count: container.restarts,
        state: Some(state),
        last_state: container.last.as_ref().map(|finished| ContainerState {
            terminated: Some(terminated(finished)),
            ..ContainerState::default()
        }),
        ..ContainerStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(now: Now, ready: bool) -> Observed {
        Observed {
            name: "c".to_owned(),
            image: "hyades".to_owned(),
            restarts: 0,
            now,
            last: None,
            ready,
        }
    }

    fn finished(exit_code: i32) -> Finished {
        Finished {
            ended: Ended {
                exit_code,
                reason: "Completed",
            },
            started: Timestamp::UNIX_EPOCH,
            finished: Timestamp::UNIX_EPOCH,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn a_running_pod_is_ready_only_when_its_probe_agrees() {
        let unready = running(
            &Pod::default(),
            &[observed(Now::Running { since: at(1) }, false)],
            at(2),
        );
        assert_eq!(unready.phase.as_deref(), Some("Running"));
        let ready = unready
            .conditions
            .expect("conditions")
            .pop()
            .expect("ready");
        assert_eq!(
            (ready.type_.as_str(), ready.status.as_str()),
            ("Ready", "False")
        );
        assert_eq!(
            ready.message.as_deref(),
            Some("containers with unready status: [c]")
        );
    }

    #[test]
    fn transition_times_change_only_with_the_status() {
        let container = observed(Now::Running { since: at(1) }, true);
        let mut pod = Pod {
            status: None,
            ..Pod::default()
        };
        pod.status = Some(running(&pod, std::slice::from_ref(&container), at(2)));
        assert_eq!(
            running(&pod, &[container], at(9)),
            pod.status.expect("status")
        );
    }

    #[test]
    fn the_phase_follows_the_containers() {
        let waiting = Now::Waiting {
            reason: "ContainerCreating",
            message: None,
        };
        assert_eq!(phase(&[observed(waiting.clone(), false)]), "Pending");
        assert_eq!(
            phase(&[observed(Now::Ended(finished(0)), false)]),
            "Succeeded"
        );
        assert_eq!(phase(&[observed(Now::Ended(finished(1)), false)]), "Failed");
        let mut crashed = observed(waiting, false);
        crashed.last = Some(finished(1));
        assert_eq!(phase(&[crashed]), "Running");
    }

    #[test]
    fn a_refused_pod_says_why_it_stays_pending() {
        let status = refused(&Pod::default(), "no such luck", at(1));
        let condition = status.conditions.expect("conditions").remove(0);
        assert_eq!(condition.reason.as_deref(), Some("Unschedulable"));
        assert_eq!(condition.message.as_deref(), Some("no such luck"));
    }
}
