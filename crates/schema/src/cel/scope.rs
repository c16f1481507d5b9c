//! What an expression is evaluated in: functions, variables, and a limit on its work.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;
use std::time::Instant;

use kube_cel::KubeCelExt as _;
use kube_cel::cel::Context;
use kube_cel::cel::ExecutionError;
use kube_cel::cel::Value;
use kube_cel::cel::common::value::Val;
use kube_cel::cel::objects::Key;
use kube_cel::cel::objects::Map;
use kube_cel::cel::objects::Opaque;
use serde_json::Value as Json;

use super::Datum;
use super::Failure;
use super::Inquiry;
use super::Projection;
use super::authorizer;
use super::reads;
use super::tree;
use super::wording;

/// The function that every turn of a loop calls, with what the loop has accumulated.
pub(super) const TICK: &str = "@tick";

/// The function behind `+`, which counts what it makes.
pub(super) const ADD: &str = "@add";

/// The function behind `hasConditions`, out of the reach of expressions that may not call it.
pub(super) const HAS_CONDITIONS: &str = "@hasConditions";

/// The longest list that `lists.range` makes: more could not be looped over anyway.
const RANGE_MAX: i64 = 100_000;

/// What stands before the name of a composited variable.
pub(super) const COMPOSITED: &str = "variables.";

/// The functions that every expression may call.
pub(super) static FUNCTIONS: LazyLock<Context<'static>> = LazyLock::new(|| {
    let mut context = Context::default().with_all();
    context.add_function("dyn", |value: Value| -> Result<Value, ExecutionError> {
        Ok(value)
    });
    context.add_function(TICK, |accumulated: Value| -> Result<bool, ExecutionError> {
        Meter::charge(1 + weight(&accumulated)).map(|()| true)
    });
    context.add_function(ADD, |left: Value, right: Value| {
        let sum = (left + right)?;
        Meter::charge(weight(&sum)).map(|()| sum)
    });
    context.add_function(
        "lists.range",
        |count: i64| -> Result<Value, ExecutionError> {
            if !(0..=RANGE_MAX).contains(&count) {
                let why = format!("range argument must be between 0 and {RANGE_MAX}");
                return Err(ExecutionError::function_error("lists.range", why));
            }
            Meter::charge(count.unsigned_abs())?;
            Ok((0..count).map(Value::Int).collect::<Vec<_>>().into())
        },
    );
    context.add_function(
        HAS_CONDITIONS,
        |status: Value| -> Result<bool, ExecutionError> { Ok(has_conditions(&status)) },
    );
    authorizer::register(&mut context);
    context
});

fn has_conditions(status: &Value) -> bool {
    let Value::Map(status) = status else {
        return false;
    };
    let key = Key::String(Arc::new("conditions".to_owned()));
    matches!(status.map.get(&key), Some(Value::List(conditions)) if !conditions.is_empty())
}

/// Variables with their values.
pub struct Scope {
    context: Context<'static>,
    failed: BTreeMap<String, Failure>,
}

impl Default for Scope {
    fn default() -> Self {
        Scope {
            context: FUNCTIONS.new_inner_scope(),
            failed: BTreeMap::new(),
        }
    }
}

impl Scope {
    /// Sets a variable to the projected part of a JSON value.
    pub fn set_json(&mut self, name: &str, value: &Json, projection: &Projection) {
        self.set(name, reads::to_cel(value, projection));
    }

    /// Sets a variable to a map of timestamps, each given in the form of RFC 3339. A text that is no
    /// such time is left out of the map.
    pub fn set_timestamps(&mut self, name: &str, times: &[(&str, &str)]) {
        let fields = times.iter().filter_map(|(field, text)| {
            let time = Value::resolve(&tree::timestamp(text), &FUNCTIONS).ok()?;
            Some((Key::String(Arc::new((*field).to_owned())), time))
        });
        let map = Map {
            map: Arc::new(fields.collect()),
        };
        self.context.add_variable_from_value(name, Value::Map(map));
    }

    /// Sets what `authorizer` or `authorizer.requestResource` is.
    pub fn set_inquiry(&mut self, name: &str, inquiry: Inquiry) {
        let opaque: Arc<dyn Opaque> = Arc::new(inquiry);
        self.context
            .add_variable_from_value(name, Value::Opaque(opaque));
    }

    /// Sets what `variables.NAME` is. A failure is told to the expressions that use the variable,
    /// and to no others.
    pub fn set_composited(&mut self, name: &str, result: Result<Datum, Failure>) {
        let full = format!("{COMPOSITED}{name}");
        match result {
            Ok(datum) => self.context.add_variable_from_value(full, datum.0),
            Err(failure) => {
                self.failed.insert(full, failure);
            }
        }
    }

    fn set(&mut self, name: &str, value: Box<dyn Val>) {
        if let Context::Child { variables, .. } = &mut self.context {
            variables.insert(name.to_owned(), value);
        }
    }

    pub(super) fn context(&self) -> &Context<'static> {
        &self.context
    }

    pub(super) fn failure(&self, error: &ExecutionError) -> Failure {
        if Meter::is_exhausted() {
            return Failure::OutOfBudget;
        }
        let ExecutionError::UndeclaredReference(name) = error else {
            return Failure::Error(wording(error));
        };
        match self.failed.get(name.as_str()) {
            Some(Failure::OutOfBudget) => Failure::OutOfBudget,
            Some(Failure::Error(why)) => {
                let name = name.trim_start_matches(COMPOSITED);
                Failure::Error(format!(
                    "composited variable \"{name}\" fails to evaluate: {why}"
                ))
            }
            None => Failure::Error(format!("no such attribute(s): {name}")),
        }
    }
}

/// How many turns the loops of one policy's expressions may take for one write. A turn costs about
/// a microsecond, so that this is the second that upstream's cost budget amounts to. What loops and
/// sums make counts as well, so that memory is bounded too.
const STEPS_MAX: u64 = 1_000_000;

/// How long the loops of one policy may run for one write, whatever their turns cost: a turn over
/// long lists copies them. Far above what the steps take by themselves on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(5);

thread_local! {
    static METER: Cell<Option<Running>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Running {
    steps_left: u64,
    end: Instant,
}

/// What a value counts when it is made: a kilobyte of text or sixteen items as much as a turn.
fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64 / 1024,
        Value::Bytes(bytes) => bytes.len() as u64 / 1024,
        Value::List(items) => items.len() as u64 / 16 + items.iter().map(weight).sum::<u64>(),
        Value::Map(map) => map.map.len() as u64 / 16 + map.map.values().map(weight).sum::<u64>(),
        _ => 0,
    }
}

/// Limits the work of all evaluations on this thread while it lives. Without one, loops and sums fail.
#[derive(Debug)]
pub struct Meter(());

impl Meter {
    /// Grants the work of one policy for one write.
    #[must_use = "the grant ends when this is dropped"]
    pub fn start() -> Meter {
        METER.set(Some(Running {
            steps_left: STEPS_MAX,
            end: Instant::now() + TIME_MAX,
        }));
        Meter(())
    }

    /// Takes steps off the grant.
    fn charge(steps: u64) -> Result<(), ExecutionError> {
        let refusal = || ExecutionError::function_error(TICK, "out of budget");
        let mut running = METER.get().ok_or_else(refusal)?;
        let late = Instant::now() > running.end;
        running.steps_left = if late {
            0
        } else {
            running.steps_left.saturating_sub(steps)
        };
        METER.set(Some(running));
        if running.steps_left == 0 {
            Err(refusal())
        } else {
            Ok(())
        }
    }

    fn is_exhausted() -> bool {
        METER.get().is_some_and(|running| running.steps_left == 0)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        METER.set(None);
    }
}
