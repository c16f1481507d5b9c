//! Whose status becomes the object's own: a pure decision from who asked for it, where the object
//! goes, and what came back.

use super::aggregate;
use crate::object::GroupResource;
use serde_json::Value;
use std::collections::BTreeSet;

/// WECs by name.
pub type Wecs<'a> = BTreeSet<&'a str>;

/// From which WECs an object's status comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    /// From this one.
    One(&'a str),
    /// From these, brought together.
    Several(Wecs<'a>),
    /// From nowhere.
    Nothing,
}

/// Decides by the destinations of those Bindings that want the status of a single WEC, and of those
/// that want that of several; `None` where no Binding does.
pub fn source<'a>(singleton: Option<&Wecs<'a>>, several: Option<&Wecs<'a>>) -> Source<'a> {
    let (wecs, may_be_several) = match (singleton, several) {
        (None, None) => return Source::Nothing,
        (Some(wecs), None) => (wecs.clone(), false),
        (None, Some(wecs)) => (wecs.clone(), true),
        (Some(one), Some(other)) => (one | other, true),
    };
    match (wecs.len(), wecs.first()) {
        (1, Some(wec)) => Source::One(wec),
        (0 | 1, _) => Source::Nothing,
        _ if may_be_several => Source::Several(wecs),
        _ => Source::Nothing,
    }
}

/// What is said of a status that came back, by a label of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It is that of one WEC.
    Singleton,
    /// It was brought together from several.
    Several,
}

/// What is to become of an object's status.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It is to be this.
    Write(Value, Mark),
    /// It stays as it is: the WEC has the object, and nothing to say of it yet.
    Keep,
    /// What was returned before goes.
    Clear,
}

/// Decides what becomes of a status. `report` tells what a WEC reports: nothing if it does not know
/// the object, and `None` within if the object has no status there.
pub fn outcome<'r>(
    resource: &GroupResource,
    source: &Source<'_>,
    report: impl Fn(&str) -> Option<Option<&'r Value>>,
) -> Outcome {
    match source {
        Source::Nothing => Outcome::Clear,
        Source::One(wec) => match report(wec) {
            None => Outcome::Clear,
            Some(None) => Outcome::Keep,
            Some(Some(status)) => Outcome::Write(status.clone(), Mark::Singleton),
        },
        Source::Several(wecs) => {
            let statuses: Vec<&Value> = wecs.iter().filter_map(|wec| report(wec)?).collect();
            match statuses[..] {
                [] => Outcome::Clear,
                [only] => Outcome::Write(only.clone(), Mark::Singleton),
                _ => Outcome::Write(aggregate::aggregate(resource, &statuses), Mark::Several),
            }
        }
    }
}

/// Whether an object's status is never touched: a WDS itself keeps that of its namespaces and
/// definitions.
pub fn is_kept_by_the_wds(resource: &GroupResource) -> bool {
    let (group, plural) = (resource.group.as_str(), resource.resource.as_str());
    matches!(
        (group, plural),
        ("", "namespaces") | ("apiextensions.k8s.io", "customresourcedefinitions")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_asks_and_where_the_object_goes_decide_whose_status_it_gets() {
        let wecs = |names: &[&'static str]| -> Wecs<'static> { names.iter().copied().collect() };
        let (none, one, other, two) = (wecs(&[]), wecs(&["a"]), wecs(&["b"]), wecs(&["a", "b"]));
        let several = Source::Several(two.clone());
        type Case<'a> = (Option<&'a Wecs<'a>>, Option<&'a Wecs<'a>>, Source<'a>);
        let cases: [Case<'_>; 13] = [
            (Some(&one), None, Source::One("a")),
            (Some(&none), None, Source::Nothing),
            (Some(&two), None, Source::Nothing),
            (None, Some(&one), Source::One("a")),
            (None, Some(&two), several.clone()),
            (None, Some(&none), Source::Nothing),
            (Some(&one), Some(&one), Source::One("a")),
            (Some(&one), Some(&none), Source::One("a")),
            (Some(&none), Some(&one), Source::One("a")),
            (Some(&one), Some(&other), several.clone()),
            (Some(&two), Some(&one), several),
            (Some(&none), Some(&none), Source::Nothing),
            (None, None, Source::Nothing),
        ];
        for (singleton, multi, expected) in cases {
            assert_eq!(
                source(singleton, multi),
                expected,
                "{singleton:?} {multi:?}"
            );
        }
    }

    #[test]
    fn what_came_back_decides_what_becomes_of_the_status() {
        let (ready, unready) = (json!({"readyReplicas": 2}), json!({"readyReplicas": 1}));
        let deployments = GroupResource::new("apps", "deployments");
        let decide = |source: Source<'_>, a: Option<Option<&Value>>, b: Option<Option<&Value>>| {
            outcome(&deployments, &source, |wec| match wec {
                "a" => a,
                _ => b,
            })
        };
        let both = || Source::Several(["a", "b"].into());
        let copy = |status: &Value| Outcome::Write(status.clone(), Mark::Singleton);
        assert_eq!(
            decide(Source::Nothing, Some(Some(&ready)), None),
            Outcome::Clear
        );
        assert_eq!(decide(Source::One("a"), None, None), Outcome::Clear);
        assert_eq!(decide(Source::One("a"), Some(None), None), Outcome::Keep);
        assert_eq!(
            decide(Source::One("a"), Some(Some(&ready)), None),
            copy(&ready)
        );
        assert_eq!(decide(both(), None, Some(None)), Outcome::Clear);
        assert_eq!(decide(both(), Some(None), Some(Some(&ready))), copy(&ready));
        let Outcome::Write(status, Mark::Several) =
            decide(both(), Some(Some(&ready)), Some(Some(&unready)))
        else {
            panic!("two reports are brought together")
        };
        assert_eq!(status["readyReplicas"], 1);
    }
}
