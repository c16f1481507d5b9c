//! What people report of upstream, thread by thread: each failure is provoked here, and shown not
//! to happen or to be told. Tests are called after the threads. Those that `hyades doctor` finds
//! are in [`doctor`](crate::doctor), those of liveness with the hub's own tests.

mod accepting;
mod documents;
mod joining;
mod leaving;
mod works;

use crate::harness::Host;

/// Lets every newcomer in whose name begins with `edge`.
const RULE: &str = "apiVersion: hyades.io/v1alpha1
kind: JoinRule
metadata: {name: edges}
spec:
  identity: {user: 'system:serviceaccount:open-cluster-management:agent-registration-bootstrap'}
  clusterNames: edge*
";

/// An ITS with the rule, and these spaces besides.
fn its_with_rule(wecs: &[&str]) -> Host {
    let host = Host::its(wecs);
    host.file("rule.yaml", RULE);
    host.run("kubectl --context its1 apply -f rule.yaml").ok();
    host
}

/// Applies to a WEC what its join would, without the join: by kubectl alone.
#[track_caller]
fn apply_join(host: &Host, join: &str, wec: &str) {
    host.run(&format!("{join} --dry-run --output-file objects.yaml"))
        .ok();
    // The definition of Klusterlets is served a moment after it is made.
    let apply = format!("kubectl --context {wec} apply -f objects.yaml");
    host.until(&apply, |ran| ran.code == Some(0));
}
