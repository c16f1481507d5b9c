//! The part of jq that names places in an object: what stands in `del(…)`.
//!
//! Paths, iteration, slices, `..`, `select` with comparisons and the common tests, pipes and commas.
//! There are no definitions, no recursion and no reduction, so that every expression comes to an
//! end; what is missing is refused by name.

mod parse;

use super::Path;
use super::Step;
use super::path::get;
use serde_json::Value;
use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

/// Places that one step may yield: ten times the fields of a large object.
const PLACES_MAX: usize = 10_000;

/// Values that one expression may make on its way: an expression over a large object makes as many
/// as that has fields, some times over, and the agent has others to wait for.
const STEPS_MAX: usize = 200_000;

/// What is left of [`STEPS_MAX`].
struct Steps(Cell<usize>);

impl Steps {
    fn spend(&self, steps: usize) -> Result<(), String> {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        match left {
            Some(_) => Ok(()),
            None => Err(format!("it takes more than {STEPS_MAX} steps: narrow it")),
        }
    }
}

/// A parsed expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// `.`
    Identity,
    /// `.key`
    Key(String),
    /// `.[1]`, from the end if negative.
    Index(i64),
    /// `.[1:2]`
    Slice(Option<i64>, Option<i64>),
    /// `.[]`
    Iterate,
    /// `..`
    Recurse,
    /// A value.
    Literal(Value),
    /// `a | b`
    Pipe(Box<Self>, Box<Self>),
    /// `a, b`
    Comma(Box<Self>, Box<Self>),
    /// `a?`
    Try(Box<Self>),
    /// `select(a)`
    Select(Box<Self>),
    /// `a == b` and its like
    Compare(Box<Self>, Comparison, Box<Self>),
    /// `a and b`
    And(Box<Self>, Box<Self>),
    /// `a or b`
    Or(Box<Self>, Box<Self>),
    /// `not`
    Not,
    /// A test of the input with one text: `has`, `startswith`, `endswith`, `contains`.
    Test(Test, String),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What is asked of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    Has,
    StartsWith,
    EndsWith,
    Contains,
}

/// A value on its way, and where it stands unless it was made by the expression.
#[derive(Clone, Debug)]
struct Item<'a> {
    value: Cow<'a, Value>,
    path: Option<Path>,
}

type Items<'a> = Result<Vec<Item<'a>>, String>;

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// In words, with the position.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse::parse(text)
    }

    /// The places in `object` that the expression names, as far as they exist.
    ///
    /// # Errors
    ///
    /// In words, where it does not apply to the object.
    pub fn paths(&self, object: &Value) -> Result<Vec<Path>, String> {
        let start = Item {
            value: Cow::Borrowed(object),
            path: Some(Path::default()),
        };
        let mut paths = Vec::new();
        let steps = Steps(Cell::new(STEPS_MAX));
        for item in self.run(&start, &steps)? {
            let Some(path) = item.path else {
                let what = item.value;
                return Err(format!("{what} is no place in the object"));
            };
            if path.steps().iter().try_fold(object, get).is_some() {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    fn run<'a>(&self, input: &Item<'a>, steps: &Steps) -> Items<'a> {
        let found = match self {
            Self::Identity => vec![input.clone()],
            Self::Key(key) => vec![input.key(key)?],
            Self::Index(index) => vec![input.index(*index)?],
            Self::Slice(start, end) => input.slice(*start, *end)?,
            Self::Iterate => input.children()?,
            Self::Recurse => input.descendants()?,
            Self::Literal(value) => vec![made(value.clone())],
            Self::Pipe(first, second) => {
                let mut all = Vec::new();
                for item in first.run(input, steps)? {
                    all.extend(second.run(&item, steps)?);
                    bounded(&all)?;
                }
                all
            }
            Self::Comma(first, second) => {
                let mut all = first.run(input, steps)?;
                all.extend(second.run(input, steps)?);
                all
            }
            Self::Try(inner) => inner.run(input, steps).unwrap_or_default(),
            Self::Select(condition) => {
                let answers = condition.run(input, steps)?;
                let chosen = answers.iter().filter(|answer| truth(&answer.value));
                chosen.map(|_| input.clone()).collect()
            }
            Self::Compare(left, how, right) => {
                let (left, right) = (left.run(input, steps)?, right.run(input, steps)?);
                steps.spend(left.len().saturating_mul(right.len()))?;
                let pairs = right.iter().flat_map(|b| left.iter().map(move |a| (a, b)));
                pairs
                    .map(|(a, b)| made(Value::Bool(how.holds(&a.value, &b.value))))
                    .collect()
            }
            Self::And(left, right) => logical(left, right, input, steps, false)?,
            Self::Or(left, right) => logical(left, right, input, steps, true)?,
            Self::Not => vec![made(Value::Bool(!truth(&input.value)))],
            Self::Test(test, text) => vec![made(Value::Bool(test.holds(&input.value, text)?))],
        };
        steps.spend(found.len() + 1)?;
        bounded(&found)?;
        Ok(found)
    }
}

/// `and` and `or`: the right side counts where the left one does not decide.
fn logical<'a>(
    left: &Filter,
    right: &Filter,
    input: &Item<'a>,
    steps: &Steps,
    decisive: bool,
) -> Items<'a> {
    let mut all = Vec::new();
    for answer in left.run(input, steps)? {
        if truth(&answer.value) == decisive {
            all.push(made(Value::Bool(decisive)));
        } else {
            let answers = right.run(input, steps)?;
            all.extend(
                answers
                    .iter()
                    .map(|answer| made(Value::Bool(truth(&answer.value)))),
            );
        }
    }
    Ok(all)
}

fn bounded(items: &[Item<'_>]) -> Result<(), String> {
    if items.len() > PLACES_MAX {
        return Err(format!("it names more than {PLACES_MAX} places: narrow it"));
    }
    Ok(())
}

fn made<'a>(value: Value) -> Item<'a> {
    Item {
        value: Cow::Owned(value),
        path: None,
    }
}

/// Everything but `false` and `null` counts as true.
fn truth(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl<'a> Item<'a> {
    /// What stands one step down; null where nothing does.
    fn below(&self, step: Step) -> Self {
        let value = match &self.value {
            Cow::Borrowed(value) => get(value, &step).map(Cow::Borrowed),
            Cow::Owned(value) => get(value, &step).cloned().map(Cow::Owned),
        };
        Item {
            value: value.unwrap_or(Cow::Owned(Value::Null)),
            path: self.path.as_ref().map(|path| path.join(step)),
        }
    }

    fn key(&self, key: &str) -> Result<Self, String> {
        match &*self.value {
            Value::Object(_) | Value::Null => Ok(self.below(Step::Key(key.to_owned()))),
            other => Err(format!("{} has no field {key:?}", kind(other))),
        }
    }

    fn index(&self, index: i64) -> Result<Self, String> {
        let length = match &*self.value {
            Value::Array(items) => items.len(),
            Value::Null => 0,
            other => return Err(format!("{} has no item {index}", kind(other))),
        };
        let counted = from_end(index, length).unwrap_or(length);
        Ok(self.below(Step::Index(counted)))
    }

    fn slice(&self, start: Option<i64>, end: Option<i64>) -> Items<'a> {
        let length = match &*self.value {
            Value::Array(items) => items.len(),
            Value::Null => 0,
            other => return Err(format!("{} cannot be sliced", kind(other))),
        };
        let clamp = |bound: i64| from_end(bound, length).unwrap_or(0).min(length);
        let (start, end) = (start.map_or(0, clamp), end.map_or(length, clamp));
        Ok((start..end)
            .map(|index| self.below(Step::Index(index)))
            .collect())
    }

    fn children(&self) -> Items<'a> {
        match &*self.value {
            Value::Array(items) => Ok((0..items.len())
                .map(|index| self.below(Step::Index(index)))
                .collect()),
            Value::Object(fields) => Ok(fields
                .keys()
                .map(|key| self.below(Step::Key(key.clone())))
                .collect()),
            other => Err(format!("{} has no items to go through", kind(other))),
        }
    }

    fn descendants(&self) -> Items<'a> {
        let mut all = vec![self.clone()];
        let mut next = 0;
        while let Some(item) = all.get(next) {
            let children = item.children().unwrap_or_default();
            all.extend(children);
            bounded(&all)?;
            next += 1;
        }
        Ok(all)
    }
}

/// An index counted from the start; nothing where it lies before it.
fn from_end(index: i64, length: usize) -> Option<usize> {
    match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?),
    }
}

impl Comparison {
    fn holds(self, a: &Value, b: &Value) -> bool {
        let order = || order(a, b);
        match self {
            Self::Equal => order() == Ordering::Equal,
            Self::NotEqual => order() != Ordering::Equal,
            Self::Less => order() == Ordering::Less,
            Self::LessOrEqual => order() != Ordering::Greater,
            Self::Greater => order() == Ordering::Greater,
            Self::GreaterOrEqual => order() != Ordering::Less,
        }
    }
}

/// The order of jq: by kind, then by value.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Null => 0,
        Value::Bool(false) => 1,
        Value::Bool(true) => 2,
        Value::Number(_) => 3,
        Value::String(_) => 4,
        Value::Array(_) => 5,
        Value::Object(_) => 6,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let number = |number: &serde_json::Number| number.as_f64().unwrap_or_default();
            number(a).total_cmp(&number(b))
        }
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let differs = a.iter().zip(b).map(|(a, b)| order(a, b));
            differs
                .into_iter()
                .find(|order| order.is_ne())
                .unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(fields), Value::Object(others)) => {
            let by_keys = fields.keys().cmp(others.keys());
            by_keys.then_with(|| {
                let differs = fields.values().zip(others.values());
                differs
                    .map(|(a, b)| order(a, b))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            })
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

impl Test {
    fn holds(self, input: &Value, text: &str) -> Result<bool, String> {
        match (self, input) {
            (Self::Has, Value::Object(fields)) => Ok(fields.contains_key(text)),
            (Self::StartsWith, Value::String(input)) => Ok(input.starts_with(text)),
            (Self::EndsWith, Value::String(input)) => Ok(input.ends_with(text)),
            (Self::Contains, Value::String(input)) => Ok(input.contains(text)),
            (_, other) => Err(format!("{} cannot be tested for {text:?}", kind(other))),
        }
    }
}
