//! Certificate signing requests of agents: which are approved, which denied, which left to people.
//!
//! Renewals (an agent asks for its own name again) are approved after asking the API server whether
//! the agent still has the right to renew. First requests are left to an administrator unless
//! their user is on the list. A request for a name that is taken is denied at once, so that the
//! second agent learns why instead of waiting.

use super::Hub;
use super::observed;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster;
use hyades_api::features;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::identity::IdentityError;
use hyades_api::names;
use hyades_pki::CertificateRequest;
use hyades_runtime::Trouble;
use hyades_runtime::events::EventType;
use hyades_runtime::k8s_openapi::api::authorization::v1::ResourceAttributes;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReview;
use hyades_runtime::k8s_openapi::api::authorization::v1::SubjectAccessReviewSpec;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use hyades_runtime::k8s_openapi::api::core::v1::ObjectReference;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Reason and message with which upstream approves; programs look for them.
const APPROVED_REASON: &str = "AutoApprovedByHubCSRApprovingController";
const APPROVED_MESSAGE: &str =
    "Auto approving Managed cluster agent certificate after SubjectAccessReview.";

/// Reasons of denials.
const NAME_TAKEN: &str = "ClusterNameTaken";
const NAME_REFUSED: &str = "ClusterNameRefused";

/// A request as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The agent it asks a certificate for.
    pub(super) agent: AgentIdentity,
    /// SHA-256 of its public key.
    pub(super) key_sha256: String,
    /// The user who sent it, as the API server knows.
    user: String,
}

impl Request {
    fn is_renewal(&self) -> bool {
        self.user == self.agent.common_name()
    }
}

/// Why a request is not an agent's.
#[derive(Debug, PartialEq, Eq)]
enum NotOurs {
    /// It has nothing to do with registration, or is malformed.
    Foreign,
    /// It is an agent's, for a WEC whose name cannot be had.
    BadName(String),
}

/// Reads a request. The label, the common name and the organizations must all name the same WEC.
fn read(object: &CertificateSigningRequest) -> Result<Request, NotOurs> {
    let spec = &object.spec;
    let label = observed::cluster_of(object).unwrap_or_default();
    if label.is_empty() || spec.signer_name != names::CLIENT_SIGNER {
        return Err(NotOurs::Foreign);
    }
    let text = std::str::from_utf8(&spec.request.0).map_err(|_| NotOurs::Foreign)?;
    let request = CertificateRequest::parse_pem(text).map_err(|_| NotOurs::Foreign)?;
    let subject = request.subject();
    if request.has_sans() || !subject.organizational_units.is_empty() {
        return Err(NotOurs::Foreign);
    }
    let organizations = subject.organizations.iter().map(String::as_str);
    let agent = match AgentIdentity::from_subject(&subject.common_name, organizations) {
        Ok(agent) => agent,
        Err(IdentityError::Cluster(error)) => return Err(NotOurs::BadName(error.to_string())),
        Err(_) => return Err(NotOurs::Foreign),
    };
    if agent.cluster.as_str() != label {
        return Err(NotOurs::Foreign);
    }
    Ok(Request {
        agent,
        key_sha256: request.public_key_sha256(),
        user: spec.username.clone().unwrap_or_default(),
    })
}

fn has_condition(object: &CertificateSigningRequest, type_: &str) -> bool {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    conditions
        .flatten()
        .any(|condition| condition.type_ == type_)
}

/// Whether nobody has decided on a request yet.
pub(super) fn is_pending(object: &CertificateSigningRequest) -> bool {
    !has_condition(object, "Approved") && !has_condition(object, "Denied")
}

/// The agent whose request was approved first, among the requests of one WEC, with the name of
/// that request.
pub(super) fn first_approved(
    requests: &[Arc<CertificateSigningRequest>],
) -> Option<(String, Request)> {
    let approved = requests.iter().filter_map(|object| {
        let conditions = object.status.as_ref()?.conditions.as_ref()?;
        let approval = conditions
            .iter()
            .find(|condition| condition.type_ == "Approved")?;
        let approved_on = approval.last_update_time.as_ref().map(|time| time.0);
        let order = (
            approved_on,
            object.creation_timestamp().map(|time| time.0),
            object.name_any(),
        );
        Some((order, read(object).ok()?))
    });
    let first = approved.min_by(|(a, _), (b, _)| a.cmp(b));
    first.map(|((_, _, name), request)| (name, request))
}

/// What to do about a pending request.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Leave it to people.
    Leave,
    /// Approve it if its user has the right to renew.
    ApproveIfAllowed,
    /// Approve it.
    Approve,
    /// Deny it, for this reason and with this message.
    Deny(&'static str, String),
}

/// Decides about a pending request. `owner` is the agent that has the name, if any has;
/// `is_joined` says that it holds a certificate. From then on bootstrap credentials, which many
/// agents share, get nobody another certificate for the same agent without a person.
fn decide(
    request: &Result<Request, NotOurs>,
    owner: Option<&AgentIdentity>,
    is_joined: bool,
    user_is_listed: impl Fn(&str) -> bool,
) -> Verdict {
    let request = match request {
        Ok(request) => request,
        Err(NotOurs::Foreign) => return Verdict::Leave,
        Err(NotOurs::BadName(message)) => return Verdict::Deny(NAME_REFUSED, message.clone()),
    };
    match owner {
        Some(owner) if *owner != request.agent => {
            Verdict::Deny(NAME_TAKEN, taken(&request.agent, owner))
        }
        _ if request.is_renewal() => Verdict::ApproveIfAllowed,
        _ if user_is_listed(&request.user) && !is_joined => Verdict::Approve,
        _ => Verdict::Leave,
    }
}

fn taken(asking: &AgentIdentity, owner: &AgentIdentity) -> String {
    let cluster = &owner.cluster;
    format!(
        "The cluster name {cluster:?} is taken by the agent {:?}, and this request is of the agent \
         {:?}. If they are different clusters, join again under another cluster name. If this \
         agent shall replace the other one, delete the ManagedCluster {cluster:?} on the hub and \
         join again.",
        owner.agent(),
        asking.agent(),
        cluster = cluster.as_str(),
    )
}

/// Decides about requests as they come.
pub(super) struct Approver {
    hub: Rc<Hub>,
}

impl Approver {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self { hub }
    }

    pub(super) async fn reconcile(&self, name: &str) -> Result<Option<Duration>, Trouble> {
        let Some(object) = self.hub.observed.requests.get(name) else {
            return Ok(None);
        };
        if !is_pending(&object) {
            return Ok(None);
        }
        let request = read(&object);
        let owner = request
            .as_ref()
            .ok()
            .and_then(|request| self.hub.owner_of(&request.agent.cluster));
        let settings = &self.hub.settings;
        let automatic = settings
            .gates
            .enabled(features::MANAGED_CLUSTER_AUTO_APPROVAL);
        let listed = |user: &str| automatic && settings.auto_approved_users.contains(user);
        let is_joined = request
            .as_ref()
            .is_ok_and(|request| self.is_joined(&request.agent.cluster));
        let verdict = decide(&request, owner.as_ref(), is_joined, listed);
        let result = match verdict {
            Verdict::Leave => return Ok(None),
            Verdict::ApproveIfAllowed => match self.may_renew(&object).await {
                Ok(true) => {
                    self.approve(&object, &request, "ManagedClusterCSRAutoApproved")
                        .await
                }
                Ok(false) => {
                    tracing::info!("request {name}: its user has no right to renew; left pending");
                    return Ok(None);
                }
                Err(trouble) => Err(trouble),
            },
            Verdict::Approve => {
                self.approve(&object, &request, "ManagedClusterAutoApproved")
                    .await
            }
            Verdict::Deny(reason, message) => {
                tracing::warn!("request {name} is denied: {message}");
                let outcome = self.conclude(&object, "Denied", reason, &message).await;
                self.tell(&object, EventType::Warning, reason, &message)
                    .await;
                outcome
            }
        };
        match result {
            // Somebody else decided meanwhile, or the request is gone: its event tells.
            Err(Trouble::Conflict(_) | Trouble::NotFound(_)) => Ok(None),
            Err(trouble) => Err(trouble),
            Ok(()) => Ok(None),
        }
    }

    fn is_joined(&self, cluster: &ClusterName) -> bool {
        let object = self.hub.observed.clusters.get(cluster.as_str());
        object.is_some_and(|object| {
            conditions::is_true(&object.status.conditions, managed_cluster::JOINED)
        })
    }

    async fn approve(
        &self,
        object: &CertificateSigningRequest,
        request: &Result<Request, NotOurs>,
        event: &str,
    ) -> Result<(), Trouble> {
        if let Ok(request) = request {
            // From now on the name is this agent's, even before the pin is written.
            self.hub.claim(&request.agent);
        }
        self.conclude(object, "Approved", APPROVED_REASON, APPROVED_MESSAGE)
            .await?;
        let name = object.name_any();
        let note = format!("managed cluster csr {name:?} is auto approved by hub csr controller");
        tracing::info!("request {name} is approved");
        self.tell(object, EventType::Normal, event, &note).await;
        Ok(())
    }

    async fn conclude(
        &self,
        object: &CertificateSigningRequest,
        type_: &str,
        reason: &str,
        message: &str,
    ) -> Result<(), Trouble> {
        let mut decided = object.clone();
        let status = decided.status.get_or_insert_default();
        let now = Time(Timestamp::now());
        status
            .conditions
            .get_or_insert_default()
            .push(CertificateSigningRequestCondition {
                type_: type_.to_owned(),
                status: "True".to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message.to_owned()),
                last_update_time: Some(now.clone()),
                last_transition_time: Some(now),
            });
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        let name = decided.name_any();
        api.replace_subresource("approval", &name, &PostParams::default(), &decided)
            .await
            .map(|_| ())
            .map_err(|error| Trouble::of(&error))
    }

    /// Asks the API server whether the sender of a request may renew certificates.
    async fn may_renew(&self, object: &CertificateSigningRequest) -> Result<bool, Trouble> {
        let spec = &object.spec;
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: spec.username.clone(),
                uid: spec.uid.clone(),
                groups: spec.groups.clone(),
                extra: spec.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    group: Some(names::REGISTER_GROUP.to_owned()),
                    resource: Some("managedclusters".to_owned()),
                    subresource: Some("clientcertificates".to_owned()),
                    verb: Some("renew".to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api = Api::<SubjectAccessReview>::all(self.hub.client.clone());
        let answer = api.create(&PostParams::default(), &review).await;
        let answer = answer.map_err(|error| Trouble::of(&error))?;
        Ok(answer.status.is_some_and(|status| status.allowed))
    }

    /// Writes an Event into the WEC's mailbox, if it has one.
    async fn tell(
        &self,
        object: &CertificateSigningRequest,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        let Some(cluster) = observed::cluster_of(object) else {
            return;
        };
        if self.hub.observed.mailboxes.get(cluster).is_none() {
            return;
        }
        let regarding = ObjectReference {
            api_version: Some("certificates.k8s.io/v1".to_owned()),
            kind: Some("CertificateSigningRequest".to_owned()),
            name: Some(object.name_any()),
            uid: object.uid(),
            ..ObjectReference::default()
        };
        self.hub
            .events
            .record(cluster, &regarding, kind, reason, note)
            .await;
    }
}

#[cfg(test)]
mod tests;
