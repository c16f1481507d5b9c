//! Replays the traffic of upstream's agent and CLI, recorded against real API servers.
//!
//! ```text
//! tests/wire/*.jsonl ─▶ recording ─▶ replay ─▶ client ─▶ a whole space
//!                                      ▲                      │
//!                                      └──── events ◀─────────┘
//! ```
//!
//! Requests go in order, by the recorded users under their own rights, in the recorded encodings,
//! and with our uids and resourceVersions in the place of the recorded ones. What other programs
//! did in between is in the recordings as deeds, which the replay carries out. Status codes, content
//! types, bodies and events must be those of the real servers, except for [`DIFFERENT`].

mod client;
mod events;
mod recording;
mod replay;

use client::Client;
use hyades_api::crds;
use replay::Replay;
use serde_json::Value;

use crate::support::TestSpace;

/// Exchanges that are answered differently on purpose: recording, line in it, why.
const DIFFERENT: &[(&str, usize, &str)] = &[
    (
        "wec.jsonl",
        1,
        "no aggregated servers: no authority for requests that a proxy passes on",
    ),
    (
        "wec.jsonl",
        8,
        "a new definition's resources can be watched at once",
    ),
    (
        "wec.jsonl",
        9,
        "a new definition's resources can be watched at once",
    ),
    ("wec.jsonl", 11, "another server's build"),
];

async fn space(definitions: Vec<Value>) -> Client {
    let space = TestSpace::start().await;
    for definition in definitions {
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        space.must("POST", path, Some(&definition)).await;
        let one = format!("{path}/{name}");
        space
            .eventually("an established definition", &one, |answer| {
                let conditions = answer.body["status"]["conditions"].as_array();
                conditions.into_iter().flatten().any(|condition| {
                    condition["type"] == "Established" && condition["status"] == "True"
                })
            })
            .await;
    }
    Client::new(space)
}

async fn replayed(recording: &str, definitions: Vec<Value>) {
    let lines = recording::read(recording);
    let findings = Replay::new(space(definitions).await).run(lines).await;
    let rows: Vec<_> = DIFFERENT.iter().filter(|row| row.0 == recording).collect();
    println!(
        "{recording}: {} exchanges, {} of them different on purpose, {} protobuf bodies",
        findings.exchanges,
        rows.len(),
        findings.protobuf_bodies
    );
    let stale = rows.iter().filter(|row| {
        let found = &findings.differences;
        !found.iter().any(|(line, _)| *line == row.1)
    });
    let stale: Vec<_> = stale.collect();
    assert!(stale.is_empty(), "no longer different: {stale:?}");
    let unexpected: Vec<_> = findings
        .differences
        .iter()
        .filter(|found| !rows.iter().any(|row| row.1 == found.0))
        .map(|(_, why)| why.as_str())
        .collect();
    assert!(
        unexpected.is_empty(),
        "{} exchanges with {recording} differ:\n{}",
        unexpected.len(),
        unexpected.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_its_answers_upstreams_agent_and_clusteradm_as_a_real_api_server_does() {
    replayed("hub.jsonl", crds::hub()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wec_answers_upstreams_agent_as_a_real_api_server_does() {
    replayed("wec.jsonl", crds::managed()).await;
}
