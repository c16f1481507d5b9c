//! What two versions of an object merge to, and who owns which of its fields.
//!
//! ```text
//!  JSON patch, merge patch ───────────────▶ patch
//!  strategic merge patch ─────────────────▶ strategic
//!
//!  create, update, patch ─▶ track ─┐
//!                                  ├─▶ compare ─▶ field_set ─▶ managers ─▶ metadata.managedFields
//!  server-side apply ─────▶ apply ─┘      ▲
//!                             └─▶ combine ┘
//! ```
//!
//! Every walk goes over a [`view`]: a place in the type graph, or no type at all, in which case
//! maps are granular, and lists and scalars are owned as a whole.

mod apply;
mod combine;
mod compare;
mod config;
mod configure;
mod field_set;
mod last_applied;
mod managers;
mod patch;
mod strategic;
mod track;
mod view;
mod zero;

#[cfg(test)]
mod tests;

pub use apply::ApplyError;
pub use apply::ApplyRequest;
pub use apply::Conflict;
pub use apply::Conflicts;
pub use apply::apply;
pub use configure::configure;
pub use field_set::FieldSet;
pub use field_set::PathElement;
pub use managers::MAX_UPDATE_MANAGERS;
pub use managers::Operation;
pub use patch::MAX_JSON_PATCH_OPERATIONS;
pub use patch::PatchError;
pub use patch::json_patch;
pub use patch::merge_patch;
pub use strategic::strategic_merge;
pub use track::TrackRequest;
pub use track::track_update;
