//! The pods of one purpose, and the last trouble in their logs.

use super::ask;
use super::logs;
use crate::clusteradm::pods;
use crate::hyades::doctor::observed::PodFacts;
use crate::hyades::doctor::observed::Pods;
use crate::hyades::doctor::observed::Read;
use hyades_api::names::labels;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::ContainerStatus;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::LogParams;
use jiff::SignedDuration;
use jiff::Timestamp;

/// Most pods of one purpose that are looked at: a purpose has one to three.
const PODS_MAX: usize = 8;
/// How long a pod may be without its first good probe: upstream's components are probed after two
/// seconds and then every ten.
const STARTING: SignedDuration = SignedDuration::from_secs(15);
/// Lines read from the end of a log.
const LOG_LINES: i64 = 200;
/// Most bytes of a log that are read: as many lines, and long ones.
const LOG_BYTES_MAX: i64 = 256 * 1024;

/// Looks at the pods in `namespace` whose label `app` is one of `apps`.
pub async fn observe(client: &Client, namespace: &'static str, apps: &[&str]) -> Pods {
    let selector = format!("{} in ({})", labels::APP, apps.join(","));
    let labelled = ListParams::default().labels(&selector);
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let what = format!("the Deployments in {namespace}");
    let deployments = ask(&what, deployments.list(&ListParams::default())).await;
    let deployments = deployments.map(|list| {
        let of_apps = list.items.iter().filter(|found| is_of(found, apps));
        of_apps.map(ResourceExt::name_any).collect()
    });
    Pods {
        namespace,
        deployments,
        pods: pods_of(client, namespace, &labelled).await,
    }
}

/// Whether the pods of a Deployment carry one of these labels.
fn is_of(deployment: &Deployment, apps: &[&str]) -> bool {
    let template = deployment.spec.template.metadata.as_ref();
    let labels = template.and_then(|meta| meta.labels.as_ref());
    let app = labels.and_then(|labels| labels.get(labels::APP));
    app.is_some_and(|app| apps.contains(&app.as_str()))
}

async fn pods_of(client: &Client, namespace: &str, labelled: &ListParams) -> Read<Vec<PodFacts>> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = ask(&format!("the pods in {namespace}"), api.list(labelled)).await?;
    let mut facts = Vec::new();
    for pod in found.items.iter().take(PODS_MAX) {
        let name = pod.name_any();
        facts.push(PodFacts {
            is_ready: pods::is_ready(pod),
            is_starting: is_starting(pod, Timestamp::now()),
            state: pods::state(pod),
            last_error: last_error(&api, &name).await,
            name,
        });
    }
    Ok(facts)
}

/// Whether a pod has run for less than [`STARTING`], and not before.
fn is_starting(pod: &Pod, now: Timestamp) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_deref());
    let started = |status: &ContainerStatus| {
        let running = status.state.as_ref()?.running.as_ref()?;
        Some(running.started_at.as_ref()?.0)
    };
    containers.is_some_and(|containers| {
        !containers.is_empty()
            && containers.iter().all(|container| {
                container.restart_count == 0
                    && started(container).is_some_and(|at| now.duration_since(at) < STARTING)
            })
    })
}

/// The last trouble in a pod's log. A container that has not run has none.
async fn last_error(api: &Api<Pod>, name: &str) -> Option<String> {
    let parameters = LogParams {
        tail_lines: Some(LOG_LINES),
        limit_bytes: Some(LOG_BYTES_MAX),
        ..LogParams::default()
    };
    let what = format!("the log of {name}");
    let log = ask(&what, api.logs(name, &parameters)).await.ok()?;
    logs::last_error(&log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_starts_for_seconds_and_once() {
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().expect("a time");
        let starting = |restarts: i32, state: serde_json::Value| {
            let pod = json!({"status": {"containerStatuses": [{
                "name": "hub", "image": "", "imageID": "", "ready": false,
                "restartCount": restarts, "state": state,
            }]}});
            is_starting(&serde_json::from_value(pod).expect("a pod"), now)
        };
        let running = |at: &str| json!({"running": {"startedAt": at}});
        assert!(starting(0, running("2026-11-24T11:59:58Z")));
        assert!(!starting(0, running("2026-11-24T11:59:30Z")));
        assert!(!starting(1, running("2026-11-24T11:59:58Z")));
        assert!(!starting(
            0,
            json!({"waiting": {"reason": "CrashLoopBackOff"}})
        ));
        assert!(!is_starting(&Pod::default(), now));
    }
}
