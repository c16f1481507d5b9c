//! Who an add-on's agent is.

use crate::identity::ClusterName;
use std::fmt;
use std::str::FromStr;

const PREFIX: &str = "system:open-cluster-management:";

/// The group of everybody who proved who he is. Upstream lists it among an add-on's groups, so a
/// request may carry it; it gives nothing that the certificate does not give anyway.
pub const AUTHENTICATED_GROUP: &str = "system:authenticated";

/// Longest name of an add-on, in bytes: it becomes a label's value.
pub const ADDON_NAME_BYTES_MAX: usize = 63;

/// A text that is not the name of an add-on.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "add-on name {0:?} is invalid: use 1 to {ADDON_NAME_BYTES_MAX} lower-case letters, digits, '-' \
     and '.', starting and ending with a letter or digit"
)]
pub struct AddOnNameError(String);

/// The name of an add-on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddOnName(Box<str>);

impl AddOnName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AddOnName {
    type Err = AddOnNameError;

    fn from_str(text: &str) -> Result<Self, AddOnNameError> {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let valid = bytes.len() <= ADDON_NAME_BYTES_MAX
            && bytes.first().is_some_and(alphanumeric)
            && bytes.last().is_some_and(alphanumeric)
            && bytes
                .iter()
                .all(|byte| alphanumeric(byte) || b"-.".contains(byte));
        if valid {
            return Ok(Self(text.into()));
        }
        // The text may be huge and hostile; what is echoed stays short.
        let shown = text.chars().take(ADDON_NAME_BYTES_MAX + 1).collect();
        Err(AddOnNameError(shown))
    }
}

impl AsRef<str> for AddOnName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AddOnName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The group of one add-on's agents in one WEC.
pub fn cluster_addon_group(cluster: &ClusterName, addon: &AddOnName) -> String {
    format!("{PREFIX}cluster:{cluster}:addon:{addon}")
}

/// The group of one add-on's agents in all WECs.
pub fn addon_group(addon: &AddOnName) -> String {
    format!("{PREFIX}addon:{addon}")
}

/// The default user name of an add-on's agent.
pub fn default_user(cluster: &ClusterName, addon: &AddOnName, agent: &str) -> String {
    format!("{}:agent:{agent}", cluster_addon_group(cluster, addon))
}

/// The groups that a hub gives an add-on's agent unless told otherwise.
pub fn default_groups(cluster: &ClusterName, addon: &AddOnName) -> [String; 2] {
    [cluster_addon_group(cluster, addon), addon_group(addon)]
}

/// The name that every certificate of an add-on carries beside its subject.
pub fn dns_name(addon: &AddOnName) -> String {
    format!("{addon}.addon.open-cluster-management.io")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_label_values_that_are_object_names() {
        for good in ["a", "hello-world", "cluster-proxy.v2", &"a".repeat(63)] {
            assert_eq!(good.parse::<AddOnName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a.", "A", "a:b", "a/b", &"a".repeat(64)] {
            assert!(bad.parse::<AddOnName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn identities_are_upstreams() {
        let cluster: ClusterName = "c1".parse().unwrap();
        let addon: AddOnName = "hello".parse().unwrap();
        assert_eq!(
            default_user(&cluster, &addon, "x"),
            "system:open-cluster-management:cluster:c1:addon:hello:agent:x"
        );
        assert_eq!(
            default_groups(&cluster, &addon),
            [
                "system:open-cluster-management:cluster:c1:addon:hello",
                "system:open-cluster-management:addon:hello"
            ]
        );
        assert_eq!(dns_name(&addon), "hello.addon.open-cluster-management.io");
    }
}
