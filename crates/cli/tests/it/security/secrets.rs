//! No token and no key in anything that people read: logs, Events, objects, errors.

use regex::Regex;

use crate::harness::Host;
use crate::upstream::bootstrap_token;
use crate::wire::Wire;

/// Longest excerpt shown of a finding, in bytes: enough to see where it comes from, and less than
/// any key.
const SHOWN_BYTES: usize = 60;

/// What no text may hold.
struct Forbidden {
    patterns: Vec<(&'static str, Regex)>,
}

impl Forbidden {
    fn new() -> Forbidden {
        let pattern = |name, text| (name, Regex::new(text).expect("a pattern"));
        Forbidden {
            patterns: vec![
                pattern(
                    "a signed token",
                    r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}",
                ),
                pattern("a key in PEM", "-----BEGIN [A-Z ]*PRIVATE KEY-----"),
                // The same in base64, at each of the three ways it may lie there.
                pattern(
                    "a key in base64",
                    "QRUdJTiBFQyBQUklWQVRF|CRUdJTiBFQyBQUklWQVRF|UJFR0lOIEVDIFBSSVZBVE|BSSVZBVEUgS0VZLS0tLS|UFJJVkFURSBLRVktLS0tL|QUklWQVRFIEtFWS0tLS0t",
                ),
                pattern("a bootstrap token", r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
            ],
        }
    }

    #[track_caller]
    fn are_not_in(&self, what: &str, text: &str) {
        for (name, pattern) in &self.patterns {
            if let Some(found) = pattern.find(text) {
                let begin = text.floor_char_boundary(found.start().saturating_sub(SHOWN_BYTES));
                panic!(
                    "{what} holds {name} after {:?}",
                    &text[begin..found.start()]
                );
            }
        }
    }
}

#[test]
fn the_patterns_find_what_they_are_for() {
    let forbidden = Forbidden::new();
    let finds = |text: &str| {
        forbidden
            .patterns
            .iter()
            .any(|(_, pattern)| pattern.is_match(text))
    };
    let key = hyades_pki::Key::generate();
    for pem in [key.to_ec_pem(), key.to_pkcs8_pem()] {
        assert!(finds(&pem));
        for padding in ["", "x", "xy"] {
            use base64::Engine as _;
            let encoded = base64::prelude::BASE64_STANDARD.encode(format!("{padding}{pem}"));
            assert!(finds(&encoded), "{padding:?}");
        }
    }
    assert!(finds("Bearer abcdef.0123456789abcdef."));
    assert!(!finds("cluster1.18eae4ada434704e and 0.065 s"));
}

/// Every object that is no Secret, every Event and every log of a space.
fn everything_readable(host: &Host, space: &str) -> Vec<(String, String)> {
    let kubectl = format!("kubectl --context {space}");
    let kinds = host
        .run(&format!("{kubectl} api-resources --verbs=list -o name"))
        .ok();
    let kinds: Vec<&str> = kinds.lines().filter(|kind| *kind != "secrets").collect();
    assert!(kinds.contains(&"events.events.k8s.io"), "{kinds:?}");
    let objects = format!("{kubectl} get {} -A -o json", kinds.join(","));
    let mut texts = vec![(objects.clone(), host.run(&objects).ok())];
    let pods = host
        .run(&format!(
            "{kubectl} get pods -A --no-headers -o custom-columns=A:.metadata.namespace,B:.metadata.name"
        ))
        .ok();
    for pod in pods.lines() {
        let mut words = pod.split_whitespace();
        let (namespace, name) = (
            words.next().expect("a namespace"),
            words.next().expect("a name"),
        );
        let logs = format!("{kubectl} logs -n {namespace} {name}");
        let log = host.run(&logs).ok();
        assert!(!log.is_empty(), "{logs} shows nothing");
        texts.push((logs, log));
    }
    texts
}

#[test]
fn a_whole_registration_leaves_no_token_and_no_key_in_anything_readable() {
    let host = Host::its(&["cluster1", "cluster2"]);
    host.register("its1", "cluster1", "--singleton");
    host.register("its1", "cluster2", "");
    let forbidden = Forbidden::new();
    let token = bootstrap_token(&Wire::to(&host, "its1").admin());
    // Errors of commands that were given a token.
    let url = host.url("its1");
    let join = "clusteradm --context cluster1 --timeout 5 join --cluster-name c";
    for line in [
        format!("{join} --hub-token {token} --hub-apiserver https://127.0.0.1:1"),
        format!("{join} --hub-token {token} --hub-apiserver {url}x"),
        format!("{join} --hub-token {token}x --hub-apiserver {url}"),
        format!("{join} --hub-token {token} --hub-apiserver nonsense"),
        format!("{join} --hub-token {token} --hub-apiserver {url} --no-such-flag"),
        format!(
            "KUBECONFIG=/dev/null kubectl --server {url} --token {token}x --insecure-skip-tls-verify get pods"
        ),
    ] {
        let ran = host.run(&line);
        assert_ne!(ran.code, Some(0), "{ran}");
        forbidden.are_not_in(&ran.command.replace(&token, "TOKEN"), &ran.all());
    }
    host.run("clusteradm --context cluster2 unjoin --cluster-name cluster2")
        .ok();
    for space in ["its1", "cluster1", "cluster2"] {
        for (what, text) in everything_readable(&host, space) {
            forbidden.are_not_in(&what, &text);
        }
    }
    forbidden.are_not_in("the host's log", &host.log());
}
