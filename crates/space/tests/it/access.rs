//! Who may enter, as whom, and what they may do.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use http_body_util::Full;
use hyades_pki::Authority;
use hyades_pki::Validity;
use hyades_space::PeerCertificate;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::TestSpace;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn token(space: &TestSpace, account: &str, spec: Value) -> String {
    let path = format!("/api/v1/namespaces/default/serviceaccounts/{account}/token");
    let body =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec});
    let answer = space.must("POST", &path, Some(&body)).await;
    answer["status"]["token"]
        .as_str()
        .expect("a token")
        .to_owned()
}

async fn account(space: &TestSpace, name: &str) {
    let body = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    space
        .must(
            "POST",
            "/api/v1/namespaces/default/serviceaccounts",
            Some(&body),
        )
        .await;
}

#[tokio::test]
async fn a_certificate_is_good_in_its_own_space_only() {
    let space = TestSpace::start().await;
    let own = space.certificate("bob", &["system:masters"]);
    assert_eq!(
        space
            .send(Some(own), &[], "GET", CONFIG_MAPS, None)
            .await
            .code,
        200
    );
    let valid = Validity::starting(Timestamp::now(), 3600);
    let other = Authority::new("test", valid).expect("an authority of the same name");
    let (foreign, _) = other
        .issue_client("bob", &["system:masters".to_owned()], valid)
        .expect("a certificate");
    let answer = space
        .send(
            Some(foreign.der().to_vec().into()),
            &[],
            "GET",
            CONFIG_MAPS,
            None,
        )
        .await;
    assert_eq!(answer.code, 401);
    assert_eq!(answer.body["message"], "Unauthorized");
}

#[tokio::test]
async fn anonymous_users_see_health_and_version_and_nothing_else() {
    let space = TestSpace::start().await;
    for (path, code) in [
        ("/version", 200),
        ("/livez", 200),
        ("/api", 403),
        (CONFIG_MAPS, 403),
    ] {
        let answer = space.send(None, &[], "GET", path, None).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.body);
    }
    let refused = space.send(None, &[], "GET", "/api", None).await;
    assert_eq!(
        refused.body["message"],
        "forbidden: User \"system:anonymous\" cannot get path \"/api\""
    );
}

#[tokio::test]
async fn a_service_account_token_ends_with_its_account() {
    let space = TestSpace::start().await;
    account(&space, "agent").await;
    let bearer = format!("Bearer {}", token(&space, "agent", json!({})).await);
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let headers = [("authorization", bearer.as_str())];
    let answer = space
        .send(None, &headers, "POST", reviews, Some(&body))
        .await;
    assert_eq!(answer.code, 201, "{}", answer.body);
    let user = &answer.body["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:agent");
    assert_eq!(
        user["groups"],
        json!([
            "system:serviceaccounts",
            "system:serviceaccounts:default",
            "system:authenticated"
        ])
    );
    space
        .must(
            "DELETE",
            "/api/v1/namespaces/default/serviceaccounts/agent",
            None,
        )
        .await;
    account(&space, "agent").await;
    let answer = space
        .send(None, &headers, "POST", reviews, Some(&body))
        .await;
    assert_eq!(
        answer.code, 401,
        "the new account is another: {}",
        answer.body
    );
}

#[tokio::test]
async fn token_reviews_tell_who_a_token_is_and_for_whom() {
    let space = TestSpace::start().await;
    account(&space, "agent").await;
    let review = |token: String, audiences: Value| {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": audiences}})
    };
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let own = token(&space, "agent", json!({})).await;
    let answer = space
        .must("POST", path, Some(&review(own.clone(), Value::Null)))
        .await;
    assert_eq!(answer["status"]["authenticated"], true);
    assert_eq!(
        answer["status"]["audiences"],
        json!(["https://kubernetes.default.svc"])
    );
    let answer = space
        .must("POST", path, Some(&review(own, json!(["vault"]))))
        .await;
    assert_eq!(answer["status"]["authenticated"], Value::Null);
    let for_vault = token(&space, "agent", json!({"audiences": ["vault"]})).await;
    let bearer = format!("Bearer {for_vault}");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(
        space.send(None, &headers, "GET", "/api", None).await.code,
        401
    );
    let answer = space
        .must("POST", path, Some(&review(for_vault, json!(["vault"]))))
        .await;
    assert_eq!(answer["status"]["audiences"], json!(["vault"]));
    let answer = space
        .must("POST", path, Some(&review("junk".to_owned(), Value::Null)))
        .await;
    assert_eq!(
        answer["status"],
        json!({"user": {}, "error": "invalid bearer token"})
    );
}

#[tokio::test]
async fn a_bootstrap_token_proves_its_user_until_its_secret_goes() {
    let space = TestSpace::start().await;
    let data = |text: &str| BASE64_STANDARD.encode(text);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-abcdef"},
        "data": {"token-id": data("abcdef"), "token-secret": data("0123456789abcdef"),
            "usage-bootstrap-authentication": data("true"),
            "auth-extra-groups": data("system:bootstrappers:managedcluster")},
    });
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    space.must("POST", secrets, Some(&secret)).await;
    let headers = [("authorization", "Bearer abcdef.0123456789abcdef")];
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let answer = space.send(None, &headers, "POST", path, Some(&body)).await;
    assert_eq!(
        answer.body["status"]["userInfo"],
        json!({"username": "system:bootstrap:abcdef", "groups": ["system:bootstrappers",
            "system:bootstrappers:managedcluster", "system:authenticated"]})
    );
    space
        .must("DELETE", &format!("{secrets}/bootstrap-token-abcdef"), None)
        .await;
    let answer = space.send(None, &headers, "POST", path, Some(&body)).await;
    assert_eq!(answer.code, 401);
}

#[tokio::test]
async fn impersonation_needs_permission_for_every_claim() {
    let space = TestSpace::start().await;
    let headers = [
        ("impersonate-user", "jane"),
        ("impersonate-group", "system:masters"),
    ];
    let bob = space.certificate("bob", &[]);
    let answer = space
        .send(Some(bob), &headers, "GET", CONFIG_MAPS, None)
        .await;
    assert_eq!(answer.code, 403);
    assert_eq!(
        answer.body["message"],
        "users \"jane\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API \
         group \"\" at the cluster scope"
    );
    let admin = space.certificate("admin", &["system:masters"]);
    let headers = [("impersonate-user", "jane")];
    let answer = space
        .send(Some(admin), &headers, "GET", CONFIG_MAPS, None)
        .await;
    assert_eq!(
        answer.body["message"],
        "configmaps is forbidden: User \"jane\" cannot list resource \"configmaps\" in API group \
         \"\" in the namespace \"default\""
    );
}

#[tokio::test]
async fn nobody_grants_more_than_they_hold() {
    let space = TestSpace::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"name": "r"}, "rules": [
            {"apiGroups": ["rbac.authorization.k8s.io"],
             "resources": ["roles", "rolebindings"], "verbs": ["create"]}]});
    space.must("POST", roles, Some(&role)).await;
    let binding = |name: &str, kind: &str, role: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}]})
    };
    space
        .must("POST", bindings, Some(&binding("r", "Role", "r")))
        .await;
    let bob = space.certificate("bob", &[]);
    let answer = space
        .send(
            Some(bob.clone()),
            &[],
            "POST",
            bindings,
            Some(&binding("esc", "ClusterRole", "cluster-admin")),
        )
        .await;
    assert_eq!(answer.code, 403);
    expect_test::expect![[r#"
        rolebindings.rbac.authorization.k8s.io "esc" is forbidden: user "bob" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:["*"], Resources:["*"], Verbs:["*"]}
        {NonResourceURLs:["*"], Verbs:["*"]}"#]]
    .assert_eq(answer.body["message"].as_str().expect("a message"));
    let answer = space
        .send(
            Some(bob.clone()),
            &[],
            "POST",
            bindings,
            Some(&binding("again", "Role", "r")),
        )
        .await;
    assert_eq!(answer.code, 201, "bob holds what r grants: {}", answer.body);
    let answer = space
        .send(
            Some(bob),
            &[],
            "POST",
            bindings,
            Some(&binding("no", "ClusterRole", "absent")),
        )
        .await;
    assert_eq!(answer.code, 404);
}

#[tokio::test]
async fn the_roles_for_people_collect_their_rules() {
    let space = TestSpace::start().await;
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin";
    space
        .eventually("admin to hold the rules of edit and view", path, |answer| {
            let rules = answer.body["rules"].to_string();
            [
                "localsubjectaccessreviews",
                "pods/exec",
                "namespaces/status",
            ]
            .iter()
            .all(|resource| rules.contains(resource))
        })
        .await;
}

#[tokio::test]
async fn reviews_answer_as_the_authoriser_decides() {
    let space = TestSpace::start().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let review = |user: &str, groups: Value| {
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "groups": groups,
                "nonResourceAttributes": {"path": "/api", "verb": "get"}}})
    };
    let groups = json!(["system:authenticated"]);
    let answer = space.must("POST", path, Some(&review("bob", groups))).await;
    assert_eq!(
        answer["status"],
        json!({"allowed": true, "reason": "RBAC: allowed by ClusterRoleBinding \
            \"system:discovery\" of ClusterRole \"system:discovery\" to Group \
            \"system:authenticated\""})
    );
    let answer = space
        .must("POST", path, Some(&review("bob", Value::Null)))
        .await;
    assert_eq!(answer["status"], json!({"allowed": false}));
    let empty = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get"}}});
    let answer = space.admin("POST", path, Some(&empty)).await;
    assert_eq!(answer.code, 422);
}

#[tokio::test]
async fn a_second_start_writes_nothing() {
    let space = TestSpace::start().await;
    space
        .eventually(
            "the last namespace to have its contents",
            "/api/v1/namespaces/kube-node-lease/configmaps/kube-root-ca.crt",
            |answer| answer.code == 200,
        )
        .await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let versions = |list: &Value| -> Vec<String> {
        list["items"]
            .as_array()
            .expect("items")
            .iter()
            .map(|item| item["metadata"]["resourceVersion"].to_string())
            .collect()
    };
    let admin = "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin";
    space
        .eventually("admin to be complete", admin, |answer| {
            answer.body["rules"]
                .to_string()
                .contains("namespaces/status")
        })
        .await;
    let before = versions(&space.must("GET", roles, None).await);
    let space = space.restart().await;
    let after = versions(&space.must("GET", roles, None).await);
    assert_eq!(before, after);
}

/// Opens a watch; its body.
async fn watch(space: &TestSpace, certificate: Bytes, path: &str) -> hyades_space::Body {
    let mut request = Request::get(path)
        .body(Full::new(Bytes::new()))
        .expect("a request");
    request
        .extensions_mut()
        .insert(PeerCertificate(certificate));
    let response = space.space.service().oneshot(request).await;
    let response = response.expect("spaces answer everything");
    assert_eq!(response.status(), 200, "{path}");
    response.into_body()
}

/// The next piece of a watch; nothing at its end.
async fn next_of(watch: &mut hyades_space::Body) -> Option<Bytes> {
    let frame = tokio::time::timeout(Duration::from_secs(20), watch.frame()).await;
    let frame = frame.expect("a watch that says something or ends")?;
    frame.expect("watches do not fail").into_data().ok()
}

#[tokio::test]
async fn a_watch_is_judged_again_by_the_labels_that_it_asked_for() {
    const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let space = TestSpace::start().await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["watch"]}]});
    space.must("POST", ROLES, Some(&role)).await;
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "reader"},
        "subjects": [{"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}]});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    space.must("POST", bindings, Some(&binding)).await;
    let bob = space.certificate("bob", &[]);
    let from = space.must("GET", CONFIG_MAPS, None).await;
    let from = from["metadata"]["resourceVersion"].as_str().expect("one");
    let query = format!("{CONFIG_MAPS}?watch=true&resourceVersion={from}");
    let mut all = watch(&space, bob.clone(), &query).await;
    let mut own = watch(&space, bob, &format!("{query}&labelSelector=team%3Dc1")).await;

    let narrowed = json!({"metadata": {"annotations":
        {"hyades.io/collections-selected-by": "configmaps.:team=c1"}}});
    space
        .must("PATCH", &format!("{ROLES}/reader"), Some(&narrowed))
        .await;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "labels": {"team": "c1"}}});
    space.must("POST", CONFIG_MAPS, Some(&map)).await;

    let event = next_of(&mut own).await.expect("the right it asked for");
    assert!(String::from_utf8_lossy(&event).contains("\"ADDED\""));
    assert_eq!(next_of(&mut all).await, None, "no more than its part");
}

#[tokio::test]
async fn an_answer_says_whether_credentials_were_taken() {
    let space = TestSpace::start().await;
    let foreign = Authority::new("test", Validity::starting(Timestamp::now(), 3600));
    let valid = Validity::starting(Timestamp::now(), 3600);
    let foreign = foreign
        .expect("an authority")
        .issue_client("bob", &[], valid);
    let (foreign, _) = foreign.expect("a certificate");
    let foreign = Bytes::copy_from_slice(foreign.der());
    // Known is whom the space knows, whatever he may.
    for (certificate, path, is_known) in [
        (None, "/version", false),
        (None, CONFIG_MAPS, false),
        (Some(foreign), CONFIG_MAPS, false),
        (Some(space.certificate("bob", &[])), CONFIG_MAPS, true),
    ] {
        let request = Request::get(path).body(Full::new(Bytes::new()));
        let mut request = request.expect("a request");
        let certificate = certificate.map(PeerCertificate);
        certificate.map(|certificate| request.extensions_mut().insert(certificate));
        let response = space.space.service().oneshot(request).await;
        let response = response.expect("spaces answer everything");
        let taken = response.extensions().get::<hyades_space::Authenticated>();
        assert_eq!(taken.is_some(), is_known, "{path}");
    }
}
