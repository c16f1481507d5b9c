//! Policies and bindings as the store holds them, read once.

use std::sync::OnceLock;

use hyades_schema::cel::PolicyProgram;
use hyades_schema::selector::Selector;
use serde_json::Value;

use super::matching::MatchResources;
use crate::object;

/// A policy of either kind.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) constraints: MatchResources,
    pub(super) param_kind: Option<ParamKind>,
    /// Whether a failure of the policy itself refuses the write.
    pub(super) fails_closed: bool,
    /// Whether a mutating policy runs again when a later one changed the object.
    pub(super) reinvoked: bool,
    spec: Value,
    program: OnceLock<Result<PolicyProgram, String>>,
}

/// The kind of a policy's parameters.
#[derive(Debug)]
pub(super) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

/// What puts a policy into force.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy_name: String,
    pub(super) resources: Option<MatchResources>,
    pub(super) param_ref: Option<ParamRef>,
    pub(super) actions: Vec<Action>,
}

/// Where a binding's parameters are.
#[derive(Debug)]
pub(super) struct ParamRef {
    /// One object; empty when the selector chooses.
    pub(super) name: String,
    /// Their namespace; that of the request when empty.
    pub(super) namespace: String,
    pub(super) selector: Option<Selector>,
    /// Whether a write is refused when there are none.
    pub(super) required: bool,
}

/// What follows from a failed validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Deny,
    Warn,
    Audit,
}

impl Policy {
    pub(super) fn read(object: &Value) -> Policy {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let param_kind = spec["paramKind"].as_object().map(|_| ParamKind {
            api_version: text(&spec["paramKind"]["apiVersion"]),
            kind: text(&spec["paramKind"]["kind"]),
        });
        Policy {
            name: object::name(object).to_owned(),
            constraints: MatchResources::read(&spec["matchConstraints"]),
            param_kind,
            fails_closed: spec["failurePolicy"] != "Ignore",
            reinvoked: spec["reinvocationPolicy"] == "IfNeeded",
            spec: spec.clone(),
            program: OnceLock::new(),
        }
    }

    /// The policy's expressions. They compile when first used: the hook that reads policies runs on
    /// the thread that commits.
    pub(super) fn program(&self) -> Result<&PolicyProgram, &str> {
        let program = self.program.get_or_init(|| {
            PolicyProgram::compile(&self.spec).map_err(|errors| {
                let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
                texts.join(", ")
            })
        });
        program.as_ref().map_err(String::as_str)
    }
}

impl Binding {
    pub(super) fn read(object: &Value) -> Binding {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let reference = &spec["paramRef"];
        let param_ref = reference.as_object().map(|_| ParamRef {
            name: text(&reference["name"]),
            namespace: text(&reference["namespace"]),
            selector: selector(&reference["selector"]),
            required: reference["parameterNotFoundAction"] == "Deny",
        });
        let resources = &spec["matchResources"];
        let actions = spec["validationActions"].as_array();
        let action = |action: &Value| match action.as_str() {
            Some("Deny") => Some(Action::Deny),
            Some("Warn") => Some(Action::Warn),
            Some("Audit") => Some(Action::Audit),
            _ => None,
        };
        Binding {
            name: object::name(object).to_owned(),
            policy_name: text(&spec["policyName"]),
            resources: resources
                .as_object()
                .map(|_| MatchResources::read(resources)),
            param_ref,
            actions: actions.into_iter().flatten().filter_map(action).collect(),
        }
    }
}

/// A selector that validation has seen; `None` when it is absent.
pub(super) fn selector(stated: &Value) -> Option<Selector> {
    stated.as_object()?;
    Some(Selector::from_label_selector(Some(stated)).unwrap_or_else(|_| Selector::nothing()))
}
