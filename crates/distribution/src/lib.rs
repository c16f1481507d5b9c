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
//! The three know each other through the API only. One process serves one WDS; it knows the
//! Kubernetes API of its WDS and of its ITS, and not how either is served.

pub mod binding;
pub mod object;
pub mod status;
pub mod transport;
