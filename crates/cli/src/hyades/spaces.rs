//! `hyades space …` and `hyades down`: asking the host that runs on a data folder.

use super::serving::told;
use crate::console::print;
use crate::data_dir;
use crate::data_dir::DataDirArgs;
use crate::progress::table;
use anyhow::Context;
use hyades_host::AdminClient;
use hyades_host::HostError;
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
            let host = connect(&folder).await?;
            let made = host.create_space(name).await;
            let made = made.map_err(|error| hinted(&error, data_dir))?;
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
            let spaces = host.status().await.map_err(told)?.spaces;
            print(&listing(&spaces, &data_dir.flag()));
        }
        SpaceCommand::Delete { name, data_dir } => {
            let host = connect(&data_dir.resolve()?).await?;
            let deleted = host.delete_space(name).await;
            deleted.map_err(|error| hinted(&error, data_dir))?;
            print(&format!("space {name} deleted\n"));
        }
        SpaceCommand::Kubeconfig { name, data_dir } => {
            let host = connect(&data_dir.resolve()?).await?;
            let kubeconfig = host.kubeconfig(name).await;
            let kubeconfig = kubeconfig.map_err(|error| hinted(&error, data_dir))?;
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

/// A host's error, whose advice names the data folder as the command did.
fn hinted(error: &HostError, data_dir: &DataDirArgs) -> anyhow::Error {
    anyhow::anyhow!("{}", with_flag(&error.to_string(), &data_dir.flag()))
}

/// A message with a flag added to each command in backticks.
fn with_flag(message: &str, flag: &str) -> String {
    let is_command = |index: usize, part: &str| index % 2 == 1 && part.starts_with("hyades ");
    let parts = message.split('`').enumerate();
    let parts = parts.map(|(index, part)| match is_command(index, part) {
        true => format!("{part}{flag}"),
        false => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("`")
}

fn listing(spaces: &[SpaceStatus], flag: &str) -> String {
    if spaces.is_empty() {
        return format!(
            "The host serves no spaces; make one with 'hyades space create NAME{flag}'.\n"
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_the_data_folder_that_the_command_was_given() {
        let error = HostError::NoSpace("its1".to_owned()).to_string();
        assert_eq!(
            with_flag(&error, " --data-dir /srv/h"),
            "there is no space \"its1\"; `hyades space list --data-dir /srv/h` shows those there are"
        );
        assert_eq!(with_flag(&error, ""), error);
        let name = "`code` stays";
        assert_eq!(with_flag(name, " --data-dir d"), name);
        let listed = listing(&[], " --data-dir d");
        assert!(
            listed.contains("'hyades space create NAME --data-dir d'"),
            "{listed}"
        );
    }
}
