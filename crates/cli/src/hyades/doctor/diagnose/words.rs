//! Times in words.

use jiff::Timestamp;

const MINUTE_SECONDS: i64 = 60;
const HOUR_SECONDS: i64 = 60 * MINUTE_SECONDS;
const DAY_SECONDS: i64 = 24 * HOUR_SECONDS;

/// A length of time in its largest unit that leaves more than one.
pub fn seconds(seconds: i64) -> String {
    let seconds = seconds.abs();
    match seconds {
        _ if seconds < 2 * MINUTE_SECONDS => format!("{seconds} s"),
        _ if seconds < 2 * HOUR_SECONDS => format!("{} min", seconds / MINUTE_SECONDS),
        _ if seconds < 2 * DAY_SECONDS => format!("{} h", seconds / HOUR_SECONDS),
        _ => format!("{} days", seconds / DAY_SECONDS),
    }
}

/// How long ago something was, or how long until it is.
pub fn relative(time: Timestamp, now: Timestamp) -> String {
    let length = seconds(time.as_second() - now.as_second());
    match time <= now {
        true => format!("{length} ago"),
        false => format!("in {length}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_a_unit_that_fits() {
        assert_eq!(seconds(119), "119 s");
        assert_eq!(seconds(120), "2 min");
        assert_eq!(seconds(-7200), "2 h");
        assert_eq!(seconds(31 * DAY_SECONDS), "31 days");
        let at = |second| Timestamp::from_second(second).expect("a time");
        assert_eq!(relative(at(100), at(160)), "60 s ago");
        assert_eq!(relative(at(160), at(100)), "in 60 s");
    }
}
