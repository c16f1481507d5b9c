//! `hyades serve`: the spaces of a data folder, and nothing set up in them.

use super::detach;
use super::serving;
use super::serving::HostArgs;
use crate::console::print;
use crate::data_dir;
use crate::progress::Progress;

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub host: HostArgs,
}

/// Serves until stopped.
///
/// # Errors
///
/// Those of starting a host.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let folder = &args.host.data_dir.resolve()?;
    let progress = Progress::start();
    serving::run(&args.host, folder, |host| async move {
        let spaces = host.spaces().await;
        let names: Vec<&str> = spaces.iter().map(|space| space.name.as_str()).collect();
        let served = match names.is_empty() {
            true => format!(
                "no spaces yet; make one with 'hyades space create NAME{}'",
                args.host.data_dir.flag()
            ),
            false => format!("spaces {}", names.join(", ")),
        };
        progress.total(&format!("serving {}: {served}", host.url()));
        print(&format!(
            "export KUBECONFIG={}\n",
            data_dir::kubeconfig(folder).display()
        ));
        detach::announce_ready(&args.host);
        Ok(())
    })
}
