//! Durable writes: many writers, one space, over TLS.

use super::client;
use super::report::Measure;
use super::report::Target;
use super::report::Unit;
use super::samples::Samples;
use super::starts::Up;
use anyhow::Context;
use futures::future::try_join_all;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;
use std::time::Duration;
use std::time::Instant;

/// Writers at a time, each with one request under way.
const WRITERS: u32 = 64;

/// The space that is written to.
const SPACE: &str = "bench-writes";

/// Fewest writes a second.
const WRITES_PER_SECOND: f64 = 10_000.0;

/// Longest 99th percentile, in milliseconds.
const P99_MILLISECONDS: f64 = 50.0;

/// Measures the creation of ConfigMaps; an answer means that the object is on disk.
pub(super) async fn measure(up: &Up, length: Duration) -> anyhow::Result<Vec<Measure>> {
    up.admin.create_space(SPACE).await?;
    let client = client(up, SPACE).await?;
    let started = Instant::now();
    let end = started + length;
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        writers.push(tokio::spawn(write(client.clone(), number, end)));
    }
    let written = try_join_all(writers).await.context("a writer broke off")?;
    let elapsed = started.elapsed();
    let written: Vec<Vec<Duration>> = written.into_iter().collect::<anyhow::Result<_>>()?;
    up.admin.delete_space(SPACE).await?;
    let samples =
        Samples::new(written.concat()).context("nothing was written in the time given")?;
    Ok(vec![
        Measure {
            name: format!("durable writes by {WRITERS} writers"),
            value: samples.count() as f64 / elapsed.as_secs_f64(),
            unit: Unit::PerSecond,
            target: Some(Target::AtLeast(WRITES_PER_SECOND)),
        },
        Measure::milliseconds(
            "a durable write among them, p50",
            samples.percentile(50),
            None,
        ),
        Measure::milliseconds(
            "a durable write among them, p99",
            samples.percentile(99),
            Some(Target::Below(P99_MILLISECONDS)),
        ),
    ])
}

/// Writes one object after the other until `end`.
async fn write(client: Client, writer: u32, end: Instant) -> anyhow::Result<Vec<Duration>> {
    let api: Api<ConfigMap> = Api::default_namespaced(client);
    let mut durations = Vec::new();
    for number in 0_u64.. {
        let sent = Instant::now();
        if sent >= end {
            break;
        }
        let map = json!({
            "metadata": {"name": format!("w{writer}-{number}")},
            "data": {"purpose": "benchmark"},
        });
        let map = serde_json::from_value(map).context("render a ConfigMap")?;
        api.create(&PostParams::default(), &map)
            .await
            .with_context(|| format!("create ConfigMap w{writer}-{number} in {SPACE}"))?;
        durations.push(sent.elapsed());
    }
    Ok(durations)
}
