//! The size of works.

use crate::harness::Host;

/// Above upstream's limits of 50 kB and, later, 500 KiB; a large definition has so many bytes.
const LARGE_BYTES: usize = 700 * 1024;

/// Beyond what an object may be.
const TOO_LARGE_BYTES: usize = 2 * 1024 * 1024;

/// work#70, work#185, #2006: definitions do not fit into a work. ocm#119: the limit is not written
/// down anywhere.
#[test]
fn work_185_a_work_larger_than_upstreams_limit_arrives_and_the_limit_is_told() {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    let create = |name: &str, bytes: usize| {
        let text = "x".repeat(bytes);
        host.file("cm.yaml", &format!(
            "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, namespace: default}}, data: {{a: {text}}}}}"
        ));
        host.run(&format!(
            "clusteradm --context its1 create work {name} -f cm.yaml --clusters cluster1"
        ))
    };
    create("large", LARGE_BYTES).ok();
    let length = "kubectl --context cluster1 get configmap large -o jsonpath='{.data.a}' | wc -c";
    host.until(length, |ran| ran.out.trim() == LARGE_BYTES.to_string());
    let refusal = create("too-large", TOO_LARGE_BYTES);
    refusal.refused(&["too large", "and the limit is 1572864"]);
}
