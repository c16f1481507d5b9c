//! Label and field selectors: what a list, a watch or a workload selects.

mod fields;
mod labels;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Map;
use serde_json::Value;

pub use fields::FieldSelector;
pub use fields::FieldTerm;

use crate::validate::FieldError;
use crate::validate::names;

/// How many requirements one selector may hold; every object of a list is tried against each.
pub const MAX_REQUIREMENTS: usize = 1_000;

/// Why a selector was refused; the text is the API server's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// The value is one of these (`in`, `=`, `==`).
    In,
    /// The value is none of these, or the label is absent (`notin`, `!=`).
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
    /// The value is an integer above this one.
    GreaterThan,
    /// The value is an integer below this one.
    LessThan,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: BTreeSet<String>,
    /// Written with `=` or `!=` rather than `in` or `notin`; only matters for printing.
    equality: bool,
}

/// Conditions on labels, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Default for Selector {
    fn default() -> Self {
        Self::everything()
    }
}

impl Selector {
    /// Selects every object.
    pub fn everything() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: false,
        }
    }

    /// Selects no object.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Parses the text form (`a=b,c in (d,e),!f`).
    ///
    /// # Errors
    ///
    /// The text is no selector, or has more than [`MAX_REQUIREMENTS`] requirements.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        labels::parse(text)
    }

    /// Reads a `LabelSelector` object; absent or null selects nothing, an empty one everything.
    ///
    /// # Errors
    ///
    /// An operator is unknown, or a key, value or number of values does not fit its operator.
    pub fn from_label_selector(object: Option<&Value>) -> Result<Self, SelectorError> {
        let Some(object) = object.filter(|object| !object.is_null()) else {
            return Ok(Self::nothing());
        };
        let mut selector = Self::everything();
        if let Some(labels) = object.get("matchLabels").and_then(Value::as_object) {
            for (key, value) in labels {
                let values = vec![value.as_str().unwrap_or_default().to_owned()];
                selector.push(Requirement::new(key, Operator::In, values, true)?)?;
            }
        }
        let expressions = object.get("matchExpressions").and_then(Value::as_array);
        for expression in expressions.into_iter().flatten() {
            selector.push(requirement_of(expression)?)?;
        }
        Ok(selector)
    }

    /// Selects the objects that carry all of these labels.
    ///
    /// # Errors
    ///
    /// A key or value is no label key or value.
    pub fn from_labels(labels: &Map<String, Value>) -> Result<Self, SelectorError> {
        let mut selector = Self::everything();
        for (key, value) in labels {
            let values = vec![value.as_str().unwrap_or_default().to_owned()];
            selector.push(Requirement::new(key, Operator::In, values, true)?)?;
        }
        Ok(selector)
    }

    fn push(&mut self, requirement: Requirement) -> Result<(), SelectorError> {
        if self.requirements.len() >= MAX_REQUIREMENTS {
            return Err(SelectorError(format!(
                "the selector has more than {MAX_REQUIREMENTS} requirements: split the request"
            )));
        }
        self.requirements.push(requirement);
        Ok(())
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The one value that a label must have for its object to be selected, if there is one.
    pub fn required_value(&self, key: &str) -> Option<&str> {
        let only = self.requirements.iter().find(|requirement| {
            requirement.key == key
                && requirement.operator == Operator::In
                && requirement.values.len() == 1
        });
        only?.values.first().map(String::as_str)
    }

    /// Whether an object with these labels (`metadata.labels`, if any) is selected.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// Whether an object whose labels `label` looks up is selected.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing
            && self
                .requirements
                .iter()
                .all(|requirement| requirement.matches(label(&requirement.key)))
    }
}

fn requirement_of(expression: &Value) -> Result<Requirement, SelectorError> {
    let text = |name: &str| expression.get(name).and_then(Value::as_str).unwrap_or("");
    let operator = match text("operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        other => {
            return Err(SelectorError(format!(
                "\"{other}\" is not a valid label selector operator"
            )));
        }
    };
    let values = expression
        .get("values")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    Requirement::new(text("key"), operator, values, false)
}

impl Requirement {
    fn new(
        key: &str,
        operator: Operator,
        values: Vec<String>,
        equality: bool,
    ) -> Result<Self, SelectorError> {
        check_key(key)?;
        check_values(key, operator, &values)?;
        Ok(Self {
            key: key.to_owned(),
            operator,
            values: values.into_iter().collect(),
            equality,
        })
    }

    fn matches(&self, value: Option<&str>) -> bool {
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, |value, bound| value > bound),
            Operator::LessThan => self.compares(value, |value, bound| value < bound),
        }
    }

    fn compares(&self, value: Option<&str>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let bound = self.values.first().and_then(|bound| number(bound));
        matches!((value.and_then(number), bound), (Some(value), Some(bound)) if holds(value, bound))
    }
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    refused("<nil>", key, names::qualified_name(key))
}

fn refused(path: &str, value: &str, errors: Vec<String>) -> Result<(), SelectorError> {
    if errors.is_empty() {
        return Ok(());
    }
    let error = FieldError::invalid(path, value, errors.join("; "));
    Err(SelectorError(error.to_string()))
}

fn check_values(key: &str, operator: Operator, values: &[String]) -> Result<(), SelectorError> {
    let wrong = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            "for 'in', 'notin' operators, values set can't be empty"
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            "values set must be empty for exists and does not exist"
        }
        Operator::GreaterThan | Operator::LessThan
            if values.len() != 1 || values[0].parse::<i64>().is_err() =>
        {
            "for 'Gt', 'Lt' operators, the value must be an integer"
        }
        _ => "",
    };
    if !wrong.is_empty() {
        let error = FieldError::invalid("values", Value::from(values.to_vec()), wrong);
        return Err(SelectorError(error.to_string()));
    }
    for (index, value) in values.iter().enumerate() {
        refused(
            &format!("values[{index}][{key}]"),
            value,
            names::label_value(value),
        )?;
    }
    Ok(())
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(formatter, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        let values = values.join(",");
        let key = &self.key;
        match self.operator {
            Operator::In if self.equality => write!(formatter, "{key}={values}"),
            Operator::NotIn if self.equality => write!(formatter, "{key}!={values}"),
            Operator::In => write!(formatter, "{key} in ({values})"),
            Operator::NotIn => write!(formatter, "{key} notin ({values})"),
            Operator::Exists => write!(formatter, "{key}"),
            Operator::DoesNotExist => write!(formatter, "!{key}"),
            Operator::GreaterThan => write!(formatter, "{key}>{values}"),
            Operator::LessThan => write!(formatter, "{key}<{values}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn selected(selector: &str, labels: &Value) -> bool {
        Selector::parse(selector)
            .unwrap()
            .matches(labels.as_object())
    }

    #[test]
    fn requirements_select_as_documented() {
        let labels = json!({"a": "1", "env": "prod", "x.io/y": ""});
        let cases = [
            ("", true),
            ("a=1", true),
            ("a==2", false),
            ("a!=2", true),
            ("missing!=2", true),
            ("env in (prod, dev)", true),
            ("env notin (prod)", false),
            ("x.io/y", true),
            ("!x.io/y", false),
            ("!missing,a", true),
            ("a>0,a<2", true),
            ("a>1", false),
            ("x.io/y=", true),
            ("x.io/y in ()", true),
        ];
        for (selector, expected) in cases {
            assert_eq!(selected(selector, &labels), expected, "{selector}");
        }
        assert!(!Selector::nothing().matches(None));
        assert!(Selector::everything().matches(None));
    }

    #[test]
    fn bad_selectors_are_refused_in_the_api_servers_words() {
        let cases = [
            (
                "a in",
                "unable to parse requirement: found '', expected: '('",
            ),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "a>x",
                "unable to parse requirement: values: Invalid value: [\"x\"]: for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ];
        for (selector, message) in cases {
            assert_eq!(Selector::parse(selector).unwrap_err().to_string(), message);
        }
        assert!(Selector::parse("&&").unwrap_err().to_string().starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"&&\": name part must consist of"
        ));
    }

    #[test]
    fn label_selector_objects_select() {
        let object = json!({
            "matchLabels": {"app": "d1"},
            "matchExpressions": [{"key": "env", "operator": "In", "values": ["b", "a"]}],
        });
        let selector = Selector::from_label_selector(Some(&object)).unwrap();
        assert_eq!(selector.to_string(), "app=d1,env in (a,b)");
        assert!(selector.matches(json!({"app": "d1", "env": "a"}).as_object()));
        assert!(!selector.matches(json!({"app": "d1"}).as_object()));
        let bad = json!({"matchExpressions": [{"key": "env", "operator": "Is"}]});
        assert_eq!(
            Selector::from_label_selector(Some(&bad))
                .unwrap_err()
                .to_string(),
            "\"Is\" is not a valid label selector operator"
        );
        assert_eq!(Selector::from_label_selector(None), Ok(Selector::nothing()));
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[a-c=!(),<> \\\\.é]{0,30}") {
            let _labels = Selector::parse(&text);
            let _fields = FieldSelector::parse(&text);
        }

        #[test]
        fn printed_selectors_parse_to_themselves(text in "[ab](=|!=| in | notin |>|<)?[(]?[ab1,]{0,4}[)]?") {
            if let Ok(selector) = Selector::parse(&text) {
                prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector));
            }
        }
    }
}
