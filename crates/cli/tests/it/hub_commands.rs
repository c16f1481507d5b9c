//! The commands of clusteradm that look after a hub once it has clusters.

use expect_test::expect;

use crate::harness::Host;

/// A map, as a manifest.
const MAP: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: hello, namespace: default}
data: {greeting: hello}
";

/// Runs `clusteradm` on the hub; the transcript of both streams with the exit code.
fn on_hub(host: &Host, words: &str) -> String {
    let ran = host.run(&format!("clusteradm --context its1 {words} 2>&1"));
    format!("{}exit {}\n", ran.out, ran.code.unwrap_or(-1))
}

/// Insists that `clusteradm` refuses on the hub, with each of `parts` in what it says.
#[track_caller]
fn refused_on_hub(host: &Host, words: &str, parts: &[&str]) {
    host.run(&format!("clusteradm --context its1 {words}"))
        .refused(parts);
}

#[test]
fn sets_works_and_tokens_are_looked_after_with_upstreams_words() {
    let host = Host::its(&["cluster1"]);
    host.register("its1", "cluster1", "--singleton");
    let on = |words: &str| on_hub(&host, words);
    sets(&host);
    works(&host);
    expect![[r#"
        <Placement> 
        exit 0
    "#]]
    .assert_eq(&on("get placements"));
    expect![[r#"
        <ClusterManagementAddon> 
        exit 0
    "#]]
    .assert_eq(&on("get addon"));
    let clusters = on("get clusters -o table");
    let head = "NAME       ACCEPTED   AVAILABLE   CLUSTERSET   CPU";
    assert!(clusters.starts_with(head), "{clusters}");
    let yaml = on("get clusters -o yaml");
    assert!(yaml.contains("kind: ManagedClusterList\n"), "{yaml}");
    infos(&host);
    expect![[r#"
        exit 0
    "#]]
    .assert_eq(&on("delete token"));
    host.run("clusteradm --context its1 get token").refused(&[
        "failed to get token from sa open-cluster-management/agent-registration-bootstrap",
    ]);
}

fn sets(host: &Host) {
    let on = |words: &str| on_hub(host, words);
    assert_eq!(
        on("create clusterset s1"),
        "Clusterset s1 is created\nexit 0\n"
    );
    assert_eq!(
        on("create clusterset s1"),
        "Clusterset s1 is already created\nexit 0\n"
    );
    let set = "clusterset set s1 --clusters cluster1";
    assert_eq!(
        on(set),
        "Cluster cluster1 is set, from ClusterSet default to Clusterset s1\nexit 0\n"
    );
    assert_eq!(
        on(set),
        "Cluster cluster1 is already in Clusterset s1\nexit 0\n"
    );
    let bind = "clusterset bind s1 --namespace default";
    assert_eq!(
        on(bind),
        "Clusterset s1 is bound to Namespace default\nexit 0\n"
    );
    assert_eq!(
        on(bind),
        "Clusterset s1 is already bound to Namespace default\nexit 0\n"
    );
    host.until("clusteradm --context its1 get clustersets", |ran| {
        ran.out.ends_with(
            "└── <s1> \n    └── <BoundNamespace> default\n    └── <Status> 1 ManagedClusters selected\n    └── <Clusters> [cluster1]\n    └── <ManagedNamespaces> []\n",
        )
    });
    let refused = |words: &str, parts: &[&str]| refused_on_hub(host, words, parts);
    refused(
        "delete clusterset s1",
        &["bound to the namespaces default", "clusterset unbind s1"],
    );
    refused(
        "delete clusterset default",
        &["default", "cannot be deleted"],
    );
    refused(
        "delete clusterset s9",
        &["managedclustersets.cluster.open-cluster-management.io \"s9\" not found"],
    );
    refused(
        "clusterset set s9 --clusters cluster1",
        &["\"s9\" not found", "create clusterset s9"],
    );
    refused(
        "clusterset set s1 --clusters nobody",
        &["managedclusters.cluster.open-cluster-management.io \"nobody\" not found"],
    );
    refused("clusterset set s1", &["--clusters", "--namespaces"]);
    refused(
        "clusterset set global --clusters cluster1",
        &["by its own selector"],
    );
    refused("clusterset bind s9", &["\"s9\" not found"]);
    refused(
        "clusterset unbind s9",
        &["managedclustersetbindings.cluster.open-cluster-management.io \"s9\" not found"],
    );
    assert_eq!(
        on("create placement p1 --clustersets global"),
        "Error: managedclustersetbindings.cluster.open-cluster-management.io \"global\" not found\n\
         bind the set to the namespace first, with 'clusteradm clusterset bind global --namespace default'\nexit 1\n"
    );
    assert_eq!(
        on("create placement p1 --clustersets s1 --count 1"),
        "Placement 'p1' has been created in 'default' namespace\nexit 0\n"
    );
    refused("create placement p1", &["exists already", "--overwrite"]);
    assert_eq!(
        on("create placement p1 --overwrite"),
        "Placement 'p1' of 'default' namespace has been updated\nexit 0\n"
    );
    host.run("kubectl --context its1 delete placement p1").ok();
    assert_eq!(
        on("clusterset unbind s1 --namespace default"),
        "Clusterset s1 is unbind from namespace default\nexit 0\n"
    );
    assert_eq!(
        on("--dry-run delete clusterset s1"),
        "clusteradm is running in dry-run mode\nClusterset s1 is deleted\nexit 0\n"
    );
    assert_eq!(
        on("delete clusterset s1"),
        "Clusterset s1 is deleted\nexit 0\n"
    );
}

fn works(host: &Host) {
    let on = |words: &str| on_hub(host, words);
    host.file("cm.yaml", MAP);
    let create = "create work w1 -f cm.yaml --clusters cluster1";
    assert_eq!(on(create), "create work w1 in cluster cluster1\nexit 0\n");
    assert_eq!(
        on(create),
        "work w1 in cluster cluster1 already exists\nexit 0\n"
    );
    let tree = "clusteradm --context its1 get works --cluster cluster1";
    host.until_seen(tree, &["<default/hello> applied", "<Available> True"]);
    expect![[r#"
        <ManifestWork> 
        └── <cluster1> 
            └── <w1> 
                └── <Number of Manifests> 1
                └── <Applied> True
                └── <Resources> 
                │   ├── <configmaps> 
                │       └── <default/hello> applied
                └── <Available> True
        exit 0
    "#]]
    .assert_eq(&on("get works --cluster cluster1"));
    host.file("cm.yaml", &MAP.replace("greeting: hello", "greeting: bye"));
    assert_eq!(
        on("create work w1 -f cm.yaml --clusters cluster1 --overwrite"),
        "update work w1 in cluster cluster1\nexit 0\n"
    );
    let greeting = "kubectl --context cluster1 get configmap hello -o jsonpath='{.data.greeting}'";
    host.until_seen(greeting, &["bye"]);
    assert_eq!(
        on("delete work w1 --cluster cluster1"),
        "work w1 in cluster cluster1 is deleted\nexit 0\n"
    );
    assert_eq!(
        on("get works --cluster cluster1"),
        "<ManifestWork> \nexit 0\n"
    );
    let sample = on("create sampleapp app1");
    assert!(
        sample.starts_with("create sample application app1 in cluster cluster1\n"),
        "{sample}"
    );
    host.until_seen(
        "kubectl --context cluster1 -n app1 get configmap app1 -o yaml",
        &["Delivered to cluster1"],
    );
    assert!(on("delete work app1 --clusters cluster1").ends_with("exit 0\n"));
    let refused = |words: &str, parts: &[&str]| refused_on_hub(host, words, parts);
    refused(
        "get works",
        &["either --cluster or --clusters needs to be set"],
    );
    refused(
        "get works w9 --cluster cluster1",
        &["manifestworks.work.open-cluster-management.io \"w9\" not found"],
    );
    refused(
        "get works --cluster cluster9",
        &["\"cluster9\" not found", "get clusters"],
    );
    refused(
        "get clusters --clusterset s9",
        &["\"s9\" not found", "get clustersets"],
    );
    refused("delete work w9 --cluster cluster1", &["\"w9\" not found"]);
    refused("create work w1 -f cm.yaml", &["--placement"]);
    refused(
        "create work w1 -f cm.yaml --placement default/p9",
        &["placements.cluster.open-cluster-management.io \"p9\" not found"],
    );
    refused(
        "create work w1 -f cm.yaml --placement p9",
        &["NAMESPACE/NAME"],
    );
    refused(
        "create work w1 -f no-such-file --cluster cluster1",
        &["no-such-file"],
    );
    refused("create work w1 --cluster cluster1", &["--filename"]);
}

fn infos(host: &Host) {
    let info = on_hub(host, "get hub-info");
    for line in [
        "Registration Operator:\n  Controller:\t(1/1) quay.io/hyades/hyades:v",
        "    (installed) clustermanagers.operator.open-cluster-management.io [*v1]\n",
        "Components:\n  AddOn Manager:\n    Controller:\t(1/1) quay.io/hyades/hyades:v",
        "    Webhook:\t<not needed>\n",
        "      (installed) managedclusters.cluster.open-cluster-management.io [*v1]\n",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
    host.run("clusteradm --context its1 get klusterlet-info").refused(&[
        "Error: managed cluster oriented command should not running against non-managed cluster\n",
    ]);
    let info = host
        .run("clusteradm --context cluster1 get klusterlet-info")
        .ok();
    for line in [
        "Klusterlet:\tklusterlet\nConditions:\n",
        "  Controller:\t(1/1) quay.io/hyades/hyades:v",
        "(installed) appliedmanifestworks.work.open-cluster-management.io [*v1]\n",
    ] {
        assert!(info.contains(line), "{line}: {info}");
    }
    host.run("clusteradm --context cluster1 get hub-info")
        .refused(&["hub oriented command should not running against non-hub cluster"]);
}

#[test]
fn addons_are_offered_enabled_and_disabled_and_a_hub_is_cleaned() {
    let host = Host::its(&["cluster1"]);
    let on = |words: &str| on_hub(&host, words);
    let refused = |words: &str, parts: &[&str]| refused_on_hub(&host, words, parts);
    host.register("its1", "cluster1", "--singleton");
    host.file("cm.yaml", MAP);
    assert_eq!(
        on("addon create hello --labels a=b --hub-registration -f cm.yaml"),
        "ClusterManagementAddOn hello is created\nAddOnTemplate hello-0.0.1 is created\nexit 0\n"
    );
    refused(
        "addon create hello -f cm.yaml",
        &["exists already", "--overwrite"],
    );
    assert_eq!(
        on("addon create hello -f cm.yaml --overwrite"),
        "ClusterManagementAddOn hello is updated\nAddOnTemplate hello-0.0.1 is updated\nexit 0\n"
    );
    host.file(
        "config.yaml",
        "apiVersion: addon.open-cluster-management.io/v1beta1
kind: AddOnDeploymentConfig
metadata: {name: settings, namespace: default}
spec: {customizedVariables: [{name: a, value: b}]}
",
    );
    let enable = "addon enable --names hello --clusters cluster1 --labels x=y --annotate n=m --config-file config.yaml --output-file out.yaml";
    let deploying = "Deploying hello add-on to namespaces open-cluster-management-agent-addon of managed cluster: cluster1.\nexit 0\n";
    assert_eq!(on(enable), deploying);
    assert_eq!(on(enable), deploying, "enabled twice is enabled once");
    let spec = host
        .run("kubectl --context its1 -n cluster1 get managedclusteraddons.v1alpha1.addon.open-cluster-management.io hello -o jsonpath='{.metadata.labels.x} {.metadata.annotations.n} {.spec.installNamespace} {.spec.configs[0].resource} {.spec.configs[0].name}'")
        .ok();
    assert_eq!(
        spec,
        "y m open-cluster-management-agent-addon addondeploymentconfigs settings"
    );
    let written = host.run("cat out.yaml").ok();
    assert!(written.contains("kind: ManagedClusterAddOn\n"), "{written}");
    assert_eq!(
        on("get addon -o table"),
        "NAME    INSTALLEDCLUSTERS\nhello   cluster1\nexit 0\n"
    );
    let tree = on("get addon hello --clusters cluster1");
    assert!(
        tree.starts_with(
            "<ClusterManagementAddon> \n└── <hello> \n    └── <cluster1> \n        └── <Status> \n"
        ),
        "{tree}"
    );
    refused(
        "addon enable --names nothing --clusters cluster1",
        &["enabling the unknown addon nothing is not supported"],
    );
    refused(
        "addon enable --names hello --clusters nobody",
        &["\"nobody\" not found"],
    );
    refused("addon enable --clusters cluster1", &["--names"]);
    refused("addon disable --names hello", &["--all-clusters"]);
    assert_eq!(
        on("addon disable --names hello --all-clusters"),
        "Undeploying hello add-on in managed cluster: cluster1.\nexit 0\n"
    );
    let gone = |ran: &crate::harness::Ran| ran.out == "NAME    INSTALLEDCLUSTERS\nhello   \n";
    host.until("clusteradm --context its1 get addon -o table", gone);
    refused(
        "addon disable --names hello --clusters cluster1",
        &["not enabled for the cluster cluster1"],
    );

    refused(
        "clean",
        &[
            "Please detach all managed clusters from the hub control plane",
            "cluster1",
        ],
    );
    host.run("clusteradm --context cluster1 unjoin --cluster-name cluster1")
        .ok();
    host.run("kubectl --context its1 delete managedcluster cluster1")
        .ok();
    assert_eq!(
        on("clean"),
        "The multicluster hub control plane has been clean up successfully!\nexit 0\n"
    );
    let left = host
        .run("kubectl --context its1 get clusterrole,clusterrolebinding,deployments -A -o name")
        .ok();
    assert!(!left.contains("cluster-manager"), "{left}");
    assert!(!left.contains("bootstrap:agent"), "{left}");
    refused("clean", &["hub has not been initialized"]);
    assert_eq!(
        on("get hub-info"),
        "Registration Operator:\t<none>\nComponents:\t<uninstalled>\nexit 0\n",
        "as recorded of a hub without an operator"
    );
    // What was cleaned can be a hub again.
    host.until(
        "clusteradm --context its1 --timeout 60 init --wait",
        |ran| ran.code == Some(0),
    );
}

#[test]
fn hub_and_agent_are_upgraded_and_keep_their_settings() {
    let host = Host::its(&["cluster1"]);
    host.register(
        "its1",
        "cluster1",
        "--singleton --klusterlet-annotation a=b",
    );
    host.run("clusteradm --context cluster1 upgrade clustermanager")
        .refused(&["clustermanager is not installed"]);
    host.run("clusteradm --context its1 upgrade klusterlet")
        .refused(&["klusterlet is not installed"]);
    host.run("clusteradm --context its1 upgrade clustermanager --bundle-version newest")
        .refused(&["couldn't find the requested version bundle: newest"]);
    host.run("clusteradm --context its1 upgrade clustermanager --cluster-manager-values-file x")
        .refused(&["--cluster-manager-values-file cannot be used"]);
    for (context, subject) in [("its1", "clustermanager"), ("cluster1", "klusterlet")] {
        let said = host
            .run(&format!(
                "clusteradm --context {context} --timeout 60 upgrade {subject} --bundle-version 9.9.9 --wait"
            ))
            .ok();
        assert_eq!(
            said,
            format!("{subject} installed. starting upgrade\nupgraded completed successfully\n")
        );
    }
    let images = |context: &str| {
        host.run(&format!(
            "kubectl --context {context} get deployments -A -o jsonpath='{{.items[*].spec.template.spec.containers[*].image}}'"
        ))
        .ok()
    };
    for context in ["its1", "cluster1"] {
        let images = images(context);
        let mut images = images.split(' ');
        assert!(
            images.all(|image| image == "quay.io/hyades/hyades:v9.9.9"),
            "{context}"
        );
    }
    let spec = "kubectl --context cluster1 get klusterlet klusterlet -o jsonpath='{.spec.deployOption.mode} {.spec.clusterName} {.spec.registrationConfiguration.clusterAnnotations}'";
    assert_eq!(
        host.run(spec).ok(),
        "Singleton cluster1 {\"agent.open-cluster-management.io/a\":\"b\"}"
    );
    // Tokens go on working, and so does the agent.
    host.run("clusteradm --context its1 get token").ok();
    host.until_available("its1", "cluster1");
}
