//! The functions every template has, all but `and` and `or`, which execution itself evaluates.

use crate::compare;
use crate::escape;
use crate::print;
use crate::value::Found;
use crate::value::IntType;
use crate::value::Item;
use crate::value::Text;
use crate::verbs;

/// Name, arguments at least, and whether more may follow.
const FUNCTIONS: &[(&str, usize, bool)] = &[
    ("and", 1, true),
    ("call", 1, true),
    ("eq", 1, true),
    ("ge", 2, false),
    ("gt", 2, false),
    ("html", 0, true),
    ("index", 1, true),
    ("js", 0, true),
    ("le", 2, false),
    ("len", 1, false),
    ("lt", 2, false),
    ("ne", 2, false),
    ("not", 1, false),
    ("or", 1, true),
    ("print", 0, true),
    ("printf", 1, true),
    ("println", 0, true),
    ("slice", 1, true),
    ("urlquery", 0, true),
];

/// What Go answers where a function asks nothing for its type.
const TYPE_OF_NOTHING: &str = "reflect: call of reflect.Value.Type on zero Value";

pub(crate) fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// Whether the function takes so many arguments; `written` of them stand in the command, the
/// others come from the pipeline.
pub(crate) fn check_count(name: &str, count: usize, written: usize) -> Result<(), String> {
    let Some((_, least, variadic)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
        return Err(format!("{name:?} is not a defined function"));
    };
    match variadic {
        true if count < *least => Err(format!(
            "wrong number of args for {name}: want at least {least} got {written}"
        )),
        false if count != *least => Err(format!(
            "wrong number of args for {name}: want {least} got {count}"
        )),
        _ => Ok(()),
    }
}

/// Calls a function with as many arguments as it takes; `callee` is how `call`'s first argument
/// is written.
pub(crate) fn call<'a>(
    name: &str,
    callee: &str,
    arguments: &[Item<'a>],
) -> Result<Found<'a>, String> {
    let item = match name {
        "not" => Item::Bool(!arguments[0].is_true()),
        "eq" => Item::Bool(compare::equals_any(&arguments[0], &arguments[1..])?),
        "ne" => Item::Bool(!compare::equals_any(&arguments[0], &arguments[1..])?),
        "lt" | "le" | "gt" | "ge" => {
            Item::Bool(compare::ordered(name, &arguments[0], &arguments[1])?)
        }
        "html" => Item::text(escape::html(&joined(arguments)?)),
        "js" => Item::text(escape::javascript(&joined(arguments)?)),
        "urlquery" => Item::text(escape::query(&joined(arguments)?)),
        "len" => Item::int(length(&arguments[0])?),
        "print" => Item::text(print::print(arguments)?),
        "println" => Item::text(print::println(arguments)?),
        "printf" => match &arguments[0] {
            Item::Text(format) => Item::text(verbs::printf(format, &arguments[1..])?),
            // Execution lets nothing else through.
            other => return Err(format!("expected string; found {}", other.type_name())),
        },
        "index" => return index(arguments),
        "slice" => return slice(arguments),
        _ => {
            return Err(match &arguments[0] {
                Item::Missing | Item::Nil => "call of nil".to_owned(),
                item => format!("non-function {callee} of type {}", item.type_name()),
            });
        }
    };
    Ok(item.found())
}

/// The text that is to be escaped.
fn joined(arguments: &[Item<'_>]) -> Result<String, String> {
    let shown: Vec<Item<'_>> = arguments
        .iter()
        .map(|argument| match argument {
            // As an action would print it.
            Item::Missing | Item::Nil => Item::text("<no value>"),
            argument => argument.clone(),
        })
        .collect();
    print::print(&shown)
}

fn length(item: &Item<'_>) -> Result<usize, String> {
    match item {
        Item::Text(text) => Ok(text.len()),
        Item::List(items) => Ok(items.len()),
        Item::Map(map) => Ok(map.len()),
        Item::Strings(map) => Ok(map.len()),
        Item::Nil => Err("len of nil pointer".to_owned()),
        Item::Missing => Err(TYPE_OF_NOTHING.to_owned()),
        _ => Err(format!("len of type {}", item.type_name())),
    }
}

/// An index into something of this length; the length itself is let through.
fn position(index: &Item<'_>, length: usize) -> Result<usize, String> {
    match index {
        Item::Int(value, _) => usize::try_from(*value)
            .ok()
            .filter(|position| *position <= length)
            .ok_or_else(|| format!("index out of range: {value}")),
        Item::Missing | Item::Nil => Err("cannot index slice/array with nil".to_owned()),
        _ => Err(format!(
            "cannot index slice/array with type {}",
            index.type_name()
        )),
    }
}

fn key<'i>(index: &'i Item<'_>) -> Result<&'i str, String> {
    match index {
        Item::Text(key) => Ok(key),
        Item::Missing | Item::Nil => Err("value is nil; should be of type string".to_owned()),
        _ => Err(format!(
            "value has type {}; should be string",
            index.type_name()
        )),
    }
}

fn index<'a>(arguments: &[Item<'a>]) -> Result<Found<'a>, String> {
    let mut item = arguments[0].clone();
    if matches!(item, Item::Missing | Item::Nil) {
        return Err("index of untyped nil".to_owned());
    }
    for index in &arguments[1..] {
        item = match &item {
            Item::List(items) => match items.get(position(index, items.len())?) {
                Some(item) => Item::from_json(item),
                None => return Err("reflect: slice index out of range".to_owned()),
            },
            Item::Text(text) => match text.as_bytes().get(position(index, text.len())?) {
                Some(byte) => Item::Int(i64::from(*byte), IntType::Uint8),
                None => return Err("reflect: string index out of range".to_owned()),
            },
            Item::Map(map) => map.get(key(index)?).map_or(Item::Nil, Item::from_json),
            Item::Strings(map) => {
                let value = map.get(key(index)?).map_or("", String::as_str);
                Item::Text(Text::Borrowed(value))
            }
            Item::Missing | Item::Nil => return Err("index of nil pointer".to_owned()),
            _ => return Err(format!("can't index item of type {}", item.type_name())),
        };
    }
    Ok(item.boxed())
}

fn slice<'a>(arguments: &[Item<'a>]) -> Result<Found<'a>, String> {
    let indexes = &arguments[1..];
    if matches!(arguments[0], Item::Missing | Item::Nil) {
        return Err("slice of untyped nil".to_owned());
    }
    if indexes.len() > 3 {
        return Err(format!("too many slice indexes: {}", indexes.len()));
    }
    let length = match &arguments[0] {
        Item::Text(_) if indexes.len() == 3 => {
            return Err("cannot 3-index slice a string".to_owned());
        }
        Item::Text(text) => text.len(),
        Item::List(items) => items.len(),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let mut bounds = [0, length, length];
    for (bound, index) in bounds.iter_mut().zip(indexes) {
        *bound = position(index, length)?;
    }
    let [start, end, capacity] = bounds;
    for (low, high) in [(start, end), (end, capacity)] {
        if low > high {
            return Err(format!("invalid slice index: {low} > {high}"));
        }
    }
    Ok(match &arguments[0] {
        Item::List(items) => Item::List(&items[start..end]),
        Item::Text(Text::Borrowed(text)) if text.get(start..end).is_some() => {
            Item::Text(Text::Borrowed(&text[start..end]))
        }
        Item::Text(text) => {
            let bytes = &text.as_bytes()[start..end];
            Item::text(String::from_utf8_lossy(bytes).as_ref())
        }
        other => other.clone(),
    }
    .found())
}
