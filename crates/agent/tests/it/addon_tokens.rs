//! Add-ons that prove who they are to the hub by tokens of an account in their WEC's mailbox.

use crate::addons::beta;
use crate::addons::enable;
use crate::addons::until_said;
use crate::hub::Hub;
use crate::pass;
use crate::until;
use crate::wec;
use crate::wec::Wec;
use hyades_agent::credentials::keys;
use hyades_agent::install::Mode;
use hyades_api::addon::conditions as known;
use hyades_api::conditions;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_runtime::Trouble;
use hyades_runtime::client;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::authentication::v1::SelfSubjectReview;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Config;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::config::Kubeconfig;
use serde_json::json;
use std::time::Duration;
use tokio::task::LocalSet;

/// Name of the Secret in the WEC.
const SECRET: &str = "hello-hub-kubeconfig";

/// Name of the account in the mailbox.
const ACCOUNT: &str = "hello-agent";

/// Key of the token in the Secret.
const TOKEN: &str = "token";

/// The shortest life that a token can be asked for.
const LIFE_SECONDS: i64 = 600;

/// The agent looks at the Secret at least this often.
const LOOK: Duration = Duration::from_secs(301);

const BY_TOKEN: [&str; 2] = [
    "--addon-kubeclient-registration-auth=token",
    "--addon-token-expiration-seconds=600",
];

fn secrets(wec: &Wec) -> Api<Secret> {
    Api::namespaced(wec.client.clone(), namespaces::AGENT_ADDON)
}

fn accounts(hub: &Hub) -> Api<ServiceAccount> {
    Api::namespaced(hub.client.clone(), "cluster1")
}

fn token_of(secret: &Secret) -> Option<String> {
    let token = secret.data.as_ref()?.get(TOKEN)?;
    Some(String::from_utf8(token.0.clone()).expect("text"))
}

/// Waits for a token of the account of this uid, other than `former`.
async fn until_token(wec: &Wec, hub: &Hub, uid: &str, former: Option<&str>) -> String {
    until("a token in the add-on's Secret", async || {
        let secret = secrets(wec).get_opt(SECRET).await.expect("an answer")?;
        let token = token_of(&secret).filter(|token| Some(token.as_str()) != former)?;
        (hub.claims(&token).kubernetes.serviceaccount.uid == uid).then_some(token)
    })
    .await
}

/// Waits for the account that the hub says is ready, if it is not `former`; returns its uid.
async fn until_account(hub: &Hub, former: Option<&str>) -> String {
    until("the account is there and said to be", async || {
        let account = accounts(hub).get_opt(ACCOUNT).await.expect("an answer")?;
        let uid = account.uid().filter(|uid| Some(uid.as_str()) != former)?;
        let addon = until_said(hub, known::TOKEN_INFRASTRUCTURE_READY, "True").await;
        let all = &addon.status.conditions;
        let ready = conditions::find(all, known::TOKEN_INFRASTRUCTURE_READY)?;
        let message = format!("ServiceAccount cluster1/{ACCOUNT} (UID: {uid}) is ready");
        (ready.message == message).then_some(uid)
    })
    .await
}

/// The client of an add-on's agent, which finds the Secret's keys as files in one folder.
pub async fn client_of(secret: &Secret) -> Client {
    let folder = tempfile::tempdir().expect("a folder");
    for (key, value) in secret.data.iter().flatten() {
        std::fs::write(folder.path().join(key), &value.0).expect("a file");
    }
    let kubeconfig = folder.path().join(keys::KUBECONFIG);
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
    client::connect(config.expect("a configuration"), "hello").expect("a client")
}

async fn join(hub: &Hub, wec: &Wec) {
    wec.join(hub, "cluster1", Mode::Singleton).await;
    wec.start_operator();
    let namespace = namespaces::AGENT;
    wec.start_agent_with(names::KLUSTERLET, namespace, &BY_TOKEN)
        .await;
    hub.until_available("cluster1").await;
    enable(hub, "cluster1").await;
}

/// A WEC whose add-on has a token: with the hub, the uid of the token's account, and the token.
async fn with_token() -> (Hub, Wec, String, String) {
    let hub = Hub::start(true).await;
    let wec = Wec::start("cluster1").await;
    join(&hub, &wec).await;
    let uid = until_account(&hub, None).await;
    let token = until_token(&wec, &hub, &uid, None).await;
    (hub, wec, uid, token)
}

#[tokio::test]
async fn an_add_on_gets_a_token_that_opens_its_mailbox_and_nothing_else() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec, _, token) = with_token().await;
            let claims = hub.claims(&token);
            assert_eq!(claims.exp - claims.iat, LIFE_SECONDS);
            let secret = secrets(&wec).get(SECRET).await.expect("the Secret");
            let data = secret.data.as_ref().expect("data");
            let present: Vec<_> = data.keys().map(String::as_str).collect();
            assert_eq!(present, [keys::CLUSTER_NAME, keys::KUBECONFIG, TOKEN]);

            let client = client_of(&secret).await;
            let who: Api<SelfSubjectReview> = Api::all(client.clone());
            let asked = SelfSubjectReview::default();
            let answer = who.create(&PostParams::default(), &asked).await;
            let user = answer.expect("an answer").status.expect("a status");
            assert_eq!(
                user.user_info.expect("a user").username.as_deref(),
                Some("system:serviceaccount:cluster1:hello-agent")
            );
            let maps = |namespace| -> Api<ConfigMap> { Api::namespaced(client.clone(), namespace) };
            until("the template's role is the account's", async || {
                maps("cluster1").list(&Default::default()).await.ok()
            })
            .await;
            for elsewhere in ["default", namespaces::HUB] {
                let error = maps(elsewhere).list(&Default::default()).await;
                let trouble = Trouble::of(&error.expect_err(elsewhere));
                assert!(matches!(trouble, Trouble::Forbidden(_)), "{trouble}");
            }

            until_said(&hub, known::TOKEN_REFRESHED, "True").await;
            let addon = until_said(&hub, known::REGISTRATION_APPLIED, "True").await;
            assert_eq!(addon.status.kube_client_driver, "token");
            let told = until("the hub converts", async || {
                beta(&hub.client, "cluster1").get("hello").await.ok()
            })
            .await;
            let registration = &told.data["status"]["registrations"][0];
            assert_eq!(registration["kubeClient"]["driver"], "token");
            let requests = hub.requests().await.len();
            assert_eq!(requests, 1, "the agent's own: no certificate was asked for");
        })
        .await;
}

#[tokio::test]
async fn an_add_on_gets_another_token_before_its_own_ends() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec, uid, first) = with_token().await;
            until_said(&hub, known::TOKEN_REFRESHED, "True").await;

            // A fifth of its life is more than two months, and an hour is left.
            let aged = hub.aged_token(&first, 3600);
            let patch = json!({"data": {TOKEN: ByteString(aged.clone().into_bytes())}});
            secrets(&wec)
                .patch(SECRET, &PatchParams::default(), &Patch::Merge(patch))
                .await
                .expect("patched");
            pass(LOOK).await;
            let second = until_token(&wec, &hub, &uid, Some(&aged)).await;
            assert_ne!(second, first);
            let claims = hub.claims(&second);
            assert_eq!(claims.exp - claims.iat, LIFE_SECONDS);
            hub.claims(&aged);

            // What is good is let alone.
            pass(LOOK).await;
            pass(LOOK).await;
            let secret = secrets(&wec).get(SECRET).await.expect("the Secret");
            assert_eq!(token_of(&secret), Some(second));
        })
        .await;
}

#[tokio::test]
async fn an_account_that_somebody_deletes_is_made_again_and_its_token_replaced() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec, former, first) = with_token().await;
            accounts(&hub)
                .delete(ACCOUNT, &Default::default())
                .await
                .expect("deleted");
            let uid = until_account(&hub, Some(&former)).await;
            until_token(&wec, &hub, &uid, Some(&first)).await;
            until_said(&hub, known::TOKEN_REFRESHED, "True").await;
        })
        .await;
}

#[tokio::test]
async fn a_cluster_that_changes_to_tokens_keeps_no_certificate_of_its_add_ons() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec, agent) = wec::registered().await;
            enable(&hub, "cluster1").await;
            let present = async || -> Option<Vec<String>> {
                let secret = secrets(&wec).get_opt(SECRET).await.expect("an answer")?;
                Some(secret.data?.into_keys().collect())
            };
            until("a certificate", async || {
                present()
                    .await?
                    .contains(&keys::CERTIFICATE.to_owned())
                    .then_some(())
            })
            .await;
            agent.cancel();
            wec.start_agent_with(names::KLUSTERLET, namespaces::AGENT, &BY_TOKEN)
                .await;
            until("a token and nothing of a certificate", async || {
                let wanted = [keys::CLUSTER_NAME, keys::KUBECONFIG, TOKEN];
                (present().await? == wanted).then_some(())
            })
            .await;
        })
        .await;
}
