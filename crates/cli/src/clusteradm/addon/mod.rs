//! `clusteradm addon`: offers add-ons, and enables them for clusters.

mod create;
mod disable;
mod enable;

use super::flags::split_names;
use super::session::Session;
use anyhow::bail;
use std::collections::BTreeSet;

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum AddonCommand {
    /// Offer an add-on made of manifests
    Create(create::CreateArgs),
    /// Enable add-ons for clusters
    Enable(enable::EnableArgs),
    /// Disable add-ons for clusters
    Disable(disable::DisableArgs),
}

/// Runs `addon`.
///
/// # Errors
///
/// Wrong flags, no such add-on or cluster, or a request that failed.
pub async fn run(session: &Session, command: &AddonCommand) -> anyhow::Result<()> {
    match command {
        AddonCommand::Create(args) => create::run(session, args).await,
        AddonCommand::Enable(args) => enable::run(session, args).await,
        AddonCommand::Disable(args) => disable::run(session, args).await,
    }
}

/// The add-ons in `--names`; there must be some.
fn addons(names: &[String]) -> anyhow::Result<BTreeSet<String>> {
    let names = split_names("add-on name", names)?;
    if names.is_empty() {
        bail!("names is missing; name one or more add-ons with --names, as 'get addon' lists them");
    }
    Ok(names)
}
