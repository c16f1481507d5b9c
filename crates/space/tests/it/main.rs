//! Spaces in process: a store in a temporary folder, no socket. One binary, to link once.
//!
//! `bare` spaces let everybody do everything and run no controllers; `support` makes whole ones.

mod access;
mod alike;
mod bare;
mod controllers;
mod expired;
mod oracle;
mod oracle_whole;
mod policies;
mod quotas;
mod support;
mod watching;
mod wire;
mod writing;
