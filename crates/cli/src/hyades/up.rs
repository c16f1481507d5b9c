//! `hyades up`: an ITS, a WDS and some WECs from nothing, all registered and Available.
//!
//! ```text
//! host ─▶ spaces ─▶ contexts ─▶ ITS: clusteradm init ─┬▶ each WEC: join, accept ─▶ Available ─┬▶ table
//!                                                     └▶ WDS: wds init ─▶ distribution runs ──┘
//! ```
//!
//! The registration takes the path that `clusteradm` takes, function by function. Every step looks
//! at what is there first, so that `up` on a folder that holds all of it does nothing but wait
//! until its agents are back.

use super::contexts;
use super::registered::Registered;
use super::registration;
use super::registration::Hub;
use super::serving;
use super::serving::HostArgs;
use super::serving::told;
use super::wds;
use crate::console::quoted;
use crate::data_dir;
use crate::progress::Progress;
use crate::progress::table;
use crate::wait;
use anyhow::Context;
use anyhow::bail;
use futures::future::try_join_all;
use futures::try_join;
use hyades_host::Host;
use jiff::Timestamp;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// The inventory and transport space.
pub const ITS: &str = "its1";
/// The workload description space.
pub const WDS: &str = "wds1";
/// Most WECs of a demonstration: each is a space and two processes, some 30 MiB together.
const WECS_MAX: usize = 64;

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct UpArgs {
    /// How many WECs to make
    #[arg(long, value_name = "N", default_value_t = 2)]
    wecs: usize,
    /// Also write the contexts into this kubeconfig, which keeps what it holds
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Bound of every wait, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = wait::timeout_seconds())]
    timeout: u64,
    #[command(flatten)]
    pub host: HostArgs,
}

impl UpArgs {
    fn wecs(&self) -> anyhow::Result<Vec<String>> {
        if self.wecs > WECS_MAX {
            bail!(
                "--wecs {} is more than one host should run; ask for at most {WECS_MAX}, or add spaces with 'hyades space create NAME{}'",
                self.wecs,
                self.host.data_dir.flag()
            );
        }
        Ok((1..=self.wecs)
            .map(|number| format!("cluster{number}"))
            .collect())
    }
}

/// Runs `up` until it is stopped.
///
/// # Errors
///
/// The first step that failed.
pub fn run(args: &UpArgs) -> anyhow::Result<()> {
    let folder = &args.host.data_dir.resolve()?;
    let wecs = args.wecs()?;
    let names = space_names(&wecs);
    if let Some(file) = &args.kubeconfig {
        contexts::check(file, folder, &names)?;
    }
    let progress = Progress::start();
    serving::run(&args.host, folder, |host| async move {
        progress.total(&format!("serving {} from {}", host.url(), folder.display()));
        let setup = Setup {
            host: &host,
            folder,
            progress,
            timeout: Duration::from_secs(args.timeout),
        };
        setup.spaces(&names).await?;
        if let Some(file) = &args.kubeconfig {
            contexts::merge(file, folder, &host.id(), &names)?;
        }
        let wecs = setup.registrations(&wecs).await?;
        progress.total(&format!("ready: {}", counted(&wecs)));
        crate::console::print(&summary(&host, folder, args.kubeconfig.as_deref(), &names));
        super::detach::announce_ready(&args.host);
        Ok(())
    })
}

fn space_names(wecs: &[String]) -> Vec<String> {
    let fixed = [ITS, WDS].map(str::to_owned);
    fixed.into_iter().chain(wecs.iter().cloned()).collect()
}

fn counted(wecs: &[String]) -> String {
    match wecs {
        [] => "no WECs".to_owned(),
        [one] => format!("{one} is Joined and Available"),
        several => format!("{} are Joined and Available", several.join(", ")),
    }
}

struct Setup<'a> {
    host: &'a Host,
    folder: &'a Path,
    progress: Progress,
    timeout: Duration,
}

impl Setup<'_> {
    /// Makes the spaces that are not there.
    async fn spaces(&self, names: &[String]) -> anyhow::Result<()> {
        let present = self.host.spaces().await;
        for name in names {
            if present.iter().any(|space| &space.name == name) {
                continue;
            }
            let create = async { self.host.create_space(name).await.map_err(told) };
            let done = |_: &_| format!("space {name} created");
            self.progress
                .step(&format!("creating the space {name}"), create, done)
                .await?;
        }
        Ok(())
    }

    /// Initialises the ITS, then registers the WECs and initialises the WDS; those WECs that are
    /// Available in the end.
    async fn registrations(&self, wecs: &[String]) -> anyhow::Result<Vec<String>> {
        let its = registration::session(self.host, ITS, self.timeout).await?;
        let hub = Hub::new(its);
        self.progress
            .step(
                "initialising the hub in its1",
                hub.initialise(),
                |new| match new {
                    true => "its1 initialised as hub: its API is served".to_owned(),
                    false => "its1 is a hub already".to_owned(),
                },
            )
            .await?;
        let (wecs, ()) = try_join!(self.wecs(&hub, wecs), self.description())?;
        Ok(wecs)
    }

    /// Makes the WDS distribute by way of the ITS.
    async fn description(&self) -> anyhow::Result<()> {
        let initialise = wds::initialise_space(self.host, WDS, ITS, self.timeout);
        let done = |new: &bool| match new {
            true => "wds1 distributes by way of its1".to_owned(),
            false => "wds1 distributes again by way of its1".to_owned(),
        };
        self.progress
            .step("initialising wds1", initialise, done)
            .await?;
        Ok(())
    }

    /// Registers WECs; those that are Available in the end.
    async fn wecs(&self, hub: &Hub, wecs: &[String]) -> anyhow::Result<Vec<String>> {
        let mut registered = Registered::load(self.folder)?;
        let mut fresh = Vec::new();
        let mut known = Vec::new();
        for wec in wecs {
            match registered.contains(wec) {
                false => fresh.push(wec.clone()),
                true if hub.knows(wec).await? => known.push(wec.clone()),
                true => self.progress.total(&format!(
                    "{wec} was deregistered and stays so; register it again with 'clusteradm join'"
                )),
            }
        }
        if !fresh.is_empty() {
            self.register(hub, &fresh).await?;
            for wec in &fresh {
                registered.add(wec)?;
            }
        }
        self.available(hub, &fresh, &known).await?;
        let is_registered = |wec: &&String| fresh.contains(wec) || known.contains(wec);
        Ok(wecs.iter().filter(is_registered).cloned().collect())
    }

    /// Joins WECs and accepts them, all at once.
    async fn register(&self, hub: &Hub, wecs: &[String]) -> anyhow::Result<()> {
        let token = self
            .progress
            .step("getting a registration token", hub.token(), |_| {
                "registration token obtained".to_owned()
            })
            .await?;
        let token = &token;
        let one = async |wec: &String| {
            let session = registration::session(self.host, wec, self.timeout).await?;
            let join = registration::join(&session, hub, token);
            let done = |_: &()| format!("{wec} joined: agent installed");
            self.progress
                .step(&format!("joining {wec}"), join, done)
                .await?;
            let accept = hub.accept_when_asked(wec, &session);
            let done = |_: &()| format!("{wec} accepted");
            self.progress
                .step(&format!("accepting {wec}"), accept, done)
                .await
        };
        try_join_all(wecs.iter().map(one)).await?;
        Ok(())
    }

    /// Waits until every WEC is Joined and Available.
    async fn available(&self, hub: &Hub, fresh: &[String], known: &[String]) -> anyhow::Result<()> {
        let started = self.host.status().await.started;
        let wait = async |(wec, since): (&String, Option<Timestamp>)| {
            let session = registration::session(self.host, wec, self.timeout).await?;
            let wait = hub.wait_available(wec, since, &session);
            let done = |_: &()| format!("{wec} Joined and Available");
            self.progress
                .step(&format!("waiting for {wec} to be Available"), wait, done)
                .await
        };
        let fresh = fresh.iter().map(|wec| (wec, None));
        let known = known.iter().map(|wec| (wec, Some(started)));
        try_join_all(fresh.chain(known).map(wait))
            .await
            .context("the host stops; 'hyades up' continues from here")?;
        Ok(())
    }
}

/// The contexts and what to type next.
fn summary(host: &Host, folder: &Path, kubeconfig: Option<&Path>, names: &[String]) -> String {
    let mut rows = vec![
        ["CONTEXT", "ROLE", "API SERVER"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for name in names {
        let role = match name.as_str() {
            ITS => "ITS",
            WDS => "WDS",
            _ => "WEC",
        };
        let url = format!("{}/spaces/{name}", host.url());
        rows.push(vec![name.clone(), role.to_owned(), url]);
    }
    let wec = names
        .iter()
        .find(|name| ![ITS, WDS].contains(&name.as_str()));
    let look = wec.map(|wec| format!("  kubectl --context {wec} get pods -A\n"));
    let own = data_dir::kubeconfig(folder);
    let kubeconfig = kubeconfig.unwrap_or(&own);
    format!(
        "\n{}\nNext:\n  export KUBECONFIG={}\n  export PATH={}:$PATH\n  kubectl --context {ITS} get managedclusters\n{}  clusteradm --context {ITS} get token\n",
        table(&rows),
        quoted(kubeconfig),
        quoted(&data_dir::programs(folder)),
        look.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spaces_are_its_wds_and_the_wecs() {
        let wecs = ["cluster1".to_owned()];
        assert_eq!(space_names(&wecs), ["its1", "wds1", "cluster1"]);
    }
}
