//! Names of spaces.

use std::fmt;
use std::str::FromStr;

use crate::HostError;

/// Longest DNS label (RFC 1123).
const LABEL_CHARACTERS_MAX: usize = 63;
/// Names with a meaning of their own in URLs, kubeconfigs or commands of Hyades.
const RESERVED: [&str; 5] = ["default", "host", "localhost", "spaces", "in-cluster"];

/// A valid name of a space: a DNS label that is not reserved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpaceName(String);

impl SpaceName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpaceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for SpaceName {
    type Err = HostError;

    fn from_str(name: &str) -> Result<SpaceName, HostError> {
        let refuse = |reason| {
            Err(HostError::SpaceName {
                name: name.to_owned(),
                reason,
            })
        };
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_label = name.bytes().all(|byte| alphanumeric(byte) || byte == b'-')
            && !name.starts_with('-')
            && !name.ends_with('-')
            && !name.is_empty();
        if !is_label || name.len() > LABEL_CHARACTERS_MAX {
            return refuse(
                "use up to 63 lower-case letters, digits and '-', with a letter or digit at both ends",
            );
        }
        if RESERVED.contains(&name) {
            return refuse("it is reserved");
        }
        Ok(SpaceName(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_names_and_nothing_else_is() {
        for good in ["its1", "a", "0", "wec-17", &"x".repeat(63)] {
            assert_eq!(good.parse::<SpaceName>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a/b",
            "..",
            "ä",
            &"x".repeat(64),
        ] {
            assert!(bad.parse::<SpaceName>().is_err(), "{bad:?}");
        }
        let error = "spaces".parse::<SpaceName>().expect_err("reserved");
        assert_eq!(
            error.to_string(),
            "\"spaces\" cannot be a space's name: it is reserved"
        );
    }
}
