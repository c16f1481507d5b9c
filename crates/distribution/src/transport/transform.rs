//! CustomTransforms: what is taken off the objects of one resource.
//!
//! A path is a subset of JSONPath: `$`, then members by name, `.name` or `["any name"]`.

use crate::object::GroupResource;
use hyades_api::control::CustomTransform;
use hyades_api::control::CustomTransformStatus;
use serde_json::Value;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Paths of one CustomTransform that count, at most; each is looked for in every object.
pub const MAX_PATHS: usize = 1000;

/// Leads from an object to one of its members, over at least one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPath(Vec<String>);

impl MemberPath {
    /// Reads a path; `Ok(None)` is the whole object.
    ///
    /// # Errors
    /// What was expected, and at which character, counted from 1.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let mut reader = Reader {
            letters: text.chars().peekable(),
            place: 0,
        };
        if reader.next() != Some('$') {
            return Err(reader.expected("'$'"));
        }
        let mut names = Vec::new();
        while let Some(letter) = reader.next() {
            names.push(match letter {
                '.' => reader.plain_name()?,
                '[' => reader.quoted_name()?,
                _ => return Err(reader.expected("'.' or '['")),
            });
        }
        Ok(Some(Self(names)).filter(|path| !path.0.is_empty()))
    }

    /// Removes the member from the object, if it is there. Nothing leads through arrays.
    pub fn remove(&self, object: &mut Value) {
        let Some((last, leading)) = self.0.split_last() else {
            return;
        };
        let mut inner = object;
        for name in leading {
            let Some(next) = inner.as_object_mut().and_then(|map| map.get_mut(name)) else {
                return;
            };
            inner = next;
        }
        if let Some(map) = inner.as_object_mut() {
            map.remove(last);
        }
    }
}

struct Reader<'t> {
    letters: Peekable<Chars<'t>>,
    /// How many characters are read.
    place: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        self.place += 1;
        self.letters.next()
    }

    /// An error about the character read last.
    fn expected(&self, what: &str) -> String {
        format!("expected {what} at character {}", self.place)
    }

    fn plain_name(&mut self) -> Result<String, String> {
        let starts =
            |letter: char| letter.is_ascii_alphabetic() || letter == '_' || !letter.is_ascii();
        let first = self.next().filter(|letter| starts(*letter));
        let mut name = String::from(first.ok_or_else(|| self.expected("a letter or '_'"))?);
        while let Some(letter) = self
            .letters
            .next_if(|letter| starts(*letter) || letter.is_ascii_digit())
        {
            self.place += 1;
            name.push(letter);
        }
        Ok(name)
    }

    fn quoted_name(&mut self) -> Result<String, String> {
        if self.next() != Some('"') {
            return Err(self.expected("'\"'"));
        }
        let mut units = Vec::new();
        loop {
            match self.next() {
                Some('"') => break,
                Some('\\') => units.push(self.escape()?),
                Some(letter) if letter >= ' ' => {
                    units.extend_from_slice(letter.encode_utf16(&mut [0; 2]));
                }
                _ => return Err(self.expected("the closing '\"'")),
            }
        }
        if self.next() != Some(']') {
            return Err(self.expected("']'"));
        }
        String::from_utf16(&units).map_err(|_| self.expected("whole characters in the name before"))
    }

    fn escape(&mut self) -> Result<u16, String> {
        let letter = self.next();
        let plain = match letter {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(mark @ ('"' | '\'' | '\\' | '/')) => mark,
            Some('u') => return self.hexadecimal(4),
            Some('x') => return self.hexadecimal(2),
            _ => return Err(self.expected("an escape sequence")),
        };
        Ok(u16::try_from(u32::from(plain)).unwrap_or_default())
    }

    fn hexadecimal(&mut self, digits: usize) -> Result<u16, String> {
        let mut value = 0;
        for _ in 0..digits {
            let digit = self.next().and_then(|letter| letter.to_digit(16));
            let digit = digit.ok_or_else(|| self.expected("a hexadecimal digit"))?;
            value = value * 16 + u16::try_from(digit).unwrap_or_default();
        }
        Ok(value)
    }
}

/// All CustomTransforms of a WDS, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transforms {
    by_resource: BTreeMap<GroupResource, Vec<MemberPath>>,
}

/// Reads CustomTransforms, and says what the status of each, by name, shall be.
pub fn digest<'t>(
    transforms: impl Iterator<Item = &'t CustomTransform>,
) -> (Transforms, BTreeMap<String, CustomTransformStatus>) {
    let mut read = Transforms::default();
    let mut statuses = BTreeMap::new();
    let mut names: BTreeMap<GroupResource, Vec<String>> = BTreeMap::new();
    let mut sorted: Vec<_> = transforms.collect();
    sorted.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    for transform in sorted {
        let name = transform.metadata.name.clone().unwrap_or_default();
        let subject = GroupResource::new(&transform.spec.api_group, &transform.spec.resource);
        names.entry(subject.clone()).or_default().push(name.clone());
        let paths = read.by_resource.entry(subject).or_default();
        statuses.insert(
            name,
            CustomTransformStatus {
                observed_generation: transform.metadata.generation.unwrap_or_default(),
                errors: read_paths(&transform.spec.remove, paths),
                warnings: Vec::new(),
            },
        );
    }
    for names in names.values().filter(|names| names.len() > 1) {
        let warning = format!(
            "multiple CustomTransform objects specify the same GroupResource; their names are {}",
            names.join(", ")
        );
        for name in names {
            if let Some(status) = statuses.get_mut(name) {
                status.warnings.push(warning.clone());
            }
        }
    }
    (read, statuses)
}

/// Adds the good ones of `written` to `paths`; the errors are about the others.
fn read_paths(written: &[String], paths: &mut Vec<MemberPath>) -> Vec<String> {
    let mut errors = Vec::new();
    for (index, text) in written.iter().take(MAX_PATHS).enumerate() {
        match MemberPath::parse(text) {
            Ok(Some(path)) => paths.push(path),
            Ok(None) => errors.push(format!(
                "Invalid spec.remove[{index}]: it identifies the whole object"
            )),
            Err(error) => errors.push(format!("Error in spec.remove[{index}]: {error}")),
        }
    }
    if written.len() > MAX_PATHS {
        errors.push(format!(
            "Invalid spec.remove: it has {} paths, of which the first {MAX_PATHS} count",
            written.len()
        ));
    }
    errors
}

impl Transforms {
    /// Takes off an object of that resource what its CustomTransforms name.
    pub fn apply(&self, resource: &GroupResource, object: &mut Value) {
        for path in self.by_resource.get(resource).into_iter().flatten() {
            path.remove(object);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::control::CustomTransformSpec;
    use serde_json::json;

    #[test]
    fn paths_are_read_as_upstreams_tests_say() {
        for text in [
            "", "'xyz", "$.", "$[", "$[]", "$.9", "$ .a", "$['a']", "$[0]", "$.*", "$..a", "$.a b",
        ] {
            assert!(MemberPath::parse(text).is_err(), "{text}");
        }
        let names = |text: &str| MemberPath::parse(text).ok().flatten().map(|path| path.0);
        for (text, expected) in [
            ("$.xyz", vec!["xyz"]),
            ("$[\"foo.bar/baz\"]", vec!["foo.bar/baz"]),
            ("$[\"foo.bar/baz\"].zork", vec!["foo.bar/baz", "zork"]),
            ("$.zot[\"foo.bar/baz\"]", vec!["zot", "foo.bar/baz"]),
            ("$._a1.grün", vec!["_a1", "grün"]),
            (r#"$["a\"\\\u00e4\x41\n\ud83d\ude00"]"#, vec!["a\"\\äA\n😀"]),
        ] {
            assert_eq!(
                names(text),
                Some(expected.iter().map(|s| (*s).to_owned()).collect()),
                "{text}"
            );
        }
        assert_eq!(MemberPath::parse("$"), Ok(None));
        assert_eq!(
            MemberPath::parse("$.a["),
            Err("expected '\"' at character 5".to_owned())
        );
    }

    fn transform(name: &str, group: &str, resource: &str, remove: &[&str]) -> CustomTransform {
        let mut transform = CustomTransform::new(
            name,
            CustomTransformSpec {
                api_group: group.to_owned(),
                resource: resource.to_owned(),
                remove: remove.iter().map(|path| (*path).to_owned()).collect(),
            },
        );
        transform.metadata.generation = Some(4);
        transform
    }

    #[test]
    fn members_go_if_they_are_there_and_never_out_of_arrays() {
        let (transforms, _) = digest(
            [&transform(
                "t",
                "apps",
                "deployments",
                &[
                    "$.spec.replicas",
                    "$.spec.absent.deep",
                    "$.spec.list.a",
                    "$.metadata.annotations[\"a/b\"]",
                ],
            )]
            .into_iter(),
        );
        let object = json!({"metadata": {"annotations": {"a/b": "1", "c": "2"}},
            "spec": {"replicas": 2, "list": [{"a": 1}], "x": 1}});
        let mut changed = object.clone();
        transforms.apply(&GroupResource::new("apps", "deployments"), &mut changed);
        assert_eq!(
            changed,
            json!({"metadata": {"annotations": {"c": "2"}}, "spec": {"list": [{"a": 1}], "x": 1}})
        );
        let mut other = object.clone();
        transforms.apply(&GroupResource::new("apps", "statefulsets"), &mut other);
        assert_eq!(other, object);
    }

    #[test]
    fn what_is_wrong_is_told_and_the_rest_counts() {
        let bad = transform("bad", "", "pods", &["$", "x", "$.spec.a"]);
        let twin = transform("twin", "", "pods", &["$.spec.b"]);
        let (transforms, statuses) = digest([&twin, &bad].into_iter());
        let warnings = vec![
            "multiple CustomTransform objects specify the same GroupResource; their names are bad, twin"
                .to_owned(),
        ];
        assert_eq!(
            statuses["bad"],
            CustomTransformStatus {
                observed_generation: 4,
                errors: vec![
                    "Invalid spec.remove[0]: it identifies the whole object".to_owned(),
                    "Error in spec.remove[1]: expected '$' at character 1".to_owned(),
                ],
                warnings: warnings.clone(),
            }
        );
        assert_eq!(statuses["twin"].warnings, warnings);
        let mut object = json!({"spec": {"a": 1, "b": 2, "c": 3}});
        transforms.apply(&GroupResource::new("", "pods"), &mut object);
        assert_eq!(object, json!({"spec": {"c": 3}}));
    }
}
