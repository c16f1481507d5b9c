//! The schema walk: types, constraints and logic, with upstream's messages in upstream's order.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;

use regex::Regex;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

use super::FieldError;
use super::FieldPath;
use super::MAX_ERRORS;
use super::MAX_VALUE_DEPTH;
use super::fields;
use super::format;
use super::path::NOWHERE;
use super::rules::RuleSet;
use crate::types::Constraints;
use crate::types::ObjectShape;
use crate::types::Shape;
use crate::types::TypeId;
use crate::types::TypeRef;

/// What a custom resource's constraints compile to, once per definition.
#[derive(Debug, Default)]
pub struct Compiled {
    /// `pattern`.
    pub pattern: Option<Regex>,
    /// `allOf`: types of the same pool.
    pub all_of: Vec<TypeId>,
    /// `anyOf`.
    pub any_of: Vec<TypeId>,
    /// `oneOf`.
    pub one_of: Vec<TypeId>,
    /// `not`.
    pub not: Option<TypeId>,
    /// `x-kubernetes-validations`.
    pub rules: Option<RuleSet>,
}

/// How a type is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The type itself: values of another JSON type are wrong.
    Schema,
    /// A branch of `allOf`, `anyOf`, `oneOf` or `not`: it constrains objects and lists without
    /// saying that the value is one.
    Branch,
}

pub(super) fn walk(ty: &TypeRef, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let mut walker = Walker {
        errors,
        mode: Mode::Schema,
    };
    walker.value(ty, new, old, &FieldPath::root(), 0);
}

struct Walker<'a> {
    errors: &'a mut Vec<FieldError>,
    mode: Mode,
}

impl Walker<'_> {
    fn value(
        &mut self,
        ty: &TypeRef,
        new: &Value,
        old: Option<&Value>,
        path: &FieldPath,
        depth: usize,
    ) {
        // What did not change is not held against the request.
        if old == Some(new) || self.errors.len() >= MAX_ERRORS {
            return;
        }
        if depth > MAX_VALUE_DEPTH {
            let detail = format!("must not nest deeper than {MAX_VALUE_DEPTH} levels");
            self.push(FieldError::invalid(path, "", detail));
            return;
        }
        let node = ty.get();
        if new.is_null() && node.nullable {
            return;
        }
        self.json_type(&node.shape, new, path);
        if let Some(constraints) = node.constraints.as_deref() {
            self.logic(ty, constraints, new, old, path, depth);
            self.constraints(&node.shape, constraints, new, path);
        }
        match (&node.shape, new) {
            (Shape::Array(_), Value::Array(items)) => {
                let Some(item_ty) = ty.items() else { return };
                let old_of = fields::correlated(ty, old);
                for (index, item) in items.iter().enumerate() {
                    self.value(&item_ty, item, old_of(item), &path.index(index), depth + 1);
                }
            }
            (Shape::Object(object), Value::Object(map)) => {
                self.object(ty, object, map, old, path, depth);
            }
            _ => {}
        }
    }

    fn push(&mut self, error: FieldError) {
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error);
        }
    }

    fn json_type(&mut self, shape: &Shape, value: &Value, path: &FieldPath) {
        let expected = match (shape, value) {
            (Shape::Any, _) => return,
            (Shape::Object(_) | Shape::Array(_), _) if self.mode == Mode::Branch => return,
            (Shape::Object(_), Value::Object(_))
            | (Shape::Array(_), Value::Array(_))
            | (Shape::Boolean, Value::Bool(_))
            | (Shape::Number, Value::Number(_)) => return,
            (
                Shape::String | Shape::Bytes | Shape::Quantity | Shape::Time | Shape::MicroTime,
                Value::String(_),
            ) => return,
            (Shape::IntOrString, Value::String(_)) => return,
            (Shape::Integer | Shape::IntOrString, Value::Number(number)) if is_whole(number) => {
                return;
            }
            (Shape::Object(_), _) => "object",
            (Shape::Array(_), _) => "array",
            (Shape::Boolean, _) => "boolean",
            (Shape::Number, _) => "number",
            (Shape::Integer, _) => "integer",
            (Shape::IntOrString, _) => "integer,string",
            _ => "string",
        };
        let found = json_type(value);
        let detail = format!("{path} in body must be of type {expected}: \"{found}\"");
        self.push(FieldError::type_invalid(path, found, detail));
    }

    fn object(
        &mut self,
        ty: &TypeRef,
        object: &ObjectShape,
        map: &Map<String, Value>,
        old: Option<&Value>,
        path: &FieldPath,
        depth: usize,
    ) {
        let old_of = |key: &str| old.and_then(|old| old.get(key));
        for (key, value) in map {
            let Some(child) = ty.property(key) else {
                continue;
            };
            // Metadata has rules of its own, which speak of more than its schema.
            let metadata = key == "metadata" && (depth == 0 || object.embedded_resource);
            if !metadata || self.mode == Mode::Branch {
                self.value(&child, value, old_of(key), &path.child(key), depth + 1);
            }
        }
        for field in object.fields.iter().filter(|field| field.required) {
            if !map.contains_key(&field.name) {
                self.push(FieldError::required(path.child(&field.name), ""));
            }
        }
    }

    /// Runs another type against the value and tells how many errors it found.
    fn attempt(
        &self,
        ty: &TypeRef,
        new: &Value,
        old: Option<&Value>,
        path: &FieldPath,
        depth: usize,
    ) -> Vec<FieldError> {
        let mut errors = Vec::new();
        Walker {
            errors: &mut errors,
            mode: Mode::Branch,
        }
        .value(ty, new, old, path, depth + 1);
        errors
    }

    fn logic(
        &mut self,
        ty: &TypeRef,
        constraints: &Constraints,
        new: &Value,
        old: Option<&Value>,
        path: &FieldPath,
        depth: usize,
    ) {
        let Some(compiled) = &constraints.compiled else {
            return;
        };
        let run = |id: &TypeId| self.attempt(&ty.at(*id), new, old, path, depth);
        let mut found = Vec::new();
        let mut nowhere = |text: String| found.push(FieldError::invalid(NOWHERE, "", text));
        let any: Vec<Vec<FieldError>> = compiled.any_of.iter().map(run).collect();
        if !any.is_empty() && any.iter().all(|errors| !errors.is_empty()) {
            nowhere(format!(
                "\"{path}\" must validate at least one schema (anyOf)"
            ));
            found.extend(closest(any));
        }
        let mut nowhere = |text: String| found.push(FieldError::invalid(NOWHERE, "", text));
        let one: Vec<Vec<FieldError>> = compiled.one_of.iter().map(run).collect();
        let valid = one.iter().filter(|errors| errors.is_empty()).count();
        if !one.is_empty() && valid == 0 {
            nowhere(format!(
                "\"{path}\" must validate one and only one schema (oneOf). Found none valid"
            ));
            found.extend(closest(one));
        } else if valid > 1 {
            nowhere(format!(
                "\"{path}\" must validate one and only one schema (oneOf). Found {valid} valid alternatives"
            ));
        }
        let all: Vec<Vec<FieldError>> = compiled.all_of.iter().map(run).collect();
        if all.iter().any(|errors| !errors.is_empty()) {
            let none = all.iter().all(|errors| !errors.is_empty());
            found.extend(all.into_iter().flatten());
            let more = if none { ". None validated" } else { "" };
            let text = format!("\"{path}\" must validate all the schemas (allOf){more}");
            found.push(FieldError::invalid(NOWHERE, "", text));
        }
        if let Some(id) = &compiled.not
            && run(id).is_empty()
        {
            let text = format!("\"{path}\" must not validate the schema (not)");
            found.push(FieldError::invalid(NOWHERE, "", text));
        }
        for error in found {
            self.push(error);
        }
    }

    fn constraints(
        &mut self,
        shape: &Shape,
        constraints: &Constraints,
        value: &Value,
        path: &FieldPath,
    ) {
        match value {
            Value::String(text) => self.text(constraints, text, path),
            Value::Number(number) => self.number(shape, constraints, number, path),
            Value::Array(items) => self.items(constraints, items, path),
            Value::Object(map) => self.properties(constraints, map.len() as u64, path),
            _ => {}
        }
        if let Some(allowed) = &constraints.one_of_values
            && !allowed.iter().any(|allowed| same(allowed, value))
        {
            let listed: Vec<String> = allowed
                .iter()
                .map(|value| match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                })
                .collect();
            self.push(FieldError::not_supported(path, value.clone(), &listed));
        }
    }

    fn text(&mut self, constraints: &Constraints, text: &str, path: &FieldPath) {
        let length = text.chars().count() as u64;
        if let Some(limit) = constraints.max_length.filter(|limit| length > *limit) {
            self.push(FieldError::too_long(path, limit));
        }
        if let Some(limit) = constraints.min_length.filter(|limit| length < *limit) {
            let detail = format!("{path} in body should be at least {limit} chars long");
            self.push(FieldError::invalid(path, text, detail));
        }
        if let Some(pattern) = &constraints.pattern {
            let compiled = constraints.compiled.as_ref();
            let matched = match compiled.and_then(|compiled| compiled.pattern.as_ref()) {
                Some(regex) => regex.is_match(text),
                None => compile_pattern(pattern).is_ok_and(|regex| regex.is_match(text)),
            };
            if !matched {
                let detail = format!("{path} in body should match '{pattern}'");
                self.push(FieldError::invalid(path, text, detail));
            }
        }
        if let Some(format) = &constraints.format
            && format::holds(format, text) == Some(false)
        {
            let quoted = super::go_quote(text);
            let detail = format!("{path} in body must be of type {format}: {quoted}");
            self.push(FieldError::type_invalid(path, text, detail));
        }
    }

    fn number(
        &mut self,
        shape: &Shape,
        constraints: &Constraints,
        number: &Number,
        path: &FieldPath,
    ) {
        let Some(value) = number.as_f64() else { return };
        let mut wrong = |detail: String| {
            let value = Value::Number(number.clone());
            self.push(FieldError::invalid(path, value, detail));
        };
        if let Some(divisor) = constraints.multiple_of
            && divisor != 0.0
            && (value / divisor).fract() != 0.0
        {
            wrong(format!("{path} in body should be a multiple of {divisor}"));
        }
        if let Some(limit) = constraints.maximum {
            if constraints.exclusive_maximum && value >= limit {
                wrong(format!("{path} in body should be less than {limit}"));
            } else if value > limit {
                wrong(format!(
                    "{path} in body should be less than or equal to {limit}"
                ));
            }
        }
        if let Some(limit) = constraints.minimum {
            if constraints.exclusive_minimum && value <= limit {
                wrong(format!("{path} in body should be greater than {limit}"));
            } else if value < limit {
                wrong(format!(
                    "{path} in body should be greater than or equal to {limit}"
                ));
            }
        }
        if matches!(shape, Shape::Integer) {
            self.width(constraints.format.as_deref(), number, path);
        }
    }

    fn width(&mut self, format: Option<&str>, number: &Number, path: &FieldPath) {
        let fits = match (format, number.as_i64()) {
            (Some("int32"), value) => value.is_some_and(|value| i32::try_from(value).is_ok()),
            (_, value) => value.is_some() || is_whole(number),
        };
        if fits {
            return;
        }
        let wanted = match format {
            Some(format) => format!("with format {format}"),
            None => String::from("(default format)"),
        };
        let detail = format!("Checked value must be of type integer {wanted} in {path}");
        self.push(FieldError::invalid(NOWHERE, "", detail));
    }

    fn items(&mut self, constraints: &Constraints, items: &[Value], path: &FieldPath) {
        let count = items.len() as u64;
        if let Some(limit) = constraints.min_items.filter(|limit| count < *limit) {
            let detail = format!("{path} in body should have at least {limit} items");
            self.push(FieldError::invalid(path, count, detail));
        }
        if let Some(limit) = constraints.max_items.filter(|limit| count > *limit) {
            self.push(FieldError::too_many(path, count, limit));
        }
    }

    fn properties(&mut self, constraints: &Constraints, count: u64, path: &FieldPath) {
        if let Some(limit) = constraints.max_properties.filter(|limit| count > *limit) {
            let detail = format!("{path} in body should have at most {limit} properties");
            self.push(FieldError::invalid(path, count, detail));
        }
        if let Some(limit) = constraints.min_properties.filter(|limit| count < *limit) {
            let detail = format!("{path} in body should have at least {limit} properties");
            self.push(FieldError::invalid(path, count, detail));
        }
    }
}

/// The errors of the branch that came closest: those are worth reading.
fn closest(branches: Vec<Vec<FieldError>>) -> Vec<FieldError> {
    branches
        .into_iter()
        .min_by_key(Vec::len)
        .unwrap_or_default()
}

/// Compiles a schema's pattern, or finds it compiled: definitions repeat few patterns (every list
/// of conditions has the same two), and a compiled one takes tens of kilobytes.
///
/// # Errors
///
/// The pattern is malformed, or too large to be matched within bounds.
pub(crate) fn compile_pattern(pattern: &str) -> Result<Regex, regex::Error> {
    /// Bounds one compiled pattern. Published CRDs stay below a tenth of it; a host serves hundreds.
    const PATTERN_BYTES: usize = 1 << 20;
    /// Bounds the patterns that are shared; all of OCM's and KubeStellar's definitions have fewer
    /// than fifty. Further ones work and are kept by their own schemas.
    const SHARED_MAX: usize = 256;
    static SHARED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());

    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = shared.get(pattern) {
        return Ok(known.clone());
    }
    let compiled = regex::RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES)
        .build()?;
    if shared.len() < SHARED_MAX {
        shared.insert(pattern.to_owned(), compiled.clone());
    }
    Ok(compiled)
}

/// Whether a number is an integer: JSON may write one as `1.0`.
fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|value| value.fract() == 0.0)
}

/// Equality in which `1` and `1.0` are the same number.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || left.as_f64() == right.as_f64()
        }
        _ => left == right,
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
