//! What one enabled add-on needs: decided from what was seen, with no server at hand.

use super::chosen::Template;
use super::configs;
use super::health;
use super::observed;
use super::permissions;
use super::registration;
use super::registration::Holder;
use super::template;
use super::template::Input;
use super::template::Rendered;
use hyades_api::addon::AddOnDeploymentConfigSpec;
use hyades_api::addon::AddOnTemplateSpec;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ConfigGroupResource;
use hyades_api::addon::HealthCheck;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::ManagedClusterAddOnStatus;
use hyades_api::addon::conditions as known;
use hyades_api::addon::identity::AddOnName;
use hyades_api::addon::names;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::work as work_conditions;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::names::WORK_GROUP;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Annotation on a work: the fingerprint of what it was rendered to. It tells without reading the
/// work's manifests again whether they are still right.
pub(super) const RENDERED: &str = "hyades.io/rendered-sha256";

/// What was seen of one enabled add-on.
pub(super) struct View<'a> {
    pub(super) cluster_name: &'a ClusterName,
    pub(super) addon_name: &'a AddOnName,
    pub(super) addon: &'a ManagedClusterAddOn,
    pub(super) offered: Option<&'a ClusterManagementAddOn>,
    pub(super) cluster: &'a ManagedCluster,
    /// The template that the add-on is made of.
    pub(super) template: Template,
    /// The deployment config asked for; `Err` while it is not the one that was meant, or, of an
    /// add-on that goes, while there is none.
    pub(super) settings: Result<Option<AddOnDeploymentConfigSpec>, ()>,
    /// The agent of the WEC, once it is known.
    pub(super) agent: Option<AgentIdentity>,
    /// The work that brings the add-on.
    pub(super) deploy: Option<&'a ManifestWork>,
    /// The work that runs before the add-on goes.
    pub(super) hook: Option<&'a ManifestWork>,
    /// The bindings in the mailbox that hub permissions were turned into.
    pub(super) bindings: &'a [Arc<RoleBinding>],
}

impl View<'_> {
    fn is_going(&self) -> bool {
        self.addon.metadata.deletion_timestamp.is_some()
    }
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Changes of the metadata, as a merge patch.
    pub(super) metadata: Option<Value>,
    /// Bindings that must go, before rights are written.
    pub(super) withdraw: Vec<Arc<RoleBinding>>,
    /// Rights to write, in this order.
    pub(super) rights: Vec<Value>,
    /// Works to write.
    pub(super) works: Vec<Value>,
    /// A work to delete.
    pub(super) delete: Option<String>,
    /// The status before conditions.
    pub(super) status: ManagedClusterAddOnStatus,
    /// What to say, if rights and works could be written.
    pub(super) said: Vec<Statement>,
    /// Why the hook of an add-on that goes is not waited for, although it should be.
    pub(super) no_hook: Option<String>,
}

/// Decides about an enabled add-on.
pub(super) fn decide(view: &View<'_>) -> Plan {
    let mut plan = Plan {
        status: view.addon.status.clone(),
        ..Plan::default()
    };
    let lost = health::is_lost(view.cluster);
    if lost {
        plan.said.push(known::LEASE_STOPPED_WITH_CLUSTER);
    }
    let mut needs_hook = has_finalizer(view.addon, names::PRE_DELETE_FINALIZER);
    if let Some(hosting) = view.addon.hosting_cluster() {
        let why = format!(
            "this hub runs agents of add-ons in their own cluster only; remove annotation {} \
             ({hosting:?})",
            names::HOSTING_CLUSTER
        );
        if view.is_going() {
            needs_hook = leave_without(view, &why, &mut plan);
        }
        plan.said.push(known::HOSTING_UNSUPPORTED.with_message(why));
    } else {
        match &view.template {
            Template::Found(template) if view.is_going() => {
                needs_hook = leave(view, template, &mut plan);
            }
            Template::Found(template) => needs_hook = managed(view, template, lost, &mut plan),
            Template::Missing(why) if view.is_going() => {
                needs_hook = leave_without(view, why, &mut plan);
            }
            Template::Missing(why) => {
                let message = format!("{why}; what runs is left as it is");
                plan.said
                    .push(known::MANIFESTS_NOT_APPLIED.with_message(message));
            }
            Template::Pending | Template::NotAsked => {}
        }
    }
    plan.metadata = metadata(view, needs_hook);
    plan
}

/// An add-on of a template. Returns whether it must wait for a hook before it goes.
fn managed(view: &View<'_>, template: &AddOnTemplateSpec, lost: bool, plan: &mut Plan) -> bool {
    let finalizer = has_finalizer(view.addon, names::PRE_DELETE_FINALIZER);
    let Ok(settings) = &view.settings else {
        // The config meant is not there any more, or not yet: what runs stays.
        return finalizer;
    };
    let namespace = install_namespace(view.addon, settings.as_ref()).to_owned();
    register(view, template, plan);
    plan.status.namespace.clone_from(&namespace);
    plan.status.supported_configs = supported(view.offered);
    if let Some(kind) = unsupported(view.addon, &plan.status.supported_configs) {
        plan.said
            .push(known::CONFIGURATION_UNSUPPORTED.with_message(format!(
                "Configuration with gvr {}/{} is not supported for this addon",
                kind.group, kind.resource
            )));
        return finalizer;
    }
    let rendered = match render(view, template, settings.as_ref(), &namespace) {
        Ok(rendered) => rendered,
        Err(error) => {
            plan.said
                .push(known::MANIFESTS_NOT_APPLIED.with_message(error.to_string()));
            return finalizer;
        }
    };
    let by_work = !rendered.workloads.is_empty();
    plan.status.health_check = Some(HealthCheck {
        mode: if by_work { "Customized" } else { "Lease" }.to_owned(),
    });
    let deploy = names::deploy_work(view.addon_name);
    match rendered.deploy {
        Some(spec) => bring(view, &deploy, spec, plan),
        None if view.deploy.is_some() => plan.delete = Some(deploy),
        None => {}
    }
    plan.said.push(known::MANIFESTS_APPLIED);
    progress(view, plan);
    if by_work && !lost {
        let addon = view.addon_name.as_str();
        plan.said
            .push(health::by_work(addon, view.deploy, &rendered.workloads));
    }
    rendered.hook.is_some()
}

fn render(
    view: &View<'_>,
    template: &AddOnTemplateSpec,
    settings: Option<&AddOnDeploymentConfigSpec>,
    namespace: &str,
) -> Result<Rendered, template::RenderError> {
    template::render(&Input {
        cluster: view.cluster_name,
        object: view.cluster,
        addon: view.addon_name,
        template,
        settings,
        namespace,
    })
}

/// Namespace of the add-on's agent: of the settings, else of the add-on itself, else the common one.
fn install_namespace<'a>(
    addon: &'a ManagedClusterAddOn,
    settings: Option<&'a AddOnDeploymentConfigSpec>,
) -> &'a str {
    let annotations = addon.metadata.annotations.as_ref();
    let remembered = annotations.and_then(|all| all.get(names::INSTALL_NAMESPACE));
    let wanted = [
        settings.map(|settings| settings.agent_install_namespace.as_str()),
        addon.spec.install_namespace.as_deref(),
        remembered.map(String::as_str),
    ];
    let mut wanted = wanted.into_iter().flatten();
    wanted
        .find(|name| !name.is_empty())
        .unwrap_or(namespaces::AGENT_ADDON)
}

/// The kinds of configuration an add-on takes: those this hub knows, and those it is offered with.
fn supported(offered: Option<&ClusterManagementAddOn>) -> Vec<ConfigGroupResource> {
    let own = [configs::deployment_configs(), configs::templates()];
    let stated = offered.map(|offered| offered.spec.supported_configs.iter());
    let stated = stated
        .into_iter()
        .flatten()
        .map(|config| ConfigGroupResource {
            group: config.group.clone(),
            resource: config.resource.clone(),
        });
    let all: BTreeSet<_> = own.into_iter().chain(stated).collect();
    all.into_iter().collect()
}

fn unsupported(
    addon: &ManagedClusterAddOn,
    supported: &[ConfigGroupResource],
) -> Option<ConfigGroupResource> {
    let mut kinds = addon
        .spec
        .configs
        .iter()
        .map(|config| config.group_resource());
    kinds.find(|kind| !supported.contains(kind))
}

fn register(view: &View<'_>, template: &AddOnTemplateSpec, plan: &mut Plan) {
    let (cluster, addon) = (view.cluster_name, view.addon_name);
    plan.status.registrations = registration::registrations(template, cluster, addon);
    if template.registration.is_empty() {
        plan.withdraw = view.bindings.to_vec();
        plan.said.push(known::NIL_REGISTRATION);
        return;
    }
    let driver = view.addon.status.kube_client_driver.as_str();
    let enabled = observed::owner(view.addon, false);
    let holder = Holder {
        cluster,
        addon,
        driver,
        offered: view.offered.map_or_else(
            || enabled.clone(),
            |offered| observed::owner(offered, false),
        ),
        enabled,
    };
    match registration::permissions(template, &holder) {
        Ok(rights) => {
            plan.withdraw = permissions::stale(view.bindings, &rights);
            plan.rights.extend(rights);
        }
        Err(why) => {
            plan.said.push(known::PERMISSION_FAILED.with_message(why));
            return;
        }
    }
    if driver == registration::TOKEN_DRIVER {
        let Some(agent) = &view.agent else {
            plan.said
                .push(known::PERMISSION_PENDING.with_message(
                    "it is not known yet which agent may ask for the add-on's token",
                ));
            return;
        };
        plan.rights
            .extend(registration::token_objects(&holder, agent));
    }
    plan.said.push(known::PERMISSION_APPLIED);
}

/// The work that brings the add-on, if it is not as it should be.
fn bring(view: &View<'_>, name: &str, spec: Value, plan: &mut Plan) {
    let references = &view.addon.status.config_references;
    let work = work(view, name, spec, &configs::annotation(references));
    if view.deploy.is_none_or(|present| !is_same(present, &work)) {
        plan.works.push(work);
    }
}

fn work(view: &View<'_>, name: &str, spec: Value, configs: &str) -> Value {
    json!({
        "apiVersion": format!("{WORK_GROUP}/v1"),
        "kind": "ManifestWork",
        "metadata": {
            "name": name,
            "namespace": view.cluster_name.as_str(),
            "labels": {labels::ADDON_NAME: view.addon_name.as_str()},
            "annotations": {
                names::CONFIG_SPEC_HASH: configs,
                RENDERED: super::configs::fingerprint(&spec),
            },
            "ownerReferences": [observed::owner(view.addon, true)],
        },
        "spec": spec,
    })
}

fn is_same(present: &ManifestWork, wanted: &Value) -> bool {
    [RENDERED, names::CONFIG_SPEC_HASH].iter().all(|key| {
        let stated = present.annotations().get(*key).map(String::as_str);
        stated == wanted["metadata"]["annotations"][*key].as_str()
    })
}

/// Whether the WEC has what its references ask for.
fn progress(view: &View<'_>, plan: &mut Plan) {
    let statement = match view.deploy {
        None => known::IN_PROGRESS.with_message("progressing... no addon works"),
        Some(_) if !plan.works.is_empty() => {
            known::IN_PROGRESS.with_message("progressing... mca and work configs mismatch")
        }
        Some(work) if !is_ready(work) => {
            known::IN_PROGRESS.with_message("progressing... work is not ready")
        }
        Some(_) => {
            for reference in &mut plan.status.config_references {
                reference.last_applied_config = reference.desired_config.clone();
            }
            known::COMPLETED
        }
    };
    plan.said.push(statement);
}

fn is_ready(work: &ManifestWork) -> bool {
    let generation = work.metadata.generation;
    [work_conditions::APPLIED, work_conditions::AVAILABLE]
        .iter()
        .all(|type_| {
            let found = conditions::find(&work.status.conditions, type_);
            found.is_some_and(|found| {
                found.status == "True" && found.observed_generation == generation
            })
        })
}

/// An add-on that is going. Returns whether it must wait for its hook. Its rights stay as they are
/// until it is gone.
fn leave(view: &View<'_>, template: &AddOnTemplateSpec, plan: &mut Plan) -> bool {
    if !has_finalizer(view.addon, names::PRE_DELETE_FINALIZER) {
        return false;
    }
    let Ok(settings) = &view.settings else {
        let why = "the AddOnDeploymentConfig it was made with cannot be had";
        return leave_without(view, why, plan);
    };
    let namespace = install_namespace(view.addon, settings.as_ref());
    let hook = match render(view, template, settings.as_ref(), namespace) {
        Ok(rendered) => rendered.hook,
        Err(error) => return leave_without(view, &error.to_string(), plan),
    };
    let Some(spec) = hook else {
        return false;
    };
    let is_done = view.hook.is_some_and(is_done);
    say_of_hook(view, is_done, plan);
    let work = work(view, &names::pre_delete_work(view.addon_name), spec, "{}");
    if !is_done && view.hook.is_none_or(|present| !is_same(present, &work)) {
        plan.works.push(work);
    }
    !is_done
}

/// An add-on that is going, and whose hook cannot be made for this reason. One that is on its way is
/// waited for; one that is not never will be, and the add-on must not stay for it.
fn leave_without(view: &View<'_>, why: &str, plan: &mut Plan) -> bool {
    if !has_finalizer(view.addon, names::PRE_DELETE_FINALIZER) {
        return false;
    }
    let Some(hook) = view.hook else {
        plan.no_hook = Some(format!("{why}, so no hook is run before the add-on goes"));
        return false;
    };
    let is_done = is_done(hook);
    say_of_hook(view, is_done, plan);
    !is_done
}

fn say_of_hook(view: &View<'_>, is_done: bool, plan: &mut Plan) {
    let name = names::pre_delete_work(view.addon_name);
    plan.said.push(match is_done {
        true => known::HOOK_DONE.with_message(format!("hook manifestWork {name} is completed.")),
        false => {
            known::HOOK_NOT_DONE.with_message(format!("hook manifestWork {name} is not completed."))
        }
    });
}

/// Whether every Job and Pod of a hook has come to its good end.
fn is_done(work: &ManifestWork) -> bool {
    let manifests = &work.status.resource_status.manifests;
    let ended = |kind: &str, name: &str, value: Option<&str>| match (kind, name) {
        ("Job", "JobComplete") => value == Some("True"),
        ("Pod", "PodPhase") => value == Some("Succeeded"),
        _ => false,
    };
    is_ready(work)
        && !manifests.is_empty()
        && manifests.iter().all(|manifest| {
            let mut values = manifest.status_feedback.values.iter();
            values.any(|value| {
                let text = value.field_value.string.as_deref();
                ended(&manifest.resource_meta.kind, &value.name, text)
            })
        })
}

/// The metadata of an add-on that waits for no hook, as a merge patch.
pub(super) fn finalizers_without_hook(addon: &ManagedClusterAddOn) -> Value {
    let ours = [names::PRE_DELETE_FINALIZER, names::PRE_DELETE_FINALIZER_OLD];
    let all = addon.finalizers().iter();
    let rest: Vec<_> = all.filter(|one| !ours.contains(&one.as_str())).collect();
    json!({"finalizers": rest})
}

fn has_finalizer(addon: &ManagedClusterAddOn, finalizer: &str) -> bool {
    addon
        .finalizers()
        .iter()
        .any(|present| present == finalizer)
}

/// Owner, annotations and finalizer, as far as they differ.
fn metadata(view: &View<'_>, needs_hook: bool) -> Option<Value> {
    let addon = view.addon;
    let going = addon.metadata.deletion_timestamp.is_some();
    let mut changes = json!({});
    if let Some(offered) = view.offered.filter(|_| !going) {
        let uid = offered.metadata.uid.as_deref().unwrap_or_default();
        let owners = addon.owner_references();
        if !owners.iter().any(|owner| owner.uid == uid) {
            let mut owners = json!(owners);
            if let Some(owners) = owners.as_array_mut() {
                owners.push(observed::owner(offered, false));
            }
            changes["ownerReferences"] = owners;
        }
    }
    let handed_down = view.cluster.annotations().iter().filter(|(key, value)| {
        key.starts_with(names::ANNOTATION_PREFIX) && addon.annotations().get(*key) != Some(value)
    });
    for (key, value) in handed_down.filter(|_| !going) {
        changes["annotations"][key] = json!(value);
    }
    let has = has_finalizer(addon, names::PRE_DELETE_FINALIZER);
    let has_old = has_finalizer(addon, names::PRE_DELETE_FINALIZER_OLD);
    // A finalizer cannot be added to what is going already.
    let wanted = needs_hook && (has || !going);
    if has != wanted || (!wanted && has_old) {
        let mut finalizers = finalizers_without_hook(addon)["finalizers"].take();
        if let (true, Some(all)) = (wanted, finalizers.as_array_mut()) {
            all.push(json!(names::PRE_DELETE_FINALIZER));
        }
        changes["finalizers"] = finalizers;
    }
    let changed = changes.as_object().is_some_and(|fields| !fields.is_empty());
    changed.then_some(changes)
}

#[cfg(test)]
mod tests;
