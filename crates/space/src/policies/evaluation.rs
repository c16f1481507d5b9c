//! One evaluation of a policy: with one binding's parameters, for one write.

use hyades_schema::cel::Datum;
use hyades_schema::cel::Expression;
use hyades_schema::cel::Failure;
use hyades_schema::cel::Named;
use hyades_schema::cel::PolicyProgram;
use hyades_schema::cel::Projection;
use hyades_schema::cel::Scope;
use serde_json::Value;

use super::Write;
use super::request;
use super::request::Rights;
use crate::names::Gvr;
use crate::object;
use crate::registry::Resource;

/// The longest message that an expression may make, in bytes; upstream's limit.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// A policy's expressions with everything they see.
pub(super) struct Evaluation<'a> {
    pub(super) program: &'a PolicyProgram,
    scope: Scope,
}

/// Whether a policy's match conditions hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conditions {
    Hold,
    DoNotHold,
    Failed(String),
}

/// What a validation came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    Holds,
    Broken { message: String, reason: &'a str },
    Failed(String),
}

/// How a failed expression is told, in the API server's words.
pub(super) fn told(expression: &Expression, failure: &Failure) -> String {
    match failure {
        Failure::OutOfBudget => failure.to_string(),
        Failure::Error(why) => {
            format!(
                "expression '{}' resulted in error: {why}",
                expression.text()
            )
        }
    }
}

impl<'a> Evaluation<'a> {
    /// Sets what the expressions see. The objects are in the version of `resource`.
    pub(super) fn new(
        program: &'a PolicyProgram,
        write: &Write<'_>,
        resource: &Resource,
        [old, new]: [Option<&Value>; 2],
        params: Option<&Value>,
    ) -> Evaluation<'a> {
        let reads = &program.reads;
        let mut scope = Scope::default();
        for (name, value) in [("object", new), ("oldObject", old), ("params", params)] {
            if let Some(projection) = reads.of_variable(name) {
                scope.set_json(name, value.unwrap_or(&Value::Null), projection);
            }
        }
        if let Some(projection) = reads.of_variable("request") {
            scope.set_json("request", &request::variable(write, resource), projection);
        }
        if let Some(projection) = reads.of_variable("namespaceObject") {
            set_namespace(&mut scope, write, projection);
        }
        if reads.of_variable("authorizer").is_some() {
            scope.set_inquiry("authorizer", Rights::inquiry(write));
        }
        let about_request = "authorizer.requestResource";
        if reads.of_variable(about_request).is_some() {
            scope.set_inquiry(about_request, Rights::about_request(write));
        }
        Evaluation { program, scope }
    }

    /// Whether the policy is about this write after all. One condition that does not hold is enough,
    /// whatever goes wrong with others.
    pub(super) fn conditions(&self) -> Conditions {
        let mut failed = None;
        for Named { expression, .. } in &self.program.match_conditions {
            match expression.evaluate(&self.scope) {
                Ok(datum) if datum.as_bool() == Some(true) => {}
                Ok(_) => return Conditions::DoNotHold,
                Err(failure) => {
                    failed.get_or_insert_with(|| told(expression, &failure));
                }
            }
        }
        failed.map_or(Conditions::Hold, Conditions::Failed)
    }

    /// Evaluates the composited variables, each of which may use those before it.
    pub(super) fn compose(&mut self) {
        for Named { name, expression } in &self.program.variables {
            let result = expression.evaluate(&self.scope);
            self.scope.set_composited(name, result);
        }
    }

    /// What the validation at `index` comes to.
    pub(super) fn validation(&self, index: usize) -> Outcome<'a> {
        let rule = &self.program.validations[index];
        match rule.expression.evaluate(&self.scope) {
            Err(failure) => Outcome::Failed(told(&rule.expression, &failure)),
            Ok(datum) if datum.as_bool() == Some(true) => Outcome::Holds,
            Ok(_) => {
                let made = rule.message_expression.as_ref();
                let made = made.and_then(|expression| self.message(expression));
                let stated = || Some(rule.message.clone()).filter(|text| !text.is_empty());
                let message = made.or_else(stated).unwrap_or_else(|| {
                    format!("failed expression: {}", rule.expression.text().trim())
                });
                Outcome::Broken {
                    message,
                    reason: &rule.reason,
                }
            }
        }
    }

    /// What a message expression makes, if that is fit to be shown.
    fn message(&self, expression: &Expression) -> Option<String> {
        let datum = expression.evaluate(&self.scope);
        let datum = datum.inspect_err(|failure| {
            tracing::debug!(expression = expression.text(), %failure, "messageExpression failed");
        });
        let datum = datum.ok()?;
        let text = datum.as_str()?.trim();
        let fit = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
        fit.then(|| text.to_owned())
    }

    /// Evaluates any other expression of the policy.
    pub(super) fn evaluate(&self, expression: &Expression) -> Result<Datum, String> {
        expression
            .evaluate(&self.scope)
            .map_err(|failure| told(expression, &failure))
    }
}

fn set_namespace(scope: &mut Scope, write: &Write<'_>, projection: &Projection) {
    let place = write.place;
    let own = place.resource.is(&Gvr::NAMESPACES);
    let entry = if own || place.namespace.is_empty() {
        None
    } else {
        write.core.namespace(&place.namespace)
    };
    let value = entry.map_or(Value::Null, |entry| object::decode(&entry.value));
    scope.set_json("namespaceObject", &value, projection);
}
