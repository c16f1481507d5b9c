//! What is in doubt stays as it is in the WECs.

use super::*;
use hyades_api::cluster::ManagedCluster;

#[tokio::test]
async fn a_failing_template_leaves_the_last_good_work_and_the_rest_goes_on() {
    let spaces = shop().await;
    spaces.apply(template("t", "{{.zone}}")).await;
    spaces
        .apply(binding(&["a", "t"], &["cluster1", "cluster2"]))
        .await;
    property(&spaces, "cluster1", "zone", "east").await;
    spaces.start_transport(singles());
    // It never worked in cluster2.
    until_sent(
        &spaces,
        sent(&[
            ("cluster1", &[("a", "1"), ("t", "east")]),
            ("cluster2", &[("a", "1")]),
        ]),
    )
    .await;
    let fails = |binding: &Binding| !binding.status.errors.is_empty();
    let bound = until_binding(&spaces, "the failure is told", fails).await;
    assert_eq!(
        bound.status.errors,
        ["cluster2/ConfigMap(default/t).data.key:1: map has no entry for key \"zone\""]
    );
    assert!(conditions::is_false(
        &bound.status.conditions,
        types::SYNCED
    ));

    spaces.apply(template("t", "{{if}}")).await;
    spaces.apply(config_map("a", "2")).await;
    until_sent(
        &spaces,
        sent(&[
            ("cluster1", &[("a", "2"), ("t", "east")]),
            ("cluster2", &[("a", "2")]),
        ]),
    )
    .await;
    let expected = "template: ConfigMap(default/t).data.key:1: missing value for if";
    let parses = |binding: &Binding| binding.status.errors == [expected];
    until_binding(&spaces, "the bad template is told", parses).await;

    spaces
        .apply(template("t", "{{or (index . `zone`) `none`}}"))
        .await;
    until_sent(
        &spaces,
        sent(&[
            ("cluster1", &[("a", "2"), ("t", "east")]),
            ("cluster2", &[("a", "2"), ("t", "none")]),
        ]),
    )
    .await;
    let is_well =
        |binding: &Binding| conditions::is_true(&binding.status.conditions, types::SYNCED);
    let bound = until_binding(&spaces, "all is well", is_well).await;
    assert_eq!(bound.status.errors, [""; 0]);
}

#[tokio::test]
async fn a_missing_object_removes_nothing_and_an_object_too_large_is_told() {
    let spaces = shop().await;
    let options = Options {
        max_size_wrapped: 1000,
        ..singles()
    };
    spaces.start_transport(options);
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
    calm(&spaces).await;

    spaces.delete(config_map("b", "1")).await;
    let missing = |binding: &Binding| {
        binding.status.errors
            == [
                "configmaps default/b is named and cannot be read from the WDS: what WECs have of it stays",
            ]
    };
    until_binding(&spaces, "the missing object is told", missing).await;
    assert_eq!(spaces.its_writes.take(), [""; 0]);

    let long = "x".repeat(1000);
    spaces.apply(config_map("c", &long)).await;
    spaces.apply(config_map("a", "2")).await;
    spaces
        .apply(binding(&["a", "c"], &["cluster1", "cluster2"]))
        .await;
    until_sent(
        &spaces,
        sent(&[("cluster1", &[("a", "2")]), ("cluster2", &[("a", "2")])]),
    )
    .await;
    let too_large = |binding: &Binding| {
        let mut errors = binding.status.errors.iter();
        errors.any(|error| error.starts_with("configmaps default/c has 1"))
    };
    until_binding(&spaces, "the large object is told", too_large).await;
}

#[tokio::test]
async fn wecs_that_are_not_accepted_get_nothing_and_lose_nothing() {
    let spaces = shop().await;
    spaces.start_transport(singles());
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", both), ("cluster2", both)])).await;
    let accept = async |accepts: bool| {
        let api = Api::<ManagedCluster>::all(spaces.its());
        let patch = Patch::Merge(json!({"spec": {"hubAcceptsClient": accepts}}));
        let parameters = PatchParams::default();
        let patched = api.patch("cluster2", &parameters, &patch);
        spaces.meanwhile(patched).await.expect("patched");
    };
    accept(false).await;
    spaces.apply(config_map("a", "2")).await;
    until_sent(
        &spaces,
        sent(&[("cluster1", &[("a", "2"), ("b", "1")]), ("cluster2", both)]),
    )
    .await;
    let message = "2 objects go to 1 WECs; 1 more WECs are not accepted and get nothing: cluster2";
    let told = |binding: &Binding| {
        let synced = conditions::find(&binding.status.conditions, types::SYNCED);
        synced.is_some_and(|synced| synced.message == message)
    };
    until_binding(&spaces, "that is told", told).await;
    accept(true).await;
    let new: &[(&str, &str)] = &[("a", "2"), ("b", "1")];
    until_sent(&spaces, sent(&[("cluster1", new), ("cluster2", new)])).await;
    spaces.apply(binding(&["a", "b"], &["cluster2"])).await;
    until_sent(&spaces, sent(&[("cluster2", new)])).await;
}

async fn work_of(spaces: &Spaces, object: &str) -> String {
    let bound = until_binding(spaces, "the Binding is there", |_| true).await;
    let maps = Api::<ConfigMap>::namespaced(spaces.wds(), "default");
    let map = spaces.meanwhile(maps.get(object)).await.expect("it");
    let uid = |uid: Option<String>| uid.expect("a uid");
    format!("{}-wds1-{}", uid(bound.uid()), uid(map.uid()))
}

#[tokio::test]
async fn a_work_of_another_wds_is_left_alone_and_nothing_is_deleted_for_its_sake() {
    let spaces = shop().await;
    let wecs = ["cluster1", "cluster2"];
    spaces.apply(binding(&["a"], &wecs)).await;
    spaces.start_transport(singles());
    let old: &[(&str, &str)] = &[("a", "1")];
    until_sent(&spaces, sent(&[("cluster1", old), ("cluster2", old)])).await;
    let name = work_of(&spaces, "b").await;
    let foreign = |labels: Value| {
        json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
            "metadata": {"namespace": "cluster1", "name": name, "labels": labels},
            "spec": {"workload": {"manifests": [config_map("b", "of wds2")]}}})
    };
    let theirs = foreign(json!({"transport.kubestellar.io/originWdsName": "wds2"}));
    spaces.apply_to_its(theirs.clone()).await;

    spaces.apply(binding(&["b"], &wecs)).await;
    let expected = format!(
        "work {name} in mailbox cluster1 belongs to WDS wds2 and stays as it is: give the Binding another name"
    );
    let told = |binding: &Binding| binding.status.errors == [expected.as_str()];
    until_binding(&spaces, "the conflict is told", told).await;
    let new: &[(&str, &str)] = &[("b", "1")];
    let kept: &[(&str, &str)] = &[("a", "1"), ("b", "of wds2")];
    until_sent(&spaces, sent(&[("cluster1", kept), ("cluster2", new)])).await;

    let api = Api::<ManifestWork>::namespaced(spaces.its(), "cluster1");
    let parameters = DeleteParams::default();
    let deleted = spaces.meanwhile(api.delete(&name, &parameters)).await;
    deleted.expect("deleted");
    until_sent(&spaces, sent(&[("cluster1", new), ("cluster2", new)])).await;
    let is_well = |binding: &Binding| binding.status.errors.is_empty();
    until_binding(&spaces, "all is well", is_well).await;
}

#[tokio::test]
async fn a_mailbox_that_takes_nothing_keeps_nothing_from_the_others() {
    let spaces = shop().await;
    // It comes first, has no namespace, and more works than may be under way at a time.
    spaces.wec("cluster0", &[]).await;
    let names: Vec<String> = (0..80).map(|index| format!("m{index}")).collect();
    for name in &names {
        spaces.apply(config_map(name, "1")).await;
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    spaces
        .apply(binding(&names, &["cluster0", "cluster1"]))
        .await;
    spaces.start_transport(singles());
    let all: Vec<(&str, &str)> = names.iter().map(|name| (*name, "1")).collect();
    until_sent(&spaces, sent(&[("cluster1", &all)])).await;
    let told = |binding: &Binding| {
        let synced = conditions::find(&binding.status.conditions, types::SYNCED);
        synced.is_some_and(|synced| synced.message.contains("in mailbox cluster0"))
    };
    until_binding(&spaces, "the failure is told", told).await;
}

#[tokio::test]
async fn an_object_that_grows_too_large_stays_in_its_bundle_as_it_was() {
    let spaces = shop().await;
    spaces.start_transport(Options {
        max_num_wrapped: 2,
        max_size_wrapped: 1000,
    });
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    let all = sent(&[("cluster1", both), ("cluster2", both)]);
    until_sent(&spaces, all.clone()).await;
    calm(&spaces).await;
    spaces.apply(config_map("b", &"x".repeat(1000))).await;
    let too_large = |binding: &Binding| {
        let mut errors = binding.status.errors.iter();
        errors.any(|error| error.starts_with("configmaps default/b has 1"))
            && conditions::is_false(&binding.status.conditions, types::READY)
    };
    until_binding(&spaces, "the large object is told", too_large).await;
    assert_eq!(said(&works(&spaces).await), all);
    assert_eq!(spaces.its_writes.take(), [""; 0]);
    spaces.apply(config_map("b", "2")).await;
    let new: &[(&str, &str)] = &[("a", "1"), ("b", "2")];
    until_sent(&spaces, sent(&[("cluster1", new), ("cluster2", new)])).await;
}
