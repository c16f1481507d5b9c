//! Go's comparisons: `eq`, `ne`, `lt`, `le`, `gt`, `ge`.

use std::cmp::Ordering;

use crate::print::shown;
use crate::value::Item;

const MISSING: &str = "missing argument for comparison";
const INCOMPATIBLE: &str = "incompatible types for comparison";
const NOT_ORDERED: &str = "invalid type for comparison";

/// Whether the first equals any of the others.
pub(crate) fn equals_any(first: &Item<'_>, others: &[Item<'_>]) -> Result<bool, String> {
    if others.is_empty() {
        return Err(MISSING.to_owned());
    }
    for other in others {
        if equals(first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn equals(first: &Item<'_>, second: &Item<'_>) -> Result<bool, String> {
    Ok(match (first, second) {
        (Item::Bool(first), Item::Bool(second)) => first == second,
        (Item::Int(first, _), Item::Int(second, _)) => first == second,
        (Item::Float(first), Item::Float(second)) => first == second,
        (Item::Text(first), Item::Text(second)) => **first == **second,
        (Item::Missing | Item::Nil, Item::Missing | Item::Nil) => true,
        (Item::Missing | Item::Nil, _) | (_, Item::Missing | Item::Nil) => false,
        _ if is_basic(first) || is_basic(second) => return Err(INCOMPATIBLE.to_owned()),
        _ if matches!(first, Item::List(_)) != matches!(second, Item::List(_)) => {
            return Err(format!(
                "non-comparable types {}: {}, {}: {}",
                shown(first),
                first.type_name(),
                second.type_name(),
                shown(second)
            ));
        }
        _ => {
            return Err(format!(
                "non-comparable type {}: {}",
                shown(second),
                second.type_name()
            ));
        }
    })
}

fn is_basic(item: &Item<'_>) -> bool {
    matches!(
        item,
        Item::Bool(_) | Item::Int(..) | Item::Float(_) | Item::Text(_)
    )
}

/// How the first stands to the second; `None` if one is no number at all (NaN).
fn order(first: &Item<'_>, second: &Item<'_>) -> Result<Option<Ordering>, String> {
    match (first, second) {
        (Item::Int(first, _), Item::Int(second, _)) => Ok(Some(first.cmp(second))),
        (Item::Float(first), Item::Float(second)) => Ok(first.partial_cmp(second)),
        (Item::Text(first), Item::Text(second)) => Ok(Some((**first).cmp(&**second))),
        (Item::Bool(_), Item::Bool(_)) => Err(NOT_ORDERED.to_owned()),
        _ if is_basic(first) && is_basic(second) => Err(INCOMPATIBLE.to_owned()),
        _ => Err(NOT_ORDERED.to_owned()),
    }
}

/// The named one of `lt`, `le`, `gt`, `ge`; Go derives the latter two by negation, which shows
/// where NaN is compared.
pub(crate) fn ordered(name: &str, first: &Item<'_>, second: &Item<'_>) -> Result<bool, String> {
    let order = order(first, second)?;
    let less = order == Some(Ordering::Less);
    let less_or_equal = less || order == Some(Ordering::Equal);
    Ok(match name {
        "lt" => less,
        "le" => less_or_equal,
        "gt" => !less_or_equal,
        _ => !less,
    })
}
