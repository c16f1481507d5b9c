//! Documents and command line say the same.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use regex::Regex;

/// What one command offers.
#[derive(Clone, Default)]
struct Offer {
    commands: BTreeSet<String>,
    flags: BTreeSet<String>,
}

/// The command line as it tells of itself.
struct CommandLine {
    flag: Regex,
    /// By the words of the command.
    asked: BTreeMap<Vec<String>, Option<Offer>>,
}

impl CommandLine {
    fn new() -> Self {
        Self {
            flag: Regex::new("--?[A-Za-z][A-Za-z-]*").expect("a pattern"),
            asked: BTreeMap::new(),
        }
    }

    /// What the command of these words offers; nothing if there is none.
    fn offer(&mut self, words: &[String]) -> Option<Offer> {
        if let Some(known) = self.asked.get(words) {
            return known.clone();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_hyades"));
        command.arg0(&words[0]).args(&words[1..]).arg("--help");
        let output = command.output().expect("the binary runs");
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        let offer = output.status.success().then(|| self.read(&help));
        self.asked.insert(words.to_vec(), offer.clone());
        offer
    }

    fn read(&self, help: &str) -> Offer {
        let mut offer = Offer::default();
        let mut section = "";
        for line in help.lines() {
            if !line.starts_with(' ') && !line.is_empty() {
                section = line;
            }
            // Descriptions stand two blanks away, or in a line of their own.
            let entry = line.trim_start();
            let entry = entry.split_once("  ").map_or(entry, |(entry, _)| entry);
            if section == "Commands:" {
                offer
                    .commands
                    .extend(entry.split(' ').next().map(str::to_owned));
            } else if entry.starts_with('-') {
                let found = self.flag.find_iter(entry);
                offer
                    .flags
                    .extend(found.map(|flag| flag.as_str().to_owned()));
            }
        }
        offer
    }

    /// The flags of all commands from here on.
    fn all_flags(&mut self, words: &[String]) -> BTreeSet<String> {
        let offer = self.offer(words).unwrap_or_default();
        let mut flags = offer.flags;
        for command in offer.commands.iter().filter(|name| *name != "help") {
            flags.extend(self.all_flags(&[words, std::slice::from_ref(command)].concat()));
        }
        flags
    }

    /// Insists that a command line could be typed: each command and each flag exists.
    fn check(&mut self, origin: &str, line: &str) -> bool {
        let mut words = line.split_whitespace();
        let program = words.next().unwrap_or_default().trim_start_matches("$(");
        if !["hyades", "clusteradm"].contains(&program) {
            return false;
        }
        let mut path = vec![program.to_owned()];
        let mut offer = self.offer(&path).expect("the program helps");
        let mut is_value = false;
        for word in words {
            let word = word.trim_matches(['\'', '"', ')', ',']);
            if word.starts_with('-') {
                let (flag, value) = word.split_once('=').unwrap_or((word, ""));
                let is_there = offer.flags.contains(flag);
                assert!(is_there, "{origin}: {path:?} has no {flag}: {line}");
                is_value = value.is_empty();
                continue;
            }
            if word.chars().all(char::is_uppercase) {
                // A placeholder.
                break;
            }
            // `create|delete` stands for each of the two.
            for name in word.split('|') {
                if is_value || offer.commands.is_empty() {
                    break;
                }
                let next = [path.as_slice(), &[name.to_owned()]].concat();
                let found = self.offer(&next);
                let found = found.unwrap_or_else(|| panic!("{origin}: no {next:?}: {line}"));
                if word.ends_with(name) {
                    path = next;
                    offer = found;
                }
            }
            is_value = false;
        }
        true
    }
}

/// The pieces of code in a Markdown text: lines of blocks, with what continues them, and spans.
fn code(markdown: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut is_block = false;
    for line in markdown.replace("\\\n", " ").lines() {
        if line.starts_with("```") {
            is_block = !is_block;
        } else if is_block {
            found.push(line.to_owned());
        } else {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// The commands of a shell's line. What the page has awk put behind a join is the join's.
fn commands(line: &str) -> Vec<String> {
    let line = line.replace("cargo run --release --", "hyades");
    let parts = line.split(" | ").flat_map(|part| part.split(" && "));
    let parts = parts.map(|part| {
        let appended = part.trim().strip_prefix("awk '{print $0 \"");
        let appended = appended.and_then(|rest| rest.split_once('"'));
        match appended {
            Some((flags, _)) => format!("clusteradm join {flags}"),
            None => part.trim().to_owned(),
        }
    });
    parts.collect()
}

fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = [root.clone(), root.join("docs")];
    let files = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let text = |path: &Path| std::fs::read_to_string(path).expect("a document");
    files
        .map(|path| (path.display().to_string(), text(&path)))
        .collect()
}

/// clusteradm#208: the documents mention flags that do not exist.
#[test]
fn clusteradm_208_every_command_and_flag_in_the_documents_exists() {
    let mut command_line = CommandLine::new();
    let programs: [&[&str]; 3] = [&["hyades"], &["clusteradm"], &["hyades", "component"]];
    let mut flags = BTreeSet::new();
    for words in programs {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        flags.extend(command_line.all_flags(&words));
    }
    let mut checked = 0;
    for (origin, text) in documents() {
        for piece in code(&text) {
            if piece.starts_with("--") {
                let flag = piece.split([' ', '=']).next().unwrap_or_default();
                assert!(flags.contains(flag), "{origin}: nothing has {piece}");
            }
            for command in commands(&piece) {
                checked += usize::from(command_line.check(&origin, &command));
            }
        }
    }
    let page = include_str!("../../data/page.yaml");
    for line in page.lines() {
        let Some(line) = line.trim().strip_prefix("run: ") else {
            continue;
        };
        for command in commands(line) {
            checked += usize::from(command_line.check("the page", &command));
        }
    }
    assert!(checked > 40, "only {checked} command lines were found");
}
