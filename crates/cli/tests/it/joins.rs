//! Joins that are not the page's: hosted agents, proxies, clusters of Cluster API.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpListener;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::harness::Host;

/// A manifest for a cluster that an agent elsewhere works for.
const MAP: &str =
    "{apiVersion: v1, kind: ConfigMap, metadata: {name: hello, namespace: default}, data: {a: b}}";

/// The start of a join's command line.
fn join(host: &Host, cluster: &str) -> String {
    format!(
        "clusteradm join --hub-token {} --hub-apiserver {} --cluster-name {cluster}",
        host.token("its1"),
        host.url("its1")
    )
}

#[test]
fn a_hosted_agent_runs_in_one_cluster_and_works_for_another() {
    let host = Host::its(&["cluster1", "cluster2"]);
    host.run(&format!(
        "hyades space kubeconfig cluster2 {} > cluster2.kubeconfig",
        host.data_dir_flag()
    ))
    .ok();
    let hosted = format!(
        "{} --context cluster1 --mode hosted --singleton --managed-cluster-kubeconfig cluster2.kubeconfig",
        join(&host, "cluster2")
    );
    host.run(&hosted)
        .refused(&["needs the agent's operator", "clusteradm join --singleton"]);
    host.register("its1", "cluster1", "--singleton");
    host.run(&format!(
        "{} --context cluster1 --mode hosted",
        join(&host, "cluster2")
    ))
    .refused(&["managed-cluster-kubeconfig should be set in hosted mode"]);
    host.run(&hosted).ok();
    host.accept("its1", "cluster2");
    host.until_available("its1", "cluster2");
    // The agent's pods run beside the other's; the cluster it works for has none.
    let pods = "kubectl --context cluster2 get pods -A -o name";
    assert_eq!(host.run(pods).ok(), "");
    host.file("cm.yaml", MAP);
    host.run("clusteradm --context its1 create work w1 -f cm.yaml --clusters cluster2")
        .ok();
    host.until_seen(
        "kubectl --context cluster2 get configmap hello -o name",
        &["hello"],
    );
    let again = host.run(&hosted).ok();
    assert!(again.contains("registered with the hub"), "{again}");
    let unjoin = "clusteradm --context cluster1 unjoin --cluster-name cluster2";
    let said = host.run(unjoin).ok();
    assert!(
        said.contains("still exist on the managed cluster"),
        "{said}"
    );
    host.run("clusteradm --context its1 delete work w1 --cluster cluster2")
        .ok();
    let gone = "kubectl --context cluster2 get appliedmanifestworks -o name";
    host.until(gone, |ran| ran.code == Some(0) && ran.out.is_empty());
    let said = host.run(unjoin).ok();
    assert!(
        said.contains("operator not purged: there are other klusterlet"),
        "{said}"
    );
    let left = "kubectl --context cluster1 get klusterlets -o name";
    assert_eq!(
        host.run(left).ok(),
        "klusterlet.operator.open-cluster-management.io/klusterlet\n"
    );
    host.until_available("its1", "cluster1");
}

#[test]
fn a_cluster_of_cluster_api_joins_by_the_kubeconfig_it_left() {
    let host = Host::its(&["cluster1", "capi"]);
    let kubeconfig = host
        .run(&format!(
            "hyades space kubeconfig cluster1 {}",
            host.data_dir_flag()
        ))
        .ok();
    let kubectl = |words: &str| host.run(&format!("kubectl --context capi {words}"));
    host.file(
        "crd.yaml",
        "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: clusters.cluster.x-k8s.io}
spec:
  group: cluster.x-k8s.io
  scope: Namespaced
  names: {plural: clusters, singular: cluster, kind: Cluster, listKind: ClusterList}
  versions:
  - name: v1beta1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
",
    );
    kubectl("create -f crd.yaml").ok();
    let import = format!(
        "{} --context capi --singleton --capi-import",
        join(&host, "cluster1")
    );
    host.run(&format!("{import} --capi-cluster-name c1"))
        .refused(&[
            "clusters.cluster.x-k8s.io \"c1\" not found",
            "--capi-cluster-name",
        ]);
    host.file("cluster.yaml", "{apiVersion: cluster.x-k8s.io/v1beta1, kind: Cluster, metadata: {name: c1, namespace: default}}");
    kubectl("create -f cluster.yaml").ok();
    host.run(&format!("{import} --capi-cluster-name c1"))
        .refused(&["secrets \"c1-kubeconfig\" not found", "control plane"]);
    host.file("secret.yaml", &format!(
        "{{apiVersion: v1, kind: Secret, metadata: {{name: c1-kubeconfig, namespace: default}}, data: {{value: {}}}}}",
        STANDARD.encode(&kubeconfig)
    ));
    kubectl("create -f secret.yaml").ok();
    host.run(&format!("{import} --capi-cluster-name default/c1"))
        .ok();
    host.accept("its1", "cluster1");
    host.until_available("its1", "cluster1");
    let klusterlets = "kubectl --context cluster1 get klusterlets -o name";
    host.until_seen(klusterlets, &["klusterlet"]);
}

/// A proxy that tunnels whatever CONNECT asks for, for as long as the test runs.
struct Proxy {
    url: String,
    tunnels: Arc<AtomicUsize>,
}

impl Proxy {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let tunnels = Arc::new(AtomicUsize::new(0));
        let counter = tunnels.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counter = counter.clone();
                std::thread::spawn(move || tunnel(client, &counter));
            }
        });
        Self { url, tunnels }
    }

    fn tunnels(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }
}

/// Serves one client of the proxy. Errors are those of clients that went away.
fn tunnel(mut client: TcpStream, tunnels: &AtomicUsize) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let server = TcpStream::connect(target).ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").ok()?;
    tunnels.fetch_add(1, Ordering::Relaxed);
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    let upstream = std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    let (mut from_server, mut to_client) = (server, client);
    let _ = std::io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Write);
    let _ = upstream.join();
    Some(())
}

#[test]
fn join_and_agent_reach_the_hub_through_the_proxy() {
    let host = Host::its(&["cluster1"]);
    let proxy = Proxy::start();
    let through = |url: &str| {
        host.run(&format!(
            "{} --context cluster1 --singleton --proxy-url {url}",
            join(&host, "cluster1")
        ))
    };
    through("127.0.0.1:3128").refused(&["--proxy-url", "http://, https:// or socks5://"]);
    let nobody = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let closed = nobody.local_addr().expect("its address");
    drop(nobody);
    through(&format!("http://{closed}")).refused(&["hub", &closed.to_string()]);
    assert_eq!(proxy.tunnels(), 0);
    through(&proxy.url).ok();
    let by_join = proxy.tunnels();
    assert!(by_join > 0, "the join itself goes through the proxy");
    host.accept("its1", "cluster1");
    host.until_available("its1", "cluster1");
    assert!(proxy.tunnels() > by_join, "and so does the agent");
    let secret = "kubectl --context cluster1 -n open-cluster-management-agent get secret hub-kubeconfig-secret -o jsonpath='{.data.kubeconfig}' | base64 -d";
    host.until_seen(secret, &[&format!("proxy-url: {}", proxy.url)]);
}
