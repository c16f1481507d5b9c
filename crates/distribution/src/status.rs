//! What comes back: from WorkStatuses to the objects' own status and to CombinedStatuses.
//!
//! ```text
//! ITS  WorkStatus ───────────┐
//! WDS  Binding ──────────────┤            ┌─▶ returned: decide, aggregate ─▶ the object's status
//! WDS  StatusCollector ──────┼─▶ model ───┤
//! WDS  objects ──────────────┘            └─▶ combined: row, answer ───────▶ CombinedStatus
//! ```
//!
//! - `model` holds what was seen, and tells whom each event concerns.
//! - `decide` says whose status becomes the object's own, `aggregate` makes one of several, and
//!   `returned` says what is to be written for that.
//! - `collector` compiles questions, `row` asks one WEC, `answer` puts the rows together, and
//!   `combined` makes the object; `number` writes numbers as Go does.
//! - `watches` watches, and `controller` alone writes.
//!
//! Returned status distributes nothing anew: it is written into `.status`, and said by the labels of
//! [`OF_THE_WDS`](hyades_api::control::names::labels::OF_THE_WDS), neither of which belongs to what
//! is compared and sent; and a Binding does not change with its objects' content.

mod aggregate;
mod answer;
mod collector;
mod combined;
mod controller;
mod decide;
mod model;
mod number;
mod returned;
mod row;
mod watches;

pub use controller::run;
