//! `clusteradm config`: shows and changes a kubeconfig, as kubectl's command of that name does.
//!
//! ```text
//! file ─read─▶ Kubeconfig ─┬─▶ show: contexts, clusters, users, the whole with secrets hidden
//!                          └─▶ edit (pure) ─▶ file, replaced whole, and one line of text
//! ```

mod edit;
mod show;

use crate::console::Console;
use crate::kubeconfig_file;
use anyhow::Context;
use anyhow::bail;
use std::path::Path;
use std::path::PathBuf;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigCommand {
    /// Show the current context
    CurrentContext,
    /// Show contexts
    GetContexts(show::ContextsArgs),
    /// Show clusters
    GetClusters,
    /// Show users
    GetUsers,
    /// Show the kubeconfig, its secrets hidden
    View(show::ViewArgs),
    /// Make another context the current one
    UseContext {
        /// The context
        name: String,
    },
    /// Rename a context
    RenameContext {
        /// The context
        old: String,
        /// Its new name
        new: String,
    },
    /// Delete a context
    DeleteContext {
        /// The context
        name: String,
    },
    /// Delete a cluster
    DeleteCluster {
        /// The cluster
        name: String,
    },
    /// Delete a user
    DeleteUser {
        /// The user
        name: String,
    },
    /// Make or change a context
    SetContext(edit::ContextArgs),
    /// Make or change a cluster
    SetCluster(edit::ClusterArgs),
    /// Make or change a user
    SetCredentials(edit::CredentialsArgs),
    /// Not supported: use the commands that set contexts, clusters and users
    Set(PropertyArgs),
    /// Not supported: use the commands that delete contexts, clusters and users
    Unset(PropertyArgs),
}

/// The command line of what is not supported.
#[derive(Debug, clap::Args)]
pub struct PropertyArgs {
    /// The property
    property: String,
    /// Its value
    value: Option<String>,
}

/// Refuses the flag that every other command has: a user who gave it would be shown, or change,
/// another context than the one named.
///
/// # Errors
///
/// When it is given.
pub fn refuse_context(context: Option<&str>) -> anyhow::Result<()> {
    match context {
        None => Ok(()),
        Some(name) => bail!(
            "--context {name} cannot be used with config, which works on the whole kubeconfig; leave it out, or make the context the current one with 'config use-context {name}'"
        ),
    }
}

/// Runs `config` on `file`, else on that of `KUBECONFIG`, else on `~/.kube/config`. A dry run writes
/// nothing.
///
/// # Errors
///
/// A file that cannot be read or written, and entries that do not exist.
pub fn run(
    console: Console,
    file: Option<&Path>,
    dry_run: bool,
    command: &ConfigCommand,
) -> anyhow::Result<()> {
    let path = path(file)?;
    let before = kubeconfig_file::read(&path)?;
    let origin = path.display().to_string();
    let mut after = before.clone();
    let said = match command {
        ConfigCommand::CurrentContext => show::current(&before)?,
        ConfigCommand::GetContexts(args) => show::contexts(&before, args)?,
        ConfigCommand::GetClusters => show::names(before.clusters.iter().map(|entry| &entry.name)),
        ConfigCommand::GetUsers => show::names(before.users.iter().map(|entry| &entry.name)),
        ConfigCommand::View(args) => show::view(&before, args)?,
        ConfigCommand::UseContext { name } => edit::use_context(&mut after, name)?,
        ConfigCommand::RenameContext { old, new } => edit::rename_context(&mut after, old, new)?,
        ConfigCommand::DeleteContext { name } => edit::delete_context(&mut after, name, &origin)?,
        ConfigCommand::DeleteCluster { name } => edit::delete_cluster(&mut after, name, &origin)?,
        ConfigCommand::DeleteUser { name } => edit::delete_user(&mut after, name, &origin)?,
        ConfigCommand::SetContext(args) => edit::set_context(&mut after, args)?,
        ConfigCommand::SetCluster(args) => edit::set_cluster(&mut after, args)?,
        ConfigCommand::SetCredentials(args) => edit::set_credentials(&mut after, args)?,
        ConfigCommand::Set(args) | ConfigCommand::Unset(args) => bail!(
            "the property {:?} cannot be set or unset by its path; use set-context, set-cluster or set-credentials, or one of delete-context, delete-cluster and delete-user",
            args.property
        ),
    };
    if after != before && !dry_run {
        let text = after.to_yaml().context("write the kubeconfig as YAML")?;
        kubeconfig_file::replace(&kubeconfig_file::resolved(&path), &text)?;
    }
    console.text(&said);
    Ok(())
}

/// The file to read and write. Of several in `KUBECONFIG` it is the first that exists, else the
/// first.
fn path(file: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(file) = file {
        return Ok(file.to_owned());
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed)
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    if let Some(path) = listed.iter().find(|path| path.exists()).or(listed.first()) {
        return Ok(path.clone());
    }
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    let home =
        home.context("there is no HOME to find a kubeconfig in; name one with --kubeconfig")?;
    Ok(PathBuf::from(home).join(".kube/config"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_that_config_would_ignore_is_refused() {
        assert!(refuse_context(None).is_ok());
        let error = refuse_context(Some("its1")).expect_err("refused");
        assert!(
            error.to_string().contains("config use-context its1"),
            "{error}"
        );
    }
}
