//! Sends a recording's requests in order and judges the answers.

use std::time::Duration;

use bytes::Bytes;
use hyades_schema::kinds::builtin;
use hyades_schema::proto;
use serde_json::Value;

use super::client::Answer;
use super::client::Ask;
use super::client::Client;
use super::client::Head;
use super::client::User;
use super::events;
use super::events::Event;
use super::events::Watch;
use super::recording;
use super::recording::Deed;
use super::recording::Exchange;
use super::recording::Line;
use crate::alike::make_alike;
use crate::oracle::Translation;
use crate::oracle::comparable;
use crate::oracle::difference;

/// How long a watch may take to deliver what was written before: bookmarks keep it busy for ever.
const PATIENCE: Duration = Duration::from_secs(10);

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What a replay found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// How many exchanges were replayed.
    pub(crate) exchanges: usize,
    /// How many bodies were read and written as protobuf.
    pub(crate) protobuf_bodies: usize,
    /// Line and description of each that did not.
    pub(crate) differences: Vec<(usize, String)>,
}

/// A watch that is open, and what it has still to deliver.
struct Open {
    line: usize,
    title: String,
    watch: Watch,
    rest: Vec<Event>,
}

/// A replay under way.
pub(crate) struct Replay {
    client: Client,
    names: Translation,
    watches: Vec<Open>,
    findings: Findings,
}

impl Replay {
    pub(crate) fn new(client: Client) -> Replay {
        Replay {
            client,
            names: Translation::default(),
            watches: Vec::new(),
            findings: Findings::default(),
        }
    }

    /// Sends everything, then reads what the watches brought.
    pub(crate) async fn run(mut self, lines: Vec<Line>) -> Findings {
        let mut step = "the agent starts".to_owned();
        for line in lines {
            match line {
                Line::Step { step: next } => step = next,
                Line::Deed(deed) => self.carry_out(&deed, &step).await,
                Line::Exchange(exchange) => {
                    self.findings.exchanges += 1;
                    let verdict = match exchange.watched() {
                        Some(first) => self.open(&exchange, events::recorded(first)).await,
                        None => self.repeat(&exchange).await,
                    };
                    let title = exchange.title();
                    self.note(exchange.line, &format!("{title} ({step})"), verdict);
                }
            }
        }
        for mut open in std::mem::take(&mut self.watches) {
            let finished = tokio::time::timeout(PATIENCE, self.finish(&mut open)).await;
            let verdict = finished.unwrap_or_else(|_| Err("only bookmarks came".to_owned()));
            self.note(open.line, &open.title, verdict);
        }
        self.findings
    }

    fn note(&mut self, line: usize, title: &str, verdict: Result<(), String>) {
        if let Err(why) = verdict {
            let why = format!("{title}\n    {why}");
            self.findings.differences.push((line, why));
        }
    }

    /// Carries out what somebody did whose requests were not recorded.
    async fn carry_out(&mut self, deed: &Deed, step: &str) {
        let body = deed.request.as_ref().map(|body| self.names.body(body));
        let path = self.names.path(&deed.path);
        let agent = format!("{}/v0.0.0", deed.done_by);
        let ask = Ask {
            user: User::Admin,
            agent: &agent,
            method: &deed.method,
            path: &path,
            accept: Some("application/json"),
            content_type: deed.content_type.as_deref(),
            body: body.map_or_else(Bytes::new, |body| body.to_string().into()),
        };
        let answer = self.client.send(ask).await.whole().await;
        let text = String::from_utf8_lossy(&answer.bytes);
        assert!(answer.code < 300, "{} {path} ({step}): {text}", deed.method);
        let object: Value = serde_json::from_str(&text).expect("answers are JSON");
        let chosen = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
        if let (Some(recorded), Some(ours)) = (&deed.version, chosen("resourceVersion")) {
            self.names.versions.insert(recorded.clone(), ours);
        }
        if let (Some(recorded), Some(ours)) = (&deed.uid, chosen("uid")) {
            self.names.words.insert(recorded.clone(), ours);
        }
    }

    /// Sends a recorded request and compares the answer.
    async fn repeat(&mut self, exchange: &Exchange) -> Result<(), String> {
        let body = self.body(exchange)?;
        let head = self.send(exchange, body).await;
        if head.code != exchange.status {
            return Err(other_status(exchange, head).await);
        }
        let answer = head.whole().await;
        same_type(exchange, &answer.content_type)?;
        let ours = self.read(&answer)?;
        let recorded = match recording::protobuf(&exchange.response) {
            Some(bytes) => self.round_trip(&bytes)?,
            None => exchange.response.clone(),
        };
        if answer.content_type == PROTOBUF {
            self.same_as_json(exchange, &ours).await?;
        }
        if exchange.is_cut() {
            let version = ours["metadata"]["resourceVersion"].as_str();
            if let (Some(recorded), Some(ours)) = (exchange.cut_version(), version) {
                self.names
                    .versions
                    .insert(recorded.to_owned(), ours.to_owned());
            }
            return Ok(());
        }
        self.learn(&recorded, &ours);
        self.compare(&recorded, &ours)
    }

    async fn send(&mut self, exchange: &Exchange, body: Bytes) -> Head {
        let path = self.names.path(&exchange.path);
        self.client
            .send(Ask {
                user: User::recorded(&exchange.user),
                agent: &exchange.agent,
                method: &exchange.method,
                path: &path,
                accept: exchange.accept.as_deref(),
                content_type: exchange.content_type.as_deref(),
                body,
            })
            .await
    }

    /// The recorded body with our names in it.
    fn body(&mut self, exchange: &Exchange) -> Result<Bytes, String> {
        let Some(request) = &exchange.request else {
            return Ok(Bytes::new());
        };
        let object = match recording::protobuf(request) {
            Some(bytes) => {
                let object = self.round_trip(&bytes)?;
                if self.names.body(&object) == object {
                    return Ok(bytes.into());
                }
                object
            }
            None => match request.get("as_protobuf") {
                Some(object) => object.clone(),
                None => return Ok(self.names.body(request).to_string().into()),
            },
        };
        let object = self.names.body(&object);
        let bytes = proto::encode(&object).map_err(|error| format!("encoding: {error}"))?;
        Ok(bytes.into())
    }

    /// Reads a recorded body, writes it, reads that, and expects the same twice.
    fn round_trip(&mut self, bytes: &[u8]) -> Result<Value, String> {
        self.findings.protobuf_bodies += 1;
        let object = proto::decode(builtin(), bytes)
            .map_err(|error| format!("reading a recorded body: {error}"))?;
        let written =
            proto::encode(&object).map_err(|error| format!("writing a recorded body: {error}"))?;
        let again = proto::decode(builtin(), &written)
            .map_err(|error| format!("reading a written body: {error}"))?;
        match difference("", &object, &again) {
            None => Ok(object),
            Some(found) => Err(format!("a protobuf body changed in a round trip: {found}")),
        }
    }

    fn read(&mut self, answer: &Answer) -> Result<Value, String> {
        if answer.content_type == PROTOBUF {
            self.findings.protobuf_bodies += 1;
            return proto::decode(builtin(), &answer.bytes)
                .map_err(|error| format!("our protobuf: {error}"));
        }
        let text = String::from_utf8_lossy(&answer.bytes);
        Ok(serde_json::from_str(&text).unwrap_or_else(|_| Value::from(&*text)))
    }

    /// Whether an object that came as protobuf is the one that JSON shows.
    async fn same_as_json(&mut self, exchange: &Exchange, ours: &Value) -> Result<(), String> {
        if exchange.method != "GET" || exchange.status != 200 {
            return Ok(());
        }
        let mut json = self.client.look(&self.names.path(&exchange.path)).await;
        let mut ours = ours.clone();
        for item in json
            .get_mut("items")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            // Items of protobuf lists have no envelope.
            if let Some(item) = item.as_object_mut() {
                item.remove("kind");
                item.remove("apiVersion");
            }
        }
        if json.get("items").is_some() {
            // Controllers may have written something else between the two.
            for list in [&mut json, &mut ours] {
                list["metadata"]["resourceVersion"] = Value::Null;
            }
        }
        match difference("", &json, &ours) {
            None => Ok(()),
            Some(found) => Err(format!("JSON (\"recorded\") and protobuf differ: {found}")),
        }
    }

    fn learn(&mut self, recorded: &Value, ours: &Value) {
        self.names.learn(recorded, ours);
        let name = |object: &Value| object["metadata"]["name"].as_str().map(str::to_owned);
        if recorded["metadata"].get("generateName").is_some()
            && let (Some(from), Some(to)) = (name(recorded), name(ours))
        {
            self.names.words.insert(from, to);
        }
    }

    fn compare(&self, recorded: &Value, ours: &Value) -> Result<(), String> {
        let prepared = |value: &Value| {
            let mut value = value.clone();
            make_alike(&mut value);
            comparable(&value)
        };
        match difference("", &prepared(&self.names.body(recorded)), &prepared(ours)) {
            None => Ok(()),
            Some(found) => Err(found),
        }
    }

    /// Opens a watch and reads its initial events.
    async fn open(&mut self, exchange: &Exchange, recorded: Vec<Event>) -> Result<(), String> {
        let head = self.send(exchange, Bytes::new()).await;
        if head.code != exchange.status {
            return Err(other_status(exchange, head).await);
        }
        same_type(exchange, &head.content_type)?;
        let is_protobuf = head.content_type.starts_with(PROTOBUF);
        let mut watch = Watch::new(head.body, is_protobuf);
        let initial = recorded.iter().position(Event::ends_initial);
        let initial = initial.map_or_else(
            || usize::from(!recorded.is_empty()),
            |position| position + 1,
        );
        for expected in &recorded[..initial] {
            let event = watch.next().await?;
            self.same_event(expected, &event)?;
        }
        let rest = recorded[initial..].iter();
        let later = rest.filter(|event| event.kind != "BOOKMARK").take(1);
        self.watches.push(Open {
            line: exchange.line,
            title: format!("{} (afterwards)", exchange.title()),
            watch,
            rest: later.cloned().collect(),
        });
        Ok(())
    }

    /// Reads the first event after the initial ones, if the recording has one.
    async fn finish(&mut self, open: &mut Open) -> Result<(), String> {
        for expected in &open.rest {
            let mut event = open.watch.next().await?;
            while event.kind == "BOOKMARK" {
                event = open.watch.next().await?;
            }
            self.same_event(expected, &event)?;
        }
        Ok(())
    }

    fn same_event(&mut self, expected: &Event, event: &Event) -> Result<(), String> {
        if expected.kind != event.kind {
            return Err(format!(
                "event {} instead of {}: {:?}",
                event.kind, expected.kind, event.object
            ));
        }
        match (&expected.object, &event.object) {
            // The rest of a bookmark is the empty object of its type: nobody reads it.
            (Some(recorded), Some(ours)) if event.kind == "BOOKMARK" => {
                self.compare(&recorded["metadata"], &ours["metadata"])
            }
            (Some(recorded), Some(ours)) => {
                self.learn(recorded, ours);
                self.compare(recorded, ours)
            }
            _ => Ok(()),
        }
    }
}

async fn other_status(exchange: &Exchange, head: Head) -> String {
    let (ours, recorded) = (head.code, exchange.status);
    // A watch that succeeds has no end.
    let text = match ours {
        200 => "a success".to_owned(),
        _ => String::from_utf8_lossy(&head.whole().await.bytes).into_owned(),
    };
    format!("status {ours} instead of {recorded}: {text}")
}

fn same_type(exchange: &Exchange, ours: &str) -> Result<(), String> {
    match &exchange.response_type {
        Some(recorded) if recorded != ours => {
            Err(format!("content type {ours} instead of {recorded}"))
        }
        _ => Ok(()),
    }
}
