//! Requests that fit, and all the ways not to.

use super::*;
use hyades_pki::Key;
use serde_json::json;

const CUSTOM: &str = "example.com/s";

fn template() -> AddOnTemplateSpec {
    serde_json::from_value(json!({
        "addonName": "hello",
        "registration": [
            {"type": "KubeClient"},
            {"type": "CustomSigner", "customSigner": {
                "signerName": CUSTOM, "signingCA": {"name": "ca"},
                "subject": {"user": "u", "groups": ["g"]}}},
        ],
    }))
    .expect("a template")
}

#[derive(Clone)]
struct Sent {
    name: &'static str,
    sender: &'static str,
    signer: &'static str,
    user: &'static str,
    groups: Vec<&'static str>,
    names: Vec<&'static str>,
    conditions: Vec<&'static str>,
}

const OWN: &str = "system:open-cluster-management:cluster:c1:addon:hello";
const ALL: &str = "system:open-cluster-management:addon:hello";

fn good() -> Sent {
    Sent {
        name: "addon-c1-hello-x",
        sender: "system:open-cluster-management:c1:agent",
        signer: CLIENT_SIGNER,
        user: "system:open-cluster-management:cluster:c1:addon:hello:agent:hello",
        groups: vec![OWN, ALL],
        names: vec!["hello.addon.open-cluster-management.io"],
        conditions: Vec::new(),
    }
}

fn request(sent: &Sent) -> CertificateSigningRequest {
    let subject = hyades_pki::Subject::new(sent.user, sent.groups.iter().copied());
    let pem = CertificateRequest::with_dns_names(&Key::generate(), &subject, &sent.names);
    let conditions: Vec<_> = sent
        .conditions
        .iter()
        .map(|type_| json!({"type": type_, "status": "True"}))
        .collect();
    let pem = hyades_runtime::k8s_openapi::ByteString(pem.expect("a request").into_bytes());
    serde_json::from_value(json!({
        "metadata": {
            "name": sent.name,
            "labels": {labels::CLUSTER_NAME: "c1", labels::ADDON_NAME: "hello"},
        },
        "spec": {"request": pem, "signerName": sent.signer, "username": sent.sender,
                 "usages": ["client auth"]},
        "status": {"conditions": conditions},
    }))
    .expect("a request")
}

fn verdict(sent: &Sent) -> Verdict {
    let request = request(sent);
    let Some(purpose) = purpose(&request) else {
        return Verdict::Leave("it is not of its cluster's agent");
    };
    decide(&request, &purpose, &template())
}

#[test]
fn what_the_template_asks_for_is_approved() {
    assert_eq!(verdict(&good()), Verdict::Approve);
    let mut with_third = good();
    with_third.groups.push(AUTHENTICATED_GROUP);
    assert_eq!(verdict(&with_third), Verdict::Approve);
    let mut without_names = good();
    without_names.names.clear();
    assert_eq!(verdict(&without_names), Verdict::Approve);
}

#[test]
fn identities_that_differ_in_anything_are_left_to_people() {
    let left = |change: &dyn Fn(&mut Sent)| {
        let mut sent = good();
        change(&mut sent);
        assert!(matches!(verdict(&sent), Verdict::Leave(_)), "{}", sent.user);
    };
    left(&|sent| sent.sender = "system:open-cluster-management:c10:agent");
    left(&|sent| sent.sender = "system:open-cluster-management:c1");
    left(&|sent| sent.sender = "system:open-cluster-management:c1:a:b");
    left(&|sent| {
        sent.sender = "system:serviceaccount:open-cluster-management:agent-registration-bootstrap"
    });
    left(&|sent| sent.user = "system:open-cluster-management:cluster:c1:addon:hello:agent:hello2");
    left(&|sent| sent.user = "system:open-cluster-management:cluster:c2:addon:hello:agent:hello");
    left(&|sent| sent.groups = vec![OWN]);
    left(&|sent| sent.groups = vec![OWN, ALL, "system:masters"]);
    left(&|sent| sent.groups = vec![OWN, ALL, "system:authenticated", "x"]);
    left(&|sent| sent.groups.push("system:open-cluster-management:c1"));
    left(&|sent| sent.names = vec!["other.example.com"]);
    left(&|sent| sent.names.push("kubernetes.default.svc"));
    left(&|sent| sent.name = "c1-x");
    left(&|sent| sent.signer = "kubernetes.io/kubelet-serving");
    left(&|sent| sent.conditions = vec!["Denied"]);
    left(&|sent| sent.conditions = vec!["Approved"]);
}

#[test]
fn the_subject_of_one_signer_does_not_fit_another() {
    let mut sent = good();
    sent.signer = CUSTOM;
    assert!(matches!(verdict(&sent), Verdict::Leave(_)));
    sent.user = "u";
    sent.groups = vec!["g"];
    assert_eq!(verdict(&sent), Verdict::Approve);
    sent.signer = CLIENT_SIGNER;
    assert!(matches!(verdict(&sent), Verdict::Leave(_)));
}

#[test]
fn approved_requests_for_the_templates_own_signer_are_signed() {
    let mut sent = good();
    (sent.signer, sent.user, sent.groups) = (CUSTOM, "u", vec!["g"]);
    sent.conditions = vec!["Approved"];
    let Verdict::Sign(signer) = verdict(&sent) else {
        panic!("signed here")
    };
    assert_eq!(signer.signing_ca.name, "ca");
    let now = Timestamp::now();
    let authority = Authority::new("ca", Validity::starting(now, 3600)).expect("an authority");
    let pem = sign(&request(&sent), &authority, now).expect("signed");
    let certificate = hyades_pki::Certificate::from_pem(&pem).expect("a certificate");
    assert_eq!(certificate.subject().common_name, "u");
    assert_eq!(certificate.server_names(), sent.names);
    assert_eq!(
        certificate.not_after(),
        authority.certificate().not_after(),
        "no longer than its authority"
    );
}

#[test]
fn requests_without_both_labels_are_nobodys() {
    let mut request = request(&good());
    request
        .labels_mut()
        .insert(labels::CLUSTER_NAME.to_owned(), "kube-system".to_owned());
    assert_eq!(purpose(&request), None);
    request.labels_mut().remove(labels::CLUSTER_NAME);
    assert_eq!(purpose(&request), None);
}
