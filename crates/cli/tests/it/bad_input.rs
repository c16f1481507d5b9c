//! Wrong input: each case is refused with what was tried, what happened and what to do next, and
//! leaves nothing half done.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyades_pki::Authority;
use hyades_pki::Claims;
use hyades_pki::ServiceAccountKey;
use hyades_pki::Validity;
use jiff::Timestamp;

use crate::harness::Host;

/// A WEC that no agent was installed in.
#[track_caller]
fn is_untouched(host: &Host, wec: &str) {
    let namespaces = host
        .run(&format!("kubectl --context {wec} get namespaces -o name"))
        .ok();
    assert!(
        !namespaces.contains("open-cluster-management"),
        "{namespaces}"
    );
    let definitions = host
        .run(&format!("kubectl --context {wec} get crds -o name"))
        .ok();
    assert!(!definitions.contains("klusterlets"), "{definitions}");
}

/// The same token as the ITS itself would have signed it, had it expired an hour ago.
fn expired(host: &Host, token: &str) -> String {
    let payload = token.split('.').nth(1).expect("a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64");
    let mut claims: Claims = serde_json::from_slice(&payload).expect("claims");
    let hour_seconds = 3600;
    claims.exp = claims.iat - hour_seconds;
    claims.iat -= 2 * hour_seconds;
    claims.nbf -= 2 * hour_seconds;
    let key = host.data_dir().join("spaces/its1/service-account.key");
    let key = std::fs::read_to_string(key).expect("the space's key");
    ServiceAccountKey::from_pem(&key)
        .expect("a key")
        .mint(&claims)
}

#[test]
fn joins_that_cannot_work_are_refused_and_leave_the_wec_as_it_was() {
    let host = Host::its(&["cluster1", "cluster2"]);
    let url = host.url("its1");
    let good = host.token("its1");
    let join = |token: &str, url: &str, name: &str, context: &str| {
        let token = if token.is_empty() {
            String::new()
        } else {
            format!("--hub-token {token}")
        };
        host.run(&format!(
            "clusteradm join {token} --hub-apiserver {url} --cluster-name {name} --context {context}"
        ))
    };

    join("", &url, "cluster1", "cluster1").refused(&["token is missing"]);
    join("nonsense", &url, "cluster1", "cluster1").refused(&["token", "get token"]);
    let forged = format!("{}x", good);
    join(&forged, &url, "cluster1", "cluster1").refused(&["token", "get token"]);
    join(&expired(&host, &good), &url, "cluster1", "cluster1").refused(&["token", "get token"]);

    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let closed = nobody.local_addr().expect("its address").port();
    drop(nobody);
    join(
        &good,
        &format!("https://127.0.0.1:{closed}"),
        "cluster1",
        "cluster1",
    )
    .refused(&[&format!("127.0.0.1:{closed}")]);
    join(
        &good,
        "https://no-such-hub.invalid:9443",
        "cluster1",
        "cluster1",
    )
    .refused(&["no-such-hub.invalid"]);
    join(&good, "127.0.0.1:9443", "cluster1", "cluster1").refused(&["http"]);
    // A space that is no ITS, and a space that is none.
    join(&good, &host.url("cluster2"), "cluster1", "cluster1").refused(&["cluster2"]);
    join(&good, &host.url("no-such-space"), "cluster1", "cluster1").refused(&["no-such-space"]);
    // An authority that did not sign the hub's certificate.
    let other =
        Authority::new("nobody", Validity::starting(Timestamp::now(), 3600)).expect("an authority");
    let other = host.file("other.crt", &other.certificate_pem());
    host.run(&format!(
        "clusteradm join --hub-token {good} --hub-apiserver {url} --cluster-name cluster1 --context cluster1 --ca-file {}",
        other.display()
    ))
    .refused(&["certificate"]);

    for name in ["UPPER", "with.dot", "-dash", &"x".repeat(64)] {
        join(&good, &url, name, "cluster1").refused(&[name]);
    }
    for name in ["kube-system", "default", "open-cluster-management"] {
        join(&good, &url, name, "cluster1").refused(&[name]);
    }
    join(&good, &url, "cluster1", "no-such-context").refused(&["no-such-context", "--context"]);
    let broken = host.file("broken", "{ this is no kubeconfig");
    host.run(&format!(
        "clusteradm --kubeconfig {} join --hub-token {good} --hub-apiserver {url} --cluster-name cluster1",
        broken.display()
    ))
    .refused(&["kubeconfig", "broken"]);
    is_untouched(&host, "cluster1");
    is_untouched(&host, "cluster2");
    let wecs = host
        .run("kubectl --context its1 get managedclusters,csr -o name")
        .ok();
    assert_eq!(wecs, "", "nothing came to the hub");

    accepts(&host);
    names_are_taken_once(&host);
}

/// `accept` of clusters that never joined.
fn accepts(host: &Host) {
    host.run("clusteradm --context its1 accept --clusters nobody")
        .refused(&[
            "nobody",
            "not found",
            "no csr is approved yet for cluster nobody",
        ]);
    host.run("clusteradm --context its1 --timeout 2 accept --clusters nobody --wait")
        .refused(&["nobody"]);
    host.run("clusteradm --context its1 accept")
        .refused(&["either --cluster or --clusters needs to be set"]);
    host.run("clusteradm --context cluster1 accept --clusters nobody")
        .refused(&["hub oriented command should not running against non-hub cluster"]);
    host.run("clusteradm --context cluster1 get token")
        .refused(&["hub oriented command should not running against non-hub cluster"]);
}

/// A registered name is not taken over, and what is repeated changes nothing.
fn names_are_taken_once(host: &Host) {
    host.register("its1", "cluster1", "--singleton");
    let (url, token) = (host.url("its1"), host.token("its1"));
    let again = host
        .run("clusteradm --context its1 accept --clusters cluster1")
        .ok();
    assert!(again.contains("already approved"), "{again}");
    assert!(
        again.contains("hubAcceptsClient already set for managed cluster cluster1"),
        "{again}"
    );
    let version =
        "kubectl --context cluster1 get klusterlet klusterlet -o jsonpath='{.metadata.generation}'";
    let before = host.run(version).ok();
    host.run(&format!(
        "clusteradm join --hub-token {token} --hub-apiserver {url} --cluster-name cluster1 --context cluster1"
    ))
    .ok();
    assert_eq!(
        host.run(version).ok(),
        before,
        "a second join changes nothing"
    );
    host.run(&format!(
        "clusteradm join --hub-token {token} --hub-apiserver {url} --cluster-name another --context cluster1"
    ))
    .refused(&["cluster1", "unjoin"]);
    host.run(&format!(
        "clusteradm join --hub-token {token} --hub-apiserver {url} --cluster-name cluster1 --context cluster2"
    ))
    .refused(&["cluster1", "taken"]);
    is_untouched(host, "cluster2");
    host.until_available("its1", "cluster1");
}

#[test]
fn of_two_clusters_that_ask_for_one_name_the_first_approved_has_it() {
    let host = Host::its(&["cluster1", "cluster2"]);
    let requests =
        "kubectl --context its1 get csr -l open-cluster-management.io/cluster-name=shared -o name";
    let asked = ["cluster1", "cluster2"].map(|wec| {
        let before = host.run(requests).ok();
        host.run(&format!(
            "clusteradm --context its1 get token | grep '^clusteradm join' | sed 's/<cluster_name>/shared/' \
             | awk '{{print $0 \" --context {wec} --singleton\"}}' | sh"
        ))
        .ok();
        let after = host.until(requests, |ran| ran.out.len() > before.len()).out;
        let new = after.lines().find(|name| !before.contains(name));
        let (_, name) = new.and_then(|new| new.split_once('/')).expect("a request");
        name.to_owned()
    });
    let undecided = host.run("clusteradm --context its1 accept --clusters shared");
    assert!(
        undecided
            .out
            .contains("There are CSRs of different requesters"),
        "{undecided}"
    );
    undecided.refused(&["no csr is approved yet for cluster shared"]);

    let [first, second] = &asked;
    host.run(&format!(
        "kubectl --context its1 certificate approve {first}"
    ))
    .ok();
    let state = |name: &str| format!("kubectl --context its1 get csr {name} --no-headers");
    host.until_seen(&state(first), &["Approved,Issued"]);
    host.until_seen(&state(second), &["Denied"]);
    host.until_available("its1", "shared");
    // The other cluster learns why, and what to do.
    let told = [
        "The cluster name \"shared\" is taken by the agent",
        "join again under another cluster name",
    ];
    let log = "kubectl --context cluster2 -n open-cluster-management-agent logs deployment/klusterlet-agent";
    host.until_seen(log, &told);
    let events = "kubectl --context cluster2 -n open-cluster-management-agent get events";
    host.until_seen(events, &["CertificateRequestDenied"]);
    // The inventory object stays that of the first.
    let url = "kubectl --context its1 get managedcluster shared -o jsonpath='{.spec.managedClusterClientConfigs[0].url}'";
    assert_eq!(host.run(url).ok(), host.url("cluster1"));
}

#[test]
fn a_host_that_cannot_start_says_why_and_leaves_nothing() {
    let host = Host::prepare();
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("its address").port();
    host.run(&format!(
        "hyades serve --port {port} {}",
        host.data_dir_flag()
    ))
    .refused(&[&port.to_string(), "--port"]);

    let file = host.file("a-file", "");
    host.run(&format!(
        "hyades serve --port 0 --data-dir {}",
        file.display()
    ))
    .refused(&["a-file", "--data-dir"]);
    let missing = host.home().join("sealed");
    std::fs::create_dir(&missing).expect("a folder");
    std::fs::set_permissions(&missing, std::fs::Permissions::from_mode(0o500)).expect("sealed");
    let is_sealed = std::fs::write(missing.join("probe"), "").is_err();
    if is_sealed {
        // Root may write anywhere; everybody else is told.
        host.run(&format!(
            "hyades serve --port 0 --data-dir {}/data",
            missing.display()
        ))
        .refused(&["sealed", "--data-dir"]);
    }
    host.run("hyades serve --port 0 --data-dir /proc/hyades")
        .refused(&["/proc/hyades", "--data-dir"]);

    let foreign = host.file("foreign", "{ this is no kubeconfig");
    host.run(&format!(
        "hyades up --port 0 {} --kubeconfig {}",
        host.data_dir_flag(),
        foreign.display()
    ))
    .refused(&["foreign"]);
    assert_eq!(
        std::fs::read_to_string(&foreign).expect("still there"),
        "{ this is no kubeconfig"
    );
    host.run(&format!("hyades down {}", host.data_dir_flag()))
        .refused(&["no host runs on data folder"]);
    host.run(&format!("hyades space list {}", host.data_dir_flag()))
        .refused(&["no host runs on data folder"]);
    host.run(&format!(
        "hyades serve --advertise ftp://x {}",
        host.data_dir_flag()
    ))
    .refused(&["ftp://x", "--advertise"]);
}

#[test]
fn requests_that_are_wrong_are_answered_and_change_nothing() {
    let host = Host::serve(&["its1"]);
    for name in ["UPPER", "a.b", "default"] {
        host.run(&format!(
            "hyades space create {name} {}",
            host.data_dir_flag()
        ))
        .refused(&[name]);
    }
    host.run(&format!(
        "hyades space create its1 {}",
        host.data_dir_flag()
    ))
    .refused(&["exists already"]);
    host.run(&format!(
        "hyades space delete nobody {}",
        host.data_dir_flag()
    ))
    .refused(&["nobody", "space list"]);
    host.run(&format!(
        "hyades space kubeconfig nobody {}",
        host.data_dir_flag()
    ))
    .refused(&["nobody"]);

    let raw = |name: &str, text: &str| {
        let file = host.file(name, text);
        host.run(&format!(
            "kubectl --context its1 create --raw /api/v1/namespaces/default/configmaps -f {}",
            file.display()
        ))
    };
    raw("malformed", "{\"apiVersion\": ").refused(&["Error from server (BadRequest)"]);
    let depth = 100_000;
    raw(
        "nested",
        &format!("{}{}", "[".repeat(depth), "]".repeat(depth)),
    )
    .refused(&["Error from server"]);
    let nested = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"deep\"}},\"data\":{}1{}}}",
        "{\"a\":".repeat(depth),
        "}".repeat(depth)
    );
    raw("deep", &nested).refused(&["Error from server"]);
    let large = format!(
        "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"large\"}},\"data\":{{\"a\":\"{}\"}}}}",
        "x".repeat(3 * 1024 * 1024 + 1024)
    );
    raw("large", &large).refused(&["Error from server"]);
    raw(
        "wrong",
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"No Name\"}}",
    )
    .refused(&["Invalid", "metadata.name"]);
    let maps = host
        .run("kubectl --context its1 get configmaps -o name")
        .ok();
    assert_eq!(maps, "configmap/kube-root-ca.crt\n");
    assert!(!host.log().contains("panicked"), "{}", host.log());
}
