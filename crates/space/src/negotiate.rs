//! What a client sends and what it wants back: encodings and shapes.

use bytes::Bytes;
use http::HeaderMap;
use http::header;

use crate::registry::Resource;
use crate::status::Status;

/// JSON.
pub(crate) const JSON: &str = "application/json";
/// YAML.
pub(crate) const YAML: &str = "application/yaml";
/// Kubernetes' protobuf envelope.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How bytes are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Encoding {
    /// JSON.
    #[default]
    Json,
    /// YAML.
    Yaml,
    /// Protobuf.
    Protobuf,
}

impl Encoding {
    /// Its media type.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => JSON,
            Encoding::Yaml => YAML,
            Encoding::Protobuf => PROTOBUF,
        }
    }
}

/// What of an object is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Shape {
    /// The object itself.
    #[default]
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// `Table`.
    Table,
}

/// Encoding and shape together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Representation {
    /// How bytes are encoded.
    pub(crate) encoding: Encoding,
    /// What is shown.
    pub(crate) shape: Shape,
}

impl Representation {
    /// A small number that tells representations apart.
    pub(crate) fn token(self) -> u8 {
        self.encoding as u8 * 3 + self.shape as u8
    }
}

/// One media range of an Accept header.
#[derive(Debug)]
struct Range<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Range<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| *value)
    }
}

/// How many media ranges of a header are looked at; clients send up to four.
const RANGES_MAX: usize = 32;

fn ranges(header: &str) -> Vec<Range<'_>> {
    let mut ranges: Vec<Range<'_>> = header
        .split(',')
        .take(RANGES_MAX)
        .filter(|text| !text.trim().is_empty())
        .map(|text| {
            let mut parts = text.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<(&str, &str)> =
                parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters
                .iter()
                .find(|(key, _)| *key == "q")
                .and_then(|(_, value)| value.parse().ok())
                .unwrap_or(1.0);
            Range {
                media_type,
                parameters,
                quality,
            }
        })
        .collect();
    // The sort is stable: among equals the client's order counts.
    ranges.sort_by(|one, other| other.quality.total_cmp(&one.quality));
    ranges
}

/// The representation to answer in. `protobuf` says whether whole objects can be had in protobuf.
///
/// # Errors
/// 406 when nothing acceptable can be had.
pub(crate) fn accept(headers: &HeaderMap, protobuf: bool) -> Result<Representation, Status> {
    let header = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect::<Vec<_>>()
        .join(",");
    if header.trim().is_empty() {
        return Ok(Representation::default());
    }
    ranges(&header)
        .iter()
        .find_map(|range| acceptable(range, protobuf))
        .ok_or_else(|| {
            Status::not_acceptable(if protobuf {
                "application/json, application/yaml, application/vnd.kubernetes.protobuf"
            } else {
                "application/json, application/yaml"
            })
        })
}

/// The encoding of a failure: the client's first choice, and JSON where nothing can be had.
pub(crate) fn of_status(headers: &HeaderMap) -> Encoding {
    accept(headers, true).map_or(Encoding::Json, |representation| representation.encoding)
}

fn acceptable(range: &Range<'_>, protobuf: bool) -> Option<Representation> {
    let encoding = match range.media_type {
        JSON | "application/*" | "*/*" => Encoding::Json,
        YAML => Encoding::Yaml,
        PROTOBUF => Encoding::Protobuf,
        _ => return None,
    };
    let shape = match range.parameter("as") {
        None => Shape::Whole,
        Some(_) if !meta_version(range) => return None,
        Some("Table") => Shape::Table,
        Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Shape::Metadata,
        Some(_) => return None,
    };
    match (encoding, shape) {
        // Tables hold any JSON in their cells, for which there is no protobuf.
        (Encoding::Protobuf, Shape::Table) => None,
        (Encoding::Protobuf, Shape::Whole) if !protobuf => None,
        _ => Some(Representation { encoding, shape }),
    }
}

fn meta_version(range: &Range<'_>) -> bool {
    range.parameter("g") == Some("meta.k8s.io")
        && matches!(range.parameter("v"), Some("v1" | "v1beta1"))
}

/// Whether the client asks for aggregated discovery, and in which version.
pub(crate) fn wants_aggregated_discovery(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT).iter();
    let text: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let text = text.join(",");
    ranges(&text).iter().any(|range| {
        range.parameter("as") == Some("APIGroupDiscoveryList")
            && range.parameter("g") == Some("apidiscovery.k8s.io")
            && range.parameter("v") == Some("v2")
    })
}

/// Whether the resource's objects can be had in protobuf.
pub(crate) fn has_protobuf(resource: &Resource) -> bool {
    !resource.is_custom()
}

/// The media type of a request's body, without parameters; JSON when none is stated.
pub(crate) fn content_type(headers: &HeaderMap) -> &str {
    let header = headers.get(header::CONTENT_TYPE);
    let text = header.and_then(|value| value.to_str().ok()).unwrap_or(JSON);
    let media_type = text.split(';').next().unwrap_or_default().trim();
    if media_type.is_empty() {
        JSON
    } else {
        media_type
    }
}

/// Whether the client takes gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let header = headers.get(header::ACCEPT_ENCODING);
    let text = header.and_then(|value| value.to_str().ok());
    text.is_some_and(|text| {
        text.split(',').any(|part| {
            part.split(';')
                .next()
                .is_some_and(|name| name.trim() == "gzip")
        })
    })
}

/// Answers smaller than this are not worth compressing; upstream's bound is the same.
pub(crate) const GZIP_BYTES_MIN: usize = 128 * 1024;

/// Compresses an answer, fast rather than small.
pub(crate) fn gzip(bytes: &Bytes) -> Bytes {
    use std::io::Write;
    let level = flate2::Compression::fast();
    let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    let compressed = encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail");
    Bytes::from(compressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(header: &str, protobuf: bool) -> Option<(Encoding, Shape)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, header.parse().unwrap());
        let representation = accept(&headers, protobuf).ok()?;
        Some((representation.encoding, representation.shape))
    }

    #[test]
    fn the_first_acceptable_range_wins() {
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let go = "application/vnd.kubernetes.protobuf,application/json";
        let metadata = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;\
                        g=meta.k8s.io;v=v1,application/json";
        let cases = [
            ("*/*", true, Some((Encoding::Json, Shape::Whole))),
            (go, true, Some((Encoding::Protobuf, Shape::Whole))),
            (go, false, Some((Encoding::Json, Shape::Whole))),
            (table, false, Some((Encoding::Json, Shape::Table))),
            (metadata, false, Some((Encoding::Protobuf, Shape::Metadata))),
            (
                "application/yaml",
                false,
                Some((Encoding::Yaml, Shape::Whole)),
            ),
            (
                "application/yaml;q=0.1, application/json",
                false,
                Some((Encoding::Json, Shape::Whole)),
            ),
            ("text/html", true, None),
            ("application/json;as=Table;v=v9;g=meta.k8s.io", true, None),
        ];
        for (header, protobuf, expected) in cases {
            assert_eq!(accepted(header, protobuf), expected, "{header}");
        }
    }
}
