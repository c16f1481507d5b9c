//! Query strings, and the options that verbs read from them.

use crate::status::Cause;
use crate::status::Qualified;
use crate::status::Status;

/// A decoded query string, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Decodes a query string. Never fails: what cannot be decoded stays as it is.
    pub fn parse(text: &str) -> Query {
        let pairs = text
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let decode = |part: &str| percent_decode(&part.replace('+', " "));
                (decode(key), decode(value))
            })
            .collect();
        Query { pairs }
    }

    /// The first value of a parameter.
    pub fn first(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// All values of a parameter.
    pub fn all<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> {
        self.pairs
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a parameter is given and not false.
    pub fn flag(&self, key: &str) -> bool {
        self.optional_flag(key).unwrap_or(false)
    }

    /// A truth value as upstream reads it: anything but `false` and `0` is true.
    pub fn optional_flag(&self, key: &str) -> Option<bool> {
        self.first(key)
            .map(|value| !(value.eq_ignore_ascii_case("false") || value == "0"))
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 when it is none.
    pub fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.first(key).filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            Status::bad_request(format!(
                "invalid query parameter {key}: strconv.ParseInt: parsing \"{text}\": invalid \
                 syntax"
            ))
        })
    }
}

/// Decodes `%41`; sequences that are no UTF-8 are replaced, broken escapes stay.
pub fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while place < bytes.len() {
        let escaped = text
            .get(place + 1..place + 3)
            .filter(|_| bytes[place] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                decoded.push(byte);
                place += 3;
            }
            None => {
                decoded.push(bytes[place]);
                place += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// What becomes of fields the schema does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped, with a warning header each; the default.
    #[default]
    Warn,
    /// Refused.
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// Do everything but store.
    pub dry_run: bool,
    /// What becomes of unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// The field manager; empty when not given.
    pub field_manager: String,
    /// Take over conflicting fields (server-side apply only).
    pub force: bool,
}

/// The longest field manager, as upstream limits it.
const FIELD_MANAGER_BYTES_MAX: usize = 128;

impl WriteOptions {
    /// Reads the options; `kind` is `CreateOptions`, `UpdateOptions` or `PatchOptions`.
    ///
    /// # Errors
    /// 422 naming the options kind.
    pub fn parse(query: &Query, kind: &str) -> Result<WriteOptions, Status> {
        let mut causes = Vec::new();
        let dry_run = dry_run(query.all("dryRun"), &mut causes);
        let given = query.first("fieldValidation").unwrap_or_default();
        let field_validation = match given {
            "" | "Warn" => FieldValidation::Warn,
            "Ignore" => FieldValidation::Ignore,
            "Strict" => FieldValidation::Strict,
            _ => {
                let supported = "\"\", \"Ignore\", \"Strict\", \"Warn\"";
                causes.push(unsupported(
                    "fieldValidation",
                    &format!("\"{given}\""),
                    supported,
                ));
                FieldValidation::Warn
            }
        };
        let field_manager = query.first("fieldManager").unwrap_or_default().to_owned();
        if field_manager.len() > FIELD_MANAGER_BYTES_MAX {
            causes.push(Cause {
                reason: "FieldValueTooLong".to_owned(),
                message: format!("Too long: may not be more than {FIELD_MANAGER_BYTES_MAX} bytes"),
                field: "fieldManager".to_owned(),
            });
        }
        if causes.is_empty() {
            Ok(WriteOptions {
                dry_run,
                field_validation,
                field_manager,
                force: query.flag("force"),
            })
        } else {
            Err(options_invalid(kind, causes))
        }
    }
}

/// Reads `dryRun`; only `All` is a value.
pub fn dry_run<'a>(values: impl Iterator<Item = &'a str>, causes: &mut Vec<Cause>) -> bool {
    let values: Vec<&str> = values.filter(|value| !value.is_empty()).collect();
    if values.iter().all(|value| *value == "All") {
        return !values.is_empty();
    }
    let shown = serde_json::to_string(&values).unwrap_or_default();
    causes.push(unsupported("dryRun", &shown, "\"All\""));
    false
}

/// The cause of a value outside an enumeration.
pub fn unsupported(field: &str, shown: &str, supported: &str) -> Cause {
    Cause {
        reason: "FieldValueNotSupported".to_owned(),
        message: format!("Unsupported value: {shown}: supported values: {supported}"),
        field: field.to_owned(),
    }
}

/// The cause of a forbidden combination.
pub fn forbidden(field: &str, why: &str) -> Cause {
    Cause {
        reason: "FieldValueForbidden".to_owned(),
        message: format!("Forbidden: {why}"),
        field: field.to_owned(),
    }
}

/// 422 for invalid request options.
pub fn options_invalid(kind: &str, causes: Vec<Cause>) -> Status {
    let kind = Qualified {
        group: "meta.k8s.io",
        name: kind,
    };
    Status::invalid(kind, "", causes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_strings_are_decoded() {
        let query = Query::parse("a=b+c&a=%26%zz&flag&n=5");
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["b c", "&%zz"]);
        assert!(query.flag("flag"));
        assert_eq!(query.number("n").unwrap(), Some(5));
        assert!(query.number("a").is_err());
    }

    #[test]
    fn unknown_options_are_refused_in_upstreams_words() {
        let error = WriteOptions::parse(&Query::parse("dryRun=some"), "CreateOptions");
        assert_eq!(
            error.unwrap_err().message,
            "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"some\"]: \
             supported values: \"All\""
        );
        let error = WriteOptions::parse(&Query::parse("fieldValidation=bogus"), "CreateOptions");
        assert_eq!(
            error.unwrap_err().message,
            "CreateOptions.meta.k8s.io \"\" is invalid: fieldValidation: Unsupported value: \
             \"bogus\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
        );
    }
}
