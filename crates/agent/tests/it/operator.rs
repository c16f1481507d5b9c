//! The operator: what it makes of a Klusterlet, and how it takes it away.

use crate::hub::Hub;
use crate::until;
use crate::until_gone;
use crate::wec::Wec;
use hyades_agent::install::Mode;
use hyades_agent::options::KlusterletOptions;
use hyades_api::conditions;
use hyades_api::conditions::klusterlet as known;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRole;
use hyades_runtime::k8s_openapi::api::rbac::v1::Role;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::json;
use std::time::Duration;
use tokio::task::LocalSet;

async fn until_reason(wec: &Wec, kind: &str, reason: &str) -> Klusterlet {
    until(
        &format!("the Klusterlet says {kind}: {reason}"),
        async || {
            let klusterlet = wec.klusterlet().await;
            let found = conditions::find(&klusterlet.status.conditions, kind)?.reason == reason;
            found.then_some(klusterlet)
        },
    )
    .await
}

async fn until_namespace(wec: &Wec, name: &str, exists: bool) {
    let api: Api<Namespace> = Api::all(wec.client.clone());
    until(&format!("namespace {name} exists: {exists}"), async || {
        (api.get_opt(name).await.expect("an answer").is_some() == exists).then_some(())
    })
    .await;
}

/// A WEC on which the operator has installed the agents, which wait for the hub to accept it.
async fn installed(mode: Mode) -> (Hub, Wec) {
    let hub = Hub::start(false).await;
    let wec = Wec::start("cluster1").await;
    wec.join(&hub, "cluster1", mode).await;
    wec.start_operator();
    until_reason(&wec, known::APPLIED, "KlusterletApplied").await;
    (hub, wec)
}

#[tokio::test]
async fn the_work_agent_gets_its_pods_with_the_credentials() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Default).await;
            wec.start_operator();
            assert_eq!(wec.deployment("klusterlet-registration-agent").await.spec.replicas, Some(1));
            assert_eq!(wec.deployment("klusterlet-work-agent").await.spec.replicas, Some(0));
            let told = until_reason(&wec, known::APPLIED, "KlusterletApplied").await;
            assert_eq!(told.metadata.generation, Some(told.status.observed_generation));
            until_reason(&wec, known::HUB_CONNECTION_DEGRADED, "BootstrapSecretFunctional,HubKubeConfigSecretMissing").await;

            let secrets = wec.secrets();
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": names::HUB_KUBECONFIG_SECRET}});
            let parameters = PatchParams::apply("test");
            secrets.patch(names::HUB_KUBECONFIG_SECRET, &parameters, &Patch::Apply(secret)).await.expect("a Secret");
            until("the work agent has a pod", async || {
                (wec.deployment("klusterlet-work-agent").await.spec.replicas == Some(1)).then_some(())
            })
            .await;
        })
        .await;
}

#[tokio::test]
async fn deleting_the_agents_namespace_uninstalls_the_agent_until_it_joins_again() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = installed(Mode::Singleton).await;
            let api: Api<Namespace> = Api::all(wec.client.clone());
            for name in [namespaces::AGENT, namespaces::AGENT_ADDON] {
                api.delete(name, &DeleteParams::default())
                    .await
                    .expect("deleted");
                until_namespace(&wec, name, false).await;
            }
            until_reason(&wec, known::APPLIED, "AgentNamespaceDeleted").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            until_namespace(&wec, namespaces::AGENT, false).await;

            wec.join(&hub, "cluster1", Mode::Singleton).await;
            wec.deployment("klusterlet-agent").await;
            until_reason(&wec, known::APPLIED, "KlusterletApplied").await;
        })
        .await;
}

#[tokio::test]
async fn a_deleted_klusterlet_goes_with_everything_made_for_it() {
    LocalSet::new()
        .run_until(async {
            let (_hub, wec) = installed(Mode::Default).await;
            let api = wec.klusterlets();
            api.delete(names::KLUSTERLET, &DeleteParams::default())
                .await
                .expect("deleted");
            until_gone(&api, names::KLUSTERLET).await;
            until_namespace(&wec, namespaces::AGENT, false).await;
            until_namespace(&wec, namespaces::AGENT_ADDON, false).await;
            let roles: Api<ClusterRole> = Api::all(wec.client.clone());
            let left = roles.list(&Default::default()).await.expect("roles").items;
            let left: Vec<_> = left
                .into_iter()
                .filter_map(|role| role.metadata.name)
                .collect();
            assert!(
                !left
                    .iter()
                    .any(|name| name.starts_with("open-cluster-management:")),
                "{left:?}"
            );
        })
        .await;
}

#[tokio::test]
async fn a_mode_that_cannot_be_had_is_refused_in_the_status() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Singleton).await;
            let elsewhere = json!({"spec": {"deployOption": {"mode": "Elsewhere"}}});
            wec.patch_klusterlet(elsewhere).await;
            wec.start_operator();
            let told = until_reason(&wec, known::APPLIED, "KlusterletApplyFailed").await;
            let condition =
                conditions::find(&told.status.conditions, known::APPLIED).expect("a condition");
            assert!(
                condition.message.contains("SingletonHosted"),
                "{}",
                condition.message
            );
        })
        .await;
}

#[tokio::test]
async fn namespaces_of_add_ons_get_the_credentials_for_pulling_images() {
    LocalSet::new()
        .run_until(async {
            let (_hub, wec) = installed(Mode::Singleton).await;
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata":
                {"name": "mine", "labels": {"addon.open-cluster-management.io/namespace": "true"}}});
            apply::ensure(&wec.client, "test", &namespace).await.expect("made");
            for namespace in ["mine", namespaces::AGENT] {
                let secrets: Api<Secret> = Api::namespaced(wec.client.clone(), namespace);
                until(&format!("{namespace} has the pull secret"), async || {
                    let found = secrets.get_opt(names::IMAGE_PULL_SECRET).await;
                    found.expect("an answer")
                })
                .await;
            }
        })
        .await;
}

#[tokio::test]
async fn registration_has_rights_in_the_namespaces_marked_for_add_ons_while_they_are() {
    LocalSet::new()
        .run_until(async {
            let (_hub, wec) = installed(Mode::Default).await;
            let namespace = |marked: bool| json!({"apiVersion": "v1", "kind": "Namespace", "metadata":
                {"name": "mine", "labels": {"addon.open-cluster-management.io/namespace": marked.to_string()}}});
            apply::ensure(&wec.client, "test", &namespace(true)).await.expect("made");
            let registration = wec.client_of("klusterlet-registration-sa", namespaces::AGENT);
            let secrets: Api<Secret> = Api::namespaced(registration, "mine");
            let until_allowed = async |allowed: bool| {
                until(&format!("Secrets may be read: {allowed}"), async || {
                    (secrets.list(&Default::default()).await.is_ok() == allowed).then_some(())
                })
                .await;
            };
            until_allowed(true).await;
            let elsewhere: Api<Secret> = Api::namespaced(
                wec.client_of("klusterlet-registration-sa", namespaces::AGENT),
                "default",
            );
            assert!(elsewhere.list(&Default::default()).await.is_err());
            apply::ensure(&wec.client, "test", &namespace(false)).await.expect("unmarked");
            until_allowed(false).await;
            apply::ensure(&wec.client, "test", &namespace(true)).await.expect("marked");
            until_allowed(true).await;
            let deleted = wec.klusterlets().delete("klusterlet", &DeleteParams::default()).await;
            deleted.expect("deleted");
            until_gone(&wec.klusterlets(), "klusterlet").await;
            let roles: Api<Role> = Api::namespaced(wec.client.clone(), "mine");
            assert!(roles.list(&Default::default()).await.expect("the roles").items.is_empty());
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_moves_to_another_namespace_leaves_none_behind() {
    LocalSet::new()
        .run_until(async {
            let (_hub, wec) = installed(Mode::Singleton).await;
            let moved = json!({"spec": {"namespace": "open-cluster-management-new"}});
            wec.patch_klusterlet(moved).await;
            until_namespace(&wec, "open-cluster-management-new", true).await;
            until_namespace(&wec, namespaces::AGENT, false).await;
        })
        .await;
}

#[tokio::test]
async fn labels_of_the_klusterlet_reach_what_is_made_for_it_and_leave_it_again() {
    LocalSet::new()
        .run_until(async {
            let hub = Hub::start(false).await;
            let wec = Wec::start("cluster1").await;
            wec.join(&hub, "cluster1", Mode::Singleton).await;
            wec.start_operator_with(KlusterletOptions {
                enable_sync_labels: true,
            });
            let told = until_reason(&wec, known::APPLIED, "KlusterletApplied").await;
            let team = async || {
                let deployment = wec.deployment("klusterlet-agent").await;
                let pods = deployment.spec.template.metadata?.labels?;
                let spaces: Api<Namespace> = Api::all(wec.client.clone());
                let space = spaces.get(namespaces::AGENT).await.expect("a namespace");
                let all = [deployment.metadata.labels?, pods, space.metadata.labels?];
                Some(all.map(|labels| labels.get("team").cloned()))
            };
            for wanted in [Some("edge".to_owned()), None] {
                let label = json!({"metadata": {"labels": {"team": wanted}}});
                wec.patch_klusterlet(label).await;
                until("all that is made follows the label", async || {
                    let all = std::array::from_fn(|_| wanted.clone());
                    (team().await == Some(all)).then_some(())
                })
                .await;
            }
            let now = wec.klusterlets().get(names::KLUSTERLET).await;
            let now = now.expect("the Klusterlet").metadata.generation;
            assert_eq!(now, told.metadata.generation, "its spec is the same");
        })
        .await;
}
