//! Running a host: its flags, its log, its end.

use crate::data_dir;
use crate::data_dir::DataDirArgs;
use anyhow::Context;
use hyades_host::Host;
use hyades_host::HostError;
use hyades_host::HostOptions;
use hyades_host::simulation;
use hyades_host::simulation::Simulation;
use hyades_runtime::client;
use hyades_runtime::log;
use hyades_runtime::shutdown;
use std::fs::File;
use std::fs::OpenOptions;
use std::net::IpAddr;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;
use tracing_subscriber::EnvFilter;

/// Threads of a host: one for each core of the machines this is built for. Each space's store has
/// a thread of its own besides.
const WORKERS: usize = 2;

/// A log larger than this is set aside as `host.log.old` at the next start, in bytes.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long a data folder in use is tried again: a host that was just killed holds it until the
/// system has taken its memory back.
const FOLDER_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two tries.
const FOLDER_PAUSE: Duration = Duration::from_millis(20);

/// How a host is served.
#[derive(Debug, Clone, clap::Args)]
pub struct HostArgs {
    /// The port to serve on
    #[arg(long, default_value_t = 9443)]
    port: u16,
    /// The address to listen on; loopback unless said otherwise
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1")]
    listen: IpAddr,
    /// The URL by which others reach this host, such as https://hub.example.org:9443
    #[arg(long, value_name = "URL")]
    advertise: Option<String>,
    /// Let pods seem to run that this host cannot run: ready after so many seconds, 1 if not said.
    /// For trying out how workloads and their status travel; nothing runs
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
        default_missing_value = "1", value_parser = ready_after)]
    simulate_workloads: Option<Duration>,
    #[command(flatten)]
    pub data_dir: DataDirArgs,
    /// Return once the host is ready, and leave it running
    #[arg(long)]
    pub detach: bool,
    /// Given by --detach to the process it starts
    #[arg(long, hide = true)]
    pub detached: bool,
}

fn ready_after(text: &str) -> Result<Duration, String> {
    let seconds = simulation::seconds(text);
    seconds.ok_or_else(|| "it takes seconds from 0 to 86400, such as 2.5".to_owned())
}

/// A host's error: its message holds its causes already.
pub fn told(error: HostError) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// Starts the host.
///
/// # Errors
///
/// Those of the host: a taken port, a data folder in use or not writable.
pub async fn start(args: &HostArgs, folder: &Path) -> anyhow::Result<Host> {
    let binary = std::env::current_exe().context("find the program's own file")?;
    let options = HostOptions {
        data_dir: folder.to_owned(),
        listen: SocketAddr::new(args.listen, args.port),
        advertise: args.advertise.clone(),
        binary,
        simulation: args
            .simulate_workloads
            .map(|ready_after| Simulation { ready_after }),
    };
    let deadline = Instant::now() + FOLDER_PATIENCE;
    loop {
        match Host::start(options.clone()).await {
            Err(HostError::FolderInUse { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(FOLDER_PAUSE).await;
            }
            started => return started.map_err(told),
        }
    }
}

/// Runs a host's life on a runtime of its own: `life` starts it and says when it is ready; this
/// stops it at a signal, or when asked to through its socket.
///
/// # Errors
///
/// Those of `life`.
pub fn run<F, R>(args: &HostArgs, folder: &Path, life: F) -> anyhow::Result<()>
where
    F: FnOnce(Host) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    create_folder(folder)?;
    start_log(folder)?;
    client::install_crypto();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let result = runtime.block_on(live(args, folder, life));
    // What hangs on after a clean shutdown is not worth waiting for.
    runtime.shutdown_background();
    result
}

async fn live<F, R>(args: &HostArgs, folder: &Path, life: F) -> anyhow::Result<()>
where
    F: FnOnce(Host) -> R,
    R: Future<Output = anyhow::Result<()>>,
{
    let stop = shutdown::on_signal().context("listen for signals")?;
    let host = tokio::select! {
        host = start(args, folder) => host?,
        () = stop.cancelled() => return Ok(()),
    };
    let stopped = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = host.stop_wanted() => {}
        }
    };
    let result = tokio::select! {
        result = async {
            life(host.clone()).await?;
            std::future::pending().await
        } => result,
        () = stopped => Ok(()),
    };
    host.shutdown().await;
    result
}

/// Makes the data folder, for its owner only.
pub fn create_folder(folder: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .with_context(|| {
            format!(
                "create the data folder {}; choose one that can be written with --data-dir",
                folder.display()
            )
        })
}

/// Opens the log for appending; one that has grown large is set aside first.
pub fn open_log(folder: &Path) -> anyhow::Result<File> {
    let path = data_dir::log(folder);
    if std::fs::metadata(&path).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        // If this fails the log goes on growing, which the next line would tell if it failed too.
        let _ = std::fs::rename(&path, path.with_extension("log.old"));
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| {
            format!(
                "write the log {}; make the data folder writable, or choose another with --data-dir",
                path.display()
            )
        })
}

/// The host's log goes to a file: the terminal shows progress.
fn start_log(folder: &Path) -> anyhow::Result<()> {
    let file = open_log(folder)?;
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(log::filter_for(0)));
    // An error only says that a subscriber is set already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(file)
        .try_init();
    Ok(())
}
