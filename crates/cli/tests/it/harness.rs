//! A real host in a folder of its own, and the commands a user types at it.
//!
//! ```text
//! Host::serve / Host::up ─▶ hyades (child process) ─▶ folder: kubeconfig, bin/clusteradm, log
//! host.run("kubectl …")  ─▶ sh, with that kubeconfig, kubectl and clusteradm on its PATH ─▶ Ran
//! ```
//!
//! Nothing is shared between hosts: each has its folder, its port and its home. A host is killed
//! when its value is dropped; when that happens in a failing test, its log is printed.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::path::PathBuf;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use tempfile::TempDir;

/// The binary under test.
const HYADES: &str = env!("CARGO_BIN_EXE_hyades");
/// Longest a single command may take, in seconds. The longest waits of the commands themselves
/// are cut to less by `--timeout` where a test provokes them.
const COMMAND_SECONDS_MAX: u64 = 120;
/// Longest wait for something to be seen: on a busy machine of two cores, debug builds included,
/// registrations take a few seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How much of a log is shown with a failure, in bytes.
const LOG_SHOWN_BYTES: usize = 16 * 1024;

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Ran {
    /// The command as run.
    pub command: String,
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub out: String,
    /// What it wrote to standard error.
    pub err: String,
}

impl Ran {
    /// Insists on success; gives standard output.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.out
    }

    /// Insists on failure and on each of `parts` in what was said; gives standard error.
    #[track_caller]
    pub fn refused(self, parts: &[&str]) -> String {
        assert!(self.code.is_some_and(|code| code != 0), "{self}");
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not said: {self}");
        }
        assert!(!self.err.contains("panicked"), "{self}");
        self.err
    }

    /// Both streams.
    pub fn all(&self) -> String {
        format!("{}{}", self.out, self.err)
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Ran {
            command,
            code,
            out,
            err,
        } = self;
        let code = code.map_or("a signal".to_owned(), |code| code.to_string());
        write!(formatter, "\n$ {command}\n{out}{err}exit {code}\n")
    }
}

/// A folder with the tools on its PATH, and a host that may run in it.
pub struct Host {
    folder: TempDir,
    port: u16,
    process: Option<Child>,
    /// Whether a host was started with `--detach`, and is to be stopped by `hyades down`.
    is_detached: bool,
    starts: u32,
}

impl Host {
    /// A folder in which no host runs yet.
    pub fn prepare() -> Host {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tools = folder.path().join("tools");
        std::fs::create_dir(&tools).expect("a folder of tools");
        symlink(kubectl(), tools.join("kubectl")).expect("a link to kubectl");
        symlink(HYADES, tools.join("hyades")).expect("a link to hyades");
        Host {
            folder,
            port: free_port(),
            process: None,
            is_detached: false,
            starts: 0,
        }
    }

    /// A host that serves the named spaces, and nothing else.
    pub fn serve(spaces: &[&str]) -> Host {
        let mut host = Host::prepare();
        host.start("serve");
        for space in spaces {
            host.run(&format!(
                "hyades space create {space} {}",
                host.data_dir_flag()
            ))
            .ok();
        }
        host
    }

    /// A host that serves the spaces, of which `its1` is initialised as an ITS.
    pub fn its(wecs: &[&str]) -> Host {
        let host = Host::serve(&["its1"]);
        for wec in wecs {
            host.run(&format!(
                "hyades space create {wec} {}",
                host.data_dir_flag()
            ))
            .ok();
        }
        host.run("clusteradm --context its1 --timeout 100 init --wait")
            .ok();
        host
    }

    /// Starts `hyades COMMAND` and waits until it answers.
    pub fn start(&mut self, command: &str) {
        self.spawn(command);
        self.until_ready();
    }

    /// Starts `hyades serve` on a disk that is full as soon as any file has so many blocks of 512
    /// bytes: writing more fails, as it does on a disk without space.
    pub fn start_on_small_disk(&mut self, blocks: u32) {
        self.spawn_after(&format!("trap '' XFSZ; ulimit -f {blocks};"), "serve");
        self.until_ready();
    }

    fn until_ready(&mut self) {
        let ask = format!("hyades space list {}", self.data_dir_flag());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.run(&ask);
            if answer.code == Some(0) {
                return;
            }
            let process = self.process.as_mut().expect("just started");
            if let Some(status) = process.try_wait().expect("the host's state") {
                panic!("the host ended with {status}\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the host is not ready: {answer}\n{}",
                self.log()
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Starts `hyades COMMAND` without waiting for anything.
    pub fn spawn(&mut self, command: &str) {
        self.spawn_after("", command);
    }

    fn spawn_after(&mut self, preparation: &str, command: &str) {
        assert!(self.process.is_none(), "the host runs already");
        self.starts += 1;
        let log = File::create(self.log_path()).expect("a log");
        let line = format!(
            "{preparation} exec hyades {command} --port {} {}",
            self.port,
            self.data_dir_flag()
        );
        let child = self
            .command("sh")
            .args(["-c", &line])
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("start the host");
        self.process = Some(child);
    }

    /// Runs `hyades up --detach`. The host is stopped with this value, whatever becomes of it.
    pub fn up_detached(&mut self, flags: &str) -> Ran {
        self.is_detached = true;
        let port = self.port;
        self.run(&format!(
            "hyades up --detach --port {port} {} {flags}",
            self.data_dir_flag()
        ))
    }

    /// Runs `hyades down`.
    pub fn down(&self) -> Ran {
        self.run(&format!("hyades down {}", self.data_dir_flag()))
    }

    /// Sends a signal to the host's process.
    pub fn signal(&self, name: &str) {
        self.run(&format!("kill -s {name} {}", self.process_id()))
            .ok();
    }

    /// Waits until the host's process ends by itself; gives its exit code and its log.
    pub fn wait_for_end(&mut self) -> (Option<i32>, String) {
        let mut process = self.process.take().expect("a running host");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = process.try_wait().expect("the host's state") {
                return (status.code(), self.log());
            }
            if Instant::now() >= deadline {
                let _ = process.kill();
                let _ = process.wait();
                panic!("the host did not end within {PATIENCE:?}\n{}", self.log());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Insists that no pod of a host that was killed lives on.
    #[track_caller]
    pub fn pods_end(&self, host: u32) {
        let mark = format!("HYADES_NODE_PID={host}\0");
        let is_pod = |process: &Path| {
            std::fs::read(process.join("environ"))
                .is_ok_and(|environment| String::from_utf8_lossy(&environment).contains(&mark))
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let processes = std::fs::read_dir("/proc").expect("the list of processes");
            let pods = processes.flatten().filter(|entry| is_pod(&entry.path()));
            let left: Vec<String> = pods
                .map(|pod| read_lossy(&pod.path().join("cmdline")))
                .collect();
            if left.is_empty() {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "pods outlive their host: {left:#?}"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// The host's process id.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("a running host").id()
    }

    /// Kills the host with SIGKILL, as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Runs a command line in `sh` and waits for its end.
    pub fn run(&self, line: &str) -> Ran {
        let place = tempfile::tempdir_in(self.folder.path()).expect("a folder for output");
        let (out, err) = (place.path().join("out"), place.path().join("err"));
        let status = self
            .command("timeout")
            .args([&COMMAND_SECONDS_MAX.to_string(), "sh", "-c", line])
            .stdout(File::create(&out).expect("a file for output"))
            .stderr(File::create(&err).expect("a file for errors"))
            .status()
            .expect("run sh");
        let ran = Ran {
            command: line.to_owned(),
            code: status.code(),
            out: read_lossy(&out),
            err: read_lossy(&err),
        };
        // This is how `timeout` says that it had to end the command.
        assert_ne!(
            ran.code,
            Some(124),
            "not done in {COMMAND_SECONDS_MAX} s: {ran}"
        );
        ran
    }

    /// Runs a command until `is_seen` is content with it; panics when it never is.
    #[track_caller]
    pub fn until(&self, line: &str, is_seen: impl Fn(&Ran) -> bool) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = self.run(line);
            if is_seen(&ran) {
                return ran;
            }
            assert!(
                Instant::now() < deadline,
                "not seen within {PATIENCE:?}: {ran}"
            );
            std::thread::sleep(PAUSE);
        }
    }

    /// Runs a command until its output holds all of `parts`.
    #[track_caller]
    pub fn until_seen(&self, line: &str, parts: &[&str]) -> String {
        let holds =
            |ran: &Ran| ran.code == Some(0) && parts.iter().all(|part| ran.out.contains(part));
        self.until(line, holds).out
    }

    /// Waits until the ITS holds the cluster Joined and Available.
    #[track_caller]
    pub fn until_available(&self, its: &str, cluster: &str) {
        let line = format!("kubectl --context {its} get managedcluster {cluster} --no-headers");
        self.until(&line, |ran| {
            let columns: Vec<&str> = ran.out.split_whitespace().collect();
            ran.code == Some(0)
                && columns.get(1) == Some(&"true")
                && columns.get(3..5) == Some(&["True", "True"])
        });
    }

    /// A token for newcomers, as `get token` prints it.
    #[track_caller]
    pub fn token(&self, its: &str) -> String {
        self.line_of_get_token(its, "token=").replace("token=", "")
    }

    /// The command that joins a WEC under the name of its context, as `get token` prints it.
    #[track_caller]
    pub fn join_line(&self, its: &str, wec: &str, flags: &str) -> String {
        let line = self.line_of_get_token(its, "clusteradm join ");
        let line = line.replace("<cluster_name>", wec);
        format!("{line} --context {wec} {flags}")
    }

    #[track_caller]
    fn line_of_get_token(&self, its: &str, start: &str) -> String {
        let printed = self.run(&format!("clusteradm --context {its} get token"));
        let printed = printed.ok();
        let line = printed.lines().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start}: {printed}"))
            .to_owned()
    }

    /// Joins a WEC by the command that `get token` prints.
    #[track_caller]
    pub fn join(&self, its: &str, wec: &str, flags: &str) {
        self.run(&self.join_line(its, wec, flags)).ok();
    }

    /// Accepts WECs, named with commas between, as soon as they ask.
    #[track_caller]
    pub fn accept(&self, its: &str, wecs: &str) {
        self.run(&format!(
            "clusteradm --context {its} --timeout 60 accept --clusters {wecs} --wait"
        ))
        .ok();
    }

    /// Joins a WEC, accepts it, and waits until it is Available.
    #[track_caller]
    pub fn register(&self, its: &str, wec: &str, flags: &str) {
        self.join(its, wec, flags);
        self.accept(its, wec);
        self.until_available(its, wec);
    }

    /// Writes a file of the test's own; gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).expect("write a file");
        path
    }

    /// The folder of this host's user.
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// The data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The data folder as a flag.
    pub fn data_dir_flag(&self) -> String {
        format!("--data-dir {}", self.data_dir().display())
    }

    /// The URL of a space.
    pub fn url(&self, space: &str) -> String {
        format!("https://127.0.0.1:{}/spaces/{space}", self.port)
    }

    /// What the running host has written so far.
    pub fn log(&self) -> String {
        read_lossy(&self.log_path())
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join(format!("host-{}.log", self.starts))
    }

    /// A program with this host's tools and kubeconfig, and nothing else of the environment.
    fn command(&self, program: &str) -> Command {
        let root = self.folder.path();
        let path = format!(
            "{}:{}:/usr/local/bin:/usr/bin:/bin",
            self.data_dir().join("bin").display(),
            root.join("tools").display()
        );
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", root)
            .env("KUBECONFIG", self.data_dir().join("kubeconfig"))
            .current_dir(root)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
        if self.is_detached {
            // It may be down already.
            let _ = self
                .command("timeout")
                .args(["30", "sh", "-c"])
                .arg(format!("hyades down {}", self.data_dir_flag()))
                .output();
        }
        if std::thread::panicking() {
            let log = format!(
                "{}{}",
                self.log(),
                read_lossy(&self.data_dir().join("host.log"))
            );
            let shown = log.len().saturating_sub(LOG_SHOWN_BYTES);
            let shown = log.ceil_char_boundary(shown);
            eprintln!("--- the host's log ends with ---\n{}\n---", &log[shown..]);
        }
    }
}

/// The kubectl to use: that of `scripts/test`, else the one on the PATH.
fn kubectl() -> PathBuf {
    if let Some(path) = std::env::var_os("HYADES_KUBECTL") {
        return PathBuf::from(path);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join("kubectl"))
        .find(|file| file.is_file())
        .expect("no kubectl: run ./scripts/test, which fetches one, or name it in HYADES_KUBECTL")
}

/// A port that was free a moment ago. Another program may take it meanwhile; that is rare, and the
/// host says so clearly.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn read_lossy(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
