//! Asking the hub for a certificate: the request, its approval, and what stands in the way.

use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream::BoxStream;
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
use hyades_runtime::kube;
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

/// A key and its certificate. Not to be shown, hence without `Debug`.
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
    let pem = CertificateRequest::new(key, &subject(identity))?;
    let label = (labels::CLUSTER_NAME, identity.cluster.as_str());
    Ok(signing_request(
        pem,
        names::CLIENT_SIGNER,
        names::csr_name_prefix(&identity.cluster),
        &[label],
        expiration_seconds,
    ))
}

fn subject(identity: &AgentIdentity) -> Subject {
    Subject::new(identity.common_name(), identity.organizations())
}

/// A request for a client certificate, around what X.509 has to say.
pub(crate) fn signing_request(
    pem: String,
    signer: &str,
    name_prefix: String,
    labels: &[(&str, &str)],
    expiration_seconds: i32,
) -> CertificateSigningRequest {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    CertificateSigningRequest {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix),
            labels: Some(labels.collect()),
            ..ObjectMeta::default()
        },
        spec: CertificateSigningRequestSpec {
            request: ByteString(pem.into_bytes()),
            signer_name: signer.to_owned(),
            usages: Some(
                ["digital signature", "key encipherment", "client auth"]
                    .map(str::to_owned)
                    .to_vec(),
            ),
            expiration_seconds: (expiration_seconds != 0).then_some(expiration_seconds),
            ..CertificateSigningRequestSpec::default()
        },
        ..CertificateSigningRequest::default()
    }
}

/// As whom a certificate is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// As the bootstrap identity, which many clusters share.
    Bootstrap,
    /// As the agent itself, with the certificate that is to be renewed.
    Agent,
    /// As the agent itself, with a certificate that has expired. It may make a request and look at
    /// it, and nothing else.
    Expired,
}

/// What is asked for, of whom, and as whom.
pub struct Asking<'a> {
    /// Client of the hub.
    pub client: &'a Client,
    /// The agent that the certificate is for.
    pub identity: &'a AgentIdentity,
    /// Whose client it is.
    pub requester: Requester,
    /// The key that the certificate is for.
    pub key: Key,
    /// Lifetime to ask for, in seconds; 0 leaves it to the signer.
    pub expiration_seconds: i32,
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

/// Asks for a certificate and waits for it.
///
/// Returns when it is issued or cannot be had. A denial is reported through `on_denied` at once
/// and returned when the denied request is gone, or after an hour.
///
/// # Errors
///
/// All of [`CertificateError`]; trying again is right for each, with a growing delay.
pub async fn obtain(
    asking: Asking<'_>,
    on_denied: impl AsyncFn(&str),
) -> Result<Issued, CertificateError> {
    let identity = asking.identity;
    let api: Api<CertificateSigningRequest> = Api::all(asking.client.clone());
    if asking.requester != Requester::Expired {
        let selector = format!("{}={}", labels::CLUSTER_NAME, identity.cluster);
        let count = |all: &[_]| counted(identity, asking.requester, all);
        check_quota(&api, &selector, count).await?;
    }
    let body = request(identity, &asking.key, asking.expiration_seconds).map_err(|error| {
        CertificateError::Useless {
            name: "this agent".to_owned(),
            reason: error.to_string(),
        }
    })?;
    if asking.requester == Requester::Bootstrap {
        tracing::info!(
            "asking the hub for a first certificate; approve it there with: clusteradm accept --clusters {}",
            identity.cluster
        );
    }
    let following = match asking.requester {
        Requester::Expired => Following::Looking,
        Requester::Bootstrap | Requester::Agent => Following::Watching,
    };
    let wanted = Wanted {
        key: &asking.key,
        subject: &subject(identity),
    };
    let certificate_pem = issued(&api, &body, wanted, following, on_denied).await?;
    Ok(Issued {
        certificate_pem,
        key_pem: asking.key.to_ec_pem(),
    })
}

/// Whose key a certificate shall hold, and in whose name.
pub(crate) struct Wanted<'a> {
    /// The key.
    pub(crate) key: &'a Key,
    /// The name.
    pub(crate) subject: &'a Subject,
}

impl Wanted<'_> {
    /// Whether a certificate is what was wanted; what is wrong if not.
    fn check(&self, certificate_pem: &str) -> Result<(), String> {
        let chain =
            Certificate::parse_pem_bundle(certificate_pem).map_err(|error| error.to_string())?;
        let certificate = chain.first().ok_or("it is empty")?;
        if certificate.public_key_sha256() != self.key.public_key_sha256() {
            return Err("it is for another key".to_owned());
        }
        let (found, wanted) = (certificate.subject(), self.subject);
        match found == wanted {
            true => Ok(()),
            false => Err(format!("it is for {found:?}, and {wanted:?} was asked for")),
        }
    }
}

/// Makes a request and follows it until its certificate is there, which is returned as PEM.
///
/// # Errors
///
/// As [`obtain`].
pub(crate) async fn issued(
    api: &Api<CertificateSigningRequest>,
    body: &CertificateSigningRequest,
    wanted: Wanted<'_>,
    following: Following,
    on_denied: impl AsyncFn(&str),
) -> Result<String, CertificateError> {
    let created = api
        .create(&PostParams::default(), body)
        .await
        .map_err(failed("created a certificate request"))?;
    let name = created.name_any();
    tracing::info!("certificate request {name} created; waiting for its approval");
    let pem = await_certificate(api, created, following, on_denied).await?;
    match wanted.check(&pem) {
        Ok(()) => Ok(pem),
        Err(reason) => Err(CertificateError::Useless { name, reason }),
    }
}

fn failed(action: &'static str) -> impl Fn(kube::Error) -> CertificateError {
    move |error| CertificateError::Hub {
        action,
        trouble: Trouble::of(&error),
    }
}

/// Refuses to make another request while `count` finds too many among those of the selector.
pub(crate) async fn check_quota(
    api: &Api<CertificateSigningRequest>,
    selector: &str,
    count: impl Fn(&[CertificateSigningRequest]) -> usize,
) -> Result<(), CertificateError> {
    let existing = api
        .list(&ListParams::default().labels(selector))
        .await
        .map_err(failed("listed the certificate requests of this cluster"))?;
    match count(&existing.items) {
        count if count >= REQUESTS_MAX => Err(CertificateError::TooMany(count)),
        _ => Ok(()),
    }
}

async fn await_certificate(
    api: &Api<CertificateSigningRequest>,
    created: CertificateSigningRequest,
    following: Following,
    on_denied: impl AsyncFn(&str),
) -> Result<String, CertificateError> {
    let name = created.name_any();
    let mut deadline = Instant::now() + PENDING_LIMIT;
    let mut denied = None;
    let mut current = created;
    let mut backoff = Backoff::new(Policy::API);
    let mut looking = Backoff::new(Policy::API);
    let mut news = News {
        api,
        name: &name,
        events: None,
    };
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
        let state = async {
            match following {
                Following::Watching => {
                    let version = current.resource_version().unwrap_or_default();
                    news.after(&version).await
                }
                Following::Looking => {
                    tokio::time::sleep(looking.next_delay()).await;
                    api.get_opt(&name).await
                }
            }
        };
        let next = tokio::time::timeout_at(deadline, state).await;
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

/// How a request is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Following {
    /// By a watch: news come at once.
    Watching,
    /// By reading it again and again, where there is no right to watch.
    Looking,
}

/// One request's news, over one watch as long as that lasts: the approval and the certificate come
/// within a millisecond of each other.
struct News<'a> {
    api: &'a Api<CertificateSigningRequest>,
    name: &'a str,
    events: Option<BoxStream<'static, kube::Result<WatchEvent<CertificateSigningRequest>>>>,
}

impl News<'_> {
    /// Waits for the state that follows `version`; nothing once the request is deleted.
    async fn after(&mut self, version: &str) -> kube::Result<Option<CertificateSigningRequest>> {
        // An interrupted watch is not gone on with.
        let mut events = match self.events.take() {
            Some(events) => events,
            None => {
                let parameters = WatchParams::default()
                    .fields(&format!("metadata.name={}", self.name))
                    .timeout(WATCH_SECONDS);
                self.api.watch(&parameters, version).await?.boxed()
            }
        };
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Added(request) | WatchEvent::Modified(request) => {
                    self.events = Some(events);
                    return Ok(Some(request));
                }
                WatchEvent::Deleted(_) => return Ok(None),
                WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            }
        }
        self.api.get_opt(self.name).await
    }
}

#[cfg(test)]
mod tests;
