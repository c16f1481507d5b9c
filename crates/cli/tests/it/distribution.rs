//! WDSes as their users meet them: made, used through kubectl, and taken away.

use crate::harness::Host;

/// KubeStellar's first scenario: a namespace and a Deployment with a label, for all WECs of a group.
const NGINX: &str = "
apiVersion: control.kubestellar.io/v1alpha1
kind: BindingPolicy
metadata: {name: nginx-bpolicy}
spec:
  clusterSelectors:
  - matchLabels: {location-group: edge}
  downsync:
  - objectSelectors:
    - matchLabels: {app.kubernetes.io/name: nginx}
---
apiVersion: v1
kind: Namespace
metadata: {name: nginx, labels: {app.kubernetes.io/name: nginx}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx-deployment, namespace: nginx, labels: {app.kubernetes.io/name: nginx}}
spec:
  replicas: 3
  selector: {matchLabels: {app: nginx}}
  template:
    metadata: {labels: {app: nginx}}
    spec:
      containers:
      - {name: nginx, image: 'public.ecr.aws/nginx/nginx:latest', ports: [{containerPort: 80}]}
";

/// The destinations of a Binding, as kubectl shows them.
fn destinations(wds: &str) -> String {
    format!(
        "kubectl --context {wds} get binding.control.kubestellar.io nginx-bpolicy -o jsonpath='{{.spec.destinations[*].clusterId}}'"
    )
}

#[test]
fn kubestellars_first_scenario_goes_out_in_any_order_and_is_taken_back() {
    let mut host = Host::prepare();
    host.up_detached("--wecs 2").ok();
    let label = "kubectl --context its1 label managedcluster cluster1 cluster2";
    host.run(&format!("{label} location-group=edge")).ok();
    let (policy, workload) = NGINX.trim().split_once("---").expect("two parts");
    let policy = host.file("policy.yaml", policy);
    let workload = host.file("workload.yaml", workload);
    let arrived = |wec: &str| format!("kubectl --context {wec} get deployments -n nginx -o name");
    for order in [[&policy, &workload], [&workload, &policy]] {
        for file in order {
            host.run(&format!(
                "kubectl --context wds1 apply -f {}",
                file.display()
            ))
            .ok();
        }
        for wec in ["cluster1", "cluster2"] {
            host.until_seen(&arrived(wec), &["nginx-deployment"]);
        }
        host.run("kubectl --context wds1 delete bp nginx-bpolicy")
            .ok();
        for wec in ["cluster1", "cluster2"] {
            host.until(&arrived(wec), |ran| !ran.out.contains("nginx"));
        }
        host.run("kubectl --context wds1 delete ns nginx").ok();
    }
    let works = "kubectl --context its1 get manifestworks -A -l transport.kubestellar.io/originWdsName=wds1 -o name";
    host.until(works, |works| works.out.is_empty());
    host.down().ok();
}

#[test]
fn several_wdses_share_an_its_and_each_is_taken_away_without_a_trace() {
    let mut host = Host::prepare();
    host.up_detached("--wecs 2").ok();
    host.run("kubectl --context its1 label managedcluster cluster1 cluster2 location-group=edge")
        .ok();
    let policy = host.file("nginx.yaml", NGINX);
    let policy = policy.display();
    host.run(&format!("kubectl --context wds1 apply -f {policy}"))
        .ok();
    host.until_seen(&destinations("wds1"), &["cluster1 cluster2"]);
    for wec in ["cluster1", "cluster2"] {
        let line = format!("kubectl --context {wec} get deployments -n nginx");
        host.until_seen(&line, &["nginx-deployment"]);
    }
    let bound = host
        .run("kubectl --context wds1 get bdg nginx-bpolicy -o jsonpath='{.spec.workload}'")
        .ok();
    for name in ["namespaces", "nginx-deployment"] {
        assert!(bound.contains(name), "{bound}");
    }
    // Two objects in two WECs: all is sent, and all is applied, which the WDS can see.
    let status = "kubectl --context wds1 get bp nginx-bpolicy";
    let columns = host.until(status, |status| status.out.matches(" True ").count() == 2);
    let columns = columns.ok();
    assert!(
        columns.starts_with("NAME            SYNCED   READY   TYPE   AGE"),
        "{columns}"
    );

    let folder = host.data_dir_flag();
    host.run(&format!("hyades space create wds2 {folder}")).ok();
    host.run("hyades wds init --context wds2 --its its1 --wait")
        .ok();
    host.run(&format!("kubectl --context wds2 apply -f {policy}"))
        .ok();
    host.until_seen(&destinations("wds2"), &["cluster1 cluster2"]);
    host.run("hyades wds init --context cluster2 --its its1 --name wds2")
        .refused(&["another WDS of the name wds2", "--name"]);
    host.run("hyades wds init --context wds2 --its cluster1")
        .refused(&[]);
    host.run("hyades wds init --context wds2 --its its1 --name other")
        .refused(&["is the WDS wds2 of the ITS", "--name wds2"]);
    host.run("hyades wds remove --context wds2 --its its1 --name wds1 --force")
        .refused(&["another WDS of the name wds1"]);

    let removed = host.run("hyades wds remove --context wds2 --its its1").ok();
    assert!(removed.contains("wds2 is no WDS any more"), "{removed}");
    host.run("kubectl --context wds2 get bindingpolicies")
        .refused(&["the server", "resource"]);
    host.until(
        "kubectl --context wds2 get namespaces -o name",
        |namespaces| !namespaces.out.contains("kubestellar"),
    );
    let accounts = "kubectl --context its1 -n kubestellar-system get serviceaccounts -o name";
    let accounts = host.run(accounts).ok();
    assert!(
        accounts.contains("wds-wds1") && !accounts.contains("wds-wds2"),
        "{accounts}"
    );
    let works = "kubectl --context its1 get manifestworks -A -l transport.kubestellar.io/originWdsName=wds2 -o name";
    host.until(works, |works| works.out.is_empty());
    let still = host.run(&destinations("wds1")).ok();
    assert_eq!(still, "cluster1 cluster2", "the other WDS is as it was");
    host.down().ok();
}

/// KubeStellar's fourth scenario, with its first's Deployment: status of one WEC, then of two.
#[test]
fn workloads_run_in_their_wecs_and_their_status_comes_back_into_the_wds() {
    let mut host = Host::prepare();
    host.up_detached("--wecs 2 --simulate-workloads=0.05").ok();
    host.run("kubectl --context its1 label managedcluster cluster1 location-group=edge")
        .ok();
    let text = NGINX.replace(
        "  downsync:\n  -",
        "  downsync:\n  - wantMultiWECReportedState: true\n   ",
    );
    let policy = host.file("nginx.yaml", &text);
    host.run(&format!(
        "kubectl --context wds1 apply -f {}",
        policy.display()
    ))
    .ok();
    let deployment = "-n nginx get deployment nginx-deployment";
    let ready = |context: &str| {
        format!("kubectl --context {context} {deployment} -o jsonpath={{.status.readyReplicas}}")
    };
    host.until(&ready("cluster1"), |ran| ran.out == "3");
    host.until(&ready("wds1"), |ran| ran.out == "3");
    let labels = "kubectl --context wds1 -n nginx get deployment --show-labels";
    host.until_seen(labels, &["managed-by.kubestellar.io/singletonstatus=true"]);
    // What a WDS describes runs nowhere in it.
    let pods = host
        .run("kubectl --context wds1 -n nginx get replicasets,pods -o name")
        .ok();
    assert_eq!(pods, "");

    host.run("kubectl --context its1 label managedcluster cluster2 location-group=edge")
        .ok();
    host.until(&ready("cluster2"), |ran| ran.out == "3");
    host.until_seen(labels, &["managed-by.kubestellar.io/multiwecstatus=true"]);
    host.until_seen(
        "kubectl --context wds1 describe bindingpolicy nginx-bpolicy",
        &[
            "2 objects go to 2 WECs",
            "4 of 4 works applied in 2 WECs, 0 failed",
        ],
    );

    host.run("kubectl --context wds1 delete bindingpolicy nginx-bpolicy")
        .ok();
    let gone = "kubectl --context cluster2 get namespace nginx";
    host.until(gone, |ran| ran.err.contains("NotFound"));
    // Nobody's status is nobody's.
    host.until(&ready("wds1"), |ran| ran.out.is_empty());
}
