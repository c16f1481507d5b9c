//! Works: from a mailbox to the objects in a WEC, and their honest status.

use crate::harness::Host;

/// A work of one ConfigMap.
pub fn work(name: &str, value: &str) -> String {
    format!(
        r#"apiVersion: work.open-cluster-management.io/v1
kind: ManifestWork
metadata:
  name: {name}
  namespace: cluster1
spec:
  workload:
    manifests:
    - apiVersion: v1
      kind: ConfigMap
      metadata: {{name: {name}, namespace: default}}
      data: {{greeting: {value}}}
"#
    )
}

/// Reads a condition of a work as `STATUS REASON`.
fn condition(work: &str, kind: &str) -> String {
    format!(
        "kubectl --context its1 -n cluster1 get manifestwork {work} -o jsonpath='{{range .status.conditions[?(@.type==\"{kind}\")]}}{{.status}} {{.reason}}{{end}}'"
    )
}

fn apply(host: &Host, name: &str, text: &str) {
    let path = host.file(name, text);
    host.run(&format!(
        "kubectl --context its1 apply -f {}",
        path.display()
    ))
    .ok();
}

fn host() -> Host {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    host
}

#[test]
fn a_work_reaches_its_wec_follows_edits_and_goes_with_its_objects() {
    let host = host();
    let greeting = "kubectl --context cluster1 get configmap hello -o jsonpath='{.data.greeting}'";
    apply(&host, "hello.yaml", &work("hello", "hi"));
    host.until(greeting, |ran| ran.out == "hi");
    host.until(&condition("hello", "Applied"), |ran| {
        ran.out == "True AppliedManifestWorkComplete"
    });
    host.until(&condition("hello", "Available"), |ran| {
        ran.out == "True ResourcesAvailable"
    });

    apply(&host, "hello.yaml", &work("hello", "bonjour"));
    host.until(greeting, |ran| ran.out == "bonjour");
    let observed = "kubectl --context its1 -n cluster1 get manifestwork hello -o jsonpath='{.metadata.generation} {.status.conditions[*].observedGeneration}'";
    host.until(observed, |ran| ran.out == "2 2 2");

    // What somebody else changes in the WEC is put right when the work is next applied.
    host.run("kubectl --context cluster1 patch configmap hello --type merge -p '{\"data\":{\"greeting\":\"x\"}}'").ok();
    apply(&host, "hello.yaml", &work("hello", "hallo"));
    host.until(greeting, |ran| ran.out == "hallo");

    broken_manifests_are_told_apart(&host);

    host.run("kubectl --context its1 -n cluster1 delete manifestwork hello")
        .ok();
    host.run(greeting).refused(&["NotFound"]);
    let records = "kubectl --context cluster1 get appliedmanifestworks -o name";
    let left = host.run(records).ok();
    assert!(!left.contains("-hello"), "{left}");
}

/// One manifest of a work cannot be applied; the other is, and the status says which is which.
fn broken_manifests_are_told_apart(host: &Host) {
    let text = work("half", "here")
        + "    - apiVersion: v1\n      kind: ConfigMap\n      metadata: {name: lost, namespace: no-such-namespace}\n";
    apply(host, "half.yaml", &text);
    host.until(&condition("half", "Applied"), |ran| {
        ran.out == "False AppliedManifestWorkFailed"
    });
    let here = "kubectl --context cluster1 get configmap half -o jsonpath='{.data.greeting}'";
    assert_eq!(host.run(here).ok(), "here");
    let each = "kubectl --context its1 -n cluster1 get manifestwork half -o jsonpath='{range .status.resourceStatus.manifests[*]}{.resourceMeta.name}={.conditions[?(@.type==\"Applied\")].status} {end}'";
    host.until(each, |ran| ran.out == "half=True lost=False ");
    // Once the cause is gone, so is the failure.
    host.run("kubectl --context cluster1 create namespace no-such-namespace")
        .ok();
    host.until(&condition("half", "Applied"), |ran| {
        ran.out == "True AppliedManifestWorkComplete"
    });
    host.run("kubectl --context its1 -n cluster1 delete manifestwork half")
        .ok();
    host.run("kubectl --context cluster1 -n no-such-namespace get configmap lost")
        .refused(&["NotFound"]);
}
