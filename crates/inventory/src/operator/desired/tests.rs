//! What is asked for, and what comes of it.

use super::*;

fn manager(spec: Value) -> ClusterManager {
    let object = json!({"metadata": {"name": "cluster-manager"}, "spec": spec});
    serde_json::from_value(object).expect("a ClusterManager")
}

fn hub_container(objects: &[Value]) -> &Value {
    let deployment = objects
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .expect("a Deployment");
    assert_eq!(
        deployment["metadata"]["name"],
        "cluster-manager-registration-controller"
    );
    &deployment["spec"]["template"]["spec"]["containers"][0]
}

#[test]
fn a_gate_with_nothing_behind_it_is_named_and_stays_off() {
    let gates = gates(&manager(
        json!({"registrationConfiguration": {"featureGates": [
            {"feature": "V1beta1CSRAPICompatibility", "mode": "Enable"},
            {"feature": "ClusterImporter", "mode": "Enable"},
            {"feature": "Nonsense", "mode": "Enable"},
        ]}}),
    ));
    assert_eq!(
        gates.refused,
        ["Nonsense", "V1beta1CSRAPICompatibility (not supported)"]
    );
    let registration = &gates.registration;
    assert!(registration.enabled("ClusterImporter"));
    assert!(!registration.enabled("V1beta1CSRAPICompatibility"));
}

#[test]
fn gates_of_every_part_are_read_and_named_when_they_cannot_be_had() {
    let on = |gate: &str| json!({"feature": gate, "mode": "Enable"});
    let gates = gates(&manager(json!({
        "workConfiguration": {"featureGates": [
            on("NilExecutorValidating"), on("CloudEventsDrivers"), on("DefaultClusterSet"),
        ]},
        "placementConfiguration": {"featureGates": [on("SIGPlacementDecision")]},
        "addOnManagerConfiguration": {"featureGates": [on("Nonsense")]},
    })));
    assert_eq!(
        gates.refused,
        [
            "Nonsense",
            "DefaultClusterSet",
            "CloudEventsDrivers (not supported)",
            "SIGPlacementDecision (not supported)",
        ]
    );
    assert!(gates.work.enabled("NilExecutorValidating"));
    assert!(!gates.work.enabled("CloudEventsDrivers"));
}

#[test]
fn the_hub_gets_its_gates_and_its_users_as_flags() {
    let objects = decide(&manager(json!({
        "registrationImagePullSpec": "mirror.example/hyades:v9",
        "registrationConfiguration": {
            "autoApproveUsers": ["b", "a"],
            "featureGates": [{"feature": "ManagedClusterAutoApproval", "mode": "Enable"}],
            "registrationDrivers": [{"authType": "csr", "csr": {"autoApprovedIdentities": ["a"]}}],
        },
    })), &BTreeMap::new())
    .expect("accepted");
    let container = hub_container(&objects);
    assert_eq!(container["image"], "mirror.example/hyades:v9");
    let args: Vec<_> = container["args"]
        .as_array()
        .expect("args")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(args[..2], ["component", "hub"]);
    assert!(args.contains(&"--feature-gates=ManagedClusterAutoApproval=true"));
    assert_eq!(
        args[args.len() - 2..],
        ["--auto-approved-csr-users=a", "--auto-approved-csr-users=b"]
    );
}

#[test]
fn all_that_is_made_carries_the_managers_name_and_labels_and_the_hub_hands_them_on() {
    let mut manager = manager(json!({}));
    let stated = [("app", "mine"), ("team", "edge")];
    let owned = stated.map(|(key, value)| (key.to_owned(), value.to_owned()));
    manager.metadata.labels = Some(owned.into());
    let inherited = inherited(&manager);
    let mut objects = decide(&manager, &inherited).expect("accepted");
    objects.push(pull_secret(&Secret::default(), &manager, &inherited));
    for object in &objects {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["team"], "edge", "{object}");
        assert_eq!(
            labels[labels::CREATED_BY_CLUSTER_MANAGER],
            "cluster-manager"
        );
        assert_ne!(labels["app"], "mine");
    }
    let args = hub_container(&objects)["args"].as_array().expect("args");
    assert!(args.contains(&json!("--labels=team=edge")));
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment");
    let pods = &deployment.expect("a Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(*pods, json!({"app": apps::HUB, "team": "edge"}));

    let objects = decide(&manager, &BTreeMap::new()).expect("accepted");
    let own = labels::CREATED_BY_CLUSTER_MANAGER;
    let namespace = objects.iter().find(|object| object["kind"] == "Namespace");
    assert_eq!(
        namespace.expect("a Namespace")["metadata"]["labels"],
        json!({own: "cluster-manager"})
    );
}

#[test]
fn the_window_for_expired_agents_is_an_annotation_and_must_be_a_number() {
    let stated = |window: &str| {
        let mut manager = manager(json!({}));
        let key = annotations::EXPIRED_CERTIFICATE_WINDOW.to_owned();
        manager.metadata.annotations = Some([(key, window.to_owned())].into());
        flags(&manager)
    };
    let all = stated("3600").expect("accepted");
    let last = all.last().map(String::as_str);
    assert_eq!(last, Some("--expired-certificate-window-seconds=3600"));
    let refusal = stated("a month").expect_err("refused");
    assert!(
        refusal.message.contains("number of seconds"),
        "{}",
        refusal.message
    );
}

#[test]
fn a_hub_that_imports_is_told_the_image_of_its_agents_and_renders_them_itself() {
    let importing = |renderers: Value| {
        flags(&manager(json!({
            "registrationImagePullSpec": "mirror.example/hyades:v9",
            "registrationConfiguration": {
                "featureGates": [{"feature": "ClusterImporter", "mode": "Enable"}],
                "importerConfiguration": {"renderers": renderers},
            },
        })))
    };
    let flags = importing(json!(["render-auto"])).expect("accepted");
    assert!(flags.contains(&"--agent-image=mirror.example/hyades:v9".to_owned()));
    let refusal = importing(json!(["render-from-config-secret"])).expect_err("refused");
    assert_eq!(
        refusal.message,
        "the renderer \"render-from-config-secret\" is not supported; use render-auto"
    );
}

#[test]
fn an_image_without_our_components_is_replaced_by_our_own() {
    let objects = decide(
        &manager(json!({
            "registrationImagePullSpec": "quay.io/open-cluster-management/registration:v1.3.1",
        })),
        &BTreeMap::new(),
    )
    .expect("accepted");
    assert_eq!(hub_container(&objects)["image"], json!(image::reference()));
}

#[test]
fn what_cannot_be_had_is_refused_by_name() {
    let hosted = decide(
        &manager(json!({"deployOption": {"mode": "Hosted"}})),
        &BTreeMap::new(),
    );
    assert_eq!(hosted.unwrap_err().reason, "DeployModeNotSupported");
    let driver =
        json!({"registrationConfiguration": {"registrationDrivers": [{"authType": "grpc"}]}});
    let refusal = decide(&manager(driver), &BTreeMap::new()).unwrap_err();
    assert_eq!(
        refusal.message,
        "registration driver \"grpc\" is not supported; use csr"
    );
}

#[test]
fn the_hub_may_write_works_that_name_no_executor() {
    let objects = decide(&manager(json!({})), &BTreeMap::new()).expect("accepted");
    let name = "open-cluster-management:cluster-manager-work-executor-admin:webhook";
    let found = |kind: &str| {
        let mut objects = objects.iter();
        let found = objects.find(|o| o["kind"] == kind && o["metadata"]["name"] == name);
        found.expect("the object")
    };
    let rule = &found("ClusterRole")["rules"][0];
    assert_eq!(rule["verbs"], json!(["execute-as"]));
    assert_eq!(
        rule["resourceNames"],
        json!(["system:serviceaccount::klusterlet-work-sa"])
    );
    let binding = found("ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], name);
    assert_eq!(binding["subjects"][0]["name"], names::HUB_SERVICE_ACCOUNT);
    let removed = owned("cluster-manager");
    let goes = |kind: &str| {
        let mut removed = removed.iter();
        removed.any(|o| o["kind"] == kind && o["metadata"]["name"] == name)
    };
    assert!(goes("ClusterRole") && goes("ClusterRoleBinding"));
}

#[test]
fn namespaces_come_before_what_is_in_them() {
    let objects = decide(&manager(json!({})), &BTreeMap::new()).expect("accepted");
    let position = |kind: &str, name: &str| {
        let found = |o: &Value| o["kind"] == kind && o["metadata"]["name"] == name;
        objects.iter().position(found).expect("the object")
    };
    let namespace = position("Namespace", namespaces::HUB);
    assert!(namespace < position("ServiceAccount", names::HUB_SERVICE_ACCOUNT));
    position("Namespace", namespaces::CUSTOMIZATION_PROPERTIES);
    let policy = position("ValidatingAdmissionPolicy", names::policies::CLUSTERS);
    assert!(policy < position("Deployment", "cluster-manager-registration-controller"));
    let crds = crds::hub().len();
    assert_eq!(namespace, crds, "the CRDs come first");
}
