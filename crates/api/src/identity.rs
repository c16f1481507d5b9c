//! Names and identities from outside, parsed once and compared by equality.

use std::fmt;
use std::str::FromStr;

/// Start of every agent's user name and group. Used to write and to parse them, never to compare.
const PREFIX: &str = "system:open-cluster-management:";

/// The group of all agents of all WECs.
pub const ALL_AGENTS_GROUP: &str = "system:open-cluster-management:managed-clusters";

/// Longest cluster name, in bytes: it becomes a namespace and a label value, whose limit is 63.
pub const CLUSTER_NAME_BYTES_MAX: usize = 63;

/// Longest agent name, in bytes. Upstream uses 5 characters or a uid of 36; the limit is that of an
/// object's name and keeps user names bounded.
pub const AGENT_NAME_BYTES_MAX: usize = 253;

/// Namespaces an ITS uses itself: a WEC of that name would get rights in them.
pub const RESERVED_NAMES: [&str; 2] = ["default", "customization-properties"];

/// Starts of namespace names that belong to Kubernetes and to Open Cluster Management.
pub const RESERVED_STARTS: [&str; 2] = ["kube-", "open-cluster-management"];

/// The name in [`ALL_AGENTS_GROUP`]: the group of a WEC of that name would hold every agent.
pub const GROUP_OF_ALL: &str = "managed-clusters";

/// Why a text is not the name of a WEC.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ClusterNameError {
    /// Not a DNS-1123 label.
    #[error(
        "cluster name {0:?} is invalid: use 1 to 63 lower-case letters, digits and '-', starting \
         and ending with a letter or digit"
    )]
    NotALabel(String),
    /// A namespace of that name has another purpose on the hub.
    #[error(
        "cluster name {0:?} is reserved: the hub uses the namespace of that name itself; choose \
         another cluster name"
    )]
    ReservedNamespace(String),
    /// A group of that name has another meaning on the hub.
    #[error(
        "cluster name {0:?} is reserved: the group of that name holds the agents of all clusters; \
         choose another cluster name"
    )]
    ReservedGroup(String),
}

/// The name of a WEC: a DNS-1123 label that is not reserved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(Box<str>);

impl ClusterName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClusterName {
    type Err = ClusterNameError;

    fn from_str(text: &str) -> Result<Self, ClusterNameError> {
        if !is_dns_label(text) {
            // The text may be huge and hostile; what is echoed stays short.
            let shown = text.chars().take(CLUSTER_NAME_BYTES_MAX + 1).collect();
            return Err(ClusterNameError::NotALabel(shown));
        }
        if text == GROUP_OF_ALL {
            return Err(ClusterNameError::ReservedGroup(text.to_owned()));
        }
        let reserved = RESERVED_NAMES.contains(&text)
            || RESERVED_STARTS.iter().any(|start| text.starts_with(start));
        if reserved {
            return Err(ClusterNameError::ReservedNamespace(text.to_owned()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<&str> for ClusterName {
    type Error = ClusterNameError;

    fn try_from(text: &str) -> Result<Self, ClusterNameError> {
        text.parse()
    }
}

impl AsRef<str> for ClusterName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

fn is_dns_label(text: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= CLUSTER_NAME_BYTES_MAX
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
        && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
}

/// The group of one WEC's agents, as certificates carry it.
pub fn cluster_group(cluster: &ClusterName) -> String {
    format!("{PREFIX}{cluster}")
}

/// Why a user name or a certificate's subject is not that of an agent.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum IdentityError {
    /// The common name has another form.
    #[error("common name is not system:open-cluster-management:CLUSTER:AGENT")]
    CommonName,
    /// The cluster in the common name is not one.
    #[error(transparent)]
    Cluster(#[from] ClusterNameError),
    /// The organizations are not exactly the two that belong to the cluster.
    #[error(
        "organizations are not exactly system:open-cluster-management:{cluster} and \
         system:open-cluster-management:managed-clusters"
    )]
    Organizations {
        /// The cluster in the common name.
        cluster: ClusterName,
    },
}

/// Who an agent is: which WEC it works for, and which of that WEC's agents it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentIdentity {
    /// The WEC.
    pub cluster: ClusterName,
    agent: Box<str>,
}

impl AgentIdentity {
    /// The identity of an agent. The agent's name is non-empty, at most 253 bytes, and made of
    /// ASCII letters, digits, `-`, `.` and `_`.
    pub fn new(cluster: ClusterName, agent: &str) -> Result<Self, IdentityError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let valid =
            !agent.is_empty() && agent.len() <= AGENT_NAME_BYTES_MAX && agent.bytes().all(allowed);
        if !valid {
            return Err(IdentityError::CommonName);
        }
        Ok(Self {
            cluster,
            agent: agent.into(),
        })
    }

    /// Reads a user name or a certificate's common name.
    pub fn from_common_name(name: &str) -> Result<Self, IdentityError> {
        let (cluster, agent) = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once(':'))
            .ok_or(IdentityError::CommonName)?;
        Self::new(cluster.parse()?, agent)
    }

    /// Reads a certificate's subject: the common name, and the organizations in any order.
    pub fn from_subject<'a>(
        common_name: &str,
        organizations: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, IdentityError> {
        let identity = Self::from_common_name(common_name)?;
        let mut stated: Vec<&str> = organizations.into_iter().collect();
        stated.sort_unstable();
        let mut wanted = identity.organizations();
        wanted.sort_unstable();
        if stated == wanted {
            Ok(identity)
        } else {
            Err(IdentityError::Organizations {
                cluster: identity.cluster,
            })
        }
    }

    /// Name of the agent among those of its WEC.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The user name, which is the common name of the certificate.
    pub fn common_name(&self) -> String {
        format!("{PREFIX}{}:{}", self.cluster, self.agent)
    }

    /// The groups, which are the organizations of the certificate.
    pub fn organizations(&self) -> [String; 2] {
        [cluster_group(&self.cluster), ALL_AGENTS_GROUP.to_owned()]
    }
}

impl fmt::Display for AgentIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}:{}", self.cluster, self.agent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<ClusterName, ClusterNameError> {
        text.parse()
    }

    #[test]
    fn cluster_names_are_dns_labels() {
        let longest = "a".repeat(63);
        for good in [
            "a",
            "cluster1",
            "prod-cluster-east",
            "7",
            &longest,
            "local-cluster",
        ] {
            assert_eq!(name(good).unwrap().as_str(), good);
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", "a:b", "ä", &too_long] {
            assert!(
                matches!(name(bad), Err(ClusterNameError::NotALabel(_))),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn names_that_would_give_rights_elsewhere_are_reserved() {
        for reserved in [
            "default",
            "kube-system",
            "open-cluster-management",
            "open-cluster-management-hub",
            "customization-properties",
        ] {
            assert!(
                matches!(name(reserved), Err(ClusterNameError::ReservedNamespace(_))),
                "{reserved}"
            );
        }
        assert!(matches!(
            name("managed-clusters"),
            Err(ClusterNameError::ReservedGroup(_))
        ));
    }

    #[test]
    fn an_identity_survives_the_way_through_its_common_name() {
        let identity = AgentIdentity::new(name("cluster1").unwrap(), "b7x2k").unwrap();
        assert_eq!(
            identity.common_name(),
            "system:open-cluster-management:cluster1:b7x2k"
        );
        assert_eq!(
            AgentIdentity::from_common_name(&identity.common_name()),
            Ok(identity)
        );
    }

    #[test]
    fn common_names_of_another_form_are_refused() {
        for bad in [
            "",
            "cluster1:agent",
            "system:open-cluster-management:cluster1",
            "system:open-cluster-management:cluster1:",
            "system:open-cluster-management::agent",
            "system:open-cluster-management:cluster1:a:b",
            "system:open-cluster-management:cluster1:a b",
            "System:open-cluster-management:cluster1:a",
            "system:open-cluster-management:kube-system:a",
        ] {
            assert!(AgentIdentity::from_common_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn organizations_are_compared_as_a_set_and_exactly() {
        let common_name = "system:open-cluster-management:c1:a";
        let own = "system:open-cluster-management:c1";
        assert!(AgentIdentity::from_subject(common_name, [own, ALL_AGENTS_GROUP]).is_ok());
        assert!(AgentIdentity::from_subject(common_name, [ALL_AGENTS_GROUP, own]).is_ok());
        let wrong: [&[&str]; 5] = [
            &[own],
            &[ALL_AGENTS_GROUP],
            &[own, own],
            &[own, ALL_AGENTS_GROUP, "system:masters"],
            &["system:open-cluster-management:c10", ALL_AGENTS_GROUP],
        ];
        for organizations in wrong {
            let read = AgentIdentity::from_subject(common_name, organizations.iter().copied());
            assert!(
                matches!(read, Err(IdentityError::Organizations { .. })),
                "{organizations:?}"
            );
        }
    }
}
