//! From text to a filter.

use super::Comparison;
use super::Filter;
use super::Test;
use serde_json::Value;

/// Longest expression, in bytes; those in use have a hundred.
const EXPRESSION_BYTES_MAX: usize = 2048;

/// Deepest nesting of brackets: the parser and the evaluation recurse as deep, and each link of a
/// chain counts the bytes it takes.
const DEPTH_MAX: usize = 32;

/// Words of jq that would not be understood as what they are.
const UNSUPPORTED: &str = "only paths, .[], slices, .., select(), comparisons, and, or, not, has(), \
    startswith(), endswith(), contains(), | and , are understood here";

pub(super) fn parse(text: &str) -> Result<Filter, String> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let length = text.len();
        return Err(format!(
            "it has {length} bytes; {EXPRESSION_BYTES_MAX} is the limit"
        ));
    }
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let filter = parser.pipe()?;
    match parser.rest() {
        "" => Ok(filter),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

fn boxed(filter: Filter) -> Box<Filter> {
    Box::new(filter)
}

impl<'a> Parser<'a> {
    /// What is left, without leading blanks.
    fn rest(&mut self) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        match self.eat(token) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    fn unexpected(&mut self) -> String {
        let rest = self.rest();
        let shown: String = rest.chars().take(16).collect();
        let at = self.at;
        match shown.as_str() {
            "" => format!("it ends too early; {UNSUPPORTED}"),
            shown => format!("cannot read {shown:?} at byte {at}; {UNSUPPORTED}"),
        }
    }

    /// The word that comes next, if one does.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !rest.starts_with(is_start) {
            return None;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        let (word, _) = rest.split_at(end);
        Some(word)
    }

    fn eat_word(&mut self, wanted: &str) -> bool {
        let found = self.word() == Some(wanted);
        if found {
            self.at += wanted.len();
        }
        found
    }

    fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<T, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("it nests deeper than {DEPTH_MAX} levels"));
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn pipe(&mut self) -> Result<Filter, String> {
        let first = self.comma()?;
        if !self.eat("|") {
            return Ok(first);
        }
        let second = self.nested(Self::pipe)?;
        Ok(Filter::Pipe(boxed(first), boxed(second)))
    }

    fn comma(&mut self) -> Result<Filter, String> {
        let mut filter = self.or()?;
        while self.eat(",") {
            filter = Filter::Comma(boxed(filter), boxed(self.or()?));
        }
        Ok(filter)
    }

    fn or(&mut self) -> Result<Filter, String> {
        let mut filter = self.and()?;
        while self.eat_word("or") {
            filter = Filter::Or(boxed(filter), boxed(self.and()?));
        }
        Ok(filter)
    }

    fn and(&mut self) -> Result<Filter, String> {
        let mut filter = self.compare()?;
        while self.eat_word("and") {
            filter = Filter::And(boxed(filter), boxed(self.compare()?));
        }
        Ok(filter)
    }

    fn compare(&mut self) -> Result<Filter, String> {
        let left = self.term()?;
        let how = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ]
        .into_iter()
        .find(|(token, _)| self.eat(token));
        match how {
            None => Ok(left),
            Some((_, how)) => Ok(Filter::Compare(boxed(left), how, boxed(self.term()?))),
        }
    }

    fn term(&mut self) -> Result<Filter, String> {
        let mut filter = self.primary()?;
        loop {
            let rest = self.rest();
            let next = if rest.starts_with('[') {
                self.brackets()?
            } else if rest.starts_with('.') && !rest.starts_with("..") {
                self.at += 1;
                self.after_dot()?
            } else if self.eat("?") {
                filter = Filter::Try(boxed(filter));
                continue;
            } else {
                return Ok(filter);
            };
            filter = match filter {
                Filter::Identity => next,
                before => Filter::Pipe(boxed(before), boxed(next)),
            };
        }
    }

    fn primary(&mut self) -> Result<Filter, String> {
        let rest = self.rest();
        if self.eat("..") {
            return Ok(Filter::Recurse);
        }
        if self.eat(".") {
            let starts = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '"';
            let rest = self.text.get(self.at..).unwrap_or_default();
            return match rest.starts_with(starts) {
                true => self.after_dot(),
                false => Ok(Filter::Identity),
            };
        }
        if self.eat("(") {
            let inner = self.nested(Self::pipe)?;
            self.expect(")")?;
            return Ok(inner);
        }
        if rest.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
            return Ok(Filter::Literal(self.literal()?));
        }
        self.call()
    }

    /// A word: a constant, or a function.
    fn call(&mut self) -> Result<Filter, String> {
        let word = self.word().unwrap_or_default();
        let test = match word {
            "null" => return self.constant(word, Value::Null),
            "true" => return self.constant(word, Value::Bool(true)),
            "false" => return self.constant(word, Value::Bool(false)),
            "not" => {
                self.at += word.len();
                return Ok(Filter::Not);
            }
            "select" => {
                self.at += word.len();
                self.expect("(")?;
                let condition = self.nested(Self::pipe)?;
                self.expect(")")?;
                return Ok(Filter::Select(boxed(condition)));
            }
            "has" => Test::Has,
            "startswith" => Test::StartsWith,
            "endswith" => Test::EndsWith,
            "contains" => Test::Contains,
            _ => return Err(self.unexpected()),
        };
        self.at += word.len();
        self.expect("(")?;
        let Value::String(text) = self.literal()? else {
            return Err(self.unexpected());
        };
        self.expect(")")?;
        Ok(Filter::Test(test, text))
    }

    fn constant(&mut self, word: &str, value: Value) -> Result<Filter, String> {
        self.at += word.len();
        Ok(Filter::Literal(value))
    }

    /// What follows a dot: a name, a text, or brackets.
    fn after_dot(&mut self) -> Result<Filter, String> {
        if let Some(word) = self.word() {
            self.at += word.len();
            return Ok(Filter::Key(word.to_owned()));
        }
        if self.rest().starts_with('[') {
            return self.brackets();
        }
        match self.literal()? {
            Value::String(key) => Ok(Filter::Key(key)),
            _ => Err(self.unexpected()),
        }
    }

    fn brackets(&mut self) -> Result<Filter, String> {
        self.expect("[")?;
        if self.eat("]") {
            return Ok(Filter::Iterate);
        }
        if self.eat(":") {
            let end = self.whole()?;
            self.expect("]")?;
            return Ok(Filter::Slice(None, Some(end)));
        }
        if self.rest().starts_with('"') {
            let Value::String(key) = self.literal()? else {
                return Err(self.unexpected());
            };
            self.expect("]")?;
            return Ok(Filter::Key(key));
        }
        let start = self.whole()?;
        if !self.eat(":") {
            self.expect("]")?;
            return Ok(Filter::Index(start));
        }
        let end = match self.rest().starts_with(']') {
            true => None,
            false => Some(self.whole()?),
        };
        self.expect("]")?;
        Ok(Filter::Slice(Some(start), end))
    }

    fn whole(&mut self) -> Result<i64, String> {
        let value = self.literal()?;
        value.as_i64().ok_or_else(|| self.unexpected())
    }

    /// A text or a number, as JSON writes it.
    fn literal(&mut self) -> Result<Value, String> {
        let rest = self.rest();
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        match values.next() {
            Some(Ok(value)) if value.is_string() || value.is_number() => {
                self.at += values.byte_offset();
                Ok(value)
            }
            _ => Err(self.unexpected()),
        }
    }
}
