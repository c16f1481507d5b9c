//! What an agent tells the hub and people, from its first word on.

use crate::hub::Hub;
use crate::pass;
use crate::recovery::age;
use crate::registered;
use crate::until;
use crate::until_gone;
use crate::wec;
use crate::wec::Wec;
use hyades_agent::credentials::Credentials;
use hyades_agent::credentials::keys;
use hyades_agent::install::Mode;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as known;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_runtime::apply;
use hyades_runtime::client;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::events::v1::Event;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;
use tokio::task::LocalSet;

/// An agent without a certificate makes sure of its inventory object within this time.
const ANNOUNCED: Duration = Duration::from_secs(2 * 3600);

/// Requests beyond which an agent makes no more.
const REQUESTS_MAX: usize = 10;

async fn ensure(client: &Client, object: Value) {
    let applied = apply::ensure(client, "test", &object).await;
    applied.expect("applied");
}

/// What the hub is told of a condition: its status, reason and message.
async fn told(hub: &Hub, kind: &str) -> Option<(String, String, String)> {
    let cluster = hub.clusters().get_opt("cluster1").await;
    let cluster = cluster.expect("an answer")?;
    let found = conditions::find(&cluster.status.conditions, kind)?;
    let (status, reason) = (found.status.clone(), found.reason.clone());
    Some((status, reason, found.message.clone()))
}

#[tokio::test]
async fn an_inventory_object_that_is_deleted_while_the_request_waits_is_made_again() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.run(&hub, "cluster1").await;
            let announced = async || {
                let found = hub.clusters().get_opt("cluster1").await.expect("an answer");
                (found.is_some() && !hub.requests().await.is_empty()).then_some(())
            };
            until("the object and a request", announced).await;
            let clusters = hub.clusters();
            let deleted = clusters.delete("cluster1", &Default::default()).await;
            deleted.expect("deleted");
            until_gone(&clusters, "cluster1").await;
            pass(ANNOUNCED).await;
            until("both are there again", announced).await;
            hub.accept("cluster1").await;
            hub.until_available("cluster1").await;
        })
        .await;
}

#[tokio::test]
async fn addresses_and_annotations_of_the_cluster_come_with_its_inventory_object() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Singleton).await;
            wec.start_operator();
            let flags = [
                "--spoke-external-server-urls=https://one.example:6443,https://two.example",
                "--cluster-annotations=agent.open-cluster-management.io/room=7,example.com/x=1",
            ];
            wec.start_agent_with(names::KLUSTERLET, namespaces::AGENT, &flags)
                .await;
            let cluster = until("the inventory object", async || {
                hub.clusters().get_opt("cluster1").await.expect("an answer")
            })
            .await;
            let configs = &cluster.spec.managed_cluster_client_configs;
            let urls: Vec<_> = configs.iter().map(|one| one.url.as_str()).collect();
            assert_eq!(urls, ["https://one.example:6443", "https://two.example"]);
            let annotations = cluster.annotations();
            let room = annotations.get("agent.open-cluster-management.io/room");
            assert_eq!(room.map(String::as_str), Some("7"));
            assert!(!annotations.contains_key("example.com/x"));
            assert!(!cluster.spec.hub_accepts_client);
        })
        .await;
}

#[tokio::test]
async fn credentials_that_cannot_be_saved_are_kept_until_they_can() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            let kind = |kind: &str, spec: Value| {
                json!({
                    "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
                    "metadata": {"name": "no-credentials"}, "spec": spec,
                })
            };
            let rule = json!({
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["secrets"],
            });
            let policy = json!({
                "matchConstraints": {"resourceRules": [rule]},
                "validations": [{"expression":
                    format!("object.metadata.name != '{}'", names::HUB_KUBECONFIG_SECRET)}],
            });
            ensure(&wec.client, kind("ValidatingAdmissionPolicy", policy)).await;
            let binding = json!({"policyName": "no-credentials", "validationActions": ["Deny"]});
            let binding = kind("ValidatingAdmissionPolicyBinding", binding);
            ensure(&wec.client, binding.clone()).await;
            wec.run(&hub, "cluster1").await;
            wec.until_event("CredentialsNotSaved").await;
            let address = apply::Address::of(&binding).expect("an address");
            let freed = apply::ensure_absent(&wec.client, &address).await;
            freed.expect("deleted");
            hub.until_available("cluster1").await;
            assert_eq!(hub.requests().await.len(), 1, "none was asked for again");
        })
        .await;
}

#[tokio::test]
async fn a_join_is_told_on_the_hub_with_the_certificates_times_and_an_event() {
    LocalSet::new()
        .run_until(async {
            let (hub, _wec) = registered().await;
            let (status, reason, message) = until("the certificate is told of", async || {
                told(&hub, known::CERTIFICATE_ROTATED).await
            })
            .await;
            assert_eq!(
                (status.as_str(), reason.as_str()),
                ("True", "ClientCertificateUpdated")
            );
            let start = "client certificate rotated starting from ";
            assert!(
                message.starts_with(start) && message.ends_with(" +0000 UTC"),
                "{message}"
            );
            let events: Api<Event> = Api::namespaced(hub.client.clone(), "cluster1");
            let event = until("an Event Available", async || {
                let all = events.list(&Default::default()).await.expect("events");
                let mut all = all.items.into_iter();
                all.find(|event| event.reason.as_deref() == Some("Available"))
            })
            .await;
            let regarding = event.regarding.expect("an object");
            assert_eq!(regarding.kind.as_deref(), Some("ManagedCluster"));
            assert_eq!(regarding.name.as_deref(), Some("cluster1"));
        })
        .await;
}

#[tokio::test]
async fn claims_beyond_the_limit_are_left_out_and_people_are_told() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Singleton).await;
            wec.start_operator();
            wec.deployment("klusterlet-agent").await;
            for (name, value) in [("b", "2"), ("a", "1"), ("id.k8s.io", "one")] {
                let claim = json!({
                    "apiVersion": "cluster.open-cluster-management.io/v1alpha1",
                    "kind": "ClusterClaim", "metadata": {"name": name}, "spec": {"value": value},
                });
                ensure(&wec.client, claim).await;
            }
            let one = ["--max-custom-cluster-claims=1"];
            wec.start_agent_with(names::KLUSTERLET, namespaces::AGENT, &one)
                .await;
            until("the reserved claim and one other", async || {
                let cluster = hub
                    .clusters()
                    .get_opt("cluster1")
                    .await
                    .expect("an answer")?;
                let claims = cluster.status.cluster_claims;
                let names: Vec<_> = claims.iter().map(|claim| claim.name.as_str()).collect();
                (names == ["id.k8s.io", "a"]).then_some(())
            })
            .await;
            let message = wec.until_event("CustomClusterClaimsTruncated").await;
            assert!(
                message.starts_with("1 claims beyond the limit of 1"),
                "{message}"
            );
        })
        .await;
}

/// A client with the agent's own credentials.
async fn agents_client(wec: &Wec) -> Client {
    let credentials = Credentials::read(&wec.hub_secret().await).expect("credentials");
    let kubeconfig = credentials.client_kubeconfig().to_yaml().expect("YAML");
    let client = client::from_kubeconfig(&kubeconfig, "test", "test").await;
    client.expect("a client")
}

#[tokio::test]
async fn a_renewal_beyond_the_limit_of_requests_is_told_on_the_hub_and_made_when_there_is_room() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = registered().await;
            let requests: Api<CertificateSigningRequest> = Api::all(agents_client(&wec).await);
            let mut request = hub.requests().await.remove(0);
            let asked =
                CertificateRequest::parse_pem(&String::from_utf8_lossy(&request.spec.request.0))
                    .expect("a request");
            let mut made = Vec::new();
            for _ in 0..REQUESTS_MAX {
                let pem = CertificateRequest::new(&Key::generate(), asked.subject());
                request.spec.request = ByteString(pem.expect("a request").into_bytes());
                request.spec.username = None;
                request.spec.groups = None;
                request.spec.extra = None;
                request.spec.uid = None;
                request.status = None;
                request.metadata = serde_json::from_value(json!({
                    "generateName": "cluster1-", "labels": {labels::CLUSTER_NAME: "cluster1"},
                }))
                .expect("metadata");
                let created = requests.create(&PostParams::default(), &request).await;
                made.push(created.expect("created").name_any());
            }
            let key = wec.hub_secret().await.data.expect("data")[keys::KEY].clone();
            age(&hub, &wec, -600).await;
            let (_, reason, message) = until("the hub is told", async || {
                let said = told(&hub, known::CERTIFICATE_ROTATED).await?;
                (said.0 == "False").then_some(said)
            })
            .await;
            assert_eq!(reason, "ClientCertificateUpdateFailed");
            let upstreams = "Stop creating csr since there are too many csr created already on hub";
            assert!(message.starts_with(upstreams), "{message}");
            for name in made {
                hub.delete_request(&name).await;
            }
            until("a renewal", async || {
                pass(Duration::from_secs(60)).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
                let data = wec.hub_secret().await.data.expect("data");
                (data[keys::KEY] != key).then_some(())
            })
            .await;
            until("the hub is told that all is well", async || {
                let said = told(&hub, known::CERTIFICATE_ROTATED).await?;
                (said.0 == "True").then_some(())
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_is_turned_away_stops_its_lease_until_it_is_accepted_again() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = registered().await;
            let accepts = |accepts: bool| json!({"spec": {"hubAcceptsClient": accepts, "leaseDurationSeconds": 1}});
            hub.patch("cluster1", accepts(true)).await;
            hub.until_renewed(hub.renewed_on().await).await;
            hub.patch("cluster1", accepts(false)).await;
            until("the hub has taken back its consent", async || {
                (told(&hub, known::HUB_ACCEPTED).await?.0 == "False").then_some(())
            })
            .await;
            let many_leases = Duration::from_secs(10);
            until("the lease rests", async || {
                let before = hub.renewed_on().await;
                for _ in 0..3 {
                    pass(many_leases).await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                (hub.renewed_on().await == before).then_some(())
            })
            .await;
            let before = hub.renewed_on().await;
            hub.patch("cluster1", accepts(true)).await;
            hub.until_renewed(before).await;
            hub.until_available("cluster1").await;
            assert_eq!(hub.requests().await.len(), 1, "its certificate still serves");
            drop(wec);
        })
        .await;
}

#[tokio::test]
async fn a_cluster_that_gets_another_name_registers_under_it_and_leaves_the_former_behind() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec, agent) = wec::registered().await;
            wec.patch_klusterlet(json!({"spec": {"clusterName": "cluster2"}}))
                .await;
            until("the Deployment has the new name", async || {
                let deployment = wec.deployment("klusterlet-agent").await;
                let flags = serde_json::to_string(&deployment.spec).expect("JSON");
                flags
                    .contains("--spoke-cluster-name=cluster2")
                    .then_some(())
            })
            .await;
            agent.cancel();
            wec.start_agent().await;
            hub.until_available("cluster2").await;
            let data = wec.hub_secret().await.data.expect("data");
            assert_eq!(data[keys::CLUSTER_NAME].0, b"cluster2");
            let former = hub.clusters().get("cluster1").await;
            assert!(former.expect("the former").spec.hub_accepts_client);
        })
        .await;
}
