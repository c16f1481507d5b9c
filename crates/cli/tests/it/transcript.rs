//! What clusteradm prints, held to what upstream's printed.
//!
//! Where ours says more, it says it in lines of its own: each recorded line must be there, in order,
//! and the exit code must be the same.

use regex::Regex;

use crate::harness::Host;

struct Recorded {
    command: String,
    lines: Vec<String>,
    code: i32,
}

fn recorded() -> Vec<Recorded> {
    let mut all: Vec<Recorded> = Vec::new();
    for line in include_str!("../data/clusteradm.txt").lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            all.push(Recorded {
                command: command.to_owned(),
                lines: Vec::new(),
                code: 0,
            });
        } else if let Some(last) = all.last_mut() {
            match line.strip_prefix("exit ") {
                Some(code) => last.code = code.parse().expect("an exit code"),
                None => last.lines.push(line.to_owned()),
            }
        }
    }
    all
}

/// Replaces what differs from run to run, as the recording does.
fn settled(text: &str) -> Vec<String> {
    let words = [
        (r"eyJ[\w-]+\.[\w-]+\.[\w-]+", "<token>"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
        (r"\bcluster1-[a-z0-9]{5}\b", "cluster1-<random>"),
        (r"<(Memory|Cpu)> .*", "<$1> <capacity>"),
        (r"<KubernetesVersion> v.*", "<KubernetesVersion> <version>"),
    ];
    let text = words.iter().fold(text.to_owned(), |text, (pattern, word)| {
        let pattern = Regex::new(pattern).expect("a pattern");
        pattern.replace_all(&text, *word).into_owned()
    });
    text.lines().map(str::to_owned).collect()
}

#[test]
fn clusteradm_prints_what_upstreams_printed() {
    let host = Host::its(&["cluster1", "cluster2"]);
    host.register("its1", "cluster1", "--singleton");
    host.file(
        "cm.yaml",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}}",
    );
    let recorded = recorded();
    assert_eq!(recorded.len(), 17, "the recording is read whole");
    for Recorded {
        command,
        lines,
        code,
    } in recorded
    {
        let ran = host.run(&format!("{command} 2>&1"));
        assert_eq!(ran.code, Some(code), "{ran}");
        let printed = settled(&ran.out);
        let mut rest = printed.iter();
        for line in lines.iter().filter(|line| !line.trim().is_empty()) {
            assert!(
                rest.any(|printed| printed.trim_end() == line.trim_end()),
                "{line:?} is not printed, or not in its place: {ran}"
            );
        }
    }
}
