//! What a WEC, or anybody else, may send without harming those who share the space with it.

use std::io::ErrorKind;
use std::io::Read as _;
use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use serde_json::json;

use crate::upstream::Its;
use crate::upstream::agent;
use crate::upstream::agent::Agent;
use crate::upstream::agent::REQUESTS;
use crate::upstream::agent::based_on;
use crate::upstream::agent::inventory_object;
use crate::upstream::agent::works;
use crate::upstream::identity;
use crate::wire::Answer;

/// Bytes in a body that no server of the API takes: its limit is 3 MiB.
const HUGE_BYTES: usize = 10 * 1024 * 1024;
/// How deep a document is nested that would end a careless parser.
const DEPTH: usize = 200_000;
/// Requests for certificates that one agent sends: more than any agent has reason to.
const REQUESTS_SENT: usize = 1_000;
/// Most memory that the host may have after all of it, in KiB: ten times what it has at rest.
const MEMORY_KIB_MAX: u64 = 600 * 1024;

/// Insists that the space answers everybody else as before.
#[track_caller]
pub fn stands(its: &Its, agent: &Agent) {
    agent.renew_lease().ok();
    its.admin.get("/readyz").ok();
    let log = its.host.log();
    assert!(!log.contains("panicked"), "{log}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", its.host.process_id()));
    let status = status.expect("the host runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let words = line.and_then(|line| line.split_whitespace().next());
    let memory: u64 = words.and_then(|word| word.parse().ok()).expect("a number");
    assert!(memory < MEMORY_KIB_MAX, "the host has {memory} KiB");
}

#[track_caller]
fn refused(answer: &Answer) {
    assert!((400..500).contains(&answer.code), "{answer:#?}");
    let message = answer.body["message"].as_str().unwrap_or_default();
    assert!(!message.is_empty(), "a refusal says why: {answer:#?}");
    assert!(message.len() < 64 * 1024, "a refusal stays short");
}

fn status_of(agent: &Agent) -> String {
    format!("{}/status", inventory_object(agent.cluster()))
}

#[test]
fn claims_of_ten_megabytes_are_refused_and_the_status_stays() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    let claim = json!({"name": "x", "value": "y".repeat(HUGE_BYTES)});
    let seen = agent.inventory_object();
    let patch = based_on(&seen, json!({"clusterClaims": [claim]}));
    let answer = agent.caller.merge(&status_of(&agent), &patch);
    refused(&answer);
    assert_eq!(answer.code, 413);
    let many: Vec<Value> = (0..20_000)
        .map(|number| json!({"name": format!("claim-{number}"), "value": "v".repeat(200)}))
        .collect();
    let patch = based_on(&agent.inventory_object(), json!({"clusterClaims": many}));
    refused(&agent.caller.merge(&status_of(&agent), &patch));
    assert_eq!(
        agent.inventory_object()["status"]["clusterClaims"],
        Value::Null
    );
    stands(&its, &agent);
}

#[test]
fn an_object_cannot_grow_without_end_by_small_patches() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    let mut refusal = None;
    for round in 0..40 {
        let mut capacity = serde_json::Map::new();
        for number in 0..1_000 {
            let name = format!("example.com/{round}-{number}-{}", "n".repeat(40));
            capacity.insert(name, json!("1"));
        }
        let answer = loop {
            let seen = agent.inventory_object();
            let patch = based_on(&seen, json!({"capacity": capacity}));
            let answer = agent.caller.merge(&status_of(&agent), &patch);
            if answer.code != 409 {
                break answer;
            }
        };
        if answer.code != 200 {
            refusal = Some(answer);
            break;
        }
    }
    let refusal = refusal.expect("there is a limit");
    refused(&refusal);
    stands(&its, &agent);
}

#[test]
fn documents_nested_without_end_are_refused_in_every_encoding() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    let nested = format!("{}1{}", "{\"a\":".repeat(DEPTH), "}".repeat(DEPTH));
    let path = status_of(&agent);
    for content_type in [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/apply-patch+yaml",
        "application/strategic-merge-patch+json",
    ] {
        let body = nested.clone().into_bytes();
        let answer = agent.caller.send("PATCH", &path, Some(content_type), body);
        refused(&answer);
    }
    // Protobuf: an envelope whose object is nested, by field 1 of each level.
    let mut body = Vec::new();
    for _ in 0..2_000 {
        let mut outer = vec![0x0a];
        let mut length = body.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).expect("seven bits") | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).expect("seven bits"));
        outer.extend_from_slice(&body);
        body = outer;
    }
    for prefix in [&b"k8s\0"[..], &b""[..]] {
        let body = [prefix, &body].concat();
        let answer = its
            .bootstrap
            .send("POST", REQUESTS, Some(crate::wire::PROTOBUF), body);
        refused(&answer);
    }
    stands(&its, &agent);
}

#[test]
fn a_thousand_requests_of_one_agent_are_no_harm_to_another() {
    let its = Its::start();
    let flooder = its.register("cluster1", "a");
    let other = its.register("cluster10", "a");
    let key = hyades_pki::Key::generate();
    let object = agent::request_object(&flooder.identity, &key);
    let answers: Vec<Answer> = flooder.caller.create_many(REQUESTS, &object, REQUESTS_SENT);
    assert!(answers.iter().all(|answer| answer.code < 500));
    let asked = agent::ask(&other.caller, &other.identity);
    agent::await_certificate(&its.wire, &other.caller, &other.identity, asked);
    stands(&its, &other);
    stands(&its, &flooder);
}

#[test]
fn labels_annotations_and_names_beyond_their_limits_are_refused() {
    let its = Its::start();
    let owner = its.register("cluster1", "a");
    let mut request =
        agent::request_object(&identity("cluster1", "a"), &hyades_pki::Key::generate());
    request["metadata"]["labels"]["x".repeat(400).as_str()] = json!("v");
    refused(&its.bootstrap.create(REQUESTS, &request));
    let mut request =
        agent::request_object(&identity("cluster1", "a"), &hyades_pki::Key::generate());
    request["metadata"]["labels"]["team"] = json!("x".repeat(10_000));
    refused(&its.bootstrap.create(REQUESTS, &request));
    let mut request =
        agent::request_object(&identity("cluster1", "a"), &hyades_pki::Key::generate());
    request["metadata"]["annotations"] = json!({"a": "x".repeat(300 * 1024)});
    refused(&its.bootstrap.create(REQUESTS, &request));
    for name in ["UPPER", "a.b", &"x".repeat(300), "..", "a/b"] {
        let object = json!({
            "apiVersion": "cluster.open-cluster-management.io/v1",
            "kind": "ManagedCluster",
            "metadata": {"name": name},
            "spec": {"hubAcceptsClient": false},
        });
        let answer = its.bootstrap.create(agent::INVENTORY, &object);
        assert!((400..500).contains(&answer.code), "{name}: {answer:#?}");
    }
    let selector = format!(
        "{}?labelSelector={}",
        works("cluster1"),
        "a%3Db,".repeat(5_000)
    );
    let answer = owner.caller.get(&selector);
    assert!((400..500).contains(&answer.code), "{}", answer.code);
    stands(&its, &owner);
}

#[test]
fn floods_of_headers_and_unfinished_requests_are_cut_off() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    let address = its.wire.server().strip_prefix("https://").expect("https");
    let address = address.split('/').next().expect("an address");
    // Connections that never say anything, and some that never speak TLS.
    let mut idle: Vec<TcpStream> = (0..200)
        .map(|_| TcpStream::connect(address).expect("connected"))
        .collect();
    for stream in idle.iter_mut().take(50) {
        stream.write_all(b"GET / HTTP/1.1\r\n").expect("written");
    }
    stands(&its, &agent);
    let mut first = idle.swap_remove(0);
    let patience = Some(Duration::from_secs(60));
    first.set_read_timeout(patience).expect("a time-out");
    let mut rest = Vec::new();
    // What is no TLS is refused at once: an alert, then the end.
    match first.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    assert!(rest.len() < 64, "an alert is short: {rest:?}");
    let huge = format!("Bearer {}", "x".repeat(512 * 1024));
    let sent = its.wire.with_token(&huge).try_get("/version");
    assert!(
        sent.is_err() || sent.is_ok_and(|answer| (400..500).contains(&answer.code)),
        "headers of half a megabyte are taken"
    );
    stands(&its, &agent);
}

#[test]
fn a_watcher_that_does_not_read_holds_nobody_up() {
    let its = Its::start();
    let slow = its.register("cluster1", "a");
    let other = its.register("cluster10", "a");
    let sleeping: Vec<_> = (0..20)
        .map(|_| slow.caller.watch(&works("cluster1")))
        .collect();
    let mut awake = slow.caller.watch(&works("cluster1"));
    awake.initial();
    let value = "v".repeat(100 * 1024);
    for round in 0..150 {
        let work = json!({
            "apiVersion": "work.open-cluster-management.io/v1",
            "kind": "ManifestWork",
            "metadata": {"name": format!("w{round}"), "namespace": "cluster1"},
            "spec": {"workload": {"manifests": [{
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "c", "namespace": "default"},
                "data": {"v": value},
            }]}},
        });
        its.admin.create(&works("cluster1"), &work).ok();
        let name = format!("w{round}");
        awake.until(|event| event.object["metadata"]["name"] == name.as_str());
    }
    stands(&its, &other);
    drop(sleeping);
    stands(&its, &slow);
}
