//! What every controller needs: a client, backoff, queues, watches, health, logs and shutdown.
//!
//! ```text
//!  component::run ▶ log, crypto, shutdown ▶ client ▶ health ▶ the component's own main
//!
//!  API server ─watch─▶ controller::watch ─▶ Cache (shared store)
//!                              │
//!                              └─ change ─▶ Queue (one entry a key) ─▶ controller::work ─▶ reconcile
//!                                              ▲                              │
//!                                              └── backoff, or "again in …" ◀─┘
//! ```
//!
//! Nothing here knows a custom resource, a hub or an agent. Everything runs on one current-thread
//! tokio runtime: a controller waits far more than it computes, and one thread keeps an idle
//! process below ten megabytes.
//!
//! Not here: leader election. Hyades runs one replica of each component; a second would need it.

pub mod apply;
pub mod backoff;
pub mod client;
pub mod component;
pub mod controller;
pub mod events;
pub mod follow;
pub mod health;
pub mod log;
pub mod queue;
pub mod shutdown;
mod transport;
pub mod trouble;

pub use backoff::Backoff;
pub use component::Context;
pub use controller::Cache;
pub use health::Health;
pub use queue::Queue;
pub use trouble::Trouble;

pub use k8s_openapi;
pub use kube;
pub use tokio_util::sync::CancellationToken;
