//! Publishing: what happens, in this order, when a batch may be seen.

use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;

use crate::Event;
use crate::Hook;
use crate::Options;
use crate::types::covers;
use crate::watch::Index;

/// The listeners of a store. Its lock is held while a batch is published and while a listener is
/// added, so that no event falls between a listener's start and its first event.
#[derive(Default)]
pub(crate) struct Publisher {
    hooks: Vec<(String, Hook)>,
    pub(crate) watchers: Index,
    closed: bool,
}

impl Publisher {
    /// Adds a hook, having called it for the events of the present state.
    pub(crate) fn add_hook(&mut self, prefix: &str, hook: Hook, present: Vec<Event>) {
        present.iter().for_each(|event| call(prefix, &hook, event));
        self.hooks.push((prefix.to_owned(), hook));
    }

    /// Tells every listener that nothing more will come.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.hooks.clear();
        self.watchers.close();
    }

    /// Whether the store has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Calls hooks, then fills mailboxes.
    pub(crate) fn publish(&mut self, events: &[Arc<Event>], options: &Options) {
        for event in events {
            for (prefix, hook) in &self.hooks {
                if covers(prefix, &event.key) {
                    call(prefix, hook, event);
                }
            }
            self.watchers.deliver(event, options);
        }
    }
}

/// Calls a hook; one that panics must not take the commit thread, and so every writer, with it.
fn call(prefix: &str, hook: &Hook, event: &Event) {
    if catch_unwind(AssertUnwindSafe(|| hook(event))).is_err() {
        tracing::error!(prefix, key = %event.key, "a hook of the store panicked; its cache may be stale");
    }
}
