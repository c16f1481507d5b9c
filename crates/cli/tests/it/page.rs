//! The page on registering a WEC, walked command by command against one fresh host.
//!
//! `data/page.yaml` lists the commands and what must be seen after each; this file walks them in
//! an order in which a user would, and looks behind them where the page describes an effect.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::Deserialize;

use crate::harness::Host;
use crate::harness::Ran;

/// One command of the page.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    id: String,
    does: String,
    run: String,
    #[serde(default)]
    seen: Vec<String>,
    /// Its success and its output depend on whether there is something to find.
    #[serde(default)]
    may_find_nothing: bool,
    left_out: Option<String>,
}

fn steps() -> Vec<Step> {
    serde_saphyr::from_str(include_str!("../data/page.yaml")).expect("the list of commands")
}

/// Words in the page that the walk replaces, with what replaces them.
type Words<'a> = &'a [(&'a str, &'a str)];

/// The words of the whole walk: the WEC that it follows closest, and its ITS.
const WORDS: Words<'static> = &[
    ("its-context", "its1"),
    ("wec-context", "cluster2"),
    ("wec-name", "cluster2"),
    ("your-wec-name", "cluster2"),
];

fn fill(text: &str, words: Words) -> String {
    let all = words.iter().chain(WORDS);
    all.fold(text.to_owned(), |text, (word, value)| {
        text.replace(&format!("<{word}>"), value)
    })
}

/// What the commands that only look have in common. They are repeated until what must be seen is
/// there; all others are run once.
const LOOKS: [&str; 3] = [" get ", " describe ", " logs "];

fn only_looks(command: &str) -> bool {
    command.starts_with("kubectl") && LOOKS.iter().any(|word| command.contains(word))
}

struct Walk<'a> {
    host: &'a Host,
    steps: Vec<Step>,
    walked: RefCell<BTreeSet<String>>,
}

impl<'a> Walk<'a> {
    fn of(host: &'a Host) -> Walk<'a> {
        Walk {
            host,
            steps: steps(),
            walked: RefCell::default(),
        }
    }

    /// Walks a command with the usual words.
    #[track_caller]
    fn step(&self, id: &str) -> String {
        self.step_with(id, &[])
    }

    /// Walks a command, filling in these words before the usual ones.
    #[track_caller]
    fn step_with(&self, id: &str, words: Words) -> String {
        let step = self.steps.iter().find(|step| step.id == id).expect(id);
        let line = fill(&step.run, words);
        let bare = line.replace("<cluster_name>", "");
        assert!(
            !bare.contains('<'),
            "a word of {id} is not filled in: {line}"
        );
        let parts: Vec<String> = step.seen.iter().map(|part| fill(part, words)).collect();
        let is_seen = |ran: &Ran| {
            let codes = if step.may_find_nothing { 0..=1 } else { 0..=0 };
            ran.code.is_some_and(|code| codes.contains(&code))
                && parts.iter().all(|part| ran.out.contains(part.as_str()))
        };
        let ran = match only_looks(&line) {
            true => self.host.until(&line, is_seen),
            false => self.host.run(&line),
        };
        assert!(
            is_seen(&ran),
            "{id} ({}) did not show {parts:?}: {ran}",
            step.does
        );
        self.walked.borrow_mut().insert(id.to_owned());
        ran.out
    }

    /// Insists that nothing was forgotten.
    fn conclude(self) {
        let walked = self.walked.into_inner();
        let forgotten: Vec<&str> = self
            .steps
            .iter()
            .filter(|step| step.left_out.is_none() && !walked.contains(&step.id))
            .map(|step| step.id.as_str())
            .collect();
        assert!(
            forgotten.is_empty(),
            "not walked and not left out: {forgotten:?}"
        );
    }
}

#[test]
fn each_command_is_to_be_walked_or_left_out_with_a_reason() {
    let steps = steps();
    let ids: BTreeSet<&str> = steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids.len(), steps.len(), "each id names one command");
    for step in &steps {
        let is_checked = step.may_find_nothing || !step.seen.is_empty();
        assert!(
            is_checked != step.left_out.is_some(),
            "{} is either checked or left out",
            step.id
        );
        assert!(!step.does.is_empty() && !step.run.is_empty(), "{}", step.id);
    }
    let left_out: Vec<&str> = steps
        .iter()
        .filter(|step| step.left_out.is_some())
        .map(|step| step.id.as_str())
        .collect();
    // Only what needs a container engine.
    assert_eq!(
        left_out,
        [
            "kind-create",
            "kind-rename",
            "k3d-create",
            "k3d-rename",
            "trouble-connection"
        ]
    );
}

/// WECs of the walk.
const WECS: [&str; 6] = [
    "cluster1",
    "cluster2",
    "cluster3",
    "prod-cluster-east",
    "openshift-cluster",
    "cloud-cluster",
];

#[test]
fn the_page_on_registering_a_wec_is_true_word_for_word() {
    let host = Host::its(&WECS);
    let walk = Walk::of(&host);
    check_its(&walk);
    let token = join(&walk);
    accept(&walk);
    verify(&walk);
    label(&walk);
    other_kinds_of_clusters(&walk, &token);
    troubleshoot(&walk);
    deregister(&walk);
    come_back(&host);
    walk.conclude();
}

fn check_its(walk: &Walk) {
    for id in ["its-answers", "hub-runs", "properties-namespace"] {
        walk.step(id);
    }
}

/// Joins four WECs; returns the token.
fn join(walk: &Walk) -> String {
    let printed = walk.step("get-token");
    let token = printed
        .lines()
        .find_map(|line| line.strip_prefix("token="))
        .expect("a token")
        .to_owned();
    let url = walk.host.url("its1");
    assert!(
        printed.contains(&format!("--hub-apiserver {url} ")),
        "{printed}"
    );
    let hub = [("token", token.as_str()), ("api-server-url", url.as_str())];
    walk.step_with("join", &hub);
    let third = [
        hub[0],
        hub[1],
        ("your-wec-name", "cluster3"),
        ("wec-context", "cluster3"),
    ];
    walk.step_with("join", &third);
    walk.step_with("join-kind", &hub);
    walk.step_with("join-cloud", &hub);
    token
}

/// The name of the request of a WEC.
fn request_of(walk: &Walk, wec: &str) -> String {
    let line = format!(
        "kubectl --context its1 get csr -l open-cluster-management.io/cluster-name={wec} -o name"
    );
    let seen = walk.host.until_seen(&line, &["certificatesigningrequest"]);
    let name = seen.lines().next().expect("a request");
    name.split_once('/').expect("TYPE/NAME").1.to_owned()
}

fn accept(walk: &Walk) {
    let host = walk.host;
    let joined = ["cluster1", "cluster2", "cluster3", "prod-cluster-east"];
    let requests = joined.map(|wec| request_of(walk, wec));
    let listed = walk.step("list-requests");
    for (wec, request) in joined.iter().zip(&requests) {
        assert!(request.starts_with(&format!("{wec}-")), "{request}");
        let line = listed
            .lines()
            .find(|line| line.starts_with(request.as_str()));
        assert!(
            line.is_some_and(|line| line.trim_end().ends_with("Pending")),
            "{listed}"
        );
    }
    let accepted =
        "kubectl --context its1 get managedcluster cluster2 -o jsonpath='{.spec.hubAcceptsClient}'";
    assert_ne!(host.run(accepted).ok(), "true");

    walk.step("accept");
    walk.step("accept-several");
    let by_hand = [("csr-name", requests[3].as_str())];
    walk.step_with("trouble-request", &by_hand);
    walk.step_with("trouble-approve", &by_hand);
    host.run("clusteradm --context its1 accept --clusters prod-cluster-east")
        .ok();
    for request in &requests {
        let line = format!("kubectl --context its1 get csr {request} --no-headers");
        host.until_seen(&line, &["Approved,Issued"]);
    }
}

fn verify(walk: &Walk) {
    let host = walk.host;
    for wec in ["cluster1", "cluster2", "cluster3", "prod-cluster-east"] {
        host.until_available("its1", wec);
        host.run(&format!("kubectl --context its1 get namespace {wec}"))
            .ok();
        let lease = format!("kubectl --context its1 -n {wec} get lease managed-cluster-lease");
        host.run(&lease).ok();
    }
    for id in ["list-wecs", "wec-yaml", "agent-runs"] {
        walk.step(id);
    }
    let addons = "kubectl --context cluster2 get namespace open-cluster-management-agent-addon";
    host.until_seen(addons, &["Active"]);
    // A singleton runs its agent as one.
    let pods = "kubectl --context cluster1 -n open-cluster-management-agent get pods --no-headers";
    let pods = host.until_seen(pods, &["Running"]);
    assert_eq!(pods.lines().count(), 1, "{pods}");
    assert!(pods.starts_with("klusterlet-agent-"), "{pods}");
}

fn label(walk: &Walk) {
    let host = walk.host;
    for id in [
        "label-basic",
        "label-place",
        "label-capability",
        "label-environment",
        "label-organisation",
        "properties",
    ] {
        walk.step(id);
    }
    let property = "kubectl --context its1 -n customization-properties get configmap cluster2 -o jsonpath='{.data.maxPods}'";
    assert_eq!(host.run(property).ok(), "100");
    host.run("kubectl --context its1 label managedcluster cluster2 old-label=x existing-label=y")
        .ok();
    for id in ["label-add", "label-remove", "label-change"] {
        walk.step(id);
    }
    let labels =
        "kubectl --context its1 get managedcluster cluster2 -o jsonpath='{.metadata.labels}'";
    let labels = host.run(labels).ok();
    assert!(labels.contains(r#""new-label":"value""#), "{labels}");
    assert!(
        labels.contains(r#""existing-label":"new-value""#),
        "{labels}"
    );
    assert!(!labels.contains("old-label"), "{labels}");
    let chosen = "kubectl --context its1 get managedclusters -l location-group=edge -o name";
    let chosen = host.run(chosen).ok();
    assert_eq!(
        chosen,
        "managedcluster.cluster.open-cluster-management.io/cluster2\n"
    );
}

fn other_kinds_of_clusters(walk: &Walk, token: &str) {
    let host = walk.host;
    // The page joins cluster1 twice; the second time finds it registered, and disturbs nothing.
    let before = certificate_of(host, "cluster1");
    walk.step("kind-join");
    walk.step("kind-accept");
    assert_eq!(certificate_of(host, "cluster1"), before);

    walk.step("openshift-join");
    request_of(walk, "openshift-cluster");
    walk.step("openshift-accept");

    let url = host.url("its1");
    let words = [
        ("cloud-cluster-context", "cloud-cluster"),
        ("cloud-cluster-name", "cloud-cluster"),
        ("token", token),
        ("its-api-server", &url),
    ];
    walk.step_with("cloud-context", &words);
    assert_eq!(
        host.run("kubectl config current-context").ok(),
        "cloud-cluster\n"
    );
    walk.step_with("cloud-join", &words);
    request_of(walk, "cloud-cluster");
    walk.step_with("cloud-accept", &words);
    for wec in ["openshift-cluster", "cloud-cluster"] {
        host.until_available("its1", wec);
    }
}

/// The certificate with which a WEC's agent works.
fn certificate_of(host: &Host, wec: &str) -> String {
    let line = format!(
        "kubectl --context {wec} -n open-cluster-management-agent get secret hub-kubeconfig-secret -o jsonpath='{{.data.tls\\.crt}}'"
    );
    let certificate = host.run(&line).ok();
    assert!(!certificate.is_empty(), "{wec} has a certificate");
    certificate
}

fn troubleshoot(walk: &Walk) {
    for id in [
        "trouble-agent",
        "trouble-errors",
        "trouble-logs",
        "trouble-events",
        "diagnose-hub",
        "diagnose-agent",
        "diagnose-wec",
        "diagnose-registration-log",
        "diagnose-work-log",
        "view-list",
        "view-yaml",
        "view-labels",
    ] {
        walk.step(id);
    }
}

/// Deregisters prod-cluster-east.
fn deregister(walk: &Walk) {
    let host = walk.host;
    let gone = [
        ("wec-name", "prod-cluster-east"),
        ("wec-context", "prod-cluster-east"),
    ];
    let credentials = credentials_of(host, "prod-cluster-east");
    let by_agent = |what: &str| host.run(&format!("kubectl --kubeconfig {credentials} {what}"));
    by_agent("get managedcluster prod-cluster-east").ok();
    by_agent("-n prod-cluster-east get manifestworks").ok();
    by_agent("get managedcluster cluster2").refused(&["Forbidden"]);
    let untouched = certificate_of(host, "cluster2");

    walk.step_with("deregister", &gone);
    let absent = |line: &str| {
        host.until(line, |ran| {
            ran.code == Some(1) && ran.err.contains("NotFound")
        });
    };
    absent("kubectl --context its1 get managedcluster prod-cluster-east");
    let rights = "kubectl --context its1 get clusterroles,clusterrolebindings -o name | grep -c prod-cluster-east";
    host.until(rights, |ran| ran.out == "0\n");
    // The mailbox itself stays, as it may hold what is the user's; nothing of the WEC is in it.
    let left =
        "kubectl --context its1 -n prod-cluster-east get rolebindings,roles,manifestworks -o name";
    host.until(left, |ran| ran.code == Some(0) && ran.out.is_empty());
    let pin = "kubectl --context its1 get namespace prod-cluster-east -o yaml";
    host.until(pin, |ran| {
        ran.code == Some(0) && !ran.out.contains("system:open-cluster-management:")
    });
    for what in [
        "get managedcluster prod-cluster-east",
        "-n prod-cluster-east get manifestworks",
        "-n prod-cluster-east get lease managed-cluster-lease",
        "-n prod-cluster-east create configmap mine",
    ] {
        by_agent(what).refused(&[]);
    }

    walk.step_with("clean-agent", &gone);
    walk.step_with("clean-addons", &gone);
    absent("kubectl --context prod-cluster-east get namespace open-cluster-management-agent");
    let pods =
        "kubectl --context prod-cluster-east -n open-cluster-management-agent get pods -o name";
    host.until(pods, |ran| ran.code == Some(0) && ran.out.is_empty());
    absent("kubectl --context its1 get managedcluster prod-cluster-east");

    host.until_available("its1", "cluster2");
    assert_eq!(certificate_of(host, "cluster2"), untouched);
    let credentials = credentials_of(host, "cluster2");
    host.run(&format!(
        "kubectl --kubeconfig {credentials} get managedcluster cluster2"
    ))
    .ok();
}

/// What is left of the agent is taken out of the deregistered WEC, and it joins again under its old
/// name, as a new agent: what the old one had stays refused.
fn come_back(host: &Host) {
    let unjoin = "clusteradm --context prod-cluster-east unjoin --cluster-name prod-cluster-east";
    host.run(unjoin).ok();
    let left = "kubectl --context prod-cluster-east get pods --all-namespaces -o name";
    host.until(left, |ran| ran.code == Some(0) && ran.out.is_empty());
    let definitions = host
        .run("kubectl --context prod-cluster-east get crds -o name")
        .ok();
    assert!(!definitions.contains("klusterlets"), "{definitions}");
    // There is nothing to do a second time.
    host.run(unjoin).ok();

    host.register("its1", "prod-cluster-east", "");
    let old = host.home().join("agent-of-prod-cluster-east-0/kubeconfig");
    let mine = "get managedcluster prod-cluster-east";
    host.run(&format!("kubectl --kubeconfig {} {mine}", old.display()))
        .refused(&["Forbidden"]);
    let new = credentials_of(host, "prod-cluster-east");
    host.run(&format!("kubectl --kubeconfig {new} {mine}")).ok();
}

/// A kubeconfig with the credentials of a WEC's agent.
fn credentials_of(host: &Host, wec: &str) -> String {
    let folder = (0..)
        .map(|number| host.home().join(format!("agent-of-{wec}-{number}")))
        .find(|folder| !folder.exists())
        .expect("numbers do not end");
    std::fs::create_dir(&folder).expect("a folder");
    for key in ["kubeconfig", "tls.crt", "tls.key"] {
        let escaped = key.replace('.', "\\.");
        let line = format!(
            "kubectl --context {wec} -n open-cluster-management-agent get secret hub-kubeconfig-secret -o jsonpath='{{.data.{escaped}}}' | base64 -d > {}",
            folder.join(key).display()
        );
        host.run(&line).ok();
    }
    folder.join("kubeconfig").display().to_string()
}
