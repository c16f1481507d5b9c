//! Floating-point numbers as text, as Go's `strconv` writes them in format `g` with the fewest
//! digits that read back the same.

/// Exponents of ten outside this range are written as such: the rule of format `g` where no
/// precision is given.
const WITHOUT_EXPONENT: std::ops::Range<i32> = -4..6;

/// The text of a number: `2`, `1.5`, `1e+06`, `NaN`, `+Inf`, `-Inf`.
pub fn text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if WITHOUT_EXPONENT.contains(&exponent) || value == 0.0 {
        // Both forms have the fewest digits; this one never has an exponent.
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// The number that a text says in decimal, as Go reads it; none if it says something else.
pub fn parsed(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (2.0, "2"),
            (1.5, "1.5"),
            (-12.25, "-12.25"),
            (0.1, "0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (100_000.0, "100000"),
            (123_456.75, "123456.75"),
            (1_000_000.0, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (1e21, "1e+21"),
            (1e100, "1e+100"),
            (-2.5e-7, "-2.5e-07"),
            (0.0001, "0.0001"),
            (0.000_01, "1e-05"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (1.0 / 3.0, "0.3333333333333333"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut bits = seed;
        for _ in 0..10_000 {
            bits = bits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let value = f64::from_bits(bits);
            if value.is_finite() {
                assert_eq!(
                    parsed(&text(value)).map(f64::to_bits),
                    Some(bits),
                    "{value:e}"
                );
            }
        }
    }
}
