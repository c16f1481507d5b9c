//! Waiting for pods to be ready.

use super::session::Session;
use crate::wait;
use crate::wait::Look;
use hyades_api::names::labels;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::ListParams;

/// Waits until some pod with label `app` is ready.
///
/// # Errors
///
/// When the session's timeout is over; the error tells what state the pods were in.
pub async fn wait_ready(session: &Session, namespace: &str, app: &str) -> anyhow::Result<()> {
    let target = &session.target;
    let api: Api<Pod> = Api::namespaced(target.client.clone(), namespace);
    let selector = format!("{}={app}", labels::APP);
    let what = format!(
        "a ready pod {selector} in {namespace} of context {:?}",
        target.name
    );
    wait::until(&what, session.timeout, || async {
        let pods = api
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(|error| target.explain(&format!("list pods in {namespace}"), &error))?;
        Ok(match pods.items.iter().any(is_ready) {
            true => Look::Done(()),
            false => Look::NotYet(describe(&pods.items)),
        })
    })
    .await
}

/// Whether a pod is ready, and stays.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.is_some_and(|conditions| {
            conditions
                .iter()
                .any(|condition| condition.type_ == "Ready" && condition.status == "True")
        })
}

/// One clause a pod: its phase, and why its containers are not running.
pub fn describe(pods: &[Pod]) -> String {
    if pods.is_empty() {
        return "no such pods".to_owned();
    }
    let clause = |pod: &Pod| {
        let name = pod.metadata.name.as_deref().unwrap_or("a pod");
        format!("{name} is {}", state(pod))
    };
    pods.iter().map(clause).collect::<Vec<_>>().join(", ")
}

/// A pod's phase, and why its container is not running.
pub fn state(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let phase = status
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("unknown");
    let waiting = status
        .and_then(|status| status.container_statuses.as_ref())
        .and_then(|containers| containers.first())
        .and_then(|container| container.state.as_ref()?.waiting.as_ref());
    match waiting {
        None => phase.to_owned(),
        Some(waiting) => {
            let words = [waiting.reason.as_deref(), waiting.message.as_deref()];
            let words: Vec<&str> = words.into_iter().flatten().collect();
            format!("{phase} ({})", words.join(": "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn pods_are_described_by_phase_and_reason() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "a"},
            "status": {"phase": "Pending", "containerStatuses": [{
                "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10 s"}},
            }]},
        }))
        .expect("a pod");
        assert!(!is_ready(&pod));
        assert_eq!(
            describe(&[pod]),
            "a is Pending (CrashLoopBackOff: back-off 10 s)"
        );
        assert_eq!(describe(&[]), "no such pods");
    }
}
