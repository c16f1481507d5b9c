//! What to do about a pending request.

use super::super::pins::Heir;
use super::seen::NotOurs;
use super::seen::Request;
use hyades_api::identity::AgentIdentity;

/// Reasons of denials.
pub(super) const NAME_TAKEN: &str = "ClusterNameTaken";
pub(super) const NAME_REFUSED: &str = "ClusterNameRefused";

/// On whose word a request is approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Approval {
    /// The API server's, that its user may renew.
    RightToRenew,
    /// The list of users, which goes with a feature gate.
    ListedUser,
    /// A JoinRule's, of this name.
    Rule(String),
    /// An administrator's, who handed the name over.
    HandOver,
    /// That of whoever let the owner in: the request shows the key that the name belongs to.
    OwnKey,
    /// Its own: it showed the expired certificate of the same key.
    FormerKey,
}

/// What to do about a pending request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Leave it to people.
    Leave,
    /// Leave it to people, who are to be warned of this.
    Warn(String),
    /// Approve it; a renewal only if its user has the right.
    Approve(Approval),
    /// Deny it, for this reason and with this message.
    Deny(&'static str, String),
}

/// The agent that has a WEC's name, and its key as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Owner {
    pub(in super::super) agent: AgentIdentity,
    /// SHA-256 of the public key that the name belongs to; empty if it is not known.
    pub(in super::super) key_sha256: String,
}

/// What is known besides the request itself.
#[derive(Debug, Default)]
pub(super) struct Situation {
    /// The agent that has the name, if any has.
    pub(super) owner: Option<Owner>,
    /// The agent that an administrator hands the name over to.
    pub(super) handed_to: Option<Heir>,
    /// Whether the owner holds a certificate. From then on bootstrap credentials, which many
    /// agents share, get nobody another certificate for the same agent without a person.
    pub(super) is_joined: bool,
    /// Whether an administrator took the WEC's acceptance back: its key then earns it nothing.
    pub(super) is_turned_away: bool,
    /// Whether the sender is on the list of users.
    pub(super) user_is_listed: bool,
    /// The rule that lets the sender in.
    pub(super) rule: Option<String>,
    /// Whether an agent whose certificate expired may come back, or why not.
    pub(super) recovery: Option<Result<(), String>>,
}

/// Decides about a pending request.
pub(super) fn decide(request: &Result<Request, NotOurs>, situation: Situation) -> Verdict {
    let request = match request {
        Ok(request) => request,
        Err(NotOurs::Foreign | NotOurs::Intruder) => return Verdict::Leave,
        Err(NotOurs::BadName(message)) => return Verdict::Deny(NAME_REFUSED, message.clone()),
    };
    if let Some(owner) = &situation.owner
        && owner.agent != request.agent
    {
        let handed_to = situation.handed_to.as_ref();
        let is_heir = handed_to.is_some_and(|heir| heir.is(&request.agent, &request.key_sha256));
        return match is_heir && !request.is_renewal() {
            true => Verdict::Approve(Approval::HandOver),
            false => Verdict::Deny(NAME_TAKEN, taken(&request.agent, &owner.agent)),
        };
    }
    if request.is_renewal() {
        return Verdict::Approve(Approval::RightToRenew);
    }
    match situation.recovery {
        Some(Ok(())) => return Verdict::Approve(Approval::FormerKey),
        Some(Err(why)) => return Verdict::Warn(why),
        None => {}
    }
    let owned_by_another_key =
        |owner: &Owner| !owner.key_sha256.is_empty() && owner.key_sha256 != request.key_sha256;
    match &situation.owner {
        Some(owner) if owned_by_another_key(owner) => {
            return Verdict::Warn(other_key(&request.agent));
        }
        // The agent was restarted before it had its certificate, or has lost it.
        Some(owner) if owner.key_sha256 == request.key_sha256 && !situation.is_turned_away => {
            return Verdict::Approve(Approval::OwnKey);
        }
        _ => {}
    }
    match situation.rule {
        _ if situation.is_joined => Verdict::Leave,
        _ if situation.user_is_listed => Verdict::Approve(Approval::ListedUser),
        Some(rule) => Verdict::Approve(Approval::Rule(rule)),
        None => Verdict::Leave,
    }
}

fn taken(asking: &AgentIdentity, owner: &AgentIdentity) -> String {
    let cluster = owner.cluster.as_str();
    format!(
        "The cluster name {cluster:?} is taken by the agent {:?}, and this request is of the agent \
         {:?}. If they are different clusters, join again under another cluster name. If this \
         agent shall replace the other one, hand the name over on the hub with \"clusteradm accept \
         --clusters {cluster} --replace\".",
        owner.agent(),
        asking.agent(),
    )
}

fn other_key(asking: &AgentIdentity) -> String {
    let cluster = asking.cluster.as_str();
    format!(
        "A request for the agent {:?} of the cluster {cluster:?} came with bootstrap credentials \
         and another key than the one that owns the name. It is not approved automatically. If the \
         agent has lost its key, approve it with \"clusteradm accept --clusters {cluster} \
         --replace\"; else deny it.",
        asking.agent(),
    )
}
