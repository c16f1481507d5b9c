//! The rules of structural schemas: every value has one known type, and logic only constrains it.

use serde_json::Map;
use serde_json::Value;

use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::compile_pattern;
use crate::validate::go_json;
use crate::validate::undefined_field;

/// How deep a schema may nest. The parser admits about 55 levels; this also bounds schemas built
/// otherwise, and what kube-cel compiles (64).
const MAX_SCHEMA_DEPTH: usize = 60;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const LIST_KEYS: &str = "x-kubernetes-list-map-keys";
const LIST_TYPE: &str = "x-kubernetes-list-type";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const RULES: &str = "x-kubernetes-validations";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

/// Everything that keeps `schema` from being structural; its place is `path`.
pub(super) fn check(schema: &Value, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    node(schema, path, Level::Root, 0, &mut errors);
    root_metadata(schema, path, &mut errors);
    errors
}

fn text<'a>(schema: &'a Value, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

fn fields<'a>(schema: &'a Value, key: &str) -> Option<&'a Map<String, Value>> {
    schema.get(key).and_then(Value::as_object)
}

fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn node(
    schema: &Value,
    path: &FieldPath,
    level: Level,
    depth: usize,
    errors: &mut Vec<FieldError>,
) {
    if depth > MAX_SCHEMA_DEPTH {
        let detail = format!("must not nest deeper than {MAX_SCHEMA_DEPTH} levels");
        errors.push(FieldError::invalid(path, "", detail));
        return;
    }
    json_type(schema, path, level, errors);
    keywords(schema, path, errors);
    lists(schema, path, errors);
    if let Some(below) = fields(schema, "properties") {
        for (name, child) in below {
            let path = path.child("properties").key(name);
            node(child, &path, Level::Field, depth + 1, errors);
        }
        if schema
            .get("additionalProperties")
            .is_some_and(Value::is_object)
        {
            let detail = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(
                path.child("additionalProperties"),
                detail,
            ));
        }
    }
    if let Some(child) = schema
        .get("additionalProperties")
        .filter(|below| below.is_object())
    {
        let path = path.child("additionalProperties");
        node(child, &path, Level::Field, depth + 1, errors);
    }
    if let Some(child) = schema.get("items") {
        node(child, &path.child("items"), Level::Item, depth + 1, errors);
    }
    for branch in ["allOf", "anyOf", "oneOf"] {
        for (index, child) in list(schema, branch).iter().enumerate() {
            logic(
                schema,
                child,
                &path.child(branch).index(index),
                depth,
                errors,
            );
        }
    }
    if let Some(child) = schema.get("not") {
        logic(schema, child, &path.child("not"), depth, errors);
    }
    rules(schema, path, level, errors);
    default_value(schema, path, errors);
}

fn json_type(schema: &Value, path: &FieldPath, level: Level, errors: &mut Vec<FieldError>) {
    let stated = text(schema, "type");
    let at = path.child("type");
    if stated.is_empty() {
        let open = flag(schema, INT_OR_STRING) || flag(schema, PRESERVE);
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Field => "must not be empty for specified object fields",
            Level::Item => "must not be empty for specified array items",
        };
        if level == Level::Root || !open {
            errors.push(FieldError::required(at, detail));
        }
        return;
    }
    if !TYPES.contains(&stated) {
        errors.push(FieldError::not_supported(at, stated, &TYPES));
        return;
    }
    if level == Level::Root && stated != "object" {
        errors.push(FieldError::invalid(
            at,
            stated,
            "must be object at the root",
        ));
        return;
    }
    if flag(schema, EMBEDDED) && stated != "object" {
        let detail = format!("must be object if {EMBEDDED} is true");
        errors.push(FieldError::invalid(at.clone(), stated, detail));
    }
    if flag(schema, INT_OR_STRING) {
        let detail = format!("must be empty if {INT_OR_STRING} is true");
        errors.push(FieldError::invalid(at, stated, detail));
    }
    if stated == "array" && schema.get("items").is_none() {
        errors.push(FieldError::required(
            path.child("items"),
            "must be specified",
        ));
    }
}

fn keywords(schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if flag(schema, "uniqueItems") {
        errors.push(FieldError::forbidden(
            path.child("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ));
    }
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        errors.push(FieldError::forbidden(
            path.child("additionalProperties"),
            "additionalProperties cannot be set to false",
        ));
    }
    if schema.get("$ref").is_some() {
        errors.push(FieldError::forbidden(
            path.child("$ref"),
            "$ref is not supported",
        ));
    }
    if schema.get("items").is_some_and(Value::is_array) {
        errors.push(FieldError::forbidden(
            path.child("items"),
            "items must be a schema object and not an array",
        ));
    }
    if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
        errors.push(FieldError::invalid(
            path.child(PRESERVE),
            false,
            "must be true or undefined",
        ));
    }
    let pattern = text(schema, "pattern");
    if let Err(error) = compile_pattern(pattern) {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or_default().trim();
        let detail = format!("must be a valid regular expression, but isn't: {reason}");
        errors.push(FieldError::invalid(path.child("pattern"), pattern, detail));
    }
}

fn lists(schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(kind) = schema.get(LIST_TYPE).and_then(Value::as_str) else {
        return;
    };
    if !["atomic", "map", "set"].contains(&kind) {
        errors.push(FieldError::not_supported(
            path.child(LIST_TYPE),
            kind,
            &["atomic", "map", "set"],
        ));
        return;
    }
    let stated = text(schema, "type");
    if stated != "array" {
        let detail = format!("must be array if {LIST_TYPE} is specified");
        errors.push(FieldError::invalid(path.child("type"), stated, detail));
        return;
    }
    if kind == "map" {
        map_keys(schema, path, errors);
    }
}

fn map_keys(schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(items) = schema.get("items") else {
        return;
    };
    let stated = text(items, "type");
    if stated != "object" {
        let detail = format!("must be object if parent array's {LIST_TYPE} is map");
        errors.push(FieldError::invalid(
            path.child("items").child("type"),
            stated,
            detail,
        ));
    }
    let keys = list(schema, LIST_KEYS);
    if keys.is_empty() {
        let detail = format!("must not be empty if {LIST_TYPE} is map");
        errors.push(FieldError::required(path.child(LIST_KEYS), detail));
    }
    for key in keys.iter().filter_map(Value::as_str) {
        let below = path.child("items").child("properties").key(key);
        match fields(items, "properties").and_then(|known| known.get(key)) {
            None => errors.push(FieldError::invalid(
                path.child(LIST_KEYS),
                Value::from(keys.to_vec()),
                "entries must all be names of item properties",
            )),
            Some(property) => {
                let required = list(items, "required")
                    .iter()
                    .any(|name| name.as_str() == Some(key));
                if !required && property.get("default").is_none() {
                    let detail = format!(
                        "this property is in {LIST_KEYS}, so it must have a default or be a required property"
                    );
                    errors.push(FieldError::required(below.child("default"), detail));
                }
            }
        }
    }
}

/// What a branch says of the value must not be what makes the schema structural.
fn logic(
    owner: &Value,
    branch: &Value,
    path: &FieldPath,
    depth: usize,
    errors: &mut Vec<FieldError>,
) {
    if depth > MAX_SCHEMA_DEPTH {
        let detail = format!("must not nest deeper than {MAX_SCHEMA_DEPTH} levels");
        errors.push(FieldError::invalid(path, "", detail));
        return;
    }
    let int_or_string = flag(owner, INT_OR_STRING);
    for keyword in ["description", "title", "type"] {
        let stated = text(branch, keyword);
        let repeats = keyword == "type" && int_or_string && ["integer", "string"].contains(&stated);
        if !stated.is_empty() && !repeats {
            errors.push(FieldError::forbidden(
                path.child(keyword),
                "must be empty to be structural",
            ));
        }
    }
    for keyword in [
        "default",
        "additionalProperties",
        EMBEDDED,
        INT_OR_STRING,
        LIST_TYPE,
    ] {
        if branch.get(keyword).is_some() {
            errors.push(FieldError::forbidden(
                path.child(keyword),
                "must be undefined to be structural",
            ));
        }
    }
    if flag(branch, "nullable") {
        errors.push(FieldError::forbidden(
            path.child("nullable"),
            "must be false to be structural",
        ));
    }
    for (name, child) in fields(branch, "properties").into_iter().flatten() {
        let path = path.child("properties").key(name);
        logic(&Value::Null, child, &path, depth + 1, errors);
    }
    if let Some(items) = branch.get("items") {
        logic(&Value::Null, items, &path.child("items"), depth + 1, errors);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        for (index, child) in list(branch, keyword).iter().enumerate() {
            logic(
                branch,
                child,
                &path.child(keyword).index(index),
                depth + 1,
                errors,
            );
        }
    }
    if let Some(child) = branch.get("not") {
        logic(branch, child, &path.child("not"), depth + 1, errors);
    }
}

fn rules(schema: &Value, path: &FieldPath, level: Level, errors: &mut Vec<FieldError>) {
    let whole = (level == Level::Root).then(|| with_object_fields(schema));
    let known = whole.as_ref().unwrap_or(schema);
    for (index, rule) in list(schema, RULES).iter().enumerate() {
        let at = path.child(RULES).index(index);
        let text = text(rule, "rule");
        if text.trim().is_empty() {
            errors.push(FieldError::required(
                at.child("rule"),
                "rule is not specified",
            ));
            continue;
        }
        if let Some(problem) = compilation_problem(text, known) {
            let shown = shown_rule(rule);
            let mut error = FieldError::invalid(at.child("rule"), Value::Null, problem);
            // The server shows its internal form of the rule, and the text is what people search for.
            error.detail = format!("{shown}: {}", error.detail);
            errors.push(error.without_value());
        }
        let message = rule.get("messageExpression").and_then(Value::as_str);
        if let Some(message) = message
            && let Some(problem) = message_problem(message)
        {
            let detail = format!("messageExpression compilation failed: {problem}");
            errors.push(FieldError::invalid(
                at.child("messageExpression"),
                message,
                detail,
            ));
        }
    }
}

/// The root schema with the fields that every object has, which rules may read.
fn with_object_fields(schema: &Value) -> Value {
    let mut whole = schema.clone();
    if let Some(schema) = whole.as_object_mut() {
        let properties = schema
            .entry("properties")
            .or_insert_with(|| Value::Object(Map::new()));
        if let Some(properties) = properties.as_object_mut() {
            for name in ["apiVersion", "kind", "metadata"] {
                properties.insert(name.to_owned(), Value::Object(Map::new()));
            }
        }
    }
    whole
}

fn message_problem(expression: &str) -> Option<String> {
    crate::cel::hazard(expression).or_else(|| {
        let compiled = kube_cel::cel::Program::compile(expression);
        compiled.err().map(|error| error.to_string())
    })
}

fn compilation_problem(rule: &str, schema: &Value) -> Option<String> {
    if let Some(hazard) = crate::cel::hazard(rule) {
        return Some(format!("compilation failed: {hazard}"));
    }
    if let Err(error) = kube_cel::cel::Program::compile(rule) {
        return Some(format!("compilation failed: {error}"));
    }
    let field = undefined_field(rule, schema)?;
    let column = rule.find(&format!(".{field}")).unwrap_or_default();
    let dots = ".".repeat(column);
    Some(format!(
        "compilation failed: ERROR: <input>:1:{}: undefined field '{field}'\n | {rule}\n | {dots}^",
        column + 1
    ))
}

fn shown_rule(rule: &Value) -> String {
    let quoted = |key: &str| go_json(&Value::from(text(rule, key)));
    let optional = |key: &str| go_json(rule.get(key).unwrap_or(&Value::Null));
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        quoted("rule"),
        quoted("message"),
        quoted("messageExpression"),
        optional("reason"),
        quoted("fieldPath"),
        optional("optionalOldSelf"),
    )
}

/// A default must itself be valid, or every object that leaves the field out would be refused.
fn default_value(schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(default) = schema.get("default") else {
        return;
    };
    let ty = super::schema::value_type(schema);
    for error in crate::validate::check(&ty, default, None) {
        let detail = format!("must be valid: {}", error.body());
        errors.push(FieldError::invalid(
            path.child("default"),
            default.clone(),
            detail,
        ));
    }
}

fn root_metadata(schema: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let Some(metadata) = fields(schema, "properties").and_then(|known| known.get("metadata"))
    else {
        return;
    };
    let known = ["type", "properties", "description"];
    let only_type = metadata
        .as_object()
        .is_none_or(|map| map.keys().all(|key| known.contains(&key.as_str())));
    let only_names = fields(metadata, "properties")
        .is_none_or(|map| map.keys().all(|key| key == "name" || key == "generateName"));
    if !only_type || !only_names {
        errors.push(FieldError::forbidden(
            path.child("properties").key("metadata"),
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
}
