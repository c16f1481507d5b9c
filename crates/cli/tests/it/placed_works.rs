//! Works that follow a placement by hand: `create placement`, `get placements`, `create work`.

use expect_test::expect;

use crate::harness::Host;

const MAP: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: hello, namespace: default}, data: {a: b}}";

#[test]
fn a_work_goes_where_its_placement_chooses_and_leaves_with_overwrite() {
    let host = Host::its(&["cluster1", "cluster2"]);
    for wec in ["cluster1", "cluster2"] {
        host.register("its1", wec, "--singleton");
    }
    let on = |words: &str| {
        let ran = host.run(&format!("clusteradm --context its1 {words} 2>&1"));
        format!("{}exit {}\n", ran.out, ran.code.unwrap_or(-1))
    };
    host.file("cm.yaml", MAP);
    on("clusterset bind global");
    assert_eq!(
        on("create placement p1 --clustersets global --label-selectors env=prod"),
        "Placement 'p1' has been created in 'default' namespace\nexit 0\n"
    );
    let create = "create work w1 -f cm.yaml --placement default/p1";
    host.until(&format!("clusteradm --context its1 {create}"), |ran| {
        ran.err
            .contains("the placement default/p1 has chosen no cluster")
    });
    host.run("kubectl --context its1 label managedcluster cluster1 env=prod")
        .ok();
    let table = "clusteradm --context its1 get placements -n default -o table";
    host.until(table, |ran| ran.out.ends_with("  1\n"));
    expect![[r#"
        <Placement> 
        └── <p1> 
            └── <Namespace> default
            └── <ClusterSet> [global]
            └── <Status> 
            │   ├── <NumberOfSelectedClusters> 1
            │   ├── <Conditions> 
            │       └── <PlacementConditionSatisfied> True
            │       └── <PlacementConditionMisconfigured> False
            └── <PlacementDecision> [cluster1]
        exit 0
    "#]]
    .assert_eq(&on("get placements p1 -n default"));
    assert_eq!(on(create), "create work w1 in cluster cluster1\nexit 0\n");
    host.run("kubectl --context its1 label managedcluster cluster1 env-")
        .ok();
    host.run("kubectl --context its1 label managedcluster cluster2 env=prod")
        .ok();
    let tree = "clusteradm --context its1 get placements p1";
    host.until_seen(tree, &["<PlacementDecision> [cluster2]"]);
    assert_eq!(
        on(create),
        "create work w1 in cluster cluster2\nexit 0\n",
        "without a flag nothing is taken away"
    );
    assert_eq!(
        on(&format!("{create} --overwrite")),
        "update work w1 in cluster cluster2\ndelete work w1 in cluster cluster1\nexit 0\n"
    );
    host.until_seen(
        "kubectl --context cluster2 get configmap hello -o name",
        &["hello"],
    );
    let gone = "kubectl --context cluster1 get configmap hello --ignore-not-found -o name";
    host.until(gone, |ran| ran.code == Some(0) && ran.out.is_empty());

    let replicate = "create work w2 -f cm.yaml --placement default/p1 --replicaset";
    host.run(&format!("clusteradm --context its1 {replicate}"))
        .refused(&[
            "--replicaset cannot be used",
            "ManifestWorkReplicaSet is off",
        ]);
    host.run("kubectl --context its1 patch clustermanager cluster-manager --type merge -p '{\"spec\":{\"workConfiguration\":{\"featureGates\":[{\"feature\":\"ManifestWorkReplicaSet\",\"mode\":\"Enable\"}]}}}'")
        .ok();
    assert_eq!(
        on(replicate),
        "create manifestworkreplicaset w2 in namespace default\nexit 0\n"
    );
    let label = "work.open-cluster-management.io/manifestworkreplicaset=default.w2";
    host.until_seen(
        &format!("kubectl --context its1 -n cluster2 get manifestwork -l {label} -o name"),
        &["manifestwork.work.open-cluster-management.io/w2"],
    );
    host.until_seen(
        "kubectl --context its1 get manifestworkreplicaset w2",
        &["AsExpected"],
    );
    assert_eq!(
        on(&format!("{replicate} --overwrite")),
        "update manifestworkreplicaset w2 in namespace default\nexit 0\n"
    );
}
