//! `clusteradm create placement`.

use crate::clusteradm::flags::split_names;
use crate::clusteradm::kinds::PLACEMENT;
use crate::clusteradm::kinds::SET_BINDING;
use crate::clusteradm::names;
use crate::clusteradm::objects;
use crate::clusteradm::objects::Written;
use crate::clusteradm::preflight;
use crate::clusteradm::session::Session;
use anyhow::Context;
use anyhow::bail;
use hyades_schema::selector::Selector;
use serde_json::Value;
use serde_json::json;

/// Weights a prioritiser may have.
const WEIGHTS: std::ops::RangeInclusive<i32> = -10..=10;
/// The prioritisers that a hub brings along.
const BUILT_IN: [&str; 4] = [
    "Balance",
    "Steady",
    "ResourceAllocatableCPU",
    "ResourceAllocatableMemory",
];

/// The command line.
#[derive(Debug, clap::Args)]
pub struct PlacementArgs {
    /// The placement
    name: String,
    /// Change the placement if there is one already
    #[arg(long)]
    overwrite: bool,
    /// The namespace
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Labels of the clusters to choose, as 'env=prod,tier in (a,b)'; clusters of any selector are
    /// chosen if the flag is repeated
    #[arg(long, value_name = "SELECTOR")]
    label_selectors: Vec<String>,
    /// Sets to choose from, separated by commas; each must be bound to the namespace
    #[arg(long, value_delimiter = ',')]
    clustersets: Vec<String>,
    /// What to prefer, as BuiltIn:NAME:WEIGHT or AddOn:RESOURCE:SCORE:WEIGHT, separated by commas
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    prioritizers: Vec<String>,
    /// How many clusters to choose; all if none is given
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    count: Option<i32>,
}

/// Runs `create placement`.
///
/// # Errors
///
/// Wrong flags, a set that is not bound, a placement that exists, or a request that failed.
pub async fn run(session: &Session, args: &PlacementArgs) -> anyhow::Result<()> {
    let placement = render(args)?;
    let (name, namespace) = (args.name.as_str(), args.namespace.as_str());
    session.announce_dry_run();
    preflight::is_hub(&session.target).await?;
    for set in &args.clustersets {
        let advice = format!(
            "bind the set to the namespace first, with '{} clusterset bind {set} --namespace {namespace}'",
            session.header
        );
        objects::within(session, SET_BINDING, namespace)
            .demand(set, &advice)
            .await?;
    }
    let replace = |live: &mut Value| live["spec"] = placement["spec"].clone();
    let written = objects::within(session, PLACEMENT, namespace)
        .write(&placement, args.overwrite, replace)
        .await?;
    session.console.line(match written {
        Written::Created => format!("Placement '{name}' has been created in '{namespace}' namespace"),
        Written::Changed => format!("Placement '{name}' of '{namespace}' namespace has been updated"),
        Written::Kept => bail!(
            "placement {name} exists already in namespace {namespace}; change it with --overwrite, or choose another name"
        ),
    });
    Ok(())
}

fn render(args: &PlacementArgs) -> anyhow::Result<Value> {
    names::subdomain("placement name", &args.name)?;
    names::label("namespace", &args.namespace)?;
    split_names("cluster set", &args.clustersets)?;
    let mut spec = json!({});
    if !args.clustersets.is_empty() {
        spec["clusterSets"] = json!(args.clustersets);
    }
    if let Some(count) = args.count {
        if count < 0 {
            bail!(
                "--count {count} is below 0; give how many clusters to choose, or leave it out for all"
            );
        }
        spec["numberOfClusters"] = json!(count);
    }
    let predicates = args.label_selectors.iter().map(|text| {
        let selector =
            label_selector(text).with_context(|| format!("read --label-selectors {text:?}"))?;
        Ok(json!({"requiredClusterSelector": {"labelSelector": selector}}))
    });
    let predicates: Vec<Value> = predicates.collect::<anyhow::Result<_>>()?;
    if !predicates.is_empty() {
        spec["predicates"] = json!(predicates);
    }
    let configurations = args.prioritizers.iter().map(|text| prioritizer(text));
    let configurations: Vec<Value> = configurations.collect::<anyhow::Result<_>>()?;
    if !configurations.is_empty() {
        spec["prioritizerPolicy"] = json!({"configurations": configurations});
    }
    let mut placement = PLACEMENT.object(Some(&args.namespace), &args.name);
    placement["spec"] = spec;
    Ok(placement)
}

/// A text such as `env=prod,tier in (a,b)` as the object that a placement holds.
fn label_selector(text: &str) -> anyhow::Result<Value> {
    if text.trim().is_empty() {
        bail!("it is empty and would choose every cluster; leave the flag out for that");
    }
    // The parser knows the whole notation, but its result does not show its parts.
    Selector::parse(text)?;
    let mut labels = serde_json::Map::new();
    let mut expressions = Vec::new();
    for term in terms(text) {
        match requirement(term) {
            ("In", key, Some(values))
                if values.len() == 1 && !term.contains('(') && !labels.contains_key(key) =>
            {
                labels.insert(key.to_owned(), json!(values[0]));
            }
            ("GreaterThan" | "LessThan", ..) => {
                bail!(
                    "{term:?} compares numbers, which a label selector cannot; use =, !=, in, notin, or the key alone"
                )
            }
            (operator, key, values) => {
                let mut expression = json!({"key": key, "operator": operator});
                if let Some(values) = values {
                    expression["values"] = json!(values);
                }
                expressions.push(expression);
            }
        }
    }
    let mut selector = json!({});
    if !labels.is_empty() {
        selector["matchLabels"] = Value::Object(labels);
    }
    if !expressions.is_empty() {
        selector["matchExpressions"] = json!(expressions);
    }
    Ok(selector)
}

/// The terms of a selector: separated by the commas outside of parentheses.
fn terms(text: &str) -> Vec<&str> {
    let mut depth = 0;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == ',' && depth == 0
    })
    .map(str::trim)
    .collect()
}

/// Operator, key and values of one term that is known to be well formed.
fn requirement(term: &str) -> (&'static str, &str, Option<Vec<&str>>) {
    for (sign, operator) in [
        ("!=", "NotIn"),
        ("==", "In"),
        ("=", "In"),
        (">", "GreaterThan"),
        ("<", "LessThan"),
    ] {
        if let Some((key, value)) = term.split_once(sign) {
            return (operator, key.trim(), Some(vec![value.trim()]));
        }
    }
    if let Some((head, values)) = term.split_once('(') {
        let values = values
            .trim_end_matches(')')
            .split(',')
            .map(str::trim)
            .collect();
        let mut words = head.split_whitespace();
        let (key, word) = (words.next().unwrap_or_default(), words.next());
        let operator = if word == Some("notin") { "NotIn" } else { "In" };
        return (operator, key, Some(values));
    }
    match term.strip_prefix('!') {
        Some(key) => ("DoesNotExist", key.trim(), None),
        None => ("Exists", term, None),
    }
}

/// One preference.
fn prioritizer(text: &str) -> anyhow::Result<Value> {
    let (coordinate, weight) = match text.split(':').collect::<Vec<_>>().as_slice() {
        ["BuiltIn", name, weight] => {
            if !BUILT_IN.contains(name) {
                bail!(
                    "--prioritizers {text:?}: there is no prioritizer {name:?}; there are {}",
                    BUILT_IN.join(", ")
                );
            }
            (json!({"type": "BuiltIn", "builtIn": name}), *weight)
        }
        ["AddOn", resource, score, weight] if !resource.is_empty() && !score.is_empty() => (
            json!({"type": "AddOn", "addOn": {"resourceName": resource, "scoreName": score}}),
            *weight,
        ),
        _ => bail!(
            "--prioritizers {text:?} is not of the form BuiltIn:NAME:WEIGHT or AddOn:RESOURCE:SCORE:WEIGHT"
        ),
    };
    match weight.parse::<i32>() {
        Ok(weight) if WEIGHTS.contains(&weight) => {
            Ok(json!({"scoreCoordinate": coordinate, "weight": weight}))
        }
        _ => bail!(
            "--prioritizers {text:?}: the weight {weight:?} is no number from {} to {}",
            WEIGHTS.start(),
            WEIGHTS.end()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: PlacementArgs,
    }

    fn rendered(words: &[&str]) -> Result<Value, String> {
        let line = Line::try_parse_from([&["x", "p"], words].concat()).expect("readable");
        render(&line.args).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn flags_become_the_spec() {
        let words = [
            "--clustersets",
            "s1,s2",
            "--count",
            "3",
            "--label-selectors",
            "env=prod,tier in (a, b),!old,new,zone!=x",
            "--prioritizers",
            "BuiltIn:Steady:3,AddOn:scores:cpu:-1",
        ];
        let placement = rendered(&words).expect("valid");
        assert_eq!(
            placement["metadata"],
            json!({"name": "p", "namespace": "default"})
        );
        assert_eq!(
            placement["spec"],
            json!({
                "clusterSets": ["s1", "s2"],
                "numberOfClusters": 3,
                "predicates": [{"requiredClusterSelector": {"labelSelector": {
                    "matchLabels": {"env": "prod"},
                    "matchExpressions": [
                        {"key": "tier", "operator": "In", "values": ["a", "b"]},
                        {"key": "old", "operator": "DoesNotExist"},
                        {"key": "new", "operator": "Exists"},
                        {"key": "zone", "operator": "NotIn", "values": ["x"]},
                    ],
                }}}],
                "prioritizerPolicy": {"configurations": [
                    {"scoreCoordinate": {"type": "BuiltIn", "builtIn": "Steady"}, "weight": 3},
                    {"scoreCoordinate": {"type": "AddOn", "addOn": {"resourceName": "scores", "scoreName": "cpu"}}, "weight": -1},
                ]},
            })
        );
        assert_eq!(rendered(&[]).expect("valid")["spec"], json!({}));
    }

    #[test]
    fn wrong_flags_are_refused_with_what_is_allowed() {
        for (words, part) in [
            (["--count", "-1"], "below 0"),
            (["--clustersets", "UPPER"], "RFC 1123"),
            (["--namespace", "a.b"], "RFC 1123"),
            (["--label-selectors", "env in prod"], "--label-selectors"),
            (["--label-selectors", ""], "leave the flag out"),
            (["--label-selectors", "size>3"], "compares numbers"),
            (["--prioritizers", "Steady"], "BuiltIn:NAME:WEIGHT"),
            (
                ["--prioritizers", "BuiltIn:Fast:1"],
                "there are Balance, Steady",
            ),
            (["--prioritizers", "BuiltIn:Steady:11"], "from -10 to 10"),
            (
                ["--prioritizers", "AddOn::cpu:1"],
                "AddOn:RESOURCE:SCORE:WEIGHT",
            ),
        ] {
            let error = rendered(&words).expect_err("refused");
            assert!(error.contains(part), "{words:?}: {error}");
        }
    }
}
