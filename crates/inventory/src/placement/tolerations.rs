//! Which taints a placement tolerates, and until when.

use super::policy::Misconfigured;
use hyades_api::cluster::Taint;
use hyades_api::names::taints;
use hyades_api::placement::Toleration;
use jiff::Timestamp;

/// The name of this part in conditions, as upstream's plugin has it.
pub(super) const PLUGIN: &str = "TaintToleration";

const EXISTS: &str = "Exists";

/// Refuses tolerations that mean nothing.
pub(super) fn check(tolerations: &[Toleration]) -> Result<(), Misconfigured> {
    for toleration in tolerations {
        let exists = toleration.operator == EXISTS;
        if toleration.key.is_empty() && !exists {
            let message = "If the key is empty, operator must be Exists.";
            return Err(Misconfigured::new(PLUGIN, message));
        }
        if exists && !toleration.value.is_empty() {
            let message = "If the operator is Exists, the value should be empty.";
            return Err(Misconfigured::new(PLUGIN, message));
        }
    }
    Ok(())
}

/// Whether a WEC may be chosen in spite of its taints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may not.
    Kept,
    /// It may for ever, as far as is known.
    Free,
    /// It may until this time.
    FreeUntil(Timestamp),
}

/// Judges the taints of a WEC. `decided` says that it is chosen already.
pub(super) fn judge(
    taints: &[Taint],
    tolerations: &[Toleration],
    decided: bool,
    now: Timestamp,
) -> Verdict {
    let mut until: Option<Timestamp> = None;
    for taint in taints {
        match judge_one(taint, tolerations, decided, now) {
            Verdict::Kept => return Verdict::Kept,
            Verdict::Free => {}
            Verdict::FreeUntil(end) => until = Some(until.map_or(end, |other| other.min(end))),
        }
    }
    until.map_or(Verdict::Free, Verdict::FreeUntil)
}

fn judge_one(taint: &Taint, tolerations: &[Toleration], decided: bool, now: Timestamp) -> Verdict {
    let harmless = taint.effect == taints::PREFER_NO_SELECT
        || (taint.effect == taints::NO_SELECT_IF_NEW && decided);
    if harmless {
        return Verdict::Free;
    }
    // Of several tolerations for one taint the longest counts: a short one takes nothing away.
    let mut best = Verdict::Kept;
    for toleration in tolerations.iter().filter(|one| meets(one, taint)) {
        match (end(toleration, taint, now), best) {
            (None, _) => return Verdict::Free,
            (Some(at), Verdict::FreeUntil(other)) if at <= other => {}
            (Some(at), _) if at > now => best = Verdict::FreeUntil(at),
            (Some(_), _) => {}
        }
    }
    best
}

fn meets(toleration: &Toleration, taint: &Taint) -> bool {
    let same_effect = toleration.effect.is_empty() || toleration.effect == taint.effect;
    let same_key = toleration.key.is_empty() || toleration.key == taint.key;
    let same_value = match toleration.operator.as_str() {
        "" | "Equal" => toleration.value == taint.value.as_deref().unwrap_or_default(),
        operator => operator == EXISTS,
    };
    same_effect && same_key && same_value
}

/// When a toleration ends. A taint without a time was set this moment: the hub will stamp it.
fn end(toleration: &Toleration, taint: &Taint, now: Timestamp) -> Option<Timestamp> {
    let seconds = toleration.toleration_seconds?;
    let added = taint.time_added.as_ref().map_or(now, |time| time.0);
    let length = jiff::Span::new().try_seconds(seconds);
    let end = length.and_then(|length| added.checked_add(length));
    // Out of range means later than any clock will show.
    Some(end.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::Value;
    use serde_json::json;

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.to_owned(),
            value: (!value.is_empty()).then(|| value.to_owned()),
            effect: effect.to_owned(),
            time_added: Some(Time(at(NOW - 60))),
        }
    }

    fn tolerations(stated: Value) -> Vec<Toleration> {
        serde_json::from_value(stated).expect("tolerations")
    }

    fn verdict(taint: &Taint, stated: Value, decided: bool) -> Verdict {
        let taints = std::slice::from_ref(taint);
        judge(taints, &tolerations(stated), decided, at(NOW))
    }

    #[test]
    fn a_taint_keeps_away_whoever_does_not_tolerate_it() {
        let gpu = taint("gpu", "yes", "NoSelect");
        for (stated, expected) in [
            (json!([]), Verdict::Kept),
            (json!([{"key": "gpu", "value": "yes"}]), Verdict::Free),
            (
                json!([{"key": "gpu", "operator": "Equal", "value": "yes"}]),
                Verdict::Free,
            ),
            (
                json!([{"key": "gpu", "operator": "Equal", "value": "no"}]),
                Verdict::Kept,
            ),
            (json!([{"key": "gpu", "operator": "Equal"}]), Verdict::Kept),
            (json!([{"key": "gpu", "operator": "Exists"}]), Verdict::Free),
            (json!([{"key": "cpu", "operator": "Exists"}]), Verdict::Kept),
            (json!([{"operator": "Exists"}]), Verdict::Free),
            (
                json!([{"operator": "Exists", "effect": "NoSelect"}]),
                Verdict::Free,
            ),
            (
                json!([{"operator": "Exists", "effect": "NoSelectIfNew"}]),
                Verdict::Kept,
            ),
            (
                json!([{"key": "gpu", "operator": "Like", "value": "yes"}]),
                Verdict::Kept,
            ),
            (
                json!([{"key": "x", "value": "x"}, {"key": "gpu", "operator": "Exists"}]),
                Verdict::Free,
            ),
        ] {
            assert_eq!(verdict(&gpu, stated.clone(), false), expected, "{stated}");
            assert_eq!(
                verdict(&gpu, stated.clone(), true),
                expected,
                "chosen already: {stated}"
            );
        }
    }

    #[test]
    fn the_milder_effects_are_milder() {
        let new = taint("new", "", "NoSelectIfNew");
        assert_eq!(verdict(&new, json!([]), false), Verdict::Kept);
        assert_eq!(verdict(&new, json!([]), true), Verdict::Free);
        assert_eq!(verdict(&new, json!([{"key": "new"}]), false), Verdict::Free);
        let rather = taint("rather", "", "PreferNoSelect");
        assert_eq!(verdict(&rather, json!([]), false), Verdict::Free);
    }

    #[test]
    fn a_toleration_with_seconds_ends() {
        let gone = taint("gone", "", "NoSelect");
        let seconds = |seconds: i64| json!([{"key": "gone", "operator": "Exists", "tolerationSeconds": seconds}]);
        assert_eq!(
            verdict(&gone, seconds(90), true),
            Verdict::FreeUntil(at(NOW + 30))
        );
        assert_eq!(
            verdict(&gone, seconds(60), true),
            Verdict::Kept,
            "the moment has come"
        );
        assert_eq!(verdict(&gone, seconds(0), true), Verdict::Kept);
        assert_eq!(verdict(&gone, seconds(-5), true), Verdict::Kept);
        assert_eq!(
            verdict(&gone, seconds(i64::MAX), true),
            Verdict::FreeUntil(Timestamp::MAX)
        );
        let unstamped = Taint {
            time_added: None,
            ..gone.clone()
        };
        assert_eq!(
            verdict(&unstamped, seconds(5), true),
            Verdict::FreeUntil(at(NOW + 5))
        );
        let two = json!([
            {"key": "gone", "operator": "Exists", "tolerationSeconds": 70},
            {"key": "gone", "operator": "Exists", "tolerationSeconds": 100},
        ]);
        assert_eq!(verdict(&gone, two, true), Verdict::FreeUntil(at(NOW + 40)));
    }

    #[test]
    fn of_several_taints_the_first_to_end_counts() {
        let taints = [taint("a", "", "NoSelect"), taint("b", "", "NoSelect")];
        let both = tolerations(json!([
            {"key": "a", "operator": "Exists", "tolerationSeconds": 300},
            {"key": "b", "operator": "Exists", "tolerationSeconds": 200},
        ]));
        assert_eq!(
            judge(&taints, &both, false, at(NOW)),
            Verdict::FreeUntil(at(NOW + 140))
        );
        assert_eq!(judge(&taints, &both[..1], false, at(NOW)), Verdict::Kept);
        assert_eq!(judge(&[], &[], false, at(NOW)), Verdict::Free);
    }

    #[test]
    fn tolerations_that_mean_nothing_are_refused_in_upstreams_words() {
        let refused = |stated: Value| {
            check(&tolerations(stated))
                .expect_err("refused")
                .to_string()
        };
        assert_eq!(
            refused(json!([{"operator": "Equal"}])),
            "TaintToleration:If the key is empty, operator must be Exists."
        );
        assert_eq!(
            refused(json!([{"key": "k", "operator": "Exists", "value": "v"}])),
            "TaintToleration:If the operator is Exists, the value should be empty."
        );
        assert_eq!(
            check(&tolerations(json!([{"operator": "Exists"}, {"key": "k"}]))),
            Ok(())
        );
    }
}
