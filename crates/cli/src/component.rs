//! `hyades component NAME`: what the pods of the image run.
//!
//! One current-thread runtime each; nothing of the host is set up here, which keeps an idle
//! component small.

use hyades_agent::install;
use hyades_agent::install::BootstrapAccess;
use hyades_agent::install::InstallOptions;
use hyades_agent::install::bootstrap_kubeconfig;
use hyades_agent::options;
use hyades_agent::registration;
use hyades_agent::singleton;
use hyades_agent::work;
use hyades_inventory::hub;
use hyades_inventory::hub::NewAgent;
use hyades_inventory::operator;
use hyades_pki::KubeconfigError;
use hyades_runtime::component::run;
use serde_json::Value;
use std::process::ExitCode;

/// The components, under the names of `hyades_api::image::Component`.
#[derive(Debug, clap::Subcommand)]
pub enum Component {
    /// Operator of the hub
    ClusterManager(operator::Options),
    /// The hub's controllers
    Hub(hub::Options),
    /// Operator of the agent
    Klusterlet(options::KlusterletOptions),
    /// Registration, lease and status of a WEC
    RegistrationAgent(options::RegistrationAgentOptions),
    /// Works of a WEC
    WorkAgent(options::WorkAgentOptions),
    /// Both agents in one process
    KlusterletAgent(options::KlusterletAgentOptions),
    /// Bindings, works and returned status of a WDS
    Distribution(hyades_distribution::Options),
}

/// The command line of a component.
#[derive(Debug, clap::Args)]
pub struct ComponentArgs {
    /// Verbosity of the log, as klog counts it
    #[arg(short, long = "v", global = true, default_value_t = 2)]
    verbosity: u8,
    #[command(subcommand)]
    component: Component,
}

/// Runs a component to its end.
pub fn main(arguments: ComponentArgs) -> ExitCode {
    let verbosity = arguments.verbosity;
    match arguments.component {
        Component::ClusterManager(options) => run("cluster-manager", verbosity, |context| {
            operator::run(options, context)
        }),
        Component::Hub(options) => run("hub", verbosity, |context| {
            hub::run(options, render_agent, context)
        }),
        Component::Klusterlet(options) => run("klusterlet", verbosity, |context| {
            hyades_agent::operator::run(options, context)
        }),
        Component::RegistrationAgent(options) => run("registration-agent", verbosity, |context| {
            registration::run(options, context)
        }),
        Component::WorkAgent(options) => run("work-agent", verbosity, |context| {
            work::run(options, context)
        }),
        Component::KlusterletAgent(options) => run("klusterlet-agent", verbosity, |context| {
            singleton::run(options, context)
        }),
        Component::Distribution(options) => run("distribution", verbosity, |context| {
            hyades_distribution::run(options, context)
        }),
    }
}

/// The agent that the hub puts into a cluster it imports: what `clusteradm join` would apply.
fn render_agent(agent: &NewAgent) -> Result<Vec<Value>, KubeconfigError> {
    let kubeconfig = bootstrap_kubeconfig(&BootstrapAccess {
        server: &agent.server,
        certificate_authority: agent.certificate_authority.as_deref(),
        token: &agent.token,
        proxy_url: None,
    })?;
    let defaults = InstallOptions::new(agent.cluster.clone(), kubeconfig);
    Ok(install::objects(&InstallOptions {
        image: agent.image.clone().unwrap_or(defaults.image.clone()),
        image_pull_credentials: agent.image_pull_credentials.clone(),
        ..defaults
    }))
}
