//! What a valid Kubernetes object is, and what two of them merge to. No IO.
//!
//! ```text
//!  built-in table ─┐                     ┌─▶ validate, default, prune
//!                  ├─▶ TypePool ─ TypeRef ┼─▶ strategic merge, server-side apply
//!  CRD schema ─────┘                     ├─▶ OpenAPI
//!                                        └─▶ protobuf transcoder
//! ```
//!
//! Built-in kinds and custom resources are described by one type graph ([`types`]), so that every
//! engine is written once. Objects are [`serde_json::Value`]s throughout.

pub mod builtin;
pub mod cel;
pub mod crd;
pub mod kinds;
pub mod merge;
pub mod openapi;
pub mod parse;
pub mod proto;
pub mod quantity;
pub mod selector;
pub mod table;
pub mod types;
pub mod validate;
