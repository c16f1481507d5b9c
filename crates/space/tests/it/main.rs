//! Spaces, whole and in process: a store in a temporary folder, no socket.

mod access;
mod controllers;
mod support;
