//! Types whose message is written by hand in Go: times, quantities, embedded JSON.

use jiff::Timestamp;
use jiff::tz::Offset;

use crate::types::Shape;
use crate::types::Type;

/// What a message means, when it is not simply the fields of its type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON text in field 1: `RawExtension`, `FieldsV1`, `JSON`.
    Json,
    SchemaOrBool,
    SchemaOrArray,
    SchemaOrStringArray,
}

/// The type of schemas inside CustomResourceDefinitions.
pub(super) const SCHEMA: &str =
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";

impl Special {
    /// The special form of a type, if it has one.
    pub(super) fn of(ty: &Type) -> Option<Special> {
        match ty.shape {
            Shape::Time => Some(Special::Time),
            Shape::MicroTime => Some(Special::MicroTime),
            Shape::Quantity => Some(Special::Quantity),
            Shape::IntOrString => Some(Special::IntOrString),
            Shape::Any => Some(
                match ty
                    .name
                    .as_deref()
                    .and_then(|name| name.strip_prefix(SCHEMA))
                {
                    Some("OrBool") => Special::SchemaOrBool,
                    Some("OrArray") => Special::SchemaOrArray,
                    Some("OrStringArray") => Special::SchemaOrStringArray,
                    _ => Special::Json,
                },
            ),
            _ => None,
        }
    }
}

/// A `Time` as JSON writes it: whole seconds, UTC.
pub(super) fn time_text(seconds: i64) -> Option<String> {
    let time = Timestamp::from_second(seconds).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A `MicroTime` as JSON writes it: six decimals, UTC.
pub(super) fn micro_time_text(seconds: i64, nanoseconds: i64) -> Option<String> {
    let microseconds = nanoseconds.clamp(0, 999_999_999) / 1000;
    let total = seconds.checked_mul(1_000_000)?.checked_add(microseconds)?;
    let time = Timestamp::from_microsecond(total).ok()?;
    let date = Offset::UTC.to_datetime(time);
    Some(format!(
        "{}.{:06}Z",
        date.strftime("%Y-%m-%dT%H:%M:%S"),
        date.subsec_nanosecond() / 1000
    ))
}

/// Seconds and nanoseconds of a time as JSON writes it, the latter never negative.
pub(super) fn parse_time(text: &str) -> Option<(i64, i64)> {
    let nanoseconds = text.parse::<Timestamp>().ok()?.as_nanosecond();
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).ok()?;
    let rest = i64::try_from(nanoseconds.rem_euclid(1_000_000_000)).ok()?;
    Some((seconds, rest))
}
