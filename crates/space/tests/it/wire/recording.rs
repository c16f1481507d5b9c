//! The recordings, line by line.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

/// One line of a recording.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Line {
    /// What was done next, in words.
    Step {
        step: String,
    },
    /// A write of somebody whose requests were not recorded; the replay carries it out.
    Deed(Deed),
    Exchange(Exchange),
}

/// A request that has to be repeated for the following exchanges to make sense.
#[derive(Debug, Deserialize)]
pub(crate) struct Deed {
    /// The program.
    pub(crate) done_by: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) request: Option<Value>,
    /// The resourceVersion that the object had after it in the recording.
    pub(crate) version: Option<String>,
    /// The uid that the object had in the recording.
    pub(crate) uid: Option<String>,
}

/// A request and what the real API server answered.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchange {
    /// The place in the complete recording: names the exchange.
    pub(crate) line: usize,
    #[serde(rename = "as")]
    pub(crate) user: String,
    /// The program, as its `User-Agent`.
    pub(crate) agent: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) content_type: Option<String>,
    pub(crate) accept: Option<String>,
    pub(crate) request: Option<Value>,
    pub(crate) status: u16,
    pub(crate) response_type: Option<String>,
    pub(crate) response: Value,
}

impl Exchange {
    /// The first bytes of a watch's answer, if it is one.
    pub(crate) fn watched(&self) -> Option<&Value> {
        self.response.get("watch")
    }

    /// Whether the recording keeps the status code only: the answer was too long, or carried a key.
    pub(crate) fn is_cut(&self) -> bool {
        self.response.get("cut").is_some()
    }

    /// The resourceVersion in an answer that was cut.
    pub(crate) fn cut_version(&self) -> Option<&str> {
        self.response["version"].as_str()
    }

    pub(crate) fn title(&self) -> String {
        format!("line {}: {} {}", self.line, self.method, self.path)
    }
}

/// The protobuf body that a recorded value is, if it is one.
pub(crate) fn protobuf(value: &Value) -> Option<Vec<u8>> {
    let text = value.get("protobuf_base64")?.as_str()?;
    Some(STANDARD.decode(text).expect("recorded bodies are base64"))
}

pub(crate) fn read(name: &str) -> Vec<Line> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let text = std::fs::read_to_string(folder.join(name)).expect("a recording");
    text.lines()
        .map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}: {error}: {line}"))
        })
        .collect()
}
