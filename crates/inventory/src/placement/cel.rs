//! Selectors in CEL: compiled with the placement, held against one WEC at a time.
//!
//! The variable is `managedCluster`, the inventory object. Besides Kubernetes' own functions there
//! are `managedCluster.scores("name")`, the scores of that [`AddOnPlacementScore`] of the WEC, and
//! `parseJSON(text)`. An expression that fails on a WEC, for want of a label say, does not match it.
//!
//! [`AddOnPlacementScore`]: hyades_api::placement::AddOnPlacementScore

use super::inspection::Bounds;
use super::inspection::Inspection;
use super::inspection::Longest;
use super::snapshot::Wec;
use kube_cel::KubeCelExt;
use kube_cel::cel::Context;
use kube_cel::cel::ExecutionError;
use kube_cel::cel::FunctionContext;
use kube_cel::cel::Program;
use kube_cel::cel::Value;
use kube_cel::cel::extractors::Arguments;
use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::Key;
use kube_cel::cel::objects::Map;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

/// Longest expression, in bytes. Parser and evaluator recurse over the expression, and this bounds
/// how deep: [`super::planner`] gives them a stack for it.
pub(super) const EXPRESSION_BYTES_MAX: usize = 2048;

/// Deepest nesting of brackets. Each level costs the parser some twenty calls.
const BRACKETS_MAX: u32 = 32;

/// Most work one expression may be for one WEC: steps of loops, times parts of the expression.
/// Kubernetes allows a call the same number of its units.
const COST_MAX: u64 = 1_000_000;

/// By how much an expression may make texts and lists longer than those of the WEC: enough for any
/// message, and bounded in memory whatever a WEC states of itself.
const GROWTH_MAX: u64 = 1_000;

/// Longest text that `replace` and `join` make, in bytes; for the same reason.
const TEXT_BYTES_MAX: usize = 65_536;

/// Deepest JSON that `parseJSON` reads, and objects are converted to; beyond it stands null.
pub(super) const VALUE_DEPTH_MAX: u32 = 32;

const OBJECT: &str = "managedCluster";

/// Holds the scores of a WEC for the function. No expression can name it: it is no identifier.
const SCORES: &str = "@scores";

/// A compiled expression.
#[derive(Debug)]
pub(super) struct Expression {
    program: Program,
    bounds: Bounds,
}

impl Expression {
    /// Compiles an expression; the error says what is wrong with it.
    pub(super) fn compile(text: &str, functions: &Functions) -> Result<Self, String> {
        check_size(text)?;
        let program = parsed(text).map_err(|error| format!("compilation failed: {error}"))?;
        let mut inspection = Inspection::new(functions, OBJECT);
        let inspected = inspection.visit(&program.expression().expr);
        inspected.map_err(|error| format!("compilation failed: {error}"))?;
        let bounds = inspection.bounds;
        if bounds.growth() > GROWTH_MAX {
            let message = "the expression may make texts or lists too long: it has too many loops \
                           with +, format or quote";
            return Err(message.to_owned());
        }
        Ok(Self { program, bounds })
    }
}

/// Parses an expression. The parser panics on some texts that are no expressions, which is as good
/// an answer as any other refusal.
fn parsed(text: &str) -> Result<Program, String> {
    match catch_unwind(|| Program::compile(text)) {
        Ok(parsed) => parsed.map_err(|error| error.to_string()),
        Err(_) => Err("the parser cannot read it".to_owned()),
    }
}

fn check_size(text: &str) -> Result<(), String> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let length = text.len();
        return Err(format!(
            "the expression has {length} bytes; {EXPRESSION_BYTES_MAX} is the limit"
        ));
    }
    let (mut depth, mut deepest) = (0_u32, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    if deepest > BRACKETS_MAX {
        return Err(format!(
            "the expression nests {deepest} brackets; {BRACKETS_MAX} is the limit"
        ));
    }
    Ok(())
}

/// The functions that expressions may call.
pub(super) struct Functions(Context<'static>);

impl std::fmt::Debug for Functions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Functions").finish_non_exhaustive()
    }
}

impl Functions {
    /// Kubernetes' and those of placements.
    pub(super) fn new() -> Self {
        let mut context = Context::default().with_all();
        context.add_function("scores", scores);
        context.add_function("parseJSON", parse_json);
        // Makes lists of any length out of nothing, which no bound on the object would cover.
        context.add_function("lists.range", no_range);
        // Kubernetes' own know no limit but that of its cost units, which nobody counts here.
        context.add_function("replace", replace);
        context.add_function("join", join);
        Self(context)
    }

    /// Whether there is a function of that name: one that is not there is refused in another way
    /// than one that is called wrongly.
    pub(super) fn know(&self, name: &str) -> bool {
        let call = Program::compile(&format!("{name}()"));
        let outcome = call.map(|call| call.execute(&self.0));
        !matches!(
            outcome,
            Err(_) | Ok(Err(ExecutionError::UndeclaredReference(_)))
        )
    }

    /// Whether all expressions are true of a WEC.
    pub(super) fn all_true<'a>(
        &self,
        expressions: impl IntoIterator<Item = &'a Expression>,
        wec: &Wec,
    ) -> bool {
        let mut expressions = expressions.into_iter().peekable();
        if expressions.peek().is_none() {
            return true;
        }
        let object = serde_json::to_value(&*wec.object).unwrap_or_default();
        let scores = scores_value(wec);
        let longest = Longest::of(&object, wec.longest_scores());
        let mut scope = self.0.new_inner_scope();
        scope.add_variable_from_value(OBJECT, converted(object, 0));
        scope.add_variable_from_value(SCORES, scores);
        // Half-done work of an evaluation that panicked is in nobody's hands any more.
        let is_true = |expression: &Expression| {
            let run = AssertUnwindSafe(|| expression.program.execute(&scope));
            matches!(catch_unwind(run), Ok(Ok(Value::Bool(true))))
        };
        expressions.all(|one| one.bounds.cost(longest) <= COST_MAX && is_true(one))
    }
}

fn scores(
    context: &FunctionContext,
    This(_): This<Value>,
    name: Arc<String>,
) -> Result<Value, ExecutionError> {
    let none = || Value::List(Arc::default());
    let Some(all) = context.ptx.get_variable(SCORES) else {
        return Ok(none());
    };
    match Value::try_from(all.as_ref())? {
        Value::Map(Map { map }) => Ok(map.get(&Key::String(name)).cloned().unwrap_or_else(none)),
        _ => Ok(none()),
    }
}

fn parse_json(
    context: &FunctionContext,
    This(text): This<Arc<String>>,
) -> Result<Value, ExecutionError> {
    let value: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| context.error(error))?;
    Ok(converted(value, 0))
}

fn no_range(context: &FunctionContext, This(_): This<Value>) -> Result<Value, ExecutionError> {
    Err(context.error("not available in placements"))
}

fn replace(
    context: &FunctionContext,
    This(text): This<Arc<String>>,
    Arguments(arguments): Arguments,
) -> Result<Value, ExecutionError> {
    let [Value::String(from), Value::String(to), rest @ ..] = &arguments[..] else {
        return Err(context.error("takes two texts, and a number"));
    };
    let found = if from.is_empty() {
        text.chars().count() + 1
    } else {
        text.matches(from.as_str()).count()
    };
    let times = match rest {
        [] => found,
        [Value::Int(times)] => usize::try_from(*times).unwrap_or(found).min(found),
        _ => return Err(context.error("takes two texts, and a number")),
    };
    if text.len().saturating_add(times.saturating_mul(to.len())) > TEXT_BYTES_MAX {
        return Err(context.error(too_long()));
    }
    Ok(Value::String(Arc::new(text.replacen(
        from.as_str(),
        to,
        times,
    ))))
}

fn join(
    context: &FunctionContext,
    This(list): This<Arc<Vec<Value>>>,
    Arguments(arguments): Arguments,
) -> Result<Value, ExecutionError> {
    let separator = match arguments.last() {
        Some(Value::String(separator)) => separator.as_str(),
        _ => "",
    };
    let mut joined = String::new();
    for (place, item) in list.iter().enumerate() {
        let Value::String(item) = item else {
            return Err(context.error("takes a list of texts"));
        };
        if place > 0 {
            joined.push_str(separator);
        }
        joined.push_str(item);
        if joined.len() > TEXT_BYTES_MAX {
            return Err(context.error(too_long()));
        }
    }
    Ok(Value::String(Arc::new(joined)))
}

fn too_long() -> String {
    format!("makes a text of more than {TEXT_BYTES_MAX} bytes")
}

fn scores_value(wec: &Wec) -> Value {
    let text = |text: &str| Value::String(Arc::new(text.to_owned()));
    let key = |text: &str| Key::String(Arc::new(text.to_owned()));
    let lists = wec.scores.iter().map(|(resource, object)| {
        let entries = object.status.scores.iter().map(|score| {
            let entry = [
                (key("name"), text(&score.name)),
                (key("value"), Value::Int(score.value.into())),
            ];
            Value::Map(Map {
                map: Arc::new(HashMap::from(entry)),
            })
        });
        (key(resource), Value::List(Arc::new(entries.collect())))
    });
    Value::Map(Map {
        map: Arc::new(lists.collect()),
    })
}

/// JSON as CEL sees the fields of an object: whole numbers are `int`, as in Go, never `uint`.
fn converted(value: serde_json::Value, depth: u32) -> Value {
    use serde_json::Value as Json;
    if depth > VALUE_DEPTH_MAX {
        return Value::Null;
    }
    match value {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int(whole),
            None => Value::Float(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Value::String(Arc::new(text)),
        Json::Array(items) => {
            let items = items.into_iter().map(|item| converted(item, depth + 1));
            Value::List(Arc::new(items.collect()))
        }
        Json::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let name = Key::String(Arc::new(name));
                (name, converted(value, depth + 1))
            });
            Value::Map(Map {
                map: Arc::new(fields.collect()),
            })
        }
    }
}

#[cfg(test)]
mod tests;
