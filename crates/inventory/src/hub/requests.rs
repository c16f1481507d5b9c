//! Certificate signing requests of agents: which are approved, which denied, which left to people,
//! and which deleted because there are too many.
//!
//! Renewals (an agent asks for its own name again) are approved after asking the API server whether
//! the agent still has the right to renew. First requests are left to an administrator unless their
//! user is on the list or a JoinRule lets them in. A request for a name that is taken is denied at
//! once, so that the second agent learns why instead of waiting.

mod approved;
mod seen;
mod steps;
mod verdict;

pub(super) use approved::FirstApproved;
pub(super) use approved::first_approved;
pub(super) use approved::newest_key;
pub(super) use seen::Request;
pub(super) use seen::RequestIndex;
pub(super) use seen::SeenRequest;
pub(super) use seen::Standing;
pub(super) use verdict::Owner;

use super::Hub;
use super::acceptance;
use super::budget::Budget;
use super::joining;
use super::joining::Applicant;
use super::observed;
use super::recovery;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster;
use hyades_api::features;
use hyades_api::identity::ClusterName;
use hyades_runtime::Trouble;
use hyades_runtime::events::EventType;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use seen::APPROVED_REASON;
use seen::DECIDED_PER_CLUSTER_MAX;
use seen::NotOurs;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use verdict::Approval;
use verdict::Situation;
use verdict::Verdict;
use verdict::decide;

/// Message with which upstream approves; programs look for it.
const APPROVED_MESSAGE: &str =
    "Auto approving Managed cluster agent certificate after SubjectAccessReview.";

/// Message of an approval because the name was handed over.
const HANDED_OVER_MESSAGE: &str =
    "Auto approved because an administrator handed the cluster's name over to this agent.";

/// Message of an approval of an agent that asks again with the key that it was let in with.
const OWN_KEY_MESSAGE: &str = "Auto approved because the cluster's name belongs to this key.";

/// Message of an approval of an agent that comes back after its certificate expired.
const RECOVERED_MESSAGE: &str =
    "Auto approved because the agent showed the expired certificate of the same key.";

/// Reason of the Event about requests that are deleted because there are too many.
const TOO_MANY: &str = "TooManyRequests";

/// Reason of the Event about requests of agents under another cluster's name.
const INTRUDER: &str = "RequestOfAnotherCluster";

/// Certificates for the same name approved for one WEC within [`RENEWAL_WINDOW`]; others wait. An
/// agent renews some times in a year, one under test some times in a minute, and a storm costs a
/// signature each.
const RENEWALS_MAX: usize = 20;

/// See [`RENEWALS_MAX`].
const RENEWAL_WINDOW: Duration = Duration::from_secs(60);

/// Pause before a renewal is decided on again whose name was given away meanwhile.
const TAKEN_PAUSE: Duration = Duration::from_millis(20);

/// Decides about requests as they come.
pub(super) struct Approver {
    hub: Rc<Hub>,
    /// Warnings written into each namespace: a mailbox, or the hub's own for newcomers.
    warnings: Budget,
}

impl Approver {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self {
            hub,
            warnings: Budget::default(),
        }
    }

    /// Decides about the request of that name; the empty name stands for all pending ones.
    pub(super) async fn reconcile(&self, name: String) -> Result<Option<Duration>, Trouble> {
        if name.is_empty() {
            let observed = &self.hub.observed;
            for request in observed.index.all_pending() {
                observed.queues.requests.add(request);
            }
            return Ok(None);
        }
        let Some(object) = self.hub.observed.requests.get(&name) else {
            return Ok(None);
        };
        let result = match object.is_pending() {
            true => self.decide(&object).await,
            false => self.thin_out(&object).await.map(|()| None),
        };
        match result {
            // Somebody else decided meanwhile, or the request is gone: its event tells.
            Err(Trouble::Conflict(_) | Trouble::NotFound(_)) => Ok(None),
            other => other,
        }
    }

    async fn decide(&self, object: &SeenRequest) -> Result<Option<Duration>, Trouble> {
        let name = object.name_any();
        let cluster = observed::cluster_of(object).unwrap_or_default();
        if !self.hub.observed.index.keeps(cluster, &name) {
            let (reason, note) = match &object.reading {
                Err(NotOurs::Intruder) => (
                    INTRUDER,
                    "An agent of another cluster asked for a certificate under this cluster's \
                     name: the request is deleted.",
                ),
                _ => (
                    TOO_MANY,
                    "Too many certificate requests are pending: the newest are deleted. Approve \
                     or delete some; an agent asks again.",
                ),
            };
            self.tell(object, EventType::Warning, reason, note).await;
            return self.delete(&name).await.map(|()| None);
        }
        let verdict = match &object.reading {
            Ok(request) => decide(&object.reading, self.situation(request)),
            Err(_) => decide(&object.reading, Situation::default()),
        };
        match verdict {
            Verdict::Leave => Ok(None),
            Verdict::Warn(message) => {
                tracing::warn!("request {name}: {message}");
                let reason = "ClusterKeyDiffers";
                self.tell(object, EventType::Warning, reason, &message)
                    .await;
                Ok(None)
            }
            Verdict::Deny(reason, message) => {
                tracing::warn!("request {name} is denied: {message}");
                self.conclude(object, "Denied", reason, &message).await?;
                self.tell(object, EventType::Warning, reason, &message)
                    .await;
                Ok(None)
            }
            Verdict::Approve(Approval::RightToRenew) => self.renew(object, cluster).await,
            Verdict::Approve(approval @ (Approval::FormerKey | Approval::OwnKey)) => {
                if self.must_wait(object, cluster).await {
                    return Ok(Some(RENEWAL_WINDOW));
                }
                let (message, by) = match approval {
                    Approval::OwnKey => (OWN_KEY_MESSAGE, " because its key owns the name"),
                    _ => (
                        RECOVERED_MESSAGE,
                        " because the agent showed the expired certificate of this key",
                    ),
                };
                self.conclude(object, "Approved", APPROVED_REASON, message)
                    .await?;
                self.tell_approval(object, "ManagedClusterCSRAutoApproved", by)
                    .await;
                Ok(None)
            }
            Verdict::Approve(approval) => match &object.reading {
                Ok(request) => self.let_in(object, request, approval).await.map(|()| None),
                Err(_) => Ok(None),
            },
        }
    }

    /// What is known about a request's name. Reserves a place of the rule that lets it in.
    fn situation(&self, request: &Request) -> Situation {
        let hub = &self.hub;
        let cluster = &request.agent.cluster;
        let settings = &hub.settings;
        let automatic = settings
            .gates
            .enabled(features::MANAGED_CLUSTER_AUTO_APPROVAL);
        let mailbox = hub.observed.mailboxes.get(cluster.as_str());
        let owner = hub.owner_of(cluster);
        let object = hub.observed.clusters.get(cluster.as_str());
        let is_accepted = object
            .as_ref()
            .is_some_and(|object| object.spec.hub_accepts_client);
        let is_turned_away = object.is_some_and(|object| {
            acceptance::admission(&object, true) == acceptance::Admission::Denied
        });
        let window = settings.recovery_window_seconds;
        Situation {
            recovery: recovery::decide(
                request,
                owner.as_ref(),
                is_accepted,
                window,
                Timestamp::now(),
            ),
            is_turned_away,
            owner,
            handed_to: mailbox
                .and_then(|mailbox| super::pins::heir(&mailbox.metadata, Timestamp::now())),
            is_joined: self.is_joined(cluster),
            user_is_listed: automatic && settings.auto_approved_users.contains(&request.user),
            rule: self.rule_for(request),
        }
    }

    /// The rule that lets a request's sender in. An inventory object must be there, and its WEC
    /// must not have been turned away by an administrator.
    fn rule_for(&self, request: &Request) -> Option<String> {
        let observed = &self.hub.observed;
        let cluster = &request.agent.cluster;
        let object = observed.clusters.get(cluster.as_str())?;
        let deleting = object.metadata.deletion_timestamp.is_some();
        if request.is_renewal() || deleting || !acceptance::may_be_invited(&object) {
            return None;
        }
        let applicant = Applicant {
            cluster,
            user: &request.user,
            groups: &request.groups,
        };
        let rules = observed.rules.list();
        let accepted = |rule: &str| observed.tally.count_without(cluster.as_str(), rule);
        let rule = joining::choose(&rules, applicant, accepted, Timestamp::now())?;
        Some(rule.name_any())
    }

    fn is_joined(&self, cluster: &ClusterName) -> bool {
        let object = self.hub.observed.clusters.get(cluster.as_str());
        object.is_some_and(|object| {
            conditions::is_true(&object.status.conditions, managed_cluster::JOINED)
        })
    }

    /// Whether a WEC got so many certificates of late that this request waits; tells of it then.
    async fn must_wait(&self, object: &SeenRequest, cluster: &str) -> bool {
        if recent_approvals(&self.hub.observed.requests_of(cluster)) < RENEWALS_MAX {
            return false;
        }
        let note = format!(
            "More than {RENEWALS_MAX} certificates were asked for within {} s: the request waits \
             until that time is over.",
            RENEWAL_WINDOW.as_secs()
        );
        self.tell(object, EventType::Warning, TOO_MANY, &note).await;
        true
    }

    /// Approves a renewal if its agent has the right, unless it renews too often.
    async fn renew(
        &self,
        object: &SeenRequest,
        cluster: &str,
    ) -> Result<Option<Duration>, Trouble> {
        let name = object.name_any();
        if self.must_wait(object, cluster).await {
            return Ok(Some(RENEWAL_WINDOW));
        }
        let live = self.live(&name).await?;
        if !self.may_renew(&live).await? {
            tracing::info!("request {name}: its user has no right to renew; left pending");
            return Ok(None);
        }
        let Ok(request) = &object.reading else {
            return Ok(None);
        };
        match self.hub.owner_of(&request.agent.cluster) {
            None => {
                self.approve(object, request, None, APPROVED_MESSAGE)
                    .await?;
            }
            Some(owner) if owner.agent == request.agent => {
                self.conclude(object, "Approved", APPROVED_REASON, APPROVED_MESSAGE)
                    .await?;
            }
            // The name was given away while the server was asked: decide again.
            Some(_) => return Ok(Some(TAKEN_PAUSE)),
        }
        let event = "ManagedClusterCSRAutoApproved";
        self.tell_approval(object, event, "").await;
        Ok(None)
    }

    /// Approves the first request of a newcomer. The WEC's own reconciliation accepts it at the
    /// same time, and gives the rights once both is done.
    async fn let_in(
        &self,
        object: &SeenRequest,
        request: &Request,
        approval: Approval,
    ) -> Result<(), Trouble> {
        let cluster = &request.agent.cluster;
        let observed = &self.hub.observed;
        let (message, by) = match &approval {
            Approval::Rule(rule) => (seen::message_of_rule(rule), format!(" by JoinRule {rule}")),
            Approval::HandOver => (
                HANDED_OVER_MESSAGE.to_owned(),
                " because the name was handed over".to_owned(),
            ),
            Approval::RightToRenew
            | Approval::ListedUser
            | Approval::FormerKey
            | Approval::OwnKey => (
                APPROVED_MESSAGE.to_owned(),
                format!(" for the listed user {}", request.user),
            ),
        };
        let invitation = match &approval {
            Approval::Rule(rule) => Some(self.hub.invitation_by(rule)),
            _ => None,
        };
        if let Approval::Rule(rule) = &approval {
            observed.tally.reserve(cluster.as_str(), rule);
        }
        let approved = self.approve(object, request, invitation, &message).await;
        if approved.is_err() {
            observed.tally.release(cluster.as_str());
            // Its reconciliation waited for this approval.
            observed.queues.clusters.add(cluster.as_str().to_owned());
        }
        approved?;
        self.tell_approval(object, "ManagedClusterAutoApproved", &by)
            .await;
        Ok(())
    }

    /// Approves a request that gives its agent the name. Nothing may be awaited between the look at
    /// the situation and this: from the start the name is this agent's, and a request decided
    /// meanwhile finds it taken.
    async fn approve(
        &self,
        object: &SeenRequest,
        request: &Request,
        invitation: Option<joining::Invitation>,
        message: &str,
    ) -> Result<(), Trouble> {
        let cluster = &request.agent.cluster;
        // Its agent asks for its rights from here on until it has them.
        let wake = || {
            let queues = &self.hub.observed.queues;
            queues.clusters.add_first(cluster.as_str().to_owned());
        };
        let accepts = invitation.is_some();
        self.hub.claim(request, invitation);
        if accepts {
            wake();
        }
        let approved = self.conclude(object, "Approved", APPROVED_REASON, message);
        match approved.await {
            Ok(()) => self.hub.confirm(cluster),
            Err(trouble) => {
                self.hub.release(cluster);
                return Err(trouble);
            }
        }
        wake();
        Ok(())
    }

    /// Deletes the oldest decided requests of a WEC while it has more than are kept.
    async fn thin_out(&self, object: &SeenRequest) -> Result<(), Trouble> {
        let cluster = observed::cluster_of(object).unwrap_or_default();
        if !self.hub.observed.index.has_too_many_decided(cluster) {
            return Ok(());
        }
        let mut decided = self.hub.observed.requests_of(cluster);
        decided.retain(|request| !request.is_pending());
        decided.sort_by_key(|request| (request.creation_timestamp(), request.name_any()));
        let excess = decided.len().saturating_sub(DECIDED_PER_CLUSTER_MAX);
        for request in &decided[..excess] {
            match self.delete(&request.name_any()).await {
                Ok(()) | Err(Trouble::NotFound(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }
}

/// How many requests were approved within [`RENEWAL_WINDOW`].
fn recent_approvals(requests: &[Arc<SeenRequest>]) -> usize {
    let now = Timestamp::now();
    let window = jiff::SignedDuration::try_from(RENEWAL_WINDOW).unwrap_or_default();
    let is_recent = |request: &&Arc<SeenRequest>| match request.standing {
        Standing::Approved { at: Some(at), .. } => now.duration_since(at) < window,
        _ => false,
    };
    requests.iter().filter(is_recent).count()
}

#[cfg(test)]
mod tests;
