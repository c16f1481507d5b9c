//! Replays what a real API server was asked, and compares the answers.
//!
//! Names and versions that servers choose (uids, resourceVersions, generated names, times) are
//! translated or left out. Differences on purpose are listed in [`ALLOWED`], each with its reason.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use serde_json::json;

use crate::bare::Ask;
use crate::bare::Reply;
use crate::bare::TestSpace;

/// The sections, in the order in which they were recorded: they build on each other.
pub(crate) const SECTIONS: &[&str] = &[
    "discovery",
    "namespaces",
    "create-and-its-errors",
    "update",
    "patch",
    "server-side-apply",
    "list-selectors-paging-tables",
    "defaults",
    "delete",
    "custom-resources",
    "certificates",
    "watch",
];

/// Requests answered differently on purpose: section, numbers of the requests in it, why.
const ALLOWED: &[(&str, &[usize], &str)] = &[
    ("discovery", &[0, 9], "another server's version and checks"),
    (
        "discovery",
        &[1],
        "spaces have one address, which clients know",
    ),
    ("discovery", &[2], "autoscaling/v1 is not served"),
    (
        "discovery",
        &[14],
        "paths without resources have no schema here",
    ),
    ("discovery", &[15, 16], "the guard of this test has no keys"),
    (
        "create-and-its-errors",
        &[15],
        "another YAML writer quotes other strings",
    ),
    (
        "patch",
        &[10],
        "the shown document lists fields in another order",
    ),
    (
        "patch",
        &[27, 28],
        "managers of one second are listed in another order",
    ),
    (LISTS, &[13], "another revision"),
    (
        LISTS,
        &[14, 19, 20, 22, 25, 26, 36],
        "no controllers run in this test",
    ),
    (LISTS, &[35], "no controller counts replicas in this test"),
    (LISTS, &[34], "there are no components besides the space"),
    (
        LISTS,
        &[52, 53, 54, 60, 65, 66],
        "no bootstrap objects in this test",
    ),
    (
        "defaults",
        &[0],
        "tokens reach processes of a space as kubeconfigs, not as volumes",
    ),
    ("defaults", &[1], "another address of the service range"),
    (
        "defaults",
        &[5],
        "no controller needs the deprecated generation",
    ),
    ("delete", &[1], "shows a uid that no other answer tells"),
    ("delete", &[15], "no garbage collector runs in this test"),
    (
        "custom-resources",
        &[0, 1],
        "definitions are established at once, by the writer",
    ),
    (
        "custom-resources",
        &[27, 28, 29, 30, 31, 32, 33, 34, 35],
        "scale writes of custom resources have an owner too",
    ),
    ("certificates", &[3, 4, 12], "no signer runs in this test"),
    ("watch", &[3], "the bookmark's table row is empty"),
];

const LISTS: &str = "list-selectors-paging-tables";

/// Recorded names and the names they have here.
#[derive(Default)]
pub(crate) struct Translation {
    pub(crate) words: BTreeMap<String, String>,
    pub(crate) versions: BTreeMap<String, String>,
}

const VOLATILE: [&str; 7] = [
    "creationTimestamp",
    "deletionTimestamp",
    "time",
    "lastTransitionTime",
    "lastUpdateTime",
    "remainingItemCount",
    // Of table columns: ours are in our own words.
    "description",
];

impl Translation {
    /// Learns from an answer how its names translate.
    pub(crate) fn learn(&mut self, recorded: &Value, ours: &Value) {
        match (recorded, ours) {
            (Value::Object(recorded), Value::Object(ours)) => {
                for (key, value) in recorded {
                    let Some(other) = ours.get(key) else { continue };
                    match (key.as_str(), value.as_str(), other.as_str()) {
                        ("uid" | "continue", Some(from), Some(to)) => {
                            self.words.insert(from.to_owned(), to.to_owned());
                        }
                        ("resourceVersion", Some(from), Some(to)) => {
                            self.versions.insert(from.to_owned(), to.to_owned());
                        }
                        _ => self.learn(value, other),
                    }
                }
            }
            (Value::Array(recorded), Value::Array(ours)) => {
                for (value, other) in recorded.iter().zip(ours) {
                    self.learn(value, other);
                }
            }
            _ => {}
        }
    }

    fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.words {
            text = text.replace(from, to);
        }
        text
    }

    pub(crate) fn path(&self, path: &str) -> String {
        let mut path = self.text(path);
        for (from, to) in &self.versions {
            let (wanted, by) = (
                format!("resourceVersion={from}"),
                format!("resourceVersion={to}"),
            );
            let ends = path.ends_with(&wanted);
            if ends || path.contains(&format!("{wanted}&")) {
                return path.replace(&wanted, &by);
            }
        }
        if path.contains("timeoutSeconds=2") {
            path = path.replace("timeoutSeconds=2", "timeoutSeconds=1");
        }
        path
    }

    pub(crate) fn body(&self, value: &Value) -> Value {
        match value {
            Value::Object(map) => map
                .iter()
                .map(|(key, value)| (self.text(key), value))
                .map(|(key, value)| {
                    let version = value.as_str().and_then(|text| self.versions.get(text));
                    match (key.as_str(), version) {
                        ("resourceVersion", Some(version)) => (key, version.clone().into()),
                        _ => (key, self.body(value)),
                    }
                })
                .collect(),
            Value::Array(list) => list.iter().map(|value| self.body(value)).collect(),
            Value::String(text) => self.text(text).into(),
            other => other.clone(),
        }
    }
}

/// What is compared of an answer.
pub(crate) fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let is_status = map.get("kind") == Some(&json!("Status"));
            map.iter()
                .filter(|(key, _)| !VOLATILE.contains(&key.as_str()))
                .filter(|(key, _)| !(is_status && *key == "metadata"))
                .map(|(key, value)| {
                    let chosen = matches!(key.as_str(), "uid" | "resourceVersion" | "continue");
                    if chosen && value.is_string() {
                        return (key.clone(), "chosen".into());
                    }
                    (key.clone(), comparable(value))
                })
                .collect()
        }
        Value::Array(list) => {
            // Items of typed lists come without kind and apiVersion upstream, and with them here:
            // they are spliced from what is stored.
            list.iter()
                .map(|item| {
                    let mut item = comparable(item);
                    if let Some(map) = item.as_object_mut()
                        && map.contains_key("metadata")
                        && map.get("kind") != Some(&json!("PartialObjectMetadata"))
                    {
                        map.remove("kind");
                        map.remove("apiVersion");
                    }
                    item
                })
                .collect()
        }
        Value::String(text) if text.starts_with("gen-") => "gen-".into(),
        Value::String(text) if is_moment(text) => "moment".into(),
        other => other.clone(),
    }
}

/// An age (`7s`, `<unknown>`), or a time.
fn is_moment(text: &str) -> bool {
    let age = text.strip_suffix(['s', 'm', 'h', 'd']);
    age.is_some_and(|digits| digits.parse::<u32>().is_ok())
        || text.parse::<jiff::Timestamp>().is_ok()
}

/// The first difference, with its path.
pub(crate) fn difference(path: &str, recorded: &Value, ours: &Value) -> Option<String> {
    match (recorded, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            for key in keys {
                let (Some(x), Some(y)) = (a.get(key), b.get(key)) else {
                    let (x, y) = (a.get(key), b.get(key));
                    return Some(format!("{path}.{key}: recorded {x:?}, ours {y:?}"));
                };
                if let Some(found) = difference(&format!("{path}.{key}"), x, y) {
                    return Some(found);
                }
            }
            None
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(place, (x, y))| difference(&format!("{path}[{place}]"), x, y)),
        _ if recorded == ours => None,
        _ => Some(format!(
            "{path}: recorded {recorded}\n      ours     {ours}"
        )),
    }
}

pub(crate) fn records(section: &str) -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let text = std::fs::read_to_string(folder.join(format!("{section}.jsonl"))).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(crate) fn ask(record: &Value, translation: &Translation) -> Ask {
    let text = |field: &str| record[field].as_str().map(str::to_owned);
    let body = match &record["request"] {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::from(translation.text(text)),
        value => Bytes::from(serde_json::to_vec(&translation.body(value)).unwrap()),
    };
    Ask {
        method: text("method").unwrap(),
        path: translation.path(&text("path").unwrap()),
        accept: match text("accept").as_deref() {
            Some("Table") => Some("application/json;as=Table;v=v1;g=meta.k8s.io".to_owned()),
            _ => text("accept"),
        },
        content_type: text("content_type"),
        headers: Vec::new(),
        body,
    }
}

/// The answer as the record has it: a watch is the list of its events.
fn answer(reply: &Reply, record: &Value) -> Value {
    if !record["response"].is_array() {
        return reply.json();
    }
    String::from_utf8_lossy(&reply.bytes)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap_or(Value::Null))
        .collect()
}

pub(crate) fn judge(
    record: &Value,
    reply: &Reply,
    translation: &mut Translation,
) -> Option<String> {
    let mut ours = answer(reply, record);
    // Of one watch without an end, the first events were kept.
    if let (Some(ours), Some(kept)) = (ours.as_array_mut(), record["response"].as_array())
        && record["note"]
            .as_str()
            .is_some_and(|note| note.contains("events kept"))
    {
        ours.truncate(kept.len());
    }
    let recorded = &record["response"];
    translation.learn(recorded, &ours);
    if record["status"] != reply.code {
        return Some(format!(
            "status {} instead of {}: {ours}",
            reply.code, record["status"]
        ));
    }
    let warnings = record.get("warnings").cloned().unwrap_or_else(|| json!([]));
    if warnings != json!(reply.warnings) {
        return Some(format!(
            "warnings {:?} instead of {warnings}",
            reply.warnings
        ));
    }
    let recorded = translation.body(recorded);
    difference("", &comparable(&recorded), &comparable(&ours))
}

/// Requests that were sent before a section without being recorded.
async fn prepare(section: &str, space: &TestSpace) {
    if section == "list-selectors-paging-tables" {
        for place in 0..5 {
            let body = json!({"metadata": {
                "name": format!("l{place}"), "labels": {"i": place.to_string(), "g": "l"},
            }});
            space.post("/api/v1/namespaces/o1/configmaps", &body).await;
        }
    }
}

/// `w1` is created, patched twice, relabelled and deleted before its watch is read.
async fn prepare_watch(space: &TestSpace, translation: &mut Translation) {
    let collection = "/api/v1/namespaces/o1/configmaps";
    let object = format!("{collection}/w1");
    let revision = space.get(collection).await.json()["metadata"]["resourceVersion"].clone();
    let revision = revision.as_str().unwrap_or_default().to_owned();
    translation.versions.insert("391".to_owned(), revision);
    let body = json!({"metadata": {"name": "w1", "labels": {"w": "1"}}});
    space.post(collection, &body).await;
    space
        .merge_patch(&object, &json!({"data": {"a": "b"}}))
        .await;
    let unlabelled = json!({"metadata": {"labels": null}});
    space.merge_patch(&object, &unlabelled).await;
    let relabelled = json!({"metadata": {"labels": {"w": "2"}}});
    space.merge_patch(&object, &relabelled).await;
    space.delete(&object).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_a_real_api_server() {
    let space = TestSpace::open().await;
    let mut translation = Translation::default();
    let (mut passed, mut failed, mut allowed) = (0, Vec::new(), 0);
    for section in SECTIONS {
        prepare(section, &space).await;
        for (place, record) in records(section).iter().enumerate() {
            let by_admin = record.get("as").is_none_or(Value::is_null);
            if record.get("path").is_none() || record.get("headers").is_some() || !by_admin {
                continue;
            }
            let path = record["path"].as_str().unwrap();
            if path.ends_with("/c2/approval") && record["status"] == 200 {
                let mut request = records(section)[0]["request"].clone();
                request["metadata"]["name"] = "c2".into();
                let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
                let ours = space.post(path, &request).await.json();
                translation.learn(&record["request"], &ours);
            }
            if path.contains("labelSelector=w&resourceVersion") {
                prepare_watch(&space, &mut translation).await;
            }
            let ask = ask(record, &translation);
            let title = format!("{section} {place}: {} {path}", ask.method);
            let endless = path.contains("watch=true") && !path.contains("timeoutSeconds");
            let ask = if endless {
                Ask {
                    path: format!("{}&timeoutSeconds=1", ask.path),
                    ..ask
                }
            } else {
                ask
            };
            let reply = space.ask(ask).await;
            let why = judge(record, &reply, &mut translation);
            let excused = ALLOWED
                .iter()
                .any(|it| it.0 == *section && it.1.contains(&place));
            match why {
                None => passed += 1,
                Some(_) if excused => allowed += 1,
                Some(why) => failed.push(format!("{title}\n    {why}")),
            }
        }
    }
    println!("{passed} answers as recorded, {allowed} different on purpose");
    assert!(
        failed.is_empty(),
        "{} differ:\n{}",
        failed.len(),
        failed.join("\n")
    );
}
