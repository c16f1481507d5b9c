use super::*;

fn rule(name: &str, spec: Value) -> Arc<JoinRule> {
    let object = json!({"metadata": {"name": name, "generation": 1}, "spec": spec});
    Arc::new(serde_json::from_value(object).expect("a rule"))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

fn chosen(rules: &[Arc<JoinRule>], cluster: &str, user: &str, groups: &[&str]) -> Option<String> {
    let cluster: ClusterName = cluster.parse().expect("a name");
    let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
    let applicant = Applicant {
        cluster: &cluster,
        user,
        groups: &groups,
    };
    choose(rules, applicant, |_| 2, at(100)).map(ResourceExt::name_any)
}

#[test]
fn identities_are_compared_by_equality() {
    let rules = [
        rule(
            "by-group",
            json!({"identity": {"group": "edge"}, "clusterNames": "g-*"}),
        ),
        rule(
            "by-user",
            json!({"identity": {"user": "system:bootstrap:abc"}}),
        ),
    ];
    let user = "system:bootstrap:abc";
    assert_eq!(chosen(&rules, "c1", user, &[]).as_deref(), Some("by-user"));
    assert_eq!(chosen(&rules, "c1", "system:bootstrap:abcd", &[]), None);
    assert_eq!(chosen(&rules, "c1", "system:bootstrap:ab", &[]), None);
    assert_eq!(
        chosen(&rules, "g-1", "x", &["edge"]).as_deref(),
        Some("by-group")
    );
    assert_eq!(chosen(&rules, "g-1", "x", &["edges", "edg"]), None);
    assert_eq!(chosen(&rules, "c1", "x", &["edge"]), None);
    let nobody = [rule("nobody", json!({"identity": {}}))];
    assert_eq!(chosen(&nobody, "c1", "", &[]), None);
}

#[test]
fn an_agent_lets_no_other_name_in() {
    let wide = [rule(
        "wide",
        json!({"identity": {"group": "system:authenticated"}}),
    )];
    let groups = ["system:authenticated"];
    assert_eq!(
        chosen(&wide, "c2", "system:open-cluster-management:c1:a", &groups),
        None
    );
    assert_eq!(
        chosen(&wide, "c2", "somebody", &groups).as_deref(),
        Some("wide")
    );
}

#[test]
fn expired_and_exhausted_rules_let_nobody_in_and_say_why() {
    let identity = json!({"user": "u"});
    let rules = [
        rule(
            "a-over",
            json!({"identity": identity, "expiresAt": "1970-01-01T00:01:40Z"}),
        ),
        rule(
            "b-full",
            json!({"identity": identity, "maximumClusters": 2}),
        ),
        rule(
            "c-open",
            json!({
                "identity": identity, "maximumClusters": 3, "expiresAt": "1970-01-01T00:01:41Z",
            }),
        ),
        rule("d-later", json!({"identity": identity})),
    ];
    assert_eq!(chosen(&rules, "c1", "u", &[]).as_deref(), Some("c-open"));
    let said: Vec<_> = rules[..3]
        .iter()
        .map(|rule| status(rule, 2, at(100)).expect("a change"))
        .collect();
    let condition = |index: usize, field: &str| said[index]["conditions"][0][field].clone();
    assert_eq!(condition(0, "reason"), "RuleExpired");
    assert_eq!(
        condition(1, "message"),
        "2 clusters are registered by this rule, and at most 2 may be"
    );
    assert_eq!(condition(2, "status"), "True");
    assert_eq!(said[2]["acceptedClusters"], 2);
}

#[test]
fn a_status_that_stands_is_not_written_again() {
    let mut object = (*rule("r", json!({"identity": {"user": "u"}}))).clone();
    let written = status(&object, 1, at(1)).expect("a change");
    object.status = serde_json::from_value(written).expect("a status");
    assert_eq!(status(&object, 1, at(2)), None);
    assert!(status(&object, 2, at(2)).is_some());
}

#[test]
fn patterns_stand_for_whole_names() {
    let cases = [
        ("*", "anything", true),
        ("edge-*", "edge-7", true),
        ("edge-*", "my-edge-7", false),
        ("edge-?", "edge-7", true),
        ("edge-?", "edge-77", false),
        ("edge", "edge", true),
        ("edge", "edge2", false),
        ("*-*-x", "a-b-c-x", true),
        ("*-x", "a-xy", false),
        ("**", "a", true),
    ];
    for (pattern, name, expected) in cases {
        assert_eq!(
            matches(pattern.as_bytes(), name.as_bytes()),
            expected,
            "{pattern} {name}"
        );
    }
    let hostile = "*a".repeat(100) + "b";
    assert!(!matches(hostile.as_bytes(), "a".repeat(253).as_bytes()));
}

#[test]
fn labels_are_defaults_and_the_set_is_not() {
    let invitation = Invitation {
        rule: "r".to_owned(),
        labels: [("region", "west"), ("tier", "edge")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        cluster_set: Some("s1".to_owned()),
    };
    let object = json!({"metadata": {"name": "c1", "labels": {
        "region": "east", labels::CLUSTER_SET: "prod",
    }}});
    let object: ManagedCluster = serde_json::from_value(object).expect("a ManagedCluster");
    let missing = invitation.labels_for(&object);
    assert_eq!(
        json!(missing),
        json!({"tier": "edge", labels::CLUSTER_SET: "s1"})
    );
}

#[test]
fn places_are_counted_once_and_come_back() {
    let tally = Tally::default();
    tally.reserve("c1", "r");
    tally.reserve("c2", "r");
    assert_eq!(tally.count("r"), 2);
    assert!(
        tally.saw("c1", None).is_empty(),
        "a mailbox without the mark yet"
    );
    assert_eq!(tally.saw("c1", Some("r")), ["r"]);
    tally.release("c1");
    tally.release("c2");
    assert_eq!(tally.count("r"), 1, "what the mailbox says stays");
    assert_eq!(tally.saw("c1", Some("other")), ["r", "other"]);
    assert_eq!((tally.count("r"), tally.count("other")), (0, 1));
    assert_eq!(tally.saw("c1", None), ["other"]);
    assert!(tally.lock().rules.is_empty() && tally.lock().clusters.is_empty());
}

#[test]
fn places_are_given_back_and_found_again_after_a_start() {
    let tally = Tally::default();
    tally.reserve("c1", "r");
    assert_eq!(tally.release("c1"), Some("r".to_owned()));
    assert_eq!((tally.count("r"), tally.release("c1")), (0, None));
    tally.recover("c2", "r");
    tally.recover("c2", "r");
    assert_eq!(tally.count("r"), 1);
    assert_eq!(tally.saw("c2", Some("r")), ["r"]);
    // What a mailbox says stands, whatever an older approval says.
    tally.recover("c2", "other");
    assert_eq!((tally.count("r"), tally.count("other")), (1, 0));
    assert_eq!(tally.release("c2"), None);
}
