//! Engines against what a real API server answered.

mod merge;
mod validate;
