//! Capacity of a WEC: quantities of its nodes added up.

use hyades_runtime::k8s_openapi::api::core::v1::Node;
use hyades_runtime::k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

/// Resources by name.
pub type Resources = BTreeMap<String, Quantity>;

/// Nano-units: the finest step a quantity can have, so that sums are exact.
const NANOS: i128 = 1_000_000_000;

/// How a sum is written: in the way of the first quantity added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    Decimal,
    Binary,
}

/// The resources of all nodes, and those of all schedulable nodes.
pub fn sum<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> (Resources, Resources) {
    let mut capacity = Sums::default();
    let mut allocatable = Sums::default();
    for node in nodes {
        let Some(status) = &node.status else { continue };
        capacity.add_all(status.capacity.as_ref());
        let unschedulable = node
            .spec
            .as_ref()
            .and_then(|spec| spec.unschedulable)
            .unwrap_or(false);
        if !unschedulable {
            allocatable.add_all(status.allocatable.as_ref());
        }
    }
    (capacity.write(), allocatable.write())
}

/// `fresh`, plus what `current` holds beyond the resources that nodes own: others may report more.
pub fn keep_foreign(current: &Resources, fresh: Resources) -> Resources {
    let mut merged = current.clone();
    merged.extend(fresh);
    merged
}

#[derive(Default)]
struct Sums(BTreeMap<String, (i128, Style)>);

impl Sums {
    fn add_all(&mut self, resources: Option<&Resources>) {
        for (name, quantity) in resources.into_iter().flatten() {
            match parse(&quantity.0) {
                Some((nanos, style)) => {
                    let sum = self.0.entry(name.clone()).or_insert((0, style));
                    sum.0 = sum.0.saturating_add(nanos);
                }
                None => tracing::warn!("a node's {name} {:?} is no quantity: left out", quantity.0),
            }
        }
    }

    fn write(self) -> Resources {
        self.0
            .into_iter()
            .map(|(name, (nanos, style))| (name, Quantity(format(nanos, style))))
            .collect()
    }
}

fn binary_exponent(suffix: &str) -> Option<u32> {
    ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
        .iter()
        .position(|known| *known == suffix)
        .map(|at| at as u32 + 1)
}

fn decimal_exponent(suffix: &str) -> Option<i32> {
    let known = [
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("", 0),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    let found = known
        .iter()
        .find(|(name, _)| *name == suffix)
        .map(|(_, exponent)| *exponent);
    found.or_else(|| {
        suffix
            .strip_prefix(['e', 'E'])?
            .parse()
            .ok()
            .filter(|exponent| (-18..=18).contains(exponent))
    })
}

/// Reads a quantity into nano-units, rounding up below a nano-unit as Kubernetes does.
fn parse(text: &str) -> Option<(i128, Style)> {
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
        .unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || digits.contains(['+', '-']) {
        return None;
    }
    let mantissa: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_i128.checked_pow(fraction.len() as u32)?;
    let (scaled, style, divisor) = match binary_exponent(suffix) {
        Some(exponent) => (
            mantissa
                .checked_mul(NANOS)?
                .checked_mul(1024_i128.pow(exponent))?,
            Style::Binary,
            divisor,
        ),
        None => match decimal_exponent(suffix)? + 9 {
            exponent @ 0.. => (
                mantissa.checked_mul(10_i128.checked_pow(exponent as u32)?)?,
                Style::Decimal,
                divisor,
            ),
            exponent => (
                mantissa,
                Style::Decimal,
                divisor.checked_mul(10_i128.pow(-exponent as u32))?,
            ),
        },
    };
    let nanos = scaled.div_euclid(divisor) + i128::from(scaled.rem_euclid(divisor) != 0);
    Some((if negative { -nanos } else { nanos }, style))
}

/// Writes nano-units in canonical form: the largest suffix that leaves a whole number.
fn format(nanos: i128, style: Style) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    if style == Style::Binary && nanos % NANOS == 0 {
        let mut value = nanos / NANOS;
        let mut suffix = "";
        for next in ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"] {
            if value % 1024 != 0 {
                break;
            }
            value /= 1024;
            suffix = next;
        }
        return format!("{value}{suffix}");
    }
    let mut value = nanos;
    let mut suffix = "n";
    for next in ["u", "m", "", "k", "M", "G", "T", "P", "E"] {
        if value % 1000 != 0 {
            break;
        }
        value /= 1000;
        suffix = next;
    }
    format!("{value}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_runtime::k8s_openapi::api::core::v1::NodeSpec;
    use hyades_runtime::k8s_openapi::api::core::v1::NodeStatus;

    fn resources(pairs: &[(&str, &str)]) -> Resources {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Quantity((*value).to_owned())))
            .collect()
    }

    fn node(unschedulable: bool, pairs: &[(&str, &str)]) -> Node {
        Node {
            spec: Some(NodeSpec {
                unschedulable: Some(unschedulable),
                ..NodeSpec::default()
            }),
            status: Some(NodeStatus {
                capacity: Some(resources(pairs)),
                allocatable: Some(resources(pairs)),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }

    #[test]
    fn quantities_are_written_canonically() {
        for (text, canonical) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Ki", "1Mi"),
            ("2", "2"),
            ("1e3", "1k"),
            ("16Mi", "16Mi"),
            ("0", "0"),
            ("100u", "100u"),
            ("-5", "-5"),
            ("3.0", "3"),
            ("0.1n", "1n"),
            ("1500", "1500"),
            ("110", "110"),
        ] {
            let (nanos, style) = parse(text).expect(text);
            assert_eq!(format(nanos, style), canonical, "{text}");
        }
        for bad in ["", "x", "1x", "1.2.3", "Ki", "--1"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn nodes_are_added_up_and_cordoned_ones_are_not_allocatable() {
        let nodes = [
            node(
                false,
                &[("cpu", "1500m"), ("memory", "1Gi"), ("pods", "110")],
            ),
            node(
                true,
                &[("cpu", "500m"), ("memory", "512Mi"), ("pods", "110")],
            ),
        ];
        let (capacity, allocatable) = sum(&nodes);
        assert_eq!(
            capacity,
            resources(&[("cpu", "2"), ("memory", "1536Mi"), ("pods", "220")])
        );
        assert_eq!(
            allocatable,
            resources(&[("cpu", "1500m"), ("memory", "1Gi"), ("pods", "110")])
        );
    }

    #[test]
    fn what_others_report_is_kept() {
        let current = resources(&[("cpu", "1"), ("example.com/gpu", "4")]);
        let merged = keep_foreign(&current, resources(&[("cpu", "2")]));
        assert_eq!(merged, resources(&[("cpu", "2"), ("example.com/gpu", "4")]));
    }
}
