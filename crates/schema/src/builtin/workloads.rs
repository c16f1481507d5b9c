//! Validation of the kinds that run pods from templates.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::checks::none_or_one_of;
use super::checks::not_negative;
use super::checks::one_of;
use super::checks::set;
use super::checks::unchanged;
use super::object::at;
use super::object::integer;
use super::object::present;
use super::object::text;
use super::pods;
use super::selectors;
use crate::selector::Selector;
use crate::validate::FieldError;
use crate::validate::FieldPath;

/// Kinds whose pods are selected by `spec.selector`, which never changes.
pub(super) fn selecting(
    kind: &str,
    new: &Value,
    old: Option<&Value>,
    errors: &mut Vec<FieldError>,
) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    for field in [
        "replicas",
        "minReadySeconds",
        "revisionHistoryLimit",
        "progressDeadlineSeconds",
    ] {
        not_negative(spec, field, &path, errors);
    }
    let word = match kind {
        "DaemonSet" => "daemonset",
        "StatefulSet" => "statefulset",
        _ => "deployment",
    };
    selector(spec, word, &path, errors);
    template(spec, &path.child("template"), errors);
    strategy(kind, spec, &path, errors);
    if kind == "Deployment" {
        let deadline = integer(spec, "progressDeadlineSeconds");
        let ready = integer(spec, "minReadySeconds").unwrap_or_default();
        if let Some(deadline) = deadline.filter(|deadline| *deadline <= ready) {
            errors.push(FieldError::invalid(
                path.child("progressDeadlineSeconds"),
                deadline,
                "must be greater than minReadySeconds",
            ));
        }
    }
    let Some(old) = old else { return };
    if kind == "StatefulSet" {
        stateful_set_change(new, old, errors);
    } else {
        unchanged(spec, at(old, "spec"), "selector", &path, errors);
    }
}

fn selector(spec: &Value, word: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let path = path.child("selector");
    let Some(selector) = present(spec, "selector") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    errors.extend(selectors::validate(selector, &path));
    if Selector::from_label_selector(Some(selector)).is_ok_and(|parsed| parsed.is_everything()) {
        errors.push(FieldError::invalid(
            path,
            selector.clone(),
            format!("empty selector is invalid for {word}"),
        ));
    }
}

fn template(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(template) = present(spec, "template") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    let labels = at(at(template, "metadata"), "labels");
    let selector = Selector::from_label_selector(spec.get("selector"));
    if let Ok(selector) = selector
        && !selector.is_everything()
        && !selector.matches(labels.as_object())
    {
        let shown = match labels {
            Value::Null => Value::Object(Map::new()),
            labels => labels.clone(),
        };
        errors.push(FieldError::invalid(
            path.child("metadata").child("labels"),
            shown,
            "`selector` does not match template `labels`",
        ));
    }
    pods::template(template, path, errors);
    let policy = text(at(template, "spec"), "restartPolicy");
    if policy != "Always" && pods::RESTART_POLICIES.contains(&policy) {
        errors.push(FieldError::not_supported(
            path.child("spec").child("restartPolicy"),
            policy,
            &["Always"],
        ));
    }
}

fn strategy(kind: &str, spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let (field, supported): (&str, &[&str]) = match kind {
        "Deployment" => ("strategy", &["Recreate", "RollingUpdate"]),
        "DaemonSet" | "StatefulSet" => ("updateStrategy", &["RollingUpdate", "OnDelete"]),
        _ => return,
    };
    let strategy = at(spec, field);
    let path = path.child(field);
    one_of(strategy, "type", supported, &path, errors);
    let rolling = present(strategy, "rollingUpdate");
    let kind = text(strategy, "type");
    if kind != "RollingUpdate" && rolling.is_some() {
        errors.push(FieldError::forbidden(
            path.child("rollingUpdate"),
            format!("may not be specified when strategy `type` is '{kind}'"),
        ));
    }
    let Some(rolling) = rolling.filter(|_| kind == "RollingUpdate") else {
        return;
    };
    let path = path.child("rollingUpdate");
    not_negative(rolling, "partition", &path, errors);
    let zero = |field: &str| matches!(rolling.get(field), Some(value) if value == &json!(0) || value == &json!("0%"));
    if zero("maxUnavailable") && zero("maxSurge") {
        errors.push(FieldError::invalid(
            path.child("maxUnavailable"),
            at(rolling, "maxUnavailable").clone(),
            "may not be 0 when `maxSurge` is 0",
        ));
    }
}

fn stateful_set_change(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let fixed = |object: &Value| {
        let mut spec = at(object, "spec").clone();
        if let Some(spec) = spec.as_object_mut() {
            for field in [
                "minReadySeconds",
                "ordinals",
                "persistentVolumeClaimRetentionPolicy",
                "replicas",
                "revisionHistoryLimit",
                "template",
                "updateStrategy",
            ] {
                spec.remove(field);
            }
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.push(FieldError::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

pub(super) fn job(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    if let Some(selector) = present(spec, "selector") {
        errors.extend(selectors::validate(selector, &path.child("selector")));
        let labels = at(at(at(spec, "template"), "metadata"), "labels");
        let parsed = Selector::from_label_selector(Some(selector));
        if parsed.is_ok_and(|parsed| !parsed.matches(labels.as_object())) {
            errors.push(FieldError::invalid(
                path.child("template").child("metadata").child("labels"),
                labels.clone(),
                "`selector` does not match template `labels`",
            ));
        }
    }
    job_spec(spec, &path, errors);
    if let Some(old) = old {
        let old = at(old, "spec");
        for field in ["completionMode", "selector", "template"] {
            unchanged(spec, old, field, &path, errors);
        }
        if text(spec, "completionMode") != "Indexed" {
            unchanged(spec, old, "completions", &path, errors);
        }
    }
}

fn job_spec(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        not_negative(spec, field, path, errors);
    }
    none_or_one_of(
        spec,
        "completionMode",
        &["NonIndexed", "Indexed"],
        path,
        errors,
    );
    let path = path.child("template");
    let Some(template) = present(spec, "template") else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    pods::template(template, &path, errors);
    if text(at(template, "spec"), "restartPolicy") == "Always" {
        errors.push(FieldError::not_supported(
            path.child("spec").child("restartPolicy"),
            "Always",
            &["OnFailure", "Never"],
        ));
    }
}

/// The labels and the selector by which a job finds its pods, unless it names its own selector.
pub fn select_job_pods(job: &mut Value) {
    let manual = at(job, "spec").get("manualSelector") == Some(&Value::Bool(true));
    let meta = at(job, "metadata");
    let (uid, name) = (text(meta, "uid").to_owned(), text(meta, "name").to_owned());
    if manual || uid.is_empty() {
        return;
    }
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for owner in ["/metadata", "/spec/template/metadata"] {
        if let Some(meta) = job.pointer_mut(owner).and_then(Value::as_object_mut) {
            let known = meta.entry("labels").or_insert_with(|| json!({}));
            for (key, value) in labels {
                if let Some(known) = known.as_object_mut() {
                    known.insert(key.to_owned(), json!(value));
                }
            }
        }
    }
    if let Some(spec) = job.get_mut("spec").and_then(Value::as_object_mut) {
        spec.entry("selector")
            .or_insert_with(|| json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}));
    }
}

pub(super) fn cron_job(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    const POLICIES: [&str; 3] = ["Allow", "Forbid", "Replace"];
    set(spec, "schedule", &path, errors);
    let schedule = text(spec, "schedule");
    let fields = schedule.split_whitespace().count();
    if !schedule.is_empty() && fields != 5 && !schedule.starts_with('@') {
        let detail = format!(
            "expected exactly 5 fields, found {fields}: [{}]",
            schedule.split_whitespace().collect::<Vec<_>>().join(" ")
        );
        errors.push(FieldError::invalid(
            path.child("schedule"),
            schedule,
            detail,
        ));
    }
    one_of(spec, "concurrencyPolicy", &POLICIES, &path, errors);
    for field in [
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
    ] {
        not_negative(spec, field, &path, errors);
    }
    let job = at(at(spec, "jobTemplate"), "spec");
    job_spec(job, &path.child("jobTemplate").child("spec"), errors);
}
