//! What `hyades wds init` applies to a WDS and to its ITS, as plain objects in the order of
//! application, and with which rights distribution works in both.

use crate::its;
use crate::its::Token;
use hyades_api::control::names::CONTROL_GROUP;
use hyades_api::control::names::ITS_SECRET;
use hyades_api::control::names::REPORT_NAMESPACE;
use hyades_api::control::names::SYSTEM_NAMESPACE;
use hyades_api::crds;
use hyades_api::image;
use hyades_api::image::Component;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use serde_json::Value;
use serde_json::json;
use std::fmt;
use std::str::FromStr;

/// Longest name of a WDS, in bytes: with the prefix of its account it is a DNS label, and it is the
/// value of a label.
pub const WDS_NAME_BYTES_MAX: usize = 59;

/// The Deployment, its account, and the label `app` of its pods.
pub const DISTRIBUTION: &str = "distribution";

/// On a WDS's account in an ITS: the name of the WDS.
pub const WDS_LABEL: &str = "hyades.io/wds";

/// On a WDS's account in an ITS: uid of the namespace `kube-system` of the WDS, by which two WDSes
/// of one name are told apart.
pub const WDS_UID_ANNOTATION: &str = "hyades.io/wds-uid";

/// The role of the program in its WDS, and its binding.
pub const WDS_ROLE: &str = "kubestellar:distribution";

/// The name of a WDS, unique on its ITS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WdsName(String);

/// A text that names no WDS.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the name of a WDS is 1 to {WDS_NAME_BYTES_MAX} lower-case letters, digits and '-', starting \
     and ending with a letter or digit; {0:?} is not"
)]
pub struct NotAWdsName(String);

impl FromStr for WdsName {
    type Err = NotAWdsName;

    fn from_str(text: &str) -> Result<Self, NotAWdsName> {
        let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let is_label = (1..=WDS_NAME_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| edge(byte) || *byte == b'-')
            && bytes.first().is_some_and(edge)
            && bytes.last().is_some_and(edge);
        match is_label {
            true => Ok(Self(text.to_owned())),
            false => Err(NotAWdsName(text.to_owned())),
        }
    }
}

impl fmt::Display for WdsName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl WdsName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The WDS's account in its ITS.
    pub fn account(&self) -> String {
        format!("wds-{self}")
    }

    /// The roles of that account in the ITS, and their bindings.
    pub fn role(&self) -> String {
        format!("kubestellar:wds:{self}")
    }
}

/// What is to be installed in a WDS.
#[derive(Debug)]
pub struct InstallOptions<'a> {
    /// The WDS.
    pub name: &'a WdsName,
    /// The image of the program; must be this project's.
    pub image: &'a str,
    /// API groups whose objects policies can mean; all if empty.
    pub api_groups: &'a [String],
    /// A kubeconfig that names the ITS, without credentials.
    pub its_kubeconfig: &'a str,
    /// The token for the ITS.
    pub its_token: &'a Token,
}

/// The objects of a WDS.
pub fn wds_objects(options: &InstallOptions<'_>) -> Vec<Value> {
    let mut objects = vec![namespace(SYSTEM_NAMESPACE), namespace(REPORT_NAMESPACE)];
    objects.extend(crds::description());
    let account = account_subject(DISTRIBUTION);
    let own_secret = json!([{
        "apiGroups": [""],
        "resources": ["secrets"],
        "resourceNames": [ITS_SECRET],
        "verbs": ["get", "list", "watch", "patch"],
    }]);
    objects.extend([
        service_account(DISTRIBUTION),
        role("ClusterRole", None, WDS_ROLE, json!(wds_rules())),
        binding("ClusterRole", None, WDS_ROLE, &account),
        role("Role", Some(SYSTEM_NAMESPACE), WDS_ROLE, own_secret),
        binding("Role", Some(SYSTEM_NAMESPACE), WDS_ROLE, &account),
        its::secret(options.its_kubeconfig, options.its_token),
        deployment(options),
    ]);
    objects
}

/// The same objects without what only their author knows, to find and to delete them by.
pub fn wds_addresses(name: &WdsName) -> Vec<Value> {
    wds_objects(&InstallOptions {
        name,
        image: "",
        api_groups: &[],
        its_kubeconfig: "",
        its_token: &Token::none(),
    })
}

/// The objects of an ITS for one WDS. `wds_uid` is the uid of the WDS's namespace `kube-system`.
pub fn its_objects(name: &WdsName, wds_uid: &str) -> Vec<Value> {
    let (account, role_name) = (name.account(), name.role());
    let subject = account_subject(&account);
    let properties = namespaces::CUSTOMIZATION_PROPERTIES;
    let mut own = service_account(&account);
    own["metadata"]["labels"] = json!({WDS_LABEL: name.as_str()});
    own["metadata"]["annotations"] = json!({WDS_UID_ANNOTATION: wds_uid});
    let mut objects = vec![namespace(SYSTEM_NAMESPACE), namespace(properties)];
    objects.extend(crds::transport());
    objects.extend([
        own,
        role("ClusterRole", None, &role_name, json!(its_rules())),
        binding("ClusterRole", None, &role_name, &subject),
        role(
            "Role",
            Some(properties),
            &role_name,
            json!([rule("", &["configmaps"], &READ)]),
        ),
        binding("Role", Some(properties), &role_name, &subject),
        role(
            "Role",
            Some(SYSTEM_NAMESPACE),
            &role_name,
            own_token(&account),
        ),
        binding("Role", Some(SYSTEM_NAMESPACE), &role_name, &subject),
    ]);
    objects
}

const READ: [&str; 3] = ["get", "list", "watch"];

/// RBAC cannot say that only labels and status may be patched.
const PATCH_ANYTHING: [&str; 4] = ["get", "list", "watch", "patch"];

/// What distribution may do in its WDS: read everything, since everything can be workload; patch it,
/// since what is returned stands in objects' status and labels; write what is its own.
fn wds_rules() -> Vec<Value> {
    let own = |resources: &[&str], verbs: &[&str]| rule(CONTROL_GROUP, resources, verbs);
    vec![
        rule("*", &["*"], &PATCH_ANYTHING),
        own(
            &["bindings", "combinedstatuses"],
            &["create", "update", "patch", "delete"],
        ),
        own(&["bindingpolicies"], &["update", "patch"]),
        own(
            &[
                "bindingpolicies/status",
                "bindings/status",
                "customtransforms/status",
                "statuscollectors/status",
            ],
            &["update", "patch"],
        ),
    ]
}

/// What distribution may do in its ITS: see the WECs and what they report, write works.
fn its_rules() -> Vec<Value> {
    let works = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    vec![
        rule(names::CLUSTER_GROUP, &["managedclusters"], &READ),
        rule(names::WORK_GROUP, &["manifestworks"], &works),
        rule(CONTROL_GROUP, &["workstatuses"], &READ),
    ]
}

/// The right to ask for further tokens of the account itself, and of no other.
fn own_token(account: &str) -> Value {
    json!([{
        "apiGroups": [""],
        "resources": ["serviceaccounts/token"],
        "resourceNames": [account],
        "verbs": ["create"],
    }])
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn service_account(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": SYSTEM_NAMESPACE},
    })
}

fn account_subject(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": SYSTEM_NAMESPACE, "name": name})
}

fn metadata(namespace: Option<&str>, name: &str) -> Value {
    match namespace {
        Some(namespace) => json!({"name": name, "namespace": namespace}),
        None => json!({"name": name}),
    }
}

fn role(kind: &str, namespace: Option<&str>, name: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": metadata(namespace, name),
        "rules": rules,
    })
}

fn binding(role: &str, namespace: Option<&str>, name: &str, subject: &Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{role}Binding"),
        "metadata": metadata(namespace, name),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name},
        "subjects": [subject],
    })
}

/// One replica, replaced and not doubled: two of them would write against each other.
fn deployment(options: &InstallOptions<'_>) -> Value {
    let mut flags = vec![format!("--wds-name={}", options.name)];
    if !options.api_groups.is_empty() {
        flags.push(format!("--api-groups={}", options.api_groups.join(",")));
    }
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": 8000}, "periodSeconds": 10});
    let from_field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let container = json!({
        "name": DISTRIBUTION,
        "image": options.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [image::COMMAND],
        "args": Component::Distribution.args(flags),
        "env": [
            from_field("POD_NAME", "metadata.name"),
            from_field("POD_NAMESPACE", "metadata.namespace"),
        ],
        "ports": [{"name": "health", "containerPort": 8000, "protocol": "TCP"}],
        "livenessProbe": probe("/healthz"),
        "readinessProbe": probe("/readyz"),
        "resources": {"requests": {"cpu": "2m", "memory": "16Mi"}},
        "securityContext": image::security_context(),
    });
    let labels = json!({labels::APP: DISTRIBUTION});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DISTRIBUTION, "namespace": SYSTEM_NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": DISTRIBUTION, "containers": [container]},
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_wdses_make_accounts_and_label_values() {
        for good in ["wds1", "a", &"a".repeat(WDS_NAME_BYTES_MAX)] {
            assert!(good.parse::<WdsName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a/b",
            &"a".repeat(WDS_NAME_BYTES_MAX + 1),
        ] {
            assert!(bad.parse::<WdsName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn beyond_its_own_it_reads_and_in_the_wds_patches_and_nobody_is_made_more_than_he_is() {
        for rule in [wds_rules(), its_rules()].concat() {
            let verbs: Vec<&str> = rule["verbs"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            assert!(
                !verbs.contains(&"*") && !verbs.contains(&"escalate"),
                "{rule}"
            );
            let is_own = [CONTROL_GROUP, names::WORK_GROUP]
                .iter()
                .any(|group| rule["apiGroups"] == json!([group]));
            // Labels on any object, and status, say what came back.
            let is_returned = rule == json!(wds_rules()[0]) && verbs == PATCH_ANYTHING;
            assert!(is_own || verbs == READ || is_returned, "{rule}");
        }
        let patching = its_rules()
            .into_iter()
            .filter(|rule| rule["apiGroups"] == json!(["*"]));
        assert_eq!(patching.count(), 0, "nothing of the kind in the ITS");
    }

    #[test]
    fn an_its_keeps_the_accounts_of_its_wdses_apart() {
        let addresses = |name: &str| -> Vec<String> {
            let objects = its_objects(&name.parse().expect("a name"), "uid");
            let own = objects.iter().filter(|object| {
                let kind = object["kind"].as_str().unwrap_or_default();
                kind != "Namespace" && kind != "CustomResourceDefinition"
            });
            own.map(|object| format!("{} {}", object["kind"], object["metadata"]))
                .collect()
        };
        let (one, two) = (addresses("wds1"), addresses("wds2"));
        assert_eq!(one.len(), 7);
        assert!(one.iter().all(|address| !two.contains(address)));
    }
}
