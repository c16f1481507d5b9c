use super::super::pins::Heir;
use super::seen::NotOurs;
use super::seen::read;
use super::verdict::Verdict;
use super::verdict::decide;
use super::*;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
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

/// What is known of the name when this agent owns it, with a key that nobody remembers.
fn owned_by(agent: &AgentIdentity) -> Situation {
    let owner = Owner {
        agent: agent.clone(),
        key_sha256: String::new(),
    };
    Situation {
        owner: Some(owner),
        ..Situation::default()
    }
}

fn verdict(object: &CertificateSigningRequest, mut situation: Situation) -> Verdict {
    let user = object.spec.username.as_deref();
    situation.user_is_listed = user == Some("listed");
    decide(&read(object), situation)
}

fn free() -> Situation {
    Situation::default()
}

#[test]
fn first_requests_are_left_to_people_unless_their_user_is_listed() {
    let a = agent("c1", "a");
    let listed = || Verdict::Approve(Approval::ListedUser);
    assert_eq!(verdict(&proper(&a, BOOTSTRAP), free()), Verdict::Leave);
    assert_eq!(verdict(&proper(&a, "listed"), free()), listed());
    assert_eq!(verdict(&proper(&a, "listed"), owned_by(&a)), listed());
}

#[test]
fn first_requests_are_approved_by_the_rule_that_lets_their_sender_in() {
    let (a, b) = (agent("c1", "a"), agent("c1", "b"));
    let invited = |mut situation: Situation| {
        situation.rule = Some("edge".to_owned());
        situation
    };
    assert_eq!(
        verdict(&proper(&a, BOOTSTRAP), invited(free())),
        Verdict::Approve(Approval::Rule("edge".to_owned()))
    );
    assert!(matches!(
        verdict(&proper(&b, BOOTSTRAP), invited(owned_by(&a))),
        Verdict::Deny("ClusterNameTaken", _)
    ));
    let mut joined = invited(owned_by(&a));
    joined.is_joined = true;
    assert_eq!(verdict(&proper(&a, BOOTSTRAP), joined), Verdict::Leave);
}

#[test]
fn bootstrap_credentials_get_no_second_certificate_for_an_agent_that_has_joined() {
    let a = agent("c1", "a");
    let joined = || Situation {
        is_joined: true,
        ..owned_by(&a)
    };
    assert_eq!(verdict(&proper(&a, "listed"), joined()), Verdict::Leave);
    let renewal = proper(&a, &a.common_name());
    assert_eq!(
        verdict(&renewal, joined()),
        Verdict::Approve(Approval::RightToRenew)
    );
}

#[test]
fn another_key_under_the_same_agents_name_is_left_to_people_with_a_warning() {
    let a = agent("c1", "a");
    let request = proper(&a, "listed");
    let own = read(&request).expect("a request").key_sha256;
    let mut situation = owned_by(&a);
    let owner = situation.owner.as_mut().expect("owned");
    owner.key_sha256 = own;
    let same = Situation {
        owner: situation.owner.clone(),
        ..Situation::default()
    };
    assert_eq!(verdict(&request, same), Verdict::Approve(Approval::OwnKey));
    let Verdict::Warn(message) = verdict(&proper(&a, "listed"), situation) else {
        panic!("not left to people");
    };
    assert!(message.contains("another key"), "{message}");
    assert!(message.contains("--clusters c1 --replace"), "{message}");
}

#[test]
fn a_name_is_handed_over_to_the_agent_named_and_to_no_other() {
    let (a, b, c) = (agent("c1", "a"), agent("c1", "b"), agent("c1", "c"));
    let handed = || Situation {
        handed_to: Some(Heir {
            common_name: b.common_name(),
            key_sha256: None,
        }),
        is_joined: true,
        ..owned_by(&a)
    };
    assert_eq!(
        verdict(&proper(&b, BOOTSTRAP), handed()),
        Verdict::Approve(Approval::HandOver)
    );
    for request in [proper(&c, BOOTSTRAP), proper(&b, &b.common_name())] {
        assert!(matches!(
            verdict(&request, handed()),
            Verdict::Deny("ClusterNameTaken", _)
        ));
    }
}

#[test]
fn a_name_handed_over_to_a_key_is_not_given_to_another_key_under_the_heirs_name() {
    let (a, b) = (agent("c1", "a"), agent("c1", "b"));
    let (seen, thief) = (proper(&b, BOOTSTRAP), proper(&b, BOOTSTRAP));
    let key_sha256 = read(&seen).ok().map(|request| request.key_sha256);
    let handed = || Situation {
        handed_to: Some(Heir {
            common_name: b.common_name(),
            key_sha256: key_sha256.clone(),
        }),
        ..owned_by(&a)
    };
    let given = Verdict::Approve(Approval::HandOver);
    assert_eq!(verdict(&seen, handed()), given);
    assert!(matches!(
        verdict(&thief, handed()),
        Verdict::Deny("ClusterNameTaken", _)
    ));
}

#[test]
fn renewals_are_put_to_the_api_server() {
    let a = agent("c1", "a");
    let renewal = proper(&a, &a.common_name());
    let asked = Verdict::Approve(Approval::RightToRenew);
    assert_eq!(verdict(&renewal, owned_by(&a)), asked);
    assert_eq!(verdict(&renewal, free()), asked);
}

#[test]
fn a_name_that_is_taken_is_denied_whoever_asks() {
    let (a, b) = (agent("c1", "a"), agent("c1", "b"));
    for user in [BOOTSTRAP, "listed", &b.common_name(), &a.common_name()] {
        let Verdict::Deny(reason, message) = verdict(&proper(&b, user), owned_by(&a)) else {
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
        verdict(&proper(&c10, &c1.common_name()), free()),
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
    let Verdict::Deny(reason, message) = verdict(&request, free()) else {
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
        assert_eq!(verdict(&request, free()), Verdict::Leave);
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
        Arc::new(SeenRequest::from(request))
    };
    let pending = Arc::new(SeenRequest::from(proper(&agent("c1", "p"), BOOTSTRAP)));
    let requests = [pending.clone(), approved("late", 9), approved("early", 3)];
    let first = first_approved(&requests).expect("one is approved");
    assert_eq!(
        (first.name.as_str(), first.request.agent.agent()),
        ("c1-early", "early")
    );
    assert_eq!(first_approved(std::slice::from_ref(&pending)), None);

    // Of one agent, the last one has the key that it works with.
    let own = [
        approved("a", 3),
        pending,
        approved("a", 9),
        approved("b", 12),
    ];
    let key = |object: &SeenRequest| object.reading.clone().expect("a request").key_sha256;
    let newest = newest_key(&own, &agent("c1", "a"));
    assert_eq!(newest, Some(key(&own[2])));
    assert_eq!(newest_key(&own, &agent("c1", "p")), None);
}

#[test]
fn a_rules_approval_is_read_back_and_nobody_elses_is_taken_for_one() {
    let approved = |reason: &str, message: &str| {
        let mut request = proper(&agent("c1", "a"), BOOTSTRAP);
        request.status = serde_json::from_value(json!({"conditions": [{
            "type": "Approved", "status": "True", "reason": reason, "message": message,
        }]}))
        .expect("a status");
        match SeenRequest::from(request).standing {
            Standing::Approved { by_rule, .. } => by_rule,
            other => panic!("{other:?}"),
        }
    };
    let message = seen::message_of_rule("edge.west");
    assert_eq!(
        approved(APPROVED_REASON, &message).as_deref(),
        Some("edge.west")
    );
    assert_eq!(approved("Other", &message), None);
    assert_eq!(approved(APPROVED_REASON, APPROVED_MESSAGE), None);
}

#[test]
fn what_is_kept_of_a_request_is_bounded_whatever_is_in_it() {
    let mut huge = proper(&agent("c1", "a"), BOOTSTRAP);
    huge.spec.request = ByteString(vec![b'x'; 10 * 1024 * 1024]);
    huge.metadata.annotations = Some([("k".to_owned(), "v".repeat(200_000))].into());
    huge.spec.groups = Some(vec!["g".to_owned(); 10_000]);
    let seen = SeenRequest::from(huge);
    assert_eq!(seen.reading, Err(NotOurs::Foreign));
    assert!(format!("{seen:?}").len() < 1000, "{seen:?}");

    let mut crowded = proper(&agent("c1", "a"), BOOTSTRAP);
    crowded.spec.groups = Some(vec!["g".to_owned(); 10_000]);
    let kept = SeenRequest::from(crowded).reading.expect("a request");
    assert_eq!(kept.groups.len(), 16);
}

#[test]
fn agents_ask_for_no_other_cluster() {
    let (a, b) = (agent("c1", "a"), agent("c2", "b"));
    let request = proper(&b, &a.common_name());
    assert_eq!(read(&request), Err(NotOurs::Intruder));
    assert_eq!(
        SeenRequest::from(request).stage(),
        super::seen::Stage::Intruder
    );
    let own = proper(&a, &a.common_name());
    assert_eq!(SeenRequest::from(own).stage(), super::seen::Stage::Renewal);
}

#[test]
fn the_key_of_a_wec_that_was_turned_away_earns_nothing() {
    let a = agent("c1", "a");
    let object = proper(&a, BOOTSTRAP);
    let key_sha256 = read(&object).expect("a request").key_sha256;
    let situation = |is_turned_away: bool| Situation {
        owner: Some(Owner {
            agent: a.clone(),
            key_sha256: key_sha256.clone(),
        }),
        is_turned_away,
        ..Situation::default()
    };
    let own_key = Verdict::Approve(Approval::OwnKey);
    assert_eq!(verdict(&object, situation(false)), own_key);
    assert_eq!(verdict(&object, situation(true)), Verdict::Leave);
}
