//! Agents that come back: after their certificate expired, and to a hub that has moved, has another
//! authority, or was restored from a backup.

use crate::hub::Hub;
use crate::registration::until_available;
use crate::registration::until_event;
use crate::until;
use crate::wec::Wec;
use hyades_agent::credentials::Credentials;
use hyades_agent::credentials::keys;
use hyades_agent::install::Mode;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_pki::Key;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::Event;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_space::access::authn::expired;
use serde_json::json;
use tokio::task::LocalSet;

const HOUR_SECONDS: i64 = 3600;

fn secrets(wec: &Wec) -> Api<Secret> {
    Api::namespaced(wec.client.clone(), namespaces::AGENT)
}

async fn hub_secret(wec: &Wec) -> Secret {
    let secret = secrets(wec).get(names::HUB_KUBECONFIG_SECRET).await;
    secret.expect("credentials")
}

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.clone().expect("data")[key].0.clone()).expect("text")
}

async fn renewed_on(hub: &Hub) -> Option<MicroTime> {
    let leases: Api<Lease> = Api::namespaced(hub.client.clone(), "cluster1");
    leases
        .get_opt(names::LEASE)
        .await
        .expect("an answer")?
        .spec?
        .renew_time
}

async fn until_renewed(hub: &Hub, before: Option<MicroTime>) {
    until("the lease is renewed", async || {
        (renewed_on(hub).await != before).then_some(())
    })
    .await;
}

/// Joins, stops the agent, takes its token away and lets its certificate have ended so many seconds
/// ago.
async fn cut_off(hub: &Hub, wec: &Wec, seconds: i64) {
    wec.join(hub, "cluster1", Mode::Singleton).await;
    wec.start_operator();
    let agent = wec.start_agent().await;
    until_available(hub, "cluster1").await;
    agent.cancel();
    let secret = hub_secret(wec).await;
    let identity = AgentIdentity::new(
        "cluster1".parse().expect("a name"),
        &text(&secret, keys::AGENT_NAME),
    );
    let key = Key::from_pem(&text(&secret, keys::KEY)).expect("a key");
    let expired = hub.expired_certificate(&identity.expect("an agent"), &key, seconds);
    let patch = json!({"data": {keys::CERTIFICATE: ByteString(expired.into_bytes())}});
    let api = secrets(wec);
    api.patch(
        names::HUB_KUBECONFIG_SECRET,
        &PatchParams::default(),
        &Patch::Merge(patch),
    )
    .await
    .expect("patched");
    api.delete(
        names::BOOTSTRAP_HUB_KUBECONFIG_SECRET,
        &DeleteParams::default(),
    )
    .await
    .expect("deleted");
}

#[tokio::test]
async fn an_agent_whose_certificate_expired_comes_back_by_its_old_key_without_a_token() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            cut_off(&hub, &wec, HOUR_SECONDS).await;
            let key = text(&hub_secret(&wec).await, keys::KEY);
            let before = renewed_on(&hub).await;
            wec.start_agent().await;
            until_renewed(&hub, before).await;
            let secret = hub_secret(&wec).await;
            assert_eq!(
                text(&secret, keys::KEY),
                key,
                "the same key, a new certificate"
            );
            let end = Credentials::read(&secret).and_then(|credentials| credentials.expires());
            assert!(
                end.is_some_and(|end| end > jiff::Timestamp::now()),
                "{end:?}"
            );
            until_event(&wec, "Recovered").await;
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_was_away_for_longer_than_the_window_stays_out_and_people_are_told() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            cut_off(&hub, &wec, 31 * 24 * HOUR_SECONDS).await;
            let before = renewed_on(&hub).await;
            wec.start_agent().await;
            let events: Api<Event> = Api::namespaced(hub.client.clone(), "cluster1");
            let told = until("the hub tells why", async || {
                let all = events
                    .list(&Default::default())
                    .await
                    .expect("events")
                    .items;
                let notes = all.into_iter().filter_map(|event| event.message);
                notes
                    .into_iter()
                    .find(|note| note.contains("expired certificate"))
            })
            .await;
            assert!(
                told.contains("being the limit") && told.contains("clusteradm accept"),
                "{told}"
            );
            assert_eq!(renewed_on(&hub).await, before);
        })
        .await;
}

#[tokio::test]
async fn an_expired_certificate_opens_nothing_but_its_own_renewal() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            cut_off(&hub, &wec, HOUR_SECONDS).await;
            let credentials = Credentials::read(&hub_secret(&wec).await).expect("credentials");
            let text = credentials.client_kubeconfig().expect("YAML");
            let client = hyades_runtime::client::from_kubeconfig(&text, "test", "test")
                .await
                .expect("a client");
            for path in [
                "/apis/cluster.open-cluster-management.io/v1/managedclusters/cluster1",
                "/apis/certificates.k8s.io/v1/certificatesigningrequests",
                "/api/v1/namespaces/cluster1/secrets",
                "/version",
            ] {
                let request = hyades_runtime::client::get_request(path);
                let error = client.request_text(request).await.expect_err(path);
                let trouble = hyades_runtime::Trouble::of(&error);
                assert!(trouble.is_unauthorized(), "{path}: {trouble}");
            }
            // What the space calls such a client is what the hub takes it for.
            assert_eq!(names::EXPIRED_USER_PREFIX, expired::USER_PREFIX);
            assert_eq!(names::EXPIRED_GROUP, expired::GROUP);
            assert_eq!(names::EXPIRED_AT_EXTRA, expired::EXPIRED_AT);
            assert_eq!(names::EXPIRED_KEY_EXTRA, expired::KEY);
        })
        .await;
}

#[tokio::test]
async fn agents_follow_a_hub_to_another_address_and_authority_and_keep_their_certificates() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            hub.publish(&hub.url, &hub.serving_ca_pem()).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Singleton).await;
            wec.start_operator();
            let often = ["--hub-info-period=100ms"];
            wec.start_agent_with(names::KLUSTERLET, namespaces::AGENT, &often)
                .await;
            until_available(&hub, "cluster1").await;
            until("the agent has read the page", async || {
                let all = hub_secret(&wec).await.metadata.annotations?;
                (all.get("hyades.io/published-server")? == &hub.url).then_some(())
            })
            .await;

            // Both authorities for a while, then another address under the new one.
            let (url, authority) = hub.serve_elsewhere().await;
            let both = format!("{}{authority}", hub.serving_ca_pem());
            hub.publish(&hub.url, &both).await;
            until_event(&wec, "HubMoved").await;
            hub.publish(&url, &authority).await;
            let server = || async {
                let secret = hub_secret(&wec).await;
                Credentials::read(&secret)
                    .map(|credentials| credentials.endpoint.server().to_owned())
            };
            until("the agent goes to the new address", async || {
                (server().await.as_ref() == Some(&url)).then_some(())
            })
            .await;
            // The former address is gone for good; the lease goes on.
            hub.gate.close_after(0, crate::serve::Lost::Request);
            let before = renewed_on(&hub).await;
            let patch = Patch::Merge(json!({"spec": {"leaseDurationSeconds": 1}}));
            hub.clusters()
                .patch("cluster1", &PatchParams::default(), &patch)
                .await
                .expect("patched");
            until_renewed(&hub, before).await;
            assert_eq!(
                server().await.as_ref(),
                Some(&url),
                "the bootstrap kubeconfig names the former"
            );
            assert_eq!(
                hub.requests().await.len(),
                1,
                "no certificate was asked for"
            );
        })
        .await;
}

#[tokio::test]
async fn agents_go_on_with_a_hub_that_was_restored_from_a_backup() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            wec.run(&hub, "cluster1").await;
            until_available(&hub, "cluster1").await;
            let backup = hub.backup();
            // What happens after the backup is lost, revisions and all.
            for count in 0..200 {
                let label = json!({"metadata": {"labels": {"count": count.to_string()}}});
                hub.clusters()
                    .patch("cluster1", &PatchParams::default(), &Patch::Merge(label))
                    .await
                    .expect("patched");
            }
            let hub = hub.restore(backup).await;
            let before = renewed_on(&hub).await;
            let patch = Patch::Merge(json!({"spec": {"leaseDurationSeconds": 1}}));
            hub.clusters()
                .patch("cluster1", &PatchParams::default(), &patch)
                .await
                .expect("patched");
            until_renewed(&hub, before).await;
            let second = renewed_on(&hub).await;
            until_renewed(&hub, second).await;
            until_available(&hub, "cluster1").await;
            assert_eq!(
                hub.requests().await.len(),
                1,
                "no certificate was asked for"
            );
        })
        .await;
}
