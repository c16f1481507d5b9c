//! Decisions over a small set of roles and bindings, and the recorded answers of an API server.

use expect_test::expect;
use serde_json::json;

use super::escalation::Escalation;
use super::index::RoleKind;
use super::index::RoleRef;
use super::*;

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..UserInfo::default()
    }
}

fn resource(verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    Attributes::Resource {
        verb: verb.to_owned(),
        group: group.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

/// The role and binding of the recording: `bob` and the default service account of `o1` may read
/// one config map and manage roles.
fn recorded() -> Authoriser {
    let authoriser = Authoriser::default();
    put(
        &authoriser,
        "roles/o1/r",
        json!({"rules":[
            {"apiGroups":[""],"resources":["configmaps"],"verbs":["get","list"],"resourceNames":["a"]},
            {"apiGroups":[GROUP],"resources":["roles","rolebindings"],"verbs":["*"]}]}),
    );
    put(
        &authoriser,
        "rolebindings/o1/r",
        json!({"roleRef":{"kind":"Role","name":"r"},"subjects":[
            {"kind":"User","name":"bob"},
            {"kind":"ServiceAccount","name":"default"}]}),
    );
    authoriser
}

fn put(authoriser: &Authoriser, key: &str, object: Value) {
    authoriser
        .index
        .write()
        .unwrap()
        .apply(&format!("{STORE_PREFIX}{key}"), Some(&object));
}

fn remove(authoriser: &Authoriser, key: &str) {
    authoriser
        .index
        .write()
        .unwrap()
        .apply(&format!("{STORE_PREFIX}{key}"), None);
}

#[test]
fn a_binding_holds_in_its_namespace_only() {
    let authoriser = recorded();
    let bob = user("bob", &["system:authenticated"]);
    let here = resource("get", "", "configmaps", "o1", "a");
    let there = resource("get", "", "configmaps", "o2", "a");
    assert_eq!(
        authoriser.decide(&bob, &here),
        Decision::Allowed {
            reason: r#"RBAC: allowed by RoleBinding "r/o1" of Role "r" to User "bob""#.to_owned()
        }
    );
    assert!(!authoriser.decide(&bob, &there).is_allowed());
    assert!(
        !authoriser
            .decide(&bob, &resource("get", "", "configmaps", "", "a"))
            .is_allowed()
    );
}

#[test]
fn a_service_account_subject_is_the_user_it_authenticates_as() {
    let authoriser = recorded();
    let account = user("system:serviceaccount:o1:default", &[]);
    let Decision::Allowed { reason } =
        authoriser.decide(&account, &resource("get", "", "configmaps", "o1", "a"))
    else {
        panic!("the default service account is a subject of the binding");
    };
    expect![[r#"RBAC: allowed by RoleBinding "r/o1" of Role "r" to ServiceAccount "default/o1""#]]
        .assert_eq(&reason);
    let neighbour = user("system:serviceaccount:o1:default2", &[]);
    assert!(
        !authoriser
            .decide(&neighbour, &resource("get", "", "configmaps", "o1", "a"))
            .is_allowed()
    );
}

#[test]
fn masters_may_do_everything_without_any_role() {
    let authoriser = Authoriser::default();
    let admin = user("admin", &["system:masters"]);
    assert!(
        authoriser
            .decide(&admin, &resource("delete", "x", "y", "z", "w"))
            .is_allowed()
    );
}

#[test]
fn a_change_of_role_or_binding_is_seen_at_once() {
    let authoriser = recorded();
    let bob = user("bob", &[]);
    let ask = resource("get", "", "configmaps", "o1", "a");
    put(&authoriser, "roles/o1/r", json!({"rules":[]}));
    assert!(!authoriser.decide(&bob, &ask).is_allowed());
    put(
        &authoriser,
        "roles/o1/r",
        json!({"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}),
    );
    assert!(authoriser.decide(&bob, &ask).is_allowed());
    put(
        &authoriser,
        "rolebindings/o1/r",
        json!({"roleRef":{"kind":"Role","name":"r"},"subjects":[{"kind":"Group","name":"bob"}]}),
    );
    assert!(!authoriser.decide(&bob, &ask).is_allowed());
    assert!(authoriser.decide(&user("eve", &["bob"]), &ask).is_allowed());
    remove(&authoriser, "rolebindings/o1/r");
    assert!(!authoriser.decide(&user("eve", &["bob"]), &ask).is_allowed());
}

#[test]
fn refusals_read_as_the_api_server_words_them() {
    let nobody = user("nobody", &[]);
    let text = |asked: &Attributes| refusal_text(&nobody, asked, "");
    expect![[
        r#"User "nobody" cannot list resource "configmaps" in API group "" in the namespace "o1""#
    ]]
    .assert_eq(&text(&resource("list", "", "configmaps", "o1", "")));
    let approval = Attributes::Resource {
        verb: "update".to_owned(),
        group: "certificates.k8s.io".to_owned(),
        version: "v1".to_owned(),
        resource: "certificatesigningrequests".to_owned(),
        subresource: "approval".to_owned(),
        namespace: String::new(),
        name: "c1".to_owned(),
    };
    expect![[r#"User "nobody" cannot update resource "certificatesigningrequests/approval" in API group "certificates.k8s.io" at the cluster scope"#]]
        .assert_eq(&text(&approval));
    let path = Attributes::Path {
        verb: "get".to_owned(),
        path: "/a<b>".to_owned(),
    };
    expect![[r#"User "nobody" cannot get path "/a&lt;b&gt;""#]].assert_eq(&text(&path));
}

#[test]
fn a_binding_to_an_absent_role_explains_the_refusal() {
    let authoriser = Authoriser::default();
    put(
        &authoriser,
        "clusterrolebindings//b",
        json!({"roleRef":{"kind":"ClusterRole","name":"gone"},
            "subjects":[{"kind":"User","name":"bob"}]}),
    );
    assert_eq!(
        authoriser.decide(&user("bob", &[]), &resource("get", "", "pods", "a", "b")),
        Decision::Denied {
            reason: r#"RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found"#.to_owned()
        }
    );
}

#[test]
fn a_binding_may_not_grant_what_its_writer_lacks() {
    let authoriser = recorded();
    put(
        &authoriser,
        "clusterroles//reader",
        json!({"rules":[
            {"apiGroups":[""],"resources":["configmaps","secrets"],"verbs":["get","list"]},
            {"nonResourceURLs":["/metrics"],"verbs":["get"]}]}),
    );
    let reader = RoleRef {
        kind: RoleKind::ClusterRole,
        name: "reader".to_owned(),
    };
    let bob = user("bob", &["system:authenticated"]);
    let refused = authoriser
        .confirm_binding(&bob, "o1", &reader)
        .unwrap_err()
        .to_string();
    expect![[r#"
        user "bob" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["configmaps"], Verbs:["get" "list"]}
        {APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}
        {NonResourceURLs:["/metrics"], Verbs:["get"]}"#]]
    .assert_eq(&refused);
    put(
        &authoriser,
        "roles/o1/r",
        json!({"rules":[{"apiGroups":[GROUP],"resources":["clusterroles"],
            "resourceNames":["reader"],"verbs":["bind"]}]}),
    );
    assert_eq!(authoriser.confirm_binding(&bob, "o1", &reader), Ok(()));
}

#[test]
fn a_role_may_be_widened_by_one_who_may_escalate() {
    let authoriser = recorded();
    let bob = user("bob", &[]);
    let rules = [PolicyRule::from_json(
        &json!({"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}),
    )];
    // `*` on roles includes the verb `escalate`.
    assert_eq!(authoriser.confirm_role(&bob, "o1", "esc", &rules), Ok(()));
    assert!(matches!(
        authoriser.confirm_role(&bob, "o2", "esc", &rules),
        Err(Escalation::Lacking(_))
    ));
}

#[test]
fn aggregation_needs_every_permission() {
    let authoriser = recorded();
    expect!["must have cluster-admin privileges to use the aggregationRule"].assert_eq(
        &authoriser
            .confirm_aggregation(&user("bob", &[]), "x")
            .unwrap_err()
            .to_string(),
    );
    put(
        &authoriser,
        "clusterroles//all",
        json!({"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]},
            {"nonResourceURLs":["*"],"verbs":["*"]}]}),
    );
    put(
        &authoriser,
        "clusterrolebindings//all",
        json!({"roleRef":{"kind":"ClusterRole","name":"all"},
            "subjects":[{"kind":"Group","name":"owners"}]}),
    );
    let owner = user("ann", &["owners"]);
    assert_eq!(authoriser.confirm_aggregation(&owner, "x"), Ok(()));
}

#[test]
fn a_role_too_wide_to_be_checked_is_refused_unchecked() {
    let authoriser = recorded();
    let many: Vec<Value> = (0..10_000)
        .map(|number| json!(number.to_string()))
        .collect();
    let rules = PolicyRule::list_from_json(&json!([{
        "apiGroups": many, "resources": many, "verbs": many, "resourceNames": many,
    }]));
    let refused = authoriser.confirm_role(&user("bob", &[]), "o2", "wide", &rules);
    let Err(Escalation::Lacking(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("single permissions"), "{why}");
}
