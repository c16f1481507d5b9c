//! The Kubernetes API over a store, as a tower service.
//!
//! ```text
//!  request ▶ authenticate ▶ authorise ▶ admit ▶ validate ▶ commit ▶ publish
//! ```

pub mod identity;
