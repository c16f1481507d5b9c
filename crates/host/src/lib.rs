//! Serves many spaces on one TLS port, from one data folder.
//!
//! ```text
//!  connection ─▶ server: TLS, limits ─▶ router: /spaces/NAME/… ─▶ the space's own service
//!
//!  hyades space …, down ─▶ AdminClient ─▶ host.sock ─▶ admin ─▶ Host ─▶ launch ─▶ store, space, node
//!                                                               │
//!                                                               └─▶ folder: lock, keys, kubeconfig
//! ```
//!
//! The host knows names, addresses, keys and files. It knows nothing of users, objects or
//! permissions: those are each space's own.

mod address;
mod admin;
mod contexts;
mod error;
mod folder;
mod host;
mod launch;
mod name;
mod router;
mod server;
mod serving;
mod tls;

pub use admin::AdminClient;
pub use admin::HostStatus;
pub use admin::SpaceStatus;
pub use error::HostError;
pub use host::Host;
pub use host::HostOptions;
pub use hyades_node::simulation;
pub use name::SpaceName;
pub use tls::server_config;
