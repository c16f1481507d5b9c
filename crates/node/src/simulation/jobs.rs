//! Jobs. Pure.

use hyades_runtime::k8s_openapi::api::batch::v1::Job;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodTemplateSpec;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use serde_json::json;

use super::workloads::Plan;
use super::workloads::Workload;
use super::workloads::pod;
use crate::controllers::CREATE_BURST_MAX;
use crate::controllers::is_active;
use crate::controllers::is_ready;
use crate::controllers::phase;

/// Failures after which a Job gives up, unless it says otherwise; Kubernetes' default.
const BACKOFF_LIMIT: i32 = 6;

impl Workload for Job {
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref().map(|spec| &spec.template)
    }

    fn plan(&self, owned: &[Pod], now: Timestamp) -> Plan {
        let before = serde_json::to_value(&self.status).unwrap_or_default();
        let spec = self.spec.clone().unwrap_or_default();
        if is_finished(self) {
            return Plan {
                status: before,
                ..Plan::default()
            };
        }
        let in_phase = |wanted: &str| owned.iter().filter(|pod| phase(pod) == wanted).count();
        let (succeeded, failed) = (in_phase("Succeeded"), in_phase("Failed"));
        let active: Vec<&Pod> = owned.iter().filter(|pod| is_active(pod)).collect();
        let size = |number: Option<i32>| number.and_then(|it| usize::try_from(it).ok());
        let parallelism = size(spec.parallelism).unwrap_or(1);
        // Without a number of completions, the first success is enough.
        let completions = size(spec.completions);
        let is_complete = match completions {
            Some(completions) => succeeded >= completions,
            None => succeeded > 0 && active.is_empty(),
        };
        let limit = size(spec.backoff_limit.or(Some(BACKOFF_LIMIT))).unwrap_or(0);
        let has_failed = failed > limit;
        let is_suspended = spec.suspend == Some(true);
        let mut plan = Plan::default();
        let delete_active = has_failed || is_suspended;
        if delete_active {
            plan.delete = active.iter().map(|pod| pod.name_any()).collect();
        } else if !is_complete {
            let left = match completions {
                Some(completions) => completions - succeeded,
                None if succeeded > 0 => 0,
                None => parallelism,
            };
            let wanted = parallelism.min(left).saturating_sub(active.len());
            let one = || pod(self, &spec.template, "");
            plan.create = std::iter::repeat_with(one)
                .take(wanted.min(CREATE_BURST_MAX))
                .collect();
        }
        let running = if delete_active { 0 } else { active.len() };
        let ready = active
            .iter()
            .filter(|pod| !delete_active && is_ready(pod))
            .count();
        let mut status = json!({
            "ready": ready, "terminating": 0, "uncountedTerminatedPods": {},
        });
        let counts = [
            ("active", running),
            ("succeeded", succeeded),
            ("failed", failed),
        ];
        for (field, count) in counts {
            status[field] = if count > 0 { json!(count) } else { Value::Null };
        }
        let seconds = Timestamp::from_second(now.as_second())
            .unwrap_or_default()
            .to_string();
        if !is_suspended {
            status["startTime"] = match before["startTime"].as_str() {
                Some(started) => json!(started),
                None => json!(seconds),
            };
        }
        let condition = |type_: &str, reason: &str, message: &str| {
            json!({
                "type": type_, "status": "True", "reason": reason, "message": message,
                "lastProbeTime": seconds, "lastTransitionTime": seconds,
            })
        };
        if is_complete {
            let (reason, message) = (
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
            status["completionTime"] = json!(seconds);
            status["conditions"] = ["SuccessCriteriaMet", "Complete"]
                .map(|type_| condition(type_, reason, message))
                .into_iter()
                .collect();
        } else if has_failed {
            let (reason, message) = (
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            );
            status["conditions"] = ["FailureTarget", "Failed"]
                .map(|type_| condition(type_, reason, message))
                .into_iter()
                .collect();
        } else if is_suspended {
            let kept = before["conditions"].as_array().cloned().unwrap_or_default();
            let told = kept
                .iter()
                .any(|it| it["type"] == "Suspended" && it["status"] == "True");
            status["conditions"] = match told {
                true => json!(kept),
                false => json!([condition("Suspended", "JobSuspended", "Job suspended")]),
            };
        } else {
            status["conditions"] = Value::Null;
        }
        plan.status = status;
        plan
    }
}

fn is_finished(job: &Job) -> bool {
    let conditions = job.status.iter().flat_map(|status| &status.conditions);
    conditions.flatten().any(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(spec: Value, status: Value) -> Job {
        let mut whole = json!({
            "metadata": {"name": "j", "namespace": "n", "uid": "u"},
            "spec": {"template": {"spec": {"containers": [], "restartPolicy": "Never"}}},
            "status": status,
        });
        json_patch::merge(&mut whole["spec"], &spec);
        serde_json::from_value(whole).expect("a job")
    }

    fn in_phase(phase: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "status": {"phase": phase}}))
            .expect("a pod")
    }

    fn told(job: &Job, phases: &[&str]) -> (usize, usize, String) {
        let pods: Vec<Pod> = phases.iter().map(|phase| in_phase(phase)).collect();
        let plan = job.plan(&pods, Timestamp::UNIX_EPOCH);
        let conditions = plan.status["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let last = conditions
            .last()
            .map(|it| it["type"].as_str().unwrap_or_default().to_owned());
        (
            plan.create.len(),
            plan.delete.len(),
            last.unwrap_or_default(),
        )
    }

    #[test]
    fn a_job_runs_to_its_completions_or_to_its_limit_of_failures() {
        let three = job(
            json!({"completions": 3, "parallelism": 2, "backoffLimit": 1}),
            json!({}),
        );
        let told = |phases: &[&str]| told(&three, phases);
        assert_eq!(told(&[]), (2, 0, String::new()));
        assert_eq!(told(&["Running", "Running"]), (0, 0, String::new()));
        assert_eq!(told(&["Succeeded", "Succeeded"]), (1, 0, String::new()));
        assert_eq!(told(&["Succeeded"; 3]), (0, 0, "Complete".to_owned()));
        assert_eq!(told(&["Failed", "Running"]).0, 1);
        assert_eq!(
            told(&["Failed", "Failed", "Running"]),
            (0, 1, "Failed".to_owned())
        );
    }

    #[test]
    fn a_suspended_job_has_no_pods_and_a_finished_one_is_left_alone() {
        let suspended = job(json!({"suspend": true}), json!({}));
        assert_eq!(
            told(&suspended, &["Running"]),
            (0, 1, "Suspended".to_owned())
        );
        let conditions = json!([{"type": "Complete", "status": "True"}]);
        let finished = job(json!({}), json!({"conditions": conditions}));
        assert_eq!(told(&finished, &[]), (0, 0, "Complete".to_owned()));
    }
}
