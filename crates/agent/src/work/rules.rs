//! Conditions computed from an object, by the rules of its work.
//!
//! ```text
//!  conditionRules ─▶ well known (Job, Pod)      ─▶ statements ─▶ of the manifest
//!                 └▶ CEL, each compiled once    ─┘                    │
//!                                                                     ▼
//!                                     of the work: one of each type, all manifests together
//! ```

use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::conditions::work as known;
use hyades_api::work::ConditionRule;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use hyades_schema::cel::Declarations;
use hyades_schema::cel::Expression;
use hyades_schema::cel::Meter;
use hyades_schema::cel::Scope;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

/// Expressions kept compiled: those of some hundred works. More are compiled anew at each look.
const COMPILED_MAX: usize = 1_000;

/// Rules of one manifest that are followed. Works in use have two, and each may take a second.
const RULES_MAX: usize = 16;

const EVALUATED: &str = "ConditionRuleEvaluated";
const INVALID: &str = "ConditionRuleInvalid";
const EXPRESSION_ERROR: &str = "ConditionRuleExpressionError";
const INTERNAL_ERROR: &str = "ConditionRuleInternalError";

/// The reason of a work's condition that comes from its manifests'.
pub const AGGREGATED: &str = "ConditionRulesAggregated";

/// Types of condition that no rule may make: the agent makes them.
const RESERVED: [&str; 4] = [
    known::APPLIED,
    known::AVAILABLE,
    known::STATUS_FEEDBACK_SYNCED,
    known::DELETING,
];

/// The names that expressions may use; a message knows the result as well.
const OBJECT: &str = "object";
const RESULT: &str = "result";

/// Whether a condition of a manifest comes from a rule.
pub fn is_ruled(condition: &Condition) -> bool {
    [EVALUATED, INVALID, EXPRESSION_ERROR, INTERNAL_ERROR].contains(&condition.reason.as_str())
}

/// What rules gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ruled {
    /// The conditions.
    pub statements: Vec<Statement>,
    /// What is wrong with rules that give none.
    pub errors: Vec<String>,
}

type Compiled = Arc<Result<Expression, String>>;

/// Follows rules, and keeps what it compiled.
#[derive(Default)]
pub struct Rules {
    /// By text, and by whether it is a message.
    compiled: Mutex<HashMap<(String, bool), Compiled>>,
}

impl Rules {
    /// The conditions of an object. Long evaluations are kept off the agent's own thread: its leases
    /// would wait for them.
    pub async fn follow(self: &Arc<Self>, object: &Value, rules: &[ConditionRule]) -> Ruled {
        let needs_engine = |rule: &ConditionRule| {
            !rule.cel_expressions.is_empty() || !rule.message_expression.is_empty()
        };
        if !rules.iter().any(needs_engine) {
            return self.conditions(object, rules);
        }
        let (engine, object, rules) = (self.clone(), object.clone(), rules.to_vec());
        let evaluated = tokio::task::spawn_blocking(move || engine.conditions(&object, &rules));
        // The engine's own panics are caught; one of ours is told as what it is.
        evaluated.await.unwrap_or_else(|error| Ruled {
            statements: Vec::new(),
            errors: vec![format!("conditionRules: the evaluation broke off: {error}")],
        })
    }

    fn conditions(&self, object: &Value, rules: &[ConditionRule]) -> Ruled {
        let mut ruled = Ruled::default();
        if rules.len() > RULES_MAX {
            ruled.errors.push(format!(
                "conditionRules: there are {} and the first {RULES_MAX} are followed",
                rules.len()
            ));
        }
        for rule in rules.iter().take(RULES_MAX) {
            let statement = self.condition(object, rule);
            if RESERVED.contains(&&*statement.type_) {
                ruled.errors.push(format!(
                    "conditionRules: the condition {} is made by the agent: give it another name",
                    statement.type_
                ));
            } else {
                ruled.statements.push(statement);
            }
        }
        ruled
    }

    fn condition(&self, object: &Value, rule: &ConditionRule) -> Statement {
        let statement = |type_: &str, status, reason: &str, message: String| {
            Statement::new("", status, "", "")
                .with_type(type_.to_owned())
                .with_reason(reason.to_owned())
                .with_message(message)
        };
        match rule.r#type.as_str() {
            "WellKnownConditions" => {
                let type_ = Some(rule.condition.as_str()).filter(|name| !name.is_empty());
                let type_ = type_.unwrap_or(known::COMPLETE);
                let Some((holds, usual)) = completion(object) else {
                    let message = format!(
                        "cannot find the wellknown conditions for resource with gvk {}",
                        described(object)
                    );
                    return statement(type_, Status::Unknown, INVALID, message);
                };
                let message = self.message(object, rule, holds, || usual);
                statement(type_, state(holds), EVALUATED, message)
            }
            "CEL" => match self.all_hold(object, &rule.cel_expressions) {
                Ok(holds) => {
                    let name = &rule.condition;
                    let usual = || match holds {
                        true => format!("Manifest is {name}"),
                        false => format!("Manifest is not {name}"),
                    };
                    let message = self.message(object, rule, holds, usual);
                    statement(name, state(holds), EVALUATED, message)
                }
                Err(error) => statement(&rule.condition, Status::False, EXPRESSION_ERROR, error),
            },
            other => {
                let message = format!("unrecognized condition rule type {other}");
                statement(&rule.condition, Status::Unknown, INVALID, message)
            }
        }
    }

    /// Whether all expressions are true; the first that is not decides.
    fn all_hold(&self, object: &Value, expressions: &[String]) -> Result<bool, String> {
        let _meter = Meter::start();
        for text in expressions {
            let compiled = self.compiled(text, false);
            let expression = compiled.as_ref().as_ref().map_err(String::clone)?;
            let datum = expression
                .evaluate(&scope(object, expression, None))
                .map_err(|failure| failure.to_string())?;
            match datum.as_bool() {
                Some(true) => {}
                Some(false) => return Ok(false),
                None => return Err(format!("expected bool result, got {}", datum.type_name())),
            }
        }
        Ok(true)
    }

    /// The rule's message: its expression's, its own, or the usual one.
    fn message(
        &self,
        object: &Value,
        rule: &ConditionRule,
        result: bool,
        usual: impl FnOnce() -> String,
    ) -> String {
        if !rule.message_expression.is_empty() {
            match self.evaluated_message(object, &rule.message_expression, result) {
                Ok(text) if text.is_empty() => {}
                Ok(text) | Err(text) => return text,
            }
        }
        match rule.message.as_str() {
            "" => usual(),
            message => message.to_owned(),
        }
    }

    fn evaluated_message(
        &self,
        object: &Value,
        text: &str,
        result: bool,
    ) -> Result<String, String> {
        let _meter = Meter::start();
        let compiled = self.compiled(text, true);
        let expression = compiled.as_ref().as_ref().map_err(String::clone)?;
        let datum = expression
            .evaluate(&scope(object, expression, Some(result)))
            .map_err(|failure| failure.to_string())?;
        datum.as_str().map(str::to_owned).ok_or_else(|| {
            let kind = datum.type_name();
            format!("expected message expression to have a string result, got {kind}")
        })
    }

    fn compiled(&self, text: &str, is_message: bool) -> Compiled {
        let key = (text.to_owned(), is_message);
        let lock = || {
            self.compiled
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
        };
        if let Some(known) = lock().get(&key) {
            return known.clone();
        }
        let names: &[&str] = match is_message {
            true => &[OBJECT, RESULT],
            false => &[OBJECT],
        };
        let declared = Declarations {
            names,
            has_conditions: true,
            ..Declarations::default()
        };
        let compiled = Expression::compile(text, &declared).map_err(|error| error.to_string());
        let compiled = Arc::new(compiled);
        let mut all = lock();
        if all.len() >= COMPILED_MAX {
            all.clear();
        }
        all.insert(key, compiled.clone());
        compiled
    }
}

fn scope(object: &Value, expression: &Expression, result: Option<bool>) -> Scope {
    let mut scope = Scope::default();
    let reads = expression.reads();
    if let Some(projection) = reads.of_variable(OBJECT) {
        scope.set_json(OBJECT, object, projection);
    }
    if let (Some(result), Some(projection)) = (result, reads.of_variable(RESULT)) {
        scope.set_json(RESULT, &json!(result), projection);
    }
    scope
}

fn state(holds: bool) -> Status {
    match holds {
        true => Status::True,
        false => Status::False,
    }
}

/// Group, version and kind as upstream prints them.
fn described(object: &Value) -> String {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion")
        .split_once('/')
        .unwrap_or(("", text("apiVersion")));
    format!("{group}/{version}, Kind={}", text("kind"))
}

/// Whether an object of a kind that comes to an end has come to it, and in which words.
fn completion(object: &Value) -> Option<(bool, String)> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    match (text("/apiVersion")?, text("/kind")?) {
        ("batch/v1", "Job") => {
            let conditions = object
                .pointer("/status/conditions")
                .and_then(Value::as_array);
            let ends = |condition: &Value| {
                condition["status"] == "True"
                    && matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
            };
            let holds = conditions.is_some_and(|conditions| conditions.iter().any(ends));
            let word = if holds { "" } else { "not " };
            Some((holds, format!("Job is {word}finished")))
        }
        ("v1", "Pod") => {
            let phase = text("/status/phase").unwrap_or("Pending");
            let holds = matches!(phase, "Succeeded" | "Failed");
            Some((holds, format!("Pod is in phase {phase}")))
        }
        _ => None,
    }
}

/// The conditions of a work that follow from its manifests' ruled conditions.
pub fn aggregated<'a>(ruled: impl Iterator<Item = &'a Condition>) -> Vec<Statement> {
    let mut by_type: BTreeMap<&str, Vec<&Condition>> = BTreeMap::new();
    for condition in ruled {
        by_type.entry(&condition.type_).or_default().push(condition);
    }
    let whole = |(type_, conditions): (&str, Vec<&Condition>)| {
        let any = |status: Status| conditions.iter().any(|one| one.status == status.as_str());
        // One part under way is progress; of everything else one part is not enough.
        let (decisive, otherwise) = match type_ {
            known::PROGRESSING => (Status::True, Status::False),
            _ => (Status::False, Status::True),
        };
        let status = match (any(decisive), any(Status::Unknown)) {
            (true, _) => decisive,
            (false, true) => Status::Unknown,
            (false, false) => otherwise,
        };
        let message = match conditions.as_slice() {
            [only] => only.message.clone(),
            several => format!("Aggregated from {} manifest conditions", several.len()),
        };
        Statement::new("", status, AGGREGATED, "")
            .with_type(type_.to_owned())
            .with_message(message)
    };
    by_type.into_iter().map(whole).collect()
}

#[cfg(test)]
mod tests;
