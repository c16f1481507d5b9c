//! One container's life: runs, probes, restarts with back-off.

use std::sync::Arc;
use std::time::Duration;

use hyades_runtime::k8s_openapi::jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::admit::Program;
use crate::probe::Ask;
use crate::probe::ProbePlan;
use crate::probe::Verdict;
use crate::process::Ended;
use crate::process::Running;
use crate::process::Surroundings;
use crate::status::Finished;
use crate::status::Now;
use crate::status::Observed;

/// The kubelet's restart back-off: the first restart at once, then 10 s, doubling to 5 minutes.
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A run this long forgives earlier crashes.
const BACKOFF_RESET: Duration = Duration::from_secs(600);

/// When an ended container is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub(crate) fn parse(text: Option<&str>) -> RestartPolicy {
        match text {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        }
    }

    fn restarts(self, ended: &Ended) -> bool {
        match self {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => ended.exit_code != 0,
            RestartPolicy::Never => false,
        }
    }
}

/// The delay before the restart that follows `crashes` short runs in a row.
fn backoff(crashes: u32) -> Duration {
    match crashes.checked_sub(2) {
        None => Duration::ZERO,
        Some(doublings) => BACKOFF_FIRST
            .saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
            .min(BACKOFF_MAX),
    }
}

/// How to run a container.
pub(crate) struct Plan {
    pub(crate) program: Program,
    pub(crate) policy: RestartPolicy,
    pub(crate) liveness: Option<ProbePlan>,
    pub(crate) readiness: Option<ProbePlan>,
    pub(crate) around: Arc<Surroundings>,
    /// How long the process may take to end after SIGTERM.
    pub(crate) grace: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// Something to tell about a container.
pub(crate) enum Report {
    /// Its new state.
    State(Observed),
    /// An event: whether it is a warning, its reason and message.
    Event(bool, &'static str, String),
}

/// Runs the container until it ends for good or is stopped. Reports go out in order.
pub(crate) async fn run(
    plan: Plan,
    mut state: Observed,
    reports: mpsc::Sender<(usize, Report)>,
    place: usize,
    stop: CancellationToken,
) {
    let mut crashes = 0;
    let mut first = true;
    // The receiver lives as long as the pod's task, which outlives its containers.
    let tell = async |report| drop(reports.send((place, report)).await);
    loop {
        let started = Timestamp::now();
        if !first {
            state.restarts += 1;
        }
        first = false;
        let run = u32::try_from(state.restarts).unwrap_or(0);
        let ended = match Running::start(&plan.program, &plan.around, run).await {
            Ok(running) => {
                state.now = Now::Running { since: started };
                state.ready = plan.readiness.is_none();
                tell(Report::State(state.clone())).await;
                let message = format!("Started container {}", state.name);
                tell(Report::Event(false, "Started", message)).await;
                attend(&plan, running, &mut state, &reports, place, &stop).await
            }
            Err(error) => {
                let message = format!("the process could not be started: {error}");
                tell(Report::Event(true, "Failed", message)).await;
                Ended {
                    exit_code: 128,
                    reason: "StartError",
                }
            }
        };
        let finished = Finished {
            ended,
            started,
            finished: Timestamp::now(),
        };
        state.ready = false;
        if stop.is_cancelled() || !plan.policy.restarts(&finished.ended) {
            state.now = Now::Ended(finished);
            tell(Report::State(state)).await;
            return;
        }
        let ran = finished.finished.duration_since(finished.started);
        crashes = if ran.unsigned_abs() >= BACKOFF_RESET {
            1
        } else {
            crashes + 1
        };
        let delay = backoff(crashes);
        state.last = Some(finished);
        if !delay.is_zero() {
            let message = format!(
                "back-off {} s restarting failed container {}",
                delay.as_secs(),
                state.name
            );
            state.now = Now::Waiting {
                reason: "CrashLoopBackOff",
                message: Some(message.clone()),
            };
            tell(Report::State(state.clone())).await;
            tell(Report::Event(true, "BackOff", message)).await;
            tokio::select! {
                () = stop.cancelled() => {
                    if let Some(last) = state.last.clone() {
                        state.now = Now::Ended(last);
                    }
                    tell(Report::State(state)).await;
                    return;
                }
                () = tokio::time::sleep(delay) => {}
            }
        }
    }
}

/// Probes a running process until it ends, is stopped, or fails its liveness probe.
async fn attend(
    plan: &Plan,
    running: Running,
    state: &mut Observed,
    reports: &mpsc::Sender<(usize, Report)>,
    place: usize,
    stop: &CancellationToken,
) -> Ended {
    let ports = running.ports.clone();
    let port = |ask: &Ask| match ask {
        Ask::Http { container_port, .. } | Ask::Tcp { container_port } => ports
            .get(container_port)
            .copied()
            .unwrap_or(*container_port),
        Ask::Unsupported(_) => 0,
    };
    let end = stop.child_token();
    let probing = async {
        let alive = async {
            let Some(probe) = &plan.liveness else {
                return std::future::pending().await;
            };
            let mut verdict = Verdict::new(true);
            tokio::time::sleep(probe.initial_delay).await;
            loop {
                let answer = probe.ask.once(port(&probe.ask), probe.timeout).await;
                if verdict.answer(probe, answer.is_ok()) == Some(false) {
                    return answer.err().unwrap_or_default();
                }
                tokio::time::sleep(probe.period).await;
            }
        };
        let ready = watch_readiness(plan, state, &port, reports, place);
        tokio::select! {
            why = alive => why,
            () = ready => String::new(),
        }
    };
    let ending = running.wait(&end, &plan.grace);
    tokio::pin!(ending);
    let why = tokio::select! {
        ended = &mut ending => return ended,
        why = probing => why,
    };
    let message = format!("Liveness probe failed, container will be restarted: {why}");
    drop(
        reports
            .send((place, Report::Event(true, "Unhealthy", message)))
            .await,
    );
    end.cancel();
    ending.await
}

/// While a container starts, its readiness is asked this often instead of once a period, so that a
/// rollout is not slower than the process.
const STARTUP_PERIOD: Duration = Duration::from_millis(100);
/// How long that lasts.
const STARTUP: Duration = Duration::from_secs(10);

async fn watch_readiness(
    plan: &Plan,
    state: &mut Observed,
    port: &impl Fn(&Ask) -> u16,
    reports: &mpsc::Sender<(usize, Report)>,
    place: usize,
) {
    let Some(probe) = &plan.readiness else {
        return std::future::pending().await;
    };
    let began = tokio::time::Instant::now();
    let mut verdict = Verdict::new(false);
    tokio::time::sleep(probe.initial_delay).await;
    loop {
        let answer = probe.ask.once(port(&probe.ask), probe.timeout).await;
        if let Some(ready) = verdict.answer(probe, answer.is_ok()) {
            state.ready = ready;
            drop(reports.send((place, Report::State(state.clone()))).await);
            if let Err(why) = answer {
                let message = format!("Readiness probe failed: {why}");
                drop(
                    reports
                        .send((place, Report::Event(true, "Unhealthy", message)))
                        .await,
                );
            }
        }
        let starting = !state.ready && began.elapsed() < STARTUP;
        tokio::time::sleep(if starting {
            STARTUP_PERIOD
        } else {
            probe.period
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_back_off_to_five_minutes() {
        let delays: Vec<u64> = (1..9).map(|crashes| backoff(crashes).as_secs()).collect();
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(backoff(1000), BACKOFF_MAX);
    }

    #[test]
    fn the_restart_policy_looks_at_the_exit_code() {
        let good = Ended {
            exit_code: 0,
            reason: "Completed",
        };
        let bad = Ended {
            exit_code: 1,
            reason: "Error",
        };
        let answers = |policy: RestartPolicy| (policy.restarts(&good), policy.restarts(&bad));
        assert_eq!(answers(RestartPolicy::Always), (true, true));
        assert_eq!(answers(RestartPolicy::OnFailure), (false, true));
        assert_eq!(answers(RestartPolicy::Never), (false, false));
    }

    #[tokio::test]
    async fn a_crashing_container_is_restarted_then_backs_off_and_can_be_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let plan = Plan {
            program: Program {
                container: "c".to_owned(),
                arguments: vec!["-c".to_owned(), "exit 7".to_owned()],
                environment: BTreeMap::new(),
                ports: Vec::new(),
                memory_bytes_max: None,
            },
            policy: RestartPolicy::Always,
            liveness: None,
            readiness: None,
            around: Arc::new(Surroundings {
                binary: "/bin/sh".into(),
                pods_dir: folder.path().to_owned(),
                pod_uid: "u".to_owned(),
                environment: BTreeMap::new(),
            }),
            grace: Box::new(|| Duration::from_secs(1)),
        };
        let state = Observed {
            name: "c".to_owned(),
            image: "hyades".to_owned(),
            restarts: 0,
            now: Now::Waiting {
                reason: "ContainerCreating",
                message: None,
            },
            last: None,
            ready: false,
        };
        let (sender, mut reports) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let task = tokio::spawn(run(plan, state, sender, 0, stop.clone()));
        let mut seen = Vec::new();
        while let Some((_, report)) = reports.recv().await {
            if let Report::State(state) = report {
                if matches!(state.now, Now::Waiting { .. }) {
                    stop.cancel();
                }
                seen.push(state);
            }
        }
        task.await.expect("ended");
        let last = seen.last().expect("a state");
        assert_eq!(last.restarts, 1, "restarted once at once, then backed off");
        assert!(matches!(&last.now, Now::Ended(finished) if finished.ended.exit_code == 7));
    }
}
