//! Pods: the one kind whose status is not simply a field.

use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::view::NONE;
use super::view::View;

/// What the containers of a pod say about it so far.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    /// Init containers that are neither done nor serving beside the others.
    is_initialising: bool,
}

/// The cells of a pod.
pub(super) fn row(view: View<'_>) -> Vec<Value> {
    let summary = summarise(view);
    let restartable = view
        .items("/spec/initContainers")
        .filter(|container| is_restartable(*container));
    let total = view.len("/spec/containers") + restartable.count();
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, view.since(Some(time)))
        }
        _ => summary.restarts.to_string(),
    };
    let ip = match view.str("/status/podIPs/0/ip") {
        "" => view.text_or("/status/podIP", NONE),
        ip => Value::from(ip),
    };
    vec![
        view.name(),
        Value::from(format!("{}/{total}", summary.ready)),
        Value::from(summary.reason),
        Value::from(restarts),
        view.age(),
        ip,
        view.text_or("/spec/nodeName", NONE),
        view.text_or("/status/nominatedNodeName", NONE),
        Value::from(readiness_gates(view)),
    ]
}

fn readiness_gates(view: View<'_>) -> String {
    let gates = view.items("/spec/readinessGates");
    let total = gates.len();
    if total == 0 {
        return NONE.into();
    }
    let open = gates.filter(|gate| view.has_condition(gate.str("/conditionType")));
    format!("{}/{total}", open.count())
}

fn summarise(view: View<'_>) -> Summary {
    let phase = view.str("/status/phase");
    let mut summary = Summary {
        reason: match view.str("/status/reason") {
            "" => phase.to_owned(),
            reason => reason.to_owned(),
        },
        ..Summary::default()
    };
    let gated = view
        .condition("PodScheduled")
        .is_some_and(|condition| condition.str("/reason") == "SchedulingGated");
    if gated {
        summary.reason = "SchedulingGated".into();
    }
    let beside = add_init_containers(view, &mut summary);
    if !summary.is_initialising || view.has_condition("Initialized") {
        (summary.restarts, summary.last_restart) = beside;
        add_containers(view, &mut summary);
    }
    if view.is_being_deleted() {
        if view.str("/status/reason") == "NodeLost" {
            summary.reason = "Unknown".into();
        } else if !matches!(phase, "Succeeded" | "Failed") {
            summary.reason = "Terminating".into();
        }
    }
    summary
}

/// Adds the init containers, and returns the restarts of those that keep running beside the others.
fn add_init_containers(view: View<'_>, summary: &mut Summary) -> (i64, Option<Timestamp>) {
    let mut beside = (0, None);
    let total = view.len("/spec/initContainers");
    for (place, status) in view.items("/status/initContainerStatuses").enumerate() {
        let mut specs = view.items("/spec/initContainers");
        let spec = specs.find(|container| container.str("/name") == status.str("/name"));
        let restartable = spec.is_some_and(is_restartable);
        let (restarts, last) = restarts_of(status);
        summary.restarts += restarts;
        summary.last_restart = summary.last_restart.max(last);
        if restartable {
            beside = (beside.0 + restarts, beside.1.max(last));
        }
        let terminated = status.get("/state/terminated").is_some();
        if terminated && status.int("/state/terminated/exitCode") == 0 {
            continue;
        }
        if restartable && status.is_true("/started") {
            summary.ready += usize::from(status.is_true("/ready"));
            continue;
        }
        let waiting = status.str("/state/waiting/reason");
        summary.reason = if terminated {
            format!("Init:{}", termination(status))
        } else if !matches!(waiting, "" | "PodInitializing") {
            format!("Init:{waiting}")
        } else {
            format!("Init:{place}/{total}")
        };
        summary.is_initialising = true;
        break;
    }
    beside
}

fn add_containers(view: View<'_>, summary: &mut Summary) {
    let mut has_running = false;
    // The first container has the last word.
    for status in view.items("/status/containerStatuses").rev() {
        let (restarts, last) = restarts_of(status);
        summary.restarts += restarts;
        summary.last_restart = summary.last_restart.max(last);
        let waiting = status.str("/state/waiting/reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if status.get("/state/terminated").is_some() {
            summary.reason = termination(status);
        } else if status.is_true("/ready") && status.get("/state/running").is_some() {
            has_running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && has_running {
        summary.reason = if view.has_condition("Ready") {
            "Running"
        } else {
            "NotReady"
        }
        .into();
    }
}

fn is_restartable(container: View<'_>) -> bool {
    container.str("/restartPolicy") == "Always"
}

fn restarts_of(status: View<'_>) -> (i64, Option<Timestamp>) {
    (
        status.int("/restartCount"),
        status.time("/lastState/terminated/finishedAt"),
    )
}

fn termination(status: View<'_>) -> String {
    let signal = status.int("/state/terminated/signal");
    match status.str("/state/terminated/reason") {
        "" if signal != 0 => format!("Signal:{signal}"),
        "" => format!("ExitCode:{}", status.int("/state/terminated/exitCode")),
        reason => reason.to_owned(),
    }
}

/// The conditions of a pod's row, by which clients tell that it has run its course.
pub(super) fn row_conditions(object: &Value) -> Option<Value> {
    let phase = object.pointer("/status/phase")?.as_str()?;
    let message = match phase {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": phase, "message": message}]))
}
