//! The client-go dialect of JSONPath.
//!
//! ```text
//!  text ─▶ parse ─▶ parts and steps ─▶ walk(value) ─▶ values ─▶ text
//! ```
//!
//! A template is text with actions in braces: `{.metadata.name}`, `{range .items[*]}…{end}`,
//! `{"\n"}`. A printer column's path is one action without its braces. Two things differ from
//! client-go on purpose: `['a.b']` names one key, and maps are walked in the order of their keys.

mod parse;
mod text;
mod walk;

use serde_json::Value;

/// Bytes of a template, at most. The longest real ones, custom column lists, have a few hundred.
pub const MAX_TEMPLATE_BYTES: usize = 16 * 1024;

/// Filters, unions and ranges inside each other, at most. Real templates have two.
pub const MAX_NESTING: usize = 16;

/// Values that one step may yield, at most. Repeated `..` multiplies them; the bound is ten values
/// for each of ten thousand listed objects.
pub const MAX_VALUES: usize = 100_000;

/// Why a template could not be parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The template contradicts the grammar; the text is client-go's.
    #[error("{0}")]
    Syntax(String),
    /// The template exceeds [`MAX_TEMPLATE_BYTES`].
    #[error(
        "the JSONPath template has {0} bytes, at most {MAX_TEMPLATE_BYTES} are allowed: shorten it"
    )]
    TooLong(usize),
    /// The template exceeds [`MAX_NESTING`].
    #[error("the JSONPath template nests deeper than {MAX_NESTING} levels: flatten it")]
    TooDeep,
}

/// Why a template does not apply to a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// A step does not apply; the text is client-go's.
    #[error("{0}")]
    Mismatch(String),
    /// A step yields more than [`MAX_VALUES`].
    #[error("the JSONPath template selects more than {MAX_VALUES} values: narrow it")]
    TooMany,
}

/// A parsed template.
#[derive(Debug, Clone)]
pub struct JsonPath {
    parts: Vec<Part>,
    allow_missing_keys: bool,
}

/// One part of a template.
#[derive(Debug, Clone)]
enum Part {
    /// Text outside braces.
    Text(Value),
    /// An action.
    Path(Vec<Step>),
    /// The parts up to `{end}`, once for each value of the path.
    Range(Vec<Step>, Vec<Part>),
}

/// One step of a path.
#[derive(Debug, Clone)]
enum Step {
    /// A literal, which replaces whatever was selected.
    Literal(Value),
    Field(String),
    Wildcard,
    Recursive,
    Slice(Slice),
    Union(Vec<Vec<Step>>),
    Exists(Vec<Step>),
    Compare(Vec<Step>, Operator, Vec<Step>),
}

/// `[start:end:step]`; an index is the slice of one item.
#[derive(Debug, Clone, Copy)]
struct Slice {
    start: Option<i64>,
    end: Option<i64>,
    step: Option<i64>,
    /// Whether the end follows from an index rather than being written.
    is_index: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl JsonPath {
    /// Parses a template with its actions in braces, as `kubectl -o jsonpath=` takes it.
    pub fn parse(template: &str) -> Result<Self, ParseError> {
        if template.len() > MAX_TEMPLATE_BYTES {
            return Err(ParseError::TooLong(template.len()));
        }
        Ok(Self {
            parts: parse::template(template)?,
            allow_missing_keys: false,
        })
    }

    /// Parses one path with or without braces and leading dot, as CRD printer columns and
    /// `kubectl -o custom-columns=` write it.
    pub fn parse_relaxed(path: &str) -> Result<Self, ParseError> {
        let bare = path
            .strip_prefix('{')
            .and_then(|path| path.strip_suffix('}'))
            .unwrap_or(path);
        if bare.is_empty() || bare.contains(['{', '}']) {
            let message = format!(
                "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{{name1.name2}}' or '{{.name1.name2}}', got {path:?}"
            );
            return Err(ParseError::Syntax(message));
        }
        let dot = if bare.starts_with(['.', '[', '@', '$']) {
            ""
        } else {
            "."
        };
        Self::parse(&format!("{{{dot}{bare}}}"))
    }

    /// Sets whether a key that is not there selects nothing instead of being an error, which is the
    /// default.
    pub fn allow_missing_keys(mut self, allow: bool) -> Self {
        self.allow_missing_keys = allow;
        self
    }

    /// All values the template selects, in order.
    pub fn find<'v>(&'v self, value: &'v Value) -> Result<Vec<&'v Value>, FindError> {
        Ok(self.groups(value)?.into_iter().flatten().collect())
    }

    /// The template's text for a value: the values of one action are joined by blanks.
    pub fn render(&self, value: &Value) -> Result<String, FindError> {
        let mut out = String::new();
        for group in self.groups(value)? {
            for (place, value) in group.iter().enumerate() {
                if place > 0 {
                    out.push(' ');
                }
                text::write(value, &mut out);
            }
        }
        Ok(out)
    }

    fn groups<'v>(&'v self, value: &'v Value) -> Result<Vec<walk::Values<'v>>, FindError> {
        walk::Walk::new(self.allow_missing_keys).parts(&self.parts, value)
    }
}

/// A value as client-go prints it: strings bare, maps and lists as JSON, numbers as Go does.
pub fn to_text(value: &Value) -> String {
    let mut out = String::new();
    text::write(value, &mut out);
    out
}

#[cfg(test)]
mod tests;
