//! Resource quantities (`500m`, `1Gi`): parsing, canonical form and comparison.
//!
//! A quantity is a decimal number with a suffix. The canonical form keeps the family of the suffix
//! (binary, decimal, exponent), has no fraction, and uses the largest suffix that allows that.

use std::cmp::Ordering;
use std::fmt;

/// How many digits a quantity may have. Upstream caps values at 2^63 - 1; thirty digits leave room
/// for fractions and zeros beside it, and keep every number here inside 128 bits.
const MAX_DIGITS: usize = 30;

/// The largest decimal exponent that can be written.
const MAX_EXPONENT: i32 = 18;

/// The largest value, as upstream caps it: 2^63 - 1, in nano units.
const MAX_NANOS: i128 = (i64::MAX as i128) * NANO;

const NANO: i128 = 1_000_000_000;

/// The text is no quantity; the wording is the API server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not have the form of a quantity.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The suffix is none of the known ones.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// The number is malformed.
    #[error("unable to parse numeric part of quantity")]
    Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Binary,
    Decimal,
    Exponent,
}

/// An amount of a resource, exact to a billionth, rounded up beyond that.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    family: Family,
}

impl Quantity {
    /// Parses a quantity.
    ///
    /// # Errors
    ///
    /// The text is no quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned
            .find(|character: char| !character.is_ascii_digit() && character != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        if number.is_empty() {
            return Err(QuantityError::Format);
        }
        let (family, binary_power, decimal_power) = suffix_powers(suffix)?;
        let magnitude = scaled(number, binary_power, decimal_power)?.min(MAX_NANOS);
        // A tiny amount in binary suffixes cannot be written in them.
        let family = if family == Family::Binary && magnitude % NANO != 0 {
            Family::Decimal
        } else {
            family
        };
        Ok(Self {
            nanos: if negative { -magnitude } else { magnitude },
            family,
        })
    }

    /// The amount in billionths.
    pub fn nanos(&self) -> i128 {
        self.nanos
    }

    /// The amount in whole units, rounded up.
    pub fn units(&self) -> i128 {
        let floor = self.nanos.div_euclid(NANO);
        floor + i128::from(self.nanos.rem_euclid(NANO) != 0)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return formatter.write_str("0");
        }
        let sign = if self.nanos < 0 { "-" } else { "" };
        let magnitude = self.nanos.abs();
        if self.family == Family::Binary {
            let mut amount = magnitude / NANO;
            let mut suffix = 0;
            while amount % 1024 == 0 && suffix + 1 < BINARY.len() {
                amount /= 1024;
                suffix += 1;
            }
            return write!(formatter, "{sign}{amount}{}", BINARY[suffix]);
        }
        let mut amount = magnitude;
        let mut power = -9;
        while amount % 1000 == 0 && power < MAX_EXPONENT {
            amount /= 1000;
            power += 3;
        }
        if self.family == Family::Exponent {
            return match power {
                0 => write!(formatter, "{sign}{amount}"),
                power => write!(formatter, "{sign}{amount}e{power}"),
            };
        }
        let suffix = DECIMAL
            .iter()
            .find(|(_, of)| *of == power)
            .map_or("", |(suffix, _)| suffix);
        write!(formatter, "{sign}{amount}{suffix}")
    }
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

const DECIMAL: [(&str, i32); 10] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];

fn suffix_powers(suffix: &str) -> Result<(Family, u32, i32), QuantityError> {
    if let Some((_, power)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Ok((Family::Decimal, 0, *power));
    }
    if let Some(place) = BINARY.iter().position(|known| *known == suffix) {
        let power = u32::try_from(place).map_err(|_| QuantityError::Suffix)?;
        return Ok((Family::Binary, power, 0));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).ok_or(
        if suffix
            .chars()
            .all(|c| "eEinumkKMGTP+-0123456789".contains(c))
        {
            QuantityError::Suffix
        } else {
            QuantityError::Format
        },
    )?;
    let power: i32 = exponent.parse().map_err(|_| QuantityError::Suffix)?;
    Ok((
        Family::Exponent,
        0,
        power.clamp(-MAX_EXPONENT, MAX_EXPONENT),
    ))
}

/// The number times its scale in nano units, rounded up, saturated above the cap.
fn scaled(number: &str, binary_power: u32, decimal_power: i32) -> Result<i128, QuantityError> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return Err(QuantityError::Number);
    }
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.len() > MAX_DIGITS {
        return Ok(MAX_NANOS);
    }
    let mut amount: i128 = whole.parse().unwrap_or(0);
    let mut power = decimal_power + 9;
    // Digits beyond the thirtieth only decide whether to round up.
    let kept = &fraction[..fraction
        .len()
        .min(MAX_DIGITS.saturating_sub(whole.len()).min(18))];
    let mut round_up = kept.len() < fraction.len();
    for digit in kept.bytes() {
        amount = amount * 10 + i128::from(digit - b'0');
        power -= 1;
    }
    for _ in 0..binary_power {
        amount = amount.saturating_mul(1024);
    }
    while power > 0 {
        amount = amount.saturating_mul(10);
        power -= 1;
    }
    while power < 0 {
        round_up |= amount % 10 != 0;
        amount /= 10;
        power += 1;
    }
    Ok(amount.saturating_add(i128::from(round_up)))
}

/// The canonical form of a quantity (`0.5` becomes `500m`).
///
/// # Errors
///
/// The text is no quantity.
pub fn canonical(text: &str) -> Result<String, QuantityError> {
    Quantity::parse(text).map(|quantity| quantity.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_canonical() {
        let cases = [
            ("0.5", "500m"),
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1536Mi", "1536Mi"),
            ("1.5Gi", "1536Mi"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1024", "1024"),
            ("0", "0"),
            ("0Gi", "0"),
            ("-1.5", "-1500m"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("100e-3", "100e-3"),
            (".5", "500m"),
            ("5.", "5"),
            ("0.0000000001", "1n"),
            ("0.5Ki", "512"),
            ("110", "110"),
            ("64Gi", "64Gi"),
            ("1E", "1E"),
            ("12345678901234567890", "9223372036854775807"),
        ];
        for (text, canonical_text) in cases {
            assert_eq!(canonical(text).as_deref(), Ok(canonical_text), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("x", QuantityError::Format),
            ("1x", QuantityError::Format),
            ("1KiB", QuantityError::Format),
            ("1Kii", QuantityError::Suffix),
            ("1.2.3", QuantityError::Number),
            ("1 Gi", QuantityError::Format),
            ("e3", QuantityError::Format),
        ] {
            assert_eq!(canonical(text), Err(error), "{text}");
        }
    }

    #[test]
    fn amounts_compare_across_suffixes() {
        let parse = |text| Quantity::parse(text).unwrap();
        assert_eq!(parse("1"), parse("1000m"));
        assert!(parse("1Gi") > parse("1G"));
        assert_eq!(parse("1500m").units(), 2);
    }

    proptest! {
        #[test]
        fn canonical_forms_stay_what_they_are(text in "[-+]?[0-9]{0,6}(\\.[0-9]{0,12})?(m|k|M|G|Ki|Mi|Gi|e3|u|n|)") {
            if let Ok(once) = canonical(&text) {
                prop_assert_eq!(canonical(&once), Ok(once.clone()));
                prop_assert_eq!(Quantity::parse(&text), Quantity::parse(&once));
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,60}") {
            let _outcome = canonical(&text);
        }
    }
}
