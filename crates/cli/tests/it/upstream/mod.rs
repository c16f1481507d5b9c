//! Upstream's programs against our hub: a script sends what they send, the hub runs as it is
//! delivered. One test for each line of the list of what a hub must do for them. And the reverse: our
//! agent and command line against a script of upstream's hub.

pub mod agent;
pub mod hub;
mod reverse;
mod rows;
pub mod walk;

use hyades_api::identity::AgentIdentity;
use serde_json::Value;
use serde_json::json;

use self::agent::Agent;
use self::agent::Asked;
use self::agent::inventory_object;
use self::agent::requests_of;
use crate::harness::Host;
use crate::wire::Answer;
use crate::wire::Caller;
use crate::wire::Wire;

/// An ITS with its hub, and the people and programs who use it.
pub struct Its {
    /// The host; it is stopped with this value.
    pub host: Host,
    /// The way to the ITS.
    pub wire: Wire,
    /// Its administrator.
    pub admin: Caller,
    /// Whoever holds the bootstrap token.
    pub bootstrap: Caller,
    /// The bootstrap token.
    pub token: String,
}

impl Its {
    /// An ITS as `clusteradm init` makes it.
    pub fn start() -> Its {
        let host = Host::its(&[]);
        let wire = Wire::to(&host, "its1");
        let admin = wire.admin();
        let token = bootstrap_token(&admin);
        Its {
            bootstrap: wire.with_token(&token),
            host,
            wire,
            admin,
            token,
        }
    }

    /// Does what upstream's `clusteradm accept` does: approves what the bootstrap account asked
    /// for, then accepts the inventory object.
    #[track_caller]
    pub fn accept(&self, cluster: &str) {
        let listed = self.admin.get(&requests_of(cluster)).ok();
        for request in listed["items"].as_array().into_iter().flatten() {
            let groups = request["spec"]["groups"].as_array();
            let group = json!("system:serviceaccounts:open-cluster-management");
            let is_candidate = groups.is_some_and(|groups| groups.contains(&group));
            if is_candidate && request["status"]["conditions"].as_array().is_none() {
                self.approve(request);
            }
        }
        self.set_accepted(cluster, true);
    }

    /// Approves a request as upstream's `clusteradm` does.
    #[track_caller]
    pub fn approve(&self, request: &Value) {
        let name = request["metadata"]["name"].as_str().expect("a name");
        let path = format!("{}/{name}/approval", agent::REQUESTS);
        self.admin.replace(&path, &approval_of(request)).ok();
    }

    /// Accepts a WEC, or denies it.
    #[track_caller]
    pub fn set_accepted(&self, cluster: &str, is_accepted: bool) {
        let patch = json!({"spec": {"hubAcceptsClient": is_accepted}});
        self.admin.merge(&inventory_object(cluster), &patch).ok();
    }

    /// Waits until an inventory object has a condition of this type, status and reason.
    #[track_caller]
    pub fn until_condition(&self, cluster: &str, type_: &str, status: &str, reason: &str) -> Value {
        self.admin.until(&inventory_object(cluster), |answer| {
            let found = condition_of(&answer.body, type_);
            found["status"] == status && found["reason"] == reason
        })
    }

    /// Waits until the hub says of an inventory object that it is accepted.
    #[track_caller]
    pub fn until_accepted(&self, cluster: &str) {
        let accepted = "HubAcceptedManagedCluster";
        self.until_condition(cluster, accepted, "True", "HubClusterAdminAccepted");
    }

    /// Waits until the hub says of an inventory object that it is denied.
    #[track_caller]
    pub fn until_denied(&self, cluster: &str) {
        let accepted = "HubAcceptedManagedCluster";
        self.until_condition(cluster, accepted, "False", "HubClusterAdminDenied");
    }

    /// Asks for a certificate as bootstrap credentials let one do.
    #[track_caller]
    pub fn ask(&self, agent: &AgentIdentity) -> Asked {
        agent::ask(&self.bootstrap, agent)
    }

    /// The same by others, who may be refused.
    pub fn ask_by(&self, caller: &Caller, agent: &AgentIdentity) -> Answer {
        let key = hyades_pki::Key::generate();
        caller.create(agent::REQUESTS, &agent::request_object(agent, &key))
    }

    /// Registers a WEC from nothing; its agent has its rights and has said that it joined.
    #[track_caller]
    pub fn register(&self, cluster: &str, name: &str) -> Agent {
        agent::announce(&self.bootstrap, cluster);
        self.register_announced(cluster, name)
    }

    /// The same for a WEC that has been announced.
    #[track_caller]
    pub fn register_announced(&self, cluster: &str, name: &str) -> Agent {
        let identity = identity(cluster, name);
        let asked = self.ask(&identity);
        self.accept(cluster);
        let agent = agent::await_certificate(&self.wire, &self.bootstrap, &identity, asked);
        self.until_accepted(cluster);
        agent
            .caller
            .until(&agent::lease(cluster), |answer| answer.code == 200);
        agent.report_available();
        agent
    }
}

/// A request with the approval that upstream's `clusteradm` writes.
fn approval_of(request: &Value) -> Value {
    let mut approved = request.clone();
    approved["apiVersion"] = json!("certificates.k8s.io/v1");
    approved["kind"] = json!("CertificateSigningRequest");
    approved["status"]["conditions"] = json!([{
        "type": "Approved",
        "status": "True",
        "reason": "clusteradm Approve",
        "message": "This CSR was approved by clusteradm certificate approve.",
        "lastUpdateTime": format!("{:.0}", jiff::Timestamp::now()),
    }]);
    approved
}

/// A token of the bootstrap account, as `clusteradm get token` asks for one.
#[track_caller]
pub fn bootstrap_token(admin: &Caller) -> String {
    let path = "/api/v1/namespaces/open-cluster-management/serviceaccounts/\
                agent-registration-bootstrap/token";
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {},
        "spec": {"audiences": null, "expirationSeconds": 3600},
    });
    let answer = admin.create(path, &request).ok();
    answer["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

/// An agent's identity.
pub fn identity(cluster: &str, name: &str) -> AgentIdentity {
    AgentIdentity::new(cluster.parse().expect("a cluster name"), name).expect("an agent name")
}

/// A condition of an object, or null.
pub fn condition_of(object: &Value, type_: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let found = conditions.find(|condition| condition["type"] == type_);
    found.cloned().unwrap_or_default()
}
