//! `hyades bench distribute`: what it costs to bring a WDS's objects to WECs, and to bring back what
//! became of them.
//!
//! ```text
//! up ─▶ objects one by one, and their status back        a real WEC
//!    ─▶ one of many objects changes on many WECs         inventory objects and mailboxes only
//!    ─▶ a policy comes to match a thousand WECs          the same
//!    ─▶ many objects and policies, and no WEC at all     what evaluation costs
//! ```

use super::Options;
use super::WRITES_AT_A_TIME;
use super::client;
use super::crowd::Crowd;
use super::memory;
use super::report::Measure;
use super::report::Target;
use super::report::Unit;
use super::samples::Samples;
use super::sightings::Sightings;
use super::starts::ITS;
use super::starts::Up;
use super::starts::WDS;
use super::starts::WEC;
use anyhow::Context;
use futures::StreamExt;
use futures::TryStreamExt;
use futures::stream;
use hyades_api::cluster::ManagedCluster;
use hyades_api::control::BindingPolicy;
use hyades_api::control::names::labels;
use hyades_api::image::Component;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::core::PartialObjectMeta;
use serde_json::Value;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use std::time::Instant;

/// What is promised.
mod targets {
    pub(super) const ON_WEC_P50: f64 = 20.0;
    pub(super) const ON_WEC_P99: f64 = 100.0;
    pub(super) const BACK_P50: f64 = 40.0;
    pub(super) const BACK_P99: f64 = 200.0;
    /// Milliseconds until all works of one changed object are written.
    pub(super) const CHANGE: f64 = 500.0;
    pub(super) const WORKS_PER_SECOND: f64 = 10_000.0;
}

/// Objects of the policy of which one changes.
const OBJECTS: u32 = 100;

/// Policies when many objects are evaluated.
const POLICIES: u32 = 10;

/// How long one step may take before the run fails.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// How long nothing must happen before it counts as quiet.
const QUIET: Duration = Duration::from_secs(1);

/// The namespace of all objects, in WDS and WEC.
const NAMESPACE: &str = "bench";

/// Label of the objects of one measurement: its value names it.
const PART: &str = "bench";

/// The status that comes back from the WEC.
const HEALTHY: i32 = 7;

/// A WDS under measurement.
struct Scene<'a> {
    up: &'a Up,
    wds: Client,
    maps: Api<ConfigMap>,
    works: Api<ManifestWork>,
}

/// Measures everything about distribution on a fabric.
pub(super) async fn measure(
    options: &Options,
    up: &Up,
    tell: &impl Fn(&str),
    measures: &mut Vec<Measure>,
) -> anyhow::Result<()> {
    let wds = client(up, WDS).await?;
    make_namespace(&wds).await?;
    let scene = Scene {
        up,
        maps: Api::namespaced(wds.clone(), NAMESPACE),
        works: Api::all(client(up, ITS).await?),
        wds,
    };
    tell("sending objects one by one, and their status back");
    measures.extend(scene.one_by_one(options.works).await?);
    if options.agents > 0 {
        tell("making WECs without agents");
        let crowd = Crowd::make(&up.its, options.agents).await?;
        tell("changing one object of many on many WECs");
        measures.extend(scene.one_of_many(&crowd).await?);
        tell("letting a policy match all WECs");
        measures.extend(scene.all_at_once(&crowd).await?);
    }
    if options.burst > 0 {
        tell("evaluating many objects and policies");
        measures.extend(scene.many(options.burst).await?);
    }
    Ok(())
}

async fn make_namespace(space: &Client) -> anyhow::Result<()> {
    let api = Api::<Namespace>::all(space.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    let made = api.create(&PostParams::default(), &namespace).await;
    made.context("make the benchmark's namespace")?;
    Ok(())
}

impl Scene<'_> {
    /// Makes a policy that takes what is labelled with its own name to the WECs labelled so.
    async fn policy(&self, name: &str, mut clause: Value) -> anyhow::Result<Instant> {
        clause["objectSelectors"] = json!([{"matchLabels": {PART: name}}]);
        let policy = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "clusterSelectors": [{"matchLabels": {mark(name): ""}}],
                "downsync": [clause],
            },
        }))?;
        let api = Api::<BindingPolicy>::all(self.wds.clone());
        let at = Instant::now();
        let made = api.create(&PostParams::default(), &policy).await;
        made.with_context(|| format!("make the policy {name}"))?;
        Ok(at)
    }

    async fn one_by_one(&self, count: u32) -> anyhow::Result<Vec<Measure>> {
        let part = "one";
        let clusters = Api::<ManagedCluster>::all(self.up.its.clone());
        label(&clusters, WEC, part).await?;
        let clause =
            json!({"resources": ["poddisruptionbudgets"], "wantSingletonReportedState": true});
        self.policy(part, clause).await?;
        let wec = client(self.up, WEC).await?;
        make_namespace(&wec).await?;
        let here = Api::<PodDisruptionBudget>::namespaced(self.wds.clone(), NAMESPACE);
        let there = Api::<PodDisruptionBudget>::namespaced(wec, NAMESPACE);
        let mut arrivals = Sightings::start(there.clone(), "object on the WEC", |_| true).await?;
        let mut returns = Sightings::start(here.clone(), "returned status", is_back).await?;
        let (mut on_wec, mut back) = (Vec::new(), Vec::new());
        for number in 0..count {
            let name = format!("one-{number}");
            let object = serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {PART: part}},
                "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
            }))?;
            let sent = Instant::now();
            here.create(&PostParams::default(), &object).await?;
            let arrived = arrivals.of(&name, STEP_TIMEOUT).await?;
            on_wec.push(arrived.duration_since(sent));
            let patch = Patch::Merge(json!({"status": {
                "currentHealthy": HEALTHY, "desiredHealthy": 1, "disruptionsAllowed": 6, "expectedPods": HEALTHY,
            }}));
            let reported = Instant::now();
            there
                .patch_status(&name, &PatchParams::default(), &patch)
                .await?;
            let returned = returns.of(&name, STEP_TIMEOUT).await?;
            back.push(returned.duration_since(reported));
        }
        let of = |what: &str, samples: Vec<Duration>, p50: f64, p99: f64| {
            let samples = Samples::new(samples)?;
            let one = |percent: u32, target: f64| {
                let name = format!("{what}, p{percent} of {}", samples.count());
                let target = Some(Target::Below(target));
                Measure::milliseconds(&name, samples.percentile(percent), target)
            };
            Some([one(50, p50), one(99, p99)])
        };
        let out = of(
            "WDS object to WEC object",
            on_wec,
            targets::ON_WEC_P50,
            targets::ON_WEC_P99,
        );
        let back = of(
            "status on the WEC to status in the WDS",
            back,
            targets::BACK_P50,
            targets::BACK_P99,
        );
        Ok(out.into_iter().chain(back).flatten().collect())
    }

    /// Creates ConfigMaps for a part.
    async fn fill(&self, part: &str, count: u32) -> anyhow::Result<()> {
        let one = async |number: u32| {
            let map = serde_json::from_value(json!({
                "metadata": {"name": format!("{part}-{number}"), "labels": {PART: part}},
                "data": {"text": format!("object {number} of the benchmark")},
            }))?;
            self.maps.create(&PostParams::default(), &map).await?;
            anyhow::Ok(())
        };
        let writes = stream::iter(0..count)
            .map(one)
            .buffer_unordered(WRITES_AT_A_TIME);
        writes
            .try_collect()
            .await
            .context("make ConfigMaps in the WDS")
    }

    /// The works of a policy's Binding, with their versions, by mailbox and name.
    async fn written(&self, part: &str) -> anyhow::Result<HashMap<(String, String), String>> {
        let selector = format!("{}={part}", labels::ORIGIN_BINDING);
        let api = Api::<PartialObjectMeta<ManifestWork>>::all(self.works.clone().into_client());
        let list = api
            .list_metadata(&ListParams::default().labels(&selector))
            .await?;
        let works = list.items.into_iter().map(|work| {
            let key = (work.namespace().unwrap_or_default(), work.name_any());
            (key, work.resource_version().unwrap_or_default())
        });
        Ok(works.collect())
    }

    /// Waits until every WEC of a crowd has works and no more are written.
    async fn until_quiet(
        &self,
        part: &str,
        wecs: u32,
    ) -> anyhow::Result<HashMap<(String, String), String>> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let mut before = HashMap::new();
        loop {
            let now = self.written(part).await?;
            let mut mailboxes: Vec<&String> = now.keys().map(|(mailbox, _)| mailbox).collect();
            mailboxes.sort();
            mailboxes.dedup();
            if mailboxes.len() == wecs as usize && now == before {
                return Ok(now);
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "waited {} s for works in {wecs} mailboxes; there are some in {}",
                STEP_TIMEOUT.as_secs(),
                mailboxes.len()
            );
            before = now;
            tokio::time::sleep(QUIET).await;
        }
    }

    async fn one_of_many(&self, crowd: &Crowd) -> anyhow::Result<Vec<Measure>> {
        let part = "hundred";
        let wecs = crowd.count().min(OBJECTS);
        self.fill(part, OBJECTS).await?;
        crowd.label(&mark(part), wecs).await?;
        self.policy(part, json!({"resources": ["configmaps"]}))
            .await?;
        let before = self.until_quiet(part, wecs).await?;
        let mut news =
            Sightings::start_by(self.works.clone(), "changed work", has_changed, mailbox).await?;
        let patch = Patch::Merge(json!({"data": {"text": CHANGED}}));
        let changed = Instant::now();
        let name = format!("{part}-0");
        self.maps
            .patch(&name, &PatchParams::default(), &patch)
            .await?;
        let mut last = changed;
        for mailbox in crowd.names().take(wecs as usize) {
            last = last.max(news.of(mailbox, STEP_TIMEOUT).await?);
        }
        let after = self.until_quiet(part, wecs).await?;
        let written = after
            .iter()
            .filter(|(key, version)| before.get(*key) != Some(*version));
        Ok(vec![
            Measure::milliseconds(
                &format!("one of {OBJECTS} objects changed, until written for {wecs} WECs"),
                last.duration_since(changed),
                Some(Target::Below(targets::CHANGE)),
            ),
            Measure {
                name: format!("works written for that, of {}", after.len()),
                value: written.count() as f64,
                unit: Unit::Count,
                target: Some(Target::Below(f64::from(wecs) + 0.5)),
            },
        ])
    }

    async fn all_at_once(&self, crowd: &Crowd) -> anyhow::Result<Vec<Measure>> {
        let part = "all";
        self.fill(part, 10).await?;
        crowd.label(&mark(part), crowd.count()).await?;
        let mut arrivals =
            Sightings::start_by(self.works.clone(), "new work", is_of_all, whole_name).await?;
        let made = self
            .policy(part, json!({"resources": ["configmaps"]}))
            .await?;
        let works = self.until_quiet(part, crowd.count()).await?;
        let mut last = made;
        for (mailbox, name) in works.keys() {
            last = last.max(
                arrivals
                    .of(&format!("{mailbox}/{name}"), STEP_TIMEOUT)
                    .await?,
            );
        }
        let took = last.duration_since(made);
        Ok(vec![
            Measure {
                name: format!(
                    "works written, a policy new on {} WECs ({} works)",
                    crowd.count(),
                    works.len()
                ),
                value: works.len() as f64 / took.as_secs_f64(),
                unit: Unit::PerSecond,
                target: Some(Target::AtLeast(targets::WORKS_PER_SECOND)),
            },
            Measure::milliseconds("from that policy to the last work", took, None),
        ])
    }

    async fn many(&self, count: u32) -> anyhow::Result<Vec<Measure>> {
        let host = self.up.process.id()?;
        let component = Component::Distribution;
        let before = memory::processor(host, component)?;
        self.fill("many", count).await?;
        for number in 0..POLICIES {
            let policy = serde_json::from_value(json!({
                "metadata": {"name": format!("many-{number}")},
                "spec": {
                    "clusterSelectors": [{"matchLabels": {"nobody": "here"}}],
                    "downsync": [{"objectSelectors": [{"matchLabels": {PART: "many"}}]}],
                },
            }))?;
            let api = Api::<BindingPolicy>::all(self.wds.clone());
            api.create(&PostParams::default(), &policy).await?;
        }
        // It has done its work when it uses the processor no more.
        let deadline = Instant::now() + STEP_TIMEOUT;
        let mut last = memory::processor(host, component)?;
        loop {
            tokio::time::sleep(QUIET).await;
            let now = memory::processor(host, component)?;
            if now - last < Duration::from_millis(50) {
                last = now;
                break;
            }
            anyhow::ensure!(
                Instant::now() < deadline,
                "distribution does not come to rest"
            );
            last = now;
        }
        Ok(vec![
            Measure {
                name: format!("processor time for {count} objects and {POLICIES} policies"),
                value: (last - before).as_secs_f64(),
                unit: Unit::Seconds,
                target: None,
            },
            Measure {
                name: "memory of distribution with them".to_owned(),
                value: memory::resident(host, component)? as f64 / 1e6,
                unit: Unit::Megabytes,
                target: None,
            },
        ])
    }
}

/// The text of the object that changes.
const CHANGED: &str = "changed by the benchmark";

fn is_back(object: &PodDisruptionBudget) -> bool {
    let status = object.status.as_ref();
    status.is_some_and(|status| status.current_healthy == Some(HEALTHY))
}

fn has_changed(work: &ManifestWork) -> bool {
    let mut manifests = work.spec.workload.manifests.iter();
    manifests.any(|manifest| manifest["data"]["text"] == CHANGED)
}

fn is_of_all(work: &ManifestWork) -> bool {
    work.labels()
        .get(labels::ORIGIN_BINDING)
        .map(String::as_str)
        == Some("all")
}

fn mailbox(work: &ManifestWork) -> String {
    work.namespace().unwrap_or_default()
}

fn whole_name(work: &ManifestWork) -> String {
    format!("{}/{}", mailbox(work), work.name_any())
}

/// The label of WECs that a part's policy chooses.
fn mark(part: &str) -> String {
    format!("{PART}-{part}")
}

async fn label(clusters: &Api<ManagedCluster>, name: &str, part: &str) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"labels": {mark(part): ""}}}));
    let patched = clusters.patch(name, &PatchParams::default(), &patch).await;
    patched.with_context(|| format!("label the WEC {name}"))?;
    Ok(())
}
