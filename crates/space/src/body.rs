//! Request bodies: bounded reading, and decoding into objects.

use bytes::Bytes;
use bytes::BytesMut;
use http_body_util::BodyExt;
use serde_json::Value;

use crate::engines;
use crate::negotiate::JSON;
use crate::negotiate::PROTOBUF;
use crate::negotiate::YAML;
use crate::registry::Resource;
use crate::status::Status;

/// The largest request body, as upstream limits it: 3 MiB. It holds the largest object that etcd
/// takes (1.5 MiB) in its most verbose encoding.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How much of a body beyond the limit is received and thrown away, so that its sender reads the
/// refusal: one that is still writing when the connection closes sees a broken connection instead.
/// It covers the largest bodies that people send by mistake; a body without end is cut off.
const DRAINED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a client may take to send its body. At 3 MiB that is a line of 400 kbit/s.
const BODY_SECONDS_MAX: u64 = 60;

/// Reads a body to its end.
///
/// # Errors
/// 413 beyond [`BODY_BYTES_MAX`]; 400 when the body breaks off.
pub(crate) async fn read<B>(mut body: B) -> Result<Bytes, Status>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let reading = async {
        let mut bytes = BytesMut::new();
        let mut surplus = 0;
        while let Some(frame) = body.frame().await {
            let broken = "the request body broke off before its end; send it again";
            let frame = frame.map_err(|_| Status::bad_request(broken))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if surplus == 0 && bytes.len() + data.len() <= BODY_BYTES_MAX {
                bytes.extend_from_slice(&data);
                continue;
            }
            bytes.clear();
            surplus += data.len();
            if surplus > DRAINED_BYTES_MAX {
                break;
            }
        }
        if surplus > 0 {
            return Err(Status::too_large(BODY_BYTES_MAX));
        }
        Ok(bytes.freeze())
    };
    let limit = std::time::Duration::from_secs(BODY_SECONDS_MAX);
    tokio::time::timeout(limit, reading)
        .await
        .unwrap_or_else(|_| {
            Err(Status::bad_request(format!(
                "the request body did not arrive within {BODY_SECONDS_MAX} seconds"
            )))
        })
}

/// A decoded body.
#[derive(Debug)]
pub(crate) struct Decoded {
    /// The object.
    pub(crate) value: Value,
    /// Strict decoding errors found so far: repeated fields.
    pub(crate) duplicates: Vec<String>,
}

/// Decodes an object body of any accepted content type; `kind` is what messages call it.
///
/// # Errors
/// 415 for another content type, 400 for a body that is not what its type says.
pub(crate) fn decode(content_type: &str, bytes: &[u8], kind: &str) -> Result<Decoded, Status> {
    match content_type {
        JSON => json(bytes, kind),
        YAML => Ok(Decoded {
            value: yaml(bytes)?,
            duplicates: Vec::new(),
        }),
        PROTOBUF => Ok(Decoded {
            value: engines::from_protobuf(bytes)?,
            duplicates: Vec::new(),
        }),
        _ => Err(Status::unknown_format(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

/// How much of a broken body an error shows, in bytes; upstream's measure.
const EXCERPT_BYTES: usize = 30;

fn json(bytes: &[u8], kind: &str) -> Result<Decoded, Status> {
    let parsed = hyades_schema::parse::json(bytes).map_err(|error| {
        let text = String::from_utf8_lossy(bytes);
        let excerpt: String = text.chars().take(EXCERPT_BYTES).collect();
        let excerpt = if excerpt.len() < text.len() {
            format!("{excerpt} ...")
        } else {
            excerpt
        };
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get \
             version/kind; json parse error: {error} ({excerpt})"
        ))
    })?;
    if !parsed.value.is_object() {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get \
             version/kind; json parse error: json: cannot unmarshal {} into Go value of type \
             struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
             \"json:\\\"kind,omitempty\\\"\" }}",
            kind_of(&parsed.value)
        )));
    }
    let duplicates = parsed.duplicate_errors();
    Ok(Decoded {
        value: parsed.value,
        duplicates,
    })
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Decodes YAML, of which JSON is a part: the part that most clients send, and that a parser of its
/// own reads many times faster. What that one objects to is told in YAML's words.
pub(crate) fn yaml(bytes: &[u8]) -> Result<Value, Status> {
    if let Ok(parsed) = hyades_schema::parse::json(bytes)
        && parsed.value.is_object()
        && parsed.duplicates.is_empty()
    {
        return Ok(parsed.value);
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    let value: Value = serde_saphyr::from_str(text)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    if value.is_object() {
        Ok(value)
    } else {
        let message = "error decoding YAML: the document is not an object";
        Err(Status::bad_request(message))
    }
}

/// Checks that a body is of the resource's kind, and fills in what it leaves out.
pub(crate) fn check_kind(resource: &Resource, body: &mut Value) -> Result<(), Status> {
    check_type(
        &resource.api_version(),
        &resource.kind,
        resource.is_custom(),
        body,
    )
}

/// See [`check_kind`].
pub(crate) fn check_type(
    api_version: &str,
    kind: &str,
    custom: bool,
    body: &mut Value,
) -> Result<(), Status> {
    let stated_version = body["apiVersion"].as_str().unwrap_or_default().to_owned();
    let stated_kind = body["kind"].as_str().unwrap_or_default().to_owned();
    let version_fits = stated_version.is_empty() || stated_version == api_version;
    let kind_fits = stated_kind.is_empty() || stated_kind == kind;
    if version_fits && kind_fits {
        body["apiVersion"] = api_version.into();
        body["kind"] = kind.into();
        return Ok(());
    }
    if custom {
        let message = format!(
            "the API version in the data ({stated_version}) does not match the expected API \
             version ({api_version})"
        );
        return Err(Status::bad_request(if version_fits {
            format!(
                "the kind in the data ({stated_kind}) does not match the expected kind ({kind})"
            )
        } else {
            message
        }));
    }
    let version = if stated_version.is_empty() {
        api_version
    } else {
        &stated_version
    };
    let head = format!("{stated_kind} in version \"{version}\" cannot be handled as a {kind}");
    Err(Status::bad_request(if version_fits {
        let stated = version.rsplit('/').next().unwrap_or_default();
        let group = match api_version.split_once('/') {
            Some((group, _)) => group.split('.').next().unwrap_or_default(),
            None => "core",
        };
        format!(
            "{head}: converting ({stated}.{stated_kind}) to ({group}.{kind}): unknown conversion"
        )
    } else {
        format!(
            "{head}: no kind \"{stated_kind}\" is registered for version \"{version}\" in scheme \
             \"pkg/api/legacyscheme/scheme.go:30\""
        )
    }))
}
