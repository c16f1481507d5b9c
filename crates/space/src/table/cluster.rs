//! Access, certificates, admission, storage and the API machinery's own kinds.

use serde_json::Value;

use super::AGE;
use super::Header;
use super::NAME;
use super::Printer;
use super::cells;
use super::duration::human_duration;
use super::view::NONE;
use super::view::UNSET;
use super::view::View;

const BINDING_COLUMNS: &[Header] = &[
    NAME,
    Header::text("Role", "The role that is granted."),
    AGE,
    Header::text("Users", "The users it is granted to.").wide(),
    Header::text("Groups", "The groups it is granted to.").wide(),
    Header::text("ServiceAccounts", "The service accounts it is granted to.").wide(),
];

const WEBHOOK_COLUMNS: &[Header] = &[
    NAME,
    Header::integer("Webhooks", "How many webhooks are called."),
    AGE,
];

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        group: "rbac.authorization.k8s.io",
        plural: "rolebindings",
        columns: BINDING_COLUMNS,
        row: binding_row,
    },
    Printer {
        group: "rbac.authorization.k8s.io",
        plural: "clusterrolebindings",
        columns: BINDING_COLUMNS,
        row: binding_row,
    },
    Printer {
        group: "certificates.k8s.io",
        plural: "certificatesigningrequests",
        columns: &[
            NAME,
            AGE,
            Header::text("SignerName", "Who is asked to sign."),
            Header::text("Requestor", "Who asks."),
            Header::text("RequestedDuration", "How long the certificate should last."),
            Header::text("Condition", "Whether it is approved and issued."),
        ],
        row: |view| {
            let duration = match view.get("/spec/expirationSeconds") {
                None => NONE.into(),
                Some(_) => human_duration(view.int("/spec/expirationSeconds")),
            };
            vec![
                view.name(),
                view.age(),
                view.text_or("/spec/signerName", NONE),
                view.text("/spec/username"),
                Value::from(duration),
                Value::from(signing_state(view)),
            ]
        },
    },
    Printer {
        group: "admissionregistration.k8s.io",
        plural: "validatingwebhookconfigurations",
        columns: WEBHOOK_COLUMNS,
        row: |view| vec![view.name(), Value::from(view.len("/webhooks")), view.age()],
    },
    Printer {
        group: "admissionregistration.k8s.io",
        plural: "mutatingwebhookconfigurations",
        columns: WEBHOOK_COLUMNS,
        row: |view| vec![view.name(), Value::from(view.len("/webhooks")), view.age()],
    },
    Printer {
        group: "admissionregistration.k8s.io",
        plural: "validatingadmissionpolicies",
        columns: &[
            NAME,
            Header::integer("Validations", "How many expressions are checked."),
            Header::text("ParamKind", "The kind of its parameters."),
            AGE,
        ],
        row: |view| {
            let kind = match view.get("/spec/paramKind") {
                None => UNSET.to_owned(),
                Some(_) => format!(
                    "{}/{}",
                    view.str("/spec/paramKind/apiVersion"),
                    view.str("/spec/paramKind/kind")
                ),
            };
            vec![
                view.name(),
                Value::from(view.len("/spec/validations")),
                Value::from(kind),
                view.age(),
            ]
        },
    },
    Printer {
        group: "admissionregistration.k8s.io",
        plural: "validatingadmissionpolicybindings",
        columns: &[
            NAME,
            Header::text("PolicyName", "The policy that is bound."),
            Header::text("ParamRef", "The parameters it is bound with."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                view.text("/spec/policyName"),
                Value::from(parameters(view)),
                view.age(),
            ]
        },
    },
    Printer {
        group: "apiregistration.k8s.io",
        plural: "apiservices",
        columns: &[
            NAME,
            Header::text("Service", "The service that serves it."),
            Header::text("Available", "Whether it is served."),
            AGE,
        ],
        row: api_service_row,
    },
    Printer {
        group: "scheduling.k8s.io",
        plural: "priorityclasses",
        columns: &[
            NAME,
            Header::integer("Value", "The priority of its pods."),
            Header::boolean("Global-Default", "Whether pods without a class get it."),
            AGE,
            Header::text("PreemptionPolicy", "Whether its pods may displace others."),
        ],
        row: |view| {
            vec![
                view.name(),
                view.integer("/value"),
                Value::from(view.is_true("/globalDefault")),
                view.age(),
                view.text("/preemptionPolicy"),
            ]
        },
    },
    Printer {
        group: "storage.k8s.io",
        plural: "storageclasses",
        columns: &[
            NAME,
            Header::text("Provisioner", "What makes its volumes."),
            Header::text(
                "ReclaimPolicy",
                "What happens to a volume when its claim goes.",
            ),
            Header::text("VolumeBindingMode", "When volumes are bound."),
            Header::text("AllowVolumeExpansion", "Whether volumes may grow."),
            AGE,
        ],
        row: storage_class_row,
    },
    Printer {
        group: "storage.k8s.io",
        plural: "volumeattachments",
        columns: &[
            NAME,
            Header::text("Attacher", "The driver that attaches.").named(),
            Header::text("PV", "The volume."),
            Header::text("Node", "The node."),
            Header::boolean("Attached", "Whether it is attached."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                view.text("/spec/attacher"),
                view.text("/spec/source/persistentVolumeName"),
                view.text("/spec/nodeName"),
                Value::from(view.is_true("/status/attached")),
                view.age(),
            ]
        },
    },
    Printer {
        group: "storage.k8s.io",
        plural: "csinodes",
        columns: &[
            NAME,
            Header::integer("Drivers", "How many drivers it has."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                Value::from(view.len("/spec/drivers")),
                view.age(),
            ]
        },
    },
    Printer {
        group: "storage.k8s.io",
        plural: "csidrivers",
        columns: &[
            NAME,
            Header::boolean("AttachRequired", "Whether volumes are attached before use."),
            Header::boolean("PodInfoOnMount", "Whether the driver is told about pods."),
            Header::boolean(
                "StorageCapacity",
                "Whether the driver reports its capacity.",
            ),
            Header::text("TokenRequests", "The audiences of the tokens it is given."),
            Header::boolean("RequiresRepublish", "Whether mounts are refreshed."),
            Header::text("Modes", "How long its volumes live."),
            AGE,
        ],
        row: driver_row,
    },
];

fn binding_row(view: View<'_>) -> Vec<Value> {
    let role = format!(
        "{}/{}",
        view.str("/roleRef/kind"),
        view.str("/roleRef/name")
    );
    vec![
        view.name(),
        Value::from(role),
        view.age(),
        cells::subjects(view, "User"),
        cells::subjects(view, "Group"),
        cells::subjects(view, "ServiceAccount"),
    ]
}

/// The state of a signing request: what was decided, and what came of it.
fn signing_state(view: View<'_>) -> String {
    // The condition counts by being there, whatever its status says.
    let has = |kind: &str| view.condition(kind).is_some();
    let mut state = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !view.str("/status/certificate").is_empty() {
        state.push_str(",Issued");
    }
    state
}

fn parameters(view: View<'_>) -> String {
    if view.get("/spec/paramRef").is_none() {
        return UNSET.into();
    }
    let name = match view.get("/spec/paramRef/selector") {
        Some(_) => cells::label_selector(view, "/spec/paramRef/selector"),
        None => view.str("/spec/paramRef/name").to_owned(),
    };
    match view.str("/spec/paramRef/namespace") {
        "" => name,
        namespace => format!("{namespace}/{name}"),
    }
}

fn api_service_row(view: View<'_>) -> Vec<Value> {
    let service = match view.get("/spec/service") {
        None => "Local".to_owned(),
        Some(_) => format!(
            "{}/{}",
            view.str("/spec/service/namespace"),
            view.str("/spec/service/name")
        ),
    };
    let available = match view.condition("Available") {
        None => "Unknown".to_owned(),
        Some(condition) if condition.str("/status") == "True" => "True".to_owned(),
        Some(condition) => format!(
            "{} ({})",
            condition.str("/status"),
            condition.str("/reason")
        ),
    };
    vec![
        view.name(),
        Value::from(service),
        Value::from(available),
        view.age(),
    ]
}

fn storage_class_row(view: View<'_>) -> Vec<Value> {
    let is_default = [
        "storageclass.kubernetes.io",
        "storageclass.beta.kubernetes.io",
    ]
    .iter()
    .any(|domain| view.str(&format!("/metadata/annotations/{domain}~1is-default-class")) == "true");
    let suffix = if is_default { " (default)" } else { "" };
    vec![
        Value::from(format!("{}{suffix}", view.str("/metadata/name"))),
        view.text("/provisioner"),
        view.text_or("/reclaimPolicy", "Delete"),
        view.text_or("/volumeBindingMode", "Immediate"),
        Value::from(view.is_true("/allowVolumeExpansion")),
        view.age(),
    ]
}

fn driver_row(view: View<'_>) -> Vec<Value> {
    let requires_attach =
        view.get("/spec/attachRequired").is_none() || view.is_true("/spec/attachRequired");
    let audiences: Vec<&str> = view
        .items("/spec/tokenRequests")
        .map(|request| request.str("/audience"))
        .collect();
    let modes: Vec<&str> = view
        .items("/spec/volumeLifecycleModes")
        .map(|mode| mode.str(""))
        .collect();
    let joined = |texts: &[&str], otherwise: &str| match texts {
        [] => otherwise.to_owned(),
        texts => texts.join(","),
    };
    vec![
        view.name(),
        Value::from(requires_attach),
        Value::from(view.is_true("/spec/podInfoOnMount")),
        Value::from(view.is_true("/spec/storageCapacity")),
        Value::from(joined(&audiences, UNSET)),
        Value::from(view.is_true("/spec/requiresRepublish")),
        Value::from(joined(&modes, NONE)),
        view.age(),
    ]
}
