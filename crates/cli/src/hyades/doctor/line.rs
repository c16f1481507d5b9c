//! What the doctor says: one line a check, and how the lines are printed.

use crate::console::one_line;
use crate::progress::table;
use serde_json::Value;
use serde_json::json;

/// What is checked. The names are for people and for programs, and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// The server's host name resolves.
    Dns,
    /// Something listens there.
    Tcp,
    /// The server's certificate is trusted and within its dates.
    Tls,
    /// A Kubernetes API answers at the URL.
    Path,
    /// The server is new enough.
    Version,
    /// The clocks agree.
    Clock,
    /// The credentials of the context are accepted.
    Access,
    /// The server is a hub, or the context has a part in a registration at all.
    Its,
    /// `kube-public/cluster-info` says where the hub is.
    ClusterInfo,
    /// The account and the rights that new agents present themselves with.
    Bootstrap,
    /// The operator's pods.
    Operator,
    /// The hub's pods.
    Hub,
    /// The Klusterlet and its definition.
    Klusterlet,
    /// The agent's pods.
    Agent,
    /// The token that a new agent presents.
    Token,
    /// The certificate that an agent presents afterwards.
    Certificate,
    /// The inventory object.
    Inventory,
    /// The certificate signing request.
    Request,
    /// Whether the hub accepts the WEC.
    Acceptance,
    /// Mailbox and rights of the agent.
    Rbac,
    /// When the agent renewed its lease.
    Lease,
    /// Whether the hub calls the WEC Available.
    Available,
    /// What is being deleted and does not go.
    Removal,
}

impl Check {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Path => "path",
            Self::Version => "version",
            Self::Clock => "clock",
            Self::Access => "access",
            Self::Its => "its",
            Self::ClusterInfo => "cluster-info",
            Self::Bootstrap => "bootstrap",
            Self::Operator => "operator",
            Self::Hub => "hub",
            Self::Klusterlet => "klusterlet",
            Self::Agent => "agent",
            Self::Token => "token",
            Self::Certificate => "certificate",
            Self::Inventory => "inventory",
            Self::Request => "csr",
            Self::Acceptance => "acceptance",
            Self::Rbac => "rbac",
            Self::Lease => "lease",
            Self::Available => "available",
            Self::Removal => "removal",
        }
    }
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All is well; the facts.
    Passed(String),
    /// Something is not; what, and the one command that fixes it.
    Failed {
        /// What is wrong.
        problem: String,
        /// The command.
        fix: String,
    },
    /// It could not be checked, or need not be; why.
    Skipped(String),
}

/// One check of one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What was checked.
    pub check: Check,
    /// Whose: a context, a hub, a WEC.
    pub of: String,
    /// What came of it.
    pub verdict: Verdict,
}

impl Line {
    /// A check that passed.
    pub fn passed(check: Check, of: &str, facts: impl Into<String>) -> Self {
        Self::new(check, of, Verdict::Passed(facts.into()))
    }

    /// A check that failed.
    pub fn failed(
        check: Check,
        of: &str,
        problem: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        let (problem, fix) = (problem.into(), fix.into());
        Self::new(check, of, Verdict::Failed { problem, fix })
    }

    /// A check that was left out.
    pub fn skipped(check: Check, of: &str, why: impl Into<String>) -> Self {
        Self::new(check, of, Verdict::Skipped(why.into()))
    }

    fn new(check: Check, of: &str, verdict: Verdict) -> Self {
        let of = of.to_owned();
        Self { check, of, verdict }
    }

    /// Whether it failed.
    pub fn is_failed(&self) -> bool {
        matches!(self.verdict, Verdict::Failed { .. })
    }
}

/// How many lines failed.
pub fn failures(lines: &[Line]) -> usize {
    lines.iter().filter(|line| line.is_failed()).count()
}

/// The lines as a table for people; below a failed one the command that fixes it.
pub fn text(lines: &[Line]) -> String {
    let rows: Vec<Vec<String>> = lines.iter().flat_map(rows).collect();
    table(&rows)
}

fn rows(line: &Line) -> Vec<Vec<String>> {
    let (word, words) = match &line.verdict {
        Verdict::Passed(facts) => ("passed", facts.clone()),
        Verdict::Failed { problem, .. } => ("failed", problem.clone()),
        Verdict::Skipped(why) => ("skipped", why.clone()),
    };
    let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row([
        word,
        &flat(&line.of),
        line.check.name(),
        &flat(&words),
    ])];
    if let Verdict::Failed { fix, .. } = &line.verdict {
        rows.push(row(["", "", "", &flat(&format!("fix: {fix}"))]));
    }
    rows
}

/// Servers' messages may hold line ends, which would break the table, and what agents write may hold
/// characters that command the terminal.
fn flat(text: &str) -> String {
    let plain = one_line(text);
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The lines for programs.
pub fn json(context: &str, lines: &[Line]) -> Value {
    let one = |line: &Line| {
        let mut value = json!({"check": line.check.name(), "of": line.of});
        let (word, key, words) = match &line.verdict {
            Verdict::Passed(facts) => ("passed", "facts", facts),
            Verdict::Failed { problem, fix } => {
                value["fix"] = json!(fix);
                ("failed", "problem", problem)
            }
            Verdict::Skipped(why) => ("skipped", "why", why),
        };
        value["verdict"] = json!(word);
        value[key] = json!(words);
        value
    };
    json!({
        "context": context,
        "failed": failures(lines),
        "checks": lines.iter().map(one).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_say_cannot_command_the_terminal() {
        assert_eq!(flat("a\n\u{1b}[2Jb\u{9b}c"), "a [2Jb c");
        let line = Line::skipped(Check::Dns, "c\u{1b}]0;x\u{7}", "why");
        assert!(!text(&[line]).contains(|one: char| one.is_control() && one != '\n'));
    }
    use expect_test::expect;

    fn lines() -> Vec<Line> {
        vec![
            Line::passed(Check::Dns, "its1", "hub.example is 10.0.0.1"),
            Line::failed(
                Check::Acceptance,
                "cluster1",
                "not accepted",
                "clusteradm --context its1 accept --clusters cluster1",
            ),
            Line::skipped(Check::Lease, "cluster1", "it is not\naccepted"),
        ]
    }

    #[test]
    fn people_read_a_table_with_the_command_below_what_failed() {
        expect![[r#"
            passed   its1      dns         hub.example is 10.0.0.1
            failed   cluster1  acceptance  not accepted
                                           fix: clusteradm --context its1 accept --clusters cluster1
            skipped  cluster1  lease       it is not accepted
        "#]]
        .assert_eq(&text(&lines()));
    }

    #[test]
    fn programs_read_verdicts_and_commands() {
        let json = json("its1", &lines());
        assert_eq!(json["failed"], 1);
        assert_eq!(json["checks"][0]["facts"], "hub.example is 10.0.0.1");
        assert_eq!(json["checks"][1]["check"], "acceptance");
        assert_eq!(json["checks"][1]["verdict"], "failed");
        assert!(json["checks"][1]["fix"].is_string());
        assert_eq!(json["checks"][2]["verdict"], "skipped");
    }
}
