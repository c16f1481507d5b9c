//! Defaults by kind.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::fill::Default;
use super::fill::each;
use super::fill::fill;
use super::object::at;
use super::object::list;
use super::object::text;
use super::pod_defaults;

const DAEMON_SET: &[Default] = &[
    ("spec.updateStrategy!.type", "\"RollingUpdate\""),
    ("spec.revisionHistoryLimit", "10"),
    ("status!.currentNumberScheduled", "0"),
    ("status!.desiredNumberScheduled", "0"),
    ("status!.numberMisscheduled", "0"),
    ("status!.numberReady", "0"),
];

const DEPLOYMENT: &[Default] = &[
    ("spec.replicas", "1"),
    ("spec.strategy!.type", "\"RollingUpdate\""),
    ("spec.revisionHistoryLimit", "10"),
    ("spec.progressDeadlineSeconds", "600"),
    ("status", "{}"),
];

const REPLICA_SET: &[Default] = &[("spec.replicas", "1"), ("status!.replicas", "0")];

const STATEFUL_SET: &[Default] = &[
    ("spec.replicas", "1"),
    ("spec.podManagementPolicy", "\"OrderedReady\""),
    ("spec.updateStrategy!.type", "\"RollingUpdate\""),
    ("spec.revisionHistoryLimit", "10"),
    (
        "spec.persistentVolumeClaimRetentionPolicy!.whenDeleted",
        "\"Retain\"",
    ),
    (
        "spec.persistentVolumeClaimRetentionPolicy!.whenScaled",
        "\"Retain\"",
    ),
    ("spec.volumeClaimTemplates[].apiVersion", "\"v1\""),
    (
        "spec.volumeClaimTemplates[].kind",
        "\"PersistentVolumeClaim\"",
    ),
    (
        "spec.volumeClaimTemplates[].spec.volumeMode",
        "\"Filesystem\"",
    ),
    ("spec.volumeClaimTemplates[].status!.phase", "\"Pending\""),
    ("status!.replicas", "0"),
    ("status!.availableReplicas", "0"),
];

const JOB_SPEC: &[Default] = &[
    ("backoffLimit", "6"),
    ("completionMode", "\"NonIndexed\""),
    ("suspend", "false"),
    ("manualSelector", "false"),
];

const CRON_JOB: &[Default] = &[
    ("spec.concurrencyPolicy", "\"Allow\""),
    ("spec.suspend", "false"),
    ("spec.successfulJobsHistoryLimit", "3"),
    ("spec.failedJobsHistoryLimit", "1"),
    ("spec.jobTemplate!.metadata", "{}"),
    ("status", "{}"),
];

const SERVICE: &[Default] = &[
    ("spec.type", "\"ClusterIP\""),
    ("spec.sessionAffinity", "\"None\""),
    ("spec.ports[].protocol", "\"TCP\""),
    ("status!.loadBalancer", "{}"),
];

const CLAIM: &[Default] = &[
    ("spec.volumeMode", "\"Filesystem\""),
    ("spec.resources", "{}"),
    ("status!.phase", "\"Pending\""),
];

const VOLUME: &[Default] = &[
    ("spec.volumeMode", "\"Filesystem\""),
    ("spec.persistentVolumeReclaimPolicy", "\"Retain\""),
    ("spec.hostPath.type", "\"\""),
    ("status!.phase", "\"Pending\""),
];

const STORAGE_CLASS: &[Default] = &[
    ("reclaimPolicy", "\"Delete\""),
    ("volumeBindingMode", "\"Immediate\""),
];

const CSI_DRIVER: &[Default] = &[
    ("spec.attachRequired", "true"),
    ("spec.podInfoOnMount", "false"),
    ("spec.storageCapacity", "false"),
    ("spec.fsGroupPolicy", "\"ReadWriteOnceWithFSType\""),
    ("spec.volumeLifecycleModes", "[\"Persistent\"]"),
    ("spec.requiresRepublish", "false"),
    ("spec.seLinuxMount", "false"),
];

const NETWORK_POLICY: &[Default] = &[
    ("spec.podSelector", "{}"),
    ("spec.ingress[].ports[].protocol", "\"TCP\""),
    ("spec.egress[].ports[].protocol", "\"TCP\""),
];

const INGRESS: &[Default] = &[("status!.loadBalancer", "{}")];

const DISRUPTION_BUDGET: &[Default] = &[
    ("status!.currentHealthy", "0"),
    ("status!.desiredHealthy", "0"),
    ("status!.disruptionsAllowed", "0"),
    ("status!.expectedPods", "0"),
];

const AUTOSCALER: &[Default] = &[
    ("spec.minReplicas", "1"),
    (
        "spec.metrics",
        r#"[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}]"#,
    ),
    ("spec.behavior.scaleUp!.stabilizationWindowSeconds", "0"),
    ("spec.behavior.scaleUp!.selectPolicy", "\"Max\""),
    (
        "spec.behavior.scaleUp!.policies",
        r#"[{"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}]"#,
    ),
    ("spec.behavior.scaleDown!.selectPolicy", "\"Max\""),
    (
        "spec.behavior.scaleDown!.policies",
        r#"[{"type":"Percent","value":100,"periodSeconds":15}]"#,
    ),
    ("status!.desiredReplicas", "0"),
];

const WEBHOOK: &[Default] = &[
    ("failurePolicy", "\"Fail\""),
    ("matchPolicy", "\"Equivalent\""),
    ("namespaceSelector", "{}"),
    ("objectSelector", "{}"),
    ("timeoutSeconds", "10"),
    ("clientConfig.service.port", "443"),
    ("rules[].scope", "\"*\""),
];

const MUTATING_POLICY: &[Default] = &[
    ("spec.failurePolicy", "\"Fail\""),
    ("spec.matchConstraints.matchPolicy", "\"Equivalent\""),
    ("spec.matchConstraints.namespaceSelector", "{}"),
    ("spec.matchConstraints.objectSelector", "{}"),
    ("spec.matchConstraints.resourceRules[].scope", "\"*\""),
    (
        "spec.matchConstraints.excludeResourceRules[].scope",
        "\"*\"",
    ),
];

const ADMISSION_POLICY: &[Default] = &[
    ("spec.failurePolicy", "\"Fail\""),
    ("spec.matchConstraints.matchPolicy", "\"Equivalent\""),
    ("spec.matchConstraints.namespaceSelector", "{}"),
    ("spec.matchConstraints.objectSelector", "{}"),
    ("spec.matchConstraints.resourceRules[].scope", "\"*\""),
    (
        "spec.matchConstraints.excludeResourceRules[].scope",
        "\"*\"",
    ),
    ("status", "{}"),
];

const ADMISSION_BINDING: &[Default] = &[
    ("spec.matchResources.matchPolicy", "\"Equivalent\""),
    ("spec.matchResources.namespaceSelector", "{}"),
    ("spec.matchResources.objectSelector", "{}"),
    ("spec.matchResources.resourceRules[].scope", "\"*\""),
    ("spec.matchResources.excludeResourceRules[].scope", "\"*\""),
];

/// Sets the defaults of a kind; the object has its normal form already.
pub(super) fn apply(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Pod") => {
            each(object, "spec", &mut pod_defaults::pod);
            fill(object, &[("status!.phase", "\"Pending\"")]);
        }
        ("", "PodTemplate") => pod_defaults::template(object, "template"),
        ("", "ReplicationController") => {
            pod_defaults::template(object, "spec.template");
            fill(object, REPLICA_SET);
        }
        ("", "Namespace") => namespace(object),
        ("", "Node") => fill(object, &[("spec", "{}"), ("status", "{}")]),
        ("", "Secret") => secret(object),
        ("", "Service") => service(object),
        ("", "PersistentVolumeClaim") => fill(object, CLAIM),
        ("", "PersistentVolume") => fill(object, VOLUME),
        ("", "ResourceQuota") => fill(object, &[("status", "{}")]),
        ("", "Endpoints") => fill(object, &[("subsets[].ports[].protocol", "\"TCP\"")]),
        ("discovery.k8s.io", "EndpointSlice") => fill(
            object,
            &[("ports[].name", "\"\""), ("ports[].protocol", "\"TCP\"")],
        ),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "Deployment") => deployment(object),
        ("apps", "ReplicaSet") => {
            fill(object, REPLICA_SET);
            workload(object);
        }
        ("apps", "StatefulSet") => stateful_set(object),
        ("batch", "Job") => job(object),
        ("batch", "CronJob") => {
            fill(object, CRON_JOB);
            pod_defaults::template(object, "spec.jobTemplate.spec.template");
        }
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler(object),
        ("policy", "PodDisruptionBudget") => fill(object, DISRUPTION_BUDGET),
        ("networking.k8s.io", "NetworkPolicy") => network_policy(object),
        ("networking.k8s.io", "Ingress") => fill(object, INGRESS),
        ("storage.k8s.io", "StorageClass") => fill(object, STORAGE_CLASS),
        ("storage.k8s.io", "CSIDriver") => fill(object, CSI_DRIVER),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(object),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => fill(object, &[("rules", "null")]),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            each(object, "webhooks[]", &mut |hook| fill(hook, WEBHOOK));
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            each(object, "webhooks[]", &mut |hook| {
                fill(hook, WEBHOOK);
                fill(hook, &[("reinvocationPolicy", "\"Never\"")]);
            });
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            fill(object, ADMISSION_POLICY);
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            fill(object, MUTATING_POLICY);
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => fill(object, ADMISSION_BINDING),
        ("apiregistration.k8s.io", "APIService") => {
            fill(object, &[("spec.service.port", "443"), ("status", "{}")])
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            fill(object, &[("spec", "{}"), ("status", "{}")]);
        }
        ("scheduling.k8s.io", "PriorityClass") => {
            fill(object, &[("preemptionPolicy", "\"PreemptLowerPriority\"")]);
        }
        ("coordination.k8s.io", "Lease") => fill(object, &[("spec", "{}")]),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => crate::crd::default(object),
        _ => {}
    }
}

fn namespace(object: &mut Value) {
    fill(object, &[("status!.phase", "\"Active\"")]);
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    if let Some(name) = name.map(str::to_owned).filter(|name| !name.is_empty())
        && let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        let labels = meta.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(String::from("kubernetes.io/metadata.name"), json!(name));
        }
    }
}

/// The type, and what was written as plain text in `stringData`.
fn secret(object: &mut Value) {
    fill(object, &[("type", "\"Opaque\"")]);
    let Some(secret) = object.as_object_mut() else {
        return;
    };
    let Some(Value::Object(plain)) = secret.remove("stringData") else {
        return;
    };
    if plain.is_empty() {
        return;
    }
    let data = secret.entry("data").or_insert_with(|| json!({}));
    if let Some(data) = data.as_object_mut() {
        for (key, value) in plain {
            let value = value.as_str().unwrap_or_default();
            data.insert(key, json!(STANDARD.encode(value)));
        }
    }
}

fn service(object: &mut Value) {
    fill(object, SERVICE);
    each(object, "spec.ports[]", &mut |port| {
        if let Some(number) = port.get("port").cloned() {
            let unset = matches!(at(port, "targetPort"), Value::Null)
                || at(port, "targetPort") == &json!(0)
                || at(port, "targetPort") == &json!("");
            if unset && let Some(port) = port.as_object_mut() {
                port.insert(String::from("targetPort"), number);
            }
        }
    });
    let spec = at(object, "spec");
    let kind = text(spec, "type").to_owned();
    let affinity = text(spec, "sessionAffinity").to_owned();
    if kind != "ExternalName" {
        fill(object, &[("spec.internalTrafficPolicy", "\"Cluster\"")]);
    }
    if affinity == "ClientIP" {
        fill(
            object,
            &[(
                "spec.sessionAffinityConfig!.clientIP!.timeoutSeconds",
                "10800",
            )],
        );
    }
    if kind == "NodePort" || kind == "LoadBalancer" {
        fill(object, &[("spec.externalTrafficPolicy", "\"Cluster\"")]);
    }
    if kind == "LoadBalancer" {
        fill(object, &[("spec.allocateLoadBalancerNodePorts", "true")]);
    }
    if text(at(object, "spec"), "clusterIP") == "None" {
        super::cluster_ip::set(object, "None");
    }
}

/// What all kinds have whose pods come from `spec.template`.
fn workload(object: &mut Value) {
    pod_defaults::template(object, "spec.template");
}

fn rolling(object: &Value, strategy: &str) -> bool {
    text(at(at(object, "spec"), strategy), "type") == "RollingUpdate"
}

fn deployment(object: &mut Value) {
    fill(object, DEPLOYMENT);
    if rolling(object, "strategy") {
        fill(
            object,
            &[
                ("spec.strategy.rollingUpdate!.maxUnavailable", "\"25%\""),
                ("spec.strategy.rollingUpdate!.maxSurge", "\"25%\""),
            ],
        );
    }
    workload(object);
}

fn daemon_set(object: &mut Value) {
    fill(object, DAEMON_SET);
    if rolling(object, "updateStrategy") {
        fill(
            object,
            &[
                ("spec.updateStrategy.rollingUpdate!.maxUnavailable", "1"),
                ("spec.updateStrategy.rollingUpdate!.maxSurge", "0"),
            ],
        );
    }
    workload(object);
}

fn stateful_set(object: &mut Value) {
    fill(object, STATEFUL_SET);
    if rolling(object, "updateStrategy") {
        fill(
            object,
            &[("spec.updateStrategy.rollingUpdate!.partition", "0")],
        );
    }
    workload(object);
}

fn job(object: &mut Value) {
    let spec = at(object, "spec");
    // A job without both counts runs one pod once; with only parallelism it is a work queue.
    let counts = match (at(spec, "completions"), at(spec, "parallelism")) {
        (Value::Null, Value::Null) => &[("completions", "1"), ("parallelism", "1")][..],
        _ => &[("parallelism", "1")][..],
    };
    let replacement = if at(spec, "podFailurePolicy").is_null() {
        "\"TerminatingOrFailed\""
    } else {
        "\"Failed\""
    };
    let indexed = !at(spec, "backoffLimitPerIndex").is_null();
    each(object, "spec", &mut |spec| {
        fill(spec, counts);
        if indexed {
            fill(spec, &[("backoffLimit", "2147483647")]);
        }
        fill(spec, JOB_SPEC);
        fill(spec, &[("podReplacementPolicy", replacement)]);
    });
    fill(object, &[("status", "{}")]);
    workload(object);
}

fn autoscaler(object: &mut Value) {
    fill(object, AUTOSCALER);
    // Go writes this list always, and an empty one as null.
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.entry("currentMetrics").or_insert(Value::Null);
    }
}

fn network_policy(object: &mut Value) {
    fill(object, NETWORK_POLICY);
    let egress = !list(at(object, "spec"), "egress").is_empty();
    let types = if egress {
        "[\"Ingress\",\"Egress\"]"
    } else {
        "[\"Ingress\"]"
    };
    fill(object, &[("spec.policyTypes", types)]);
}

fn binding(object: &mut Value) {
    const GROUP: &str = "\"rbac.authorization.k8s.io\"";
    fill(object, &[("roleRef.apiGroup", GROUP)]);
    each(
        object,
        "subjects[]",
        &mut |subject| match text(subject, "kind") {
            "User" | "Group" => fill(subject, &[("apiGroup", GROUP)]),
            _ => {}
        },
    );
}

/// Drops the empty strings and zeros that Go leaves out of metadata, which has no pointers to them.
pub(super) fn tidy_metadata(object: &mut Value) {
    let Some(meta) = object.as_object_mut() else {
        return;
    };
    let meta = meta
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(meta) = meta.as_object_mut() {
        meta.retain(|key, value| {
            let empty = value.as_str().is_some_and(str::is_empty)
                || (key == "generation" && value.as_i64() == Some(0));
            !empty && !value.is_null()
        });
    }
}
