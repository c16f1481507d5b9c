//! Built-in objects between JSON and Kubernetes protobuf.
//!
//! ```text
//!  "k8s\0" ─▶ Unknown{apiVersion, kind, raw} ─▶ type of the kind ─▶ fields by number ─▶ JSON
//! ```
//!
//! Messages carry no names: the [type table](crate::table) says which number is which field. Three
//! facts of Go's encoding matter:
//!
//! - Go writes every scalar that is no pointer, zero or not, and every struct that is no pointer,
//!   empty or not. Its JSON then leaves out zero scalars marked `omitempty`. Decoding does the same:
//!   a zero scalar is kept when the field is required or a pointer. An empty struct is kept.
//! - A struct embedded in another is a message of its own, though JSON shows its fields flat.
//! - A watch is a stream of frames, each a length of four bytes, big end first, and a bare
//!   `WatchEvent` message. Only the object inside carries the `k8s\0` envelope: the stream's framing
//!   already says what a frame is.

mod decode;
mod encode;
mod special;
#[cfg(test)]
mod tests;
mod wire;

use serde_json::Value;
use thiserror::Error;

use crate::kinds::Builtin;
use crate::kinds::builtin;

/// What every Kubernetes protobuf body starts with.
pub const MAGIC: &[u8; 4] = b"k8s\0";

/// How deeply messages may nest. The deepest that people write are schemas inside
/// CustomResourceDefinitions, some thirty levels; a level costs about a kilobyte of stack.
pub const MAX_NESTING: usize = 100;

/// How many values one body may hold: a body of 3 MiB, the API's limit, with a value every six
/// bytes. Two bytes of protobuf can make a value of a hundred bytes, so the body's size alone bounds
/// memory badly.
pub const MAX_VALUES: usize = 1 << 19;

/// Why a body is no protobuf of a built-in kind, or an object cannot be written as one.
#[derive(Debug, Error, PartialEq)]
pub enum ProtoError {
    /// The first four bytes are not [`MAGIC`].
    #[error("the body is not Kubernetes protobuf: it does not start with the bytes \"k8s\\0\"")]
    NoMagic,
    /// The envelope says the content is compressed or otherwise encoded.
    #[error("the protobuf body has the content encoding {0:?}; send it without one")]
    ContentEncoding(String),
    /// No built-in kind has this name. Custom resources are served as JSON only.
    #[error(
        "no protobuf form is known for kind {kind:?} of apiVersion {api_version:?}; use JSON for it"
    )]
    UnknownKind {
        /// The body's `apiVersion`.
        api_version: String,
        /// The body's `kind`.
        kind: String,
    },
    /// The bytes break the rules of protobuf, or of the type that they should be.
    #[error("the protobuf body is malformed at {path:?}: {problem}")]
    Malformed {
        /// The JSON path of the field; empty for the object itself.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The object has a value that its type does not allow.
    #[error("cannot write {path:?} as protobuf: expected {expected}, found {found}")]
    Mismatch {
        /// The JSON path of the field.
        path: String,
        /// What the type demands.
        expected: &'static str,
        /// What the object has.
        found: String,
    },
    /// Messages nest deeper than [`MAX_NESTING`].
    #[error("messages nest deeper than {MAX_NESTING} levels; flatten the object")]
    TooDeep,
    /// The body holds more than [`MAX_VALUES`] values.
    #[error("the body holds more than {MAX_VALUES} values; split the object")]
    TooManyValues,
}

impl ProtoError {
    /// The error, one field further out.
    fn within(mut self, field: &str) -> ProtoError {
        if let ProtoError::Malformed { path, .. } | ProtoError::Mismatch { path, .. } = &mut self {
            let joint = if path.is_empty() || path.starts_with('[') {
                ""
            } else {
                "."
            };
            *path = format!("{field}{joint}{path}");
        }
        self
    }
}

/// Decodes a body into the object that Go would write as JSON, `apiVersion` and `kind` included.
///
/// # Errors
///
/// Everything but a well-formed body of a built-in kind, list or meta kind. Fields with unknown
/// numbers are skipped.
pub fn decode(builtin: &Builtin, body: &[u8]) -> Result<Value, ProtoError> {
    decode::body(builtin, body, &mut decode::Budget::default())
}

/// Encodes an object, list or meta kind with its envelope.
///
/// # Errors
///
/// An object whose `apiVersion` and `kind` are not built in, or which has values that its type does
/// not allow. Unknown fields are left out.
pub fn encode(object: &Value) -> Result<Vec<u8>, ProtoError> {
    let mut body = Vec::new();
    encode::body(builtin(), object, &mut body)?;
    Ok(body)
}

/// Encodes one event of a watch as a complete frame, its length included.
///
/// `event_type` is `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`; the object of the last is
/// a `Status`.
///
/// # Errors
///
/// As [`encode`].
pub fn encode_watch_event(event_type: &str, object: &Value) -> Result<Vec<u8>, ProtoError> {
    let mut frame = vec![0; 4];
    encode::watch_event(builtin(), event_type, object, &mut frame)?;
    let length = u32::try_from(frame.len() - 4).map_err(|_| ProtoError::TooManyValues)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}
