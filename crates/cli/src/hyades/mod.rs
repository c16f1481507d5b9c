//! `hyades`: serves spaces, and runs the components of its image.
//!
//! ```text
//! up, serve ──▶ serving: host in this process, log, signals ──▶ up: spaces, registration
//!     └─ --detach ─▶ detach: the same in the background
//! down, space … ──▶ the running host, through its socket
//! doctor, wds ──▶ any cluster of a kubeconfig
//! ```

mod bench;
mod contexts;
mod detach;
pub mod doctor;
mod registered;
mod registration;
mod serve;
mod serving;
mod spaces;
mod up;
mod wds;

use crate::component;
use crate::data_dir::DataDirArgs;
use crate::entry::block_on;
use crate::entry::conclude;
use clap::Parser;
use clap::Subcommand;
use serving::HostArgs;
use std::ffi::OsString;
use std::process::ExitCode;

/// A multi-cluster fabric in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "hyades",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an ITS, a WDS and some WECs, all registered; goes on where it was stopped
    Up(up::UpArgs),
    /// Stop the host
    Down {
        #[command(flatten)]
        data_dir: DataDirArgs,
    },
    /// Serve spaces, without the demonstration that 'up' makes
    Serve(serve::ServeArgs),
    /// Make, list and delete spaces of the running host
    Space {
        #[command(subcommand)]
        command: spaces::SpaceCommand,
    },
    /// Make clusters WDSes, from where policies send workload to WECs
    Wds {
        #[command(subcommand)]
        command: Box<wds::WdsCommand>,
    },
    /// Register clusters with a hub; also this program under the name clusteradm
    #[command(name = "clusteradm")]
    Clusteradm,
    /// Say why a registration does not get on, on the hub's side or on the WEC's
    Doctor(doctor::DoctorArgs),
    /// Measure this binary on this machine
    Bench(bench::BenchArgs),
    /// Run a component of the image hyades; what its pods do
    #[command(hide = true)]
    Component(Box<component::ComponentArgs>),
    /// Print the version
    Version,
}

/// Runs hyades.
pub fn main(program: OsString, arguments: Vec<OsString>) -> ExitCode {
    let words = std::iter::once(program).chain(arguments);
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match cli.command {
        Command::Component(arguments) => component::main(*arguments),
        Command::Doctor(args) => conclude(block_on(doctor::run(&args))),
        Command::Bench(args) => conclude(bench::main(&args)),
        Command::Up(args) => conclude(host(&args.host, || up::run(&args))),
        Command::Serve(args) => conclude(host(&args.host, || serve::run(&args))),
        Command::Down { data_dir } => conclude(block_on(spaces::down(&data_dir))),
        Command::Space { command } => conclude(block_on(spaces::run(&command))),
        Command::Wds { command } => conclude(block_on(wds::run(&command))),
        // The whole command line was taken before it came here.
        Command::Clusteradm => ExitCode::SUCCESS,
        Command::Version => {
            crate::console::print(&format!("hyades v{}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

/// Runs a host in this process or, with `--detach`, in another.
fn host(args: &HostArgs, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    if args.detach {
        return detach::run(args);
    }
    detach::leave_session(args)?;
    run().inspect_err(|error| detach::announce_failure(args, error))
}
