//! Acceptance that depends on the moment, or on there being one hub.

use crate::beside::Beside;
use crate::harness::Host;

/// clusteradm#395: accept is not idempotent.
#[test]
fn clusteradm_395_accept_is_idempotent() {
    let host = Host::its(&["cluster1", "cluster2"]);
    host.join("its1", "cluster1", "--singleton");
    let accept = |clusters: &str| {
        host.run(&format!(
            "clusteradm --context its1 --timeout 60 accept --clusters {clusters} --wait"
        ))
        .ok()
    };
    let state = || {
        let object = "kubectl --context its1 get managedcluster cluster1 -o jsonpath='{.metadata.generation} {.spec}'";
        let requests = "kubectl --context its1 get csr -o jsonpath='{range .items[*]}{.metadata.name} {.status.conditions}{end}'";
        (host.run(object).ok(), host.run(requests).ok())
    };
    accept("cluster1");
    // While the hub is still at it.
    accept("cluster1");
    host.until_available("its1", "cluster1");
    // The taint of the time before is gone once the WEC is well.
    let taints = "kubectl --context its1 get managedcluster cluster1 -o jsonpath='{.spec.taints}'";
    host.until(taints, |ran| {
        ran.code == Some(0) && !ran.out.contains("key")
    });
    let before = state();
    accept("cluster1");
    let said = accept("cluster1");
    assert!(said.contains("hubAcceptsClient already set"), "{said}");
    assert_eq!(state(), before);
    // One that is in already is no hindrance to one that is not.
    host.join("its1", "cluster2", "--singleton");
    accept("cluster1,cluster2");
    host.until_available("its1", "cluster2");
}

/// #2649, PR#3052, PR#3053: the request is not there at once, and accept fails.
#[test]
fn kubestellar_2649_accept_waits_for_a_request_that_is_not_there_yet() {
    let host = Host::its(&["cluster1"]);
    let early = Beside::start(
        &host,
        "clusteradm --context its1 accept --clusters cluster1 --wait",
    );
    early.until_said(&["waiting for cluster cluster1 to ask for acceptance"]);
    host.join("its1", "cluster1", "--singleton");
    let said = early.until_ended();
    assert!(
        said.contains("set hubAcceptsClient to true for managed cluster cluster1"),
        "{said}"
    );
    host.until_available("its1", "cluster1");
}

/// #3125: no second ITS that clusters can be registered with.
#[test]
fn kubestellar_3125_a_second_its_registers_clusters_of_its_own() {
    let host = Host::its(&["its2", "cluster1", "cluster2"]);
    host.run("clusteradm --context its2 --timeout 100 init --wait")
        .ok();
    host.register("its1", "cluster1", "--singleton");
    // The same name, on the other hub, for another cluster.
    let join = host.join_line("its2", "cluster1", "--singleton");
    host.run(&join.replace("--context cluster1", "--context cluster2"))
        .ok();
    host.accept("its2", "cluster1");
    host.until_available("its2", "cluster1");
    for (its, wec) in [("its1", "cluster1"), ("its2", "cluster2")] {
        host.until_available(its, "cluster1");
        let url = "-o jsonpath='{.spec.managedClusterClientConfigs[0].url}'";
        let url = format!("kubectl --context {its} get managedcluster cluster1 {url}");
        assert_eq!(host.run(&url).ok(), host.url(wec));
    }
    // A token of the one opens nothing on the other.
    let foreign = host.join_line("its1", "another", "");
    let foreign = foreign.replace(&host.url("its1"), &host.url("its2"));
    host.run(&foreign.replace("--context another", "--context cluster2"))
        .refused(&["401"]);
}
