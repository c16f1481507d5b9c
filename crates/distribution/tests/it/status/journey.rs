//! There and back: policy, Binding, work, report, status.

use super::deployment;
use super::namespace;
use super::reports;
use super::until_status;
use crate::fixture::QUIET;
use crate::fixture::Spaces;
use hyades_api::control::names::labels;
use hyades_api::work::ManifestWork;
use hyades_distribution::binding;
use hyades_distribution::transport;
use hyades_runtime::kube::Api;
use serde_json::json;

#[tokio::test]
async fn returned_status_distributes_nothing_anew() {
    let spaces = Spaces::start().await;
    spaces.wec("c1", &[("location-group", "edge")]).await;
    spaces.apply_to_its(namespace("c1")).await;
    let web = deployment("shop", 2);
    spaces.apply(namespace("shop")).await;
    spaces.apply(web.clone()).await;
    let clause = json!({
        "objectSelectors": [{"matchLabels": {"app": "web"}}], "wantSingletonReportedState": true,
    });
    spaces
        .apply(json!({
            "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy",
            "metadata": {"name": "p"},
            "spec": {
                "clusterSelectors": [{"matchLabels": {"location-group": "edge"}}],
                "downsync": [clause],
            },
        }))
        .await;
    spaces.start_binding(binding::Options::default());
    spaces.start_transport(transport::Options {
        max_num_wrapped: 1,
        max_size_wrapped: 500 * 1024,
    });
    spaces.start_status();
    let its = spaces.its();
    spaces
        .until("the object travels", async |_| {
            let works = Api::<ManifestWork>::namespaced(its.clone(), "c1");
            let works = works.list(&Default::default()).await.expect("works");
            (works.items.len() == 1).then_some(())
        })
        .await;
    until_status(&spaces, "its WECs are counted", &web, |_, marks| {
        marks == [labels::EXECUTING_COUNT]
    })
    .await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    let _ = (spaces.wds_writes.take(), spaces.its_writes.take());

    for ready in [1, 2] {
        let status = json!({"replicas": 2, "readyReplicas": ready});
        reports(&spaces, &[("c1", status)]).await;
        until_status(&spaces, "the status is there", &web, |status, _| {
            status["readyReplicas"] == ready
        })
        .await;
    }
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    assert_eq!(spaces.its_writes.take(), Vec::<String>::new());
    let of_object = "/apis/apps/v1/namespaces/shop/deployments/web";
    assert_eq!(
        spaces.wds_writes.take(),
        [
            format!("PATCH {of_object}"),
            format!("PATCH {of_object}/status"),
            format!("PATCH {of_object}/status"),
        ],
        "the mark once, each status once, and no Binding"
    );
}
