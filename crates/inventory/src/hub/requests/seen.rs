//! A certificate request as the hub keeps it: read once, and then without the request itself.
//!
//! Anybody with bootstrap credentials can create requests. What is kept of one is bounded, whatever
//! is in it, and how many are kept is bounded too.

use super::super::observed;
use super::super::recovery::Former;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::IdentityError;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_pki::CertificateRequest;
use hyades_runtime::k8s_openapi::ClusterResourceScope;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequestCondition;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::kube::Resource;
use jiff::Timestamp;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

/// Longest request that is read. A P-256 request takes half a kilobyte, one of RSA 16384 five.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Groups kept of the sender of a pending request, to compare with rules: a bootstrap token may
/// name several, an account has three.
const GROUPS_MAX: usize = 16;

/// Pending requests kept for one WEC; more are deleted. An agent stops at ten of its own. Renewals
/// are counted apart: whoever holds bootstrap credentials can fill the other places under any name,
/// and must not thereby keep an agent from renewing its certificate.
pub(in super::super) const PENDING_PER_CLUSTER_MAX: usize = 20;

/// Pending requests kept for all WECs together: the largest fleet aimed at, waiting for its
/// administrator. At about a kilobyte each they take 50 MB.
const PENDING_MAX: usize = 50_000;

/// Decided requests kept for one WEC; the oldest beyond are deleted. Their certificates have long
/// been fetched, and an agent that renews hourly still leaves a day of them to look at.
pub(super) const DECIDED_PER_CLUSTER_MAX: usize = 24;

/// Reason with which upstream approves; programs look for it.
pub(super) const APPROVED_REASON: &str = "AutoApprovedByHubCSRApprovingController";

/// A request as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Request {
    /// The agent it asks a certificate for.
    pub(in super::super) agent: AgentIdentity,
    /// SHA-256 of its public key.
    pub(in super::super) key_sha256: String,
    /// The user who sent it, as the API server knows.
    pub(in super::super) user: String,
    /// That user's groups, while the request is pending.
    pub(in super::super) groups: Vec<String>,
    /// The expired certificate it was sent with, if it was.
    pub(in super::super) former: Option<Former>,
}

impl Request {
    /// Whether the agent asks for its own name again.
    pub(super) fn is_renewal(&self) -> bool {
        self.user == self.agent.common_name()
    }
}

/// Why a request is not an agent's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum NotOurs {
    /// It has nothing to do with registration, or is malformed.
    Foreign,
    /// An agent of another WEC sent it: agents let nobody else in.
    Intruder,
    /// It is an agent's, for a WEC whose name cannot be had.
    BadName(String),
}

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) enum Standing {
    /// Nobody has decided.
    Pending,
    /// It is approved.
    Approved {
        /// When.
        at: Option<Timestamp>,
        /// The JoinRule that approved it, if one did.
        by_rule: Option<String>,
    },
    /// It is denied.
    Denied,
    /// Somebody gave up on it before anyone decided.
    Failed,
}

/// A request as the hub keeps it.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(from = "CertificateSigningRequest")]
pub(in super::super) struct SeenRequest {
    metadata: ObjectMeta,
    /// What it asks for.
    pub(in super::super) reading: Result<Request, NotOurs>,
    /// How far it has come.
    pub(in super::super) standing: Standing,
}

impl SeenRequest {
    /// Whether nobody has decided on it yet.
    pub(in super::super) fn is_pending(&self) -> bool {
        self.standing == Standing::Pending
    }

    /// Among which requests of its WEC it is counted.
    pub(in super::super) fn stage(&self) -> Stage {
        match &self.reading {
            _ if !self.is_pending() => Stage::Decided,
            Err(NotOurs::Intruder) => Stage::Intruder,
            Ok(request) if request.is_renewal() => Stage::Renewal,
            _ => Stage::Pending,
        }
    }
}

impl From<CertificateSigningRequest> for SeenRequest {
    fn from(object: CertificateSigningRequest) -> Self {
        let standing = standing(&object);
        let mut reading = read(&object);
        if let Ok(request) = &mut reading
            && standing != Standing::Pending
        {
            request.groups = Vec::new();
        }
        let label = observed::cluster_of(&object)
            .map(|cluster| (labels::CLUSTER_NAME.to_owned(), cluster.to_owned()));
        let labels: BTreeMap<_, _> = label.into_iter().collect();
        let metadata = object.metadata;
        Self {
            metadata: ObjectMeta {
                name: metadata.name,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                creation_timestamp: metadata.creation_timestamp,
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            reading,
            standing,
        }
    }
}

impl Resource for SeenRequest {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind(_: &()) -> Cow<'_, str> {
        CertificateSigningRequest::kind(&())
    }
    fn group(_: &()) -> Cow<'_, str> {
        CertificateSigningRequest::group(&())
    }
    fn version(_: &()) -> Cow<'_, str> {
        CertificateSigningRequest::version(&())
    }
    fn plural(_: &()) -> Cow<'_, str> {
        CertificateSigningRequest::plural(&())
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn standing(object: &CertificateSigningRequest) -> Standing {
    let conditions = object.status.iter().flat_map(|status| &status.conditions);
    let find = |type_: &str| conditions.clone().flatten().find(|c| c.type_ == type_);
    if let Some(approval) = find("Approved") {
        return Standing::Approved {
            at: approval.last_update_time.as_ref().map(|time| time.0),
            by_rule: rule_of(approval),
        };
    }
    match find("Denied") {
        Some(_) => Standing::Denied,
        None if conditions.flatten().next().is_some() => Standing::Failed,
        None => Standing::Pending,
    }
}

/// The message of an approval by a rule. It is also the record from which acceptance goes on after
/// a crash, since nobody but approvers can write it.
pub(super) fn message_of_rule(rule: &str) -> String {
    format!("Auto approved by JoinRule {rule}.")
}

fn rule_of(approval: &CertificateSigningRequestCondition) -> Option<String> {
    if approval.reason.as_deref() != Some(APPROVED_REASON) {
        return None;
    }
    let message = approval.message.as_deref()?;
    let rule = message.strip_prefix("Auto approved by JoinRule ")?;
    Some(rule.strip_suffix('.')?.to_owned())
}

/// Reads a request. The label, the common name and the organizations must all name the same WEC.
pub(super) fn read(object: &CertificateSigningRequest) -> Result<Request, NotOurs> {
    let spec = &object.spec;
    let label = observed::cluster_of(object).unwrap_or_default();
    let length = spec.request.0.len();
    let sender = AgentIdentity::from_common_name(spec.username.as_deref().unwrap_or_default());
    if sender.is_ok_and(|sender| sender.cluster.as_str() != label) {
        return Err(NotOurs::Intruder);
    }
    if label.is_empty() || spec.signer_name != names::CLIENT_SIGNER || length > REQUEST_BYTES_MAX {
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
    let groups = spec.groups.iter().flatten();
    Ok(Request {
        agent,
        key_sha256: request.public_key_sha256(),
        user: spec.username.clone().unwrap_or_default(),
        groups: groups.take(GROUPS_MAX).cloned().collect(),
        former: Former::of(spec),
    })
}

/// Among which requests of a WEC one is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Stage {
    /// Nobody has decided, and anybody may have sent it.
    Pending,
    /// Nobody has decided; the agent itself sent it.
    Renewal,
    /// Nobody has decided; the agent of another WEC sent it, and it is not kept.
    Intruder,
    /// Somebody has decided.
    Decided,
}

/// The requests of each WEC, by name, as far as they are kept.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct RequestIndex(Arc<Mutex<Index>>);

#[derive(Debug, Default)]
struct Index {
    clusters: HashMap<String, Kept>,
    pending: usize,
}

#[derive(Debug, Default)]
struct Kept {
    pending: HashSet<String>,
    renewals: HashSet<String>,
    decided: HashSet<String>,
}

impl Kept {
    fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.renewals.is_empty() && self.decided.is_empty()
    }

    fn undecided(&self) -> impl Iterator<Item = &String> {
        self.pending.iter().chain(&self.renewals)
    }
}

impl RequestIndex {
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes note of a request as a watch delivered it.
    pub(in super::super) fn saw(&self, cluster: &str, request: &str, stage: Stage) {
        let mut index = self.lock();
        let Index {
            clusters,
            pending: total,
        } = &mut *index;
        let kept = clusters.entry(cluster.to_owned()).or_default();
        match stage {
            Stage::Decided => {
                *total -= usize::from(kept.pending.remove(request));
                kept.renewals.remove(request);
                kept.decided.insert(request.to_owned());
            }
            // Only registered agents can send these, so that their number needs no other bound.
            Stage::Renewal if kept.renewals.len() < PENDING_PER_CLUSTER_MAX => {
                kept.renewals.insert(request.to_owned());
            }
            Stage::Pending
                if kept.pending.len() < PENDING_PER_CLUSTER_MAX && *total < PENDING_MAX =>
            {
                *total += usize::from(kept.pending.insert(request.to_owned()));
            }
            Stage::Renewal | Stage::Pending | Stage::Intruder if kept.is_empty() => {
                clusters.remove(cluster);
            }
            Stage::Renewal | Stage::Pending | Stage::Intruder => {}
        }
    }

    /// Forgets a request that is gone.
    pub(in super::super) fn forget(&self, cluster: &str, request: &str) {
        let mut index = self.lock();
        let Some(kept) = index.clusters.get_mut(cluster) else {
            return;
        };
        let was_pending = kept.pending.remove(request);
        kept.renewals.remove(request);
        kept.decided.remove(request);
        if kept.is_empty() {
            index.clusters.remove(cluster);
        }
        index.pending -= usize::from(was_pending);
    }

    /// The pending requests of one WEC that are kept.
    pub(in super::super) fn pending_of(&self, cluster: &str) -> Vec<String> {
        let index = self.lock();
        let kept = index.clusters.get(cluster);
        kept.into_iter()
            .flat_map(Kept::undecided)
            .cloned()
            .collect()
    }

    /// All pending requests that are kept.
    pub(in super::super) fn all_pending(&self) -> Vec<String> {
        let index = self.lock();
        let kept = index.clusters.values();
        kept.flat_map(Kept::undecided).cloned().collect()
    }

    /// All requests of one WEC that are kept.
    pub(in super::super) fn of(&self, cluster: &str) -> Vec<String> {
        let index = self.lock();
        let kept = index.clusters.get(cluster);
        kept.into_iter()
            .flat_map(|kept| kept.undecided().chain(&kept.decided))
            .cloned()
            .collect()
    }

    /// Whether a pending request is kept; others are to be deleted.
    pub(super) fn keeps(&self, cluster: &str, request: &str) -> bool {
        let index = self.lock();
        let kept = index.clusters.get(cluster);
        kept.is_some_and(|kept| kept.pending.contains(request) || kept.renewals.contains(request))
    }

    /// Whether more requests of one WEC are decided than are kept.
    pub(in super::super) fn has_too_many_decided(&self, cluster: &str) -> bool {
        let index = self.lock();
        let kept = index.clusters.get(cluster);
        kept.is_some_and(|kept| kept.decided.len() > DECIDED_PER_CLUSTER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_thousand_requests_leave_twenty_a_name_and_fifty_thousand_in_all() {
        let index = RequestIndex::default();
        for number in 0..100_000 {
            index.saw("c1", &format!("c1-{number}"), Stage::Pending);
        }
        assert_eq!(index.pending_of("c1").len(), PENDING_PER_CLUSTER_MAX);
        assert!(index.keeps("c1", "c1-0") && !index.keeps("c1", "c1-99999"));
        for number in 0..100_000 {
            index.saw(&format!("n{number}"), "r", Stage::Pending);
        }
        assert_eq!(index.all_pending().len(), PENDING_MAX);
        assert_eq!(
            index.lock().clusters.len(),
            PENDING_MAX - PENDING_PER_CLUSTER_MAX + 1
        );
    }

    #[test]
    fn requests_of_other_agents_take_no_place() {
        let index = RequestIndex::default();
        index.saw("c2", "intruder", Stage::Intruder);
        assert!(!index.keeps("c2", "intruder"));
        assert!(index.lock().clusters.is_empty());
    }

    #[test]
    fn a_renewal_has_a_place_however_many_others_use_its_name() {
        let index = RequestIndex::default();
        for number in 0..100 {
            index.saw("c1", &format!("forged-{number}"), Stage::Pending);
        }
        index.saw("c1", "renewal", Stage::Renewal);
        assert!(index.keeps("c1", "renewal"));
        for number in 0..100 {
            index.saw("c1", &format!("renewal-{number}"), Stage::Renewal);
        }
        assert_eq!(index.of("c1").len(), 2 * PENDING_PER_CLUSTER_MAX);
        index.saw("c1", "renewal", Stage::Decided);
        assert_eq!(
            index.pending_of("c1").len(),
            2 * PENDING_PER_CLUSTER_MAX - 1
        );
    }

    #[test]
    fn places_are_free_again_when_requests_are_decided_or_gone() {
        let index = RequestIndex::default();
        for number in 0..PENDING_PER_CLUSTER_MAX {
            index.saw("c1", &format!("r{number}"), Stage::Pending);
        }
        index.saw("c1", "late", Stage::Pending);
        assert!(!index.keeps("c1", "late"));
        index.saw("c1", "r0", Stage::Decided);
        index.forget("c1", "r1");
        index.saw("c1", "late", Stage::Pending);
        index.saw("c1", "later", Stage::Pending);
        assert!(index.keeps("c1", "late") && index.keeps("c1", "later"));
        assert_eq!(index.of("c1").len(), PENDING_PER_CLUSTER_MAX + 1);
        for name in index.of("c1") {
            index.forget("c1", &name);
        }
        assert!(index.lock().clusters.is_empty());
        assert_eq!(index.lock().pending, 0);
    }
}
