//! Distribution against real spaces, in process: a WDS and an ITS.

mod binding;
mod definitions;
mod fixture;
mod status;
mod transport;
