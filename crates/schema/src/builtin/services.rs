//! Validation of services.

use std::collections::BTreeSet;

use serde_json::Value;
use serde_json::json;

use super::checks::all_invalid;
use super::checks::none_or_one_of;
use super::checks::one_of;
use super::metadata;
use super::object::at;
use super::object::integer;
use super::object::list;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

pub(super) fn validate(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    let kind = text(spec, "type");
    let address = text(spec, "clusterIP");
    let external = kind == "ExternalName";
    if list(spec, "ports").is_empty() && address != "None" && !external {
        errors.push(FieldError::required(path.child("ports"), ""));
    }
    if external {
        external_name(spec, &path, errors);
    }
    if kind == "LoadBalancer" || kind == "NodePort" {
        let at = path.child("clusterIPs").index(0);
        if address == "None" {
            let detail = format!("may not be set to 'None' for {kind} services");
            errors.push(FieldError::invalid(at, address, detail));
        }
    }
    if let Some(old) = old {
        let (before, kept) = (text(at(old, "spec"), "clusterIP"), at(old, "spec"));
        let typed = text(kept, "type") != "ExternalName" && !external;
        if typed && !before.is_empty() && before != address {
            errors.push(FieldError::invalid(
                path.child("clusterIPs").index(0),
                json!([address]),
                "may not change once set",
            ));
        }
    }
    ports(spec, &path, errors);
    errors.extend(metadata::labels(
        spec.get("selector"),
        &path.child("selector"),
    ));
    one_of(
        spec,
        "sessionAffinity",
        &["ClientIP", "None"],
        &path,
        errors,
    );
    one_of(
        spec,
        "type",
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        &path,
        errors,
    );
    for field in ["internalTrafficPolicy", "externalTrafficPolicy"] {
        none_or_one_of(spec, field, &["Cluster", "Local"], &path, errors);
    }
    none_or_one_of(
        spec,
        "ipFamilyPolicy",
        &["SingleStack", "PreferDualStack", "RequireDualStack"],
        &path,
        errors,
    );
    addresses(spec, &path, errors);
}

fn external_name(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let at = path.child("externalName");
    match text(spec, "externalName").trim_end_matches('.') {
        "" => errors.push(FieldError::required(at, "")),
        name => all_invalid(names::dns_subdomain(name), name, &at, errors),
    }
    if !text(spec, "clusterIP").is_empty() {
        errors.push(FieldError::forbidden(
            path.child("clusterIPs"),
            "may not be set for ExternalName services",
        ));
    }
}

fn ports(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let ports = list(spec, "ports");
    let mut seen_names = BTreeSet::new();
    let mut seen_ports = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.child("ports").index(index);
        let name = text(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                errors.push(FieldError::required(path.child("name"), ""));
            }
        } else {
            all_invalid(names::dns_label(name), name, &path.child("name"), errors);
            if !seen_names.insert(name) {
                errors.push(FieldError::duplicate(path.child("name"), name));
            }
        }
        let number = integer(port, "port").unwrap_or_default();
        if let Some(wrong) = names::port_number(number) {
            errors.push(FieldError::invalid(path.child("port"), number, wrong));
        }
        let protocol = text(port, "protocol");
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
        target(at(port, "targetPort"), &path.child("targetPort"), errors);
        if !seen_ports.insert((number, protocol)) {
            errors.push(FieldError::duplicate(
                path,
                json!({"port": number, "protocol": protocol}),
            ));
        }
    }
}

fn target(target: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    match target {
        Value::String(name) => all_invalid(names::port_name(name), name, path, errors),
        Value::Number(number) => {
            let number = number.as_i64().unwrap_or_default();
            if let Some(wrong) = names::port_number(number) {
                errors.push(FieldError::invalid(path, number, wrong));
            }
        }
        _ => {}
    }
}

fn addresses(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (index, address) in list(spec, "clusterIPs").iter().enumerate() {
        let text = address.as_str().unwrap_or_default();
        if text != "None" && text.parse::<std::net::IpAddr>().is_err() {
            errors.push(FieldError::invalid(
                path.child("clusterIPs").index(index),
                text,
                "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ));
        }
    }
}
