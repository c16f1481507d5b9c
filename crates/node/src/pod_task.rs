//! One pod's task: admit it, bind it, run its containers, report its status, see it off.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyades_runtime::events::EventType;
use hyades_runtime::events::Recorder;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodStatus;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::NodeOptions;
use crate::admit;
use crate::container;
use crate::container::Report;
use crate::container::RestartPolicy;
use crate::credentials::Credentials;
use crate::logs::pod_dir;
use crate::machine::PODS_MAX;
use crate::pods::Latest;
use crate::probe::ProbePlan;
use crate::process::Surroundings;
use crate::simulation;
use crate::simulation::Course;
use crate::status;
use crate::status::Now;
use crate::status::Observed;

/// How long to wait before trying again what the space refused.
const RETRY: Duration = Duration::from_secs(1);

/// Reports a pod's task lets its containers send ahead; each container sends a few per run.
const REPORTS_MAX: usize = 64;

struct Task {
    options: Arc<NodeOptions>,
    latest: watch::Receiver<Latest>,
    pods: Api<Pod>,
    pod: Arc<Pod>,
    events: Recorder,
    stop: CancellationToken,
}

pub(crate) async fn run(
    options: Arc<NodeOptions>,
    latest: watch::Receiver<Latest>,
    running: usize,
    stop: CancellationToken,
) {
    let Some(pod) = latest.borrow().clone() else {
        return;
    };
    let namespace = pod.namespace().unwrap_or_default();
    let mut task = Task {
        pods: Api::namespaced(options.client.clone(), &namespace),
        events: Recorder::new(options.client.clone(), "hyades-node", &options.node_name),
        options,
        latest,
        pod,
        stop,
    };
    let simulation = task.options.simulation;
    match (admit::admit(&task.pod), simulation) {
        (Err(_), Some(simulation)) if running < simulation::PODS_MAX => {
            match simulation::course(&task.pod, simulation) {
                Ok(course) => task.simulate(course).await,
                Err(why) => task.refuse(&why).await,
            }
        }
        (Ok(programs), _) if running < PODS_MAX => task.live(programs).await,
        (Err(why), None) => task.refuse(&why.to_string()).await,
        (Ok(_), _) => task.refuse(&is_full("runs", PODS_MAX)).await,
        (Err(_), Some(_)) => {
            let why = is_full("simulates", simulation::PODS_MAX);
            task.refuse(&why).await;
        }
    }
    if !task.stop.is_cancelled() {
        task.see_off().await;
    }
}

impl Task {
    fn deleting(&self) -> bool {
        let latest = self.latest.borrow();
        latest
            .as_ref()
            .is_none_or(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    async fn until_deleting(&mut self) {
        while !self.deleting() && self.latest.changed().await.is_ok() {}
    }

    async fn event(&self, kind: EventType, reason: &str, message: &str) {
        let namespace = self.pod.namespace().unwrap_or_default();
        let about = self.pod.object_ref(&());
        self.events
            .record_core(&namespace, &about, kind, reason, message)
            .await;
    }

    async fn refuse(&mut self, why: &str) {
        self.write(status::refused(&self.pod, why, Timestamp::now()))
            .await;
        self.event(EventType::Warning, "FailedScheduling", why)
            .await;
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.until_deleting() => {}
        }
    }

    /// Binds the pod to this node; a pod bound elsewhere is none of this node's business.
    async fn bind(&self) -> Result<bool, kube::Error> {
        let bound = self
            .pod
            .spec
            .as_ref()
            .and_then(|spec| spec.node_name.clone());
        if let Some(node) = bound.filter(|node| !node.is_empty()) {
            return Ok(node == self.options.node_name);
        }
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": self.pod.name_any(), "namespace": self.pod.namespace()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.options.node_name},
        });
        let name = self.pod.name_any();
        let answer: serde_json::Value = self
            .pods
            .create_subresource("binding", &name, &PostParams::default(), &binding)
            .await?;
        drop(answer);
        let namespace = self.pod.namespace().unwrap_or_default();
        let message = format!(
            "Successfully assigned {namespace}/{name} to {}",
            self.options.node_name
        );
        self.event(EventType::Normal, "Scheduled", &message).await;
        Ok(true)
    }

    /// Tries until it works, the pod is being deleted or the node stops.
    async fn insist<T, E: std::fmt::Display>(
        &mut self,
        what: &str,
        mut attempt: impl AsyncFnMut(&Task) -> Result<T, E>,
    ) -> Option<T> {
        loop {
            if self.deleting() || self.stop.is_cancelled() {
                return None;
            }
            match attempt(self).await {
                Ok(done) => return Some(done),
                Err(error) => {
                    let message = format!("{what}: {error}; trying again");
                    self.event(EventType::Warning, "FailedCreatePodSandBox", &message)
                        .await;
                }
            }
            let stop = self.stop.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.until_deleting() => {}
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }

    async fn live(&mut self, programs: Vec<admit::Program>) {
        let bound = self
            .insist("the pod is not bound yet", async |task| task.bind().await)
            .await;
        if bound != Some(true) {
            return;
        }
        let issued = self
            .insist("the pod has no credentials yet", async |task| {
                Credentials::issue(&task.options, &task.pod).await
            })
            .await;
        let Some((credentials, renew)) = issued else {
            return;
        };
        let around = Arc::new(self.surroundings(&credentials));
        let options = Arc::clone(&self.options);
        let pod = Arc::clone(&self.pod);
        tokio::select! {
            () = self.run_containers(programs, around) => {}
            () = credentials.keep_fresh(&options, &pod, renew) => {}
        }
    }

    /// Lets a pod seem to run that nothing runs for.
    async fn simulate(&mut self, course: Course) {
        let bound = self
            .insist("the pod is not bound yet", async |task| task.bind().await)
            .await;
        if bound != Some(true) {
            return;
        }
        let message = "no container runs: this host simulates workloads";
        self.event(EventType::Normal, "Simulated", message).await;
        let started = Timestamp::now();
        let begun = simulation::started(&self.pod, started);
        let begun = status::simulated(&self.pod, &begun, started);
        self.write(begun).await;
        let (after, stop) = (course.after, self.stop.clone());
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.until_deleting() => return,
            () = tokio::time::sleep(after) => {}
        }
        let now = Timestamp::now();
        let ended = simulation::ended(&self.pod, course.end, started, now);
        let ended = status::simulated(&self.pod, &ended, now);
        self.write(ended).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.until_deleting() => {}
        }
    }

    fn surroundings(&self, credentials: &Credentials) -> Surroundings {
        let name = self.pod.name_any();
        let environment = [
            ("KUBECONFIG", credentials.kubeconfig.display().to_string()),
            ("HOSTNAME", name),
            ("POD_NAMESPACE", self.pod.namespace().unwrap_or_default()),
            ("PATH", "/usr/bin:/bin".to_owned()),
        ];
        Surroundings {
            binary: self.options.binary.clone(),
            pods_dir: self.options.pods_dir.clone(),
            pod_uid: self.pod.uid().unwrap_or_default(),
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    async fn run_containers(&mut self, programs: Vec<admit::Program>, around: Arc<Surroundings>) {
        let spec = self.pod.spec.clone().unwrap_or_default();
        let policy = RestartPolicy::parse(spec.restart_policy.as_deref());
        let end = self.stop.child_token();
        let (sender, mut reports) = mpsc::channel(REPORTS_MAX);
        let mut states = Vec::new();
        let mut running = JoinSet::new();
        for (place, program) in programs.into_iter().enumerate() {
            let declared = &spec.containers[place];
            let state = self.initial(
                declared.name.clone(),
                declared.image.clone().unwrap_or_default(),
            );
            let plan = container::Plan {
                program,
                policy,
                liveness: declared.liveness_probe.as_ref().map(ProbePlan::new),
                readiness: declared.readiness_probe.as_ref().map(ProbePlan::new),
                around: Arc::clone(&around),
                grace: Box::new(grace(self.latest.clone())),
            };
            states.push(state.clone());
            running.spawn(container::run(
                plan,
                state,
                sender.clone(),
                place,
                end.clone(),
            ));
        }
        drop(sender);
        loop {
            let report = tokio::select! {
                report = reports.recv() => report,
                () = self.until_deleting(), if !end.is_cancelled() => {
                    end.cancel();
                    continue;
                }
            };
            match report {
                Some((place, Report::State(state))) => {
                    states[place] = state;
                    // A node that stops leaves the status alone: the pod runs again at its next start.
                    if !self.stop.is_cancelled() {
                        self.write(status::running(&self.pod, &states, Timestamp::now()))
                            .await;
                    }
                }
                Some((_, Report::Event(warning, reason, message))) => {
                    let kind = if warning {
                        EventType::Warning
                    } else {
                        EventType::Normal
                    };
                    self.event(kind, reason, &message).await;
                }
                None => break,
            }
        }
        while running.join_next().await.is_some() {}
        // A pod that ran to its end stays until somebody deletes it.
        let stop = self.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.until_deleting() => {}
        }
    }

    /// The first state of a container: a restart after the node itself stopped counts as one.
    fn initial(&self, name: String, image: String) -> Observed {
        let statuses = self
            .pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        let before = statuses
            .into_iter()
            .flatten()
            .find(|status| status.name == name);
        Observed {
            restarts: before.map_or(0, |status| status.restart_count + 1),
            name,
            image,
            now: Now::Waiting {
                reason: "ContainerCreating",
                message: None,
            },
            last: None,
            ready: false,
        }
    }

    /// Writes the status if it changed. Only this task writes it, so a failed write is repeated by
    /// the next change; a pod that is gone needs none.
    async fn write(&mut self, status: PodStatus) {
        if self.pod.status.as_ref() == Some(&status) {
            return;
        }
        let patch = Patch::Merge(json!({"metadata": {"uid": self.pod.uid()}, "status": status}));
        let name = self.pod.name_any();
        for _ in 0..3 {
            match self
                .pods
                .patch_status(&name, &PatchParams::default(), &patch)
                .await
            {
                Ok(mut pod) => {
                    pod.metadata.managed_fields = None;
                    self.pod = Arc::new(pod);
                    return;
                }
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {
                    return;
                }
                Err(error) => {
                    tracing::debug!(%error, pod = name, "the pod's status is written again")
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Removes the pod's object and files once its processes have ended.
    async fn see_off(&mut self) {
        let gone = self.latest.borrow().is_none();
        if !gone && self.deleting() {
            let preconditions = kube::api::Preconditions {
                uid: self.pod.uid(),
                resource_version: None,
            };
            let parameters = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(preconditions),
                ..DeleteParams::default()
            };
            if let Err(error) = self.pods.delete(&self.pod.name_any(), &parameters).await {
                tracing::debug!(%error, "the pod was gone before its node removed it");
            }
        }
        let dir = pod_dir(&self.options.pods_dir, &self.pod.uid().unwrap_or_default());
        drop(tokio::fs::remove_dir_all(dir).await);
    }
}

fn is_full(does: &str, limit: usize) -> String {
    format!("the process node already {does} {limit} pods, its limit")
}

/// The grace period that holds now: the deletion's, else the pod's own, else Kubernetes' 30 s.
fn grace(latest: watch::Receiver<Latest>) -> impl Fn() -> Duration + Send + Sync {
    const DEFAULT_SECONDS: i64 = 30;
    move || {
        let pod = latest.borrow().clone();
        let seconds = pod.as_ref().and_then(|pod| {
            let own = pod
                .spec
                .as_ref()
                .and_then(|spec| spec.termination_grace_period_seconds);
            pod.metadata.deletion_grace_period_seconds.or(own)
        });
        Duration::from_secs(u64::try_from(seconds.unwrap_or(DEFAULT_SECONDS)).unwrap_or(0))
    }
}
