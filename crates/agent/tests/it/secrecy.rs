//! No token and no key is ever in a log, an Event, or the status of an object.

use crate::hub::Hub;
use crate::until;
use crate::wec::Wec;
use hyades_agent::credentials::keys;
use hyades_agent::install::kubeconfig_secret;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::core::v1::Event;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::DeleteParams;
use std::io::Write;
use std::sync::Arc;
use std::sync::Mutex;
use tokio::task::LocalSet;

/// Everything this process has logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("a log").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        let log = Self::default();
        let writer = log.clone();
        // As much as a user can ask for.
        let filter = hyades_runtime::log::filter_for(u8::MAX);
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("a log")).into_owned()
    }
}

async fn events(client: &Client) -> String {
    let all: Api<Event> = Api::all(client.clone());
    let all = all.list(&Default::default()).await.expect("events").items;
    serde_json::to_string(&all).expect("JSON")
}

fn value(secret: &Secret, key: &str) -> String {
    String::from_utf8_lossy(&secret.data.clone().expect("data")[key].0).into_owned()
}

fn token_of(kubeconfig: &str) -> String {
    let parsed = hyades_pki::Kubeconfig::parse(kubeconfig).expect("a kubeconfig");
    parsed.users[0].user.token.clone().expect("a token")
}

/// What gives a secret away: its longest line, since PEM and JSON break lines differently.
fn marks(secrets: &[String]) -> Vec<String> {
    let longest = |text: &String| {
        text.lines()
            .max_by_key(|line| line.len())
            .map(str::to_owned)
    };
    secrets.iter().filter_map(longest).collect()
}

#[tokio::test]
async fn no_token_or_key_is_in_any_log_event_or_status() {
    LocalSet::new()
        .run_until(async {
            let log = Log::start();
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            wec.run(&hub, "cluster1").await;
            hub.until_available("cluster1").await;
            let api = wec.secrets();
            let bootstrap = api
                .get(names::BOOTSTRAP_HUB_KUBECONFIG_SECRET)
                .await
                .expect("a Secret");
            let good = value(&bootstrap, keys::KUBECONFIG);
            let own = wec.hub_secret().await;
            let mut secrets = vec![token_of(&good), value(&own, keys::KEY)];

            // What goes wrong is where secrets get out: a token that is refused, and kubeconfigs
            // that are broken right beside one.
            let refused = good.replace(&token_of(&good), "refused-token-0123456789");
            let broken = format!("clusters: 3\n{good}\n  token: broken-token-0123456789: [\n");
            let mistyped = good.replace("token:", "token: [mistyped-token-0123456789]\n    was:");
            for (text, told) in [
                (refused, "no certificate from"),
                (broken, "cannot reach a hub"),
                (mistyped, "cannot reach a hub"),
            ] {
                let before = log.text().len();
                let secret = kubeconfig_secret(
                    namespaces::AGENT,
                    names::BOOTSTRAP_HUB_KUBECONFIG_SECRET,
                    &text,
                );
                apply::ensure(&wec.client, "test", &secret)
                    .await
                    .expect("written");
                let _ = api
                    .delete(names::HUB_KUBECONFIG_SECRET, &DeleteParams::default())
                    .await;
                until(&format!("the agent logs {told:?}"), async || {
                    log.text()[before..].contains(told).then_some(())
                })
                .await;
            }
            for word in ["refused", "broken", "mistyped"] {
                secrets.push(format!("{word}-token-0123456789"));
            }
            let klusterlet = serde_json::to_string(&wec.klusterlet().await).expect("JSON");
            let cluster = hub
                .clusters()
                .get("cluster1")
                .await
                .expect("an inventory object");
            let cluster = serde_json::to_string(&cluster).expect("JSON");
            let places = [
                ("log", log.text()),
                ("Events of the WEC", events(&wec.client).await),
                ("Events of the hub", events(&hub.client).await),
                ("Klusterlet", klusterlet),
                ("inventory object", cluster),
            ];
            assert!(
                places[0].1.contains("certificate request"),
                "the log was written"
            );
            for mark in marks(&secrets) {
                assert!(mark.len() > 20, "{mark}");
                for (place, text) in &places {
                    let found = text.find(&mark);
                    let around = found.map(|at| &text[at.saturating_sub(300)..at]);
                    assert_eq!(around, None, "a secret is in the {place}");
                }
            }
        })
        .await;
}
