//! `clusteradm completion`: scripts by which shells complete its commands.

use crate::console;
use clap::Command;
use clap_complete::Shell;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_parser = ["bash", "fish", "powershell", "zsh"])]
    shell: String,
}

/// Prints the script for a shell to read. `command` is the whole command line.
///
/// # Errors
///
/// A shell that there is no script for.
pub fn run(mut command: Command, args: &CompletionArgs) -> anyhow::Result<()> {
    let shell: Shell = args.shell.parse().map_err(anyhow::Error::msg)?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, crate::CLUSTERADM, &mut script);
    console::print(&String::from_utf8_lossy(&script));
    Ok(())
}

/// Prints the flags that every command takes.
pub fn options(command: &Command) {
    let mut text = "The following options can be passed to any command:\n\n".to_owned();
    for argument in command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
    {
        let (Some(long), Some(help)) = (argument.get_long(), argument.get_help()) else {
            continue;
        };
        text.push_str(&format!("    --{long}:\n\t{help}\n\n"));
    }
    console::print(&text);
}
