//! The pods of one purpose, and the last trouble in their logs.

use super::ask;
use super::logs;
use crate::clusteradm::pods;
use crate::hyades::doctor::observed::PodFacts;
use crate::hyades::doctor::observed::Pods;
use crate::hyades::doctor::observed::Read;
use hyades_api::names::labels;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::LogParams;

/// Most pods of one purpose that are looked at: a purpose has one to three.
const PODS_MAX: usize = 8;
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
            state: pods::state(pod),
            last_error: last_error(&api, &name).await,
            name,
        });
    }
    Ok(facts)
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
