//! WECs without agents: accepted inventory objects and their mailboxes, for what a WDS's works cost an ITS.

use super::WRITES_AT_A_TIME;
use super::joins;
use super::joins::JOIN_TIMEOUT;
use anyhow::Context;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSpec;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;
use std::collections::HashSet;

/// The WECs.
pub(super) struct Crowd {
    clusters: Api<ManagedCluster>,
    names: Vec<String>,
}

impl Crowd {
    /// Makes `count` WECs.
    pub(super) async fn make(its: &Client, count: u32) -> anyhow::Result<Self> {
        let clusters = Api::<ManagedCluster>::all(its.clone());
        let mailboxes = Api::<Namespace>::all(its.clone());
        let names: Vec<String> = (0..count)
            .map(|number| format!("bench-wec-{number}"))
            .collect();
        let one = async |name: &String| {
            let spec = ManagedClusterSpec {
                hub_accepts_client: true,
                ..ManagedClusterSpec::default()
            };
            let cluster = ManagedCluster::new(name, spec);
            clusters.create(&PostParams::default(), &cluster).await?;
            anyhow::Ok(())
        };
        let writes = stream::iter(&names)
            .map(one)
            .buffer_unordered(WRITES_AT_A_TIME);
        let made: anyhow::Result<()> = writes.try_collect().await;
        made.context("make WECs in the ITS")?;
        joins::poll("the hub to make all mailboxes", JOIN_TIMEOUT, async || {
            let list = mailboxes.list_metadata(&ListParams::default()).await?;
            let there: HashSet<String> = list.items.iter().map(ResourceExt::name_any).collect();
            Ok(names.iter().all(|name| there.contains(name)))
        })
        .await?;
        Ok(Self { clusters, names })
    }

    /// How many there are.
    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.names.iter()
    }

    /// Labels the first `count`, with an empty value.
    pub(super) async fn label(&self, key: &str, count: u32) -> anyhow::Result<()> {
        let one = async |name: &String| {
            let patch = Patch::Merge(json!({"metadata": {"labels": {key: ""}}}));
            let parameters = PatchParams::default();
            let patched = self.clusters.patch(name, &parameters, &patch).await;
            patched.map(|_| ())
        };
        let names = self.names.iter().take(count as usize);
        let writes = stream::iter(names)
            .map(one)
            .buffer_unordered(WRITES_AT_A_TIME);
        writes.try_collect().await.context("label WECs in the ITS")
    }
}
