//! The way of a work: mailbox, WEC, and back.

use super::client;
use super::report::Measure;
use super::report::Target;
use super::samples::Samples;
use super::sightings::Sightings;
use super::starts::ITS;
use super::starts::Up;
use super::starts::WEC;
use anyhow::Context;
use futures::future::try_join_all;
use hyades_api::conditions;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;
use std::time::Duration;
use std::time::Instant;

/// How long a work may take; an agent that has lost it looks again well before.
const WORK_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest medians promised, in milliseconds.
mod targets {
    pub(super) const ON_WEC: f64 = 5.0;
    pub(super) const AVAILABLE: f64 = 10.0;
    pub(super) const BURST_ON_WEC: f64 = 25.0;
    pub(super) const BURST_AVAILABLE: f64 = 50.0;
}

/// The mailbox and the two watches.
struct Route {
    mailbox: Api<ManifestWork>,
    on_wec: Sightings,
    available: Sightings,
}

/// How long works took to get somewhere.
#[derive(Default)]
struct Durations {
    on_wec: Vec<Duration>,
    available: Vec<Duration>,
}

/// Measures works one by one, each created when the one before is Available, and works created at
/// once.
pub(super) async fn measure(up: &Up, works: u32, burst: u32) -> anyhow::Result<Vec<Measure>> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client(up, WEC).await?);
    let mailbox: Api<ManifestWork> = Api::namespaced(client(up, ITS).await?, WEC);
    let mut route = Route {
        on_wec: Sightings::start(maps, "ConfigMap", |_| true).await?,
        available: Sightings::start(mailbox.clone(), "Available work", is_available).await?,
        mailbox,
    };
    let mut single = Durations::default();
    for number in 0..works {
        let name = format!("bench-single-{number}");
        let sent = Instant::now();
        route.send(&name).await?;
        route.follow(&name, sent, &mut single).await?;
    }
    let mut together = Durations::default();
    let names: Vec<String> = (0..burst)
        .map(|number| format!("bench-burst-{number}"))
        .collect();
    let sent = Instant::now();
    try_join_all(names.iter().map(|name| route.send(name))).await?;
    for name in &names {
        route.follow(name, sent, &mut together).await?;
    }
    let mut measures = Vec::new();
    measures.extend(single_measures(single));
    measures.extend(burst_measures(together));
    Ok(measures)
}

impl Route {
    async fn send(&self, name: &str) -> anyhow::Result<()> {
        self.mailbox
            .create(&PostParams::default(), &work(name)?)
            .await
            .with_context(|| format!("create the work {name} in the mailbox of {WEC}"))?;
        Ok(())
    }

    async fn follow(
        &mut self,
        name: &str,
        sent: Instant,
        durations: &mut Durations,
    ) -> anyhow::Result<()> {
        let on_wec = self.on_wec.of(name, WORK_TIMEOUT).await?;
        let available = self.available.of(name, WORK_TIMEOUT).await?;
        durations.on_wec.push(on_wec.duration_since(sent));
        durations.available.push(available.duration_since(sent));
        Ok(())
    }
}

/// A work of one ConfigMap, named after it.
fn work(name: &str) -> anyhow::Result<ManifestWork> {
    let work = json!({
        "metadata": {"name": name},
        "spec": {"workload": {"manifests": [{
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": "default"},
            "data": {"purpose": "benchmark"},
        }]}},
    });
    serde_json::from_value(work).context("render a work")
}

fn is_available(work: &ManifestWork) -> bool {
    work.namespace().as_deref() == Some(WEC)
        && conditions::is_true(&work.status.conditions, conditions::work::AVAILABLE)
}

fn single_measures(durations: Durations) -> Vec<Measure> {
    let of = |samples: Vec<Duration>, what: &str, target: f64| {
        let samples = Samples::new(samples)?;
        let name = |figure: &str| format!("{what}, {figure} of {}", samples.count());
        Some([
            Measure::milliseconds(
                &name("p50"),
                samples.percentile(50),
                Some(Target::Below(target)),
            ),
            Measure::milliseconds(&name("p99"), samples.percentile(99), None),
        ])
    };
    let on_wec = of(
        durations.on_wec,
        "work to object on the WEC",
        targets::ON_WEC,
    );
    let available = of(
        durations.available,
        "work to Available on the hub",
        targets::AVAILABLE,
    );
    on_wec.into_iter().chain(available).flatten().collect()
}

fn burst_measures(durations: Durations) -> Vec<Measure> {
    let of = |samples: Vec<Duration>, what: &str, target: f64| {
        let samples = Samples::new(samples)?;
        let name = |figure: &str| format!("{} works at once {what}, {figure}", samples.count());
        Some([
            Measure::milliseconds(
                &name("p50"),
                samples.percentile(50),
                Some(Target::Below(target)),
            ),
            Measure::milliseconds(&name("last"), samples.longest(), None),
        ])
    };
    let on_wec = of(durations.on_wec, "to the WEC", targets::BURST_ON_WEC);
    let available = of(
        durations.available,
        "to Available",
        targets::BURST_AVAILABLE,
    );
    on_wec.into_iter().chain(available).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_is_available_when_the_mailbox_says_so() {
        let mut work = work("a").expect("a work");
        work.metadata.namespace = Some(WEC.to_owned());
        assert!(!is_available(&work));
        let condition = json!([{
            "type": "Available", "status": "True", "reason": "r", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]);
        work.status.conditions = serde_json::from_value(condition).expect("a condition");
        assert!(is_available(&work));
    }

    #[test]
    fn nothing_measured_is_nothing_reported() {
        assert!(single_measures(Durations::default()).is_empty());
        let milliseconds = |values: [u64; 3]| values.map(Duration::from_millis).to_vec();
        let measures = burst_measures(Durations {
            on_wec: milliseconds([3, 1, 2]),
            available: milliseconds([5, 9, 7]),
        });
        let values: Vec<f64> = measures.iter().map(|measure| measure.value).collect();
        assert_eq!(values, [2.0, 3.0, 7.0, 9.0]);
        assert_eq!(measures[3].name, "3 works at once to Available, last");
    }
}
