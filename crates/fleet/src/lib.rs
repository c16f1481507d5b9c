//! Simulated fleets and benchmarks, over the real agent and the real wire.
