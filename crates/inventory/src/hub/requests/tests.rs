use super::*;
use hyades_api::names::labels;
use hyades_pki::Key;
use hyades_pki::Subject;
use hyades_runtime::k8s_openapi::ByteString;
use serde_json::json;

const BOOTSTRAP: &str = names::BOOTSTRAP_SERVICE_ACCOUNT_USER;

fn agent(cluster: &str, agent: &str) -> AgentIdentity {
    AgentIdentity::new(cluster.parse().expect("a name"), agent).expect("an agent")
}

fn object(
    cluster: &str,
    common_name: &str,
    groups: &[&str],
    user: &str,
) -> CertificateSigningRequest {
    let subject = Subject::new(common_name, groups.iter().copied());
    let pem = CertificateRequest::new(&Key::generate(), &subject).expect("a request");
    serde_json::from_value(json!({
        "metadata": {"name": format!("{cluster}-x"), "labels": {labels::CLUSTER_NAME: cluster}},
        "spec": {
            "signerName": names::CLIENT_SIGNER,
            "username": user,
            "request": ByteString(pem.into_bytes()),
            "usages": ["client auth"],
        },
    }))
    .expect("a CertificateSigningRequest")
}

fn proper(agent: &AgentIdentity, user: &str) -> CertificateSigningRequest {
    let groups = agent.organizations();
    let groups = groups.each_ref().map(String::as_str);
    object(agent.cluster.as_str(), &agent.common_name(), &groups, user)
}

fn verdict(object: &CertificateSigningRequest, owner: Option<&AgentIdentity>) -> Verdict {
    decide(&read(object), owner, false, |user| user == "listed")
}

#[test]
fn first_requests_are_left_to_people_unless_their_user_is_listed() {
    let a = agent("c1", "a");
    assert_eq!(verdict(&proper(&a, BOOTSTRAP), None), Verdict::Leave);
    assert_eq!(verdict(&proper(&a, "listed"), None), Verdict::Approve);
    assert_eq!(verdict(&proper(&a, "listed"), Some(&a)), Verdict::Approve);
}

#[test]
fn bootstrap_credentials_get_no_second_certificate_for_an_agent_that_has_joined() {
    let a = agent("c1", "a");
    let listed = |user: &str| user == "listed";
    let joined = |object: &CertificateSigningRequest| decide(&read(object), Some(&a), true, listed);
    assert_eq!(joined(&proper(&a, "listed")), Verdict::Leave);
    let renewal = proper(&a, &a.common_name());
    assert_eq!(joined(&renewal), Verdict::ApproveIfAllowed);
}

#[test]
fn renewals_are_put_to_the_api_server() {
    let a = agent("c1", "a");
    let renewal = proper(&a, &a.common_name());
    assert_eq!(verdict(&renewal, Some(&a)), Verdict::ApproveIfAllowed);
    assert_eq!(verdict(&renewal, None), Verdict::ApproveIfAllowed);
}

#[test]
fn a_name_that_is_taken_is_denied_whoever_asks() {
    let (a, b) = (agent("c1", "a"), agent("c1", "b"));
    for user in [BOOTSTRAP, "listed", &b.common_name(), &a.common_name()] {
        let Verdict::Deny(reason, message) = verdict(&proper(&b, user), Some(&a)) else {
            panic!("{user} is not denied");
        };
        assert_eq!(reason, "ClusterNameTaken");
        assert!(message.contains("taken by the agent \"a\""), "{message}");
        assert!(
            message.contains("join again under another cluster name"),
            "{message}"
        );
    }
}

#[test]
fn an_agent_cannot_ask_for_another_ones_name_by_a_similar_one() {
    let (c1, c10) = (agent("c1", "a"), agent("c10", "a"));
    assert_eq!(
        verdict(&proper(&c10, &c1.common_name()), None),
        Verdict::Leave
    );
}

#[test]
fn a_reserved_name_is_denied_with_the_reason() {
    let request = object(
        "kube-system",
        "system:open-cluster-management:kube-system:a",
        &["system:open-cluster-management:kube-system"],
        BOOTSTRAP,
    );
    let Verdict::Deny(reason, message) = verdict(&request, None) else {
        panic!("not denied");
    };
    assert_eq!(reason, "ClusterNameRefused");
    assert!(message.contains("reserved"), "{message}");
}

#[test]
fn requests_that_do_not_add_up_are_left_alone() {
    let a = agent("c1", "a");
    let groups = a.organizations();
    let groups = groups.each_ref().map(String::as_str);
    let mut mislabelled = proper(&a, "listed");
    let labels = mislabelled.metadata.labels.get_or_insert_default();
    labels.insert(labels::CLUSTER_NAME.to_owned(), "c2".to_owned());
    let mut other_signer = proper(&a, "listed");
    other_signer.spec.signer_name = "kubernetes.io/kubelet-serving".to_owned();
    let mut garbage = proper(&a, "listed");
    garbage.spec.request = ByteString(b"-----BEGIN".to_vec());
    let masters = [groups[0], groups[1], "system:masters"];
    let extra_group = object("c1", &a.common_name(), &masters, "listed");
    for request in [mislabelled, other_signer, garbage, extra_group] {
        assert_eq!(read(&request), Err(NotOurs::Foreign));
        assert_eq!(verdict(&request, None), Verdict::Leave);
    }
}

#[test]
fn the_first_approval_counts_by_its_time() {
    let approved = |agent_name: &str, second: u32| {
        let mut request = proper(&agent("c1", agent_name), BOOTSTRAP);
        request.metadata.name = Some(format!("c1-{agent_name}"));
        request.status = serde_json::from_value(json!({"conditions": [{
            "type": "Approved", "status": "True",
            "lastUpdateTime": format!("2026-01-01T00:00:{second:02}Z"),
        }]}))
        .expect("a status");
        Arc::new(request)
    };
    let pending = Arc::new(proper(&agent("c1", "p"), BOOTSTRAP));
    let requests = [pending.clone(), approved("late", 9), approved("early", 3)];
    let (name, first) = first_approved(&requests).expect("one is approved");
    assert_eq!((name.as_str(), first.agent.agent()), ("c1-early", "early"));
    assert_eq!(first_approved(&[pending]), None);
}
