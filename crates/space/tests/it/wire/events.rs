//! Watches: their frames, JSON and protobuf, recorded and ours.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyades_schema::kinds::builtin;
use hyades_schema::proto;
use hyades_space::Body;
use serde_json::Value;

/// How long a test waits for one event: it was caused before the wait began.
const PATIENCE: Duration = Duration::from_secs(10);

/// One event of a watch.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) kind: String,
    /// `None`: the recording was cut within it.
    pub(crate) object: Option<Value>,
}

impl Event {
    /// Whether it is the bookmark that ends the initial events.
    pub(crate) fn ends_initial(&self) -> bool {
        self.object.as_ref().is_some_and(|object| {
            object["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true"
        })
    }
}

/// The events of recorded first bytes; the last may be cut.
pub(crate) fn recorded(first: &Value) -> Vec<Event> {
    if let Some(bytes) = super::recording::protobuf(first) {
        return recorded_frames(&bytes);
    }
    let text = first.as_str().unwrap_or_default();
    text.lines()
        .filter_map(|line| match serde_json::from_str::<Value>(line) {
            Ok(event) => Some(from_json(&event)),
            Err(_) => {
                let kind = line.strip_prefix("{\"type\":\"")?.split('"').next()?;
                Some(Event {
                    kind: kind.to_owned(),
                    object: None,
                })
            }
        })
        .collect()
}

fn recorded_frames(mut bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((event, rest)) = frame(bytes) {
        events.push(event);
        bytes = rest;
    }
    if bytes.len() > 6 {
        // The length, the tag and the length of the type come first.
        let kind = bytes[6..].iter().take(usize::from(bytes[5]));
        events.push(Event {
            kind: kind.map(|byte| char::from(*byte)).collect(),
            object: None,
        });
    }
    events
}

fn from_json(event: &Value) -> Event {
    Event {
        kind: event["type"].as_str().unwrap_or_default().to_owned(),
        object: Some(event["object"].clone()),
    }
}

/// The first complete protobuf frame and what follows it.
fn frame(bytes: &[u8]) -> Option<(Event, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (message, rest) = rest.split_at_checked(length)?;
    let kind = field(message, 1).expect("events have a type");
    let raw = field(message, 2).expect("events have an object");
    let object = field(raw, 1).expect("raw extensions have bytes");
    let object = proto::decode(builtin(), object).expect("events carry built-in objects");
    let event = Event {
        kind: String::from_utf8_lossy(kind).into_owned(),
        object: Some(object),
    };
    Some((event, rest))
}

/// The bytes of a length-delimited field; messages of watch events have no other fields.
fn field(mut message: &[u8], number: u8) -> Option<&[u8]> {
    while let Some((tag, rest)) = message.split_first() {
        let (mut length, mut shift, mut rest) = (0, 0, rest);
        loop {
            let (byte, after) = rest.split_first()?;
            length |= usize::from(byte & 0x7f) << shift;
            (shift, rest) = (shift + 7, after);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (content, after) = rest.split_at_checked(length)?;
        if tag >> 3 == number {
            return Some(content);
        }
        message = after;
    }
    None
}

/// An open watch of ours.
pub(crate) struct Watch {
    body: Body,
    is_protobuf: bool,
    buffer: Vec<u8>,
}

impl Watch {
    pub(crate) fn new(body: Body, is_protobuf: bool) -> Watch {
        Watch {
            body,
            is_protobuf,
            buffer: Vec::new(),
        }
    }

    /// The next event, or why there is none.
    pub(crate) async fn next(&mut self) -> Result<Event, String> {
        loop {
            if let Some(event) = self.buffered() {
                return Ok(event);
            }
            let bytes = self.receive().await?;
            self.buffer.extend_from_slice(&bytes);
        }
    }

    async fn receive(&mut self) -> Result<Bytes, String> {
        let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await;
        let frame = frame.map_err(|_| "no event came".to_owned())?;
        let frame = frame.ok_or_else(|| "the watch ended".to_owned())?;
        let frame = frame.map_err(|error| format!("the watch failed: {error}"))?;
        Ok(frame.into_data().unwrap_or_default())
    }

    fn buffered(&mut self) -> Option<Event> {
        if self.is_protobuf {
            let (event, rest) = frame(&self.buffer)?;
            self.buffer = rest.to_vec();
            return Some(event);
        }
        let end = self.buffer.iter().position(|byte| *byte == b'\n')?;
        let line: Vec<u8> = self.buffer.drain(..=end).collect();
        let event = serde_json::from_slice::<Value>(&line).expect("events are JSON, one a line");
        Some(from_json(&event))
    }
}
