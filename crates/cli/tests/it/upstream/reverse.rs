//! Our agent and our command line against upstream's hub: what each must do to be taken for
//! upstream's own, line by line.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyades_pki::CertificateRequest;
use serde_json::Value;
use serde_json::json;

use super::agent::inventory_object;
use super::agent::lease;
use super::agent::works;
use super::condition_of;
use super::hub::UpstreamHub;
use super::walk::work;
use crate::wire::Wire;

const AGENT_SECRET: &str =
    "/api/v1/namespaces/open-cluster-management-agent/secrets/hub-kubeconfig-secret";

/// Time for three renewals of a lease of one second: an agent that renews does so within it.
const THREE_LEASES: Duration = Duration::from_secs(3);

#[test]
fn agent_row_1_it_announces_itself_and_asks_for_a_certificate_as_upstreams_does() {
    let hub = UpstreamHub::start(&["cluster1"]);
    hub.host.join("up1", "cluster1", "--singleton");
    let requests = hub.approve("cluster1");
    let object = hub.admin.get(&inventory_object("cluster1")).ok();
    assert_eq!(object["spec"]["hubAcceptsClient"], false);
    let [request] = requests.as_slice() else {
        panic!("one request: {requests:#?}");
    };
    let metadata = &request["metadata"];
    assert_eq!(metadata["generateName"], "cluster1-");
    assert_eq!(
        metadata["labels"],
        json!({"open-cluster-management.io/cluster-name": "cluster1"})
    );
    let spec = &request["spec"];
    assert_eq!(spec["signerName"], "kubernetes.io/kube-apiserver-client");
    assert_eq!(
        spec["usages"],
        json!(["digital signature", "key encipherment", "client auth"])
    );
    assert_eq!(spec["expirationSeconds"], 31_536_000);
    let pem = BASE64_STANDARD.decode(spec["request"].as_str().expect("base64"));
    let pem = String::from_utf8(pem.expect("base64")).expect("PEM");
    let parsed = CertificateRequest::parse_pem(&pem).expect("a request");
    let name = parsed.subject().common_name.clone();
    let parts: Vec<&str> = name.split(':').collect();
    assert_eq!(
        parts[..3],
        ["system", "open-cluster-management", "cluster1"]
    );
    assert_eq!(parts.len(), 4, "{name}");
    let mut organizations = parsed.subject().organizations.clone();
    organizations.sort();
    let expected = ["cluster1", "managed-clusters"]
        .map(|name| format!("system:open-cluster-management:{name}"));
    assert_eq!(organizations, expected);
    assert!(!parsed.has_sans());
}

#[test]
fn agent_rows_2_and_3_it_waits_to_be_accepted_and_only_then_renews_its_lease() {
    let hub = UpstreamHub::start(&["cluster1"]);
    hub.host.join("up1", "cluster1", "--singleton");
    hub.approve("cluster1");
    let wec = Wire::to(&hub.host, "cluster1").admin();
    wec.until(AGENT_SECRET, |answer| answer.code == 200);
    // The certificate is there, and opens nothing yet. Then it opens everything, and the hub has
    // not said so.
    let short = json!({"spec": {"leaseDurationSeconds": 1}});
    hub.admin.merge(&inventory_object("cluster1"), &short).ok();
    hub.prepare("cluster1");
    let before = hub.admin.get(&lease("cluster1")).ok();
    std::thread::sleep(THREE_LEASES);
    let object = hub.admin.get(&inventory_object("cluster1")).ok();
    assert_eq!(condition_of(&object, "ManagedClusterJoined"), Value::Null);
    let still = hub.admin.get(&lease("cluster1")).ok();
    assert_eq!(
        still, before,
        "a lease is renewed by an accepted agent only"
    );

    hub.tell_accepted("cluster1");
    let mut renewed = hub.admin.until(&lease("cluster1"), |answer| {
        answer.body["spec"]["renewTime"] != before["spec"]["renewTime"]
    });
    let mut before = before;
    for lease in [&mut before, &mut renewed] {
        lease["spec"]["renewTime"] = Value::Null;
        // Our hub judges by the duration that the agent keeps to; upstream's does not look at it.
        lease["spec"]["leaseDurationSeconds"] = Value::Null;
        lease["metadata"]["resourceVersion"] = Value::Null;
        lease["metadata"]["managedFields"] = Value::Null;
    }
    assert_eq!(before, renewed, "nothing else is changed");
}

#[test]
fn agent_row_4_it_reports_status_in_upstreams_words() {
    let hub = UpstreamHub::start(&["cluster1"]);
    hub.register("cluster1", "--singleton");
    let object = hub.admin.until(&inventory_object("cluster1"), |answer| {
        condition_of(&answer.body, "ManagedClusterConditionAvailable")["status"] == "True"
            && answer.body["status"]["capacity"].is_object()
    });
    let told = |type_: &str| {
        let condition = condition_of(&object, type_);
        ["status", "reason", "message"].map(|field| condition[field].clone())
    };
    assert_eq!(
        told("ManagedClusterJoined"),
        ["True", "ManagedClusterJoined", "Managed cluster joined"]
    );
    assert_eq!(
        told("ManagedClusterConditionAvailable"),
        [
            "True",
            "ManagedClusterAvailable",
            "Managed cluster is available"
        ]
    );
    assert_eq!(
        told("HubAcceptedManagedCluster")[1],
        "HubClusterAdminAccepted",
        "what others wrote stays"
    );
    let status = &object["status"];
    let version = status["version"]["kubernetes"].as_str();
    assert!(version.is_some_and(|version| version.starts_with('v')));
    assert!(status["allocatable"].is_object());
}

/// The exchange in which upstream's agent reported a work of one ConfigMap as available.
const COMPLETE_STATUS_LINE: usize = 11;

/// The status that upstream's agent wrote for a work of the same content, as recorded.
fn recorded_status(line: usize) -> Value {
    let text = include_str!("../../../../space/tests/wire/hub.jsonl");
    let mut exchanges = text.lines().filter_map(|text| {
        let exchange: Value = serde_json::from_str(text).expect("JSON");
        (exchange["line"] == line).then_some(exchange)
    });
    let exchange = exchanges.next().expect("a recorded exchange");
    exchange["request"]["status"].clone()
}

/// A status without the times in it, its conditions by type.
fn timeless(mut status: Value) -> Value {
    fn order(conditions: &mut Value) {
        let Some(list) = conditions.as_array_mut() else {
            return;
        };
        for condition in list.iter_mut() {
            condition["lastTransitionTime"] = Value::Null;
        }
        list.sort_by_key(|condition| condition["type"].to_string());
    }
    order(&mut status["conditions"]);
    let manifests = status["resourceStatus"]["manifests"].as_array_mut();
    for manifest in manifests.into_iter().flatten() {
        order(&mut manifest["conditions"]);
        // Upstream's agent writes the empty struct, ours nothing; readers see the same.
        let manifest = manifest.as_object_mut().expect("an object");
        manifest.retain(|key, value| key != "statusFeedback" || *value != json!({}));
    }
    status
}

#[test]
fn agent_row_6_it_follows_works_and_reports_what_upstreams_reported() {
    let hub = UpstreamHub::start(&["cluster1"]);
    hub.register("cluster1", "--singleton");
    hub.admin.create(&works("cluster1"), &work("hello")).ok();
    let path = format!("{}/hello", works("cluster1"));
    let done = hub.admin.until(&path, |answer| {
        condition_of(&answer.body, "Available")["status"] == "True"
    });
    assert_eq!(
        done["metadata"]["finalizers"],
        json!(["cluster.open-cluster-management.io/manifest-work-cleanup"])
    );
    assert_eq!(
        timeless(done["status"].clone()),
        timeless(recorded_status(COMPLETE_STATUS_LINE)),
        "ours is on the left"
    );
    let wec = Wire::to(&hub.host, "cluster1").admin();
    let map = "/api/v1/namespaces/default/configmaps/hello";
    assert_eq!(wec.get(map).ok()["data"]["a"], "b");
    hub.admin.delete(&path).ok();
    hub.admin.until(&path, |answer| answer.code == 404);
    wec.get(map).refused(404);
}

#[test]
fn agent_row_8_its_secret_its_klusterlet_and_its_pods_look_like_upstreams() {
    let hub = UpstreamHub::start(&["cluster1"]);
    hub.register("cluster1", "--singleton");
    hub.admin.until(&inventory_object("cluster1"), |answer| {
        condition_of(&answer.body, "ManagedClusterConditionAvailable")["status"] == "True"
    });
    let wec = Wire::to(&hub.host, "cluster1").admin();
    let secret = wec.get(AGENT_SECRET).ok();
    let text = |key: &str| {
        let value = secret["data"][key]
            .as_str()
            .unwrap_or_else(|| panic!("no {key}"));
        let bytes = BASE64_STANDARD.decode(value).expect("base64");
        String::from_utf8(bytes).expect("text")
    };
    assert_eq!(text("cluster-name"), "cluster1");
    assert!(text("tls.crt").starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(text("tls.key").starts_with("-----BEGIN EC PRIVATE KEY-----"));
    let kubeconfig: Value = serde_saphyr::from_str(&text("kubeconfig")).expect("YAML");
    assert_eq!(kubeconfig["clusters"][0]["name"], "hub");
    assert_eq!(
        kubeconfig["clusters"][0]["cluster"]["server"],
        hub.wire.server()
    );
    assert_eq!(
        kubeconfig["contexts"][0],
        json!({
            "name": "default-context",
            "context": {"cluster": "hub", "namespace": "configuration", "user": "default-auth"},
        })
    );
    assert_eq!(
        kubeconfig["users"][0],
        json!({
            "name": "default-auth",
            "user": {"client-certificate": "tls.crt", "client-key": "tls.key"},
        })
    );
    let klusterlet = "/apis/operator.open-cluster-management.io/v1/klusterlets/klusterlet";
    wec.until(klusterlet, |answer| {
        ["RegistrationDesiredDegraded", "WorkDesiredDegraded"]
            .iter()
            .all(|type_| condition_of(&answer.body, type_)["status"] == "False")
    });
    for pods in [
        "open-cluster-management/pods?labelSelector=app%3Dklusterlet",
        "open-cluster-management-agent/pods?labelSelector=app%3Dklusterlet-agent",
    ] {
        let listed = wec.get(&format!("/api/v1/namespaces/{pods}")).ok();
        assert!(listed["items"][0].is_object(), "{pods}");
    }
    for kind in [
        "work.open-cluster-management.io/v1/appliedmanifestworks",
        "cluster.open-cluster-management.io/v1alpha1/clusterclaims",
    ] {
        wec.get(&format!("/apis/{kind}")).ok();
    }
}

#[test]
fn the_command_line_needs_no_more_rights_of_a_hub_than_upstreams_does() {
    let hub = UpstreamHub::start(&["cluster1"]);
    hub.host.join("up1", "cluster1", "--singleton");
    hub.admin
        .until(&inventory_object("cluster1"), |answer| answer.code == 200);
    hub.role("registrar", registrar_rules());
    hub.cluster_role_binding(
        "registrar",
        "registrar",
        json!([{
            "kind": "User",
            "apiGroup": "rbac.authorization.k8s.io",
            "name": "system:serviceaccount:default:registrar",
        }]),
    );
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let account = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "registrar"},
    });
    hub.admin.create(accounts, &account).ok();
    let token = hub
        .host
        .run("kubectl --context up1 create token registrar")
        .ok();
    let ran = hub.host.run(&format!(
        "kubectl config view --minify --context up1 --flatten > registrar.yaml && export \
         KUBECONFIG=$PWD/registrar.yaml && kubectl config set-credentials registrar --token {} && \
         kubectl config set-context registrar --cluster \"$(kubectl config view -o \
         jsonpath='{{.clusters[0].name}}')\" --user registrar && kubectl config use-context \
         registrar && clusteradm get token && clusteradm --timeout 60 accept --clusters cluster1 \
         --wait",
        token.trim()
    ));
    let out = ran.ok();
    assert!(out.contains("clusteradm join --hub-token"), "{out}");
    let object = hub.admin.get(&inventory_object("cluster1")).ok();
    assert_eq!(object["spec"]["hubAcceptsClient"], true);
    let approved = hub.admin.get(&super::agent::requests_of("cluster1")).ok();
    assert_eq!(
        condition_of(&approved["items"][0], "Approved")["status"],
        "True"
    );
}

/// What upstream's `get token` and `accept` need.
fn registrar_rules() -> Value {
    json!([
        {
            "apiGroups": [""],
            "resources": ["serviceaccounts/token"],
            "resourceNames": ["agent-registration-bootstrap"],
            "verbs": ["create"],
        },
        {
            "apiGroups": ["cluster.open-cluster-management.io"],
            "resources": ["managedclusters"],
            "verbs": ["get", "patch"],
        },
        {
            "apiGroups": ["register.open-cluster-management.io"],
            "resources": ["managedclusters/accept"],
            "verbs": ["update"],
        },
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["certificatesigningrequests"],
            "verbs": ["get", "list"],
        },
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["certificatesigningrequests/approval"],
            "verbs": ["update"],
        },
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": ["signers"],
            "resourceNames": ["kubernetes.io/kube-apiserver-client"],
            "verbs": ["approve"],
        },
    ])
}
