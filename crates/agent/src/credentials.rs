//! The agent's credentials for its hub: the Secret they are kept in, whether they still hold, and
//! the client made from them. Pure but for the making of the client.

pub use crate::endpoint::EndpointError;
pub use crate::endpoint::HubEndpoint;

use crate::endpoint::difference;
use crate::registration::certificate::Issued;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_pki::Certificate;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::User;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Keys of the hub kubeconfig Secret, as upstream's agents and tools know them.
pub mod keys {
    /// The kubeconfig; also in the bootstrap Secret.
    pub const KUBECONFIG: &str = "kubeconfig";
    /// Name of the cluster.
    pub const CLUSTER_NAME: &str = "cluster-name";
    /// Name of the agent.
    pub const AGENT_NAME: &str = "agent-name";
    /// The certificate, PEM.
    pub const CERTIFICATE: &str = "tls.crt";
    /// The key, PEM.
    pub const KEY: &str = "tls.key";
    /// Only after the hub has moved: which endpoint the bootstrap kubeconfig named when it did.
    pub const MOVED_FROM: &str = "hyades.io.moved-from";
}

/// Text under a key of a Secret; nothing if absent or not text.
pub fn text<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    let bytes = secret.data.as_ref()?.get(key)?;
    std::str::from_utf8(&bytes.0).ok()
}

/// Who the agent is and how it proves so.
#[derive(Clone, PartialEq)]
pub struct Credentials {
    /// The hub they are for.
    pub endpoint: HubEndpoint,
    /// The certificate, PEM.
    pub certificate_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
    /// Fingerprint of the endpoint in the bootstrap kubeconfig, if the hub has moved away from it
    /// and said so itself. That endpoint then counts as this hub.
    pub moved_from: Option<String>,
}

/// Without the key, so that no log can have it.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Credentials")
            .field("server", &self.endpoint.server())
            .finish_non_exhaustive()
    }
}

impl Credentials {
    /// Reads the hub kubeconfig Secret; nothing if it is not complete.
    pub fn read(secret: &Secret) -> Option<Self> {
        let name = secret.metadata.name.as_deref().unwrap_or_default();
        Some(Self {
            endpoint: HubEndpoint::of(text(secret, keys::KUBECONFIG)?, name).ok()?,
            certificate_pem: text(secret, keys::CERTIFICATE)?.to_owned(),
            key_pem: text(secret, keys::KEY)?.to_owned(),
            moved_from: text(secret, keys::MOVED_FROM).map(str::to_owned),
        })
    }

    /// A kubeconfig that presents these credentials, with certificate and key in it.
    pub fn client_kubeconfig(&self) -> Kubeconfig {
        let user = User {
            client_certificate_data: Some(STANDARD.encode(&self.certificate_pem)),
            client_key_data: Some(STANDARD.encode(&self.key_pem)),
            ..User::default()
        };
        self.endpoint.kubeconfig(user)
    }

    /// The Secret's data for these credentials.
    ///
    /// # Errors
    ///
    /// Those of writing YAML.
    pub fn secret_data(
        &self,
        identity: &AgentIdentity,
        cluster: &ClusterName,
    ) -> Result<BTreeMap<String, ByteString>, hyades_pki::KubeconfigError> {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        let moved_from = self.moved_from.as_deref();
        let moved_from = moved_from.map(|from| (keys::MOVED_FROM.to_owned(), bytes(from)));
        Ok([
            (
                keys::KUBECONFIG.to_owned(),
                bytes(&self.endpoint.stored_kubeconfig()?),
            ),
            (keys::CLUSTER_NAME.to_owned(), bytes(cluster.as_str())),
            (keys::AGENT_NAME.to_owned(), bytes(identity.agent())),
            (keys::CERTIFICATE.to_owned(), bytes(&self.certificate_pem)),
            (keys::KEY.to_owned(), bytes(&self.key_pem)),
        ]
        .into_iter()
        .chain(moved_from)
        .collect())
    }

    /// How their hub differs from the one at `endpoint`; nothing if it is the same hub.
    pub(crate) fn difference(&self, endpoint: &HubEndpoint) -> Option<String> {
        let has_moved = self.moved_from.as_ref() == Some(&endpoint.fingerprint());
        difference(&self.endpoint, endpoint).filter(|_| !has_moved)
    }

    /// The same with another key and certificate.
    pub(crate) fn renewed(&self, issued: Issued) -> Self {
        Self {
            certificate_pem: issued.certificate_pem,
            key_pem: issued.key_pem,
            ..self.clone()
        }
    }

    /// Whether the certificate is this agent's, however old it is.
    pub(crate) fn belong_to(&self, identity: &AgentIdentity) -> bool {
        let end = Timestamp::MIN;
        validate(Some(self), None, identity, end).is_ok()
    }

    /// When the certificate ends; nothing if it cannot be read.
    pub fn expires(&self) -> Option<Timestamp> {
        renew_at(&self.certificate_pem, 0.0)
    }
}

/// Why the credentials in the Secret do not serve, so that the agent must bootstrap.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Invalid {
    /// The Secret does not exist or lacks a key.
    #[error("there are no credentials for the hub yet")]
    Missing,
    /// The bootstrap kubeconfig names another hub.
    #[error("the bootstrap kubeconfig names another hub ({0})")]
    OtherHub(String),
    /// The certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// The certificate is another agent's.
    #[error("the certificate belongs to {found:?}, and this agent is {wanted:?}")]
    OtherIdentity {
        /// Its common name.
        found: String,
        /// The common name it should have.
        wanted: String,
    },
    /// The certificate has run out.
    #[error("the certificate expired at {0}")]
    Expired(Timestamp),
    /// The hub does not know the certificate.
    #[error("the hub refuses the certificate (401), as one restored from elsewhere does")]
    Refused,
}

/// Whether the credentials in the Secret serve `identity` at the hub that the bootstrap
/// kubeconfig names. Without a bootstrap kubeconfig any hub is right: there is no other to go to.
pub fn validate(
    credentials: Option<&Credentials>,
    bootstrap: Option<&HubEndpoint>,
    identity: &AgentIdentity,
    now: Timestamp,
) -> Result<(), Invalid> {
    let credentials = credentials.ok_or(Invalid::Missing)?;
    let other = bootstrap.and_then(|bootstrap| credentials.difference(bootstrap));
    if let Some(other) = other {
        return Err(Invalid::OtherHub(other));
    }
    let chain = Certificate::parse_pem_bundle(&credentials.certificate_pem)
        .map_err(|error| Invalid::Unreadable(error.to_string()))?;
    let wanted = identity.common_name();
    let found = |certificate: &Certificate| certificate.subject().common_name.clone();
    // Before its end: an expired certificate of another agent proves nothing about this one.
    if chain.iter().all(|certificate| found(certificate) != wanted) {
        return Err(Invalid::OtherIdentity {
            found: chain.first().map(found).unwrap_or_default(),
            wanted,
        });
    }
    let expired = chain
        .iter()
        .find(|certificate| certificate.not_after() <= now);
    match expired {
        Some(expired) => Err(Invalid::Expired(expired.not_after())),
        None => Ok(()),
    }
}

/// The time for renewal of a chain: when this share of its life remains. Life is from the latest
/// start to the earliest end. Nothing for an empty or unreadable chain.
pub fn renew_at(certificate_pem: &str, remaining_share: f64) -> Option<Timestamp> {
    let chain = Certificate::parse_pem_bundle(certificate_pem).ok()?;
    let start = chain.iter().map(Certificate::not_before).max()?;
    let end = chain.iter().map(Certificate::not_after).min()?;
    let life_seconds = (end.as_second() - start.as_second()).max(0) as f64;
    let remaining_seconds = (life_seconds * remaining_share) as i64;
    Timestamp::from_second(end.as_second() - remaining_seconds).ok()
}

/// What the conditions of clusters and add-ons say of a certificate: upstream's words, with times
/// as Go prints them. Nothing for an empty or unreadable chain.
pub(crate) fn rotation_message(certificate_pem: &str) -> Option<String> {
    let chain = Certificate::parse_pem_bundle(certificate_pem).ok()?;
    let certificate = chain.first()?;
    let go = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string();
    Some(format!(
        "client certificate rotated starting from {} to {}",
        go(certificate.not_before()),
        go(certificate.not_after())
    ))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hyades_pki::Authority;
    use hyades_pki::Validity;
    use hyades_pki::kubeconfig::Cluster;

    pub(crate) const LIFE_SECONDS: i64 = 1000;

    pub(crate) fn identity() -> AgentIdentity {
        AgentIdentity::new("cluster1".parse().expect("a name"), "agent1").expect("an identity")
    }

    pub(crate) fn endpoint(server: &str, entry: &str) -> HubEndpoint {
        HubEndpoint {
            entry: entry.to_owned(),
            cluster: Cluster {
                server: Some(server.to_owned()),
                certificate_authority_data: Some(STANDARD.encode("ca")),
                ..Cluster::default()
            },
        }
    }

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("a time")
    }

    pub(crate) fn after(seconds: i64) -> Timestamp {
        Timestamp::from_second(start().as_second() + seconds).expect("a time")
    }

    pub(crate) fn credentials(common_name: &str) -> Credentials {
        let authority = Authority::new("ca", Validity::starting(start(), 10 * LIFE_SECONDS))
            .expect("an authority");
        let (certificate, key) = authority
            .issue_client(
                common_name,
                &[],
                Validity {
                    not_before: start(),
                    not_after: after(LIFE_SECONDS),
                },
            )
            .expect("a certificate");
        Credentials {
            endpoint: endpoint("https://hub", "hub"),
            certificate_pem: certificate.to_pem(),
            key_pem: key.to_ec_pem(),
            moved_from: None,
        }
    }

    #[test]
    fn credentials_hold_only_for_their_hub_identity_and_time() {
        let good = credentials(&identity().common_name());
        let check = |credentials: Option<&Credentials>, bootstrap: &HubEndpoint, seconds| {
            validate(credentials, Some(bootstrap), &identity(), after(seconds))
        };
        let hub = endpoint("https://hub", "hub");
        assert_eq!(check(Some(&good), &hub, 10), Ok(()));
        assert_eq!(validate(Some(&good), None, &identity(), after(10)), Ok(()));
        assert_eq!(check(None, &hub, 10), Err(Invalid::Missing));
        assert!(matches!(
            check(Some(&good), &hub, LIFE_SECONDS),
            Err(Invalid::Expired(_))
        ));
        let other_hubs = [
            endpoint("https://hub2", "hub"),
            endpoint("https://hub", "hub2"),
        ];
        for other in &other_hubs {
            assert!(matches!(
                check(Some(&good), other, 10),
                Err(Invalid::OtherHub(_))
            ));
        }
        let stranger = credentials("system:open-cluster-management:cluster1:agent2");
        assert!(matches!(
            check(Some(&stranger), &hub, 10),
            Err(Invalid::OtherIdentity { .. })
        ));
        let broken = Credentials {
            certificate_pem: "rubbish".to_owned(),
            ..good
        };
        assert!(matches!(
            check(Some(&broken), &hub, 10),
            Err(Invalid::Unreadable(_)) | Err(Invalid::OtherIdentity { .. })
        ));
    }

    #[test]
    fn a_hub_that_has_moved_is_still_the_one_of_the_bootstrap_kubeconfig() {
        let former = endpoint("https://hub", "hub");
        let moved = Credentials {
            endpoint: endpoint("https://new", "hub"),
            moved_from: Some(former.fingerprint()),
            ..credentials(&identity().common_name())
        };
        let check = |bootstrap: &HubEndpoint| {
            validate(Some(&moved), Some(bootstrap), &identity(), after(10))
        };
        assert_eq!(check(&former), Ok(()));
        let third = endpoint("https://third", "hub");
        assert!(matches!(check(&third), Err(Invalid::OtherHub(_))));
        let data = moved
            .secret_data(&identity(), &identity().cluster)
            .expect("data");
        let secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        assert_eq!(Credentials::read(&secret), Some(moved));
    }

    #[test]
    fn no_key_is_ever_shown() {
        let credentials = credentials(&identity().common_name());
        let shown = format!("{credentials:?}");
        assert!(
            !shown.contains("KEY") && shown.contains("https://hub"),
            "{shown}"
        );
    }

    #[test]
    fn the_secret_has_upstreams_layout_and_reads_back() {
        let credentials = credentials(&identity().common_name());
        let cluster = "cluster1".parse().expect("a name");
        let data = credentials
            .secret_data(&identity(), &cluster)
            .expect("data");
        let names: Vec<_> = data.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "agent-name",
                "cluster-name",
                "kubeconfig",
                "tls.crt",
                "tls.key"
            ]
        );
        let stored = String::from_utf8(data[keys::KUBECONFIG].0.clone()).expect("text");
        assert!(stored.contains("client-certificate: tls.crt"), "{stored}");
        assert!(stored.contains("namespace: configuration"), "{stored}");
        let secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        assert_eq!(Credentials::read(&secret), Some(credentials));
        assert_eq!(text(&secret, keys::AGENT_NAME), Some("agent1"));
    }

    #[test]
    fn renewal_falls_due_when_the_share_remains() {
        let credentials = credentials("x");
        assert_eq!(
            renew_at(&credentials.certificate_pem, 0.25),
            Some(after(LIFE_SECONDS * 3 / 4))
        );
        assert_eq!(renew_at("", 0.25), None);
    }

    #[test]
    fn a_kubeconfig_without_a_server_says_what_is_missing() {
        let text = "clusters: [{name: hub, cluster: {}}]\ncontexts: [{name: c, context: {cluster: hub, user: u}}]\ncurrent-context: c\n";
        let error = HubEndpoint::of(text, "bootstrap-hub-kubeconfig").expect_err("no server");
        assert_eq!(
            error.to_string(),
            "Secret bootstrap-hub-kubeconfig: cluster \"hub\" has no server"
        );
    }

    #[test]
    fn times_are_written_as_go_writes_them() {
        let credentials = credentials(&identity().common_name());
        assert_eq!(
            rotation_message(&credentials.certificate_pem).as_deref(),
            Some(
                "client certificate rotated starting from 2027-01-15 08:00:00 +0000 UTC \
                 to 2027-01-15 08:16:40 +0000 UTC"
            )
        );
    }
}
