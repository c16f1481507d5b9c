//! Between the space, which is asked for logs by pod name, and the node, which keeps them by uid.

use std::io;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use futures::FutureExt;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyades_node::logs::LogQuery;
use hyades_space::logs::LogOptions;
use hyades_space::logs::PodLogs;
use hyades_space::loopback::Loopback;
use hyades_space::names::Gvr;
use hyades_space::status::Status;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;

/// The logs of a space's node; attached once the node runs.
#[derive(Default)]
pub(super) struct NodeLogs {
    attached: Mutex<Option<Attached>>,
}

#[derive(Clone)]
struct Attached {
    loopback: Loopback,
    logs: hyades_node::logs::PodLogs,
}

impl NodeLogs {
    /// The node runs.
    pub(super) fn attach(&self, loopback: Loopback, logs: hyades_node::logs::PodLogs) {
        *self.slot() = Some(Attached { loopback, logs });
    }

    /// The node has stopped; frees the space, which holds these logs.
    pub(super) fn detach(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Attached>> {
        self.attached.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PodLogs for NodeLogs {
    fn read(
        &self,
        namespace: &str,
        pod: &str,
        options: &LogOptions,
    ) -> BoxFuture<'static, Result<BoxStream<'static, Bytes>, Status>> {
        let attached = self.slot().clone();
        let (namespace, pod, options) = (namespace.to_owned(), pod.to_owned(), options.clone());
        async move {
            let Some(Attached { loopback, logs }) = attached else {
                return Err(Status::unavailable("the space's node is not running"));
            };
            let object = loopback.get(&Gvr::PODS, Some(&namespace), &pod)?;
            let container = container(&object, &pod, &options.container)?;
            let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
            let query = query(&options, Timestamp::now());
            let lines = logs.read(uid, &container, query).await;
            let lines = lines.map_err(|error| unreadable(&error, &container, &pod))?;
            // A log that breaks off cannot say so once its answer has begun.
            let bytes = lines.filter_map(async |line| line.ok().map(Bytes::from));
            Ok(bytes.boxed())
        }
        .boxed()
    }
}

/// The container meant: the one named, or the only one there is.
fn container(pod: &Value, pod_name: &str, wanted: &str) -> Result<String, Status> {
    let containers = pod["spec"]["containers"].as_array();
    let names: Vec<&str> = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    match (wanted, &names[..]) {
        ("", [only]) => Ok((*only).to_owned()),
        ("", _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            names.join(" ")
        ))),
        (wanted, names) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (wanted, _) => Err(Status::bad_request(format!(
            "container {wanted} is not valid for pod {pod_name}"
        ))),
    }
}

fn query(options: &LogOptions, now: Timestamp) -> LogQuery {
    let since = |seconds: i64| {
        let ago = SignedDuration::from_secs(seconds.max(0));
        now.checked_sub(ago).unwrap_or(Timestamp::MIN)
    };
    LogQuery {
        follow: options.follow,
        tail_lines: options
            .tail_lines
            .and_then(|lines| usize::try_from(lines).ok()),
        since: options.since_seconds.map(since),
        previous: options.previous,
        timestamps: options.timestamps,
        limit_bytes: options
            .limit_bytes
            .and_then(|bytes| u64::try_from(bytes).ok()),
    }
}

fn unreadable(error: &io::Error, container: &str, pod: &str) -> Status {
    match error.kind() {
        io::ErrorKind::NotFound => Status::bad_request(format!(
            "container \"{container}\" in pod \"{pod}\" has no such log: {error}"
        )),
        _ => Status::internal(&format!("the log of pod {pod} cannot be read: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_container_need_not_be_named() {
        let pod = |names: &[&str]| {
            let containers: Vec<Value> = names
                .iter()
                .map(|name| serde_json::json!({ "name": name }))
                .collect();
            serde_json::json!({"spec": {"containers": containers}})
        };
        let refused = |names: &[&str], wanted| {
            container(&pod(names), "p", wanted)
                .expect_err("refused")
                .message
        };
        assert_eq!(container(&pod(&["a"]), "p", "").expect("the only one"), "a");
        assert_eq!(container(&pod(&["a", "b"]), "p", "b").expect("named"), "b");
        assert_eq!(
            refused(&["a", "b"], ""),
            "a container name must be specified for pod p, choose one of: [a b]"
        );
        assert_eq!(refused(&["a"], "c"), "container c is not valid for pod p");
    }
}
