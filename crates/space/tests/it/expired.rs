//! What the holder of an expired client certificate may do: ask for another one for its own name and
//! key, look at that request, and nothing else, whatever rights its group is given.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::SignOptions;
use hyades_pki::Subject;
use hyades_pki::Usage;
use hyades_space::access::authn::expired;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use crate::support::Answer;
use crate::support::TestSpace;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

/// Somebody who was cut off.
struct Former {
    certificate: Bytes,
    name: &'static str,
    key: Key,
}

impl Former {
    /// The holder of a certificate that ended an hour ago.
    fn new(space: &TestSpace, name: &'static str) -> Former {
        let key = Key::generate();
        let pem = CertificateRequest::new(&key, &Subject::new(name, ["team".to_owned()]));
        let request = CertificateRequest::parse_pem(&pem.expect("a request")).expect("a request");
        let now = Timestamp::now().as_second();
        let at = |hours: i64| Timestamp::from_second(now + hours * 3600).expect("a time");
        let options = SignOptions {
            not_before: at(-24),
            not_after: at(-1),
            usages: vec![Usage::ClientAuth],
        };
        let certificate = space.client_ca.sign_request(&request, &options);
        let certificate = certificate.expect("a certificate");
        Former {
            certificate: Bytes::copy_from_slice(certificate.der()),
            name,
            key,
        }
    }

    async fn send(
        &self,
        space: &TestSpace,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Answer {
        let certificate = Some(self.certificate.clone());
        space.send(certificate, &[], method, path, body).await
    }
}

/// A request for a certificate.
fn request(object_name: &str, common_name: &str, key: &Key) -> Value {
    let subject = Subject::new(common_name, ["team".to_owned()]);
    let pem = CertificateRequest::new(key, &subject).expect("a request");
    json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": object_name},
        "spec": {"request": BASE64_STANDARD.encode(pem), "usages": ["client auth"],
            "signerName": "kubernetes.io/kube-apiserver-client"},
    })
}

/// A space that gives expired certificates all rights there are.
async fn generous() -> TestSpace {
    let space = TestSpace::start().await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding", "metadata": {"name": "generous"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "name": expired::GROUP,
            "apiGroup": "rbac.authorization.k8s.io"}]});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    space.must("POST", bindings, Some(&binding)).await;
    space
}

#[tokio::test]
async fn it_asks_for_its_own_name_with_whatever_key_and_reads_its_own_request() {
    let space = generous().await;
    let bob = Former::new(&space, "bob");
    let ann = Former::new(&space, "ann");
    let own = request("own", bob.name, &bob.key);
    let made = bob.send(&space, "POST", REQUESTS, Some(&own)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let path = format!("{REQUESTS}/own");
    assert_eq!(bob.send(&space, "GET", &path, None).await.code, 200);
    let gone = format!("{REQUESTS}/gone");
    assert_eq!(bob.send(&space, "GET", &gone, None).await.code, 404);

    let foreign = ann.send(&space, "GET", &path, None).await;
    assert_eq!(foreign.code, 403);
    assert!(
        foreign
            .message()
            .ends_with("the request was not made with this certificate"),
        "{}",
        foreign.message()
    );
    // The same name with another key is another holder.
    let namesake = Former::new(&space, "bob");
    assert_eq!(namesake.send(&space, "GET", &path, None).await.code, 403);

    for wrong in [
        request("wrong", "ann", &bob.key),
        request("wrong", "bobby", &bob.key),
    ] {
        let refused = bob.send(&space, "POST", REQUESTS, Some(&wrong)).await;
        assert_eq!(refused.code, 403, "{}", refused.body);
        assert!(
            refused.message().ends_with(
                "the expired certificate was for \"bob\", and serves to ask for another one for \
                 that common name only"
            ),
            "{}",
            refused.message()
        );
    }
    // A renewal that was cut short has another key. Who may come back by it is for others to say.
    let renewal = request("renewal", bob.name, &Key::generate());
    let made = bob.send(&space, "POST", REQUESTS, Some(&renewal)).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let mut unreadable = own;
    unreadable["metadata"]["name"] = "unreadable".into();
    unreadable["spec"]["request"] = "bm9uZQ==".into();
    let refused = bob.send(&space, "POST", REQUESTS, Some(&unreadable)).await;
    assert!(
        [403, 422].contains(&refused.code),
        "{} {}",
        refused.code,
        refused.body
    );
    let all = space.must("GET", REQUESTS, None).await;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn every_other_verb_on_every_resource_and_path_is_refused() {
    let space = generous().await;
    let bob = Former::new(&space, "bob");
    let own = request("own", bob.name, &bob.key);
    assert_eq!(
        bob.send(&space, "POST", REQUESTS, Some(&own)).await.code,
        201
    );
    let mut tried = 0;
    let mut refused = async |method: &str, path: &str| {
        let body = json!({});
        let body = ["POST", "PUT", "PATCH"].contains(&method).then_some(&body);
        let answer = bob.send(&space, method, path, body).await;
        assert!(
            [401, 403].contains(&answer.code),
            "{method} {path}: {} {}",
            answer.code,
            answer.body
        );
        tried += 1;
    };
    for path in ["/version", "/api", "/apis", "/livez", "/openapi/v3", "/"] {
        refused("GET", path).await;
    }
    // Its own request and those of others, in every way but reading and making.
    for path in [format!("{REQUESTS}/own"), format!("{REQUESTS}/other")] {
        for method in ["PUT", "PATCH", "DELETE"] {
            refused(method, &path).await;
            refused(method, &format!("{path}/approval")).await;
            refused(method, &format!("{path}/status")).await;
        }
        refused("GET", &format!("{path}?watch=true")).await;
        refused("GET", &format!("{path}/approval")).await;
        refused("GET", &format!("{path}/status")).await;
        refused("POST", &format!("{path}/approval")).await;
    }
    for query in [
        "",
        "?watch=true",
        "?fieldSelector=metadata.name%3Down",
        "?watch=true&fieldSelector=metadata.name%3Down",
    ] {
        refused("GET", &format!("{REQUESTS}{query}")).await;
    }
    refused("DELETE", REQUESTS).await;
    for (root, resources) in resources(&space).await {
        for (name, namespaced) in resources {
            let scope = if namespaced {
                "/namespaces/default"
            } else {
                ""
            };
            let (plural, subresource) = name.split_once('/').unwrap_or((&name, ""));
            if plural == "certificatesigningrequests" {
                continue;
            }
            let all = format!("{root}{scope}/{plural}");
            let one = format!("{all}/x/{subresource}");
            let one = one.trim_end_matches('/');
            for method in ["GET", "PUT", "PATCH", "DELETE", "POST"] {
                refused(method, one).await;
            }
            for method in ["GET", "POST", "DELETE"] {
                refused(method, &all).await;
            }
            refused("GET", &format!("{all}?watch=true")).await;
        }
    }
    assert!(tried > 500, "discovery is complete: {tried} tried");
    let headers = [("impersonate-user", "admin")];
    let other = request("impersonated", bob.name, &bob.key);
    let certificate = Some(bob.certificate.clone());
    let answer = space.send(certificate, &headers, "POST", REQUESTS, Some(&other));
    assert_eq!(answer.await.code, 403);
}

/// The roots of the API and their resources: name, and whether it is namespaced.
async fn resources(space: &TestSpace) -> Vec<(String, Vec<(String, bool)>)> {
    let groups = space.must("GET", "/apis", None).await;
    let groups = groups["groups"].as_array().expect("groups").iter();
    let versions = groups.flat_map(|group| group["versions"].as_array().expect("versions"));
    let mut roots: Vec<String> = versions
        .map(|version| format!("/apis/{}", version["groupVersion"].as_str().expect("one")))
        .collect();
    roots.push("/api/v1".to_owned());
    let mut all = Vec::new();
    for root in roots {
        let found = space.must("GET", &root, None).await;
        let found = found["resources"].as_array().expect("resources").iter();
        let found = found.map(|entry| {
            let name = entry["name"].as_str().expect("a name").to_owned();
            (name, entry["namespaced"] == true)
        });
        all.push((root, found.collect()));
    }
    all
}
