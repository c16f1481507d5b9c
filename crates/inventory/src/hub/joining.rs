//! Declarative joining: which newcomers the JoinRules let in.
//!
//! ```text
//! certificate request ─ user, groups, name ─▶ the first rule by name that is open and fits
//!     ▶ a place of the rule is reserved ▶ request approved ∥ inventory object accepted
//!     ▶ the mailbox names the rule: from then on it counts, also after a restart
//! ```
//!
//! A rule is a cluster-scoped object of our own kind rather than a ConfigMap, so that the API
//! server refuses what makes no sense and rights on rules can be given out apart from others.

use super::Hub;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::join_rule as statements;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::join::JoinRule;
use hyades_api::names::labels;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

/// How long joins are gathered before a rule's count is written: a thousand joins at once shall
/// not cost a thousand writes to one object.
pub(super) const SETTLE: Duration = Duration::from_millis(200);

/// What a newcomer is let in as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Invitation {
    /// The rule that lets it in.
    pub(super) rule: String,
    /// Labels it gets unless it states others.
    pub(super) labels: BTreeMap<String, String>,
    /// The set it is put into.
    pub(super) cluster_set: Option<String>,
}

impl Invitation {
    /// The invitation by a rule. A rule that is gone since it decided still stands by its word.
    pub(super) fn by(name: &str, rule: Option<&JoinRule>) -> Self {
        Self {
            rule: name.to_owned(),
            labels: rule
                .map(|rule| rule.spec.labels.clone())
                .unwrap_or_default(),
            cluster_set: rule.and_then(|rule| rule.spec.cluster_set.clone()),
        }
    }

    /// The labels that an inventory object lacks for this invitation.
    pub(super) fn labels_for(&self, object: &ManagedCluster) -> BTreeMap<String, String> {
        let present = object.labels();
        let defaults = self.labels.iter();
        let mut missing: BTreeMap<String, String> = defaults
            .filter(|(key, _)| !present.contains_key(*key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        if let Some(set) = &self.cluster_set
            && present.get(labels::CLUSTER_SET) != Some(set)
        {
            missing.insert(labels::CLUSTER_SET.to_owned(), set.clone());
        }
        missing
    }
}

/// Who asks to join.
#[derive(Clone, Copy, Debug)]
pub(super) struct Applicant<'a> {
    /// The name it asks for.
    pub(super) cluster: &'a ClusterName,
    /// The user that sent the request.
    pub(super) user: &'a str,
    /// The user's groups.
    pub(super) groups: &'a [String],
}

/// Whether a rule is about this applicant at all.
fn fits(rule: &JoinRule, applicant: Applicant<'_>) -> bool {
    // An agent lets nobody else in, whatever groups a rule names.
    if AgentIdentity::from_common_name(applicant.user).is_ok() {
        return false;
    }
    let identity = &rule.spec.identity;
    let known = match (&identity.user, &identity.group) {
        (Some(user), None) => user == applicant.user,
        (None, Some(group)) => applicant.groups.contains(group),
        _ => false,
    };
    let pattern = match rule.spec.cluster_names.as_str() {
        "" => "*",
        pattern => pattern,
    };
    known && matches(pattern.as_bytes(), applicant.cluster.as_str().as_bytes())
}

/// Whether a text is of a pattern, in which `*` stands for any characters and `?` for one. Takes
/// time proportional to the product of their lengths at most, whatever the pattern.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while next < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, next));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[next] => {
                at += 1;
                next += 1;
            }
            _ => match star {
                Some((star_at, taken)) => {
                    star = Some((star_at, taken + 1));
                    at = star_at + 1;
                    next = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Whether a rule lets anybody in now.
fn openness(rule: &JoinRule, accepted: usize, now: Timestamp) -> Statement {
    let spec = &rule.spec;
    let statement = match (&spec.expires_at, spec.maximum_clusters) {
        (Some(end), _) if end.0 <= now => {
            statements::RULE_EXPIRED.with_message(format!("The rule expired at {}", end.0))
        }
        (_, Some(maximum)) if accepted >= usize::try_from(maximum).unwrap_or(0) => {
            statements::RULE_EXHAUSTED.with_message(format!(
                "{accepted} clusters are registered by this rule, and at most {maximum} may be"
            ))
        }
        _ => statements::RULE_OPEN.with_message("The rule lets in who fits"),
    };
    statement.observing(rule.metadata.generation)
}

/// The first rule by name that lets an applicant in.
pub(super) fn choose<'a>(
    rules: &'a [Arc<JoinRule>],
    applicant: Applicant<'_>,
    accepted: impl Fn(&str) -> usize,
    now: Timestamp,
) -> Option<&'a JoinRule> {
    let fitting = rules.iter().filter(|rule| {
        let name = rule.name_any();
        rule.metadata.deletion_timestamp.is_none()
            && fits(rule, applicant)
            && openness(rule, accepted(&name), now).status == conditions::Status::True
    });
    fitting
        .min_by_key(|rule| rule.name_any())
        .map(|rule| &**rule)
}

/// Which WECs are registered by which rule: what mailboxes say, and places reserved for WECs whose
/// mailboxes do not say it yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    rules: HashMap<String, usize>,
    clusters: HashMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    rule: String,
    /// Whether the mailbox says so.
    confirmed: bool,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// WECs registered by a rule, and places reserved.
    pub(super) fn count(&self, rule: &str) -> usize {
        self.lock().rules.get(rule).copied().unwrap_or(0)
    }

    /// The same, without this WEC: it may take the place it has.
    pub(super) fn count_without(&self, cluster: &str, rule: &str) -> usize {
        let counts = self.lock();
        let own = counts.clusters.get(cluster);
        let own = own.is_some_and(|place| place.rule == rule);
        counts.rules.get(rule).copied().unwrap_or(0) - usize::from(own)
    }

    /// Reserves a place of a rule for a WEC.
    pub(super) fn reserve(&self, cluster: &str, rule: &str) {
        self.lock().put(cluster, Some(rule), false);
    }

    /// Reserves a place of the rule that had let in a WEC before this process started, unless its
    /// mailbox says so already.
    pub(super) fn recover(&self, cluster: &str, rule: &str) {
        let mut counts = self.lock();
        if !counts.clusters.contains_key(cluster) {
            counts.put(cluster, Some(rule), false);
        }
    }

    /// Gives back a place that was reserved and not used; returns its rule.
    pub(super) fn release(&self, cluster: &str) -> Option<String> {
        let mut counts = self.lock();
        let place = counts.clusters.get(cluster);
        place.filter(|place| !place.confirmed)?;
        counts.put(cluster, None, false).pop()
    }

    /// Takes note of what a mailbox says; returns the rules whose counts changed.
    pub(super) fn saw(&self, cluster: &str, rule: Option<&str>) -> Vec<String> {
        let mut counts = self.lock();
        let place = counts.clusters.get(cluster);
        // A mailbox seen before its place was written there does not take the place away.
        if rule.is_none() && place.is_none_or(|place| !place.confirmed) {
            return Vec::new();
        }
        counts.put(cluster, rule, true)
    }
}

impl Counts {
    fn put(&mut self, cluster: &str, rule: Option<&str>, confirmed: bool) -> Vec<String> {
        let before = match rule {
            Some(rule) => self.clusters.insert(
                cluster.to_owned(),
                Place {
                    rule: rule.to_owned(),
                    confirmed,
                },
            ),
            None => self.clusters.remove(cluster),
        };
        let before = before.map(|place| place.rule);
        if before.as_deref() == rule {
            // A place reserved before is told now.
            return rule
                .filter(|_| confirmed)
                .map(str::to_owned)
                .into_iter()
                .collect();
        }
        if let Some(rule) = &before
            && let Some(count) = self.rules.get_mut(rule)
        {
            *count -= 1;
            if *count == 0 {
                self.rules.remove(rule);
            }
        }
        if let Some(rule) = rule {
            *self.rules.entry(rule.to_owned()).or_default() += 1;
        }
        before.into_iter().chain(rule.map(str::to_owned)).collect()
    }
}

/// Writes the status of rules.
pub(super) struct Reconciler {
    hub: Rc<Hub>,
}

impl Reconciler {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        Self { hub }
    }

    /// Reconciles the rule of that name; returns when it expires, to look at it again.
    pub(super) async fn reconcile(&self, name: String) -> Result<Option<Duration>, Trouble> {
        let Some(rule) = self.hub.observed.rules.get(&name) else {
            return Ok(None);
        };
        let now = Timestamp::now();
        if let Some(status) = status(&rule, self.hub.observed.tally.count(&name), now) {
            let api = Api::<JoinRule>::all(self.hub.client.clone());
            match apply::patch_status(&api, &*rule, status)
                .await
                .as_ref()
                .map_err(Trouble::of)
            {
                // Somebody changed it meanwhile; its event brings the key back.
                Ok(_) | Err(Trouble::Conflict(_) | Trouble::NotFound(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        let end = rule
            .spec
            .expires_at
            .as_ref()
            .map(|end| end.0.duration_since(now));
        Ok(end
            .and_then(|left| Duration::try_from(left).ok())
            .filter(|left| !left.is_zero()))
    }
}

/// The status of a rule, if it must change.
fn status(rule: &JoinRule, accepted: usize, now: Timestamp) -> Option<Value> {
    let mut all = rule.status.conditions.clone();
    let said = conditions::set(&mut all, &openness(rule, accepted, now), Time(now));
    let count = i32::try_from(accepted).unwrap_or(i32::MAX);
    (said || count != rule.status.accepted_clusters)
        .then(|| json!({"acceptedClusters": count, "conditions": all}))
}

#[cfg(test)]
mod tests;
