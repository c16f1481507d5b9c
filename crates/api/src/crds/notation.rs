//! The notation of `crds/*.schema`: one definition per file, one field per line.
//!
//! ```text
//! # A comment.
//! crd      PLURAL.GROUP
//! kind     KIND
//! scope    Cluster | Namespaced
//! short    NAME …                          (optional)
//! category NAME …                          (optional)
//! annotation KEY VALUE                     (any number)
//! version  NAME [storage] [status]         (starts a version; the lines below belong to it)
//! column   "HEADING" TYPE JSONPATH         (any number)
//! schema   [ATTRIBUTE=JSON …]              (the root object; fields follow, indented by two)
//!   FIELD TYPE [FLAG …] [ATTRIBUTE=JSON …]
//! ```
//!
//! A field named `[]` describes the items of the array above it, `{}` the values of the map above
//! it. Besides the JSON types, TYPE may be `any` (whatever JSON there is), `int-or-string`,
//! `quantity`, `label-selector`, `strict-label-selector` (one that is checked), `conditions` (a list
//! keyed by type), `plain-conditions` (a list without keys) and `same-as PLURAL.spec`. Attributes are named as in OpenAPI; `list`, `keys` and `rules` stand for
//! the `x-kubernetes-` extensions on list types, list keys and CEL rules.

use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::iter::Peekable;

/// Deepest field in a schema. The deepest upstream field lies eleven levels down; the bound keeps
/// the recursion below it finite for any input.
const DEPTH_MAX: usize = 32;

/// Most conditions in a list. Upstream has no limit; its controllers and ours set a dozen, and
/// agents, who write most of them, could otherwise fill their objects.
const CONDITIONS_MAX: u32 = 64;

const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
const CONDITION_REASON: &str = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$";
const CONDITION_TYPE: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$";

const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$";
const LABEL_VALUE: &str = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";

/// Why a text is not in the notation.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("line {line}: {problem}")]
pub(super) struct Error {
    line: usize,
    problem: String,
}

/// Looks up the text of another definition, by plural name.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'static str>;

/// One line without comment and indentation.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    depth: usize,
    text: &'a str,
}

impl Line<'_> {
    fn error(self, problem: impl Into<String>) -> Error {
        Error {
            line: self.number,
            problem: problem.into(),
        }
    }
}

/// Reads one definition and writes it as a `CustomResourceDefinition`.
pub(super) fn parse(text: &str, lookup: Lookup<'_>) -> Result<Value, Error> {
    let mut lines = lines(text).peekable();
    let (mut name, mut kind, mut scope) = ("", "", "");
    let mut short_names = Vec::new();
    let mut categories = Vec::new();
    let mut versions = Vec::new();
    let mut metadata = json!({});
    while let Some(line) = lines.next() {
        let (word, rest) = split_word(line.text);
        match word {
            "crd" => name = rest,
            "kind" => kind = rest,
            "scope" => scope = rest,
            "annotation" => {
                let (key, value) = split_word(rest);
                metadata["annotations"][key] = json!(value);
            }
            "short" => short_names = rest.split(' ').collect(),
            "category" => categories = rest.split(' ').collect(),
            "version" => versions.push(version(line, rest, &mut lines, lookup)?),
            _ => return Err(line.error(format!("unknown word {word:?}"))),
        }
    }
    let (plural, group) = name.split_once('.').ok_or_else(|| Error {
        line: 0,
        problem: format!("crd {name:?} is not PLURAL.GROUP"),
    })?;
    let mut names = json!({
        "plural": plural,
        "singular": kind.to_lowercase(),
        "kind": kind,
        "listKind": format!("{kind}List"),
    });
    if !short_names.is_empty() {
        names["shortNames"] = json!(short_names);
    }
    if !categories.is_empty() {
        names["categories"] = json!(categories);
    }
    metadata["name"] = json!(name);
    Ok(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": {
            "group": group,
            "names": names,
            "scope": scope,
            "versions": versions,
        },
    }))
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().enumerate().filter_map(|(index, raw)| {
        let text = raw.trim_start_matches(' ');
        (!text.is_empty() && !text.starts_with('#')).then_some(Line {
            number: index + 1,
            depth: (raw.len() - text.len()) / 2,
            text,
        })
    })
}

fn version<'a>(
    head: Line<'a>,
    rest: &str,
    lines: &mut Peekable<impl Iterator<Item = Line<'a>>>,
    lookup: Lookup<'_>,
) -> Result<Value, Error> {
    let mut words = rest.split(' ');
    let mut version = json!({
        "name": words.next().unwrap_or_default(),
        "served": true,
        "storage": false,
    });
    for word in words {
        match word {
            "storage" => version["storage"] = json!(true),
            "status" => version["subresources"] = json!({"status": {}}),
            _ => return Err(head.error(format!("unknown property {word:?} of a version"))),
        }
    }
    let mut columns = Vec::new();
    while let Some(line) = lines.next_if(|line| line.text.starts_with("column ")) {
        columns.push(column(line)?);
    }
    if !columns.is_empty() {
        version["additionalPrinterColumns"] = json!(columns);
    }
    let root = lines
        .next_if(|line| split_word(line.text).0 == "schema")
        .ok_or_else(|| head.error("a version needs a schema"))?;
    let mut schema = Map::from_iter([("type".to_owned(), json!("object"))]);
    attributes(root, split_word(root.text).1, &mut schema)?;
    let properties = standard_properties();
    fields(root, &mut schema, properties, lines, lookup)?;
    version["schema"] = json!({ "openAPIV3Schema": schema });
    Ok(version)
}

/// The properties which every custom resource has at its root.
fn standard_properties() -> Map<String, Value> {
    Map::from_iter([
        ("apiVersion".to_owned(), json!({"type": "string"})),
        ("kind".to_owned(), json!({"type": "string"})),
        ("metadata".to_owned(), json!({"type": "object"})),
    ])
}

fn column(line: Line<'_>) -> Result<Value, Error> {
    let rest = split_word(line.text).1;
    let (heading, rest) = json_prefix(line, rest)?;
    let (kind, path) = split_word(rest);
    Ok(json!({"name": heading, "type": kind, "jsonPath": path}))
}

/// Reads the lines below `parent` into the schema of `parent`.
fn fields<'a>(
    parent: Line<'a>,
    schema: &mut Map<String, Value>,
    mut properties: Map<String, Value>,
    lines: &mut Peekable<impl Iterator<Item = Line<'a>>>,
    lookup: Lookup<'_>,
) -> Result<(), Error> {
    if parent.depth >= DEPTH_MAX {
        return Err(parent.error(format!("fields nest deeper than {DEPTH_MAX} levels")));
    }
    while let Some(line) = lines.next_if(|line| line.depth > parent.depth) {
        if line.depth != parent.depth + 1 {
            return Err(line.error("a field is indented by two more than its parent"));
        }
        let (name, rest) = split_word(line.text);
        let field = field(line, rest, lines, lookup)?;
        match name {
            "[]" => schema.insert("items".to_owned(), field),
            "{}" => schema.insert("additionalProperties".to_owned(), field),
            _ => properties.insert(name.to_owned(), field),
        };
    }
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), Value::Object(properties));
    }
    Ok(())
}

fn field<'a>(
    line: Line<'a>,
    rest: &str,
    lines: &mut Peekable<impl Iterator<Item = Line<'a>>>,
    lookup: Lookup<'_>,
) -> Result<Value, Error> {
    let (kind, mut rest) = split_word(rest);
    let mut schema = match kind {
        "string" | "integer" | "number" | "boolean" | "object" | "array" => {
            Map::from_iter([("type".to_owned(), json!(kind))])
        }
        "int-or-string" => int_or_string(),
        "quantity" => {
            let mut schema = int_or_string();
            schema.insert("pattern".to_owned(), json!(QUANTITY));
            schema
        }
        "conditions" => conditions(true),
        "plain-conditions" => conditions(false),
        "any" => object(json!({"x-kubernetes-preserve-unknown-fields": true})),
        "label-selector" => label_selector(),
        "strict-label-selector" => strict_label_selector(),
        "same-as" => {
            let (target, after) = split_word(rest);
            rest = after;
            spec_of(line, target, lookup)?
        }
        _ => return Err(line.error(format!("unknown type {kind:?}"))),
    };
    attributes(line, rest, &mut schema)?;
    fields(line, &mut schema, Map::new(), lines, lookup)?;
    Ok(Value::Object(schema))
}

/// The schema of `spec` in the first version of another definition.
fn spec_of(line: Line<'_>, target: &str, lookup: Lookup<'_>) -> Result<Map<String, Value>, Error> {
    let plural = target
        .strip_suffix(".spec")
        .ok_or_else(|| line.error("same-as wants PLURAL.spec"))?;
    let text = lookup(plural).ok_or_else(|| line.error(format!("no definition {plural:?}")))?;
    // A definition that refers to another one is not referred to: this ends the recursion.
    let mut other = parse(text, &|_| None)?;
    let pointer = "/spec/versions/0/schema/openAPIV3Schema/properties/spec";
    match other.pointer_mut(pointer).map(Value::take) {
        Some(Value::Object(schema)) => Ok(schema),
        _ => Err(line.error(format!("{plural:?} has no spec"))),
    }
}

/// Reads flags and `ATTRIBUTE=JSON` pairs into a schema.
fn attributes(
    line: Line<'_>,
    mut rest: &str,
    schema: &mut Map<String, Value>,
) -> Result<(), Error> {
    while !rest.is_empty() {
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let word = &rest[..end];
        if let Some(value) = rest[end..].strip_prefix('=') {
            let (value, after) = json_prefix(line, value)?;
            schema.insert(attribute_key(word).to_owned(), value);
            rest = after;
        } else {
            let key = match word {
                "preserve-unknown" => "x-kubernetes-preserve-unknown-fields",
                "embedded-resource" => "x-kubernetes-embedded-resource",
                "nullable" => "nullable",
                _ => return Err(line.error(format!("unknown flag {word:?}"))),
            };
            schema.insert(key.to_owned(), json!(true));
            rest = rest[end..].trim_start_matches(' ');
        }
    }
    Ok(())
}

fn attribute_key(word: &str) -> &str {
    match word {
        "list" => "x-kubernetes-list-type",
        "keys" => "x-kubernetes-list-map-keys",
        "rules" => "x-kubernetes-validations",
        other => other,
    }
}

/// Reads one JSON value from the start of a text; returns the text after it.
fn json_prefix<'a>(line: Line<'_>, text: &'a str) -> Result<(Value, &'a str), Error> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => {
            let rest = &text[values.byte_offset()..];
            Ok((value, rest.trim_start_matches(' ')))
        }
        _ => Err(line.error(format!("expected a JSON value at {text:?}"))),
    }
}

fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(' ') {
        Some((word, rest)) => (word, rest.trim_start_matches(' ')),
        None => (text, ""),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn int_or_string() -> Map<String, Value> {
    object(json!({
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": true,
    }))
}

fn conditions(keyed: bool) -> Map<String, Value> {
    let mut list = object(json!({
        "type": "array",
        "maxItems": CONDITIONS_MAX,
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "lastTransitionTime": {"type": "string", "format": "date-time"},
                "message": {"type": "string", "maxLength": 32768},
                "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                "reason": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": 1024,
                    "pattern": CONDITION_REASON,
                },
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "type": {"type": "string", "maxLength": 316, "pattern": CONDITION_TYPE},
            },
        },
    }));
    if keyed {
        list.insert("x-kubernetes-list-type".to_owned(), json!("map"));
        list.insert("x-kubernetes-list-map-keys".to_owned(), json!(["type"]));
    }
    list
}

/// A label selector whose parts the API server checks, so that no controller meets a wrong one. The
/// two branches tie an expression's values to its operator without a CEL rule, whose estimated cost
/// would want limits on every list around it.
fn strict_label_selector() -> Map<String, Value> {
    let mut selector = Value::Object(label_selector());
    selector["properties"]["matchLabels"]["additionalProperties"]["pattern"] = json!(LABEL_VALUE);
    let expression = &mut selector["properties"]["matchExpressions"]["items"];
    expression["oneOf"] = json!([
        {
            "required": ["values"],
            "properties": {
                "operator": {"pattern": "^(In|NotIn)$"},
                "values": {"minItems": 1},
            },
        },
        {
            "properties": {
                "operator": {"pattern": "^(Exists|DoesNotExist)$"},
                "values": {"maxItems": 0},
            },
        },
    ]);
    let parts = &mut expression["properties"];
    parts["key"]["pattern"] = json!(LABEL_KEY);
    parts["operator"]["pattern"] = json!("^(In|NotIn|Exists|DoesNotExist)$");
    parts["values"]["items"]["pattern"] = json!(LABEL_VALUE);
    object(selector)
}

fn label_selector() -> Map<String, Value> {
    object(json!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "properties": {
            "matchExpressions": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {"type": "string"},
                        "operator": {"type": "string"},
                        "values": {
                            "type": "array",
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string"},
                        },
                    },
                },
            },
            "matchLabels": {
                "type": "object",
                "additionalProperties": {"type": "string"},
            },
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        parse(text, &|_| None).unwrap_err().to_string()
    }

    #[test]
    fn attributes_may_hold_any_json() {
        let crd = parse(
            "crd as.x.io\nkind A\nscope Cluster\nversion v1 storage\nschema required=[\"spec\"]\n  \
             spec object default={\"a b\": [1, 2]} nullable\n    list array list=\"set\"\n      [] \
             string pattern=\"^a =b$\"\n",
            &|_| None,
        )
        .unwrap();
        let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        assert_eq!(schema["required"], json!(["spec"]));
        assert_eq!(
            schema["properties"]["spec"],
            json!({
                "type": "object",
                "default": {"a b": [1, 2]},
                "nullable": true,
                "properties": {"list": {
                    "type": "array",
                    "x-kubernetes-list-type": "set",
                    "items": {"type": "string", "pattern": "^a =b$"},
                }},
            })
        );
    }

    #[test]
    fn mistakes_are_reported_with_their_line() {
        let head = "crd as.x.io\nkind A\nscope Cluster\nversion v1 storage\n";
        assert_eq!(problem("colour red"), "line 1: unknown word \"colour\"");
        assert_eq!(
            problem(&format!("{head}schema\n  spec widget\n")),
            "line 6: unknown type \"widget\""
        );
        assert_eq!(
            problem(&format!("{head}schema\n      deep string\n")),
            "line 6: a field is indented by two more than its parent"
        );
        assert_eq!(
            problem(&format!("{head}kind B\n")),
            "line 4: a version needs a schema"
        );
        assert_eq!(
            problem(&format!("{head}schema\n  a string minLength=x\n")),
            "line 6: expected a JSON value at \"x\""
        );
    }
}
