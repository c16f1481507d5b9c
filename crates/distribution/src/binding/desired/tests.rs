use super::*;
use crate::binding::clause::Labels;
use crate::binding::kinds::Kind;
use crate::binding::model::Metadata;
use crate::object::GroupResource;
use crate::object::ObjectName;
use expect_test::expect;
use serde_json::Value;
use std::collections::HashSet;

fn now() -> Time {
    Time(jiff::Timestamp::UNIX_EPOCH)
}

fn kinds() -> BTreeMap<GroupResource, Kind> {
    let kind = |version: &str, kind: &str| Kind {
        version: version.to_owned(),
        kind: kind.to_owned(),
        is_selectable: true,
    };
    BTreeMap::from([
        (
            GroupResource::new("", "namespaces"),
            kind("v1", "Namespace"),
        ),
        (
            GroupResource::new("apps", "deployments"),
            kind("v1", "Deployment"),
        ),
    ])
}

/// A shop with a policy for all of it, and two WECs.
fn shop(clause: Value) -> (Model, BindingPolicy) {
    let mut model = Model::default();
    model.see_kinds(&kinds());
    for (resource, namespace, name) in [
        (GroupResource::new("apps", "deployments"), "shop", "web"),
        (GroupResource::new("", "namespaces"), "", "shop"),
    ] {
        let name = ObjectName::new(namespace, name);
        let listed = HashSet::from([name.clone()]);
        let metadata = Metadata {
            resource_version: "7".to_owned(),
            labels: Labels::new(),
        };
        let key = ObjectKey {
            resource: resource.clone(),
            name,
        };
        model.see(key, metadata);
        model.see_all(&resource, &listed);
    }
    model.see_cluster("c2", &Labels::new(), true);
    model.see_cluster("c1", &Labels::new(), true);
    model.see_all_clusters();
    let policy: BindingPolicy = serde_json::from_value(json!({
        "metadata": {"name": "p", "uid": "u", "generation": 3},
        "spec": {"clusterSelectors": [{}], "downsync": [clause]},
    }))
    .expect("a policy");
    model.see_policy("p", &policy.spec);
    (model, policy)
}

fn spec_of(model: &Model, current: Option<&BindingSpec>) -> BindingSpec {
    spec(model, model.meant("p").expect("the policy"), current)
}

fn binding(spec: BindingSpec) -> Binding {
    let mut binding = Binding::new("p", spec);
    binding.metadata.generation = Some(1);
    binding
}

fn status_of(
    model: &Model,
    policy: &BindingPolicy,
    binding: Option<&Binding>,
    failure: Option<&str>,
) -> Vec<String> {
    let meant = model.meant("p").expect("the policy");
    let status = status(model, policy, meant, binding, failure, &now());
    assert_eq!(status.observed_generation, 3);
    let mut lines = Vec::new();
    for condition in status.conditions {
        lines.push(format!(
            "{} {} {}: {}",
            condition.type_, condition.status, condition.reason, condition.message
        ));
    }
    lines.extend(status.errors.iter().map(|error| format!("error: {error}")));
    lines
}

#[test]
fn a_binding_lists_objects_and_wecs_in_order() {
    let (model, _) = shop(json!({"resources": ["*"], "createOnly": true}));
    let text = serde_json::to_string_pretty(&spec_of(&model, None)).expect("JSON");
    expect![[r#"
        {
          "workload": {
            "clusterScope": [
              {
                "group": "",
                "version": "v1",
                "resource": "namespaces",
                "name": "shop",
                "resourceVersion": "7",
                "createOnly": true
              }
            ],
            "namespaceScope": [
              {
                "group": "apps",
                "version": "v1",
                "resource": "deployments",
                "namespace": "shop",
                "name": "web",
                "resourceVersion": "7",
                "createOnly": true
              }
            ]
          },
          "destinations": [
            {
              "clusterId": "c1"
            },
            {
              "clusterId": "c2"
            }
          ]
        }"#]]
    .assert_eq(&text);
}

#[test]
fn order_and_versions_of_objects_are_no_difference_and_the_rest_is() {
    let (model, _) = shop(json!({"resources": ["*"]}));
    let one = spec_of(&model, None);
    let mut other = one.clone();
    other.destinations.reverse();
    other.workload.namespace_scope[0].resource_version = "8".to_owned();
    assert!(are_same(&one, &other));
    let changes: [fn(&mut BindingSpec); 4] = [
        |spec| spec.destinations.truncate(1),
        |spec| spec.workload.cluster_scope.clear(),
        |spec| spec.workload.namespace_scope[0].version = "v2".to_owned(),
        |spec| spec.workload.namespace_scope[0].modulation.create_only = true,
    ];
    for change in changes {
        let mut other = one.clone();
        change(&mut other);
        assert!(!are_same(&one, &other));
    }
}

#[test]
fn what_was_not_seen_yet_stays_in_the_binding() {
    let (full, _) = shop(json!({"resources": ["*"]}));
    let before = spec_of(&full, None);
    let mut model = Model::default();
    model.see_all_clusters();
    model.see_cluster("c1", &Labels::new(), true);
    model.see_cluster("c2", &Labels::new(), true);
    model.see_policy(
        "p",
        &serde_json::from_value(
            json!({"clusterSelectors": [{}], "downsync": [{"resources": ["*"]}]}),
        )
        .expect("a spec"),
    );
    assert!(
        are_same(&before, &spec_of(&model, Some(&before))),
        "no kinds"
    );

    model.see_kinds(&kinds());
    assert!(
        are_same(&before, &spec_of(&model, Some(&before))),
        "no lists"
    );

    let namespaces = GroupResource::new("", "namespaces");
    model.see_all(&namespaces, &HashSet::new());
    let after = spec_of(&model, Some(&before));
    assert!(after.workload.cluster_scope.is_empty());
    assert_eq!(after.workload.namespace_scope.len(), 1);

    model.see_trouble(
        &GroupResource::new("apps", "deployments"),
        "forbidden".to_owned(),
    );
    assert_eq!(model.troubles("p").len(), 1);
}

fn destinations_of(spec: &BindingSpec) -> Vec<&str> {
    let destinations = spec.destinations.iter();
    destinations.map(|it| it.cluster_id.as_str()).collect()
}

/// What a Binding says next; what [`says`] thinks of it is checked.
fn next(model: &Model, current: &BindingSpec) -> BindingSpec {
    let next = spec_of(model, Some(current));
    let meant = model.meant("p").expect("the policy");
    let is_said = says(current, model, meant);
    assert!(!is_said || are_same(current, &next));
    assert!(are_same(&next, &spec_of(model, Some(&next))), "it is final");
    next
}

#[test]
fn a_wec_that_is_accepted_no_more_stays_a_destination_and_one_that_never_was_becomes_none() {
    let (mut model, _) = shop(json!({"resources": ["*"]}));
    let before = spec_of(&model, None);
    model.see_cluster("c1", &Labels::new(), false);
    model.see_cluster("c3", &Labels::new(), false);
    let after = next(&model, &before);
    assert_eq!(destinations_of(&after), ["c1", "c2"]);
    let meant = model.meant("p").expect("the policy");
    assert!(says(&after, &model, meant), "without making a spec");
    assert_eq!(destinations_of(&spec_of(&model, None)), ["c2"]);

    let elsewhere = json!({"clusterSelectors": [{"matchLabels": {"a": "b"}}], "downsync": [{}]});
    model.see_policy("p", &serde_json::from_value(elsewhere).expect("a spec"));
    assert!(next(&model, &after).destinations.is_empty());
    model.see_policy("p", &everything(json!([{}]), json!({})));
    model.miss_cluster("c1");
    assert_eq!(destinations_of(&next(&model, &after)), ["c2"]);
}

fn everything(clusters: Value, clause: Value) -> hyades_api::control::BindingPolicySpec {
    let spec = json!({"clusterSelectors": clusters, "downsync": [clause]});
    serde_json::from_value(spec).expect("a spec")
}

#[test]
fn objects_chosen_by_their_namespace_stay_until_namespaces_are_known() {
    let clause = json!({"namespaceSelectors": [{"matchLabels": {"tier": "prod"}}]});
    let (mut full, _) = shop(clause.clone());
    let namespaces = GroupResource::new("", "namespaces");
    let shop_of = |tier: &str| Metadata {
        resource_version: "8".to_owned(),
        labels: Labels::from([("tier".to_owned(), tier.to_owned())]),
    };
    let namespace = ObjectKey {
        resource: namespaces.clone(),
        name: ObjectName::new("", "shop"),
    };
    full.see(namespace.clone(), shop_of("prod"));
    let before = spec_of(&full, None);
    assert_eq!(before.workload.namespace_scope.len(), 1);

    let deployments = GroupResource::new("apps", "deployments");
    let web = ObjectName::new("shop", "web");
    let restarted = || {
        let mut model = Model::default();
        model.see_kinds(&kinds());
        model.see_all_clusters();
        model.see_policy("p", &everything(json!([{}]), clause.clone()));
        let key = ObjectKey {
            resource: deployments.clone(),
            name: web.clone(),
        };
        model.see(key, Metadata::default());
        model.see_all(&deployments, &HashSet::from([web.clone()]));
        model
    };
    for (tier, count) in [("prod", 1), ("test", 0)] {
        let mut model = restarted();
        let kept = next(&model, &before);
        assert_eq!(kept.workload, before.workload);
        model.see(namespace.clone(), shop_of(tier));
        model.see_all(&namespaces, &HashSet::from([namespace.name.clone()]));
        let after = next(&model, &kept);
        assert_eq!(after.workload.namespace_scope.len(), count, "{tier}");
    }
    let mut model = restarted();
    model.see_all(&deployments, &HashSet::new());
    let after = next(&model, &before);
    assert!(after.workload.namespace_scope.is_empty(), "it is gone");
}

#[test]
fn a_selector_that_cannot_be_read_takes_nothing_away() {
    let unreadable = json!([{"matchLabels": {"-a b": "c"}}]);
    let (mut model, policy) = shop(json!({"resources": ["*"], "createOnly": true}));
    let before = spec_of(&model, None);

    model.see_policy("p", &everything(unreadable.clone(), json!({})));
    let after = next(&model, &before);
    assert_eq!(destinations_of(&after), ["c1", "c2"]);
    assert!(!after.workload.namespace_scope[0].modulation.create_only);
    model.miss_cluster("c1");
    assert_eq!(destinations_of(&next(&model, &after)), ["c2"]);

    for field in ["objectSelectors", "namespaceSelectors"] {
        let clause = json!({"createOnly": true, field: unreadable});
        let spec =
            json!({"clusterSelectors": [{}], "downsync": [clause, {"resources": ["deployments"]}]});
        model.see_policy("p", &serde_json::from_value(spec).expect("a spec"));
        let after = next(&model, &before);
        assert_eq!(after.workload, before.workload, "{field}");
        assert_eq!(destinations_of(&after), ["c2"]);
        let lines = status_of(&model, &policy, Some(&binding(after)), None);
        let place = format!("error: spec.downsync[0].{field}[0] is left out");
        let is_told = lines.iter().any(|line| line.starts_with(&place));
        assert!(is_told, "{lines:?}");
    }
    let namespaces = GroupResource::new("", "namespaces");
    model.see_all(&namespaces, &HashSet::new());
    assert!(next(&model, &before).workload.cluster_scope.is_empty());

    model.see_policy(
        "p",
        &everything(json!([{}]), json!({"resources": ["pods"]})),
    );
    let after = next(&model, &before);
    assert!(after.workload.namespace_scope.is_empty(), "it is mended");
}

#[test]
fn the_status_follows_the_binding_to_its_answer() {
    let (model, policy) = shop(json!({"resources": ["*"]}));
    let mut written = binding(spec_of(&model, None));
    let mut outdated = written.clone();
    outdated.spec.destinations.clear();
    let mut stages = vec![
        status_of(&model, &policy, None, None),
        status_of(&model, &policy, Some(&outdated), None),
        status_of(&model, &policy, Some(&written), None),
        status_of(&model, &policy, Some(&written), Some("too large")),
    ];
    let synced = Statement::new(
        types::SYNCED,
        Status::True,
        reasons::RECONCILE_SUCCESS,
        "4 works",
    );
    let ready = Statement::new(
        types::READY,
        Status::False,
        reasons::UNAVAILABLE,
        "3 of 4 applied",
    );
    conditions::set(&mut written.status.conditions, &synced, now());
    conditions::set(&mut written.status.conditions, &ready, now());
    written.status.errors.push("c2: quota".to_owned());
    stages.push(status_of(&model, &policy, Some(&written), None));
    written.status.observed_generation = 1;
    stages.push(status_of(&model, &policy, Some(&written), None));
    let text: Vec<_> = stages.iter().map(|lines| lines.join("\n")).collect();
    expect![[r#"
        Synced False Creating: 2 objects to 2 destinations; the Binding is being written
        Ready False Unavailable: 2 objects to 2 destinations; the Binding is being written

        Synced False Creating: 2 objects to 2 destinations; the Binding is being written
        Ready False Unavailable: 2 objects to 2 destinations; the Binding is being written

        Synced False Creating: 2 objects to 2 destinations; the Binding is written and its works are being written
        Ready False Unavailable: 2 objects to 2 destinations; the Binding is written and its works are being written

        Synced False ReconcileError: 2 objects to 2 destinations; the Binding could not be written, see status.errors
        Ready False Unavailable: 2 objects to 2 destinations; the Binding could not be written, see status.errors
        error: the Binding could not be written: too large

        Synced False Creating: 2 objects to 2 destinations; the Binding is written and its works are being written
        Ready False Unavailable: 2 objects to 2 destinations; the Binding is written and its works are being written
        error: c2: quota

        Synced True ReconcileSuccess: 4 works
        Ready False Unavailable: 3 of 4 applied
        error: c2: quota"#]]
    .assert_eq(&text.join("\n\n"));
}

#[test]
fn the_time_of_a_condition_stays_while_its_state_does() {
    let (model, mut policy) = shop(json!({"resources": ["*"]}));
    let meant = model.meant("p").expect("the policy");
    policy.status = status(&model, &policy, meant, None, None, &now());
    let later = Time(jiff::Timestamp::from_second(60).expect("a time"));
    let again = status(&model, &policy, meant, None, None, &later);
    assert_eq!(again, policy.status, "so that nothing is written");
}

#[test]
fn singletons_in_several_wecs_are_an_error_in_upstreams_words() {
    let (model, policy) =
        shop(json!({"resources": ["deployments"], "wantSingletonReportedState": true}));
    let written = binding(spec_of(&model, None));
    let lines = status_of(&model, &policy, Some(&written), None);
    expect![[r#"error: Singleton reported status return is requested but some objects have the wrong number of associated WECs, for example: [{"NumWECs":2,"ObjectID":{"GVK":{"Group":"apps","Kind":"Deployment","Version":"v1"},"ObjectName":{"Name":"web","Namespace":"shop"},"Resource":"deployments"}}]"#]]
    .assert_eq(lines.last().expect("a line"));
}

#[test]
fn wecs_that_wait_are_named() {
    let (mut model, policy) = shop(json!({"resources": ["*"]}));
    for number in 3..10 {
        model.see_cluster(&format!("c{number}"), &Labels::new(), false);
    }
    let written = binding(spec_of(&model, None));
    let lines = status_of(&model, &policy, Some(&written), None);
    expect![[r#"DestinationsAccepted False Unavailable: matching WECs that are not accepted, or are leaving, get nothing new: c3, c4, c5, c6, c7 and 2 more; accept them with clusteradm accept --clusters"#]]
    .assert_eq(lines.last().expect("a line"));
}
