//! Feature gates on the command line: known ones only, and none switched on with nothing behind it.

use anyhow::Context;
use anyhow::bail;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;

/// Gates of upstream with nothing behind them here, and why.
const WITHOUT_EFFECT: [(&str, &str); 6] = [
    (
        "V1beta1CSRAPICompatibility",
        "the API version that it falls back to is gone from Kubernetes",
    ),
    (
        "ExecutorValidatingCaches",
        "executors are checked without a cache",
    ),
    (
        "ClusterImporter",
        "the hub imports no clusters; import one of Cluster API with 'join --capi-import'",
    ),
    (
        "ManifestWorkReplicaSet",
        "the hub follows no ManifestWorkReplicaSets; use 'create work --placement'",
    ),
    (
        "CloudEventsDrivers",
        "works travel through the Kubernetes API and nothing else",
    ),
    (
        "CleanUpCompletedManifestWork",
        "the hub deletes no works by age; delete them with 'delete work'",
    ),
];

/// Reads `--feature-gates`.
///
/// # Errors
///
/// A text that is no gate, a gate that there is not, or one that would have no effect.
pub fn parse(families: &[Family], settings: &[String]) -> anyhow::Result<FeatureGates> {
    let settings = settings.iter().map(String::as_str);
    let gates = FeatureGates::parse(families, settings).context("read --feature-gates")?;
    match WITHOUT_EFFECT.iter().find(|(name, _)| gates.enabled(name)) {
        None => Ok(gates),
        Some((name, reason)) => {
            bail!("--feature-gates {name}=true cannot be used: {reason}; leave it out")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: [Family; 3] = hyades_inventory::install::FEATURE_FAMILIES;
    const AGENT: [Family; 2] = [Family::AgentRegistration, Family::AgentWork];

    fn parsed(families: &[Family], setting: &str) -> Result<FeatureGates, String> {
        parse(families, &[setting.to_owned()]).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn every_gate_has_an_effect_or_is_refused_with_the_reason() {
        for families in [&HUB[..], &AGENT] {
            for (name, _) in families.iter().flat_map(|family| family.gates()) {
                assert!(parsed(families, &format!("{name}=false")).is_ok(), "{name}");
                let refused = WITHOUT_EFFECT.iter().find(|(gate, _)| gate == name);
                match (parsed(families, &format!("{name}=true")), refused) {
                    (Ok(gates), None) => assert!(gates.enabled(name)),
                    (Err(error), Some((_, reason))) => assert!(error.contains(reason), "{error}"),
                    (result, _) => panic!("{name}: {result:?}"),
                }
            }
        }
        // What an agent refuses to start with is refused before it is installed.
        let mut all = FeatureGates::defaults(&AGENT);
        for (name, _) in AGENT.iter().flat_map(|family| family.gates()) {
            all.set(name, true).expect("its own gate");
        }
        for name in hyades_agent::options::unsupported(&all) {
            assert!(
                WITHOUT_EFFECT.iter().any(|(gate, _)| *gate == name),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_gate_is_refused_with_those_there_are() {
        let error = parsed(&HUB, "Nothing=true").expect_err("unknown");
        assert!(error.contains("DefaultClusterSet"), "{error}");
        let error = parsed(&HUB, "DefaultClusterSet").expect_err("no value");
        assert!(error.contains("NAME=true or NAME=false"), "{error}");
    }
}
