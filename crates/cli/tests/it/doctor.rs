//! `hyades doctor`: the failures that people reported of upstream, each made on served spaces,
//! found, and mended by the very command the doctor names. Tests are called after the threads.

use crate::harness::Host;
use crate::harness::Ran;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_pki::Authority;
use hyades_pki::Kubeconfig;
use hyades_pki::Validity;
use jiff::Timestamp;
use serde_json::Value;

/// The agent's namespace.
const AGENT: &str = "open-cluster-management-agent";

/// What the doctor says about a context.
struct Diagnosis {
    ran: Ran,
    checks: Vec<Value>,
}

fn doctor(host: &Host, context: &str) -> Diagnosis {
    let ran = host.run(&format!("hyades doctor --context {context} --output json"));
    let json: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("no JSON: {ran}"));
    let checks = json["checks"].as_array().expect("checks").clone();
    let failed = checks.iter().any(|check| check["verdict"] == "failed");
    assert_eq!(ran.code, Some(i32::from(failed)), "{ran}");
    for secret in ["eyJhbGciOi", "BEGIN", "PRIVATE"] {
        assert!(!ran.all().contains(secret), "{secret} is shown: {ran}");
    }
    Diagnosis { ran, checks }
}

impl Diagnosis {
    #[track_caller]
    fn check(&self, of: &str, check: &str) -> &Value {
        let is_it = |found: &&Value| found["of"] == of && found["check"] == check;
        let found = self.checks.iter().find(is_it);
        found.unwrap_or_else(|| panic!("no line {check} of {of}: {}", self.ran))
    }

    /// Insists that a check failed with all of `parts` in the problem; gives the fix.
    #[track_caller]
    fn failed(&self, of: &str, check: &str, parts: &[&str]) -> String {
        let found = self.check(of, check);
        assert_eq!(found["verdict"], "failed", "{check} of {of}: {}", self.ran);
        let problem = found["problem"].as_str().expect("a problem");
        for part in parts {
            assert!(problem.contains(part), "{part:?} is not said: {}", self.ran);
        }
        found["fix"].as_str().expect("a fix").to_owned()
    }

    #[track_caller]
    fn passed(&self, of: &str, check: &str) {
        let found = self.check(of, check);
        assert_eq!(found["verdict"], "passed", "{check} of {of}: {}", self.ran);
    }

    #[track_caller]
    fn is_well(&self) {
        assert_eq!(self.ran.code, Some(0), "{}", self.ran);
    }
}

/// Looks until the doctor finds a check failed.
#[track_caller]
fn until_failed(host: &Host, context: &str, of: &str, check: &str) -> Diagnosis {
    let line = format!("hyades doctor --context {context} --output json");
    host.until(&line, |ran| {
        let json: Value = serde_json::from_str(&ran.out).unwrap_or_default();
        let checks = json["checks"].as_array().cloned().unwrap_or_default();
        checks.iter().any(|found| {
            found["of"] == of && found["check"] == check && found["verdict"] == "failed"
        })
    });
    doctor(host, context)
}

fn bootstrap_kubeconfig(host: &Host, wec: &str) -> String {
    let line = format!(
        "kubectl --context {wec} -n {AGENT} get secret bootstrap-hub-kubeconfig -o jsonpath='{{.data.kubeconfig}}' | base64 -d"
    );
    host.run(&line).ok()
}

/// Writes the bootstrap kubeconfig with another server, authority or token.
fn set_bootstrap(host: &Host, wec: &str, text: &str, edit: impl FnOnce(&mut Kubeconfig)) {
    let mut kubeconfig = Kubeconfig::parse(text).expect("a kubeconfig");
    edit(&mut kubeconfig);
    let text = kubeconfig.to_yaml().expect("YAML");
    let patch = serde_json::json!({"data": {"kubeconfig": STANDARD.encode(text)}});
    let file = host.file("patch.json", &patch.to_string());
    host.run(&format!(
        "kubectl --context {wec} -n {AGENT} patch secret bootstrap-hub-kubeconfig --type merge --patch-file {}",
        file.display()
    ))
    .ok();
}

fn set_server(host: &Host, wec: &str, text: &str, url: &str) {
    set_bootstrap(host, wec, text, |kubeconfig| {
        kubeconfig.clusters[0].cluster.server = Some(url.to_owned());
    });
}

fn set_token(host: &Host, wec: &str, text: &str, token: &str) {
    set_bootstrap(host, wec, text, |kubeconfig| {
        kubeconfig.users[0].user.token = Some(token.to_owned());
    });
}

/// clusteradm#109: join waits for what starts only after acceptance, and times out. #2649: people
/// do not know that the request takes a moment. The page: "CSR stuck in Pending state".
/// clusteradm#31: what is this token?
#[test]
fn clusteradm_109_a_join_waits_for_nothing_that_acceptance_brings() {
    let host = Host::its(&["cluster1"]);
    host.join("its1", "cluster1", "--singleton --wait");
    let on_hub = until_failed(&host, "its1", "cluster1", "csr");
    let fix = on_hub.failed("cluster1", "csr", &["pending"]);
    assert_eq!(fix, "clusteradm --context its1 accept --clusters cluster1");
    assert_eq!(on_hub.failed("cluster1", "acceptance", &[]), fix);
    let on_wec = doctor(&host, "cluster1");
    assert_eq!(on_wec.failed("cluster1", "csr", &["pending"]), fix);
    let token = on_wec.check("cluster1", "token")["facts"].to_string();
    for part in ["agent-registration-bootstrap", "issued", "expires in"] {
        assert!(token.contains(part), "{token}");
    }
    host.run(&fix).ok();
    // clusteradm#395: accept is not idempotent.
    host.run(&fix).ok();
    host.until_available("its1", "cluster1");
    doctor(&host, "its1").is_well();
    doctor(&host, "cluster1").is_well();
    let table = host
        .run("hyades doctor --context its1 --cluster cluster1")
        .ok();
    assert!(table.contains("passed  cluster1  available"), "{table}");
}

/// clusteradm#12, clusteradm#54 and #2716: no matches for kind Klusterlet.
#[test]
fn clusteradm_12_no_matches_for_kind_klusterlet() {
    let host = Host::its(&["cluster1"]);
    host.join("its1", "cluster1", "--singleton");
    host.run(
        "kubectl --context cluster1 delete crd klusterlets.operator.open-cluster-management.io --timeout 60s",
    )
    .ok();
    host.run("kubectl --context cluster1 create namespace open-cluster-management-agent || true")
        .ok();
    let found = doctor(&host, "cluster1");
    let fix = found.failed(
        "cluster1",
        "klusterlet",
        &["no matches for kind Klusterlet"],
    );
    assert!(fix.contains("clusteradm --context cluster1 join"), "{fix}");
}

/// clusteradm#120: no request to approve, because the hub's URL leads nowhere.
/// kubestellar/ui#1638: waiting for the managed cluster to be created, and no word of why.
#[test]
fn clusteradm_120_the_hubs_url_leads_nowhere() {
    let host = Host::its(&["cluster1"]);
    host.join("its1", "cluster1", "--singleton");
    let good = bootstrap_kubeconfig(&host, "cluster1");
    let server = host.url("its1");
    for (url, check, words) in [
        (
            "https://127.0.0.1:1/spaces/its1".to_owned(),
            "tcp",
            "127.0.0.1:1",
        ),
        (
            "https://no-such-hub.invalid/spaces/its1".to_owned(),
            "dns",
            "no-such-hub.invalid",
        ),
        (server.replace("its1", "its9"), "path", "its9"),
    ] {
        set_server(&host, "cluster1", &good, &url);
        let found = doctor(&host, "cluster1");
        let fix = found.failed("its hub", check, &[words]);
        assert!(fix.contains("--hub-apiserver"), "{fix}");
        assert_eq!(found.check("cluster1", "acceptance")["verdict"], "skipped");
    }
    // An API server that is no hub.
    set_server(&host, "cluster1", &good, &host.url("cluster1"));
    let found = doctor(&host, "cluster1");
    // Its tokens are another space's.
    found.failed("its hub", "access", &["401"]);
}

/// ocm#959: certificate signed by unknown authority.
#[test]
fn ocm_959_certificate_signed_by_unknown_authority() {
    let host = Host::its(&["cluster1"]);
    host.join("its1", "cluster1", "--singleton");
    let good = bootstrap_kubeconfig(&host, "cluster1");
    let other = Authority::new("nobody", Validity::starting(Timestamp::now(), 3600));
    let other = STANDARD.encode(other.expect("an authority").certificate_pem());
    set_bootstrap(&host, "cluster1", &good, |kubeconfig| {
        kubeconfig.clusters[0].cluster.certificate_authority_data = Some(other);
    });
    let found = doctor(&host, "cluster1");
    let words = ["signed by unknown authority", "nobody"];
    let fix = found.failed("its hub", "tls", &words);
    host.run(&fix).ok();
    doctor(&host, "cluster1").passed("its hub", "tls");
}

/// multicluster-controlplane#100: Unauthorized, and nothing more.
#[test]
fn multicluster_controlplane_100_unauthorized() {
    let host = Host::its(&["cluster1"]);
    host.join("its1", "cluster1", "--singleton");
    let good = bootstrap_kubeconfig(&host, "cluster1");
    let token = Kubeconfig::parse(&good).expect("a kubeconfig").users[0]
        .user
        .token
        .clone()
        .expect("a token");
    set_token(&host, "cluster1", &good, "nonsense");
    let found = doctor(&host, "cluster1");
    let fix = found.failed("cluster1", "token", &["neither"]);
    found.failed("its hub", "access", &["401"]);
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    set_token(&host, "cluster1", &good, &forged);
    let found = doctor(&host, "cluster1");
    assert_eq!(found.failed("cluster1", "token", &["401"]), fix);
    // The fix gets a new token, and does not show it.
    assert!(fix.contains("get token") && !fix.contains("ey"), "{fix}");
    host.run(&fix).ok();
    let found = doctor(&host, "cluster1");
    found.passed("cluster1", "token");
    found.passed("its hub", "access");
}

/// clusteradm#56: a cluster that joins again has its request approved, and no managed cluster.
#[test]
fn clusteradm_56_a_request_without_a_managed_cluster() {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    host.run("kubectl --context its1 delete managedcluster cluster1 --timeout 60s")
        .ok();
    let found = until_failed(&host, "cluster1", "cluster1", "rbac");
    // Deregistered: the agent holds a certificate that is worth nothing now.
    found.failed("cluster1", "rbac", &["managed cluster"]);
    let requests = host.run("kubectl --context its1 get csr -o name").ok();
    if !requests.is_empty() {
        let on_hub = doctor(&host, "its1");
        let fix = on_hub.failed("cluster1", "inventory", &["no managed cluster"]);
        assert!(fix.contains("--context cluster1 join"), "{fix}");
    }
    // It comes back under its name, with a key that the hub has not let go.
    host.register("its1", "cluster1", "--singleton");
    doctor(&host, "its1").is_well();
}

/// clusteradm#467: connection refused on localhost:8080, where nobody ever wanted to connect.
#[test]
fn clusteradm_467_no_kubeconfig_means_no_localhost_8080() {
    let host = Host::prepare();
    let nowhere = host.run("KUBECONFIG=/nowhere hyades doctor");
    let said = nowhere.refused(&["kubeconfig", "/nowhere"]);
    assert!(!said.contains("8080"), "{said}");
    let empty = host.file(
        "no-server",
        "current-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nclusters: [{name: a, cluster: {}}]\nusers: [{name: a, user: {}}]\n",
    );
    let ran = host.run(&format!("hyades doctor --kubeconfig {}", empty.display()));
    assert_ne!(ran.code, Some(0), "{ran}");
    assert!(!ran.all().contains("8080"), "{ran}");
}

/// kubevela#5718, #5719 and #6440: stuck for ever at "Waiting for CSRs created".
#[test]
fn kubevela_5718_stuck_waiting_for_requests() {
    let host = Host::its(&["cluster1", "cluster2"]);
    // Somebody took rights away: a join sees a hub, and its agent gets nowhere.
    let rules = r#"[{"op":"replace","path":"/rules","value":[{"apiGroups":[""],"resources":["configmaps"],"verbs":["get"]}]}]"#;
    host.run(&format!(
        "kubectl --context its1 patch clusterrole open-cluster-management:bootstrap --type json -p '{rules}'"
    ))
    .ok();
    let join = |wec: &str, flags: &str| host.join_line("its1", wec, flags);
    let said = host
        .run(&join("cluster1", "--wait --timeout 4"))
        .refused(&["waited 4 s", "hyades doctor --context cluster1"]);
    let fix = "fix: clusteradm --context its1 init";
    assert!(said.contains(fix), "{said}");
    let on_hub = doctor(&host, "its1");
    let fix = on_hub.failed("its1", "rbac", &["create managedclusters"]);
    let on_wec = doctor(&host, "cluster1");
    assert_eq!(on_wec.failed("cluster1", "rbac", &["403"]), fix);
    host.run(&fix).ok();
    host.accept("its1", "cluster1");
    host.until_available("its1", "cluster1");

    // An operator whose image no node has.
    let objects = host.home().join("objects.yaml");
    let objects = objects.display();
    host.run(&join(
        "cluster2",
        &format!("--dry-run --output-file {objects}"),
    ))
    .ok();
    let image = "s#image: .*#image: registry.invalid/klusterlet#";
    host.run(&format!("sed -i '{image}' {objects}")).ok();
    // The definition is served a moment after it is made.
    let apply = format!("kubectl --context cluster2 apply -f {objects}");
    host.until(&apply, |ran| ran.code == Some(0));
    let found = until_failed(&host, "cluster2", "cluster2", "operator");
    found.failed("cluster2", "operator", &["Pending"]);
    found.failed("cluster2", "agent", &["has not started the agent"]);
}

/// kubevela#5039: a detach hangs because applied works remain.
#[test]
fn kubevela_5039_a_detach_held_up_by_applied_works() {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    let work = host.file(
        "work.yaml",
        "apiVersion: work.open-cluster-management.io/v1\nkind: AppliedManifestWork\nmetadata: {name: elsewhere-stuck, finalizers: [example.org/held]}\nspec: {hubHash: elsewhere, agentID: elsewhere, manifestWorkName: stuck}\n",
    );
    host.run(&format!(
        "kubectl --context cluster1 create -f {}",
        work.display()
    ))
    .ok();
    host.run("kubectl --context cluster1 delete appliedmanifestwork elsewhere-stuck --wait=false")
        .ok();
    let found = doctor(&host, "cluster1");
    let fix = found.failed("cluster1", "removal", &["elsewhere-stuck"]);
    host.run(&fix).ok();
    doctor(&host, "cluster1").is_well();
}

/// The page: "ManagedCluster shows as Unknown", and "Verify the OCM agent is running".
#[test]
fn the_page_a_managed_cluster_that_shows_as_unknown() {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    host.run("kubectl --context its1 patch managedcluster cluster1 --type merge -p '{\"spec\":{\"leaseDurationSeconds\":1}}'")
        .ok();
    host.run("kubectl --context cluster1 -n open-cluster-management scale deployment klusterlet --replicas 0")
        .ok();
    host.run(&format!(
        "kubectl --context cluster1 -n {AGENT} scale deployment klusterlet-agent --replicas 0"
    ))
    .ok();
    let on_hub = until_failed(&host, "its1", "cluster1", "lease");
    let ask = on_hub.failed("cluster1", "lease", &["renewed"]);
    assert_eq!(ask, "hyades doctor --context cluster1");
    let on_hub = until_failed(&host, "its1", "cluster1", "available");
    on_hub.failed("cluster1", "available", &["Unknown"]);
    let on_wec = until_failed(&host, "cluster1", "cluster1", "agent");
    on_wec.failed("cluster1", "operator", &["no pods"]);
    let fix = on_wec.failed("cluster1", "agent", &["no pods"]);
    host.run(&fix).ok();
    host.until_available("its1", "cluster1");
}
