//! The hub's flags, and what they come to.

use super::cleanup;
use super::recovery;
use hyades_api::features::Family;
use hyades_api::features::FeatureError;
use hyades_api::features::FeatureGates;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// What is deleted from a mailbox on deregistration, unless told otherwise; in this order. Add-ons
/// in the version they are stored in, so that deregistration waits for no conversion.
const MAILBOX_RESOURCES: &str = "addon.open-cluster-management.io/v1alpha1/managedclusteraddons,\
                                 work.open-cluster-management.io/v1/manifestworks";

/// The families of feature gates that the hub has.
const FAMILIES: [Family; 3] = [
    Family::HubRegistration,
    Family::HubWork,
    Family::AddOnManager,
];

/// The flags of upstream's hub, as far as they mean something here.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Ways to register; csr is the only one here
    #[arg(long, value_delimiter = ',', default_value = "csr")]
    pub enabled_registration_drivers: Vec<String>,
    /// Users whose bootstrap requests are approved without asking (needs the feature gate
    /// ManagedClusterAutoApproval)
    #[arg(long, value_delimiter = ',')]
    pub auto_approved_csr_users: Vec<String>,
    /// The older name of --auto-approved-csr-users
    #[arg(long, value_delimiter = ',', hide = true)]
    pub cluster_auto_approval_users: Vec<String>,
    /// Feature gates, as NAME=true or NAME=false
    #[arg(long, value_delimiter = ',')]
    pub feature_gates: Vec<String>,
    /// Labels for everything the hub makes, as NAME=VALUE
    #[arg(long, value_delimiter = ',')]
    pub labels: Vec<String>,
    /// Resources to delete from the mailbox on deregistration, in this order, as
    /// GROUP/VERSION/PLURAL
    #[arg(
        long,
        value_delimiter = ',',
        default_value = MAILBOX_RESOURCES
    )]
    pub gc_resource_list: Vec<String>,
    /// Seconds after the end of an agent's certificate within which it may come back by that
    /// certificate's key; 0 never
    #[arg(long, default_value_t = recovery::WINDOW_SECONDS)]
    pub expired_certificate_window_seconds: u32,
    /// Port of the conversion webhook for add-ons; without it add-ons are not converted. 0 is any
    /// port on the loopback
    #[arg(long)]
    pub addon_webhook_port: Option<u16>,
    /// The image of the agents of imported clusters (needs the feature gate ClusterImporter)
    #[arg(long)]
    pub agent_image: Option<String>,
}

impl Default for Options {
    /// What the command line gives without flags.
    fn default() -> Self {
        Self {
            enabled_registration_drivers: vec!["csr".to_owned()],
            auto_approved_csr_users: Vec::new(),
            cluster_auto_approval_users: Vec::new(),
            feature_gates: Vec::new(),
            labels: Vec::new(),
            gc_resource_list: MAILBOX_RESOURCES.split(',').map(str::to_owned).collect(),
            expired_certificate_window_seconds: recovery::WINDOW_SECONDS,
            addon_webhook_port: None,
            agent_image: None,
        }
    }
}

/// Why the hub does not start.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionsError {
    /// Another driver than csr.
    #[error("registration driver {0:?} is not supported; use --enabled-registration-drivers=csr")]
    Driver(String),
    /// A feature gate is unknown, malformed, or has nothing behind it.
    #[error(transparent)]
    Feature(#[from] FeatureError),
    /// A label is not NAME=VALUE.
    #[error("label {0:?} is not of the form NAME=VALUE; correct --labels")]
    Label(String),
    /// A resource is not GROUP/VERSION/PLURAL.
    #[error("resource {0:?} is not of the form GROUP/VERSION/PLURAL; correct --gc-resource-list")]
    Resource(String),
}

/// The options, read and checked.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) gates: FeatureGates,
    pub(super) auto_approved_users: BTreeSet<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) mailbox_resources: Vec<cleanup::Resource>,
    pub(super) recovery_window_seconds: u32,
    /// The image of the agents of imported clusters.
    pub(super) agent_image: Option<String>,
}

impl Settings {
    pub(super) fn of(options: &Options) -> Result<Self, OptionsError> {
        let mut drivers = options.enabled_registration_drivers.iter();
        if let Some(driver) = drivers.find(|driver| *driver != "csr") {
            return Err(OptionsError::Driver(driver.clone()));
        }
        let stated = options.feature_gates.iter().map(String::as_str);
        let gates = FeatureGates::parse(&FAMILIES, stated)?;
        let label = |text: &String| {
            let (name, value) = text.split_once('=')?;
            (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
        };
        let labels = options
            .labels
            .iter()
            .map(|text| label(text).ok_or_else(|| OptionsError::Label(text.clone())))
            .collect::<Result<_, _>>()?;
        let mailbox_resources = options
            .gc_resource_list
            .iter()
            .map(|text| {
                cleanup::Resource::parse(text).ok_or_else(|| OptionsError::Resource(text.clone()))
            })
            .collect::<Result<_, _>>()?;
        let users = options.auto_approved_csr_users.iter();
        let users = users.chain(&options.cluster_auto_approval_users).cloned();
        Ok(Self {
            gates,
            auto_approved_users: users.collect(),
            labels,
            mailbox_resources,
            recovery_window_seconds: options.expired_certificate_window_seconds,
            agent_image: options.agent_image.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn settings(flags: &[&str]) -> Result<Settings, OptionsError> {
        use clap::Parser;
        let line = ["hub"].iter().chain(flags);
        Settings::of(&Line::try_parse_from(line).expect("flags").options)
    }

    #[test]
    fn upstreams_flags_are_read() {
        let settings = settings(&[
            "--feature-gates=ManagedClusterAutoApproval=true",
            "--feature-gates=DefaultClusterSet=false",
            "--auto-approved-csr-users=a,b",
            "--cluster-auto-approval-users=c",
            "--labels=team=x",
        ])
        .expect("valid");
        assert!(settings.gates.enabled("ManagedClusterAutoApproval"));
        assert!(!settings.gates.enabled("DefaultClusterSet"));
        let users: Vec<_> = settings.auto_approved_users.iter().collect();
        assert_eq!(users, ["a", "b", "c"]);
        assert_eq!(settings.labels["team"], "x");
        let defaults = Settings::of(&Options::default()).expect("valid");
        assert_eq!(settings.mailbox_resources, defaults.mailbox_resources);
        assert_eq!(settings.mailbox_resources.len(), 2);
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_name() {
        assert_eq!(
            settings(&["--enabled-registration-drivers=csr,grpc"]).unwrap_err(),
            OptionsError::Driver("grpc".to_owned())
        );
        assert!(matches!(
            settings(&["--feature-gates=Nonsense=true"]),
            Err(OptionsError::Feature(_))
        ));
        assert!(matches!(
            settings(&["--feature-gates=V1beta1CSRAPICompatibility=true"]),
            Err(OptionsError::Feature(FeatureError::WithoutEffect {
                name: "V1beta1CSRAPICompatibility",
                ..
            }))
        ));
        assert!(matches!(
            settings(&["--labels=x"]),
            Err(OptionsError::Label(_))
        ));
        assert!(matches!(
            settings(&["--gc-resource-list=pods"]),
            Err(OptionsError::Resource(_))
        ));
    }
}
