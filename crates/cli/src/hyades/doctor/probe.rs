//! Looks at everything, within time limits, and changes nothing.
//!
//! ```text
//! Target ─▶ reach (dns, tcp, tls, answer) ─▶ hub side ─┐
//!                                         └▶ WEC side ─┴▶ reach of its hub ─▶ Observed
//! ```

mod hub;
mod logs;
mod pods;
mod reach;
mod requests;
mod tls;
mod wec;

use super::observed::Observed;
use super::observed::Read;
use crate::clusteradm::preflight;
use crate::data_dir;
use crate::progress::board::Step;
use crate::target::KnownContext;
use crate::target::Target;
use futures::future::join_all;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names;
use hyades_runtime::Trouble;
use hyades_runtime::kube;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use jiff::Timestamp;
use reach::Way;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Longest one question to an API server. A server that is well answers in milliseconds; one that
/// takes this long is what the doctor was called for.
const ASK_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest one look at another context: it saves the user a name, and is worth no longer wait.
const CONTEXT_TIMEOUT: Duration = Duration::from_secs(2);

/// Most contexts that are looked at: kubeconfigs of fleets hold hundreds.
const CONTEXTS_MAX: usize = 16;

/// Looks at the cluster behind `target`, of this kubeconfig or else the usual one. `cluster` limits
/// a hub to one WEC.
pub async fn observe(
    target: &Target,
    kubeconfig: Option<&Path>,
    contexts: Vec<KnownContext>,
    cluster: Option<&str>,
) -> Observed {
    let way = Way {
        url: &target.server,
        authority: target.certificate_authority.as_deref(),
        server_name: target.tls_server_name.as_deref(),
        has_proxy: target.has_proxy,
    };
    let own = reach::reach(&way, Ok(&target.client)).await;
    let answers = own
        .answer
        .done()
        .is_some_and(|answer| answer.version.is_ok());
    let (hub, wec) = match answers {
        false => (Ok(None), Ok(None)),
        true => tokio::join!(
            hub::observe(&target.client, cluster),
            wec::observe(&target.client),
        ),
    };
    let only_hub = match (answers, &hub, &wec) {
        (true, Ok(None), Ok(None)) => only_hub(kubeconfig, &contexts).await,
        _ => None,
    };
    Observed {
        now: Timestamp::now(),
        context: target.name.clone(),
        contexts,
        only_hub,
        data_dir: data_dir(kubeconfig),
        own,
        hub,
        wec,
    }
}

/// The one hub among the contexts, if there is one and no other.
async fn only_hub(kubeconfig: Option<&Path>, contexts: &[KnownContext]) -> Option<KnownContext> {
    let is_hub = async |known: &KnownContext| {
        let asked = async {
            let target = Target::load(kubeconfig, Some(&known.name)).await.ok()?;
            is_hub(&target.client).await.ok()
        };
        let answer = tokio::time::timeout(CONTEXT_TIMEOUT, asked).await;
        matches!(answer, Ok(Some(true)))
    };
    let candidates = contexts.iter().filter(|known| known.has_credentials);
    let candidates: Vec<&KnownContext> = candidates.take(CONTEXTS_MAX).collect();
    let answers = join_all(candidates.iter().map(|known| is_hub(known))).await;
    let mut hubs = candidates
        .into_iter()
        .zip(answers)
        .filter(|(_, is_hub)| *is_hub);
    match (hubs.next(), hubs.next()) {
        (Some((only, _)), None) => Some(only.clone()),
        _ => None,
    }
}

/// The data folder that a kubeconfig lies in, if it is a host's own.
fn data_dir(kubeconfig: Option<&Path>) -> Option<PathBuf> {
    let file = match kubeconfig {
        Some(file) => file.to_owned(),
        None => PathBuf::from(std::env::var_os("KUBECONFIG")?),
    };
    let file = std::path::absolute(file).ok()?;
    let folder = file.parent()?;
    let is_own = file == data_dir::kubeconfig(folder) && data_dir::log(folder).is_file();
    is_own.then(|| folder.to_owned())
}

/// Whether a server is a hub.
async fn is_hub(client: &Client) -> Read<bool> {
    let group_version = format!("{}/v1", names::CLUSTER_GROUP);
    let resource = ManagedCluster::plural(&());
    let asked = preflight::resources(client, &group_version);
    let found = ask("which resources the server has", asked).await?;
    let resources = found.map(|list| list.resources).unwrap_or_default();
    Ok(resources.iter().any(|served| served.name == resource))
}

/// Asks an API server something, within [`ASK_TIMEOUT`].
async fn ask<T>(what: &str, question: impl Future<Output = kube::Result<T>>) -> Read<T> {
    let step = Step::begin(format!("asking for {what}"));
    match tokio::time::timeout(ASK_TIMEOUT, step.during(question)).await {
        Ok(answer) => answer.map_err(|error| Trouble::of(&error)),
        Err(_) => Err(Trouble::TimedOut(format!(
            "no answer about {what} within {} s",
            ASK_TIMEOUT.as_secs()
        ))),
    }
}

/// The answer, with nothing for what does not exist: an object, or its whole kind.
fn optional<T>(answer: Read<Option<T>>) -> Read<Option<T>> {
    match answer {
        Err(trouble) if trouble.is_not_found() => Ok(None),
        answer => answer,
    }
}
