//! The klusterlet: registration, works and status, for one WEC.
//!
//! ```text
//!  install ──objects──▶ operator ──Deployments──▶ registration ─┐
//!                                                work ──────────┤ or singleton: both in a process
//!                                                               │
//!    WEC ◀── objects, AppliedManifestWorks ── work ◀── session ─┴─ registration ──▶ hub
//! ```
//!
//! A [`session::Session`] is the agent's own identity at the hub; registration obtains and renews
//! it, works use it. Everything is kept in two Secrets of the WEC; a process that dies loses
//! nothing.
//!
//! Not here: anything that serves an API. The agent knows Kubernetes APIs only, and works for a
//! WEC and a hub of any make.

pub(crate) mod addon;
pub mod clock;
pub mod credentials;
pub(crate) mod deployment;
pub mod endpoint;
pub mod error;
pub mod install;
pub mod operator;
pub mod options;
pub mod registration;
pub(crate) mod review;
pub mod secrets;
pub mod session;
pub mod singleton;
pub(crate) mod token;
pub(crate) mod wec;
pub mod work;
