//! The value of a constant: strings, characters, numbers, as Go writes them.

use crate::lex::Kind;
use crate::quote::quote;

/// What Go says of any literal it cannot read.
const INVALID: &str = "invalid syntax";

/// A number, which means an `int` or a `float64` by how it is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    Float(f64),
    /// A whole number between the largest `int` and the largest unsigned one.
    TooLargeForInt,
}

/// The text of a string token, quotes included.
pub(crate) fn string(token: &str) -> Result<String, String> {
    if let Some(raw) = token.strip_prefix('`') {
        // Go drops carriage returns from raw strings.
        return Ok(raw.trim_end_matches('`').replace('\r', ""));
    }
    let inner = token
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .ok_or(INVALID)?;
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        rest = unquote_into(&mut bytes, rest, '"').ok_or(INVALID)?.1;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads one character, perhaps escaped, and writes it. The answer is its code and the rest.
fn unquote_into<'t>(bytes: &mut Vec<u8>, text: &'t str, mark: char) -> Option<(u32, &'t str)> {
    let mut letters = text.chars();
    let first = letters.next()?;
    if first != '\\' {
        if first == mark {
            return None;
        }
        push(bytes, first);
        return Some((u32::from(first), letters.as_str()));
    }
    let escape = letters.next()?;
    let (digits, radix) = match escape {
        'x' => (2, 16),
        'u' => (4, 16),
        'U' => (8, 16),
        '0'..='7' => (3, 8),
        _ => {
            let letter = simple_escape(escape, mark)?;
            push(bytes, letter);
            return Some((u32::from(letter), letters.as_str()));
        }
    };
    let start = if radix == 8 { 1 } else { 2 };
    let written = text.get(start..start + digits)?;
    if !written.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let code = u32::from_str_radix(written, radix).ok()?;
    if digits <= 3 {
        bytes.push(u8::try_from(code).ok()?);
    } else {
        push(bytes, char::from_u32(code)?);
    }
    Some((code, &text[start + digits..]))
}

fn simple_escape(escape: char, mark: char) -> Option<char> {
    Some(match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' => '\\',
        _ if escape == mark => mark,
        _ => return None,
    })
}

fn push(bytes: &mut Vec<u8>, letter: char) {
    bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
}

/// The value of a number or character constant.
pub(crate) fn number(token: &str, kind: Kind) -> Result<Number, String> {
    if kind == Kind::CharConstant {
        let inner = &token[1..];
        let (code, rest) = unquote_into(&mut Vec::new(), inner, '\'').ok_or(INVALID)?;
        return if rest == "'" {
            Ok(Number::Int(i64::from(code)))
        } else {
            Err(format!("malformed character constant: {token}"))
        };
    }
    if kind == Kind::Complex || token.ends_with('i') {
        return Err(format!("complex constants are not supported: {token}"));
    }
    if let Some(whole) = integer(token) {
        return Ok(match i64::try_from(whole) {
            Ok(whole) => Number::Int(whole),
            Err(_) if u64::try_from(whole).is_ok() => Number::TooLargeForInt,
            Err(_) => return Err(format!("integer overflow: {}", quote(token))),
        });
    }
    match float(token) {
        Some(_) if !token.contains(['.', 'e', 'E', 'p', 'P']) => {
            Err(format!("integer overflow: {}", quote(token)))
        }
        Some(value) => Ok(Number::Float(value)),
        None => Err(format!("illegal number syntax: {}", quote(token))),
    }
}

/// Splits sign and base prefix off.
fn split(token: &str) -> (bool, &str) {
    match token.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, token.strip_prefix('+').unwrap_or(token)),
    }
}

/// Underscores may stand between digits only; a base prefix counts as a digit.
fn without_underscores(digits: &str, after_prefix: bool) -> Option<String> {
    let good = !digits.ends_with('_')
        && !digits.contains("__")
        && (after_prefix || !digits.starts_with('_'));
    good.then(|| digits.replace('_', ""))
}

fn integer(token: &str) -> Option<i128> {
    let (negative, rest) = split(token);
    let lower = rest.to_ascii_lowercase();
    let (digits, radix, prefixed) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16, true)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2, true)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (digits, 8, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (&lower[1..], 8, true)
    } else {
        (lower.as_str(), 10, false)
    };
    let digits = without_underscores(digits, prefixed)?;
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(&digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn float(token: &str) -> Option<f64> {
    let (negative, rest) = split(token);
    let lower = rest.to_ascii_lowercase();
    let value = match lower.strip_prefix("0x") {
        Some(digits) => hexadecimal_float(&without_underscores(digits, true)?)?,
        None => without_underscores(&lower, false)?.parse().ok()?,
    };
    f64::is_finite(value).then_some(if negative { -value } else { value })
}

/// `MANTISSApEXPONENT`, where the mantissa is hexadecimal and the exponent one of two.
fn hexadecimal_float(digits: &str) -> Option<f64> {
    let (mantissa, exponent) = digits.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let shift = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let exponent: i32 = exponent.parse().ok()?;
    Some(value * f64::from(exponent.checked_sub(shift)?).exp2())
}
