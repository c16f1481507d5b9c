//! Defaults of pods and pod templates.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::fill::Default;
use super::fill::each;
use super::fill::fill;
use super::object::at;
use super::object::text;

const POD_SPEC: &[Default] = &[
    ("restartPolicy", "\"Always\""),
    ("terminationGracePeriodSeconds", "30"),
    ("dnsPolicy", "\"ClusterFirst\""),
    ("securityContext", "{}"),
    ("schedulerName", "\"default-scheduler\""),
    ("volumes[].configMap.defaultMode", "420"),
    ("volumes[].secret.defaultMode", "420"),
    ("volumes[].projected.defaultMode", "420"),
    ("volumes[].downwardAPI.defaultMode", "420"),
    (
        "volumes[].downwardAPI.items[].fieldRef.apiVersion",
        "\"v1\"",
    ),
    (
        "volumes[].projected.sources[].serviceAccountToken.expirationSeconds",
        "3600",
    ),
    (
        "volumes[].projected.sources[].downwardAPI.items[].fieldRef.apiVersion",
        "\"v1\"",
    ),
    ("volumes[].hostPath.type", "\"\""),
];

const CONTAINER: &[Default] = &[
    ("resources", "{}"),
    ("terminationMessagePath", "\"/dev/termination-log\""),
    ("terminationMessagePolicy", "\"File\""),
    ("ports[].protocol", "\"TCP\""),
    ("env[].valueFrom.fieldRef.apiVersion", "\"v1\""),
    ("lifecycle.postStart.httpGet.path", "\"/\""),
    ("lifecycle.postStart.httpGet.scheme", "\"HTTP\""),
    ("lifecycle.preStop.httpGet.path", "\"/\""),
    ("lifecycle.preStop.httpGet.scheme", "\"HTTP\""),
];

const PROBE: &[Default] = &[
    ("timeoutSeconds", "1"),
    ("periodSeconds", "10"),
    ("successThreshold", "1"),
    ("failureThreshold", "3"),
    ("httpGet.path", "\"/\""),
    ("httpGet.scheme", "\"HTTP\""),
    ("grpc.service", "\"\""),
];

/// Sets the defaults of the pod template at `path`.
pub(super) fn template(object: &mut Value, path: &str) {
    each(object, path, &mut |template| {
        fill(template, &[("metadata", "{}")]);
        each(template, "spec", &mut spec);
    });
}

/// Sets the defaults of a pod's spec: those of templates, and what only real pods get.
pub(super) fn pod(object: &mut Value) {
    spec(object);
    fill(object, &[("enableServiceLinks", "true")]);
    for containers in ["initContainers[]", "containers[]"] {
        each(object, containers, &mut requests_from_limits);
    }
}

fn spec(object: &mut Value) {
    fill(object, POD_SPEC);
    service_account(object);
    each(object, "volumes[]", &mut |volume| {
        // A volume without a source is an empty folder.
        if let Some(volume) = volume.as_object_mut()
            && volume.len() == 1
        {
            volume.insert(String::from("emptyDir"), json!({}));
        }
    });
    let host_network = at(object, "hostNetwork") == &Value::Bool(true);
    for containers in ["initContainers[]", "containers[]", "ephemeralContainers[]"] {
        each(object, containers, &mut |container| {
            fill(container, CONTAINER);
            pull_policy(container);
            for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
                each(container, probe, &mut |probe| fill(probe, PROBE));
            }
            if host_network {
                each(container, "ports[]", &mut host_port);
            }
        });
    }
}

/// The account has a second name, which old clients read.
fn service_account(object: &mut Value) {
    let (name, alias) = (
        text(object, "serviceAccountName"),
        text(object, "serviceAccount"),
    );
    let name = if name.is_empty() { alias } else { name }.to_owned();
    if let Some(spec) = object.as_object_mut()
        && !name.is_empty()
    {
        spec.insert(String::from("serviceAccountName"), json!(name));
        spec.insert(String::from("serviceAccount"), json!(name));
    }
}

fn pull_policy(container: &mut Value) {
    let image = text(container, "image");
    let name = image.rsplit('/').next().unwrap_or_default();
    let moving = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    let policy = if moving {
        "\"Always\""
    } else {
        "\"IfNotPresent\""
    };
    fill(container, &[("imagePullPolicy", policy)]);
}

fn host_port(port: &mut Value) {
    if let Some(port) = port.as_object_mut()
        && let Some(number) = port.get("containerPort").cloned()
    {
        port.entry("hostPort").or_insert(number);
    }
}

/// What a container may use at most it also asks for, unless it asks for something else.
fn requests_from_limits(container: &mut Value) {
    let limits = container
        .pointer("/resources/limits")
        .and_then(Value::as_object)
        .cloned();
    let resources = container
        .get_mut("resources")
        .and_then(Value::as_object_mut);
    let (Some(limits), Some(resources)) = (limits, resources) else {
        return;
    };
    let requests = resources
        .entry("requests")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(requests) = requests.as_object_mut() {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}
