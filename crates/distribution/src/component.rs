//! The program that serves one WDS.

use crate::binding;
use crate::install::WdsName;
use crate::its::Access;
use crate::its::ItsError;
use crate::status;
use crate::transport;
use futures::future;
use hyades_runtime::Context;
use hyades_runtime::client;
use hyades_runtime::component;

/// The flags of distribution.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Name of the WDS, as works in the ITS are labelled with it
    #[arg(long)]
    pub wds_name: WdsName,
    /// What of the WDS is seen.
    #[command(flatten)]
    pub binding: binding::Options,
    /// How objects travel.
    #[command(flatten)]
    pub transport: transport::Options,
}

/// Runs distribution for the WDS that the context's client reaches, until shutdown or until the
/// token for the ITS is replaced.
///
/// # Errors
///
/// When the way to the ITS is not known. What fails later is tried again and told in the log and in
/// the policies' status.
pub async fn run(options: Options, context: Context) -> Result<(), ItsError> {
    let config = client::local_config().await?;
    let wds = context.client.clone();
    let access = Access::read(&wds).await?;
    let agent = component::user_agent("distribution");
    let first = wds.clone();
    // A configuration that has made one client makes another.
    let connect = move || client::connect(config.clone(), &agent).unwrap_or(first.clone());
    let binding = binding::run(
        options.binding,
        Box::new(connect.clone()),
        access.client.clone(),
        &context.health,
        context.shutdown.clone(),
    );
    let status = status::run(
        options.wds_name.as_str(),
        Box::new(connect.clone()),
        access.client.clone(),
        &context.health,
        context.shutdown.clone(),
    );
    let transport = transport::run(
        options.transport,
        options.wds_name.to_string(),
        Box::new(connect),
        access.client.clone(),
        &context.health,
        context.shutdown.clone(),
    );
    tokio::select! {
        _ = future::join3(binding, transport, status) => {}
        () = access.keep(&wds, &options.wds_name) => context.shutdown.cancel(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct CommandLine {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_flags_are_those_of_upstream() {
        let words = ["distribution", "--wds-name=wds1", "--api-groups=,apps"];
        let CommandLine { options } = CommandLine::try_parse_from(words).expect("flags");
        assert_eq!(options.wds_name.as_str(), "wds1");
        assert_eq!(options.binding.api_groups, ["", "apps"]);
        assert!(CommandLine::try_parse_from(["distribution"]).is_err());
    }
}
