//! What a space does by itself.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyades_pki::Certificate;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use serde_json::Value;
use serde_json::json;

use crate::support::SERVING_CA;
use crate::support::TestSpace;

const NAMESPACES: &str = "/api/v1/namespaces";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str, metadata: Value) -> Value {
    let mut object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    object["metadata"]["name"] = name.into();
    object
}

fn owned_by(owner: &Value, block: bool) -> Value {
    json!({"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap",
        "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
        "blockOwnerDeletion": block}]})
}

async fn namespace(space: &TestSpace, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    space.must("POST", NAMESPACES, Some(&body)).await;
}

#[tokio::test]
async fn every_namespace_gets_its_account_and_the_serving_certificate() {
    let space = TestSpace::start().await;
    namespace(&space, "team").await;
    let root_ca = "/api/v1/namespaces/team/configmaps/kube-root-ca.crt";
    let answer = space
        .eventually("kube-root-ca.crt", root_ca, |answer| answer.code == 200)
        .await;
    assert_eq!(answer.body["data"], json!({"ca.crt": SERVING_CA}));
    let account = "/api/v1/namespaces/team/serviceaccounts/default";
    space
        .eventually("the default account", account, |answer| answer.code == 200)
        .await;
    space.must("DELETE", account, None).await;
    space
        .eventually("the default account again", account, |answer| {
            answer.code == 200
        })
        .await;
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_everything_in_it_and_says_what_holds_it_up() {
    let space = TestSpace::start().await;
    namespace(&space, "team").await;
    let maps = "/api/v1/namespaces/team/configmaps";
    space
        .must("POST", maps, Some(&config_map("a", json!({}))))
        .await;
    let held = config_map("held", json!({"finalizers": ["hold.me/x"]}));
    space.must("POST", maps, Some(&held)).await;
    space.must("DELETE", "/api/v1/namespaces/team", None).await;
    space
        .eventually(
            "the namespace to say what holds it up",
            "/api/v1/namespaces/team",
            |answer| {
                answer.body["status"]["conditions"]
                    .as_array()
                    .is_some_and(|conditions| {
                        conditions.iter().any(|condition| {
                            condition["message"]
                                == "Some content in the namespace has finalizers remaining: \
                                hold.me/x in 1 resource instances"
                        })
                    })
            },
        )
        .await;
    let late = space
        .admin("POST", maps, Some(&config_map("late", json!({}))))
        .await;
    assert_eq!(
        late.body["message"],
        "configmaps \"late\" is forbidden: unable to create new content in namespace team because \
         it is being terminated"
    );
    let release = json!({"metadata": {"finalizers": null}});
    space
        .must("PATCH", &format!("{maps}/held"), Some(&release))
        .await;
    space
        .gone("the namespace to go", "/api/v1/namespaces/team")
        .await;
}

#[tokio::test]
async fn dependents_go_after_their_owner() {
    let space = TestSpace::start().await;
    let owner = space
        .must("POST", CONFIG_MAPS, Some(&config_map("o", json!({}))))
        .await;
    let dependent = config_map("d", owned_by(&owner, false));
    space.must("POST", CONFIG_MAPS, Some(&dependent)).await;
    space
        .must("DELETE", &format!("{CONFIG_MAPS}/o"), None)
        .await;
    space
        .gone("the dependent to go", &format!("{CONFIG_MAPS}/d"))
        .await;
}

#[tokio::test]
async fn an_owner_deleted_in_the_foreground_waits_for_its_dependents() {
    let space = TestSpace::start().await;
    let owner = space
        .must("POST", CONFIG_MAPS, Some(&config_map("o", json!({}))))
        .await;
    let mut metadata = owned_by(&owner, true);
    metadata["finalizers"] = json!(["hold.me/x"]);
    space
        .must("POST", CONFIG_MAPS, Some(&config_map("d", metadata)))
        .await;
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
        "propagationPolicy": "Foreground"});
    space
        .must("DELETE", &format!("{CONFIG_MAPS}/o"), Some(&options))
        .await;
    space
        .eventually(
            "the dependent to be deleted",
            &format!("{CONFIG_MAPS}/d"),
            |answer| answer.body["metadata"]["deletionTimestamp"].is_string(),
        )
        .await;
    let owner = space.must("GET", &format!("{CONFIG_MAPS}/o"), None).await;
    assert_eq!(
        owner["metadata"]["finalizers"],
        json!(["foregroundDeletion"])
    );
    let release = json!({"metadata": {"finalizers": null}});
    space
        .must("PATCH", &format!("{CONFIG_MAPS}/d"), Some(&release))
        .await;
    space
        .gone("the owner to go", &format!("{CONFIG_MAPS}/o"))
        .await;
}

#[tokio::test]
async fn orphans_stay_and_forget_their_owner() {
    let space = TestSpace::start().await;
    let owner = space
        .must("POST", CONFIG_MAPS, Some(&config_map("o", json!({}))))
        .await;
    let dependent = config_map("d", owned_by(&owner, true));
    space.must("POST", CONFIG_MAPS, Some(&dependent)).await;
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions",
        "propagationPolicy": "Orphan"});
    space
        .must("DELETE", &format!("{CONFIG_MAPS}/o"), Some(&options))
        .await;
    space
        .gone("the owner to go", &format!("{CONFIG_MAPS}/o"))
        .await;
    let dependent = space.must("GET", &format!("{CONFIG_MAPS}/d"), None).await;
    assert_eq!(dependent["metadata"]["ownerReferences"], Value::Null);
}

#[tokio::test]
async fn an_owner_in_another_namespace_is_no_owner_and_an_event_says_so() {
    let space = TestSpace::start().await;
    namespace(&space, "team").await;
    let owner = space
        .must("POST", CONFIG_MAPS, Some(&config_map("o", json!({}))))
        .await;
    let maps = "/api/v1/namespaces/team/configmaps";
    let dependent = config_map("d", owned_by(&owner, false));
    space.must("POST", maps, Some(&dependent)).await;
    space
        .gone("the dependent to go", &format!("{maps}/d"))
        .await;
    let events = space
        .must("GET", "/api/v1/namespaces/team/events", None)
        .await;
    assert_eq!(events["items"][0]["reason"], "OwnerRefInvalidNamespace");
}

#[tokio::test]
async fn an_approved_request_is_signed_for_the_space() {
    let space = TestSpace::start().await;
    let subject = Subject::new("agent", ["agents"]);
    let pem = CertificateRequest::new(&Key::generate(), &subject).expect("a request");
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = json!({"apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest", "metadata": {"name": "c1"},
        "spec": {"request": BASE64_STANDARD.encode(pem), "expirationSeconds": 3600,
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["digital signature", "key encipherment", "client auth"]}});
    let mut request = space.must("POST", requests, Some(&request)).await;
    request["status"]["conditions"] =
        json!([{"type": "Approved", "status": "True", "reason": "T", "message": "m"}]);
    let approval = format!("{requests}/c1/approval");
    space.must("PUT", &approval, Some(&request)).await;
    let answer = space
        .eventually("the certificate", &format!("{requests}/c1"), |answer| {
            answer.body["status"]["certificate"].is_string()
        })
        .await;
    let text = answer.body["status"]["certificate"]
        .as_str()
        .expect("base64");
    let pem = String::from_utf8(BASE64_STANDARD.decode(text).expect("base64")).expect("PEM");
    let certificate = Certificate::from_pem(&pem).expect("a certificate");
    assert_eq!(*certificate.subject(), subject);
    let der = bytes::Bytes::copy_from_slice(certificate.der());
    let answer = space.send(Some(der), &[], "GET", "/api", None).await;
    assert_eq!(answer.code, 200, "the space knows its own certificate");
}

#[tokio::test]
async fn a_deleted_definition_goes_with_its_objects() {
    let space = TestSpace::start().await;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.demo.io"},
        "spec": {"group": "demo.io", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}]}});
    space.must("POST", definitions, Some(&definition)).await;
    let widgets = "/apis/demo.io/v1/namespaces/default/widgets";
    let widget = json!({"apiVersion": "demo.io/v1", "kind": "Widget",
        "metadata": {"name": "w", "finalizers": ["hold.me/x"]}});
    space.must("POST", widgets, Some(&widget)).await;
    space
        .must("DELETE", &format!("{definitions}/widgets.demo.io"), None)
        .await;
    space
        .eventually(
            "the widget to be deleted",
            &format!("{widgets}/w"),
            |answer| answer.body["metadata"]["deletionTimestamp"].is_string(),
        )
        .await;
    let release = json!({"metadata": {"finalizers": null}});
    space
        .must("PATCH", &format!("{widgets}/w"), Some(&release))
        .await;
    space
        .gone(
            "the definition to go",
            &format!("{definitions}/widgets.demo.io"),
        )
        .await;
}

#[tokio::test]
async fn names_of_a_definition_that_goes_are_given_to_the_one_that_wanted_them() {
    let space = TestSpace::start().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let definition = |plural: &str, group: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": plural, "kind": "Widget", "listKind": format!("{plural}List")},
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }],
            },
        })
    };
    let state = |answer: &Value| {
        let conditions = answer["status"]["conditions"].as_array();
        let conditions = conditions.into_iter().flatten();
        conditions
            .map(|condition| (condition["type"].clone(), condition["status"].clone()))
            .collect::<Vec<_>>()
    };
    let both = |status: &str| ["NamesAccepted", "Established"].map(|it| (json!(it), json!(status)));
    space
        .must("POST", path, Some(&definition("firsts", "demo.io")))
        .await;
    let second = space
        .must("POST", path, Some(&definition("seconds", "demo.io")))
        .await;
    assert_eq!(state(&second), both("False"));
    space
        .must("DELETE", &format!("{path}/firsts.demo.io"), None)
        .await;
    space
        .eventually(
            "the second definition to have the kind",
            &format!("{path}/seconds.demo.io"),
            |answer| state(&answer.body) == both("True"),
        )
        .await;
}
