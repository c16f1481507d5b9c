//! Placement: which WECs a placement chooses, and keeping its decisions so.
//!
//! ```text
//! WECs, sets, bindings, ─▶ index ─▶ placements ─▶ snapshot ─▶ schedule ─▶ decisions, status, events
//! scores, placements,       what      one key        what       pure, on a      (writer)
//! decisions (watches)      changed     each        counts    thread of its own
//! ```
//!
//! `schedule` asks four questions in turn: does a WEC fit a predicate (`policy`, `selector`, `cel`),
//! do its taints keep it away (`tolerations`), who comes first (`prioritizers`), and how is the
//! choice divided (`groups`)?
//!
//! # What one change costs
//!
//! With N candidates of a placement, of which k changed since its last decision: k evaluations of
//! the predicates, the rest being remembered by version; O(N log N) comparisons of numbers to put
//! the candidates in order; and one write for each object of decisions whose members changed, of
//! up to 100 each. A change that no placement can see (a renewed lease, a condition) costs a
//! comparison of the two versions, and nothing for placements without CEL.
//!
//! # Where this is steadier than upstream
//!
//! - **A placement moves for a reason only**: a change of the placement, of a candidate, a set, a
//!   binding or a score; a toleration or a score that ends; somebody's change of its decisions. There
//!   is no resync, so nobody is moved because a timer struck.
//! - **The last good decisions stay** when a placement cannot be followed.
//! - **A WEC stays in its object of decisions**, so that one more costs one write, not one for every
//!   hundred.

mod cel;
mod controller;
mod groups;
mod index;
mod inspection;
mod membership;
mod planner;
mod policy;
mod prioritizers;
mod schedule;
mod selector;
mod snapshot;
mod tolerations;
mod writer;

pub(crate) use controller::Changes;
pub(crate) use controller::Shared;
pub(crate) use controller::run;
pub(crate) use membership::Membership;
pub use policy::Misconfigured;
pub use schedule::Decisions;
pub use schedule::schedule;
pub use snapshot::Candidate;
pub use snapshot::DecisionObject;
pub use snapshot::Snapshot;
pub use snapshot::Wec;
