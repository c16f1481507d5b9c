//! CEL rules of custom resources (`x-kubernetes-validations`).
//!
//! Each node of a type that has rules carries them, with the schema beneath it that gives values
//! their CEL types. Rules compile when an object first meets them.

use std::sync::OnceLock;

use kube_cel::CompiledSchema;
use kube_cel::Validator;
use kube_cel::cel::Program;
use kube_cel::cel::common::ast::EntryExpr;
use kube_cel::cel::common::ast::Expr;
use serde_json::Map;
use serde_json::Value;

use super::FieldError;
use super::FieldErrorKind;
use super::FieldPath;
use super::MAX_ERRORS;
use super::MAX_VALUE_DEPTH;
use super::fields;
use crate::types::Shape;
use crate::types::TypeRef;

/// How much work the rules of one request may do, in visited values. A visit costs about a
/// microsecond, so a request is held up for seconds at the very worst.
const COST_BUDGET: u64 = 3_000_000;

/// The rules of one node of a custom resource's schema.
#[derive(Debug)]
pub struct RuleSet {
    /// The schema of the node with no rules but its own.
    schema: Value,
    /// Over how many nested loops the node's rules run.
    loops: u32,
    compiled: OnceLock<CompiledSchema>,
    /// Whether any of the rules compares with the old value.
    transitions: bool,
}

impl RuleSet {
    /// The rules of the schema node `schema`; `None` when it has none.
    pub fn new(schema: &Value) -> Option<Self> {
        let rules = schema.get("x-kubernetes-validations")?.as_array()?;
        if rules.is_empty() {
            return None;
        }
        let mut own = without_rules(schema, 0);
        if let Value::Object(map) = &mut own {
            map.insert(
                String::from("x-kubernetes-validations"),
                Value::Array(rules.clone()),
            );
        }
        let mut loops = 0;
        let mut transitions = false;
        for rule in rules {
            let text = rule.get("rule").and_then(Value::as_str).unwrap_or_default();
            if let Ok(program) = Program::compile(text) {
                loops = loops.max(nesting(&program.expression().expr));
                transitions |= program.references().has_variable("oldSelf");
            }
        }
        Some(Self {
            schema: own,
            loops,
            compiled: OnceLock::new(),
            transitions,
        })
    }

    fn compiled(&self) -> &CompiledSchema {
        self.compiled
            .get_or_init(|| kube_cel::compile_schema(&self.schema))
    }

    fn is_transition(&self, rule: &str) -> bool {
        self.transitions
            && Program::compile(rule)
                .is_ok_and(|program| program.references().has_variable("oldSelf"))
    }
}

/// The schema without rules and defaults, which are applied before rules run.
fn without_rules(schema: &Value, depth: usize) -> Value {
    match schema {
        Value::Object(map) if depth < MAX_VALUE_DEPTH => {
            let kept: Map<String, Value> = map
                .iter()
                .filter(|(key, _)| *key != "x-kubernetes-validations" && *key != "default")
                .map(|(key, value)| {
                    let value = match key.as_str() {
                        // The names below are fields and not keywords.
                        "properties" => match value {
                            Value::Object(fields) => Value::Object(
                                fields
                                    .iter()
                                    .map(|(name, field)| {
                                        (name.clone(), without_rules(field, depth + 1))
                                    })
                                    .collect(),
                            ),
                            other => other.clone(),
                        },
                        "items" | "additionalProperties" => without_rules(value, depth + 1),
                        _ => value.clone(),
                    };
                    (key.clone(), value)
                })
                .collect();
            Value::Object(kept)
        }
        other => other.clone(),
    }
}

/// Whether any value of the type is subject to a rule.
pub(super) fn present(ty: &TypeRef) -> bool {
    ty.pool.types.iter().any(|node| {
        node.constraints
            .as_deref()
            .and_then(|constraints| constraints.compiled.as_ref())
            .is_some_and(|compiled| compiled.rules.is_some())
    })
}

pub(super) fn walk(ty: &TypeRef, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    thread_local! {
        static VALIDATOR: Validator = Validator::new();
    }
    VALIDATOR.with(|validator| {
        let mut runner = Runner {
            validator,
            budget: COST_BUDGET,
            errors,
        };
        runner.value(ty, new, old, &FieldPath::root(), 0);
    });
}

struct Runner<'a> {
    validator: &'a Validator,
    budget: u64,
    errors: &'a mut Vec<FieldError>,
}

impl Runner<'_> {
    fn value(
        &mut self,
        ty: &TypeRef,
        new: &Value,
        old: Option<&Value>,
        path: &FieldPath,
        depth: usize,
    ) {
        if depth > MAX_VALUE_DEPTH || self.errors.len() >= MAX_ERRORS || self.budget == 0 {
            return;
        }
        let node = ty.get();
        if new.is_null() && node.nullable {
            return;
        }
        let compiled = node
            .constraints
            .as_deref()
            .and_then(|constraints| constraints.compiled.as_ref());
        if let Some(rules) = compiled.and_then(|compiled| compiled.rules.as_ref()) {
            self.rules(rules, new, old, path);
        }
        match (&node.shape, new) {
            (Shape::Object(_), Value::Object(map)) => {
                for (key, value) in map {
                    if let Some(child) = ty.property(key) {
                        let old = old.and_then(|old| old.get(key));
                        self.value(&child, value, old, &path.child(key), depth + 1);
                    }
                }
            }
            (Shape::Array(_), Value::Array(items)) => {
                let Some(item_ty) = ty.items() else { return };
                let old_of = fields::correlated(ty, old);
                for (index, item) in items.iter().enumerate() {
                    self.value(&item_ty, item, old_of(item), &path.index(index), depth + 1);
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, rules: &RuleSet, new: &Value, old: Option<&Value>, path: &FieldPath) {
        let unchanged = old == Some(new);
        if unchanged && !rules.transitions {
            return;
        }
        let cost = size(new, 0).max(1).saturating_pow(rules.loops.max(1));
        self.budget = self.budget.saturating_sub(cost);
        if self.budget == 0 {
            self.errors.push(
                FieldError::invalid(
                    path,
                    "",
                    "validation failed due to running out of cost budget, no further validation rules will be run",
                )
                .without_value(),
            );
            return;
        }
        let validate = || self.validator.validate_compiled(rules.compiled(), new, old);
        let Some(outcome) = crate::cel::guarded(validate) else {
            let detail = "the expression engine broke off while it evaluated a rule";
            self.errors
                .push(FieldError::invalid(path, "", detail).without_value());
            return;
        };
        for failure in outcome.err().into_iter().flatten() {
            // A rule about a value that stays may not stand in the way of other changes.
            if unchanged && !rules.is_transition(&failure.rule) {
                continue;
            }
            self.errors.push(field_error(&failure, new, path));
        }
    }
}

fn field_error(failure: &kube_cel::ValidationError, value: &Value, path: &FieldPath) -> FieldError {
    let place = match failure.field_path.trim_start_matches('.') {
        "" => path.clone(),
        below => path.child(below),
    };
    let message = match failure.kind {
        kube_cel::ErrorKind::ValidationFailure => failure.message.clone(),
        _ => format!("{} evaluating rule: {}", failure.message, failure.rule),
    };
    match failure.reason.as_deref() {
        Some("FieldValueRequired") => FieldError::required(place, message),
        Some("FieldValueForbidden") => FieldError::forbidden(place, message),
        Some("FieldValueDuplicate") => FieldError::duplicate(place, value.clone()),
        _ => FieldError {
            kind: FieldErrorKind::Invalid,
            path: place.into(),
            bad_value: None,
            detail: message,
        },
    }
}

/// How many values a loop over `value` and what it holds may visit.
fn size(value: &Value, depth: usize) -> u64 {
    if depth > MAX_VALUE_DEPTH {
        return 1;
    }
    match value {
        Value::Array(items) => 1 + items.iter().map(|item| size(item, depth + 1)).sum::<u64>(),
        Value::Object(map) => 1 + map.values().map(|item| size(item, depth + 1)).sum::<u64>(),
        // Ten characters cost about what one value costs.
        Value::String(text) => 1 + text.len() as u64 / 10,
        _ => 1,
    }
}

/// Over how many loops, one within the other, an expression runs.
fn nesting(expression: &Expr) -> u32 {
    let inner = children(expression)
        .into_iter()
        .map(nesting)
        .max()
        .unwrap_or(0);
    inner + u32::from(matches!(expression, Expr::Comprehension(_)))
}

fn children(expression: &Expr) -> Vec<&Expr> {
    match expression {
        Expr::Call(call) => call
            .target
            .iter()
            .map(|target| &target.expr)
            .chain(call.args.iter().map(|argument| &argument.expr))
            .collect(),
        Expr::Comprehension(comprehension) => vec![
            &comprehension.iter_range.expr,
            &comprehension.accu_init.expr,
            &comprehension.loop_cond.expr,
            &comprehension.loop_step.expr,
            &comprehension.result.expr,
        ],
        Expr::List(list) => list.elements.iter().map(|element| &element.expr).collect(),
        Expr::Map(map) => map.entries.iter().flat_map(entry).collect(),
        Expr::Struct(structure) => structure.entries.iter().flat_map(entry).collect(),
        Expr::Select(select) => vec![&select.operand.expr],
        _ => Vec::new(),
    }
}

fn entry(entry: &kube_cel::cel::common::ast::IdedEntryExpr) -> Vec<&Expr> {
    match &entry.expr {
        EntryExpr::StructField(field) => vec![&field.value.expr],
        EntryExpr::MapEntry(map) => vec![&map.key.expr, &map.value.expr],
    }
}

/// The first field selected from `self` or `oldSelf` that `schema` does not have.
pub(crate) fn undefined_field(rule: &str, schema: &Value) -> Option<String> {
    let program = Program::compile(rule).ok()?;
    find_undefined(&program.expression().expr, schema)
}

fn find_undefined(expression: &Expr, schema: &Value) -> Option<String> {
    if let Expr::Select(_) = expression
        && let Err(field) = selected(expression, schema)
    {
        return Some(field);
    }
    children(expression)
        .into_iter()
        .find_map(|child| find_undefined(child, schema))
}

/// The schema a chain of selections ends at; `Ok(None)` when that is not known.
fn selected<'a>(expression: &Expr, schema: &'a Value) -> Result<Option<&'a Value>, String> {
    match expression {
        Expr::Ident(name) if name == "self" || name == "oldSelf" => Ok(Some(schema)),
        Expr::Select(select) => {
            let Some(parent) = selected(&select.operand.expr, schema)? else {
                return Ok(None);
            };
            field_schema(parent, &select.field)
        }
        _ => Ok(None),
    }
}

fn field_schema<'a>(parent: &'a Value, field: &str) -> Result<Option<&'a Value>, String> {
    let flag = |name: &str| parent.get(name).and_then(Value::as_bool) == Some(true);
    let open = flag("x-kubernetes-preserve-unknown-fields")
        || flag("x-kubernetes-embedded-resource")
        || flag("x-kubernetes-int-or-string")
        || parent.get("additionalProperties").is_some()
        || parent.get("type").and_then(Value::as_str) != Some("object");
    if open {
        return Ok(None);
    }
    let fields = parent.get("properties").and_then(Value::as_object);
    let found = fields.and_then(|fields| {
        fields
            .iter()
            .find(|(name, _)| escaped(name) == field)
            .map(|(_, schema)| schema)
    });
    found.map(Some).ok_or_else(|| field.to_owned())
}

/// A field name as CEL expressions write it.
fn escaped(name: &str) -> String {
    const RESERVED: [&str; 18] = [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
    ];
    if RESERVED.contains(&name) || matches!(name, "var" | "void" | "while") {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
