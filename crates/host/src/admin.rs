//! The admin socket: how commands talk to a running host.
//!
//! Whoever may open the socket (mode 0600) owns the data folder and so everything in it; there is
//! no further authentication.

mod client;
mod server;

use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

pub use client::AdminClient;
pub(crate) use server::bind;
pub(crate) use server::serve;

/// Largest body either side reads, in bytes: kubeconfigs and lists of spaces are some KiB.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// What a host says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Its process id.
    pub pid: u32,
    /// Its base URL.
    pub url: String,
    /// When it started.
    pub started: Timestamp,
    /// The spaces it serves.
    pub spaces: Vec<SpaceStatus>,
}

/// What a host says about a space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpaceStatus {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
}

/// The body that asks for a new space.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSpace {
    name: String,
}

/// The body of every failure.
#[derive(Debug, Serialize, Deserialize)]
struct Failure {
    error: String,
}
