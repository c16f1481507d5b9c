//! The klusterlet: registration, works and status, for one WEC.
pub(crate) mod deployment;
pub mod install;
pub mod options;
