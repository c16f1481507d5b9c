//! The klusterlet: registration, works and status, for one WEC.
pub mod credentials;
pub(crate) mod deployment;
pub mod error;
pub mod install;
pub mod options;
pub mod registration;
pub mod secrets;
pub mod session;
