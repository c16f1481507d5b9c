//! Field selectors: equality conditions on a few fields of a kind.

use super::MAX_REQUIREMENTS;
use super::SelectorError;

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field (`metadata.name`).
    pub field: String,
    /// The value compared with.
    pub value: String,
    /// Whether the field must equal the value, or must not.
    pub equal: bool,
}

/// Conditions on fields, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The conditions.
    pub terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// Parses the text form (`metadata.name=a,status.phase!=Running`); `\` escapes `\`, `,` and `=`.
    ///
    /// # Errors
    ///
    /// A condition has no operator, an escape is unknown, or there are more than
    /// [`MAX_REQUIREMENTS`] conditions.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut terms = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            if terms.len() >= MAX_REQUIREMENTS {
                return Err(SelectorError(format!(
                    "the field selector has more than {MAX_REQUIREMENTS} conditions: split the request"
                )));
            }
            let (field, operator, value) = split_term(term).ok_or_else(|| {
                SelectorError(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                ))
            })?;
            terms.push(FieldTerm {
                field: field.to_owned(),
                value: unescape(value)?,
                equal: operator != "!=",
            });
        }
        Ok(Self { terms })
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an object is selected whose fields `field` looks up; an absent field is empty.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| {
            let value = field(&term.field).unwrap_or_default();
            (value == term.value) == term.equal
        })
    }

    /// The value that `field` must equal, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|term| term.equal && term.field == field)
            .map(|term| term.value.as_str())
    }
}

/// Splits at commas that are not escaped.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (place, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..place]);
                start = place + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, &str, &str)> {
    for (place, _) in term.char_indices() {
        let rest = &term[place..];
        for operator in ["!=", "==", "="] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Some((&term[..place], operator, value));
            }
        }
    }
    None
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(SelectorError(format!(
                        "invalid escape sequence: {sequence}"
                    )));
                }
            },
            '=' | ',' => {
                return Err(SelectorError(format!(
                    "invalid field selector: unescaped character in value: {character}"
                )));
            }
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared() {
        let selector = FieldSelector::parse(r"metadata.name=a\,b,status.phase!=Running").unwrap();
        assert_eq!(selector.exact("metadata.name"), Some("a,b"));
        assert!(selector.matches(|field| (field == "metadata.name").then_some("a,b")));
        assert!(!selector.matches(|field| Some(if field == "metadata.name" {
            "a,b"
        } else {
            "Running"
        })));
        assert!(FieldSelector::parse("").unwrap().is_everything());
    }

    #[test]
    fn bad_field_selectors_are_refused() {
        assert_eq!(
            FieldSelector::parse("junk").unwrap_err().to_string(),
            "invalid selector: 'junk'; can't understand 'junk'"
        );
        assert_eq!(
            FieldSelector::parse(r"a=\x").unwrap_err().to_string(),
            r"invalid escape sequence: \x"
        );
    }
}
