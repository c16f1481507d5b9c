//! What the operator makes of Klusterlets.

use super::*;

pub(crate) fn klusterlet(spec: Value) -> Klusterlet {
    serde_json::from_value(json!({"metadata": {"name": "klusterlet", "uid": "uid"}, "spec": spec}))
        .expect("a Klusterlet")
}

fn plan(spec: Value) -> Plan {
    Plan::of(&klusterlet(spec)).expect("a plan")
}

fn args(deployment: &Value) -> Vec<String> {
    serde_json::from_value(deployment["spec"]["template"]["spec"]["containers"][0]["args"].clone())
        .expect("arguments")
}

#[test]
fn two_agents_run_apart_and_works_wait_for_credentials() {
    let plan =
        plan(json!({"clusterName": "cluster1", "workConfiguration": {"statusSyncInterval": "5s"}}));
    let deployments = plan.deployments(false);
    let named: Vec<_> = deployments
        .iter()
        .map(|one| {
            (
                one["metadata"]["name"].as_str().unwrap_or_default(),
                one["spec"]["replicas"].clone(),
            )
        })
        .collect();
    assert_eq!(
        named,
        [
            ("klusterlet-registration-agent", json!(1)),
            ("klusterlet-work-agent", json!(0))
        ]
    );
    assert_eq!(plan.deployments(true)[1]["spec"]["replicas"], 1);
    assert_eq!(
        args(&deployments[0])[..2],
        ["component", "registration-agent"]
    );
    assert!(args(&deployments[1]).contains(&"--status-sync-interval=5s".to_owned()));
    assert!(args(&deployments[1]).contains(&"--agent-id=uid".to_owned()));
    assert_eq!(plan.foreign_deployments(), ["klusterlet-agent"]);
}

#[test]
fn one_process_gets_the_flags_of_both_agents() {
    let plan = plan(json!({
        "deployOption": {"mode": "Singleton"}, "clusterName": "cluster1",
        "externalServerURLs": [{"url": "https://wec"}],
        "registrationConfiguration": {"clientCertExpirationSeconds": 7200,
            "addOnKubeClientRegistrationDriver": {
                "authType": "token", "token": {"expirationSeconds": 3600}},
            "clusterAnnotations": {"agent.open-cluster-management.io/a": "b"}},
    }));
    let deployments = plan.deployments(false);
    assert_eq!(deployments.len(), 1);
    assert_eq!(deployments[0]["metadata"]["name"], "klusterlet-agent");
    let flags = args(&deployments[0]);
    for flag in [
        "--spoke-cluster-name=cluster1",
        "--client-cert-expiration-seconds=7200",
        "--addon-kubeclient-registration-auth=token",
        "--addon-token-expiration-seconds=3600",
        "--spoke-external-server-urls=https://wec",
        "--cluster-annotations=agent.open-cluster-management.io/a=b",
    ] {
        assert!(flags.contains(&flag.to_owned()), "{flag} in {flags:?}");
    }
    let parsed: Vec<_> = flags[2..].iter().map(String::as_str).collect();
    crate::options::tests::parse(&parsed).expect("the agent reads what the operator writes");
}

#[test]
fn the_image_is_the_operators_own_unless_the_klusterlet_names_one() {
    let image = |spec: Value| {
        plan(spec).deployments(true)[1]["spec"]["template"]["spec"]["containers"][0]["image"]
            .clone()
    };
    assert_eq!(image(json!({})), image::reference());
    assert_eq!(
        image(json!({"workImagePullSpec": "registry/hyades:v9"})),
        "registry/hyades:v9"
    );
}

#[test]
fn what_cannot_be_followed_is_refused() {
    for (spec, part) in [
        (json!({"deployOption": {"mode": "Elsewhere"}}), "mode"),
        (json!({"clusterName": "kube-system"}), "clusterName"),
        (
            json!({"registrationConfiguration": {"registrationDriver": {"authType": "grpc"}}}),
            "registrationDriver",
        ),
        (
            json!({"registrationConfiguration": {"bootstrapKubeConfigs": {"type": "LocalSecrets"}}}),
            "bootstrapKubeConfigs",
        ),
    ] {
        let error = Plan::of(&klusterlet(spec)).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

fn several_hubs(gates: Value, secrets: &[&str], timeout: i32) -> Value {
    let secrets: Vec<_> = secrets.iter().map(|name| json!({"name": name})).collect();
    json!({"registrationConfiguration": {
        "featureGates": gates,
        "bootstrapKubeConfigs": {"type": "LocalSecrets", "localSecretsConfig":
            {"kubeConfigSecrets": secrets, "hubConnectionTimeoutSeconds": timeout}},
    }})
}

#[test]
fn several_hubs_reach_the_agent_in_the_order_of_the_klusterlet() {
    let gates = json!([{"feature": "MultipleHubs", "mode": "Enable"}]);
    let plan = plan(several_hubs(gates, &["hub-b", "hub-a"], 240));
    let flags = args(&plan.deployments(true)[0]);
    for flag in [
        "--bootstrap-kubeconfig-secrets=hub-b,hub-a",
        "--hub-connection-timeout-seconds=240",
    ] {
        assert!(flags.contains(&flag.to_owned()), "{flag} in {flags:?}");
    }
    let rights = plan.management_rights();
    let role = rights.iter().find(|object| {
        object["kind"] == "Role"
            && object["metadata"]["name"]
                .as_str()
                .is_some_and(|name| name.ends_with("bootstrap-secrets"))
    });
    let role = role.expect("the operator may read the Secrets it has to judge");
    assert_eq!(role["rules"][0]["resourceNames"], json!(["hub-b", "hub-a"]));
}

#[test]
fn several_hubs_need_their_gate_and_two_secrets() {
    let on = json!([{"feature": "MultipleHubs", "mode": "Enable"}]);
    for (spec, part) in [
        (several_hubs(json!([]), &["a", "b"], 600), "MultipleHubs"),
        (several_hubs(on.clone(), &["a"], 600), "at least two"),
        (several_hubs(on, &["a", "a"], 600), "different"),
    ] {
        let error = Plan::of(&klusterlet(spec)).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_hosted_agent_runs_in_a_namespace_of_its_klusterlets_name_and_reaches_out() {
    let spec = json!({"deployOption": {"mode": "Hosted"},
        "namespace": "open-cluster-management-klusterlet"});
    let plan = plan(spec);
    assert_eq!(plan.namespace, "klusterlet");
    assert_eq!(plan.managed_namespace, "open-cluster-management-klusterlet");
    let deployments = plan.deployments(true);
    for (deployment, secret) in deployments.iter().zip(["registration", "work"]) {
        assert_eq!(deployment["metadata"]["namespace"], "klusterlet");
        let flag = format!("--spoke-kubeconfig-secret=external-managed-kubeconfig-{secret}");
        assert!(args(deployment).contains(&flag), "{flag}");
    }
    let binding = plan
        .managed_rights()
        .into_iter()
        .find(|object| object["kind"] == "ClusterRoleBinding")
        .expect("a binding");
    assert_eq!(
        binding["subjects"][0]["namespace"], "open-cluster-management-klusterlet",
        "in the WEC the rights are of the account there"
    );
    assert!(
        plan.management_rights()
            .iter()
            .all(|object| object["kind"] != "ClusterRole")
    );
}

#[test]
fn what_a_gate_would_switch_on_and_is_not_there_is_refused_by_name() {
    let gate = |name: &str| {
        json!({"registrationConfiguration":
        {"featureGates": [{"feature": name, "mode": "Enable"}]}})
    };
    let unsupported = plan(gate("V1beta1CSRAPICompatibility"));
    assert_eq!(
        unsupported.refused_gates,
        ["V1beta1CSRAPICompatibility (not supported)"]
    );
    let flags = args(&unsupported.deployments(true)[0]);
    assert!(
        flags.contains(&"--feature-gates=V1beta1CSRAPICompatibility=false".to_owned()),
        "{flags:?}"
    );
    assert_eq!(plan(gate("Nonsense")).refused_gates, ["Nonsense"]);
    assert!(plan(gate("ClusterProperty")).refused_gates.is_empty());
}

#[test]
fn placement_priority_and_resources_reach_every_pod() {
    let plan = plan(json!({
        "priorityClassName": "critical",
        "nodePlacement": {"nodeSelector": {"role": "infra"},
            "tolerations": [{"key": "infra", "operator": "Exists"}]},
        "resourceRequirement": {"type": "ResourceRequirement",
            "resourceRequirements": {"limits": {"memory": "64Mi"}}},
    }));
    for deployment in plan.deployments(true) {
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["priorityClassName"], "critical");
        assert_eq!(pod["nodeSelector"], json!({"role": "infra"}));
        assert_eq!(pod["tolerations"][0]["key"], "infra");
        assert_eq!(
            pod["containers"][0]["resources"],
            json!({"limits": {"memory": "64Mi"}})
        );
    }
}

#[test]
fn all_that_is_a_klusterlets_own_carries_its_labels_where_they_are_handed_on() {
    let mut object = klusterlet(json!({"clusterName": "cluster1"}));
    let stated = [("app", "mine"), ("team", "edge")];
    let owned = stated.map(|(key, value)| (key.to_owned(), value.to_owned()));
    object.metadata.labels = Some(owned.into());
    let plain = Plan::of(&object).expect("a plan");
    let everything = |plan: &Plan| -> Vec<Value> {
        let namespaces = [plan.klusterlet_namespace(), plan.addon_namespace()];
        let rights = plan
            .addon_rights(namespaces::AGENT_ADDON)
            .into_iter()
            .chain(plan.managed_rights());
        let rights = rights.chain(plan.management_rights());
        namespaces
            .into_iter()
            .chain(rights)
            .chain(plan.deployments(true))
            .collect()
    };
    let labels = |object: &Value| object["metadata"]["labels"].clone();
    for object in everything(&plain) {
        assert_eq!(labels(&object)["team"], Value::Null, "{object}");
    }
    let handing = plain.handing_labels_on();
    for object in everything(&handing) {
        assert_eq!(labels(&object)["team"], "edge", "{object}");
        assert_eq!(
            labels(&object)[labels::CREATED_BY_KLUSTERLET],
            "klusterlet",
            "{object}"
        );
        assert_ne!(labels(&object)["app"], "mine");
    }
    let pods = &handing.deployments(true)[0]["spec"]["template"];
    assert_eq!(labels(pods)["team"], "edge");
}

#[test]
fn what_was_made_for_a_klusterlet_is_found_again_after_it_was_made_useless() {
    let names = |plan: &Plan| -> Vec<Value> {
        let rights = [plan.management_rights(), plan.managed_rights()].concat();
        let all = plan.deployments(true).into_iter().chain(rights);
        let all = all.chain([plan.agent_namespace(), plan.klusterlet_namespace()]);
        all.map(|object| {
            json!([
                object["kind"],
                object["metadata"]["namespace"],
                object["metadata"]["name"]
            ])
        })
        .collect()
    };
    for mode in ["Default", "Singleton", "Hosted", "SingletonHosted"] {
        let spec = |more: Value| {
            let mut spec = json!({"deployOption": {"mode": mode}, "namespace": "own"});
            spec["registrationConfiguration"] = more;
            spec
        };
        let made = names(&plan(spec(json!({}))));
        let useless = klusterlet(spec(json!({
            "bootstrapKubeConfigs": {"type": "LocalSecrets"},
            "registrationDriver": {"authType": "grpc"},
        })));
        assert!(Plan::of(&useless).is_err());
        assert_eq!(names(&Plan::of_remains(&useless)), made, "{mode}");
    }
    let mut nowhere = klusterlet(json!({"deployOption": {"mode": "Elsewhere"}}));
    assert_eq!(Plan::of_remains(&nowhere).mode, Mode::Default);
    nowhere.metadata.finalizers = Some(vec![finalizers::KLUSTERLET_HOSTED_CLEANUP.to_owned()]);
    assert_eq!(Plan::of_remains(&nowhere).mode, Mode::Hosted);
}

#[test]
fn settings_that_no_agent_would_start_with_are_refused_by_name() {
    for (field, spec) in [
        (
            "clientCertExpirationSeconds",
            json!({"registrationConfiguration": {"clientCertExpirationSeconds": 60}}),
        ),
        (
            "clusterAnnotations: \"note\"",
            json!({"registrationConfiguration": {"clusterAnnotations": {"note": "a,b"}}}),
        ),
        (
            "statusSyncInterval",
            json!({"workConfiguration": {"statusSyncInterval": "often"}}),
        ),
        (
            "statusSyncInterval",
            json!({"workConfiguration": {"statusSyncInterval": "0s"}}),
        ),
    ] {
        let error = Plan::of(&klusterlet(spec)).expect_err(field).to_string();
        assert!(error.contains(field), "{error}");
    }
}
