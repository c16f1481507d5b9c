//! Where a hub is: what a kubeconfig says of it, and what makes it the same hub.

use crate::credentials::keys;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::Cluster;
use hyades_pki::kubeconfig::Context;
use hyades_pki::kubeconfig::NamedCluster;
use hyades_pki::kubeconfig::NamedContext;
use hyades_pki::kubeconfig::NamedUser;
use hyades_pki::kubeconfig::User;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;
use std::collections::BTreeMap;

/// Where a hub is, as a kubeconfig's current context says.
#[derive(Clone, Debug, PartialEq)]
pub struct HubEndpoint {
    /// Name of the cluster entry. Compared too: another name is another hub.
    pub entry: String,
    /// The server, its authority and the way to it.
    pub cluster: Cluster,
}

/// Why a kubeconfig says nothing about a hub.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The Secret has no kubeconfig.
    #[error(
        "Secret {secret} has no key {:?}; write the hub's kubeconfig there",
        keys::KUBECONFIG
    )]
    NoKubeconfig {
        /// Name of the Secret.
        secret: String,
    },
    /// It cannot be read.
    #[error("Secret {secret}: {reason}")]
    Unreadable {
        /// Name of the Secret.
        secret: String,
        /// What is wrong.
        reason: String,
    },
}

impl HubEndpoint {
    /// The hub of the kubeconfig's current context.
    ///
    /// # Errors
    ///
    /// When there is no kubeconfig, context or server.
    pub fn of(kubeconfig: &str, secret: &str) -> Result<Self, EndpointError> {
        let unreadable = |reason: String| EndpointError::Unreadable {
            secret: secret.to_owned(),
            reason,
        };
        let parsed =
            Kubeconfig::parse(kubeconfig).map_err(|error| unreadable(error.to_string()))?;
        let context = parsed
            .context(&parsed.current_context)
            .map_err(|error| unreadable(error.to_string()))?;
        let named = parsed
            .clusters
            .iter()
            .find(|named| named.name == context.cluster);
        let named = named.ok_or_else(|| {
            unreadable(format!(
                "the kubeconfig has no cluster {:?}",
                context.cluster
            ))
        })?;
        if named
            .cluster
            .server
            .as_deref()
            .unwrap_or_default()
            .is_empty()
        {
            return Err(unreadable(format!(
                "cluster {:?} has no server",
                named.name
            )));
        }
        Ok(Self {
            entry: named.name.clone(),
            cluster: named.cluster.clone(),
        })
    }

    /// URL of the hub's API server, exactly as written.
    pub fn server(&self) -> &str {
        self.cluster.server.as_deref().unwrap_or_default()
    }

    /// The kubeconfig for the agent's own identity: the same hub, and `user` to present.
    pub(crate) fn kubeconfig(&self, user: User) -> Kubeconfig {
        let mut cluster = self.cluster.clone();
        cluster.other.remove("insecure-skip-tls-verify");
        Kubeconfig {
            clusters: vec![NamedCluster {
                name: self.entry.clone(),
                cluster,
            }],
            contexts: vec![NamedContext {
                name: "default-context".to_owned(),
                context: Context {
                    cluster: self.entry.clone(),
                    user: "default-auth".to_owned(),
                    namespace: Some("configuration".to_owned()),
                    ..Context::default()
                },
            }],
            current_context: "default-context".to_owned(),
            users: vec![NamedUser {
                name: "default-auth".to_owned(),
                user,
            }],
            ..Kubeconfig::empty()
        }
    }

    /// A kubeconfig for the same server with another user.
    ///
    /// # Errors
    ///
    /// Those of writing YAML.
    pub fn kubeconfig_of(&self, user: User) -> Result<String, hyades_pki::KubeconfigError> {
        self.kubeconfig(user).to_yaml()
    }

    /// The kubeconfig as kept in the Secret: certificate and key are files beside it.
    ///
    /// # Errors
    ///
    /// Those of writing YAML.
    pub fn stored_kubeconfig(&self) -> Result<String, hyades_pki::KubeconfigError> {
        let other = BTreeMap::from([
            ("client-certificate".to_owned(), json!(keys::CERTIFICATE)),
            ("client-key".to_owned(), json!(keys::KEY)),
        ]);
        self.kubeconfig(User {
            other,
            ..User::default()
        })
        .to_yaml()
    }
}

/// How two endpoints differ in what makes a hub: entry name, server, authority, proxy.
pub(crate) fn difference(current: &HubEndpoint, wanted: &HubEndpoint) -> Option<String> {
    let proxy = |endpoint: &HubEndpoint| endpoint.cluster.other.get("proxy-url").cloned();
    let file =
        |endpoint: &HubEndpoint| endpoint.cluster.other.get("certificate-authority").cloned();
    if current.server() != wanted.server() {
        return Some(format!(
            "server {}, not {}",
            wanted.server(),
            current.server()
        ));
    }
    if current.entry != wanted.entry {
        return Some(format!(
            "cluster entry {:?}, not {:?}",
            wanted.entry, current.entry
        ));
    }
    if current.cluster.certificate_authority_data != wanted.cluster.certificate_authority_data
        || file(current) != file(wanted)
    {
        return Some("another certificate authority".to_owned());
    }
    (proxy(current) != proxy(wanted)).then(|| "another proxy".to_owned())
}

/// Replaces server and authority of the current context's cluster in a kubeconfig by those of
/// `endpoint`; credentials and everything else stay.
///
/// # Errors
///
/// When the text is no kubeconfig.
pub(crate) fn readdressed(
    kubeconfig: &str,
    endpoint: &HubEndpoint,
) -> Result<String, hyades_pki::KubeconfigError> {
    let mut parsed = Kubeconfig::parse(kubeconfig)?;
    let entry = parsed.context(&parsed.current_context)?.cluster.clone();
    for named in parsed
        .clusters
        .iter_mut()
        .filter(|named| named.name == entry)
    {
        named.cluster = endpoint.cluster.clone();
    }
    parsed.to_yaml()
}

/// SHA-256, in lower-case hexadecimal.
pub(crate) fn sha256(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Lengths keep two lists of parts apart that only differ in where they are cut.
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl HubEndpoint {
    /// What tells this endpoint from others: everything that [`difference`] compares, hashed.
    pub fn fingerprint(&self) -> String {
        let other = |key: &str| {
            let value = self.cluster.other.get(key);
            value.map(ToString::to_string).unwrap_or_default()
        };
        let authority = self.cluster.certificate_authority_data.as_deref();
        sha256(&[
            self.server(),
            &self.entry,
            authority.unwrap_or_default(),
            &other("proxy-url"),
            &other("certificate-authority"),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::tests::endpoint;

    #[test]
    fn a_moved_hub_keeps_the_credentials_of_the_kubeconfig() {
        let former = endpoint("https://old", "hub");
        let user = User {
            token: Some("t".to_owned()),
            ..User::default()
        };
        let text = former.kubeconfig_of(user).expect("YAML");
        let moved = endpoint("https://new", "hub");
        let text = readdressed(&text, &moved).expect("YAML");
        assert_eq!(HubEndpoint::of(&text, "s").expect("an endpoint"), moved);
        let parsed = Kubeconfig::parse(&text).expect("a kubeconfig");
        assert_eq!(parsed.users[0].user.token.as_deref(), Some("t"));
    }

    #[test]
    fn a_fingerprint_changes_with_whatever_makes_another_hub() {
        let hub = endpoint("https://hub", "hub");
        assert_eq!(
            hub.fingerprint(),
            endpoint("https://hub", "hub").fingerprint()
        );
        let mut other_authority = hub.clone();
        other_authority.cluster.certificate_authority_data = Some("other".to_owned());
        for other in [
            endpoint("https://hub2", "hub"),
            endpoint("https://hub", "hub2"),
            other_authority,
        ] {
            assert!(difference(&hub, &other).is_some());
            assert_ne!(hub.fingerprint(), other.fingerprint());
        }
    }
}
