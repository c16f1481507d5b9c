//! Watches the space's pods and gives each a task of its own.

use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::WatchStreamExt;
use hyades_runtime::kube::runtime::watcher;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::NodeOptions;
use crate::pod_task;
use crate::role::Role;

/// A pod's newest version, or `None` once the space has none.
pub(crate) type Latest = Option<Arc<Pod>>;

pub(crate) async fn run(options: NodeOptions, role: &Role, stop: CancellationToken) {
    let options = Arc::new(options);
    let pods = Api::<Pod>::all(options.client.clone());
    let events = watcher(pods, watcher::Config::default()).default_backoff();
    let mut events = std::pin::pin!(events);
    let mut tasks = Tasks::default();
    let mut listed: Option<Vec<String>> = None;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => break,
            Some(ended) = tasks.set.join_next(), if !tasks.set.is_empty() => {
                if let Ok(uid) = ended {
                    tasks.senders.remove(&uid);
                }
                continue;
            }
            event = events.next() => event,
        };
        match event {
            Some(Ok(watcher::Event::Init)) => listed = Some(Vec::new()),
            Some(Ok(watcher::Event::InitApply(pod))) => {
                if let Some(listed) = &mut listed {
                    listed.push(pod.uid().unwrap_or_default());
                }
                tasks.update(&options, role, pod, &stop);
            }
            Some(Ok(watcher::Event::InitDone)) => {
                tasks.keep_only(&listed.take().unwrap_or_default())
            }
            Some(Ok(watcher::Event::Apply(pod))) => tasks.update(&options, role, pod, &stop),
            Some(Ok(watcher::Event::Delete(pod))) => tasks.gone(&pod.uid().unwrap_or_default()),
            Some(Err(error)) => tracing::debug!(%error, "the pods' watch is resumed"),
            None => break,
        }
    }
    // The tasks saw the same token and stop their processes within their grace periods.
    while tasks.set.join_next().await.is_some() {}
}

#[derive(Default)]
struct Tasks {
    senders: HashMap<String, watch::Sender<Latest>>,
    set: JoinSet<String>,
}

impl Tasks {
    fn update(
        &mut self,
        options: &Arc<NodeOptions>,
        role: &Role,
        mut pod: Pod,
        stop: &CancellationToken,
    ) {
        pod.metadata.managed_fields = None;
        let uid = pod.uid().unwrap_or_default();
        let pod = Arc::new(pod);
        if let Some(sender) = self.senders.get(&uid) {
            sender.send_replace(Some(pod));
            return;
        }
        // Pods that have run to their end need no task; deleting ones still do.
        let phase = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        let finished = matches!(phase, Some("Succeeded" | "Failed"));
        if finished && pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        if role.leaves_alone(pod.spec.as_ref()) {
            return;
        }
        let running = self.senders.len();
        let (sender, latest) = watch::channel(Some(pod));
        self.senders.insert(uid.clone(), sender);
        let task = pod_task::run(Arc::clone(options), latest, running, stop.clone());
        self.set.spawn(async move {
            task.await;
            uid
        });
    }

    fn gone(&mut self, uid: &str) {
        if let Some(sender) = self.senders.get(uid) {
            sender.send_replace(None);
        }
    }

    fn keep_only(&mut self, listed: &[String]) {
        for (uid, sender) in &self.senders {
            if !listed.contains(uid) {
                sender.send_replace(None);
            }
        }
    }
}
