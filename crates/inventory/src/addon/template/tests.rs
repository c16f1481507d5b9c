//! Whole templates.

use super::*;

fn input_with(
    template: Value,
    settings: Option<Value>,
    check: impl Fn(Result<Rendered, RenderError>),
) {
    let template: AddOnTemplateSpec = serde_json::from_value(template).expect("a template");
    let settings: Option<AddOnDeploymentConfigSpec> =
        settings.map(|settings| serde_json::from_value(settings).expect("settings"));
    let object: ManagedCluster =
        serde_json::from_value(json!({"metadata": {"name": "c1"}})).expect("a WEC");
    let cluster = "c1".parse().expect("a name");
    let addon = "hello".parse().expect("a name");
    check(render(&Input {
        cluster: &cluster,
        object: &object,
        addon: &addon,
        template: &template,
        settings: settings.as_ref(),
        namespace: settings
            .as_ref()
            .map_or("default-ns", |settings| &settings.agent_install_namespace),
    }));
}

fn with_manifests(manifests: Value) -> Value {
    json!({"addonName": "hello", "agentSpec": {"workload": {"manifests": manifests}}})
}

fn config_map(data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m-{{CLUSTER_NAME}}", "namespace": "default-ns"}, "data": data,
    })
}

#[test]
fn placeholders_get_values_and_the_hubs_own_cannot_be_overridden() {
    let template = with_manifests(json!([config_map(json!({
        "who": "{{ CLUSTER_NAME }} in {{INSTALL_NAMESPACE}} says {{WORD}}",
        "other": "{{ $labels.x }} {{", "{{WORD}}": "key",
    }))]));
    let settings = json!({
        "agentInstallNamespace": "there",
        "customizedVariables": [
            {"name": "WORD", "value": "hi \"you\""},
            {"name": "CLUSTER_NAME", "value": "stolen"},
        ],
    });
    input_with(template, Some(settings), |rendered| {
        let deploy = rendered.expect("rendered").deploy.expect("a work");
        assert_eq!(
            deploy["workload"]["manifests"][0],
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "m-c1", "namespace": "there"},
                "data": {
                    "who": "c1 in there says hi \"you\"",
                    "other": "{{ $labels.x }} {{",
                    "hi \"you\"": "key",
                },
            })
        );
    });
}

#[test]
fn a_placeholder_without_a_value_is_an_error_that_names_it() {
    let template = with_manifests(json!([config_map(json!({"a": "{{NONE}} {{NOR_THIS}}"}))]));
    input_with(template, None, |rendered| {
        let error = rendered.expect_err("no values");
        assert_eq!(error, RenderError::NoValue("NONE, NOR_THIS".to_owned()));
        assert!(error.to_string().contains("AddOnDeploymentConfig"));
    });
}

#[test]
fn pods_get_environment_credentials_and_settings() {
    let template = json!({
        "addonName": "hello",
        "registration": [
            {"type": "KubeClient"},
            {"type": "CustomSigner", "customSigner": {
                "signerName": "example.com/s", "signingCA": {"name": "ca"}}},
        ],
        "agentSpec": {"workload": {"manifests": [{
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "agent", "namespace": "default-ns"},
            "spec": {"replicas": "{{REPLICAS}}", "template": {"spec": {
                "containers": [{"name": "main", "image": "quay.io/team/x:v1"}]}}},
        }]}},
    });
    let settings = json!({
        "agentInstallNamespace": "there",
        "customizedVariables": [{"name": "REPLICAS", "value": "2"}],
        "registries": [{"source": "quay.io/team", "mirror": "m.io"}],
        "nodePlacement": {"nodeSelector": {"a": "b"}, "tolerations": [{"key": "k"}]},
        "proxyConfig": {"httpProxy": "http://p", "caBundle": "UEVN"},
        "resourceRequirements": [
            {"containerID": "deployments:agent:main", "resources": {"limits": {"cpu": "1"}}},
        ],
    });
    input_with(template, Some(settings), |rendered| {
        let rendered = rendered.expect("rendered");
        let deploy = rendered.deploy.expect("a work");
        let deployment = &deploy["workload"]["manifests"][0];
        assert_eq!(deployment["spec"]["replicas"], 2);
        let pod = &deployment["spec"]["template"]["spec"];
        assert_eq!(pod["nodeSelector"], json!({"a": "b"}));
        assert_eq!(pod["tolerations"], json!([{"key": "k"}]));
        let container = &pod["containers"][0];
        assert_eq!(container["image"], "m.io/x:v1");
        assert_eq!(container["resources"]["limits"]["cpu"], "1");
        let environment: Vec<_> = container["env"]
            .as_array()
            .expect("variables")
            .iter()
            .map(|variable| variable["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(
            environment,
            [
                "HUB_KUBECONFIG",
                "CLUSTER_NAME",
                "INSTALL_NAMESPACE",
                "HTTP_PROXY",
                "http_proxy",
                "CA_BUNDLE_FILE_PATH",
            ]
        );
        assert_eq!(
            container["volumeMounts"],
            json!([
                {"name": "hub-kubeconfig", "mountPath": "/managed/hub-kubeconfig"},
                {"name": "cert-example-com-s", "mountPath": "/managed/example.com-s"},
                {"name": "proxy-ca-bundle", "mountPath": "/managed/proxy-ca"},
            ])
        );
        assert_eq!(
            pod["volumes"][1]["secret"]["secretName"],
            "hello-example.com-s-client-cert"
        );
        let authorities = &deploy["workload"]["manifests"][1];
        assert_eq!(authorities["metadata"]["namespace"], "there");
        assert_eq!(authorities["data"]["ca-bundle.crt"], "PEM");
        assert_eq!(
            deploy["manifestConfigs"][0]["feedbackRules"],
            json!([{"type": "WellKnownStatus"}])
        );
        assert_eq!(rendered.workloads.len(), 1);
    });
}

#[test]
fn hooks_go_into_a_work_of_their_own_and_orphans_stay() {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {
            "name": "bye", "namespace": "default-ns",
            "annotations": {"addon.open-cluster-management.io/addon-pre-delete": ""},
        },
    });
    let mut kept = config_map(json!({}));
    kept["metadata"]["annotations"] =
        json!({"addon.open-cluster-management.io/deletion-orphan": ""});
    let template = with_manifests(json!([job, kept]));
    input_with(template, None, |rendered| {
        let rendered = rendered.expect("rendered");
        let hook = rendered.hook.expect("a hook");
        assert_eq!(hook["workload"]["manifests"][0]["kind"], "Job");
        assert_eq!(
            hook["manifestConfigs"][0]["resourceIdentifier"],
            json!({"group": "batch", "resource": "jobs", "name": "bye", "namespace": "default-ns"})
        );
        let deploy = rendered.deploy.expect("a work");
        assert_eq!(
            deploy["deleteOption"]["selectivelyOrphans"]["orphaningRules"],
            json!([{"group": "", "resource": "configmaps", "name": "m-c1", "namespace": "default-ns"}])
        );
    });
}

#[test]
fn subjects_of_bindings_move_with_their_accounts() {
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"},
        "subjects": [
            {"kind": "ServiceAccount", "name": "a", "namespace": "default-ns"},
            {"kind": "Group", "name": "g"},
        ],
    });
    let settings = json!({"agentInstallNamespace": "there"});
    input_with(
        with_manifests(json!([binding])),
        Some(settings),
        |rendered| {
            let deploy = rendered.expect("rendered").deploy.expect("a work");
            let binding = &deploy["workload"]["manifests"][0];
            assert_eq!(binding["metadata"].get("namespace"), None);
            assert_eq!(binding["subjects"][0]["namespace"], "there");
            assert_eq!(binding["subjects"][1].get("namespace"), None);
        },
    );
}

#[test]
fn what_is_no_object_is_refused() {
    input_with(with_manifests(json!([{"kind": "X"}])), None, |rendered| {
        assert_eq!(rendered, Err(RenderError::NoObject(0)));
    });
}
