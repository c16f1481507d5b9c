//! More than one hub: several to choose from, and one that is replaced by another.

use crate::hub::Hub;
use crate::registered;
use crate::serve::Lost;
use crate::until;
use crate::until_gone;
use crate::wec::Wec;
use hyades_agent::credentials::Credentials;
use hyades_agent::install::InstallOptions;
use hyades_agent::install::Mode;
use hyades_agent::install::kubeconfig_secret;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_pki::CertificateRequest;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::kube::api::DeleteParams;
use serde_json::json;
use tokio::task::LocalSet;

async fn server(wec: &Wec) -> Option<String> {
    let secret = wec.secrets().get_opt(names::HUB_KUBECONFIG_SECRET).await;
    let credentials = Credentials::read(&secret.expect("an answer")?)?;
    Some(credentials.endpoint.server().to_owned())
}

async fn write(wec: &Wec, name: &str, kubeconfig: &str) {
    let secret = kubeconfig_secret(namespaces::AGENT, name, kubeconfig);
    apply::ensure(&wec.client, "test", &secret)
        .await
        .expect("written");
}

/// A WEC with the Secrets `first` and `second` to choose from, which has joined the first hub.
async fn with_two_hubs() -> (Hub, Hub, Wec) {
    let (first, second, wec) = choosing(true).await;
    first.until_available("cluster1").await;
    (first, second, wec)
}

/// A WEC with the Secrets `first` and `second` to choose from; the second hub lets everybody in.
async fn choosing(first_is_automatic: bool) -> (Hub, Hub, Wec) {
    let (first, second) = (Hub::start(first_is_automatic).await, Hub::start(true).await);
    let wec = Wec::start("cluster1").await;
    wec.install(&InstallOptions {
        mode: Mode::Singleton,
        ..InstallOptions::new("cluster1".parse().expect("a name"), String::new())
    })
    .await;
    for (name, hub) in ["first", "second"].into_iter().zip([&first, &second]) {
        write(&wec, name, &hub.bootstrap_kubeconfig().await).await;
    }
    wec.patch_klusterlet(json!({"spec": {"registrationConfiguration": {
        "featureGates": [{"feature": "MultipleHubs", "mode": "Enable"}],
        "bootstrapKubeConfigs": {"type": "LocalSecrets", "localSecretsConfig": {
            "kubeConfigSecrets": [{"name": "first"}, {"name": "second"}]}},
    }}}))
    .await;
    wec.start_operator();
    let quick = ["--hub-connection-timeout-seconds=1"];
    wec.start_agent_with(names::KLUSTERLET, namespaces::AGENT, &quick)
        .await;
    (first, second, wec)
}

#[tokio::test]
async fn a_chosen_hub_that_lets_nobody_in_is_left_for_another_after_its_time() {
    LocalSet::new()
        .run_until(async {
            let (first, second, wec) = choosing(false).await;
            second.until_available("cluster1").await;
            let message = wec.until_event("LeavingHub").await;
            assert!(
                message.contains("no credentials for the chosen hub within 1 s")
                    && message.contains(&second.url),
                "{message}"
            );
            assert_eq!(first.requests().await.len(), 1, "it was asked first");
        })
        .await;
}

#[tokio::test]
async fn of_several_hubs_the_first_is_joined_and_the_next_when_it_is_lost() {
    LocalSet::new()
        .run_until(async {
            let (first, second, wec) = with_two_hubs().await;
            let frequent = json!({"spec": {"leaseDurationSeconds": 1}});
            first.patch("cluster1", frequent).await;
            first.gate.close_after(0, Lost::Request);
            second.until_available("cluster1").await;
            assert_eq!(server(&wec).await.as_ref(), Some(&second.url));
            let message = wec.until_event("LeavingHub").await;
            assert!(message.contains("no contact for 1 s"), "{message}");
        })
        .await;
}

#[tokio::test]
async fn a_hub_that_turns_the_cluster_away_is_left_for_the_next() {
    LocalSet::new()
        .run_until(async {
            let (first, second, _wec) = with_two_hubs().await;
            let denied = json!({"spec": {"hubAcceptsClient": false}});
            first.patch("cluster1", denied).await;
            second.until_available("cluster1").await;
        })
        .await;
}

#[tokio::test]
async fn a_changed_bootstrap_secret_takes_the_agent_to_another_hub_under_the_same_names() {
    LocalSet::new()
        .run_until(async {
            let (first, wec) = registered().await;
            let second = Hub::start(true).await;
            let kubeconfig = second.bootstrap_kubeconfig().await;
            write(&wec, names::BOOTSTRAP_HUB_KUBECONFIG_SECRET, &kubeconfig).await;
            second.until_available("cluster1").await;
            assert_eq!(server(&wec).await.as_ref(), Some(&second.url));
            let asked = |requests: Vec<CertificateSigningRequest>| {
                assert_eq!(requests.len(), 1);
                let pem = String::from_utf8_lossy(&requests[0].spec.request.0).into_owned();
                CertificateRequest::parse_pem(&pem).expect("a request")
            };
            let (one, other) = (
                asked(first.requests().await),
                asked(second.requests().await),
            );
            assert_eq!(one.subject(), other.subject(), "the same names");
            let keys = [one.public_key_sha256(), other.public_key_sha256()];
            assert_ne!(keys[0], keys[1], "no hub learns that it is the same agent");
        })
        .await;
}

#[tokio::test]
async fn a_pending_request_that_somebody_deletes_is_made_again_for_the_same_key() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.run(&hub, "cluster1").await;
            let first = until("a request", async || hub.requests().await.pop()).await;
            let name = first.metadata.name.clone().expect("a name");
            hub.delete_request(&name).await;
            until("another request", async || {
                let next = hub.requests().await.pop()?;
                (next.metadata.name != first.metadata.name).then_some(())
            })
            .await;
            wec.until_event("CertificateNotObtained").await;
            hub.accept("cluster1").await;
            hub.until_available("cluster1").await;
        })
        .await;
}

#[tokio::test]
async fn a_key_that_waits_for_a_person_survives_a_restart_of_the_agent() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            let agent = wec.run(&hub, "cluster1").await;
            let secrets = wec.secrets();
            until("the key is written down", async || {
                let pending = secrets.get_opt(names::PENDING_KEY_SECRET).await;
                pending.expect("an answer")
            })
            .await;
            until("the inventory object and a request", async || {
                hub.clusters()
                    .get_opt("cluster1")
                    .await
                    .expect("an answer")?;
                hub.requests().await.pop()
            })
            .await;
            agent.cancel();
            // Somebody accepts while nobody is there to take the certificate, and only once.
            hub.accept("cluster1").await;
            wec.start_agent().await;
            hub.until_available("cluster1").await;
            until_gone(&secrets, names::PENDING_KEY_SECRET).await;
        })
        .await;
}

#[tokio::test]
async fn an_agent_whose_cluster_was_deregistered_waits_and_comes_back_when_it_joins_again() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = registered().await;
            hub.clusters()
                .delete("cluster1", &DeleteParams::default())
                .await
                .expect("deleted");
            until_gone(&hub.clusters(), "cluster1").await;
            wec.delete_secret(names::HUB_KUBECONFIG_SECRET).await;
            hub.until_available("cluster1").await;
        })
        .await;
}
