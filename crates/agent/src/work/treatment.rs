//! How each manifest of a work is to be treated: the settings that name it, put together.

use super::mapping::Target;
use hyades_api::work::ConditionRule;
use hyades_api::work::FeedbackRule;
use hyades_api::work::IgnoreField;
use hyades_api::work::ManifestWorkSpec;
use hyades_api::work::ResourceIdentifier;
use hyades_api::work::ServerSideApply;
use hyades_api::work::UpdateStrategy;

/// The field manager of server-side applies, unless the work names one.
pub const FIELD_MANAGER: &str = "work-agent";

/// How changes reach the object.
#[derive(Clone, Debug, PartialEq)]
pub enum Strategy {
    /// Create, or replace what differs.
    Update,
    /// Create, and leave alone what is there.
    CreateOnly,
    /// Server-side apply.
    ServerSideApply(Apply),
    /// Only look.
    ReadOnly,
    /// A strategy, or a part of one, that this agent cannot follow; the text says which.
    Refused(String),
}

/// How server-side apply is done.
#[derive(Clone, Debug, PartialEq)]
pub struct Apply {
    /// Who owns the fields.
    pub field_manager: String,
    /// Whether other owners are overridden.
    pub force: bool,
    /// Fields that are left to others.
    pub ignored: Vec<IgnoreField>,
}

/// The treatment of one manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Treatment {
    /// How changes reach the object.
    pub strategy: Strategy,
    /// Which fields are fed back.
    pub feedback: Vec<FeedbackRule>,
    /// Conditions to compute.
    pub conditions: Vec<ConditionRule>,
    /// Whether the object stays when the work goes.
    pub orphan: bool,
}

/// Puts together what the work says about `target`. Of several settings the first that says
/// something about a matter counts.
pub fn treatment(spec: &ManifestWorkSpec, target: &Target) -> Treatment {
    let matching: Vec<_> = spec
        .manifest_configs
        .iter()
        .filter(|config| matches(&config.resource_identifier, target))
        .collect();
    let strategy = matching
        .iter()
        .find_map(|config| config.update_strategy.as_ref());
    let feedback = matching
        .iter()
        .map(|config| &config.feedback_rules)
        .find(|rules| !rules.is_empty());
    let conditions = matching
        .iter()
        .map(|config| &config.condition_rules)
        .find(|rules| !rules.is_empty());
    Treatment {
        strategy: read_strategy(strategy),
        feedback: feedback.cloned().unwrap_or_default(),
        conditions: conditions.cloned().unwrap_or_default(),
        orphan: is_orphaned(spec, target),
    }
}

fn read_strategy(strategy: Option<&UpdateStrategy>) -> Strategy {
    let Some(strategy) = strategy else {
        return Strategy::Update;
    };
    match strategy.r#type.as_str() {
        "" | "Update" => Strategy::Update,
        "CreateOnly" => Strategy::CreateOnly,
        "ReadOnly" => Strategy::ReadOnly,
        "ServerSideApply" => read_apply(strategy.server_side_apply.as_ref()),
        other => Strategy::Refused(format!("there is no update strategy {other:?}")),
    }
}

fn read_apply(settings: Option<&ServerSideApply>) -> Strategy {
    let settings = settings.cloned().unwrap_or_default();
    let named = Some(settings.field_manager).filter(|name| !name.is_empty());
    Strategy::ServerSideApply(Apply {
        field_manager: named.unwrap_or_else(|| FIELD_MANAGER.to_owned()),
        force: settings.force,
        ignored: settings.ignore_fields,
    })
}

fn matches(pattern: &ResourceIdentifier, target: &Target) -> bool {
    pattern.group == target.resource.group
        && pattern.resource == target.resource.plural
        && wildcard(
            &pattern.namespace,
            target.namespace.as_deref().unwrap_or_default(),
        )
        && wildcard(&pattern.name, &target.name)
}

/// Whether `text` fits `pattern`, in which `*` stands for any characters.
fn wildcard(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let end = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match text.find(piece) {
            Some(at) => text = &text[at + piece.len()..],
            None => return false,
        }
    }
    text.ends_with(end)
}

fn is_orphaned(spec: &ManifestWorkSpec, target: &Target) -> bool {
    let Some(option) = &spec.delete_option else {
        return false;
    };
    match option.propagation_policy.as_str() {
        "Orphan" => true,
        "SelectivelyOrphan" => option.selectively_orphans.as_ref().is_some_and(|selected| {
            selected.orphaning_rules.iter().any(|rule| {
                rule.group == target.resource.group
                    && rule.resource == target.resource.plural
                    && rule.namespace == target.namespace.as_deref().unwrap_or_default()
                    && rule.name == target.name
            })
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::mapping::tests::target;
    use serde_json::Value;
    use serde_json::json;

    fn spec(value: Value) -> ManifestWorkSpec {
        serde_json::from_value(value).expect("a spec")
    }

    fn of(value: Value) -> Treatment {
        treatment(
            &spec(value),
            &target("", "v1", "ConfigMap", "configmaps", "default", "go"),
        )
    }

    #[test]
    fn a_work_without_settings_updates_and_owns() {
        let treatment = of(json!({}));
        assert_eq!(treatment.strategy, Strategy::Update);
        assert!(!treatment.orphan && treatment.feedback.is_empty());
    }

    #[test]
    fn the_first_setting_that_says_something_counts() {
        let here = json!({"resource": "configmaps", "namespace": "def*", "name": "*"});
        let treatment = of(json!({"manifestConfigs": [
            {"resourceIdentifier": {"resource": "secrets", "namespace": "default", "name": "go"},
             "updateStrategy": {"type": "ReadOnly"}},
            {"resourceIdentifier": here, "feedbackRules": [{"type": "WellKnownStatus"}]},
            {"resourceIdentifier": here, "updateStrategy": {"type": "ServerSideApply",
             "serverSideApply": {"force": true, "fieldManager": "work-agent-x"}}},
            {"resourceIdentifier": here, "updateStrategy": {"type": "CreateOnly"}},
        ]}));
        let expected = Strategy::ServerSideApply(Apply {
            field_manager: "work-agent-x".to_owned(),
            force: true,
            ignored: Vec::new(),
        });
        assert_eq!(treatment.strategy, expected);
        assert_eq!(treatment.feedback.len(), 1);
    }

    #[test]
    fn what_cannot_be_followed_is_refused_and_not_ignored() {
        let here = json!({"resource": "configmaps", "namespace": "default", "name": "go"});
        let treatment = of(json!({"manifestConfigs": [
            {"resourceIdentifier": here, "updateStrategy": {"type": "Nonsense"}}]}));
        assert!(
            matches!(treatment.strategy, Strategy::Refused(_)),
            "{treatment:?}"
        );
    }

    #[test]
    fn orphans_are_named_exactly() {
        let rule = |name: &str| {
            json!({"deleteOption": {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans":
                {"orphaningRules": [{"resource": "configmaps", "namespace": "default", "name": name}]}}})
        };
        assert!(of(rule("go")).orphan);
        assert!(!of(rule("g*")).orphan);
        assert!(of(json!({"deleteOption": {"propagationPolicy": "Orphan"}})).orphan);
        assert!(!of(json!({"deleteOption": {"propagationPolicy": "Foreground"}})).orphan);
    }

    #[test]
    fn wildcards_match_any_characters() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c", "ac", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(wildcard(pattern, text), fits, "{pattern} {text}");
        }
    }
}
