//! The flags of the agents, under upstream's names and with upstream's defaults.
//!
//! A flag that is not here is refused by name: an agent that ignores what it was told is worse
//! than one that does not start.

use crate::error::AgentError;
use clap::Args;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use std::collections::BTreeMap;
use std::time::Duration;

/// What both agents need to know.
#[derive(Args, Clone, Debug)]
pub struct CommonOptions {
    /// Name of the cluster on the hub. Empty: taken from the hub kubeconfig Secret, else random.
    #[arg(long, alias = "cluster-name", default_value = "")]
    pub spoke_cluster_name: String,

    /// Name of the agent. Empty: taken from the hub kubeconfig Secret, else random.
    #[arg(long, default_value = "")]
    pub agent_id: String,

    /// Secret, in the agent's own namespace, that holds the agent's credentials for the hub.
    #[arg(long, default_value = names::HUB_KUBECONFIG_SECRET)]
    pub hub_kubeconfig_secret: String,

    /// Secret, in the agent's own namespace, that holds the first credentials for the hub.
    #[arg(long, default_value = names::BOOTSTRAP_HUB_KUBECONFIG_SECRET)]
    pub bootstrap_kubeconfig_secret: String,

    /// Secret, in the agent's own namespace, with the kubeconfig of the cluster the agent works for.
    /// Empty: the agent works for the cluster it runs in.
    #[arg(long, default_value = "")]
    pub spoke_kubeconfig_secret: String,

    /// Feature gates, as NAME=true or NAME=false, separated by commas or given repeatedly.
    #[arg(long, value_delimiter = ',')]
    pub feature_gates: Vec<String>,
}

impl CommonOptions {
    /// The state of every gate of both agents.
    ///
    /// # Errors
    ///
    /// A gate that does not exist or cannot be had, or a value other than `true` and `false`.
    pub fn gates(&self) -> Result<FeatureGates, AgentError> {
        let families = [Family::AgentRegistration, Family::AgentWork];
        let stated = self.feature_gates.iter().map(String::as_str);
        Ok(FeatureGates::parse(&families, stated)?)
    }
}

/// What registration needs to know.
#[derive(Args, Clone, Debug)]
pub struct RegistrationOptions {
    /// Lifetime to ask for in certificate requests, in seconds: 0 (the signer's choice), or at
    /// least 3600.
    #[arg(long, default_value_t = 0, value_parser = parse_expiration)]
    pub client_cert_expiration_seconds: i32,

    /// URLs of the cluster's API server to publish in the inventory object; https only.
    #[arg(long, value_delimiter = ',', value_parser = parse_https)]
    pub spoke_external_server_urls: Vec<String>,

    /// Annotations for the inventory object, as KEY=VALUE; only keys that start with
    /// agent.open-cluster-management.io/ are kept.
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    pub cluster_annotations: Vec<(String, String)>,

    /// Labels for the inventory object when the agent makes it, as KEY=VALUE.
    #[arg(long, value_delimiter = ',', value_parser = parse_pair)]
    pub cluster_labels: Vec<(String, String)>,

    /// Secrets, in the agent's own namespace, with the first credentials for several hubs, in
    /// order of preference; at least two, with the feature gate MultipleHubs.
    #[arg(long, value_delimiter = ',')]
    pub bootstrap_kubeconfig_secrets: Vec<String>,

    /// Seconds without contact after which one of several hubs is left for another.
    #[arg(long, default_value_t = 600)]
    pub hub_connection_timeout_seconds: u32,

    /// How often the agent reads what the hub publishes of its own address and authorities; up to
    /// a quarter longer at random.
    #[arg(long, default_value = "10m", value_parser = parse_period)]
    pub hub_info_period: Duration,

    /// How often the status of the cluster is reported anew.
    #[arg(long, default_value = "1m", value_parser = parse_period)]
    pub cluster_healthcheck_period: Duration,

    /// Most claims reported besides the reserved ones.
    #[arg(long, default_value_t = 20)]
    pub max_custom_cluster_claims: usize,

    /// Further endings that make a claim's name reserved.
    #[arg(long, value_delimiter = ',')]
    pub reserved_cluster_claim_suffixes: Vec<String>,

    /// How add-ons get their credentials for the hub.
    #[command(flatten)]
    pub addon: AddOnRegistration,

    /// The way to register: csr is the only one.
    #[arg(long, default_value = "csr", value_parser = ["csr"])]
    pub registration_auth: String,
}

impl RegistrationOptions {
    /// The annotations that the inventory object shall have.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let kept = |pair: &&(String, String)| pair.0.starts_with(names::annotations::AGENT_PREFIX);
        self.cluster_annotations
            .iter()
            .filter(kept)
            .cloned()
            .collect()
    }

    /// The Secrets with first credentials, in order of preference.
    ///
    /// # Errors
    ///
    /// Several Secrets without the gate, or one alone.
    pub fn bootstrap_secrets(
        &self,
        common: &CommonOptions,
        gates: &FeatureGates,
    ) -> Result<Vec<String>, AgentError> {
        let several = gates.enabled(hyades_api::features::MULTIPLE_HUBS);
        match (several, self.bootstrap_kubeconfig_secrets.as_slice()) {
            (_, []) => Ok(vec![common.bootstrap_kubeconfig_secret.clone()]),
            (true, names) if names.len() > 1 => Ok(names.to_vec()),
            _ => Err(AgentError::SeveralHubs),
        }
    }
}

/// How add-ons get their credentials for the hub.
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub struct AddOnRegistration {
    /// How add-ons prove who they are to the hub: csr (a certificate) or token (of a service
    /// account that the hub makes for them).
    #[arg(long, default_value = "csr", value_parser = ["csr", "token"])]
    pub addon_kubeclient_registration_auth: String,

    /// Lifetime to ask for in tokens of add-ons, in seconds; at least 600.
    #[arg(long, default_value_t = 31_536_000, value_parser = clap::value_parser!(i64).range(600..))]
    pub addon_token_expiration_seconds: i64,
}

impl AddOnRegistration {
    /// Whether add-ons present tokens.
    pub fn is_token(&self) -> bool {
        self.addon_kubeclient_registration_auth == "token"
    }
}

/// What works need to know.
#[derive(Args, Clone, Debug)]
pub struct WorkOptions {
    /// How often the status of applied objects is collected; up to 90 % longer at random.
    #[arg(long, default_value = "10s", value_parser = parse_period)]
    pub status_sync_interval: Duration,

    /// How long the objects of a work are kept after the hub no longer has the work.
    #[arg(long, default_value = "60m", value_parser = parse_duration)]
    pub appliedmanifestwork_eviction_grace_period: Duration,

    /// Longest JSON fed back as one value, in bytes.
    #[arg(long, default_value_t = 1024)]
    pub max_json_raw_length: usize,

    /// Works on which the agent acts at a time.
    #[arg(long, default_value_t = 10)]
    pub workload_agent_workers: usize,

    /// Where works come from: kube is the only source.
    #[arg(long, default_value = "kube", value_parser = ["kube"])]
    pub workload_source_driver: String,
}

/// Options of the component `registration-agent`.
#[derive(Args, Clone, Debug)]
pub struct RegistrationAgentOptions {
    /// What both agents need.
    #[command(flatten)]
    pub common: CommonOptions,
    /// What registration needs.
    #[command(flatten)]
    pub registration: RegistrationOptions,
}

/// Options of the component `work-agent`.
#[derive(Args, Clone, Debug)]
pub struct WorkAgentOptions {
    /// What both agents need.
    #[command(flatten)]
    pub common: CommonOptions,
    /// What works need.
    #[command(flatten)]
    pub work: WorkOptions,
}

/// Options of the component `klusterlet-agent`, both agents in one process.
#[derive(Args, Clone, Debug)]
pub struct KlusterletAgentOptions {
    /// What both agents need.
    #[command(flatten)]
    pub common: CommonOptions,
    /// What registration needs.
    #[command(flatten)]
    pub registration: RegistrationOptions,
    /// What works need.
    #[command(flatten)]
    pub work: WorkOptions,
}

/// Options of the component `klusterlet`, the agents' operator.
#[derive(Args, Clone, Debug, Default)]
pub struct KlusterletOptions {
    /// Copy the labels of a Klusterlet to everything made for it
    #[arg(long)]
    pub enable_sync_labels: bool,
}

/// Reads a cluster name given by flag or Secret; an empty one is none.
///
/// # Errors
///
/// A name that is not a DNS label, or reserved.
pub fn cluster_name(
    text: &str,
) -> Result<Option<ClusterName>, hyades_api::identity::ClusterNameError> {
    if text.is_empty() {
        Ok(None)
    } else {
        text.parse().map(Some)
    }
}

/// Reads a duration as Go writes it: `1h30m`, `90s`, `1.5m`, `100ms`.
///
/// # Errors
///
/// A text of another form.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is no duration: write it like 90s, 5m or 1h30m");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(refuse)?;
        let (number, tail) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| refuse())?;
        let letters = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        seconds += number
            * match unit {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return Err(refuse()),
            };
        rest = tail;
    }
    if text.is_empty() {
        return Err(refuse());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| refuse())
}

/// The shortest period of anything that is done again and again: ten turns in a second, each a few
/// calls, are what an agent under test does. Without a pause it would never let go of its servers.
pub const PERIOD_MIN: Duration = Duration::from_millis(100);

/// Reads how often something is done.
///
/// # Errors
///
/// What is no duration, or shorter than [`PERIOD_MIN`].
pub fn parse_period(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        period if period < PERIOD_MIN => Err(format!(
            "{text:?} is too short a period: say {} ms or longer",
            PERIOD_MIN.as_millis()
        )),
        period => Ok(period),
    }
}

/// Reads a lifetime to ask for in certificate requests, in seconds.
///
/// # Errors
///
/// What is neither 0 nor at least 3600.
pub(crate) fn parse_expiration(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(seconds) if seconds == 0 || seconds >= 3600 => Ok(seconds),
        _ => Err(format!(
            "{text:?} is neither 0 nor a number of seconds of at least 3600"
        )),
    }
}

fn parse_https(text: &str) -> Result<String, String> {
    if text.starts_with("https://") {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} does not start with https://"))
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not of the form KEY=VALUE")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        options: KlusterletAgentOptions,
    }

    /// The options that these flags give.
    pub(crate) fn parse(flags: &[&str]) -> Result<KlusterletAgentOptions, clap::Error> {
        let flags = std::iter::once("agent").chain(flags.iter().copied());
        Command::try_parse_from(flags).map(|command| command.options)
    }

    #[test]
    fn defaults_are_upstreams() {
        let options = parse(&[]).expect("no flag is required");
        assert_eq!(
            options.common.hub_kubeconfig_secret,
            "hub-kubeconfig-secret"
        );
        assert_eq!(
            options.common.bootstrap_kubeconfig_secret,
            "bootstrap-hub-kubeconfig"
        );
        assert_eq!(
            options.registration.cluster_healthcheck_period,
            Duration::from_secs(60)
        );
        assert_eq!(options.work.status_sync_interval, Duration::from_secs(10));
        assert_eq!(
            options.work.appliedmanifestwork_eviction_grace_period,
            Duration::from_secs(3600)
        );
        let gates = options.common.gates().expect("no gates given");
        assert!(gates.enabled(hyades_api::features::CLUSTER_CLAIM));
    }

    #[test]
    fn only_annotations_for_agents_reach_the_inventory_object() {
        let options = parse(&["--cluster-annotations=agent.open-cluster-management.io/a=1,b=2"])
            .expect("valid flags");
        let kept: Vec<_> = options.registration.annotations().into_iter().collect();
        assert_eq!(
            kept,
            [(
                "agent.open-cluster-management.io/a".to_owned(),
                "1".to_owned()
            )]
        );
    }

    #[test]
    fn what_cannot_be_had_is_refused_by_name() {
        for flags in [
            ["--registration-auth=grpc"],
            ["--workload-source-driver=mqtt"],
            ["--client-cert-expiration-seconds=60"],
            ["--spoke-external-server-urls=http://a"],
            ["--bootstrap-kubeconfigs=a"],
            ["--hub-connection-timeout-seconds=soon"],
            ["--status-sync-interval=often"],
            ["--status-sync-interval=0s"],
            ["--hub-info-period=0"],
            ["--cluster-healthcheck-period=99ms"],
        ] {
            let error = parse(&flags).expect_err(flags[0]).to_string();
            let name = flags[0].split_once('=').expect("a value").0;
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn gates_and_hubs_that_cannot_be_had_stop_the_agent_and_say_why() {
        let gates = |flags: &[&str]| parse(flags).expect("flags").common.gates();
        let error = gates(&["--feature-gates=V1beta1CSRAPICompatibility=true"]);
        let error = error.expect_err("refused").to_string();
        assert!(error.contains("V1beta1CSRAPICompatibility"), "{error}");
        assert!(gates(&["--feature-gates=V1beta1CSRAPICompatibility=false"]).is_ok());
        assert!(gates(&["--feature-gates=Nonsense=true"]).is_err());

        let secrets = |flags: &[&str]| {
            let options = parse(flags).expect("flags");
            let gates = options.common.gates().expect("gates");
            options
                .registration
                .bootstrap_secrets(&options.common, &gates)
        };
        let on = "--feature-gates=MultipleHubs=true";
        let names = secrets(&[on, "--bootstrap-kubeconfig-secrets=a,b"]).expect("two hubs");
        assert_eq!(names, ["a", "b"]);
        assert_eq!(secrets(&[]).expect("one hub"), ["bootstrap-hub-kubeconfig"]);
        for flags in [
            &[on, "--bootstrap-kubeconfig-secrets=a"][..],
            &["--bootstrap-kubeconfig-secrets=a,b"],
        ] {
            let error = secrets(flags).expect_err("refused").to_string();
            assert!(error.contains("MultipleHubs"), "{error}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let read = |text| {
            parse_duration(text)
                .map(|duration| duration.as_millis())
                .ok()
        };
        assert_eq!(read("1h30m"), Some(5_400_000));
        assert_eq!(read("1m0s"), Some(60_000));
        assert_eq!(read("1.5s"), Some(1_500));
        assert_eq!(read("250ms"), Some(250));
        for bad in ["", "5", "m", "1x", "-1s", "1e9h"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
