//! A host that dies while WECs register and works flow, and what it must know afterwards.

use crate::harness::Host;
use crate::work::work;

#[test]
fn a_killed_host_comes_back_with_everything_it_acknowledged() {
    let mut host = Host::its(&["cluster1", "cluster2"]);
    host.register("its1", "cluster1", "--singleton");
    // The second WEC is accepted as soon as it asks; the host dies some time after that.
    host.join("its1", "cluster2", "--singleton");
    let accept = "clusteradm --context its1 --timeout 60 accept --clusters cluster2 --wait";
    host.run(accept).ok();
    let mut acknowledged = Vec::new();
    for number in 0..8 {
        let name = format!("work-{number}");
        let path = host.file("work.yaml", &work(&name, &format!("value-{number}")));
        let line = format!("kubectl --context its1 create -f {}", path.display());
        host.run(&line).ok();
        acknowledged.push(name);
    }
    let requests = "kubectl --context its1 get csr -o name";
    let before = host.run(requests).ok();
    let uid = "kubectl --context its1 get managedcluster cluster1 cluster2 -o jsonpath='{.items[*].metadata.uid}'";
    let uids = host.run(uid).ok();
    host.kill();
    host.run(uid).refused(&[]);

    host.start("serve");
    assert_eq!(host.run(uid).ok(), uids);
    let works = host
        .run("kubectl --context its1 -n cluster1 get manifestworks -o name")
        .ok();
    for name in &acknowledged {
        let found = works
            .lines()
            .any(|line| line.ends_with(&format!("/{name}")));
        assert!(found, "{name} was acknowledged, and is not among\n{works}");
    }
    let after = host.run(requests).ok();
    for request in before.lines() {
        assert!(after.contains(request), "{request} is not among\n{after}");
    }
    // Nobody accepts anything again.
    for wec in ["cluster1", "cluster2"] {
        host.until_available("its1", wec);
    }
    for (number, name) in acknowledged.iter().enumerate() {
        let line = format!(
            "kubectl --context cluster1 get configmap {name} -o jsonpath='{{.data.greeting}}'"
        );
        host.until(&line, |ran| ran.out == format!("value-{number}"));
    }
    // The agents work again, not only their last status.
    let path = host.file("work.yaml", &work("afterwards", "new"));
    host.run(&format!(
        "kubectl --context its1 create -f {}",
        path.display()
    ))
    .ok();
    let line = "kubectl --context cluster1 get configmap afterwards -o jsonpath='{.data.greeting}'";
    host.until(line, |ran| ran.out == "new");
}
