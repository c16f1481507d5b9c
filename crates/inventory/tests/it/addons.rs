//! Add-ons on the hub, under the rights that the hub has in production.

use crate::fixture::Its;
use crate::fixture::approve;
use crate::fixture::events;
use crate::fixture::verdicts;
use hyades_api::addon::AddOnTemplate;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::conditions as known;
use hyades_api::conditions;
use hyades_api::identity::AgentIdentity;
use hyades_api::names::HUB_SERVICE_ACCOUNT;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::work::ManifestWork;
use hyades_inventory::hub::Options;
use hyades_pki::CertificateRequest;
use hyades_pki::Key;
use hyades_pki::Subject;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
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

async fn label(its: &Its, cluster: &str, value: &str) {
    let api: Api<hyades_api::cluster::ManagedCluster> = Api::all(its.admin());
    let patch = Patch::Merge(json!({"metadata": {"labels": {"env": value}}}));
    let patched = api.patch(cluster, &PatchParams::default(), &patch).await;
    patched.expect("labelled");
}

/// Offers the add-on to the WECs with label `env=prod`, whatever their taints.
async fn offer_by_placement(its: &Its) {
    let cluster = "cluster.open-cluster-management.io";
    its.apply(&json!({
        "apiVersion": format!("{cluster}/v1beta2"), "kind": "ManagedClusterSetBinding",
        "metadata": {"name": "global", "namespace": "default"}, "spec": {"clusterSet": "global"},
    }))
    .await;
    its.apply(&json!({
        "apiVersion": format!("{cluster}/v1beta1"), "kind": "Placement",
        "metadata": {"name": "prod", "namespace": "default"},
        "spec": {"tolerations": [{"operator": "Exists"}], "predicates": [{"requiredClusterSelector": {
            "labelSelector": {"matchLabels": {"env": "prod"}}}}]},
    }))
    .await;
    its.apply(&template(json!([]))).await;
    its.apply(&offered(json!({
        "type": "Placements", "placements": [{"name": "prod", "namespace": "default"}],
    })))
    .await;
}

#[tokio::test]
async fn an_add_on_follows_its_placement() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    its.report_available("c1").await;
    offer_by_placement(&its).await;
    label(&its, "c1", "prod").await;
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
    label(&its, "c1", "test").await;
    its.until("the add-on is disabled again", async |admin| {
        addon(admin).await.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_cluster_that_takes_no_add_ons_keeps_them_from_no_other() {
    let its = Its::with_hub(Options::default()).await;
    // One that nobody accepted, one whose mailbox is being deleted, and between them the order of
    // names, in which they are looked after.
    its.announce("a1").await;
    its.register("a2", "a").await;
    its.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "a2", "finalizers": ["example.com/held"]},
    }))
    .await;
    let mailboxes: Api<Namespace> = Api::all(its.admin());
    let deleted = mailboxes.delete("a2", &Default::default()).await;
    deleted.expect("deleted");
    its.register("c1", "a").await;
    for cluster in ["a1", "a2", "c1"] {
        label(&its, cluster, "prod").await;
    }
    offer_by_placement(&its).await;
    its.until(
        "the add-on is enabled and configured for c1",
        async |admin| {
            let addon = addon(admin).await;
            addon.is_some_and(|addon| !addon.status.config_references.is_empty())
        },
    )
    .await;
    its.accept("a1", true).await;
    its.until("the other follows once it is accepted", async |admin| {
        let api: Api<ManagedClusterAddOn> = Api::namespaced(admin.clone(), "a1");
        api.get_opt("hello").await.expect("an answer").is_some()
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

/// Lets the hub bind a ClusterRole, as an administrator does.
async fn let_bind(its: &Its, role: &str) {
    let group = "rbac.authorization.k8s.io";
    its.apply(&json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRole",
        "metadata": {"name": format!("bind-{role}")},
        "rules": [{"apiGroups": [group], "resources": ["clusterroles"],
                   "resourceNames": [role], "verbs": ["bind"]}],
    }))
    .await;
    its.apply(&json!({
        "apiVersion": format!("{group}/v1"), "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("bind-{role}")},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": format!("bind-{role}")},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespaces::HUB,
                      "name": HUB_SERVICE_ACCOUNT}],
    }))
    .await;
}

/// The roles bound for the add-on's agent: namespace, name of the binding, role.
async fn bound(admin: &Client) -> Vec<(String, String, String)> {
    let api: Api<RoleBinding> = Api::all(admin.clone());
    let selector = format!("{}=hello", labels::ADDON_NAME);
    let list = api.list(&ListParams::default().labels(&selector)).await;
    let bindings = list.expect("the bindings").items.into_iter();
    bindings
        .map(|binding| {
            let namespace = binding.namespace().unwrap_or_default();
            (namespace, binding.name_any(), binding.role_ref.name)
        })
        .collect()
}

#[tokio::test]
async fn rights_follow_the_template_when_they_change_and_when_they_are_withdrawn() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    for role in ["view", "edit"] {
        let_bind(&its, role).await;
    }
    let asking = |permissions: Value| {
        template(json!([{"type": "KubeClient", "kubeClient": {"hubPermissions": permissions}}]))
    };
    let own =
        |role: &str| json!({"type": "CurrentCluster", "currentCluster": {"clusterRoleName": role}});
    let outside = |role: &str| {
        json!({"type": "SingleNamespace", "singleNamespace": {"namespace": "default", "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}}})
    };
    let base = "open-cluster-management:hello:clusterrole:agent";
    let own_binding = |role: &str| ("c1".to_owned(), base.to_owned(), role.to_owned());
    let outside_binding = |role: &str| {
        let name = format!("{base}:{role}");
        ("default".to_owned(), name, role.to_owned())
    };
    its.apply(&offered(json!({}))).await;
    its.apply(&enabled()).await;
    for (what, permissions, expected) in [
        (
            "are given",
            json!([own("view"), outside("view")]),
            vec![own_binding("view"), outside_binding("view")],
        ),
        (
            "change",
            json!([own("edit"), outside("edit")]),
            vec![own_binding("edit"), outside_binding("edit")],
        ),
        ("end", json!([]), vec![]),
    ] {
        its.apply(&asking(permissions)).await;
        its.until(&format!("rights {what}"), async |admin| {
            bound(admin).await == expected
        })
        .await;
    }
}

#[tokio::test]
async fn an_add_on_whose_template_is_gone_can_be_deleted_and_says_that_its_hook_did_not_run() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    let mut hooked = template(json!([]));
    hooked["spec"]["agentSpec"]["workload"]["manifests"] = json!([{
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "bye", "namespace": "default",
                     "annotations": {"addon.open-cluster-management.io/addon-pre-delete": ""}},
    }]);
    its.apply(&hooked).await;
    its.apply(&offered(json!({}))).await;
    its.apply(&enabled()).await;
    its.until("the add-on has a hook", async |admin| {
        addon(admin)
            .await
            .is_some_and(|addon| !addon.finalizers().is_empty())
    })
    .await;
    let templates: Api<AddOnTemplate> = Api::all(its.admin());
    let deleted = templates.delete("hello-1", &Default::default()).await;
    deleted.expect("deleted");
    its.until("the missing template is told", async |admin| {
        let found = said(admin, known::MANIFEST_APPLIED).await;
        found.is_some_and(|(_, _, message)| message.contains("\"hello-1\" does not exist"))
    })
    .await;
    let addons: Api<ManagedClusterAddOn> = Api::namespaced(its.admin(), "c1");
    let deleted = addons.delete("hello", &Default::default()).await;
    deleted.expect("deleted");
    its.until("the add-on is gone", async |admin| {
        addon(admin).await.is_none()
    })
    .await;
    let told = events(&its.admin(), "c1").await;
    let told = told.iter().find(|(reason, _)| reason == "AddOnHookNotRun");
    assert!(
        told.is_some_and(|(_, note)| note.contains("hello-1")),
        "{told:?}"
    );
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
