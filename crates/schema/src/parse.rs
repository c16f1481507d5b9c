//! JSON request bodies: bounded depth, duplicate keys noticed, errors worded as clients know them.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::DeserializeSeed;
use serde::de::Deserializer;
use serde::de::Error;
use serde::de::MapAccess;
use serde::de::SeqAccess;
use serde::de::Visitor;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

/// How deep arrays and objects may nest. A custom resource definition spends two levels per level of
/// its schema, so this admits schemas about 55 deep; the parser beneath refuses at 128.
pub const MAX_DEPTH: usize = 120;

/// How many duplicate keys are reported; a client mends its generator after the first few.
pub const MAX_DUPLICATES: usize = 100;

/// Marks an over-deep body among the parser's errors.
const TOO_DEEP: &str = "exceeded max depth";

/// A parsed body.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The value; where a key is repeated the last one counts.
    pub value: Value,
    /// Paths of repeated keys (`spec.x`), for `duplicate field "spec.x"` warnings and errors.
    pub duplicates: Vec<String>,
}

impl Parsed {
    /// The strict decoding errors of the repeated keys.
    pub fn duplicate_errors(&self) -> Vec<String> {
        self.duplicates
            .iter()
            .map(|path| format!("duplicate field {}", crate::validate::go_quote(path)))
            .collect()
    }
}

/// Why a body is not JSON that we accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("the object nests deeper than {MAX_DEPTH} levels: {TOO_DEEP}")]
    TooDeep,
    /// The text is not JSON.
    #[error("{0}")]
    Syntax(String),
}

/// Parses a JSON body.
///
/// # Errors
///
/// The text is not JSON, or nests deeper than [`MAX_DEPTH`].
pub fn json(bytes: &[u8]) -> Result<Parsed, ParseError> {
    let state = State {
        path: RefCell::new(Vec::new()),
        duplicates: RefCell::new(Vec::new()),
    };
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Seed {
        state: &state,
        depth: 0,
    }
    .deserialize(&mut reader)
    .and_then(|value| reader.end().map(|()| value))
    .map_err(|error| worded(&error, bytes))?;
    Ok(Parsed {
        value,
        duplicates: state.duplicates.into_inner(),
    })
}

/// Words an error as Go's decoder does, since clients and people know that wording.
fn worded(error: &serde_json::Error, bytes: &[u8]) -> ParseError {
    let text = error.to_string();
    if text.contains(TOO_DEEP) || text.contains("recursion limit") {
        return ParseError::TooDeep;
    }
    if error.is_eof() {
        return ParseError::Syntax(String::from("unexpected end of JSON input"));
    }
    let place = [
        ("expected `,` or `}`", "after object key:value pair"),
        ("expected `,` or `]`", "after array element"),
        ("expected `:`", "after object key"),
        (
            "key must be a string",
            "looking for beginning of object key string",
        ),
        ("trailing characters", "after top-level value"),
        ("trailing comma", "looking for beginning of value"),
        ("control character", "in string literal"),
        ("invalid escape", "in string escape code"),
        ("invalid number", "in numeric literal"),
        ("expected ident", "in literal"),
    ]
    .iter()
    .find(|(ours, _)| text.contains(ours))
    .map_or("looking for beginning of value", |(_, theirs)| theirs);
    let found = character_at(bytes, error.line(), error.column());
    ParseError::Syntax(format!("invalid character '{found}' {place}"))
}

/// How deep arrays and objects nest in a value; a scalar has depth 0. Walks without recursion, so
/// that a value of any depth can be asked about.
pub fn depth(value: &Value) -> usize {
    let mut deepest = 0;
    let mut open = vec![(value, 0)];
    while let Some((value, above)) = open.pop() {
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, above + 1))),
            Value::Object(fields) => open.extend(fields.values().map(|field| (field, above + 1))),
            _ => continue,
        }
        deepest = deepest.max(above + 1);
    }
    deepest
}

fn character_at(bytes: &[u8], line: usize, column: usize) -> char {
    bytes
        .split(|byte| *byte == b'\n')
        .nth(line.saturating_sub(1))
        .and_then(|text| text.get(column.saturating_sub(1)))
        .map_or('\u{fffd}', |byte| char::from(*byte))
}

enum Step {
    Key(String),
    Index(usize),
}

struct State {
    path: RefCell<Vec<Step>>,
    duplicates: RefCell<Vec<String>>,
}

impl State {
    fn duplicate(&self, key: &str) {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.len() >= MAX_DUPLICATES {
            return;
        }
        let mut text = String::new();
        for step in self.path.borrow().iter() {
            match step {
                Step::Key(key) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(key);
                }
                Step::Index(index) => text.push_str(&format!("[{index}]")),
            }
        }
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(key);
        duplicates.push(text);
    }
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    state: &'a State,
    depth: usize,
}

impl Seed<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(TOO_DEEP));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        self.state.path.borrow_mut().push(Step::Index(0));
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
            if let Some(last) = self.state.path.borrow_mut().last_mut() {
                *last = Step::Index(list.len());
            }
        }
        self.state.path.borrow_mut().pop();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                self.state.duplicate(&key);
            }
            self.state.path.borrow_mut().push(Step::Key(key.clone()));
            let value = entries.next_value_seed(inner)?;
            self.state.path.borrow_mut().pop();
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn repeated_keys_are_found_with_their_paths_and_the_last_counts() {
        let parsed = json(br#"{"a":{"b":[{"c":1},{"c":1,"c":2}]},"a":3}"#).unwrap();
        assert_eq!(parsed.value, json!({"a": 3}));
        assert_eq!(parsed.duplicates, ["a.b[1].c", "a"]);
        assert_eq!(
            parsed.duplicate_errors(),
            [r#"duplicate field "a.b[1].c""#, r#"duplicate field "a""#]
        );
    }

    #[test]
    fn errors_read_as_gos_decoder_writes_them() {
        let cases = [
            (
                r#"{"apiVersion":"v1","kind":"ConfigMap","#,
                "unexpected end of JSON input",
            ),
            ("", "unexpected end of JSON input"),
            (
                "yes",
                "invalid character 'y' looking for beginning of value",
            ),
            (
                r#"{"a":1 "b":2}"#,
                "invalid character '\"' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            (
                "{1:2}",
                "invalid character '1' looking for beginning of object key string",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(json(text.as_bytes()).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(json(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(
            json(nested(MAX_DEPTH + 1).as_bytes()),
            Err(ParseError::TooDeep)
        );
        assert_eq!(json(nested(100_000).as_bytes()), Err(ParseError::TooDeep));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _outcome = json(&bytes);
        }

        #[test]
        fn what_serde_accepts_is_parsed_alike(text in r#"[\[\]{}:,"0-9a-e. \-]{0,40}"#) {
            let expected: Result<Value, _> = serde_json::from_str(&text);
            prop_assert_eq!(json(text.as_bytes()).ok().map(|parsed| parsed.value), expected.ok());
        }
    }
}
