//! Template text to parts and steps.

use serde_json::Value;

use crate::MAX_NESTING;
use crate::Operator;
use crate::ParseError;
use crate::Part;
use crate::Slice;
use crate::Step;

type Result<T> = std::result::Result<T, ParseError>;

fn syntax<T>(message: impl Into<String>) -> Result<T> {
    Err(ParseError::Syntax(message.into()))
}

/// What one action turns out to be.
enum Action {
    Path(Vec<Step>),
    Range(Vec<Step>),
    End,
}

/// Parses a whole template.
pub(crate) fn template(text: &str) -> Result<Vec<Part>> {
    // The parts of the template itself, then those of each open range with its path.
    let mut open: Vec<(Vec<Step>, Vec<Part>)> = vec![(Vec::new(), Vec::new())];
    let mut rest = text;
    while !rest.is_empty() {
        let brace = rest.find('{').unwrap_or(rest.len());
        let (before, after) = rest.split_at(brace);
        if !before.is_empty() {
            push(&mut open, Part::Text(Value::from(before)));
        }
        rest = after;
        let Some(action) = rest.strip_prefix('{') else {
            continue;
        };
        let mut scanner = Scanner {
            rest: action,
            depth: open.len(),
        };
        let parsed = scanner.action()?;
        rest = scanner.rest;
        match parsed {
            Action::Path(steps) => push(&mut open, Part::Path(steps)),
            Action::Range(_) if open.len() > MAX_NESTING => return Err(ParseError::TooDeep),
            Action::Range(steps) => open.push((steps, Vec::new())),
            Action::End if open.len() == 1 => return syntax("not in range, nothing to end"),
            Action::End => close(&mut open),
        }
    }
    // A range without an end runs to the end of the template.
    while open.len() > 1 {
        close(&mut open);
    }
    Ok(open.pop().map(|(_, parts)| parts).unwrap_or_default())
}

fn push(open: &mut [(Vec<Step>, Vec<Part>)], part: Part) {
    if let Some((_, parts)) = open.last_mut() {
        parts.push(part);
    }
}

fn close(open: &mut Vec<(Vec<Step>, Vec<Part>)>) {
    if let Some((steps, body)) = open.pop() {
        push(open, Part::Range(steps, body));
    }
}

/// Reads steps; stands behind the opening brace of an action, or inside a filter or union.
struct Scanner<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Scanner<'t> {
    /// Parses text that is a path as a whole, as the sides of a filter are.
    fn path(text: &'t str, depth: usize) -> Result<Vec<Step>> {
        if depth > MAX_NESTING {
            return Err(ParseError::TooDeep);
        }
        let mut scanner = Scanner { rest: text, depth };
        let mut steps = Vec::new();
        while scanner.step(&mut steps)? {}
        Ok(steps)
    }

    /// Parses an action up to and including its closing brace.
    fn action(&mut self) -> Result<Action> {
        let mut steps = Vec::new();
        let mut is_range = false;
        loop {
            self.rest = self.rest.trim_start_matches(' ');
            if let Some(rest) = self.rest.strip_prefix('}') {
                self.rest = rest;
                return Ok(if is_range {
                    Action::Range(steps)
                } else {
                    Action::Path(steps)
                });
            }
            if self.rest.is_empty() {
                return syntax("unclosed action");
            }
            if let Some(word) = self.word() {
                match word {
                    "range" if steps.is_empty() => is_range = true,
                    "end" if steps.is_empty() && self.rest.trim_start().starts_with('}') => {
                        self.rest = self.rest.trim_start().split_at(1).1;
                        return Ok(Action::End);
                    }
                    "true" | "false" => steps.push(Step::Literal(Value::Bool(word == "true"))),
                    other => return syntax(format!("unrecognized identifier {other}")),
                }
                continue;
            }
            self.step(&mut steps)?;
        }
    }

    /// Takes a bare word, if one comes next.
    fn word(&mut self) -> Option<&'t str> {
        let first = self.rest.chars().next()?;
        if !(first.is_alphabetic() || first == '_') {
            return None;
        }
        let end = self.rest.find(is_terminator).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(word)
    }

    /// Parses one step; false at the end of the text.
    fn step(&mut self, steps: &mut Vec<Step>) -> Result<bool> {
        self.rest = self.rest.trim_start_matches(' ');
        let Some(first) = self.rest.chars().next() else {
            return Ok(false);
        };
        let after = &self.rest[first.len_utf8()..];
        match first {
            '@' | '$' => self.rest = after,
            '[' if after.starts_with("?(") => {
                self.rest = &after[2..];
                steps.push(self.filter()?);
            }
            '[' => {
                self.rest = after;
                steps.push(self.bracket()?);
            }
            '"' | '\'' => {
                self.rest = after;
                let text = self.quoted(first)?;
                steps.push(Step::Literal(Value::from(text)));
            }
            '.' if after.starts_with('.') => {
                if matches!(steps.last(), Some(Step::Recursive)) {
                    return syntax("invalid multiple recursive descent");
                }
                self.rest = &after[1..];
                steps.push(Step::Recursive);
                if self
                    .rest
                    .starts_with(|next: char| next.is_alphanumeric() || next == '_' || next == '*')
                {
                    steps.push(self.field());
                }
            }
            '.' => {
                self.rest = after;
                steps.push(self.field());
            }
            '+' | '-' | '0'..='9' => steps.push(self.number()?),
            '\n' | '\r' => return syntax("unclosed action"),
            _ => match self.word() {
                Some(word @ ("true" | "false")) => {
                    steps.push(Step::Literal(Value::Bool(word == "true")))
                }
                Some(word) => return syntax(format!("unrecognized identifier {word}")),
                None => {
                    let code = u32::from(first);
                    return syntax(format!(
                        "unrecognized character in action: U+{code:04X} '{first}'"
                    ));
                }
            },
        }
        Ok(true)
    }

    /// Takes a field name: up to a terminator that no backslash precedes.
    fn field(&mut self) -> Step {
        let mut name = String::new();
        let mut characters = self.rest.char_indices();
        let mut end = self.rest.len();
        while let Some((place, character)) = characters.next() {
            if character == '\\' {
                name.extend(characters.next().map(|(_, escaped)| escaped));
            } else if is_terminator(character) {
                end = place;
                break;
            } else {
                name.push(character);
            }
        }
        self.rest = &self.rest[end..];
        if name == "*" {
            Step::Wildcard
        } else {
            Step::Field(name)
        }
    }

    fn number(&mut self) -> Result<Step> {
        let digits = |character: char| !(character.is_ascii_digit() || character == '.');
        let end = self.rest[1..]
            .find(digits)
            .map_or(self.rest.len(), |end| end + 1);
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let integer = unsigned.parse::<i64>().map(Value::from);
        match integer.or_else(|_| unsigned.parse::<f64>().map(Value::from)) {
            Ok(number) => Ok(Step::Literal(number)),
            Err(_) => syntax(format!("cannot parse number {text}")),
        }
    }

    /// Takes a quoted string; stands behind its opening quote.
    fn quoted(&mut self, quote: char) -> Result<String> {
        let mut out = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((place, character)) = characters.next() {
            match character {
                '\n' => break,
                '\\' => match characters.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, 't')) => out.push('\t'),
                    Some((_, 'r')) => out.push('\r'),
                    Some((_, escaped)) => out.push(escaped),
                    None => break,
                },
                character if character == quote => {
                    self.rest = &self.rest[place + 1..];
                    return Ok(out);
                }
                character => out.push(character),
            }
        }
        syntax("unterminated quoted string")
    }

    /// Takes `…]`: a key, an index, a slice, a wildcard, or several of them.
    fn bracket(&mut self) -> Result<Step> {
        let Some(text) = self.until_unquoted(']').filter(|text| !text.contains('\n')) else {
            return syntax("unterminated array");
        };
        let choices = split_unquoted(text);
        if let [only] = choices.as_slice() {
            return self.selector(only);
        }
        let union: Result<Vec<Vec<Step>>> = choices
            .into_iter()
            .map(|choice| Ok(vec![self.selector(choice)?]))
            .collect();
        union.map(Step::Union)
    }

    fn selector(&self, text: &str) -> Result<Step> {
        let text = text.trim_matches(' ');
        if text == "*" {
            return Ok(Step::Wildcard);
        }
        for quote in ['\'', '"'] {
            let key = text
                .strip_prefix(quote)
                .and_then(|key| key.strip_suffix(quote));
            if let Some(key) = key {
                return Ok(Step::Field(key.replace('\\', "")));
            }
        }
        let bounds: Option<Vec<Option<i64>>> = text
            .split(':')
            .map(|bound| match bound {
                "" => Some(None),
                bound => bound.parse().ok().map(Some),
            })
            .collect();
        match bounds.as_deref() {
            Some([Some(index)]) => Ok(Step::Slice(Slice {
                start: Some(*index),
                end: index.checked_add(1),
                step: None,
                is_index: true,
            })),
            Some([start, end, step @ ..]) if step.len() <= 1 => Ok(Step::Slice(Slice {
                start: *start,
                end: *end,
                step: step.first().copied().flatten(),
                is_index: false,
            })),
            _ => syntax(format!("invalid array index {text}")),
        }
    }

    /// Takes `…)]`: a condition on the items of a list.
    fn filter(&mut self) -> Result<Step> {
        let Some(text) = self.until_unquoted(')').filter(|text| !text.contains('\n')) else {
            return syntax("unterminated filter");
        };
        let Some(rest) = self.rest.strip_prefix(']') else {
            return syntax("unclosed array expect ]");
        };
        self.rest = rest;
        let depth = self.depth + 1;
        let is_operator = |character: char| matches!(character, '!' | '<' | '>' | '=' | '~');
        let Some(place) = find_unquoted(text, is_operator).filter(|place| *place > 0) else {
            return Ok(Step::Exists(Scanner::path(text, depth)?));
        };
        let (left, rest) = text.split_at(place);
        let end = rest
            .find(|character| !is_operator(character))
            .unwrap_or(rest.len());
        let (operator, right) = rest.split_at(end);
        let operator = match operator {
            "==" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            other => return syntax(format!("unrecognized filter operator {other}")),
        };
        let (left, right) = (Scanner::path(left, depth)?, Scanner::path(right, depth)?);
        Ok(Step::Compare(left, operator, right))
    }

    /// Takes the text up to `end` outside quotes, and `end` itself.
    fn until_unquoted(&mut self, end: char) -> Option<&'t str> {
        let place = find_unquoted(self.rest, |character| character == end)?;
        let text = &self.rest[..place];
        self.rest = &self.rest[place + end.len_utf8()..];
        Some(text)
    }
}

/// The first character outside quotes that satisfies `wanted`.
fn find_unquoted(text: &str, wanted: impl Fn(char) -> bool) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (place, character) in text.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if wanted(character) => return Some(place),
            None if matches!(character, '"' | '\'') => quote = Some(character),
            None => {}
        }
    }
    None
}

fn split_unquoted(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(place) = find_unquoted(rest, |character| character == ',') {
        out.push(&rest[..place]);
        rest = &rest[place + 1..];
    }
    out.push(rest);
    out
}

fn is_terminator(character: char) -> bool {
    matches!(
        character,
        ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}'
    )
}
