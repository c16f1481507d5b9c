//! How much agents and newcomers may write: each refusal names the limit.

use super::TIME;
use super::cluster;
use super::create;
use super::grant;
use super::its;
use super::join;
use super::patch;
use super::refused;
use super::user;
use hyades_api::names;
use hyades_runtime::apply::Address;
use serde_json::Value;
use serde_json::json;

/// What the rule about labels and annotations says.
const METADATA: &str = "metadata.labels and metadata.annotations: too long: may not be more than \
                        65536 characters together";

/// Metadata whose labels and annotations have so many characters together.
fn metadata(characters: usize) -> Value {
    let annotation = "v".repeat(characters - "label".len() - "set".len() - "text".len());
    json!({"metadata": {"labels": {"label": "set"}, "annotations": {"text": annotation}}})
}

fn condition(number: usize, message: &str) -> Value {
    json!({
        "type": format!("Condition{number}"), "status": "True", "reason": "Test",
        "message": message, "lastTransitionTime": TIME,
    })
}

#[tokio::test]
async fn labels_and_annotations_of_an_inventory_object_have_a_limit_for_whoever_cannot_accept_it() {
    let its = its().await;
    let mut announced = cluster("c1", json!({}));
    announced["metadata"]["annotations"] = json!({"text": "v".repeat(70_000)});
    let refusal = refused(create(&its.newcomer(), &announced).await);
    assert_eq!(refusal, (422, METADATA.to_owned()));
    let object = cluster("c1", json!({}));
    create(&its.newcomer(), &object).await.expect("announced");

    let writer = user(&its, "writer");
    grant(&its, "writer", join("default")).await;
    // The label of the set is one of the labels.
    let set = names::labels::CLUSTER_SET.len() + "default".len();
    let most = 65_536 - set;
    patch(&writer, &object, false, metadata(most))
        .await
        .expect("within the limit");
    let refusal = refused(patch(&writer, &object, false, metadata(most + 1)).await);
    assert_eq!(refusal, (422, METADATA.to_owned()));
    let right = json!([{"apiGroups": [names::REGISTER_GROUP], "verbs": ["update"],
        "resources": ["managedclusters/accept"]}]);
    grant(&its, "writer", right).await;
    patch(&writer, &object, false, metadata(most + 1))
        .await
        .expect("of whoever runs the hub");
}

#[tokio::test]
async fn conditions_of_an_inventory_object_have_a_limit_in_number_and_in_size() {
    let its = its().await;
    let agent = its.agent(&its.register("c1", "a").await);
    let object = cluster("c1", json!({}));
    let api = Address::of(&object).expect("an address").api(&its.admin());
    let live = json!(api.get("c1").await.expect("there"));
    let present = live["status"]["conditions"].as_array().expect("a list");
    let with = |more: Vec<Value>| {
        let all = [present.clone(), more].concat();
        json!({"status": {"conditions": all}})
    };
    let room = 64 - present.len();
    let many: Vec<Value> = (0..room).map(|number| condition(number, "m")).collect();
    patch(&agent, &object, true, with(many.clone()))
        .await
        .expect("as many as there may be");
    let more = [many, vec![condition(room, "m")]].concat();
    let (code, words) = refused(patch(&agent, &object, true, with(more)).await);
    assert_eq!(code, 422);
    assert!(
        words.ends_with("status.conditions: Too many: 65: must have at most 64 items"),
        "{words}"
    );
    let long = vec![
        condition(0, &"m".repeat(20_000)),
        condition(1, &"m".repeat(20_000)),
    ];
    let refusal = refused(patch(&agent, &object, true, with(long)).await);
    let words = "status.conditions: too long: the messages may not be more than 32768 characters \
                 together";
    assert_eq!(refusal, (422, words.to_owned()));
}

#[tokio::test]
async fn what_an_agent_adds_to_its_works_has_a_limit() {
    let its = its().await;
    let agent = its.agent(&its.register("c1", "a").await);
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {"name": "w1", "namespace": "c1"},
        "spec": {"workload": {"manifests": [manifest]}},
    });
    create(&its.admin(), &work).await.expect("a work");
    patch(&agent, &work, false, metadata(65_536))
        .await
        .expect("within the limit");
    let refusal = refused(patch(&agent, &work, false, metadata(65_537)).await);
    assert_eq!(refusal, (422, METADATA.to_owned()));
    patch(&its.admin(), &work, false, metadata(65_537))
        .await
        .expect("of whoever runs the hub");
    let many: Vec<Value> = (0..65).map(|number| condition(number, "m")).collect();
    let of_manifest = json!({"conditions": many, "resourceMeta": {"ordinal": 0}});
    for status in [
        json!({"conditions": many}),
        json!({"resourceStatus": {"manifests": [of_manifest]}}),
    ] {
        let (code, words) = refused(patch(&agent, &work, true, json!({"status": status})).await);
        assert_eq!(code, 422);
        assert!(
            words.contains("conditions: Too many: 65: must have at most 64 items"),
            "{words}"
        );
    }
}
