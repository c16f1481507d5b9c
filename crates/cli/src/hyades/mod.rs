//! `hyades`: serves spaces, and runs the components of its image.

use crate::component;
use clap::Parser;
use clap::Subcommand;
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
    /// Run a component of the image hyades; what its pods do
    #[command(hide = true)]
    Component(component::ComponentArgs),
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
        Command::Component(arguments) => component::main(arguments),
        Command::Version => {
            crate::console::print(&format!("hyades v{}\n", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}
