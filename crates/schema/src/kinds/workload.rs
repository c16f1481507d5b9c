//! The kinds that run things: apps, batch, autoscaling, scheduling, nodes, network and storage.

use super::Kind;
use super::Subresource;

const APPS: (&str, &str) = ("apps", "v1");
const BATCH: (&str, &str) = ("batch", "v1");
const AUTOSCALING_V2: (&str, &str) = ("autoscaling", "v2");
const NETWORKING: (&str, &str) = ("networking.k8s.io", "v1");
const STORAGE: (&str, &str) = ("storage.k8s.io", "v1");

const fn status_in(group_version: (&'static str, &'static str), kind: &'static str) -> Subresource {
    Subresource::status(group_version.0, group_version.1, kind)
}

pub(super) const ROWS: &[Kind] = &[
    Kind::stored(
        APPS,
        true,
        (
            "ControllerRevision",
            "controllerrevisions",
            "controllerrevision",
        ),
        "io.k8s.api.apps.v1.ControllerRevision",
    ),
    Kind {
        short_names: &["ds"],
        categories: &["all"],
        subresources: &[status_in(APPS, "DaemonSet")],
        ..Kind::stored(
            APPS,
            true,
            ("DaemonSet", "daemonsets", "daemonset"),
            "io.k8s.api.apps.v1.DaemonSet",
        )
    },
    Kind {
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[Subresource::scale(), status_in(APPS, "Deployment")],
        ..Kind::stored(
            APPS,
            true,
            ("Deployment", "deployments", "deployment"),
            "io.k8s.api.apps.v1.Deployment",
        )
    },
    Kind {
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[Subresource::scale(), status_in(APPS, "ReplicaSet")],
        ..Kind::stored(
            APPS,
            true,
            ("ReplicaSet", "replicasets", "replicaset"),
            "io.k8s.api.apps.v1.ReplicaSet",
        )
    },
    Kind {
        short_names: &["sts"],
        categories: &["all"],
        subresources: &[Subresource::scale(), status_in(APPS, "StatefulSet")],
        ..Kind::stored(
            APPS,
            true,
            ("StatefulSet", "statefulsets", "statefulset"),
            "io.k8s.api.apps.v1.StatefulSet",
        )
    },
    Kind {
        short_names: &["cj"],
        categories: &["all"],
        subresources: &[status_in(BATCH, "CronJob")],
        ..Kind::stored(
            BATCH,
            true,
            ("CronJob", "cronjobs", "cronjob"),
            "io.k8s.api.batch.v1.CronJob",
        )
    },
    Kind {
        categories: &["all"],
        subresources: &[status_in(BATCH, "Job")],
        ..Kind::stored(
            BATCH,
            true,
            ("Job", "jobs", "job"),
            "io.k8s.api.batch.v1.Job",
        )
    },
    Kind {
        short_names: &["hpa"],
        categories: &["all"],
        subresources: &[status_in(AUTOSCALING_V2, "HorizontalPodAutoscaler")],
        ..Kind::stored(
            AUTOSCALING_V2,
            true,
            (
                "HorizontalPodAutoscaler",
                "horizontalpodautoscalers",
                "horizontalpodautoscaler",
            ),
            "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
        )
    },
    Kind {
        short_names: &["pc"],
        ..Kind::stored(
            ("scheduling.k8s.io", "v1"),
            false,
            ("PriorityClass", "priorityclasses", "priorityclass"),
            "io.k8s.api.scheduling.v1.PriorityClass",
        )
    },
    Kind::stored(
        ("node.k8s.io", "v1"),
        false,
        ("RuntimeClass", "runtimeclasses", "runtimeclass"),
        "io.k8s.api.node.v1.RuntimeClass",
    ),
    Kind::stored(
        ("discovery.k8s.io", "v1"),
        true,
        ("EndpointSlice", "endpointslices", "endpointslice"),
        "io.k8s.api.discovery.v1.EndpointSlice",
    ),
    Kind::stored(
        NETWORKING,
        false,
        ("IngressClass", "ingressclasses", "ingressclass"),
        "io.k8s.api.networking.v1.IngressClass",
    ),
    Kind {
        short_names: &["ing"],
        subresources: &[status_in(NETWORKING, "Ingress")],
        ..Kind::stored(
            NETWORKING,
            true,
            ("Ingress", "ingresses", "ingress"),
            "io.k8s.api.networking.v1.Ingress",
        )
    },
    Kind {
        short_names: &["ip"],
        ..Kind::stored(
            NETWORKING,
            false,
            ("IPAddress", "ipaddresses", "ipaddress"),
            "io.k8s.api.networking.v1.IPAddress",
        )
    },
    Kind {
        short_names: &["netpol"],
        ..Kind::stored(
            NETWORKING,
            true,
            ("NetworkPolicy", "networkpolicies", "networkpolicy"),
            "io.k8s.api.networking.v1.NetworkPolicy",
        )
    },
    Kind {
        subresources: &[status_in(NETWORKING, "ServiceCIDR")],
        ..Kind::stored(
            NETWORKING,
            false,
            ("ServiceCIDR", "servicecidrs", "servicecidr"),
            "io.k8s.api.networking.v1.ServiceCIDR",
        )
    },
    Kind::stored(
        STORAGE,
        false,
        ("CSIDriver", "csidrivers", "csidriver"),
        "io.k8s.api.storage.v1.CSIDriver",
    ),
    Kind::stored(
        STORAGE,
        false,
        ("CSINode", "csinodes", "csinode"),
        "io.k8s.api.storage.v1.CSINode",
    ),
    Kind::stored(
        STORAGE,
        true,
        (
            "CSIStorageCapacity",
            "csistoragecapacities",
            "csistoragecapacity",
        ),
        "io.k8s.api.storage.v1.CSIStorageCapacity",
    ),
    Kind {
        short_names: &["sc"],
        ..Kind::stored(
            STORAGE,
            false,
            ("StorageClass", "storageclasses", "storageclass"),
            "io.k8s.api.storage.v1.StorageClass",
        )
    },
    Kind {
        subresources: &[status_in(STORAGE, "VolumeAttachment")],
        ..Kind::stored(
            STORAGE,
            false,
            ("VolumeAttachment", "volumeattachments", "volumeattachment"),
            "io.k8s.api.storage.v1.VolumeAttachment",
        )
    },
    Kind {
        short_names: &["vac"],
        ..Kind::stored(
            STORAGE,
            false,
            (
                "VolumeAttributesClass",
                "volumeattributesclasses",
                "volumeattributesclass",
            ),
            "io.k8s.api.storage.v1.VolumeAttributesClass",
        )
    },
];
