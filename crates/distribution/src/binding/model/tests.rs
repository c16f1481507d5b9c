use super::*;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

fn kind(kind: &str) -> Kind {
    Kind {
        version: "v1".to_owned(),
        kind: kind.to_owned(),
        is_selectable: true,
    }
}

fn kinds_of_a_shop() -> BTreeMap<GroupResource, Kind> {
    BTreeMap::from([
        (GroupResource::new("", "namespaces"), kind("Namespace")),
        (GroupResource::new("", "configmaps"), kind("ConfigMap")),
        (
            GroupResource::new("apps", "deployments"),
            kind("Deployment"),
        ),
    ])
}

/// A model that has seen the kinds, and that there is nothing of each and no WEC.
fn model() -> Model {
    let mut model = Model::default();
    let kinds = kinds_of_a_shop();
    model.see_kinds(&kinds);
    for resource in kinds.keys() {
        model.see_all(resource, &HashSet::new());
    }
    model.see_all_clusters();
    assert!(model.is_usable() && model.unlisted().is_empty());
    model
}

fn key(group: &str, resource: &str, namespace: &str, name: &str) -> ObjectKey {
    ObjectKey {
        resource: GroupResource::new(group, resource),
        name: ObjectName::new(namespace, name),
    }
}

fn map(name: &str) -> ObjectKey {
    key("", "configmaps", "shop", name)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

fn labelled(version: u64, pairs: &[(&str, &str)]) -> Metadata {
    Metadata {
        resource_version: version.to_string(),
        labels: labels(pairs),
    }
}

fn policy(clusters: Value, clauses: Value) -> BindingPolicySpec {
    let spec = json!({"clusterSelectors": clusters, "downsync": clauses});
    serde_json::from_value(spec).expect("a spec")
}

fn names(changed: &Changed) -> Vec<&str> {
    changed.iter().map(|name| &**name).collect()
}

fn objects(model: &Model, policy: &str) -> Vec<String> {
    let meant = model.meant(policy).expect("the policy");
    meant.objects.keys().map(ToString::to_string).collect()
}

fn web() -> BindingPolicySpec {
    policy(
        json!([{}]),
        json!([{"objectSelectors": [{"matchLabels": {"app": "web"}}]}]),
    )
}

#[test]
fn policies_and_objects_may_come_in_any_order() {
    let mut early = model();
    early.see_policy("p", &web());
    let changed = early.see(map("a"), labelled(1, &[("app", "web")]));
    assert_eq!(names(&changed), ["p"]);
    let mut late = model();
    late.see(map("a"), labelled(1, &[("app", "web")]));
    late.see_policy("p", &web());
    assert_eq!(objects(&early, "p"), ["configmaps shop/a"]);
    assert_eq!(objects(&early, "p"), objects(&late, "p"));
}

#[test]
fn an_object_that_changes_in_content_concerns_no_policy() {
    let mut model = model();
    model.see_policy("p", &web());
    model.see(map("a"), labelled(1, &[("app", "web")]));
    let changed = model.see(map("a"), labelled(2, &[("app", "web")]));
    assert!(changed.is_empty());
    let asked = ["a", "none"].map(|name| (Arc::new(map(name)), ()));
    assert_eq!(model.resource_versions(&asked.into()), ["2", ""]);
    for number in 0..2 * LOOKUP_SHARE {
        model.see(map(&format!("more-{number}")), labelled(1, &[]));
    }
    let asked = ["a", "none"].map(|name| (Arc::new(map(name)), ()));
    assert_eq!(model.resource_versions(&asked.into()), ["2", ""]);
    let changed = model.see(map("b"), labelled(3, &[("app", "api")]));
    assert!(changed.is_empty(), "an object that nobody means");
}

#[test]
fn labels_and_ends_of_objects_move_them_out_and_in() {
    let mut model = model();
    model.see_policy("p", &web());
    model.see(map("a"), labelled(1, &[("app", "web")]));
    assert_eq!(names(&model.see(map("a"), labelled(2, &[]))), ["p"]);
    assert!(objects(&model, "p").is_empty());
    model.see(map("a"), labelled(3, &[("app", "web")]));
    assert_eq!(names(&model.miss(&map("a"))), ["p"]);
    assert!(objects(&model, "p").is_empty());
    assert!(model.miss(&map("a")).is_empty());
}

#[test]
fn an_object_that_a_new_list_lacks_is_gone() {
    let mut model = model();
    model.see_policy("p", &web());
    model.see(map("a"), labelled(1, &[("app", "web")]));
    model.see(map("b"), labelled(2, &[("app", "web")]));
    let left = HashSet::from([ObjectName::new("shop", "b")]);
    let changed = model.see_all(&GroupResource::new("", "configmaps"), &left);
    assert_eq!(names(&changed), ["p"]);
    assert_eq!(objects(&model, "p"), ["configmaps shop/b"]);
}

#[test]
fn a_namespaces_labels_concern_what_is_in_it() {
    let mut model = model();
    let prod = json!([{"resources": ["configmaps"], "namespaceSelectors": [{"matchLabels": {"tier": "prod"}}]}]);
    model.see_policy("p", &policy(json!([{}]), prod));
    model.see_policy("other", &web());
    model.see(map("a"), labelled(1, &[]));
    let namespace = key("", "namespaces", "", "shop");
    let changed = model.see(namespace.clone(), labelled(2, &[("tier", "prod")]));
    assert_eq!(names(&changed), ["p"]);
    assert_eq!(objects(&model, "p"), ["configmaps shop/a"]);
    let changed = model.see(namespace.clone(), labelled(3, &[("tier", "test")]));
    assert_eq!(names(&changed), ["p"]);
    assert!(objects(&model, "p").is_empty());
    model.see(namespace.clone(), labelled(4, &[("tier", "prod")]));
    model.miss(&namespace);
    assert!(objects(&model, "p").is_empty());
}

#[test]
fn a_kind_that_goes_takes_its_objects_along() {
    let mut model = model();
    model.see_policy("p", &web());
    model.see(map("a"), labelled(1, &[("app", "web")]));
    let mut kinds = kinds_of_a_shop();
    kinds.remove(&GroupResource::new("", "configmaps"));
    assert_eq!(names(&model.see_kinds(&kinds)), ["p"]);
    assert!(objects(&model, "p").is_empty());
    assert!(model.see_kinds(&kinds).is_empty());
}

#[test]
fn what_belongs_to_the_space_or_to_other_groups_is_not_meant() {
    let mut model = model();
    model.see_policy("p", &policy(json!([{}]), json!([{"resources": ["*"]}])));
    model.see(map("kube-root-ca.crt"), labelled(1, &[]));
    model.see(map("a"), labelled(1, &[]));
    assert_eq!(objects(&model, "p"), ["configmaps shop/a"]);
    let mut kinds = kinds_of_a_shop();
    let namespaces = GroupResource::new("", "namespaces");
    kinds.get_mut(&namespaces).expect("a kind").is_selectable = false;
    model.see_kinds(&kinds);
    model.see(key("", "namespaces", "", "shop"), labelled(1, &[]));
    assert_eq!(objects(&model, "p"), ["configmaps shop/a"]);
}

#[test]
fn a_wec_concerns_the_policies_that_begin_or_cease_to_mean_it() {
    let mut model = model();
    let edge = json!([{"matchLabels": {"location-group": "edge"}}]);
    model.see_policy("edge", &policy(edge, json!([{"resources": ["*"]}])));
    model.see_policy("all", &policy(json!([{}]), json!([{"resources": ["*"]}])));
    model.see_policy("none", &policy(json!([]), json!([{"resources": ["*"]}])));
    let destinations = |model: &Model, policy: &str| {
        let meant = model.meant(policy).expect("the policy");
        meant.destinations.iter().cloned().collect::<Vec<_>>()
    };
    let changed = model.see_cluster("c1", &labels(&[]), true);
    assert_eq!(names(&changed), ["all"]);
    let on_the_edge = labels(&[("location-group", "edge")]);
    let changed = model.see_cluster("c1", &on_the_edge, true);
    assert_eq!(names(&changed), ["edge"]);
    assert!(model.see_cluster("c1", &on_the_edge, true).is_empty());
    assert_eq!(destinations(&model, "edge"), ["c1"]);
    assert_eq!(names(&model.miss_cluster("c1")), ["all", "edge"]);
    assert!(destinations(&model, "all").is_empty());
}

#[test]
fn a_wec_that_is_not_accepted_waits_and_gets_nothing() {
    let mut model = model();
    model.see_cluster("c1", &labels(&[]), false);
    model.see_policy("p", &web());
    let meant = model.meant("p").expect("the policy");
    assert!(meant.destinations.is_empty());
    assert!(meant.waiting.contains("c1"));
    assert_eq!(names(&model.see_cluster("c1", &labels(&[]), true)), ["p"]);
    let meant = model.meant("p").expect("the policy");
    assert!(meant.destinations.contains("c1") && meant.waiting.is_empty());
}

#[test]
fn wecs_of_all_policies_that_want_the_one_status_count_together() {
    let mut model = model();
    for (policy_name, cluster) in [("p", "c1"), ("q", "c2")] {
        model.see_cluster(cluster, &labels(&[("name", cluster)]), true);
        let selector = json!([{"matchLabels": {"name": cluster}}]);
        let clause = json!([{"resources": ["configmaps"], "wantSingletonReportedState": true}]);
        model.see_policy(policy_name, &policy(selector, clause));
    }
    let changed = model.see(map("a"), labelled(1, &[]));
    assert_eq!(names(&changed), ["p", "q"]);
    assert_eq!(model.singleton_destinations(&map("a")).len(), 2);
    let changed = model.miss_cluster("c2");
    assert_eq!(names(&changed), ["p", "q"], "the neighbour counts it too");
    assert_eq!(model.singleton_destinations(&map("a")).len(), 1);
    assert_eq!(names(&model.miss_policy("q")), ["p", "q"]);
}

/// One step of the random walk.
#[derive(Clone, Debug)]
enum Step {
    Object(u8, u8, Option<u8>),
    Policy(u8, Option<u8>),
    Cluster(u8, Option<(u8, bool)>),
    Namespace(u8, Option<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4u8, 0..2u8, prop::option::of(0..3u8)).prop_map(|(n, ns, l)| Step::Object(n, ns, l)),
        2 => (0..4u8, prop::option::of(0..7u8)).prop_map(|(n, form)| Step::Policy(n, form)),
        1 => (0..3u8, prop::option::of((0..3u8, any::<bool>()))).prop_map(|(n, to)| Step::Cluster(n, to)),
        1 => (0..2u8, prop::option::of(0..3u8)).prop_map(|(n, l)| Step::Namespace(n, l)),
    ]
}

fn form(number: u8) -> BindingPolicySpec {
    let value = |number: u8| (number % 3).to_string();
    let clause = match number {
        0 => json!({"resources": ["*"]}),
        1 => json!({"objectNames": ["n0", "n1"], "createOnly": true}),
        2 => {
            json!({"objectSelectors": [{"matchLabels": {"l": "1"}}], "wantSingletonReportedState": true})
        }
        3 => json!({"namespaceSelectors": [{"matchLabels": {"l": "2"}}]}),
        4 => json!({"namespaces": ["ns1"], "resources": ["configmaps"]}),
        5 => json!({"apiGroup": "apps"}),
        _ => {
            json!({"apiGroup": "", "objectSelectors": [{"matchExpressions": [{"key": "l", "operator": "Exists"}]}], "statusCollectors": ["s"]})
        }
    };
    policy(
        json!([{"matchLabels": {"l": value(number)}}]),
        json!([clause]),
    )
}

/// Truth as plain maps, from which a model can be made anew.
#[derive(Default)]
struct Truth {
    objects: BTreeMap<ObjectKey, Labels>,
    policies: BTreeMap<String, BindingPolicySpec>,
    clusters: BTreeMap<String, (Labels, bool)>,
}

impl Truth {
    fn made_anew(&self) -> Model {
        let mut fresh = model();
        for (key, labels) in &self.objects {
            let metadata = Metadata {
                labels: labels.clone(),
                ..Metadata::default()
            };
            fresh.see(key.clone(), metadata);
        }
        for (name, (labels, accepted)) in &self.clusters {
            fresh.see_cluster(name, labels, *accepted);
        }
        for (name, spec) in &self.policies {
            fresh.see_policy(name, spec);
        }
        fresh
    }

    fn take(&mut self, model: &mut Model, step: Step) -> Changed {
        let label = |number: u8| labels(&[("l", &number.to_string())]);
        match step {
            Step::Object(name, namespace, to) => {
                let (group, plural) =
                    [("", "configmaps"), ("apps", "deployments")][usize::from(name % 2)];
                let key = key(
                    group,
                    plural,
                    &format!("ns{namespace}"),
                    &format!("n{name}"),
                );
                self.take_object(model, key, to.map(label))
            }
            Step::Namespace(name, to) => {
                let key = key("", "namespaces", "", &format!("ns{name}"));
                self.take_object(model, key, to.map(label))
            }
            Step::Policy(name, Some(number)) => {
                let name = format!("p{name}");
                let changed = model.see_policy(&name, &form(number));
                self.policies.insert(name, form(number));
                changed
            }
            Step::Policy(name, None) => {
                self.policies.remove(&format!("p{name}"));
                model.miss_policy(&format!("p{name}"))
            }
            Step::Cluster(name, Some((number, accepted))) => {
                let name = format!("c{name}");
                let changed = model.see_cluster(&name, &label(number), accepted);
                self.clusters.insert(name, (label(number), accepted));
                changed
            }
            Step::Cluster(name, None) => {
                self.clusters.remove(&format!("c{name}"));
                model.miss_cluster(&format!("c{name}"))
            }
        }
    }

    fn take_object(
        &mut self,
        model: &mut Model,
        key: ObjectKey,
        labels: Option<Labels>,
    ) -> Changed {
        match labels {
            Some(labels) => {
                self.objects.insert(key.clone(), labels.clone());
                let metadata = Metadata {
                    labels,
                    ..Metadata::default()
                };
                model.see(key, metadata)
            }
            None => {
                self.objects.remove(&key);
                model.miss(&key)
            }
        }
    }
}

/// What each policy means, in words.
fn meanings(model: &Model) -> BTreeMap<String, String> {
    let say = |meant: &Meant| {
        let wecs = meant
            .objects
            .keys()
            .map(|key| model.singleton_destinations(key));
        format!(
            "{:?} to {:?} but {:?}; {:?}",
            meant.objects,
            meant.destinations,
            meant.waiting,
            wecs.collect::<Vec<_>>()
        )
    };
    let policies = model.policies.iter();
    policies
        .map(|(name, meant)| (name.to_string(), say(meant)))
        .collect()
}

proptest! {
    #[test]
    fn any_way_to_a_state_means_what_the_state_means_and_tells_whom_it_concerned(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = model();
        let mut truth = Truth::default();
        for step in steps {
            let before = meanings(&model);
            let changed = truth.take(&mut model, step);
            let after = meanings(&model);
            for name in before.keys().chain(after.keys()) {
                let differs = before.get(name) != after.get(name);
                prop_assert!(!differs || changed.contains(name.as_str()), "{name} was not told");
            }
        }
        prop_assert_eq!(meanings(&model), meanings(&truth.made_anew()));
    }
}
