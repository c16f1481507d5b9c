//! Following a hub that says it can be found elsewhere, or by another authority.
//!
//! A hub publishes its address and its authorities in `kube-public/cluster-info`, which anybody may
//! read. While the agent is still connected it reads that page over the connection it trusts. What
//! changes there since the agent first read it, is followed, once the hub was met there with the
//! agent's own certificate and showed the same inventory object. What merely differs from the
//! agent's kubeconfig is not: somebody has chosen that address.

use super::Shared;
use super::bootstrap;
use super::bootstrap::Page;
use crate::credentials::Credentials;
use crate::credentials::HubEndpoint;
use crate::endpoint::sha256;
use crate::session::Session;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names::annotations;
use hyades_api::names::namespaces;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::User;
use hyades_runtime::Trouble;
use hyades_runtime::backoff;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::core::PartialObjectMeta;
use serde_json::json;
use std::time::Duration;
use tokio::sync::watch;

/// The page's name and the key in it, as kubeadm and clusteradm know them.
const PAGE: &str = "cluster-info";
const PAGE_KEY: &str = "kubeconfig";

/// How long after the join the page is first read: soon, since a change is told from what it said
/// then, and yet not while a fleet is joining.
const FIRST_READING: Duration = Duration::from_secs(30);

/// Readings are spread by up to this share of their period.
const JITTER: f64 = 0.25;

/// What a hub publishes of itself.
#[derive(Clone, Debug, PartialEq)]
struct Published {
    server: String,
    /// Base64 of PEM.
    authority: Option<String>,
}

impl Published {
    /// Reads the page; nothing if it names no server.
    fn read(kubeconfig: &str) -> Option<Self> {
        let cluster = Kubeconfig::parse(kubeconfig)
            .ok()?
            .clusters
            .into_iter()
            .next()?
            .cluster;
        Some(Self {
            server: cluster.server.filter(|server| !server.is_empty())?,
            authority: cluster.certificate_authority_data,
        })
    }

    fn record(&self) -> Record {
        Record {
            server: self.server.clone(),
            authority: sha256(&[self.authority.as_deref().unwrap_or_default()]),
        }
    }
}

/// What was published when it was last followed, kept in annotations of the hub Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    server: String,
    authority: String,
}

impl Record {
    fn read(secret: &PartialObjectMeta<Secret>) -> Option<Self> {
        let all = secret.annotations();
        Some(Self {
            server: all.get(annotations::PUBLISHED_SERVER)?.clone(),
            authority: all.get(annotations::PUBLISHED_AUTHORITY)?.clone(),
        })
    }
}

/// Where to look for the hub now: the most complete change first, then its parts, since address
/// and authorities may not change in the same moment. Each with what to remember once it is taken.
fn decide(
    current: &HubEndpoint,
    published: &Published,
    known: &Record,
) -> Vec<(HubEndpoint, Record)> {
    let record = published.record();
    let moved = record.server != known.server;
    let resigned = record.authority != known.authority && published.authority.is_some();
    let mut found = Vec::new();
    for (server, authority) in [(true, true), (false, true), (true, false)] {
        let (server, authority) = (server && moved, authority && resigned);
        let mut endpoint = current.clone();
        let mut remembered = known.clone();
        if server {
            endpoint.cluster.server = Some(published.server.clone());
            remembered.server = record.server.clone();
        }
        if authority {
            endpoint.cluster.certificate_authority_data = published.authority.clone();
            remembered.authority = record.authority.clone();
        }
        let is_new = remembered != *known && found.iter().all(|(_, known)| *known != remembered);
        if is_new {
            found.push((endpoint, remembered));
        }
    }
    found
}

/// Reads the page now and then, for ever; returns the credentials for the hub as it is to be met
/// from now on, saved, once that changes.
pub(super) async fn follow(
    shared: &Shared<'_>,
    credentials: &Credentials,
    mut current: watch::Receiver<Option<ManagedCluster>>,
) -> Credentials {
    let period = shared.options.hub_info_period;
    // Without its inventory object the agent could not tell its hub from another one.
    if current.wait_for(Option::is_some).await.is_err() {
        return std::future::pending().await;
    }
    tokio::time::sleep(backoff::jitter(period.min(FIRST_READING), JITTER)).await;
    loop {
        let uid = current
            .borrow_and_update()
            .as_ref()
            .and_then(ResourceExt::uid);
        if let Some(uid) = uid
            && let Some(moved) = look(shared, credentials, &uid).await
        {
            return moved;
        }
        tokio::time::sleep(backoff::jitter(period, JITTER)).await;
    }
}

async fn look(shared: &Shared<'_>, credentials: &Credentials, uid: &str) -> Option<Credentials> {
    let published = match read(&credentials.endpoint).await {
        Ok(published) => published,
        Err(why) => {
            tracing::debug!("the hub's {PAGE}: {why}");
            return None;
        }
    };
    let api: Api<PartialObjectMeta<Secret>> =
        Api::namespaced(shared.context.client.clone(), &shared.context.namespace);
    let secret = match api.get_opt(shared.hub_secret).await {
        Ok(secret) => secret?,
        Err(error) => {
            let trouble = Trouble::of(&error);
            tracing::warn!("reading what the hub published of itself before: {trouble}");
            return None;
        }
    };
    let Some(known) = Record::read(&secret) else {
        remember(shared, &published.record()).await;
        return None;
    };
    for (endpoint, record) in decide(&credentials.endpoint, &published, &known) {
        if endpoint == credentials.endpoint {
            // The page has come to say what the agent does already.
            remember(shared, &record).await;
            continue;
        }
        let moved = shared.moved(credentials, endpoint);
        match meet(shared, &moved, uid).await {
            Ok(()) => {
                let server = moved.endpoint.server();
                let message = format!(
                    "the hub says it is to be met at {server} from now on, by the authorities it published"
                );
                shared.tell("HubMoved", &message).await;
                bootstrap::save(shared, &moved, Page::Keep).await;
                remember(shared, &record).await;
                return Some(moved);
            }
            Err(why) => {
                let server = moved.endpoint.server();
                tracing::info!("the hub publishes {server}, and it was not met there: {why}");
            }
        }
    }
    None
}

/// Reads the page as anybody may.
async fn read(endpoint: &HubEndpoint) -> Result<Published, String> {
    let kubeconfig = endpoint
        .kubeconfig_of(User::default())
        .map_err(|error| error.to_string())?;
    let user_agent = component::user_agent("registration-agent");
    let client = client::from_kubeconfig(&kubeconfig, "of the hub", &user_agent)
        .await
        .map_err(|error| error.to_string())?;
    let api: Api<ConfigMap> = Api::namespaced(client, namespaces::KUBE_PUBLIC);
    let page = api
        .get(PAGE)
        .await
        .map_err(|error| Trouble::of(&error).to_string())?;
    let text = page.data.and_then(|mut data| data.remove(PAGE_KEY));
    let published = text.as_deref().and_then(Published::read);
    published.ok_or_else(|| "it names no server".to_owned())
}

/// Whether the hub is at the new place: it knows this agent, and shows it the same object.
async fn meet(shared: &Shared<'_>, moved: &Credentials, uid: &str) -> Result<(), String> {
    let identity = shared.identity.clone();
    let session = Session::open(moved, identity, "registration-agent")
        .await
        .map_err(|error| error.to_string())?;
    let api: Api<PartialObjectMeta<ManagedCluster>> = Api::all(session.client);
    let found = api.get(shared.identity.cluster.as_str()).await;
    let found = found.map_err(|error| Trouble::of(&error).to_string())?;
    match found.uid().as_deref() == Some(uid) {
        true => Ok(()),
        false => Err("another hub is there".to_owned()),
    }
}

async fn remember(shared: &Shared<'_>, record: &Record) {
    let api: Api<PartialObjectMeta<Secret>> =
        Api::namespaced(shared.context.client.clone(), &shared.context.namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {
        annotations::PUBLISHED_SERVER: record.server,
        annotations::PUBLISHED_AUTHORITY: record.authority,
    }}}));
    let parameters = PatchParams::default();
    if let Err(error) = api.patch(shared.hub_secret, &parameters, &patch).await {
        let trouble = Trouble::of(&error);
        tracing::warn!("noting what the hub publishes of itself: {trouble}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::tests::endpoint;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn published(server: &str, authority: &str) -> Published {
        Published {
            server: server.to_owned(),
            authority: Some(STANDARD.encode(authority)),
        }
    }

    fn told(current: &HubEndpoint, now: &Published, known: &Published) -> Vec<(String, String)> {
        let found = decide(current, now, &known.record());
        let told = found.iter().map(|(endpoint, _)| {
            let authority = endpoint.cluster.certificate_authority_data.clone();
            (endpoint.server().to_owned(), authority.unwrap_or_default())
        });
        told.collect()
    }

    fn pair(server: &str, authority: &str) -> (String, String) {
        (server.to_owned(), STANDARD.encode(authority))
    }

    #[test]
    fn only_what_changes_on_the_page_is_followed() {
        let chosen = endpoint("https://through-a-tunnel", "hub");
        let page = published("https://hub", "old");
        assert!(
            told(&chosen, &page, &page).is_empty(),
            "a difference is no change"
        );
        assert_eq!(
            told(&chosen, &published("https://hub", "old+new"), &page),
            [pair("https://through-a-tunnel", "old+new")],
            "the address that was chosen stays"
        );
        assert_eq!(
            told(&chosen, &published("https://elsewhere", "old"), &page),
            [pair("https://elsewhere", "ca")],
        );
    }

    #[test]
    fn of_two_changes_either_may_come_first() {
        let current = endpoint("https://hub", "hub");
        let found = told(
            &current,
            &published("https://new", "new"),
            &published("https://hub", "ca"),
        );
        assert_eq!(
            found,
            [
                pair("https://new", "new"),
                pair("https://hub", "new"),
                pair("https://new", "ca")
            ]
        );
    }

    #[test]
    fn a_page_without_a_server_says_nothing() {
        assert_eq!(Published::read("clusters: [{name: '', cluster: {}}]"), None);
        assert_eq!(Published::read("no kubeconfig"), None);
    }
}
