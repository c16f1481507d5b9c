//! How far one WEC's registration has come: the same questions on either side.

use super::words;
use crate::hyades::doctor::line::Check;
use crate::hyades::doctor::line::Line;
use crate::hyades::doctor::observed::Request;
use crate::hyades::doctor::observed::RequestState;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as known;
use jiff::Timestamp;

/// Lease durations without renewal after which the line fails. Agents renew once a duration, and
/// spread it a little.
const LEASE_DURATIONS_MAX: i64 = 2;

/// Seconds that a deregistration may take: an agent that is there removes its works within it.
const REMOVAL_SECONDS_MAX: i64 = 60;

/// Seconds that a signer may take after the approval: controllers retry within it.
const SIGNING_SECONDS_MAX: i64 = 30;

/// One WEC, and the commands about it.
#[derive(Debug)]
pub struct Registration<'a> {
    /// Its name.
    pub name: &'a str,
    /// The context of its hub.
    pub its: &'a str,
    /// The common name of the agent that owns the name, if it is known.
    pub owner: Option<&'a str>,
    /// The command to run when its agent has not asked, or is silent.
    pub ask: String,
    /// The command that joins it again.
    pub join: String,
    /// The time.
    pub now: Timestamp,
}

/// Whether the agent has its own certificate and used it.
pub fn is_joined(cluster: Option<&ManagedCluster>) -> bool {
    cluster.is_some_and(|cluster| conditions::is_true(&cluster.status.conditions, known::JOINED))
}

impl Registration<'_> {
    fn accept(&self, extra: &str) -> String {
        format!(
            "clusteradm --context {} accept --clusters {}{extra}",
            self.its, self.name
        )
    }

    /// The inventory object.
    pub fn inventory(&self, cluster: Option<&ManagedCluster>, requests: &[Request]) -> Line {
        let (check, of) = (Check::Inventory, self.name);
        let Some(cluster) = cluster else {
            let problem = match requests.first() {
                None => "the hub has no managed cluster of this name".to_owned(),
                Some(request) => format!(
                    "the request {} is there and no managed cluster: it was deregistered, or deleted while it joined",
                    request.name
                ),
            };
            let fix = match requests.is_empty() {
                true => self.ask.clone(),
                false => self.join.clone(),
            };
            return Line::failed(check, of, problem, fix);
        };
        if let Some(since) = &cluster.metadata.deletion_timestamp {
            let since = words::relative(since.0, self.now);
            return Line::skipped(
                check,
                of,
                format!("it is being deregistered, since {since}"),
            );
        }
        Line::passed(check, of, "the hub has the managed cluster")
    }

    /// What holds up a deregistration.
    pub fn removal(&self, cluster: &ManagedCluster, works: usize) -> Line {
        let (check, of) = (Check::Removal, self.name);
        let since = cluster.metadata.deletion_timestamp.as_ref();
        let age = since.map_or(0, |since| self.now.as_second() - since.0.as_second());
        if age <= REMOVAL_SECONDS_MAX {
            return Line::passed(check, of, format!("under way, with {works} works left"));
        }
        let deleting = conditions::find(&cluster.status.conditions, known::DELETING);
        let words = deleting.map_or("", |condition| condition.message.as_str());
        match works {
            0 => Line::failed(
                check,
                of,
                format!("its mailbox holds no works, and the hub does not let it go: {words}"),
                format!(
                    "kubectl --context {} -n open-cluster-management-hub rollout restart deployment",
                    self.its
                ),
            ),
            works => Line::failed(
                check,
                of,
                format!("{works} works are left, whose objects its agent has to take away first"),
                &self.ask,
            ),
        }
    }

    /// The certificate signing request.
    pub fn request(&self, requests: &[Request], is_joined: bool) -> Line {
        let (check, of) = (Check::Request, self.name);
        let Some(request) = requests.first() else {
            return match is_joined {
                true => Line::passed(check, of, "signed earlier, and cleaned up since"),
                false => Line::failed(
                    check,
                    of,
                    "the agent has not asked for a certificate",
                    &self.ask,
                ),
            };
        };
        let name = &request.name;
        let age = request
            .created
            .map_or(0, |created| self.now.as_second() - created.as_second());
        match &request.state {
            RequestState::Issued => Line::passed(check, of, format!("{name} is signed")),
            RequestState::Pending => self.pending(request, requests, age),
            RequestState::Approved if age <= SIGNING_SECONDS_MAX => {
                Line::passed(check, of, format!("{name} is approved and being signed"))
            }
            RequestState::Approved => Line::failed(
                check,
                of,
                format!(
                    "{name} is approved, and no signer has signed it within {}",
                    words::seconds(age)
                ),
                format!(
                    "kubectl --context {} -n kube-system get pods -l component=kube-controller-manager",
                    self.its
                ),
            ),
            RequestState::Denied(words) => Line::failed(
                check,
                of,
                format!("{name} was denied: {words}"),
                self.undo_denial(request),
            ),
            RequestState::Failed(words) => Line::failed(
                check,
                of,
                format!("the signer failed with {name}: {words}"),
                format!("kubectl --context {} delete csr {name}", self.its),
            ),
        }
    }

    fn pending(&self, request: &Request, requests: &[Request], age: i64) -> Line {
        let of = self.name;
        let mut requesters: Vec<&str> = requests
            .iter()
            .filter(|request| request.state == RequestState::Pending)
            .filter_map(|request| request.requester.as_deref())
            .collect();
        requesters.sort_unstable();
        requesters.dedup();
        let problem = match (self.owner, requesters.as_slice()) {
            (Some(owner), [one]) if owner != *one => format!(
                "{} is pending: it asks for {one}, and the name belongs to {owner}",
                request.name
            ),
            (_, [_, _, ..]) => format!(
                "requests of different agents are pending: {}",
                requesters.join(", ")
            ),
            _ => format!("{} is pending for {}", request.name, words::seconds(age)),
        };
        let fix = match (self.owner, requesters.as_slice()) {
            (Some(owner), [one]) if owner != *one => self.accept(" --replace"),
            (_, [_, _, ..]) => {
                self.accept(r#" --requesters "${REQUESTER:?set it to one of these common names}""#)
            }
            _ => self.accept(""),
        };
        Line::failed(Check::Request, of, problem, fix)
    }

    fn undo_denial(&self, request: &Request) -> String {
        let is_of_another = match (self.owner, request.requester.as_deref()) {
            (Some(owner), Some(requester)) => owner != requester,
            _ => false,
        };
        match is_of_another {
            true => self.accept(" --replace"),
            false => format!("kubectl --context {} delete csr {}", self.its, request.name),
        }
    }

    /// Whether the hub accepts the WEC.
    pub fn acceptance(&self, cluster: &ManagedCluster) -> Line {
        let (check, of) = (Check::Acceptance, self.name);
        if !cluster.spec.hub_accepts_client {
            return Line::failed(check, of, "the hub does not accept it", self.accept(""));
        }
        let condition = conditions::find(&cluster.status.conditions, known::HUB_ACCEPTED);
        match condition {
            Some(condition) if condition.status != "True" => Line::failed(
                check,
                of,
                format!("{}: {}", condition.reason, condition.message),
                format!("hyades doctor --context {}", self.its),
            ),
            _ => Line::passed(check, of, "accepted"),
        }
    }

    /// When the lease was renewed. The outer nothing means that there is no lease.
    pub fn lease(&self, renewed: Option<Option<Timestamp>>, duration_seconds: i64) -> Line {
        let (check, of) = (Check::Lease, self.name);
        match renewed {
            None => Line::failed(check, of, "the mailbox has no lease", self.accept("")),
            Some(None) => Line::failed(check, of, "the agent never renewed it", &self.ask),
            Some(Some(renewed)) => {
                let age = self.now.as_second() - renewed.as_second();
                let facts = format!(
                    "renewed {}, and lasts {}",
                    words::relative(renewed, self.now),
                    words::seconds(duration_seconds)
                );
                match age <= duration_seconds * LEASE_DURATIONS_MAX {
                    true => Line::passed(check, of, facts),
                    false => Line::failed(check, of, facts, &self.ask),
                }
            }
        }
    }

    /// Whether the agent's clock agrees with the hub's, as the hub sees it.
    pub fn clock(&self, cluster: &ManagedCluster) -> Option<Line> {
        let condition = conditions::find(&cluster.status.conditions, known::CLOCK_SYNCED)?;
        let of = self.name;
        Some(match condition.status.as_str() {
            "False" => Line::failed(
                Check::Clock,
                of,
                &condition.message,
                "sudo timedatectl set-ntp true",
            ),
            _ => Line::passed(Check::Clock, of, "agrees with the hub's"),
        })
    }

    /// Whether the hub calls it Joined and Available.
    pub fn available(&self, cluster: &ManagedCluster) -> Line {
        let (check, of) = (Check::Available, self.name);
        let found = &cluster.status.conditions;
        if !conditions::is_true(found, known::JOINED) {
            return Line::failed(check, of, "it has not joined yet", &self.ask);
        }
        match conditions::find(found, known::AVAILABLE) {
            Some(condition) if condition.status == "True" => {
                Line::passed(check, of, "Joined and Available")
            }
            Some(condition) => Line::failed(
                check,
                of,
                format!("Available is {}: {}", condition.status, condition.message),
                &self.ask,
            ),
            None => Line::failed(check, of, "the agent has not reported yet", &self.ask),
        }
    }
}
