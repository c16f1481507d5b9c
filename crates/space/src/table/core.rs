//! The core group's kinds, but for pods' and events' rows, and leases.

use serde_json::Value;

use super::AGE;
use super::Header;
use super::NAME;
use super::Printer;
use super::cells;
use super::event;
use super::pod;
use super::view::NONE;
use super::view::UNKNOWN;
use super::view::UNSET;
use super::view::View;

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        group: "",
        plural: "namespaces",
        columns: &[
            NAME,
            Header::text("Status", "Active, or Terminating while it is emptied."),
            AGE,
        ],
        row: |view| vec![view.name(), view.text("/status/phase"), view.age()],
    },
    Printer {
        group: "",
        plural: "configmaps",
        columns: &[NAME, Header::text("Data", "How many keys it holds."), AGE],
        row: |view| {
            vec![
                view.name(),
                Value::from(view.len("/data") + view.len("/binaryData")),
                view.age(),
            ]
        },
    },
    Printer {
        group: "",
        plural: "secrets",
        columns: &[
            NAME,
            Header::text("Type", "What kind of secret it is."),
            Header::text("Data", "How many keys it holds."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                view.text("/type"),
                Value::from(view.len("/data")),
                view.age(),
            ]
        },
    },
    Printer {
        group: "",
        plural: "serviceaccounts",
        columns: &[NAME, AGE],
        row: |view| vec![view.name(), view.age()],
    },
    Printer {
        group: "",
        plural: "pods",
        columns: POD_COLUMNS,
        row: pod::row,
    },
    Printer {
        group: "",
        plural: "nodes",
        columns: NODE_COLUMNS,
        row: node_row,
    },
    Printer {
        group: "",
        plural: "services",
        columns: SERVICE_COLUMNS,
        row: service_row,
    },
    Printer {
        group: "",
        plural: "endpoints",
        columns: &[NAME, Header::text("Endpoints", "Addresses and ports."), AGE],
        row: |view| vec![view.name(), Value::from(endpoints(view)), view.age()],
    },
    Printer {
        group: "",
        plural: "events",
        columns: event::COLUMNS,
        row: |view| event::row(view, &event::CORE),
    },
    Printer {
        group: "events.k8s.io",
        plural: "events",
        columns: event::COLUMNS,
        row: |view| event::row(view, &event::EVENTS),
    },
    Printer {
        group: "coordination.k8s.io",
        plural: "leases",
        columns: &[NAME, Header::text("Holder", "Who holds the lease."), AGE],
        row: |view| vec![view.name(), view.text("/spec/holderIdentity"), view.age()],
    },
    Printer {
        group: "",
        plural: "persistentvolumeclaims",
        columns: &[
            NAME,
            Header::text("Status", "Whether the claim is bound."),
            Header::text("Volume", "The volume it is bound to."),
            Header::text("Capacity", "The size of that volume."),
            Header::text("Access Modes", "How the volume may be mounted."),
            Header::text("StorageClass", "The class asked for."),
            Header::text(
                "VolumeAttributesClass",
                "The class of further attributes asked for.",
            ),
            AGE,
            Header::text("VolumeMode", "File system or block device.").wide(),
        ],
        row: claim_row,
    },
    Printer {
        group: "",
        plural: "persistentvolumes",
        columns: &[
            NAME,
            Header::text("Capacity", "The size."),
            Header::text("Access Modes", "How it may be mounted."),
            Header::text("Reclaim Policy", "What happens to it when its claim goes."),
            Header::text("Status", "Whether it is bound."),
            Header::text("Claim", "The claim it is bound to."),
            Header::text("StorageClass", "The class it belongs to."),
            Header::text(
                "VolumeAttributesClass",
                "The class of its further attributes.",
            ),
            Header::text("Reason", "Why it is in its state."),
            AGE,
            Header::text("VolumeMode", "File system or block device.").wide(),
        ],
        row: volume_row,
    },
    Printer {
        group: "",
        plural: "resourcequotas",
        columns: &[
            NAME,
            Header::text("Request", "Used and allowed amounts."),
            Header::text("Limit", "Used and allowed limits."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                quota(view, false),
                quota(view, true),
                view.age(),
            ]
        },
    },
    Printer {
        group: "",
        plural: "podtemplates",
        columns: &[
            NAME,
            Header::text("Containers", "The names of the containers."),
            Header::text("Images", "The images of the containers."),
            Header::text("Pod Labels", "The labels of the pods."),
        ],
        row: |view| {
            let [names, images] = cells::containers(view, "/template/spec/containers");
            let labels = cells::labels(view, "/template/metadata/labels");
            vec![view.name(), names, images, Value::from(labels)]
        },
    },
];

const POD_COLUMNS: &[Header] = &[
    NAME,
    Header::text("Ready", "Containers that are ready, of all."),
    Header::text("Status", "What the pod is doing, or why it is not."),
    Header::text(
        "Restarts",
        "Restarts of the containers, and when the last one was.",
    ),
    AGE,
    Header::text("IP", "The pod's address.").wide(),
    Header::text("Node", "The node it runs on.").wide(),
    Header::text("Nominated Node", "The node that makes room for it.").wide(),
    Header::text(
        "Readiness Gates",
        "Further conditions of readiness that hold, of all.",
    )
    .wide(),
];

const NODE_COLUMNS: &[Header] = &[
    NAME,
    Header::text("Status", "Whether the node is ready and takes pods."),
    Header::text("Roles", "The node's roles."),
    AGE,
    Header::text("Version", "The version of the node's agent."),
    Header::text("Internal-IP", "The address inside the cluster.").wide(),
    Header::text("External-IP", "The address outside the cluster.").wide(),
    Header::text("OS-Image", "The operating system.").wide(),
    Header::text("Kernel-Version", "The kernel.").wide(),
    Header::text("Container-Runtime", "What runs the containers.").wide(),
];

fn node_row(view: View<'_>) -> Vec<Value> {
    let mut status = match view.condition("Ready") {
        Some(ready) if ready.str("/status") == "True" => "Ready".to_owned(),
        Some(_) => "NotReady".to_owned(),
        None => "Unknown".to_owned(),
    };
    if view.is_true("/spec/unschedulable") {
        status.push_str(",SchedulingDisabled");
    }
    let address = |kind: &str| {
        let mut addresses = view.items("/status/addresses");
        let found = addresses.find(|address| address.str("/type") == kind);
        Value::from(found.map_or(NONE, |address| address.str("/address")))
    };
    vec![
        view.name(),
        Value::from(status),
        Value::from(node_roles(view)),
        view.age(),
        view.text("/status/nodeInfo/kubeletVersion"),
        address("InternalIP"),
        address("ExternalIP"),
        view.text_or("/status/nodeInfo/osImage", UNKNOWN),
        view.text_or("/status/nodeInfo/kernelVersion", UNKNOWN),
        view.text_or("/status/nodeInfo/containerRuntimeVersion", UNKNOWN),
    ]
}

fn node_roles(view: View<'_>) -> String {
    let labels = view.get("/metadata/labels").and_then(Value::as_object);
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(
            |(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
                None if key == "kubernetes.io/role" => value.as_str(),
                role => role,
            },
        )
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    roles.dedup();
    if roles.is_empty() {
        NONE.into()
    } else {
        roles.join(",")
    }
}

const SERVICE_COLUMNS: &[Header] = &[
    NAME,
    Header::text("Type", "How the service is reached."),
    Header::text("Cluster-IP", "The address inside the cluster."),
    Header::text("External-IP", "The addresses outside the cluster."),
    Header::text("Port(s)", "The ports it serves."),
    AGE,
    Header::text("Selector", "The labels of the pods behind it.").wide(),
];

fn service_row(view: View<'_>) -> Vec<Value> {
    let ports: Vec<String> = view
        .items("/spec/ports")
        .map(|port| {
            let (number, protocol) = (port.int("/port"), port.str("/protocol"));
            match port.int("/nodePort") {
                0 => format!("{number}/{protocol}"),
                node_port => format!("{number}:{node_port}/{protocol}"),
            }
        })
        .collect();
    let ports = if ports.is_empty() {
        NONE.into()
    } else {
        ports.join(",")
    };
    vec![
        view.name(),
        view.text("/spec/type"),
        view.text_or("/spec/clusterIP", NONE),
        Value::from(external_addresses(view)),
        Value::from(ports),
        view.age(),
        Value::from(cells::labels(view, "/spec/selector")),
    ]
}

fn external_addresses(view: View<'_>) -> String {
    let mut addresses: Vec<&str> = view
        .items("/spec/externalIPs")
        .map(|ip| ip.str(""))
        .collect();
    let balancer = cells::load_balancer(view);
    match view.str("/spec/type") {
        "ExternalName" => return view.str("/spec/externalName").to_owned(),
        "LoadBalancer" => {
            if !balancer.is_empty() {
                addresses.splice(0..0, balancer.split(','));
            }
            if addresses.is_empty() {
                return "<pending>".into();
            }
        }
        _ => {}
    }
    if addresses.is_empty() {
        NONE.into()
    } else {
        addresses.join(",")
    }
}

fn endpoints(view: View<'_>) -> String {
    let mut all = Vec::new();
    for subset in view.items("/subsets") {
        let addresses: Vec<&str> = subset
            .items("/addresses")
            .map(|address| address.str("/ip"))
            .collect();
        if subset.len("/ports") == 0 {
            all.extend(addresses.iter().map(|ip| (*ip).to_owned()));
        }
        for port in subset.items("/ports") {
            let number = port.int("/port");
            all.extend(addresses.iter().map(|ip| match ip.contains(':') {
                true => format!("[{ip}]:{number}"),
                false => format!("{ip}:{number}"),
            }));
        }
    }
    cells::abridged(&all, NONE)
}

fn claim_row(view: View<'_>) -> Vec<Value> {
    let is_bound = !view.str("/spec/volumeName").is_empty();
    let when_bound = |text: String| Value::from(if is_bound { text } else { String::new() });
    vec![
        view.name(),
        phase(view),
        view.text("/spec/volumeName"),
        when_bound(
            view.any_text("/status/capacity/storage")
                .unwrap_or_default(),
        ),
        when_bound(cells::access_modes(view, "/status/accessModes")),
        cells::storage_class(view),
        view.text_or("/spec/volumeAttributesClassName", UNSET),
        view.age(),
        view.text_or("/spec/volumeMode", UNSET),
    ]
}

fn volume_row(view: View<'_>) -> Vec<Value> {
    let claim = match view.get("/spec/claimRef") {
        None => String::new(),
        Some(_) => format!(
            "{}/{}",
            view.str("/spec/claimRef/namespace"),
            view.str("/spec/claimRef/name")
        ),
    };
    vec![
        view.name(),
        Value::from(view.any_text("/spec/capacity/storage").unwrap_or_default()),
        Value::from(cells::access_modes(view, "/spec/accessModes")),
        view.text("/spec/persistentVolumeReclaimPolicy"),
        phase(view),
        Value::from(claim),
        cells::storage_class(view),
        view.text_or("/spec/volumeAttributesClassName", UNSET),
        view.text("/status/reason"),
        view.age(),
        view.text_or("/spec/volumeMode", UNSET),
    ]
}

fn phase(view: View<'_>) -> Value {
    match view.is_being_deleted() {
        true => Value::from("Terminating"),
        false => view.text("/status/phase"),
    }
}

/// Used and allowed amounts of a quota, of limits or of everything else.
fn quota(view: View<'_>, limits: bool) -> Value {
    let hard = view.get("/status/hard").and_then(Value::as_object);
    let mut shown: Vec<String> = hard
        .into_iter()
        .flatten()
        .filter(|(resource, _)| resource.starts_with("limits.") == limits)
        .map(|(resource, hard)| {
            let used = view.object["status"]["used"][resource]
                .as_str()
                .unwrap_or("0");
            format!("{resource}: {used}/{}", hard.as_str().unwrap_or_default())
        })
        .collect();
    shown.sort();
    Value::from(shown.join(", "))
}
