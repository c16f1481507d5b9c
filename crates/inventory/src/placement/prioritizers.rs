//! Who comes first when more WECs fit than are asked for.

use super::snapshot::Candidate;
use super::snapshot::Snapshot;
use super::snapshot::Wec;
use hyades_api::placement::AddOnPlacementScore;
use hyades_api::placement::AddOnScore;
use hyades_runtime::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fmt;

/// The best score; the worst is its negative.
const SCORE_MAX: i64 = 100;

/// Something that gives WECs scores from -100 to 100.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Prioritizer {
    /// The fewer placements have chosen a WEC, the better.
    Balance,
    /// Whoever is chosen already, the better.
    Steady,
    /// The more of this resource a WEC has to give, the better.
    Allocatable(Resource),
    /// As an add-on says.
    AddOn(AddOnScore),
}

/// A resource that WECs have to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resource {
    /// Processors.
    Cpu,
    /// Memory.
    Memory,
}

impl Resource {
    fn key(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }

    /// How much of it a WEC has to give. It must state how much it has as well, as upstream has it.
    fn of(self, wec: &Wec) -> Option<f64> {
        let amount = |amounts: &BTreeMap<String, Quantity>| {
            amounts.get(self.key()).and_then(|text| amount(&text.0))
        };
        amount(&wec.object.status.capacity)?;
        amount(&wec.object.status.allocatable)
    }
}

impl fmt::Display for Prioritizer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance => formatter.write_str("Balance"),
            Self::Steady => formatter.write_str("Steady"),
            Self::Allocatable(Resource::Cpu) => formatter.write_str("ResourceAllocatableCPU"),
            Self::Allocatable(Resource::Memory) => formatter.write_str("ResourceAllocatableMemory"),
            Self::AddOn(score) => {
                write!(
                    formatter,
                    "AddOn/{}/{}",
                    score.resource_name, score.score_name
                )
            }
        }
    }
}

/// What a prioritizer says.
pub(super) struct Scores {
    /// One score a candidate, in their order.
    pub(super) scores: Vec<i64>,
    /// When some of them will no longer be true.
    pub(super) until: Option<Timestamp>,
    /// Whose scores are too old to count.
    pub(super) expired: Vec<String>,
}

impl Prioritizer {
    /// The one of this name, of those that are built in.
    pub(super) fn built_in(name: &str) -> Option<Self> {
        let all = [
            Self::Balance,
            Self::Steady,
            Self::Allocatable(Resource::Cpu),
            Self::Allocatable(Resource::Memory),
        ];
        all.into_iter().find(|one| one.to_string() == name)
    }

    /// Scores the candidates that fit. `decided` are the WECs chosen so far.
    pub(super) fn score(
        &self,
        candidates: &[&Candidate],
        snapshot: &Snapshot,
        decided: &BTreeSet<&str>,
    ) -> Scores {
        let scores = match self {
            Self::Balance => balance(candidates, snapshot.elsewhere_most),
            Self::Steady => {
                let steady =
                    |one: &&Candidate| SCORE_MAX * i64::from(decided.contains(one.wec.name()));
                candidates.iter().map(steady).collect()
            }
            Self::Allocatable(resource) => allocatable(candidates, *resource),
            Self::AddOn(score) => return said(candidates, score, snapshot.now),
        };
        Scores {
            scores,
            until: None,
            expired: Vec::new(),
        }
    }
}

fn balance(candidates: &[&Candidate], most: u32) -> Vec<i64> {
    let score = |one: &&Candidate| {
        if one.elsewhere == 0 || most == 0 {
            return SCORE_MAX;
        }
        let usage = f64::from(one.elsewhere) / f64::from(most);
        2 * truncated(SCORE_MAX as f64 * (0.5 - usage))
    };
    candidates.iter().map(score).collect()
}

fn allocatable(candidates: &[&Candidate], resource: Resource) -> Vec<i64> {
    let amounts: Vec<_> = candidates.iter().map(|one| resource.of(&one.wec)).collect();
    let known = || amounts.iter().flatten().copied();
    let least = known().fold(f64::INFINITY, f64::min);
    let most = known().fold(f64::NEG_INFINITY, f64::max);
    let score = |amount: &Option<f64>| match amount {
        None => 0,
        Some(_) if most - least == 0.0 => SCORE_MAX,
        Some(amount) => truncated(((amount - least) / (most - least) - 0.5) * 2.0 * 100.0),
    };
    amounts.iter().map(score).collect()
}

/// The scores of an add-on; 0 where there is none, or none that is still true.
fn said(candidates: &[&Candidate], score: &AddOnScore, now: Timestamp) -> Scores {
    let mut said = Scores {
        scores: Vec::with_capacity(candidates.len()),
        until: None,
        expired: Vec::new(),
    };
    for candidate in candidates {
        let object = candidate.wec.scores.get(&score.resource_name);
        let end = object.and_then(|object| object.status.valid_until.as_ref());
        let is_over = end.is_some_and(|end| now > end.0);
        if is_over {
            let place = format!("{}/{}", candidate.wec.name(), score.resource_name);
            said.expired.push(place);
        } else if let Some(end) = end {
            said.until = Some(said.until.map_or(end.0, |other| other.min(end.0)));
        }
        let value = object.filter(|_| !is_over);
        let value = value.and_then(|object| value_of(object, &score.score_name));
        said.scores.push(value.unwrap_or_default());
    }
    said
}

fn value_of(object: &AddOnPlacementScore, name: &str) -> Option<i64> {
    let scores = object.status.scores.iter();
    let mut named = scores.filter(|score| score.name == name);
    // The CRD holds scores to their range; a server without it must not tip the balance.
    named
        .next()
        .map(|score| i64::from(score.value).clamp(-SCORE_MAX, SCORE_MAX))
}

/// As Go turns a fraction into a whole number.
fn truncated(number: f64) -> i64 {
    number.trunc() as i64
}

/// A quantity as a number; nothing for what is none.
fn amount(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-'));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let factor = match unit {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        "Pi" => 1_125_899_906_842_624.0,
        "Ei" => 1_152_921_504_606_846_976.0,
        // What is left is an exponent, which Rust writes alike.
        _ => return text.parse().ok().filter(|number: &f64| number.is_finite()),
    };
    let number: f64 = number.parse().ok()?;
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;
    use std::sync::Arc;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn candidate(name: &str, elsewhere: u32, status: Value, scores: Value) -> Candidate {
        let object = json!({"metadata": {"name": name}, "status": status});
        Candidate {
            wec: Arc::new(Wec {
                version: 0,
                object: Arc::new(serde_json::from_value(object).expect("a ManagedCluster")),
                scores: serde_json::from_value(scores).expect("scores"),
            }),
            elsewhere,
        }
    }

    fn scored(prioritizer: &Prioritizer, candidates: &[Candidate], decided: &[&str]) -> Scores {
        let snapshot = Snapshot {
            now: at(1000),
            bindings: 1,
            sets: Vec::new(),
            candidates: Vec::new(),
            elsewhere_most: candidates
                .iter()
                .map(|one| one.elsewhere)
                .max()
                .unwrap_or_default(),
            existing: Vec::new(),
        };
        let candidates: Vec<_> = candidates.iter().collect();
        prioritizer.score(&candidates, &snapshot, &decided.iter().copied().collect())
    }

    fn plain(name: &str, elsewhere: u32) -> Candidate {
        candidate(name, elsewhere, json!({}), json!({}))
    }

    #[test]
    fn balance_prefers_whoever_few_have_chosen() {
        let scores = |counts: &[u32]| {
            let candidates: Vec<_> = counts.iter().map(|count| plain("c", *count)).collect();
            scored(&Prioritizer::Balance, &candidates, &[]).scores
        };
        assert_eq!(scores(&[0, 0]), [100, 100]);
        assert_eq!(scores(&[0, 1, 2]), [100, 0, -100]);
        // 100·(0.5 − 1/3) is 16.67 and 100·(0.5 − 2/3) is −16.67; fractions fall towards 0.
        assert_eq!(scores(&[1, 2, 3]), [32, -32, -100]);
    }

    #[test]
    fn steady_prefers_whoever_is_chosen() {
        let candidates = [plain("a", 0), plain("b", 0)];
        assert_eq!(
            scored(&Prioritizer::Steady, &candidates, &["b"]).scores,
            [0, 100]
        );
    }

    #[test]
    fn resources_are_compared_between_the_least_and_the_most() {
        let with = |cpu: Value| {
            let status = json!({"allocatable": {"cpu": cpu}, "capacity": {"cpu": "100"}});
            candidate("c", 0, status, json!({}))
        };
        let cpu = Prioritizer::Allocatable(Resource::Cpu);
        let all = [with(json!("4")), with(json!("8500m")), with(json!("12"))];
        assert_eq!(scored(&cpu, &all, &[]).scores, [-100, 12, 100]);
        assert_eq!(
            scored(&cpu, &[with(json!("4")), with(json!("4000m"))], &[]).scores,
            [100, 100]
        );
        let half = candidate("c", 0, json!({"allocatable": {"cpu": "4"}}), json!({}));
        let unknown = [with(json!("1")), plain("none", 0), half, with(json!("2"))];
        assert_eq!(scored(&cpu, &unknown, &[]).scores, [-100, 0, 0, 100]);
        assert_eq!(scored(&cpu, &[plain("none", 0)], &[]).scores, [0]);
        let memory = |amount: &str| {
            let status = json!({"allocatable": {"memory": amount}, "capacity": {"memory": amount}});
            candidate("c", 0, status, json!({}))
        };
        let all = [memory("1Gi"), memory("2147483648"), memory("3Gi")];
        let memory = Prioritizer::Allocatable(Resource::Memory);
        assert_eq!(scored(&memory, &all, &[]).scores, [-100, 0, 100]);
    }

    #[test]
    fn an_add_ons_score_counts_while_it_is_true() {
        let said = |value: i32, until: Value| {
            let status = json!({"scores": [{"name": "other", "value": 1}, {"name": "s", "value": value}], "validUntil": until});
            candidate(
                "c",
                0,
                json!({}),
                json!({"r": {"metadata": {"name": "r"}, "status": status}}),
            )
        };
        let score = AddOnScore {
            resource_name: "r".to_owned(),
            score_name: "s".to_owned(),
        };
        let prioritizer = Prioritizer::AddOn(score);
        let all = [
            said(70, json!(null)),
            said(-30, json!(at(1060).to_string())),
            said(50, json!(at(999).to_string())),
            said(500, json!(at(1000).to_string())),
            plain("none", 0),
        ];
        let scores = scored(&prioritizer, &all, &[]);
        assert_eq!(scores.scores, [70, -30, 0, 100, 0]);
        assert_eq!(scores.until, Some(at(1000)), "the end itself still counts");
        assert_eq!(scores.expired, ["c/r"]);
        let other = AddOnScore {
            resource_name: "r".to_owned(),
            score_name: "t".to_owned(),
        };
        assert_eq!(
            scored(&Prioritizer::AddOn(other), &all[..1], &[]).scores,
            [0]
        );
    }

    #[test]
    fn quantities_are_numbers() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("0.5", Some(0.5)),
            (".5", Some(0.5)),
            ("1500m", Some(1.5)),
            ("-2k", Some(-2000.0)),
            ("1Ki", Some(1024.0)),
            ("1e3", Some(1000.0)),
            ("12E", Some(12e18)),
            ("1E2", Some(100.0)),
            ("", None),
            ("many", None),
            ("inf", None),
        ] {
            assert_eq!(amount(text), expected, "{text}");
        }
    }
}
