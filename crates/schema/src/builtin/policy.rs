//! Validation of network, scaling and disruption kinds, nodes and webhooks.

use serde_json::Value;

use super::checks::all_invalid;
use super::checks::none_or_one_of;
use super::checks::set;
use super::object::at;
use super::object::integer;
use super::object::list;
use super::object::present;
use super::object::text;
use super::selectors;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

pub(super) fn ingress(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    if list(spec, "rules").is_empty() && present(spec, "defaultBackend").is_none() {
        errors.push(FieldError::invalid(
            &path,
            at(spec, "rules").clone(),
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if let Some(backend) = present(spec, "defaultBackend") {
        ingress_backend(backend, &path.child("defaultBackend"), errors);
    }
    for (index, rule) in list(spec, "rules").iter().enumerate() {
        let path = path.child("rules").index(index).child("http");
        for (index, route) in list(at(rule, "http"), "paths").iter().enumerate() {
            let path = path.child("paths").index(index);
            if text(route, "pathType").is_empty() {
                let detail = "pathType must be specified";
                errors.push(FieldError::required(path.child("pathType"), detail));
            }
            ingress_backend(at(route, "backend"), &path.child("backend"), errors);
        }
    }
}

fn ingress_backend(backend: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let (service, resource) = (present(backend, "service"), present(backend, "resource"));
    match (service, resource) {
        (Some(_), Some(_)) => errors.push(FieldError::invalid(
            path,
            "",
            "cannot set both resource and service backends",
        )),
        (Some(service), None) => {
            let path = path.child("service");
            set(service, "name", &path, errors);
            let port = at(service, "port");
            if text(port, "name").is_empty() && integer(port, "number").unwrap_or_default() == 0 {
                errors.push(FieldError::required(
                    path.child("port"),
                    "port name or number is required",
                ));
            }
        }
        (None, None) => errors.push(FieldError::required(
            path,
            "resource or service backend is required",
        )),
        (None, Some(_)) => {}
    }
}

pub(super) fn network_policy(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    errors.extend(selectors::validate(
        at(spec, "podSelector"),
        &path.child("podSelector"),
    ));
    for (index, kind) in list(spec, "policyTypes").iter().enumerate() {
        let known = ["Egress", "Ingress"];
        if !known.contains(&kind.as_str().unwrap_or_default()) {
            let path = path.child("policyTypes").index(index);
            errors.push(FieldError::not_supported(path, kind.clone(), &known));
        }
    }
}

pub(super) fn disruption_budget(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    if present(spec, "minAvailable").is_some() && present(spec, "maxUnavailable").is_some() {
        errors.push(FieldError::invalid(
            &path,
            spec.clone(),
            "minAvailable and maxUnavailable cannot be both set",
        ));
    }
    if let Some(selector) = present(spec, "selector") {
        errors.extend(selectors::validate(selector, &path.child("selector")));
    }
}

pub(super) fn autoscaler(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    let least = integer(spec, "minReplicas").unwrap_or(1);
    let most = integer(spec, "maxReplicas").unwrap_or_default();
    if least < 1 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(
            path.child("minReplicas"),
            least,
            detail,
        ));
    }
    if most < 1 {
        let detail = "must be greater than 0";
        errors.push(FieldError::invalid(path.child("maxReplicas"), most, detail));
    }
    if most < least {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(path.child("maxReplicas"), most, detail));
    }
    let target = at(spec, "scaleTargetRef");
    for field in ["kind", "name"] {
        set(target, field, &path.child("scaleTargetRef"), errors);
    }
}

pub(super) fn webhooks(new: &Value, errors: &mut Vec<FieldError>) {
    for (index, hook) in list(new, "webhooks").iter().enumerate() {
        let path = FieldPath::new("webhooks").index(index);
        let name = text(hook, "name");
        let at_name = path.child("name");
        if name.is_empty() {
            errors.push(FieldError::required(at_name, ""));
        } else if name.split('.').count() < 3 {
            let detail = "should be a domain with at least three segments separated by dots";
            errors.push(FieldError::invalid(at_name, name, detail));
        } else {
            all_invalid(names::dns_subdomain(name), name, &at_name, errors);
        }
        if list(hook, "admissionReviewVersions").is_empty() {
            errors.push(FieldError::required(
                path.child("admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        }
        match text(hook, "sideEffects") {
            "None" | "NoneOnDryRun" => {}
            "" => errors.push(FieldError::required(
                path.child("sideEffects"),
                "must specify one of None, NoneOnDryRun",
            )),
            other => errors.push(FieldError::not_supported(
                path.child("sideEffects"),
                other,
                &["None", "NoneOnDryRun"],
            )),
        }
        none_or_one_of(hook, "failurePolicy", &["Fail", "Ignore"], &path, errors);
        none_or_one_of(hook, "matchPolicy", &["Equivalent", "Exact"], &path, errors);
        if let Some(seconds) = integer(hook, "timeoutSeconds").filter(|s| !(1..=30).contains(s)) {
            errors.push(FieldError::invalid(
                path.child("timeoutSeconds"),
                seconds,
                "the timeout value must be between 1 and 30 seconds",
            ));
        }
        let client = at(hook, "clientConfig");
        let ways = ["url", "service"]
            .iter()
            .filter(|way| present(client, way).is_some())
            .count();
        if ways != 1 {
            errors.push(FieldError::required(
                path.child("clientConfig"),
                "exactly one of url or service is required",
            ));
        }
    }
}

pub(super) fn node(new: &Value, errors: &mut Vec<FieldError>) {
    for (index, taint) in list(at(new, "spec"), "taints").iter().enumerate() {
        let path = FieldPath::new("spec.taints").index(index);
        let key = text(taint, "key");
        all_invalid(names::qualified_name(key), key, &path.child("key"), errors);
        let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        super::checks::one_of(taint, "effect", &effects, &path, errors);
    }
}
