//! Asking the hub for a certificate: the request, its approval, and what stands in the way.

use crate::options::RegistrationOptions;
use futures::StreamExt;
use futures::TryStreamExt;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_pki::Certificate;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestSpec;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::ObjectMeta;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::api::WatchEvent;
use hyades_runtime::kube::api::WatchParams;
use std::time::Duration;
use tokio::time::Instant;

/// No request is made while this many of the cluster exist, whatever their state: a hub that
/// approves nothing is not flooded. Upstream's number.
pub const REQUESTS_MAX: usize = 10;

/// How long a request may stay pending before another is made: after that time the hub's own
/// clean-up removes it.
const PENDING_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How long a denial stands before another attempt, unless the hub removes the denied request
/// first; its own clean-up does so after the same time.
const DENIED_LIMIT: Duration = Duration::from_secs(3600);

/// One watch lasts no longer; the next continues. Below the five minutes of inactivity after
/// which load balancers cut connections.
const WATCH_SECONDS: u32 = 240;

/// A key and its certificate.
#[derive(Debug)]
pub struct Issued {
    /// PEM, as the hub issued it.
    pub certificate_pem: String,
    /// PEM.
    pub key_pem: String,
}

/// Why no certificate was had.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The hub refused or could not be reached.
    #[error("{action}: {trouble}")]
    Hub {
        /// What was tried.
        action: &'static str,
        /// What happened.
        trouble: Trouble,
    },
    /// Too many requests wait at the hub.
    #[error(
        "Stop creating csr since there are too many csr created already on hub ({0}, at most {REQUESTS_MAX}); approve or delete some there"
    )]
    TooMany(usize),
    /// The hub's administrator, or the hub itself, denied the request.
    #[error("the hub denied the request {name}: {message}")]
    Denied {
        /// Name of the request.
        name: String,
        /// The hub's words.
        message: String,
    },
    /// The request vanished while it was pending.
    #[error("unable to get csr {0:?}. It might have already been deleted")]
    Vanished(String),
    /// The request was pending for too long.
    #[error("the request {0} was not approved within a day")]
    Pending(String),
    /// The signer failed, or what it issued does not fit the request.
    #[error("the certificate issued for {name} is of no use: {reason}")]
    Useless {
        /// Name of the request.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// What the present state of a request means.
#[derive(Debug, PartialEq)]
pub enum Progress {
    /// Neither approved nor denied, or approved and not yet signed.
    Pending,
    /// Denied, with the hub's words.
    Denied(String),
    /// The signer failed, with its words.
    Failed(String),
    /// Signed: the certificate, PEM.
    Issued(String),
}

/// Reads the state of a request.
pub fn progress(request: &CertificateSigningRequest) -> Progress {
    let status = request.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let words = |kind: &str| {
        let found = conditions
            .iter()
            .find(|condition| condition.type_ == kind)?;
        let reason = found.reason.clone().unwrap_or_default();
        Some(match found.message.as_deref() {
            Some(message) if !message.is_empty() => format!("{reason}: {message}"),
            _ => reason,
        })
    };
    if let Some(words) = words("Denied") {
        return Progress::Denied(words);
    }
    if let Some(words) = words("Failed") {
        return Progress::Failed(words);
    }
    let certificate = status.and_then(|status| status.certificate.as_ref());
    match certificate.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned()) {
        Some(pem) if !pem.is_empty() => Progress::Issued(pem),
        _ => Progress::Pending,
    }
}

/// The request for an agent's certificate. The name is left to the server.
///
/// # Errors
///
/// Names that X.509 cannot carry.
pub fn request(
    identity: &AgentIdentity,
    key: &Key,
    expiration_seconds: i32,
) -> Result<CertificateSigningRequest, hyades_pki::Error> {
    let subject = Subject::new(identity.common_name(), identity.organizations());
    let pem = CertificateRequest::new(key, &subject)?;
    let label = (
        labels::CLUSTER_NAME.to_owned(),
        identity.cluster.as_str().to_owned(),
    );
    Ok(CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some(names::csr_name_prefix(&identity.cluster)),
            labels: Some([label].into()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: names::CLIENT_SIGNER.to_owned(),
            usages: Some(
                ["digital signature", "key encipherment", "client auth"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            expiration_seconds: (expiration_seconds != 0).then_some(expiration_seconds),
            ..CertificateSigningRequestSpec::default()
        },
        ..CertificateSigningRequest::default()
    })
}

/// As whom a certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// As the bootstrap identity, which many clusters share.
    Bootstrap,
    /// As the agent itself, with the certificate that is to be renewed.
    Agent,
}

/// How many of `requests` count against [`REQUESTS_MAX`]: the cluster's own, not its add-ons'. At a
/// renewal only those that the agent itself made, so that nobody else can fill its quota.
fn counted(
    identity: &AgentIdentity,
    requester: Requester,
    requests: &[CertificateSigningRequest],
) -> usize {
    let prefix = names::csr_name_prefix(&identity.cluster);
    let own = identity.common_name();
    requests
        .iter()
        .filter(|request| {
            requester == Requester::Bootstrap || request.spec.username.as_deref() == Some(&own)
        })
        .filter(|request| request.name_any().starts_with(&prefix))
        .filter(|request| !request.labels().contains_key(labels::ADDON_NAME))
        .count()
}

/// Asks for a certificate under `client`'s identity and waits for it.
///
/// Returns when it is issued or cannot be had. A denial is reported through `on_denied` at once
/// and returned when the denied request is gone, or after an hour.
///
/// # Errors
///
/// All of [`CertificateError`]; trying again is right for each, with a growing delay.
pub async fn obtain(
    client: &Client,
    identity: &AgentIdentity,
    requester: Requester,
    options: &RegistrationOptions,
    on_denied: impl AsyncFn(&str),
) -> Result<Issued, CertificateError> {
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let failed = |action| {
        move |error| CertificateError::Hub {
            action,
            trouble: Trouble::of(&error),
        }
    };
    let selector = format!("{}={}", labels::CLUSTER_NAME, identity.cluster);
    let existing = api
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(failed("listed the certificate requests of this cluster"))?;
    let count = counted(identity, requester, &existing.items);
    if count >= REQUESTS_MAX {
        return Err(CertificateError::TooMany(count));
    }
    let key = Key::generate();
    let useless = |name: &str, reason: String| CertificateError::Useless {
        name: name.to_owned(),
        reason,
    };
    let body = request(identity, &key, options.client_cert_expiration_seconds)
        .map_err(|error| useless("this agent", error.to_string()))?;
    let created = api
        .create(&PostParams::default(), &body)
        .await
        .map_err(failed("created a certificate request"))?;
    let name = created.name_any();
    tracing::info!(
        "certificate request {name} created; waiting for its approval (on the hub: clusteradm accept --clusters {})",
        identity.cluster
    );
    let certificate_pem = await_certificate(&api, created, on_denied).await?;
    check(&certificate_pem, &key, identity).map_err(|reason| useless(&name, reason))?;
    Ok(Issued {
        certificate_pem,
        key_pem: key.to_ec_pem(),
    })
}

/// Whether the certificate is for this key and identity.
fn check(certificate_pem: &str, key: &Key, identity: &AgentIdentity) -> Result<(), String> {
    let chain =
        Certificate::parse_pem_bundle(certificate_pem).map_err(|error| error.to_string())?;
    let certificate = chain.first().ok_or("it is empty")?;
    if certificate.public_key_sha256() != key.public_key_sha256() {
        return Err("it is for another key".to_owned());
    }
    let subject = certificate.subject();
    let wanted = Subject::new(identity.common_name(), identity.organizations());
    if *subject != wanted {
        return Err(format!(
            "it is for {subject:?}, and {wanted:?} was asked for"
        ));
    }
    Ok(())
}

async fn await_certificate(
    api: &Api<CertificateSigningRequest>,
    created: CertificateSigningRequest,
    on_denied: impl AsyncFn(&str),
) -> Result<String, CertificateError> {
    let name = created.name_any();
    let mut deadline = Instant::now() + PENDING_LIMIT;
    let mut denied = None;
    let mut current = created;
    let mut backoff = Backoff::new(Policy::API);
    loop {
        match progress(&current) {
            Progress::Issued(pem) => return Ok(pem),
            Progress::Failed(reason) => return Err(CertificateError::Useless { name, reason }),
            Progress::Denied(message) if denied.is_none() => {
                on_denied(&format!("certificate request {name} was denied: {message}")).await;
                deadline = Instant::now() + DENIED_LIMIT;
                denied = Some(message);
            }
            Progress::Denied(_) | Progress::Pending => {}
        }
        let gone = |denied: Option<String>| match denied {
            Some(message) => CertificateError::Denied {
                name: name.clone(),
                message,
            },
            None => CertificateError::Vanished(name.clone()),
        };
        let next = tokio::time::timeout_at(deadline, next_state(api, &current)).await;
        match next {
            Err(_) if denied.is_some() => return Err(gone(denied)),
            Err(_) => return Err(CertificateError::Pending(name)),
            Ok(Ok(Some(request))) => {
                backoff.reset();
                current = request;
            }
            Ok(Ok(None)) => return Err(gone(denied)),
            Ok(Err(error)) => {
                let trouble = Trouble::of(&error);
                if trouble.is_unauthorized() {
                    return Err(CertificateError::Hub {
                        action: "waited for the certificate",
                        trouble,
                    });
                }
                let delay = backoff.next_delay();
                tracing::warn!(
                    "waiting for certificate request {name}: {trouble}; trying again in {:.1} s",
                    delay.as_secs_f64()
                );
                tokio::time::sleep(delay).await;
                match api.get_opt(&name).await {
                    Ok(Some(request)) => current = request,
                    Ok(None) => return Err(gone(denied)),
                    // The next watch will meet the same trouble and say so.
                    Err(_) => {}
                }
            }
        }
    }
}

/// Waits for the next state of a request; nothing once it is deleted.
async fn next_state(
    api: &Api<CertificateSigningRequest>,
    current: &CertificateSigningRequest,
) -> Result<Option<CertificateSigningRequest>, hyades_runtime::kube::Error> {
    let fields = format!("metadata.name={}", current.name_any());
    let parameters = WatchParams::default()
        .fields(&fields)
        .timeout(WATCH_SECONDS);
    let version = current.resource_version().unwrap_or_default();
    let mut events = api.watch(&parameters, &version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(request) | WatchEvent::Modified(request) => return Ok(Some(request)),
            WatchEvent::Deleted(_) => return Ok(None),
            WatchEvent::Bookmark(_) => {}
            WatchEvent::Error(status) => return Err(hyades_runtime::kube::Error::Api(status)),
        }
    }
    api.get_opt(&current.name_any()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
    use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestStatus;
    use serde_json::json;

    fn identity() -> AgentIdentity {
        crate::credentials::tests::identity()
    }

    fn with_condition(kind: &str, certificate: Option<&str>) -> CertificateSigningRequest {
        CertificateSigningRequest {
            status: Some(CertificateSigningRequestStatus {
                certificate: certificate.map(|pem| ByteString(pem.as_bytes().to_vec())),
                conditions: Some(vec![CertificateSigningRequestCondition {
                    type_: kind.to_owned(),
                    reason: Some("NameTaken".to_owned()),
                    message: Some("choose another".to_owned()),
                    ..CertificateSigningRequestCondition::default()
                }]),
            }),
            ..CertificateSigningRequest::default()
        }
    }

    #[test]
    fn a_request_is_pending_until_signed_and_denials_carry_the_hubs_words() {
        assert_eq!(
            progress(&CertificateSigningRequest::default()),
            Progress::Pending
        );
        assert_eq!(
            progress(&with_condition("Approved", None)),
            Progress::Pending
        );
        assert_eq!(
            progress(&with_condition("Approved", Some("PEM"))),
            Progress::Issued("PEM".to_owned())
        );
        assert_eq!(
            progress(&with_condition("Denied", None)),
            Progress::Denied("NameTaken: choose another".to_owned())
        );
        assert!(matches!(
            progress(&with_condition("Failed", None)),
            Progress::Failed(_)
        ));
    }

    #[test]
    fn the_request_is_upstreams_to_the_letter() {
        let key = Key::generate();
        let body = request(&identity(), &key, 31_536_000).expect("a request");
        let mut value = serde_json::to_value(&body).expect("JSON");
        value["spec"]["request"] = json!(null);
        assert_eq!(
            value,
            json!({
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "metadata": {
                    "generateName": "cluster1-",
                    "labels": {"open-cluster-management.io/cluster-name": "cluster1"},
                },
                "spec": {
                    "request": null,
                    "signerName": "kubernetes.io/kube-apiserver-client",
                    "usages": ["digital signature", "key encipherment", "client auth"],
                    "expirationSeconds": 31_536_000,
                },
            })
        );
        let parsed = CertificateRequest::parse_pem(&String::from_utf8_lossy(&body.spec.request.0))
            .expect("PEM");
        assert_eq!(
            *parsed.subject(),
            Subject::new(identity().common_name(), identity().organizations())
        );
        assert!(!parsed.has_sans());
        assert_eq!(
            request(&identity(), &key, 0)
                .expect("a request")
                .spec
                .expiration_seconds,
            None
        );
    }

    #[test]
    fn requests_of_add_ons_of_other_names_and_at_renewal_of_others_do_not_count() {
        let named = |name: &str, addon: bool| {
            let mut request = CertificateSigningRequest::default();
            request.metadata.name = Some(name.to_owned());
            if addon {
                request
                    .labels_mut()
                    .insert(labels::ADDON_NAME.to_owned(), "a".to_owned());
            }
            request
        };
        let mut own = named("cluster1-ddddd", false);
        own.spec.username = Some(identity().common_name());
        let requests = [
            named("cluster1-aaaaa", false),
            named("cluster1-bbbbb", true),
            named("other-ccccc", false),
            own,
        ];
        assert_eq!(counted(&identity(), Requester::Bootstrap, &requests), 2);
        assert_eq!(counted(&identity(), Requester::Agent, &requests), 1);
    }
}
