//! Which template an enabled add-on is made of: what its references lead to.

use super::configs;
use hyades_api::addon::AddOnConfig;
use hyades_api::addon::AddOnTemplate;
use hyades_api::addon::AddOnTemplateSpec;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ConfigSpecHash;
use hyades_api::addon::ManagedClusterAddOn;
use std::sync::Arc;

/// What the references of a WEC's add-on to a template lead to.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Template {
    /// To none: another manager makes the add-on, or nothing is asked for yet.
    NotAsked,
    /// To one that is not the one asked for any more, or is not offered: until they ask for another,
    /// what runs stays.
    Pending,
    /// To nothing that could be used; says why.
    Missing(String),
    /// To this one.
    Found(Box<AddOnTemplateSpec>),
}

impl Template {
    /// The template, if there is one.
    pub(super) fn found(self) -> Option<AddOnTemplateSpec> {
        match self {
            Self::Found(template) => Some(*template),
            Self::NotAsked | Self::Pending | Self::Missing(_) => None,
        }
    }
}

/// The template that a WEC's add-on is to be made of now: the one its references ask for, as long as
/// the add-on, or somebody who set up this WEC, offers it, and nobody changed it since.
///
/// References are in the status, which the WEC's own agent may write. What they ask for is therefore
/// held against what only administrators and this hub write.
pub(super) fn template(
    offered: Option<&ClusterManagementAddOn>,
    addon: &ManagedClusterAddOn,
    find: impl FnOnce(&str) -> Option<Arc<AddOnTemplate>>,
) -> Template {
    let Some(wanted) = asked_for(addon) else {
        return Template::NotAsked;
    };
    let Some(found) = find(&wanted.name) else {
        return missing(&wanted.name);
    };
    let is_meant = || configs::fingerprint(&found.spec) == wanted.spec_hash;
    if !is_offered(offered, addon, &wanted.name) || !is_meant() {
        return Template::Pending;
    }
    content(&found, addon)
}

/// The template whose hook an add-on that is going waits for: the one it was made of, whatever
/// became of it and of who offered it, for nothing is going to ask for another.
pub(super) fn template_of_going(
    addon: &ManagedClusterAddOn,
    find: impl FnOnce(&str) -> Option<Arc<AddOnTemplate>>,
) -> Template {
    let Some(wanted) = asked_for(addon) else {
        return Template::NotAsked;
    };
    match find(&wanted.name) {
        Some(found) => content(&found, addon),
        None => missing(&wanted.name),
    }
}

/// The template that references ask for; its fingerprint is empty while it does not exist.
fn asked_for(addon: &ManagedClusterAddOn) -> Option<&ConfigSpecHash> {
    let kind = configs::templates();
    let mut references = addon.status.config_references.iter();
    let reference = references.find(|reference| reference.group_resource() == kind)?;
    reference.desired_config.as_ref()
}

fn missing(template: &str) -> Template {
    Template::Missing(format!("AddOnTemplate {template:?} does not exist"))
}

fn content(found: &AddOnTemplate, addon: &ManagedClusterAddOn) -> Template {
    let name = found.metadata.name.as_deref().unwrap_or_default();
    match found.content() {
        Ok(template) if Some(&template.addon_name) == addon.metadata.name.as_ref() => {
            Template::Found(Box::new(template))
        }
        Ok(template) => Template::Missing(format!(
            "AddOnTemplate {name:?} is for add-on {:?}",
            template.addon_name
        )),
        Err(error) => Template::Missing(format!("AddOnTemplate {name:?} cannot be read: {error}")),
    }
}

/// Whether an add-on may be made of a template in a WEC: by default, by one of its placements, by
/// the WEC's own configuration, or because it was wanted before and the rollout has not come here.
fn is_offered(
    offered: Option<&ClusterManagementAddOn>,
    addon: &ManagedClusterAddOn,
    template: &str,
) -> bool {
    let kind = configs::templates();
    let configured = |configs: &[AddOnConfig]| {
        let mut configs = configs.iter();
        configs.any(|config| config.group_resource() == kind && config.name == template)
    };
    if configured(&addon.spec.configs) {
        return true;
    }
    let Some(offered) = offered else {
        return false;
    };
    let mut supported = offered.spec.supported_configs.iter();
    let by_default = supported.any(|config| {
        let default = config.default_config.as_ref();
        config.group == kind.group
            && config.resource == kind.resource
            && default.is_some_and(|default| default.name == template)
    });
    let mut placements = offered.spec.install_strategy.placements.iter();
    let mut known = offered
        .status
        .install_progressions
        .iter()
        .flat_map(|progression| &progression.config_references)
        .filter(|known| known.group == kind.group && known.resource == kind.resource)
        .flat_map(|known| [&known.last_applied_config, &known.last_known_good_config])
        .flatten();
    by_default
        || placements.any(|placement| configured(&placement.configs))
        || known.any(|known| known.name == template)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::names::ADDON_GROUP;
    use serde_json::Value;
    use serde_json::json;

    fn offered() -> ClusterManagementAddOn {
        serde_json::from_value(json!({
            "metadata": {"name": "hello"},
            "spec": {"supportedConfigs": [
                {"group": ADDON_GROUP, "resource": "addontemplates", "defaultConfig": {"name": "t"}},
            ]},
        }))
        .expect("an add-on")
    }

    fn template_named(name: &str, addon: &str) -> AddOnTemplate {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"addonName": addon, "agentSpec": {"workload": {"manifests": []}}},
        }))
        .expect("a template")
    }

    fn enabled(own: &Value, name: &str, hash: &str) -> ManagedClusterAddOn {
        serde_json::from_value(json!({
            "metadata": {"name": "hello", "namespace": "c1"},
            "spec": {"configs": own},
            "status": {"configReferences": [{
                "group": ADDON_GROUP, "resource": "addontemplates", "name": name,
                "desiredConfig": {"name": name, "specHash": hash},
            }]},
        }))
        .expect("an add-on")
    }

    #[test]
    fn an_agent_does_not_choose_its_template() {
        let asked = |own: Value, name: &str, addon: &str, stale: bool| {
            let template = template_named(name, addon);
            let hash = match stale {
                true => "another".to_owned(),
                false => configs::fingerprint(&template.spec),
            };
            let enabled = enabled(&own, name, &hash);
            let found = Some(Arc::new(template));
            let found = super::template(Some(&offered()), &enabled, |_| found);
            found.found().is_some()
        };
        let own = json!([{"group": ADDON_GROUP, "resource": "addontemplates", "name": "u"}]);
        assert!(asked(json!([]), "t", "hello", false));
        assert!(asked(own, "u", "hello", false));
        assert!(!asked(json!([]), "u", "hello", false), "not offered");
        assert!(!asked(json!([]), "t", "hello", true), "another content");
        assert!(!asked(json!([]), "t", "other", false), "of another add-on");
    }

    #[test]
    fn an_add_on_that_goes_keeps_its_template_whatever_became_of_it() {
        let going = enabled(&json!([]), "u", "another");
        let find = |_: &str| Some(Arc::new(template_named("u", "hello")));
        assert!(template_of_going(&going, find).found().is_some());
        let Template::Missing(why) = template_of_going(&going, |_| None) else {
            panic!("it is not there")
        };
        assert_eq!(why, "AddOnTemplate \"u\" does not exist");
        let find = |_: &str| Some(Arc::new(template_named("u", "other")));
        let Template::Missing(why) = template_of_going(&going, find) else {
            panic!("it is another's")
        };
        assert_eq!(why, "AddOnTemplate \"u\" is for add-on \"other\"");
    }
}
