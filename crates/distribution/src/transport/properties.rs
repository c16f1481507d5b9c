//! What is known of a WEC when its objects are customised.

use hyades_runtime::k8s_openapi::ByteString;
use std::collections::BTreeMap;

/// The property that every WEC has: its name.
pub const CLUSTER_NAME: &str = "clusterName";

/// The words of Go that are no identifiers.
const KEYWORDS: [&str; 25] = [
    "break",
    "case",
    "chan",
    "const",
    "continue",
    "default",
    "defer",
    "else",
    "fallthrough",
    "for",
    "func",
    "go",
    "goto",
    "if",
    "import",
    "interface",
    "map",
    "package",
    "range",
    "return",
    "select",
    "struct",
    "switch",
    "type",
    "var",
];

/// Where properties come from; those further down prevail over those above.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'s> {
    /// The inventory object's labels.
    pub labels: Option<&'s BTreeMap<String, String>>,
    /// The inventory object's annotations.
    pub annotations: Option<&'s BTreeMap<String, String>>,
    /// The binary half of the WEC's ConfigMap.
    pub binary: Option<&'s BTreeMap<String, ByteString>>,
    /// The WEC's ConfigMap. Its keys differ from those of the binary half.
    pub data: Option<&'s BTreeMap<String, String>>,
}

/// The properties of a WEC: those of its sources whose names a template can write after a dot, and
/// [`CLUSTER_NAME`], over which they prevail as well.
pub fn properties(wec: &str, sources: Sources<'_>) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::from([(CLUSTER_NAME.to_owned(), wec.to_owned())]);
    let mut add = |name: &str, value: &str| {
        if is_identifier(name) {
            properties.insert(name.to_owned(), value.to_owned());
        }
    };
    for source in [sources.labels, sources.annotations] {
        for (name, value) in source.into_iter().flatten() {
            add(name, value);
        }
    }
    for (name, value) in sources.binary.into_iter().flatten() {
        add(name, &String::from_utf8_lossy(&value.0));
    }
    for (name, value) in sources.data.into_iter().flatten() {
        add(name, value);
    }
    properties
}

/// Whether Go takes the name for an identifier.
fn is_identifier(name: &str) -> bool {
    let starts = |letter: char| letter == '_' || letter.is_alphabetic();
    name.starts_with(starts)
        && name
            .chars()
            .all(|letter| starts(letter) || letter.is_numeric())
        && !KEYWORDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        entries.iter().map(owned).collect()
    }

    #[test]
    fn a_wec_without_anything_has_its_name() {
        let properties = properties("cluster1", Sources::default());
        assert_eq!(properties, map(&[("clusterName", "cluster1")]));
    }

    #[test]
    fn the_config_map_prevails_over_annotations_and_those_over_labels() {
        let labels = map(&[
            ("a", "label"),
            ("b", "label"),
            ("c", "label"),
            ("location-group", "x"),
        ]);
        let annotations = map(&[("b", "annotation"), ("c", "annotation"), ("a/b", "x")]);
        let data = map(&[("c", "data"), ("clusterName", "other"), ("x.y", "z")]);
        let binary = BTreeMap::from([("raw".to_owned(), ByteString(b"\xff!".to_vec()))]);
        let sources = Sources {
            labels: Some(&labels),
            annotations: Some(&annotations),
            binary: Some(&binary),
            data: Some(&data),
        };
        assert_eq!(
            properties("cluster1", sources),
            map(&[
                ("a", "label"),
                ("b", "annotation"),
                ("c", "data"),
                ("clusterName", "other"),
                ("raw", "\u{fffd}!"),
            ])
        );
    }

    #[test]
    fn identifiers_are_those_of_go() {
        for good in ["a", "_", "a1", "grün", "_9", "Range"] {
            assert!(is_identifier(good), "{good}");
        }
        for bad in ["", "1a", "a-b", "a.b", "a/b", "range", "type", "a b"] {
            assert!(!is_identifier(bad), "{bad}");
        }
    }
}
