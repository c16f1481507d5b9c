//! How a new configuration spreads over the WECs of a placement: who goes now.
//!
//! A WEC that goes counts as busy until it has been well for `minSuccessTime`. One that has not
//! come through by `progressDeadline` has failed; more failures than `maxFailures` stop the rest.

use hyades_api::names::annotations;
use hyades_api::names::labels;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_api::rollout::MandatoryGroup;
use hyades_api::rollout::RolloutStrategy;
use hyades_runtime::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use hyades_runtime::kube::ResourceExt;
use jiff::SignedDuration;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// How far a WEC is with the wanted configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It has another one.
    ToApply,
    /// It is on its way.
    Progressing,
    /// It has arrived.
    Succeeded,
    /// It did not get through.
    Failed,
}

/// A WEC's progress, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) progress: Progress,
    pub(crate) since: Option<Timestamp>,
}

/// A decision group of the placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) index: i32,
    pub(crate) clusters: BTreeSet<String>,
}

/// Who goes now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The WECs that shall ask for the wanted configuration.
    pub(crate) go: BTreeSet<String>,
    /// Those that ran out of time.
    pub(crate) timed_out: BTreeSet<String>,
    /// When time alone will change the answer.
    pub(crate) again_at: Option<Timestamp>,
}

impl Group {
    /// The decision groups of a placement; nothing while they are not known.
    ///
    /// Objects of decisions are made empty and filled afterwards, and the placement's own status is
    /// written last. Before it agrees with them, a WEC that is in none of them may still be chosen:
    /// the placement is new, or somebody deleted an object of its decisions. Those who write
    /// decisions themselves have switched scheduling off, and write no status.
    pub(crate) fn of(
        placement: &Placement,
        decisions: impl IntoIterator<Item = Arc<PlacementDecision>>,
    ) -> Option<Vec<Self>> {
        let mut groups = BTreeMap::new();
        for decision in decisions {
            let label = decision.labels().get(labels::PLACEMENT);
            if decision.namespace() == placement.namespace()
                && label == placement.metadata.name.as_ref()
            {
                Self::gather(&mut groups, &decision);
            }
        }
        if groups.is_empty() {
            return None;
        }
        let groups: Vec<Self> = groups.into_values().collect();
        let disabled = placement
            .annotations()
            .get(annotations::SCHEDULING_DISABLED);
        let is_by_hand = disabled.is_some_and(|value| value == "true");
        let status = &placement.status;
        let named: BTreeSet<&String> = groups.iter().flat_map(|group| &group.clusters).collect();
        let agrees = !status.conditions.is_empty()
            && usize::try_from(status.number_of_selected_clusters) == Ok(named.len());
        (is_by_hand || agrees).then_some(groups)
    }

    /// Puts what one object of a placement's decisions names to the groups, by their place.
    fn gather(groups: &mut BTreeMap<i32, Self>, decision: &PlacementDecision) {
        let label = |key: &str| decision.labels().get(key).map_or("", String::as_str);
        let index = label(labels::DECISION_GROUP_INDEX).parse().unwrap_or(0);
        let group = groups.entry(index).or_insert_with(|| Self {
            name: label(labels::DECISION_GROUP_NAME).to_owned(),
            index,
            clusters: BTreeSet::new(),
        });
        let chosen = decision.status.decisions.iter();
        group
            .clusters
            .extend(chosen.map(|chosen| chosen.cluster_name.clone()));
    }
}

struct Rules {
    soak: SignedDuration,
    deadline: Option<SignedDuration>,
    failures_max: usize,
    concurrency: usize,
}

/// Decides who goes. `per_group` is the placement's number of WECs a group, which bounds
/// `Progressive` when the strategy does not.
pub(crate) fn decide(
    strategy: &RolloutStrategy,
    states: &BTreeMap<String, State>,
    groups: &[Group],
    per_group: Option<&IntOrString>,
    now: Timestamp,
) -> Decision {
    let total = states.len();
    let everybody: BTreeSet<&str> = states.keys().map(String::as_str).collect();
    let mut walk = Walk {
        states,
        now,
        decision: Decision::default(),
        failures: 0,
    };
    match strategy.r#type.as_str() {
        "Progressive" => {
            let settings = strategy.progressive.clone().unwrap_or_default();
            let rules = |concurrency| {
                rules(
                    &settings.min_success_time,
                    &settings.progress_deadline,
                    settings.max_failures.as_ref(),
                    total,
                    concurrency,
                )
            };
            let mandatory = pick(groups, &settings.mandatory_decision_groups);
            if !walk.groups(&mandatory, &rules(usize::MAX)) {
                return walk.decision;
            }
            let done: BTreeSet<&str> = mandatory
                .iter()
                .flat_map(|group| group.clusters.iter().map(String::as_str))
                .collect();
            let limit = settings.max_concurrency.as_ref().or(per_group);
            let concurrency = limit.and_then(|limit| share(limit, total));
            let rest = everybody.difference(&done).copied();
            walk.clusters(rest, &rules(concurrency.unwrap_or(usize::MAX).max(1)));
        }
        "ProgressivePerGroup" => {
            let settings = strategy.progressive_per_group.clone().unwrap_or_default();
            let rules = rules(
                &settings.min_success_time,
                &settings.progress_deadline,
                settings.max_failures.as_ref(),
                total,
                usize::MAX,
            );
            let mandatory = pick(groups, &settings.mandatory_decision_groups);
            let others: Vec<&Group> = groups
                .iter()
                .filter(|group| !mandatory.iter().any(|other| other.index == group.index))
                .collect();
            if walk.groups(&mandatory, &rules) && walk.groups(&others, &rules) {
                let grouped: BTreeSet<&str> = groups
                    .iter()
                    .flat_map(|group| group.clusters.iter().map(String::as_str))
                    .collect();
                walk.clusters(everybody.difference(&grouped).copied(), &rules);
            }
        }
        _ => {
            let settings = strategy.all.clone().unwrap_or_default();
            let mut rules = rules(
                &settings.min_success_time,
                &settings.progress_deadline,
                None,
                total,
                usize::MAX,
            );
            // All go at once, so that no failure can stop anybody.
            rules.failures_max = usize::MAX;
            walk.clusters(everybody.into_iter(), &rules);
        }
    }
    walk.decision
}

struct Walk<'a> {
    states: &'a BTreeMap<String, State>,
    now: Timestamp,
    decision: Decision,
    failures: usize,
}

impl Walk<'_> {
    /// One group after the other; whether all have come through.
    fn groups(&mut self, groups: &[&Group], rules: &Rules) -> bool {
        groups
            .iter()
            .all(|group| self.clusters(group.clusters.iter().map(String::as_str), rules))
    }

    /// The WECs of one group, in the order of their names; whether all have come through.
    fn clusters<'b>(&mut self, names: impl Iterator<Item = &'b str>, rules: &Rules) -> bool {
        let mut busy = 0;
        for name in names {
            let Some(state) = self.states.get(name) else {
                continue;
            };
            let since = |length: SignedDuration| {
                let begun = state.since?;
                let end = begun.checked_add(length).unwrap_or(Timestamp::MAX);
                (end > self.now).then_some(end)
            };
            match state.progress {
                Progress::Succeeded => match since(rules.soak) {
                    None => {
                        self.decision.go.insert(name.to_owned());
                        continue;
                    }
                    Some(end) => self.look_again(end),
                },
                Progress::ToApply => {}
                Progress::Progressing | Progress::Failed => {
                    let end = rules.deadline.map(&since);
                    match end {
                        Some(Some(end)) => self.look_again(end),
                        Some(None) if state.since.is_some() => {
                            self.failures += 1;
                            self.decision.timed_out.insert(name.to_owned());
                            if self.failures > rules.failures_max {
                                return false;
                            }
                            continue;
                        }
                        Some(None) | None => {}
                    }
                }
            }
            if busy >= rules.concurrency {
                return false;
            }
            busy += 1;
            self.decision.go.insert(name.to_owned());
        }
        busy == 0
    }

    fn look_again(&mut self, at: Timestamp) {
        let earlier = self.decision.again_at.is_none_or(|known| at < known);
        if earlier {
            self.decision.again_at = Some(at);
        }
    }
}

fn rules(
    soak: &str,
    deadline: &str,
    failures: Option<&IntOrString>,
    total: usize,
    concurrency: usize,
) -> Rules {
    Rules {
        soak: duration(soak).unwrap_or_default(),
        deadline: duration(deadline),
        failures_max: failures
            .and_then(|failures| share(failures, total))
            .unwrap_or(0),
        concurrency,
    }
}

/// The groups named, in the order named.
fn pick<'a>(groups: &'a [Group], wanted: &[MandatoryGroup]) -> Vec<&'a Group> {
    let find = |wanted: &MandatoryGroup| {
        groups
            .iter()
            .find(|group| match wanted.group_name.as_str() {
                "" => group.index == wanted.group_index,
                name => group.name == name,
            })
    };
    wanted.iter().filter_map(find).collect()
}

/// A number, or a share of `total`, rounded up.
fn share(value: &IntOrString, total: usize) -> Option<usize> {
    match value {
        IntOrString::Int(number) => usize::try_from(*number).ok(),
        IntOrString::String(text) => match text.strip_suffix('%') {
            Some(percent) => {
                let percent: usize = percent.parse().ok()?;
                Some((total * percent.min(100)).div_ceil(100))
            }
            None => text.parse().ok(),
        },
    }
}

/// A duration of hours, minutes and seconds, as the schema lets it in; nothing for `None`.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut seconds: i64 = 0;
    let mut number = String::new();
    for character in text.chars() {
        let unit = match character {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            digit if digit.is_ascii_digit() => {
                number.push(digit);
                continue;
            }
            _ => return None,
        };
        let count: i64 = number.parse().ok()?;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        number.clear();
    }
    (number.is_empty() && !text.is_empty()).then(|| SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
