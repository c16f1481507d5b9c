//! Rendering an AddOnTemplate for one WEC: placeholders, pods, works.
//!
//! ```text
//! template + settings + WEC ──values──▶ placeholders ──pods──▶ environment, volumes, images, …
//!                                                        │
//!                                                        ▼
//!                             deploy work  ◀──parts──▶  work of the hooks before deletion
//! ```
//!
//! A placeholder `{{NAME}}` may stand anywhere in a text of a manifest. Upstream puts nothing in
//! the place of one without a value; here that is an error which names it, and what runs stays.
//! Braces around anything but a name are left alone: they are somebody else's templates.

mod pods;

use super::health;
use super::health::Workload;
use hyades_api::addon::AddOnDeploymentConfigSpec;
use hyades_api::addon::AddOnTemplateSpec;
use hyades_api::addon::ImageMirror;
use hyades_api::addon::identity::AddOnName;
use hyades_api::addon::names;
use hyades_api::cluster::ManagedCluster;
use hyades_api::identity::ClusterName;
use hyades_api::names::namespaces;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::core::ApiResource;
use hyades_runtime::kube::core::GroupVersionKind;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::BTreeSet;

/// Why a template gives no works.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum RenderError {
    /// Placeholders without a value.
    #[error(
        "no value for {0}; give it in spec.customizedVariables of an AddOnDeploymentConfig of this \
         add-on"
    )]
    NoValue(String),
    /// A manifest that is no object.
    #[error("manifest {0} of the template has no kind or no name")]
    NoObject(usize),
    /// The registries in an annotation of the inventory object.
    #[error(
        "annotation open-cluster-management.io/image-registries of the ManagedCluster is not \
         {{\"registries\": […]}}: {0}"
    )]
    Registries(String),
}

/// What a template is rendered with.
pub(super) struct Input<'a> {
    pub(super) cluster: &'a ClusterName,
    pub(super) object: &'a ManagedCluster,
    pub(super) addon: &'a AddOnName,
    pub(super) template: &'a AddOnTemplateSpec,
    pub(super) settings: Option<&'a AddOnDeploymentConfigSpec>,
    /// Namespace of the add-on's agent in the WEC.
    pub(super) namespace: &'a str,
}

/// What comes out.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rendered {
    /// Spec of the work that brings the add-on; nothing if the template has no manifest for it.
    pub(super) deploy: Option<Value>,
    /// Spec of the work that runs before the add-on goes.
    pub(super) hook: Option<Value>,
    /// Whose pods say how the add-on fares.
    pub(super) workloads: Vec<Workload>,
}

/// Renders a template.
///
/// # Errors
///
/// Says what is missing or wrong, and where to correct it.
pub(super) fn render(input: &Input<'_>) -> Result<Rendered, RenderError> {
    let values = values(input);
    let mut missing = BTreeSet::new();
    let manifests = input.template.agent_spec.pointer("/workload/manifests");
    let manifests = manifests.and_then(Value::as_array);
    let mut rendered: Vec<Value> = manifests
        .into_iter()
        .flatten()
        .map(|manifest| filled(manifest, &values, &mut missing))
        .collect();
    if !missing.is_empty() {
        let names: Vec<String> = missing.into_iter().collect();
        return Err(RenderError::NoValue(names.join(", ")));
    }
    let decoration = pods::Decoration {
        environment: environment(input, &values),
        registries: registries(input)?,
        addon: input.addon,
        template: input.template,
        settings: input.settings,
    };
    for (place, manifest) in rendered.iter_mut().enumerate() {
        let has = |key: &str| manifest["metadata"][key].as_str().is_some();
        if manifest["kind"].as_str().is_none() || !(has("name") || has("generateName")) {
            return Err(RenderError::NoObject(place));
        }
        number_replicas(manifest);
        pods::decorate(manifest, &decoration);
    }
    rendered.extend(pods::proxy_authorities(&decoration));
    if input.settings.is_some() {
        for manifest in &mut rendered {
            move_to_namespace(manifest, input.namespace);
        }
    }
    Ok(parts(input.template, rendered))
}

/// The values of placeholders. Variables of the settings go before defaults; what the hub knows
/// goes before all.
fn values(input: &Input<'_>) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if !input.template.registration.is_empty() {
        let path = names::HUB_KUBECONFIG_PATH.to_owned();
        values.insert("HUB_KUBECONFIG".to_owned(), path);
    }
    let variables = input
        .settings
        .map(|settings| &settings.customized_variables);
    for variable in variables.into_iter().flatten() {
        values.insert(variable.name.clone(), variable.value.clone());
    }
    values.insert("CLUSTER_NAME".to_owned(), input.cluster.to_string());
    values.insert("INSTALL_NAMESPACE".to_owned(), input.namespace.to_owned());
    values
}

/// The variables every container of the add-on's workloads gets, in upstream's order.
fn environment(input: &Input<'_>, values: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let registers = !input.template.registration.is_empty();
    let names = [
        registers.then_some("HUB_KUBECONFIG"),
        Some("CLUSTER_NAME"),
        input.settings.map(|_| "INSTALL_NAMESPACE"),
    ];
    let pair = |name: &str| Some((name.to_owned(), values.get(name)?.clone()));
    names.into_iter().flatten().filter_map(pair).collect()
}

/// Registries of the settings, else of the inventory object.
fn registries(input: &Input<'_>) -> Result<Vec<ImageMirror>, RenderError> {
    if let Some(settings) = input.settings
        && !settings.registries.is_empty()
    {
        return Ok(settings.registries.clone());
    }
    let Some(text) = input.object.annotations().get(names::IMAGE_REGISTRIES) else {
        return Ok(Vec::new());
    };
    #[derive(serde::Deserialize)]
    struct Stated {
        #[serde(default)]
        registries: Vec<ImageMirror>,
    }
    let stated: Stated =
        serde_json::from_str(text).map_err(|error| RenderError::Registries(error.to_string()))?;
    Ok(stated.registries)
}

/// A manifest with values in the place of placeholders.
fn filled(
    manifest: &Value,
    values: &BTreeMap<String, String>,
    missing: &mut BTreeSet<String>,
) -> Value {
    match manifest {
        Value::String(text) => Value::String(filled_text(text, values, missing)),
        Value::Array(items) => items
            .iter()
            .map(|item| filled(item, values, missing))
            .collect(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let key = filled_text(key, values, missing);
                (key, filled(value, values, missing))
            });
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}

fn filled_text(
    text: &str,
    values: &BTreeMap<String, String>,
    missing: &mut BTreeSet<String>,
) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let (before, inside) = rest.split_at(start);
        filled.push_str(before);
        let Some(end) = inside.find("}}") else {
            rest = inside;
            break;
        };
        let (placeholder, after) = inside.split_at(end + 2);
        let name = placeholder[2..end].trim();
        match values.get(name) {
            Some(value) => filled.push_str(value),
            None if is_name(name) => {
                missing.insert(name.to_owned());
            }
            None => filled.push_str(placeholder),
        }
        rest = after;
    }
    filled.push_str(rest);
    filled
}

fn is_name(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    text.bytes().next().is_some_and(letter)
        && text
            .bytes()
            .all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// A number of replicas that came out of a placeholder is a text and must be a number.
fn number_replicas(manifest: &mut Value) {
    if let Some(replicas) = manifest.pointer_mut("/spec/replicas")
        && let Some(number) = replicas.as_str().and_then(|text| text.parse::<i32>().ok())
    {
        *replicas = json!(number);
    }
}

/// Puts an object, or what it says of namespaces, into the add-on's namespace.
fn move_to_namespace(manifest: &mut Value, namespace: &str) {
    let stated = manifest["metadata"]["namespace"].as_str();
    if stated.is_some_and(|stated| !stated.is_empty()) {
        manifest["metadata"]["namespace"] = json!(namespace);
    }
    match manifest["kind"].as_str() {
        Some("Namespace") => manifest["metadata"]["name"] = json!(namespace),
        Some("ClusterRoleBinding" | "RoleBinding") => {
            let subjects = manifest["subjects"].as_array_mut();
            for subject in subjects.into_iter().flatten() {
                // Users and groups have no namespace.
                if subject["kind"] == "ServiceAccount" {
                    subject["namespace"] = json!(namespace);
                }
            }
        }
        _ => {}
    }
}

/// Whether a manifest runs before the add-on goes.
fn is_hook(manifest: &Value) -> bool {
    let hooks = matches!(manifest["kind"].as_str(), Some("Job" | "Pod"));
    let metadata = &manifest["metadata"];
    let marked = metadata["annotations"].get(names::PRE_DELETE).is_some()
        || metadata["labels"].get(names::PRE_DELETE_LABEL).is_some();
    hooks && marked
}

/// Points at a manifest's object in the WEC.
fn identifier(manifest: &Value) -> Value {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let api_version = text(&manifest["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let kind = GroupVersionKind::gvk(group, version, &text(&manifest["kind"]));
    json!({
        "group": group,
        "resource": ApiResource::from_gvk(&kind).plural,
        "name": text(&manifest["metadata"]["name"]),
        "namespace": text(&manifest["metadata"]["namespace"]),
    })
}

/// The works' specs: the template's own, with these manifests.
fn parts(template: &AddOnTemplateSpec, manifests: Vec<Value>) -> Rendered {
    let (hooks, deployed): (Vec<_>, Vec<_>) = manifests.into_iter().partition(is_hook);
    let workloads = health::workloads(&deployed);
    let deploy = (!deployed.is_empty()).then(|| {
        let mut spec = template.agent_spec.clone();
        let orphans: Vec<_> = deployed
            .iter()
            .filter(|manifest| {
                let annotations = &manifest["metadata"]["annotations"];
                annotations.get(names::DELETION_ORPHAN).is_some()
            })
            .map(identifier)
            .collect();
        if !orphans.is_empty() {
            spec["deleteOption"] = json!({
                "propagationPolicy": "SelectivelyOrphan",
                "selectivelyOrphans": {"orphaningRules": orphans},
            });
        }
        let stated = spec["manifestConfigs"].as_array().cloned();
        let mut configs = stated.unwrap_or_default();
        for rule in health::feedback_rules(&workloads) {
            let of = |config: &Value| config["resourceIdentifier"] == rule["resourceIdentifier"];
            match configs.iter_mut().find(|config| of(config)) {
                Some(config) if config.get("feedbackRules").is_none() => {
                    config["feedbackRules"] = rule["feedbackRules"].clone();
                }
                Some(_) => {}
                None => configs.push(rule),
            }
        }
        if !configs.is_empty() {
            spec["manifestConfigs"] = json!(configs);
        }
        spec["workload"] = json!({"manifests": deployed});
        spec
    });
    let hook = (!hooks.is_empty()).then(|| {
        let rule = |manifest: &Value| {
            json!({
                "resourceIdentifier": identifier(manifest),
                "feedbackRules": [{"type": "WellKnownStatus"}],
            })
        };
        let configs: Vec<_> = hooks.iter().map(rule).collect();
        let mut spec = json!({"workload": {"manifests": hooks}, "manifestConfigs": configs});
        if let Some(executor) = template.agent_spec.get("executor") {
            spec["executor"] = executor.clone();
        }
        spec
    });
    Rendered {
        deploy,
        hook,
        workloads,
    }
}

/// The namespace of the proxy's authorities before [`move_to_namespace`].
fn common_namespace() -> &'static str {
    namespaces::AGENT_ADDON
}

#[cfg(test)]
mod tests;
