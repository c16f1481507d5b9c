//! Of several approved requests of one WEC, those that count: the first gives the name away, and the
//! owner's newest says by which key it has the name now.

use super::seen::Request;
use super::seen::SeenRequest;
use super::seen::Standing;
use hyades_api::identity::AgentIdentity;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use std::sync::Arc;

/// The agent whose request was approved first, among the requests of one WEC.
pub(in super::super) fn first_approved(requests: &[Arc<SeenRequest>]) -> Option<FirstApproved> {
    let first = requests.iter().filter_map(Approved::of);
    let Approved {
        object,
        request,
        by_rule,
        ..
    } = first.min_by_key(Approved::order)?;
    Some(FirstApproved {
        name: object.name_any(),
        request: request.clone(),
        by_rule: by_rule.map(str::to_owned),
    })
}

/// SHA-256 of the key in the request of an agent that was approved last, among those of its WEC.
pub(in super::super) fn newest_key(
    requests: &[Arc<SeenRequest>],
    agent: &AgentIdentity,
) -> Option<String> {
    let approved = requests.iter().filter_map(Approved::of);
    let own = approved.filter(|one| one.request.agent == *agent);
    let newest = own.max_by_key(Approved::order)?;
    Some(newest.request.key_sha256.clone())
}

/// What was approved first for a WEC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct FirstApproved {
    /// Name of the request.
    pub(in super::super) name: String,
    /// What it asks for.
    pub(in super::super) request: Request,
    /// The JoinRule that approved it, if one did.
    pub(in super::super) by_rule: Option<String>,
}

/// An approved request.
struct Approved<'a> {
    object: &'a SeenRequest,
    request: &'a Request,
    at: Option<Timestamp>,
    by_rule: Option<&'a str>,
}

impl<'a> Approved<'a> {
    fn of(object: &'a Arc<SeenRequest>) -> Option<Self> {
        let Standing::Approved { at, by_rule } = &object.standing else {
            return None;
        };
        Some(Self {
            object,
            request: object.reading.as_ref().ok()?,
            at: *at,
            by_rule: by_rule.as_deref(),
        })
    }

    /// By this, requests are in the order in which they were approved. Times are whole seconds, and
    /// only who has a certificate renews it.
    fn order(&self) -> impl Ord + use<'a> {
        let metadata = self.object.meta();
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let is_renewal = self.request.is_renewal();
        (self.at, created, is_renewal, metadata.name.as_deref())
    }
}
