//! Networking, flow control and node classes.

use serde_json::Value;

use super::AGE;
use super::Header;
use super::NAME;
use super::Printer;
use super::cells;
use super::view::NONE;
use super::view::UNSET;
use super::view::View;

pub(super) const PRINTERS: &[Printer] = &[
    Printer {
        group: "networking.k8s.io",
        plural: "ingresses",
        columns: &[
            NAME,
            Header::text("Class", "The class that serves it."),
            Header::text("Hosts", "The host names."),
            Header::text("Address", "Where it is reached."),
            Header::text("Ports", "The ports it serves."),
            AGE,
        ],
        row: ingress_row,
    },
    Printer {
        group: "networking.k8s.io",
        plural: "ingressclasses",
        columns: &[
            NAME,
            Header::text("Controller", "What serves the class."),
            Header::text("Parameters", "What it is configured with."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                view.text("/spec/controller"),
                Value::from(class_parameters(view)),
                view.age(),
            ]
        },
    },
    Printer {
        group: "networking.k8s.io",
        plural: "networkpolicies",
        columns: &[
            NAME,
            Header::text("Pod-Selector", "The labels of the pods it applies to."),
            AGE,
        ],
        row: |view| {
            vec![
                view.name(),
                Value::from(cells::label_selector(view, "/spec/podSelector")),
                view.age(),
            ]
        },
    },
    Printer {
        group: "discovery.k8s.io",
        plural: "endpointslices",
        columns: &[
            NAME,
            Header::text("AddressType", "The kind of addresses."),
            Header::text("Ports", "The ports."),
            Header::text("Endpoints", "The addresses."),
            AGE,
        ],
        row: slice_row,
    },
    Printer {
        group: "flowcontrol.apiserver.k8s.io",
        plural: "flowschemas",
        columns: &[
            NAME,
            Header::text("PriorityLevel", "The level its requests belong to."),
            Header::text("MatchingPrecedence", "Which schema is tried first."),
            Header::text("DistinguisherMethod", "What tells its flows apart."),
            AGE,
            Header::text("MissingPL", "Whether its level is missing."),
        ],
        row: |view| {
            vec![
                view.name(),
                view.text("/spec/priorityLevelConfiguration/name"),
                view.integer("/spec/matchingPrecedence"),
                view.text_or("/spec/distinguisherMethod/type", NONE),
                view.age(),
                Value::from(
                    view.condition("Dangling")
                        .map_or("?", |condition| condition.str("/status")),
                ),
            ]
        },
    },
    Printer {
        group: "flowcontrol.apiserver.k8s.io",
        plural: "prioritylevelconfigurations",
        columns: &[
            NAME,
            Header::text("Type", "Whether it is limited."),
            Header::text("NominalConcurrencyShares", "Its share of the server."),
            Header::text("Queues", "How many queues it has."),
            Header::text("HandSize", "How many queues one flow is dealt."),
            Header::text("QueueLengthLimit", "How long a queue may be."),
            AGE,
        ],
        row: |view| {
            let number = |path: &str| view.get(path).cloned().unwrap_or(Value::from(NONE));
            let queuing = "/spec/limited/limitResponse/queuing";
            vec![
                view.name(),
                view.text("/spec/type"),
                number("/spec/limited/nominalConcurrencyShares"),
                number(&format!("{queuing}/queues")),
                number(&format!("{queuing}/handSize")),
                number(&format!("{queuing}/queueLengthLimit")),
                view.age(),
            ]
        },
    },
    Printer {
        group: "node.k8s.io",
        plural: "runtimeclasses",
        columns: &[NAME, Header::text("Handler", "What runs its pods."), AGE],
        row: |view| vec![view.name(), view.text("/handler"), view.age()],
    },
];

fn ingress_row(view: View<'_>) -> Vec<Value> {
    let class = match view.str("/spec/ingressClassName") {
        "" => view.text_or("/metadata/annotations/kubernetes.io~1ingress.class", NONE),
        class => Value::from(class),
    };
    let hosts: Vec<String> = view
        .items("/spec/rules")
        .map(|rule| rule.str("/host").to_owned())
        .filter(|host| !host.is_empty())
        .collect();
    let ports = if view.len("/spec/tls") > 0 {
        "80, 443"
    } else {
        "80"
    };
    vec![
        view.name(),
        class,
        Value::from(cells::abridged(&hosts, "*")),
        Value::from(cells::load_balancer(view)),
        Value::from(ports),
        view.age(),
    ]
}

fn class_parameters(view: View<'_>) -> String {
    if view.get("/spec/parameters").is_none() {
        return NONE.into();
    }
    let name = view.str("/spec/parameters/name");
    let kind = view.str("/spec/parameters/kind");
    match view.str("/spec/parameters/apiGroup") {
        "" => format!("{kind}/{name}"),
        group => format!("{kind}.{group}/{name}"),
    }
}

fn slice_row(view: View<'_>) -> Vec<Value> {
    let ports: Vec<String> = view
        .items("/ports")
        .map(|port| port.any_text("/port").unwrap_or("*".into()))
        .collect();
    let addresses: Vec<String> = view
        .items("/endpoints")
        .flat_map(|endpoint| endpoint.items("/addresses"))
        .map(|address| address.str("").to_owned())
        .collect();
    vec![
        view.name(),
        view.text("/addressType"),
        Value::from(cells::abridged(&ports, UNSET)),
        Value::from(cells::abridged(&addresses, UNSET)),
        view.age(),
    ]
}
