//! Upstream's registration and work agents, request by request.
//!
//! Each method sends what the recorded agent sent, in its encoding and with its quirks: objects
//! carry fields that nobody needs (`status: {conditions: null, version: {}}`), and every change of
//! a custom resource is a merge patch with the uid and the resourceVersion it is based on.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyades_api::identity::AgentIdentity;
use hyades_pki::Certificate;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use crate::wire::Answer;
use crate::wire::Caller;
use crate::wire::PROTOBUF;
use crate::wire::Wire;

/// Path of all certificate signing requests.
pub const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// Path of the inventory.
pub const INVENTORY: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";
/// The validity that `clusteradm join` asks for, in seconds: a year.
pub const VALIDITY_SECONDS: i64 = 31_536_000;

/// The path of a WEC's inventory object.
pub fn inventory_object(cluster: &str) -> String {
    format!("{INVENTORY}/{cluster}")
}

/// The path of a WEC's lease.
pub fn lease(cluster: &str) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{cluster}/leases/managed-cluster-lease")
}

/// The path of the works in a WEC's mailbox.
pub fn works(cluster: &str) -> String {
    format!("/apis/work.open-cluster-management.io/v1/namespaces/{cluster}/manifestworks")
}

/// The path of the requests of a WEC.
pub fn requests_of(cluster: &str) -> String {
    format!("{REQUESTS}?labelSelector=open-cluster-management.io%2Fcluster-name%3D{cluster}")
}

/// The path that an agent's informer of inventory objects watches.
pub fn only_inventory_object(cluster: &str) -> String {
    format!("{INVENTORY}?fieldSelector=metadata.name%3D{cluster}")
}

/// A request for a certificate, and the key that never leaves the agent.
pub struct Asked {
    /// The request's name.
    pub name: String,
    /// The request as the server answered it.
    pub object: Value,
    key: Key,
}

/// A request's object as the agent writes it.
pub fn request_object(agent: &AgentIdentity, key: &Key) -> Value {
    let subject = Subject::new(agent.common_name(), agent.organizations());
    let pem = CertificateRequest::new(key, &subject).expect("a request");
    json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {
            "generateName": format!("{}-", agent.cluster),
            "labels": {"open-cluster-management.io/cluster-name": agent.cluster.as_str()},
        },
        "spec": {
            "request": BASE64_STANDARD.encode(pem),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["digital signature", "key encipherment", "client auth"],
            "expirationSeconds": VALIDITY_SECONDS,
        },
    })
}

/// Creates the inventory object, as the bootstrap phase does.
#[track_caller]
pub fn announce(bootstrap: &Caller, cluster: &str) -> Value {
    bootstrap.get(&inventory_object(cluster)).refused(404);
    create_inventory_object(bootstrap, cluster).ok()
}

/// Creates the inventory object without looking first.
pub fn create_inventory_object(bootstrap: &Caller, cluster: &str) -> Answer {
    let object = json!({
        "kind": "ManagedCluster",
        "apiVersion": "cluster.open-cluster-management.io/v1",
        "metadata": {"name": cluster},
        "spec": {"hubAcceptsClient": false},
        "status": {"conditions": null, "version": {}},
    });
    bootstrap.create(INVENTORY, &object)
}

/// Asks for a certificate.
#[track_caller]
pub fn ask(caller: &Caller, agent: &AgentIdentity) -> Asked {
    let key = Key::generate();
    let answer = caller.create(REQUESTS, &request_object(agent, &key));
    // Go's typed clients read what they write.
    assert_eq!(answer.content_type, PROTOBUF);
    let object = answer.ok();
    let name = object["metadata"]["name"].as_str().expect("a name");
    Asked {
        name: name.to_owned(),
        object,
        key,
    }
}

/// Waits, by the informer of its own requests, for the certificate that was asked for; becomes the
/// agent of the normal phase.
#[track_caller]
pub fn await_certificate(
    wire: &Wire,
    caller: &Caller,
    agent: &AgentIdentity,
    asked: Asked,
) -> Agent {
    let mut watch = caller.watch(&requests_of(agent.cluster.as_str()));
    let signed = watch.until(|event| {
        event.object["metadata"]["name"] == asked.name.as_str()
            && event.object["status"]["certificate"].is_string()
    });
    let text = signed["status"]["certificate"].as_str().expect("base64");
    let pem = BASE64_STANDARD.decode(text).expect("base64");
    let pem = String::from_utf8(pem).expect("PEM");
    Agent {
        certificate: Certificate::from_pem(&pem).expect("a certificate"),
        caller: wire.with_certificate(&pem, &asked.key.to_ec_pem()),
        identity: agent.clone(),
    }
}

/// An agent that has a certificate.
#[derive(Clone)]
pub struct Agent {
    /// Requests by its certificate.
    pub caller: Caller,
    /// Its certificate.
    pub certificate: Certificate,
    /// Its name.
    pub identity: AgentIdentity,
}

impl Agent {
    /// Its WEC's name.
    pub fn cluster(&self) -> &str {
        self.identity.cluster.as_str()
    }

    /// Renews the lease: reads it, changes the time and nothing else, and writes it back.
    pub fn renew_lease(&self) -> Answer {
        let path = lease(self.cluster());
        let read = self.caller.get(&path);
        if read.code != 200 {
            return read;
        }
        let mut object = read.body;
        object["spec"]["renewTime"] = json!(format!("{:.6}", Timestamp::now()));
        self.caller.replace(&path, &object)
    }

    /// Its inventory object.
    #[track_caller]
    pub fn inventory_object(&self) -> Value {
        self.caller.get(&inventory_object(self.cluster())).ok()
    }

    /// Reports status: conditions added to those that are there, and the version.
    pub fn report(&self, conditions: &[Value]) -> Answer {
        let path = format!("{}/status", inventory_object(self.cluster()));
        let seen = self.caller.get(&inventory_object(self.cluster()));
        if seen.code != 200 {
            return seen;
        }
        let status = json!({
            "conditions": merged(&seen.body["status"]["conditions"], conditions),
            "version": {"kubernetes": "v1.36.2"},
            "capacity": {"cpu": "4"},
            "allocatable": {"cpu": "3"},
        });
        self.caller.merge(&path, &based_on(&seen.body, status))
    }

    /// Says that it joined and that its WEC answers, until no other writer comes between.
    #[track_caller]
    pub fn report_available(&self) -> Value {
        let conditions = [
            condition(
                "ManagedClusterJoined",
                "ManagedClusterJoined",
                "Managed cluster joined",
            ),
            condition(
                "ManagedClusterConditionAvailable",
                "ManagedClusterAvailable",
                "Managed cluster is available",
            ),
        ];
        loop {
            let answer = self.report(&conditions);
            // Upstream's agent, too, runs into conflicts with the hub and tries again.
            if answer.code != 409 {
                return answer.ok();
            }
        }
    }

    /// Writes the event with which upstream's agent reports an available WEC.
    pub fn tell_available(&self, object: &Value) -> Answer {
        let cluster = self.cluster();
        let event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": format!("{cluster}.18eae4ada434704e"), "namespace": cluster},
            "eventTime": format!("{:.6}", Timestamp::now()),
            "reportingController": "klusterlet-agent",
            "reportingInstance": "klusterlet-agent-vm",
            "action": "Available",
            "reason": "Available",
            "regarding": {
                "apiVersion": "cluster.open-cluster-management.io/v1",
                "kind": "ManagedCluster",
                "name": cluster,
                "namespace": cluster,
                "uid": object["metadata"]["uid"],
            },
            "note": format!("The {cluster} is successfully imported, and it is managed by the hub."),
            "type": "Normal",
        });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{cluster}/events");
        self.caller.create(&path, &event)
    }

    /// Puts the work agent's finalizer on a work.
    pub fn hold_work(&self, work: &Value) -> Answer {
        let finalizers = json!(["cluster.open-cluster-management.io/manifest-work-cleanup"]);
        self.change_work(work, "", json!({"metadata": {"finalizers": finalizers}}))
    }

    /// Takes all finalizers off a work.
    pub fn release_work(&self, work: &Value) -> Answer {
        self.change_work(work, "", json!({"metadata": {"finalizers": null}}))
    }

    /// Writes a work's status.
    pub fn report_work(&self, work: &Value, status: Value) -> Answer {
        self.change_work(work, "/status", json!({"status": status}))
    }

    fn change_work(&self, work: &Value, subresource: &str, mut patch: Value) -> Answer {
        let name = work["metadata"]["name"].as_str().expect("a name");
        for field in ["uid", "resourceVersion"] {
            patch["metadata"][field] = work["metadata"][field].clone();
        }
        let path = format!("{}/{name}{subresource}", works(self.cluster()));
        self.caller.merge(&path, &patch)
    }
}

/// A status patch with the uid and the version it is based on.
pub fn based_on(seen: &Value, status: Value) -> Value {
    let metadata = &seen["metadata"];
    json!({
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "uid": metadata["uid"],
        },
        "status": status,
    })
}

/// A condition that is true.
pub fn condition(type_: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": format!("{:.0}", Timestamp::now()),
    })
}

/// Conditions with others put in their places.
fn merged(present: &Value, new: &[Value]) -> Value {
    let mut all: Vec<Value> = present.as_array().cloned().unwrap_or_default();
    for condition in new {
        let same = |other: &&mut Value| other["type"] == condition["type"];
        match all.iter_mut().find(same) {
            Some(other) if other["status"] == condition["status"] => {}
            Some(other) => *other = condition.clone(),
            None => all.push(condition.clone()),
        }
    }
    Value::Array(all)
}
