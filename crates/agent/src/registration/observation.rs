//! Looking at the WEC: health, version, nodes and claims, kept as one present picture.

use crate::options::RegistrationOptions;
use crate::registration::claims;
use crate::registration::claims::Selection;
use crate::registration::namespaces::Outcomes;
use crate::registration::resources;
use crate::registration::status::Liveness;
use crate::registration::status::Observed;
use hyades_api::cluster::ClusterClaim;
use hyades_api::cluster::ClusterProperty;
use hyades_api::features;
use hyades_api::features::FeatureGates;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::core::v1::Node;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::watcher;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A failing API server is asked again after this time, not after the whole period.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Longest answer of a failing API server quoted in a condition.
const QUOTED_BYTES_MAX: usize = 512;

/// The picture of the WEC. Dropping it ends its watches.
pub struct Observation {
    client: Client,
    observed: watch::Sender<Observed>,
    _nodes: Cache<Node>,
    _claims: Option<Cache<ClusterClaim>>,
    _properties: Option<Cache<ClusterProperty>>,
}

impl Observation {
    /// Starts looking. Claims are left out unless their gate is on, and properties unless theirs
    /// is too.
    pub fn start(client: Client, options: &RegistrationOptions, gates: &FeatureGates) -> Self {
        let observed = watch::Sender::new(Observed::default());
        let with_claims = gates.enabled(features::CLUSTER_CLAIM);
        let with_properties = with_claims && gates.enabled(features::CLUSTER_PROPERTY);
        let facts = Arc::new(Mutex::new(Facts::new(options, with_properties)));
        Self {
            _nodes: watch_nodes(&client, observed.clone()),
            _claims: with_claims.then(|| {
                watch_facts(client.clone(), facts.clone(), observed.clone(), |claim| {
                    let claim: &ClusterClaim = claim;
                    claim.spec.value.clone()
                })
            }),
            _properties: with_properties.then(|| {
                watch_facts(client.clone(), facts, observed.clone(), |property| {
                    let property: &ClusterProperty = property;
                    property.spec.value.clone()
                })
            }),
            client,
            observed,
        }
    }

    /// The client that the picture is made with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Notes how the namespaces fare that the hub wants here.
    pub fn note_namespaces(&self, outcomes: Outcomes) {
        self.observed.send_if_modified(|observed| {
            let changed = observed.namespaces != outcomes;
            observed.namespaces = outcomes;
            changed
        });
    }

    /// The picture, and notice of its changes.
    pub fn subscribe(&self) -> watch::Receiver<Observed> {
        self.observed.subscribe()
    }

    /// Asks for health and version now and every `period`, for ever.
    pub async fn probe(&self, period: Duration) {
        let mut failing_since: Option<Instant> = None;
        loop {
            let (health, version) =
                tokio::join!(healthy(&self.client), self.client.apiserver_version());
            let liveness = match health {
                Ok(()) => {
                    failing_since = None;
                    Liveness::Alive
                }
                Err(detail) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    tracing::warn!("this cluster's API server is not well: {detail}");
                    Liveness::Failing {
                        detail,
                        since: since.elapsed(),
                    }
                }
            };
            let wait = if liveness == Liveness::Alive {
                period
            } else {
                RETRY_AFTER.min(period)
            };
            self.observed.send_modify(|observed| {
                observed.liveness = liveness;
                if let Ok(info) = version {
                    observed.version = Some(info.git_version);
                }
            });
            tokio::time::sleep(wait).await;
        }
    }
}

/// Asks `/livez`, or `/healthz` where that is unknown or forbidden.
async fn healthy(client: &Client) -> Result<(), String> {
    match page(client, "/livez").await {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
            page(client, "/healthz").await
        }
        other => other,
    }
    .map_err(|error| match error {
        kube::Error::Api(status) => {
            let text: String = status.message.chars().take(QUOTED_BYTES_MAX).collect();
            format!("{}, {text}", status.code)
        }
        other => format!("0, {}", Trouble::of(&other)),
    })
}

async fn page(client: &Client, path: &str) -> kube::Result<()> {
    let request = hyades_runtime::client::get_request(path);
    client.request_text(request).await.map(drop)
}

fn watch_nodes(client: &Client, observed: watch::Sender<Observed>) -> Cache<Node> {
    let trim = |node: &mut Node| {
        // Only quantities and cordons are added up; images and addresses are the larger part.
        node.metadata.annotations = None;
        if let Some(status) = &mut node.status {
            status.images = None;
            status.conditions = None;
            status.volumes_attached = None;
            status.volumes_in_use = None;
        }
    };
    let mut nodes = std::collections::BTreeMap::new();
    let mut synced = false;
    controller::watch_trimmed(
        Api::all(client.clone()),
        watcher::Config::default(),
        trim,
        move |change| {
            match change {
                controller::Change::Applied(node) => {
                    nodes.insert(node.metadata.name.clone(), node.clone());
                }
                controller::Change::Deleted(node) => {
                    nodes.remove(&node.metadata.name);
                }
                controller::Change::Synced => synced = true,
            }
            if synced {
                let sums = resources::sum(nodes.values());
                observed.send_if_modified(|observed| {
                    let changed = observed.nodes.as_ref() != Some(&sums);
                    observed.nodes = Some(sums);
                    changed
                });
            }
        },
    )
}

/// A kind whose objects are reported as claims.
trait Fact:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Where the facts of this kind are kept.
    fn shelf(facts: &mut Facts) -> &mut Shelf;
}

impl Fact for ClusterClaim {
    fn shelf(facts: &mut Facts) -> &mut Shelf {
        &mut facts.claims
    }
}

impl Fact for ClusterProperty {
    fn shelf(facts: &mut Facts) -> &mut Shelf {
        &mut facts.properties
    }
}

/// The facts of one kind that may be told to the hub, by name.
#[derive(Default)]
struct Shelf {
    values: BTreeMap<String, String>,
    complete: bool,
}

/// What the WEC says about itself.
struct Facts {
    claims: Shelf,
    properties: Shelf,
    reserved_suffixes: Vec<String>,
    custom_max: usize,
}

impl Facts {
    fn new(options: &RegistrationOptions, with_properties: bool) -> Self {
        Self {
            claims: Shelf::default(),
            properties: Shelf {
                complete: !with_properties,
                ..Shelf::default()
            },
            reserved_suffixes: options.reserved_cluster_claim_suffixes.clone(),
            custom_max: options.max_custom_cluster_claims,
        }
    }

    /// What to report, once everything is known. A property overrides a claim of the same name.
    fn selection(&self) -> Option<Selection> {
        if !(self.claims.complete && self.properties.complete) {
            return None;
        }
        let all = self.claims.values.iter().chain(&self.properties.values);
        Some(claims::select(
            &all.collect(),
            &self.reserved_suffixes,
            self.custom_max,
        ))
    }
}

fn watch_facts<K: Fact>(
    client: Client,
    facts: Arc<Mutex<Facts>>,
    observed: watch::Sender<Observed>,
    value: impl Fn(&K) -> String + Send + 'static,
) -> Cache<K> {
    controller::watch(
        Api::all(client),
        watcher::Config::default(),
        move |change: Change<'_, K>| {
            let mut facts = facts.lock().unwrap_or_else(PoisonError::into_inner);
            let shelf = K::shelf(&mut facts);
            match change {
                Change::Applied(fact) if claims::is_private(fact.meta()) => {
                    shelf.values.remove(&fact.name_any());
                }
                Change::Applied(fact) => {
                    shelf.values.insert(fact.name_any(), value(fact));
                }
                Change::Deleted(fact) => {
                    shelf.values.remove(&fact.name_any());
                }
                Change::Synced => shelf.complete = true,
            }
            let Some(selection) = facts.selection() else {
                return;
            };
            observed.send_if_modified(|observed| {
                let changed = observed.claims.as_ref() != Some(&selection.claims);
                observed.claims = Some(selection.claims);
                observed.claims_truncated = selection.truncated;
                changed
            });
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_runtime::kube::client::Body;
    use hyper::Request;
    use hyper::Response;
    use serde_json::json;
    use std::convert::Infallible;

    fn facts(with_properties: bool, flags: &[&str]) -> Facts {
        let options = crate::options::tests::parse(flags).expect("flags");
        Facts::new(&options.registration, with_properties)
    }

    /// An API server that answers its pages with these codes, and 500 to anything else.
    fn server(pages: &'static [(&str, u16)]) -> Client {
        let service = tower::service_fn(async move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let page = pages.iter().find(|(page, _)| *page == path);
            let code = page.map_or(500, |(_, code)| *code);
            let text = if code == 200 { "ok" } else { "not well" };
            let status = json!({"code": code, "message": text, "reason": "", "status": "Failure"});
            let body = if code == 200 {
                text.to_owned()
            } else {
                status.to_string()
            };
            let answer = Response::builder()
                .status(code)
                .body(Body::from(body.into_bytes()));
            Ok::<_, Infallible>(answer.expect("an answer"))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn an_older_page_counts_where_the_newer_one_is_unknown_or_forbidden() {
        for code in [403, 404] {
            let pages: &'static [_] = match code {
                403 => &[("/livez", 403), ("/healthz", 200)],
                _ => &[("/livez", 404), ("/healthz", 200)],
            };
            assert_eq!(healthy(&server(pages)).await, Ok(()), "{code}");
        }
        assert_eq!(healthy(&server(&[("/livez", 200)])).await, Ok(()));
    }

    #[tokio::test]
    async fn a_server_that_says_it_is_not_well_is_quoted_and_no_other_page_asked() {
        let ill = server(&[("/livez", 503), ("/healthz", 200)]);
        assert_eq!(healthy(&ill).await, Err("503, not well".to_owned()));
        let older = server(&[("/livez", 404), ("/healthz", 500)]);
        assert_eq!(healthy(&older).await, Err("500, not well".to_owned()));
    }

    fn shelf(pairs: &[(&str, &str)]) -> Shelf {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Shelf {
            values: pairs.collect(),
            complete: true,
        }
    }

    #[test]
    fn a_property_overrides_a_claim_and_both_share_one_limit() {
        let mut facts = facts(true, &["--max-custom-cluster-claims=2"]);
        facts.claims = shelf(&[("a", "claim"), ("b", "claim"), ("id.k8s.io", "id")]);
        assert_eq!(facts.selection(), None, "properties are not known yet");
        facts.properties = shelf(&[("a", "property"), ("c", "property")]);
        let selection = facts.selection().expect("a selection");
        let told: Vec<_> = selection
            .claims
            .iter()
            .map(|claim| format!("{}={}", claim.name, claim.value))
            .collect();
        assert_eq!(told, ["id.k8s.io=id", "a=property", "b=claim"]);
        assert_eq!(selection.truncated, 1);
    }

    #[test]
    fn claims_do_not_wait_for_properties_that_nobody_asked_for() {
        let mut facts = facts(false, &[]);
        facts.claims = shelf(&[("a", "1")]);
        assert_eq!(facts.selection().map(|all| all.claims.len()), Some(1));
    }
}
