//! Add-ons on the hub, under the rights that the hub has in production.

use crate::fixture::Its;
use crate::fixture::approve;
use crate::fixture::verdicts;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::conditions as known;
use hyades_api::conditions;
use hyades_api::identity::AgentIdentity;
use hyades_api::names::labels;
use hyades_api::work::ManifestWork;
use hyades_inventory::hub::Options;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;

const GROUP: &str = "addon.open-cluster-management.io";

fn template(registration: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "AddOnTemplate",
        "metadata": {"name": "hello-1"},
        "spec": {
            "addonName": "hello",
            "agentSpec": {"workload": {"manifests": [{
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "hello", "namespace": "default"},
            }]}},
            "registration": registration,
        },
    })
}

fn offered(strategy: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ClusterManagementAddOn",
        "metadata": {"name": "hello"},
        "spec": {
            "supportedConfigs": [{
                "group": GROUP, "resource": "addontemplates", "defaultConfig": {"name": "hello-1"},
            }],
            "installStrategy": strategy,
        },
    })
}

fn enabled() -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ManagedClusterAddOn",
        "metadata": {"name": "hello", "namespace": "c1"}, "spec": {},
    })
}

async fn addon(admin: &Client) -> Option<ManagedClusterAddOn> {
    let api: Api<ManagedClusterAddOn> = Api::namespaced(admin.clone(), "c1");
    api.get_opt("hello").await.expect("an answer")
}

/// Status, reason and message of a condition of the add-on.
async fn said(admin: &Client, type_: &str) -> Option<(String, String, String)> {
    let addon = addon(admin).await?;
    let found = conditions::find(&addon.status.conditions, type_)?;
    Some((
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    ))
}

#[tokio::test]
async fn an_add_on_follows_its_placement() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    its.report_available("c1").await;
    let label = async |value: Value| {
        let api: Api<hyades_api::cluster::ManagedCluster> = Api::all(its.admin());
        let patch = Patch::Merge(json!({"metadata": {"labels": {"env": value}}}));
        let patched = api.patch("c1", &PatchParams::default(), &patch).await;
        patched.expect("labelled");
    };
    let cluster = "cluster.open-cluster-management.io";
    its.apply(&json!({
        "apiVersion": format!("{cluster}/v1beta2"), "kind": "ManagedClusterSetBinding",
        "metadata": {"name": "global", "namespace": "default"}, "spec": {"clusterSet": "global"},
    }))
    .await;
    its.apply(&json!({
        "apiVersion": format!("{cluster}/v1beta1"), "kind": "Placement",
        "metadata": {"name": "prod", "namespace": "default"},
        "spec": {"predicates": [{"requiredClusterSelector": {
            "labelSelector": {"matchLabels": {"env": "prod"}}}}]},
    }))
    .await;
    its.apply(&template(json!([]))).await;
    its.apply(&offered(json!({
        "type": "Placements", "placements": [{"name": "prod", "namespace": "default"}],
    })))
    .await;
    label(json!("prod")).await;
    its.until("the add-on is enabled for the WEC", async |admin| {
        addon(admin).await.is_some()
    })
    .await;
    its.until("its work is written", async |admin| {
        let works: Api<ManifestWork> = Api::namespaced(admin.clone(), "c1");
        let work = works.get_opt("addon-hello-deploy-0").await;
        work.expect("an answer").is_some()
    })
    .await;
    its.until("the progress is told", async |admin| {
        let api: Api<ClusterManagementAddOn> = Api::all(admin.clone());
        let offered = api.get("hello").await.expect("the add-on");
        let progressions = &offered.status.install_progressions;
        progressions.iter().any(|progression| {
            let found = conditions::find(&progression.conditions, known::PROGRESSING);
            found.is_some_and(|found| found.message.starts_with("1/1 progressing"))
        })
    })
    .await;
    label(json!("test")).await;
    its.until("the add-on is disabled again", async |admin| {
        addon(admin).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_role_is_bound_only_when_an_administrator_lets_the_hub_bind_it() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    its.apply(&template(
        json!([{"type": "KubeClient", "kubeClient": {"hubPermissions": [
            {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": "admin"}},
        ]}}]),
    ))
    .await;
    its.apply(&offered(json!({}))).await;
    its.apply(&enabled()).await;
    its.until("the refusal is told", async |admin| {
        let found = said(admin, known::REGISTRATION_APPLIED).await;
        found.is_some_and(|(status, reason, message)| {
            status == "False"
                && reason == "SetPermissionFailed"
                && message.contains("grant its account the verb bind on clusterroles \"admin\"")
        })
    })
    .await;
}

/// Sends a request for the add-on's certificate as this agent; returns its name.
async fn ask(client: &Client, user: &str) -> String {
    let own = "system:open-cluster-management:cluster:c1:addon:hello";
    let all = "system:open-cluster-management:addon:hello";
    let subject = Subject::new(user, [own, all]);
    let pem = CertificateRequest::new(&Key::generate(), &subject).expect("a request");
    let request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {
            "generateName": "addon-c1-hello-",
            "labels": {labels::CLUSTER_NAME: "c1", labels::ADDON_NAME: "hello"},
        },
        "spec": {
            "request": ByteString(pem.into_bytes()),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }))
    .expect("a request");
    let api: Api<CertificateSigningRequest> = Api::all(client.clone());
    let created = api.create(&PostParams::default(), &request).await;
    created.expect("created").name_any()
}

#[tokio::test]
async fn the_agent_of_a_wec_gets_certificates_of_its_own_add_ons_only() {
    let its = Its::with_hub(Options::default()).await;
    let own: AgentIdentity = its.register("c1", "a").await;
    let other: AgentIdentity = its.register("c10", "b").await;
    its.apply(&template(json!([{"type": "KubeClient"}]))).await;
    its.apply(&offered(json!({}))).await;
    its.apply(&enabled()).await;
    its.until("the add-on has its registration", async |admin| {
        let addon = addon(admin).await;
        addon.is_some_and(|addon| !addon.status.registrations.is_empty())
    })
    .await;
    let user = "system:open-cluster-management:cluster:c1:addon:hello:agent:hello";
    let good = ask(&its.agent(&own), user).await;
    let stolen = ask(&its.agent(&other), user).await;
    let admin = ask(&its.agent(&own), "system:admin").await;
    its.until("the add-on's certificate is issued", async |client| {
        !verdicts(client, &good).await.is_empty()
    })
    .await;
    // The hub has seen the others before: they are older than this one.
    let last = ask(&its.agent(&own), user).await;
    its.until("a later one too", async |client| {
        !verdicts(client, &last).await.is_empty()
    })
    .await;
    for name in [&stolen, &admin] {
        let decided = verdicts(&its.admin(), name).await;
        assert!(decided.is_empty(), "{name}: {decided:?}");
    }
    // People may still decide.
    approve(&its.admin(), &stolen).await;
}
