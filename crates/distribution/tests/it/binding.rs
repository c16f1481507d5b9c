//! The binding controller: from what stands in a WDS and an ITS to Bindings and policies' status.

use crate::fixture::QUIET;
use crate::fixture::Spaces;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::control::Binding;
use hyades_api::control::BindingPolicy;
use hyades_api::control::names::conditions as types;
use hyades_api::control::names::finalizers;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;

fn policy(name: &str, clusters: Value, clauses: Value) -> Value {
    json!({
        "apiVersion": "control.kubestellar.io/v1alpha1",
        "kind": "BindingPolicy",
        "metadata": {"name": name},
        "spec": {"clusterSelectors": clusters, "downsync": clauses},
    })
}

fn namespace(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

fn config_map(name: &str, app: &str, data: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"key": data},
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": app}},
    })
}

fn edge() -> Value {
    json!([{"matchLabels": {"location-group": "edge"}}])
}

fn app_web() -> Value {
    json!([{"objectSelectors": [{"matchLabels": {"app": "web"}}]}])
}

/// A Binding in a line: its objects, then its WECs.
fn told(binding: &Binding) -> String {
    let workload = &binding.spec.workload;
    let objects = workload
        .cluster_scope
        .iter()
        .chain(&workload.namespace_scope);
    let objects = objects.map(|object| match object.namespace.as_str() {
        "" => format!("{} {}", object.resource, object.name),
        namespace => format!("{} {namespace}/{}", object.resource, object.name),
    });
    let wecs = binding.spec.destinations.iter();
    let wecs = wecs.map(|destination| destination.cluster_id.clone());
    let joined = |words: Vec<String>| words.join(", ");
    format!(
        "{} to {}",
        joined(objects.collect()),
        joined(wecs.collect())
    )
}

async fn binding_in(client: Client, name: &str) -> Option<Binding> {
    let api = Api::<Binding>::all(client);
    api.get_opt(name).await.expect("an answer")
}

async fn until_told(spaces: &Spaces, name: &str, expected: &str) -> Binding {
    let mut last = String::new();
    let what = format!("{name} says {expected}");
    spaces
        .until(&what, async |client| {
            let binding = binding_in(client, name).await?;
            let now = told(&binding);
            if now != last {
                last.clone_from(&now);
                tracing::info!("{name} says {now}");
            }
            (now == expected).then_some(binding)
        })
        .await
}

async fn shop() -> Spaces {
    let spaces = Spaces::start().await;
    spaces.start_binding(Default::default());
    spaces.apply(namespace("shop", json!({"app": "web"}))).await;
    spaces.wec("cluster1", &[("location-group", "edge")]).await;
    spaces.wec("cluster2", &[("location-group", "edge")]).await;
    spaces
}

#[tokio::test]
async fn a_policy_becomes_a_binding_and_follows_objects_and_wecs() {
    let spaces = shop().await;
    spaces.apply(policy("p", edge(), app_web())).await;
    let binding = until_told(&spaces, "p", "namespaces shop to cluster1, cluster2").await;
    assert_eq!(binding.finalizers(), [finalizers::BINDING]);
    let owner = &binding.owner_references()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str()),
        ("BindingPolicy", "p")
    );
    assert_eq!(
        (owner.controller, owner.block_owner_deletion),
        (Some(true), Some(false))
    );

    spaces.apply(config_map("a", "web", "1")).await;
    until_told(
        &spaces,
        "p",
        "namespaces shop, configmaps shop/a to cluster1, cluster2",
    )
    .await;
    spaces.wec("cluster2", &[]).await;
    until_told(
        &spaces,
        "p",
        "namespaces shop, configmaps shop/a to cluster1",
    )
    .await;
    spaces.apply(config_map("a", "api", "1")).await;
    until_told(&spaces, "p", "namespaces shop to cluster1").await;
    let all = json!([{"matchExpressions": [{"key": "none", "operator": "DoesNotExist"}]}]);
    spaces.apply(policy("p", all, app_web())).await;
    until_told(&spaces, "p", "namespaces shop to cluster1, cluster2").await;
    spaces
        .apply(policy("p", json!([]), json!([{"objectNames": ["none"]}])))
        .await;
    until_told(&spaces, "p", " to ").await;
}

async fn until_policy(spaces: &Spaces, what: &str, reached: impl Fn(&BindingPolicy) -> bool) {
    let reached = async |client: Client| {
        let policy = Api::<BindingPolicy>::all(client).get("p").await;
        reached(&policy.expect("the policy")).then_some(())
    };
    spaces.until(what, reached).await;
}

#[tokio::test]
async fn neither_a_lost_acceptance_nor_an_unreadable_selector_takes_anything_away() {
    let spaces = shop().await;
    spaces.apply(config_map("a", "web", "1")).await;
    spaces.apply(policy("p", edge(), app_web())).await;
    let all = "namespaces shop, configmaps shop/a to cluster1, cluster2";
    until_told(&spaces, "p", all).await;

    let clusters = Api::<ManagedCluster>::all(spaces.its());
    let denial = Patch::Merge(json!({"spec": {"hubAcceptsClient": false}}));
    let parameters = PatchParams::default();
    let denied = clusters.patch("cluster2", &parameters, &denial);
    spaces.meanwhile(denied).await.expect("patched");
    until_policy(&spaces, "the WEC waits", |policy| {
        conditions::find(&policy.status.conditions, types::DESTINATIONS_ACCEPTED).is_some()
    })
    .await;
    spaces.apply(config_map("b", "web", "1")).await;
    let all = "namespaces shop, configmaps shop/a, configmaps shop/b to cluster1, cluster2";
    until_told(&spaces, "p", all).await;

    let unreadable = json!([{"matchLabels": {"-a b": "c"}}]);
    let clauses = json!([{"objectSelectors": unreadable}]);
    spaces.apply(policy("p", unreadable, clauses)).await;
    until_policy(&spaces, "both are told", |policy| {
        let errors = policy.status.errors.iter();
        let left_out = errors.filter(|error| error.contains("[0] is left out"));
        policy.metadata.generation == Some(policy.status.observed_generation)
            && left_out.count() == 2
    })
    .await;
    until_told(&spaces, "p", all).await;
    spaces.delete(config_map("a", "web", "1")).await;
    let rest = "namespaces shop, configmaps shop/b to cluster1, cluster2";
    until_told(&spaces, "p", rest).await;
}

#[tokio::test]
async fn what_changes_no_binding_writes_nothing() {
    let spaces = shop().await;
    spaces.apply(config_map("a", "web", "1")).await;
    spaces.apply(policy("p", edge(), app_web())).await;
    until_told(
        &spaces,
        "p",
        "namespaces shop, configmaps shop/a to cluster1, cluster2",
    )
    .await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    spaces.wds_writes.take();
    // All there is to see was seen before this one is written.
    spaces.apply(policy("q", edge(), app_web())).await;
    until_told(
        &spaces,
        "q",
        "namespaces shop, configmaps shop/a to cluster1, cluster2",
    )
    .await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    let mut writes = spaces.wds_writes.take();
    writes.sort();
    let at = "/apis/control.kubestellar.io/v1alpha1";
    assert_eq!(
        writes,
        [
            format!("PATCH {at}/bindingpolicies/q"),
            format!("PATCH {at}/bindingpolicies/q/status"),
            format!("POST {at}/bindings"),
        ],
        "a finalizer, a Binding, and that transport does not answer"
    );
    spaces.apply(config_map("a", "web", "2")).await;
    spaces.apply(config_map("b", "api", "2")).await;
    spaces
        .wec(
            "cluster1",
            &[("location-group", "edge"), ("more", "labels")],
        )
        .await;
    spaces.wec("cluster3", &[("location-group", "core")]).await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    assert_eq!(spaces.wds_writes.take(), [""; 0]);
}

#[tokio::test]
async fn a_restart_writes_nothing_and_sees_what_happened_meanwhile() {
    let mut spaces = shop().await;
    spaces.apply(config_map("a", "web", "1")).await;
    spaces.apply(policy("p", edge(), app_web())).await;
    until_told(
        &spaces,
        "p",
        "namespaces shop, configmaps shop/a to cluster1, cluster2",
    )
    .await;
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    spaces.stop_programs();
    spaces.wds_writes.take();
    spaces.start_binding(Default::default());
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    assert_eq!(spaces.wds_writes.take(), [""; 0]);

    spaces.stop_programs();
    spaces.delete(config_map("a", "web", "1")).await;
    spaces.apply(config_map("b", "web", "1")).await;
    spaces.start_binding(Default::default());
    until_told(
        &spaces,
        "p",
        "namespaces shop, configmaps shop/b to cluster1, cluster2",
    )
    .await;
}

#[tokio::test]
async fn kinds_come_and_go_and_each_object_is_bound_once() {
    let spaces = shop().await;
    let clause = json!([{"apiGroup": "example.com"}]);
    spaces.apply(policy("p", edge(), clause)).await;
    until_told(&spaces, "p", " to cluster1, cluster2").await;
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [version("v1alpha1", true), version("v1beta1", false)],
        },
    });
    spaces.apply(definition.clone()).await;
    let widget = json!({
        "apiVersion": "example.com/v1alpha1", "kind": "Widget",
        "metadata": {"namespace": "shop", "name": "w"},
    });
    spaces.apply(widget).await;
    let binding = until_told(&spaces, "p", "widgets shop/w to cluster1, cluster2").await;
    let bound = &binding.spec.workload.namespace_scope[0];
    assert_eq!(bound.version, "v1beta1", "the preferred one");
    spaces.delete(definition).await;
    until_told(&spaces, "p", " to cluster1, cluster2").await;
}

#[tokio::test]
async fn the_labels_of_a_namespace_move_what_is_in_it() {
    let spaces = shop().await;
    spaces.apply(config_map("a", "web", "1")).await;
    let clause = json!([{"resources": ["configmaps"], "namespaceSelectors": [{"matchLabels": {"tier": "prod"}}]}]);
    spaces.apply(policy("p", edge(), clause)).await;
    until_told(&spaces, "p", " to cluster1, cluster2").await;
    spaces
        .apply(namespace("shop", json!({"tier": "prod"})))
        .await;
    until_told(&spaces, "p", "configmaps shop/a to cluster1, cluster2").await;
    spaces
        .apply(namespace("shop", json!({"tier": "test"})))
        .await;
    until_told(&spaces, "p", " to cluster1, cluster2").await;
}

#[tokio::test]
async fn several_policies_over_one_object_add_up_each_for_itself() {
    let spaces = shop().await;
    spaces.apply(config_map("a", "web", "1")).await;
    let clauses = json!([
        {"resources": ["configmaps"], "objectNames": ["a"], "createOnly": true, "statusCollectors": ["z"]},
        {"objectSelectors": [{"matchLabels": {"app": "web"}}], "resources": ["configmaps"],
         "wantSingletonReportedState": true, "statusCollectors": ["y", "z"]},
    ]);
    spaces.apply(policy("p", edge(), clauses)).await;
    spaces.apply(policy("q", json!([{}]), app_web())).await;
    let binding = until_told(&spaces, "p", "configmaps shop/a to cluster1, cluster2").await;
    let modulation = &binding.spec.workload.namespace_scope[0].modulation;
    assert!(modulation.create_only && modulation.want_singleton_reported_state);
    assert_eq!(modulation.status_collectors, ["y", "z"]);
    let other = until_told(
        &spaces,
        "q",
        "namespaces shop, configmaps shop/a to cluster1, cluster2",
    )
    .await;
    assert_eq!(
        other.spec.workload.namespace_scope[0].modulation,
        Default::default()
    );

    let errors = spaces
        .until("the status says that there are two WECs", async |client| {
            let api = Api::<BindingPolicy>::all(client);
            let policy = api.get("p").await.expect("the policy");
            (!policy.status.errors.is_empty()).then_some(policy.status.errors)
        })
        .await;
    assert!(
        errors[0].starts_with("Singleton reported status return is requested"),
        "{errors:?}"
    );
    assert!(errors[0].contains("\"NumWECs\":2"), "{errors:?}");
}

#[tokio::test]
async fn a_policy_shows_what_its_binding_says() {
    let spaces = shop().await;
    spaces.apply(policy("p", edge(), app_web())).await;
    let binding = until_told(&spaces, "p", "namespaces shop to cluster1, cluster2").await;
    let condition = async |type_: &str, status: &str| {
        let what = format!("{type_} is {status}");
        spaces
            .until(&what, async |client| {
                let policy = Api::<BindingPolicy>::all(client)
                    .get("p")
                    .await
                    .expect("there");
                let found = conditions::find(&policy.status.conditions, type_)?.clone();
                let is_current =
                    Some(policy.status.observed_generation) == policy.metadata.generation;
                (found.status == status && is_current).then_some(found)
            })
            .await
    };
    let synced = condition(types::SYNCED, "False").await;
    assert!(
        synced.message.starts_with("1 object to 2 destinations"),
        "{}",
        synced.message
    );

    let answer = json!({"status": {
        "observedGeneration": binding.metadata.generation,
        "errors": ["cluster2: quota"],
        "conditions": [
            {"type": "Synced", "status": "True", "reason": "ReconcileSuccess", "message": "2 works", "lastTransitionTime": "2026-11-24T00:00:00Z"},
            {"type": "Ready", "status": "True", "reason": "Available", "message": "2 applied", "lastTransitionTime": "2026-11-24T00:00:00Z"},
        ],
    }});
    let api = Api::<Binding>::all(spaces.wds());
    let (parameters, answer) = (PatchParams::default(), Patch::Merge(answer));
    let patched = api.patch_status("p", &parameters, &answer);
    spaces.meanwhile(patched).await.expect("patched");
    assert_eq!(condition(types::SYNCED, "True").await.message, "2 works");
    assert_eq!(condition(types::READY, "True").await.message, "2 applied");
    let policies = Api::<BindingPolicy>::all(spaces.wds());
    let policy = spaces.meanwhile(policies.get("p")).await.expect("there");
    assert_eq!(policy.status.errors, ["cluster2: quota"]);
}

#[tokio::test]
async fn an_edited_or_deleted_binding_is_restored() {
    let spaces = shop().await;
    spaces.apply(policy("p", edge(), app_web())).await;
    let expected = "namespaces shop to cluster1, cluster2";
    let first = until_told(&spaces, "p", expected).await;
    let api = Api::<Binding>::all(spaces.wds());
    let edit = Patch::Merge(json!({"spec": {"destinations": []}}));
    let parameters = PatchParams::default();
    let patched = api.patch("p", &parameters, &edit);
    spaces.meanwhile(patched).await.expect("edited");
    let edited = until_told(&spaces, "p", expected).await;
    assert!(edited.metadata.generation > first.metadata.generation);

    let removed = async {
        api.delete("p", &DeleteParams::default()).await?;
        let open = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        api.patch("p", &PatchParams::default(), &open).await
    };
    spaces.meanwhile(removed).await.expect("deleted");
    let uid = first.uid();
    spaces
        .until("the Binding is there again", async |client| {
            let binding = binding_in(client, "p").await?;
            (binding.uid() != uid && told(&binding) == expected).then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_policy_that_goes_takes_its_binding_along() {
    let spaces = shop().await;
    spaces.apply(policy("p", edge(), app_web())).await;
    until_told(&spaces, "p", "namespaces shop to cluster1, cluster2").await;
    spaces
        .until("the policy has its finalizer", async |client| {
            let policy = Api::<BindingPolicy>::all(client)
                .get("p")
                .await
                .expect("there");
            (policy.finalizers() == [finalizers::BINDING_POLICY]).then_some(())
        })
        .await;
    spaces.delete(policy("p", edge(), app_web())).await;
    spaces
        .until("the Binding is going", async |client| {
            let binding = binding_in(client, "p").await?;
            binding.metadata.deletion_timestamp.map(|_| ())
        })
        .await;
    let policies = Api::<BindingPolicy>::all(spaces.wds());
    assert!(
        spaces
            .meanwhile(policies.get_opt("p"))
            .await
            .expect("an answer")
            .is_none()
    );
}

#[tokio::test]
async fn groups_that_are_not_asked_for_are_not_bound() {
    let spaces = Spaces::start().await;
    let options = hyades_distribution::binding::Options {
        api_groups: vec!["apps".to_owned()],
    };
    spaces.start_binding(options);
    spaces.wec("cluster1", &[("location-group", "edge")]).await;
    spaces.apply(namespace("shop", json!({"app": "web"}))).await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": "web", "labels": {"app": "web"}},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "web"}]},
            },
        },
    });
    spaces.apply(deployment).await;
    spaces.apply(policy("p", edge(), app_web())).await;
    until_told(&spaces, "p", "deployments shop/web to cluster1").await;
}
