//! `hyades space …` and `hyades down`: asking the host that runs on a data folder.

use super::serving::told;
use crate::console::print;
use crate::data_dir;
use crate::data_dir::DataDirArgs;
use crate::progress::table;
use anyhow::Context;
use hyades_host::AdminClient;
use hyades_host::SpaceStatus;
use std::path::Path;

/// What to do with spaces.
#[derive(Debug, clap::Subcommand)]
pub enum SpaceCommand {
    /// Make a space, and add its context to the host's kubeconfig
    Create {
        /// Name of the space, and of its context
        name: String,
        #[command(flatten)]
        data_dir: DataDirArgs,
    },
    /// List the spaces
    List {
        #[command(flatten)]
        data_dir: DataDirArgs,
    },
    /// Delete a space with all it holds, and its context
    Delete {
        /// Name of the space
        name: String,
        #[command(flatten)]
        data_dir: DataDirArgs,
    },
    /// Print a kubeconfig for a space
    Kubeconfig {
        /// Name of the space
        name: String,
        #[command(flatten)]
        data_dir: DataDirArgs,
    },
}

/// Runs one of them.
///
/// # Errors
///
/// No host runs, or it refuses.
pub async fn run(command: &SpaceCommand) -> anyhow::Result<()> {
    match command {
        SpaceCommand::Create { name, data_dir } => {
            let folder = data_dir.resolve()?;
            let made = AdminClient::connect(&folder)
                .await?
                .create_space(name)
                .await?;
            print(&format!(
                "space {} created at {}\nkubectl --kubeconfig {} --context {} get namespaces\n",
                made.name,
                made.url,
                data_dir::kubeconfig(&folder).display(),
                made.name
            ));
        }
        SpaceCommand::List { data_dir } => {
            let host = connect(&data_dir.resolve()?).await?;
            print(&listing(&host.status().await.map_err(told)?.spaces));
        }
        SpaceCommand::Delete { name, data_dir } => {
            let host = connect(&data_dir.resolve()?).await?;
            host.delete_space(name).await.map_err(told)?;
            print(&format!("space {name} deleted\n"));
        }
        SpaceCommand::Kubeconfig { name, data_dir } => {
            let host = connect(&data_dir.resolve()?).await?;
            let kubeconfig = host.kubeconfig(name).await.map_err(told)?;
            print(
                &kubeconfig
                    .to_yaml()
                    .context("write the kubeconfig as YAML")?,
            );
        }
    }
    Ok(())
}

async fn connect(folder: &Path) -> anyhow::Result<AdminClient> {
    AdminClient::connect(folder).await.map_err(told)
}

fn listing(spaces: &[SpaceStatus]) -> String {
    if spaces.is_empty() {
        return "The host serves no spaces; make one with 'hyades space create NAME'.\n".to_owned();
    }
    let mut rows = vec![["NAME", "API SERVER"].map(str::to_owned).to_vec()];
    rows.extend(
        spaces
            .iter()
            .map(|space| vec![space.name.clone(), space.url.clone()]),
    );
    table(&rows)
}

/// Stops the host that runs on a data folder, and waits until it has ended.
///
/// # Errors
///
/// No host runs, or it does not end in time.
pub async fn down(data_dir: &DataDirArgs) -> anyhow::Result<()> {
    let folder = data_dir.resolve()?;
    connect(&folder).await?.stop().await.map_err(told)?;
    print(&format!(
        "The host on {} has stopped; 'hyades up{}' resumes it.\n",
        folder.display(),
        data_dir.flag()
    ));
    Ok(())
}
