//! The Kubernetes API over a store, as a tower service.
//!
//! ```text
//!                      ┌──────────────── guard (access) ────────────────┐
//!  request ▶ server ▶ authenticate ▶ authorise ▶ resources ▶ admit ▶ validate ▶ write ▶ store
//!     ▲                   │                        │                                     │
//!     │                paths: discovery,        read, list ◀──── entries ────────────────┤
//!     │                OpenAPI, health             │                                     │
//!     └───── encode ◀──────────────────────────────┴─ watch ◀──── events ────────────────┘
//! ```
//!
//! One pipeline for every kind and every writer: the space's own controllers enter it through
//! [`loopback`]. What is true of single kinds stands in `strategy`; everything else about a kind is
//! data, in the schema's tables or in a CustomResourceDefinition.

pub mod access;
mod admission;
mod body;
mod cache;
pub mod controllers;
mod conversion;
mod core;
mod custom;
mod delete;
mod discovery;
mod documents;
mod encode;
mod engines;
pub mod guard;
pub mod identity;
mod list;
pub mod logs;
pub mod loopback;
pub mod names;
mod negotiate;
pub mod object;
mod patch;
mod paths;
mod policies;
mod query;
mod quotas;
mod read;
pub mod registry;
mod request;
mod resources;
mod selection;
mod server;
mod space;
mod start;
pub mod status;
mod strategy;
mod subresource;
mod table;
mod watch;
mod write;

pub use custom::CustomDefinition;
pub use custom::CustomVersion;
pub use delete::CUSTOM_RESOURCE_FINALIZER;
pub use delete::DeleteOptions;
pub use delete::Propagation;
pub use paths::KUBERNETES_VERSION;
pub use server::Authenticated;
pub use server::Body;
pub use server::PeerCertificate;
pub use server::SpaceService;
pub use space::Space;
pub use start::SpaceOptions;
pub use start::StartError;
