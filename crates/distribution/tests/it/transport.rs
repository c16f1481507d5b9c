//! The transport controller: from Bindings to works, with as few writes as there are changes.

mod doubt;

use crate::fixture::QUIET;
use crate::fixture::Spaces;
use hyades_api::conditions;
use hyades_api::control::Binding;
use hyades_api::control::CustomTransform;
use hyades_api::control::names::conditions as types;
use hyades_api::control::names::finalizers;
use hyades_api::work::ManifestWork;
use hyades_distribution::transport::Options;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

fn singles() -> Options {
    Options {
        max_num_wrapped: 1,
        max_size_wrapped: 500 * 1024,
    }
}

fn binding(objects: &[&str], wecs: &[&str]) -> Value {
    let objects = objects.iter().map(|name| {
        json!({"group": "", "version": "v1", "resource": "configmaps", "namespace": "default",
            "name": name, "resourceVersion": "1"})
    });
    let wecs = wecs.iter().map(|name| json!({"clusterId": name}));
    json!({
        "apiVersion": "control.kubestellar.io/v1alpha1",
        "kind": "Binding",
        "metadata": {"name": "shop"},
        "spec": {
            "workload": {"namespaceScope": objects.collect::<Vec<_>>()},
            "destinations": wecs.collect::<Vec<_>>(),
        },
    })
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": value},
        "metadata": {"namespace": "default", "name": name}})
}

fn template(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": value},
        "metadata": {"namespace": "default", "name": name,
            "annotations": {"control.kubestellar.io/expand-templates": "true"}}})
}

/// What the works of all mailboxes say: for each WEC, the value of each ConfigMap.
type Sent = BTreeMap<String, BTreeMap<String, String>>;

fn sent(expected: &[(&str, &[(&str, &str)])]) -> Sent {
    let inner = |entries: &[(&str, &str)]| {
        let owned = entries
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        owned.collect()
    };
    let wecs = expected
        .iter()
        .map(|(wec, entries)| ((*wec).to_owned(), inner(entries)));
    wecs.collect()
}

async fn works(spaces: &Spaces) -> Vec<ManifestWork> {
    let api = Api::<ManifestWork>::all(spaces.its());
    let list = spaces.meanwhile(api.list(&Default::default())).await;
    list.expect("works").items
}

fn said(works: &[ManifestWork]) -> Sent {
    let mut sent = Sent::new();
    for work in works {
        for manifest in &work.spec.workload.manifests {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let of_wec = sent
                .entry(work.namespace().unwrap_or_default())
                .or_default();
            of_wec.insert(
                text(&manifest["metadata"]["name"]),
                text(&manifest["data"]["key"]),
            );
        }
    }
    sent
}

async fn until_sent(spaces: &Spaces, expected: Sent) {
    let its = spaces.its();
    let what = format!("the works say {expected:?}");
    spaces
        .until(&what, async |_| {
            let list = Api::<ManifestWork>::all(its.clone())
                .list(&Default::default())
                .await;
            (said(&list.expect("works").items) == expected).then_some(())
        })
        .await;
}

async fn until_binding(spaces: &Spaces, what: &str, reached: impl Fn(&Binding) -> bool) -> Binding {
    spaces
        .until(what, async |wds| {
            let binding = Api::<Binding>::all(wds)
                .get("shop")
                .await
                .expect("the Binding");
            reached(&binding).then_some(binding)
        })
        .await
}

/// Waits until nothing more is written, and forgets what was.
async fn calm(spaces: &Spaces) {
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    spaces.its_writes.take();
    spaces.wds_writes.take();
}

/// Two spaces with two WECs, ConfigMaps `a` and `b`, and a Binding that sends them there.
async fn shop() -> Spaces {
    let spaces = Spaces::start().await;
    spaces
        .apply_to_its(namespace("customization-properties"))
        .await;
    for wec in ["cluster1", "cluster2"] {
        spaces.wec(wec, &[]).await;
        spaces.apply_to_its(namespace(wec)).await;
    }
    spaces.apply(namespace("default")).await;
    spaces.apply(config_map("a", "1")).await;
    spaces.apply(config_map("b", "1")).await;
    spaces
        .apply(binding(&["a", "b"], &["cluster1", "cluster2"]))
        .await;
    spaces
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

async fn property(spaces: &Spaces, wec: &str, name: &str, value: &str) {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {name: value},
        "metadata": {"namespace": "customization-properties", "name": wec}});
    spaces.apply_to_its(map).await;
}

#[tokio::test]
async fn objects_travel_under_stable_names_and_the_labels_of_their_origin() {
    let spaces = shop().await;
    spaces.start_transport(singles());
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
    let held = |binding: &Binding| binding.finalizers() == [finalizers::BINDING];
    let bound = until_binding(&spaces, "the Binding is held", held).await;
    let maps = Api::<ConfigMap>::namespaced(spaces.wds(), "default");
    let a = spaces
        .meanwhile(maps.get("a"))
        .await
        .expect("the ConfigMap");
    let name = format!(
        "{}-wds1-{}",
        bound.uid().expect("a uid"),
        a.uid().expect("a uid")
    );
    let api = Api::<ManifestWork>::namespaced(spaces.its(), "cluster1");
    let work = spaces.meanwhile(api.get(&name)).await.expect("the work");
    assert_eq!(
        json!([work.labels(), work.annotations(), work.spec]),
        json!([
            {"transport.kubestellar.io/originOwnerReferenceBindingKey": "shop",
                "transport.kubestellar.io/originWdsName": "wds1"},
            {"transport.kubestellar.io/originOwnerReferenceBindingGeneration": "1"},
            {"workload": {"manifests": [config_map("a", "1")]}},
        ])
    );
}

#[tokio::test]
async fn a_change_costs_one_write_for_each_wec_that_it_concerns_and_nothing_costs_nothing() {
    let spaces = shop().await;
    spaces.apply(template("t", "{{.clusterName}}")).await;
    spaces
        .apply(binding(&["a", "b", "t"], &["cluster1", "cluster2"]))
        .await;
    property(&spaces, "cluster1", "zone", "x").await;
    spaces.start_transport(singles());
    let in_wec = |wec: &'static str| [("a", "1"), ("b", "1"), ("t", wec)];
    until_sent(
        &spaces,
        sent(&[
            ("cluster1", &in_wec("cluster1")),
            ("cluster2", &in_wec("cluster2")),
        ]),
    )
    .await;
    calm(&spaces).await;

    spaces.apply(config_map("a", "2")).await;
    calm_with(&spaces, 2).await;

    property(&spaces, "cluster1", "clusterName", "renamed").await;
    until_sent(
        &spaces,
        sent(&[
            ("cluster1", &[("a", "2"), ("b", "1"), ("t", "renamed")]),
            ("cluster2", &[("a", "2"), ("b", "1"), ("t", "cluster2")]),
        ]),
    )
    .await;
    calm_with(&spaces, 1).await;

    // What does not travel, and properties nobody uses.
    let label =
        json!({"metadata": {"labels": {"managed-by.kubestellar.io/singletonstatus": "true"}}});
    let api = Api::<ConfigMap>::namespaced(spaces.wds(), "default");
    let patch = Patch::Merge(label);
    let patched = spaces
        .meanwhile(api.patch("a", &PatchParams::default(), &patch))
        .await;
    patched.expect("patched");
    property(&spaces, "cluster2", "zone", "y").await;
    calm_with(&spaces, 0).await;
}

/// Waits until nothing more is written, and checks how many writes the ITS had.
async fn calm_with(spaces: &Spaces, expected: usize) {
    spaces.meanwhile(tokio::time::sleep(QUIET)).await;
    let writes = spaces.its_writes.take();
    assert_eq!(writes.len(), expected, "{writes:#?}");
    spaces.wds_writes.take();
}

#[tokio::test]
async fn a_restart_writes_nothing_and_makes_up_for_what_was_missed() {
    let mut spaces = shop().await;
    spaces.start_transport(singles());
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
    calm(&spaces).await;
    spaces.stop_programs();
    spaces.start_transport(singles());
    calm_with(&spaces, 0).await;

    spaces.stop_programs();
    spaces.apply(config_map("a", "2")).await;
    spaces.apply(binding(&["a"], &["cluster1"])).await;
    spaces.start_transport(singles());
    until_sent(&spaces, sent(&[("cluster1", &[("a", "2")])])).await;
    calm_with(&spaces, 4).await;
}

#[tokio::test]
async fn works_that_were_changed_or_deleted_by_hand_are_restored() {
    let spaces = shop().await;
    spaces.start_transport(singles());
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    let all = sent(&[("cluster1", both), ("cluster2", both)]);
    until_sent(&spaces, all.clone()).await;
    calm(&spaces).await;

    let before = works(&spaces).await;
    let of = |wec: &str| {
        let mine = before
            .iter()
            .filter(|work| work.namespace().as_deref() == Some(wec));
        mine.map(ResourceExt::name_any).collect::<Vec<_>>()
    };
    let api = Api::<ManifestWork>::namespaced(spaces.its(), "cluster1");
    let edit = json!({"spec": {"workload": {"manifests": []},
        "executor": {"subject": {"type": "ServiceAccount",
            "serviceAccount": {"namespace": "default", "name": "x"}}}}});
    let unlabel = json!({"metadata": {"labels": null}});
    let names = of("cluster1");
    for (name, changes) in [(&names[0], edit), (&names[1], unlabel)] {
        let patch = Patch::Merge(changes);
        let patched = spaces
            .meanwhile(api.patch(name, &PatchParams::default(), &patch))
            .await;
        patched.expect("edited");
    }
    let api = Api::<ManifestWork>::namespaced(spaces.its(), "cluster2");
    let deleted = spaces
        .meanwhile(api.delete(&of("cluster2")[0], &DeleteParams::default()))
        .await;
    deleted.expect("deleted");
    let content = |works: &[ManifestWork]| {
        let contents = works
            .iter()
            .map(|work| json!([work.namespace(), work.name_any(), work.labels(), work.spec]));
        contents.collect::<Vec<_>>()
    };
    let its = spaces.its();
    spaces
        .until("all works are as before", async |_| {
            let list = Api::<ManifestWork>::all(its.clone())
                .list(&Default::default())
                .await;
            (content(&list.expect("works").items) == content(&before)).then_some(())
        })
        .await;
    calm(&spaces).await;
    until_sent(&spaces, all).await;
}

#[tokio::test]
async fn a_custom_transform_rewrites_exactly_what_it_changes() {
    let spaces = shop().await;
    spaces.start_transport(singles());
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
    calm(&spaces).await;
    let transform = |remove: Value| {
        json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "CustomTransform",
            "metadata": {"name": "t"},
            "spec": {"apiGroup": "", "resource": "configmaps", "remove": remove}})
    };
    spaces
        .apply(transform(json!(["$", "$.data[\"other\"]"])))
        .await;
    let told = |transform: &CustomTransform| {
        transform.status.errors == ["Invalid spec.remove[0]: it identifies the whole object"]
    };
    spaces
        .until("the bad path is told", async |wds| {
            let transform = Api::<CustomTransform>::all(wds).get("t").await.expect("it");
            told(&transform).then_some(())
        })
        .await;
    calm_with(&spaces, 0).await;

    spaces.apply(transform(json!(["$.data.key"]))).await;
    let none: &[(&str, &str)] = &[("a", ""), ("b", "")];
    until_sent(&spaces, sent(&[("cluster1", none), ("cluster2", none)])).await;
    calm_with(&spaces, 4).await;
    spaces.delete(transform(json!([]))).await;
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
}

#[tokio::test]
async fn works_go_with_their_binding_and_the_binding_waits_for_that() {
    let spaces = shop().await;
    spaces.start_transport(singles());
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
    spaces.delete(binding(&[], &[])).await;
    spaces
        .until("the Binding is gone", async |wds| {
            let binding = Api::<Binding>::all(wds).get_opt("shop").await;
            binding.expect("an answer").is_none().then_some(())
        })
        .await;
    assert_eq!(said(&works(&spaces).await), Sent::new());
}

#[tokio::test]
async fn bundles_hold_several_objects_and_follow_them() {
    let spaces = shop().await;
    spaces.apply(config_map("c", "1")).await;
    spaces.apply(binding(&["a", "b", "c"], &["cluster1"])).await;
    spaces.start_transport(Options {
        max_num_wrapped: 2,
        ..singles()
    });
    let all: &[(&str, &str)] = &[("a", "1"), ("b", "1"), ("c", "1")];
    until_sent(&spaces, sent(&[("cluster1", all)])).await;
    let names: Vec<String> = works(&spaces)
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(names, ["shop-wds1-0", "shop-wds1-1"]);
    calm(&spaces).await;
    spaces.apply(config_map("c", "2")).await;
    calm_with(&spaces, 1).await;
    spaces.apply(binding(&["a", "c"], &["cluster1"])).await;
    until_sent(&spaces, sent(&[("cluster1", &[("a", "1"), ("c", "2")])])).await;
    calm_with(&spaces, 2).await;
}

#[tokio::test]
async fn what_agents_report_becomes_the_bindings_condition() {
    let spaces = shop().await;
    spaces.start_transport(singles());
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
    let report = async |work: &ManifestWork, applied: &str| {
        let condition = json!({"type": "Applied", "status": applied, "reason": "r",
            "message": "no rights", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": work.metadata.generation});
        let patch = Patch::Merge(json!({"status": {"conditions": [condition]}}));
        let mailbox = work.namespace().unwrap_or_default();
        let api = Api::<ManifestWork>::namespaced(spaces.its(), &mailbox);
        let name = work.name_any();
        let parameters = PatchParams::default();
        let patched = api.patch_status(&name, &parameters, &patch);
        spaces.meanwhile(patched).await.expect("reported");
    };
    let until_ready = async |expected: &str| {
        let told = |binding: &Binding| {
            let ready = conditions::find(&binding.status.conditions, types::READY);
            ready.is_some_and(|ready| format!("{} {}", ready.status, ready.message) == expected)
        };
        until_binding(&spaces, expected, told).await;
    };
    until_ready("False 0 of 4 works applied in 2 WECs, 0 failed").await;
    calm(&spaces).await;
    let all = works(&spaces).await;
    for work in &all[..3] {
        report(work, "True").await;
    }
    report(&all[3], "False").await;
    until_ready("False 3 of 4 works applied in 2 WECs, 1 failed; cluster2: no rights").await;
    report(&all[3], "True").await;
    until_ready("True 4 of 4 works applied in 2 WECs, 0 failed").await;
    calm_with(&spaces, 0).await;
}
