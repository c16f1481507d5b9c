//! `clusteradm`: makes hubs, joins clusters to them, accepts them, and takes them out again.
//!
//! ```text
//! argv ─normalise─▶ Cli ─▶ Target (kubeconfig, context) ─▶ Session ─▶ one command
//! ```
//!
//! Each command is a function over a [`Session`], so that `hyades up` takes the very same path.

pub mod accept;
mod addon;
pub mod apply;
mod choices;
mod clean;
pub mod cluster_info;
mod clusterset;
mod completion;
mod config;
mod create;
mod delete;
mod elsewhere;
mod flags;
mod get;
pub mod init;
pub mod join;
mod kinds;
mod names;
mod objects;
mod operator;
pub mod pods;
pub mod preflight;
mod printer;
pub mod session;
mod three_way;
pub mod token;
mod unjoin;
mod upgrade;
mod version;

use crate::console::Console;
use crate::entry::block_on;
use crate::entry::conclude;
use crate::target::Target;
use crate::wait;
use clap::Args;
use clap::CommandFactory;
use clap::FromArgMatches;
use clap::Parser;
use clap::Subcommand;
use session::Session;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Registers clusters with a hub.
#[derive(Debug, Parser)]
#[command(
    name = "clusteradm",
    disable_version_flag = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// The kubeconfig; else KUBECONFIG, else ~/.kube/config
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context to use; else the current one
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Show objects rather than apply them
    #[arg(long, global = true)]
    dry_run: bool,
    /// Bound of every wait, in seconds
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 300, value_parser = wait::timeout_seconds())]
    timeout: u64,
    /// Not supported: this program follows no version of Kubernetes
    #[arg(long, global = true, hide = true)]
    match_server_version: bool,
    /// Verbosity of the log, as klog counts it
    #[arg(
        short,
        long = "v",
        global = true,
        value_name = "LEVEL",
        default_value_t = 0
    )]
    verbosity: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a cluster a hub
    Init(init::InitArgs),
    /// Join a cluster to a hub
    Join(join::JoinArgs),
    /// Accept clusters that asked to join
    Accept(accept::AcceptArgs),
    /// Take the agent out of a cluster
    Unjoin(unjoin::UnjoinArgs),
    /// Make a hub an ordinary cluster again
    Clean(clean::CleanArgs),
    /// Create sets, placements and works
    Create {
        #[command(subcommand)]
        what: Box<create::Create>,
    },
    /// Delete sets, works and the bootstrap token
    Delete {
        #[command(subcommand)]
        what: delete::Delete,
    },
    /// Get something from a hub, or from a managed cluster
    Get {
        #[command(subcommand)]
        what: get::Get,
    },
    /// Say which clusters belong to a set, and which namespaces may use it
    Clusterset {
        #[command(subcommand)]
        command: clusterset::ClustersetCommand,
    },
    /// Offer add-ons, and enable them for clusters
    Addon {
        #[command(subcommand)]
        command: Box<addon::AddonCommand>,
    },
    /// Upgrade a hub, or the agent of a managed cluster
    Upgrade {
        #[command(subcommand)]
        what: upgrade::Upgrade,
    },
    /// Not supported: upstream's own add-ons
    Install {
        #[command(subcommand)]
        what: elsewhere::HubAddon,
    },
    /// Not supported: upstream's own add-ons
    Uninstall {
        #[command(subcommand)]
        what: elsewhere::HubAddon,
    },
    /// Not supported: needs upstream's add-on cluster-proxy
    Proxy {
        #[command(subcommand)]
        what: elsewhere::Proxy,
    },
    /// Not supported: this program runs no plugins
    #[command(hide = true)]
    Plugin(elsewhere::ProxyArgs),
    /// Show and change the kubeconfig
    Config {
        #[command(subcommand)]
        command: Box<config::ConfigCommand>,
    },
    /// Print the script by which a shell completes commands
    Completion(completion::CompletionArgs),
    /// Print the flags that every command takes
    Options,
    /// Print versions
    Version,
}

/// Runs clusteradm. `header` is the program as typed, `arguments` what follows it.
pub fn main(header: &str, arguments: Vec<OsString>) -> ExitCode {
    let (arguments, changed) = flags::normalise(arguments);
    for name in changed {
        Console::Terminal.warn(format!(
            "--{name} is written with underscores; use --{} instead",
            name.replace('_', "-")
        ));
    }
    let command = flags::with_go_booleans(Cli::command());
    let words = std::iter::once(OsString::from(header)).chain(arguments.iter().cloned());
    let matches = match command.clone().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(error) => return unreadable(header, &arguments, &error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return unreadable(header, &arguments, &error),
    };
    let set_flags = matches
        .subcommand()
        .and_then(|(name, inner)| {
            let inner_command = command.find_subcommand(name)?;
            let mut names = flags::set_flags(inner_command, inner);
            names.extend(flags::set_flags(&command, inner));
            names.sort();
            names.dedup();
            Some(names)
        })
        .unwrap_or_default();
    if cli.global.verbosity > 0 {
        hyades_runtime::log::init(cli.global.verbosity);
    }
    conclude(block_on(run(header, cli, &set_flags)))
}

async fn run(header: &str, cli: Cli, set_flags: &[String]) -> anyhow::Result<()> {
    let Cli { global, command } = cli;
    if global.match_server_version {
        anyhow::bail!(
            "--match-server-version cannot be used: this program follows no version of Kubernetes, so that none can match; leave it out"
        );
    }
    if let Some(result) = run_here(&global, &command) {
        return result;
    }
    let session = Session {
        header: header.to_owned(),
        target: Target::load(global.kubeconfig.as_deref(), global.context.as_deref()).await?,
        dry_run: global.dry_run,
        timeout: Duration::from_secs(global.timeout),
        console: Console::Terminal,
    };
    match &command {
        Command::Init(args) => init::run(&session, args, set_flags).await,
        Command::Join(args) => join::run(&session, args).await,
        Command::Accept(args) => accept::run(&session, args).await,
        Command::Unjoin(args) => unjoin::run(&session, args).await,
        Command::Clean(args) => clean::run(&session, args).await,
        Command::Upgrade { what } => upgrade::run(&session, what).await,
        Command::Addon { command } => addon::run(&session, command).await,
        Command::Create { what } => create::run(&session, what).await,
        Command::Delete { what } => delete::run(&session, what).await,
        Command::Get { what } => get::run(&session, what).await,
        Command::Clusterset { command } => clusterset::run(&session, command).await,
        // The others were run without a session.
        _ => Ok(()),
    }
}

/// Runs a command that needs no server; none if it needs one.
fn run_here(global: &Global, command: &Command) -> Option<anyhow::Result<()>> {
    let console = Console::Terminal;
    let whole = || flags::with_go_booleans(Cli::command());
    Some(match command {
        Command::Install { what } => elsewhere::hub_addon("install", what),
        Command::Uninstall { what } => elsewhere::hub_addon("uninstall", what),
        Command::Proxy { what } => elsewhere::proxy(what),
        Command::Plugin(_) => elsewhere::plugin(),
        Command::Config { command } => {
            let kubeconfig = global.kubeconfig.as_deref();
            let context = global.context.as_deref();
            config::refuse_context(context)
                .and_then(|()| config::run(console, kubeconfig, global.dry_run, command))
        }
        Command::Completion(args) => completion::run(whole(), args),
        Command::Options => {
            completion::options(&whole());
            Ok(())
        }
        Command::Version => {
            version::run(console);
            Ok(())
        }
        _ => return None,
    })
}

/// Prints help where it was asked for, and else why the command line cannot be read.
fn unreadable(header: &str, arguments: &[OsString], error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            crate::console::print(&error.to_string());
            ExitCode::SUCCESS
        }
        _ => {
            let path = command_path(header, arguments);
            Console::Terminal.warn(format!("Error: {}", flags::message(error, &path)));
            ExitCode::FAILURE
        }
    }
}

/// The commands at the start of the line, as typed: `clusteradm get`.
fn command_path(header: &str, arguments: &[OsString]) -> String {
    let mut path = header.to_owned();
    let mut command = Cli::command();
    for word in arguments.iter().filter_map(|word| word.to_str()) {
        let Some(inner) = command.find_subcommand(word) else {
            continue;
        };
        path = format!("{path} {word}");
        command = inner.clone();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        flags::with_go_booleans(Cli::command()).debug_assert();
    }

    #[test]
    fn the_path_holds_the_commands_and_no_flags() {
        let words = ["--context", "its1", "get", "tokken"].map(OsString::from);
        assert_eq!(command_path("clusteradm", &words), "clusteradm get");
    }
}
