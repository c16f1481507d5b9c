//! `clusteradm init`: makes a cluster a hub.
//!
//! ```text
//! flags ──plan──▶ Plan ──preflight──▶ apply (CRD first) ──▶ wait for pods ──▶ token ──▶ text
//! ```

use super::apply;
use super::choices::Choices;
use super::cluster_info;
use super::flags::parse_gates;
use super::pods;
use super::preflight;
use super::preflight::Check;
use super::preflight::Finding;
use super::session::Session;
use super::token;
use super::token::TokenKind;
use crate::console::Output;
use anyhow::Context;
use anyhow::bail;
use hyades_api::features;
use hyades_api::features::FeatureGates;
use hyades_api::names;
use hyades_api::names::apps;
use hyades_api::names::namespaces;
use hyades_api::operator::ResourceRequirement;
use hyades_inventory::install;
use hyades_inventory::install::Bootstrap;
use hyades_inventory::install::InstallOptions;
use hyades_pki::BootstrapToken;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::PostParams;
use std::path::PathBuf;

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct InitArgs {
    /// Feature gates of the hub, as NAME=true or NAME=false
    #[arg(long, value_delimiter = ',')]
    feature_gates: Vec<String>,
    /// Also write the rendered objects to this file
    #[arg(long, value_name = "FILE")]
    output_file: Option<PathBuf>,
    /// Initialise again: leave out validation and preflight checks
    #[arg(long)]
    force: bool,
    /// Write the command that joins a cluster to this file, with $1 for the cluster's name
    #[arg(long, value_name = "FILE")]
    output_join_command_file: Option<PathBuf>,
    /// Wait until the hub runs
    #[arg(long)]
    wait: bool,
    /// text or json
    #[arg(short, long, default_value = "text")]
    output: Output,
    /// Create the namespace open-cluster-management
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    create_namespace: bool,
    /// Let agents bootstrap with a token that does not expire
    #[arg(long)]
    use_bootstrap_token: bool,
    /// How agents register: csr
    #[arg(long, value_delimiter = ',')]
    registration_drivers: Vec<String>,
    /// Users whose bootstrap requests are approved without asking (needs the feature gate
    /// ManagedClusterAutoApproval)
    #[arg(long, value_delimiter = ',')]
    auto_approved_csr_identities: Vec<String>,
    /// Copy the labels of the ClusterManager to everything made for it
    #[arg(long)]
    enable_sync_labels: bool,
    #[command(flatten)]
    choices: Choices,
    #[command(flatten)]
    refused: RefusedInInit,
}

impl InitArgs {
    /// The choices of a user who made none.
    ///
    /// # Errors
    ///
    /// None in practice: the defaults are readable.
    pub fn defaults() -> anyhow::Result<Self> {
        super::flags::parse_args(&["init"])
    }
}

/// Flags of upstream that cannot be had here; each is refused by name.
#[derive(Debug, Clone, Default, clap::Args)]
struct RefusedInInit {
    #[arg(long, hide = true)]
    singleton: bool,
    #[arg(long, hide = true)]
    singleton_name: Option<String>,
    #[arg(long, hide = true)]
    cluster_manager_values_file: Option<String>,
    #[arg(long, hide = true)]
    hub_cluster_arn: Option<String>,
    #[arg(long, hide = true)]
    aws_resource_tags: Vec<String>,
    #[arg(long, hide = true)]
    auto_approved_arn_patterns: Vec<String>,
    #[arg(long, hide = true)]
    grpc_server: Option<String>,
    #[arg(long, hide = true)]
    grpc_endpoint_type: Option<String>,
    #[arg(long, hide = true)]
    auto_approved_grpc_identities: Vec<String>,
    #[arg(short = 'f', long, hide = true)]
    values: Vec<String>,
    #[arg(long, hide = true)]
    set: Vec<String>,
    #[arg(long, hide = true)]
    set_string: Vec<String>,
    #[arg(long, hide = true)]
    set_file: Vec<String>,
    #[arg(long, hide = true)]
    set_json: Vec<String>,
    #[arg(long, hide = true)]
    set_literal: Vec<String>,
}

impl RefusedInInit {
    fn check(&self) -> anyhow::Result<()> {
        let grpc = "registration over gRPC is not supported; agents register with csr";
        let aws = "registration with AWS IAM is not supported; agents register with csr";
        let chart =
            "there is no Helm chart behind this command; objects are rendered by the program";
        let given = [
            (
                self.singleton || self.singleton_name.is_some(),
                "--singleton",
                "the multicluster-controlplane chart is deprecated upstream; a space of 'hyades up' is the small control plane here",
            ),
            (
                self.cluster_manager_values_file.is_some(),
                "--cluster-manager-values-file",
                chart,
            ),
            (!self.values.is_empty(), "--values", chart),
            (!self.set.is_empty(), "--set", chart),
            (!self.set_string.is_empty(), "--set-string", chart),
            (!self.set_file.is_empty(), "--set-file", chart),
            (!self.set_json.is_empty(), "--set-json", chart),
            (!self.set_literal.is_empty(), "--set-literal", chart),
            (self.hub_cluster_arn.is_some(), "--hub-cluster-arn", aws),
            (
                !self.aws_resource_tags.is_empty(),
                "--aws-resource-tags",
                aws,
            ),
            (
                !self.auto_approved_arn_patterns.is_empty(),
                "--auto-approved-arn-patterns",
                aws,
            ),
            (self.grpc_server.is_some(), "--grpc-server", grpc),
            (
                self.grpc_endpoint_type.is_some(),
                "--grpc-endpoint-type",
                grpc,
            ),
            (
                !self.auto_approved_grpc_identities.is_empty(),
                "--auto-approved-grpc-identities",
                grpc,
            ),
        ];
        match given.iter().find(|(is_given, _, _)| *is_given) {
            Some((_, flag, reason)) => bail!("{flag} cannot be used: {reason}; leave it out"),
            None => Ok(()),
        }
    }
}

/// What was decided from the flags, before any server was asked.
#[derive(Debug)]
pub struct Plan {
    image: String,
    create_namespace: bool,
    token_kind: TokenKind,
    feature_gates: FeatureGates,
    auto_approve_users: Vec<String>,
    resources: ResourceRequirement,
    image_pull_credential: Option<String>,
    sync_labels: bool,
    wait: bool,
    force: bool,
    output_file: Option<PathBuf>,
}

/// Decides what to do, from the flags alone.
///
/// # Errors
///
/// Flags that do not exist here or do not fit together.
pub fn plan(args: &InitArgs) -> anyhow::Result<Plan> {
    args.refused.check()?;
    check_drivers(args)?;
    if !args.force {
        validate(args)?;
    }
    Ok(Plan {
        image: args.choices.image.reference()?,
        create_namespace: args.create_namespace,
        token_kind: TokenKind::of_flag(args.use_bootstrap_token),
        feature_gates: parse_gates(&install::FEATURE_FAMILIES, &args.feature_gates)?,
        auto_approve_users: args.auto_approved_csr_identities.clone(),
        resources: args.choices.resources()?,
        image_pull_credential: args.choices.pull_credential()?,
        sync_labels: args.enable_sync_labels,
        wait: args.wait,
        force: args.force,
        output_file: args.output_file.clone(),
    })
}

/// Not even --force makes a driver work that is not there.
fn check_drivers(args: &InitArgs) -> anyhow::Result<()> {
    let known = ["csr", "awsirsa", "grpc"];
    for driver in &args.registration_drivers {
        if !known.contains(&driver.as_str()) {
            bail!("only csr,awsirsa and grpc are valid drivers; {driver:?} is none");
        }
        if driver != "csr" {
            bail!(
                "registration driver {driver} is not supported: agents register with csr; use --registration-drivers csr"
            );
        }
    }
    Ok(())
}

fn validate(args: &InitArgs) -> anyhow::Result<()> {
    if !args.auto_approved_csr_identities.is_empty() {
        let gates = parse_gates(&install::FEATURE_FAMILIES, &args.feature_gates)?;
        if !gates.enabled(features::MANAGED_CLUSTER_AUTO_APPROVAL) {
            bail!(
                "should enable feature gate ManagedClusterAutoApproval before passing list of identities; add --feature-gates ManagedClusterAutoApproval=true"
            );
        }
    }
    if args.wait && args.output != Output::Text {
        bail!("output should be text if --wait is set");
    }
    Ok(())
}

/// Runs `init`. `set_flags` are the names of the flags the user set.
///
/// # Errors
///
/// The first step that failed.
pub async fn run(session: &Session, args: &InitArgs, set_flags: &[String]) -> anyhow::Result<()> {
    let plan = plan(args)?;
    for flag in set_flags {
        let text = format!("flag {flag} has been set");
        match args.output {
            Output::Text => session.console.line(text),
            // Standard output is one JSON document.
            Output::Json => session.console.warn(text),
        }
    }
    session.announce_dry_run();
    execute(session, &plan).await?;
    if session.dry_run {
        return Ok(());
    }
    let token = token::obtain(session, plan.token_kind).await?;
    match args.output {
        Output::Json => session
            .console
            .line(token::json(&token, &session.target.server)),
        Output::Text => {
            let extra = if args.wait { " --wait" } else { "" };
            session
                .console
                .text(&welcome(&token::join_command(session, &token, extra)));
        }
    }
    match &args.output_join_command_file {
        Some(path) => {
            let command = token::join_command(session, &token, "");
            let command = command.replace("<cluster_name>", "$1");
            // The file holds a token.
            apply::write_file(path, &format!("{command}\n"), 0o700)
        }
        None => Ok(()),
    }
}

fn welcome(join: &str) -> String {
    format!(
        "The multicluster hub control plane has been initialized successfully!\n\n\
         You can now register cluster(s) to the hub control plane. Log onto those cluster(s) and run the following command:\n\n    \
         {join}\n\n\
         Replace <cluster_name> with a cluster name of your choice. For example, cluster1.\n\n"
    )
}

/// Makes the cluster a hub: checks, applies, and waits if asked to.
///
/// # Errors
///
/// The first step that failed.
pub async fn execute(session: &Session, plan: &Plan) -> anyhow::Result<()> {
    if !plan.force {
        let checks = [
            ("HubApiServer check", host_check(&session.target.server)),
            cluster_info_check(session).await?,
        ];
        preflight::conclude(session, &checks)?;
    }
    let options = InstallOptions {
        image: plan.image.clone(),
        create_namespace: plan.create_namespace,
        bootstrap: bootstrap(session, plan.token_kind).await?,
        feature_gates: plan.feature_gates.clone(),
        auto_approve_users: plan.auto_approve_users.clone(),
        resources: plan.resources.clone(),
        image_pull_credential: plan.image_pull_credential.clone(),
        sync_labels: plan.sync_labels,
    };
    let objects = install::objects(&options);
    apply::objects(session, &objects, plan.output_file.as_deref()).await?;
    if plan.wait && !session.dry_run {
        wait_for_hub(session).await?;
    }
    Ok(())
}

/// Waits until operator and hub run.
///
/// # Errors
///
/// When the time is over, with what was seen last.
pub async fn wait_for_hub(session: &Session) -> anyhow::Result<()> {
    let (operator, hub) = (namespaces::OPERATOR, namespaces::HUB);
    session
        .console
        .line("Waiting for registration operator to become ready...");
    pods::wait_ready(session, operator, apps::CLUSTER_MANAGER).await?;
    session
        .console
        .line("Registration operator is now available.");
    session
        .console
        .line("Waiting for cluster manager registration to become ready...");
    pods::wait_ready(session, hub, apps::HUB).await?;
    session
        .console
        .line("ClusterManager registration is now available.");
    Ok(())
}

/// The bootstrap of new agents; a token that exists is kept, so that commands printed earlier go
/// on working.
async fn bootstrap(session: &Session, kind: TokenKind) -> anyhow::Result<Bootstrap> {
    if kind == TokenKind::ServiceAccount {
        return Ok(Bootstrap::ServiceAccount);
    }
    let api: Api<Secret> = Api::namespaced(session.target.client.clone(), namespaces::KUBE_SYSTEM);
    let existing = api
        .get_opt(names::BOOTSTRAP_TOKEN_SECRET)
        .await
        .map_err(|error| session.target.explain("read the bootstrap token", &error))?;
    let secret_half = existing
        .and_then(|secret| secret.data?.remove("token-secret"))
        .and_then(|bytes| String::from_utf8(bytes.0).ok())
        .unwrap_or_else(|| BootstrapToken::generate().secret().to_owned());
    let token = format!("{}.{secret_half}", names::BOOTSTRAP_TOKEN_ID);
    let token = token.parse().with_context(|| {
        format!(
            "read the Secret kube-system/{}; delete it to have it made anew",
            names::BOOTSTRAP_TOKEN_SECRET
        )
    })?;
    Ok(Bootstrap::Token(token))
}

/// Whether agents may need a host alias to find the hub.
fn host_check(server: &str) -> Finding {
    let uri: Option<http::Uri> = server.parse().ok();
    let host = uri.as_ref().and_then(|uri| uri.host()).unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(_) => Finding::passed(),
        Err(_) => Finding::warning(
            "Hub Api Server is a domain name, maybe you should set HostAlias in klusterlet",
        ),
    }
}

/// Whether there is a usable `cluster-info`; one that is missing is made.
async fn cluster_info_check(session: &Session) -> anyhow::Result<Check> {
    let target = &session.target;
    let api = cluster_info::api(&target.client);
    let finding = match api.get_opt(cluster_info::NAME).await {
        Ok(Some(map)) if cluster_info::kubeconfig(&map).is_some() => Finding::passed(),
        Ok(Some(_)) => Finding::error("empty kubeconfig data in cluster-info"),
        Ok(None) => {
            if !session.dry_run {
                let authority = target.certificate_authority.as_deref();
                let map = cluster_info::render(&target.server, authority)?;
                match api.create(&PostParams::default(), &map).await {
                    Ok(_) => {}
                    Err(error) if matches!(Trouble::of(&error), Trouble::AlreadyExists(_)) => {}
                    Err(error) => {
                        return Err(
                            target.explain("create the ConfigMap kube-public/cluster-info", &error)
                        );
                    }
                }
            }
            Finding::warning(
                "no ConfigMap named cluster-info in the kube-public namespace, clusteradm will creates it",
            )
        }
        Err(error) => {
            return Err(target.explain("read the ConfigMap kube-public/cluster-info", &error));
        }
    };
    Ok(("cluster-info check", finding))
}

#[cfg(test)]
mod tests;
