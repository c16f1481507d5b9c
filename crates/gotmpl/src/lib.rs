//! Go's `text/template` over JSON-like data, for templates that strangers write.
//!
//! ```text
//!  text ─▶ lex ─▶ parse ─▶ tree ─▶ execute(data) ─▶ text
//!                                     │
//!                    functions ▶ compare, escape, print, verbs
//! ```
//!
//! Grammar, semantics and the wording of errors are those of Go's package. Data are what JSON
//! decoding gives a Go program of Kubernetes: `map[string]interface {}`, `[]interface {}`,
//! `int64` for whole numbers, `float64` for others; or one `map[string]string`.
//!
//! What differs on purpose: complex constants are refused; `%p` prints no address; floating-point
//! numbers have no binary or hexadecimal format; a string cut inside a character shows U+FFFD; and
//! everything that a template can make large is limited by the constants below.

mod compare;
mod escape;
mod execute;
mod functions;
mod lex;
mod literal;
mod number;
mod parse;
mod print;
mod quote;
mod tree;
mod value;
mod verbs;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::quote::quote;

/// Bytes of a template's text, at most: what fits into a Kubernetes object at all.
pub const MAX_TEMPLATE_BYTES: usize = 1024 * 1024;

/// Actions and parentheses inside each other, at most. Each level costs stack in the parser; real
/// templates nest five deep, and a chain of `else if` counts one for each link.
pub const MAX_NESTING: usize = 100;

/// Levels of actions, parentheses and called templates that execution may be inside of. It bounds
/// the stack, and with it recursion that does not end.
pub const MAX_EXECUTION_DEPTH: usize = 250;

/// Bytes that one execution may write: what fits into a Kubernetes object at all.
pub const MAX_OUTPUT_BYTES: usize = 1024 * 1024;

/// Steps of one execution, or of all that share a [`Budget`], at most. A step is a node evaluated, an item of a range, or
/// [`BYTES_PER_STEP`] bytes handled by a function. Some tens of milliseconds.
pub const MAX_STEPS: usize = 200_000;

/// Bytes that a function may handle for the price of one step, so that a few steps over large
/// strings are no way around [`MAX_STEPS`].
pub const BYTES_PER_STEP: usize = 64;

/// What becomes of a key that a map does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissingKey {
    /// It has no value, and prints `<no value>`.
    #[default]
    NoValue,
    /// It has the zero value of the map's elements.
    Zero,
    /// Execution ends with an error.
    Error,
}

/// Why a text is no template. Displayed as Go does: `template: NAME:LINE: DETAIL`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: {name}:{line}: {detail}")]
pub struct ParseError {
    name: String,
    line: usize,
    detail: String,
}

impl ParseError {
    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// Why an execution ended early. Displayed as Go does:
/// `template: NAME:LINE:COLUMN: executing "NAME" at <NODE>: DETAIL`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ExecuteError {
    place: Place,
    executing: String,
    node: String,
    detail: String,
}

/// Where in a template something is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    /// Counted from 1.
    line: usize,
    /// In bytes, counted from 0, as Go does.
    column: usize,
}

impl fmt::Display for ExecuteError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { name, line, column } = &self.place;
        let executing = quote(&self.executing);
        let (node, detail) = (&self.node, &self.detail);
        write!(
            out,
            "template: {name}:{line}:{column}: executing {executing} at <{node}>: {detail}"
        )
    }
}

impl ExecuteError {
    /// The line, counted from 1.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.line
    }

    /// What is wrong, without the place.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

/// What executions may still cost: [`MAX_STEPS`] in the beginning. Templates that stand in one
/// object share one, so that many are no way around the limit of each.
#[derive(Debug, Clone)]
pub struct Budget {
    steps: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: MAX_STEPS }
    }
}

/// A parsed template with those it defines.
#[derive(Debug, Clone)]
pub struct Template {
    name: String,
    text: String,
    definitions: BTreeMap<String, tree::List>,
    missing_key: MissingKey,
}

impl Template {
    /// Parses `text`; `name` is what errors call it.
    ///
    /// # Errors
    /// What Go's parser would say, or that a limit is exceeded.
    pub fn parse(name: &str, text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(ParseError {
                name: name.to_owned(),
                line: 1,
                detail: format!(
                    "the template has {} bytes, at most {MAX_TEMPLATE_BYTES} are allowed: shorten it",
                    text.len()
                ),
            });
        }
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            definitions: parse::parse(name, text)?,
            missing_key: MissingKey::default(),
        })
    }

    /// Says what becomes of missing keys; Go's option `missingkey`.
    #[must_use]
    pub fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Executes the template over what Go would hold as `interface {}`.
    ///
    /// # Errors
    /// What Go's executor would say, or that a limit is exceeded.
    pub fn execute(&self, data: &Value, budget: &mut Budget) -> Result<String, ExecuteError> {
        execute::execute(self, value::Item::from_json(data), &mut budget.steps)
    }

    /// Executes the template over what Go would hold as `map[string]string`.
    ///
    /// # Errors
    /// As of [`Template::execute`].
    pub fn execute_strings(
        &self,
        data: &BTreeMap<String, String>,
        budget: &mut Budget,
    ) -> Result<String, ExecuteError> {
        execute::execute(self, value::Item::Strings(data), &mut budget.steps)
    }
}
