//! What `join` asks the hub: its authority, its inner URL, whether it is a hub at all.
//!
//! The hub's authority is not known yet, so the first question goes over a connection that is not
//! verified, as upstream's does: whoever holds the token and can stand between could present
//! another authority. `--ca-file` avoids it. Nothing is ever written to the hub.

use super::options::Plan;
use crate::clusteradm::cluster_info;
use crate::clusteradm::cluster_info::ClusterInfo;
use crate::clusteradm::preflight::resources;
use crate::wait;
use crate::wait::Look;
use anyhow::Context;
use anyhow::anyhow;
use anyhow::bail;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::names;
use hyades_pki::Certificate;
use hyades_runtime::Trouble;
use hyades_runtime::client;
use hyades_runtime::component;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Config;
use std::time::Duration;

/// For how long a hub is looked at that may accept a cluster without a person: one that has a rule
/// for it does so within some tens of milliseconds, and whoever has to accept it waits no longer.
const ACCEPTANCE_LOOK: Duration = Duration::from_secs(1);

/// A hub as seen with the token of a new agent.
pub struct Hub {
    /// Its URL, as the user wrote it.
    url: String,
    /// ` through the proxy URL`, or nothing; for messages.
    way: String,
    client: Client,
}

/// What a hub's `cluster-info` says, as far as it was asked for.
#[derive(Debug, Default)]
pub struct Discovered {
    /// PEM of its authority.
    pub authority: Option<String>,
    /// The URL it names itself.
    pub server: Option<String>,
}

/// What the hub knows of the name to register under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOnHub {
    /// Nobody asked for it.
    Free,
    /// Somebody asked for it and has no certificate yet.
    Asked,
    /// A cluster joined under it.
    Joined,
    /// The token may not see it.
    Unknown,
}

/// By what a hub's certificate is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// By nothing: only to ask for the authority.
    Unverified,
    /// By this authority, PEM; without one by those of the system, as the agent will.
    Verified(Option<&'a str>),
}

impl Hub {
    /// A client for the hub with the plan's token.
    ///
    /// # Errors
    ///
    /// A URL, token, proxy or authority that no client can be made of.
    pub fn connect(plan: &Plan, trust: Trust<'_>, proxy: Option<&str>) -> anyhow::Result<Self> {
        let tried = || format!("make a client for the hub {}", plan.hub);
        let url = plan.hub.parse().with_context(tried)?;
        let mut config = Config::new(url);
        config.auth_info.token = Some(plan.token.clone().into());
        verify(&mut config, trust, plan.proxy_authority.as_deref()).with_context(tried)?;
        config.proxy_url = proxy
            .map(str::parse)
            .transpose()
            .context("read --proxy-url")?;
        let client = client::connect(config, &component::user_agent("clusteradm"))?;
        Ok(Self {
            url: plan.hub.clone(),
            way: proxy.map(way).unwrap_or_default(),
            client,
        })
    }

    /// Explains why the hub did not answer a question.
    fn explain(&self, tried: &str, error: &kube::Error) -> anyhow::Error {
        let advice = match Trouble::of(error) {
            Trouble::Unauthorized(_) => {
                "; get a new token with 'clusteradm get token' on the hub (they live an hour)"
            }
            Trouble::Forbidden(_) => {
                "; give new clusters their rights again with 'clusteradm init' on the hub"
            }
            Trouble::Untrusted(_) => {
                "; give the right authority with --ca-file, or a --hub-apiserver that the hub's certificate names"
            }
            Trouble::NameNotFound(_)
            | Trouble::NotFound(_)
            | Trouble::Refused(_)
            | Trouble::TimedOut(_)
            | Trouble::NotAnApiServer(_) => {
                "; compare --hub-apiserver with what 'clusteradm get token' prints"
            }
            _ if self.url.starts_with("http://") => {
                "; begin --hub-apiserver with https://, which API servers speak"
            }
            _ => "",
        };
        anyhow!(
            "{tried} the hub {}{}: {}{advice}",
            self.url,
            self.way,
            Trouble::of(error)
        )
    }

    /// Asks for the hub's authority and the URL it names itself.
    ///
    /// # Errors
    ///
    /// The hub does not answer, refuses the token, or says something unreadable.
    pub async fn discover(&self) -> anyhow::Result<Discovered> {
        let tried = "read the ConfigMap kube-public/cluster-info of";
        let map = match cluster_info::api(&self.client)
            .get_opt(cluster_info::NAME)
            .await
        {
            Ok(map) => map,
            // On such a server it may not be readable, and is not needed if nothing is asked of it.
            Err(error) if matches!(Trouble::of(&error), Trouble::Forbidden(_)) => None,
            Err(error) => return Err(self.explain(tried, &error)),
        };
        if let Some(text) = map.as_ref().and_then(cluster_info::kubeconfig) {
            let ClusterInfo {
                server,
                certificate_authority,
            } = cluster_info::parse(text)?;
            return Ok(Discovered {
                authority: certificate_authority,
                server,
            });
        }
        let tried = "read the ConfigMap kube-public/kube-root-ca.crt of";
        let authority = cluster_info::root_authority(&self.client).await;
        Ok(Discovered {
            authority: authority.map_err(|error| self.explain(tried, &error))?,
            server: None,
        })
    }

    /// Checks that the server is an API server that trusts the token, and a hub. Upstream leaves
    /// this out for a hub without a known authority, and installs an agent that gets nowhere.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub async fn check(&self) -> anyhow::Result<()> {
        self.client
            .apiserver_version()
            .await
            .map_err(|error| self.explain("ask for the version of", &error))?;
        let group_version = format!("{}/v1", names::CLUSTER_GROUP);
        let found = resources(&self.client, &group_version)
            .await
            .map_err(|error| self.explain("ask for the resources of", &error))?;
        if found.is_none_or(|list| list.resources.is_empty()) {
            bail!(
                "the server {} is not a hub: it serves no {group_version}; run 'clusteradm init' on it, or give the URL of the hub with --hub-apiserver",
                self.url
            );
        }
        Ok(())
    }

    /// What the hub knows of a cluster's name.
    pub async fn name(&self, cluster: &str) -> NameOnHub {
        let api: Api<ManagedCluster> = Api::all(self.client.clone());
        match api.get_opt(cluster).await {
            Ok(None) => NameOnHub::Free,
            Ok(Some(found)) => {
                let joined = conditions::managed_cluster::JOINED;
                match conditions::is_true(&found.status.conditions, joined) {
                    true => NameOnHub::Joined,
                    false => NameOnHub::Asked,
                }
            }
            Err(_) => NameOnHub::Unknown,
        }
    }

    /// Whether the hub accepts a cluster without a person, as far as it does so soon and the token
    /// may see it.
    pub async fn accepts(&self, cluster: &str) -> bool {
        let api: Api<ManagedCluster> = Api::all(self.client.clone());
        let what = format!("the hub to accept the managed cluster {cluster} by a rule of its own");
        let waited = wait::until(&what, ACCEPTANCE_LOOK, || async {
            let object = api.get(cluster).await?;
            let accepted = conditions::managed_cluster::HUB_ACCEPTED;
            Ok(
                match conditions::is_true(&object.status.conditions, accepted) {
                    true => Look::Done(()),
                    false => Look::NotYet("not accepted yet".to_owned()),
                },
            )
        });
        waited.await.is_ok()
    }
}

/// Names a proxy, without the password that its URL may hold.
fn way(proxy: &str) -> String {
    let uri: Option<http::Uri> = proxy.parse().ok();
    let host = uri.as_ref().and_then(http::Uri::authority);
    let host = host.map_or("", |authority| {
        let whole = authority.as_str();
        whole.rsplit_once('@').map_or(whole, |(_, host)| host)
    });
    format!(" through the proxy {host}")
}

/// The PEM texts one after the other, each once.
pub fn merged(authorities: &[Option<&str>]) -> Option<String> {
    let mut text = String::new();
    for authority in authorities.iter().flatten() {
        let authority = authority.trim_end();
        if !text.contains(authority) {
            text.push_str(authority);
            text.push('\n');
        }
    }
    (!text.is_empty()).then_some(text)
}

/// The certificates of a PEM bundle, as a client wants them.
fn trusted(pem: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let certificates =
        Certificate::parse_pem_bundle(pem).context("read the hub's certificate authority")?;
    if certificates.is_empty() {
        bail!("the hub's certificate authority holds no PEM certificate");
    }
    Ok(certificates
        .iter()
        .map(|certificate| certificate.der().to_vec())
        .collect())
}

/// Makes a client verify the hub as its agent will: both trust the hub's authority and that of the
/// proxy of an https URL.
fn verify(
    config: &mut Config,
    trust: Trust<'_>,
    proxy_authority: Option<&str>,
) -> anyhow::Result<()> {
    let Trust::Verified(authority) = trust else {
        config.accept_invalid_certs = true;
        return Ok(());
    };
    config.accept_invalid_certs = false;
    let authorities = merged(&[authority, proxy_authority]);
    config.root_cert = authorities.as_deref().map(trusted).transpose()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_question_for_the_authority_is_asked_unverified() {
        let verified = |trust| {
            let mut config = Config::new("https://hub:6443".parse().expect("a URL"));
            verify(&mut config, trust, None).expect("no authority to read");
            !config.accept_invalid_certs
        };
        assert!(!verified(Trust::Unverified));
        assert!(verified(Trust::Verified(None)));
    }

    #[test]
    fn a_proxy_is_named_without_its_password() {
        assert_eq!(
            way("http://me:s3cret@proxy:3128"),
            " through the proxy proxy:3128"
        );
        assert_eq!(way("socks5://proxy:1080"), " through the proxy proxy:1080");
    }

    #[test]
    fn authorities_are_merged_without_repetition() {
        assert_eq!(merged(&[None, None]), None);
        assert_eq!(merged(&[Some("A\n"), None]).as_deref(), Some("A\n"));
        let both = merged(&[Some("A"), Some("B\n")]);
        assert_eq!(both.as_deref(), Some("A\nB\n"));
        assert_eq!(merged(&[Some("A"), Some("A\n")]).as_deref(), Some("A\n"));
    }
}
