//! Leaving a hub, and taking everything down.

use crate::harness::Host;

/// A manifest for a WEC.
const MAP: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: hello, namespace: default}, data: {a: b}}";

/// Insists that nothing of its agent is left in a WEC.
#[track_caller]
fn is_left_by_its_agent(host: &Host, wec: &str) {
    let left = format!("kubectl --context {wec} get namespaces,crds -o name");
    host.until(&left, |ran| {
        let parts = ["open-cluster-management-agent", "klusterlets"];
        ran.code == Some(0) && !parts.iter().any(|part| ran.out.contains(part))
    });
    let pods = format!("kubectl --context {wec} get pods -A -o name");
    host.until(&pods, |ran| ran.code == Some(0) && ran.out.is_empty());
}

fn with_work() -> Host {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    host.file("cm.yaml", MAP);
    host.run("clusteradm --context its1 create work w1 -f cm.yaml --clusters cluster1")
        .ok();
    let arrived = "kubectl --context cluster1 get configmap hello -o name";
    host.until_seen(arrived, &["hello"]);
    host
}

/// kubevela#5039: a detach hangs, because applied works remain.
#[test]
fn kubevela_5039_a_detach_takes_its_works_along() {
    let host = with_work();
    host.run("kubectl --context its1 delete managedcluster cluster1 --timeout 60s")
        .ok();
    let works = "kubectl --context its1 -n cluster1 get manifestworks -o name";
    assert_eq!(host.run(works).ok(), "");
    host.run("kubectl --context cluster1 get configmap hello")
        .refused(&["NotFound"]);
    let unjoin = host.run("clusteradm --context cluster1 unjoin --cluster-name cluster1");
    let said = unjoin.ok();
    assert!(!said.contains("still exist"), "{said}");
    is_left_by_its_agent(&host, "cluster1");
}

/// #2997, #3048, #3051, kubestellar/docs#16, #1638: the page is silent about the agent's second
/// namespace.
#[test]
fn kubestellar_2997_both_namespaces_of_the_agent_are_cleaned_up() {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    let namespaces = "kubectl --context cluster1 get namespaces -o name";
    let parts = [
        "/open-cluster-management-agent\n",
        "/open-cluster-management-agent-addon\n",
    ];
    host.until_seen(namespaces, &parts);
    host.run("kubectl --context its1 delete managedcluster cluster1 --timeout 60s")
        .ok();
    host.run("clusteradm --context cluster1 unjoin --cluster-name cluster1")
        .ok();
    is_left_by_its_agent(&host, "cluster1");
}

/// #1915: how is everything taken down again?
#[test]
fn kubestellar_1915_one_command_takes_each_space_down() {
    let mut host = Host::its(&["cluster1", "wds1"]);
    host.register("its1", "cluster1", "--singleton");
    // The WEC.
    host.run("clusteradm --context cluster1 unjoin --cluster-name cluster1")
        .ok();
    is_left_by_its_agent(&host, "cluster1");
    // The ITS.
    host.run("kubectl --context its1 delete managedcluster cluster1 --timeout 60s")
        .ok();
    host.run("clusteradm --context its1 clean").ok();
    let pods = "kubectl --context its1 get pods -A -o name";
    host.until(pods, |ran| ran.code == Some(0) && ran.out.is_empty());
    // Their spaces, and the WDS.
    for space in ["cluster1", "its1", "wds1"] {
        host.run(&format!(
            "hyades space delete {space} {}",
            host.data_dir_flag()
        ))
        .ok();
    }
    let contexts = "kubectl config get-contexts -o name";
    assert_eq!(host.run(contexts).ok(), "");
    // The host.
    host.down().ok();
    let (code, log) = host.wait_for_end();
    assert_eq!(code, Some(0), "{log}");
}
