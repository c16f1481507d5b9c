//! The identities of an add-on's agent, and what they may do on the hub.

use crate::manifests;
use hyades_api::addon::AddOnTemplateSpec;
use hyades_api::addon::HubPermission;
use hyades_api::addon::RegistrationConfig;
use hyades_api::addon::Subject;
use hyades_api::addon::identity;
use hyades_api::addon::identity::AddOnName;
use hyades_api::addon::names;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::names::CLIENT_SIGNER;
use hyades_api::names::labels;
use serde_json::Value;
use serde_json::json;

/// The driver by which an add-on gets a token instead of a certificate.
pub(super) const TOKEN_DRIVER: &str = "token";

/// The identities that a template asks for, in one WEC.
pub(super) fn registrations(
    template: &AddOnTemplateSpec,
    cluster: &ClusterName,
    addon: &AddOnName,
) -> Vec<RegistrationConfig> {
    let default = || Subject {
        // Upstream draws the agent's name at each start of its manager; here it lasts.
        user: identity::default_user(cluster, addon, addon.as_str()),
        groups: identity::default_groups(cluster, addon).to_vec(),
        organization_unit: Vec::new(),
    };
    let all = template.registration.iter();
    let config = all.filter_map(|registration| match registration.r#type.as_str() {
        "KubeClient" => Some(RegistrationConfig {
            signer_name: CLIENT_SIGNER.to_owned(),
            subject: default(),
        }),
        "CustomSigner" => {
            let signer = registration.custom_signer.as_ref()?;
            Some(RegistrationConfig {
                signer_name: signer.signer_name.clone(),
                subject: signer.subject.clone().unwrap_or_else(default),
            })
        }
        _ => None,
    });
    config.collect()
}

/// Whom the bindings of an add-on's agent name.
pub(super) struct Holder<'a> {
    pub(super) cluster: &'a ClusterName,
    pub(super) addon: &'a AddOnName,
    /// `csr`, `token`, or empty while the agent has not said.
    pub(super) driver: &'a str,
    /// Owner reference to the ManagedClusterAddOn.
    pub(super) enabled: Value,
    /// Owner reference to the ClusterManagementAddOn.
    pub(super) offered: Value,
}

/// The bindings that a template's hub permissions ask for.
///
/// In its mailbox, an add-on's agent of one WEC alone is bound; upstream binds the group of the
/// add-on's agents of all WECs as well, which lets each into every mailbox.
///
/// The first role bound in a mailbox gives the binding upstream's name, further ones carry the
/// role's name too. Outside mailboxes all do: what WECs ask for may differ while a template is
/// rolled out, and bindings of two roles must not take turns under one name.
///
/// # Errors
///
/// Says which permission of the template is incomplete.
pub(super) fn permissions(
    template: &AddOnTemplateSpec,
    holder: &Holder<'_>,
) -> Result<Vec<Value>, String> {
    let registrations = template.registration.iter();
    let clients = registrations.filter_map(|registration| registration.kube_client.as_ref());
    let mut bindings: Vec<Value> = Vec::new();
    for permission in clients.flat_map(|client| &client.hub_permissions) {
        let mut wanted = binding(permission, holder)?;
        let same_name = |present: &Value| {
            ["name", "namespace"]
                .iter()
                .all(|key| present["metadata"][*key] == wanted["metadata"][*key])
        };
        if let Some(first) = bindings.iter().find(|present| same_name(present)) {
            if first["roleRef"] == wanted["roleRef"] {
                continue;
            }
            let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
            let role = wanted["roleRef"]["name"].as_str().unwrap_or_default();
            wanted["metadata"]["name"] = format!("{name}:{role}").into();
        }
        if !bindings.contains(&wanted) {
            bindings.push(wanted);
        }
    }
    Ok(bindings)
}

fn binding(permission: &HubPermission, holder: &Holder<'_>) -> Result<Value, String> {
    let by_token = holder.driver == TOKEN_DRIVER;
    let account = || {
        let name = names::token_account(holder.addon);
        manifests::account_subject(holder.cluster.as_str(), &name)
    };
    let group = |name: String| manifests::group_subject(&name);
    match (&permission.current_cluster, &permission.single_namespace) {
        (Some(current), _) if permission.r#type == "CurrentCluster" => {
            let own = identity::cluster_addon_group(holder.cluster, holder.addon);
            Ok(role_binding(
                names::permission_binding(holder.addon, "ClusterRole"),
                holder.cluster.as_str(),
                ("ClusterRole", &current.cluster_role_name),
                if by_token { account() } else { group(own) },
                &holder.enabled,
                holder.addon,
            ))
        }
        (_, Some(single)) if permission.r#type == "SingleNamespace" => {
            let role = &single.role_ref;
            let name = names::permission_binding(holder.addon, &role.kind);
            let name = format!("{name}:{}", role.name);
            let all = identity::addon_group(holder.addon);
            Ok(role_binding(
                if by_token {
                    format!("{name}:{}", holder.cluster)
                } else {
                    name
                },
                &single.namespace,
                (&role.kind, &role.name),
                if by_token { account() } else { group(all) },
                &holder.offered,
                holder.addon,
            ))
        }
        _ => Err(format!(
            "hub permission of type {:?} lacks its part of the same name",
            permission.r#type
        )),
    }
}

fn role_binding(
    name: String,
    namespace: &str,
    (kind, role): (&str, &str),
    subject: Value,
    owner: &Value,
    addon: &AddOnName,
) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {labels::ADDON_NAME: addon.as_str(), names::TEMPLATE_NAME: ""},
            "ownerReferences": [owner],
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [subject],
    })
}

/// The account whose token an add-on's agent gets, and the right of the WEC's agent to ask for it.
pub(super) fn token_objects(holder: &Holder<'_>, agent: &AgentIdentity) -> [Value; 3] {
    let account = names::token_account(holder.addon);
    let role = names::token_role(holder.addon);
    let namespace = holder.cluster.as_str();
    let metadata = |name: &str| {
        json!({
            "name": name,
            "namespace": namespace,
            "labels": {
                names::TOKEN_ADDON_NAME: holder.addon.as_str(),
                names::TOKEN_INFRASTRUCTURE: "true",
            },
            "ownerReferences": [holder.enabled],
        })
    };
    let rbac = "rbac.authorization.k8s.io";
    let api_version = format!("{rbac}/v1");
    [
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(&account)}),
        json!({
            "apiVersion": api_version, "kind": "Role", "metadata": metadata(&role),
            "rules": [
                manifests::named_rule("", &["serviceaccounts/token"], &[&account], &["create"]),
                manifests::named_rule("", &["serviceaccounts"], &[&account], &["get"]),
            ],
        }),
        json!({
            "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata(&role),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": role},
            "subjects": [manifests::user_subject(&agent.common_name())],
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template() -> AddOnTemplateSpec {
        serde_json::from_value(json!({
            "addonName": "hello",
            "registration": [
                {"type": "KubeClient", "kubeClient": {"hubPermissions": [
                    {"type": "CurrentCluster", "currentCluster": {"clusterRoleName": "r"}},
                    {"type": "SingleNamespace", "singleNamespace": {
                        "namespace": "ns", "roleRef": {"kind": "Role", "name": "s"}}},
                ]}},
                {"type": "CustomSigner", "customSigner": {
                    "signerName": "example.com/s", "signingCA": {"name": "ca"},
                    "subject": {"user": "u", "groups": ["g"], "organizationUnit": ["o"]}}},
            ],
        }))
        .expect("a template")
    }

    fn with_holder(driver: &str, check: impl Fn(&Holder<'_>)) {
        check(&Holder {
            cluster: &"c1".parse().expect("a name"),
            addon: &"hello".parse().expect("a name"),
            driver,
            enabled: json!({"kind": "ManagedClusterAddOn"}),
            offered: json!({"kind": "ClusterManagementAddOn"}),
        });
    }

    #[test]
    fn a_template_asks_for_default_and_own_identities() {
        with_holder("", |holder| {
            let all = registrations(&template(), holder.cluster, holder.addon);
            assert_eq!(all[0].signer_name, CLIENT_SIGNER);
            assert_eq!(
                all[0].subject.user,
                "system:open-cluster-management:cluster:c1:addon:hello:agent:hello"
            );
            assert_eq!(
                (
                    all[1].subject.user.as_str(),
                    &all[1].subject.organization_unit
                ),
                ("u", &vec!["o".to_owned()])
            );
        });
    }

    #[test]
    fn an_agent_is_bound_in_its_own_mailbox_and_in_the_namespace_named() {
        with_holder("csr", |holder| {
            let bindings = permissions(&template(), holder).expect("complete");
            assert_eq!(bindings[0]["metadata"]["namespace"], "c1");
            assert_eq!(
                bindings[0]["metadata"]["name"],
                "open-cluster-management:hello:clusterrole:agent"
            );
            assert_eq!(
                bindings[0]["subjects"][0]["name"],
                "system:open-cluster-management:cluster:c1:addon:hello"
            );
            assert_eq!(bindings[1]["metadata"]["namespace"], "ns");
            assert_eq!(
                bindings[1]["metadata"]["name"],
                "open-cluster-management:hello:role:agent:s"
            );
            assert_eq!(bindings[1]["roleRef"]["kind"], "Role");
            assert_eq!(
                bindings[1]["subjects"][0]["name"],
                "system:open-cluster-management:addon:hello"
            );
        });
    }

    #[test]
    fn each_role_of_a_mailbox_has_a_binding_of_its_own() {
        let permission = |role: &str| json!({"type": "CurrentCluster", "currentCluster": {"clusterRoleName": role}});
        let template: AddOnTemplateSpec = serde_json::from_value(json!({
            "addonName": "hello",
            "registration": [{"type": "KubeClient", "kubeClient": {"hubPermissions": [
                permission("r"), permission("s"), permission("r"), permission("s"),
            ]}}],
        }))
        .expect("a template");
        with_holder("csr", |holder| {
            let bindings = permissions(&template, holder).expect("complete");
            let names: Vec<_> = bindings
                .iter()
                .map(|binding| binding["metadata"]["name"].clone())
                .collect();
            assert_eq!(
                names,
                [
                    "open-cluster-management:hello:clusterrole:agent",
                    "open-cluster-management:hello:clusterrole:agent:s",
                ]
            );
        });
    }

    #[test]
    fn with_tokens_the_account_is_bound_instead_of_groups() {
        with_holder("token", |holder| {
            for binding in permissions(&template(), holder).expect("complete") {
                assert_eq!(
                    binding["subjects"],
                    json!([{"kind": "ServiceAccount", "namespace": "c1", "name": "hello-agent"}])
                );
            }
            let agent = AgentIdentity::new(holder.cluster.clone(), "a").expect("an agent");
            let [_, role, binding] = token_objects(holder, &agent);
            assert_eq!(role["rules"][0]["resourceNames"], json!(["hello-agent"]));
            assert_eq!(
                binding["subjects"][0]["name"],
                "system:open-cluster-management:c1:a"
            );
        });
    }

    #[test]
    fn an_incomplete_permission_is_an_error() {
        let mut template = template();
        let client = template.registration[0]
            .kube_client
            .as_mut()
            .expect("a client");
        client.hub_permissions[0].current_cluster = None;
        with_holder("csr", |holder| {
            assert!(permissions(&template, holder).is_err());
        });
    }
}
