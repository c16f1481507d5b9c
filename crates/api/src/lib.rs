//! What the custom resources look like: types, CRD manifests, names, labels, conditions, typed
//! identities.
//!
//! ```text
//! crds/*.schema ──notation──▶ crds    complete CustomResourceDefinition objects
//! cluster, placement, work, operator, addon,
//! join, profile, capi                     typed views of the kinds, for kube's `Api`
//! control                             the kinds shared with KubeStellar
//! names, conditions, features         the vocabulary shared with Open Cluster Management
//! labelling                           the labels of what operators make
//! identity, image                     strings from outside, parsed once into types
//! ```
//!
//! Nothing here reads a file, opens a connection or asks for the time: callers pass the time in.

pub mod addon;
pub mod capi;
pub mod cluster;
pub mod conditions;
pub mod control;
pub mod crds;
pub mod features;
pub mod identity;
pub mod image;
pub mod join;
mod kind;
pub mod labelling;
pub mod names;
pub mod operator;
pub mod placement;
pub mod profile;
pub mod rollout;
pub mod work;
