//! How it travels: from Bindings to works in the mailboxes of an ITS.
//!
//! ```text
//! WDS  Binding, the objects it names, CustomTransform ─┐
//! ITS  ManagedCluster, properties, ManifestWork ───────┤ watches
//!                                                      ▼
//!                                                    model ──▶ Bindings concerned ─▶ controller
//!                                                                                       │
//!      status of the Binding ◀── report ◀── seen works ◀── write ◀── actions ◀── plan ◀─┘
//!
//! plan, of each object:
//!      clean ─▶ transform ─┬─▶ the same for all WECs ──────────────────────┬─▶ wrap
//!                          └─▶ expand, with each WEC's own properties ─────┘
//! ```
//!
//! - `clean`, `transform`, `properties`, `expand` and `wrap` are the way of one object.
//! - `model` holds what was seen; an event tells which Bindings it concerns.
//! - `plan` decides which works a Binding means, and compares digests of their contents with those
//!   of the works that are there: what is the same is not written.
//! - `seen` reads works, and keeps a digest and the agent's word of each.
//! - `write` alone writes works, `controller` all else.
//!
//! What is in doubt stays as it is in the WECs: objects that cannot be read, templates that fail, WECs
//! that are not accepted, works of other WDSes. Nothing is deleted from a mailbox before all that may
//! replace it is there, and nothing is written before all of both spaces was listed once.

pub mod clean;
mod controller;
pub mod expand;
mod model;
mod plan;
pub mod properties;
mod report;
mod seen;
pub mod transform;
mod watches;
pub mod wrap;
mod write;

pub use controller::Options;
pub use controller::run;
