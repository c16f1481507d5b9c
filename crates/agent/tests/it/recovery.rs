//! Agents that come back: after their certificate expired, and to a hub that has moved, has another
//! authority for its server or its clients, or was restored from a backup.

use crate::addon_tokens::client_of;
use crate::hub::Hub;
use crate::pass;
use crate::registered;
use crate::serve::Lost;
use crate::until;
use crate::until_gone;
use crate::wec::Wec;
use hyades_agent::credentials::Credentials;
use hyades_agent::credentials::keys;
use hyades_agent::install::Mode;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::core::v1::Event;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_space::access::authn::expired;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;
use tokio::task::LocalSet;

/// A hub that refuses a certificate for so long means it.
const REFUSED: Duration = Duration::from_secs(31);

/// In so long an agent whose lease lasts a second has tried to renew it.
const LEASE: Duration = Duration::from_millis(500);

const HOUR_SECONDS: i64 = 3600;

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.clone().expect("data")[key].0.clone()).expect("text")
}

/// A lease that is renewed within a second, so that nobody waits long for a renewal.
fn frequent_lease() -> Value {
    json!({"spec": {"leaseDurationSeconds": 1}})
}

/// Lets the certificate of an agent have ended so many seconds ago, a day after it began.
pub async fn age(hub: &Hub, wec: &Wec, seconds: i64) {
    let secret = wec.hub_secret().await;
    let identity = AgentIdentity::new(
        "cluster1".parse().expect("a name"),
        &text(&secret, keys::AGENT_NAME),
    );
    let key = Key::from_pem(&text(&secret, keys::KEY)).expect("a key");
    let aged = hub.aged_certificate(&identity.expect("an agent"), &key, seconds);
    let patch = json!({"data": {keys::CERTIFICATE: ByteString(aged.into_bytes())}});
    let (name, parameters) = (names::HUB_KUBECONFIG_SECRET, PatchParams::default());
    let api = wec.secrets();
    let patched = api.patch(name, &parameters, &Patch::Merge(patch)).await;
    patched.expect("patched");
}

/// Joins, stops the agent, takes its token away and lets its certificate have ended so many seconds
/// ago.
async fn cut_off(hub: &Hub, wec: &Wec, seconds: i64) {
    let agent = wec.run(hub, "cluster1").await;
    hub.until_available("cluster1").await;
    agent.cancel();
    age(hub, wec, seconds).await;
    wec.delete_secret(names::BOOTSTRAP_HUB_KUBECONFIG_SECRET)
        .await;
}

#[tokio::test]
async fn an_agent_whose_certificate_expired_comes_back_by_its_old_key_without_a_token() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            cut_off(&hub, &wec, HOUR_SECONDS).await;
            let key = text(&wec.hub_secret().await, keys::KEY);
            let before = hub.renewed_on().await;
            wec.start_agent().await;
            hub.until_renewed(before).await;
            let secret = wec.hub_secret().await;
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
            wec.until_event("Recovered").await;
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
            let before = hub.renewed_on().await;
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
            assert_eq!(hub.renewed_on().await, before);
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
            let credentials = Credentials::read(&wec.hub_secret().await).expect("credentials");
            let text = credentials.client_kubeconfig().to_yaml().expect("YAML");
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
            hub.until_available("cluster1").await;
            until("the agent has read the page", async || {
                let all = wec.hub_secret().await.metadata.annotations?;
                (all.get("hyades.io/published-server")? == &hub.url).then_some(())
            })
            .await;

            // Both authorities for a while, then another address under the new one.
            let (url, authority) = hub.serve_elsewhere().await;
            let both = format!("{}{authority}", hub.serving_ca_pem());
            hub.publish(&hub.url, &both).await;
            wec.until_event("HubMoved").await;
            hub.publish(&url, &authority).await;
            let server = || async {
                let secret = wec.hub_secret().await;
                Credentials::read(&secret)
                    .map(|credentials| credentials.endpoint.server().to_owned())
            };
            until("the agent goes to the new address", async || {
                (server().await.as_ref() == Some(&url)).then_some(())
            })
            .await;
            // The former address is gone for good; the lease goes on.
            hub.gate.close_after(0, crate::serve::Lost::Request);
            let before = hub.renewed_on().await;
            hub.patch("cluster1", frequent_lease()).await;
            hub.until_renewed(before).await;
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
            let (hub, _wec) = registered().await;
            let backup = hub.backup();
            // What happens after the backup is lost, revisions and all.
            for count in 0..200 {
                let label = json!({"metadata": {"labels": {"count": count.to_string()}}});
                hub.patch("cluster1", label).await;
            }
            let hub = hub.restore(backup).await;
            let before = hub.renewed_on().await;
            hub.patch("cluster1", frequent_lease()).await;
            hub.until_renewed(before).await;
            let second = hub.renewed_on().await;
            hub.until_renewed(second).await;
            hub.until_available("cluster1").await;
            assert_eq!(
                hub.requests().await.len(),
                1,
                "no certificate was asked for"
            );
        })
        .await;
}

/// A hub that a person has let the agent into, with a lease that is soon due.
async fn joined(wec: &Wec) -> Hub {
    let hub = Hub::start(false).await;
    wec.run(&hub, "cluster1").await;
    until("a request", async || {
        let cluster = hub.clusters().get_opt("cluster1").await.expect("an answer");
        (cluster.is_some() && !hub.requests().await.is_empty()).then_some(())
    })
    .await;
    hub.accept("cluster1").await;
    hub.until_available("cluster1").await;
    hub.patch("cluster1", frequent_lease()).await;
    hub.until_renewed(hub.renewed_on().await).await;
    hub
}

/// Waits until the agent takes it that the hub does not know its certificate.
async fn until_refused(wec: &Wec) {
    let events: Api<Event> = Api::namespaced(wec.client.clone(), namespaces::AGENT);
    until("the agent takes the hub's refusal for meant", async || {
        let all = events.list(&Default::default()).await.expect("events");
        let mut reasons = all.items.iter().filter_map(|one| one.reason.as_deref());
        if reasons.any(|reason| reason == "CertificateRefused") {
            return Some(());
        }
        tokio::time::sleep(LEASE).await;
        pass(REFUSED).await;
        None
    })
    .await;
}

/// Restores the hub without the authority that certified its clients; returns once its agent has
/// been let in again, by nobody but the hub, and by the key it had.
async fn lose_and_regain(hub: Hub, wec: &Wec) {
    let former = wec.hub_secret().await;
    let backup = hub.backup();
    let hub = hub.restore_under_another_client_authority(backup).await;
    let requests = hub.requests().await.len();
    let before = hub.renewed_on().await;
    until_refused(wec).await;
    hub.until_renewed(before).await;
    let present = wec.hub_secret().await;
    assert_eq!(text(&present, keys::KEY), text(&former, keys::KEY));
    let certificate = |secret| text(secret, keys::CERTIFICATE);
    assert_ne!(certificate(&present), certificate(&former));
    assert_eq!(hub.requests().await.len(), requests + 1);
    hub.until_available("cluster1").await;
}

#[tokio::test]
async fn a_hub_restored_under_another_client_authority_takes_the_agent_back_by_its_old_key() {
    LocalSet::new()
        .run_until(async {
            let wec = Wec::start("cluster1").await;
            let hub = joined(&wec).await;
            lose_and_regain(hub, &wec).await;
        })
        .await;
}

/// The key that is written down for a certificate to come.
async fn pending_key(wec: &Wec) -> Option<Key> {
    let pending = wec.secrets().get_opt(names::PENDING_KEY_SECRET).await;
    let pending = pending.expect("an answer")?;
    Some(Key::from_pem(&text(&pending, keys::KEY)).expect("a key"))
}

#[tokio::test]
async fn the_key_of_a_renewal_is_written_down_before_the_hub_is_asked_and_until_it_is_in_use() {
    LocalSet::new()
        .run_until(async {
            let wec = Wec::start("cluster1").await;
            let hub = joined(&wec).await;
            until_gone(&wec.secrets(), names::PENDING_KEY_SECRET).await;
            let asked = hub.requests().await.len();
            // Ten minutes of a day are left, and nothing reaches the hub.
            hub.gate.close_after(0, Lost::Request);
            age(&hub, &wec, -600).await;
            let key = until("a key is written down", async || pending_key(&wec).await).await;
            assert_eq!(hub.requests().await.len(), asked, "nobody was asked yet");
            hub.gate.open();
            until("the renewal", async || {
                let secret = wec.hub_secret().await;
                let present = Key::from_pem(&text(&secret, keys::KEY)).expect("a key");
                (present.public_key_sha256() == key.public_key_sha256()).then_some(())
            })
            .await;
            until_gone(&wec.secrets(), names::PENDING_KEY_SECRET).await;
        })
        .await;
}

/// Has the hub approve a renewal for this key, whose answer nobody takes.
async fn approve_renewal(hub: &Hub, credentials: &Secret, key: &Key) {
    let agent = AgentIdentity::new(
        "cluster1".parse().expect("a name"),
        &text(credentials, keys::AGENT_NAME),
    )
    .expect("an agent");
    let subject = Subject::new(agent.common_name(), agent.organizations());
    let pem = CertificateRequest::new(key, &subject).expect("a request");
    let request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {
            "generateName": names::csr_name_prefix(&agent.cluster),
            "labels": {names::labels::CLUSTER_NAME: "cluster1"},
        },
        "spec": {
            "signerName": names::CLIENT_SIGNER,
            "request": ByteString(pem.into_bytes()),
            "usages": ["digital signature", "key encipherment", "client auth"],
        },
    }))
    .expect("a request");
    let requests = Api::all(client_of(credentials).await);
    let created = requests.create(&PostParams::default(), &request).await;
    created.expect("requested");
    let mailboxes: Api<Namespace> = Api::all(hub.client.clone());
    until("the name belongs to the key of the renewal", async || {
        let mailbox = mailboxes.get("cluster1").await.expect("the mailbox");
        let pinned = mailbox.annotations().get(names::annotations::PINNED_KEY);
        (pinned == Some(&key.public_key_sha256())).then_some(())
    })
    .await;
}

/// The hub approved a renewal whose answer never came, and then the certificate expired: the name
/// belongs to the key that was written down.
#[tokio::test]
async fn an_agent_that_was_cut_off_in_a_renewal_comes_back_by_the_key_of_the_renewal() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            let agent = wec.run(&hub, "cluster1").await;
            hub.until_available("cluster1").await;
            until_gone(&wec.secrets(), names::PENDING_KEY_SECRET).await;
            agent.cancel();
            let former = wec.hub_secret().await;
            let renewal = Key::generate();
            let data = |key: &str| ByteString(text(&former, key).into_bytes());
            let pending = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": names::PENDING_KEY_SECRET, "namespace": namespaces::AGENT},
                "data": {
                    keys::KEY: ByteString(renewal.to_ec_pem().into_bytes()),
                    keys::AGENT_NAME: data(keys::AGENT_NAME),
                    keys::CLUSTER_NAME: data(keys::CLUSTER_NAME),
                },
            });
            let written = apply::ensure(&wec.client, "test", &pending).await;
            written.expect("written");
            approve_renewal(&hub, &former, &renewal).await;
            age(&hub, &wec, HOUR_SECONDS).await;
            wec.delete_secret(names::BOOTSTRAP_HUB_KUBECONFIG_SECRET)
                .await;
            let before = hub.renewed_on().await;
            wec.start_agent().await;
            hub.until_renewed(before).await;
            let present = Key::from_pem(&text(&wec.hub_secret().await, keys::KEY)).expect("a key");
            assert_eq!(present.public_key_sha256(), renewal.public_key_sha256());
            wec.until_event("Recovered").await;
        })
        .await;
}

#[tokio::test]
async fn a_hub_restored_under_another_client_authority_knows_the_key_of_a_renewal_too() {
    LocalSet::new()
        .run_until(async {
            let wec = Wec::start("cluster1").await;
            let hub = joined(&wec).await;
            let first = text(&wec.hub_secret().await, keys::KEY);
            let renewed = async || text(&wec.hub_secret().await, keys::KEY) != first;
            // Ten minutes of a day are left.
            age(&hub, &wec, -600).await;
            until("a renewal", async || renewed().await.then_some(())).await;
            let key = Key::from_pem(&text(&wec.hub_secret().await, keys::KEY)).expect("a key");
            let mailboxes: Api<Namespace> = Api::all(hub.client.clone());
            until("the name belongs to the new key", async || {
                let mailbox = mailboxes.get("cluster1").await.expect("the mailbox");
                let pinned = mailbox.annotations().get(names::annotations::PINNED_KEY);
                (pinned == Some(&key.public_key_sha256())).then_some(())
            })
            .await;
            hub.until_renewed(hub.renewed_on().await).await;
            lose_and_regain(hub, &wec).await;
        })
        .await;
}
