//! The benchmarks, each in one bounded run.
//!
//! ```text
//! register
//!  starts:  serve on an empty folder ─▶ /readyz                     (starts)
//!  up:      up ─▶ every WEC Available ─▶ idle ─▶ resident memory    (starts, memory)
//!  joins:   new space ─▶ agent, or clusteradm join ─▶ Available     (joins)
//!  works:   mailbox ─▶ object on the WEC ─▶ Available on the hub    (works)
//!  writes:  64 writers ─▶ one space                                 (writes)
//! join
//!  joins, alone and by the thousand; death and return; memory       (join, fleet)
//! distribute
//!  WDS ─▶ ITS ─▶ WEC and back, one object and many                  (distribute, crowd)
//! ```
//!
//! Everything is a process of the very binary that is measured, and everything is seen by watches
//! over TLS, as a user's tools would see it. The benchmark itself runs on the same machine, so
//! its own work is part of every number.

mod crowd;
mod distribute;
mod fleet;
mod join;
mod joins;
mod machine;
mod memory;
mod process;
mod report;
mod samples;
mod sightings;
mod starts;
mod works;
mod writes;

pub use machine::Machine;
pub use report::Measure;
pub use report::Report;
pub use report::Target;
pub use report::Unit;

use anyhow::Context;
use hyades_runtime::kube::Client;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;

/// Longest run as a whole. The default counts take about two minutes here; ten times that is a
/// machine on which the numbers mean nothing.
const RUN_MAX: Duration = Duration::from_secs(20 * 60);

/// Most joins, works, and works in a burst: each is kept in memory, and a run shall end.
pub const COUNT_MAX: u32 = 10_000;

/// Objects that are written at a time to prepare a measurement.
const WRITES_AT_A_TIME: usize = 64;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Registration, works and writes.
    Register,
    /// Registration alone, and by the thousand.
    Join,
    /// Objects of a WDS, to WECs and back.
    Distribute,
}

/// How much is measured.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary to measure.
    pub binary: PathBuf,
    /// Its version, for the report.
    pub version: String,
    /// WECs that join, one after the other; once by a bare agent and, to measure
    /// [`Subject::Register`], once by `clusteradm join`.
    pub joins: u32,
    /// Agents that join at once, or WECs without agents that works are written for.
    pub agents: u32,
    /// Works, or objects of a WDS, created one by one.
    pub works: u32,
    /// Works created at once, or objects that are evaluated.
    pub burst: u32,
    /// How long objects are written, in seconds.
    pub write_seconds: u32,
    /// How long the spaces rest before their memory is read, in seconds.
    pub idle_seconds: u32,
}

/// Measures everything. `tell` is called with each phase as it begins.
///
/// # Errors
///
/// The first step that failed or did not end in time. The processes are stopped and the folder is
/// removed then as well.
pub async fn run(
    subject: Subject,
    options: &Options,
    tell: impl Fn(&str),
) -> anyhow::Result<Report> {
    let folder = tempfile::Builder::new()
        .prefix("hyades-bench-")
        .tempdir()
        .context("make a temporary data folder; set TMPDIR to a folder that can be written")?;
    // Taken first: the load before the benchmark adds its own.
    let machine = Machine::read();
    let measured = async {
        let mut measures = Vec::new();
        match subject {
            Subject::Register => measure(options, folder.path(), &tell, &mut measures).await,
            Subject::Join => measure_joins(options, folder.path(), &tell, &mut measures).await,
            Subject::Distribute => {
                measure_distribution(options, folder.path(), &tell, &mut measures).await
            }
        }?;
        Ok(Report {
            version: options.version.clone(),
            machine,
            measures,
        })
    };
    tokio::time::timeout(RUN_MAX, measured)
        .await
        .with_context(|| {
            format!(
                "the benchmark did not end within {} s; ask for fewer joins and works",
                RUN_MAX.as_secs()
            )
        })?
}

async fn measure(
    options: &Options,
    folder: &Path,
    tell: &impl Fn(&str),
    measures: &mut Vec<Measure>,
) -> anyhow::Result<()> {
    tell("starting a host on an empty data folder, five times");
    measures.push(starts::ready(&options.binary, folder).await?);

    let (up, measure) = bring_up(options, folder, tell).await?;
    measures.push(measure);
    let result = measure_fabric(options, &up, tell, measures).await;
    stop_after(up, result).await
}

async fn measure_joins(
    options: &Options,
    folder: &Path,
    tell: &impl Fn(&str),
    measures: &mut Vec<Measure>,
) -> anyhow::Result<()> {
    let (up, _) = bring_up(options, folder, tell).await?;
    join::measure(options, folder, up, tell, measures).await
}

async fn measure_distribution(
    options: &Options,
    folder: &Path,
    tell: &impl Fn(&str),
    measures: &mut Vec<Measure>,
) -> anyhow::Result<()> {
    let (up, _) = bring_up(options, folder, tell).await?;
    let result = distribute::measure(options, &up, tell, measures).await;
    stop_after(up, result).await
}

async fn bring_up(
    options: &Options,
    folder: &Path,
    tell: &impl Fn(&str),
) -> anyhow::Result<(starts::Up, Measure)> {
    tell("bringing up an ITS, a WDS and two registered WECs");
    starts::up(&options.binary, folder).await
}

/// Stops the fabric whatever came out; the error that matters is the first.
async fn stop_after(up: starts::Up, result: anyhow::Result<()>) -> anyhow::Result<()> {
    let stopped = up.process.stop().await;
    result.and(stopped)
}

/// What is measured on the fabric that `up` made.
async fn measure_fabric(
    options: &Options,
    up: &starts::Up,
    tell: &impl Fn(&str),
    measures: &mut Vec<Measure>,
) -> anyhow::Result<()> {
    tell("letting it rest, then reading resident memory");
    tokio::time::sleep(Duration::from_secs(options.idle_seconds.into())).await;
    measures.extend(memory::measure(up.process.id()?)?);

    tell("sending works one by one, then in a burst");
    measures.extend(works::measure(up, options.works, options.burst).await?);

    tell("joining WECs, one after the other");
    measures.extend(joins::measure(&options.binary, up, options.joins).await?);

    tell("writing objects");
    let seconds = Duration::from_secs(options.write_seconds.into());
    measures.extend(writes::measure(up, seconds).await?);
    Ok(())
}

/// A client for a space of the host, as its administrator.
async fn client(up: &starts::Up, space: &str) -> anyhow::Result<Client> {
    let kubeconfig = up.admin.kubeconfig(space).await?.to_yaml()?;
    let client = hyades_runtime::client::from_kubeconfig(&kubeconfig, space, "hyades-bench").await;
    Ok(client?)
}
