//! `kube-public/cluster-info`: where a cluster says who it is, to those who hold only a token.

use anyhow::Context;
use anyhow::bail;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_api::names::namespaces;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::Cluster;
use hyades_pki::kubeconfig::NamedCluster;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Result;
use std::collections::BTreeMap;

/// Name of the ConfigMap.
pub const NAME: &str = "cluster-info";
/// Its only key that matters.
const KEY: &str = "kubeconfig";
/// The ConfigMap every namespace has, with the authority of the API server.
const ROOT_CA: &str = "kube-root-ca.crt";
/// Its key.
const ROOT_CA_KEY: &str = "ca.crt";

/// What a cluster says about itself.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ClusterInfo {
    /// URL of its API server.
    pub server: Option<String>,
    /// PEM of the authority it is trusted by.
    pub certificate_authority: Option<String>,
}

/// The ConfigMaps of `kube-public`.
pub fn api(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), namespaces::KUBE_PUBLIC)
}

/// The kubeconfig in the ConfigMap, if it is not empty.
pub fn kubeconfig(map: &ConfigMap) -> Option<&str> {
    let text = map.data.as_ref()?.get(KEY)?;
    (!text.is_empty()).then_some(text)
}

/// Reads what the kubeconfig in a `cluster-info` says.
///
/// # Errors
///
/// A kubeconfig that cannot be read, or has other than one cluster.
pub fn parse(text: &str) -> anyhow::Result<ClusterInfo> {
    let parsed = Kubeconfig::parse(text).context("read the ConfigMap kube-public/cluster-info")?;
    let [named] = parsed.clusters.as_slice() else {
        bail!(
            "the kubeconfig in the ConfigMap kube-public/cluster-info has {} clusters and must have one; correct it",
            parsed.clusters.len()
        );
    };
    let data = named.cluster.certificate_authority_data.as_deref();
    let data = data.filter(|data| !data.is_empty());
    let certificate_authority = data
        .map(|data| -> anyhow::Result<String> { Ok(String::from_utf8(STANDARD.decode(data)?)?) })
        .transpose()
        .context("read certificate-authority-data in the ConfigMap kube-public/cluster-info")?;
    Ok(ClusterInfo {
        server: named.cluster.server.clone(),
        certificate_authority,
    })
}

/// The authority in `kube-public/kube-root-ca.crt`, if there is one.
pub async fn root_authority(client: &Client) -> Result<Option<String>> {
    let map = api(client).get_opt(ROOT_CA).await?;
    Ok(map.and_then(|map| map.data?.remove(ROOT_CA_KEY)))
}

/// The `cluster-info` of a cluster that has none: immutable, as upstream makes it.
///
/// # Errors
///
/// Those of writing YAML.
pub fn render(server: &str, certificate_authority: Option<&str>) -> anyhow::Result<ConfigMap> {
    let kubeconfig = Kubeconfig {
        clusters: vec![NamedCluster {
            name: String::new(),
            cluster: Cluster {
                server: Some(server.to_owned()),
                certificate_authority_data: certificate_authority.map(|pem| STANDARD.encode(pem)),
                ..Cluster::default()
            },
        }],
        ..Kubeconfig::empty()
    };
    let mut map = ConfigMap {
        data: Some(BTreeMap::from([(KEY.to_owned(), kubeconfig.to_yaml()?)])),
        immutable: Some(true),
        ..ConfigMap::default()
    };
    map.metadata.name = Some(NAME.to_owned());
    map.metadata.namespace = Some(namespaces::KUBE_PUBLIC.to_owned());
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_rendered_reads_back() {
        let map = render("https://hub:6443", Some("PEM")).expect("rendered");
        assert_eq!(map.immutable, Some(true));
        let info = parse(kubeconfig(&map).expect("not empty")).expect("read");
        assert_eq!(info.server.as_deref(), Some("https://hub:6443"));
        assert_eq!(info.certificate_authority.as_deref(), Some("PEM"));
    }

    #[test]
    fn exactly_one_cluster_is_wanted() {
        let error = parse("clusters: []").expect_err("none");
        assert!(error.to_string().contains("has 0 clusters"), "{error}");
    }
}
