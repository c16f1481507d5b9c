//! CEL expressions of admission policies.
//!
//! ```text
//!  text ─▶ parse ─▶ tree: check names, make safe and cheap ─▶ Expression
//!                                   │                              │
//!                                   └─▶ Reads: the fields it uses  │
//!                                          │                       ▼
//!                          object ─▶ those fields as CEL values ─▶ Scope ─▶ evaluate ─▶ Datum
//! ```
//!
//! An expression is compiled once and evaluated for every write it concerns, so an evaluation
//! converts only the fields that the expression can read, and its loops are counted.

mod authorizer;
mod datum;
mod program;
mod reads;
mod scope;
mod tree;

use kube_cel::cel::ExecutionError;
use kube_cel::cel::Value;
use kube_cel::cel::parser::Expression as Tree;
use kube_cel::cel::parser::Parser;

pub use authorizer::Authorizer;
pub use authorizer::Inquiry;
pub use authorizer::Subject;
pub use authorizer::Verdict;
pub use datum::Datum;
pub use program::Mutation;
pub use program::Named;
pub use program::PolicyProgram;
pub use program::Validation;
pub use reads::Projection;
pub use reads::Reads;
pub use scope::Meter;
pub use scope::Scope;

/// The longest expression, in bytes. Upstream bounds them by estimated cost; the longest ones in
/// published policies have two thousand.
pub const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// How deep an expression may nest, operators included: evaluating recurses as deep, with up to a
/// kilobyte of stack a level.
const DEPTH_MAX: usize = 256;

/// Which names an expression may use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Declarations<'a> {
    /// Variables such as `object` and `request`.
    pub names: &'a [&'a str],
    /// What stands behind `variables.`.
    pub variables: &'a [String],
    /// Whether `Object{…}` and `JSONPatch{…}` may be built, as mutations do.
    pub initialisers: bool,
    /// Whether `hasConditions(status)` may be called: the one function that Open Cluster Management
    /// adds for the condition rules of works. It says whether a status lists any condition.
    pub has_conditions: bool,
}

/// Why a text is no usable expression, in the API server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compilation failed: {0}")]
pub struct CompileError(String);

/// Why an evaluation has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The expression met a value it cannot work with.
    #[error("{0}")]
    Error(String),
    /// The evaluation took more steps or more time than its [`Meter`] grants.
    #[error(
        "validation failed due to running out of cost budget, no further validation rules will be run"
    )]
    OutOfBudget,
}

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    text: String,
    tree: Tree,
    reads: Reads,
    variables: Vec<String>,
}

impl Expression {
    /// Compiles a text.
    ///
    /// # Errors
    /// The text does not parse, is too long or too deep, or uses a name that is not declared.
    pub fn compile(text: &str, declared: &Declarations<'_>) -> Result<Expression, CompileError> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(CompileError(too_long(text)));
        }
        let parsed = Parser::new()
            .enable_optional_syntax(true)
            .parse(text)
            .map_err(|error| CompileError(error.to_string()))?;
        let tree = tree::Builder::new(declared).build(parsed)?;
        let reads = Reads::of(&tree);
        let variables = tree::composited(&tree);
        Ok(Expression {
            text: text.to_owned(),
            tree,
            reads,
            variables,
        })
    }

    /// The text it was compiled from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Which fields of which variables it can read.
    pub fn reads(&self) -> &Reads {
        &self.reads
    }

    /// The names behind `variables.` that it uses.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// [`Failure::Error`] in the API server's words, or [`Failure::OutOfBudget`].
    pub fn evaluate(&self, scope: &Scope) -> Result<Datum, Failure> {
        let outcome = guarded(|| Value::resolve(&self.tree, scope.context()));
        match outcome {
            Some(Ok(value)) => Ok(Datum(value)),
            Some(Err(error)) => Err(scope.failure(&error)),
            None => Err(Failure::Error("the expression engine broke off".to_owned())),
        }
    }
}

/// Runs the engine, which panics in some corners (negating the least integer, formatting with a huge
/// precision); `None` when it did. It only reads what it is given, so nothing is left half done.
pub(crate) fn guarded<T>(run: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok()
}

/// Why the engine must not be given an expression that it can parse: it recurses as deep as the
/// expression nests, and has no object initialisers.
pub(crate) fn hazard(text: &str) -> Option<String> {
    if text.len() > EXPRESSION_BYTES_MAX {
        return Some(too_long(text));
    }
    let parsed = Parser::new().parse(text).ok()?;
    tree::hazard(&parsed)
}

fn too_long(text: &str) -> String {
    format!(
        "the expression has {} bytes and at most {EXPRESSION_BYTES_MAX} are taken; split it",
        text.len()
    )
}

/// An error of the engine as upstream words it.
fn wording(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::NoSuchOverload => "no such overload".to_owned(),
        ExecutionError::IndexOutOfBounds(Value::Int(index)) => {
            format!("index out of bounds: {index}")
        }
        ExecutionError::FunctionError { message, .. } => message.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
