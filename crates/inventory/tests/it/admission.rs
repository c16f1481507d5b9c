//! The hub's admission policies, as its operator installs them, judged by a real space: each rule
//! allowed and refused, for everybody who writes inventory objects.

mod limits;
mod works;

use crate::fixture::Its;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_inventory::hub::Options;
use hyades_runtime::apply::Address;
use hyades_runtime::kube;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_space::identity::UserInfo;
use serde_json::Value;
use serde_json::json;

const CLUSTER: &str = "cluster.open-cluster-management.io/v1";
const TIME: &str = "2020-01-01T00:00:00Z";

/// What a write came to: the object, or code and message.
type Result = std::result::Result<Value, (u16, String)>;

fn told(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("no answer: {other}"),
    }
}

async fn create(client: &Client, object: &Value) -> Result {
    let api = Address::of(object).expect("an address").api(client);
    let object = serde_json::from_value(object.clone()).expect("an object");
    let created = api.create(&PostParams::default(), &object).await;
    created.map(|object| json!(object)).map_err(told)
}

/// Sends a merge patch to an object, or to its status.
async fn patch(client: &Client, object: &Value, status: bool, change: Value) -> Result {
    let address = Address::of(object).expect("an address");
    let (api, parameters) = (address.api(client), PatchParams::default());
    let change = Patch::Merge(change);
    let patched = if status {
        api.patch_status(&address.name, &parameters, &change).await
    } else {
        api.patch(&address.name, &parameters, &change).await
    };
    patched.map(|object| json!(object)).map_err(told)
}

fn cluster(name: &str, spec: Value) -> Value {
    json!({"apiVersion": CLUSTER, "kind": "ManagedCluster", "metadata": {"name": name}, "spec": spec})
}

/// The code and the policy's own words, without what stands before them.
#[track_caller]
fn refused(result: Result) -> (u16, String) {
    let (code, message) = result.expect_err("refused");
    let words = message.split("denied request: ").nth(1);
    (code, words.unwrap_or(&message).to_owned())
}

/// An ITS whose operator has applied the policies. `writer` may write inventory objects, works and
/// bindings, and has no other right.
async fn its() -> Its {
    let its = Its::with_hub(Options::default()).await;
    its.until("the policies are bound", async |admin| {
        let name = names::policies::CLUSTER_DEFAULTS;
        let binding = object("MutatingAdmissionPolicyBinding", name);
        let api = Address::of(&binding).expect("an address").api(admin);
        api.get_opt(name).await.expect("an answer").is_some()
    })
    .await;
    let write = ["create", "get", "update", "patch", "delete"];
    let rule = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": write});
    grant(
        &its,
        "writer",
        json!([
            rule(names::CLUSTER_GROUP, "managedclusters"),
            rule(names::CLUSTER_GROUP, "managedclusters/status"),
            rule(names::CLUSTER_GROUP, "managedclustersetbindings"),
            rule(names::WORK_GROUP, "manifestworks"),
        ]),
    )
    .await;
    its
}

fn object(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}})
}

/// Gives a user rights.
async fn grant(its: &Its, user: &str, rules: Value) {
    static COUNT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("test-{user}-{count}");
    let rbac = "rbac.authorization.k8s.io";
    let version = format!("{rbac}/v1");
    its.apply(&json!({
        "apiVersion": version, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
    }))
    .await;
    its.apply(&json!({
        "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}],
    }))
    .await;
}

fn user(its: &Its, name: &str) -> Client {
    its.client(UserInfo {
        name: name.to_owned(),
        groups: vec!["system:authenticated".to_owned()],
        ..UserInfo::default()
    })
}

fn hub(its: &Its) -> Client {
    its.client(UserInfo::service_account(
        namespaces::HUB,
        names::HUB_SERVICE_ACCOUNT,
    ))
}

/// The right to move inventory objects into one set and out of it.
fn join(set: &str) -> Value {
    json!([{
        "apiGroups": [names::CLUSTER_GROUP], "resources": ["managedclustersets/join"],
        "resourceNames": [set], "verbs": ["create"],
    }])
}

#[tokio::test]
async fn names_that_cannot_be_mailboxes_are_refused_by_the_api() {
    let its = its().await;
    for who in [its.admin(), its.newcomer()] {
        let (code, words) = refused(create(&who, &cluster("not.a.label", json!({}))).await);
        assert_eq!(code, 422);
        assert!(
            words.starts_with("metadata.name format is not correct: "),
            "{words}"
        );
        let long = "a".repeat(64);
        refused(create(&who, &cluster(&long, json!({}))).await);
        for name in ["default", "kube-system", "open-cluster-management-agent"] {
            let words = format!(
                "cluster name \"{name}\" is reserved: the hub uses the namespace of that name \
                 itself; choose another cluster name"
            );
            assert_eq!(
                refused(create(&who, &cluster(name, json!({}))).await),
                (422, words)
            );
        }
        let (_, words) = refused(create(&who, &cluster("managed-clusters", json!({}))).await);
        assert!(words.contains("the group of that name"), "{words}");
    }
    create(&its.newcomer(), &cluster("c1", json!({})))
        .await
        .expect("a good name");
}

#[tokio::test]
async fn addresses_of_a_wec_are_https() {
    let its = its().await;
    let with = |url: &str| json!({"managedClusterClientConfigs": [{"url": "https://a.example"}, {"url": url}]});
    let admin = its.admin();
    for url in ["http://b.example", "b.example", ""] {
        let words = format!("url \"{url}\" is invalid in client configs");
        assert_eq!(
            refused(create(&admin, &cluster("c1", with(url))).await),
            (422, words)
        );
    }
    let object = cluster("c1", with("https://b.example:6443"));
    create(&admin, &object).await.expect("https");
    refused(
        patch(
            &admin,
            &object,
            false,
            json!({"spec": with("http://c.example")}),
        )
        .await,
    );
}

#[tokio::test]
async fn letting_a_wec_in_takes_the_right_to_accept_it() {
    let its = its().await;
    grant(&its, "writer", join("default")).await;
    let writer = user(&its, "writer");
    let accepted = |yes: bool| json!({"hubAcceptsClient": yes});
    let words = "user \"writer\" cannot update the HubAcceptsClient field".to_owned();
    let refusal = refused(create(&writer, &cluster("c1", accepted(true))).await);
    assert_eq!(refusal, (403, words.clone()));
    let object = cluster("c1", accepted(false));
    create(&writer, &object).await.expect("not accepted");
    let accept = json!({"spec": accepted(true)});
    let refusal = refused(patch(&writer, &object, false, accept.clone()).await);
    assert_eq!(refusal, (403, words));
    let (code, words) = refused(create(&its.newcomer(), &cluster("c2", accepted(true))).await);
    assert_eq!(code, 403);
    assert!(
        words.ends_with("agent-registration-bootstrap\" cannot update the HubAcceptsClient field"),
        "{words}"
    );

    let right = |name: &str| {
        json!([{
            "apiGroups": [names::REGISTER_GROUP], "resources": ["managedclusters/accept"],
            "resourceNames": [name], "verbs": ["update"],
        }])
    };
    grant(&its, "writer", right("c2")).await;
    refused(patch(&writer, &object, false, accept.clone()).await);
    grant(&its, "writer", right("c1")).await;
    patch(&writer, &object, false, accept.clone())
        .await
        .expect("the right to this one");
    let deny = json!({"spec": accepted(false)});
    patch(&writer, &object, false, deny.clone())
        .await
        .expect("turning away takes no right");
    patch(&hub(&its), &object, false, accept)
        .await
        .expect("the hub may");
    patch(&its.admin(), &object, false, deny)
        .await
        .expect("the administrator may");
}

#[tokio::test]
async fn moving_between_sets_takes_the_right_to_both() {
    let its = its().await;
    let writer = user(&its, "writer");
    let words = |set: &str| {
        format!(
            "user \"writer\" cannot add/remove a ManagedCluster to/from ManagedClusterSet \"{set}\""
        )
    };
    let refusal = refused(create(&writer, &cluster("c1", json!({}))).await);
    assert_eq!(
        refusal,
        (403, words("default")),
        "whoever creates one puts it into the default set"
    );
    grant(&its, "writer", join("default")).await;
    let object = cluster("c1", json!({}));
    let created = create(&writer, &object)
        .await
        .expect("into the default set");
    assert_eq!(
        created["metadata"]["labels"][labels::CLUSTER_SET],
        "default"
    );
    let set = |name: &str| json!({"metadata": {"labels": {labels::CLUSTER_SET: name}}});
    assert_eq!(
        refused(patch(&writer, &object, false, set("blue")).await),
        (403, words("blue"))
    );
    grant(&its, "writer", join("blue")).await;
    patch(&writer, &object, false, set("blue"))
        .await
        .expect("from default to blue");
    patch(&its.admin(), &object, false, set("red"))
        .await
        .expect("the administrator may");
    assert_eq!(
        refused(patch(&writer, &object, false, set("blue")).await),
        (403, words("red"))
    );
    let unset = json!({"metadata": {"labels": {labels::CLUSTER_SET: null}}});
    let patched = patch(&its.admin(), &object, false, unset)
        .await
        .expect("into no set");
    assert_eq!(
        patched["metadata"]["labels"][labels::CLUSTER_SET],
        "default",
        "which is the default one"
    );
    patch(
        &writer,
        &object,
        false,
        json!({"metadata": {"labels": {"a": "b"}}}),
    )
    .await
    .expect("other labels take no right");
}

#[tokio::test]
async fn times_of_taints_are_the_hubs() {
    let its = its().await;
    let admin = its.admin();
    let taint = |key: &str, value: &str, time: Value| json!({"key": key, "value": value, "effect": "NoSelect", "timeAdded": time});
    let taints = |list: &[Value]| json!({"spec": {"taints": list}});
    let object = cluster("c1", json!({"taints": [taint("a", "1", json!(TIME))]}));
    let created = create(&admin, &object).await.expect("created");
    let first = &created["spec"]["taints"][0];
    assert_eq!(
        first["timeAdded"],
        Value::Null,
        "a time is not taken from a newcomer: {first}"
    );
    its.until_cluster("c1", "has times on all taints", |object| {
        object.spec.taints.len() == 2 && object.spec.taints.iter().all(|t| t.time_added.is_some())
    })
    .await;
    let api = Address::of(&object).expect("an address").api(&admin);
    let live = json!(api.get("c1").await.expect("there"));
    let present: Vec<Value> = live["spec"]["taints"].as_array().expect("taints").clone();
    let with = |extra: Value| [present.clone(), vec![extra]].concat();

    let words = |key: &str| format!("It is not allowed to set TimeAdded of Taint \"{key},{key}\".");
    for (list, key) in [
        (with(taint("b", "", json!(TIME))), "b"),
        (vec![taint("a", "1", json!(TIME)), present[1].clone()], "a"),
        (vec![taint("a", "1", Value::Null), present[1].clone()], "a"),
        (
            vec![
                taint("a", "2", present[0]["timeAdded"].clone()),
                present[1].clone(),
            ],
            "a",
        ),
    ] {
        let refusal = refused(patch(&admin, &object, false, taints(&list)).await);
        assert_eq!(refusal, (422, words(key)), "{list:?}");
    }
    let changed = [
        taint("a", "2", Value::Null),
        present[1].clone(),
        taint("b", "", Value::Null),
    ];
    patch(&admin, &object, false, taints(&changed))
        .await
        .expect("new and changed ones without a time");
    its.until_cluster("c1", "has times on all taints again", |object| {
        object.spec.taints.len() == 3 && object.spec.taints.iter().all(|t| t.time_added.is_some())
    })
    .await;
}

#[tokio::test]
async fn an_agent_says_nothing_in_the_hubs_name() {
    let its = its().await;
    let agent: AgentIdentity = its.register("c1", "a1").await;
    let client = its.agent(&agent);
    let object = cluster("c1", json!({}));
    let api = Address::of(&object).expect("an address").api(&its.admin());
    let live = json!(api.get("c1").await.expect("there"));
    let conditions = live["status"]["conditions"]
        .as_array()
        .expect("conditions")
        .clone();
    let joined = json!({
        "type": "ManagedClusterJoined", "status": "True", "reason": "ManagedClusterJoined",
        "message": "Managed cluster joined", "lastTransitionTime": TIME,
    });
    let status = |conditions: &[Value]| json!({"status": {"conditions": conditions}});
    let mut own = conditions.clone();
    own.push(joined.clone());
    patch(&client, &object, true, status(&own))
        .await
        .expect("its own condition");
    let words = "only the hub sets the conditions HubAcceptedManagedCluster and ManagedClusterConditionClockSynced";
    for forged in [vec![joined], {
        let mut forged = conditions.clone();
        let accepted = forged
            .iter_mut()
            .find(|c| c["type"] == "HubAcceptedManagedCluster");
        accepted.expect("accepted")["message"] = json!("forged");
        forged
    }] {
        let refusal = refused(patch(&client, &object, true, status(&forged)).await);
        assert_eq!(refusal, (403, words.to_owned()));
    }
    patch(&hub(&its), &object, true, status(&conditions))
        .await
        .expect("the hub says what it likes");
}

#[tokio::test]
async fn the_policies_go_with_the_hub() {
    let its = its().await;
    its.meanwhile(async {
        let manager = json!({
            "apiVersion": "operator.open-cluster-management.io/v1", "kind": "ClusterManager",
            "metadata": {"name": names::CLUSTER_MANAGER},
        });
        let api = Address::of(&manager).expect("an address").api(&its.admin());
        api.delete(names::CLUSTER_MANAGER, &Default::default())
            .await
            .expect("deleted");
    })
    .await;
    its.until("no policy is left", async |admin| {
        let mut left = 0;
        for kind in [
            "ValidatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
        ] {
            let api = Address::of(&object(kind, "any"))
                .expect("an address")
                .api(admin);
            left += api
                .list(&Default::default())
                .await
                .expect("an answer")
                .items
                .len();
        }
        left == 0
    })
    .await;
    create(&its.admin(), &cluster("default", json!({})))
        .await
        .expect("nothing judges it");
}
