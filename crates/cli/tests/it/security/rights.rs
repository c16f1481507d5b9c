//! The exact rights of an agent, of one whose certificate expired, of bootstrap credentials, and of
//! nobody.

use expect_test::expect;
use hyades_api::identity::AgentIdentity;
use hyades_pki::Authority;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::SignOptions;
use hyades_pki::Subject;
use hyades_pki::Usage;
use jiff::Timestamp;

use super::trials::Place;
use super::trials::allowed;
use super::trials::discover;
use crate::upstream::Its;
use crate::upstream::agent;
use crate::upstream::agent::REQUESTS;
use crate::upstream::agent::only_inventory_object;
use crate::upstream::agent::request_object;
use crate::upstream::agent::requests_of;
use crate::upstream::identity;

/// Own and foreign places, of which one has a name that begins with the other's.
const PLACES: [Place; 8] = [
    in_namespace("cluster1"),
    in_namespace("cluster10"),
    in_namespace("cluster"),
    in_namespace("default"),
    in_namespace("kube-system"),
    in_namespace("open-cluster-management"),
    named("cluster1"),
    named("cluster10"),
];

const fn in_namespace(namespace: &'static str) -> Place {
    Place {
        namespace,
        name: "",
    }
}

const fn named(name: &'static str) -> Place {
    Place {
        namespace: "",
        name,
    }
}

#[test]
fn an_agent_may_do_exactly_this_and_nothing_in_any_other_mailbox() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    its.register("cluster10", "a");
    its.register("cluster", "a");
    let resources = discover(&its.admin);
    expect![[r#"
        namespace cluster1: events create,patch,update
        namespace cluster1: events.events.k8s.io create,patch,update
        namespace cluster1: leases.coordination.k8s.io get,list,update,watch
        namespace cluster1: managedclusteraddons.addon.open-cluster-management.io get,list,watch
        namespace cluster1: managedclusteraddons.addon.open-cluster-management.io/status patch,update
        namespace cluster1: manifestworks.work.open-cluster-management.io get,list,patch,update,watch
        namespace cluster1: manifestworks.work.open-cluster-management.io/status patch,update
        cluster-scoped cluster1: certificatesigningrequests.certificates.k8s.io create,get
        cluster-scoped cluster1: managedclusters.cluster.open-cluster-management.io get,update
        cluster-scoped cluster1: managedclusters.cluster.open-cluster-management.io/status patch,update
        cluster-scoped cluster1: selfsubjectaccessreviews.authorization.k8s.io create
        cluster-scoped cluster1: selfsubjectreviews.authentication.k8s.io create
        cluster-scoped cluster1: selfsubjectrulesreviews.authorization.k8s.io create
        cluster-scoped cluster10: certificatesigningrequests.certificates.k8s.io create,get
        cluster-scoped cluster10: selfsubjectaccessreviews.authorization.k8s.io create
        cluster-scoped cluster10: selfsubjectreviews.authentication.k8s.io create
        cluster-scoped cluster10: selfsubjectrulesreviews.authorization.k8s.io create
    "#]].assert_eq(&allowed(&agent.caller, &resources, &PLACES));
    // Lists and watches of inventory objects are for one name, which is its own.
    agent.caller.watch(&only_inventory_object("cluster1"));
    for other in ["cluster10", "cluster"] {
        let refused = agent.caller.try_watch(&only_inventory_object(other));
        assert_eq!(refused.err(), Some(403), "{other}");
    }
    // So are those of requests, by its label.
    agent.caller.watch(&requests_of("cluster1"));
    for path in [
        requests_of("cluster10"),
        format!("{}&watch=true", requests_of("cluster10")),
        REQUESTS.to_owned(),
        format!("{REQUESTS}?watch=true"),
    ] {
        let message = agent.caller.get(&path).refused(403);
        let label = "open-cluster-management.io/cluster-name=cluster1";
        assert!(message.contains(label), "{message}");
    }
}

#[test]
fn bootstrap_credentials_may_announce_and_ask_and_nothing_else() {
    let its = Its::start();
    its.register("cluster1", "a");
    let resources = discover(&its.admin);
    expect![[r#"
        cluster-scoped cluster1: certificatesigningrequests.certificates.k8s.io create,get
        cluster-scoped cluster1: managedclusters.cluster.open-cluster-management.io create,get
        cluster-scoped cluster1: selfsubjectaccessreviews.authorization.k8s.io create
        cluster-scoped cluster1: selfsubjectreviews.authentication.k8s.io create
        cluster-scoped cluster1: selfsubjectrulesreviews.authorization.k8s.io create
        cluster-scoped cluster10: certificatesigningrequests.certificates.k8s.io create,get
        cluster-scoped cluster10: managedclusters.cluster.open-cluster-management.io create,get
        cluster-scoped cluster10: selfsubjectaccessreviews.authorization.k8s.io create
        cluster-scoped cluster10: selfsubjectreviews.authentication.k8s.io create
        cluster-scoped cluster10: selfsubjectrulesreviews.authorization.k8s.io create
    "#]]
    .assert_eq(&allowed(&its.bootstrap, &resources, &PLACES));
    let in_kube = |place: &str, name: &str| format!("/api/v1/namespaces/kube-{place}/{name}");
    let public = ["configmaps/cluster-info", "configmaps/kube-root-ca.crt"];
    for name in public {
        its.bootstrap.get(&in_kube("public", name)).ok();
    }
    let path = in_kube("system", "configmaps/extension-apiserver-authentication");
    its.bootstrap.get(&path).refused(403);
}

#[test]
fn a_wrong_token_and_no_credentials_open_nothing() {
    let its = Its::start();
    let resources = discover(&its.admin);
    let nobody = its.wire.with_token(&format!("{}x", its.token));
    expect![[r#""#]].assert_eq(&allowed(&nobody, &resources, &PLACES));
    let anonymous = its.wire.anonymous();
    expect![[r#""#]].assert_eq(&allowed(&anonymous, &resources, &PLACES));
}

#[test]
fn an_expired_certificate_may_ask_and_look_at_that_and_nothing_else() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    let other = its.register("cluster10", "a");
    let key = Key::generate();
    let expired = expired_certificate(&its, &agent.identity, &key);
    let former = its.wire.with_certificate(&expired, &key.to_ec_pem());
    let resources = discover(&its.admin);
    expect![[r#"
        cluster-scoped cluster1: certificatesigningrequests.certificates.k8s.io create,get
        cluster-scoped cluster10: certificatesigningrequests.certificates.k8s.io create,get
    "#]]
    .assert_eq(&allowed(&former, &resources, &PLACES));
    // What it asks is for its own name, and what it looks at is its own. Of the keys it may ask for
    // the hub knows which one owns the name; another stays undecided.
    let own = former.create(REQUESTS, &request_object(&agent.identity, &key));
    let own = own.ok()["metadata"]["name"].clone();
    let own = format!("{REQUESTS}/{}", own.as_str().expect("a name"));
    former.get(&own).ok();
    let another = former.create(REQUESTS, &request_object(&agent.identity, &Key::generate()));
    assert!(another.ok()["status"]["conditions"].is_null());
    for wrong in [
        request_object(&identity("cluster1", "b"), &key),
        request_object(&other.identity, &key),
    ] {
        let message = former.create(REQUESTS, &wrong).refused(403);
        assert!(message.contains("for that common name only"), "{message}");
    }
    let foreign = agent::ask(&other.caller, &other.identity);
    former
        .get(&format!("{REQUESTS}/{}", foreign.name))
        .refused(403);
}

/// A certificate of an agent that ended an hour ago, as the space's authority signed it.
fn expired_certificate(its: &Its, agent: &AgentIdentity, key: &Key) -> String {
    let file = |name: &str| {
        let path = its.host.data_dir().join("spaces/its1").join(name);
        std::fs::read_to_string(path).expect("a file of the space")
    };
    let authority = Authority::from_pem(&file("client-ca.crt"), &file("client-ca.key"));
    let subject = Subject::new(agent.common_name(), agent.organizations());
    let request = CertificateRequest::new(key, &subject).expect("a request");
    let request = CertificateRequest::parse_pem(&request).expect("a request");
    let now = Timestamp::now().as_second();
    let at = |hours: i64| Timestamp::from_second(now + hours * 3600).expect("a time");
    let options = SignOptions {
        not_before: at(-24),
        not_after: at(-1),
        usages: vec![Usage::ClientAuth],
    };
    let signed = authority
        .expect("an authority")
        .sign_request(&request, &options);
    signed.expect("a certificate").to_pem()
}
