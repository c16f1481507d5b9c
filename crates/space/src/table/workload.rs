//! Workloads: the groups `apps`, `batch`, `autoscaling` and `policy`.

use serde_json::Value;

use super::AGE;
use super::Header;
use super::NAME;
use super::Printer;
use super::cells;
use super::duration::human_duration;
use super::view::NONE;
use super::view::UNKNOWN;
use super::view::UNSET;
use super::view::View;
use super::view::seconds_between;

const CONTAINERS: Header = Header::text("Containers", "The names of the containers.").wide();
const IMAGES: Header = Header::text("Images", "The images of the containers.").wide();
const SELECTOR: Header = Header::text("Selector", "The labels of the pods.").wide();
const DESIRED: Header = Header::integer("Desired", "How many pods there should be.");
const CURRENT: Header = Header::integer("Current", "How many pods there are.");
const READY: Header = Header::integer("Ready", "How many pods are ready.");

const REPLICA_COLUMNS: &[Header] = &[
    NAME, DESIRED, CURRENT, READY, AGE, CONTAINERS, IMAGES, SELECTOR,
];

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        group: "apps",
        plural: "deployments",
        columns: &[
            NAME,
            Header::text("Ready", "Pods that are ready, of those wanted."),
            Header::text("Up-to-date", "Pods of the current template."),
            Header::text("Available", "Pods that have been ready long enough."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        row: |view| {
            let cells = [
                ready_of(view),
                view.integer("/status/updatedReplicas"),
                view.integer("/status/availableReplicas"),
                view.age(),
            ];
            with_template(view, cells, "/spec/template", true)
        },
    },
    Printer {
        group: "apps",
        plural: "replicasets",
        columns: REPLICA_COLUMNS,
        row: replica_row,
    },
    Printer {
        group: "",
        plural: "replicationcontrollers",
        columns: REPLICA_COLUMNS,
        row: |view| {
            let mut row = replica_row(view);
            row.pop();
            row.push(Value::from(cells::labels(view, "/spec/selector")));
            row
        },
    },
    Printer {
        group: "apps",
        plural: "statefulsets",
        columns: &[
            NAME,
            Header::text("Ready", "Pods that are ready, of those wanted."),
            AGE,
            CONTAINERS,
            IMAGES,
        ],
        row: |view| with_template(view, [ready_of(view), view.age()], "/spec/template", false),
    },
    Printer {
        group: "apps",
        plural: "daemonsets",
        columns: &[
            NAME,
            DESIRED,
            CURRENT,
            READY,
            Header::integer("Up-to-date", "Pods of the current template."),
            Header::integer("Available", "Pods that have been ready long enough."),
            Header::text("Node Selector", "The labels of the nodes it runs on."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        row: |view| {
            let cells = [
                view.integer("/status/desiredNumberScheduled"),
                view.integer("/status/currentNumberScheduled"),
                view.integer("/status/numberReady"),
                view.integer("/status/updatedNumberScheduled"),
                view.integer("/status/numberAvailable"),
                Value::from(cells::labels(view, "/spec/template/spec/nodeSelector")),
                view.age(),
            ];
            with_template(view, cells, "/spec/template", true)
        },
    },
    Printer {
        group: "apps",
        plural: "controllerrevisions",
        columns: &[
            NAME,
            Header::text("Controller", "What the revision belongs to."),
            Header::text("Revision", "Its number."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                Value::from(controller(view)),
                view.integer("/revision"),
                view.age(),
            ]
        },
    },
    Printer {
        group: "batch",
        plural: "jobs",
        columns: &[
            NAME,
            Header::text("Status", "How far the job is."),
            Header::text("Completions", "Pods that succeeded, of those wanted."),
            Header::text("Duration", "How long the job has been running, or ran."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        row: |view| {
            let cells = [
                Value::from(job_status(view)),
                Value::from(job_completions(view)),
                Value::from(job_duration(view)),
                view.age(),
            ];
            with_template(view, cells, "/spec/template", true)
        },
    },
    Printer {
        group: "batch",
        plural: "cronjobs",
        columns: &[
            NAME,
            Header::text("Schedule", "When it runs."),
            Header::text("Timezone", "The time zone of the schedule."),
            Header::boolean("Suspend", "Whether it is suspended."),
            Header::integer("Active", "How many of its jobs are running."),
            Header::text("Last Schedule", "The time since it last ran."),
            AGE,
            CONTAINERS,
            IMAGES,
            SELECTOR,
        ],
        row: cron_job_row,
    },
    Printer {
        group: "autoscaling",
        plural: "horizontalpodautoscalers",
        columns: &[
            NAME,
            Header::text("Reference", "What it scales."),
            Header::text("Targets", "Present and wanted measures."),
            Header::text("MinPods", "The fewest pods."),
            Header::text("MaxPods", "The most pods."),
            Header::text("Replicas", "How many pods there are."),
            AGE,
        ],
        row: |view| {
            let target = view.str("/spec/scaleTargetRef/kind");
            vec![
                view.name(),
                Value::from(format!(
                    "{target}/{}",
                    view.str("/spec/scaleTargetRef/name")
                )),
                Value::from(scaling_targets(view)),
                Value::from(view.any_text("/spec/minReplicas").unwrap_or(UNSET.into())),
                view.integer("/spec/maxReplicas"),
                view.integer("/status/currentReplicas"),
                view.age(),
            ]
        },
    },
    Printer {
        group: "policy",
        plural: "poddisruptionbudgets",
        columns: &[
            NAME,
            Header::text("Min Available", "The fewest pods that must stay."),
            Header::text("Max Unavailable", "The most pods that may go."),
            Header::integer("Allowed Disruptions", "How many may go now."),
            AGE,
        ],
        row: |view| {
            let bound = |path: &str| Value::from(view.any_text(path).unwrap_or("N/A".into()));
            vec![
                view.name(),
                bound("/spec/minAvailable"),
                bound("/spec/maxUnavailable"),
                view.integer("/status/disruptionsAllowed"),
                view.age(),
            ]
        },
    },
];

fn ready_of(view: View<'_>) -> Value {
    Value::from(format!(
        "{}/{}",
        view.int("/status/readyReplicas"),
        view.int("/spec/replicas")
    ))
}

fn replica_row(view: View<'_>) -> Vec<Value> {
    let cells = [
        view.integer("/spec/replicas"),
        view.integer("/status/replicas"),
        view.integer("/status/readyReplicas"),
        view.age(),
    ];
    with_template(view, cells, "/spec/template", true)
}

/// A row that ends with the containers of a pod template, and the selector if there is one.
fn with_template<const N: usize>(
    view: View<'_>,
    cells: [Value; N],
    template: &str,
    with_selector: bool,
) -> Vec<Value> {
    let mut row = vec![view.name()];
    row.extend(cells);
    row.extend(cells::containers(
        view,
        &format!("{template}/spec/containers"),
    ));
    if with_selector {
        row.push(Value::from(cells::label_selector(view, "/spec/selector")));
    }
    row
}

fn controller(view: View<'_>) -> String {
    let mut owners = view.items("/metadata/ownerReferences");
    let Some(owner) = owners.find(|owner| owner.is_true("/controller")) else {
        return NONE.into();
    };
    let kind = owner.str("/kind").to_lowercase();
    match owner.str("/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", owner.str("/name")),
        None => format!("{kind}/{}", owner.str("/name")),
    }
}

fn job_status(view: View<'_>) -> &'static str {
    if view.has_condition("Complete") {
        "Complete"
    } else if view.has_condition("Failed") {
        "Failed"
    } else if view.is_being_deleted() {
        "Terminating"
    } else if view.has_condition("Suspended") {
        "Suspended"
    } else if view.has_condition("FailureTarget") {
        "FailureTarget"
    } else if view.has_condition("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

fn job_completions(view: View<'_>) -> String {
    let succeeded = view.int("/status/succeeded");
    match (view.get("/spec/completions"), view.int("/spec/parallelism")) {
        (Some(_), _) => format!("{succeeded}/{}", view.int("/spec/completions")),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    }
}

fn job_duration(view: View<'_>) -> String {
    let Some(start) = view.time("/status/startTime") else {
        return String::new();
    };
    let end = view.time("/status/completionTime").unwrap_or(view.now);
    human_duration(seconds_between(start, end))
}

fn cron_job_row(view: View<'_>) -> Vec<Value> {
    let last = match view.time("/status/lastScheduleTime") {
        None => NONE.to_owned(),
        time => view.since(time),
    };
    let cells = [
        view.text("/spec/schedule"),
        view.text_or("/spec/timeZone", NONE),
        Value::from(cells::optional_bool(view, "/spec/suspend")),
        Value::from(view.len("/status/active")),
        Value::from(last),
        view.age(),
    ];
    let mut row = with_template(view, cells, "/spec/jobTemplate/spec/template", false);
    row.push(Value::from(cells::label_selector(
        view,
        "/spec/jobTemplate/spec/selector",
    )));
    row
}

/// Measures shown for an autoscaler before the rest is only counted.
const MAX_MEASURES: usize = 2;

fn scaling_targets(view: View<'_>) -> String {
    let mut measures: Vec<String> = view
        .items("/spec/metrics")
        .enumerate()
        .map(|(place, metric)| measure(view, place, metric))
        .collect();
    if let Some(target) = view.any_text("/spec/targetCPUUtilizationPercentage") {
        let current = view.any_text("/status/currentCPUUtilizationPercentage");
        let current = current.map_or(UNKNOWN.into(), |current| format!("{current}%"));
        measures.push(format!("cpu: {current}/{target}%"));
    }
    match measures.len() {
        0 => NONE.into(),
        count if count > MAX_MEASURES => {
            format!(
                "{} + {} more...",
                measures[..MAX_MEASURES].join(", "),
                count - MAX_MEASURES
            )
        }
        _ => measures.join(", "),
    }
}

/// One measure: `cpu: 10%/80%` for utilisation, `10/80` for values.
fn measure(view: View<'_>, place: usize, metric: View<'_>) -> String {
    let field = match metric.str("/type") {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        _ => return "<unknown type>".into(),
    };
    let current = |name: &str| {
        view.any_text(&format!(
            "/status/currentMetrics/{place}/{field}/current/{name}"
        ))
    };
    let target = |name: &str| metric.any_text(&format!("/{field}/target/{name}"));
    let prefix = match metric.str(&format!("/{field}/name")) {
        "" => String::new(),
        name => format!("{name}: "),
    };
    let known = |text: Option<String>| text.unwrap_or(UNKNOWN.into());
    if let Some(wanted) = target("averageValue") {
        let average = if matches!(field, "object" | "external") {
            " (avg)"
        } else {
            ""
        };
        return format!(
            "{prefix}{}/{wanted}{average}",
            known(current("averageValue"))
        );
    }
    if let Some(wanted) = target("value") {
        return format!("{prefix}{}/{wanted}", known(current("value")));
    }
    let percent = |text: Option<String>, otherwise: &str| {
        text.map_or(otherwise.into(), |text| format!("{text}%"))
    };
    let present = percent(current("averageUtilization"), UNKNOWN);
    format!(
        "{prefix}{present}/{}",
        percent(target("averageUtilization"), "<auto>")
    )
}
