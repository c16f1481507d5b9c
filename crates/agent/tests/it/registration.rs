//! From a bootstrap token to Joined and Available, and what stands in the way.

use crate::hub::Hub;
use crate::registered;
use crate::until;
use crate::wec;
use crate::wec::Wec;
use hyades_agent::credentials::keys;
use hyades_agent::install::Mode;
use hyades_api::conditions;
use hyades_api::names;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::json;
use std::time::Instant;
use tokio::task::LocalSet;

#[tokio::test]
async fn an_agent_registers_under_nothing_but_the_rights_its_operator_gives_it() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Singleton).await;
            wec.start_operator();
            wec.deployment("klusterlet-agent").await;
            let start = Instant::now();
            wec.start_agent().await;
            hub.until_available("cluster1").await;
            println!("agent start to Joined and Available: {:?}", start.elapsed());

            let data = wec.hub_secret().await.data.expect("data");
            let present: Vec<_> = data.keys().map(String::as_str).collect();
            assert_eq!(
                present,
                [
                    keys::AGENT_NAME,
                    keys::CLUSTER_NAME,
                    keys::KUBECONFIG,
                    keys::CERTIFICATE,
                    keys::KEY
                ]
            );
            let uid = wec.klusterlet().await.uid().expect("a uid");
            assert_eq!(data[keys::AGENT_NAME].0, uid.as_bytes());

            hub.until_renewed(None).await;
            let cluster = hub
                .clusters()
                .get("cluster1")
                .await
                .expect("the inventory object");
            assert!(
                cluster.status.version.kubernetes.starts_with("v1."),
                "{:?}",
                cluster.status.version
            );
            let requests = hub.requests().await;
            assert_eq!(requests.len(), 1);
            assert_eq!(requests[0].spec.expiration_seconds, Some(31_536_000));
        })
        .await;
}

#[tokio::test]
async fn an_agent_waits_to_be_accepted_and_comes_back_after_it_lost_its_credentials() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.run(&hub, "cluster1").await;
            until("a pending request", async || hub.requests().await.pop()).await;
            until("the inventory object", async || {
                hub.clusters().get_opt("cluster1").await.expect("an answer")
            })
            .await;
            hub.accept("cluster1").await;
            hub.until_available("cluster1").await;

            let secrets = wec.secrets();
            let name = names::HUB_KUBECONFIG_SECRET;
            let before = wec.hub_secret().await;
            wec.delete_secret(name).await;
            until("a second request", async || {
                (hub.requests().await.len() == 2).then_some(())
            })
            .await;
            hub.accept("cluster1").await;
            let after = until("new credentials", async || {
                secrets.get_opt(name).await.expect("an answer")
            })
            .await;
            let of = |secret: &Secret, key: &str| secret.data.clone().expect("data")[key].clone();
            assert_ne!(
                of(&before, keys::CERTIFICATE),
                of(&after, keys::CERTIFICATE)
            );
            assert_eq!(
                of(&before, keys::AGENT_NAME),
                of(&after, keys::AGENT_NAME),
                "the name is kept"
            );
        })
        .await;
}

#[tokio::test]
async fn a_denial_is_told_where_people_look_for_it() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.run(&hub, "cluster1").await;
            let request = until("a pending request", async || hub.requests().await.pop()).await;
            hub.judge(request, "Denied").await;
            let message = wec.until_event("CertificateRequestDenied").await;
            assert!(message.contains("Test: a test says so"), "{message}");
            assert_eq!(
                hub.requests().await.len(),
                1,
                "a denied agent does not ask again at once"
            );
        })
        .await;
}

#[tokio::test]
async fn a_restarted_agent_goes_on_with_the_credentials_it_has() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec, agent) = wec::registered().await;
            agent.cancel();
            let before = hub.renewed_on().await;
            wec.start_agent().await;
            hub.until_renewed(before).await;
            assert_eq!(
                hub.requests().await.len(),
                1,
                "no second certificate is asked for"
            );
        })
        .await;
}

#[tokio::test]
async fn a_second_cluster_of_the_same_name_is_told_that_the_name_is_taken() {
    LocalSet::new()
        .run_until(async {
            let (hub, _first) = registered().await;
            let second = Wec::start("second").await;
            second.join(&hub, "cluster1", Mode::Singleton).await;
            let operator = second.start_operator();
            second.start_agent().await;
            let message = second.until_event("CertificateRequestDenied").await;
            assert!(message.contains("cluster1"), "{message}");
            // An operator that starts asks the hub at once, and a running one seconds later.
            operator.cancel();
            second.start_operator();
            until("the Klusterlet tells the denial", async || {
                let klusterlet = second.klusterlet().await;
                let kind = conditions::klusterlet::HUB_CONNECTION_DEGRADED;
                let told = conditions::find(&klusterlet.status.conditions, kind)?;
                told.message
                    .contains("denied the certificate request")
                    .then_some(())
            })
            .await;
            hub.until_available("cluster1").await;
        })
        .await;
}

#[tokio::test]
async fn the_namespaces_that_a_cluster_set_wants_are_made_and_reported() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = registered().await;
            let entry = json!({"status": {"managedNamespaces": [{"name": "wanted", "clusterSet": "default"}]}});
            let told = until("the namespace is reported", async || {
                let cluster = hub.clusters().get("cluster1").await.expect("an object");
                let entries = &cluster.status.managed_namespaces;
                if let Some(condition) = entries.first().and_then(|entry| entry.conditions.first()) {
                    return Some(condition.reason.clone());
                }
                if entries.is_empty() {
                    hub.clusters()
                        .patch_status("cluster1", &PatchParams::default(), &Patch::Merge(&entry))
                        .await
                        .expect("patched");
                }
                None
            })
            .await;
            assert_eq!(told, "NamespaceApplied");
            let namespaces: Api<Namespace> = Api::all(wec.client.clone());
            let made = namespaces.get("wanted").await.expect("a namespace");
            let labels = made.metadata.labels.unwrap_or_default();
            let of_hub = labels.iter().find(|(key, _)| {
                key.starts_with("clusterset.open-cluster-management.io/")
            });
            assert_eq!(of_hub.map(|(_, value)| value.as_str()), Some("true"));
        })
        .await;
}
