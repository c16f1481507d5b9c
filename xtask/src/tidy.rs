//! Keeps the house in order: what depends on what, how long files are, what may not stand in them,
//! and that the two ledgers name tests that exist.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Result;
use anyhow::bail;

/// Longer source files ask to be split.
const FILE_LINES_MAX: usize = 500;

/// Which of the project's crates each crate may use. What is absent here is as deliberate as what
/// is present: the hub and the agents must not know how spaces are served, since they also work
/// against clusters that are not.
const ARROWS: &[(&str, &[&str])] = &[
    ("agent", &["api", "jsonpath", "pki", "runtime", "schema"]),
    ("api", &[]),
    ("cli", &["*"]),
    (
        "distribution",
        &["api", "gotmpl", "jsonpath", "runtime", "schema"],
    ),
    ("fleet", &["*"]),
    ("gotmpl", &[]),
    ("host", &["api", "node", "pki", "runtime", "space", "store"]),
    ("inventory", &["api", "pki", "runtime"]),
    ("jsonpath", &[]),
    ("node", &["api", "runtime"]),
    ("pki", &[]),
    ("runtime", &[]),
    ("schema", &[]),
    ("space", &["jsonpath", "pki", "schema", "store"]),
    ("store", &[]),
];

/// Crates without IO: none of these may use an asynchronous runtime or an HTTP stack.
const WITHOUT_IO: &[&str] = &["api", "gotmpl", "jsonpath", "pki", "schema"];
const IO_CRATES: &[&str] = &["hyper", "hyper-util", "reqwest", "tokio", "tower"];

/// Checks everything.
///
/// # Errors
/// All problems found, a line each.
pub fn run() -> Result<()> {
    let problems: Vec<String> = [arrows()?, sources()?, ledgers()?].concat();
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

/// The folder of the checkout.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The names in a manifest's `[dependencies]`; those for tests are free to point anywhere.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]";
        } else if inside && let Some(end) = line.find(['.', ' ', '=']) {
            names.push(&line[..end]);
        }
    }
    names
}

fn arrows() -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let rules: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    for entry in fs::read_dir(root().join("crates"))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let Some(allowed) = rules.get(name) else {
            problems.push(format!(
                "crates/{name} has no row in the table of arrows (xtask/src/tidy.rs)"
            ));
            continue;
        };
        let manifest = fs::read_to_string(path.join("Cargo.toml"))?;
        for dependency in dependencies(&manifest) {
            if WITHOUT_IO.contains(&name) && IO_CRATES.contains(&dependency) {
                problems.push(format!(
                    "crates/{name} does no IO, so it may not use {dependency}"
                ));
            }
            if let Some(used) = dependency.strip_prefix("hyades-")
                && !allowed.contains(&"*")
                && !allowed.contains(&used)
            {
                problems.push(format!("crates/{name} may not use crates/{used}"));
            }
        }
    }
    Ok(problems)
}

fn source_files() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("crates"), root().join("xtask")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn sources() -> Result<Vec<String>> {
    // Written in pieces, so that this file does not find itself.
    let forbidden = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("db", "g!("),
    ];
    let mut problems = Vec::new();
    for path in source_files()? {
        let text = fs::read_to_string(&path)?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display();
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            problems.push(format!(
                "{shown} has {lines} lines; {FILE_LINES_MAX} is the limit"
            ));
        }
        for word in forbidden {
            if let Some(place) = text.lines().position(|line| line.contains(word)) {
                problems.push(format!("{shown}:{} contains {word}", place + 1));
            }
        }
        let is_module = !path.components().any(|part| part.as_os_str() == "tests")
            && path.file_name().is_none_or(|name| name != "tests.rs");
        if is_module && !text.starts_with("//!") {
            problems.push(format!(
                "{shown} does not say in its first line what it is for"
            ));
        }
    }
    Ok(problems)
}

/// The ledgers' tables: the last column names the test that shows the row.
const LEDGERS: &[&str] = &["docs/compat.md", "docs/features.md"];

fn ledgers() -> Result<Vec<String>> {
    let mut known = BTreeSet::new();
    for path in source_files()? {
        for line in fs::read_to_string(path)?.lines() {
            let line = line.trim_start().trim_start_matches("async ");
            if let Some(name) = line
                .strip_prefix("fn ")
                .and_then(|rest| rest.split(['(', '<']).next())
            {
                known.insert(name.to_owned());
            }
        }
    }
    let mut problems = Vec::new();
    for ledger in LEDGERS {
        let text = fs::read_to_string(root().join(ledger))?;
        for (place, row) in text
            .lines()
            .enumerate()
            .filter(|(_, row)| row.starts_with('|'))
        {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let last = cells.last().copied().unwrap_or_default();
            let tests: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
            for test in tests.iter().filter(|test| !known.contains(**test)) {
                problems.push(format!("{ledger}:{}: there is no test {test}", place + 1));
            }
            let heading = place > 0
                && text
                    .lines()
                    .nth(place + 1)
                    .is_some_and(|next| next.starts_with("|-"));
            let claims = !matches!(cells.get(1).copied(), Some("planned" | "not yet"));
            if tests.is_empty() && claims && !heading && !row.starts_with("|-") {
                problems.push(format!("{ledger}:{}: the row names no test", place + 1));
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none(problems: Result<Vec<String>>) {
        let problems = problems.expect("the tree is readable");
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    }

    #[test]
    fn crates_use_only_what_their_room_allows() {
        none(arrows());
    }

    #[test]
    fn source_files_are_short_and_say_what_they_are_for() {
        none(sources());
    }

    #[test]
    fn the_ledgers_name_tests_that_exist() {
        none(ledgers());
    }

    #[test]
    fn dependencies_for_tests_are_not_dependencies() {
        let manifest = "[dependencies]\ntokio.workspace = true\nx = \"1\"\n[dev-dependencies]\nhyades-space.workspace = true\n";
        assert_eq!(dependencies(manifest), ["tokio", "x"]);
    }
}
