//! Distribution of a WDS's workload: what goes where, how it travels, what comes back.
//!
//! ```text
//!  WDS  objects, BindingPolicy ─▶ binding ─▶ Binding ─┐           object's status, CombinedStatus
//!                                    ▲                ▼                        ▲
//!                                    │            transport                 status
//!  ITS  ManagedCluster ──────────────┘                │                        │
//!                                                     ▼                        │
//!                                       ManifestWork in each WEC's mailbox ─▶ WorkStatus
//! ```
//!
//! - [`binding`] decides which objects and which WECs a policy means, and says so in a Binding.
//! - [`transport`] makes each WEC's works of a Binding's objects.
//! - [`status`] brings back what the WECs report.
//!
//! - [`its`] is the way to the ITS, [`install`] what a WDS and an ITS need first.
//!
//! The three know each other through the API only. One process serves one WDS; it knows the
//! Kubernetes API of its WDS and of its ITS, and not how either is served.

pub mod binding;
mod component;
pub mod install;
pub mod its;
pub mod object;
pub mod status;
pub mod transport;

pub use component::Options;
pub use component::run;
