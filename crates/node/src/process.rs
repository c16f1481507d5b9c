//! One container run: a child process, its ports, its log, its probes and its end.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use hyades_runtime::shutdown::NODE_PID_VARIABLE;
use rustix::process::Pid;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::admit::Program;
use crate::logs::LogWriter;
use crate::logs::container_dir;

/// How often a process with a memory limit is weighed.
const WEIGH_PERIOD: Duration = Duration::from_secs(5);

/// What every container of a pod shares.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) binary: PathBuf,
    pub(crate) pods_dir: PathBuf,
    pub(crate) pod_uid: String,
    pub(crate) environment: BTreeMap<String, String>,
}

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; 128 plus the signal's number when a signal ended it.
    pub exit_code: i32,
    /// `Completed`, `Error` or `OOMKilled`.
    pub reason: &'static str,
}

impl Ended {
    fn of(status: ExitStatus, over_memory: bool) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        let exit_code = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let reason = match (over_memory, exit_code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        Ended { exit_code, reason }
    }
}

/// A started process.
pub(crate) struct Running {
    child: Child,
    /// Declared container port to loopback port.
    pub(crate) ports: BTreeMap<u16, u16>,
    memory_bytes_max: Option<u64>,
}

impl Running {
    /// Starts a container's process.
    pub(crate) async fn start(
        program: &Program,
        around: &Surroundings,
        run: u32,
    ) -> io::Result<Running> {
        let ports = free_ports(&program.ports).await?;
        let dir = container_dir(&around.pods_dir, &around.pod_uid, &program.container);
        let log = LogWriter::create(&dir, run).await?;
        // Both streams go through one pipe, so that their lines keep their order.
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&around.binary);
        command
            .args(&program.arguments)
            .env_clear()
            .envs(&program.environment)
            // After the pod's own, so that no pod points its process at other credentials.
            .envs(&around.environment)
            .envs(
                ports
                    .iter()
                    .map(|(declared, real)| (format!("HYADES_PORT_{declared}"), real.to_string())),
            )
            .env(NODE_PID_VARIABLE, std::process::id().to_string())
            .current_dir(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::from(writer.try_clone()?))
            .stderr(Stdio::from(writer))
            .kill_on_drop(true);
        let child = command.spawn()?;
        drop(command);
        let output = tokio::net::unix::pipe::Receiver::from_owned_fd(reader.into())?;
        tokio::spawn(async move {
            if let Err(error) = log.copy(output).await {
                tracing::warn!(%error, "a pod's log could not be written");
            }
        });
        Ok(Running {
            child,
            ports,
            memory_bytes_max: program.memory_bytes_max,
        })
    }

    /// Waits until the process ends by itself or is told to stop: then it gets SIGTERM, and SIGKILL
    /// after `grace`.
    pub(crate) async fn wait(
        mut self,
        stop: &CancellationToken,
        grace: impl Fn() -> Duration,
    ) -> Ended {
        let mut over_memory = false;
        loop {
            tokio::select! {
                status = self.child.wait() => return self.ended(status, over_memory),
                () = stop.cancelled() => break,
                () = tokio::time::sleep(WEIGH_PERIOD), if self.memory_bytes_max.is_some() => {
                    let limit = self.memory_bytes_max.unwrap_or(u64::MAX);
                    if self.resident_bytes().await.is_some_and(|bytes| bytes > limit) {
                        over_memory = true;
                        self.signal(Signal::KILL);
                    }
                }
            }
        }
        self.signal(Signal::TERM);
        let status = match tokio::time::timeout(grace(), self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                self.signal(Signal::KILL);
                self.child.wait().await
            }
        };
        self.ended(status, over_memory)
    }

    fn ended(&self, status: io::Result<ExitStatus>, over_memory: bool) -> Ended {
        match status {
            Ok(status) => Ended::of(status, over_memory),
            Err(_) => Ended {
                exit_code: 255,
                reason: "Error",
            },
        }
    }

    fn pid(&self) -> Option<Pid> {
        self.child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
    }

    fn signal(&self, signal: Signal) {
        // A process that is gone already needs no signal.
        if let Some(pid) = self.pid() {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    async fn resident_bytes(&self) -> Option<u64> {
        let path = format!("/proc/{}/statm", self.child.id()?);
        let text = tokio::fs::read_to_string(Path::new(&path)).await.ok()?;
        let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * rustix::param::page_size() as u64)
    }
}

/// Finds a free loopback port for each declared one. The port is released before the process binds
/// it; should another process be faster, the container fails, and is restarted with a new one.
async fn free_ports(declared: &[u16]) -> io::Result<BTreeMap<u16, u16>> {
    let mut ports = BTreeMap::new();
    let mut held = Vec::new();
    for port in declared {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        ports.insert(*port, listener.local_addr()?.port());
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start(folder: &Path, arguments: &[&str], memory_bytes_max: Option<u64>) -> Running {
        let program = Program {
            container: "c".to_owned(),
            arguments: arguments
                .iter()
                .map(|&argument| argument.to_owned())
                .collect(),
            environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            ports: vec![8000],
            memory_bytes_max,
        };
        let around = Surroundings {
            binary: "/bin/sh".into(),
            pods_dir: folder.to_owned(),
            pod_uid: "u".to_owned(),
            environment: BTreeMap::new(),
        };
        Running::start(&program, &around, 0).await.expect("started")
    }

    const GRACE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn the_exit_code_and_the_output_of_both_streams_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = "echo $GREETING; echo $HYADES_PORT_8000 >&2; exit 3";
        let running = start(folder.path(), &["-c", script], None).await;
        let port = running.ports[&8000];
        let ended = running.wait(&CancellationToken::new(), || GRACE).await;
        assert_eq!(
            ended,
            Ended {
                exit_code: 3,
                reason: "Error"
            }
        );
        let dir = folder.path().join("u/c");
        while !dir.join("0.end").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let log = std::fs::read_to_string(dir.join("0.log")).expect("a log");
        let texts: Vec<&str> = log
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|line| line.1)
            .collect();
        assert_eq!(texts, ["hello".to_owned(), port.to_string()]);
    }

    #[tokio::test]
    async fn a_process_that_ignores_sigterm_is_killed_after_its_grace() {
        let folder = tempfile::tempdir().expect("a folder");
        let running = start(
            folder.path(),
            &[
                "-c",
                "trap '' TERM; echo trapped; while :; do sleep 0.05; done",
            ],
            None,
        )
        .await;
        let log = folder.path().join("u/c/0.log");
        while !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("trapped")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stop = CancellationToken::new();
        stop.cancel();
        let ended = running.wait(&stop, || Duration::from_millis(200)).await;
        assert_eq!(ended.exit_code, 128 + 9);
    }
}
