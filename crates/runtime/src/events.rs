//! Kubernetes Events: what a controller did, told where people look for it.

use crate::trouble::Trouble;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Api;
use kube::Client;
use kube::Resource;
use kube::api::PostParams;
use serde_json::Value;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

/// An Event repeated word for word within this time is not written again: a retry loop must not
/// fill the namespace.
const REPEAT_AFTER: Duration = Duration::from_secs(600);

/// Remembered Events: more distinct ones within [`REPEAT_AFTER`] only cost repeats.
const MAX_REMEMBERED: usize = 64;

/// The API server's limit for a note; longer ones are cut.
const MAX_NOTE_BYTES: usize = 1024;

/// Whether an Event reports normal running or trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// Normal running.
    Normal,
    /// Something a person may have to look at.
    Warning,
}

impl EventType {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Writes Events of one component. Failures are logged and forgotten: Events are hints.
pub struct Recorder {
    client: Client,
    component: String,
    instance: String,
    recent: Mutex<VecDeque<(Instant, String)>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Recorder")
            .field("component", &self.component)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder for `component`, running as `instance` (the pod's name).
    pub fn new(client: Client, component: &str, instance: &str) -> Self {
        Self {
            client,
            component: component.to_owned(),
            instance: instance.to_owned(),
            recent: Mutex::new(VecDeque::new()),
        }
    }

    /// Writes an `events.k8s.io/v1` Event about `regarding` into `namespace`. What lies in no
    /// namespace is told of as if it lay in this one: a server refuses other Events about it.
    pub async fn record(
        &self,
        namespace: &str,
        regarding: &ObjectReference,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        if self.is_repeat(namespace, regarding, reason, note) {
            return;
        }
        let mut regarding = regarding.clone();
        regarding
            .namespace
            .get_or_insert_with(|| namespace.to_owned());
        let event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": event_name(&regarding), "namespace": namespace},
            "eventTime": micro_time(),
            "type": kind.name(),
            "reason": reason,
            "note": cut(note),
            "action": reason,
            "regarding": regarding,
            "reportingController": self.component,
            "reportingInstance": self.instance,
        });
        self.post::<k8s_openapi::api::events::v1::Event>(namespace, event)
            .await;
    }

    /// Writes a core `v1` Event about `regarding` into `namespace`.
    pub async fn record_core(
        &self,
        namespace: &str,
        regarding: &ObjectReference,
        kind: EventType,
        reason: &str,
        message: &str,
    ) {
        if self.is_repeat(namespace, regarding, reason, message) {
            return;
        }
        let now = format!("{:.0}", Timestamp::now());
        let event = json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": event_name(regarding), "namespace": namespace},
            "involvedObject": regarding,
            "type": kind.name(),
            "reason": reason,
            "message": cut(message),
            "source": {"component": self.component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        });
        self.post::<k8s_openapi::api::core::v1::Event>(namespace, event)
            .await;
    }

    async fn post<K>(&self, namespace: &str, event: Value)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + serde::Serialize
            + serde::de::DeserializeOwned
            + Clone
            + std::fmt::Debug,
    {
        let event: K = match serde_json::from_value(event) {
            Ok(event) => event,
            Err(error) => return tracing::debug!("built an Event: {error}"),
        };
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::debug!("wrote an Event in {namespace}: {}", Trouble::of(&error));
        }
    }

    fn is_repeat(
        &self,
        namespace: &str,
        regarding: &ObjectReference,
        reason: &str,
        note: &str,
    ) -> bool {
        let name = regarding.name.as_deref().unwrap_or_default();
        let key = format!("{namespace}\n{name}\n{reason}\n{note}");
        let mut recent = self
            .recent
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        recent.retain(|(at, _)| at.elapsed() < REPEAT_AFTER);
        if recent.iter().any(|(_, known)| *known == key) {
            return true;
        }
        if recent.len() >= MAX_REMEMBERED {
            recent.pop_front();
        }
        recent.push_back((Instant::now(), key));
        false
    }
}

fn micro_time() -> String {
    format!("{:.6}", Timestamp::now())
}

/// The object's name and the time in hexadecimal nanoseconds, as event names are by custom.
fn event_name(regarding: &ObjectReference) -> String {
    let name = regarding.name.as_deref().unwrap_or("unknown");
    format!("{name}.{:x}", Timestamp::now().as_nanosecond())
}

fn cut(text: &str) -> &str {
    if text.len() <= MAX_NOTE_BYTES {
        return text;
    }
    let mut end = MAX_NOTE_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        let note = "é".repeat(MAX_NOTE_BYTES);
        assert!(cut(&note).len() <= MAX_NOTE_BYTES);
        assert_eq!(cut("short"), "short");
    }
}
