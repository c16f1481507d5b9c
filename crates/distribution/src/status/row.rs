//! What one WEC says to a question: the row that it adds to the answer.

use super::collector::Collector;
use super::collector::variables;
use super::number;
use hyades_schema::cel::Datum;
use hyades_schema::cel::Expression;
use hyades_schema::cel::Meter;
use hyades_schema::cel::Scope;
use serde_json::Value;
use serde_json::json;
use std::cmp::Ordering;

/// The time of a report that does not exist: the zero time of Go.
pub const NEVER: &str = "0001-01-01T00:00:00Z";

/// What is known of an object in one WEC.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The object as it is in the WDS, without its status.
    pub object: &'a Value,
    /// The WEC.
    pub wec: &'a str,
    /// What the WEC reports of it, if it does.
    pub status: Option<&'a Value>,
    /// When that was last news, in the form of RFC 3339.
    pub reported: Option<&'a str>,
}

/// A value as CombinedStatuses write it.
#[derive(Clone, Debug, PartialEq)]
pub struct Cell(Value);

/// What a WEC says to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Row {
    /// The filter leaves it out.
    Out,
    /// The filter failed, with this error: whether it counts is not known.
    Failed(String),
    /// The values of the collector's expressions, in order.
    In(Vec<Result<Cell, String>>),
}

impl Row {
    /// Asks one WEC. The work of all expressions together is limited as that of an admission policy
    /// is for one write.
    pub fn ask(collector: &Collector, known: &Known<'_>) -> Self {
        let scope = scope(collector, known);
        let _meter = Meter::start();
        if let Some(filter) = &collector.filter {
            match holds(filter, &scope) {
                Ok(true) => {}
                Ok(false) => return Self::Out,
                Err(error) => return Self::Failed(error),
            }
        }
        let cell = |expression: &Expression| match expression.evaluate(&scope) {
            Ok(datum) => Ok(Cell::of(&datum)),
            Err(failure) => Err(failure.to_string()),
        };
        Self::In(collector.expressions().map(|(_, it)| cell(it)).collect())
    }
}

fn holds(filter: &Expression, scope: &Scope) -> Result<bool, String> {
    let datum = filter
        .evaluate(scope)
        .map_err(|failure| failure.to_string())?;
    match datum.as_bool() {
        Some(holds) => Ok(holds),
        None if datum.is_null() => Ok(false),
        None => Err(format!("expected bool result, got {}", datum.type_name())),
    }
}

/// The variables that the collector reads.
fn scope(collector: &Collector, known: &Known<'_>) -> Scope {
    let mut scope = Scope::default();
    let mut set = |name: &str, value: &dyn Fn() -> Value| {
        if let Some(projection) = collector.reads.of_variable(name) {
            scope.set_json(name, &value(), projection);
        }
    };
    set(variables::RETURNED, &|| match known.status {
        Some(status) => json!({"status": status}),
        None => json!({"status": {}}),
    });
    set(variables::INVENTORY, &|| json!({"name": known.wec}));
    if let Some(projection) = collector.reads.of_variable(variables::OBJECT) {
        scope.set_json(variables::OBJECT, known.object, projection);
    }
    if collector.does_read(variables::PROPAGATION) {
        let reported = known.reported.unwrap_or(NEVER);
        let times = [("lastReturnedUpdateTimestamp", reported)];
        scope.set_timestamps(variables::PROPAGATION, &times);
    }
    scope
}

impl Cell {
    fn of(datum: &Datum) -> Self {
        if let Some(value) = datum.as_integer() {
            return Self::integer(value);
        }
        if let Some(value) = datum.as_float() {
            return Self::number(value);
        }
        match datum.to_json() {
            Some(Value::Bool(value)) => Self(json!({"type": "Bool", "bool": value})),
            Some(Value::String(text)) => Self::text(text),
            Some(list @ Value::Array(_)) => Self(json!({"type": "Array", "array": list})),
            Some(map @ Value::Object(_)) => Self(json!({"type": "Object", "object": map})),
            Some(Value::Null | Value::Number(_)) | None => Self(json!({"type": "Null"})),
        }
    }

    /// A text.
    pub fn text(text: impl Into<String>) -> Self {
        Self(json!({"type": "String", "string": text.into()}))
    }

    /// A whole number.
    pub fn integer(value: i128) -> Self {
        Self(json!({"type": "Number", "float": value.to_string()}))
    }

    /// A number.
    pub fn number(value: f64) -> Self {
        Self(json!({"type": "Number", "float": number::text(value)}))
    }

    /// As it is written.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The number that it is, or that its text says.
    ///
    /// # Errors
    /// It is no number, and why.
    pub fn as_number(&self) -> Result<f64, String> {
        let text = self.member("float").or_else(|| self.member("string"));
        let Some(text) = text else {
            return Err(format!("a value of type {} is no number", self.type_name()));
        };
        number::parsed(text).ok_or_else(|| format!("the text {text:?} is no number"))
    }

    fn member(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    fn type_name(&self) -> &str {
        self.member("type").unwrap_or_default()
    }

    /// An order of all values: by type, then numbers and texts as such, and the rest by what is
    /// written.
    pub fn order(&self, other: &Self) -> Ordering {
        let by_value = || match (self.type_name(), self.as_number(), other.as_number()) {
            ("Number", Ok(left), Ok(right)) => left.total_cmp(&right),
            _ => Ordering::Equal,
        };
        self.type_name()
            .cmp(other.type_name())
            .then_with(by_value)
            .then_with(|| self.0.to_string().cmp(&other.0.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(spec: Value, status: Option<&Value>) -> Row {
        let spec = serde_json::from_value(spec).expect("a spec");
        let collector = Collector::compile(&spec).expect("a good question");
        let object = json!({"metadata": {"name": "web"}, "spec": {"replicas": 2}});
        let known = Known {
            object: &object,
            wec: "c1",
            status,
            reported: status.map(|_| "2026-01-02T03:04:05Z"),
        };
        Row::ask(&collector, &known)
    }

    fn cell(text: &str) -> Result<Value, String> {
        let status = json!({
            "replicas": 2, "share": 0.5, "phase": "Running", "ok": true, "list": [1, "a"],
            "map": {"a": null},
        });
        let select = json!({"select": [{"name": "x", "def": text}]});
        let Row::In(mut cells) = ask(select, Some(&status)) else {
            panic!("no filter leaves it out")
        };
        cells.remove(0).map(Cell::into_value)
    }

    #[test]
    fn every_type_of_value_is_written_as_what_it_is() {
        let number = |text: &str| json!({"type": "Number", "float": text});
        let cases = [
            (
                "returned.status.phase",
                json!({"type": "String", "string": "Running"}),
            ),
            ("returned.status.replicas", number("2")),
            ("1000000", number("1000000")),
            ("1000000.0", number("1e+06")),
            ("18446744073709551615u", number("18446744073709551615")),
            ("returned.status.share", number("0.5")),
            ("1.0 / 0.0", number("+Inf")),
            ("returned.status.ok", json!({"type": "Bool", "bool": true})),
            ("null", json!({"type": "Null"})),
            (
                "returned.status.list",
                json!({"type": "Array", "array": [1, "a"]}),
            ),
            (
                "returned.status.map",
                json!({"type": "Object", "object": {"a": null}}),
            ),
            ("inventory.name", json!({"type": "String", "string": "c1"})),
            (
                "obj.spec.replicas == returned.status.replicas",
                json!({"type": "Bool", "bool": true}),
            ),
            (
                "propagation.lastReturnedUpdateTimestamp",
                json!({"type": "String", "string": "2026-01-02T03:04:05Z"}),
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(cell(text), Ok(expected), "{text}");
        }
        assert_eq!(
            cell("returned.status.none"),
            Err("no such key: none".to_owned())
        );
    }

    #[test]
    fn a_filter_that_is_null_leaves_out_and_one_that_fails_says_so() {
        let filtered = |filter: &str| ask(json!({"filter": filter}), None);
        assert_eq!(filtered("true"), Row::In(Vec::new()));
        assert_eq!(filtered("false"), Row::Out);
        assert_eq!(filtered("null"), Row::Out);
        let failed = |why: &str| Row::Failed(why.to_owned());
        assert_eq!(filtered("1"), failed("expected bool result, got int"));
        assert_eq!(filtered("returned.status.x == 1"), failed("no such key: x"));
    }

    #[test]
    fn a_wec_that_reports_nothing_has_reported_never() {
        let never = json!({"filter": format!(
            "propagation.lastReturnedUpdateTimestamp == timestamp('{NEVER}')"
        )});
        assert_eq!(ask(never, None), Row::In(Vec::new()));
    }

    #[test]
    fn endless_work_ends_in_an_error() {
        let filter = ["lists.range(100000).size() > 0"; 11].join(" && ");
        let Row::Failed(error) = ask(json!({"filter": filter}), None) else {
            panic!("a million steps are too many")
        };
        assert!(error.contains("cost budget"), "{error}");
    }

    #[test]
    fn texts_that_say_numbers_count_as_numbers() {
        assert_eq!(Cell::text("2.5").as_number(), Ok(2.5));
        assert_eq!(Cell::integer(7).as_number(), Ok(7.0));
        assert_eq!(
            Cell::text("many").as_number(),
            Err("the text \"many\" is no number".to_owned())
        );
    }
}
