//! Which configuration an add-on shall have in a WEC: what goes before what, and fingerprints.
//!
//! The ManagedClusterAddOn's own goes before that of its placement, and that before the defaults;
//! each level replaces the whole of a kind of configuration and leaves other kinds alone.

use hyades_api::addon::AddOnConfig;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ConfigGroupResource;
use hyades_api::addon::ConfigReference;
use hyades_api::addon::ConfigSpecHash;
use hyades_api::addon::names;
use hyades_api::names::ADDON_GROUP;
use serde_json::Value;
use sha2::Digest;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The configurations wanted, by kind and in the author's order.
pub(super) type Desired = BTreeMap<ConfigGroupResource, Vec<ConfigSpecHash>>;

/// Finds the fingerprint of a configuration of a kind; nothing if it is not there, or if another
/// manager looks after that kind.
pub(super) type Fingerprints<'a> = &'a dyn Fn(&ConfigGroupResource, &str, &str) -> Option<String>;

/// The kind of configuration that templates are.
pub(super) fn templates() -> ConfigGroupResource {
    ConfigGroupResource {
        group: ADDON_GROUP.to_owned(),
        resource: names::TEMPLATES.to_owned(),
    }
}

/// The kind of configuration that deployment configs are.
pub(super) fn deployment_configs() -> ConfigGroupResource {
    ConfigGroupResource {
        group: ADDON_GROUP.to_owned(),
        resource: names::DEPLOYMENT_CONFIGS.to_owned(),
    }
}

/// SHA-256 of a spec as Go's encoder writes it: keys sorted, and the characters escaped that would
/// mean something in HTML. So managers of both kinds agree on it.
pub(super) fn fingerprint(spec: &Value) -> String {
    let mut text = String::new();
    write_canonical(&mut text, spec);
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

fn write_canonical(text: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            text.push('{');
            for (place, (key, value)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_escaped(text, &Value::from(key.as_str()));
                text.push(':');
                write_canonical(text, value);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(text, item);
            }
            text.push(']');
        }
        other => write_escaped(text, other),
    }
}

fn write_escaped(text: &mut String, value: &Value) {
    for character in value.to_string().chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(text, "\\u{:04x}", u32::from(character));
            }
            plain => text.push(plain),
        }
    }
}

/// The defaults of an add-on.
pub(super) fn defaults(offered: &ClusterManagementAddOn, hashes: Fingerprints<'_>) -> Desired {
    let known = &offered.status.defaultconfig_references;
    let mut desired = Desired::new();
    for config in &offered.spec.supported_configs {
        let Some(default) = &config.default_config else {
            continue;
        };
        let kind = ConfigGroupResource {
            group: config.group.clone(),
            resource: config.resource.clone(),
        };
        let known = known
            .iter()
            .filter(|reference| {
                reference.group == kind.group && reference.resource == kind.resource
            })
            .filter_map(|reference| reference.desired_config.as_ref());
        let hash = with_hash(&kind, &default.namespace, &default.name, known, hashes);
        desired.insert(kind, vec![hash]);
    }
    desired
}

/// The same, overridden by the configurations of a placement or of a WEC. `known` are those of an
/// earlier look, from which fingerprints are taken that other managers wrote.
pub(super) fn overridden<'a>(
    base: &Desired,
    configs: &[AddOnConfig],
    known: impl Iterator<Item = &'a ConfigSpecHash> + Clone,
    hashes: Fingerprints<'_>,
) -> Desired {
    let mut own = Desired::new();
    for config in configs {
        let kind = config.group_resource();
        let hash = with_hash(
            &kind,
            &config.namespace,
            &config.name,
            known.clone(),
            hashes,
        );
        own.entry(kind).or_default().push(hash);
    }
    let mut desired = base.clone();
    desired.extend(own);
    desired
}

fn with_hash<'a>(
    kind: &ConfigGroupResource,
    namespace: &str,
    name: &str,
    mut known: impl Iterator<Item = &'a ConfigSpecHash>,
    hashes: Fingerprints<'_>,
) -> ConfigSpecHash {
    let ours = *kind == templates() || *kind == deployment_configs();
    let spec_hash = if ours {
        hashes(kind, namespace, name)
    } else {
        // Another manager looks after this kind: what it wrote stands.
        known
            .find(|known| known.name == name && known.namespace == namespace)
            .map(|known| known.spec_hash.clone())
    };
    ConfigSpecHash {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        spec_hash: spec_hash.unwrap_or_default(),
    }
}

/// The configuration references of a WEC that shall have `desired`. What was applied last stays
/// known: of the same configuration if there is one, else of the same kind.
pub(super) fn references(existing: &[ConfigReference], desired: &Desired) -> Vec<ConfigReference> {
    let mut references = Vec::new();
    for (kind, configs) in desired {
        let same_kind: Vec<_> = existing
            .iter()
            .filter(|reference| reference.group_resource() == *kind)
            .collect();
        for config in configs {
            let same = same_kind.iter().find(|reference| {
                reference.name == config.name && reference.namespace == config.namespace
            });
            let before = same.or(same_kind.first().filter(|_| configs.len() == 1));
            references.push(ConfigReference {
                group: kind.group.clone(),
                resource: kind.resource.clone(),
                namespace: config.namespace.clone(),
                name: config.name.clone(),
                desired_config: Some(config.clone()),
                last_applied_config: before.and_then(|before| before.last_applied_config.clone()),
                last_observed_generation: same.map_or(0, |same| same.last_observed_generation),
            });
        }
    }
    references
}

/// Whether references ask for exactly `desired`.
pub(super) fn asks_for(references: &[ConfigReference], desired: &Desired) -> bool {
    let mut asked = Desired::new();
    for reference in references {
        let kind = reference.group_resource();
        let Some(config) = &reference.desired_config else {
            return false;
        };
        asked.entry(kind).or_default().push(config.clone());
    }
    asked == *desired
}

/// The configuration of a kind that references ask for, if its fingerprint is known.
pub(super) fn of_kind<'a>(
    references: &'a [ConfigReference],
    kind: &ConfigGroupResource,
) -> Option<&'a ConfigSpecHash> {
    let reference = references
        .iter()
        .find(|reference| reference.group_resource() == *kind)?;
    let desired = reference.desired_config.as_ref()?;
    (!desired.spec_hash.is_empty()).then_some(desired)
}

/// The fingerprints a work was made from, as its annotation carries them.
pub(super) fn annotation(references: &[ConfigReference]) -> String {
    let entries = references.iter().filter_map(|reference| {
        let desired = reference.desired_config.as_ref()?;
        let kind = match reference.group.as_str() {
            "" => reference.resource.clone(),
            group => format!("{}.{group}", reference.resource),
        };
        let key = format!("{kind}/{}/{}", desired.namespace, desired.name);
        Some((key, desired.spec_hash.clone()))
    });
    let sorted: BTreeMap<String, String> = entries.collect();
    serde_json::json!(sorted).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn none(_: &ConfigGroupResource, _: &str, _: &str) -> Option<String> {
        None
    }

    fn hashed(_: &ConfigGroupResource, namespace: &str, name: &str) -> Option<String> {
        Some(format!("hash of {namespace}/{name}"))
    }

    fn config(resource: &str, name: &str) -> AddOnConfig {
        AddOnConfig {
            group: ADDON_GROUP.to_owned(),
            resource: resource.to_owned(),
            namespace: "ns".to_owned(),
            name: name.to_owned(),
        }
    }

    fn offered() -> ClusterManagementAddOn {
        serde_json::from_value(json!({
            "metadata": {"name": "hello"},
            "spec": {"supportedConfigs": [
                {"group": ADDON_GROUP, "resource": "addontemplates", "defaultConfig": {"name": "t"}},
                {"group": ADDON_GROUP, "resource": "addondeploymentconfigs"},
                {"group": "x.io", "resource": "settings", "defaultConfig": {"name": "s"}},
            ]},
            "status": {"defaultconfigReferences": [
                {"group": "x.io", "resource": "settings",
                 "desiredConfig": {"name": "s", "specHash": "theirs"}},
            ]},
        }))
        .expect("an add-on")
    }

    fn names_and_hashes(desired: &Desired) -> Vec<(String, String, String)> {
        desired
            .iter()
            .flat_map(|(kind, all)| all.iter().map(move |one| (kind, one)))
            .map(|(kind, one)| {
                (
                    kind.resource.clone(),
                    one.name.clone(),
                    one.spec_hash.clone(),
                )
            })
            .collect()
    }

    #[test]
    fn fingerprints_are_those_of_gos_encoder() {
        // `{"a":["\u003cb\u003e",1,true,null],"b":"x"}`, hashed by another program.
        let spec = json!({"b": "x", "a": ["<b>", 1, true, null]});
        let mut text = String::new();
        write_canonical(&mut text, &spec);
        assert_eq!(
            text,
            "{\"a\":[\"\\u003cb\\u003e\",1,true,null],\"b\":\"x\"}"
        );
        assert_eq!(
            fingerprint(&json!({})),
            "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        );
    }

    #[test]
    fn defaults_come_with_fingerprints_of_our_kinds_and_keep_those_of_others() {
        let desired = defaults(&offered(), &hashed);
        assert_eq!(
            names_and_hashes(&desired),
            [
                ("addontemplates".into(), "t".into(), "hash of /t".into()),
                ("settings".into(), "s".into(), "theirs".into()),
            ]
        );
    }

    #[test]
    fn each_level_replaces_a_kind_as_a_whole() {
        let base = defaults(&offered(), &hashed);
        let own = [
            config("addondeploymentconfigs", "one"),
            config("addondeploymentconfigs", "two"),
            config("addontemplates", "u"),
        ];
        let desired = overridden(&base, &own, std::iter::empty(), &none);
        let names: Vec<_> = names_and_hashes(&desired)
            .into_iter()
            .map(|(_, name, _)| name)
            .collect();
        assert_eq!(names, ["one", "two", "u", "s"]);
    }

    #[test]
    fn what_was_applied_last_stays_known_when_the_wish_changes() {
        let first = overridden(
            &Desired::new(),
            &[config("addontemplates", "t")],
            [].iter(),
            &hashed,
        );
        let mut references = super::references(&[], &first);
        assert!(asks_for(&references, &first));
        references[0].last_applied_config = references[0].desired_config.clone();
        let second = overridden(&first, &[config("addontemplates", "u")], [].iter(), &hashed);
        assert!(!asks_for(&references, &second));
        let next = super::references(&references, &second);
        assert_eq!(next[0].name, "u");
        assert_eq!(
            next[0].last_applied_config.as_ref().expect("known").name,
            "t"
        );
    }

    #[test]
    fn a_work_says_what_it_was_made_from() {
        let desired = overridden(
            &Desired::new(),
            &[config("addontemplates", "t")],
            [].iter(),
            &hashed,
        );
        assert_eq!(
            annotation(&super::references(&[], &desired)),
            "{\"addontemplates.addon.open-cluster-management.io/ns/t\":\"hash of ns/t\"}"
        );
    }
}
