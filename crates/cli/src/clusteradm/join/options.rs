//! The command line of `join`, and what is decided from it before any server is asked.

use crate::clusteradm::choices::Choices;
use crate::clusteradm::choices::read_limited;
use crate::clusteradm::flags::parse_args;
use crate::clusteradm::flags::parse_pair;
use anyhow::Context;
use anyhow::bail;
use hyades_agent::install::Mode;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::identity::ClusterName;
use hyades_api::names::annotations::AGENT_PREFIX;
use hyades_pki::Certificate;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

/// Largest bundle of certificates read, in bytes: several times those of the public web.
const AUTHORITY_BYTES_MAX: u64 = 1024 * 1024;

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct JoinArgs {
    /// Token for the hub, as 'get token' prints it
    #[arg(long, default_value = "", hide_default_value = true)]
    pub hub_token: String,
    /// URL of the hub's API server
    #[arg(long, default_value = "", hide_default_value = true)]
    pub hub_apiserver: String,
    /// Name under which the cluster registers
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub cluster_name: String,
    /// PEM of the authority the hub is trusted by; asked of the hub if absent
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Let the agent use the URL that the hub's cluster-info names
    #[arg(long)]
    pub force_internal_endpoint_lookup: bool,
    /// Wait until the agent runs and the hub knows the cluster
    #[arg(long)]
    pub wait: bool,
    /// How the agent runs: default
    #[arg(short, long, default_value = "default")]
    pub mode: String,
    /// One process for registration and works
    #[arg(long)]
    pub singleton: bool,
    /// Proxy on the agent's way to the hub
    #[arg(long, value_name = "URL")]
    pub proxy_url: Option<String>,
    /// PEM of the authority the proxy is trusted by
    #[arg(long, value_name = "FILE")]
    pub proxy_ca_file: Option<PathBuf>,
    /// Feature gates of the agent, as NAME=true or NAME=false
    #[arg(long, value_delimiter = ',')]
    pub feature_gates: Vec<String>,
    /// Create the namespace open-cluster-management
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub create_namespace: bool,
    /// Lifetime to ask for in certificate requests, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 31_536_000)]
    pub client_cert_expiration_seconds: i32,
    /// How the agent registers: csr
    #[arg(long, default_value = "csr")]
    pub registration_auth: String,
    /// Annotation for the inventory object, as KEY=VALUE; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub klusterlet_annotation: Vec<(String, String)>,
    /// Also write the rendered objects to this file
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    #[command(flatten)]
    pub choices: Choices,
    #[command(flatten)]
    refused: RefusedInJoin,
}

impl JoinArgs {
    /// What a user gives who joins a small cluster of this machine: one process for the agent.
    ///
    /// # Errors
    ///
    /// None in practice: the words are readable.
    pub fn for_cluster(name: &str, token: &str, hub: &str) -> anyhow::Result<Self> {
        let (token, hub) = (
            format!("--hub-token={token}"),
            format!("--hub-apiserver={hub}"),
        );
        let name = format!("--cluster-name={name}");
        parse_args(&["join", &token, &hub, &name, "--singleton"])
    }
}

/// Flags of upstream that cannot be had here; each is refused by name.
#[derive(Debug, Clone, Default, clap::Args)]
struct RefusedInJoin {
    #[arg(long, hide = true)]
    force_internal_endpoint_lookup_managed: bool,
    #[arg(long, hide = true)]
    managed_cluster_kubeconfig: Option<String>,
    #[arg(long, hide = true)]
    enable_sync_labels: bool,
    #[arg(long, hide = true)]
    hub_cluster_arn: Option<String>,
    #[arg(long, hide = true)]
    managed_cluster_arn: Option<String>,
    #[arg(long, hide = true)]
    grpc_server: Option<String>,
    #[arg(long, hide = true)]
    grpc_ca_file: Option<String>,
    #[arg(long, hide = true)]
    addon_kubeclient_registration_auth: Option<String>,
    #[arg(long, hide = true)]
    addon_token_expiration_seconds: Option<i64>,
    #[arg(long, hide = true)]
    klusterlet_values_file: Option<String>,
    #[arg(long, hide = true)]
    capi_import: bool,
    #[arg(long, hide = true)]
    capi_cluster_name: Option<String>,
    #[arg(long, hide = true)]
    capi_kubeconfig: Option<String>,
}

impl RefusedInJoin {
    fn check(&self) -> anyhow::Result<()> {
        let hosted = "hosted mode is not supported: the agent runs in the cluster it works for";
        let aws = "registration with AWS IAM is not supported; the agent registers with csr";
        let grpc = "registration over gRPC is not supported; the agent registers with csr";
        let capi = "import from Cluster API is not supported; give the cluster's own context with --context";
        let tokens = "add-ons that register with tokens are not supported";
        let token_auth = self.addon_kubeclient_registration_auth.as_deref();
        let given = [
            (
                self.force_internal_endpoint_lookup_managed,
                "--force-internal-endpoint-lookup-managed",
                hosted,
            ),
            (
                self.managed_cluster_kubeconfig.is_some(),
                "--managed-cluster-kubeconfig",
                hosted,
            ),
            (
                self.enable_sync_labels,
                "--enable-sync-labels",
                "labels of the Klusterlet are not copied to what it makes",
            ),
            (self.hub_cluster_arn.is_some(), "--hub-cluster-arn", aws),
            (
                self.managed_cluster_arn.is_some(),
                "--managed-cluster-arn",
                aws,
            ),
            (self.grpc_server.is_some(), "--grpc-server", grpc),
            (self.grpc_ca_file.is_some(), "--grpc-ca-file", grpc),
            (
                token_auth.is_some_and(|auth| auth != "csr"),
                "--addon-kubeclient-registration-auth",
                tokens,
            ),
            (
                self.addon_token_expiration_seconds
                    .is_some_and(|seconds| seconds != 0),
                "--addon-token-expiration-seconds",
                tokens,
            ),
            (
                self.klusterlet_values_file.is_some(),
                "--klusterlet-values-file",
                "there is no Helm chart behind this command; objects are rendered by the program",
            ),
            (self.capi_import, "--capi-import", capi),
            (
                self.capi_cluster_name.is_some(),
                "--capi-cluster-name",
                capi,
            ),
            (self.capi_kubeconfig.is_some(), "--capi-kubeconfig", capi),
        ];
        match given.iter().find(|(is_given, _, _)| *is_given) {
            Some((_, flag, reason)) => bail!("{flag} cannot be used: {reason}; leave it out"),
            None => Ok(()),
        }
    }
}

/// What was decided from the command line.
#[derive(Debug)]
pub struct Plan {
    /// The name to register under.
    pub cluster: ClusterName,
    /// The token for the hub.
    pub token: String,
    /// URL of the hub, as given.
    pub hub: String,
    /// PEM of the hub's authority, if a file was named.
    pub authority: Option<String>,
    /// PEM of the proxy's authority, if a file was named.
    pub proxy_authority: Option<String>,
    /// One process or two.
    pub mode: Mode,
    /// The image of operator and agent.
    pub image: String,
    /// Gates of the agent.
    pub feature_gates: FeatureGates,
    /// Annotations for the inventory object.
    pub annotations: BTreeMap<String, String>,
}

/// Decides what to do, from the flags alone.
///
/// # Errors
///
/// Flags that are missing, do not exist here, or do not fit together.
pub fn plan(args: &JoinArgs) -> anyhow::Result<Plan> {
    if args.hub_token.is_empty() {
        bail!("token is missing; give --hub-token, as 'clusteradm get token' prints it on the hub");
    }
    if args.hub_apiserver.is_empty() {
        bail!(
            "hub-server is missing; give --hub-apiserver, as 'clusteradm get token' prints it on the hub"
        );
    }
    if args.cluster_name.is_empty() {
        bail!("cluster-name is missing; choose one with --cluster-name");
    }
    args.refused.check()?;
    check_registration(&args.registration_auth)?;
    let families = [Family::AgentRegistration, Family::AgentWork];
    let gates = args.feature_gates.iter().map(String::as_str);
    check_expiration(args.client_cert_expiration_seconds)?;
    Ok(Plan {
        cluster: args.cluster_name.parse()?,
        token: args.hub_token.clone(),
        hub: check_url(&args.hub_apiserver)?,
        authority: args.ca_file.as_deref().map(authority).transpose()?,
        proxy_authority: args.proxy_ca_file.as_deref().map(authority).transpose()?,
        mode: mode(&args.mode, args.singleton)?,
        image: args.choices.image.reference()?,
        feature_gates: FeatureGates::parse(&families, gates).context("read --feature-gates")?,
        annotations: annotations(&args.klusterlet_annotation),
    })
}

fn check_registration(auth: &str) -> anyhow::Result<()> {
    match auth {
        "csr" => Ok(()),
        "grpc" | "awsirsa" => bail!(
            "registration-auth {auth} is not supported: the agent registers with csr; leave out --registration-auth"
        ),
        _ => bail!("invalid registration-Auth type {auth:?}; csr is the only one here"),
    }
}

fn check_expiration(seconds: i32) -> anyhow::Result<()> {
    if seconds == 0 || seconds >= 3600 {
        return Ok(());
    }
    bail!(
        "certificates of {seconds} s are too short-lived; give --client-cert-expiration-seconds at least 3600, or 0 for the signer's choice"
    )
}

/// The URL without a final slash, as kubeconfigs have it.
fn check_url(url: &str) -> anyhow::Result<String> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        bail!("--hub-apiserver should start with http:// or https://, and is {url:?}");
    }
    let uri: http::Uri = url.parse().map_err(|error| {
        anyhow::anyhow!("--hub-apiserver {url:?} is no URL: {error}; correct it")
    })?;
    if uri.host().is_none_or(str::is_empty) {
        bail!("--hub-apiserver {url:?} names no host; correct it");
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn mode(mode: &str, singleton: bool) -> anyhow::Result<Mode> {
    match mode.to_ascii_lowercase().as_str() {
        "default" | "" if singleton => Ok(Mode::Singleton),
        "default" | "" => Ok(Mode::Default),
        "hosted" => bail!(
            "mode hosted is not supported: the agent runs in the cluster it works for; join without --mode hosted"
        ),
        _ => bail!("deploy mode should be default or hosted, and is {mode:?}"),
    }
}

fn authority(path: &Path) -> anyhow::Result<String> {
    let tried = || format!("read the certificate authority {}", path.display());
    let text = read_limited(path, AUTHORITY_BYTES_MAX).with_context(tried)?;
    let certificates = Certificate::parse_pem_bundle(&text).with_context(tried)?;
    if certificates.is_empty() {
        bail!(
            "{}: it holds no PEM certificate; name another file",
            tried()
        );
    }
    Ok(text)
}

/// Keys get the prefix without which the agent would not pass them on.
fn annotations(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    let prefixed = |key: &str| match key.starts_with(AGENT_PREFIX) {
        true => key.to_owned(),
        false => format!("{AGENT_PREFIX}{key}"),
    };
    pairs
        .iter()
        .map(|(key, value)| (prefixed(key), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
