//! The processes under measurement: started, watched over, and ended with the benchmark.

use anyhow::Context;
use anyhow::bail;
use hyades_host::AdminClient;
use std::fs::File;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;
use tokio::process::Child;
use tokio::process::Command;

/// How long a command that returns by itself may take: the longest wait of its own is 300 s, which
/// only a hub that is broken makes it use.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a stopped host may take to end once it has let go of its data folder.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);

/// Characters of a process's output shown when it failed; the end says why.
const TAIL_CHARACTERS: usize = 2000;

/// A running process of the binary, its output in a file. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    started: Instant,
    output: PathBuf,
}

impl Process {
    /// Starts the binary with these arguments and variables. `name` is for errors, and for the
    /// file in `folder` that receives its output.
    pub(super) fn start(
        binary: &Path,
        folder: &Path,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let output = folder.join(format!("{name}.out"));
        let file = File::create(&output)
            .with_context(|| format!("create {} for the output of {name}", output.display()))?;
        let errors = file.try_clone().context("share a file between streams")?;
        let mut command = Command::new(binary);
        command
            .args(arguments)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .kill_on_drop(true);
        let started = Instant::now();
        let child = command
            .spawn()
            .with_context(|| format!("start {name} with {}", binary.display()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            started,
            output,
        })
    }

    /// The moment before the process was started.
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Its process id.
    pub(super) fn id(&self) -> anyhow::Result<u32> {
        let id = self.child.id();
        id.with_context(|| format!("{} has ended; {}", self.name, self.tail()))
    }

    /// Awaits `wanted` as long as the process runs, and no longer than `timeout`.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        tokio::select! {
            result = wanted => result,
            ended = self.child.wait() => match ended {
                Ok(status) => bail!("{} ended ({status}) before {what}; {}", self.name, self.tail()),
                Err(error) => bail!("watched over {}: {error}", self.name),
            },
            () = tokio::time::sleep(timeout) => bail!(
                "waited {} s for {what}; {}",
                timeout.as_secs(),
                self.tail()
            ),
        }
    }

    /// Awaits the end of a command, which must be a success.
    pub(super) async fn succeed(mut self) -> anyhow::Result<()> {
        let ended = tokio::time::timeout(COMMAND_TIMEOUT, self.child.wait()).await;
        let status: ExitStatus = ended
            .with_context(|| {
                let seconds = COMMAND_TIMEOUT.as_secs();
                format!(
                    "{} did not end within {seconds} s; {}",
                    self.name,
                    self.tail()
                )
            })?
            .with_context(|| format!("watch over {}", self.name))?;
        if !status.success() {
            bail!("{} failed ({status}); {}", self.name, self.tail());
        }
        Ok(())
    }

    /// Kills the process and awaits its end.
    pub(super) async fn kill(mut self) -> anyhow::Result<()> {
        let killed = self.child.kill().await;
        killed.with_context(|| format!("kill {}", self.name))
    }

    fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.output).unwrap_or_default();
        let skipped = text.chars().count().saturating_sub(TAIL_CHARACTERS);
        let tail: String = text.chars().skip(skipped).collect();
        match tail.trim() {
            "" => "it printed nothing".to_owned(),
            tail => format!("it printed:\n{tail}"),
        }
    }
}

/// A running host with its data folder.
#[derive(Debug)]
pub(super) struct HostProcess {
    /// The process.
    pub(super) process: Process,
    data_folder: PathBuf,
    /// The port it serves on.
    pub(super) port: u16,
}

impl HostProcess {
    /// Starts a host with `hyades COMMAND` on `folder/NAME`, on a free port of the loopback.
    pub(super) fn start(
        binary: &Path,
        folder: &Path,
        name: &str,
        command: &str,
    ) -> anyhow::Result<Self> {
        let data_folder = folder.join(name);
        let port = free_port()?;
        let path = data_folder.to_string_lossy();
        let arguments = [command, "--data-dir", &path, "--port", &port.to_string()];
        Ok(Self {
            process: Process::start(binary, folder, name, &arguments, &[])?,
            data_folder,
            port,
        })
    }

    /// Starts a host with `hyades serve` where this one was stopped: on its data folder and its
    /// port, since its agents know no other.
    pub(super) fn resume(&self, binary: &Path, folder: &Path) -> anyhow::Result<Self> {
        let path = self.data_folder.to_string_lossy();
        let port = self.port.to_string();
        let arguments = ["serve", "--data-dir", &path, "--port", &port];
        Ok(Self {
            process: Process::start(binary, folder, "resumed", &arguments, &[])?,
            data_folder: self.data_folder.clone(),
            port: self.port,
        })
    }

    /// The data folder.
    pub(super) fn data_folder(&self) -> &Path {
        &self.data_folder
    }

    /// Its process id.
    pub(super) fn id(&self) -> anyhow::Result<u32> {
        self.process.id()
    }

    /// Stops the host, and its pods with it.
    pub(super) async fn stop(&self) -> anyhow::Result<()> {
        let admin = AdminClient::connect(&self.data_folder).await?;
        admin.stop().await?;
        // The lock on the folder goes with the process, or a moment before it.
        let deadline = Instant::now() + EXIT_TIMEOUT;
        let socket = self.data_folder.join("host.sock");
        while std::os::unix::net::UnixStream::connect(&socket).is_ok() {
            if Instant::now() > deadline {
                bail!(
                    "the host still answers {} s after it stopped; {}",
                    EXIT_TIMEOUT.as_secs(),
                    self.process.tail()
                );
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

/// A port of the loopback that is free now. Should another process take it before it is used, the
/// one it was meant for fails, and says so.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(folder: &Path, script: &str) -> Process {
        let shell = Path::new("/bin/sh");
        Process::start(shell, folder, "script", &["-c", script], &[]).expect("started")
    }

    #[tokio::test]
    async fn a_process_that_ends_early_says_what_it_printed() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = start(folder.path(), "echo no door >&2; exit 3");
        let error = process
            .until(
                "the door opened",
                Duration::from_secs(60),
                std::future::pending::<anyhow::Result<()>>(),
            )
            .await
            .expect_err("ended");
        assert_eq!(
            error.to_string(),
            "script ended (exit status: 3) before the door opened; it printed:\nno door"
        );
    }

    #[tokio::test]
    async fn a_wait_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = start(folder.path(), "while :; do sleep 0.05; done");
        let never = std::future::pending::<anyhow::Result<()>>();
        let waited = process.until("a wonder", Duration::ZERO, never).await;
        let error = waited.expect_err("late");
        assert_eq!(
            error.to_string(),
            "waited 0 s for a wonder; it printed nothing"
        );
        process.kill().await.expect("killed");
    }
}
