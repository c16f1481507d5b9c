//! Joins that fail, hang or are misunderstood upstream.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyades_pki::Claims;

use super::apply_join;
use super::its_with_rule;
use crate::beside::Beside;
use crate::harness::Host;

/// A definition of somebody else's that holds the kind Klusterlet: while it is there, ours is kept
/// and not served, as on a server that takes its time.
const IN_THE_WAY: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: others.operator.open-cluster-management.io}
spec:
  group: operator.open-cluster-management.io
  scope: Cluster
  names: {plural: others, singular: other, kind: Klusterlet, listKind: OtherList}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object}}
";

/// After so many milliseconds joins are killed: at their start, in their midst and at their end.
const CUTS_MS: [u32; 6] = [30, 60, 90, 120, 180, 240];

/// clusteradm#12, #54: no matches for kind Klusterlet, on slow clusters; the join has to be
/// repeated by hand.
#[test]
fn clusteradm_54_a_join_waits_for_the_definition_of_klusterlets() {
    let host = Host::its(&["cluster1"]);
    host.file("in-the-way.yaml", IN_THE_WAY);
    host.run("kubectl --context cluster1 create -f in-the-way.yaml")
        .ok();
    let join = host.join_line("its1", "cluster1", "--singleton");
    let what = "for the definition klusterlets.operator.open-cluster-management.io to be served";
    host.run(&format!("{join} --timeout 1"))
        .refused(&["waited 1 s", what, "NamesAccepted"]);
    let patient = Beside::start(&host, &join);
    patient.until_said(&[what]);
    host.run("kubectl --context cluster1 delete -f in-the-way.yaml")
        .ok();
    patient.until_ended();
    host.accept("its1", "cluster1");
    host.until_available("its1", "cluster1");
}

/// #2716: the demonstration's script fails half-way, and cannot be run again.
#[test]
fn kubestellar_2716_a_join_cut_off_at_any_step_is_completed_by_the_next() {
    let host = Host::its(&["cluster1"]);
    let join = host.join_line("its1", "cluster1", "--singleton");
    for cut in CUTS_MS {
        host.run(&format!("timeout -s KILL 0.{cut:03} {join}"));
    }
    host.run(&join).ok();
    host.accept("its1", "cluster1");
    host.until_available("its1", "cluster1");
    let again = host.run(&join).ok();
    assert!(again.contains("nothing was changed"), "{again}");
}

/// clusteradm#31: what is this token? clusteradm#23: it can be revoked.
#[test]
fn clusteradm_31_a_token_says_what_it_is_and_ends_when_revoked() {
    let host = Host::its(&["cluster1", "cluster2"]);
    let old = host.join_line("its1", "cluster2", "");
    let token = host.token("its1");
    let claims = token.split('.').nth(1).expect("a payload");
    let claims = URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let claims: Claims = serde_json::from_slice(&claims).expect("claims");
    assert_eq!(
        claims.sub,
        "system:serviceaccount:open-cluster-management:agent-registration-bootstrap"
    );
    let hour_seconds = 3600;
    assert_eq!(claims.exp - claims.iat, hour_seconds);
    host.register("its1", "cluster1", "--singleton");
    host.run("clusteradm --context its1 delete token").ok();
    host.run(&old)
        .refused(&["401", "get a new token with 'clusteradm get token'"]);
    // Whoever is in stays in.
    host.until_available("its1", "cluster1");
    host.run("clusteradm --context its1 get token")
        .refused(&["agent-registration-bootstrap", "clusteradm init"]);
    host.run("clusteradm --context its1 --timeout 60 init --wait")
        .ok();
    host.run(&old).refused(&["401"]);
    host.register("its1", "cluster2", "--singleton");
}

/// multicluster-controlplane#100: wanted fully declarative.
#[test]
fn multicluster_controlplane_100_a_cluster_joins_by_declarations_alone() {
    let host = its_with_rule(&["edge1"]);
    let join = host.join_line("its1", "edge1", "--singleton");
    apply_join(&host, &join, "edge1");
    host.until_available("its1", "edge1");
    let events = "kubectl --context its1 -n edge1 get events";
    host.until_seen(events, &["Accepted by JoinRule edges"]);
}

/// clusteradm#372, #444, ocm#514, #850, multicluster-controlplane#116: clusters that are let in
/// without a person, whose users are told to accept them all the same.
#[test]
fn clusteradm_444_a_join_let_in_by_a_rule_asks_nobody_to_accept() {
    let host = its_with_rule(&["edge1", "core1"]);
    let join = |wec: &str| {
        let line = host.join_line("its1", wec, "--singleton");
        host.run(&format!("{line} --wait")).ok()
    };
    let said = join("edge1");
    assert!(said.contains("accepted cluster edge1 already"), "{said}");
    assert!(!said.contains("accept --clusters"), "{said}");
    host.until_available("its1", "edge1");
    let said = join("core1");
    assert!(said.contains("accept --clusters core1"), "{said}");
}

/// kubestellar/ui#1638, #1848, #1872, #2392: an import that waits for the managed cluster to be
/// created, for five minutes, and nobody says what keeps the agent from it.
#[test]
fn kubestellar_ui_1638_what_keeps_an_agent_from_the_hub_is_told_where_it_was_installed() {
    let host = Host::its(&["cluster1"]);
    let may_only = |rules: &str| {
        let patch = format!(r#"[{{"op":"replace","path":"/rules","value":{rules}}}]"#);
        let role = "clusterrole open-cluster-management:bootstrap";
        host.run(&format!(
            "kubectl --context its1 patch {role} --type json -p '{patch}'"
        ))
        .ok();
    };
    let line = host.join_line("its1", "cluster1", "--singleton --wait --timeout 4");
    may_only("[]");
    host.run(&line)
        .refused(&["403", "kube-public", "clusteradm init"]);
    // Enough for the join, and not for the agent.
    may_only(r#"[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get"]}]"#);
    host.run(&line).refused(&["waited 4 s"]);
    let klusterlet = "kubectl --context cluster1 get klusterlet klusterlet -o yaml";
    host.until_seen(klusterlet, &["HubConnectionDegraded", "managedclusters"]);
    let log = "kubectl --context cluster1 -n open-cluster-management-agent logs deployment/klusterlet-agent";
    host.until_seen(log, &["forbidden", "cluster1"]);
    let broken = host.file("broken", "{ this is no kubeconfig");
    let broken = broken.display();
    host.run(&format!("clusteradm --kubeconfig {broken} get clusters"))
        .refused(&["kubeconfig", "broken"]);
}

/// kubestellar/ui#35, #36: wanted by kubeconfig, by hand and by token.
#[test]
fn kubestellar_ui_35_clusters_come_by_kubeconfig_by_manifest_and_by_bootstrap_token() {
    let host = Host::its(&["by-file", "by-hand", "by-token"]);
    host.run(&format!(
        "hyades space kubeconfig by-file {} >by-file.kubeconfig",
        host.data_dir_flag()
    ))
    .ok();
    let join = host.join_line("its1", "by-file", "--singleton");
    let join = join.replace("--context by-file", "--kubeconfig by-file.kubeconfig");
    host.run(&join).ok();

    let join = host.join_line("its1", "by-hand", "--singleton");
    apply_join(&host, &join, "by-hand");

    host.run("clusteradm --context its1 --timeout 60 init --use-bootstrap-token --force --wait")
        .ok();
    let join = host.run("clusteradm --context its1 get token --use-bootstrap-token");
    let join = join.ok();
    let join = join
        .lines()
        .find(|line| line.starts_with("clusteradm join"));
    let join = join
        .expect("a command")
        .replace("<cluster_name>", "by-token");
    host.run(&format!("{join} --context by-token --singleton"))
        .ok();

    let all = ["by-file", "by-hand", "by-token"];
    host.accept("its1", &all.join(","));
    for wec in all {
        host.until_available("its1", wec);
    }
}

/// projectbluefin/lab#328: install, register, smoke test, each a command.
#[test]
fn projectbluefin_lab_328_install_register_and_smoke_test_are_commands() {
    let mut host = Host::prepare();
    host.up_detached("--wecs 1").ok();
    for context in ["its1", "cluster1"] {
        host.run(&format!("hyades doctor --context {context}")).ok();
    }
    host.run("clusteradm --context its1 create sampleapp smoke --clusters cluster1")
        .ok();
    host.until_seen(
        "clusteradm --context its1 get works --cluster cluster1 -o table",
        &["smoke"],
    );
    host.until_seen(
        "kubectl --context cluster1 -n smoke get configmaps -o name",
        &["smoke"],
    );
    host.down().ok();
}
