//! `hyades bench join`: what a registration costs, alone and by the thousand.
//!
//! ```text
//! up ─▶ agents one by one ─▶ writes of one join ─▶ all agents at once ─▶ memory, connected
//!    ─▶ one agent dies, and comes back ─▶ the others go ─▶ restart ─▶ memory, not connected
//! ```
//!
//! The host and its hub are processes of the binary under measurement. The agents of the crowd run
//! in this process, which shares the machine's cores with them, so their work is part of every
//! number.

use super::Options;
use super::fleet::Fleet;
use super::joins;
use super::joins::JOIN_TIMEOUT;
use super::joins::Joins;
use super::memory;
use super::report::Measure;
use super::report::Target;
use super::report::Unit;
use super::samples::Samples;
use super::sightings::Sightings;
use super::starts;
use super::starts::Up;
use super::starts::is_available;
use anyhow::Context;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as known;
use hyades_api::names;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

/// What is promised.
mod targets {
    /// Joins a second, at least.
    pub(super) const JOINS_PER_SECOND: f64 = 300.0;
    /// Kilobytes of host and hub per connected WEC.
    pub(super) const CONNECTED_KILOBYTES: f64 = 100.0;
    /// Kilobytes of host and hub per WEC that is registered only.
    pub(super) const REGISTERED_KILOBYTES: f64 = 20.0;
}

/// How long the whole crowd may take to join.
const CROWD_TIMEOUT: Duration = Duration::from_secs(300);

/// The lease of the agent that dies, in seconds: the shortest that may be set.
const LEASE_SECONDS: i32 = 5;

/// How long the death of an agent may go unnoticed: the hub's grace for a lease, twice.
const DEATH_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a host may take to come back and rest; the rest is ten minutes at most.
const RESUME_TIMEOUT: Duration = Duration::from_secs(12 * 60);

/// Joins whose writes are counted; the fewest count, since the rest is somebody else's.
const COUNTED_JOINS: u32 = 3;

/// How long a join's last writes may follow after Available, before they are counted.
const SETTLE: Duration = Duration::from_secs(1);

/// Measures everything about joins on a fabric.
pub(super) async fn measure(
    options: &Options,
    folder: &Path,
    up: Up,
    tell: &impl Fn(&str),
    measures: &mut Vec<Measure>,
) -> anyhow::Result<()> {
    let idle = Duration::from_secs(options.idle_seconds.into());
    let (names, before) = match connected(options, folder, &up, tell, measures).await {
        Ok(found) => found,
        Err(error) => {
            // The error that matters is the first.
            let _ = up.process.stop().await;
            return Err(error);
        }
    };
    up.process.stop().await?;
    if names == 0 {
        return Ok(());
    }
    tell("starting the host again, without the crowd");
    let mut host = up.process.resume(&options.binary, folder)?;
    let id = host.id()?;
    let data_folder = host.data_folder().to_owned();
    let what = "its registered WECs were counted";
    let counted = registered(id, &data_folder, names, idle);
    let after = host.process.until(what, RESUME_TIMEOUT, counted).await;
    let stopped = host.stop().await;
    measures.push(per_wec(
        "host and hub per registered WEC, not connected",
        before,
        after?,
        names,
        targets::REGISTERED_KILOBYTES,
    ));
    stopped
}

/// What is measured while agents are connected; how many registered, and the memory before them.
async fn connected(
    options: &Options,
    folder: &Path,
    up: &Up,
    tell: &impl Fn(&str),
    measures: &mut Vec<Measure>,
) -> anyhow::Result<(u32, u64)> {
    joins::accept_by_itself(up).await?;
    let mut joins = Joins::prepare(&options.binary, up).await?;
    tell("joining WECs, one after the other");
    let mut durations = Vec::new();
    for number in 0..options.joins {
        durations.push(joins.by_agent(&format!("bench-agent-{number}")).await?);
    }
    measures.extend(joins::of_agents(durations));

    tell("counting the writes of a join");
    measures.push(writes_per_join(up, &mut joins).await?);

    tell("letting it rest, then reading resident memory");
    tokio::time::sleep(Duration::from_secs(options.idle_seconds.into())).await;
    let host = up.process.id()?;
    let before = memory::of_hub(host)?;

    tell("joining a crowd of WECs, all at once");
    let mut fleet = Fleet::prepare(folder).await?;
    let names: Vec<String> = (0..options.agents)
        .map(|number| format!("bench-crowd-{number}"))
        .collect();
    measures.extend(crowd(&mut fleet, &names, &mut joins).await?);
    tell("letting it rest, then reading resident memory");
    tokio::time::sleep(Duration::from_secs(options.idle_seconds.into())).await;
    let after = memory::of_hub(host)?;
    if let Some(first) = names.first() {
        measures.push(per_wec(
            "host and hub per connected WEC",
            before,
            after,
            options.agents,
            targets::CONNECTED_KILOBYTES,
        ));
        tell("killing an agent, and starting it again");
        measures.extend(death_and_return(up, &mut fleet, first).await?);
    }
    fleet.stop().await?;
    Ok((options.agents, before))
}

/// The writes on the ITS that one join makes, its agent's and its hub's: how far the space's
/// revision moves. Every object written moves it by one, whatever is batched into one commit.
async fn writes_per_join(up: &Up, joins: &mut Joins<'_>) -> anyhow::Result<Measure> {
    let mut fewest = u64::MAX;
    for number in 0..COUNTED_JOINS {
        let before = revision(up).await?;
        joins.by_agent(&format!("bench-count-{number}")).await?;
        tokio::time::sleep(SETTLE).await;
        fewest = fewest.min(revision(up).await?.saturating_sub(before));
    }
    Ok(Measure {
        name: "writes on the ITS per join".to_owned(),
        value: fewest as f64,
        unit: Unit::Count,
        target: None,
    })
}

async fn revision(up: &Up) -> anyhow::Result<u64> {
    let api: Api<Namespace> = Api::all(up.its.clone());
    let list = api.list_metadata(&ListParams::default().limit(1)).await;
    let list = list.context("ask the ITS for its revision")?;
    let version = list.metadata.resource_version.unwrap_or_default();
    version.parse().context("read the revision of the ITS")
}

/// Joins all agents at once.
async fn crowd(
    fleet: &mut Fleet,
    names: &[String],
    joins: &mut Joins<'_>,
) -> anyhow::Result<Vec<Measure>> {
    fleet.furnish(names, &joins.bootstrap_secret()?).await?;
    let started = Instant::now();
    for name in names {
        fleet.start(name).await?;
    }
    let deadline = started + CROWD_TIMEOUT;
    let mut durations = Vec::new();
    for name in names {
        let left = deadline.saturating_duration_since(Instant::now());
        let available = joins.sightings.of(name, left).await?;
        durations.push(available.duration_since(started));
    }
    let Some(samples) = Samples::new(durations) else {
        return Ok(Vec::new());
    };
    let count = samples.count();
    Ok(vec![
        Measure {
            name: format!("joins by {count} agents at once"),
            value: count as f64 / samples.longest().as_secs_f64(),
            unit: Unit::PerSecond,
            target: Some(Target::AtLeast(targets::JOINS_PER_SECOND)),
        },
        Measure::milliseconds(
            "one of them, from the start of all to Available, p50",
            samples.percentile(50),
            None,
        ),
        Measure::milliseconds("the last of them", samples.longest(), None),
    ])
}

fn per_wec(name: &str, before: u64, after: u64, wecs: u32, kilobytes_max: f64) -> Measure {
    Measure {
        name: name.to_owned(),
        value: after.saturating_sub(before) as f64 / f64::from(wecs) / 1e3,
        unit: Unit::Kilobytes,
        target: Some(Target::Below(kilobytes_max)),
    }
}

/// How long it takes until the hub calls a dead agent's WEC Unknown, and until it is Available
/// again when the agent is back.
async fn death_and_return(up: &Up, fleet: &mut Fleet, name: &str) -> anyhow::Result<[Measure; 2]> {
    let clusters: Api<ManagedCluster> = Api::all(up.its.clone());
    let lease = Patch::Merge(json!({"spec": {"leaseDurationSeconds": LEASE_SECONDS}}));
    clusters
        .patch(name, &PatchParams::default(), &lease)
        .await
        .with_context(|| format!("shorten the lease of {name}"))?;
    renewed_twice(up, name).await?;
    let mut unknown = Sightings::start(clusters.clone(), "Unknown WEC", is_unknown).await?;
    let died = Instant::now();
    fleet.kill(name);
    let noticed = unknown.of(name, DEATH_TIMEOUT).await?;
    drop(unknown);
    let mut available = Sightings::start(clusters, "Available WEC", is_available).await?;
    let back = Instant::now();
    fleet.start(name).await?;
    let seen = available.of(name, JOIN_TIMEOUT).await?;
    Ok([
        Measure {
            name: format!("an agent's death to Unknown, with a lease of {LEASE_SECONDS} s"),
            value: noticed.duration_since(died).as_secs_f64(),
            unit: Unit::Seconds,
            target: Some(Target::Below(f64::from(LEASE_SECONDS) + 1.0)),
        },
        Measure::milliseconds("its return to Available", seen.duration_since(back), None),
    ])
}

/// Waits until the agent renews its lease at the new pace.
async fn renewed_twice(up: &Up, name: &str) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(up.its.clone(), name);
    for _ in 0..2 {
        let before = leases.get(names::LEASE).await?.resource_version();
        joins::poll(
            &format!("the agent of {name} to renew its lease"),
            DEATH_TIMEOUT,
            async || Ok(leases.get(names::LEASE).await?.resource_version() != before),
        )
        .await?;
    }
    Ok(())
}

fn is_unknown(cluster: &ManagedCluster) -> bool {
    let found = conditions::find(&cluster.status.conditions, known::AVAILABLE);
    found.is_some_and(|condition| condition.status == "Unknown")
}

/// The memory of a host with registered WECs whose agents are gone, once its hub knows them all.
async fn registered(id: u32, data_folder: &Path, wecs: u32, idle: Duration) -> anyhow::Result<u64> {
    joins::poll("the hub to run again", JOIN_TIMEOUT, async || {
        memory::of_hub(id).map(|_| true)
    })
    .await?;
    let its = starts::its(data_folder).await?.1;
    let clusters: Api<ManagedCluster> = Api::all(its);
    let list = clusters.list_metadata(&ListParams::default()).await?;
    let found = u32::try_from(list.items.len()).unwrap_or(u32::MAX);
    anyhow::ensure!(
        found >= wecs,
        "{wecs} WECs were registered, and {found} are left after a restart"
    );
    tokio::time::sleep(idle).await;
    memory::of_hub(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_out_among_the_wecs() {
        let measure = per_wec("m", 1_000_000, 3_000_000, 100, 100.0);
        assert_eq!(measure.value, 20.0);
        // Memory given back meanwhile is no memory won.
        assert_eq!(per_wec("m", 2, 1, 1, 1.0).value, 0.0);
    }
}
