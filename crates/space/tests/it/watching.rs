//! Watches.

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;
use serde_json::json;
use tower::Service;

use crate::bare::TestSpace;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Reads events until there are `count`, for at most five seconds.
async fn events(space: &TestSpace, query: &str, count: usize) -> Vec<Value> {
    let request = http::Request::get(format!("{MAPS}?watch=true&{query}"))
        .body(http_body_util::Full::new(bytes::Bytes::new()))
        .unwrap();
    let Ok(response) = space.service().call(request).await;
    let mut body = response.into_body();
    let mut text = Vec::new();
    let reading = async {
        while text.iter().filter(|byte| **byte == b'\n').count() < count {
            let Some(frame) = body.frame().await else {
                break;
            };
            text.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await;
    String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn seen(events: &[Value]) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| {
            (
                text(&event["type"]),
                text(&event["object"]["metadata"]["name"]),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streaming_list_ends_its_present_state_with_a_bookmark() {
    let space = TestSpace::open().await;
    for name in ["a", "b"] {
        space.post(MAPS, &json!({"metadata": {"name": name}})).await;
    }
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let events = events(&space, query, 3).await;
    let expected = [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", "")];
    assert_eq!(
        seen(&events),
        expected.map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let end = &events[2]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"];
    assert_eq!(end, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_after_a_revision_arrive_once_and_in_order() {
    let space = TestSpace::open().await;
    let first = space
        .post(MAPS, &json!({"metadata": {"name": "a"}}))
        .await
        .json();
    let revision = first["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    for round in 0..5 {
        let patch = json!({"data": {"round": round.to_string()}});
        space.merge_patch(&format!("{MAPS}/a"), &patch).await;
    }
    space.delete(&format!("{MAPS}/a")).await;
    let events = events(&space, &format!("resourceVersion={revision}"), 6).await;
    let kinds: Vec<String> = seen(&events).into_iter().map(|it| it.0).collect();
    assert_eq!(
        kinds,
        [
            "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"
        ]
    );
    let revisions: Vec<u64> = events
        .iter()
        .map(|event| {
            event["object"]["metadata"]["resourceVersion"]
                .as_str()
                .unwrap()
        })
        .map(|text| text.parse().unwrap())
        .collect();
    assert!(
        revisions.is_sorted_by(|one, other| one < other),
        "{revisions:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_space_ends_its_watches() {
    let space = TestSpace::open().await;
    let request = http::Request::get(format!("{MAPS}?watch=true"))
        .body(http_body_util::Full::new(bytes::Bytes::new()))
        .unwrap();
    let Ok(response) = space.service().call(request).await;
    let reading = tokio::spawn(response.into_body().collect());
    space.space.stop().await;
    let ended = tokio::time::timeout(Duration::from_secs(5), reading).await;
    assert!(ended.is_ok(), "the watch must end with its space");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_of_one_name_hears_of_no_other() {
    let space = TestSpace::open().await;
    let first = space
        .post(MAPS, &json!({"metadata": {"name": "a"}}))
        .await
        .json();
    let revision = first["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned();
    space.post(MAPS, &json!({"metadata": {"name": "ab"}})).await;
    let patch = json!({"data": {"x": "y"}});
    space.merge_patch(&format!("{MAPS}/a"), &patch).await;
    for start in ["", &format!("&resourceVersion={revision}")] {
        let query = format!("fieldSelector=metadata.name%3Da&timeoutSeconds=1{start}");
        let events = events(&space, &query, 2).await;
        assert_eq!(seen(&events).len(), 1, "{events:?}");
        assert_eq!(seen(&events)[0].1, "a");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_one_revision_whatever_is_written_between_them() {
    let space = TestSpace::open().await;
    for number in 0..5 {
        let body = json!({"metadata": {"name": format!("m{number}")}});
        space.post(MAPS, &body).await;
    }
    let mut names = Vec::new();
    let mut next = String::new();
    loop {
        let page = space
            .get(&format!("{MAPS}?limit=2&continue={next}"))
            .await
            .json();
        for item in page["items"].as_array().unwrap() {
            names.push(item["metadata"]["name"].as_str().unwrap().to_owned());
        }
        space.delete(&format!("{MAPS}/m4")).await;
        let late = json!({"metadata": {"name": format!("late{}", names.len())}});
        space.post(MAPS, &late).await;
        match page["metadata"]["continue"].as_str() {
            Some(token) => next = token.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["m0", "m1", "m2", "m3", "m4"]);
}
