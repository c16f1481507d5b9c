//! Simulated fleets and benchmarks, over the real agent and the real wire.
//!
//! ```text
//! hyades bench register, hyades bench join
//!        └─▶ bench ─▶ hyades up, hyades serve, agents, clusteradm: real processes
//!              ├────▶ fleet: many real agents in this process, over the real wire
//!              └────▶ report: each number beside its target
//! ```

pub mod bench;
