//! Runs the pods of a served space whose image is Hyades itself, as child processes.
//!
//! ```text
//!  Deployment ─▶ ReplicaSet ─▶ Pod ─▶ admit ─▶ child process ─▶ log file
//!      ▲             ▲          ▲                   │  ▲
//!      └── status ───┴── status ┴──── status ───────┘  └── probes
//! ```
//!
//! A served space has one node: the host. Any image other than Hyades' own stays Pending, with an
//! event that says why, unless the node is told to simulate it. The crate talks to its space through the Kubernetes API only.
//!
//! A space that is a WDS describes workloads for others: of those nothing is run there at all.
//!
//! What is deliberately absent: containers, volumes and pod networks. Every process shares the
//! host's loopback, so each declared container port is given a free port of its own, which the
//! process finds in `HYADES_PORT_<containerPort>`.

pub mod admit;
mod container;
mod controllers;
mod credentials;
pub mod deployment;
pub mod logs;
mod machine;
mod pod_task;
mod pods;
pub mod probe;
pub mod process;
pub mod replica_set;
mod role;
pub mod simulation;
pub mod status;

use std::path::PathBuf;

use hyades_runtime::kube::Client;
use role::Role;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What a process node needs to know.
#[derive(Clone)]
pub struct NodeOptions {
    /// A client of the space, allowed to do everything in it; usually in process.
    pub client: Client,
    /// The name of the node object, as `kubectl get nodes` shows it.
    pub node_name: String,
    /// The space's address, for the pods' kubeconfigs.
    pub server_url: String,
    /// The PEM bundle that the address is trusted by.
    pub server_ca_pem: String,
    /// The folder for the pods' kubeconfigs and logs.
    pub pods_dir: PathBuf,
    /// The Hyades binary that pods run.
    pub binary: PathBuf,
    /// How pods are simulated that it cannot run; they stay Pending if not at all.
    pub simulation: Option<simulation::Simulation>,
}

/// Runs pods, and the controllers that make them.
async fn run(options: NodeOptions, stop: CancellationToken) {
    let client = options.client.clone();
    let role = tokio::select! {
        () = stop.cancelled() => return,
        role = Role::of(&client) => role,
    };
    let simulated = async {
        if options.simulation.is_some() {
            simulation::workloads::run(client.clone(), &role, stop.clone()).await;
        }
    };
    tokio::join!(
        deployment::run(client.clone(), &role, stop.clone()),
        replica_set::run(client.clone(), &role, stop.clone()),
        simulated,
        pods::run(options.clone(), &role, stop.clone()),
    );
}

/// A running process node.
pub struct Node {
    stop: CancellationToken,
    tasks: JoinSet<()>,
    logs: logs::PodLogs,
}

impl Node {
    /// Starts the node: registers its node object and begins to run pods.
    pub fn start(options: NodeOptions) -> Node {
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(machine::run(options.clone(), stop.clone()));
        let logs = logs::PodLogs::new(options.pods_dir.clone());
        tasks.spawn(run(options, stop.clone()));
        Node { stop, tasks, logs }
    }

    /// The logs of this node's pods.
    pub fn logs(&self) -> logs::PodLogs {
        self.logs.clone()
    }

    /// Stops all child processes (SIGTERM, then SIGKILL after their grace period) and the node.
    ///
    /// Pod objects stay as they are: the next start runs them again.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
