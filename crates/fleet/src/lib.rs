//! Simulated fleets and benchmarks, over the real agent and the real wire.
//!
//! ```text
//! hyades bench register ─▶ bench ─▶ hyades up, hyades serve, agents, clusteradm: real processes
//!                            │
//!                            └────▶ report: each number beside its target
//! ```

pub mod bench;
