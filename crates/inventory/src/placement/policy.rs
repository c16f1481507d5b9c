//! A placement as it is followed: read once, and refused where it cannot be.

use super::cel::Expression;
use super::cel::Functions;
use super::groups::Grouping;
use super::prioritizers::Prioritizer;
use super::selector::Selector;
use super::snapshot::Wec;
use super::tolerations;
use hyades_api::placement::ClusterSelector;
use hyades_api::placement::Placement;
use hyades_api::placement::PrioritizerPolicy;
use hyades_api::placement::ScoreCoordinate;
use hyades_api::placement::Toleration;
use hyades_api::placement::WEIGHT_DEFAULT;
use std::borrow::Cow;

/// The name of the predicates in conditions, as upstream's plugin has it.
const PREDICATE: &str = "Predicate";

/// Most expressions in one placement. Compiling one takes tenths of a millisecond.
const EXPRESSIONS_MAX: usize = 64;

/// Most predicates in one placement, and most prioritizers: each costs a look at every WEC.
const PARTS_MAX: usize = 100;

/// Why a placement cannot be followed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{plugin}:{message}")]
pub struct Misconfigured {
    /// Which part of it: upstream's name of the plugin, empty where upstream has none.
    pub plugin: Cow<'static, str>,
    /// What is wrong.
    pub message: String,
}

impl Misconfigured {
    /// A part, and what is wrong with it.
    pub(super) fn new(plugin: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            plugin: plugin.into(),
            message: message.into(),
        }
    }
}

/// What a WEC must be like.
#[derive(Debug)]
struct Predicate {
    labels: Selector,
    claims: Selector,
    expressions: Vec<Expression>,
}

impl Predicate {
    fn of(stated: &ClusterSelector, functions: &Functions) -> Result<Self, String> {
        let expressions = stated.cel_selector.cel_expressions.iter();
        let expressions = expressions.map(|text| Expression::compile(text, functions));
        Ok(Self {
            labels: Selector::of_labels(&stated.label_selector)?,
            claims: Selector::of_expressions(&stated.claim_selector.match_expressions)?,
            expressions: expressions.collect::<Result<_, _>>()?,
        })
    }

    fn matches(&self, wec: &Wec, functions: &Functions) -> bool {
        self.labels
            .matches_labels(wec.object.metadata.labels.as_ref())
            && self.claims.matches(|name| wec.claim(name))
            && functions.all_true(&self.expressions, wec)
    }
}

/// A placement as it is followed.
#[derive(Debug)]
pub(super) struct Policy {
    predicates: Vec<Predicate>,
    pub(super) tolerations: Vec<Toleration>,
    pub(super) prioritizers: Vec<(Prioritizer, i64)>,
    /// How many WECs are asked for; all that fit if absent.
    pub(super) wanted: Option<usize>,
    pub(super) grouping: Grouping,
}

impl Policy {
    /// Reads a placement.
    pub(super) fn of(placement: &Placement, functions: &Functions) -> Result<Self, Misconfigured> {
        let spec = &placement.spec;
        let wanted = spec.number_of_clusters.map(usize::try_from).transpose();
        let wanted =
            wanted.map_err(|_| Misconfigured::new("", "numberOfClusters must be 0 or more"))?;
        let predicates = predicates(placement, functions)?;
        tolerations::check(&spec.tolerations)?;
        Ok(Self {
            predicates,
            tolerations: spec.tolerations.clone(),
            prioritizers: weights(&spec.prioritizer_policy)?,
            wanted,
            grouping: Grouping::of(&spec.decision_strategy.group_strategy)?,
        })
    }

    /// Whether a WEC fits any of the predicates.
    pub(super) fn fits(&self, wec: &Wec, functions: &Functions) -> bool {
        let mut predicates = self.predicates.iter();
        self.predicates.is_empty() || predicates.any(|one| one.matches(wec, functions))
    }
}

fn predicates(
    placement: &Placement,
    functions: &Functions,
) -> Result<Vec<Predicate>, Misconfigured> {
    let stated = &placement.spec.predicates;
    let selectors = || stated.iter().map(|one| &one.required_cluster_selector);
    let expressions = selectors().map(|one| one.cel_selector.cel_expressions.len());
    let expressions: usize = expressions.sum();
    if stated.len() > PARTS_MAX || expressions > EXPRESSIONS_MAX {
        let message = format!(
            "there are {} predicates with {expressions} CEL expressions; {PARTS_MAX} and \
             {EXPRESSIONS_MAX} are the limits",
            stated.len()
        );
        return Err(Misconfigured::new(PREDICATE, message));
    }
    let read = selectors().map(|selector| Predicate::of(selector, functions));
    let read: Result<_, String> = read.collect();
    read.map_err(|message| Misconfigured::new(PREDICATE, message))
}

/// The prioritizers that count, with their weights.
fn weights(policy: &PrioritizerPolicy) -> Result<Vec<(Prioritizer, i64)>, Misconfigured> {
    if policy.configurations.len() > PARTS_MAX {
        let count = policy.configurations.len();
        let message = format!("there are {count} prioritizers; {PARTS_MAX} is the limit");
        return Err(Misconfigured::new("", message));
    }
    let mut weights = match policy.mode.as_str() {
        "" | "Additive" => vec![(Prioritizer::Balance, 1), (Prioritizer::Steady, 1)],
        "Exact" => Vec::new(),
        other => {
            let message = format!("incorrect prioritizer policy mode: {other}");
            return Err(Misconfigured::new("", message));
        }
    };
    for stated in &policy.configurations {
        let Some(coordinate) = &stated.score_coordinate else {
            return Err(Misconfigured::new("", "scoreCoordinate field is required"));
        };
        let weight = i64::from(stated.weight.unwrap_or(WEIGHT_DEFAULT));
        let Some(prioritizer) = prioritizer(coordinate, weight)? else {
            continue;
        };
        match weights.iter_mut().find(|(known, _)| *known == prioritizer) {
            Some((_, known)) => *known = weight,
            None => weights.push((prioritizer, weight)),
        }
    }
    weights.retain(|(_, weight)| *weight != 0);
    Ok(weights)
}

/// The prioritizer of a coordinate; nothing for an unknown one that is switched off.
fn prioritizer(
    coordinate: &ScoreCoordinate,
    weight: i64,
) -> Result<Option<Prioritizer>, Misconfigured> {
    let found = match (coordinate.r#type.as_str(), &coordinate.add_on) {
        ("" | "BuiltIn", _) => Prioritizer::built_in(&coordinate.built_in)
            .ok_or_else(|| format!("incorrect builtin prioritizer: {}", coordinate.built_in)),
        (_, Some(score)) => Ok(Prioritizer::AddOn(score.clone())),
        (_, None) => Err("addOn should not be empty".to_owned()),
    };
    match found {
        Ok(prioritizer) => Ok(Some(prioritizer)),
        Err(_) if weight == 0 => Ok(None),
        Err(message) => Err(Misconfigured::new("", message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn placement(spec: Value) -> Placement {
        let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
        serde_json::from_value(object).expect("a placement")
    }

    fn refused(spec: Value) -> String {
        let policy = Policy::of(&placement(spec), &Functions::new());
        policy.expect_err("refused").to_string()
    }

    fn weights_of(policy: Value) -> Vec<(String, i64)> {
        let policy = serde_json::from_value(policy).expect("a policy");
        let weights = weights(&policy).expect("valid");
        let named = weights
            .into_iter()
            .map(|(one, weight)| (one.to_string(), weight));
        named.collect()
    }

    fn built_in(name: &str, weight: Value) -> Value {
        json!({"scoreCoordinate": {"type": "BuiltIn", "builtIn": name}, "weight": weight})
    }

    fn add_on(resource: &str, score: &str, weight: Value) -> Value {
        let score = json!({"resourceName": resource, "scoreName": score});
        json!({"scoreCoordinate": {"type": "AddOn", "addOn": score}, "weight": weight})
    }

    #[test]
    fn weights_are_added_to_the_defaults_or_stand_alone() {
        let named = |list: &[(&str, i64)]| -> Vec<(String, i64)> {
            list.iter()
                .map(|(name, weight)| ((*name).to_owned(), *weight))
                .collect()
        };
        let defaults = named(&[("Balance", 1), ("Steady", 1)]);
        assert_eq!(weights_of(json!({})), defaults);
        assert_eq!(weights_of(json!({"mode": "Additive"})), defaults);
        assert_eq!(weights_of(json!({"mode": "Exact"})), []);
        let stated = json!([
            built_in("Steady", json!(3)),
            built_in("Balance", json!(0)),
            built_in("ResourceAllocatableCPU", json!(null)),
            add_on("r", "s", json!(-10)),
            add_on("r", "t", json!(2)),
        ]);
        let own = [
            ("Steady", 3),
            ("ResourceAllocatableCPU", 1),
            ("AddOn/r/s", -10),
            ("AddOn/r/t", 2),
        ];
        assert_eq!(weights_of(json!({"configurations": stated})), named(&own));
        assert_eq!(
            weights_of(json!({"mode": "Exact", "configurations": stated})),
            named(&own)
        );
        let off = json!({"mode": "Exact", "configurations": [built_in("Nonsense", json!(0))]});
        assert_eq!(weights_of(off), []);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_in_upstreams_words() {
        let policy = |policy: Value| refused(json!({"prioritizerPolicy": policy}));
        assert_eq!(
            policy(json!({"mode": "Some"})),
            ":incorrect prioritizer policy mode: Some"
        );
        assert_eq!(
            policy(json!({"configurations": [built_in("Nonsense", json!(1))]})),
            ":incorrect builtin prioritizer: Nonsense"
        );
        assert_eq!(
            policy(json!({"configurations": [{"weight": 1}]})),
            ":scoreCoordinate field is required"
        );
        assert_eq!(
            policy(json!({"configurations": [{"scoreCoordinate": {"type": "AddOn"}}]})),
            ":addOn should not be empty"
        );
        let selector = |selector: Value| {
            refused(json!({"predicates": [{"requiredClusterSelector": selector}]}))
        };
        let wrong = json!({"matchExpressions": [{"key": "k", "operator": "Like"}]});
        let message = "Predicate:\"Like\" is not a valid label selector operator";
        assert_eq!(selector(json!({"labelSelector": wrong})), message);
        assert_eq!(selector(json!({"claimSelector": wrong})), message);
        assert_eq!(
            selector(json!({"celSelector": {"celExpressions": ["xxxx.expression"]}})),
            "Predicate:compilation failed: undeclared reference to 'xxxx'"
        );
        assert_eq!(
            refused(json!({"numberOfClusters": -1})),
            ":numberOfClusters must be 0 or more"
        );
    }

    #[test]
    fn more_than_anybody_needs_is_refused_with_the_limit() {
        let predicate = json!({"requiredClusterSelector": {}});
        assert_eq!(
            refused(json!({"predicates": vec![predicate; 101]})),
            "Predicate:there are 101 predicates with 0 CEL expressions; 100 and 64 are the limits"
        );
        let many = json!({"celSelector": {"celExpressions": vec!["true"; 65]}});
        assert_eq!(
            refused(json!({"predicates": [{"requiredClusterSelector": many}]})),
            "Predicate:there are 1 predicates with 65 CEL expressions; 100 and 64 are the limits"
        );
        let many = json!({"configurations": vec![built_in("Steady", json!(1)); 101]});
        assert_eq!(
            refused(json!({"prioritizerPolicy": many})),
            ":there are 101 prioritizers; 100 is the limit"
        );
    }
}
