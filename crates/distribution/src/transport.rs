//! How it travels: from Bindings to works in the mailboxes of an ITS.
//!
//! ```text
//!  object ─▶ clean ─▶ transform ─┬─▶ the same for all WECs ────────┬─▶ wrap ─▶ works
//!            CustomTransforms ───┘   expand, with each WEC's ──────┘
//!                                    properties
//! ```

pub mod clean;
pub mod expand;
pub mod properties;
pub mod transform;
pub mod wrap;
