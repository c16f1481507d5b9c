//! What goes where: from BindingPolicies to Bindings.
//!
//! ```text
//! WDS  discovery ─▶ kinds ─▶ watches ─metadata─┐
//! WDS  BindingPolicy ────────────────────────┐ │
//! ITS  ManagedCluster ─────────────────────┐ │ │
//!                                          ▼ ▼ ▼
//!                    clause, index ◀───── model ──▶ policies that changed ─▶ controller
//!                                                                              │
//!                                                     desired ─▶ Binding, status of the policy
//! ```
//!
//! - `clause` matches one object against one clause, `index` finds the clauses an object may match.
//! - `model` holds what was seen and what follows from it. An event costs the policies that may match
//!   the object, and tells which of them mean something else now.
//! - `desired` says what a policy's Binding and status are to be.
//! - `kinds` decides which resources are watched, and in which version; `watches` watches them.
//! - `controller` alone talks to servers.
//!
//! Of objects the metadata alone is read and kept. A Binding is written when the objects, the WECs
//! or the treatment change, not when an object's content does: that concerns transport, which reads
//! the objects themselves.

mod clause;
mod controller;
mod desired;
mod index;
pub(crate) mod kinds;
mod model;
mod watches;

pub use controller::Options;
pub use controller::run;
pub use watches::Connect;
