//! Validation of RBAC objects and certificate signing requests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use serde_json::json;

use super::checks::all_invalid;
use super::object::at;
use super::object::integer;
use super::object::list;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn role(new: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    for (index, rule) in list(new, "rules").iter().enumerate() {
        let path = FieldPath::new("rules").index(index);
        let urls = list(rule, "nonResourceURLs");
        let mut required = |field: &str, detail: &str| {
            if list(rule, field).is_empty() {
                errors.push(FieldError::required(path.child(field), detail));
            }
        };
        required("verbs", "verbs must contain at least one value");
        if urls.is_empty() {
            required(
                "apiGroups",
                "resource rules must supply at least one api group",
            );
            required(
                "resources",
                "resource rules must supply at least one resource",
            );
            continue;
        }
        let named = ["apiGroups", "resources", "resourceNames"];
        let wrong = if namespaced {
            "namespaced rules cannot apply to non-resource URLs"
        } else if named.iter().any(|field| !list(rule, field).is_empty()) {
            "rules cannot apply to both regular resources and non-resource URLs"
        } else {
            continue;
        };
        errors.push(FieldError::invalid(
            path.child("nonResourceURLs"),
            Value::from(urls.to_vec()),
            wrong,
        ));
    }
}

pub(super) fn binding(
    new: &Value,
    old: Option<&Value>,
    namespaced: bool,
    errors: &mut Vec<FieldError>,
) {
    let reference = at(new, "roleRef");
    let path = FieldPath::new("roleRef");
    let group = text(reference, "apiGroup");
    if group != RBAC {
        errors.push(FieldError::not_supported(
            path.child("apiGroup"),
            group,
            &[RBAC],
        ));
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    let kind = text(reference, "kind");
    if !kinds.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("kind"), kind, kinds));
    }
    match text(reference, "name") {
        "" => errors.push(FieldError::required(path.child("name"), "")),
        name => all_invalid(names::path_segment(name), name, &path.child("name"), errors),
    }
    for (index, item) in list(new, "subjects").iter().enumerate() {
        subject(item, &FieldPath::new("subjects").index(index), errors);
    }
    if let Some(old) = old
        && at(old, "roleRef") != reference
    {
        // The server shows its internal form of the reference.
        let shown = json!({"APIGroup": group, "Kind": kind, "Name": text(reference, "name")});
        errors.push(FieldError::invalid(path, shown, "cannot change roleRef"));
    }
}

fn subject(subject: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let (kind, name) = (text(subject, "kind"), text(subject, "name"));
    let group = text(subject, "apiGroup");
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), ""));
    }
    let expected = match kind {
        "ServiceAccount" => {
            if !name.is_empty() {
                all_invalid(
                    names::dns_subdomain(name),
                    name,
                    &path.child("name"),
                    errors,
                );
            }
            if text(subject, "namespace").is_empty() {
                errors.push(FieldError::required(path.child("namespace"), ""));
            }
            ""
        }
        "User" | "Group" => RBAC,
        _ => {
            errors.push(FieldError::not_supported(
                path.child("kind"),
                kind,
                &["ServiceAccount", "User", "Group"],
            ));
            return;
        }
    };
    if group != expected {
        errors.push(FieldError::not_supported(
            path.child("apiGroup"),
            group,
            &[expected],
        ));
    }
}

/// The key usages that a certificate can be asked for.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The shortest life that a certificate can be asked for.
const SHORTEST_SECONDS: i64 = 600;

pub(super) fn signing_request(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    let request = text(spec, "request");
    if let Some(wrong) = pem_error(request) {
        errors.push(FieldError::invalid(path.child("request"), request, wrong));
    }
    let usages = list(spec, "usages");
    if usages.is_empty() {
        errors.push(FieldError::required(path.child("usages"), ""));
    }
    for (index, usage) in usages.iter().enumerate() {
        let at = path.child("usages").index(index);
        if usages[..index].contains(usage) {
            errors.push(FieldError::duplicate(at, usage.clone()));
        } else if !USAGES.contains(&usage.as_str().unwrap_or_default()) {
            errors.push(FieldError::not_supported(at, usage.clone(), &USAGES));
        }
    }
    match text(spec, "signerName") {
        "" => errors.push(FieldError::required(path.child("signerName"), "")),
        "kubernetes.io/legacy-unknown" => errors.push(FieldError::invalid(
            path.child("signerName"),
            "kubernetes.io/legacy-unknown",
            "the legacy signerName is not allowed via this API version",
        )),
        name => signer(name, &path.child("signerName"), errors),
    }
    if let Some(seconds) =
        integer(spec, "expirationSeconds").filter(|seconds| *seconds < SHORTEST_SECONDS)
    {
        errors.push(FieldError::invalid(
            path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
    conditions(new, old, errors);
}

fn signer(name: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let shaped = name
        .split_once('/')
        .is_some_and(|(domain, rest)| domain.contains('.') && !rest.is_empty());
    if !shaped {
        errors.push(FieldError::invalid(
            path,
            name,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ));
        return;
    }
    let (domain, rest) = name.split_once('/').unwrap_or_default();
    all_invalid(names::dns_subdomain(domain), name, path, errors);
    for part in rest.split('.') {
        all_invalid(names::dns_label(part), name, path, errors);
    }
}

/// Whether a request holds one PEM block of the right kind; its signature is the signer's business.
fn pem_error(request: &str) -> Option<&'static str> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE REQUEST-----";
    const END: &str = "-----END CERTIFICATE REQUEST-----";
    let text = STANDARD
        .decode(request)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default();
    let body = text
        .split_once(BEGIN)
        .and_then(|(_, rest)| rest.split_once(END))
        .map(|(body, _)| body.split_whitespace().collect::<String>());
    let Some(body) = body else {
        return Some("PEM block type must be CERTIFICATE REQUEST");
    };
    // A request is a DER sequence, whose first byte is 0x30.
    let sequence = STANDARD
        .decode(body)
        .is_ok_and(|der| der.first() == Some(&0x30));
    (!sequence).then_some("asn1: structure error: tags don't match")
}

fn conditions(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let path = FieldPath::new("status.conditions");
    let all = list(at(new, "status"), "conditions");
    let has = |conditions: &[Value], kind: &str| {
        conditions
            .iter()
            .any(|condition| text(condition, "type") == kind)
    };
    for (index, condition) in all.iter().enumerate() {
        let at = path.index(index);
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        if kind.is_empty() {
            errors.push(FieldError::required(at.child("type"), ""));
        }
        let decided = ["Approved", "Denied", "Failed"].contains(&kind);
        match status {
            "" => errors.push(FieldError::required(at.child("status"), "")),
            "True" => {}
            _ if decided => errors.push(FieldError::not_supported(
                at.child("status"),
                status,
                &["True"],
            )),
            "False" | "Unknown" => {}
            _ => errors.push(FieldError::not_supported(
                at.child("status"),
                status,
                &["True", "False", "Unknown"],
            )),
        }
        if all[..index].iter().any(|other| text(other, "type") == kind) {
            errors.push(FieldError::duplicate(at.child("type"), kind));
        }
    }
    if has(all, "Approved") && has(all, "Denied") {
        let last = all
            .iter()
            .rev()
            .map(|condition| text(condition, "type"))
            .find(|kind| ["Approved", "Denied"].contains(kind))
            .unwrap_or_default();
        errors.push(FieldError::invalid(
            &path,
            last,
            "Approved and Denied conditions are mutually exclusive",
        ));
    }
    let before = old.map_or(&[][..], |old| list(at(old, "status"), "conditions"));
    for kind in ["Approved", "Denied", "Failed"] {
        if has(before, kind) && !has(all, kind) {
            errors.push(FieldError::forbidden(
                &path,
                format!("updates may not remove a condition of type \"{kind}\""),
            ));
        }
    }
}
