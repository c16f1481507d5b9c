//! Validation of containers.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::all_invalid;
use super::checks::not_negative;
use super::checks::one_of;
use super::checks::set;
use super::object::at;
use super::object::integer;
use super::object::list;
use super::object::text;
use crate::quantity::Quantity;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

/// Everything wrong with the containers of a pod's spec, which may mount `volumes`.
pub(super) fn validate(
    spec: &Value,
    volumes: &BTreeSet<&str>,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let mut seen = BTreeSet::new();
    if list(spec, "containers").is_empty() {
        errors.push(FieldError::required(path.child("containers"), ""));
    }
    for group in ["containers", "initContainers"] {
        for (index, item) in list(spec, group).iter().enumerate() {
            let path = path.child(group).index(index);
            let name = text(item, "name");
            let at = path.child("name");
            if name.is_empty() {
                errors.push(FieldError::required(at, ""));
            } else {
                all_invalid(names::dns_label(name), name, &at, errors);
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(at, name));
                }
            }
            container(item, volumes, &path, errors);
        }
    }
}

fn container(
    container: &Value,
    volumes: &BTreeSet<&str>,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let image = text(container, "image");
    if image.is_empty() {
        errors.push(FieldError::required(path.child("image"), ""));
    } else if image.trim() != image {
        let detail = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(path.child("image"), image, detail));
    }
    one_of(
        container,
        "terminationMessagePolicy",
        &["FallbackToLogsOnError", "File"],
        path,
        errors,
    );
    ports(container, path, errors);
    environment(container, path, errors);
    mounts(container, volumes, path, errors);
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(settings) = container.get(probe) {
            self::probe(settings, &path.child(probe), probe, errors);
        }
    }
    one_of(
        container,
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
        path,
        errors,
    );
    resources(at(container, "resources"), &path.child("resources"), errors);
}

fn ports(container: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let mut seen = BTreeSet::new();
    for (index, port) in list(container, "ports").iter().enumerate() {
        let path = path.child("ports").index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            let at = path.child("name");
            all_invalid(names::port_name(name), name, &at, errors);
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(at, name));
            }
        }
        match integer(port, "containerPort").unwrap_or_default() {
            0 => errors.push(FieldError::required(path.child("containerPort"), "")),
            number => {
                if let Some(wrong) = names::port_number(number) {
                    let at = path.child("containerPort");
                    errors.push(FieldError::invalid(at, number, wrong));
                }
            }
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
    }
}

fn environment(container: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (index, variable) in list(container, "env").iter().enumerate() {
        let path = path.child("env").index(index);
        match text(variable, "name") {
            "" => errors.push(FieldError::required(path.child("name"), "")),
            name => all_invalid(
                names::environment_name(name),
                name,
                &path.child("name"),
                errors,
            ),
        }
        let source = at(variable, "valueFrom");
        if source.is_object() && !text(variable, "value").is_empty() {
            errors.push(FieldError::invalid(
                path.child("valueFrom"),
                "",
                "may not be specified when `value` is not empty",
            ));
        }
        match source.as_object().map(serde_json::Map::len) {
            Some(0) => errors.push(FieldError::invalid(
                path.child("valueFrom"),
                "",
                "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            )),
            Some(2..) => errors.push(FieldError::invalid(
                path.child("valueFrom"),
                "",
                "may not have more than one field specified at a time",
            )),
            _ => {}
        }
    }
}

fn mounts(
    container: &Value,
    volumes: &BTreeSet<&str>,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let mut seen = BTreeSet::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let path = path.child("volumeMounts").index(index);
        let name = text(mount, "name");
        if name.is_empty() {
            errors.push(FieldError::required(path.child("name"), ""));
        } else if !volumes.contains(name) {
            errors.push(FieldError::not_found(path.child("name"), name));
        }
        let folder = text(mount, "mountPath");
        let at = path.child("mountPath");
        if folder.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if !seen.insert(folder) {
            errors.push(FieldError::invalid(at, folder, "must be unique"));
        }
    }
}

fn probe(probe: &Value, path: &FieldPath, name: &str, errors: &mut Vec<FieldError>) {
    const HANDLERS: [&str; 4] = ["exec", "grpc", "httpGet", "tcpSocket"];
    let mut handlers = 0;
    for handler in HANDLERS {
        let Some(settings) = probe.get(handler) else {
            continue;
        };
        handlers += 1;
        let at = path.child(handler);
        if handlers > 1 {
            let detail = "may not specify more than 1 handler type";
            errors.push(FieldError::forbidden(at, detail));
            continue;
        }
        match handler {
            "exec" if list(settings, "command").is_empty() => {
                errors.push(FieldError::required(at.child("command"), ""));
            }
            "httpGet" => {
                set(settings, "path", &at, errors);
                one_of(settings, "scheme", &["HTTP", "HTTPS"], &at, errors);
                port(settings, &at, errors);
            }
            "grpc" | "tcpSocket" => port(settings, &at, errors),
            _ => {}
        }
    }
    if handlers == 0 {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        not_negative(probe, field, path, errors);
    }
    let successes = integer(probe, "successThreshold").unwrap_or(1);
    if name != "readinessProbe" && successes != 1 {
        errors.push(FieldError::invalid(
            path.child("successThreshold"),
            successes,
            "must be 1",
        ));
    }
}

fn port(settings: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let at = path.child("port");
    match settings.get("port") {
        Some(Value::String(name)) => all_invalid(names::port_name(name), name, &at, errors),
        other => {
            let number = other.and_then(Value::as_i64).unwrap_or_default();
            if let Some(wrong) = names::port_number(number) {
                errors.push(FieldError::invalid(at, number, wrong));
            }
        }
    }
}

fn resources(resources: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let amounts = |field: &str| resources.get(field).and_then(Value::as_object);
    let parsed = |value: &Value| Quantity::parse(value.as_str().unwrap_or_default()).ok();
    for field in ["limits", "requests"] {
        for (name, value) in amounts(field).into_iter().flatten() {
            let at = path.child(field).key(name);
            all_invalid(names::qualified_name(name), name, &at, errors);
            if parsed(value).is_some_and(|amount| amount.nanos() < 0) {
                let detail = "must be greater than or equal to 0";
                errors.push(FieldError::invalid(at, value.clone(), detail));
            }
        }
    }
    for (name, request) in amounts("requests").into_iter().flatten() {
        let Some(limit) = amounts("limits").and_then(|limits| limits.get(name)) else {
            continue;
        };
        if parsed(request) > parsed(limit) {
            let limit = limit.as_str().unwrap_or_default();
            errors.push(FieldError::invalid(
                path.child("requests"),
                request.clone(),
                format!("must be less than or equal to {name} limit of {limit}"),
            ));
        }
    }
}
