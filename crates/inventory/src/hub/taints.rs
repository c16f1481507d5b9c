//! The taints of an inventory object: those that follow its availability, and the times of all.

use hyades_api::cluster::Taint;
use hyades_api::names::taints;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The taints as they should be, if they differ.
///
/// `available` is the status of the condition on availability. Upstream's webhook stamps the time
/// on every taint; there need not be one here, so the hub does it for those without.
pub(super) fn decide(current: &[Taint], available: Option<&str>, now: &Time) -> Option<Vec<Taint>> {
    let (wanted, unwanted): (Option<&str>, &[&str]) = match available {
        Some("True") => (None, &[taints::UNREACHABLE, taints::UNAVAILABLE]),
        Some("False") => (Some(taints::UNAVAILABLE), &[taints::UNREACHABLE]),
        _ => (Some(taints::UNREACHABLE), &[taints::UNAVAILABLE]),
    };
    let mut next: Vec<Taint> = current
        .iter()
        .filter(|taint| !unwanted.contains(&taint.key.as_str()))
        .cloned()
        .collect();
    if let Some(key) = wanted
        && !next.iter().any(|taint| taint.key == key)
    {
        next.push(Taint {
            key: key.to_owned(),
            effect: taints::NO_SELECT.to_owned(),
            ..Taint::default()
        });
    }
    for taint in &mut next {
        taint.time_added.get_or_insert_with(|| now.clone());
    }
    (next != current).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).expect("a time"))
    }

    fn taint(key: &str, second: i64) -> Taint {
        Taint {
            key: key.to_owned(),
            effect: "NoSelect".to_owned(),
            value: None,
            time_added: Some(at(second)),
        }
    }

    #[test]
    fn taints_follow_availability() {
        let unreachable = [taint(taints::UNREACHABLE, 1)];
        let unavailable = [taint(taints::UNAVAILABLE, 1)];
        type Case<'a> = (&'a [Taint], Option<&'a str>, Option<&'a [&'a str]>);
        let cases: [Case<'_>; 8] = [
            (&[], None, Some(&[taints::UNREACHABLE])),
            (&[], Some("Unknown"), Some(&[taints::UNREACHABLE])),
            (&unreachable, Some("Unknown"), None),
            (&unreachable, Some("False"), Some(&[taints::UNAVAILABLE])),
            (&unavailable, Some("Unknown"), Some(&[taints::UNREACHABLE])),
            (&unreachable, Some("True"), Some(&[])),
            (&unavailable, Some("True"), Some(&[])),
            (&[], Some("True"), None),
        ];
        for (current, available, expected) in cases {
            let keys = |all: Vec<Taint>| all.into_iter().map(|t| t.key).collect::<Vec<_>>();
            let decided = decide(current, available, &at(2)).map(keys);
            let expected = expected.map(|all| all.iter().map(|k| (*k).to_owned()).collect());
            assert_eq!(decided, expected, "{current:?} {available:?}");
        }
    }

    #[test]
    fn taints_of_others_stay_and_get_a_time() {
        let mut own = taint("example.com/mine", 1);
        own.time_added = None;
        let decided = decide(&[own], Some("True"), &at(7)).expect("a change");
        assert_eq!(decided, [taint("example.com/mine", 7)]);
    }
}
