//! String formats that the API server checks; unknown formats are ignored, as upstream does.

use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;

/// Whether `text` has the format; `None` for formats that are not checked.
pub(super) fn holds(format: &str, text: &str) -> Option<bool> {
    Some(match format {
        "date-time" | "datetime" => is_rfc3339(text),
        "date" => is_date(text),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "uri" => is_uri(text),
        "email" => matches(&EMAIL, r"^[^@\s<>,;]+@[^@\s<>,;]+$", text),
        "hostname" => is_hostname(text),
        "uuid" => matches(&UUID, UUID_PATTERN, text),
        "uuid3" => matches(&UUID, UUID_PATTERN, text) && version_digit(text) == Some(b'3'),
        "uuid4" => matches(&UUID, UUID_PATTERN, text) && version_digit(text) == Some(b'4'),
        "uuid5" => matches(&UUID, UUID_PATTERN, text) && version_digit(text) == Some(b'5'),
        "mac" => matches(
            &MAC,
            r"^([0-9A-Fa-f]{2}[:-]){5}([0-9A-Fa-f]{2}|[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){2})$",
            text,
        ),
        "duration" => matches(
            &DURATION,
            r"^[-+]?(0|(\d+(\.\d*)?|\.\d+)\s*(ns|us|µs|μs|ms|s|m|h|d|w|seconds?|minutes?|hours?|days?|weeks?)(\s*(\d+(\.\d*)?|\.\d+)\s*(ns|us|µs|μs|ms|s|m|h|d|w))*)$",
            text,
        ),
        "hexcolor" => matches(&HEX, r"^#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", text),
        "bsonobjectid" => matches(&BSON, r"^[0-9a-fA-F]{24}$", text),
        "creditcard" | "isbn" | "isbn10" | "isbn13" | "ssn" | "rgbcolor" | "password" => {
            return None;
        }
        "k8s-short-name" => crate::validate::names::dns_label(text).is_empty(),
        "k8s-long-name" => crate::validate::names::dns_subdomain(text).is_empty(),
        _ => return None,
    })
}

static EMAIL: OnceLock<Regex> = OnceLock::new();
static UUID: OnceLock<Regex> = OnceLock::new();
static MAC: OnceLock<Regex> = OnceLock::new();
static DURATION: OnceLock<Regex> = OnceLock::new();
static HEX: OnceLock<Regex> = OnceLock::new();
static BSON: OnceLock<Regex> = OnceLock::new();

const UUID_PATTERN: &str =
    r"(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$";

fn matches(cell: &OnceLock<Regex>, pattern: &str, text: &str) -> bool {
    cell.get_or_init(|| Regex::new(pattern).expect("a pattern of ours is a valid pattern"))
        .is_match(text)
}

fn version_digit(uuid: &str) -> Option<u8> {
    uuid.bytes().filter(|byte| *byte != b'-').nth(12)
}

/// Whether `text` is a time as RFC 3339 writes it.
pub fn is_rfc3339(text: &str) -> bool {
    let Some((date, time)) = text.split_once(['T', 't']) else {
        return false;
    };
    let Some(clock) = time.get(..8).filter(|_| is_date(date)) else {
        return false;
    };
    let rest = &time[8..];
    let zone = match rest.strip_prefix('.') {
        Some(fraction) => {
            let end = fraction
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(fraction.len());
            if end == 0 {
                return false;
            }
            &fraction[end..]
        }
        None => rest,
    };
    // The last hours of the year 9999 and fractions beyond nanoseconds are written correctly, but
    // are no moments that typed clients can hold; one such time would break every list it is in.
    is_clock(clock) && is_zone(zone) && text.parse::<jiff::Timestamp>().is_ok()
}

fn two_digits(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn is_clock(clock: &str) -> bool {
    let parts: Vec<Option<u8>> = clock.split(':').map(two_digits).collect();
    matches!(parts.as_slice(), [Some(hour), Some(minute), Some(second)]
        if *hour < 24 && *minute < 60 && *second < 60)
}

fn is_zone(zone: &str) -> bool {
    if zone.eq_ignore_ascii_case("z") {
        return true;
    }
    zone.strip_prefix(['+', '-'])
        .and_then(|offset| offset.split_once(':'))
        .is_some_and(|(hours, minutes)| {
            two_digits(hours).is_some_and(|hours| hours < 24)
                && two_digits(minutes).is_some_and(|minutes| minutes < 60)
        })
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && text.is_ascii() && text.parse::<jiff::civil::Date>().is_ok()
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| {
        let bits = match address.parse::<IpAddr>() {
            Ok(IpAddr::V4(_)) => 32,
            Ok(IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= bits)
    })
}

/// A request URI: absolute with a scheme, or an absolute path.
fn is_uri(text: &str) -> bool {
    if text.is_empty() || text.contains(char::is_whitespace) || text.contains(char::is_control) {
        return false;
    }
    if text.starts_with('/') {
        return true;
    }
    text.split_once(':').is_some_and(|(scheme, rest)| {
        let mut letters = scheme.bytes();
        letters
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
            && letters.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
            && !rest.is_empty()
    })
}

fn is_hostname(text: &str) -> bool {
    let fits = |label: &str| {
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        label.len() <= 63
            && edge(label.bytes().next())
            && edge(label.bytes().last())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 255 && text.trim_end_matches('.').split('.').all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_apart() {
        let cases = [
            ("date-time", "2026-11-24T05:46:31Z", true),
            ("date-time", "2026-11-24T05:46:31.123456+01:00", true),
            ("date-time", "2026-02-30T05:46:31Z", false),
            ("date-time", "yesterday", false),
            ("date-time", "9999-12-31T23:59:59Z", false),
            ("date-time", "2026-11-24T05:46:31.1234567890Z", false),
            ("date-time", "2026-11-24 05:46:31Z", false),
            ("date-time", "2026-11-24T05:46:31é", false),
            ("date", "2026-11-24", true),
            ("date", "2026-13-24", false),
            ("byte", "eA==", true),
            ("byte", "e!", false),
            ("ipv4", "10.0.0.1", true),
            ("ipv6", "10.0.0.1", false),
            ("cidr", "10.0.0.0/8", true),
            ("cidr", "10.0.0.0/40", false),
            ("uri", "https://hub.example:9443/x", true),
            ("uri", "not a uri", false),
            ("email", "a@b.c", true),
            ("email", "a", false),
            ("hostname", "a-b.example", true),
            ("hostname", "a_b", false),
            ("uuid", "7b57f542-a186-4b27-b1a2-3338c177cc9d", true),
            ("uuid4", "7b57f542-a186-1b27-b1a2-3338c177cc9d", false),
            ("duration", "1h30m", true),
            ("duration", "soon", false),
        ];
        for (format, text, expected) in cases {
            assert_eq!(holds(format, text), Some(expected), "{format}: {text}");
        }
        assert_eq!(holds("made-up", "x"), None);
    }
}
