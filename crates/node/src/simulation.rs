//! What becomes of pods that run nothing: a plain simulation of a kubelet, for trying out how
//! workloads and their status travel where there is no container runtime. Pure.
//!
//! A pod comes to be ready after a while; one that is meant to end (`restartPolicy` other than
//! `Always`) ends well after it. Annotations on the pod ask for another time, and for failure.
//! Every simulated pod says so, in a condition of its own.

mod jobs;
mod sets;
pub(crate) mod workloads;

use std::time::Duration;

use hyades_runtime::k8s_openapi::api::core::v1::Container;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube::ResourceExt;

use crate::process::Ended;
use crate::status::Finished;
use crate::status::Now;
use crate::status::Observed;

/// Annotation: after how many seconds the pod is ready, or ends; a fraction is allowed.
pub const READY_AFTER: &str = "hyades.io/simulate-ready-after";

/// Annotation: the exit code, other than 0, with which the containers fail.
pub const EXIT_CODE: &str = "hyades.io/simulate-exit-code";

/// Type of the condition that tells a simulated pod from one that runs.
pub const CONDITION: &str = "hyades.io/Simulated";

/// Longest time to readiness: a day, which outlasts every trial.
const READY_AFTER_SECONDS_MAX: f64 = 86_400.0;

/// Simulated pods of a space at a time. Each is a task and some kilobytes, as many as 45 nodes hold.
pub(crate) const PODS_MAX: usize = 5_000;

/// How pods are simulated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Simulation {
    /// How long a pod takes to be ready, unless it says otherwise.
    pub ready_after: Duration,
}

/// What a pod comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum End {
    /// It runs until it is deleted.
    Ready,
    /// Its containers end with this code and stay so.
    Exited(i32),
    /// Its containers end with this code again and again.
    Crashing(i32),
}

/// The life of a simulated pod.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Course {
    /// How long it is not ready.
    pub(crate) after: Duration,
    /// What it comes to then.
    pub(crate) end: End,
}

/// Decides on a pod's life.
///
/// # Errors
/// What is wrong with an annotation.
pub(crate) fn course(pod: &Pod, simulation: Simulation) -> Result<Course, String> {
    let annotations = pod.annotations();
    let after = match annotations.get(READY_AFTER) {
        None => simulation.ready_after,
        Some(text) => seconds(text).ok_or_else(|| {
            format!(
                "annotation {READY_AFTER} is {text:?}; it takes seconds from 0 to {READY_AFTER_SECONDS_MAX}, such as \"2.5\""
            )
        })?,
    };
    let exit_code = match annotations.get(EXIT_CODE) {
        None => None,
        Some(text) => {
            let code = text.parse().ok().filter(|code| (1..=255).contains(code));
            Some(code.ok_or_else(|| {
                format!("annotation {EXIT_CODE} is {text:?}; it takes a number from 1 to 255")
            })?)
        }
    };
    let spec = pod.spec.as_ref();
    let policy = spec.and_then(|spec| spec.restart_policy.as_deref());
    let end = match (policy, exit_code) {
        (Some("Never"), code) => End::Exited(code.unwrap_or(0)),
        (Some("OnFailure"), None) => End::Exited(0),
        (_, Some(code)) => End::Crashing(code),
        (_, None) => End::Ready,
    };
    Ok(Course { after, end })
}

/// Reads a number of seconds.
///
/// # Errors
/// Anything but a number within bounds; see [`READY_AFTER`].
pub fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    let fits = (0.0..=READY_AFTER_SECONDS_MAX).contains(&seconds);
    fits.then(|| Duration::from_secs_f64(seconds))
}

/// The containers of a pod that was just started.
pub(crate) fn started(pod: &Pod, since: Timestamp) -> Vec<Observed> {
    let one = |container: &Container| observed(container, Now::Running { since }, None);
    containers(pod).map(one).collect()
}

/// The containers of a pod that has come to its end.
pub(crate) fn ended(pod: &Pod, end: End, started: Timestamp, now: Timestamp) -> Vec<Observed> {
    let finished = |exit_code: i32| Finished {
        ended: Ended {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" },
        },
        started,
        finished: now,
    };
    let one = |container: &Container| match end {
        End::Ready => Observed {
            ready: true,
            ..observed(container, Now::Running { since: started }, None)
        },
        End::Exited(code) => observed(container, Now::Ended(finished(code)), None),
        End::Crashing(code) => {
            let waiting = Now::Waiting {
                reason: "CrashLoopBackOff",
                message: Some(format!("simulated: the container exits with code {code}")),
            };
            Observed {
                restarts: 1,
                ..observed(container, waiting, Some(finished(code)))
            }
        }
    };
    containers(pod).map(one).collect()
}

fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| &spec.containers)
}

fn observed(container: &Container, now: Now, last: Option<Finished>) -> Observed {
    Observed {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        restarts: 0,
        now,
        last,
        ready: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status;
    use serde_json::Value;
    use serde_json::json;

    const SIMULATION: Simulation = Simulation {
        ready_after: Duration::from_secs(1),
    };

    fn pod(policy: Value, annotations: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": annotations},
            "spec": {
                "containers": [{"name": "c", "image": "nginx"}], "restartPolicy": policy,
            },
        }))
        .expect("a pod")
    }

    #[test]
    fn a_pod_is_ready_after_a_while_and_one_that_is_meant_to_end_ends() {
        let ends = |policy: Value, annotations: Value| {
            let course = course(&pod(policy, annotations), SIMULATION).expect("a course");
            (course.after.as_millis(), course.end)
        };
        assert_eq!(ends(json!(null), json!({})), (1000, End::Ready));
        let slow = json!({READY_AFTER: "2.5"});
        assert_eq!(ends(json!("Always"), slow), (2500, End::Ready));
        assert_eq!(ends(json!("Never"), json!({})), (1000, End::Exited(0)));
        assert_eq!(ends(json!("OnFailure"), json!({})), (1000, End::Exited(0)));
        let fails = json!({EXIT_CODE: "3"});
        assert_eq!(ends(json!("Never"), fails.clone()), (1000, End::Exited(3)));
        assert_eq!(ends(json!(null), fails), (1000, End::Crashing(3)));
    }

    #[test]
    fn an_annotation_that_makes_no_sense_is_told() {
        for (annotation, text) in [
            (READY_AFTER, "soon"),
            (READY_AFTER, "-1"),
            (READY_AFTER, "NaN"),
            (READY_AFTER, "86401"),
            (EXIT_CODE, "0"),
            (EXIT_CODE, "256"),
        ] {
            let told = course(&pod(json!(null), json!({annotation: text})), SIMULATION);
            let told = told.expect_err("an error");
            assert!(told.contains(annotation) && told.contains(text), "{told}");
        }
    }

    #[test]
    fn phases_follow_the_end() {
        let pod = pod(json!(null), json!({}));
        let phase = |containers: &[Observed]| {
            let status = status::running(&pod, containers, Timestamp::UNIX_EPOCH);
            status.phase.unwrap_or_default()
        };
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(phase(&started(&pod, now)), "Running");
        let end = |end| phase(&ended(&pod, end, now, now));
        assert_eq!(end(End::Ready), "Running");
        assert_eq!(end(End::Exited(0)), "Succeeded");
        assert_eq!(end(End::Exited(1)), "Failed");
        assert_eq!(end(End::Crashing(1)), "Running");
    }
}
