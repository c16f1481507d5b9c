//! Floating-point numbers as Go writes them.

/// The exponent from which `%g` writes one, for a number in its shortest form.
const SHORTEST_EXPONENT: i32 = 6;
/// The exponent up to which small numbers go without one.
const SMALLEST_EXPONENT: i32 = -4;
/// Digits behind the point that a `float64` can have at all; any more are zeros.
const MAX_FRACTION_DIGITS: usize = 1074;

/// Not-a-number and the infinities, which no verb writes in digits.
fn special(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "+Inf" } else { "-Inf" })
    } else {
        None
    }
}

/// `%e`; without a precision as many digits as the number needs.
pub(crate) fn exponential(value: f64, precision: Option<usize>, upper: bool) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let real = precision.map(|precision| precision.min(MAX_FRACTION_DIGITS));
    let written = match real {
        Some(real) => format!("{value:.real$e}"),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let zeros = "0".repeat(precision.unwrap_or(0) - real.unwrap_or(0));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    let letter = if upper { 'E' } else { 'e' };
    format!("{mantissa}{zeros}{letter}{sign}{digits:0>2}")
}

/// `%f`.
pub(crate) fn fixed(value: f64, precision: Option<usize>) -> String {
    match (special(value), precision) {
        (Some(special), _) => special.to_owned(),
        (None, Some(precision)) => {
            let real = precision.min(MAX_FRACTION_DIGITS);
            format!("{value:.real$}") + &"0".repeat(precision - real)
        }
        (None, None) => format!("{value}"),
    }
}

/// `%g`; without a precision as many digits as the number needs.
pub(crate) fn general(value: f64, precision: Option<usize>, upper: bool) -> String {
    if let Some(special) = special(value) {
        return special.to_owned();
    }
    let significant = precision.map(|precision| precision.clamp(1, MAX_FRACTION_DIGITS));
    let written = match significant {
        Some(significant) => format!("{value:.*e}", significant - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits = mantissa.trim_start_matches('-').replace('.', "");
    let digits = digits.trim_end_matches('0').len().max(1);
    let digits_signed = i32::try_from(digits).unwrap_or(i32::MAX);
    let threshold = match significant {
        None => SHORTEST_EXPONENT,
        Some(significant) if significant > digits && digits_signed > exponent => digits_signed,
        Some(significant) => i32::try_from(significant).unwrap_or(i32::MAX),
    };
    if exponent < SMALLEST_EXPONENT || exponent >= threshold {
        return exponential(value, Some(digits - 1), upper);
    }
    let fraction = usize::try_from(digits_signed - exponent - 1).unwrap_or(0);
    fixed(value, Some(fraction))
}
