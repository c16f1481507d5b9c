//! The numbers, each beside its target.

use super::machine::Machine;
use serde::Serialize;
use serde_json::Value;
use serde_json::json;
use std::fmt;
use std::time::Duration;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Unit {
    /// Thousandths of a second.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Millions of bytes.
    Megabytes,
    /// Thousands of bytes.
    Kilobytes,
    /// Per second.
    PerSecond,
    /// Things.
    Count,
}

impl fmt::Display for Unit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Megabytes => "MB",
            Self::Kilobytes => "kB",
            Self::PerSecond => "/s",
            Self::Count => "",
        })
    }
}

/// What a number shall be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// Smaller than this.
    Below(f64),
    /// This, or more.
    AtLeast(f64),
}

impl Target {
    /// Whether a value is as it shall be.
    pub fn is_met(self, value: f64) -> bool {
        match self {
            Self::Below(limit) => value < limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(limit) => write!(formatter, "< {limit}"),
            Self::AtLeast(limit) => write!(formatter, "≥ {limit}"),
        }
    }
}

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What was measured.
    pub name: String,
    /// What came out.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
    /// What it shall be, if anything was promised.
    pub target: Option<Target>,
}

impl Measure {
    /// A duration in milliseconds.
    pub(super) fn milliseconds(name: &str, value: Duration, target: Option<Target>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.as_secs_f64() * 1e3,
            unit: Unit::Milliseconds,
            target,
        }
    }

    /// "pass", "MISS", or nothing when nothing was promised.
    fn verdict(&self) -> &'static str {
        match self.target.map(|target| target.is_met(self.value)) {
            Some(true) => "pass",
            Some(false) => "MISS",
            None => "",
        }
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "target": self.target,
            "met": self.target.map(|target| target.is_met(self.value)),
        })
    }
}

/// All numbers of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The version measured.
    pub version: String,
    /// Where.
    pub machine: Machine,
    /// The numbers, in the order in which they were measured.
    pub measures: Vec<Measure>,
}

impl Report {
    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "version": self.version,
            "machine": self.machine,
            "measures": self.measures.iter().map(Measure::json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "hyades {} on {}\n", self.version, self.machine)?;
        let target = |measure: &Measure| {
            let target = measure.target.map(|target| target.to_string());
            target.unwrap_or_else(|| "–".to_owned())
        };
        let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or_default();
        let names = width(
            &mut self
                .measures
                .iter()
                .map(|measure| measure.name.chars().count()),
        );
        let targets = width(
            &mut self
                .measures
                .iter()
                .map(|measure| target(measure).chars().count()),
        );
        for measure in &self.measures {
            let value = format!("{:.*}", decimals(measure.value), measure.value);
            let line = format!(
                "{:<names$}  {value:>8} {:<2}  {:<targets$}  {}",
                measure.name,
                measure.unit.to_string(),
                target(measure),
                measure.verdict()
            );
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// As many decimals as leave about three digits.
fn decimals(value: f64) -> usize {
    match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn report() -> Report {
        let measure = |name: &str, value, unit, target| Measure {
            name: name.to_owned(),
            value,
            unit,
            target,
        };
        Report {
            version: "1.2.3".to_owned(),
            machine: Machine {
                processor: "P".to_owned(),
                cores: 2,
                memory_bytes: 1 << 30,
                kernel: "6.1".to_owned(),
                load_before: 0.0,
            },
            measures: vec![
                measure("a", 4.999, Unit::Seconds, Some(Target::Below(5.0))),
                measure("a longer name", 12.34, Unit::Milliseconds, None),
                measure("c", 9_999.4, Unit::PerSecond, Some(Target::AtLeast(1e4))),
            ],
        }
    }

    #[test]
    fn a_miss_is_printed_as_a_miss() {
        expect![[r#"
            hyades 1.2.3 on P, 2 cores, 1 GiB, Linux 6.1, load 0.00 before

            a                  5.00 s   < 5      pass
            a longer name      12.3 ms  –
            c                  9999 /s  ≥ 10000  MISS
        "#]]
        .assert_eq(&report().to_string());
    }

    #[test]
    fn programs_read_exact_values() {
        let json = report().json();
        assert_eq!(json["measures"][0]["value"], 4.999);
        assert_eq!(json["measures"][0]["target"], json!({"below": 5.0}));
        assert_eq!(json["measures"][0]["met"], true);
        assert_eq!(json["measures"][1]["met"], Value::Null);
        assert_eq!(json["measures"][2]["unit"], "perSecond");
        assert_eq!(json["machine"]["loadBefore"], 0.0);
    }
}
