//! Everything the agents of one Klusterlet need in the WEC, as plain objects. Pure.
//!
//! The agents follow the bootstrap Secret through the API, so a change of it needs no new pods.

use crate::credentials;
use crate::deployment::Deployment;
use crate::install::Mode;
use hyades_api::crds;
use hyades_api::features;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::identity::ClusterName;
use hyades_api::image;
use hyades_api::image::Component;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// A Klusterlet, read once: what its agents are called, where they run and what they do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name of the Klusterlet.
    pub name: String,
    /// Its uid, which is the name of its agent.
    pub agent_id: String,
    /// Namespace of the agents.
    pub namespace: String,
    /// One process or two.
    pub mode: Mode,
    /// The gates of both agents.
    pub gates: FeatureGates,
    /// Gates that do not exist.
    pub unknown_gates: Vec<String>,
    default_image: String,
    klusterlet: Klusterlet,
}

/// Why a Klusterlet cannot be followed.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum PlanError {
    /// Its mode.
    #[error("spec.deployOption.mode: {0}")]
    Mode(#[from] crate::install::ModeError),
    /// Its cluster name.
    #[error("spec.clusterName: {0}")]
    ClusterName(#[from] hyades_api::identity::ClusterNameError),
    /// A setting this operator does not know how to follow.
    #[error("{0} is not supported: remove it")]
    Unsupported(&'static str),
}

impl Plan {
    /// Reads a Klusterlet.
    ///
    /// # Errors
    ///
    /// What cannot be followed is refused, not ignored.
    pub fn of(klusterlet: &Klusterlet) -> Result<Self, PlanError> {
        let spec = &klusterlet.spec;
        let registration = spec.registration_configuration.clone().unwrap_or_default();
        let driver = registration
            .registration_driver
            .as_ref()
            .map_or("", |driver| driver.auth_type.as_str());
        if !matches!(driver, "" | "csr") {
            return Err(PlanError::Unsupported(
                "a registrationDriver other than csr",
            ));
        }
        if registration
            .bootstrap_kube_configs
            .is_some_and(|several| !matches!(several.r#type.as_str(), "" | "None"))
        {
            return Err(PlanError::Unsupported("bootstrapKubeConfigs"));
        }
        if !spec.cluster_name.is_empty() {
            spec.cluster_name.parse::<ClusterName>()?;
        }
        let work = spec.work_configuration.clone().unwrap_or_default();
        let mut gates = FeatureGates::defaults(&[Family::AgentRegistration, Family::AgentWork]);
        let settings = [
            registration.feature_gates.as_slice(),
            work.feature_gates.as_slice(),
        ]
        .concat();
        let unknown_gates = gates
            .apply(&settings)
            .into_iter()
            .map(str::to_owned)
            .collect();
        let namespace = Some(spec.namespace.clone()).filter(|name| !name.is_empty());
        Ok(Self {
            name: klusterlet.metadata.name.clone().unwrap_or_default(),
            agent_id: klusterlet.metadata.uid.clone().unwrap_or_default(),
            namespace: namespace.unwrap_or_else(|| namespaces::AGENT.to_owned()),
            mode: Mode::parse(&spec.deploy_option.mode)?,
            gates,
            unknown_gates,
            default_image: image::reference(),
            klusterlet: klusterlet.clone(),
        })
    }

    /// Name of the cluster: the Klusterlet's, or the one its agent has chosen.
    pub fn cluster_name(&self, hub_secret: Option<&Secret>) -> String {
        let given = Some(self.klusterlet.spec.cluster_name.clone()).filter(|name| !name.is_empty());
        let chosen = || credentials::text(hub_secret?, credentials::keys::CLUSTER_NAME);
        given.unwrap_or_else(|| chosen().unwrap_or_default().to_owned())
    }

    /// Name of the Deployment of both agents in one process.
    pub fn singleton_deployment(&self) -> String {
        format!("{}-agent", self.name)
    }

    /// Name of the registration agent's Deployment.
    pub fn registration_deployment(&self) -> String {
        format!("{}-registration-agent", self.name)
    }

    /// Name of the work agent's Deployment.
    pub fn work_deployment(&self) -> String {
        format!("{}-work-agent", self.name)
    }

    /// The Deployments that do not belong to the mode.
    pub fn foreign_deployments(&self) -> Vec<String> {
        match self.mode {
            Mode::Default => vec![self.singleton_deployment()],
            Mode::Singleton => vec![self.registration_deployment(), self.work_deployment()],
        }
    }

    /// Definitions that the agents need.
    pub fn definitions(&self) -> Vec<Value> {
        let with_properties = self.gates.enabled(features::CLUSTER_PROPERTY);
        crds::managed()
            .into_iter()
            .filter(|crd| with_properties || crd["spec"]["names"]["plural"] != "clusterproperties")
            .collect()
    }

    /// The namespace of the agents.
    pub fn agent_namespace(&self) -> Value {
        let mut namespace = self.namespace_named(&self.namespace);
        namespace["metadata"]["labels"][labels::KLUSTERLET_NAMESPACE] = json!(self.name);
        namespace
    }

    /// The namespace of add-ons' agents.
    pub fn addon_namespace(&self) -> Value {
        self.namespace_named(namespaces::AGENT_ADDON)
    }

    fn namespace_named(&self, name: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "annotations": {annotations::WORKLOAD_ALLOWED: "management"},
                "labels": {labels::CREATED_BY_KLUSTERLET: self.name},
            },
        })
    }

    pub(super) fn registration_account(&self) -> String {
        match self.mode {
            Mode::Default => format!("{}-registration-sa", self.name),
            Mode::Singleton => self.work_account(),
        }
    }

    pub(super) fn work_account(&self) -> String {
        format!("{}-work-sa", self.name)
    }

    pub(super) fn labels(&self) -> Map<String, Value> {
        Map::from_iter([(labels::CREATED_BY_KLUSTERLET.to_owned(), json!(self.name))])
    }

    /// The Deployments of the mode. Without `credentials` for the hub the work agent has no pods:
    /// it would have nothing to do.
    pub fn deployments(&self, credentials: bool) -> Vec<Value> {
        let spec = &self.klusterlet.spec;
        let deployment =
            |name: &str, app, container, account: &str, image: &str, component, flags, replicas| {
                Deployment {
                    name,
                    namespace: &self.namespace,
                    app,
                    container,
                    service_account: account,
                    image: if image.is_empty() {
                        &self.default_image
                    } else {
                        image
                    },
                    replicas,
                    component,
                    flags,
                    labels: self.labels(),
                    pod_annotations: Map::new(),
                    placement: spec.node_placement.as_ref(),
                    resources: spec.resource_requirement.as_ref(),
                    priority_class: &spec.priority_class_name,
                    host_alias: spec
                        .hub_api_server_host_alias
                        .as_ref()
                        .map(|alias| (alias.ip.as_str(), alias.hostname.as_str())),
                }
                .render()
            };
        match self.mode {
            Mode::Singleton => vec![deployment(
                &self.singleton_deployment(),
                names::apps::KLUSTERLET_AGENT,
                "klusterlet-agent",
                &self.work_account(),
                &spec.image_pull_spec,
                Component::KlusterletAgent,
                [
                    self.common_flags(),
                    self.registration_flags(),
                    self.work_flags(),
                ]
                .concat(),
                1,
            )],
            Mode::Default => vec![
                deployment(
                    &self.registration_deployment(),
                    names::apps::REGISTRATION_AGENT,
                    "registration-controller",
                    &self.registration_account(),
                    &spec.registration_image_pull_spec,
                    Component::RegistrationAgent,
                    [self.common_flags(), self.registration_flags()].concat(),
                    1,
                ),
                deployment(
                    &self.work_deployment(),
                    names::apps::WORK_AGENT,
                    "klusterlet-manifestwork-agent",
                    &self.work_account(),
                    &spec.work_image_pull_spec,
                    Component::WorkAgent,
                    [self.common_flags(), self.work_flags()].concat(),
                    i32::from(credentials),
                ),
            ],
        }
    }

    fn common_flags(&self) -> Vec<String> {
        let mut flags = vec![
            format!("--spoke-cluster-name={}", self.klusterlet.spec.cluster_name),
            format!("--agent-id={}", self.agent_id),
        ];
        flags.extend(self.gates.flags());
        flags
    }

    fn registration_flags(&self) -> Vec<String> {
        let spec = &self.klusterlet.spec;
        let configuration = spec.registration_configuration.clone().unwrap_or_default();
        let mut flags = Vec::new();
        if configuration.client_cert_expiration_seconds > 0 {
            flags.push(format!(
                "--client-cert-expiration-seconds={}",
                configuration.client_cert_expiration_seconds
            ));
        }
        let urls: Vec<_> = spec
            .external_server_urls
            .iter()
            .map(|url| url.url.as_str())
            .collect();
        if !urls.is_empty() {
            flags.push(format!("--spoke-external-server-urls={}", urls.join(",")));
        }
        let pairs: Vec<_> = configuration
            .cluster_annotations
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !pairs.is_empty() {
            flags.push(format!("--cluster-annotations={}", pairs.join(",")));
        }
        if let Some(claims) = configuration.cluster_claim_configuration {
            flags.push(format!(
                "--max-custom-cluster-claims={}",
                claims.max_custom_cluster_claims
            ));
            if !claims.reserved_cluster_claim_suffixes.is_empty() {
                let suffixes = claims.reserved_cluster_claim_suffixes.join(",");
                flags.push(format!("--reserved-cluster-claim-suffixes={suffixes}"));
            }
        }
        flags
    }

    fn work_flags(&self) -> Vec<String> {
        let configuration = self
            .klusterlet
            .spec
            .work_configuration
            .clone()
            .unwrap_or_default();
        let interval = configuration.status_sync_interval;
        let grace = configuration.applied_manifest_work_eviction_grace_period;
        let interval = interval.map(|value| format!("--status-sync-interval={value}"));
        let grace =
            grace.map(|value| format!("--appliedmanifestwork-eviction-grace-period={value}"));
        interval.into_iter().chain(grace).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn klusterlet(spec: Value) -> Klusterlet {
        serde_json::from_value(
            json!({"metadata": {"name": "klusterlet", "uid": "uid"}, "spec": spec}),
        )
        .expect("a Klusterlet")
    }

    fn plan(spec: Value) -> Plan {
        Plan::of(&klusterlet(spec)).expect("a plan")
    }

    fn args(deployment: &Value) -> Vec<String> {
        serde_json::from_value(
            deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone(),
        )
        .expect("arguments")
    }

    #[test]
    fn two_agents_run_apart_and_works_wait_for_credentials() {
        let plan = plan(
            json!({"clusterName": "cluster1", "workConfiguration": {"statusSyncInterval": "5s"}}),
        );
        let deployments = plan.deployments(false);
        let named: Vec<_> = deployments
            .iter()
            .map(|one| {
                (
                    one["metadata"]["name"].as_str().unwrap_or_default(),
                    one["spec"]["replicas"].clone(),
                )
            })
            .collect();
        assert_eq!(
            named,
            [
                ("klusterlet-registration-agent", json!(1)),
                ("klusterlet-work-agent", json!(0))
            ]
        );
        assert_eq!(plan.deployments(true)[1]["spec"]["replicas"], 1);
        assert_eq!(
            args(&deployments[0])[..2],
            ["component", "registration-agent"]
        );
        assert!(args(&deployments[1]).contains(&"--status-sync-interval=5s".to_owned()));
        assert!(args(&deployments[1]).contains(&"--agent-id=uid".to_owned()));
        assert_eq!(plan.foreign_deployments(), ["klusterlet-agent"]);
    }

    #[test]
    fn one_process_gets_the_flags_of_both_agents() {
        let plan = plan(json!({
            "deployOption": {"mode": "Singleton"}, "clusterName": "cluster1",
            "externalServerURLs": [{"url": "https://wec"}],
            "registrationConfiguration": {"clientCertExpirationSeconds": 7200,
                "clusterAnnotations": {"agent.open-cluster-management.io/a": "b"}},
        }));
        let deployments = plan.deployments(false);
        assert_eq!(deployments.len(), 1);
        assert_eq!(deployments[0]["metadata"]["name"], "klusterlet-agent");
        let flags = args(&deployments[0]);
        for flag in [
            "--spoke-cluster-name=cluster1",
            "--client-cert-expiration-seconds=7200",
            "--spoke-external-server-urls=https://wec",
            "--cluster-annotations=agent.open-cluster-management.io/a=b",
        ] {
            assert!(flags.contains(&flag.to_owned()), "{flag} in {flags:?}");
        }
        let parsed: Vec<_> = flags[2..].iter().map(String::as_str).collect();
        crate::options::tests::parse(&parsed).expect("the agent reads what the operator writes");
    }

    #[test]
    fn the_image_is_the_operators_own_unless_the_klusterlet_names_one() {
        let image = |spec: Value| {
            plan(spec).deployments(true)[1]["spec"]["template"]["spec"]["containers"][0]["image"]
                .clone()
        };
        assert_eq!(image(json!({})), image::reference());
        assert_eq!(
            image(json!({"workImagePullSpec": "registry/hyades:v9"})),
            "registry/hyades:v9"
        );
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for (spec, part) in [
            (json!({"deployOption": {"mode": "Hosted"}}), "mode"),
            (json!({"clusterName": "kube-system"}), "clusterName"),
            (
                json!({"registrationConfiguration": {"registrationDriver": {"authType": "grpc"}}}),
                "registrationDriver",
            ),
            (
                json!({"registrationConfiguration": {"bootstrapKubeConfigs": {"type": "LocalSecrets"}}}),
                "bootstrapKubeConfigs",
            ),
        ] {
            let error = Plan::of(&klusterlet(spec)).expect_err(part).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
