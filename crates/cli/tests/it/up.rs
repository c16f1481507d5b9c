//! `hyades up`, alone: from nothing to two registered WECs, and back again.

use std::time::Duration;
use std::time::Instant;

use crate::harness::Host;
use crate::harness::PATIENCE;

/// Pause between two looks at a log: short against the steps it reports.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The names of the requests on the ITS, and the certificates of the WECs' agents.
fn registrations(host: &Host) -> (String, [String; 2]) {
    let requests = host.run("kubectl --context its1 get csr -o name").ok();
    let certificates = ["cluster1", "cluster2"].map(|wec| {
        let line = format!(
            "kubectl --context {wec} -n open-cluster-management-agent get secret hub-kubeconfig-secret -o jsonpath='{{.data.tls\\.crt}}'"
        );
        host.run(&line).ok()
    });
    (requests, certificates)
}

#[test]
fn up_registers_two_wecs_and_takes_up_again_what_it_left() {
    let mut host = Host::prepare();
    let said = host.up_detached("");
    assert_eq!(said.code, Some(0), "{said}");
    for word in ["its1", "wds1", "cluster1", "cluster2", "KUBECONFIG", "PATH"] {
        assert!(said.all().contains(word), "{word} is not said: {said}");
    }
    let contexts = host.run("kubectl config get-contexts -o name").ok();
    assert_eq!(contexts, "cluster1\ncluster2\nits1\nwds1\n");
    for wec in ["cluster1", "cluster2"] {
        host.until_available("its1", wec);
    }
    let spaces = host
        .run(&format!("hyades space list {}", host.data_dir_flag()))
        .ok();
    for space in ["its1", "wds1", "cluster1", "cluster2"] {
        assert!(spaces.contains(space), "{spaces}");
    }
    let before = registrations(&host);
    assert_eq!(before.0.lines().count(), 2, "{}", before.0);

    // A second host on the folder is refused, and the first one goes on.
    host.run(&format!("hyades serve --port 0 {}", host.data_dir_flag()))
        .refused(&["data folder already in use by a running host"]);
    host.run("kubectl --context its1 get namespace default")
        .ok();

    host.down().ok();
    host.run("kubectl --context its1 get namespace default")
        .refused(&[]);
    host.run(&format!("hyades space list {}", host.data_dir_flag()))
        .refused(&["no host runs on data folder"]);

    host.up_detached("").ok();
    for wec in ["cluster1", "cluster2"] {
        host.until_available("its1", wec);
    }
    assert_eq!(registrations(&host), before, "nobody registered again");
    host.down().ok();
}

#[test]
fn interrupting_up_stops_it_cleanly() {
    let mut host = Host::prepare();
    host.spawn("up");
    host.until(
        "kubectl --context its1 get managedclusters --no-headers",
        |ran| ran.out.matches(" True ").count() >= 4,
    );
    host.signal("TERM");
    let (code, log) = host.wait_for_end();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn an_up_that_died_half_way_is_finished_by_the_next() {
    let mut host = Host::prepare();
    for step in ["space its1 created", "initialised as hub", "accepted"] {
        host.spawn("up");
        let deadline = Instant::now() + PATIENCE;
        while !host.log().contains(step) && !host.log().contains("ready:") {
            assert!(
                Instant::now() < deadline,
                "{step} is not said\n{}",
                host.log()
            );
            std::thread::sleep(LOOK_AGAIN);
        }
        host.kill();
    }
    host.up_detached("").ok();
    for wec in ["cluster1", "cluster2"] {
        host.until_available("its1", wec);
    }
    // No WEC became two.
    let wecs = "kubectl --context its1 get managedclusters -o name | wc -l";
    assert_eq!(host.run(wecs).ok().trim(), "2");
    host.down().ok();
}

/// A kubeconfig of somebody else's cluster.
const FOREIGN: &str = "apiVersion: v1
kind: Config
current-context: prod
contexts:
- {name: prod, context: {cluster: prod, user: prod, namespace: shop}}
clusters:
- {name: prod, cluster: {server: 'https://prod.example.org'}}
users:
- {name: prod, user: {token: t}}
";

#[test]
fn contexts_are_merged_into_another_kubeconfig_and_overwrite_nothing() {
    let mut host = Host::prepare();
    let file = host.file("mine", FOREIGN);
    let merge = format!("--wecs 1 --kubeconfig {}", file.display());
    host.up_detached(&merge).ok();
    let kubectl = format!("kubectl --kubeconfig {}", file.display());
    let contexts = host
        .run(&format!("{kubectl} config get-contexts -o name"))
        .ok();
    assert_eq!(contexts, "cluster1\nits1\nprod\nwds1\n");
    let foreign = format!(
        "{kubectl} config view --raw --minify --context prod -o jsonpath='{{.clusters[0].cluster.server}} {{.users[0].user.token}} {{.contexts[0].context.namespace}}'"
    );
    assert_eq!(host.run(&foreign).ok(), "https://prod.example.org t shop");
    host.run(&format!(
        "{kubectl} --context its1 get managedcluster cluster1"
    ))
    .ok();
    host.down().ok();

    // A context of that name that is somebody else's is a clash, and nothing starts.
    let mut other = Host::prepare();
    let text = FOREIGN.replace("prod", "its1");
    let file = other.file("theirs", &text);
    other
        .up_detached(&format!("--wecs 1 --kubeconfig {}", file.display()))
        .refused(&["its1", "--kubeconfig"]);
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), text);
    other.down().refused(&["no host runs on data folder"]);
}
