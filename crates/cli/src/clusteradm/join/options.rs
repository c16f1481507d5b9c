//! The command line of `join`, and what is decided from it before any server is asked.

use crate::clusteradm::choices::Choices;
use crate::clusteradm::choices::read_limited;
use crate::clusteradm::flags::check_annotations;
use crate::clusteradm::flags::parse_args;
use crate::clusteradm::flags::parse_gates;
use crate::clusteradm::flags::parse_pair;
use crate::clusteradm::names;
use crate::target::Target;
use anyhow::Context;
use anyhow::bail;
use hyades_agent::install::Mode;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::identity::ClusterName;
use hyades_api::names::annotations::AGENT_PREFIX;
use hyades_api::operator::AddOnRegistrationDriver;
use hyades_api::operator::AddOnToken;
use hyades_pki::Certificate;
use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;

/// Largest bundle of certificates read, in bytes: several times those of the public web.
const AUTHORITY_BYTES_MAX: u64 = 1024 * 1024;

/// Shortest life of an add-on's token that the agent asks for, in seconds: that of the API server.
const ADDON_TOKEN_SECONDS_MIN: i64 = 600;

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
    /// The same, where the caller has it at hand and no file
    #[arg(skip)]
    hub_authority: Option<String>,
    /// Let the agent use the URL that the hub's cluster-info names
    #[arg(long)]
    pub force_internal_endpoint_lookup: bool,
    /// Copy the labels of the Klusterlet to everything made for it
    #[arg(long)]
    pub enable_sync_labels: bool,
    /// Wait until the agent runs and the hub knows the cluster
    #[arg(long)]
    pub wait: bool,
    /// Ask for the name even if another cluster holds it; 'accept --replace' on the hub hands it over
    #[arg(long)]
    pub replace: bool,
    /// Where the agent runs: default, in the cluster that joins, or hosted, in that of the context
    /// for the one of --managed-cluster-kubeconfig
    #[arg(short, long, default_value = "default")]
    pub mode: String,
    /// Hosted mode: the kubeconfig by which the agent reaches the cluster that joins
    #[arg(long, value_name = "FILE")]
    pub managed_cluster_kubeconfig: Option<PathBuf>,
    /// Hosted mode: let the agent use the URL that the joining cluster's cluster-info names
    #[arg(long)]
    pub force_internal_endpoint_lookup_managed: bool,
    /// Join a cluster that Cluster API made
    #[arg(long)]
    pub capi_import: bool,
    /// The cluster of Cluster API, as NAMESPACE/NAME, or NAME in the namespace default
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    pub capi_cluster_name: String,
    /// The kubeconfig of the cluster that runs Cluster API; else that of the context
    #[arg(long, value_name = "FILE")]
    pub capi_kubeconfig: Option<PathBuf>,
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
    /// How add-ons prove who they are to the hub: csr, by certificates, or token
    #[arg(long, value_name = "WAY", default_value = "csr")]
    pub addon_kubeclient_registration_auth: String,
    /// Lifetime of add-ons' tokens, in seconds, with --addon-kubeclient-registration-auth token; 0
    /// leaves it to the agent
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_hyphen_values = true
    )]
    pub addon_token_expiration_seconds: i64,
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
    /// What a user gives who joins a small cluster of this machine: one process for the agent. The
    /// hub need not be asked for its authority.
    ///
    /// # Errors
    ///
    /// None in practice: the words are readable.
    pub fn for_cluster(name: &str, token: &str, hub: &Target) -> anyhow::Result<Self> {
        let (token, server) = (
            format!("--hub-token={token}"),
            format!("--hub-apiserver={}", hub.server),
        );
        let name = format!("--cluster-name={name}");
        let args: Self = parse_args(&["join", &token, &server, &name, "--singleton"])?;
        Ok(Self {
            hub_authority: hub.certificate_authority.clone(),
            ..args
        })
    }
}

/// Flags of upstream that cannot be had here; each is refused by name.
#[derive(Debug, Clone, Default, clap::Args)]
struct RefusedInJoin {
    #[arg(long, hide = true)]
    hub_cluster_arn: Option<String>,
    #[arg(long, hide = true)]
    managed_cluster_arn: Option<String>,
    #[arg(long, hide = true)]
    grpc_server: Option<String>,
    #[arg(long, hide = true)]
    grpc_ca_file: Option<String>,
    #[arg(long, hide = true)]
    klusterlet_values_file: Option<String>,
}

impl RefusedInJoin {
    fn check(&self) -> anyhow::Result<()> {
        let aws = "registration with AWS IAM is not supported; the agent registers with csr";
        let grpc = "registration over gRPC is not supported; the agent registers with csr";
        let given = [
            (self.hub_cluster_arn.is_some(), "--hub-cluster-arn", aws),
            (
                self.managed_cluster_arn.is_some(),
                "--managed-cluster-arn",
                aws,
            ),
            (self.grpc_server.is_some(), "--grpc-server", grpc),
            (self.grpc_ca_file.is_some(), "--grpc-ca-file", grpc),
            (
                self.klusterlet_values_file.is_some(),
                "--klusterlet-values-file",
                "there is no Helm chart behind this command; objects are rendered by the program",
            ),
        ];
        match given.iter().find(|(is_given, _, _)| *is_given) {
            Some((_, flag, reason)) => bail!("{flag} cannot be used: {reason}; leave it out"),
            None => Ok(()),
        }
    }
}

/// Where the joining cluster is found, if it is not that of the context.
#[derive(Debug, PartialEq, Eq)]
pub enum Source {
    /// In a kubeconfig.
    File(PathBuf),
    /// With Cluster API.
    Capi(CapiCluster),
}

/// A cluster that Cluster API made.
#[derive(Debug, PartialEq, Eq)]
pub struct CapiCluster {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The kubeconfig of the cluster that runs Cluster API; else that of the context.
    pub kubeconfig: Option<PathBuf>,
}

fn source(args: &JoinArgs, is_hosted: bool) -> anyhow::Result<Option<Source>> {
    let capi = capi_cluster(args)?;
    let file = args.managed_cluster_kubeconfig.clone();
    if !is_hosted && (file.is_some() || args.force_internal_endpoint_lookup_managed) {
        let flag = match file {
            Some(_) => "--managed-cluster-kubeconfig",
            None => "--force-internal-endpoint-lookup-managed",
        };
        bail!(
            "{flag} should not be set in default mode; add --mode hosted, or choose the joining cluster with --context"
        );
    }
    match (file, capi) {
        (Some(_), Some(_)) => bail!(
            "--managed-cluster-kubeconfig cannot be used with --capi-import; name the cluster in one way"
        ),
        (Some(file), None) => Ok(Some(Source::File(file))),
        (None, Some(capi)) => Ok(Some(Source::Capi(capi))),
        (None, None) if is_hosted => bail!(
            "managed-cluster-kubeconfig should be set in hosted mode: it is how the agent reaches the cluster that joins"
        ),
        (None, None) => Ok(None),
    }
}

fn capi_cluster(args: &JoinArgs) -> anyhow::Result<Option<CapiCluster>> {
    let name = args.capi_cluster_name.as_str();
    if !args.capi_import {
        if !name.is_empty() || args.capi_kubeconfig.is_some() {
            bail!(
                "--capi-cluster-name and --capi-kubeconfig count with --capi-import only; add it, or leave them out"
            );
        }
        return Ok(None);
    }
    if name.is_empty() {
        bail!(
            "capi-cluster-name is missing; name the cluster of Cluster API with --capi-cluster-name NAMESPACE/NAME"
        );
    }
    let (namespace, name) = match name.contains('/') {
        true => names::pair("--capi-cluster-name", name)?,
        false => ("default", name),
    };
    names::subdomain("the name in --capi-cluster-name", name)?;
    Ok(Some(CapiCluster {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kubeconfig: args.capi_kubeconfig.clone(),
    }))
}

/// What was decided from the command line.
#[derive(Debug)]
pub struct Plan {
    /// The name to register under.
    pub cluster: ClusterName,
    /// Ask for it even if another cluster holds it.
    pub replace: bool,
    /// The token for the hub.
    pub token: String,
    /// URL of the hub, as given.
    pub hub: String,
    /// PEM of the hub's authority, if it is known before the hub is asked.
    pub authority: Option<String>,
    /// PEM of the proxy's authority, if a file was named.
    pub proxy_authority: Option<String>,
    /// One process or two, and in which cluster.
    pub mode: Mode,
    /// Where the joining cluster is found, if it is not that of the context.
    pub source: Option<Source>,
    /// The image of operator and agent.
    pub image: String,
    /// Gates of the agent.
    pub feature_gates: FeatureGates,
    /// How add-ons prove who they are to the hub; by certificates if absent.
    pub addon_registration: Option<AddOnRegistrationDriver>,
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
    check_expiration(args.client_cert_expiration_seconds)?;
    let mode = mode(&args.mode, args.singleton)?;
    check_proxy(args)?;
    if args.enable_sync_labels && mode.is_hosted() {
        bail!(
            "--enable-sync-labels cannot be used in hosted mode: it is a setting of the operator, which runs in the hosting cluster already; leave it out"
        );
    }
    Ok(Plan {
        cluster: args.cluster_name.parse()?,
        replace: args.replace,
        token: args.hub_token.clone(),
        hub: check_url(&args.hub_apiserver)?,
        authority: match &args.ca_file {
            Some(file) => Some(authority(file)?),
            None => args.hub_authority.clone(),
        },
        proxy_authority: args.proxy_ca_file.as_deref().map(authority).transpose()?,
        source: source(args, mode.is_hosted())?,
        mode,
        image: args.choices.image.reference()?,
        feature_gates: parse_gates(&families, &args.feature_gates)?,
        addon_registration: addon_registration(args)?,
        annotations: annotations(&args.klusterlet_annotation)?,
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

fn addon_registration(args: &JoinArgs) -> anyhow::Result<Option<AddOnRegistrationDriver>> {
    let seconds = args.addon_token_expiration_seconds;
    match (args.addon_kubeclient_registration_auth.as_str(), seconds) {
        ("csr", 0) => Ok(None),
        ("csr", _) => bail!(
            "--addon-token-expiration-seconds counts with --addon-kubeclient-registration-auth token only; add it, or leave both out"
        ),
        ("token", 0 | ADDON_TOKEN_SECONDS_MIN..) => Ok(Some(AddOnRegistrationDriver {
            auth_type: "token".to_owned(),
            token: (seconds > 0).then_some(AddOnToken {
                expiration_seconds: seconds,
            }),
        })),
        ("token", _) => bail!(
            "tokens of {seconds} s are too short-lived; give --addon-token-expiration-seconds at least {ADDON_TOKEN_SECONDS_MIN}, or 0 for the agent's choice"
        ),
        (other, _) => bail!(
            "there is no way {other:?} for add-ons to register; use csr or token with --addon-kubeclient-registration-auth"
        ),
    }
}

fn check_proxy(args: &JoinArgs) -> anyhow::Result<()> {
    let Some(proxy) = &args.proxy_url else {
        if args.proxy_ca_file.is_some() {
            bail!("--proxy-ca-file counts with --proxy-url only; add it, or leave both out");
        }
        return Ok(());
    };
    let uri: Option<http::Uri> = proxy.parse().ok();
    let scheme = uri.as_ref().and_then(http::Uri::scheme_str);
    if matches!(scheme, Some("http" | "https" | "socks5")) {
        return Ok(());
    }
    bail!("--proxy-url should start with http://, https:// or socks5://, and is {proxy:?}")
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
        "hosted" if singleton => Ok(Mode::SingletonHosted),
        "hosted" => Ok(Mode::Hosted),
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
///
/// # Errors
///
/// A key that the hub would refuse in the inventory object.
fn annotations(pairs: &[(String, String)]) -> anyhow::Result<BTreeMap<String, String>> {
    let prefixed = |key: &str| match key.starts_with(AGENT_PREFIX) {
        true => key.to_owned(),
        false => format!("{AGENT_PREFIX}{key}"),
    };
    let prefixed = pairs
        .iter()
        .map(|(key, value)| (prefixed(key), value.clone()));
    let prefixed: Vec<(String, String)> = prefixed.collect();
    check_annotations(&prefixed).context("read --klusterlet-annotation")?;
    Ok(prefixed.into_iter().collect())
}

#[cfg(test)]
mod tests;
