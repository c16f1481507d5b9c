//! The node object: the host as `kubectl get nodes` and the agents' capacity sums see it.

use std::time::Duration;

use hyades_runtime::k8s_openapi::api::core::v1::Node;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::NodeOptions;

/// How often the node says that it is alive; the kubelet's own status period.
const STATUS_PERIOD: Duration = Duration::from_secs(300);

/// How long to wait after a failed registration.
const RETRY: Duration = Duration::from_secs(1);

/// How many pods the node runs at most. Each is a process of about 10 MB; 110 is the kubelet's
/// default, and a host serves several spaces.
pub(crate) const PODS_MAX: usize = 110;

pub(crate) async fn run(options: NodeOptions, stop: CancellationToken) {
    loop {
        let wait = match register(&options).await {
            Ok(()) => STATUS_PERIOD,
            Err(error) => {
                tracing::warn!(%error, "the node object could not be written");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn register(options: &NodeOptions) -> Result<(), hyades_runtime::kube::Error> {
    let nodes = Api::<Node>::all(options.client.clone());
    let params = PatchParams::apply("hyades-node").force();
    let resources = resources();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": options.node_name, "labels": labels(&options.node_name)},
    });
    let present = nodes.get_opt(&options.node_name).await?;
    if present.is_none() {
        nodes
            .patch(&options.node_name, &params, &Patch::Apply(object))
            .await?;
    }
    let now = Timestamp::now();
    let since = present
        .as_ref()
        .and_then(|node| {
            node.status
                .as_ref()?
                .conditions
                .as_ref()?
                .first()?
                .last_transition_time
                .clone()
        })
        .map_or(now, |time| time.0);
    let status = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": options.node_name},
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "addresses": [{"type": "Hostname", "address": options.node_name}],
            "nodeInfo": node_info(),
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "ProcessNodeReady",
                "message": "the host runs Hyades components as child processes",
                "lastHeartbeatTime": seconds(now),
                "lastTransitionTime": seconds(since),
            }],
        },
    });
    nodes
        .patch_status(&options.node_name, &params, &Patch::Apply(status))
        .await?;
    Ok(())
}

fn seconds(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second())
        .unwrap_or_default()
        .to_string()
}

fn labels(name: &str) -> Value {
    json!({
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": std::env::consts::OS,
        "kubernetes.io/arch": architecture(),
    })
}

/// The architecture's name as Go and therefore Kubernetes spell it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn resources() -> Value {
    let cpu = std::thread::available_parallelism().map_or(1, usize::from);
    json!({
        "cpu": cpu.to_string(),
        "memory": format!("{}Ki", memory_kib().unwrap_or(0)),
        "pods": PODS_MAX.to_string(),
    })
}

fn memory_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn node_info() -> Value {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    json!({
        "architecture": architecture(),
        "bootID": read("/proc/sys/kernel/random/boot_id"),
        "containerRuntimeVersion": format!("hyades://{version}"),
        "kernelVersion": read("/proc/sys/kernel/osrelease"),
        "kubeProxyVersion": "",
        "kubeletVersion": version,
        "machineID": read("/etc/machine-id"),
        "operatingSystem": std::env::consts::OS,
        "osImage": "process node",
        "systemUUID": "",
    })
}
