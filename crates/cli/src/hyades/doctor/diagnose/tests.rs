//! Failures that served spaces do not produce, each made by changing one thing about a healthy
//! registration.

mod sides;

use super::diagnose;
use crate::hyades::doctor::line;
use crate::hyades::doctor::line::Line;
use crate::hyades::doctor::observed::*;
use expect_test::Expect;
use expect_test::expect;
use hyades_pki::Authority;
use hyades_pki::Validity;
use hyades_runtime::Trouble;
use serde_json::json;
use sides::*;
use std::time::Duration;

/// Compares the failed lines.
fn check(observed: &Observed, expected: Expect) {
    let lines = diagnose(observed);
    let failed: Vec<Line> = lines.into_iter().filter(Line::is_failed).collect();
    expected.assert_eq(&line::text(&failed));
}

#[test]
fn a_healthy_registration_fails_nowhere() {
    check(&hub_side(wec_on_hub()), expect![""]);
    check(&on_wec(wec_side()), expect![""]);
}

/// clusteradm#106: Kubernetes 1.14.
#[test]
fn clusteradm_106_a_kubernetes_too_old() {
    let mut observed = on_wec(wec_side());
    observed.own.answer = Tried::Done(Answer {
        version: Ok("v1.14.8".to_owned()),
        ahead_seconds: Some(0),
    });
    check(
        &observed,
        expect![[r#"
        failed  cluster1  version  Kubernetes v1.14.8 is older than 1.19, the first with all APIs that are used
                                   fix: kubeadm upgrade plan
    "#]],
    );
}

/// clusteradm#120 on kind: a loopback URL means the pod itself.
#[test]
fn clusteradm_120_a_loopback_url_on_kind() {
    let mut wec = wec_side();
    hub_of(&mut wec).reach.url = "https://127.0.0.1:34567".to_owned();
    let loopback = "127.0.0.1".parse().expect("an address");
    hub_of(&mut wec).reach.addresses = Tried::Done(vec![loopback]);
    check(
        &on_wec(wec.clone()),
        expect![[r#"
        failed  its hub  dns  the agent was given https://127.0.0.1:34567, which inside its pod means the pod itself
                              fix: clusteradm --context cluster1 join --cluster-name cluster1 --hub-apiserver https://127.0.0.1:34567 --hub-token "$(clusteradm --context "${ITS:?set it to the context of the hub}" get token | sed -n s/^token=//p)" --force-internal-endpoint-lookup
    "#]],
    );
    wec.is_served_by_host = true;
    check(&on_wec(wec), expect![""]);
}

#[test]
fn a_cluster_that_is_neither_hub_nor_wec_is_joined_to_the_one_hub_at_hand() {
    let mut observed = on_wec(wec_side());
    observed.wec = Ok(None);
    observed.only_hub = observed.contexts.first().cloned();
    check(
        &observed,
        expect![[r#"
            failed  cluster1  its  it is no hub (it serves no managedclusters; 'clusteradm init' makes it one), and no agent was installed in it
                                   fix: clusteradm --context cluster1 join --cluster-name cluster1 --hub-apiserver https://hub.example:6443 --hub-token "$(clusteradm --context its1 get token | sed -n s/^token=//p)"
        "#]],
    );
}

#[test]
fn a_host_is_started_or_asked_for_its_spaces_on_its_own_port_and_folder() {
    let mut observed = hub_side(wec_on_hub());
    observed.own.url = "https://127.0.0.1:9555/spaces/its9".to_owned();
    observed.data_dir = Some("/srv/hyades".into());
    observed.own.connected = Tried::Failed("refused".to_owned());
    observed.own.answer = Tried::Not("there is no connection");
    check(
        &observed,
        expect![[r#"
            failed  its1  tcp  refused
                               fix: hyades serve --detach --port 9555 --data-dir /srv/hyades
        "#]],
    );
    observed.own.connected = Tried::Done(Duration::from_millis(1));
    observed.own.answer = Tried::Done(Answer {
        version: Err(Trouble::NotAnApiServer("nothing".to_owned())),
        ahead_seconds: None,
    });
    let lines = diagnose(&observed);
    let text = line::text(&lines);
    assert!(
        text.contains("fix: hyades space list --data-dir /srv/hyades"),
        "{text}"
    );
}

/// The agent knows its hub by an inner URL, and the kubeconfig knows it by another.
#[test]
fn the_hubs_context_is_found_by_its_authority() {
    let pem = |name: &str| {
        let valid = Validity::starting(now(), 3600);
        let authority = Authority::new(name, valid).expect("an authority");
        authority.certificate_pem()
    };
    let (own, other) = (pem("own"), pem("other"));
    let mut wec = wec_side();
    let hub = hub_of(&mut wec);
    hub.reach.url = "https://hub-control-plane:6443".to_owned();
    hub.reach.addresses = Tried::Failed("no such host".to_owned());
    hub.reach.answer = Tried::Not("there is no connection");
    hub.authority = Some(format!("{other}{own}"));
    let mut observed = on_wec(wec);
    let fix = |observed: &Observed| {
        let lines = diagnose(observed);
        let failed: Vec<Line> = lines.into_iter().filter(Line::is_failed).collect();
        line::text(&failed)
    };
    let unknown = fix(&observed);
    assert!(unknown.contains("--context \"${ITS:?"), "{unknown}");
    assert!(
        unknown.contains("--hub-apiserver \"${HUB_URL:?"),
        "{unknown}"
    );
    observed.contexts[0].authority = Some(own);
    let found = fix(&observed);
    let parts = [
        &format!("--hub-apiserver {ITS_URL} "),
        "--context its1 get token",
    ];
    assert!(parts.iter().all(|part| found.contains(*part)), "{found}");
    // Two servers of one authority: neither is it for sure.
    observed.contexts[1].authority = observed.contexts[0].authority.clone();
    assert_eq!(fix(&observed), unknown);
}

#[test]
fn certificates_out_of_date_and_wrong_clocks_are_told_apart() {
    let mut observed = hub_side(wec_on_hub());
    if let Tried::Done(chain) = &mut observed.own.chain {
        chain.not_after = ago(7200);
    }
    check(
        &observed,
        expect![[r#"
        failed  its1  tls  the certificate of hub expired at 2026-11-24T10:00:00Z, 2 h ago
                           fix: kubeadm certs renew apiserver
    "#]],
    );
    let mut observed = hub_side(wec_on_hub());
    if let Tried::Done(answer) = &mut observed.own.answer {
        answer.ahead_seconds = Some(-7200);
    }
    check(
        &observed,
        expect![[r#"
        failed  its1  clock  the server's clock is 2 h behind this machine's; tokens and certificates are judged by clocks
                             fix: sudo timedatectl set-ntp true
    "#]],
    );
}

#[test]
fn an_expired_token_matters_until_the_agent_has_a_certificate() {
    let mut wec = wec_side();
    wec.bootstrap = Ok(Some(Ok(Endpoint {
        server: ITS_URL.to_owned(),
        token: Some(TokenFacts::Account {
            subject: "system:serviceaccount:a:b".to_owned(),
            issued: Some(ago(7200)),
            expires: Some(ago(3600)),
        }),
    })));
    check(
        &on_wec(wec.clone()),
        expect![[r#"
        failed  cluster1  token  the token of system:serviceaccount:a:b, issued 2 h ago, expired 60 min ago
                                 fix: clusteradm --context cluster1 join --cluster-name cluster1 --hub-apiserver https://hub.example:6443 --hub-token "$(clusteradm --context its1 get token | sed -n s/^token=//p)"
    "#]],
    );
    let own = OwnFacts {
        cluster: "cluster1".to_owned(),
        server: ITS_URL.to_owned(),
        common_name: AGENT.to_owned(),
        not_before: ago(60),
        not_after: ago(-3600),
    };
    wec.own = Ok(Some(Ok(own.clone())));
    hub_of(&mut wec).identity = As::Agent;
    check(&on_wec(wec.clone()), expect![""]);
    wec.own = Ok(Some(Ok(OwnFacts {
        not_after: ago(1),
        ..own
    })));
    let lines = diagnose(&on_wec(wec));
    assert!(line::text(&lines).contains("expired 1 s ago"));
}

#[test]
fn requests_fail_by_what_became_of_them() {
    let hub = |state: RequestState, requester: &str| {
        let mut wec = wec_on_hub();
        wec.requests = Ok(vec![request(state, requester)]);
        hub_side(wec)
    };
    let other = "system:open-cluster-management:cluster1:b";
    check(
        &hub(RequestState::Approved, AGENT),
        expect![[r#"
        failed  cluster1  csr  cluster1-abcde is approved, and no signer has signed it within 5 min
                               fix: kubectl --context its1 -n kube-system get pods -l component=kube-controller-manager
    "#]],
    );
    check(
        &hub(RequestState::Denied("No: not you".to_owned()), AGENT),
        expect![[r#"
            failed  cluster1  csr  cluster1-abcde was denied: No: not you
                                   fix: kubectl --context its1 delete csr cluster1-abcde
        "#]],
    );
    check(
        &hub(RequestState::Denied("taken".to_owned()), other),
        expect![[r#"
            failed  cluster1  csr  cluster1-abcde was denied: taken
                                   fix: clusteradm --context its1 accept --clusters cluster1 --replace
        "#]],
    );
    check(
        &hub(RequestState::Pending, other),
        expect![[r#"
        failed  cluster1  csr  cluster1-abcde is pending: it asks for system:open-cluster-management:cluster1:b, and the name belongs to system:open-cluster-management:cluster1:a
                               fix: clusteradm --context its1 accept --clusters cluster1 --replace
    "#]],
    );
    check(
        &hub(RequestState::Failed("no signer".to_owned()), AGENT),
        expect![[r#"
            failed  cluster1  csr  the signer failed with cluster1-abcde: no signer
                                   fix: kubectl --context its1 delete csr cluster1-abcde
        "#]],
    );
    let mut wec = wec_on_hub();
    wec.owner = None;
    wec.requests = Ok(vec![
        request(RequestState::Pending, AGENT),
        request(RequestState::Pending, other),
    ]);
    check(
        &hub_side(wec),
        expect![[r#"
        failed  cluster1  csr  requests of different agents are pending: system:open-cluster-management:cluster1:a, system:open-cluster-management:cluster1:b
                               fix: clusteradm --context its1 accept --clusters cluster1 --requesters "${REQUESTER:?set it to one of these common names}"
    "#]],
    );
}

#[test]
fn a_hub_that_did_not_make_its_objects_is_told() {
    let mut wec = wec_on_hub();
    wec.missing = Ok(vec!["RoleBinding x".to_owned()]);
    wec.lease = Ok(None);
    let mut observed = hub_side(wec);
    if let Ok(Some(hub)) = &mut observed.hub {
        hub.controllers.pods = Ok(vec![PodFacts {
            name: "hub-1".to_owned(),
            state: "Running (CrashLoopBackOff: back-off 10 s)".to_owned(),
            last_error: Some("ERROR hub: no door".to_owned()),
            ..PodFacts::default()
        }]);
        hub.cluster_info = Ok(None);
        hub.bootstrap.account = Ok(false);
        hub.bootstrap.missing_rights = Err(Trouble::Forbidden("not you".to_owned()));
    }
    check(
        &observed,
        expect![[r#"
        failed  its1      hub           hub-1 is Running (CrashLoopBackOff: back-off 10 s); last error in its log: ERROR hub: no door
                                        fix: kubectl --context its1 -n open-cluster-management-hub rollout restart deployment
        failed  its1      cluster-info  the ConfigMap kube-public/cluster-info is missing or cannot be read: agents that join learn no authority, and find the server's certificate signed by nobody they know
                                        fix: clusteradm --context its1 init
        failed  its1      bootstrap     there is neither an account nor a token for new agents
                                        fix: clusteradm --context its1 init
        failed  its1      rbac          it could not be read: the server refuses the right, 403 (not you)
                                        fix: kubectl --context its1 auth whoami
        failed  cluster1  rbac          missing: RoleBinding x; the hub makes them, and did not
                                        fix: kubectl --context its1 -n open-cluster-management-hub rollout restart deployment
        failed  cluster1  lease         the mailbox has no lease
                                        fix: clusteradm --context its1 accept --clusters cluster1
    "#]],
    );
}

#[test]
fn a_denied_wec_and_one_on_its_way_out_are_told() {
    let mut wec = wec_on_hub();
    wec.cluster = Ok(Some(cluster(false, &[])));
    check(
        &hub_side(wec),
        expect![[r#"
        failed  cluster1  acceptance  the hub does not accept it
                                      fix: clusteradm --context its1 accept --clusters cluster1
    "#]],
    );
    let mut leaving = healthy_cluster();
    let time = "2026-11-24T11:50:00Z";
    leaving.metadata.deletion_timestamp = serde_json::from_value(json!(time)).expect("a time");
    let mut wec = wec_on_hub();
    wec.cluster = Ok(Some(leaving));
    wec.works = Ok(3);
    check(
        &hub_side(wec),
        expect![[r#"
            failed  cluster1  removal  3 works are left, whose objects its agent has to take away first
                                       fix: hyades doctor --context cluster1
        "#]],
    );
}
