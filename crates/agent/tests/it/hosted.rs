//! A hosted agent: operator and agent in one cluster, working for another.

use crate::hub::Hub;
use crate::until;
use crate::until_gone;
use crate::wec::Wec;
use hyades_agent::install::InstallOptions;
use hyades_agent::install::Mode;
use hyades_agent::install::hosted_klusterlet_name;
use hyades_api::conditions;
use hyades_api::conditions::klusterlet as known;
use hyades_api::names;
use hyades_api::operator::Klusterlet;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::json;
use tokio::task::LocalSet;

fn hosted(name: &str, kubeconfig: String, managed: String) -> InstallOptions {
    InstallOptions {
        mode: Mode::SingletonHosted,
        klusterlet_name: name.to_owned(),
        managed_kubeconfig: Some(managed),
        ..InstallOptions::new("cluster1".parse().expect("a name"), kubeconfig)
    }
}

async fn until_condition(
    api: &Api<Klusterlet>,
    name: &str,
    kind: &str,
    reason: &str,
) -> Klusterlet {
    until(
        &format!("Klusterlet {name} says {kind}: {reason}"),
        async || {
            let klusterlet = api.get(name).await.expect("a Klusterlet");
            let found = conditions::find(&klusterlet.status.conditions, kind)?;
            (found.reason == reason).then_some(klusterlet)
        },
    )
    .await
}

#[tokio::test]
async fn a_hosted_agent_joins_works_for_and_leaves_a_cluster_it_does_not_run_in() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let (hosting, wec) = (Wec::start("hosting").await, Wec::start("cluster1").await);
            // The hosting cluster has an operator already, as one with agents of its own.
            hosting.join(&hub, "hosting", Mode::Singleton).await;
            hosting.start_operator();
            let name = hosted_klusterlet_name();
            let managed = wec.admin_kubeconfig().await;
            let options = hosted(&name, hub.bootstrap_kubeconfig().await, managed);
            hosting.install(&options).await;
            let klusterlets = hosting.klusterlets();
            until_condition(
                &klusterlets,
                &name,
                known::READY_TO_APPLY,
                "KlusterletPrepared",
            )
            .await;
            until_condition(&klusterlets, &name, known::APPLIED, "KlusterletApplied").await;
            hosting.start_agent_of(&name, &name).await;
            hub.until_available("cluster1").await;

            let work: ManifestWork = serde_json::from_value(json!({
                "metadata": {"name": "w", "namespace": "cluster1"},
                "spec": {"workload": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap",
                    "metadata": {"name": "told", "namespace": "default"}}]}},
            }))
            .expect("a work");
            let works: Api<ManifestWork> = Api::namespaced(hub.client.clone(), "cluster1");
            works
                .create(&Default::default(), &work)
                .await
                .expect("created");
            let maps: Api<ConfigMap> = Api::namespaced(wec.client.clone(), "default");
            until("the object is in the cluster worked for", async || {
                maps.get_opt("told").await.expect("an answer")
            })
            .await;

            let secrets: Api<Secret> = Api::namespaced(hosting.client.clone(), &name);
            let own = secrets
                .get(names::EXTERNAL_MANAGED_KUBECONFIG_AGENT_SECRET)
                .await
                .expect("the agent's own way to the WEC");
            let text =
                String::from_utf8_lossy(&own.data.expect("data")["kubeconfig"].0).into_owned();
            assert!(
                text.contains("token:") && !text.contains("client-key"),
                "no rights of the user's"
            );

            klusterlets
                .delete(&name, &DeleteParams::default())
                .await
                .expect("deleted");
            until_gone(&klusterlets, &name).await;
            for (client, namespace) in [
                (&hosting.client, name.clone()),
                (&wec.client, format!("open-cluster-management-{name}")),
            ] {
                let namespaces: Api<Namespace> = Api::all(client.clone());
                until_gone(&namespaces, &namespace).await;
            }
            assert!(
                maps.get_opt("told").await.expect("an answer").is_some(),
                "what runs stays"
            );
        })
        .await;
}

#[tokio::test]
async fn a_cluster_that_cannot_be_reached_is_told_and_does_not_hold_up_a_removal_for_ever() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let hosting = Wec::start("hosting").await;
            hosting.join(&hub, "hosting", Mode::Singleton).await;
            hosting.start_operator();
            let name = hosted_klusterlet_name();
            let unreachable = hub.bootstrap_kubeconfig().await.replace("https://127", "https://0");
            hosting.install(&hosted(&name, hub.bootstrap_kubeconfig().await, unreachable)).await;
            let klusterlets = hosting.klusterlets();
            let told = until_condition(
                &klusterlets,
                &name,
                known::READY_TO_APPLY,
                "KlusterletPrepareFailed",
            )
            .await;
            let found = conditions::find(&told.status.conditions, known::READY_TO_APPLY);
            let message = &found.expect("a condition").message;
            assert!(message.contains("external-managed-kubeconfig"), "{message}");

            // As if it had been reached once: then there is something to clean up.
            let mark = "operator.open-cluster-management.io/klusterlet-hosted-cleanup";
            let long_ago = json!({"metadata": {
                "finalizers": [mark, told.finalizers()[0]],
                "annotations": {"operator.open-cluster-management.io/managed-resources-eviction-timestamp":
                    "2020-01-01T00:00:00Z"},
            }});
            klusterlets
                .patch(&name, &PatchParams::default(), &Patch::Merge(long_ago))
                .await
                .expect("patched");
            klusterlets.delete(&name, &DeleteParams::default()).await.expect("deleted");
            until_gone(&klusterlets, &name).await;
        })
        .await;
}
