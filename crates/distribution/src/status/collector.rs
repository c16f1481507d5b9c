//! A StatusCollector as a question that can be asked, and what is wrong with one that cannot.

use hyades_api::control::CombinedField;
use hyades_api::control::NamedExpression;
use hyades_api::control::StatusCollectorSpec;
use hyades_schema::cel::Declarations;
use hyades_schema::cel::Expression;
use hyades_schema::cel::Reads;

/// The variables of expressions.
pub mod variables {
    /// The object as it is in the WDS, without its status.
    pub const OBJECT: &str = "obj";
    /// `returned.status`: what the WEC reports.
    pub const RETURNED: &str = "returned";
    /// `inventory.name`: the WEC.
    pub const INVENTORY: &str = "inventory";
    /// `propagation.lastReturnedUpdateTimestamp`: when the WEC last reported something new.
    pub const PROPAGATION: &str = "propagation";
}

/// Rows of an answer where a StatusCollector gives no limit, as its documentation says.
const LIMIT_DEFAULT: usize = 20;

/// Most columns of a question. Those of KubeStellar's documentation have five, and each is an
/// evaluation for every WEC.
const COLUMNS_MAX: usize = 64;

/// A question that can be asked.
#[derive(Debug)]
pub struct Collector {
    /// Which WECs count; all if absent.
    pub filter: Option<Expression>,
    /// What is asked.
    pub question: Question,
    /// Most rows of the answer.
    pub limit: usize,
    /// What the expressions read of the variables.
    pub reads: Reads,
}

/// What is asked of the rows that the filter leaves.
#[derive(Debug)]
pub enum Question {
    /// These columns of each.
    Select(Vec<Column>),
    /// Something computed of all that agree in some columns.
    Combine {
        /// In what they agree.
        group_by: Vec<Column>,
        /// What is computed.
        fields: Vec<Field>,
    },
}

/// A column, and the expression behind it.
#[derive(Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its value for a WEC.
    pub expression: Expression,
}

/// A column computed of a group of rows.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// How it is computed.
    pub combination: Combination,
}

/// How a group of rows becomes one value.
#[derive(Debug)]
pub enum Combination {
    /// By their number.
    Count,
    /// From a value of each.
    Of(Function, Expression),
}

/// What is computed from numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Their sum.
    Sum,
    /// Their mean.
    Average,
    /// The least.
    Min,
    /// The greatest.
    Max,
}

impl Collector {
    /// Compiles a question.
    ///
    /// # Errors
    /// All that is wrong with it, in KubeStellar's words.
    pub fn compile(spec: &StatusCollectorSpec) -> Result<Self, Vec<String>> {
        let mut compiling = Compiling::default();
        compiling.check_shape(spec);
        let filter = spec.filter.as_ref().and_then(|text| {
            compiling.expression(text, |error| format!("filter expression invalid: {error}"))
        });
        let select = compiling.columns(&spec.select, "select");
        let group_by = compiling.columns(&spec.group_by, "groupBy");
        let fields = compiling.fields(&spec.combined_fields);
        if !compiling.errors.is_empty() {
            return Err(compiling.errors);
        }
        let question = match fields.is_empty() {
            true => Question::Select(select),
            false => Question::Combine { group_by, fields },
        };
        Ok(Self {
            filter,
            question,
            limit: usize::try_from(spec.limit)
                .ok()
                .filter(|limit| *limit > 0)
                .unwrap_or(LIMIT_DEFAULT),
            reads: compiling.reads,
        })
    }

    /// Whether an expression reads a variable.
    pub fn does_read(&self, variable: &str) -> bool {
        self.reads.of_variable(variable).is_some()
    }

    /// The headings of the answer.
    pub fn column_names(&self) -> Vec<String> {
        match &self.question {
            Question::Select(columns) => columns.iter().map(|it| it.name.clone()).collect(),
            Question::Combine { group_by, fields } => {
                let groups = group_by.iter().map(|column| &column.name);
                let fields = fields.iter().map(|field| &field.name);
                groups.chain(fields).cloned().collect()
            }
        }
    }

    /// The columns that have a value for each WEC, in order: those that are selected, or those by
    /// which is grouped and the subjects of computed ones.
    pub fn expressions(&self) -> impl Iterator<Item = (&str, &Expression)> {
        let (columns, fields) = match &self.question {
            Question::Select(columns) => (columns, &[][..]),
            Question::Combine { group_by, fields } => (group_by, &fields[..]),
        };
        let columns = columns.iter().map(|it| (it.name.as_str(), &it.expression));
        let subjects = fields.iter().filter_map(|field| match &field.combination {
            Combination::Count => None,
            Combination::Of(_, subject) => Some((field.name.as_str(), subject)),
        });
        columns.chain(subjects)
    }
}

#[derive(Default)]
struct Compiling {
    errors: Vec<String>,
    reads: Reads,
}

impl Compiling {
    fn check_shape(&mut self, spec: &StatusCollectorSpec) {
        let (select, group_by, combined) = (&spec.select, &spec.group_by, &spec.combined_fields);
        let is_combined = !group_by.is_empty() || !combined.is_empty();
        if is_combined && !select.is_empty() {
            self.refuse("groupBy and combinedFields must be empty if select is not");
        }
        if !group_by.is_empty() && combined.is_empty() {
            self.refuse("groupBy must be empty if combinedFields is");
        }
        let columns = select.len() + group_by.len() + combined.len();
        if columns > COLUMNS_MAX {
            self.refuse(format!(
                "{columns} columns are asked for, and {COLUMNS_MAX} is the limit"
            ));
        }
    }

    fn refuse(&mut self, error: impl Into<String>) {
        self.errors.push(error.into());
    }

    fn expression(
        &mut self,
        text: &str,
        error: impl FnOnce(String) -> String,
    ) -> Option<Expression> {
        let declared = Declarations {
            names: &[
                variables::OBJECT,
                variables::RETURNED,
                variables::INVENTORY,
                variables::PROPAGATION,
            ],
            ..Declarations::default()
        };
        match Expression::compile(text, &declared) {
            Ok(expression) => {
                self.reads.merge(expression.reads());
                Some(expression)
            }
            Err(reason) => {
                self.refuse(error(reason.to_string()));
                None
            }
        }
    }

    fn columns(&mut self, all: &[NamedExpression], clause: &str) -> Vec<Column> {
        let columns = all.iter().take(COLUMNS_MAX).filter_map(|column| {
            let name = &column.name;
            let expression = self.expression(&column.def, |error| {
                format!("{clause} expression ({name}) invalid: {error}")
            })?;
            Some(Column {
                name: name.clone(),
                expression,
            })
        });
        columns.collect()
    }

    fn fields(&mut self, all: &[CombinedField]) -> Vec<Field> {
        let fields = all.iter().take(COLUMNS_MAX).filter_map(|field| {
            Some(Field {
                name: field.name.clone(),
                combination: self.combination(field)?,
            })
        });
        fields.collect()
    }

    fn combination(&mut self, field: &CombinedField) -> Option<Combination> {
        let name = &field.name;
        let function = match field.r#type.as_str() {
            "COUNT" => {
                if field.subject.is_some() {
                    self.refuse(format!(
                        "combinedField expression ({name}) invalid: subject must be nil for COUNT type"
                    ));
                }
                return Some(Combination::Count);
            }
            "SUM" => Function::Sum,
            "AVG" => Function::Average,
            "MIN" => Function::Min,
            "MAX" => Function::Max,
            other => {
                self.refuse(format!(
                    "combinedField expression ({name}) invalid: type {other:?} is none of COUNT, \
                     SUM, AVG, MIN and MAX"
                ));
                return None;
            }
        };
        let Some(subject) = &field.subject else {
            self.refuse(format!(
                "combinedField expression ({name}) invalid: subject must be set"
            ));
            return None;
        };
        let subject = self.expression(subject, |error| {
            format!("combinedField expression ({name}) subject invalid: {error}")
        })?;
        Some(Combination::Of(function, subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::Value;
    use serde_json::json;

    fn errors(spec: Value) -> String {
        let spec = serde_json::from_value(spec).expect("a spec");
        let errors = Collector::compile(&spec).expect_err("a bad question");
        errors.join("\n")
    }

    #[test]
    fn all_that_is_wrong_with_a_question_is_told() {
        let one = json!([{"name": "n", "def": "1"}]);
        let count = json!([{"name": "c", "type": "COUNT"}]);
        expect!["groupBy and combinedFields must be empty if select is not"].assert_eq(&errors(
            json!({"select": one, "groupBy": one, "combinedFields": count}),
        ));
        expect!["groupBy must be empty if combinedFields is"]
            .assert_eq(&errors(json!({"groupBy": one})));
        expect![[r#"
            filter expression invalid: compilation failed: undeclared reference to 'object' (in container '')
            combinedField expression (a) invalid: subject must be nil for COUNT type
            combinedField expression (b) invalid: subject must be set
            combinedField expression (c) subject invalid: compilation failed: undeclared reference to 'x' (in container '')
            combinedField expression (d) invalid: type "MEDIAN" is none of COUNT, SUM, AVG, MIN and MAX"#]]
        .assert_eq(&errors(json!({
            "filter": "object.a",
            "combinedFields": [
                {"name": "a", "type": "COUNT", "subject": "1"},
                {"name": "b", "type": "SUM"},
                {"name": "c", "type": "MAX", "subject": "x"},
                {"name": "d", "type": "MEDIAN", "subject": "1"},
            ],
        })));
        let unreadable = errors(json!({"select": [{"name": "n", "def": "obj."}]}));
        assert!(
            unreadable.starts_with("select expression (n) invalid: compilation failed: "),
            "{unreadable}"
        );
        let many = json!({"select": vec![json!({"name": "n", "def": "1"}); COLUMNS_MAX + 1]});
        assert!(errors(many).contains("64 is the limit"));
    }

    #[test]
    fn a_question_knows_its_columns_its_limit_and_what_it_reads() {
        let compile = |spec: Value| {
            let spec = serde_json::from_value(spec).expect("a spec");
            Collector::compile(&spec).expect("a good question")
        };
        let grouped = compile(json!({
            "filter": "inventory.name != 'a'",
            "groupBy": [{"name": "phase", "def": "returned.status.phase"}],
            "combinedFields": [
                {"name": "count", "type": "COUNT"},
                {"name": "sum", "type": "SUM", "subject": "returned.status.replicas"},
            ],
            "limit": 3,
        }));
        assert_eq!(grouped.column_names(), ["phase", "count", "sum"]);
        let names: Vec<_> = grouped.expressions().map(|(name, _)| name).collect();
        assert_eq!(names, ["phase", "sum"]);
        assert_eq!(grouped.limit, 3);
        assert!(grouped.does_read(variables::INVENTORY));
        assert!(!grouped.does_read(variables::OBJECT));
        assert_eq!(compile(json!({"limit": 0})).limit, LIMIT_DEFAULT);
    }
}
