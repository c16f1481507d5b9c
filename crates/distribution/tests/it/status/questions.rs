//! What StatusCollectors ask, and what CombinedStatuses answer.

use super::asked;
use super::binding;
use super::collector;
use super::deployment;
use super::namespace;
use super::now;
use super::reports;
use super::rows;
use super::started;
use super::sum;
use super::until_answered;
use super::whole;
use super::with_objects;
use hyades_api::conditions;
use hyades_api::control::Binding;
use hyades_api::control::CombinedStatus;
use hyades_api::control::StatusCollector;
use hyades_api::control::names;
use hyades_api::control::names::REPORT_NAMESPACE;
use hyades_api::control::names::labels;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use serde_json::json;

#[tokio::test]
async fn questions_are_answered_whenever_they_are_put() {
    let web = deployment("shop", 1);
    let both = binding("p", &["shop"], &["c1", "c2"], asked(&["sum", "whole"]));
    let spaces = started(&[namespace("shop"), web.clone(), both, whole()]).await;
    let available = |n: i64| json!({"replicas": 1, "availableReplicas": n});
    reports(&spaces, &[("c2", available(1)), ("c1", available(1))]).await;
    let answers = until_answered(&spaces, "both WECs are listed", "shop", |answers| {
        rows(answers, "whole") == [["c1"], ["c2"]]
    })
    .await;
    assert_eq!(answers.results.len(), 1);
    let condition = async |wds: Client| {
        let found = Api::<Binding>::all(wds)
            .get("p")
            .await
            .expect("the Binding");
        let type_ = names::conditions::STATUS_COLLECTORS_AVAILABLE;
        let condition = conditions::find(&found.status.conditions, type_)?;
        Some((condition.status.clone(), condition.message.clone()))
    };
    let missing = "Missing StatusCollector(s) [sum]";
    spaces
        .until("the missing one is named", async |wds| {
            condition(wds)
                .await
                .filter(|it| *it == ("False".to_owned(), missing.to_owned()))
        })
        .await;
    spaces.apply(sum()).await;
    let answers = until_answered(&spaces, "the sum is known", "shop", |answers| {
        rows(answers, "sum") == [["2"]]
    })
    .await;
    let questions: Vec<_> = answers.results.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(questions, ["sum", "whole"]);
    spaces
        .until("none is missing", async |wds| {
            condition(wds).await.filter(|it| it.0 == "True")
        })
        .await;

    let object = now(&spaces.wds(), &web).await;
    let policy = Api::<Binding>::all(spaces.wds())
        .get("p")
        .await
        .expect("the Binding");
    let (object, policy) = (object.uid().expect("a uid"), policy.uid().expect("a uid"));
    assert_eq!(answers.name_any(), names::combined_status(&object, &policy));
    assert_eq!(answers.labels()[labels::SUBJECT_RESOURCE], "deployments");
    assert_eq!(answers.labels()[labels::BINDING_POLICY], "p");
    let owner = &answers.owner_references()[0];
    assert_eq!((owner.kind.as_str(), &owner.uid), ("Deployment", &object));

    reports(&spaces, &[("c2", available(0))]).await;
    until_answered(&spaces, "the answers follow", "shop", |answers| {
        rows(answers, "sum") == [["1"]] && rows(answers, "whole") == [["c1"]]
    })
    .await;
    // The object itself is part of a question.
    spaces.apply(deployment("shop", 0)).await;
    until_answered(&spaces, "the other WEC is whole now", "shop", |answers| {
        rows(answers, "whole") == [["c2"]]
    })
    .await;
    spaces
        .apply(binding("p", &["shop"], &["c1", "c2"], asked(&[])))
        .await;
    spaces
        .until("nobody asks any more", async |wds| {
            let api = Api::<CombinedStatus>::namespaced(wds, "shop");
            let found = api.list(&Default::default()).await.expect("a list");
            found.items.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn an_object_without_namespace_is_answered_in_the_namespace_of_reports() {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "shop:reader"}, "rules": [],
    });
    let scope = json!({"clusterScope": [{
        "group": "rbac.authorization.k8s.io", "version": "v1", "resource": "clusterroles",
        "name": "shop:reader", "resourceVersion": "1", "statusCollectors": ["count", "none"],
    }]});
    let count = |name: &str, filter: &str| {
        let fields = json!([
            {"name": "count", "type": "COUNT"},
            {"name": "max", "type": "MAX", "subject": "1"},
            {"name": "min", "type": "MIN", "subject": "1"},
            {"name": "sum", "type": "SUM", "subject": "1"},
            {"name": "avg", "type": "AVG", "subject": "1"},
        ]);
        collector(name, json!({"filter": filter, "combinedFields": fields}))
    };
    let objects = [
        role,
        count("count", "true"),
        count("none", "false"),
        with_objects("p", &["c1", "c2"], scope),
    ];
    let spaces = started(&objects).await;
    let answers = until_answered(&spaces, "it is answered", REPORT_NAMESPACE, |_| true).await;
    assert_eq!(rows(&answers, "count"), [["2", "1", "1", "2", "1"]]);
    assert_eq!(rows(&answers, "none"), [["0", "-Inf", "+Inf", "0", "NaN"]]);
    let none = &answers.results[1];
    assert_eq!(none.aggregation_errors[0].error, "no values to average");
    assert_eq!(answers.labels()[labels::SUBJECT_NAME], "shop_reader");
    assert_eq!(answers.annotations()[labels::SUBJECT_NAME], "shop:reader");
}

#[tokio::test]
async fn a_bad_question_is_told_and_counts_as_missing() {
    let bad = collector(
        "bad",
        json!({"filter": "obj.", "groupBy": [{"name": "a", "def": "1"}]}),
    );
    let one = binding("p", &["shop"], &["c1"], asked(&["bad"]));
    let spaces = started(&[namespace("shop"), deployment("shop", 1), one, bad]).await;
    let told = async |wds: Client| {
        let found = Api::<StatusCollector>::all(wds)
            .get("bad")
            .await
            .expect("it");
        (found.status.errors.len() == 2).then_some(found)
    };
    let found = spaces.until("both errors are told", told).await;
    assert_eq!(
        found.status.errors[0],
        "groupBy must be empty if combinedFields is"
    );
    assert!(found.status.errors[1].starts_with("filter expression invalid: "));
    assert_eq!(
        Some(found.status.observed_generation),
        found.metadata.generation
    );
    let empty = until_answered(&spaces, "it is answered", "shop", |_| true).await;
    assert!(empty.results.is_empty());
    spaces
        .apply(collector(
            "bad",
            json!({"combinedFields": [{"name": "n", "type": "COUNT"}]}),
        ))
        .await;
    until_answered(&spaces, "it is mended", "shop", |answers| {
        rows(answers, "bad") == [["1"]]
    })
    .await;
    spaces
        .until("no error is left", async |wds| {
            let found = Api::<StatusCollector>::all(wds)
                .get("bad")
                .await
                .expect("it");
            found.status.errors.is_empty().then_some(())
        })
        .await;
}
