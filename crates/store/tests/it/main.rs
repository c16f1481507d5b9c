//! The store from outside: against a model, across crashes, under watchers.

mod crash;
mod files;
mod model;
mod watches;

use bytes::Bytes;
use hyades_store::Revision;

/// A value that carries its revision.
fn value(text: &str) -> impl FnOnce(Revision) -> Bytes + Send {
    let text = text.to_owned();
    move |revision| Bytes::from(format!("{text}@{revision}"))
}
