//! Joining: from the start of an agent, or of `clusteradm join`, to a WEC that is Available.
//!
//! The hub accepts by itself, by its own feature gate `ManagedClusterAutoApproval`: no step of the
//! benchmark is part of the time.

use super::client;
use super::process::Process;
use super::process::free_port;
use super::report::Measure;
use super::report::Target;
use super::samples::Samples;
use super::sightings::Sightings;
use super::starts::ITS;
use super::starts::Up;
use super::starts::is_available;
use anyhow::Context;
use anyhow::bail;
use hyades_agent::install::BootstrapAccess;
use hyades_agent::install::bootstrap_kubeconfig;
use hyades_agent::install::bootstrap_secret;
use hyades_api::crds;
use hyades_api::features;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::ClusterManager;
use hyades_pki::Kubeconfig;
use hyades_runtime::apply;
use hyades_runtime::health;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::authentication::v1::TokenRequest;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

/// How long a join may take before the run fails.
pub(super) const JOIN_TIMEOUT: Duration = Duration::from_secs(60);

/// How long the hub may take to restart with its new settings.
const ROLLOUT_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two looks at a preparation.
const PAUSE: Duration = Duration::from_millis(20);

/// The field manager of what the benchmark applies.
pub(super) const MANAGER: &str = "hyades-bench";

/// What is promised, in milliseconds.
mod targets {
    pub(super) const AGENT_P50: f64 = 50.0;
    pub(super) const AGENT_P99: f64 = 250.0;
    /// A cluster registers in a second.
    pub(super) const WHOLE_P50: f64 = 1000.0;
}

/// What every join needs.
pub(super) struct Joins<'a> {
    binary: &'a Path,
    up: &'a Up,
    hub_url: String,
    hub_authority: String,
    token: String,
    /// When each WEC was first seen Available.
    pub(super) sightings: Sightings,
}

/// Measures `count` joins by an agent alone, and as many by `clusteradm join`.
pub(super) async fn measure(binary: &Path, up: &Up, count: u32) -> anyhow::Result<Vec<Measure>> {
    accept_by_itself(up).await?;
    let mut joins = Joins::prepare(binary, up).await?;
    let mut agents = Vec::new();
    let mut wholes = Vec::new();
    for number in 0..count {
        agents.push(joins.by_agent(&format!("bench-agent-{number}")).await?);
        wholes.push(joins.by_command(&format!("bench-join-{number}")).await?);
    }
    let mut measures = of_agents(agents);
    if let Some(samples) = Samples::new(wholes) {
        measures.push(Measure::milliseconds(
            &format!("clusteradm join to Available, p50 of {}", samples.count()),
            samples.percentile(50),
            Some(Target::Below(targets::WHOLE_P50)),
        ));
    }
    Ok(measures)
}

/// The measures of joins by agents alone.
pub(super) fn of_agents(durations: Vec<Duration>) -> Vec<Measure> {
    let Some(samples) = Samples::new(durations) else {
        return Vec::new();
    };
    let count = samples.count();
    let one = |(percent, target): (u32, Option<f64>)| {
        Measure::milliseconds(
            &format!("agent start to Available, hub approves, p{percent} of {count}"),
            samples.percentile(percent),
            target.map(Target::Below),
        )
    };
    [
        (50, Some(targets::AGENT_P50)),
        (90, None),
        (99, Some(targets::AGENT_P99)),
    ]
    .map(one)
    .into()
}

impl<'a> Joins<'a> {
    /// Obtains a token, and starts to watch the inventory. The hub has to accept by itself; see
    /// [`accept_by_itself`].
    pub(super) async fn prepare(binary: &'a Path, up: &'a Up) -> anyhow::Result<Self> {
        let kubeconfig = up.admin.kubeconfig(ITS).await?;
        let (hub_url, hub_authority) = server(&kubeconfig)?;
        let accounts: Api<ServiceAccount> = Api::namespaced(up.its.clone(), namespaces::OPERATOR);
        let token = accounts
            .create_token_request(
                names::BOOTSTRAP_SERVICE_ACCOUNT,
                &PostParams::default(),
                &TokenRequest::default(),
            )
            .await
            .context("ask the ITS for a bootstrap token")?;
        let token = token.status.and_then(|status| status.token);
        let token = token.context("the ITS gave no bootstrap token")?;
        let clusters = Api::all(up.its.clone());
        Ok(Self {
            binary,
            up,
            hub_url,
            hub_authority,
            token,
            sightings: Sightings::start(clusters, "Available WEC", is_available).await?,
        })
    }

    /// Where files of this join go.
    fn folder(&self) -> &Path {
        self.up
            .process
            .data_folder()
            .parent()
            .unwrap_or(Path::new("."))
    }

    /// Makes a space, and writes a kubeconfig for it.
    async fn space(&self, name: &str) -> anyhow::Result<PathBuf> {
        self.up.admin.create_space(name).await?;
        let kubeconfig = self.up.admin.kubeconfig(name).await?.to_yaml()?;
        let path = self.folder().join(format!("{name}.kubeconfig"));
        std::fs::write(&path, kubeconfig)
            .with_context(|| format!("write the kubeconfig {}", path.display()))?;
        Ok(path)
    }

    /// Starts an agent in a WEC that has everything an agent finds there, and takes the time.
    pub(super) async fn by_agent(&mut self, name: &str) -> anyhow::Result<Duration> {
        let kubeconfig = self.space(name).await?;
        self.furnish(name).await?;
        let port = free_port()?.to_string();
        let mut agent = Process::start(
            self.binary,
            self.folder(),
            name,
            &[
                "component",
                "klusterlet-agent",
                &format!("--spoke-cluster-name={name}"),
            ],
            &[
                ("KUBECONFIG", kubeconfig.to_string_lossy().as_ref()),
                ("POD_NAMESPACE", namespaces::AGENT),
                (health::PORT_VARIABLE, &port),
            ],
        )?;
        let started = agent.started();
        let available = self.sightings.of(name, JOIN_TIMEOUT);
        let what = format!("{name} was Available");
        let at = agent.until(&what, JOIN_TIMEOUT, available).await?;
        agent.kill().await?;
        self.up.admin.delete_space(name).await?;
        Ok(at.duration_since(started))
    }

    /// Runs `clusteradm join` on an empty WEC, and takes the time.
    async fn by_command(&mut self, name: &str) -> anyhow::Result<Duration> {
        let kubeconfig = self.space(name).await?;
        let join = Process::start(
            self.binary,
            self.folder(),
            name,
            &[
                "clusteradm",
                "--kubeconfig",
                kubeconfig.to_string_lossy().as_ref(),
                "join",
                "--hub-token",
                &self.token,
                "--hub-apiserver",
                &self.hub_url,
                "--cluster-name",
                name,
                "--singleton",
            ],
            &[],
        )?;
        let started = join.started();
        join.succeed().await?;
        let at = self.sightings.of(name, JOIN_TIMEOUT).await?;
        self.up.admin.delete_space(name).await?;
        Ok(at.duration_since(started))
    }

    /// Puts into a WEC what `clusteradm join` and its operator put there before an agent starts.
    async fn furnish(&self, name: &str) -> anyhow::Result<()> {
        let wec = client(self.up, name).await?;
        define(&wec, name).await?;
        for object in [namespace(namespaces::AGENT), self.bootstrap_secret()?] {
            apply::ensure(&wec, MANAGER, &object).await?;
        }
        Ok(())
    }

    /// The Secret with which a new agent presents itself.
    pub(super) fn bootstrap_secret(&self) -> anyhow::Result<Value> {
        let kubeconfig = bootstrap_kubeconfig(&BootstrapAccess {
            server: &self.hub_url,
            certificate_authority: Some(&self.hub_authority),
            token: &self.token,
            proxy_url: None,
        })?;
        Ok(bootstrap_secret(&kubeconfig))
    }
}

/// A Namespace.
pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// Puts the definitions that an agent needs into a WEC, and waits until they are served.
pub(super) async fn define(wec: &Client, name: &str) -> anyhow::Result<()> {
    let definitions = crds::managed();
    for object in &definitions {
        apply::ensure(wec, MANAGER, object).await?;
    }
    let api: Api<CustomResourceDefinition> = Api::all(wec.clone());
    let what = format!("the definitions in {name} to be established");
    poll(&what, JOIN_TIMEOUT, async || {
        let found = api.list(&Default::default()).await?;
        Ok(found.iter().filter(|found| is_established(found)).count() >= definitions.len())
    })
    .await
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let status = definition.status.as_ref();
    let mut conditions = status
        .and_then(|status| status.conditions.as_ref())
        .into_iter()
        .flatten();
    conditions.any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// The URL and the authority of a kubeconfig's only cluster.
fn server(kubeconfig: &Kubeconfig) -> anyhow::Result<(String, String)> {
    let cluster = kubeconfig.clusters.first().map(|named| &named.cluster);
    let url = cluster.and_then(|cluster| cluster.server.clone());
    let authority = cluster.and_then(|cluster| cluster.certificate_authority_data.clone());
    let url = url.context("the kubeconfig of the ITS names no server")?;
    let authority = authority.context("the kubeconfig of the ITS has no authority")?;
    let authority = serde_json::from_value(json!(authority));
    let authority: hyades_runtime::k8s_openapi::ByteString =
        authority.context("decode the authority of the ITS")?;
    let authority = String::from_utf8(authority.0).context("decode the authority of the ITS")?;
    Ok((url, authority))
}

/// Has the hub approve and accept new WECs by itself, and waits until it runs with that.
pub(super) async fn accept_by_itself(up: &Up) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = Api::namespaced(up.its.clone(), namespaces::HUB);
    let found = deployments.list(&Default::default()).await;
    let found = found.context("look for the hub's Deployment")?;
    let hub = found.iter().next().context("the ITS has no hub")?;
    let (name, before) = (hub.name_any(), hub.metadata.generation);
    let managers: Api<ClusterManager> = Api::all(up.its.clone());
    let settings = json!({"spec": {"registrationConfiguration": {
        "autoApproveUsers": [names::BOOTSTRAP_SERVICE_ACCOUNT_USER],
        "featureGates": [{"feature": features::MANAGED_CLUSTER_AUTO_APPROVAL, "mode": "Enable"}],
    }}});
    managers
        .patch(
            names::CLUSTER_MANAGER,
            &PatchParams::default(),
            &Patch::Merge(settings),
        )
        .await
        .context("tell the ClusterManager to approve by itself")?;
    poll(
        "the hub to run with approval by itself",
        ROLLOUT_TIMEOUT,
        async || {
            let hub = deployments.get(&name).await?;
            Ok(hub.metadata.generation > before && is_rolled_out(&hub))
        },
    )
    .await
}

/// Whether all pods of a Deployment are of its present template, and ready.
fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = Some(deployment.spec.replicas.unwrap_or(1));
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.replicas == wanted
            && status.updated_replicas == wanted
            && status.ready_replicas == wanted
    })
}

/// Looks until `done` says so; errors are looked at again, and told when the time is over.
pub(super) async fn poll(
    what: &str,
    timeout: Duration,
    done: impl AsyncFn() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let last = match done().await {
            Ok(true) => return Ok(()),
            Ok(false) => "not yet".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        if Instant::now() > deadline {
            bail!(
                "waited {} s for {what}; last seen: {last}",
                timeout.as_secs()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(generation: i64, updated: i32, ready: i32) -> Deployment {
        let json = json!({
            "metadata": {"generation": generation},
            "spec": {"replicas": 1, "selector": {}, "template": {}},
            "status": {
                "observedGeneration": 2,
                "replicas": 1,
                "updatedReplicas": updated,
                "readyReplicas": ready,
            },
        });
        serde_json::from_value(json).expect("a Deployment")
    }

    #[test]
    fn a_rollout_has_ended_when_only_ready_pods_of_the_new_template_are_left() {
        assert!(is_rolled_out(&deployment(2, 1, 1)));
        assert!(!is_rolled_out(&deployment(3, 1, 1)));
        assert!(!is_rolled_out(&deployment(2, 0, 1)));
        assert!(!is_rolled_out(&deployment(2, 1, 0)));
    }

    #[test]
    fn the_hub_is_found_in_a_kubeconfig() {
        let text = "clusters: [{name: a, cluster: {server: 'https://h', \
                    certificate-authority-data: UEVN}}]";
        let kubeconfig = Kubeconfig::parse(text).expect("a kubeconfig");
        let (url, authority) = server(&kubeconfig).expect("a server");
        assert_eq!((url.as_str(), authority.as_str()), ("https://h", "PEM"));
        assert!(server(&Kubeconfig::empty()).is_err());
    }

    #[tokio::test]
    async fn a_poll_ends_with_what_it_saw_last() {
        let waited = poll("a wonder", Duration::ZERO, async || bail!("no wonder")).await;
        let error = waited.expect_err("late").to_string();
        assert_eq!(error, "waited 0 s for a wonder; last seen: no wonder");
    }
}
