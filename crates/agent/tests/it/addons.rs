//! Add-ons from the hub to the WEC and back, over served spaces.

use crate::hub::Hub;
use crate::registered;
use crate::until;
use crate::wec::Wec;
use hyades_agent::credentials::keys;
use hyades_agent::install::Mode;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::conditions as known;
use hyades_api::conditions;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_pki::Certificate;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::core::GroupVersionKind;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use tokio::task::LocalSet;

const GROUP: &str = "addon.open-cluster-management.io";

pub async fn ensure(client: &Client, object: &Value) {
    apply::ensure(client, "test", object)
        .await
        .expect("applied");
}

/// An add-on that brings a ConfigMap, registers with the hub and may read its mailbox.
pub fn template(word: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "AddOnTemplate",
        "metadata": {"name": "hello-1"},
        "spec": {
            "addonName": "hello",
            "agentSpec": {"workload": {"manifests": [{
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "hello", "namespace": namespaces::AGENT_ADDON},
                "data": {"greeting": format!("{word} {{{{CLUSTER_NAME}}}}, {{{{WORD}}}}")},
            }]}},
            "registration": [{"type": "KubeClient", "kubeClient": {"hubPermissions": [
                {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": "view"}},
            ]}}],
        },
    })
}

fn offered() -> [Value; 2] {
    let settings = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "AddOnDeploymentConfig",
        "metadata": {"name": "settings", "namespace": "default"},
        "spec": {"customizedVariables": [{"name": "WORD", "value": "well met"}]},
    });
    let offered = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ClusterManagementAddOn",
        "metadata": {"name": "hello"},
        "spec": {"supportedConfigs": [
            {"group": GROUP, "resource": "addontemplates", "defaultConfig": {"name": "hello-1"}},
            {"group": GROUP, "resource": "addondeploymentconfigs",
             "defaultConfig": {"name": "settings", "namespace": "default"}},
        ]},
    });
    [settings, offered]
}

/// Offers the add-on on the hub and enables it for a WEC.
pub async fn enable(hub: &Hub, cluster: &str) {
    ensure(&hub.client, &template("Hello")).await;
    for object in offered() {
        ensure(&hub.client, &object).await;
    }
    ensure(&hub.client, &enabled(cluster)).await;
}

fn enabled(cluster: &str) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ManagedClusterAddOn",
        "metadata": {"name": "hello", "namespace": cluster}, "spec": {},
    })
}

fn lease() -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "hello", "namespace": namespaces::AGENT_ADDON},
        "spec": {"renewTime": format!("{:.6}", Timestamp::now())},
    })
}

pub fn beta(client: &Client, cluster: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(GROUP, "v1beta1", "ManagedClusterAddOn");
    Api::namespaced_with(client.clone(), cluster, &ApiResource::from_gvk(&kind))
}

async fn until_greeting(wec: &Wec, wanted: &str) {
    let maps: Api<ConfigMap> = Api::namespaced(wec.client.clone(), namespaces::AGENT_ADDON);
    until(&format!("the WEC reads {wanted:?}"), async || {
        let map = maps.get_opt("hello").await.expect("an answer")?;
        (map.data?.get("greeting")? == wanted).then_some(())
    })
    .await;
}

pub async fn until_said(hub: &Hub, type_: &str, status: &str) -> ManagedClusterAddOn {
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(hub.client.clone(), "cluster1");
    until(&format!("{type_} is {status}"), async || {
        let addon = addons.get_opt("hello").await.expect("an answer")?;
        let found = conditions::find(&addon.status.conditions, type_)?;
        (found.status == status).then(|| addon.clone())
    })
    .await
}

async fn until_label(hub: &Hub, wanted: Option<&str>) {
    let key = "feature.open-cluster-management.io/addon-hello";
    until(&format!("the label {key} is {wanted:?}"), async || {
        let cluster = hub.clusters().get("cluster1").await.expect("the WEC");
        (cluster.labels().get(key).map(String::as_str) == wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_add_on_of_a_template_arrives_registers_lives_and_goes() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = registered().await;
            ensure(&wec.client, &lease()).await;
            enable(&hub, "cluster1").await;

            until_greeting(&wec, "Hello cluster1, well met").await;
            until_said(&hub, known::PROGRESSING, "False").await;
            let addon = until_said(&hub, known::AVAILABLE, "True").await;
            assert_eq!(addon.owner_references()[0].kind, "ClusterManagementAddOn");
            until_label(&hub, Some("available")).await;
            credentials_lead_to_the_hub(&hub, &wec).await;
            both_versions_read_alike(&hub).await;

            // A changed template follows.
            ensure(&hub.client, &template("Good morning")).await;
            until_greeting(&wec, "Good morning cluster1, well met").await;

            let addons: Api<ManagedClusterAddOn> = Api::namespaced(hub.client.clone(), "cluster1");
            addons
                .delete("hello", &Default::default())
                .await
                .expect("deleted");
            let maps: Api<ConfigMap> = Api::namespaced(wec.client.clone(), namespaces::AGENT_ADDON);
            let secrets: Api<Secret> = Api::namespaced(wec.client.clone(), namespaces::AGENT_ADDON);
            until("ConfigMap and Secret are gone", async || {
                let map = maps.get_opt("hello").await.expect("an answer");
                let secret = secrets.get_opt("hello-hub-kubeconfig").await;
                (map.is_none() && secret.expect("an answer").is_none()).then_some(())
            })
            .await;
            until_label(&hub, None).await;
        })
        .await;
}

#[tokio::test]
async fn secrets_of_add_ons_that_went_while_no_agent_ran_are_deleted_wherever_they_lie() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(true).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Singleton).await;
            let labels = json!({"addon.open-cluster-management.io/namespace": "true"});
            ensure(
                &wec.client,
                &json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": "mine", "labels": labels}}),
            )
            .await;
            let secrets: Api<Secret> = Api::namespaced(wec.client.clone(), "mine");
            for (name, cluster) in [("former", "cluster1"), ("another", "cluster2")] {
                ensure(
                    &wec.client,
                    &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
                        "name": name, "namespace": "mine",
                        "labels": {labels::CLUSTER_NAME: cluster, labels::ADDON_NAME: "former"},
                    }}),
                )
                .await;
            }
            wec.start_operator();
            wec.start_agent().await;
            crate::until_gone(&secrets, "former").await;
            let other = secrets.get_opt("another").await.expect("an answer");
            assert!(other.is_some(), "another cluster's");
        })
        .await;
}

/// The Secret holds a certificate of the add-on's identity, which is bound in the mailbox.
async fn credentials_lead_to_the_hub(hub: &Hub, wec: &Wec) {
    let secrets: Api<Secret> = Api::namespaced(wec.client.clone(), namespaces::AGENT_ADDON);
    let secret = until("the add-on's credentials", async || {
        let found = secrets.get_opt("hello-hub-kubeconfig").await;
        found.expect("an answer")
    })
    .await;
    let data = secret.data.expect("data");
    let present: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(
        present,
        [
            keys::CLUSTER_NAME,
            keys::KUBECONFIG,
            keys::CERTIFICATE,
            keys::KEY
        ]
    );
    let pem = String::from_utf8(data[keys::CERTIFICATE].0.clone()).expect("PEM");
    let certificate = Certificate::from_pem(&pem).expect("a certificate");
    let own = "system:open-cluster-management:cluster:cluster1:addon:hello";
    assert_eq!(
        certificate.subject().common_name,
        format!("{own}:agent:hello")
    );
    until_said(hub, known::CERTIFICATE_ROTATED, "True").await;
    until_said(hub, known::REGISTRATION_APPLIED, "True").await;
    let bindings: Api<RoleBinding> = Api::namespaced(hub.client.clone(), "cluster1");
    let binding = bindings
        .get("open-cluster-management:hello:clusterrole:agent")
        .await
        .expect("the binding");
    assert_eq!(binding.role_ref.name, "view");
    assert_eq!(binding.subjects.expect("subjects")[0].name, own);
}

/// What is stored as v1alpha1 is read and written as v1beta1, through the hub's webhook.
async fn both_versions_read_alike(hub: &Hub) {
    let api = beta(&hub.client, "cluster1");
    let addon = until("the hub converts", async || {
        let addon = api.get("hello").await.ok()?;
        (addon.data["status"]["registrations"][0]["type"] == "kubeClient").then_some(addon)
    })
    .await;
    let status = &addon.data["status"];
    assert_eq!(status["registrations"][0]["kubeClient"]["driver"], "csr");
    assert_eq!(status.get("kubeClientDriver"), None);
    assert_eq!(addon.data["spec"].get("installNamespace"), None);
    let listed = api.list(&Default::default()).await.expect("a list");
    assert_eq!(listed.items[0].data["status"], *status);

    let patch = Patch::Merge(json!({"metadata": {"annotations": {
        "addon.open-cluster-management.io/v1alpha1-install-namespace": namespaces::AGENT_ADDON,
        "note": "by v1beta1",
    }}}));
    api.patch("hello", &PatchParams::default(), &patch)
        .await
        .expect("written as v1beta1");
    let stored: Api<ManagedClusterAddOn> = Api::namespaced(hub.client.clone(), "cluster1");
    let stored = stored.get("hello").await.expect("the add-on");
    assert_eq!(stored.annotations()["note"], "by v1beta1");
    assert_eq!(
        stored.spec.install_namespace.as_deref(),
        Some(namespaces::AGENT_ADDON)
    );
    assert_eq!(stored.status.kube_client_driver, "csr");
}
