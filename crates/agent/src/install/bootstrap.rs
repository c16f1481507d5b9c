//! The kubeconfig that a new agent presents itself with.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::Cluster;
use hyades_pki::kubeconfig::Context;
use hyades_pki::kubeconfig::NamedCluster;
use hyades_pki::kubeconfig::NamedContext;
use hyades_pki::kubeconfig::NamedUser;
use hyades_pki::kubeconfig::User;
use serde_json::json;
use std::collections::BTreeMap;

/// Where a hub is and how to present oneself to it first.
#[derive(Clone, Debug, Default)]
pub struct BootstrapAccess<'a> {
    /// URL of the hub's API server.
    pub server: &'a str,
    /// PEM of the authorities the hub is trusted by.
    pub certificate_authority: Option<&'a str>,
    /// The bearer token.
    pub token: &'a str,
    /// A proxy on the way to the hub.
    pub proxy_url: Option<&'a str>,
}

/// Renders the kubeconfig that a new agent presents itself with. The agent later compares the
/// name of the cluster entry, `hub`, too.
///
/// # Errors
///
/// Those of writing YAML.
pub fn bootstrap_kubeconfig(
    access: &BootstrapAccess<'_>,
) -> Result<String, hyades_pki::KubeconfigError> {
    let mut other = BTreeMap::new();
    if let Some(proxy) = access.proxy_url {
        other.insert("proxy-url".to_owned(), json!(proxy));
    }
    Kubeconfig {
        clusters: vec![NamedCluster {
            name: "hub".to_owned(),
            cluster: Cluster {
                server: Some(access.server.to_owned()),
                certificate_authority_data: access
                    .certificate_authority
                    .map(|pem| STANDARD.encode(pem)),
                other,
            },
        }],
        users: vec![NamedUser {
            name: "bootstrap".to_owned(),
            user: User {
                token: Some(access.token.to_owned()),
                ..User::default()
            },
        }],
        contexts: vec![NamedContext {
            name: "bootstrap".to_owned(),
            context: Context {
                cluster: "hub".to_owned(),
                user: "bootstrap".to_owned(),
                namespace: Some("default".to_owned()),
                ..Context::default()
            },
        }],
        current_context: "bootstrap".to_owned(),
        ..Kubeconfig::empty()
    }
    .to_yaml()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_kubeconfig_reads_back() {
        let access = BootstrapAccess {
            server: "https://127.0.0.1:9443/spaces/its1",
            certificate_authority: Some("PEM"),
            token: "a.b.c",
            proxy_url: Some("http://proxy:3128"),
        };
        let text = bootstrap_kubeconfig(&access).expect("YAML");
        let read = Kubeconfig::parse(&text).expect("a kubeconfig");
        assert_eq!(read.current_context, "bootstrap");
        assert_eq!(read.clusters[0].name, "hub");
        assert_eq!(
            read.clusters[0].cluster.server.as_deref(),
            Some(access.server)
        );
        assert_eq!(
            read.clusters[0].cluster.other["proxy-url"],
            "http://proxy:3128"
        );
        assert_eq!(read.users[0].user.token.as_deref(), Some("a.b.c"));
        assert_eq!(
            read.contexts[0].context.namespace.as_deref(),
            Some("default")
        );
    }
}
