//! Field numbers from the prost attributes of the crate `k8s-pb`.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use anyhow::anyhow;

/// All messages, by lower-cased package and name.
pub struct Messages(HashMap<String, Vec<Member>>);

struct Member {
    /// The name without separators, in lower case: what JSON and protobuf names have in common.
    name: String,
    number: u16,
    /// The message type, when the member is a single message.
    message: Option<String>,
}

/// The numbers from an outer message down to a field.
pub type Place = Vec<u16>;

impl Messages {
    /// Reads every module under `source`.
    pub fn read(source: &Path) -> Result<Messages> {
        let mut messages = HashMap::new();
        for (folder, package) in [
            ("src/api", "io.k8s.api"),
            ("src/apimachinery", "io.k8s.apimachinery"),
            (
                "src/apiextensions_apiserver",
                "io.k8s.apiextensions-apiserver",
            ),
            ("src/kube_aggregator", "io.k8s.kube-aggregator"),
        ] {
            read_folder(&source.join(folder), package, &mut messages)?;
        }
        Ok(Messages(messages))
    }

    /// The place of each named JSON field of a message; fields that JSON shows flat are looked for
    /// in the messages that the outer message embeds.
    pub fn places(&self, type_name: &str, fields: &[&str]) -> HashMap<String, Place> {
        let wanted: Vec<String> = fields.iter().map(|field| normal(field)).collect();
        let mut found = HashMap::new();
        if let Some((package, message)) = self.locate(type_name) {
            self.collect(&package, &message, &wanted, &mut Vec::new(), &mut found);
        }
        fields
            .iter()
            .filter_map(|field| Some(((*field).to_owned(), found.get(&normal(field))?.clone())))
            .collect()
    }

    /// The message of a type. A version that became stable after the crate was made has the numbers
    /// of the version before it, for numbers never change.
    fn locate(&self, type_name: &str) -> Option<(String, String)> {
        let (package, name) = type_name.to_lowercase().rsplit_once('.').map(owned)?;
        let before = format!("{package}beta1");
        [package, before]
            .into_iter()
            .find(|package| self.0.contains_key(&format!("{package}.{name}")))
            .map(|package| (package, name))
    }

    fn collect(
        &self,
        package: &str,
        message: &str,
        wanted: &[String],
        outer: &mut Place,
        found: &mut HashMap<String, Place>,
    ) {
        let Some(members) = self.0.get(&format!("{package}.{message}")) else {
            return;
        };
        for member in members {
            let mut place = outer.clone();
            place.push(member.number);
            if wanted.contains(&member.name) {
                found.entry(member.name.clone()).or_insert(place);
            } else if let Some(inner) = &member.message
                && place.len() < 3
            {
                self.collect(package, inner, wanted, &mut place, found);
            }
        }
    }
}

fn owned((left, right): (&str, &str)) -> (String, String) {
    (left.to_owned(), right.to_owned())
}

fn normal(name: &str) -> String {
    name.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect()
}

fn read_folder(
    folder: &Path,
    package: &str,
    messages: &mut HashMap<String, Vec<Member>>,
) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("listing {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            read_folder(&path, &format!("{package}.{name}"), messages)?;
        } else if name == "mod.rs" {
            let text = fs::read_to_string(&path)?;
            read_module(&text, package, messages)
                .with_context(|| format!("reading {}", path.display()))?;
        }
    }
    Ok(())
}

fn read_module(
    text: &str,
    package: &str,
    messages: &mut HashMap<String, Vec<Member>>,
) -> Result<()> {
    let mut current: Option<String> = None;
    let mut lines = text.lines().map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("pub struct ") {
            let name = name.split(' ').next().unwrap_or_default();
            let key = format!("{package}.{name}").to_lowercase();
            messages.insert(key.clone(), Vec::new());
            current = Some(key);
        } else if let Some(attribute) = line.strip_prefix("#[prost(") {
            let mut declaration = String::new();
            for line in lines.by_ref() {
                declaration.push_str(line);
                if line.ends_with(',') && balanced(&declaration) {
                    break;
                }
            }
            let owner = current.as_ref().context("a field outside a message")?;
            let member = read_member(attribute, &declaration)
                .ok_or_else(|| anyhow!("cannot read {attribute} {declaration}"))?;
            messages.entry(owner.clone()).or_default().push(member);
        }
    }
    Ok(())
}

fn balanced(text: &str) -> bool {
    text.matches('<').count() == text.matches('>').count()
}

fn read_member(attribute: &str, declaration: &str) -> Option<Member> {
    let number = attribute.split("tag = \"").nth(1)?.split('"').next()?;
    let (name, ty) = declaration.strip_prefix("pub ")?.split_once(':')?;
    let single = attribute.starts_with("message, optional");
    let message = ty.trim_end_matches([',', '>']).rsplit([':', '<']).next()?;
    Some(Member {
        name: normal(name.trim_start_matches("r#")),
        number: number.parse().ok()?,
        message: single.then(|| message.trim().to_lowercase()),
    })
}
