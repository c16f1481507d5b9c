//! `kube-public/cluster-info`: how those who know nothing yet, such as `clusteradm join`, learn a
//! space's address and what it is trusted by.

use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::Cluster;
use hyades_pki::kubeconfig::NamedCluster;
use hyades_space::loopback::Loopback;
use hyades_space::names::Gvr;
use serde_json::Value;
use serde_json::json;

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";

/// Writes the ConfigMap, unless it says the same already.
pub(super) async fn publish(loopback: &Loopback, url: &str, ca_pem: &str) -> Result<(), String> {
    let failed = |what: String| format!("{NAMESPACE}/{NAME} cannot be written: {what}");
    let text = kubeconfig(url, ca_pem).map_err(failed)?;
    let config_maps = Gvr::CONFIG_MAPS;
    let present = loopback.get(&config_maps, Some(NAMESPACE), NAME);
    let written = match present {
        Ok(object) if kubeconfig_of(&object) == Some(&text) => return Ok(()),
        Ok(_) => {
            let patch = json!({"data": {"kubeconfig": text}});
            let patched = loopback.merge_patch(&config_maps, Some(NAMESPACE), NAME, "", patch);
            patched.await
        }
        Err(status) if status.is_not_found() => {
            let object = json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": NAME, "namespace": NAMESPACE},
                "data": {"kubeconfig": text},
            });
            let created = loopback.create(&config_maps, Some(NAMESPACE), object);
            created.await
        }
        Err(status) => Err(status),
    };
    written
        .map(drop)
        .map_err(|status| failed(status.to_string()))
}

/// A kubeconfig with one cluster of no name, as kubeadm writes it.
fn kubeconfig(url: &str, ca_pem: &str) -> Result<String, String> {
    let cluster = NamedCluster {
        name: String::new(),
        cluster: Cluster::new(url, ca_pem),
    };
    let file = Kubeconfig {
        clusters: vec![cluster],
        ..Kubeconfig::empty()
    };
    file.to_yaml().map_err(|error| error.to_string())
}

fn kubeconfig_of(object: &Value) -> Option<&String> {
    match object.get("data")?.get("kubeconfig")? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_names_the_server_and_its_authority_and_nothing_else() {
        let text = kubeconfig("https://h/spaces/its1", "PEM").expect("YAML");
        let read = Kubeconfig::parse(&text).expect("a kubeconfig");
        assert_eq!(read.clusters.len(), 1);
        let NamedCluster { name, cluster } = &read.clusters[0];
        assert_eq!(name, "");
        assert_eq!(cluster.server.as_deref(), Some("https://h/spaces/its1"));
        assert_eq!(cluster.certificate_authority_pem().as_deref(), Some("PEM"));
        assert!(read.users.is_empty() && read.contexts.is_empty());
    }
}
