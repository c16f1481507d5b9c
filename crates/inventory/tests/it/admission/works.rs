//! The rules about works, and about bindings of sets.

use super::create;
use super::grant;
use super::its;
use super::patch;
use super::refused;
use super::user;
use hyades_api::names;
use serde_json::Value;
use serde_json::json;

#[tokio::test]
async fn a_set_is_bound_under_its_own_name_by_who_may_bind_it() {
    let its = its().await;
    let writer = user(&its, "writer");
    let binding = |name: &str, set: &str| {
        json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta2",
            "kind": "ManagedClusterSetBinding",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"clusterSet": set},
        })
    };
    let words =
        "The ManagedClusterSetBinding must have the same name as the target ManagedClusterSet";
    let refusal = refused(create(&its.admin(), &binding("blue", "red")).await);
    assert_eq!(refusal, (422, words.to_owned()));
    let words = "user \"writer\" is not allowed to bind cluster set \"blue\"";
    let refusal = refused(create(&writer, &binding("blue", "blue")).await);
    assert_eq!(refusal, (403, words.to_owned()));
    let right = json!([{
        "apiGroups": [names::CLUSTER_GROUP], "resources": ["managedclustersets/bind"],
        "resourceNames": ["blue"], "verbs": ["create"],
    }]);
    grant(&its, "writer", right).await;
    let object = binding("blue", "blue");
    create(&writer, &object)
        .await
        .expect("the right to this set");
    let renamed = json!({"spec": {"clusterSet": "red"}});
    refused(patch(&writer, &object, false, renamed).await);
    create(&its.admin(), &binding("red", "red"))
        .await
        .expect("the administrator may");
}

fn work(spec: Value) -> Value {
    json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "w1", "namespace": "default"}, "spec": spec,
    })
}

fn config_map(metadata: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
}

#[tokio::test]
async fn works_hold_complete_manifests_each_once() {
    let its = its().await;
    let admin = its.admin();
    let with = |manifests: &[Value]| json!({"workload": {"manifests": manifests}});
    let a = || config_map(json!({"name": "a", "namespace": "n"}));
    let cases = [
        (vec![], "manifests should not be empty"),
        (
            vec![a(), config_map(json!({"namespace": "n"}))],
            "name must be set in manifest",
        ),
        (
            vec![config_map(json!({"name": "a", "generateName": "a-"}))],
            "generateName must not be set in manifest",
        ),
        (
            vec![a(), config_map(json!({"name": "b", "namespace": "n"})), a()],
            "duplicate manifest for resource n/a with resource type v1.ConfigMap",
        ),
    ];
    for (manifests, words) in cases {
        let refusal = refused(create(&admin, &work(with(&manifests))).await);
        assert_eq!(refusal, (422, words.to_owned()));
    }
    let object = work(with(&[
        a(),
        config_map(json!({"name": "a", "namespace": "m"})),
    ]));
    create(&admin, &object).await.expect("complete");
    refused(patch(&admin, &object, false, json!({"spec": with(&[])})).await);
    let finalizer = json!({"metadata": {"finalizers": ["example.com/f"]}});
    patch(&admin, &object, false, finalizer)
        .await
        .expect("metadata are not judged");
}

#[tokio::test]
async fn an_executor_is_chosen_by_who_may_act_as_it() {
    let its = its().await;
    let writer = user(&its, "writer");
    let with = |name: &str| {
        json!({
            "workload": {"manifests": [config_map(json!({"name": "a", "namespace": "n"}))]},
            "executor": {"subject": {
                "type": "ServiceAccount", "serviceAccount": {"namespace": "apps", "name": name},
            }},
        })
    };
    let words = |name: &str| {
        format!(
            "user writer cannot manipulate the Manifestwork with executor apps/{name} in namespace default"
        )
    };
    let refusal = refused(create(&writer, &work(with("deployer"))).await);
    assert_eq!(refusal, (403, words("deployer")));
    let right = json!([{
        "apiGroups": [names::WORK_GROUP], "resources": ["manifestworks"],
        "resourceNames": ["system:serviceaccount:apps:deployer"], "verbs": ["execute-as"],
    }]);
    grant(&its, "writer", right).await;
    let object = work(with("deployer"));
    create(&writer, &object)
        .await
        .expect("the right to this account");
    let other = json!({"spec": {"executor": with("root")["executor"]}});
    assert_eq!(
        refused(patch(&writer, &object, false, other.clone()).await),
        (403, words("root"))
    );
    patch(&its.admin(), &object, false, other)
        .await
        .expect("the administrator may");
    let manifests =
        json!({"spec": {"workload": {"manifests": [config_map(json!({"name": "b"}))]}}});
    patch(&writer, &object, false, manifests)
        .await
        .expect("an unchanged executor takes no right");
}
