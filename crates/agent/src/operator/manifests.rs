//! Everything the agents of one Klusterlet need in the WEC, as plain objects. Pure.
//!
//! The agents follow the bootstrap Secret through the API, so a change of it needs no new pods.

use crate::credentials;
use crate::deployment::Deployment;
use crate::install::Mode;
use crate::options;
use hyades_api::crds;
use hyades_api::features;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::identity::ClusterName;
use hyades_api::image;
use hyades_api::image::Component;
use hyades_api::labelling;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::finalizers;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::operator::BootstrapKubeConfigs;
use hyades_api::operator::Klusterlet;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// A Klusterlet, read once: what its agents are called, where they run and what they do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Name of the Klusterlet.
    pub name: String,
    /// Its uid, which is the name of its agent.
    pub agent_id: String,
    /// Namespace of the agents' pods.
    pub namespace: String,
    /// Namespace of the agents in the WEC: the same one, unless they are hosted.
    pub managed_namespace: String,
    /// One process or two, and where.
    pub mode: Mode,
    /// The gates of both agents.
    pub gates: FeatureGates,
    /// Gates that do not exist, or are asked for and cannot be had here.
    pub refused_gates: Vec<String>,
    /// Several hubs to choose from.
    pub bootstrap_secrets: Option<BootstrapSecrets>,
    /// Labels of the Klusterlet that everything made for it gets too.
    pub(super) inherited: BTreeMap<String, String>,
    pub(super) klusterlet: Klusterlet,
    default_image: String,
}

/// Bootstrap kubeconfigs of several hubs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapSecrets {
    /// Secrets in the agents' namespace, in order of preference.
    pub names: Vec<String>,
    /// Seconds without contact after which another hub is looked for.
    pub timeout_seconds: u32,
}

/// What upstream's schema allows as the shortest time without contact, in seconds.
const HUB_TIMEOUT_SECONDS_MIN: u32 = 180;

/// What the schema sets where nothing is said, in seconds.
const HUB_TIMEOUT_SECONDS_DEFAULT: u32 = 600;

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
    /// A setting that no agent would start with.
    #[error("{field}: {why}")]
    Setting {
        /// Where it stands in the Klusterlet.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Several hubs without what that needs.
    #[error("spec.registrationConfiguration.bootstrapKubeConfigs: {0}")]
    SeveralHubs(&'static str),
}

/// Reads the choice of several hubs; nothing if there is none.
fn bootstrap_secrets(
    stated: Option<&BootstrapKubeConfigs>,
    enabled: bool,
) -> Result<Option<BootstrapSecrets>, PlanError> {
    let refuse = |why| Err(PlanError::SeveralHubs(why));
    let stated = match stated.map(|stated| (stated.r#type.as_str(), stated)) {
        None | Some(("" | "None", _)) => return Ok(None),
        Some(("LocalSecrets", stated)) => stated,
        Some(_) => return refuse("type is None or LocalSecrets"),
    };
    if !enabled {
        return refuse("LocalSecrets needs the feature gate MultipleHubs in featureGates");
    }
    let local = stated.local_secrets_config.clone().unwrap_or_default();
    let names: Vec<_> = local
        .kube_config_secrets
        .into_iter()
        .map(|secret| secret.name)
        .collect();
    let mut distinct = names.clone();
    distinct.sort();
    distinct.dedup();
    if distinct.len() < 2 || distinct.len() < names.len() {
        return refuse("LocalSecrets needs at least two different kubeConfigSecrets");
    }
    let seconds = u32::try_from(local.hub_connection_timeout_seconds).unwrap_or_default();
    Ok(Some(BootstrapSecrets {
        names,
        timeout_seconds: match seconds {
            0 => HUB_TIMEOUT_SECONDS_DEFAULT,
            given => given.max(HUB_TIMEOUT_SECONDS_MIN),
        },
    }))
}

/// Reads the settings that become flags as the agents will: what the schema lets pass and they do
/// not would only be seen in the log of a pod that starts again and again.
fn check_flags(klusterlet: &Klusterlet) -> Result<(), PlanError> {
    let spec = &klusterlet.spec;
    let registration = spec.registration_configuration.clone().unwrap_or_default();
    let work = spec.work_configuration.clone().unwrap_or_default();
    let setting = |field| move |why| PlanError::Setting { field, why };
    let expiration = registration.client_cert_expiration_seconds.max(0);
    options::parse_expiration(&expiration.to_string()).map_err(setting(
        "spec.registrationConfiguration.clientCertExpirationSeconds",
    ))?;
    if let Some(interval) = &work.status_sync_interval {
        let field = "spec.workConfiguration.statusSyncInterval";
        options::parse_period(interval).map_err(setting(field))?;
    }
    if let Some(grace) = &work.applied_manifest_work_eviction_grace_period {
        let field = "spec.workConfiguration.appliedManifestWorkEvictionGracePeriod";
        options::parse_duration(grace).map_err(setting(field))?;
    }
    let pairs = [
        (
            "spec.registrationConfiguration.clusterAnnotations",
            &registration.cluster_annotations,
        ),
        (
            "spec.registrationConfiguration.clusterLabels",
            &registration.cluster_labels,
        ),
    ];
    for (field, pairs) in pairs {
        // One flag takes all pairs, with commas between them.
        let holds_comma =
            |(key, value): &(&String, &String)| key.contains(',') || value.contains(',');
        if let Some((key, _)) = pairs.iter().find(holds_comma) {
            let why =
                format!("{key:?} has a comma, which agents take for the end of a pair: remove it");
            return Err(setting(field)(why));
        }
    }
    Ok(())
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
        if !spec.cluster_name.is_empty() {
            spec.cluster_name.parse::<ClusterName>()?;
        }
        check_flags(klusterlet)?;
        let mode = Mode::parse(&spec.deploy_option.mode)?;
        let mut plan = Self::in_mode(klusterlet, mode);
        let several = registration.bootstrap_kube_configs.as_ref();
        let enabled = plan.gates.enabled(features::MULTIPLE_HUBS);
        plan.bootstrap_secrets = bootstrap_secrets(several, enabled)?;
        Ok(plan)
    }

    /// What is left of a Klusterlet that was followed once and was made one that cannot be: enough
    /// to find what was made for it, which is named by the Klusterlet and its namespace.
    pub(super) fn of_remains(klusterlet: &Klusterlet) -> Self {
        // A mode that nobody knows came after the one that was followed.
        let hosted = finalizers::KLUSTERLET_HOSTED_CLEANUP;
        let is_hosted = || {
            let marks = klusterlet.metadata.finalizers.iter().flatten();
            marks.into_iter().any(|mark| mark == hosted)
        };
        let mode = Mode::parse(&klusterlet.spec.deploy_option.mode);
        let mode = mode.unwrap_or_else(|_| match is_hosted() {
            true => Mode::Hosted,
            false => Mode::Default,
        });
        Self::in_mode(klusterlet, mode)
    }

    /// The plan for a mode, with one hub.
    fn in_mode(klusterlet: &Klusterlet, mode: Mode) -> Self {
        let spec = &klusterlet.spec;
        let registration = spec.registration_configuration.clone().unwrap_or_default();
        let work = spec.work_configuration.clone().unwrap_or_default();
        let mut gates = FeatureGates::defaults(&[Family::AgentRegistration, Family::AgentWork]);
        let settings = [
            registration.feature_gates.as_slice(),
            work.feature_gates.as_slice(),
        ]
        .concat();
        let refused_gates = gates.apply(&settings);
        let name = klusterlet.metadata.name.clone().unwrap_or_default();
        let given = Some(spec.namespace.clone()).filter(|name| !name.is_empty());
        let managed_namespace = given.unwrap_or_else(|| namespaces::AGENT.to_owned());
        Self {
            agent_id: klusterlet.metadata.uid.clone().unwrap_or_default(),
            namespace: match mode.is_hosted() {
                true => name.clone(),
                false => managed_namespace.clone(),
            },
            managed_namespace,
            name,
            mode,
            gates,
            refused_gates,
            bootstrap_secrets: None,
            inherited: BTreeMap::new(),
            default_image: image::reference(),
            klusterlet: klusterlet.clone(),
        }
    }

    /// The same plan, with the Klusterlet's own labels on everything that is its alone. Definitions
    /// are shared by all Klusterlets and stay as they are.
    #[must_use]
    pub fn handing_labels_on(mut self) -> Self {
        self.inherited = labelling::inherited(self.klusterlet.metadata.labels.as_ref());
        self
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
        match self.mode.is_singleton() {
            false => vec![self.singleton_deployment()],
            true => vec![self.registration_deployment(), self.work_deployment()],
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

    /// The namespace of the agents in the WEC.
    pub fn klusterlet_namespace(&self) -> Value {
        let mut namespace = self.namespace_named(&self.managed_namespace);
        namespace["metadata"]["labels"][labels::KLUSTERLET_NAMESPACE] = json!(self.name);
        namespace
    }

    /// The namespace of the agents' pods: in the hosted modes it lies in the hosting cluster.
    pub fn agent_namespace(&self) -> Value {
        match self.mode.is_hosted() {
            true => self.namespace_named(&self.namespace),
            false => self.klusterlet_namespace(),
        }
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
                "labels": self.labels(),
            },
        })
    }

    pub(super) fn registration_account(&self) -> String {
        match self.mode.is_singleton() {
            false => format!("{}-registration-sa", self.name),
            true => self.work_account(),
        }
    }

    pub(super) fn work_account(&self) -> String {
        format!("{}-work-sa", self.name)
    }

    pub(super) fn labels(&self) -> Map<String, Value> {
        let inherited = self.inherited.iter();
        let mut labels: Map<_, _> = inherited
            .map(|(key, value)| (key.clone(), json!(value)))
            .collect();
        labels.insert(labels::CREATED_BY_KLUSTERLET.to_owned(), json!(self.name));
        labels
    }

    /// The Deployments of the mode. Without `credentials` for the hub the work agent has no pods:
    /// it would have nothing to do.
    pub fn deployments(&self, credentials: bool) -> Vec<Value> {
        let spec = &self.klusterlet.spec;
        let deployment =
            |name: &str, app, container, account: &str, image: &str, component, flags, replicas| {
                let mut deployment = Deployment {
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
                .render();
                labelling::add(&mut deployment, &self.inherited);
                deployment
            };
        if self.mode.is_singleton() {
            let mut flags = self.common_flags();
            flags.extend(self.spoke_flag(names::EXTERNAL_MANAGED_KUBECONFIG_AGENT_SECRET));
            flags.extend(self.registration_flags());
            flags.extend(self.work_flags());
            return vec![deployment(
                &self.singleton_deployment(),
                names::apps::KLUSTERLET_AGENT,
                "klusterlet-agent",
                &self.work_account(),
                &spec.image_pull_spec,
                Component::KlusterletAgent,
                flags,
                1,
            )];
        }
        let flags = |secret: &str, own: Vec<String>| {
            let spoke = self.spoke_flag(secret).into_iter();
            self.common_flags()
                .into_iter()
                .chain(spoke)
                .chain(own)
                .collect()
        };
        vec![
            deployment(
                &self.registration_deployment(),
                names::apps::REGISTRATION_AGENT,
                "registration-controller",
                &self.registration_account(),
                &spec.registration_image_pull_spec,
                Component::RegistrationAgent,
                flags(
                    names::EXTERNAL_MANAGED_KUBECONFIG_REGISTRATION_SECRET,
                    self.registration_flags(),
                ),
                1,
            ),
            deployment(
                &self.work_deployment(),
                names::apps::WORK_AGENT,
                "klusterlet-manifestwork-agent",
                &self.work_account(),
                &spec.work_image_pull_spec,
                Component::WorkAgent,
                flags(
                    names::EXTERNAL_MANAGED_KUBECONFIG_WORK_SECRET,
                    self.work_flags(),
                ),
                i32::from(credentials),
            ),
        ]
    }
}

#[cfg(test)]
pub(crate) mod tests;
