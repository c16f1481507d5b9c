//! Starting a host, and bringing up a fabric.

use super::process::HostProcess;
use super::report::Measure;
use super::report::Target;
use super::report::Unit;
use super::samples::Samples;
use super::sightings::Sightings;
use anyhow::Context;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster;
use hyades_host::AdminClient;
use hyades_runtime::client;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Config;
use std::path::Path;
use std::time::Duration;
use std::time::Instant;

/// Starts of a host; the median is reported.
const STARTS: u32 = 5;

/// Longest start of a host on an empty data folder, in milliseconds.
const READY_MILLISECONDS: f64 = 300.0;

/// Longest time from nothing to two registered WECs, in seconds.
const UP_SECONDS: f64 = 5.0;

/// How long a host may take to answer: far more than it needs on the busiest machine.
const READY_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the fabric may take to come up.
const UP_TIMEOUT: Duration = Duration::from_secs(120);

/// Pause between two looks at what no watch tells, small against what is measured.
const PAUSE: Duration = Duration::from_millis(2);

/// The ITS that `up` makes.
pub(super) const ITS: &str = "its1";

/// The WDS that `up` makes.
pub(super) const WDS: &str = "wds1";

/// A WEC that `up` makes.
pub(super) const WEC: &str = "cluster1";

/// The names of the WECs that `up` makes.
const WECS: [&str; 2] = [WEC, "cluster2"];

/// A fabric that is up.
pub(super) struct Up {
    /// The host.
    pub(super) process: HostProcess,
    /// The way to make more spaces.
    pub(super) admin: AdminClient,
    /// The ITS, as its administrator.
    pub(super) its: Client,
}

/// Measures `hyades serve` on an empty data folder until `/readyz` answers.
pub(super) async fn ready(binary: &Path, folder: &Path) -> anyhow::Result<Measure> {
    let mut durations = Vec::new();
    for number in 1..=STARTS {
        let name = format!("serve-{number}");
        let mut host = HostProcess::start(binary, folder, &name, "serve")?;
        let started = host.process.started();
        let answers = answers(host.port);
        host.process
            .until("its /readyz answered", READY_TIMEOUT, answers)
            .await?;
        durations.push(started.elapsed());
        host.stop().await?;
    }
    let samples = Samples::new(durations).context("no start was measured")?;
    Ok(Measure::milliseconds(
        "host ready on an empty data folder, p50 of 5",
        samples.percentile(50),
        Some(Target::Below(READY_MILLISECONDS)),
    ))
}

/// Asks until the host's `/readyz` answers.
async fn answers(port: u16) -> anyhow::Result<()> {
    let url = format!("https://127.0.0.1:{port}");
    let mut config = Config::new(url.parse().context("make a URL of a port")?);
    // The authority is made by the very host whose start is measured.
    config.accept_invalid_certs = true;
    let client = client::connect(config, "hyades-bench")?;
    loop {
        let answer = client.request_text(client::get_request("/readyz")).await;
        if answer.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Measures `hyades up` until a watch on the ITS saw every WEC Joined and Available.
pub(super) async fn up(binary: &Path, folder: &Path) -> anyhow::Result<(Up, Measure)> {
    let mut process = HostProcess::start(binary, folder, "up", "up")?;
    let started = process.process.started();
    let data_folder = process.data_folder().to_owned();
    let (admin, its, at) = process
        .process
        .until(
            "all WECs were Joined and Available",
            UP_TIMEOUT,
            available(&data_folder),
        )
        .await?;
    let measure = Measure {
        name: "up, from nothing to two WECs Available".to_owned(),
        value: at.duration_since(started).as_secs_f64(),
        unit: Unit::Seconds,
        target: Some(Target::Below(UP_SECONDS)),
    };
    let up = Up {
        process,
        admin,
        its,
    };
    Ok((up, measure))
}

/// Waits for the ITS, then for the WECs; tells when the last was Available.
async fn available(data_folder: &Path) -> anyhow::Result<(AdminClient, Client, Instant)> {
    let (admin, its) = loop {
        match its(data_folder).await {
            Ok(found) => break found,
            // The host, its ITS, or the hub's definitions are not there yet.
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    let clusters = Api::all(its.clone());
    let mut sightings = Sightings::start(clusters, "an Available WEC", is_available).await?;
    let mut last = Instant::now();
    for wec in WECS {
        last = sightings.of(wec, UP_TIMEOUT).await?.max(last);
    }
    Ok((admin, its, last))
}

/// The ITS of a host that serves one that is a hub.
pub(super) async fn its(data_folder: &Path) -> anyhow::Result<(AdminClient, Client)> {
    let admin = AdminClient::connect(data_folder).await?;
    let kubeconfig = admin.kubeconfig(ITS).await?.to_yaml()?;
    let its = client::from_kubeconfig(&kubeconfig, ITS, "hyades-bench").await?;
    let clusters: Api<ManagedCluster> = Api::all(its.clone());
    clusters.list_metadata(&Default::default()).await?;
    Ok((admin, its))
}

/// Whether a WEC is Joined and Available.
pub(super) fn is_available(cluster: &ManagedCluster) -> bool {
    let found = &cluster.status.conditions;
    conditions::is_true(found, managed_cluster::JOINED)
        && conditions::is_true(found, managed_cluster::AVAILABLE)
}
