//! Validation of admission policies and their bindings.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::all_invalid;
use super::checks::one_of;
use super::checks::set;
use super::object::at;
use super::object::list;
use super::object::present;
use super::object::text;
use super::selectors;
use crate::cel::PolicyProgram;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

/// Match conditions of one policy, at most; upstream's limit.
const MATCH_CONDITIONS_MAX: usize = 64;

/// Audit annotations of one policy, at most; upstream's limit.
const AUDIT_ANNOTATIONS_MAX: usize = 20;

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const REASONS: [&str; 4] = [
    "Forbidden",
    "Invalid",
    "RequestEntityTooLarge",
    "Unauthorized",
];

pub(super) fn validating_policy(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    policy(spec, &path, errors);
    let validations = list(spec, "validations");
    if validations.is_empty() && list(spec, "auditAnnotations").is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        for field in ["validations", "auditAnnotations"] {
            errors.push(FieldError::required(path.child(field), detail));
        }
    }
    for (index, rule) in validations.iter().enumerate() {
        validation(rule, &path.child("validations").index(index), errors);
    }
    audit_annotations(new, spec, &path.child("auditAnnotations"), errors);
    expressions(spec, old, errors);
}

pub(super) fn mutating_policy(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    policy(spec, &path, errors);
    let mutations = list(spec, "mutations");
    if mutations.is_empty() {
        let detail = "mutations must contain at least one item";
        errors.push(FieldError::required(path.child("mutations"), detail));
    }
    for (index, mutation) in mutations.iter().enumerate() {
        let path = path.child("mutations").index(index);
        let kinds = ["ApplyConfiguration", "JSONPatch"];
        one_of(mutation, "patchType", &kinds, &path, errors);
        let field = match text(mutation, "patchType") {
            "ApplyConfiguration" => "applyConfiguration",
            "JSONPatch" => "jsonPatch",
            _ => continue,
        };
        let path = path.child(field);
        if present(mutation, field).is_none() {
            let detail = format!(
                "must be specified when patchType is {}",
                text(mutation, "patchType")
            );
            errors.push(FieldError::required(path, detail));
        } else {
            specified(at(mutation, field), "expression", &path, errors);
        }
    }
    let policies = ["IfNeeded", "Never"];
    one_of(spec, "reinvocationPolicy", &policies, &path, errors);
    let rules = list(at(spec, "matchConstraints"), "resourceRules");
    for (index, rule) in rules.iter().enumerate() {
        let path = path
            .child("matchConstraints")
            .child("resourceRules")
            .index(index);
        for (index, operation) in list(rule, "operations").iter().enumerate() {
            if operation == "DELETE" || operation == "*" {
                let supported = &["CONNECT", "CREATE", "UPDATE"];
                let path = path.child("operations").index(index);
                errors.push(FieldError::not_supported(
                    path,
                    operation.clone(),
                    supported,
                ));
            }
        }
    }
    expressions(spec, old, errors);
}

pub(super) fn validating_binding(new: &Value, errors: &mut Vec<FieldError>) {
    binding(new, errors);
    let path = FieldPath::new("spec").child("validationActions");
    let known = ["Audit", "Deny", "Warn"];
    let stated = list(at(new, "spec"), "validationActions");
    let mut seen = BTreeSet::new();
    for (index, action) in stated.iter().enumerate() {
        let name = action.as_str().unwrap_or_default();
        if !known.contains(&name) {
            let path = path.index(index);
            errors.push(FieldError::not_supported(path, action.clone(), &known));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(path.index(index), action.clone()));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure \
                      information in the API response and headers serves no purpose)";
        let value = Value::Array(stated.to_vec());
        errors.push(FieldError::invalid(&path, value, detail));
    }
    if stated.is_empty() {
        let detail = "at least one validation action is required";
        errors.push(FieldError::required(&path, detail));
    }
}

pub(super) fn binding(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    set(spec, "policyName", &path, errors);
    let name = text(spec, "policyName");
    if !name.is_empty() {
        all_invalid(
            names::dns_subdomain(name),
            name,
            &path.child("policyName"),
            errors,
        );
    }
    if let Some(reference) = present(spec, "paramRef") {
        param_ref(reference, &path.child("paramRef"), errors);
    }
    if let Some(resources) = present(spec, "matchResources") {
        match_resources(resources, &path.child("matchResouces"), errors);
    }
}

fn param_ref(reference: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let named = !text(reference, "name").is_empty();
    let selector = present(reference, "selector");
    if named && selector.is_some() {
        for field in ["name", "selector"] {
            let detail = "name and selector are mutually exclusive";
            errors.push(FieldError::forbidden(path.child(field), detail));
        }
    }
    if let Some(selector) = selector {
        errors.extend(selectors::validate(selector, &path.child("selector")));
    } else if !named {
        let detail = "one of name or selector must be specified";
        errors.push(FieldError::required(path, detail));
    }
    let actions = ["Deny", "Allow"];
    one_of(reference, "parameterNotFoundAction", &actions, path, errors);
}

/// What policies of both kinds have in common.
fn policy(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], path, errors);
    if let Some(kind) = present(spec, "paramKind") {
        for field in ["apiVersion", "kind"] {
            set(kind, field, &path.child("paramKind"), errors);
        }
    }
    let at_constraints = path.child("matchConstraints");
    match present(spec, "matchConstraints") {
        None => errors.push(FieldError::required(at_constraints, "")),
        Some(constraints) => {
            match_resources(constraints, &at_constraints, errors);
            if list(constraints, "resourceRules").is_empty() {
                let path = at_constraints.child("resourceRules");
                errors.push(FieldError::required(path, ""));
            }
        }
    }
    match_conditions(spec, &path.child("matchConditions"), errors);
    for (index, variable) in list(spec, "variables").iter().enumerate() {
        let path = path.child("variables").index(index);
        let name = text(variable, "name");
        if name.trim().is_empty() {
            let detail = "name is not specified";
            errors.push(FieldError::required(path.child("name"), detail));
        } else if !is_identifier(name) {
            let detail = "name is not a valid CEL identifier";
            errors.push(FieldError::invalid(path.child("name"), name, detail));
        }
        specified(variable, "expression", &path, errors);
    }
}

fn match_conditions(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let conditions = list(spec, "matchConditions");
    if conditions.len() > MATCH_CONDITIONS_MAX {
        let (count, most) = (conditions.len() as u64, MATCH_CONDITIONS_MAX as u64);
        errors.push(FieldError::too_many(path, count, most));
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in conditions.iter().enumerate() {
        let path = path.index(index);
        if text(condition, "expression").trim().is_empty() {
            errors.push(FieldError::required(path.child("expression"), ""));
        }
        let name = text(condition, "name");
        let at_name = path.child("name");
        if name.is_empty() {
            errors.push(FieldError::required(at_name, ""));
            continue;
        }
        all_invalid(names::qualified_name(name), name, &at_name, errors);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(at_name, name));
        }
    }
}

fn match_resources(resources: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let policies = ["Equivalent", "Exact"];
    one_of(resources, "matchPolicy", &policies, path, errors);
    for field in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = present(resources, field) {
            errors.extend(selectors::validate(selector, &path.child(field)));
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in list(resources, field).iter().enumerate() {
            resource_rule(rule, &path.child(field).index(index), errors);
        }
    }
}

fn resource_rule(rule: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for field in ["operations", "apiGroups", "apiVersions", "resources"] {
        let stated = list(rule, field);
        if stated.is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
        }
        if stated.len() > 1 && stated.iter().any(|item| item == "*") {
            let detail = "if '*' is present, must not specify other values";
            let value = Value::Array(stated.to_vec());
            errors.push(FieldError::invalid(path.child(field), value, detail));
        }
    }
    for (index, operation) in list(rule, "operations").iter().enumerate() {
        if !OPERATIONS.iter().any(|known| operation == known) {
            let path = path.child("operations").index(index);
            errors.push(FieldError::not_supported(
                path,
                operation.clone(),
                &OPERATIONS,
            ));
        }
    }
    let scopes = ["*", "Cluster", "Namespaced"];
    super::checks::none_or_one_of(rule, "scope", &scopes, path, errors);
}

fn validation(rule: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    specified(rule, "expression", path, errors);
    let blank = |field: &str| !text(rule, field).is_empty() && text(rule, field).trim().is_empty();
    if blank("messageExpression") {
        errors.push(FieldError::invalid(
            path.child("messageExpression"),
            text(rule, "messageExpression"),
            "must be non-empty if specified",
        ));
    }
    let message = text(rule, "message");
    let problem = if blank("message") {
        Some("message must be non-empty if specified")
    } else if message.trim().contains(['\n', '\r']) {
        Some("message must not contain line breaks")
    } else {
        None
    };
    if let Some(detail) = problem {
        errors.push(FieldError::invalid(path.child("message"), message, detail));
    }
    super::checks::none_or_one_of(rule, "reason", &REASONS, path, errors);
}

fn audit_annotations(new: &Value, spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let annotations = list(spec, "auditAnnotations");
    if annotations.len() > AUDIT_ANNOTATIONS_MAX {
        let detail = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
        let value = Value::Array(annotations.to_vec());
        errors.push(FieldError::invalid(path, value, detail));
    }
    let mut seen = BTreeSet::new();
    for (index, annotation) in annotations.iter().enumerate() {
        let path = path.index(index);
        let key = text(annotation, "key");
        let full = format!("{}/{key}", text(at(new, "metadata"), "name"));
        all_invalid(
            names::qualified_name(&full),
            &full,
            &path.child("key"),
            errors,
        );
        specified(annotation, "valueExpression", &path, errors);
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(path.child("key"), key));
        }
    }
}

fn specified(owner: &Value, field: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if text(owner, field).trim().is_empty() {
        let detail = format!("{field} is not specified");
        errors.push(FieldError::required(path.child(field), detail));
    }
}

/// Compiles all expressions, unless the specification stays as it is: an update of labels must not
/// fail because the present version of the server reads an expression more strictly.
fn expressions(spec: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if old.is_some_and(|old| at(old, "spec") == spec) {
        return;
    }
    errors.extend(PolicyProgram::compile(spec).err().unwrap_or_default());
}

fn is_identifier(name: &str) -> bool {
    let start = |letter: char| letter == '_' || letter.is_ascii_alphabetic();
    name.starts_with(start)
        && name
            .chars()
            .all(|letter| start(letter) || letter.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(
        check: fn(&Value, Option<&Value>, &mut Vec<FieldError>),
        object: &Value,
    ) -> Vec<String> {
        let mut errors = Vec::new();
        check(object, None, &mut errors);
        errors
            .iter()
            .map(|e| format!("{}: {}", e.path, e.body()))
            .collect()
    }

    fn rules() -> Value {
        json!({
            "matchPolicy": "Equivalent",
            "resourceRules": [{
                "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
                "resources": ["configmaps"], "scope": "*",
            }],
        })
    }

    #[test]
    fn every_mistake_in_a_policy_is_told_with_its_field() {
        let policy = json!({
            "metadata": {"name": "p"},
            "spec": {
                "failurePolicy": "Perhaps",
                "paramKind": {"kind": "ConfigMap"},
                "matchConstraints": {
                    "matchPolicy": "Equivalent",
                    "resourceRules": [{"operations": ["*", "READ"], "apiGroups": [""], "apiVersions": ["v1"]}],
                },
                "matchConditions": [{"name": "a", "expression": "true"}, {"name": "a"}],
                "variables": [{"name": "1x", "expression": "params.a"}],
                "validations": [{"expression": "unknown", "message": "a\nb", "reason": "BadRequest"}],
                "auditAnnotations": [{"key": "k"}],
            },
        });
        expect_test::expect![[r#"
            spec.failurePolicy: Unsupported value: "Perhaps": supported values: "Fail", "Ignore"
            spec.paramKind.apiVersion: Required value
            spec.matchConstraints.resourceRules[0].operations: Invalid value: ["*","READ"]: if '*' is present, must not specify other values
            spec.matchConstraints.resourceRules[0].resources: Required value
            spec.matchConstraints.resourceRules[0].operations[1]: Unsupported value: "READ": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
            spec.matchConditions[1].expression: Required value
            spec.matchConditions[1].name: Duplicate value: "a"
            spec.variables[0].name: Invalid value: "1x": name is not a valid CEL identifier
            spec.validations[0].message: Invalid value: "a\nb": message must not contain line breaks
            spec.validations[0].reason: Unsupported value: "BadRequest": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"
            spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified
            spec.validations[0].expression: Invalid value: "unknown": compilation failed: undeclared reference to 'unknown' (in container '')"#]]
        .assert_eq(&texts(validating_policy, &policy).join("\n"));
    }

    #[test]
    fn params_are_declared_by_the_kind_and_variables_by_those_before() {
        let policy = |kind: Value| {
            json!({
                "metadata": {"name": "p"},
                "spec": {
                    "failurePolicy": "Fail", "paramKind": kind, "matchConstraints": rules(),
                    "variables": [{"name": "a", "expression": "params.x"}, {"name": "b", "expression": "variables.a"}],
                    "validations": [{"expression": "variables.b == 1", "messageExpression": "variables.a"}],
                },
            })
        };
        let with = policy(json!({"apiVersion": "v1", "kind": "ConfigMap"}));
        assert_eq!(texts(validating_policy, &with), Vec::<String>::new());
        let without = texts(validating_policy, &policy(Value::Null));
        assert_eq!(without.len(), 1, "{without:?}");
        assert!(
            without[0].contains("undeclared reference to 'params'"),
            "{without:?}"
        );
    }

    #[test]
    fn mutations_must_be_complete_and_cannot_be_about_deletions() {
        let mut constraints = rules();
        constraints["resourceRules"][0]["operations"] = json!(["DELETE"]);
        let policy = json!({
            "metadata": {"name": "p"},
            "spec": {
                "failurePolicy": "Fail", "matchConstraints": constraints,
                "mutations": [{"patchType": "JSONPatch"}, {"patchType": "Merge"}],
            },
        });
        expect_test::expect![[r#"
            spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch
            spec.mutations[1].patchType: Unsupported value: "Merge": supported values: "ApplyConfiguration", "JSONPatch"
            spec.reinvocationPolicy: Required value
            spec.matchConstraints.resourceRules[0].operations[0]: Unsupported value: "DELETE": supported values: "CONNECT", "CREATE", "UPDATE""#]]
        .assert_eq(&texts(mutating_policy, &policy).join("\n"));
    }

    #[test]
    fn bindings_name_a_policy_its_actions_and_its_parameters() {
        let object = json!({"spec": {
            "policyName": "Bad",
            "validationActions": ["Deny", "Warn", "Shout"],
            "paramRef": {"name": "a", "selector": {}},
        }});
        let mut errors = Vec::new();
        validating_binding(&object, &mut errors);
        let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "spec.policyName",
                "spec.paramRef.name",
                "spec.paramRef.selector",
                "spec.paramRef.parameterNotFoundAction",
                "spec.validationActions[2]",
                "spec.validationActions",
            ]
        );
    }
}
