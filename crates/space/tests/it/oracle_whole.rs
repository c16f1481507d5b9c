//! Replays the recorded requests whose answers need access control and controllers.
//!
//! The sections before them are sent too, because all build on each other; [`crate::oracle`] judges
//! those, against a space without either.

use std::time::Duration;

use bytes::Bytes;
use hyades_space::SpaceService;
use hyades_space::identity::UserInfo;
use serde_json::Value;
use serde_json::json;

use crate::alike::make_alike;
use crate::bare::Ask;
use crate::bare::ask_service;
use crate::oracle::Translation;
use crate::oracle::ask;
use crate::oracle::judge;
use crate::oracle::records;
use crate::support::TestSpace;

/// Every section but the watches, in the order in which they were recorded.
const SECTIONS: &[&str] = &[
    "namespaces",
    "create-and-its-errors",
    "update",
    "patch",
    "server-side-apply",
    LISTS,
    "defaults",
    "delete",
    "custom-resources",
    "access",
    "certificates",
    "admission",
    "namespace-deletion",
];

const LISTS: &str = "list-selectors-paging-tables";

/// The sections that are judged here.
const JUDGED: &[&str] = &[
    "delete",
    "access",
    "certificates",
    "admission",
    "namespace-deletion",
];

/// Requests answered differently on purpose: section, place in it, why.
const ALLOWED: &[(&str, usize, &str)] = &[
    ("access", 5, "another server's build"),
    ("admission", 4, "quotas are kept, not counted"),
    ("admission", 6, "quotas are kept, not enforced"),
];

/// Requests whose answers tell how fast a controller was: they are sent, and not judged.
const RACES: &[(&str, usize, &str)] = &[
    ("delete", 14, "the owner goes with its last dependent"),
    (
        "namespace-deletion",
        2,
        "conditions come with the first pass",
    ),
    (
        "namespace-deletion",
        4,
        "the contents are deleted in the first pass",
    ),
];

/// How long a controller may take to bring about what was recorded.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a test looks whether it has.
const PAUSE: Duration = Duration::from_millis(20);

const DEFAULT_TOKEN: &str = "/api/v1/namespaces/o1/serviceaccounts/default/token";

struct Replay {
    space: TestSpace,
    names: Translation,
    /// The token of `o1`'s default account, once one was asked for.
    token: String,
}

impl Replay {
    /// The space as the recorded user sees it.
    fn service(&self, record: &Value) -> SpaceService {
        let impersonated = record["headers"]["Impersonate-User"].as_str();
        let name = impersonated.or(record["as"].as_str()).unwrap_or("admin");
        let groups: &[&str] = match name {
            "anonymous" | "bearer" => return self.space.space.service(),
            "admin" => &["system:masters", "system:authenticated"],
            _ => &["system:authenticated"],
        };
        let mut user = UserInfo {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..UserInfo::default()
        };
        if name == "admin" {
            let credential =
                "X509SHA256=d647d92ca6c48419c1993def42442cd967f1dca1c9eed334e551f1a1bececbd8";
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            user.extra.insert(key, vec![credential.to_owned()]);
        }
        self.space.space.service_as(user)
    }

    /// Sends a recorded request once.
    async fn attempt(&mut self, record: &Value) -> Option<String> {
        let mut ask = ask(record, &self.names);
        if record["as"] == "bearer" {
            let token = format!("Bearer {}", self.token);
            ask.headers.push(("authorization".to_owned(), token));
        }
        let mut reply = ask_service(self.service(record), ask).await;
        if let Some(token) = reply.json()["status"]["token"].as_str() {
            token.clone_into(&mut self.token);
        }
        let mut record = record.clone();
        make_alike(&mut record["response"]);
        if reply.content_type == "application/json" {
            let mut ours = reply.json();
            make_alike(&mut ours);
            reply.bytes = ours.to_string().into();
        }
        judge(&record, &reply, &mut self.names)
    }

    /// Sends a recorded request; reads are repeated until controllers have done their part.
    async fn replay(&mut self, record: &Value) -> Option<String> {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let verdict = self.attempt(record).await;
            let is_read = record["method"] == "GET";
            if verdict.is_none() || !is_read || tokio::time::Instant::now() >= end {
                return verdict;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn post(&mut self, path: &str, body: &Value) -> Value {
        self.space.must("POST", path, Some(body)).await
    }

    /// Sends what was sent before a section without being recorded.
    async fn prepare(&mut self, section: &str) {
        if section != LISTS {
            return;
        }
        for place in 0..5 {
            let labels = json!({"i": place.to_string(), "g": "l"});
            let body = json!({"metadata": {"name": format!("l{place}"), "labels": labels}});
            self.post("/api/v1/namespaces/o1/configmaps", &body).await;
        }
    }

    /// The request `c2` is a copy of `c1`, made before its approval was recorded.
    async fn prepare_approval(&mut self, record: &Value) {
        let mut request = records("certificates")[0]["request"].clone();
        request["metadata"]["name"] = "c2".into();
        let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
        let create = Ask {
            method: "POST".to_owned(),
            path: path.to_owned(),
            content_type: Some("application/json".to_owned()),
            body: Bytes::from(request.to_string()),
            ..Ask::default()
        };
        let ours = ask_service(self.service(&json!({})), create).await.json();
        self.names.learn(&record["request"], &ours);
    }
}

/// Completes records of which only the answer was kept.
fn completed(record: &Value, token: &str) -> Value {
    let mut record = record.clone();
    let (path, request) = match record["note"].as_str() {
        Some("TokenRequest") => (
            DEFAULT_TOKEN,
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
                "spec": {"expirationSeconds": 3600},
            }),
        ),
        Some("TokenReview of it") => (
            "/apis/authentication.k8s.io/v1/tokenreviews",
            json!({
                "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "spec": {"token": token},
            }),
        ),
        _ => return record,
    };
    record["method"] = "POST".into();
    record["path"] = path.into();
    record["request"] = request;
    record
}

#[tokio::test(flavor = "multi_thread")]
async fn access_and_controllers_are_those_of_a_real_api_server() {
    let mut replay = Replay {
        space: TestSpace::start().await,
        names: Translation::default(),
        token: "junk".to_owned(),
    };
    let (mut count, mut failed) = (0, Vec::new());
    for section in SECTIONS {
        replay.prepare(section).await;
        for (place, record) in records(section).iter().enumerate() {
            let record = completed(record, &replay.token);
            let Some(path) = record["path"].as_str() else {
                continue;
            };
            if path.ends_with("/c2/approval") && record["status"] == 200 {
                replay.prepare_approval(&record).await;
            }
            let races = RACES.iter().any(|row| row.0 == *section && row.1 == place);
            if races || !JUDGED.contains(section) {
                let _ = replay.attempt(&record).await;
                continue;
            }
            count += 1;
            let excused = ALLOWED
                .iter()
                .any(|row| row.0 == *section && row.1 == place);
            let verdict = match excused {
                true => replay.attempt(&record).await,
                false => replay.replay(&record).await,
            };
            match verdict {
                None if excused => failed.push(format!("{section} {place} is as recorded now")),
                Some(why) if !excused => {
                    let method = record["method"].as_str().unwrap_or_default();
                    failed.push(format!("{section} {place}: {method} {path}\n    {why}"));
                }
                _ => {}
            }
        }
    }
    println!(
        "{count} requests, {} answered differently on purpose",
        ALLOWED.len()
    );
    assert!(
        failed.is_empty(),
        "{} differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
