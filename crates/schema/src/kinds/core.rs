//! The kinds of the core group and of events.

use super::Kind;
use super::Subresource;

const V1: (&str, &str) = ("", "v1");
const PROXY_VERBS: &[&str] = &["create", "delete", "get", "patch", "update"];
const STREAM_VERBS: &[&str] = &["create", "get"];

const fn namespaced(
    names: (&'static str, &'static str, &'static str),
    type_name: &'static str,
) -> Kind {
    Kind::stored(V1, true, names, type_name)
}

const fn cluster_wide(
    names: (&'static str, &'static str, &'static str),
    type_name: &'static str,
) -> Kind {
    Kind::stored(V1, false, names, type_name)
}

const fn sub(
    name: &'static str,
    kind: &'static str,
    verbs: &'static [&'static str],
) -> Subresource {
    Subresource {
        name,
        body: ("", "v1", kind),
        verbs,
    }
}

const fn status(kind: &'static str) -> Subresource {
    Subresource::status("", "v1", kind)
}

pub(super) const ROWS: &[Kind] = &[
    Kind::review(
        V1,
        true,
        ("Binding", "bindings", "binding"),
        "io.k8s.api.core.v1.Binding",
    ),
    Kind {
        short_names: &["cs"],
        verbs: &["get", "list"],
        ..cluster_wide(
            ("ComponentStatus", "componentstatuses", "componentstatus"),
            "io.k8s.api.core.v1.ComponentStatus",
        )
    },
    Kind {
        short_names: &["cm"],
        ..namespaced(
            ("ConfigMap", "configmaps", "configmap"),
            "io.k8s.api.core.v1.ConfigMap",
        )
    },
    Kind {
        short_names: &["ep"],
        ..namespaced(
            ("Endpoints", "endpoints", "endpoints"),
            "io.k8s.api.core.v1.Endpoints",
        )
    },
    Kind {
        short_names: &["ev"],
        ..namespaced(("Event", "events", "event"), "io.k8s.api.core.v1.Event")
    },
    Kind {
        short_names: &["limits"],
        ..namespaced(
            ("LimitRange", "limitranges", "limitrange"),
            "io.k8s.api.core.v1.LimitRange",
        )
    },
    Kind {
        short_names: &["ns"],
        verbs: &[
            "create", "delete", "get", "list", "patch", "update", "watch",
        ],
        subresources: &[
            sub("finalize", "Namespace", &["update"]),
            status("Namespace"),
        ],
        ..cluster_wide(
            ("Namespace", "namespaces", "namespace"),
            "io.k8s.api.core.v1.Namespace",
        )
    },
    Kind {
        short_names: &["no"],
        subresources: &[
            sub("proxy", "NodeProxyOptions", PROXY_VERBS),
            status("Node"),
        ],
        ..cluster_wide(("Node", "nodes", "node"), "io.k8s.api.core.v1.Node")
    },
    Kind {
        short_names: &["pvc"],
        subresources: &[status("PersistentVolumeClaim")],
        ..namespaced(
            (
                "PersistentVolumeClaim",
                "persistentvolumeclaims",
                "persistentvolumeclaim",
            ),
            "io.k8s.api.core.v1.PersistentVolumeClaim",
        )
    },
    Kind {
        short_names: &["pv"],
        subresources: &[status("PersistentVolume")],
        ..cluster_wide(
            ("PersistentVolume", "persistentvolumes", "persistentvolume"),
            "io.k8s.api.core.v1.PersistentVolume",
        )
    },
    Kind {
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            sub("attach", "PodAttachOptions", STREAM_VERBS),
            sub("binding", "Binding", &["create"]),
            sub("ephemeralcontainers", "Pod", super::READ_AND_WRITE),
            Subresource {
                name: "eviction",
                body: ("policy", "v1", "Eviction"),
                verbs: &["create"],
            },
            sub("exec", "PodExecOptions", STREAM_VERBS),
            sub("log", "Pod", &["get"]),
            sub("portforward", "PodPortForwardOptions", STREAM_VERBS),
            sub("proxy", "PodProxyOptions", PROXY_VERBS),
            sub("resize", "Pod", super::READ_AND_WRITE),
            status("Pod"),
        ],
        ..namespaced(("Pod", "pods", "pod"), "io.k8s.api.core.v1.Pod")
    },
    namespaced(
        ("PodTemplate", "podtemplates", "podtemplate"),
        "io.k8s.api.core.v1.PodTemplate",
    ),
    Kind {
        short_names: &["rc"],
        categories: &["all"],
        subresources: &[Subresource::scale(), status("ReplicationController")],
        ..namespaced(
            (
                "ReplicationController",
                "replicationcontrollers",
                "replicationcontroller",
            ),
            "io.k8s.api.core.v1.ReplicationController",
        )
    },
    Kind {
        short_names: &["quota"],
        subresources: &[status("ResourceQuota")],
        ..namespaced(
            ("ResourceQuota", "resourcequotas", "resourcequota"),
            "io.k8s.api.core.v1.ResourceQuota",
        )
    },
    namespaced(("Secret", "secrets", "secret"), "io.k8s.api.core.v1.Secret"),
    Kind {
        short_names: &["sa"],
        subresources: &[Subresource {
            name: "token",
            body: ("authentication.k8s.io", "v1", "TokenRequest"),
            verbs: &["create"],
        }],
        ..namespaced(
            ("ServiceAccount", "serviceaccounts", "serviceaccount"),
            "io.k8s.api.core.v1.ServiceAccount",
        )
    },
    Kind {
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[
            sub("proxy", "ServiceProxyOptions", PROXY_VERBS),
            status("Service"),
        ],
        ..namespaced(
            ("Service", "services", "service"),
            "io.k8s.api.core.v1.Service",
        )
    },
    Kind {
        short_names: &["ev"],
        stored_as: Some(("", "events")),
        ..Kind::stored(
            ("events.k8s.io", "v1"),
            true,
            ("Event", "events", "event"),
            "io.k8s.api.events.v1.Event",
        )
    },
];
