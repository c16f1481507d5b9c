//! A host that simulates workloads, seen through kubectl.

use crate::harness::Host;

const WORKLOADS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: nginx, image: nginx}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: postgres, image: postgres, volumeMounts: [{name: d, mountPath: /d}]}]
      volumes: [{name: d, hostPath: {path: /d}}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: log}
spec:
  selector: {matchLabels: {app: log}}
  template:
    metadata: {labels: {app: log}}
    spec: {containers: [{name: log, image: fluentd}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: good}
spec:
  completions: 2
  template:
    spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: bad}
spec:
  backoffLimit: 1
  template:
    metadata: {annotations: {hyades.io/simulate-exit-code: "3"}}
    spec: {restartPolicy: Never, containers: [{name: c, image: busybox}]}
"#;

#[test]
fn workloads_seem_to_run_and_say_that_they_do_not() {
    let mut host = Host::prepare();
    host.start("serve --simulate-workloads=0.05");
    let flag = host.data_dir_flag();
    host.run(&format!("hyades space create wec1 {flag}")).ok();
    let file = host.file("workloads.yaml", WORKLOADS);
    let apply = format!("kubectl --context wec1 apply -f {}", file.display());
    host.run(&apply).ok();
    let wait = "kubectl --context wec1 wait --timeout=60s --for";
    host.run("kubectl --context wec1 rollout status deployment/web --timeout=60s")
        .ok();
    host.run("kubectl --context wec1 rollout status statefulset/db --timeout=60s")
        .ok();
    host.run("kubectl --context wec1 rollout status daemonset/log --timeout=60s")
        .ok();
    host.run(&format!("{wait}=condition=Complete job/good"))
        .ok();
    host.run(&format!("{wait}=condition=Failed job/bad")).ok();
    let names = "kubectl --context wec1 get pods -l app=db -o name";
    assert_eq!(host.run(names).ok(), "pod/db-0\npod/db-1\n");

    host.run("kubectl --context wec1 describe pod db-0")
        .ok()
        .split_once("hyades.io/Simulated")
        .expect("a simulated pod says so");
    let marked = r#"kubectl --context wec1 annotate pod db-0 a=b"#;
    host.run(marked).ok();

    // Another image rolls out, and fewer replicas stay.
    host.run("kubectl --context wec1 set image statefulset/db postgres=postgres:18")
        .ok();
    host.run("kubectl --context wec1 rollout status statefulset/db --timeout=60s")
        .ok();
    host.run("kubectl --context wec1 scale deployment/web --replicas=1")
        .ok();
    let one = "kubectl --context wec1 get deployment web -o jsonpath={.status.readyReplicas}";
    host.until(one, |ran| ran.out == "1");
}

#[test]
fn a_time_that_makes_no_sense_is_refused_and_without_the_flag_foreign_pods_wait() {
    let mut host = Host::prepare();
    host.run("hyades serve --simulate-workloads=soon")
        .refused(&["--simulate-workloads", "it takes seconds from 0 to 86400"]);
    host.start("serve");
    let flag = host.data_dir_flag();
    host.run(&format!("hyades space create wec1 {flag}")).ok();
    host.run("kubectl --context wec1 run lonely --image=nginx")
        .ok();
    host.until_seen(
        "kubectl --context wec1 describe pod lonely",
        &["Pending", "wants \"nginx\""],
    );
}
