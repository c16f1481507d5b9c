//! `hyades bench`: measures this binary on this machine.

use crate::console::Output;
use crate::console::print;
use anyhow::Context;
use hyades_fleet::bench;
use hyades_fleet::bench::COUNT_MAX;
use hyades_runtime::client;
use std::io::Write;

/// Threads of the benchmark. Most of its work is waiting; the writers need both cores of the
/// machines this is built for.
const WORKERS: usize = 2;

/// The command line.
#[derive(Debug, clap::Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    benchmark: Benchmark,
}

#[derive(Debug, clap::Subcommand)]
enum Benchmark {
    /// Registration, works and writes, beside their targets; takes some minutes
    Register(RegisterArgs),
    /// Joins alone and by the thousand, their writes and memory, death and return of an agent
    Join(JoinArgs),
    /// A WDS's objects on their way to WECs, and their status on its way back
    Distribute(DistributeArgs),
}

/// How much `bench distribute` measures.
#[derive(Debug, clap::Args)]
struct DistributeArgs {
    /// Objects sent one by one to a WEC
    #[arg(long, default_value_t = 100, value_parser = count())]
    objects: u32,
    /// WECs, without agents, that a policy comes to match at once
    #[arg(long, default_value_t = 1000, value_parser = count())]
    wecs: u32,
    /// Objects that ten policies are evaluated over
    #[arg(long, default_value_t = 10_000, value_parser = count())]
    evaluated: u32,
    /// How the numbers are printed
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// How much `bench join` measures.
#[derive(Debug, clap::Args)]
struct JoinArgs {
    /// WECs that join, one after the other
    #[arg(long, default_value_t = 100, value_parser = count())]
    joins: u32,
    /// Agents that join at once
    #[arg(long, default_value_t = 1000, value_parser = count())]
    agents: u32,
    /// How long spaces and agents rest before their memory is read
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
    idle_seconds: u32,
    /// How the numbers are printed
    #[arg(short, long, default_value = "text")]
    output: Output,
}

/// How much `bench register` measures.
#[derive(Debug, clap::Args)]
struct RegisterArgs {
    /// WECs that join, one after the other
    #[arg(long, default_value_t = 30, value_parser = count())]
    joins: u32,
    /// Works sent one by one
    #[arg(long, default_value_t = 200, value_parser = count())]
    works: u32,
    /// Works sent at once
    #[arg(long, default_value_t = 30, value_parser = count())]
    burst: u32,
    /// How long objects are written
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
    write_seconds: u32,
    /// How long spaces and agents rest before their memory is read
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = seconds())]
    idle_seconds: u32,
    /// How the numbers are printed
    #[arg(short, long, default_value = "text")]
    output: Output,
}

fn count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=i64::from(COUNT_MAX))
}

/// A phase of the benchmark is bounded by an hour's sixth.
fn seconds() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(0..=600)
}

/// Runs a benchmark and prints its numbers. A number that misses its target is printed as a miss
/// and is no failure.
///
/// # Errors
///
/// The first step that failed.
pub fn main(args: &BenchArgs) -> anyhow::Result<()> {
    client::install_crypto();
    let common = bench::Options {
        binary: std::env::current_exe().context("find the program's own file")?,
        version: format!("v{}", env!("CARGO_PKG_VERSION")),
        joins: 0,
        agents: 0,
        works: 0,
        burst: 0,
        write_seconds: 0,
        idle_seconds: 0,
    };
    let (subject, options, output) = match &args.benchmark {
        Benchmark::Register(args) => (
            bench::Subject::Register,
            bench::Options {
                joins: args.joins,
                works: args.works,
                burst: args.burst,
                write_seconds: args.write_seconds,
                idle_seconds: args.idle_seconds,
                ..common
            },
            args.output,
        ),
        Benchmark::Distribute(args) => (
            bench::Subject::Distribute,
            bench::Options {
                works: args.objects,
                agents: args.wecs,
                burst: args.evaluated,
                ..common
            },
            args.output,
        ),
        Benchmark::Join(args) => (
            bench::Subject::Join,
            bench::Options {
                joins: args.joins,
                agents: args.agents,
                idle_seconds: args.idle_seconds,
                ..common
            },
            args.output,
        ),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    let report = runtime.block_on(bench::run(subject, &options, tell))?;
    match output {
        Output::Text => print(&report.to_string()),
        Output::Json => print(&format!("{:#}\n", report.json())),
    }
    Ok(())
}

/// Progress goes to standard error: standard output is for the numbers.
fn tell(phase: &str) {
    // Nobody to tell is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{phase} …");
}
