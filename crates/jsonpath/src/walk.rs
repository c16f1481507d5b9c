//! Steps over a value.

use std::cmp::Ordering;

use serde_json::Value;

use crate::FindError;
use crate::MAX_VALUES;
use crate::Operator;
use crate::Part;
use crate::Slice;
use crate::Step;

pub(crate) type Values<'v> = Vec<&'v Value>;
type Result<T> = std::result::Result<T, FindError>;

fn mismatch<T>(message: impl Into<String>) -> Result<T> {
    Err(FindError::Mismatch(message.into()))
}

/// One evaluation of a template.
#[derive(Clone, Copy)]
pub(crate) struct Walk {
    allow_missing_keys: bool,
}

impl Walk {
    pub(crate) fn new(allow_missing_keys: bool) -> Self {
        Self { allow_missing_keys }
    }

    /// The values of each part, in order.
    pub(crate) fn parts<'v>(self, parts: &'v [Part], value: &'v Value) -> Result<Vec<Values<'v>>> {
        let mut out = Vec::new();
        self.collect(parts, value, &mut out)?;
        Ok(out)
    }

    fn collect<'v>(
        self,
        parts: &'v [Part],
        value: &'v Value,
        out: &mut Vec<Values<'v>>,
    ) -> Result<()> {
        for part in parts {
            match part {
                Part::Text(text) => out.push(vec![text]),
                Part::Path(steps) => out.push(self.steps(steps, vec![value])?),
                Part::Range(steps, body) => {
                    for item in self.steps(steps, vec![value])? {
                        self.collect(body, item, out)?;
                    }
                }
            }
            if out.len() > MAX_VALUES {
                return Err(FindError::TooMany);
            }
        }
        Ok(())
    }

    fn steps<'v>(self, steps: &'v [Step], mut values: Values<'v>) -> Result<Values<'v>> {
        for step in steps {
            values = self.step(step, values)?;
            if values.len() > MAX_VALUES {
                return Err(FindError::TooMany);
            }
        }
        Ok(values)
    }

    fn step<'v>(self, step: &'v Step, values: Values<'v>) -> Result<Values<'v>> {
        match step {
            Step::Literal(literal @ Value::String(_)) => Ok(vec![literal]),
            Step::Literal(literal) => Ok(values.iter().map(|_| literal).collect()),
            Step::Field(name) => self.field(name, values),
            Step::Wildcard => Ok(values.into_iter().flat_map(children).collect()),
            Step::Recursive => {
                let mut out = Vec::new();
                for value in values {
                    descend(value, &mut out)?;
                }
                Ok(out)
            }
            Step::Slice(slice) => {
                let mut out = Vec::new();
                for value in values.into_iter().filter(|value| !value.is_null()) {
                    out.extend(sliced(*slice, value)?);
                }
                Ok(out)
            }
            Step::Union(choices) => {
                let mut out = Vec::new();
                for choice in choices {
                    out.extend(self.steps(choice, values.clone())?);
                }
                Ok(out)
            }
            Step::Exists(_) | Step::Compare(..) => {
                let mut out = Vec::new();
                for value in values {
                    self.filter(step, value, &mut out)?;
                }
                Ok(out)
            }
        }
    }

    fn field<'v>(self, name: &str, values: Values<'v>) -> Result<Values<'v>> {
        if values.is_empty() {
            return Ok(values);
        }
        let found: Values<'v> = values
            .into_iter()
            .filter_map(|value| value.get(name))
            .collect();
        if found.is_empty() && !self.allow_missing_keys {
            return mismatch(format!("{name} is not found"));
        }
        Ok(found)
    }

    fn filter<'v>(self, step: &'v Step, value: &'v Value, out: &mut Values<'v>) -> Result<()> {
        if !value.is_array() {
            let shown = crate::to_text(value);
            return mismatch(format!(
                "{shown} is not array or slice and cannot be filtered"
            ));
        }
        for item in children(value) {
            let keep = match step {
                // What is not there does not exist, whether or not that is an error elsewhere.
                Step::Exists(path) => self
                    .steps(path, vec![item])
                    .is_ok_and(|found| !found.is_empty()),
                Step::Compare(left, operator, right) => self.holds(left, *operator, right, item)?,
                _ => false,
            };
            if keep {
                out.push(item);
            }
        }
        Ok(())
    }

    fn holds<'v>(
        self,
        left: &'v [Step],
        operator: Operator,
        right: &'v [Step],
        item: &'v Value,
    ) -> Result<bool> {
        let left = self.steps(left, vec![item])?;
        let right = self.steps(right, vec![item])?;
        match (left.as_slice(), right.as_slice()) {
            ([], _) | (_, []) => Ok(false),
            ([left], [right]) => compare(left, operator, right),
            _ => mismatch("can only compare one element at a time"),
        }
    }
}

fn children(value: &Value) -> Values<'_> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => map.values().collect(),
        _ => Vec::new(),
    }
}

/// Collects a value and the maps and lists beneath it, each before what it holds. The recursion is
/// as deep as the value, which its own parser bounds.
fn descend<'v>(value: &'v Value, out: &mut Values<'v>) -> Result<()> {
    let beneath = children(value);
    if beneath.is_empty() {
        return Ok(());
    }
    if out.len() >= MAX_VALUES {
        return Err(FindError::TooMany);
    }
    out.push(value);
    beneath
        .into_iter()
        .try_for_each(|value| descend(value, out))
}

fn sliced(slice: Slice, value: &Value) -> Result<Values<'_>> {
    if !value.is_array() {
        return mismatch(format!("{} is not array or slice", go_type(value)));
    }
    let items = children(value);
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_end = |bound: i64| {
        if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        }
    };
    let start = from_end(slice.start.unwrap_or(0));
    let end = match slice.end {
        None => length,
        // The item before the first: index -1 ends where the list ends.
        Some(0) if slice.is_index => length,
        Some(end) => from_end(end),
    };
    if start == end {
        return Ok(Vec::new());
    }
    if start >= length || start < 0 {
        return mismatch(format!(
            "array index out of bounds: index {start}, length {length}"
        ));
    }
    if end > length || end < 0 {
        return mismatch(format!(
            "array index out of bounds: index {}, length {length}",
            end - 1
        ));
    }
    if start > end {
        return mismatch(format!(
            "starting index {start} is greater than ending index {end}"
        ));
    }
    let step = match slice.step {
        None => 1,
        Some(step) if step > 0 => usize::try_from(step).unwrap_or(usize::MAX),
        Some(_) => return mismatch("step must be > 0"),
    };
    let (start, end) = (
        usize::try_from(start).unwrap_or(0),
        usize::try_from(end).unwrap_or(0),
    );
    Ok(items
        .into_iter()
        .take(end)
        .skip(start)
        .step_by(step)
        .collect())
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn compare(left: &Value, operator: Operator, right: &Value) -> Result<bool> {
    let order = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => match (left.as_i64(), right.as_i64()) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => left.as_f64().partial_cmp(&right.as_f64()),
        },
        (Value::Bool(left), Value::Bool(right))
            if matches!(operator, Operator::Equal | Operator::NotEqual) =>
        {
            Some(left.cmp(right))
        }
        (Value::Bool(_), Value::Bool(_)) => return mismatch("invalid type for comparison"),
        (Value::Null | Value::Array(_) | Value::Object(_), _)
        | (_, Value::Null | Value::Array(_) | Value::Object(_)) => {
            return mismatch("invalid type for comparison");
        }
        _ => return mismatch("incompatible types for comparison"),
    };
    Ok(match operator {
        Operator::Equal => order == Some(Ordering::Equal),
        Operator::NotEqual => order != Some(Ordering::Equal),
        Operator::Less => order == Some(Ordering::Less),
        Operator::LessOrEqual => order.is_some_and(Ordering::is_le),
        Operator::Greater => order == Some(Ordering::Greater),
        Operator::GreaterOrEqual => order.is_some_and(Ordering::is_ge),
    })
}
