//! `clusteradm config`: shows and changes a kubeconfig, as kubectl's command of that name does.
//!
//! ```text
//! files ─read, merged─▶ Kubeconfig ─┬─▶ show: contexts, clusters, users, the whole without secrets
//!                                   └─▶ edit (pure) ─▶ files that hold what changed, replaced
//!                                       whole, and one line of text
//! ```

mod edit;
mod files;
mod show;

use crate::console::Console;
use anyhow::bail;
use files::Files;
use std::path::Path;

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

/// Runs `config` on `file`, else on those of `KUBECONFIG`, else on `~/.kube/config`. A dry run writes
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
    let mut files = Files::read(file)?;
    let before = files.merged();
    let origin = files.origin();
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
        files.distribute(&before, &after);
        files.write()?;
    }
    console.text(&said);
    Ok(())
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
