//! Many real agents in one process, over the real wire.
//!
//! ```text
//! Fleet::furnish ─▶ one space in this process: a namespace and a bootstrap Secret for each agent
//! Fleet::start ───▶ a thread of its own: each agent a task of it ──TLS──▶ the hub under measurement
//! ```
//!
//! The agents are those of the product, registration and works in one. They share one WEC, each in
//! its namespace, because a thousand API servers would be what is measured; what an agent and its
//! hub say to each other is not touched by that.

use super::WRITES_AT_A_TIME;
use super::joins::MANAGER;
use super::joins::define;
use super::joins::namespace;
use anyhow::Context as _;
use anyhow::anyhow;
use clap::Args;
use clap::FromArgMatches;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use hyades_agent::options::KlusterletAgentOptions;
use hyades_agent::singleton;
use hyades_pki::Authority;
use hyades_pki::ServiceAccountKey;
use hyades_pki::Validity;
use hyades_runtime::CancellationToken;
use hyades_runtime::Context;
use hyades_runtime::apply;
use hyades_runtime::kube::Client;
use hyades_space::Space;
use hyades_space::SpaceOptions;
use hyades_space::identity::UserInfo;
use hyades_store::Store;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::thread::JoinHandle;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// Agents that wait to be started: all of them, at the count's limit.
const STARTS_MAX: usize = super::COUNT_MAX as usize;

/// Seconds for which the space's authority is valid: longer than any run.
const AUTHORITY_SECONDS: i64 = 24 * 3600;

/// One agent to start.
struct Start {
    name: String,
    alive: CancellationToken,
}

/// Agents in this process, and the WEC they share.
pub(super) struct Fleet {
    wec: Client,
    space: Space,
    starts: mpsc::Sender<Start>,
    alive: HashMap<String, CancellationToken>,
    /// Ends when `starts` is dropped.
    thread: JoinHandle<()>,
}

impl Fleet {
    /// Serves the WEC from `folder`, and has a thread ready for the agents.
    pub(super) async fn prepare(folder: &Path) -> anyhow::Result<Self> {
        let valid = Validity::starting(Timestamp::now(), AUTHORITY_SECONDS);
        let authority = Authority::new("fleet", valid).context("make an authority")?;
        let store = Store::open(&folder.join("fleet.redb"), Default::default())
            .map_err(|error| anyhow!("open a store for the fleet: {error}"))?;
        let space = Space::start(SpaceOptions {
            name: "fleet".to_owned(),
            store,
            serving_ca_pem: authority.certificate_pem(),
            client_ca: authority,
            service_account_key: ServiceAccountKey::generate(),
            public_url: "https://localhost/spaces/fleet".to_owned(),
            pod_logs: None,
        })
        .await
        .context("serve a space for the fleet")?;
        let wec = Client::new(space.service_as(administrator()), "default");
        define(&wec, "the fleet's WEC").await?;
        let (starts, receiver) = mpsc::channel(STARTS_MAX);
        let served = space.clone();
        let thread = std::thread::Builder::new()
            .name("fleet".to_owned())
            .spawn(move || run(&served, receiver))
            .context("start a thread for the fleet")?;
        Ok(Self {
            wec,
            space,
            starts,
            alive: HashMap::new(),
            thread,
        })
    }

    /// Puts into the WEC what each agent finds there.
    pub(super) async fn furnish(&self, names: &[String], bootstrap: &Value) -> anyhow::Result<()> {
        let one = async |name: &String| {
            let mut secret = bootstrap.clone();
            secret["metadata"]["namespace"] = json!(name);
            apply::ensure(&self.wec, MANAGER, &namespace(name)).await?;
            apply::ensure(&self.wec, MANAGER, &secret).await?;
            anyhow::Ok(())
        };
        stream::iter(names)
            .map(one)
            .buffer_unordered(WRITES_AT_A_TIME)
            .try_collect()
            .await
    }

    /// Starts an agent, or starts it again.
    pub(super) async fn start(&mut self, name: &str) -> anyhow::Result<()> {
        let alive = CancellationToken::new();
        self.alive.insert(name.to_owned(), alive.clone());
        let name = name.to_owned();
        let sent = self.starts.send(Start { name, alive }).await;
        sent.map_err(|_| anyhow!("the fleet's thread has ended"))
    }

    /// Ends an agent as a power cut does: in the midst of whatever it does.
    pub(super) fn kill(&mut self, name: &str) {
        if let Some(alive) = self.alive.remove(name) {
            alive.cancel();
        }
    }

    /// Ends all agents, and awaits the end of their thread.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.alive.values().for_each(CancellationToken::cancel);
        drop(self.starts);
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        drop(self.space);
        match joined.context("await the fleet's end")? {
            Ok(()) => Ok(()),
            Err(_) => Err(anyhow!("the fleet's thread panicked")),
        }
    }
}

/// The agents' thread.
fn run(space: &Space, mut starts: mpsc::Receiver<Start>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    // Whoever starts agents finds the thread ended.
    let Ok(runtime) = runtime else { return };
    let agents = LocalSet::new();
    agents.block_on(&runtime, async {
        while let Some(Start { name, alive }) = starts.recv().await {
            let agent = agent(space, name);
            tokio::task::spawn_local(async move {
                tokio::select! {
                    () = alive.cancelled() => {}
                    // An agent that ends by itself is missed by those who wait for its WEC.
                    _ = agent => {}
                }
            });
        }
    });
}

fn agent(space: &Space, name: String) -> impl Future<Output = ()> + use<> {
    let client = Client::new(space.service_as(administrator()), &name);
    let context = Context::new(client, &name, &name);
    async move {
        let Ok(options) = options(&name) else { return };
        // The futures of the agents are large, and a task holds them anyway.
        let _ = Box::pin(singleton::run(options, context)).await;
    }
}

/// The options of an agent with the defaults of the command line.
fn options(name: &str) -> Result<KlusterletAgentOptions, clap::Error> {
    let command = KlusterletAgentOptions::augment_args(clap::Command::new("agent"));
    let name = format!("--spoke-cluster-name={name}");
    let matches = command.try_get_matches_from(["agent", &name])?;
    KlusterletAgentOptions::from_arg_matches(&matches)
}

fn administrator() -> UserInfo {
    let groups = ["system:masters", "system:authenticated"];
    UserInfo {
        name: "admin".to_owned(),
        groups: groups.map(str::to_owned).to_vec(),
        ..UserInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_have_the_defaults_of_the_command_line() {
        let options = options("edge1").expect("options");
        assert_eq!(options.common.spoke_cluster_name, "edge1");
        assert_eq!(
            options.common.bootstrap_kubeconfig_secret,
            hyades_api::names::BOOTSTRAP_HUB_KUBECONFIG_SECRET
        );
    }
}
