//! The hub: acceptance, certificates, rights, mailboxes, liveness and clean-up on an ITS.
//!
//! ```text
//! clusteradm init ──applies──▶ install     operator's Deployment, bootstrap account, ClusterManager
//!                                 │
//!                                 ▼
//!                              operator    CRDs, namespaces, the hub's account and Deployment,
//!                                 │         policies about what may be written
//!                                 ▼
//! agents, administrators ◀──▶   hub        one reconciliation per inventory object; placements;
//!                                           works of whole placements; add-ons, which are
//!                                           converted by a webhook here
//! ```
//!
//! This crate knows the Kubernetes API and nothing about who serves it. Nobody here holds the
//! verbs `escalate` or `bind`: the hub itself holds every right it hands out, and the operator
//! holds every right of the hub, so an API server lets them grant these and nothing more.

mod addon;
pub mod hub;
pub mod install;
mod manifests;
pub mod operator;
pub mod placement;
mod policies;
mod rollout;
mod works;
