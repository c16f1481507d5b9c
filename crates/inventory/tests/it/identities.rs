//! Random identities against the approver: nothing but the exact one is approved.
//!
//! CVE-2026-4740 was a cluster name compared by prefix. Requests are put together here from pieces
//! that are alike (`c1`, `c10`, `c`), in every place where a name stands: label, common name,
//! organizations, requester, signer. A model written from the specification, and not from the
//! approver, says which of them are good.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;

use crate::fixture;
use crate::fixture::Its;
use futures::StreamExt;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_inventory::hub::Options;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::api::WatchEvent;
use hyades_runtime::kube::api::WatchParams;
use hyades_space::identity::UserInfo;
use rand::RngExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::json;

/// Forged requests sent in one run.
const FORGED: usize = 300;

/// How many proper renewals of another WEC follow the forged ones, one after the other. The approver
/// takes requests in the order in which they came, sixteen at a time: when this many later ones are
/// approved, every earlier one has been decided on.
const FENCES: usize = 10;

const CLUSTERS: [&str; 6] = ["c1", "c10", "c", "c1-0", "1c1", "managed-clusters"];
const AGENTS: [&str; 4] = ["a", "a1", "b", ""];
const PREFIX: &str = "system:open-cluster-management:";
const ALL_CLUSTERS: &str = "system:open-cluster-management:managed-clusters";

/// A group that may create requests, and nothing else.
const WRITERS: &str = "request-writers";

async fn let_writers_write(its: &Its) {
    its.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": WRITERS},
        "rules": [{
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["certificatesigningrequests"],
            "verbs": ["create"],
        }],
    }))
    .await;
    its.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": WRITERS},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": WRITERS,
        },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Group",
            "name": WRITERS,
        }],
    }))
    .await;
}

/// A request's identity, in all the places where it stands.
#[derive(Debug, Clone)]
struct Identity {
    label: String,
    common_name: String,
    organizations: Vec<String>,
    requester: String,
    signer: &'static str,
}

impl Identity {
    fn random(random: &mut StdRng) -> Identity {
        let cluster = |random: &mut StdRng| (*CLUSTERS.choose(random).expect("some")).to_owned();
        // Most places name the same WEC: what is all wrong is found out too easily.
        let main = cluster(random);
        let near = |random: &mut StdRng| match random.random_ratio(1, 5) {
            true => cluster(random),
            false => main.clone(),
        };
        let agent = *AGENTS.choose(random).expect("some");
        let common_name = match random.random_range(0..12) {
            0 => format!("{PREFIX}{}:{agent}:x", near(random)),
            1 => format!("{PREFIX}{}", near(random)),
            2 => format!("x{PREFIX}{}:{agent}", near(random)),
            3 => format!("{PREFIX}:{}:{agent}", near(random)),
            4 => format!("{}{}:{agent}", PREFIX.to_uppercase(), near(random)),
            _ => format!("{PREFIX}{}:{agent}", near(random)),
        };
        let mut organizations = vec![format!("{PREFIX}{}", near(random))];
        match random.random_range(0..8) {
            0 => {}
            1 => organizations.push(format!("{PREFIX}{}", cluster(random))),
            2 => organizations.push("system:nodes".to_owned()),
            3 => organizations.clear(),
            _ => organizations.push(ALL_CLUSTERS.to_owned()),
        }
        let requester = match random.random_range(0..5) {
            0 => format!("{PREFIX}{}:{agent}", cluster(random)),
            1 => names::BOOTSTRAP_SERVICE_ACCOUNT_USER.to_owned(),
            _ => common_name.clone(),
        };
        let signer = match random.random_ratio(1, 8) {
            true => "example.com/other",
            false => names::CLIENT_SIGNER,
        };
        Identity {
            label: near(random),
            common_name,
            organizations,
            requester,
            signer,
        }
    }

    /// Whether the owner asks for his own name again, in every place. Upstream's hub lets the second
    /// organization be absent; ours wants the very set that its certificates have.
    fn may_renew(&self, owner: &str, cluster: &str) -> bool {
        let own = format!("{PREFIX}{cluster}");
        let stated: BTreeSet<&str> = self.organizations.iter().map(String::as_str).collect();
        self.signer == names::CLIENT_SIGNER
            && self.common_name == owner
            && self.requester == owner
            && self.label == cluster
            && stated == BTreeSet::from([own.as_str(), ALL_CLUSTERS])
    }

    async fn send(&self, its: &Its) -> String {
        let subject = Subject::new(self.common_name.clone(), self.organizations.clone());
        let pem = CertificateRequest::new(&Key::generate(), &subject).expect("a request");
        let object: CertificateSigningRequest = serde_json::from_value(json!({
            "metadata": {
                "generateName": "forged-",
                "labels": {labels::CLUSTER_NAME: self.label},
            },
            "spec": {
                "signerName": self.signer,
                "request": ByteString(pem.into_bytes()),
                "usages": ["client auth"],
            },
        }))
        .expect("a CertificateSigningRequest");
        // Whoever may write requests: the hub has to find out whether this one is good.
        let requester = its.client(UserInfo {
            name: self.requester.clone(),
            groups: vec![WRITERS.to_owned(), "system:authenticated".to_owned()],
            ..UserInfo::default()
        });
        let api = Api::<CertificateSigningRequest>::all(requester);
        let created = api.create(&PostParams::default(), &object).await;
        created.expect("created").name_any()
    }
}

/// Every request that is ever approved: the hub deletes old ones, so a look at the end is too late.
struct Approvals {
    seen: Arc<Mutex<BTreeSet<String>>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Approvals {
    async fn watch(its: &Its) -> Approvals {
        let seen = Arc::new(Mutex::new(BTreeSet::new()));
        let api = Api::<CertificateSigningRequest>::all(its.admin());
        let events = api.watch(&WatchParams::default(), "0").await;
        let mut events = events.expect("a watch").boxed();
        let found = seen.clone();
        let watching = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let Ok(WatchEvent::Modified(request)) = event else {
                    continue;
                };
                let conditions = request.status.iter().flat_map(|status| &status.conditions);
                if conditions.flatten().any(|it| it.type_ == "Approved") {
                    found.lock().expect("no panics").insert(request.name_any());
                }
            }
        });
        Approvals { seen, watching }
    }

    fn has(&self, name: &str) -> bool {
        self.seen.lock().expect("no panics").contains(name)
    }
}

impl Drop for Approvals {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

#[tokio::test]
async fn of_random_identities_the_exact_one_alone_is_approved() {
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let its = Its::with_hub(Options::default()).await;
    let_writers_write(&its).await;
    let owner = its.register("c1", "a").await;
    its.register("c10", "a").await;
    let other = its.register("fence", "a").await;
    let approvals = Approvals::watch(&its).await;
    let mut sent = Vec::new();
    for _ in 0..FORGED {
        let identity = Identity::random(&mut random);
        let name = its.meanwhile(identity.send(&its)).await;
        sent.push((identity, name));
    }
    for _ in 0..FENCES {
        let client = its.agent(&other);
        let fence = its.meanwhile(fixture::request(&client, &other)).await;
        its.until("a proper renewal is approved", async |_| {
            approvals.has(&fence)
        })
        .await;
    }
    let owners = [
        (owner.common_name(), "c1"),
        (format!("{PREFIX}c10:a"), "c10"),
    ];
    for (identity, name) in sent {
        let good = owners
            .iter()
            .any(|(owner, cluster)| identity.may_renew(owner, cluster));
        assert_eq!(approvals.has(&name), good, "seed {seed}: {identity:#?}");
    }
}
