//! The benchmarks with as little as it takes: that they measure, not what.

use crate::harness::Host;
use serde_json::Value;

/// The one measure whose name begins so.
fn value(json: &Value, start: &str) -> f64 {
    let measures = json["measures"].as_array().expect("measures");
    let is_it = |measure: &&Value| {
        let name = measure["name"].as_str().unwrap_or_default();
        name.starts_with(start)
    };
    let found: Vec<&Value> = measures.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "{start}: {json:#}");
    found[0]["value"].as_f64().expect("a number")
}

#[test]
fn a_small_benchmark_of_joins_measures_everything_once() {
    let host = Host::prepare();
    let json = host
        .run("hyades bench join --joins 1 --agents 3 --idle-seconds 0 --output json")
        .ok();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let value = |start: &str| value(&json, start);
    for start in [
        "agent start to Available, hub approves, p50",
        "agent start to Available, hub approves, p99",
        "joins by 3 agents at once",
        "one of them, from the start of all to Available",
        "its return to Available",
    ] {
        assert!(value(start) > 0.0, "{start}: {json:#}");
    }
    // A join is at least an inventory object, a request, its certificate, a mailbox and rights.
    assert!(value("writes on the ITS per join") >= 5.0, "{json:#}");
    // Three WECs may fit into memory that was given back meanwhile.
    assert!(value("host and hub per connected WEC") >= 0.0, "{json:#}");
    assert!(value("host and hub per registered WEC") >= 0.0, "{json:#}");
    // An agent that renewed just before it died has a whole lease left.
    assert!(value("an agent's death to Unknown") > 1.0, "{json:#}");
}

#[test]
fn a_small_benchmark_of_distribution_measures_everything_once() {
    let host = Host::prepare();
    let json = host
        .run("hyades bench distribute --objects 2 --wecs 3 --evaluated 20 --output json")
        .ok();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    for start in [
        "WDS object to WEC object, p50",
        "status on the WEC to status in the WDS, p99",
        "one of 100 objects changed, until written for 3 WECs",
        "works written, a policy new on 3 WECs",
        "from that policy to the last work",
        "memory of distribution",
    ] {
        assert!(value(&json, start) > 0.0, "{start}: {json:#}");
    }
    // One changed object costs one write for each WEC that has it.
    assert_eq!(value(&json, "works written for that"), 3.0, "{json:#}");
    assert!(
        value(&json, "processor time for 20 objects") >= 0.0,
        "{json:#}"
    );
}
