//! Enabled add-ons in every state, without a server.

use super::*;

struct Scene {
    addon: ManagedClusterAddOn,
    offered: Option<ClusterManagementAddOn>,
    cluster: ManagedCluster,
    template: Template,
    settings: Result<Option<AddOnDeploymentConfigSpec>, ()>,
    deploy: Option<ManifestWork>,
    hook: Option<ManifestWork>,
    bindings: Vec<Arc<RoleBinding>>,
}

fn parse<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object of its kind")
}

fn condition(type_: &str, status: &str, generation: i64) -> Value {
    json!({
        "type": type_, "status": status, "reason": "R", "message": "",
        "observedGeneration": generation, "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn config_map() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}})
}

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "bye", "namespace": "n", "annotations": {names::PRE_DELETE: ""}},
    })
}

fn template(manifests: &[Value]) -> AddOnTemplateSpec {
    parse(json!({"addonName": "hello", "agentSpec": {"workload": {"manifests": manifests}}}))
}

impl Scene {
    fn new(manifests: &[Value]) -> Self {
        let desired = json!({"name": "t", "specHash": "h"});
        Self {
            addon: parse(json!({
                "metadata": {
                    "name": "hello", "namespace": "c1", "uid": "mine",
                    "ownerReferences": [{
                        "apiVersion": "x/v1", "kind": "K", "name": "hello", "uid": "offered"}],
                },
                "spec": {},
                "status": {"configReferences": [{
                    "group": "addon.open-cluster-management.io", "resource": "addontemplates",
                    "name": "t", "desiredConfig": desired,
                }]},
            })),
            offered: Some(parse(json!({
                "metadata": {"name": "hello", "uid": "offered"}, "spec": {}}))),
            cluster: parse(json!({
                "metadata": {"name": "c1"},
                "status": {"conditions": [condition("ManagedClusterConditionAvailable", "True", 1)]},
            })),
            template: Template::Found(Box::new(template(manifests))),
            settings: Ok(None),
            deploy: None,
            hook: None,
            bindings: Vec::new(),
        }
    }

    fn decide(&self) -> Plan {
        let cluster: ClusterName = "c1".parse().expect("a name");
        decide(&View {
            cluster_name: &cluster,
            addon_name: &"hello".parse().expect("a name"),
            addon: &self.addon,
            offered: self.offered.as_ref(),
            cluster: &self.cluster,
            template: self.template.clone(),
            settings: self.settings.clone(),
            agent: AgentIdentity::new(cluster.clone(), "a").ok(),
            deploy: self.deploy.as_ref(),
            hook: self.hook.as_ref(),
            bindings: &self.bindings,
        })
    }

    fn going(mut self, finalizers: &[&str]) -> Self {
        self.addon.metadata.deletion_timestamp = Some(parse(json!("2026-01-01T00:00:00Z")));
        self.addon.metadata.finalizers =
            Some(finalizers.iter().map(|one| (*one).to_owned()).collect());
        self
    }
}

/// A work as the hub wrote it, and the agent reports it.
fn reported(work: &Value, feedback: Value) -> ManifestWork {
    let mut work = work.clone();
    work["metadata"]["generation"] = json!(1);
    work["status"] = json!({
        "conditions": [condition("Applied", "True", 1), condition("Available", "True", 1)],
        "resourceStatus": {"manifests": feedback},
    });
    parse(work)
}

fn said<'a>(plan: &'a Plan, type_: &str) -> Option<(&'a str, &'a str)> {
    let found = plan.said.iter().rev().find(|said| said.type_ == type_)?;
    Some((found.status.as_str(), &found.reason))
}

#[test]
fn an_add_on_is_brought_by_a_work_and_completes_when_the_work_is_ready() {
    let mut scene = Scene::new(&[config_map()]);
    let plan = scene.decide();
    assert_eq!(plan.metadata, None);
    let [work] = plan.works.as_slice() else {
        panic!("one work")
    };
    assert_eq!(work["metadata"]["name"], "addon-hello-deploy-0");
    assert_eq!(work["metadata"]["labels"][labels::ADDON_NAME], "hello");
    assert_eq!(work["metadata"]["ownerReferences"][0]["uid"], "mine");
    assert_eq!(
        said(&plan, "ManifestApplied"),
        Some(("True", "AddonManifestApplied"))
    );
    assert_eq!(said(&plan, "Progressing"), Some(("True", "Progressing")));
    assert_eq!(
        said(&plan, "RegistrationApplied"),
        Some(("True", "NilRegistration"))
    );

    scene.deploy = Some(reported(work, json!([])));
    let plan = scene.decide();
    assert!(plan.works.is_empty(), "nothing is written twice");
    assert_eq!(said(&plan, "Progressing"), Some(("False", "Completed")));
    let reference = &plan.status.config_references[0];
    assert_eq!(reference.last_applied_config, reference.desired_config);
    assert_eq!(plan.status.namespace, namespaces::AGENT_ADDON);
}

#[test]
fn health_is_by_lease_unless_the_template_has_pods() {
    let mode = |scene: &Scene| scene.decide().status.health_check.expect("a mode").mode;
    assert_eq!(mode(&Scene::new(&[config_map()])), "Lease");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"},
        "spec": {"template": {"spec": {"containers": []}}},
    });
    let scene = Scene::new(&[deployment]);
    assert_eq!(mode(&scene), "Customized");
    assert_eq!(
        said(&scene.decide(), "Available"),
        Some(("Unknown", "WorkNotFound"))
    );
}

#[test]
fn a_lost_wec_makes_its_add_ons_unknown() {
    let mut scene = Scene::new(&[config_map()]);
    scene.cluster.status.conditions[0].status = "Unknown".to_owned();
    scene.template = Template::Pending;
    let plan = scene.decide();
    assert_eq!(plan.said, [known::LEASE_STOPPED_WITH_CLUSTER]);
    assert_eq!(plan.works.len(), 0);
}

#[test]
fn an_error_in_a_template_changes_nothing_that_runs() {
    let mut broken = config_map();
    broken["data"] = json!({"a": "{{NOWHERE}}"});
    let plan = Scene::new(&[broken]).decide();
    assert_eq!(
        said(&plan, "ManifestApplied"),
        Some(("False", "ManifestWorkApplyFailed"))
    );
    assert!(plan.works.is_empty() && plan.delete.is_none());
    let mut scene = Scene::new(&[config_map()]);
    scene.settings = Err(());
    let plan = scene.decide();
    assert!(
        plan.works.is_empty() && plan.said.is_empty(),
        "the config meant is not there"
    );
}

#[test]
fn owner_and_annotations_are_handed_down() {
    let mut scene = Scene::new(&[config_map()]);
    scene.addon.metadata.owner_references = None;
    let key = "addon.open-cluster-management.io/values";
    scene.cluster.metadata.annotations = Some(
        [
            (key.to_owned(), "v".to_owned()),
            ("other".to_owned(), "w".to_owned()),
        ]
        .into(),
    );
    let metadata = scene.decide().metadata.expect("changes");
    assert_eq!(metadata["ownerReferences"][0]["uid"], "offered");
    assert_eq!(metadata["ownerReferences"][0].get("controller"), None);
    assert_eq!(metadata["annotations"], json!({key: "v"}));
}

#[test]
fn a_hook_holds_the_add_on_until_it_is_done() {
    let scene = Scene::new(&[config_map(), job()]);
    let metadata = scene.decide().metadata.expect("a finalizer");
    assert_eq!(
        metadata,
        json!({"finalizers": [names::PRE_DELETE_FINALIZER]})
    );

    let mut scene = Scene::new(&[config_map(), job()]).going(&[names::PRE_DELETE_FINALIZER]);
    let plan = scene.decide();
    assert_eq!(plan.metadata, None);
    let [hook] = plan.works.as_slice() else {
        panic!("the hook's work")
    };
    assert_eq!(hook["metadata"]["name"], "addon-hello-pre-delete");
    assert_eq!(
        said(&plan, "HookManifestCompleted"),
        Some(("False", "HookManifestIsNotCompleted"))
    );

    let job_is = |complete: &str| {
        let value = json!({"type": "String", "string": complete});
        json!([{
            "resourceMeta": {"ordinal": 0, "group": "batch", "kind": "Job", "resource": "jobs",
                             "name": "bye", "namespace": "n"},
            "statusFeedback": {"values": [{"name": "JobComplete", "fieldValue": value}]},
        }])
    };
    scene.hook = Some(reported(hook, job_is("False")));
    assert_eq!(scene.decide().metadata, None);
    scene.hook = Some(reported(hook, job_is("True")));
    let plan = scene.decide();
    assert_eq!(plan.metadata, Some(json!({"finalizers": []})));
    assert_eq!(
        said(&plan, "HookManifestCompleted"),
        Some(("True", "HookManifestIsCompleted"))
    );
}

#[test]
fn an_add_on_without_a_hook_does_not_wait() {
    let scene = Scene::new(&[config_map()]).going(&[
        names::PRE_DELETE_FINALIZER,
        names::PRE_DELETE_FINALIZER_OLD,
        "of-others",
    ]);
    assert_eq!(
        scene.decide().metadata,
        Some(json!({"finalizers": ["of-others"]}))
    );
}

#[test]
fn agents_elsewhere_and_strange_configurations_are_refused_by_name() {
    let mut scene = Scene::new(&[config_map()]);
    scene.addon.metadata.annotations =
        Some([(names::HOSTING_CLUSTER.to_owned(), "other".to_owned())].into());
    let plan = scene.decide();
    assert_eq!(
        said(&plan, "HostingClusterValidity"),
        Some(("False", "HostingClusterInvalid"))
    );
    assert!(plan.works.is_empty());

    let mut scene = Scene::new(&[config_map()]);
    scene.addon.spec.configs = parse(json!([{"group": "x.io", "resource": "things", "name": "n"}]));
    let plan = scene.decide();
    assert_eq!(
        said(&plan, "Progressing"),
        Some(("False", "ConfigurationUnsupported"))
    );
    assert!(plan.works.is_empty());
}

#[test]
fn a_template_that_is_missing_is_told_and_holds_up_no_deletion() {
    let missing = || Template::Missing("AddOnTemplate \"t\" does not exist".to_owned());
    let mut scene = Scene::new(&[config_map()]);
    scene.template = missing();
    let plan = scene.decide();
    assert_eq!(
        said(&plan, "ManifestApplied"),
        Some(("False", "ManifestWorkApplyFailed"))
    );
    assert!(plan.works.is_empty() && plan.delete.is_none());

    let mut scene = scene.going(&[names::PRE_DELETE_FINALIZER]);
    let plan = scene.decide();
    assert_eq!(plan.metadata, Some(json!({"finalizers": []})));
    assert_eq!(
        plan.no_hook.as_deref(),
        Some("AddOnTemplate \"t\" does not exist, so no hook is run before the add-on goes")
    );

    // A hook that is on its way is waited for.
    let mut hooked = Scene::new(&[job()]).going(&[names::PRE_DELETE_FINALIZER]);
    scene.hook = Some(reported(&hooked.decide().works[0], json!([])));
    let plan = scene.decide();
    assert_eq!((plan.metadata, plan.no_hook), (None, None));
    assert_eq!(
        said(&scene.decide(), "HookManifestCompleted"),
        Some(("False", "HookManifestIsNotCompleted"))
    );

    hooked.settings = Err(());
    assert!(hooked.decide().no_hook.is_some(), "no settings, no hook");
}

#[test]
fn rights_that_the_template_does_not_ask_for_any_more_are_withdrawn() {
    let binding: Arc<RoleBinding> = Arc::new(parse(json!({
        "metadata": {"name": "open-cluster-management:hello:clusterrole:agent", "namespace": "c1"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
    })));
    let asking = |role: &str| {
        let mut asked = template(&[config_map()]);
        asked.registration = parse(
            json!([{"type": "KubeClient", "kubeClient": {"hubPermissions": [
                {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": role}},
            ]}}]),
        );
        Template::Found(Box::new(asked))
    };
    let mut scene = Scene::new(&[config_map()]);
    scene.bindings = vec![binding.clone()];
    let withdrawn = |scene: &Scene| scene.decide().withdraw.len();
    assert_eq!(withdrawn(&scene), 1, "the template asks for nothing");
    scene.template = asking("r");
    assert_eq!(withdrawn(&scene), 0);
    scene.template = asking("s");
    assert_eq!(withdrawn(&scene), 1, "a binding's role cannot be changed");
    assert_eq!(scene.decide().rights.len(), 1);
    for unknown in [Template::Pending, Template::Missing("gone".to_owned())] {
        scene.template = unknown;
        assert_eq!(withdrawn(&scene), 0, "what stands stays");
    }
    scene.template = asking("s");
    let scene = scene.going(&[]);
    assert_eq!(withdrawn(&scene), 0, "it goes with its owner");
}
