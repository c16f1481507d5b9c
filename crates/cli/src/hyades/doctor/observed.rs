//! Everything the doctor looked at, before anything is made of it.
//!
//! No token and no key is in here: what was read of a credential are facts about it.

use crate::target::KnownContext;
use hyades_api::cluster::ManagedCluster;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Trouble;
use jiff::Timestamp;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a read of the API gave.
pub type Read<T> = Result<T, Trouble>;

/// What one step of reaching a server gave.
#[derive(Debug, Clone, PartialEq)]
pub enum Tried<T> {
    /// It was not tried; why.
    Not(&'static str),
    /// It succeeded.
    Done(T),
    /// It failed; the reason.
    Failed(String),
}

impl<T> Tried<T> {
    /// What it gave, if it succeeded.
    pub fn done(&self) -> Option<&T> {
        match self {
            Self::Done(value) => Some(value),
            Self::Not(_) | Self::Failed(_) => None,
        }
    }
}

/// The way to a server, step by step.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The URL, as configured.
    pub url: String,
    /// The addresses of its host.
    pub addresses: Tried<Vec<IpAddr>>,
    /// How long a connection took.
    pub connected: Tried<Duration>,
    /// The certificates it showed.
    pub chain: Tried<Chain>,
    /// What it answered to a question for its version.
    pub answer: Tried<Answer>,
}

/// The certificates a server showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// The server's own.
    pub subject: String,
    /// Start of the time in which all of them are valid.
    pub not_before: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
    /// The names the server's own is for.
    pub names: Vec<String>,
    /// Whether a client that trusts the configured authority trusts them; nothing if none is
    /// configured, and the system's decide.
    pub trust: Option<Result<(), String>>,
}

/// What a server answered to a question for its version.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The version; or why there is none.
    pub version: Read<String>,
    /// The server's clock minus this machine's, in seconds, if it told the time.
    pub ahead_seconds: Option<i64>,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The time of this machine.
    pub now: Timestamp,
    /// The context that was asked for.
    pub context: String,
    /// The contexts at hand, for commands that need one.
    pub contexts: Vec<KnownContext>,
    /// The one hub among those contexts, if they were asked: only a cluster that is neither hub nor
    /// WEC leaves the question open.
    pub only_hub: Option<KnownContext>,
    /// The data folder of this machine's host, if the kubeconfig is that host's own.
    pub data_dir: Option<PathBuf>,
    /// The way to the context's own API server.
    pub own: Reach,
    /// What the hub side of the context holds, if it is a hub.
    pub hub: Read<Option<HubSide>>,
    /// What the WEC side of the context holds, if it was joined.
    pub wec: Read<Option<WecSide>>,
}

/// The pods of one purpose.
#[derive(Debug, Clone)]
pub struct Pods {
    /// Their namespace.
    pub namespace: &'static str,
    /// The Deployments there, by name.
    pub deployments: Read<Vec<String>>,
    /// The pods.
    pub pods: Read<Vec<PodFacts>>,
}

/// One pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Whether it is ready.
    pub is_ready: bool,
    /// Whether it runs for the first time, and so shortly that its first probe may be due.
    pub is_starting: bool,
    /// Its phase, and why it is not running.
    pub state: String,
    /// The last line of its log that tells of trouble.
    pub last_error: Option<String>,
}

/// A hub, from its own side.
#[derive(Debug, Clone)]
pub struct HubSide {
    /// The operator's pods.
    pub operator: Pods,
    /// The controllers' pods.
    pub controllers: Pods,
    /// The server that `cluster-info` names; nothing without one that can be read.
    pub cluster_info: Read<Option<String>>,
    /// What new agents present themselves with.
    pub bootstrap: BootstrapFacts,
    /// The WECs looked at.
    pub wecs: Read<Vec<WecOnHub>>,
    /// How many more there are.
    pub wecs_left_out: usize,
}

/// What new agents present themselves with.
#[derive(Debug, Clone)]
pub struct BootstrapFacts {
    /// Whether the bootstrap account exists.
    pub account: Read<bool>,
    /// Whether there is a bootstrap token, and when it expires if it does.
    pub token: Read<Option<Option<Timestamp>>>,
    /// What new agents need and may not do.
    pub missing_rights: Read<Vec<String>>,
}

/// One WEC, as its hub knows it.
#[derive(Debug, Clone)]
pub struct WecOnHub {
    /// Its name.
    pub name: String,
    /// The inventory object.
    pub cluster: Read<Option<ManagedCluster>>,
    /// Its certificate signing requests, newest first.
    pub requests: Read<Vec<Request>>,
    /// The common name of the agent that owns the name.
    pub owner: Option<String>,
    /// What of mailbox and rights is missing, by name.
    pub missing: Read<Vec<String>>,
    /// When the lease was renewed; the inner nothing if never.
    pub lease: Read<Option<Option<Timestamp>>>,
    /// How many works are in the mailbox.
    pub works: Read<usize>,
}

/// One certificate signing request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its name.
    pub name: String,
    /// The common name it asks for; nothing if it cannot be read.
    pub requester: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// How it fares.
    pub state: RequestState,
}

/// How a request fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestState {
    /// Nobody has decided.
    Pending,
    /// Approved, and not signed yet.
    Approved,
    /// Signed.
    Issued,
    /// Denied, with the words.
    Denied(String),
    /// The signer failed, with its words.
    Failed(String),
}

/// A WEC, from its own side.
#[derive(Debug, Clone)]
pub struct WecSide {
    /// Whether there are Klusterlets at all.
    pub has_definition: bool,
    /// The Klusterlet.
    pub klusterlet: Read<Option<Klusterlet>>,
    /// Whether the pods run on the machine of a host, which shares its loopback with them.
    pub is_served_by_host: bool,
    /// The operator's pods.
    pub operator: Pods,
    /// The agent's pods.
    pub agent: Pods,
    /// The last warning among the events of the agent's namespace.
    pub last_warning: Option<String>,
    /// What the agent was given to present itself with.
    pub bootstrap: Read<Option<Result<Endpoint, String>>>,
    /// The agent's own credentials.
    pub own: Read<Option<Result<OwnFacts, String>>>,
    /// Works that are being removed and are not gone.
    pub stuck_works: Read<Vec<String>>,
    /// The hub, seen with these credentials; nothing without any.
    pub hub: Option<HubFromWec>,
}

/// What a kubeconfig for the hub says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// URL of the hub.
    pub server: String,
    /// What it presents.
    pub token: Option<TokenFacts>,
}

/// What is known of a token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenFacts {
    /// Of a service account.
    Account {
        /// Whose.
        subject: String,
        /// When it was issued.
        issued: Option<Timestamp>,
        /// When it expires.
        expires: Option<Timestamp>,
    },
    /// A bootstrap token: it is valid as long as its Secret.
    Bootstrap,
    /// Neither form.
    Unreadable,
}

/// The agent's own credentials, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnFacts {
    /// The name it registered under.
    pub cluster: String,
    /// URL of the hub.
    pub server: String,
    /// The common name in the certificate.
    pub common_name: String,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
}

/// Who asked the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// The agent, with its certificate.
    Agent,
    /// A new agent, with the bootstrap token.
    Newcomer,
}

/// The hub, as the credentials in a WEC see it from this machine.
#[derive(Debug, Clone)]
pub struct HubFromWec {
    /// The way to it.
    pub reach: Reach,
    /// PEM of the authority that the agent trusts it by.
    pub authority: Option<String>,
    /// Who asked.
    pub identity: As,
    /// Whether it serves inventory objects.
    pub is_its: Read<bool>,
    /// The inventory object of this WEC.
    pub cluster: Read<Option<ManagedCluster>>,
    /// The requests of this WEC, newest first.
    pub requests: Read<Vec<Request>>,
    /// When the lease was renewed; asked by an agent only.
    pub lease: Option<Read<Option<Option<Timestamp>>>>,
    /// What the hub says to the bootstrap token, if that was tried as well.
    pub token_answer: Option<Read<()>>,
}
